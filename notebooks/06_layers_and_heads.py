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

# %% [markdown]
# # Which layers and heads matter
#
# The best of hundreds of heads is high by luck, too. So heads are chosen on other prompts than those they are
# reported on; and two runs of the same films are compared film by film.

# %%
# %matplotlib inline
import attnscope as scope
from attnscope import masks
from attnscope.dataset import render, sample_scene

s = scope.structure
pipe = scope.load("wan-mini")
scenes = [sample_scene(seed, num_shots=2, num_frames=33) for seed in range(30, 34)]
attention = scope.probe_video(
    pipe,
    [render(scene) for scene in scenes],
    prompt=[scene.caption("none") for scene in scenes],
    shots=[scene.plan for scene in scenes],
    layers="11-20",
    sigmas=[0.5, 0.1],
    progress=False,
)
attention.sizes

# %% [markdown]
# ## Heads in order
# `in_films`: the share of films by which alone a head is among the three best; `chosen`: of prompts for which the
# others would have chosen it; `held_out`: what it reaches there.

# %%
ranked = s.rank_heads(attention, num=3)
s.to_frame(ranked).head(8)

# %%
print(
    f"best three: {float(ranked.value[:3].mean()):.3f} on the films they were chosen on, "
    f"{ranked.attrs['held_out']:.3f} on others"
)

# %%
by_head = s.adjusted_r(attention, over=("step",)).mean("prompt").isel(branch=0).transpose("layer", "head")
best = [(int(place.layer), int(place["head"])) for place in ranked.place[:3]]
scope.plots.plot_table(by_head, centre=0, label="adjusted r", marks=best)

# %% [markdown]
# ## Through the layers, with intervals

# %%
curve = s.profile(s.contrast(attention), scale="log", level=None)
alone = s.profile(s.distance_only_contrast(attention), scale="log", level=None)
adjusted = s.profile(s.adjusted_r(attention))
scope.plots.plot_profile(curve, distance_only=alone, adjusted=adjusted)

# %% [markdown]
# ## What a mask in early layers does to later ones
# The same films, the same noise; pairs, and an interval over prompts. Layers 11 to 15 are masked, 16 to 20 are only
# looked at.

# %%
masked = []
for film, scene in enumerate(scenes):
    with scope.intervene(pipe, masks.same_shot(scene.plan).soft(2.0), layers="11-15"):
        masked.append(
            scope.probe_video(
                pipe,
                render(scene),
                prompt=scene.caption("none"),
                shots=scene.plan,
                layers="11-20",
                sigmas=[0.5, 0.1],
                seed=film,
                progress=False,
            )
        )
changes = [s.compare(attention.isel(prompt=[film]), each) for film, each in enumerate(masked)]
for layer in (13, 18):
    print(layer, [round(float(change["change"].sel(layer=layer).squeeze()), 2) for change in changes])
