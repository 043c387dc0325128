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
# # A store, with plain xarray
#
# What a probe leaves behind is a zarr store that anybody opens: no line of attnscope is needed to read it. Only the
# first cell makes one.

# %%
# %matplotlib inline
from pathlib import Path
from tempfile import TemporaryDirectory

import attnscope as scope
from attnscope.dataset import render, sample_scene

folder = TemporaryDirectory()
store = Path(folder.name) / "attention.zarr"
scene = sample_scene(20, num_shots=3, num_frames=33)
scope.probe_video(
    scope.load("wan-mini"),
    render(scene),
    prompt=scene.caption("none"),
    shots=scene.plan,
    layers="13-18",
    sigmas=[0.5, 0.1],
    out=store,
)
sorted(path.name for path in store.iterdir())

# %% [markdown]
# ## From here on: xarray

# %%
import numpy as np
import xarray as xr

attention = xr.open_zarr(store)
attention

# %% [markdown]
# Labels select: layers from 1, steps by their noise level.

# %%
one = (
    attention.mass.sel(layer=16, branch="cond")
    .where(attention.sigma < 0.3, drop=True)
    .mean(["prompt", "step", "head"])
)
assert np.allclose(one.sum("key_frame"), 1, atol=1e-5)
image = one.reset_coords(drop=True).plot.imshow(figsize=(4, 3.2), yincrease=False)

# %% [markdown]
# ## Own shot against across, median over heads

# %%
same = attention.query_shot == attention.key_shot
ratio = attention.mass.where(same).mean(["query_frame", "key_frame"]) / attention.mass.where(~same).mean(
    ["query_frame", "key_frame"]
)
by_layer = ratio.median(["prompt", "head", "branch"]).rename("own shot / across")
lines = by_layer.plot.line(x="layer", figsize=(5, 2.6))

# %% [markdown]
# ## As a table

# %%
ratio.mean(["prompt", "branch"]).to_dataframe("ratio").reset_index().pivot_table(
    "ratio", "layer", "head"
).round(2)

# %%
attention.close()
folder.cleanup()
