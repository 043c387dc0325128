"""Two runs of the same films, film by film: what changed, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from attnscope.errors import InputError
from attnscope.schema import PROMPT, SEED, TEXT
from attnscope.structure.intervals import interval, mean_over
from attnscope.structure.maps import AVERAGED
from attnscope.structure.named import find_statistic


def compare(
    a: xr.Dataset,
    b: xr.Dataset,
    statistic: str = "adjusted_contrast",
    *,
    over: Sequence[str] = AVERAGED,
    level: float = 0.95,
) -> xr.Dataset:
    """Say what changes from one run to another of the same films, and how sure that is: with and without a mask, say.

    Films are paired by prompt and seed (`text` and `seed`). Each pair gives one change: the difference of its two
    values, b minus a; for ratios, such as every contrast, their quotient b / a. Seeds of one prompt are averaged first,
    because they are not independent of each other, so that each prompt counts once; the interval is Student's over
    prompts. Films that only one of the two has are left out.

    Parameters
    ----------
    a, b
        Attention datasets with shots attached; layers, heads and steps are matched by label.
    statistic
        adjusted_r, adjusted_contrast, contrast, distance_only_contrast, lag_matched_contrast, own_shot_mass,
        correlation or first_frame_sink.
    over
        Maps are averaged along these dims first.
    level
        Of the interval.

    Returns
    -------
    xarray.Dataset
        `a` and `b`, the means of both over prompts; `change` from a to b, `low`, `high` (NaN below three prompts) and
        `num`, prompts with a value in both. Dims: those of the statistic without prompt. Attributes: `statistic`,
        `change` ("difference" or "ratio"), `num_pairs`, `level`.

    Raises
    ------
    InputError
        No such statistic, no film that both have, a film that is there twice, no layer in common.
    SchemaError, ShotPlanError
        No frame maps, or no shots.

    Examples
    --------
    >>> import attnscope as scope
    >>> a, b = scope.synthetic.example(contrast=2.0), scope.synthetic.example(contrast=6.0)
    >>> found = compare(a, b)
    >>> found["change"].mean().round(3).item(), found.attrs["change"], found["num"].max().item()
    (3.0, 'ratio', 1)
    """
    chosen = find_statistic(statistic, "in compare")
    first, second = _pair(chosen.measure(a, over=over), chosen.measure(b, over=over))
    scale = chosen.scale
    with np.errstate(divide="ignore", invalid="ignore"):
        change = second / first if scale == "log" else second - first
    # a pair that only one side has a value for is no pair
    known = np.isfinite(change)
    by_prompt = {
        name: _mean_over_seeds(values.where(known), scale)
        for name, values in (("a", first), ("b", second), ("change", change))
    }
    low, high = interval(by_prompt["change"], level=level, scale=scale)
    found = {name: mean_over(values, scale=scale) for name, values in by_prompt.items()}
    return xr.Dataset(
        {**found, "low": low, "high": high, "num": by_prompt["change"].notnull().sum(PROMPT)},
        attrs={
            "statistic": statistic,
            "change": "ratio" if scale == "log" else "difference",
            "num_pairs": first.sizes[PROMPT],
            "level": level,
        },
    )


def _pair(a: xr.DataArray, b: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Put the films of both in one order, and keep the labels that both have along every other dim."""
    sides = [each if PROMPT in each.dims else each.expand_dims(PROMPT) for each in (a, b)]
    names = [film_names(each) for each in sides]
    twice = [name for each in names for name in each if each.count(name) > 1]
    shared = [name for name in names[0] if name in names[1]]
    if twice or not shared:
        raise InputError(
            expected="films with a prompt and seed that both have, each once",
            got=f"{twice[0]} twice"
            if twice
            else f"{len(names[0])} and {len(names[1])} films and none in common",
            where="in compare",
            remedy="probe the same prompts and seeds twice",
        )
    first, second = (
        each.isel({PROMPT: [own.index(name) for name in shared]})
        for each, own in zip(sides, names, strict=True)
    )
    second = second.assign_coords({PROMPT: first[PROMPT].values})
    first = first.assign_coords({PROMPT: first[PROMPT].values})
    first, second = xr.align(first, second, join="inner")
    if not first.size:
        raise InputError(
            expected="two runs that share a layer, a head and a step where these are kept apart",
            got="none in common",
            where="in compare",
            remedy="select what both have, or average over it",
        )
    return first, second


def film_names(values: xr.DataArray) -> list[tuple[str, int]]:
    """Name every film by prompt and seed, what it is made of; by its place where neither is known."""
    for name in (TEXT, SEED):
        more = [str(dim) for dim in values[name].dims if dim != PROMPT] if name in values.coords else []
        if more:
            raise InputError(
                expected=f"one {name} for each film along {PROMPT}",
                got=f"{name}s that differ along {', '.join(more)}",
                where="in the dataset",
                remedy=f"select one along it, as in ds.isel({more[0]}=0)",
            )
    num = values.sizes[PROMPT]
    texts = values[TEXT].values.reshape(-1).tolist() if TEXT in values.coords else [""] * num
    seeds = values[SEED].values.reshape(-1).tolist() if SEED in values.coords else range(num)
    return [(str(text), int(seed)) for text, seed in zip(texts, seeds, strict=True)]


def _mean_over_seeds(values: xr.DataArray, scale: str) -> xr.DataArray:
    """Average films of the same prompt; a film without a text is a prompt of its own."""
    groups = prompt_groups(film_names(values))
    means = [
        mean_over(values.isel({PROMPT: np.flatnonzero(groups == group)}), scale=scale)  # type: ignore[arg-type]
        for group in range(groups.max() + 1)
    ]
    return xr.concat(means, PROMPT, coords="minimal", compat="override")


def prompt_groups(names: Sequence[tuple[str, int]]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Number the prompts: films of one text belong together, films without a text do not.

    >>> prompt_groups([("a dog", 0), ("a cat", 0), ("a dog", 1), ("", 0), ("", 1)]).tolist()
    [0, 1, 0, 2, 3]
    """
    keys = [text or place for place, (text, _) in enumerate(names)]
    order = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.asarray([order[key] for key in keys], dtype=np.intp)
