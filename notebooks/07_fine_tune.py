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
# # Fine-tune under the mask, and look again
#
# A LoRA, trained on drawn films with cuts; in every forward and backward pass each film is under the mask for its
# own shots. A few steps, so that it runs on a laptop: enough to see that everything moves, not enough to teach
# anything.

# %%
# %matplotlib inline
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import attnscope as scope
from attnscope.dataset import render, sample_scene
from attnscope.training.clips import DrawnFilms

s = scope.structure
pipe = scope.load("wan-mini")
scene = sample_scene(20, num_shots=2, num_frames=17)
film = render(scene)


def look():
    """What the model does with one film, through noise."""
    return scope.probe_video(
        pipe,
        film,
        prompt=scene.caption("none"),
        shots=scene.plan,
        layers="7-28",
        sigmas=[0.25],
        progress=False,
    )


before = look()

# %%
folder = TemporaryDirectory()
trained = scope.finetune(
    pipe,
    DrawnFilms(num_clips=4, shots=(2,), num_frames=17),
    out=Path(folder.name) / "run",
    rule="same_shot | first_frame",
    layers="7-28",
    rank=4,
    steps=6,
)
trained

# %% [markdown]
# ## The loss

# %%
lines = [json.loads(line) for line in (trained.folder / "log.jsonl").read_text().splitlines()]
[(line["step"], round(line["loss"], 4)) for line in lines]

# %% [markdown]
# ## Before and after
# The model in `pipe` is the trained one now. The difference of adjusted r by layer, of one film: no interval, and
# no claim.

# %%
after = look()
change = s.compare(before, after, "adjusted_r")
scope.plots.plot_profile(
    s.profile(s.contrast(after), scale="log", level=None),
    distance_only=s.profile(s.contrast(before), scale="log", level=None),
    names=("after", "before"),
)

# %%
s.to_frame(change)[["layer", "a", "b", "change"]].head()

# %% [markdown]
# ## Both, side by side

# %%
scope.explore(before, film, compare=after)

# %%
folder.cleanup()
