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
# # Is it the cut, or is it distance?
#
# Frames of one shot are near each other in time. A model that merely looks at its neighbours shows blocks, too, and
# has a high contrast for any cut. Here attention is made whose answer is known: one set of films that follows its
# cuts, one that only looks at its neighbours.

# %%
# %matplotlib inline
import numpy as np
import xarray as xr

import attnscope as scope

s = scope.structure
plans = [
    scope.ShotPlan.from_latent_frames([cut], num_frames_latent=13, fps=16).to_latent()
    for cut in (3, 5, 6, 7, 8, 10)
]


def make(contrast, locality):
    """Six films with different cuts, as one dataset."""
    films = [
        scope.synthetic.block_attention(plan, contrast=contrast, locality=locality, noise=0.3, seed=film)
        for film, plan in enumerate(plans)
    ]
    bare = [
        each.drop_vars(["query_shot", "key_shot"]).assign_coords(prompt=[film], seed=("prompt", [film]))
        for film, each in enumerate(films)
    ]
    return scope.schema.with_shots(xr.concat(bare, "prompt"), plans)


cutting, local = make(contrast=3.0, locality=0.2), make(contrast=1.0, locality=0.4)
plans[1]

# %% [markdown]
# ## They look alike

# %%
scope.plots.plot_maps(cutting, layers=[1], steps=[0], prompt=1, title="follows its cut")

# %%
scope.plots.plot_maps(local, layers=[1], steps=[0], prompt=1, title="looks at its neighbours")

# %% [markdown]
# ## What tells them apart
# Contrast is above 1 in both. What distance alone makes of it is nearly all of it in the second. The adjusted
# contrast takes out distance and how popular each frame is: 3 was put in, and 3 comes out; 1 was put in, and 1
# comes out.

# %%
for name, films in (("follows its cut", cutting), ("neighbours only", local)):
    numbers = s.summary(films)
    print(
        f"{name}: contrast {numbers['contrast']:.2f}, by distance alone {numbers['contrast_distance_only']:.2f}, "
        f"adjusted {numbers['adjusted_contrast']:.2f}, at the same places of other films "
        f"{numbers['place_matched_contrast']:.2f}, p {numbers['p']:.3f}"
    )

# %% [markdown]
# ## The test
# Films exchange their cuts, in every way there is; p is the share of arrangements that fit as well as the true one.
# It needs films with different cuts, and says so where there are none.

# %%
whole = s.mean_map(cutting, ("step", "head", "layer", "branch"))
found = s.cut_test(whole, over=())
print(found.p.item(), found.attrs["null"], found.attrs["num_arrangements"])
print(s.cut_test(whole.isel(prompt=[0]), over=()).attrs["reason"])
assert found.p.item() < 0.01
assert s.cut_test(local).p.median() > 0.05

# %% [markdown]
# ## Distances, one by one
# The mean mass at each distance, inside a shot and across the cut.

# %%
mass = whole.mass.transpose("prompt", "query_frame", "key_frame").values
shots = whole.query_shot.values
lag = np.abs(np.subtract.outer(np.arange(13), np.arange(13)))
same = shots[:, :, None] == shots[:, None, :]
for distance in range(1, 6):
    at = np.broadcast_to(lag == distance, same.shape)
    print(distance, f"inside {mass[at & same].mean():.4f}  across {mass[at & ~same].mean():.4f}")
