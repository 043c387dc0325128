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
# # Hook points: look into the attention of a video model, and write to it
#
# Three ways to the same places. `run_with_cache` remembers, `run_with_hooks` calls functions of yours, and a trace
# of nnsight lets you write code as if it stood inside the model. We look at which frames attend to which in the small
# model that comes with attnscope, then take away what layers give to the first frame, and see what that does to the
# picture.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import torch

import attnscope as scope

pipe = scope.load("wan-mini")
pipe.set_progress_bar_config(disable=True)
settings = {"num_frames": 17, "height": 64, "width": 64, "num_inference_steps": 3}


def noise():
    """The same noise for every run."""
    return torch.Generator().manual_seed(0)


prompt = "Two shots: a red ball; Shot 1: [0s, 0.5s] wide shot; Shot 2: [0.5s, 1s] close-up"

# %% [markdown]
# ## What there is to hook
#
# Every layer has the same points, named after the module index of diffusers, which counts from 0: `blocks.6` is
# layer 7.

# %%
names = scope.hook_points(pipe)
len(names), [name for name in names if name.startswith("blocks.6.attn.")]

# %% [markdown]
# ## 1. A cache
#
# `names_filter` takes a name, a pattern, several of them, or a function. Each record says which call it belongs to.

# %%
plain, cache = scope.run_with_cache(
    pipe,
    prompt,
    names_filter="blocks.*.attn.hook_frame_mass",
    generator=noise(),
    output_type="np",
    **settings,
)
records = cache["blocks.6.attn.hook_frame_mass"]
[(record.call.step, record.call.branch, tuple(record.value.shape)) for record in records]

# %%
figure, axes = plt.subplots(1, 4, figsize=(9, 2.4), layout="constrained")
for head, axis in enumerate(axes):
    image = axis.imshow(records[-2].value[0, head], vmin=0, vmax=0.6, cmap="viridis")
    axis.set(title=f"head {head}", xlabel="key frame", ylabel="query frame" if head == 0 else "")
figure.colorbar(image, ax=axes, label="share of attention")
plt.show()

# %% [markdown]
# ## 2. Hooks that write
#
# What a hook returns takes the value's place. At `hook_frame_mass` that is a new share for every pair of frames: the
# attention becomes the one nearest to the model's own that has these shares. Here nobody but frame 0 looks at frame 0.


# %%
def ignore_the_first_frame(mass, point):
    """Give what later frames give to frame 0 to the others, in proportion."""
    wanted = mass.clone()
    wanted[..., 1:, 0] = 0
    return wanted / wanted.sum(-1, keepdim=True)


changed = scope.run_with_hooks(
    pipe,
    prompt,
    fwd_hooks=[("blocks.*.attn.hook_frame_mass", ignore_the_first_frame)],
    generator=noise(),
    output_type="np",
    **settings,
)

# %%
figure, axes = plt.subplots(2, 5, figsize=(8, 3.4), layout="constrained")
for row, (title, video) in zip(axes, (("as it is", plain), ("without frame 0", changed)), strict=True):
    for axis, index in zip(row, range(0, 17, 4), strict=True):
        axis.imshow(video.frames[0][index])
        axis.set(xticks=[], yticks=[], title=f"frame {index}" if title == "as it is" else "")
    row[0].set_ylabel(title)
plt.show()

# %% [markdown]
# ## 3. A trace
#
# The same points as attributes, with nnsight. Call 0 is the first step with the prompt, call 1 the same step without
# it, and so on; here one head of one layer is made to look at its own frame, at every call.

# %%
masses = []
with scope.nnsight(pipe) as model:
    frame_mass = model.blocks[6].attn.hook_frame_mass
    with model.trace(prompt, generator=noise(), output_type="latent", **settings) as tracer:
        for _ in tracer.iter[:6]:
            mass = frame_mass.output
            masses.append(mass.clone().save())
            mass[:, 0] = torch.eye(mass.shape[-1])
        latents = model.output.frames.save()
len(masses), tuple(latents.shape)

# %% [markdown]
# Read by a trace, the numbers of the first step are those of the cache. Later ones differ: the trace wrote.

# %%
differences = [float((mass - record.value).abs().max()) for mass, record in zip(masses, records, strict=True)]
assert differences[0] == 0
assert differences[-1] > 0
figure, axis = plt.subplots(figsize=(5, 2.4), layout="constrained")
axis.bar(range(6), differences)
axis.set(xlabel="call of the denoiser", ylabel="largest change of a share")
plt.show()
