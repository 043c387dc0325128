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
# # Masks, and cuts on demand
#
# A mask is a rule about who may look at whom, as data: it is described in words, counted to the pair, drawn, and
# put on any model in chosen layers, heads and steps. Hide the other shots from each frame, and a film cuts there.

# %%
# %matplotlib inline
import attnscope as scope
from attnscope import masks

plan = scope.ShotPlan.from_latent_frames([5], num_frames_latent=9, fps=16)
plan

# %%
rule = masks.same_shot(plan) | masks.first_frame()  # the mask of CineTrans for DiTs, written out
rule

# %%
masks.same_shot(plan).soft(2.0) & masks.band(4)

# %%
print(masks.extent(rule, masks.Sides.of_frames(9), tokens=16).describe())
for name, sentence in masks.list_presets().items():
    print(f"{name:16} {sentence}")

# %%
scope.plots.plot_rule(masks.compile_rule(rule, masks.Sides.of_frames(9)), cuts=[5])

# %% [markdown]
# ## A film with it, and one without
# The same noise, the same prompt. A film shows itself as a strip; a wide gap is a cut that was found.

# %%
pipe = scope.load("wan-mini")
asked = {"shots": plan, "num_inference_steps": 6, "height": 64, "width": 64, "seed": 1, "progress": False}
scope.generate(pipe, "One shot: a red ball", **asked)

# %%
film = scope.generate(pipe, "One shot: a red ball", rule=masks.preset("cinetrans-dit", plan), **asked)
film

# %% [markdown]
# ## Look while it is masked
# A probe inside `intervene` sees what the mask leaves: nothing crosses the cut.

# %%
small = {"num_frames": 33, "height": 32, "width": 32, "num_inference_steps": 2, "layers": "7-8"}
with scope.intervene(pipe, masks.same_shot(plan), layers="7-8"):
    attention = scope.probe(pipe, "One shot: a red ball", shots=plan, **small)
across = attention.query_shot != attention.key_shot
assert float(attention.mass.where(across).max()) == 0
scope.plots.plot_maps(attention, layers=[7, 8], steps=[0, 1])

# %% [markdown]
# ## A control
# As many pairs hidden, in another place: what a mask does must not be what any mask of its size does.

# %%
masks.equal_band(masks.same_shot(plan), 9)
