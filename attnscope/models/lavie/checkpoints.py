"""The published checkpoints of LaVie and CineTrans-UNet, read without running what they say."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from torch import Tensor

from attnscope._types import Document
from attnscope.errors import InputError, quote
from attnscope.models.lavie.pipeline import LaViePipeline
from attnscope.models.lavie.temporal import ROTARY_SIZE
from attnscope.models.lavie.unet import LaVieUNet

BETAS: Mapping[str, float | str] = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
"""The noise schedule that both publications sample with; that of Stable Diffusion 1 is another one."""

MAX_BYTES = 1 << 35
"""34 GB: the weights of 2 billion parameters in float32, their average, and the state of an optimizer."""

_AVERAGE = "ema"
_ROTARY = re.compile(r"\.attn_temp\.rotary_emb\.freqs$")


def read_checkpoint(path: str | os.PathLike[str], *, sha256: str | None = None) -> dict[str, Tensor]:
    """Read the weights of a published checkpoint by name: `lavie_base.pt`, or `checkpoint.pt` of CineTrans-UNet.

    Of a torch archive only the tensors are read, nothing in it is run; where it holds a running average of the weights
    (`ema`), that is taken, as the authors do. A safetensors file is read as it is. With `sha256`, the file must have
    the content that hashes to it.

    Raises
    ------
    InputError
        There is no such file, it is damaged or not the one that was meant, or it asks for more than tensors.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(
            expected="a checkpoint of LaVie",
            got="no file",
            where=f"at {quote(str(file))}",
            remedy="give its path",
        )
    if sha256 is not None:
        _require_content(file, sha256)
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    return _read_archive(file)


def config_of(weights: Mapping[str, Tensor]) -> Document:
    """Read the sizes of the UNet off the shapes of its weights.

    Raises
    ------
    InputError
        They are not those of LaVie.
    """

    def shape(name: str) -> tuple[int, ...]:
        if name not in weights:
            raise InputError(
                expected="weights of LaVie",
                got=f"none called {name}",
                where=f"among {len(weights)}",
                remedy="give a checkpoint of LaVie or CineTrans-UNet",
            )
        return tuple(weights[name].shape)

    def count(pattern: str) -> int:
        return len({match[1] for name in weights if (match := re.match(pattern, name))})

    block = "down_blocks.0.attentions.0.transformer_blocks.0"
    num_stages = count(r"down_blocks\.(\d+)\.")
    return {
        "in_channels": shape("conv_in.weight")[1],
        "out_channels": shape("conv_out.weight")[0],
        "block_out_channels": tuple(
            shape(f"down_blocks.{index}.resnets.0.conv1.weight")[0] for index in range(num_stages)
        ),
        "layers_per_block": count(r"down_blocks\.0\.resnets\.(\d+)\."),
        "num_heads": shape(f"{block}.attn_temp.time_rel_pos_bias.relative_attention_bias.weight")[1],
        "text_width": shape(f"{block}.attn2.to_k.weight")[1],
    }


def unet_from(weights: Mapping[str, Tensor], **config: object) -> LaVieUNet:
    """Build the denoiser out of weights with the published names; every one of them must find its place.

    The sizes are read off the shapes; what shapes do not say (`num_groups`) can be given.

    Raises
    ------
    InputError
        Weights are missing, or there are others, or they have other shapes, or other rotary frequencies.
    """
    kept = {name: weight for name, weight in weights.items() if not _ROTARY.search(name)}
    for name in weights.keys() - kept.keys():
        _require_frequencies(name, weights[name])
    with torch.device("meta"):
        unet = LaVieUNet(**{**config_of(kept), **config})
    expected = unet.state_dict()
    _require_names(kept.keys() - expected.keys(), "others, such as")
    _require_names(expected.keys() - kept.keys(), "none called")
    for name, weight in kept.items():
        if weight.shape != expected[name].shape:
            raise InputError(
                expected=f"shape {tuple(expected[name].shape)}",
                got=f"{tuple(weight.shape)} as {name}",
                where="in a checkpoint of LaVie",
                remedy="fetch it anew",
            )
    unet.load_state_dict(kept, assign=True)
    built: LaVieUNet = unet.eval()
    return built


def pipeline_from(
    checkpoint: str | os.PathLike[str],
    stable_diffusion: str | os.PathLike[str],
    *,
    dtype: torch.dtype = torch.float32,
    sha256: str | None = None,
    **components: object,
) -> LaViePipeline:
    """Put a published checkpoint and a folder of Stable Diffusion 1 (diffusers format) together to a pipeline.

    Save it with `save_pretrained`; from then on `attnscope.load` takes the folder. `components` replace those of the
    folder: `text_encoder` and `tokenizer` (LongCLIP) and `vae` (that of Stable Video Diffusion) for CineTrans-UNet.
    `sha256` is what the checkpoint must hash to.

    Raises
    ------
    InputError
        The checkpoint is not one of LaVie.
    """
    unet: Any = unet_from(read_checkpoint(checkpoint, sha256=sha256))
    parts = {"unet": None, "safety_checker": None, "feature_extractor": None, **components}
    loader: Any = DiffusionPipeline  # untyped calls
    base = loader.from_pretrained(
        stable_diffusion,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        **parts,
    )
    make_scheduler: Any = DDIMScheduler.from_config
    scheduler = make_scheduler(base.scheduler.config, **BETAS)
    return LaViePipeline(base.vae, base.text_encoder, base.tokenizer, unet.to(dtype), scheduler)


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError as error:
        raise InputError(
            expected="a safetensors file of weights",
            got=quote(str(error), 100),
            where=f"in {quote(str(file))}",
            remedy="fetch it anew",
        ) from error


def _read_archive(file: Path) -> dict[str, Tensor]:
    """Map the tensors of a torch archive into memory; any call that its pickle asks for is refused, not made."""
    try:
        _require_sound_archive(file)
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch names no kinds of error for files that are damaged or forged
        raise InputError(
            expected="a torch archive of tensors alone",
            got=quote(str(error), 100),
            where=f"in {quote(str(file))}",
            remedy="fetch it anew, or convert it to safetensors where you trust it",
        ) from error
    if isinstance(content, dict) and isinstance(content.get(_AVERAGE), dict):
        content = content[_AVERAGE]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(each, Tensor) for name, each in content.items()
    ):
        raise InputError(
            expected="a dictionary of tensors",
            got=quote(content),
            where=f"in {quote(str(file))}",
            remedy="give the weights alone",
        )
    return content


def _require_sound_archive(file: Path) -> None:
    """Refuse what is too large, what would grow when it is unpacked, and what its own checksums do not fit."""
    if file.stat().st_size > MAX_BYTES:
        raise ValueError(f"a file of more than {MAX_BYTES} bytes")
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(each.compress_type != zipfile.ZIP_STORED for each in entries):
            raise ValueError("parts that are packed, which torch does not write")
        if sum(each.file_size for each in entries) > file.stat().st_size:
            raise ValueError("parts that are larger than the file")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"a checksum that does not fit, of {damaged}")


def _require_content(file: Path, sha256: str) -> None:
    with open(file, "rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != sha256.lower():
        raise InputError(
            expected=f"a checkpoint with the sha256 {quote(sha256)}",
            got=found,
            where=f"in {quote(str(file))}",
            remedy="fetch it anew",
        )


def _require_frequencies(name: str, frequencies: Tensor) -> None:
    """The angles are computed and not stored; a checkpoint that was trained with others would be misread."""
    _, sin = get_1d_rotary_pos_embed(ROTARY_SIZE, 2, use_real=True)
    expected = sin[1, ::2].arcsin()
    if frequencies.shape != expected.shape or not torch.allclose(
        frequencies.float(), expected, rtol=2e-3, atol=1e-4
    ):
        raise InputError(
            expected=f"{len(expected)} rotary frequencies from 1 down to 1e-4",
            got=quote(frequencies.tolist(), 60),
            where=f"as {name}",
            remedy="this is another model",
        )


def _require_names(names: set[str], what: str) -> None:
    if names:
        raise InputError(
            expected="the weights of LaVie and no others",
            got=f"{what} {min(names)} ({len(names)} such)",
            where="in a checkpoint",
            remedy="give one of LaVie or CineTrans-UNet",
        )
