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
# # Your own model, and your own film
#
# Whatever diffusers pipeline of a supported family is loaded can be looked at, while it makes a film or while it is
# shown one. The models here have random weights and are built in a blink; the lines are the same for a large one.

# %%
# %matplotlib inline
import numpy as np

import attnscope as scope
from attnscope.dataset import render, sample_scene

# %% [markdown]
# ## A model of another family
# CogVideoX mixes text and video in one attention: what goes to text is `text_mass`, and both together sum to 1.

# %%
pipe = scope.testing.tiny("cogvideox")  # stands for CogVideoXPipeline.from_pretrained(...)
attention = scope.probe(pipe, "a red ball", num_frames=9, height=32, width=32, num_inference_steps=2)
total = attention.mass.sum("key_frame") + attention.text_mass
assert np.allclose(total, 1, atol=1e-5)
attention

# %%
scope.plots.plot_maps(attention)

# %% [markdown]
# ## What it is called inside

# %%
print(attention.module.values.tolist(), attention.attrs["family"], attention.attrs["frame_mass"])
with scope.attach(pipe) as attachment:
    stop = attachment.listen("*.attn.hook_q", lambda value, point: None)
    shown = attachment._repr_html_()
    stop()
print(repr(attachment))

# %% [markdown]
# ## A film that exists
# Encoded, noised, and looked at once for each noise level. Here it is drawn; yours is uint8 frames (frames, height,
# width, 3), or a file for `attnscope probe --video`.

# %%
wan = scope.load("wan-mini")
scene = sample_scene(3, num_shots=2, num_frames=33)
film = render(scene)
attention = scope.probe_video(
    wan, film, prompt=scene.caption("none"), shots=scene.plan, layers="14-18", sigmas=[0.5, 0.1]
)
scene.plan

# %%
pictures = film[attention.query_start_frame.values]
scope.plots.plot_film(attention, pictures, layer=16, step=1)

# %% [markdown]
# ## Where are its cuts, if nobody knows?

# %%
cuts = scope.metrics.detect_cuts(film, fps=16, detector="content").cuts_frame
print("found at", cuts, "- drawn at", scene.plan.cuts_frame)

# %% [markdown]
# ## Move through it

# %%
scope.explore(attention, film)
