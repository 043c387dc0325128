"""`attnscope models`: what comes with the package, and what a model would take here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from attnscope.cli._numbers import NumFrames, Steps
from attnscope.cli._options import AsJson
from attnscope.cli._output import print_json, print_table
from attnscope.errors import InputError, quote, suggest

if TYPE_CHECKING:
    from attnscope.models import ModelCard

_UNITS = {"GB": 10**9, "GIB": 2**30, "MB": 10**6, "MIB": 2**20}


def models_command(
    name: str | None = None,
    /,
    *,
    plan: str | None = None,
    frames: NumFrames | None = None,
    size: str | None = None,
    num_inference_steps: Steps | None = None,
    dtype: str = "bf16",
    device: str = "auto",
    device_memory: str | None = None,
    as_json: AsJson = False,
) -> None:
    """List the models that come with the package, or say what one of them can and cannot do.

    Any diffusers folder or hub model can be given to the other commands, too. With --plan nothing is loaded: it says
    what a run of that model and a probe of it would take.

    Parameters
    ----------
    name
        One of the embedded models, to read its card.
    plan
        A published model (wan2.1-1.3b, wan2.1-14b, cogvideox-5b, hunyuan-video, ltx-video, mochi-1, or its name on
        the hub), an embedded one, or a diffusers folder.
    frames
        Frames of the video; those of the model's own examples otherwise.
    size
        Width and height in pixels, as 832x480.
    num_inference_steps
        Denoising steps.
    dtype
        Numbers of the weights: bf16, fp16, fp32.
    device
        Whose measured times are asked, as attnscope doctor keeps them: cpu, cuda, cuda:1; auto is the accelerator.
    device_memory
        What the device has, as 24GB or 16GiB: whether it fits is then said.
    """
    if plan is not None:
        memory = None if device_memory is None else _memory(device_memory)
        chosen = {"frames": frames, "size": None if size is None else _size(size)}
        return _print_plan(
            plan, {**chosen, "num_steps": num_inference_steps, "dtype": dtype}, device, memory, as_json
        )
    from attnscope.models import list_models

    cards = list_models() if name is None else (_card(name),)
    if as_json:
        print_json(
            {"models": [{"name": card.name, **card.facts, "size_mib": card.size_mib} for card in cards]}
        )
        return
    if name is not None:
        return _print_card(cards[0])
    rows = [(card.name, card.num_layers, f"{card.size_mib:.1f} MiB", card.summary) for card in cards]
    print_table("Embedded models", ("name", "layers", "size", "what it is"), rows)


def _card(name: str) -> ModelCard:
    from attnscope.models.finding import embedded_card, list_models

    names = [card.name for card in list_models()]
    card = embedded_card(name)
    if card is None:
        raise InputError(
            expected=f"an embedded model out of {', '.join(names)}",
            got=quote(name),
            where="in models",
            remedy=suggest(name, names, "write --plan for what a run of another model takes"),
        )
    return card


def _print_card(card: ModelCard) -> None:
    video, measured = card.video, card.facts.get("measured", {})
    rows: list[tuple[object, ...]] = [
        ("makes", f"{video.num_frames} frames of {video.width} x {video.height} at {video.fps} a second"),
        (
            "layers",
            f"{card.num_layers}, {card.facts['num_parameters']:,} parameters, {card.size_mib:.1f} MiB",
        ),
        ("trained for", f"{card.facts['core_hours']:.1f} core-hours"),
    ]
    for what, found in measured.items():
        if isinstance(found, dict) and found.get("interval"):
            low, high = found["interval"]
            told = f"{found['value']:.3g}, from {low:.3g} to {high:.3g}, n {found['n']}"
            rows.append((what.replace("_", " "), told))
    rows.append(("cuts counted by", measured.get("detector", "")))
    print_table(f"{card.name}: {card.facts['summary']}", ("what", "how much"), rows)
    print(card.facts["limits"])


def _print_plan(
    name: str, settings: dict[str, object], device: str, memory: int | None, as_json: bool
) -> None:
    from attnscope.models.machine import choose_device, find_machine
    from attnscope.models.planning import plan_run

    found = plan_run(name, device=choose_device(device, find_machine()), **settings)  # type: ignore[arg-type]
    fits = None if memory is None else {way: need <= memory for way, need in found.needed_bytes.items()}
    if as_json:
        return print_json({**found.as_document(), "device_memory": memory, "fits": fits})
    rows: list[tuple[object, ...]] = [
        ("video", f"{found.frames} frames of {found.width} x {found.height}, {found.num_steps} steps"),
        ("layers, heads", f"{found.num_layers}, {found.num_heads}"),
        ("tokens", f"{found.tokens:,} in {found.latent_frames} latent frames"),
        ("store", f"{found.store_bytes / 1e6:.1f} MB"),
        *((f"weights, {part}", _gigabytes(size)) for part, size in found.parts.items()),
        ("alive while denoising", _gigabytes(found.denoising_bytes)),
        ("alive while decoding", _gigabytes(found.decoding_bytes)),
        ("a probe adds, memory", f"{_gigabytes(found.probe_bytes)}, by arithmetic"),
        ("a call", _operations(found.attention_tflops, found.other_tflops)),
        ("a probe adds, operations", f"{found.probe_tflops:.4g} TFLOP a call, by arithmetic"),
        ("time", _times(found.plain_s, found.probed_s)),
    ]
    for way, need in found.needed_bytes.items():
        verdict = "" if fits is None else ", fits" if fits[way] else ", does not fit"
        rows.append((f"device memory, offload {way}", f"{_gigabytes(need)}{verdict}"))
    print_table(f"{name}, {found.dtype}, from {Path(found.basis).as_posix()}", ("what", "how much"), rows)


def _gigabytes(size: int | None) -> str:
    return "not known for this network" if size is None else f"{size / 1e9:.2f} GB"


def _operations(attention: float | None, other: float | None) -> str:
    if attention is None or other is None:
        return "not known for this network"
    return f"{attention + other:.4g} TFLOP, {attention / (attention + other):.0%} of them attention"


def _times(plain: float | None, probed: float | None) -> str:
    if plain is None or probed is None:
        return "this device is not measured: run attnscope doctor --measure"
    return f"{plain:.3g} s plain, {probed:.3g} s probed, from the table of this device"


def _memory(text: str) -> int:
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)\s*([GM]i?B)", text, re.ASCII | re.IGNORECASE)
    if found is None:
        raise InputError(
            expected="an amount of memory",
            got=quote(text),
            where="as --device-memory",
            remedy="write 24GB or 16GiB",
        )
    return int(float(found[1]) * _UNITS[found[2].upper()])


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text, re.ASCII)
    if found is None:
        raise InputError(
            expected="width and height in pixels", got=quote(text), where="as --size", remedy="write 832x480"
        )
    return int(found[1]), int(found[2])
