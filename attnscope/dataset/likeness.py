"""How alike two pictures are as pictures of one scene: by what is seen in them, and by their colours, in equal parts.

What is seen alone takes the drummer and the guitarist of one band, in one light, for strangers; colours alone take two
deserts for one. Half of each tells scenes apart better than either (experiments/dataset_pipeline). The paper's own
encoder is ImageBind, which nothing that attnscope stands on can load (`attnscope doctor`).

Legend: N pictures, (N, 128, 128, 3) RGB uint8.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from attnscope._types import Floats32, Frames, Vectors
from attnscope.errors import SetupError
from attnscope.metrics.encoders.registry import Encoder, Missing, find_encoder

_SIDE = 128  # pixels; 224 cost three times as much and tell scenes apart no better
_LEVELS = 8  # of brightness and of each colour difference
_TO_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], np.float32)
_STEPS = np.array([32, 16, 16], np.float32)  # grey levels a bin; few colours are stronger than 64


def scene_encoder() -> Encoder:
    """Give what tells how alike the two sides of a cut are: the cosine of its vectors.

    Raises
    ------
    SetupError
        The package that brings its weights is not installed.
    """
    seen = find_encoder("visual", "efficientnet-lite0")
    if isinstance(seen, Missing):
        raise SetupError(
            expected="an encoder of pictures to join shots by",
            got="none",
            where=f"in this environment: {seen.reason}",
            remedy='install attnscope with pip install "attnscope[metrics]"',
        )

    def encode(pictures: Frames) -> Vectors:
        halves = np.concatenate([seen.encode(pictures), encode_colours(pictures)], axis=1)
        return np.asarray(halves * np.float32(0.5**0.5), np.float32)

    return dataclasses.replace(seen, name=f"{seen.name} and colours", side=_SIDE, encode=encode)


def encode_colours(pictures: Frames) -> Floats32:
    """Give vectors of length 1, (N, 512): the root of the share that each colour has of a picture.

    Their cosine is the Bhattacharyya coefficient of the two shares: 1 for the same colours wherever they are, 0 where
    no colour is in both.

    >>> red, blue = np.zeros((2, 1, 4, 4, 3), np.uint8)
    >>> red[..., 0], blue[..., 2] = 255, 255
    >>> half = np.concatenate([red[:, :2], blue[:, :2]], axis=1)
    >>> vectors = encode_colours(np.concatenate([red, blue, half]))
    >>> [[round(float(cosine), 3) for cosine in row] for row in vectors @ vectors.T]
    [[1.0, 0.0, 0.707], [0.0, 1.0, 0.707], [0.707, 0.707, 1.0]]
    """
    tones = (pictures.astype(np.float32) @ _TO_YCBCR.T) / _STEPS
    tones[..., 1:] += _LEVELS / 2  # colour differences are 0 in the middle
    bins = np.clip(tones, 0, _LEVELS - 1).astype(np.int64) @ [_LEVELS**2, _LEVELS, 1]
    counts = [np.bincount(each.ravel(), minlength=_LEVELS**3) for each in bins]
    return np.asarray(np.sqrt(np.stack(counts) / bins[0].size), np.float32)
