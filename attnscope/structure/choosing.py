"""The best layer or head, chosen on other films than those it is reported on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import xarray as xr

from attnscope.errors import InputError
from attnscope.schema import LAYER, PROMPT


def best_on_other_films(
    values: xr.DataArray, along: str = LAYER, *, num_folds: int = 2, seed: int = 0
) -> xr.Dataset:
    """Report each film at the layer that is best on the other films, so that being the best of many is no merit.

    The highest of thirty values is high by luck too. Films are split by lot into `num_folds` parts; for each part the
    place along `along` with the highest mean over all other parts is chosen, and the part's films are reported there.

    Parameters
    ----------
    values
        A statistic with the dims prompt and `along`, and no other.
    along
        The dim to choose along: layer, head, or a stacked one.
    num_folds
        Parts, from 2 to the number of films; as many as films is "chosen on all the others".
    seed
        Of the split.

    Returns
    -------
    xarray.Dataset
        `value` and `chosen` (the label along `along`) for each prompt; NaN where a film has no value there. Attribute
        `most_chosen`, the label that was chosen for most films.

    Raises
    ------
    InputError
        Other dims than these two, too few films for the folds.

    Examples
    --------
    >>> values = xr.DataArray(
    ...     [[0.9, 0.5], [0.1, 0.5], [0.2, 0.5], [0.1, 0.4]], dims=("prompt", "layer"), coords={"layer": [7, 8]}
    ... )
    >>> found = best_on_other_films(values, num_folds=4)
    >>> found.chosen.values.tolist(), found.value.values.tolist()
    ([8, 8, 8, 8], [0.5, 0.5, 0.5, 0.4])
    """
    if set(values.dims) != {PROMPT, along}:
        raise InputError(
            expected=f"the dims {PROMPT} and {along}",
            got=f"{', '.join(map(str, values.dims)) or 'none'}",
            where="in best_on_other_films",
            remedy="average over the others first",
        )
    table = values.transpose(PROMPT, along).values
    num = len(table)
    if not 2 <= num_folds <= num:
        raise InputError(
            expected=f"from 2 folds to as many as there are films, {num}",
            got=f"{num_folds}",
            where="in best_on_other_films",
            remedy="one film alone has no others to choose on",
        )
    fold = np.random.default_rng(seed).permutation(num) % num_folds
    chosen = np.zeros(num, dtype=np.intp)
    for index in range(num_folds):
        means = np.nanmean(table[fold != index], axis=0)
        if np.isnan(means).all():
            raise InputError(
                expected="a value of the other films somewhere",
                got="none",
                where="in best_on_other_films",
                remedy="leave out what was not measured",
            )
        chosen[fold == index] = int(np.nanargmax(means))
    labels = values[along].values[chosen]
    found = {"value": table[np.arange(num), chosen], "chosen": labels}
    most = Counter(labels.tolist()).most_common(1)[0][0]
    coords = {PROMPT: values[PROMPT]} if PROMPT in values.coords else {}
    return xr.Dataset({name: (PROMPT, value) for name, value in found.items()}, coords, {"most_chosen": most})
