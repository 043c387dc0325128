"""What test_parallel.py runs in one process and, under torchrun, in two that share every video."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from attnscope import masks
from attnscope.hooks import attach, run_with_cache
from attnscope.intervening.intervene import intervene
from attnscope.probing.probe import probe
from attnscope.shots import ShotPlan
from attnscope.testing.wan import tiny_wan

SMALL = {"height": 64, "width": 64, "num_frames": 17, "num_inference_steps": 2, "max_sequence_length": 8}
PLAN = ShotPlan.from_frames([9], num_frames=17, fps=16)


def shared_pipe():
    pipe = tiny_wan(2)
    if distributed.is_initialized():
        from diffusers import ContextParallelConfig

        size = distributed.get_world_size()
        pipe.transformer.enable_parallelism(config=ContextParallelConfig(ulysses_degree=size))
    return pipe


def video(pipe):
    return pipe(
        "a cat", generator=torch.Generator().manual_seed(3), output_type="latent", **SMALL
    ).frames.numpy()


def results(folder: Path) -> dict[str, np.ndarray]:
    pipe = shared_pipe()
    found = {"plain": video(pipe)}
    both = {"branch": "cond,uncond", **SMALL}
    found["store"] = probe(pipe, ["a cat", "a dog"], out=folder / "a.zarr", **both).mass.values
    found["resumed"] = probe(pipe, ["a cat", "a dog"], out=folder / "a.zarr", **both).mass.values
    found["memory"] = probe(pipe, "a cat", heads=[1], **SMALL).mass.values
    apart = masks.same_shot(PLAN.to_latent(4)) | masks.first_frame()
    with intervene(pipe, apart, heads=[1]):
        found["masked"] = probe(pipe, "a cat", **SMALL).mass.values
        found["masked video"] = video(pipe)
    with attach(pipe) as attachment:
        # In two processes every hook point shows all tokens and one of the two heads, of text as well.
        names = ["blocks.1.attn.hook_z", "blocks.1.xattn.hook_frame_mass"]
        result, cache = run_with_cache(
            attachment,
            "a cat",
            names_filter=names,
            generator=torch.Generator().manual_seed(3),
            output_type="latent",
            **SMALL,
        )
        heads = attachment.heads
    found["looked"] = result.frames.numpy()
    z, words = (torch.stack([record.value for record in cache[name]]) for name in names)
    z = z.transpose(1, 3)[:, :, :, 0].transpose(0, 1)  # heads, calls, tokens, head size
    words = words[:, 0].transpose(0, 1)
    found["z"], found["words"] = (t if heads is None else heads.collect(t) for t in (z, words))
    return {name: np.asarray(values) for name, values in found.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    # diffusers asks how many accelerators there are, and divides by it; a CPU counts as none.
    torch.accelerator.device_count = lambda: 1
    distributed.init_process_group("gloo")
    place = Path(sys.argv[1])
    np.savez(place / f"rank-{os.environ['RANK']}.npz", **results(place))
    distributed.destroy_process_group()
