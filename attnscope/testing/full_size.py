"""Published models at their full size with random weights: real shapes, real costs, nothing to download."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import cast

import torch
from torch import nn

from attnscope._types import Document
from attnscope.checks import require_whole
from attnscope.errors import InputError, quote
from attnscope.families.protocols import Pipeline
from attnscope.models.blank import build_network, cut_depth
from attnscope.models.choices import DTYPES
from attnscope.models.published import PublishedModel, require_published
from attnscope.testing.text import clip_text, llama, t5_encoder, tokenizer

# As the conversion scripts of diffusers set them.
_SCHEDULERS: dict[str, tuple[str, Document]] = {
    "WanPipeline": (
        "UniPCMultistepScheduler",
        {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0},
    ),
    "CogVideoXPipeline": (
        "CogVideoXDDIMScheduler",
        {"snr_shift_scale": 3.0, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
    ),
    "HunyuanVideoPipeline": ("FlowMatchEulerDiscreteScheduler", {"shift": 7.0}),
    "LTXPipeline": (
        "FlowMatchEulerDiscreteScheduler",
        {
            "use_dynamic_shifting": True,
            "base_shift": 0.95,
            "max_shift": 2.05,
            "base_image_seq_len": 1024,
            "max_image_seq_len": 4096,
            "shift_terminal": 0.1,
        },
    ),
    "MochiPipeline": ("FlowMatchEulerDiscreteScheduler", {"invert_sigmas": True}),
}


def full(
    name: str, *, num_layers: int | None = None, dtype: str = "fp32", device: str = "cpu", seed: int = 0
) -> Pipeline:
    """Build a published video model in its real size, out of random weights: real costs, and no knowledge.

    What denoises and the VAE are those of the published configuration. What reads the prompt has the real width and
    a single layer (three in HunyuanVideo, which reads an inner one), and knows few words: the real one is several times
    larger than the model it serves. The same call gives the same weights.

    Parameters
    ----------
    name : str
        A short name (`wan2.1-1.3b`, `wan2.1-14b`, `cogvideox-5b`, `hunyuan-video`, `ltx-video`, `mochi-1`), or the name
        on the hub.
    num_layers : int, optional
        Only the first so many layers.
    dtype : {"fp32", "bf16", "fp16", "fp64"}
        The type of all weights; no copy in another type is made on the way.
    device : str
        ``meta`` builds shapes without numbers, for plans.
    seed : int
        What the weights are drawn from.

    Returns
    -------
    A diffusers pipeline.

    Raises
    ------
    UnknownModelError
        No published model of this name is known.
    InputError
        More layers than it has, or a type that does not exist.

    Source: :mod:`attnscope.models.published`.

    Examples
    --------
    >>> pipe = full("wan2.1-1.3b", device="meta")
    >>> len(pipe.transformer.blocks), round(sum(each.numel() for each in pipe.transformer.parameters()) / 1e9, 2)
    (30, 1.42)
    """
    model = require_published(name)
    if dtype not in DTYPES:
        raise InputError(
            expected=f"a type out of {', '.join(DTYPES)}",
            got=quote(dtype),
            where="as dtype in full",
            remedy="use fp32",
        )
    if num_layers is not None:
        num_layers = require_whole(
            num_layers, "a whole number of layers", "as num_layers", remedy="write 2", least=1
        )
    kind: torch.dtype = getattr(torch, DTYPES[dtype])
    with _draw_from(seed):
        denoiser = build_network(cut_depth(model, num_layers).denoiser)
        if device != "meta":
            _fill(denoiser, kind, device, torch.Generator(device).manual_seed(seed))
        pipe = _assemble(model, denoiser, kind, device)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@contextmanager
def _draw_from(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _fill(network: nn.Module, dtype: torch.dtype, device: str, generator: torch.Generator) -> None:
    """Give a network without numbers its weights, one after another: vectors neutral, matrices that keep the scale."""
    for name, weight in list(network.named_parameters()):
        values = torch.empty(weight.shape, dtype=dtype, device=device)
        if weight.ndim > 1:
            values.normal_(std=1 / math.sqrt(weight[0].numel()), generator=generator)
        else:
            values.fill_(0.0 if name.endswith("bias") else 1.0)
        where, _, last = name.rpartition(".")
        setattr(network.get_submodule(where), last, nn.Parameter(values))
    network.to(device).eval()


def _assemble(model: PublishedModel, denoiser: nn.Module, dtype: torch.dtype, device: str) -> Pipeline:
    diffusers = import_module("diffusers")
    scheduler, settings = _SCHEDULERS[model.pipeline]
    with torch.device(device):
        # the method of diffusers warns of weights that were stored in two types, and these were not
        vae = nn.Module.to(getattr(diffusers, model.vae.kind)(**model.vae.config), dtype).eval()
        readers = {
            name: _reader(part.kind, model.text_width).to(dtype) for name, part in model.text_encoders.items()
        }
    tokenizers = {name.replace("text_encoder", "tokenizer"): tokenizer() for name in readers}
    pipe: Pipeline = getattr(diffusers, model.pipeline)(
        transformer=denoiser,
        vae=vae,
        scheduler=getattr(diffusers, scheduler)(**settings),
        **readers,
        **tokenizers,
    )
    return pipe


def _reader(kind: str, width: int) -> nn.Module:
    """Return what reads a prompt: as wide as the real one, and hardly deep."""
    if kind == "LlamaModel":
        return llama(width)
    found = clip_text(hidden_size=768) if kind == "CLIPTextModel" else t5_encoder(kind[:-12], width)
    return cast(nn.Module, found)
