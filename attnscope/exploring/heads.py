"""The statistics of single heads that the explorer shows beside their maps."""

from __future__ import annotations

import numpy as np
import xarray as xr

from attnscope._types import Floats32
from attnscope.schema import DIMS, KEY_FRAME, MASS, QUERY_FRAME, STEP
from attnscope.structure.headline import has_cuts
from attnscope.structure.named import STATISTICS

_LEAD = tuple(dim for dim in DIMS if dim not in (QUERY_FRAME, KEY_FRAME))

HEAD_STATISTICS = tuple(
    STATISTICS[name]
    for name in ("adjusted_r", "adjusted_contrast", "contrast", "own_shot_mass", "first_frame_sink")
)


def measure_heads(dataset: xr.Dataset, mean_over_steps: Floats32) -> Floats32:
    """Measure every head at every step, and first on its map averaged over steps: `(statistics, P, 1 + S, B, L, H)`.

    No statistics at all where no film is known to be cut.
    """
    shape = [dataset.sizes[dim] for dim in _LEAD]
    if not has_cuts(dataset):
        return np.zeros((0, *shape), dtype=np.float32)
    mean = dataset.isel({STEP: [0]}).copy()
    mean[MASS] = (DIMS, mean_over_steps)
    measured = []
    for statistic in HEAD_STATISTICS:
        parts = [statistic.measure(part, over=()).transpose(*_LEAD).values for part in (mean, dataset)]
        measured.append(np.concatenate(parts, axis=_LEAD.index(STEP)).astype(np.float32))
    return np.stack(measured)
