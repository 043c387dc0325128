"""What an attention dataset is: dims, coordinates, units and invariants. The one place where names are spelled.

An attention dataset is a plain ``xarray.Dataset``. ``mass`` (float32) is the attention probability that the
tokens of ``query_frame`` give to all tokens of ``key_frame``, averaged over the query tokens; ``text_mass``,
where a model mixes text into the same attention, is what they give to text. Both together sum to 1 over the keys.

==========================================  ============  =====================================================
name                                        on            values
==========================================  ============  =====================================================
``prompt``, ``text``, ``seed``              prompt        run number from 0; the prompt; the seed
``step``, ``timestep``, ``sigma``           step          step in the order it ran; scheduler's t; noise level
``branch``                                  branch        ``cond``, ``uncond``
``layer``, ``module``, ``stage``            layer         label from 1; module path in the pipeline; UNet stage
``head``                                    head          head, from 0
``query_frame``, ``key_frame``              itself        latent frame, from 0
``query_start_frame``, ``key_start_frame``  frame         the first video frame it covers
``query_stop_frame``, ``key_stop_frame``    frame         the first video frame it no longer covers
``query_start_s``, ``key_start_s``          frame         when it begins, in seconds
``query_shot``, ``key_shot``                frame         shot from 0, -1 without a plan; also (prompt, frame)
``done``                                    prompt, step  whether this unit of work is complete
==========================================  ============  =====================================================

Here "frame" is the frame dim of the same side, ``query_frame`` or ``key_frame``. What is known of the run stands in the
attributes, as text and numbers only, because more no file format holds: see :func:`flatten_attributes`.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from attnscope._types import Arguments, Document, LatentPlans, Numbers
from attnscope.errors import SchemaError, quote
from attnscope.shots import LatentPlan

SCHEMA_VERSION = 3
"""1: in stores, ``done`` says whether a unit is there. 2: a digest of it. 3: attributes are flat. All are read."""

PROMPT = "prompt"
STEP = "step"
BRANCH = "branch"
LAYER = "layer"
HEAD = "head"
QUERY_FRAME = "query_frame"
KEY_FRAME = "key_frame"
DIMS = (PROMPT, STEP, BRANCH, LAYER, HEAD, QUERY_FRAME, KEY_FRAME)
TEXT_DIMS = DIMS[:-1]

MASS = "mass"
TEXT_MASS = "text_mass"
DONE = "done"

TEXT = "text"
SEED = "seed"
TIMESTEP = "timestep"
SIGMA = "sigma"
MODULE = "module"
STAGE = "stage"
QUERY_SHOT = "query_shot"
KEY_SHOT = "key_shot"
NO_SHOT = -1

# The attribute that says how far rows may be from 1: 1e-3 for attention computed in bfloat16.
TOLERANCE = "row_sum_tolerance"
DEFAULT_TOLERANCE = 1e-5

FRAME_DIMS = {"query": QUERY_FRAME, "key": KEY_FRAME}
# Which dim each coordinate that is always there lives on; the shots may also depend on the prompt.
COORDINATES: dict[str, str] = {
    **{dim: dim for dim in DIMS},
    **{TEXT: PROMPT, SEED: PROMPT, TIMESTEP: STEP, SIGMA: STEP, MODULE: LAYER, STAGE: LAYER},
    **{
        f"{side}_{what}": dim
        for side, dim in FRAME_DIMS.items()
        for what in ("start_frame", "stop_frame", "start_s", "shot")
    },
}

Coordinate = tuple[tuple[str, ...], Numbers]


@dataclass(frozen=True)
class Labels:
    """What every number of an attention dataset is about: the labels of all dims, in order.

    Attributes
    ----------
    prompts, seeds : sequences
        One a run.
    steps, timesteps, sigmas : sequences
        One a denoising step: its number from 0, the scheduler's t, the noise level.
    branches : sequence of str
        Guidance branches.
    layers, modules, stages : sequences
        One a layer: its label from 1, its path in the pipeline, its stage in a UNet or "".
    heads : sequence of int
        Heads, from 0.
    latent : LatentPlan
        The latent frames and their shots; :func:`with_shots` gives each prompt its own, or takes them away.
    """

    prompts: Sequence[str]
    seeds: Sequence[int]
    steps: Sequence[int]
    timesteps: Sequence[float]
    sigmas: Sequence[float]
    branches: Sequence[str]
    layers: Sequence[int]
    modules: Sequence[str]
    stages: Sequence[str]
    heads: Sequence[int]
    latent: LatentPlan


def build_dataset(
    mass: NDArray[np.float32],
    labels: Labels,
    *,
    text_mass: NDArray[np.float32] | None = None,
    attrs: Mapping[str, object] | None = None,
) -> xr.Dataset:
    """Label measured attention so that every number says which prompt, step, layer, head and frames it is about.

    Parameters
    ----------
    mass : array (prompt, step, branch, layer, head, query_frame, key_frame)
        Attention probability per frame pair, float32; rows sum to 1, with ``text_mass`` where given.
    labels : Labels
        The labels of the dims.
    text_mass : array (prompt, step, branch, layer, head, query_frame), optional
        Attention probability given to text.
    attrs : mapping, optional
        Provenance.

    Raises
    ------
    SchemaError
        A label is missing or the arrays break the invariants; see :func:`violations`.

    Examples
    --------
    >>> import numpy as np
    >>> from attnscope.shots import ShotPlan
    >>> labels = Labels(
    ...     prompts=["a dog"], seeds=[0], steps=[0], timesteps=[999.0], sigmas=[1.0], branches=["cond"], layers=[7],
    ...     modules=["blocks.6.attn1"], stages=[""], heads=[0],
    ...     latent=ShotPlan.from_frames([5], num_frames=9, fps=8).to_latent())
    >>> dataset = build_dataset(np.full((1, 1, 1, 1, 1, 3, 3), 1 / 3, dtype=np.float32), labels)
    >>> dataset.query_start_frame.values.tolist(), dataset.query_shot.values.tolist()
    ([0, 1, 5], [0, 0, 1])
    """
    values = coordinates(labels)
    _require_shape(mass, MASS, DIMS, values)
    values[DONE] = ((PROMPT, STEP), np.ones(mass.shape[:2], dtype=bool))
    variables: dict[str, Coordinate] = {MASS: (DIMS, mass)}
    if text_mass is not None:
        _require_shape(text_mass, TEXT_MASS, TEXT_DIMS, values)
        variables[TEXT_MASS] = (TEXT_DIMS, text_mass)
    facts = flatten_attributes({"attnscope_schema": SCHEMA_VERSION, **(attrs or {})})
    dataset = xr.Dataset(variables, values, facts)
    dataset = with_shots(dataset, labels.latent)
    check(dataset)
    return dataset


def flatten_attributes(facts: Arguments) -> Document:
    """Write what is known of a run as text and numbers, so that zarr, netCDF and everything else can hold it.

    Lists, tables, yes and no, nothing, and whole numbers beyond 32 bits become JSON; text stays as it is, unless it
    would read as JSON. :func:`parse_attributes` undoes it exactly.

    >>> flatten_attributes({"model_id": "wan", "steps": 2, "scheduler": {"shift": 8.0}, "revision": "12"})
    {'model_id': 'wan', 'steps': 2, 'scheduler': '{"shift": 8.0}', 'revision': '"12"'}
    """
    return {name: _flatten(value) for name, value in facts.items()}


def parse_attributes(attributes: Mapping[str, object] | Mapping[Hashable, object]) -> Document:
    """Read what is known of a run off the attributes of a dataset, lists and tables as such again.

    >>> parse_attributes({"scheduler": '{"shift": 8.0}', "revision": '"12"'})
    {'scheduler': {'shift': 8.0}, 'revision': '12'}
    """
    return {str(name): _read(value) for name, value in attributes.items()}


def _flatten(value: object) -> object:
    is_number = isinstance(value, float) or (type(value) is int and abs(value) < 2**31)
    if is_number or (isinstance(value, str) and _read(value) is value):
        return value
    return json.dumps(value, sort_keys=True)


def _read(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else getattr(value, "item", lambda: value)()
    except (ValueError, RecursionError):
        return value


def coordinates(labels: Labels) -> dict[str, Coordinate]:
    """Return every coordinate of an attention dataset but the shots, as (dims, values)."""
    values: dict[str, tuple[str, Numbers]] = {
        PROMPT: (PROMPT, np.arange(len(labels.prompts), dtype=np.int32)),
        TEXT: (PROMPT, np.asarray(labels.prompts, dtype=str)),
        SEED: (PROMPT, np.asarray(labels.seeds, dtype=np.int64)),
        STEP: (STEP, np.asarray(labels.steps, dtype=np.int32)),
        TIMESTEP: (STEP, np.asarray(labels.timesteps, dtype=np.float64)),
        SIGMA: (STEP, np.asarray(labels.sigmas, dtype=np.float64)),
        BRANCH: (BRANCH, np.asarray(labels.branches, dtype=str)),
        LAYER: (LAYER, np.asarray(labels.layers, dtype=np.int32)),
        MODULE: (LAYER, np.asarray(labels.modules, dtype=str)),
        STAGE: (LAYER, np.asarray(labels.stages, dtype=str)),
        HEAD: (HEAD, np.asarray(labels.heads, dtype=np.int32)),
        **_frame_coordinates(labels.latent),
    }
    length: dict[str, int] = {dim: len(values[dim][1]) for dim in DIMS}
    for name, (dim, array) in values.items():
        if array.shape != (length[dim],):
            raise SchemaError(
                expected=f"one {name} for each of {length[dim]} {dim}s",
                got=f"{len(array)}",
                where="in the labels of an attention dataset",
                remedy=f"give as many as there are {dim}s",
            )
    return {name: ((dim,), array) for name, (dim, array) in values.items()}


def _frame_coordinates(latent: LatentPlan) -> dict[str, tuple[str, Numbers]]:
    """Which video frames each latent frame covers, for both sides of the attention."""
    bounds = np.asarray([latent.first_frame(frame) for frame in range(latent.num_frames + 1)], dtype=np.int32)
    start_s = np.asarray([float(frame / latent.fps) for frame in bounds[:-1].tolist()])
    values: dict[str, tuple[str, Numbers]] = {}
    for side, dim in FRAME_DIMS.items():
        values[dim] = (dim, np.arange(latent.num_frames, dtype=np.int32))
        values[f"{side}_start_frame"] = (dim, bounds[:-1])
        values[f"{side}_stop_frame"] = (dim, bounds[1:])
        values[f"{side}_start_s"] = (dim, start_s)
    return values


def shot_coordinates(plans: LatentPlans, *, num_prompts: int, num_frames: int) -> dict[str, Coordinate]:
    """Return ``query_shot`` and ``key_shot``: one row for all prompts, or one per prompt where their cuts differ.

    >>> dims, shots = shot_coordinates(None, num_prompts=4, num_frames=3)["key_shot"]
    >>> dims, shots.tolist()
    (('key_frame',), [-1, -1, -1])
    """
    each = [plans] * num_prompts if plans is None or isinstance(plans, LatentPlan) else list(plans)
    lengths = {plan.num_frames for plan in each if plan is not None} - {num_frames}
    if len(each) != num_prompts or lengths:
        raise SchemaError(
            expected=f"one plan of {num_frames} latent frames for each of {num_prompts} prompts",
            got=f"{len(each)} plans of {sorted(lengths) or num_frames} latent frames for the shots",
            where="of an attention dataset",
            remedy="plan the shots on the frames that were measured",
        )
    none = np.full(num_frames, NO_SHOT, dtype=np.int32)
    rows = [none if plan is None else plan.shot_of_frame.astype(np.int32) for plan in each]
    table = np.stack(rows) if rows else none[np.newaxis]
    same = bool((table == table[0]).all())
    return {
        f"{side}_shot": ((dim,), table[0]) if same else ((PROMPT, dim), table)
        for side, dim in FRAME_DIMS.items()
    }


def with_shots(dataset: xr.Dataset, plans: LatentPlans) -> xr.Dataset:
    """Say which shot each latent frame belongs to: by one plan, by one plan per prompt, or by none (-1).

    Nothing measured changes. With one plan per prompt whose cuts differ, ``query_shot`` has the dims
    (prompt, query_frame).

    Raises
    ------
    SchemaError
        A plan has another number of latent frames, or there are not as many plans as prompts.

    Examples
    --------
    >>> from attnscope.testing.synthetic import block_attention
    >>> from attnscope.shots import ShotPlan
    >>> dataset = block_attention(ShotPlan.from_frames([5], num_frames=9, fps=8).to_latent())
    >>> with_shots(dataset, None).query_shot.values.tolist()
    [-1, -1, -1]
    """
    shots = shot_coordinates(
        plans, num_prompts=dataset.sizes.get(PROMPT, 1), num_frames=dataset.sizes[QUERY_FRAME]
    )
    return dataset.drop_vars([QUERY_SHOT, KEY_SHOT], errors="ignore").assign_coords(shots)


def violations(dataset: xr.Dataset, tolerance: float | None = None) -> list[str]:
    """List every way in which a dataset breaks the schema, one line each; an empty list is a valid dataset.

    ``tolerance`` bounds how far a row may be from 1. Without one, the attribute ``row_sum_tolerance`` counts,
    or 1e-5 (float32 attention; bfloat16 needs 1e-3). Where ``done`` is present, units of work that are not
    done are left out, since they hold nothing yet.

    >>> violations(xr.Dataset())[0]
    'expected the variable mass, got none in this dataset; build it with schema.build_dataset'
    """
    if tolerance is None:
        tolerance = float(dataset.attrs.get(TOLERANCE, DEFAULT_TOLERANCE))
    return _structure_violations(dataset) or _value_violations(dataset, tolerance)


def check(dataset: xr.Dataset, tolerance: float | None = None) -> None:
    """Raise a SchemaError that names the first violation, and how many more there are."""
    found = violations(dataset, tolerance)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise SchemaError(found[0] + more)


def _require_shape(array: Numbers, name: str, dims: Sequence[str], values: Mapping[str, Coordinate]) -> None:
    shape = tuple(len(values[dim][1]) for dim in dims)
    if array.shape != shape:
        expected = f"{name} of shape {shape} ({', '.join(dims)})"
        remedy = "give one label per entry of each dim"
        raise SchemaError(expected=expected, got=f"{array.shape}", where="in build_dataset", remedy=remedy)


def _structure_violations(dataset: xr.Dataset) -> list[str]:
    if MASS not in dataset:
        return [_violation(f"the variable {MASS}", "none", remedy="build it with schema.build_dataset")]
    found = []
    for name, dims in ((MASS, DIMS), (TEXT_MASS, TEXT_DIMS)):
        if name in dataset and (dataset[name].dims != dims or dataset[name].dtype != np.float32):
            expected = f"{name} as float32 on ({', '.join(dims)})"
            got = f"{dataset[name].dtype} on ({', '.join(map(str, dataset[name].dims))})"
            found.append(_violation(expected, got, remedy="transpose or convert it"))
    for name, dim in COORDINATES.items():
        allowed = ((dim,), (PROMPT, dim)) if name in (QUERY_SHOT, KEY_SHOT) else ((dim,),)
        on = dataset.coords[name].dims if name in dataset.coords else None
        if on not in allowed:
            expected = f"the coordinate {name} on ({dim})"
            found.append(
                _violation(
                    expected, "none" if on is None else on, remedy="build it with schema.build_dataset"
                )
            )
    return found or _label_violations(dataset)


def _label_violations(dataset: xr.Dataset) -> list[str]:
    found = []
    for dim in DIMS:
        labels = dataset[dim].values
        if len(set(labels.tolist())) != labels.size:
            found.append(_violation(f"each {dim} once", quote(labels.tolist()), remedy="drop duplicates"))
    if dataset.sizes[LAYER] and int(dataset[LAYER].min()) < 1:
        least = int(dataset[LAYER].min())
        found.append(_violation("layer labels from 1", least, remedy="blocks.0 is layer 1"))
    return found


def _value_violations(dataset: xr.Dataset, tolerance: float) -> list[str]:
    # One unit at a time: a lazily opened sweep may be larger than memory.
    found = []
    for prompt in range(dataset.sizes[PROMPT]):
        for step in range(dataset.sizes[STEP]):
            unit = dataset.isel({PROMPT: prompt, STEP: step})
            if DONE not in dataset or bool(unit[DONE]):
                text = unit[TEXT_MASS].values if TEXT_MASS in dataset else None
                where = f"prompt {int(unit[PROMPT])}, step {int(unit[STEP])}"
                found += row_violations(unit[MASS].values, text, where, tolerance)
    return found


def row_violations(mass: Numbers, text_mass: Numbers | None, where: str, tolerance: float) -> list[str]:
    """List what is wrong with the numbers of one unit: values that are no probabilities, rows that leak."""
    arrays = {MASS: mass} if text_mass is None else {MASS: mass, TEXT_MASS: text_mass}
    for name, array in arrays.items():
        if num_bad := int(np.count_nonzero(~np.isfinite(array))):
            return [_violation(f"finite {name}", f"{num_bad} values that are not", f"at {where}")]
        if float(array.min(initial=0.0)) < -tolerance:
            return [_violation(f"{name} >= 0", f"{float(array.min()):.3g}", f"at {where}")]
    total = mass.sum(axis=-1, dtype=np.float64)
    if text_mass is not None:
        total = total + text_mass
    worst = float(np.abs(total - 1.0).max(initial=0.0))
    if worst <= tolerance:
        return []
    return [_violation(f"rows that sum to 1 within {tolerance:g}", f"one off by {worst:.3g}", f"at {where}")]


def _violation(
    expected: str, got: object, where: str = "in this dataset", *, remedy: str = "measure it again"
) -> str:
    return str(SchemaError(expected=expected, got=str(got), where=where, remedy=remedy))
