"""What changing a model's attention does to where its films are cut: causal effects of a sweep."""

from __future__ import annotations

import numpy as np
import xarray as xr

from attnscope.errors import InputError
from attnscope.schema import PROMPT
from attnscope.structure.intervals import interval, share_interval

SEED, CELL = "seed", "cell"
UNCHANGED = "none"

_COUNTS = ("num_detected",)
_MEASURES = ("recall", "precision", "transition_control", *_COUNTS)


def causal_effect(swept: xr.Dataset, measure: str = "recall", *, level: float = 0.95) -> xr.Dataset:
    """Say how much each change of a sweep does: its mean over films, how sure that is, and the gain over no change.

    `swept` is what :func:`attnscope.sweep` returns. Means are over seeds first and then over prompts, films without a
    value left out (precision of a film without cuts). `low` and `high` are the interval over prompts: for shares
    `share_interval`, in which the cuts of a film and the seeds of a prompt go together; for counts `interval`.
    `effect` is the mean difference to the cell "none" over the films that both have, with `effect_low` and
    `effect_high` (a difference of shares is a share of the way from -1 to 1); nan where the sweep has no such cell.
    Intervals are nan below three prompts. `num` counts prompts with a value.

    Raises
    ------
    InputError
        The dataset is no sweep, or has no such measure.

    Examples
    --------
    >>> recall = xr.DataArray([[[0.0, 1.0]], [[0.0, 1.0]], [[0.0, 1.0]]], dims=("prompt", "seed", "cell"))
    >>> swept = xr.Dataset({"recall": recall}, {"cell": ["none", "full"]})
    >>> effect = causal_effect(swept)
    >>> effect["mean"].values.tolist(), effect["low"].values.round(2).tolist(), effect["effect"].values.tolist()
    ([0.0, 1.0], [0.0, 0.14], [0.0, 1.0])
    """
    values = _select_measure(swept, measure)
    per_prompt = values.mean(SEED, skipna=True)
    gain = xr.full_like(per_prompt, np.nan)
    if UNCHANGED in per_prompt[CELL].values:
        gain = per_prompt - per_prompt.sel({CELL: UNCHANGED}, drop=True)
    if measure in _COUNTS:
        low, high = interval(per_prompt, level=level)
        effect_low, effect_high = interval(gain, level=level)
    else:
        cuts = float(swept["num_requested"].max()) if "num_requested" in swept else 1.0
        tries = cuts * values.sizes[SEED]
        low, high = share_interval(per_prompt, most_tries=tries, level=level)
        # a difference runs over twice the length of a share: what varies as little counts for four times the tries
        halves = share_interval((1 + gain) / 2, most_tries=4 * tries, level=level)
        effect_low, effect_high = (2 * end - 1 for end in halves)
    found = {
        "mean": per_prompt.mean(PROMPT, skipna=True),
        "low": low,
        "high": high,
        "effect": gain.mean(PROMPT, skipna=True),
        "effect_low": effect_low,
        "effect_high": effect_high,
        "num": per_prompt.notnull().sum(PROMPT),
    }
    return xr.Dataset(found, attrs={"measure": measure, "level": level})


def effect_grid(swept: xr.Dataset, measure: str = "recall", *, rows: str, columns: str) -> xr.DataArray:
    """Lay the cells of a sweep out as a grid: the mean of a measure by two of its labels.

    `rows` and `columns` name what a cell or a film is labelled with: layers, heads, steps, strength, jitter, cell,
    cuts_frame, prompt. The cells "none" and "full" are left out unless `rows` or `columns` is "cell". NaN where the
    grid has no film.

    Raises
    ------
    InputError
        The dataset is no sweep, or has no such measure or label.

    Examples
    --------
    >>> recall = xr.DataArray([[[0.0, 1.0]]], dims=("prompt", "seed", "cell"))
    >>> layers, heads = ("cell", ["7", "8"]), ("cell", ["0", "0"])
    >>> swept = xr.Dataset({"recall": recall}, {"cell": ["a", "b"], "layers": layers, "heads": heads})
    >>> effect_grid(swept, rows="layers", columns="heads").values.tolist()
    [[0.0], [1.0]]
    """
    values = _select_measure(swept, measure)
    for name in (rows, columns):
        if name not in values.coords or rows == columns:
            raise InputError(
                expected=f"two different labels out of {', '.join(map(str, values.coords))}",
                got=f"{rows} and {columns}",
                where="in effect_grid",
                remedy="name others",
            )
    dropped = [] if CELL in (rows, columns) else [UNCHANGED, "full"]
    values = values.sel({CELL: [cell not in dropped for cell in values[CELL].values]})
    flat = values.broadcast_like(values).stack(film=values.dims)
    labels = [flat[name].values for name in (rows, columns)]
    order = [list(dict.fromkeys(each.tolist())) for each in labels]
    grid = np.full([len(each) for each in order], np.nan)
    for place in np.ndindex(*grid.shape):
        chosen = (labels[0] == order[0][place[0]]) & (labels[1] == order[1][place[1]])
        there = flat.values[chosen]
        there = there[~np.isnan(there)]
        if there.size:
            grid[place] = there.mean()
    return xr.DataArray(grid, {rows: order[0], columns: order[1]}, (rows, columns), name=measure)


def _select_measure(swept: xr.Dataset, measure: str) -> xr.DataArray:
    if measure not in _MEASURES or measure not in swept or set(swept[measure].dims) != {PROMPT, SEED, CELL}:
        raise InputError(
            expected=f"a sweep and a measure out of {', '.join(_MEASURES)}",
            got=f"{measure!r}",
            where=f"among {', '.join(map(str, swept.data_vars)) or 'nothing'}",
            remedy="give what attnscope.sweep returned",
        )
    return swept[measure]
