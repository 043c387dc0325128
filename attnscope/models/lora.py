"""A LoRA on disk: which file, how strongly, and whether it was made for this model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from attnscope._types import Document
from attnscope.checks import is_number
from attnscope.errors import InputError, quote
from attnscope.models.headers import StoredTensor, read_header

# The weight that meets the layer's input, as diffusers writes it: transformer.blocks.0.attn1.to_q.lora_A.weight.
_INWARD = re.compile(r"(?:(?P<part>transformer|transformer_2|unet)\.)?(?P<layer>.+)\.lora_A\.weight")


@dataclass(frozen=True)
class LoraFile:
    """A file of low-rank changes to a model's weights, and the strength that they get."""

    path: Path
    scale: float
    tensors: Mapping[str, StoredTensor]

    @classmethod
    def read(cls, text: str) -> LoraFile:
        """Read "path/to/file.safetensors" or "path/to/file.safetensors:0.8".

        Raises
        ------
        InputError
            There is no such file, it is no LoRA, or the strength is no number.
        """
        name, _, strength = text.rpartition(":") if _ends_in_number(text) else (text, "", "1")
        path = Path(name)
        scale = float(strength)
        if not is_number(scale):
            raise InputError(
                expected="a finite strength",
                got=quote(strength),
                where=f"as scale of the LoRA {name}",
                remedy="write for instance :0.8",
            )
        if path.suffix != ".safetensors" or not path.is_file():
            raise InputError(
                expected="a LoRA as a .safetensors file",
                got=f"{quote(name)}, which is none",
                where="as lora",
                remedy="check the path; a strength stands behind a colon, as in file.safetensors:0.8",
            )
        tensors = read_header(path)
        if not any("lora" in each for each in tensors):
            raise InputError(
                expected="a file with LoRA weights",
                got=f"none among {len(tensors)} tensors",
                where=f"in {path}",
                remedy="give the file that the training wrote",
            )
        return cls(path, scale, tensors)

    def require_fitting(self, parts: Mapping[str, Mapping[str, StoredTensor]]) -> None:
        """Refuse a LoRA whose layers this model does not have, or has in another width.

        Nothing is said where the model's parts are not on this disk, or the file names layers in a way of its own.

        Raises
        ------
        InputError
            The first layer that does not fit.
        """
        if not parts:
            return
        for name, tensor in self.tensors.items():
            found = _INWARD.fullmatch(name)
            if found is None:
                continue
            part = found["part"] if found["part"] in parts else next(iter(parts))
            base = parts[part].get(f"{found['layer']}.weight")
            width = None if base is None or len(base.shape) < 2 else base.shape[1]
            if width != tensor.shape[-1]:
                has = "no such layer" if base is None else f"a layer of width {width}"
                raise InputError(
                    expected=f"a LoRA of this model, which has {has} {found['layer']}",
                    got=f"weights of width {tensor.shape[-1]} for it",
                    where=f"in {self.path}",
                    remedy="give a LoRA that was trained on this model",
                )

    def describe(self) -> str:
        """Say which file, and how strongly."""
        return f"{self.path.name}:{self.scale:g}"

    def record(self) -> Document:
        """Say which file it is whatever it is called: by its content."""
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        return {"file": self.path.name, "scale": self.scale, "sha256": digest}


def _ends_in_number(text: str) -> bool:
    _, colon, strength = text.rpartition(":")
    try:
        float(strength)
    except ValueError:
        return False
    return bool(colon)
