"""How a model shall be loaded: what may be asked for, what is chosen, and what is refused before weights are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Literal, get_args

from attnscope._types import Document
from attnscope.errors import InputError, SetupError, quote
from attnscope.models.headers import BYTES, StoredTensor, stored_kind
from attnscope.models.lora import LoraFile
from attnscope.models.machine import CPU, Machine, choose_device, free_memory

Offload = Literal["none", "model", "group", "sequential"]
Quantize = Literal["none", "8bit", "4bit", "int8", "float8"]

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "fp64": "float64"}
"""Short names of the types that weights can be kept in, as PyTorch calls them."""

_STORED = {"BF16": "bf16", "F16": "fp16", "F32": "fp32", "F64": "fp64"}
_BY_SHORT = {short: kind for kind, short in _STORED.items()}
_PACKAGES = {"8bit": "bitsandbytes", "4bit": "bitsandbytes", "int8": "torchao", "float8": "torchao"}
_BITS = {"8bit": 8, "4bit": 4, "int8": 8, "float8": 8}


@dataclass(frozen=True)
class LoadRequest:
    """What was asked for, as on the command line; "auto" is chosen when the machine and the model are known."""

    device: str = "auto"
    dtype: str = "auto"
    offload: Offload = "none"
    quantize: Quantize = "none"
    lora: tuple[str, ...] = ()
    revision: str | None = None
    variant: str | None = None
    vae_tiling: bool = False
    attention_backend: str | None = None
    compile: bool = False
    drop_text_encoder: bool = False

    def require_known(self) -> None:
        """Refuse words that mean nothing, and what contradicts itself whatever the machine.

        Raises
        ------
        InputError
            An offload, a quantisation or a type that does not exist.
        """
        for name, value, known in (
            ("offload", self.offload, get_args(Offload)),
            ("quantize", self.quantize, get_args(Quantize)),
            ("dtype", self.dtype, ("auto", *DTYPES, *DTYPES.values())),
        ):
            if value not in known:
                raise InputError(
                    expected=f"one of {', '.join(known)}",
                    got=quote(value),
                    where=f"as {name} of a model",
                    remedy="name one of them",
                )
        if self.drop_text_encoder and self.offload != "none":
            raise InputError(
                expected="a text encoder that is dropped, or one that waits in main memory",
                got=f"drop_text_encoder with offload {self.offload}",
                where="for a model",
                remedy="leave out one of the two",
            )
        if self.quantize != "none" and self.offload == "group":
            raise InputError(
                expected="quantised weights that stay where they are",
                got=f"quantize {self.quantize} with offload group",
                where="for a model",
                remedy="use offload model, or leave out one of the two",
            )


@dataclass(frozen=True)
class LoadChoice:
    """What was chosen: a device of this machine, a type, and the rest as it was asked for."""

    device: str
    dtype: str
    request: LoadRequest
    loras: tuple[LoraFile, ...] = ()

    def describe(self) -> str:
        """Say it in one line.

        >>> LoadChoice("cuda:1", "bf16", LoadRequest(offload="model")).describe()
        'on cuda:1 in bf16, offload model'
        """
        return ", ".join(
            [
                f"on {self.device} in {self.dtype}",
                *(f"{k.replace('_', ' ')} {v}" for k, v in self._others().items()),
            ]
        )

    def record(self) -> Document:
        """What a record of the run must say beside device and type, which it says anyway; empty where nothing is."""
        others: Document = dict(self._others())
        if self.loras:
            others["lora"] = [lora.record() for lora in self.loras]
        return others

    def _others(self) -> dict[str, str]:
        plain, asked = asdict(LoadRequest()), asdict(self.request)
        words = {name: value for name, value in asked.items() if value != plain[name] and name not in _SHOWN}
        if self.loras:
            words["lora"] = " + ".join(lora.describe() for lora in self.loras)
        return {name: "on" if value is True else str(value) for name, value in words.items()}


READER = "text_encoder"
"""What the names of a pipeline's text encoders begin with."""

_SHOWN = ("device", "dtype", "lora")

StoredParts = Mapping[str, dict[str, StoredTensor]]


def choose(
    request: LoadRequest,
    machine: Machine,
    parts: StoredParts,
    denoisers: tuple[str, ...],
    backends: tuple[str, ...],
) -> LoadChoice:
    """Choose device and type for a model whose parts are known (none where they lie on a hub), or refuse.

    Raises
    ------
    InputError
        What was asked for cannot be on this device.
    SetupError
        The machine lacks the device, a package, or the memory.
    """
    request.require_known()
    device = choose_device(request.device, machine)
    stored = next((stored_kind(parts[name]) for name in denoisers if name in parts), "F32")
    dtype = next((short for short, long in DTYPES.items() if request.dtype == long), request.dtype)
    if dtype == "auto":
        dtype = "fp32" if device == CPU else _STORED.get(stored, "fp32")
    _require_fitting(request, device, dtype)
    _require_quantiser(request)
    if request.attention_backend is not None and request.attention_backend not in backends:
        raise InputError(
            expected=f"an attention back end out of {', '.join(backends)}",
            got=quote(request.attention_backend),
            where="as attention_backend",
            remedy="name one of them",
        )
    loras = tuple(LoraFile.read(text) for text in request.lora)
    for lora in loras:
        lora.require_fitting({name: tensors for name, tensors in parts.items() if name in denoisers})
    choice = LoadChoice(device, dtype, replace(request, dtype=dtype), loras)
    require_memory(choice, parts, denoisers)
    return choice


def _require_fitting(request: LoadRequest, device: str, dtype: str) -> None:
    if device != CPU:
        return
    if dtype == "fp16":
        raise InputError(
            expected="fp32 or bf16 on a CPU",
            got="fp16, which is many times slower there",
            where="as dtype of a model",
            remedy="use fp32",
        )
    if request.offload != "none":
        raise InputError(
            expected="offload with an accelerator to come back to",
            got=f"offload {request.offload} on a CPU",
            where="for a model",
            remedy="leave it out",
        )


def _require_quantiser(request: LoadRequest) -> None:
    package = _PACKAGES.get(request.quantize)
    if package is not None and find_spec(package) is None:
        raise SetupError(
            expected=f"the package {package} for quantize {request.quantize}",
            got="none installed",
            where="for a model",
            remedy=f"install {package}, or load it with --dtype bf16 --offload model",
        )


def estimate_memory(
    choice: LoadChoice, parts: StoredParts, denoisers: tuple[str, ...], activations: int = 0
) -> int:
    """Return how many bytes of a device the weights take: all of them, or the largest part where parts take turns.

    ``activations`` are bytes that are alive beside the weights of what denoises, while it does. A text encoder that is
    dropped takes its turn with them.
    """
    width = BYTES[_BY_SHORT[choice.dtype]]
    sizes = {}
    for name, tensors in parts.items():
        bits = _BITS.get(choice.request.quantize, 8 * width) if name in denoisers else 8 * width
        sizes[name] = sum(tensor.num_values for tensor in tensors.values()) * bits // 8
    if choice.request.offload in ("sequential", "group"):
        largest = [max(each.num_values for each in tensors.values()) for tensors in parts.values() if tensors]
        return max(largest, default=0) * width + activations
    if choice.request.offload == "model":
        taking_turns = (size + activations * (name in denoisers) for name, size in sizes.items())
        return max(taking_turns, default=0)
    readers = sum(size for name, size in sizes.items() if name.startswith(READER))
    if choice.request.drop_text_encoder:
        return sum(sizes.values()) - readers + max(readers, activations)
    return sum(sizes.values()) + activations


def require_memory(
    choice: LoadChoice, parts: StoredParts, denoisers: tuple[str, ...], activations: int | None = None
) -> None:
    """Refuse a model that does not fit on its device, with what it computes where that is known.

    Raises
    ------
    SetupError
        There is too little memory; the message says what needs less.
    """
    needed, free = estimate_memory(choice, parts, denoisers, activations or 0), free_memory(choice.device)
    if free is not None and needed > free:
        what = (
            "the weights alone" if activations is None else "the weights and what a denoising step computes"
        )
        raise SetupError(
            expected=f"{needed / 2**30:.1f} GiB of memory on {choice.device} for {what}",
            got=f"{free / 2**30:.1f} GiB",
            where="before anything was loaded",
            remedy=advice(choice),
        )


def advice(choice: LoadChoice) -> str:
    """Say what makes a model need less memory than it does.

    >>> advice(LoadChoice("cpu", "fp32", LoadRequest()))
    'use --dtype bf16, --drop-text-encoder, fewer frames or a smaller picture'
    """
    ways = []
    if choice.dtype == "fp32":
        ways.append("--dtype bf16")
    if not choice.request.drop_text_encoder and choice.request.offload == "none":
        ways.append("--drop-text-encoder")
    if choice.device != CPU:
        order = get_args(Offload)
        ways += [f"--offload {each}" for each in order[order.index(choice.request.offload) + 1 :][:1]]
        ways += ["--quantize 8bit"] if choice.request.quantize == "none" else []
    ways += [] if choice.request.vae_tiling or choice.device == CPU else ["--vae-tiling"]
    return f"use {', '.join(ways)}{', ' if ways else ''}fewer frames or a smaller picture"
