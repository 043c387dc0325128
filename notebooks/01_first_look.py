# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # First look: does attention know where the cuts are?
#
# The claim of CineTrans (ICLR 2026): in a video diffusion model, frames attend strongly within a shot and weakly across
# a cut, so the frame x frame attention is block-diagonal. Here we look for the blocks in the small model that comes
# with attnscope, on a film whose cuts we know, and ask how much of what we see is more than "near frames look alike".

# %%
# %matplotlib inline
import numpy as np
from matplotlib.figure import Figure

import attnscope as scope
from attnscope.dataset import render, sample_scene

pipe = scope.load("wan-mini")

# %% [markdown]
# ## A film of three shots
# Drawn from a seed: one subject, three places, hard cuts on chosen frames. One column a latent frame.

# %%
scene = sample_scene(20, num_shots=3)
film = render(scene)
print(scene.caption())
print(scene.plan.to_latent().describe())

strip = Figure(figsize=(8, 0.8))
axes = strip.add_axes((0, 0, 1, 1))
axes.imshow(np.concatenate(list(film[::4]), axis=1))
axes.set_axis_off()
strip

# %% [markdown]
# ## Look at it, in noise
# The film is encoded, noise is added, the model runs once for each noise level, and the exact attention probability
# that every latent frame gives to every latent frame is recorded, for every layer and head.

# %%
attention = scope.probe_video(pipe, film, prompt=scene.caption("none"), shots=scene.plan, layers="7-28")
attention

# %%
scope.plots.plot_maps(attention, layers=[7, 14, 21, 28])

# %% [markdown]
# ## How much of it is the cut?
# Contrast compares attention inside a shot with attention across a cut. Frames of one shot are also near in time, so a
# model that merely looks at its neighbours has contrast above 1 and r of about 0.5 too; `distance_only_contrast` says
# how high. The adjusted contrast takes out distance, what each query divides by and how popular each key is. The same
# statistics for wrong cuts tell the difference. All layers together: the best of 22 would be high by luck, too.

# %%
quiet = scope.structure.mean_map(attention.sel(branch="cond", step=attention.sigma <= 0.5))
wrong = scope.schema.with_shots(
    quiet.expand_dims("prompt") if "prompt" not in quiet.dims else quiet,
    scope.ShotPlan.from_frames([9, 25], num_frames=49, fps=16).to_latent(),
)
for name, maps in (("true cuts", quiet), ("wrong cuts", wrong)):
    whole = scope.structure.mean_map(maps, "layer")
    contrast, local = scope.structure.contrast(whole), scope.structure.distance_only_contrast(whole)
    adjusted, r = scope.structure.adjusted_contrast(whole), scope.structure.adjusted_r(whole)
    print(
        f"{name:10}  contrast {contrast.item():.2f}, by distance alone {local.item():.2f};"
        f"  adjusted {adjusted.item():.2f}, r {r.item():.2f}"
    )
print("p:", scope.structure.cut_test(quiet, over="layer").attrs["reason"] or "see below")

# %%
contrast = scope.structure.profile(scope.structure.contrast(quiet), scale="log", level=None)
local = scope.structure.profile(scope.structure.distance_only_contrast(quiet), scale="log", level=None)
r = scope.structure.profile(scope.structure.correlation(quiet), level=None)
adjusted = scope.structure.profile(scope.structure.adjusted_r(quiet), level=None)
scope.plots.plot_profile(contrast, r, distance_only=local, adjusted=adjusted)

# %% [markdown]
# ## Where would attention itself put the cuts?

# %%
found = scope.structure.boundaries(scope.structure.mean_map(quiet, "layer"), num="known")
places = found["boundary"].values[found["picked"].values.squeeze()]
print(
    "true cuts at latent frames", scene.plan.to_latent().cuts, " read from attention", tuple(places.tolist())
)

# %% [markdown]
# ## Move through it
# Point at a head to see its map, click to pin it; point at a map to read a share and to see the frames of that pair.

# %%
scope.explore(attention, film)
