"""Bringing a pipeline to where and how it shall run; what it costs in memory when that was too much."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from attnscope._types import Document
from attnscope.errors import InputError, RunError, quote
from attnscope.models.choices import READER, LoadChoice, LoadRequest, advice
from attnscope.models.machine import CPU

if TYPE_CHECKING:
    import torch
    from torch import nn

    from attnscope.families.protocols import Pipeline

Reader = Callable[[], "nn.Module"]
"""Reads a network from its files."""

_CHOICE = "attnscope_choice"  # the name under which a pipeline keeps how it was loaded
_QUANTISERS = {
    "8bit": ("bitsandbytes_8bit", {"load_in_8bit": True}),
    "4bit": ("bitsandbytes_4bit", {"load_in_4bit": True}),
    "int8": ("torchao", {"quant_type": "int8_weight_only"}),
    "float8": ("torchao", {"quant_type": "float8_weight_only"}),
}


def list_backends() -> tuple[str, ...]:
    """Return the names that diffusers has for ways to compute attention."""
    dispatch = import_module("diffusers.models.attention_dispatch")
    return tuple(sorted(each.value for each in dispatch.AttentionBackendName))


def loading_settings(request: LoadRequest, denoisers: tuple[str, ...]) -> Document:
    """Return what `from_pretrained` must be told beside the type: revision, variant, quantisation."""
    settings: Document = {
        name: getattr(request, name) for name in ("revision", "variant") if getattr(request, name) is not None
    }
    if request.quantize != "none":
        quantisers = import_module("diffusers.quantizers")
        backend, arguments = _QUANTISERS[request.quantize]
        settings["quantization_config"] = quantisers.PipelineQuantizationConfig(
            quant_backend=backend, quant_kwargs=arguments, components_to_quantize=list(denoisers)
        )
    return settings


def find_readers(name: str, dtype: torch.dtype, request: LoadRequest) -> dict[str, Reader]:
    """Say how each text encoder of a pipeline is read by itself, without reading it.

    Raises
    ------
    InputError
        It has none to drop.
    """
    where: Document = {"local_files_only": os.path.isdir(name), "revision": request.revision}
    index = import_module("diffusers").DiffusionPipeline.load_config(name, **where)
    found: dict[str, Reader] = {
        part: functools.partial(
            getattr(import_module(said[0]), said[1]).from_pretrained,
            name,
            subfolder=part,
            dtype=dtype,
            variant=request.variant,
            use_safetensors=True,
            **where,
        )
        for part, said in index.items()
        if part.startswith(READER) and said[0] == "transformers"
    }
    if not found:
        raise InputError(
            expected="a model with a text encoder to drop",
            got="none",
            where=f"in {name}",
            remedy="leave drop_text_encoder out",
        )
    return found


def prepare(
    pipe: Pipeline,
    choice: LoadChoice,
    denoisers: tuple[str, ...],
    readers: Mapping[str, Reader] | None = None,
) -> Pipeline:
    """Add LoRAs, choose how attention is computed, bring everything to the device, and remember the choice.

    `readers` are the text encoders that are not there yet, and will be dropped before anything is denoised.

    Raises
    ------
    InputError
        The pipeline cannot do what was asked for: it has no tiles in its VAE, or takes no LoRA.
    """
    request = choice.request
    for index, lora in enumerate(choice.loras):
        _require(pipe, "load_lora_weights", f"a LoRA ({lora.describe()})")
        try:
            pipe.load_lora_weights(
                str(lora.path.parent), weight_name=lora.path.name, adapter_name=f"lora{index}"
            )
        except (ValueError, KeyError, RuntimeError) as error:
            raise InputError(
                expected="a LoRA of this model",
                got=quote(str(error)),
                where=f"in {lora.path}",
                remedy="give a LoRA that was trained on this model",
            ) from error
    if choice.loras:
        pipe.set_adapters(
            [f"lora{index}" for index in range(len(choice.loras))], [lora.scale for lora in choice.loras]
        )
    if request.vae_tiling:
        _require(getattr(pipe, "vae", None), "enable_tiling", "tiles in its VAE (vae_tiling)")
        pipe.vae.enable_tiling()
    networks = [network for name in denoisers if (network := getattr(pipe, name, None)) is not None]
    if request.attention_backend is not None:
        for network in networks:
            network.set_attention_backend(request.attention_backend)
    _bring(pipe, choice, networks)
    if readers:
        from attnscope.families.dropping import DroppedEncoder

        DroppedEncoder(pipe, readers, networks)
    if request.compile:
        for network in networks:
            network.compile()
    setattr(pipe, _CHOICE, choice)
    return pipe


def _bring(pipe: Pipeline, choice: LoadChoice, networks: list[nn.Module]) -> None:
    """Put the weights on the device, or let them come and go."""
    offload = choice.request.offload
    if offload == "model":
        pipe.enable_model_cpu_offload(device=choice.device)
    elif offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=choice.device)
    elif offload == "group":
        torch = import_module("torch")
        onload, rest = torch.device(choice.device), torch.device(CPU)
        pipe.enable_group_offload(onload_device=onload, offload_device=rest, offload_type="leaf_level")
    else:
        pipe.to(choice.device)


def _require(part: object, method: str, words: str) -> None:
    if not hasattr(part, method):
        raise InputError(
            expected=f"a model that can have {words}",
            got=type(part).__name__,
            where="among what was loaded",
            remedy="leave it out",
        )


def choice_of(pipe: object) -> LoadChoice | None:
    """Return how a pipeline was loaded; None where somebody else loaded it."""
    found = vars(pipe).get(_CHOICE) if hasattr(pipe, "__dict__") else None
    return found if isinstance(found, LoadChoice) else None


@contextmanager
def explain_memory(pipe: object) -> Iterator[None]:
    """Say in one line what to do when memory runs out; what was written before stays.

    Raises
    ------
    RunError
        Memory ran out within the block.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        choice = choice_of(pipe)
        raise RunError(
            expected="memory for this run",
            got="none left",
            where=f"on {'this device' if choice is None else choice.device}",
            remedy=f"{advice(choice or LoadChoice(CPU, 'fp32', LoadRequest()))}; what was recorded is kept",
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error of PyTorch or Python means that memory ran out.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    words = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "out of memory" in words
        or "can't allocate memory" in words
    )
