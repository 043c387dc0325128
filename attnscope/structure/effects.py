"""What changing a model's attention does to where its films are cut: causal effects of a sweep."""

from __future__ import annotations

import numpy as np
import xarray as xr

from attnscope.errors import InputError
from attnscope.schema import PROMPT
from attnscope.structure.intervals import bootstrap

SEED, CELL = "seed", "cell"
UNCHANGED = "none"

_MEASURES = ("recall", "precision", "transition_control", "num_detected")


def causal_effect(
    swept: xr.Dataset, measure: str = "recall", *, level: float = 0.95, num_draws: int = 2000, seed: int = 0
) -> xr.Dataset:
    """Say how much each change of a sweep does: its mean over films, how sure that is, and the gain over no change.

    `swept` is what :func:`attnscope.sweep` returns. Means are over seeds first and then over prompts, films without a
    value left out (precision of a film without cuts). `low` and `high` are bootstrapped over prompts. `effect` is the
    mean difference to the cell "none" over the films that both have, with `effect_low` and `effect_high`; nan where the
    sweep has no such cell. `num` counts prompts with a value.

    Raises: InputError (no sweep, no such measure).

    >>> recall = xr.DataArray([[[0.0, 1.0]], [[0.0, 0.0]]], dims=("prompt", "seed", "cell"))
    >>> swept = xr.Dataset({"recall": recall}, {"cell": ["none", "full"]})
    >>> effect = causal_effect(swept)
    >>> effect["mean"].values.tolist(), effect["effect"].values.tolist()
    ([0.0, 0.5], [0.0, 0.5])
    """
    per_prompt = _measured(swept, measure).mean(SEED, skipna=True)
    options = {"level": level, "num_draws": num_draws, "seed": seed}
    low, high = bootstrap(per_prompt, **options)  # type: ignore[arg-type]
    found = {"mean": per_prompt.mean(PROMPT, skipna=True), "low": low, "high": high}
    gain = xr.full_like(per_prompt, np.nan)
    if UNCHANGED in per_prompt[CELL].values:
        gain = per_prompt - per_prompt.sel({CELL: UNCHANGED}, drop=True)
    effect_low, effect_high = bootstrap(gain, **options)  # type: ignore[arg-type]
    found |= {
        "effect": gain.mean(PROMPT, skipna=True), "effect_low": effect_low, "effect_high": effect_high,
        "num": per_prompt.notnull().sum(PROMPT),
    }  # fmt: skip
    return xr.Dataset(found, attrs={"measure": measure, "level": level})


def effect_grid(swept: xr.Dataset, measure: str = "recall", *, rows: str, columns: str) -> xr.DataArray:
    """Lay the cells of a sweep out as a grid: the mean of a measure by two of its labels.

    `rows` and `columns` name what a cell or a film is labelled with: layers, heads, steps, strength, jitter, cell,
    cuts_frame, prompt. The cells "none" and "full" are left out unless `rows` or `columns` is "cell". NaN where the
    grid has no film.

    Raises: InputError (no sweep, no such measure or label).

    >>> recall = xr.DataArray([[[0.0, 1.0]]], dims=("prompt", "seed", "cell"))
    >>> layers, heads = ("cell", ["7", "8"]), ("cell", ["0", "0"])
    >>> swept = xr.Dataset({"recall": recall}, {"cell": ["a", "b"], "layers": layers, "heads": heads})
    >>> effect_grid(swept, rows="layers", columns="heads").values.tolist()
    [[0.0], [1.0]]
    """
    values = _measured(swept, measure)
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


def _measured(swept: xr.Dataset, measure: str) -> xr.DataArray:
    if measure not in _MEASURES or measure not in swept or set(swept[measure].dims) != {PROMPT, SEED, CELL}:
        raise InputError(
            expected=f"a sweep and a measure out of {', '.join(_MEASURES)}",
            got=f"{measure!r}",
            where=f"among {', '.join(map(str, swept.data_vars)) or 'nothing'}",
            remedy="give what attnscope.sweep returned",
        )
    return swept[measure]
