"""Pearson correlation of a frame map with the same-shot indicator."""

from __future__ import annotations

import numpy as np

from attnscope._types import Floats
from attnscope.structure.arrays.pair_means import Ints, Mass, distance, is_known, same_shot, select_pairs

# Below this relative spread a map is flat to rounding, and a correlation with it is noise: NaN.
_FLAT = 1e-10


def _centre(values: Floats, group: Ints) -> Floats:
    """Subtract from each value the mean of its group: `(..., N)` with group numbers `(N,)`."""
    member = (group[:, None] == np.unique(group)[None, :]).astype(np.float64)
    mean = values @ (member / member.sum(axis=0))
    return np.asarray(values - mean @ member.T)


def _spread(centred: Floats, values: Floats) -> Floats:
    """Give the root of the sum of squares, NaN where it is only rounding."""
    spread = np.sqrt((centred**2).sum(axis=-1))
    return np.where(spread > _FLAT * np.sqrt((values**2).sum(axis=-1)), spread, np.nan)


def correlation(mass: Mass, shot: Ints, *, diagonal: bool = False, distance_removed: bool = False) -> Floats:
    """Correlate maps with the same-shot indicator: `(..., F, F)`, `(..., F)` -> `(...)`, NaN without a plan."""
    num_frames = mass.shape[-1]
    pairs = select_pairs(num_frames, diagonal=diagonal, first_key_frame=True)
    lag = distance(num_frames)[pairs]
    group = lag if distance_removed else np.zeros_like(lag)
    x = mass[..., pairs].astype(np.float64)
    y = same_shot(shot)[..., pairs].astype(np.float64)
    x_centred, y_centred = _centre(x, group), _centre(y, group)
    r = (x_centred * y_centred).sum(axis=-1) / (_spread(x_centred, x) * _spread(y_centred, y))
    return np.where(is_known(shot), r, np.nan)
