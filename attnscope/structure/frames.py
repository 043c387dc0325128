"""Statistics as tables for pandas, and at hand on the dataset itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import xarray as xr
from typing_extensions import override

from attnscope.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_ACCESSIBLE = (
    "adjusted_contrast",
    "adjusted_r",
    "boundaries",
    "compare",
    "contrast",
    "correlation",
    "cut_test",
    "distance_only_contrast",
    "first_frame_sink",
    "lag_matched_contrast",
    "mean_map",
    "own_shot_mass",
    "place_matched_contrast",
    "pooled_contrast",
    "rank_heads",
    "summary",
    "with_cuts",
)


def to_frame(values: xr.DataArray | xr.Dataset, *, dropna: bool = True) -> pd.DataFrame:
    """Lay a statistic out as a table with one line for each number, as pandas, seaborn and statsmodels want it.

    Parameters
    ----------
    values
        Any statistic: labelled numbers without the frame dims, or a dataset of such.
    dropna
        Leave out lines without a value: single-shot films, steps that were not recorded.

    Returns
    -------
    pandas.DataFrame
        A column for each dim, each coordinate along them (text, seed, sigma, module, ...) and each statistic.

    Raises
    ------
    InputError
        A single number, which needs no table.

    Examples
    --------
    >>> from attnscope import structure, synthetic
    >>> frame = to_frame(structure.contrast(synthetic.example(contrast=10.0), over=["step"]))
    >>> print(len(frame), *frame.loc[0, ["layer", "head", "module"]], round(frame["contrast"].mean(), 3))
    8 1 0 blocks.0.attn1 10.0
    """
    if not values.dims:
        raise InputError(
            expected="values along at least one dim",
            got="a single number",
            where="in to_frame",
            remedy="float(values) is the number",
        )
    named = values.to_dataset(name=values.name or "value") if isinstance(values, xr.DataArray) else values
    frame = named.to_dataframe().reset_index()
    return (
        frame.dropna(subset=list(map(str, named.data_vars)), how="all").reset_index(drop=True)
        if dropna
        else frame
    )


@xr.register_dataset_accessor("attn")  # type: ignore[no-untyped-call]
class AttentionAccessor:
    """The statistics of an attention dataset at hand: `ds.attn.contrast()` is `structure.contrast(ds)`.

    There as soon as `attnscope.structure` is imported. It adds nothing to the dataset and keeps nothing.

    Examples
    --------
    >>> from attnscope import synthetic
    >>> round(float(synthetic.example(contrast=10.0).attn.contrast().mean()), 3)
    10.0
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in _ACCESSIBLE:
            raise AttributeError(
                f"an attention dataset has no statistic {name!r}; it has {', '.join(_ACCESSIBLE)}"
            )
        return partial(getattr(import_module("attnscope.structure"), name), self._dataset)

    @override
    def __dir__(self) -> list[str]:
        return list(_ACCESSIBLE)
