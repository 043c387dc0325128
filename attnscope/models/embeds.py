"""Texts that are encoded already, so that a run needs no text encoder in memory."""

from __future__ import annotations

from pathlib import Path

from attnscope._types import Document
from attnscope.errors import InputError, quote


def read_embeds(path: Path) -> Document:
    """Read encoded texts from a safetensors file, by the names that the pipeline has for them.

    Raises
    ------
    InputError
        The file cannot be read, or holds no prompt.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: Document = dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise InputError(
            expected="a safetensors file",
            got=quote(str(error)),
            where=f"in {quote(str(path))} as --prompt-embeds",
            remedy="check it",
        ) from error
    if "prompt_embeds" not in tensors:
        raise InputError(
            expected="a tensor prompt_embeds",
            got=", ".join(sorted(tensors)) or "nothing",
            where=f"in {quote(str(path))} as --prompt-embeds",
            remedy="name it as the pipeline does",
        )
    return tensors
