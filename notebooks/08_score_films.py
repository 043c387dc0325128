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
# # Score films
#
# Where does a film cut, was that asked for, and do its shots belong together? From the pixels alone; attention is
# not looked at.

# %%
# %matplotlib inline
import numpy as np

import attnscope as scope
from attnscope.dataset import render, sample_scene
from attnscope.intervening.cut_check import CutCheck
from attnscope.intervening.film import Film

scene = sample_scene(20, num_shots=3)  # or frames of yours: uint8 (frames, height, width, 3)
frames = render(scene)
scene.plan

# %%
found = scope.metrics.detect_cuts(frames, fps=16, detector="content")
print("drawn at", scene.plan.cuts_frame, "found at", found.cuts_frame)
latent = scene.plan.to_latent()
Film(frames, latent, (), 1.0, CutCheck(latent.realised_frame, found.cuts_frame))

# %% [markdown]
# ## Against the plan
# `transition_control` counts cuts; `f1` sees where they are. The same film against a plan that asks for other cuts:

# %%
wrong = scope.ShotPlan.from_frames([5, 40], num_frames=scene.plan.num_frames, fps=16)
for name, plan in (("as drawn", scene.plan), ("two cuts elsewhere", wrong)):
    agreement = scope.metrics.agreement(found.cuts_frame, plan.cuts_frame, tolerance_frame=2)
    control = scope.metrics.transition_control(len(found.cuts_frame), len(plan.cuts_frame))
    print(f"{name}: control {control:.2f}, f1 {agreement.f1:.2f}")

# %% [markdown]
# ## Everything at once
# Numbers that need an encoder that is not there are null, and say why.

# %%
scores = scope.score(frames, scene.plan, settings=scope.metrics.Settings(detector="content"))
{name: scores[name] for name in ("transition_control", "soft_control", "num_shots") if name in scores}

# %% [markdown]
# ## What a cut does to the picture
# The change from frame to frame, and the cuts.

# %%
from matplotlib.figure import Figure

change = np.abs(np.diff(frames.astype(float), axis=0)).mean((1, 2, 3))
figure = Figure(figsize=(6, 1.8), layout="constrained")
axes = figure.add_subplot()
axes.plot(np.arange(1, len(frames)), change)
axes.set(xlabel="video frame", ylabel="mean change")
for cut in scene.plan.cuts_frame:
    axes.axvline(cut, linestyle="--", color="grey")
figure
