"""Build the pipeline of a model. Weights are safetensors; nothing is downloaded unasked."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnscope._types import Document
from attnscope.errors import SetupError, UnknownModelError, quote
from attnscope.models import machine
from attnscope.models.choices import (
    DTYPES,
    READER,
    LoadRequest,
    Offload,
    Quantize,
    choose,
    require_memory,
)
from attnscope.models.finding import INDEX, ModelCard, base_of, embedded_card, inspect_model
from attnscope.models.preparing import find_readers, list_backends, loading_settings, prepare
from attnscope.models.skeleton import class_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from attnscope.families.protocols import Pipeline


def load(
    name: str | os.PathLike[str],
    *,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    offload: Offload = "none",
    quantize: Quantize = "none",
    lora: str | Sequence[str] = (),
    revision: str | None = None,
    variant: str | None = None,
    vae_tiling: bool = False,
    attention_backend: str | None = None,
    compile: bool = False,
    drop_text_encoder: bool = False,
    video: tuple[int, int, int] | None = None,
) -> Pipeline:
    """Build a video pipeline, ready to be probed.

    Everything that can be refused is refused before weights are read: what is asked for is held against the machine
    and against the heads of the model's files. Only safetensors files are read.

    Parameters
    ----------
    name : str or path
        An embedded model (``wan-mini``), a folder in the diffusers format, or a hub model ``owner/name``; only the last
        goes to the network.
    device : str
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` is the accelerator there is, under torchrun and SLURM that of
        the local rank, and the CPU where there is none.
    dtype : str or torch.dtype
        ``bf16``, ``fp16``, ``fp32``; ``auto`` is what the weights are stored in on an accelerator, float32 on a CPU.
    offload : {"none", "model", "group", "sequential"}
        What waits in main memory while it is not used: parts of the pipeline, or their layers one by one.
    quantize : {"none", "8bit", "4bit", "int8", "float8"}
        Fewer bits for the weights of what denoises: the first two by bitsandbytes, the others by torchao.
    lora : str or sequence of str
        LoRA files, each with a strength behind a colon if it is not 1: ``style.safetensors:0.8``.
    revision, variant : str, optional
        Which state of a hub model; which of several stored precisions.
    vae_tiling : bool
        Decode pictures piece by piece.
    attention_backend : str, optional
        How diffusers computes attention. What is measured is the softmax all the same.
    compile : bool
        Compile what denoises.
    drop_text_encoder : bool
        Read the text encoder when text is encoded and let go of it before anything is denoised. What was encoded is
        remembered; a text that comes later brings the encoder back from disk.
    video : (int, int, int), optional
        Frames, height and width of the videos that will be made: the memory that is asked for then holds what a
        denoising step computes, too, where that can be counted on the shapes of the network.

    Returns
    -------
    Pipeline
        It remembers how it was loaded, and records of it say so.

    Raises
    ------
    UnknownModelError
        No embedded model and no folder has this name, or the folder holds no pipeline; the message lists what there is.
    UnsupportedModelError
        The folder holds a pipeline of a family that is not supported.
    InputError
        Something that does not exist, or contradicts the device.
    SetupError
        The machine lacks the device, a package or the memory, or a hub model could not be fetched.

    Examples
    --------
    >>> pipe = load("wan-mini", device="cpu")
    >>> type(pipe).__name__, len(pipe.transformer.blocks)
    ('WanMiniPipeline', 30)
    """
    import torch

    if isinstance(dtype, torch.dtype):
        dtype = str(dtype).removeprefix("torch.")
    loras = (lora,) if isinstance(lora, str) else tuple(lora)
    request = LoadRequest(
        *(device, dtype, offload, quantize, loras, revision, variant),
        *(vae_tiling, attention_backend, compile, drop_text_encoder),
    )
    return load_as(os.fspath(name), request, video)


def load_as(name: str, request: LoadRequest, video: tuple[int, int, int] | None = None) -> Pipeline:
    """Build a pipeline as a request says, see `load`."""
    import torch

    request.require_known()
    parts, denoisers = inspect_model(name, request.variant)
    backends = list_backends() if request.attention_backend is not None else ()
    choice = choose(request, machine.find_machine(), parts, denoisers, backends)
    if video is not None and parts:
        from attnscope.models.planning import count_activations

        require_memory(choice, parts, denoisers, count_activations(name, video, choice.dtype))
    kind: torch.dtype = getattr(torch, DTYPES[choice.dtype])
    card = embedded_card(name)
    if card is None:
        readers = find_readers(name, kind, request) if request.drop_text_encoder else {}
        settings = {**loading_settings(request, denoisers), **dict.fromkeys(readers)}
        pipe = _load_pipeline(name, kind, settings)
    else:
        readers = {READER: functools.partial(_read_embedded, card, kind)} if request.drop_text_encoder else {}
        pipe = _load_embedded(card, kind, reads_text=not readers)
    return prepare(pipe, choice, denoisers, readers)


def _read_embedded(card: ModelCard, dtype: torch.dtype) -> nn.Module:
    transformers = import_module("transformers")
    with _no_loading_bar():
        text_encoder: nn.Module = transformers.UMT5EncoderModel.from_pretrained(
            base_of(card) / READER, local_files_only=True, dtype=dtype, use_safetensors=True
        )
    return text_encoder.eval()


def _load_embedded(card: ModelCard, dtype: torch.dtype, *, reads_text: bool = True) -> Pipeline:
    base = base_of(card)
    index = json.loads((base / INDEX).read_text(encoding="utf-8"))
    local = {"local_files_only": True, "dtype": dtype, "use_safetensors": True}
    own: dict[str, Any] = {} if reads_text else {READER: None}
    if card.path != base:
        kind = class_of(*index[card.denoiser])
        own[card.denoiser] = kind.from_pretrained(card.path / card.denoiser, **local).eval()
    pipelines = import_module("attnscope.models._mini").PIPELINES
    with _no_loading_bar():
        pipe: Pipeline = pipelines[index["_class_name"]].from_pretrained(base, **local, **own)
    return pipe


@contextmanager
def _no_loading_bar() -> Iterator[None]:
    """Hush the bars of transformers and diffusers, for weights that are there at once."""
    names = ("transformers.utils.logging", "diffusers.utils.logging")
    shown = [each for each in map(import_module, names) if each.is_progress_bar_enabled()]
    for each in shown:
        each.disable_progress_bar()
    try:
        yield
    finally:
        for each in shown:
            each.enable_progress_bar()


def _class_of(text: str) -> Any:
    """Return the class that loads a pipeline; diffusers finds its own, and does not know ours."""
    index = Path(text) / INDEX
    kind = json.loads(index.read_text(encoding="utf-8"))["_class_name"] if index.is_file() else ""
    if kind == "LaViePipeline":
        return import_module("attnscope.models.lavie").LaViePipeline
    return import_module("diffusers").DiffusionPipeline


def _load_pipeline(text: str, dtype: torch.dtype, settings: Document) -> Pipeline:
    local = os.path.isdir(text)
    try:
        # what is on disk comes up without a word; a download shows how far it is
        with _no_loading_bar() if local else nullcontext():
            pipe: Pipeline = _class_of(text).from_pretrained(
                text,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=local,
                trust_remote_code=False,
                **settings,
            )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        kind = UnknownModelError if local else SetupError
        raise kind(
            expected="a diffusers pipeline with safetensors weights",
            got=quote(reason, 160),
            where=f"from {text}",
            remedy="check its files",
        ) from error
    _require_whole(pipe, text)
    return pipe


def _require_whole(pipe: Pipeline, text: str) -> None:
    """Refuse a network that asks for more weights than its files hold: what is missing was left without values."""
    for name, part in pipe.components.items():
        weights = part.named_parameters() if hasattr(part, "named_parameters") else ()
        empty = [weight for weight, values in weights if values.is_meta]
        if empty:
            raise UnknownModelError(
                expected=f"weights for all of {name}",
                got=f"none for {empty[0]} ({len(empty)} are missing)",
                where=f"in {text}",
                remedy="fetch its files anew",
            )
