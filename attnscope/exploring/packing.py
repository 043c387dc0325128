"""An attention dataset as a browser takes it: labels as JSON, and every map in 256 levels of its own.

Legend: P prompts, S places along the steps (0 is the mean over them), B branches, L layers, H heads, F latent frames.
"""

from __future__ import annotations

import gzip
import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from attnscope._types import Document, Floats32, Numbers
from attnscope.errors import SchemaError
from attnscope.exploring.films import Sprite
from attnscope.exploring.heads import HEAD_STATISTICS, measure_heads
from attnscope.schema import BRANCH, DIMS, HEAD, KEY_FRAME, LAYER, MASS, PROMPT, QUERY_FRAME, QUERY_SHOT, STEP
from attnscope.structure.named import Statistic

ZERO, MISSING, LEVELS = 0, 255, 253
"""Level of a share of exactly 0, of a map that was not recorded, and how many steps lie between 1 and 254."""

MOST_MB = 11.5
"""How large the maps of a page may be: all of a model of 30 layers and 12 heads over 50 steps of 21 latent frames."""

_MOST_DECADES = 5
_BASE64 = 4 / 3


@dataclass(frozen=True)
class Packed:
    """One store for a browser: `index` says what is where in `data`, which is gzipped."""

    index: Document
    data: bytes


def pack(
    dataset: xr.Dataset, *, name: str, sprites: Sequence[Sprite | None] = (), most_mb: float = MOST_MB
) -> Packed:
    """Pack an attention dataset so that a browser can show every map of it.

    The shares of one map are kept as 254 levels, evenly spaced in their logarithm between the smallest and the largest
    one of that map; 0 and what was not recorded have levels of their own. `index["precision"]` is how far a share may
    be from what was measured, relative to it. Place 0 along the steps is the mean over all recorded ones. Where the
    result would be larger than `most_mb` (as text in a page, before it is compressed), steps are left out evenly, then
    films from the end; `index["left_out"]` says how many.

    Raises
    ------
    SchemaError
        The dataset has no frame maps.

    Examples
    --------
    >>> from attnscope import synthetic
    >>> packed = pack(synthetic.example(), name="example")
    >>> packed.index["layers"], [step["step"] for step in packed.index["steps"]]
    ([1, 2, 3, 4], [None, 0, 1, 2])
    """
    whole = _with_all_dims(dataset)
    kept, left_out = _fit(whole, most_mb)
    mass = np.asarray(kept[MASS].values, dtype=np.float32)  # P, S, B, L, H, F, F
    recorded = np.isfinite(mass).any(axis=(-2, -1), keepdims=True)
    average = _mean_over_steps(whole.isel({PROMPT: slice(kept.sizes[PROMPT])}))
    codes, ranges = encode(np.concatenate([average, np.where(recorded, mass, np.nan)], axis=1))
    values = measure_heads(kept, average)
    index = {
        "name": name,
        **_labels(kept, sprites),
        "left_out": left_out,
        "statistics": [
            {**_describe(statistic), "reach": _reach(each, statistic.scale, statistic.neutral or 0.0)}
            for statistic, each in zip(HEAD_STATISTICS, values, strict=False)
        ],
        "scale": _scale(ranges),
        "precision": _precision(ranges),
        "colours": _colours(),
    }
    index["parts"], data = _join(ranges=ranges, statistics=values, codes=codes)
    return Packed(index, gzip.compress(data, 6, mtime=0))


def encode(mass: Floats32) -> tuple[NDArray[np.uint8], Floats32]:
    """Turn maps `(..., F, F)` into levels, and the logarithms of their smallest and largest share `(..., 2)`.

    >>> codes, ranges = encode(np.array([[[0.0, 1.0], [0.25, 0.125]]], dtype=np.float32))
    >>> codes.tolist(), np.exp(-ranges).round(2).tolist()
    ([[[0, 254], [85, 1]]], [[8.0, 1.0]])
    """
    missing, zero = ~np.isfinite(mass), mass <= 0
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(missing | zero, np.nan, np.log(mass))
    empty = np.isnan(logs)
    low = np.where(empty, np.inf, logs).min(axis=(-2, -1))
    high = np.where(empty, -np.inf, logs).max(axis=(-2, -1))
    low, high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)
    span = np.where(high > low, high - low, 1.0)[..., None, None]
    levels = 1 + np.round(LEVELS * np.nan_to_num(logs - low[..., None, None]) / span)
    codes = np.where(missing, MISSING, np.where(zero, ZERO, levels)).astype(np.uint8)
    return codes, np.stack([low, high], axis=-1).astype(np.float32)


def decode(codes: NDArray[np.uint8], ranges: Floats32) -> Floats32:
    """Turn levels back into shares, as the explorer does.

    >>> codes, ranges = encode(np.array([[[0.0, 1.0], [0.5, 0.25]]], dtype=np.float32))
    >>> decode(codes, ranges).round(2).tolist()
    [[[0.0, 1.0], [0.5, 0.25]]]
    """
    low, high = ranges[..., 0, None, None], ranges[..., 1, None, None]
    shares = np.exp(low + (codes.astype(np.float32) - 1) * (high - low) / LEVELS)
    return np.where(codes == MISSING, np.nan, np.where(codes == ZERO, 0, shares)).astype(np.float32)


def _with_all_dims(dataset: xr.Dataset) -> xr.Dataset:
    if MASS not in dataset or not {QUERY_FRAME, KEY_FRAME} <= set(dataset[MASS].dims):
        raise SchemaError(
            expected=f"a variable {MASS!r} with dims {QUERY_FRAME} and {KEY_FRAME}",
            got=f"variables {sorted(map(str, dataset.data_vars))}",
            where="to explore",
            remedy="pass what probe or open_store returned",
        )
    for dim in DIMS:
        if dim not in dataset[MASS].dims:
            dataset = dataset.expand_dims(dim) if dim in dataset.coords else dataset.expand_dims({dim: [0]})
    return dataset.transpose(*DIMS, ...)


def _fit(dataset: xr.Dataset, most_mb: float) -> tuple[xr.Dataset, dict[str, int]]:
    """Leave out steps, evenly, and then films, until what is left has room."""
    num_prompts, num_steps = dataset.sizes[PROMPT], dataset.sizes[STEP]
    num_values = dataset.sizes[QUERY_FRAME] * dataset.sizes[KEY_FRAME] + 4 * (2 + len(HEAD_STATISTICS))
    one = _BASE64 * num_values * math.prod(dataset.sizes[dim] for dim in (BRANCH, LAYER, HEAD))
    room = max(int(most_mb * 1e6 / one), 2)
    prompts = min(num_prompts, max(room // 2, 1))
    steps = min(num_steps, max(room // prompts - 1, 1))
    taken = np.unique(np.linspace(0, num_steps - 1, steps).round().astype(int))
    left_out = {"steps": num_steps - len(taken), "films": num_prompts - prompts}
    return dataset.isel({PROMPT: slice(prompts), STEP: taken}), left_out


def _mean_over_steps(dataset: xr.Dataset) -> Floats32:
    mean = dataset[MASS].mean(STEP, skipna=True, dtype=np.float64).transpose(*(d for d in DIMS if d != STEP))
    return np.asarray(mean.values, dtype=np.float32)[:, None]


def _labels(dataset: xr.Dataset, sprites: Sequence[Sprite | None]) -> Document:
    def values(name: str, dim: str, missing: object) -> list[Any]:
        if name not in dataset.coords:
            return [missing] * dataset.sizes[dim]
        found = dataset[name].values.tolist()  # one value where the dim was selected out
        return found if isinstance(found, list) else [found] * dataset.sizes[dim]

    films = [*sprites, *[None] * dataset.sizes[PROMPT]]
    sigmas = [None if math.isnan(each) else each for each in values("sigma", STEP, math.nan)]
    return {
        "prompts": [
            {"id": prompt, "text": text, "seed": seed, "cuts": cuts, "film": film and film.described}
            for prompt, text, seed, cuts, film in zip(
                values(PROMPT, PROMPT, 0),
                values("text", PROMPT, ""),
                values("seed", PROMPT, 0),
                _cuts(dataset),
                films,
                strict=False,
            )
        ],
        "steps": [
            {"step": None, "sigma": None},
            *(
                {"step": step, "sigma": sigma}
                for step, sigma in zip(values(STEP, STEP, 0), sigmas, strict=True)
            ),
        ],
        "branches": [str(each) for each in values(BRANCH, BRANCH, "cond")],
        "layers": values(LAYER, LAYER, 1),
        "modules": values("module", LAYER, ""),
        "heads": values(HEAD, HEAD, 0),
        "frames": [
            {"start": start, "stop": stop, "start_s": start_s}
            for start, stop, start_s in zip(
                values("query_start_frame", QUERY_FRAME, 0),
                values("query_stop_frame", QUERY_FRAME, 0),
                values("query_start_s", QUERY_FRAME, 0.0),
                strict=True,
            )
        ],
    }


def _cuts(dataset: xr.Dataset) -> list[list[int]]:
    """The first latent frame of each later shot, a list for each prompt."""
    if QUERY_SHOT not in dataset.coords:
        return [[] for _ in range(dataset.sizes[PROMPT])]
    shots = dataset[QUERY_SHOT].broadcast_like(dataset[PROMPT]).transpose(PROMPT, QUERY_FRAME).values
    return [(np.flatnonzero(np.diff(row)) + 1).tolist() for row in shots]


def _describe(statistic: Statistic) -> Document:
    return {name: getattr(statistic, name) for name in ("name", "label", "neutral", "scale")}


def _reach(values: Floats32, scale: str, neutral: float) -> float:
    """How far from its neutral value a statistic goes, but for its most extreme fiftieth: the full length of a bar."""
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.abs(np.log(values / neutral) if scale == "log" else values - neutral)
    known = away[np.isfinite(away)]
    return max(float(np.quantile(known, 0.98)), 0.05) if known.size else 1.0


def _scale(ranges: Floats32) -> list[float]:
    high = float(ranges[..., 1].max())
    low = max(float(ranges[..., 0].min()), high - _MOST_DECADES * math.log(10))
    return [min(low, high - 0.5), high]


def _precision(ranges: Floats32) -> float:
    return math.expm1(float((ranges[..., 1] - ranges[..., 0]).max()) / LEVELS / 2)


def _colours() -> dict[str, str]:
    """The colours of the levels, three bytes each: those of `plots`, which everybody can tell apart."""
    from attnscope.plots import colour_table

    return {kind: b64encode(colour_table(kind)).decode() for kind in ("mass", "change")}


def _join(**arrays: Numbers) -> tuple[Document, bytes]:
    """Lay arrays behind one another; bytes come last, so that floats lie where a browser can read them in place."""
    parts, offset = {}, 0
    for name, array in arrays.items():
        parts[name] = {"offset": offset, "length": array.size}
        offset += array.nbytes
    return parts, b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
