"""The variants of a sweep, its "cells": one change to a model's attention each, as data that can be written down."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

import numpy as np

from attnscope._types import Document
from attnscope.checks import require_whole
from attnscope.errors import InputError, quote
from attnscope.masks import Intervention, parse_rule
from attnscope.ranges import format_range, parse_range
from attnscope.shots import LatentPlan

Over = Literal["layers", "heads", "steps", "strength", "jitter"]

NONE, FULL = "none", "full"
STRENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0)
JITTERS = (1, 2, 3)


@dataclass(frozen=True)
class Variant:
    """A rule, and where it holds. ``strength`` is what hidden pairs lose in natural-log units, infinity hides them.

    ``jitter`` moves the cuts of the mask anew in each layer, by up to so many latent frames either way. The variant
    "none" leaves the model alone.
    """

    label: str
    layers: str = "all"
    heads: str = "all"
    steps: str = "all"
    strength: float = math.inf
    jitter: int = 0

    @property
    def digest(self) -> str:
        """A name for files that is the same wherever the variant means the same."""
        facts = {name: value for name, value in asdict(self).items() if name != "label"}
        facts["none"] = self.label == NONE
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def changes(self, rule: str, plan: LatentPlan, labels: Sequence[int], seed: int) -> list[Intervention]:
        """What to do to the model for one film; nothing for "none"."""
        if self.label == NONE:
            return []
        chosen = parse_range(self.layers, labels, name="layers")
        groups: dict[LatentPlan, list[int]] = {}
        for layer in chosen:
            groups.setdefault(_move_cuts(plan, self.jitter, (seed, layer)), []).append(layer)
        found = []
        for moved, layers in groups.items():
            read = parse_rule(rule, moved)
            read = read if math.isinf(self.strength) else read.soft(self.strength)
            found.append(Intervention(read, layers=tuple(layers), heads=self.heads, steps=self.steps))
        return found


def _move_cuts(plan: LatentPlan, reach: int, seed: tuple[int, int]) -> LatentPlan:
    """The plan with every cut somewhere within its reach, shots kept in order and none of them empty."""
    if not reach:
        return plan
    rng, cuts = np.random.default_rng(seed), list(plan.cuts)
    for place, cut in enumerate(cuts):
        low = (cuts[place - 1] if place else 0) + 1
        high = (cuts[place + 1] if place + 1 < len(cuts) else plan.num_frames) - 1
        cuts[place] = int(rng.integers(max(low, cut - reach), min(high, cut + reach) + 1))
    return replace(plan, cuts=tuple(cuts), requested_frame=tuple(map(plan.first_frame, cuts)))


def variants_over(
    over: Over,
    *,
    layers: str,
    labels: Sequence[int],
    num_heads: int,
    num_steps: int,
    values: Sequence[str | float | slice] | None,
    window: int,
    by_layer: bool,
) -> tuple[Variant, ...]:
    """The variants of a sweep: nothing, everything (the rule in ``layers``), and the values between.

    Raises
    ------
    InputError
        There is no such sweep, or a value that it cannot take; RangeError for labels that the model lacks.
    """
    if over not in get_args(Over):
        raise InputError(
            expected=f"a sweep over {', '.join(get_args(Over))}",
            got=quote(over),
            where="in sweep",
            remedy="name one",
        )
    require_whole(window, "a window of at least 1", "in sweep", least=1)
    if by_layer and over != "heads":
        raise InputError(
            expected="by_layer with a sweep over heads only",
            got=f"it over {over}",
            where="in sweep",
            remedy="leave it out",
        )
    full = Variant(FULL, layers=format_range(parse_range(layers, labels, name="layers")))
    between = (
        _levels(full, over, values)
        if over in ("strength", "jitter")
        else _windows(full, over, values, window, by_layer, labels, num_heads, num_steps)
    )
    return (Variant(NONE), full, *between)


def _levels(full: Variant, over: Over, values: Sequence[str | float | slice] | None) -> list[Variant]:
    default: Sequence[str | float | slice] = STRENGTHS if over == "strength" else JITTERS
    variants = []
    for value in default if values is None else values:
        try:
            number = math.nan if isinstance(value, slice) else float(value)
        except ValueError:
            number = math.nan
        if not (number > 0 and math.isfinite(number) and (over == "strength" or number == int(number))):
            kind = "positive number" if over == "strength" else "whole number of latent frames from 1"
            raise InputError(
                expected=f"a {kind}",
                got=f"{quote(value)} as a {over}",
                where="in sweep",
                remedy="hard masks and no jitter are the cell full",
            )
        label = f"{over} {number:g}"
        if over == "strength":
            variants.append(replace(full, label=label, strength=number))
        else:
            variants.append(replace(full, label=label, jitter=int(number)))
    return variants


def _windows(
    full: Variant,
    over: Over,
    values: Sequence[str | float | slice] | None,
    window: int,
    by_layer: bool,
    labels: Sequence[int],
    num_heads: int,
    num_steps: int,
) -> list[Variant]:
    available = {"layers": labels, "heads": range(num_heads), "steps": range(num_steps)}[over]
    inside = parse_range(full.layers, labels, name="layers") if over == "layers" else tuple(available)
    windows = (
        [inside[start : start + window] for start in range(0, len(inside), window)]
        if values is None
        else [
            parse_range(value if isinstance(value, slice) else str(value), available, name=over)
            for value in values
        ]
    )
    base = [full]
    if by_layer:
        base = [replace(full, layers=str(layer)) for layer in parse_range(full.layers, labels, name="layers")]
    return [
        _place(each, over, format_range(window), _label(over, window, each if by_layer else None))
        for each in base
        for window in windows
    ]


def _place(variant: Variant, over: Over, window: str, label: str) -> Variant:
    if over == "layers":
        return replace(variant, label=label, layers=window)
    return (
        replace(variant, label=label, heads=window)
        if over == "heads"
        else replace(variant, label=label, steps=window)
    )


def _label(over: str, window: Iterable[int], of_layer: Variant | None) -> str:
    said = f"{over} {format_range(window)}"
    return said if of_layer is None else f"layers {of_layer.layers} {said}"


def variant_from(facts: Document) -> Variant:
    """Read a variant that was written down; infinity is written as null."""
    return Variant(**{**facts, "strength": math.inf if facts["strength"] is None else facts["strength"]})


def facts_of(variant: Variant) -> Document:
    """Write a variant down as JSON can hold it."""
    return {**asdict(variant), "strength": None if math.isinf(variant.strength) else variant.strength}
