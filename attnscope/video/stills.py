"""Single pictures of a film for a page or a message: as JPEG, and as an address that holds the picture itself."""

from __future__ import annotations

import base64
import io

import numpy as np

from attnscope._types import Frames


def encode_jpeg(picture: Frames, *, quality: int = 80) -> bytes:
    """Compress one picture, (H, W, 3) RGB uint8."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def embed_jpeg(picture: Frames, *, quality: int = 80) -> str:
    """Write one picture as a `data:` address: a page with it needs no other file.

    >>> embed_jpeg(np.zeros((8, 8, 3), np.uint8))[:27]
    'data:image/jpeg;base64,/9j/'
    """
    return f"data:image/jpeg;base64,{base64.b64encode(encode_jpeg(picture, quality=quality)).decode('ascii')}"
