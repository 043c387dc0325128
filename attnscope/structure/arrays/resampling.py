"""Bootstrap on plain arrays."""

from __future__ import annotations

import numpy as np

from attnscope.structure.arrays.pair_means import Floats


def percentile_interval(values: Floats, *, level: float, num_draws: int, seed: int) -> Floats:
    """Give the percentile interval of the mean of the last axis: `(..., N)` -> `(..., 2)`, NaN below two values.

    Values that are NaN are left out of each resampled mean; the same resampling serves all leading positions.
    """
    num = values.shape[-1]
    draw = np.random.default_rng(seed).integers(num, size=(num_draws, num))
    weight = np.zeros((num_draws, num))
    np.add.at(weight, (np.arange(num_draws)[:, None], draw), 1.0)
    present = ~np.isnan(values)
    total = np.where(present, values, 0.0) @ weight.T
    count = present.astype(np.float64) @ weight.T
    means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    tail = 100 * (1 - level) / 2
    enough = present.sum(axis=-1) >= 2
    ends = np.full((*values.shape[:-1], 2), np.nan)
    if enough.any():
        ends[enough] = np.nanpercentile(means[enough], [tail, 100 - tail], axis=-1).T
    return ends
