"""What looking into a model will take, from its configuration alone: tokens, store, memory, operations, time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from attnscope._types import Document
from attnscope.errors import InputError, UnknownModelError, quote
from attnscope.families import FAMILIES
from attnscope.families.base import Family, Site, num_heads_of
from attnscope.families.layout import FrameLayout
from attnscope.models.blank import CALLABLE, CallCost, build_network, cost_of_call, measure, strip
from attnscope.models.choices import DTYPES
from attnscope.models.finding import INDEX, embedded_card, inspect_model, usual_video
from attnscope.models.published import PUBLISHED, PublishedModel, find_published
from attnscope.models.skeleton import build_skeleton
from attnscope_kernels import DeviceTable, read_table

if TYPE_CHECKING:
    from torch import nn

    from attnscope.families.protocols import Denoiser

_WIDTH = {"bf16": 2, "fp16": 2, "fp32": 4, "fp64": 8}
_MASS_WIDTH = 4  # bytes of a float32
# Scores, weights and what is summed over them: so many blocks of a bounded size are alive while a probe looks.
_BLOCK_BYTES = 3 * 4 * 2**21


@dataclass(frozen=True)
class Plan:
    """What a run of a model will need, and what a probe adds; shapes are exact.

    `parts` are bytes of weights by part of the pipeline; `denoising_bytes` and `decoding_bytes` the most bytes alive
    beside them, counted on networks without numbers; `probe_bytes` what a probe adds, by arithmetic. Operations
    are those of one call of the network. Times are None where this device was not measured; what is not known of a
    kind of network is None.
    """

    model: str
    basis: str
    frames: int
    height: int
    width: int
    num_steps: int
    calls_per_step: int
    dtype: str
    num_layers: int
    num_heads: int
    latent_frames: int
    tokens: int
    store_bytes: int
    parts: dict[str, int]
    denoising_bytes: int | None
    decoding_bytes: int | None
    probe_bytes: int
    attention_tflops: float | None
    other_tflops: float | None
    probe_tflops: float
    plain_s: float | None
    probed_s: float | None

    @property
    def needed_bytes(self) -> dict[str, int]:
        """Bytes of a device that a probed run needs: with all parts there, and with one part there at a time."""
        denoising, decoding = (self.denoising_bytes or 0) + self.probe_bytes, self.decoding_bytes or 0
        vae = self.parts.get("vae", 0)
        denoiser = sum(size for part, size in self.parts.items() if part in _list_denoising_parts())
        readers = [size for part, size in self.parts.items() if part.startswith("text_encoder")]
        return {
            "none": sum(self.parts.values()) + max(denoising, decoding),
            "model": max(denoiser + denoising, vae + decoding, *readers, 0),
        }

    def as_document(self) -> Document:
        """Return all of it, for JSON."""
        return {**asdict(self), "needed_bytes": self.needed_bytes}


@dataclass(frozen=True)
class _Known:
    """What is read off a model without its weights."""

    family: Family
    denoiser: nn.Module
    vae: nn.Module | None
    num_values: dict[str, int]
    text_tokens: int
    usual: tuple[int, int, int, int]
    basis: str

    @property
    def sites(self) -> list[Site]:
        """Its self-attention, in the order that it runs, one a label."""
        return [site for site in self.family.sites(cast("Denoiser", self.denoiser)) if site.kind == "self"]

    @property
    def heads(self) -> tuple[int, int]:
        """Heads of a layer, and their size."""
        attention = self.denoiser.get_submodule(self.sites[0].module)
        heads = num_heads_of(attention)
        return heads, len(attention.get_parameter("to_q.weight")) // heads


def plan_run(
    name: str,
    *,
    frames: int | None = None,
    size: tuple[int, int] | None = None,
    num_steps: int | None = None,
    dtype: str = "bf16",
    device: str = "cpu",
) -> Plan:
    """Say what a probe of a whole run would take: nothing is loaded, and nothing is computed.

    Parameters
    ----------
    name : str
        A published model by its short name or its name on the hub, an embedded model, or a diffusers folder.
    frames, size, num_steps
        Frames of the video, its width and height in pixels, denoising steps; by default those of the model's own
        examples.
    dtype : {"bf16", "fp16", "fp32", "fp64"}
        The type of the weights.
    device : str
        Whose table of measured times is asked.

    Raises
    ------
    UnknownModelError
        Nothing is known of the model.
    InputError
        A type that does not exist, or a size that the model cannot make.
    """
    if dtype not in DTYPES:
        raise InputError(
            expected=f"a type out of {', '.join(DTYPES)}",
            got=quote(dtype),
            where="as dtype of a plan",
            remedy="use bf16",
        )
    published = find_published(name)
    known = _of_files(name) if published is None else _of_published(published)
    usual_frames, usual_height, usual_width, usual_steps = known.usual
    width, height = size or (usual_width, usual_height)
    video = (frames or usual_frames, height, width)
    return _plan(name, known, video, num_steps or usual_steps, dtype, read_table(device))


def count_activations(name: str, video: tuple[int, int, int], dtype: str) -> int | None:
    """Return the most bytes that are alive beside the weights while a model on this disk denoises and is looked into.

    None where its network is of a kind whose arguments are not known.

    Parameters
    ----------
    video : (int, int, int)
        Frames, height and width.
    dtype : {"bf16", "fp16", "fp32", "fp64"}
        The type of what denoises.

    Raises
    ------
    InputError
        A size that the model cannot make.
    """
    known = _of_files(name)
    if type(known.denoiser).__name__ not in CALLABLE:
        return None
    plan = _plan(name, known, video, 1, dtype, None)
    return None if plan.denoising_bytes is None else plan.denoising_bytes + plan.probe_bytes


def _plan(
    name: str,
    known: _Known,
    video: tuple[int, int, int],
    num_steps: int,
    dtype: str,
    table: DeviceTable | None,
) -> Plan:
    family, model = known.family, cast("Denoiser", known.denoiser)
    frames, height, width = video
    family.require_size(model, num_frames=frames, height=height, width=width)
    latent = family.num_latent_frames(model, frames)
    layout = family.expected_layout(model, num_frames=latent, height=height, width=width)
    branches, calls, batch = _guidance(family)
    (heads, head_size), layers = known.heads, len(known.sites)
    call, decoding = _costs(known, (latent * family.patch(model)[0], height, width), batch, dtype)
    looks = 2 * batch * layers * layout.num_tokens**2 * heads * head_size
    seconds = _seconds(table, dtype, call, looks, num_steps * calls)
    return Plan(
        model=name,
        basis=known.basis,
        frames=frames,
        height=height,
        width=width,
        num_steps=num_steps,
        calls_per_step=calls,
        dtype=dtype,
        num_layers=layers,
        num_heads=heads,
        latent_frames=latent,
        tokens=layout.num_tokens,
        store_bytes=num_steps * branches * layers * heads * _numbers_of_map(layout) * _MASS_WIDTH,
        parts={part: values * _WIDTH[dtype] for part, values in known.num_values.items()},
        denoising_bytes=None if call is None else call.peak_bytes,
        decoding_bytes=None if decoding is None else decoding.peak_bytes,
        probe_bytes=layout.num_tokens * heads * len(layout.segments) * _MASS_WIDTH + _BLOCK_BYTES,
        attention_tflops=None if call is None else call.attention_flops / 1e12,
        other_tflops=None if call is None else call.other_flops / 1e12,
        probe_tflops=looks / 1e12,
        plain_s=seconds[0],
        probed_s=seconds[1],
    )


def _numbers_of_map(layout: FrameLayout) -> int:
    """What is kept of one head: frames by frames, and what goes to text where it shares the attention."""
    return layout.num_frames**2 + (layout.num_frames if layout.text_segments else 0)


def _guidance(family: Family) -> tuple[int, int, int]:
    """Branches of a step, calls of the network for them, and videos in the batch of a call."""
    if "distilled" in family.says_of_guidance:
        return 1, 1, 1
    return (2, 2, 1) if family.says_of_guidance.startswith("two calls") else (2, 1, 2)


def _costs(
    known: _Known, grid: tuple[int, int, int], batch: int, dtype: str
) -> tuple[CallCost | None, CallCost | None]:
    """What denoising and decoding cost: counted on networks without numbers, where they can be called so."""
    kind: torch.dtype = getattr(torch, DTYPES[dtype])
    frames, height, width = grid
    scale = known.family.spatial_scale(cast("Denoiser", known.denoiser))
    config = cast("Denoiser", known.denoiser).config
    latents = (frames, height // scale, width // scale)
    call = cost_of_call(known.denoiser, (batch, config.in_channels, *latents), known.text_tokens, kind)
    if known.vae is None:
        return call, None
    strip(known.vae, kind)
    vae = cast("Denoiser", known.vae)
    channels = vae.config.get("latent_channels") or vae.config.get("z_dim")
    video = torch.empty(1, channels, *latents, device="meta", dtype=kind)
    return call, measure(lambda: vae.decode(video, return_dict=False), known.vae)


def _seconds(
    table: DeviceTable | None, dtype: str, call: CallCost | None, looks: int, num_calls: int
) -> tuple[float | None, float | None]:
    """Seconds of a plain and of a probed run, from the speeds that were measured on the device."""
    rates = None if table is None else table.rates(DTYPES[dtype])
    if rates is None or call is None:
        return None, None
    plain = call.attention_flops / rates.attention + call.other_flops / rates.linear
    return num_calls * plain, num_calls * (plain + looks / rates.mass)


def _of_published(model: PublishedModel) -> _Known:
    denoiser, vae = build_network(model.denoiser), build_network(model.vae)
    networks = {"transformer": denoiser, "vae": vae}
    networks |= {name: build_network(part) for name, part in model.text_encoders.items()}
    return _Known(
        family=next(each for each in FAMILIES if model.pipeline in each.pipelines),
        denoiser=denoiser,
        vae=vae,
        num_values={name: sum(each.numel() for each in part.parameters()) for name, part in networks.items()},
        text_tokens=model.text_tokens,
        usual=(model.frames, model.height, model.width, model.num_steps),
        basis=f"the published configuration of {model.repository}",
    )


def _of_files(name: str) -> _Known:
    if embedded_card(name) is None and not (Path(name) / INDEX).is_file():
        raise UnknownModelError(
            expected=f"a published model ({', '.join(PUBLISHED)}), an embedded one or a diffusers folder",
            got=quote(name),
            where="as what to plan for",
            remedy="fetch its folder, or name the published model that it resembles",
        )
    family, denoiser = build_skeleton(name)
    parts, _ = inspect_model(name)
    video = usual_video(name)
    values = {part: sum(each.num_values for each in tensors.values()) for part, tensors in parts.items()}
    return _Known(
        family=family,
        denoiser=cast("nn.Module", denoiser),
        vae=None,
        num_values=values,
        text_tokens=family.fixed_text_length(denoiser) or 512,
        usual=(49, 480, 832, 50)
        if video is None
        else (video.num_frames, video.height, video.width, video.num_steps),
        basis="its files; decoding is not counted",
    )


def _list_denoising_parts() -> set[str]:
    return {part for family in FAMILIES for part in family.parts}
