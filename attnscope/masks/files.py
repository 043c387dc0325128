"""Interventions as a file: JSON that holds rules with their scope, and says which version of the format it is."""

from __future__ import annotations

import inspect
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from attnscope._types import Document, Plan
from attnscope.errors import MaskError, quote
from attnscope.masks.interventions import Intervention
from attnscope.masks.rebinding import rebind
from attnscope.masks.rules import MaskRule, Ramp, require_rule
from attnscope.shots import LatentPlan, ShotPlan
from attnscope.storage.disk import write_durably

FORMAT, VERSION = "attnscope interventions", 1

_PARTS = {"rule", "first", "second"}  # what rules call the rules in them
_SCOPE = tuple(each.name for each in fields(Intervention) if each.name != "rule")
# Rules that are not built by their fields, and how they are; all others are.
_BUILT: dict[str, Callable[[Document], Document]] = {
    "first_frame": lambda part: {"num_frames": part["num_frames"], "times": part["multiplicity"]},
    "shot_starts": lambda part: {
        **{name: part[name] for name in ("plan", "num_frames", "of")},
        "times": part["multiplicity"],
    },
    "from_array": lambda part: {"values": [[float(number) for number in row] for row in part["values"]]},
}


def save_interventions(
    path: str | os.PathLike[str], interventions: MaskRule | Intervention | Sequence[Intervention]
) -> Path:
    """Write down what is changed in a model's attention, so that it can be used again and passed on.

    The file is JSON: every rule with its numbers and the shots it was made for, and its layers, heads, steps, noise
    levels, branch and attention. It is read again by :func:`load_interventions`, which can put it on other shots.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    MaskError
        Something else than rules and interventions.
    StoreError, SetupError
        The file cannot be written; the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> from attnscope import ShotPlan
    >>> from attnscope.masks import preset
    >>> plan = ShotPlan.from_seconds([2.5], duration=5.0, fps=16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_interventions(f"{folder}/cut.json", preset("cinetrans-dit", plan))
    ...     load_interventions(path) == preset("cinetrans-dit", plan)
    True
    """
    place = _read_path(path)
    content = json.dumps(interventions_as_json(interventions), indent=2, allow_nan=False) + "\n"
    write_durably(place, content.encode())
    return place


def load_interventions(path: str | os.PathLike[str], plan: Plan | None = None) -> tuple[Intervention, ...]:
    """Read interventions that were written down, for their own shots or, with ``plan``, for those of another film.

    Raises
    ------
    MaskError
        The file holds no interventions of a version that is known, or a rule whose numbers make no sense.
    """
    place = _read_path(path)
    try:
        table = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MaskError(
            expected="a file of interventions",
            got=quote(str(error), 80),
            where=f"at {place}",
            remedy="write one with masks.save_interventions",
        ) from error
    found = interventions_from_json(table, f"in {place}")
    return found if plan is None else rebind(found, plan)


def _read_path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise MaskError(
            expected="the path of a file first, then interventions",
            got=quote(path),
            where="as path",
            remedy='write for instance save_interventions("cut.json", rules)',
        )
    return Path(path)


def interventions_as_json(interventions: MaskRule | Intervention | Sequence[Intervention]) -> Document:
    """Return what :func:`save_interventions` writes."""
    given = Intervention(interventions) if isinstance(interventions, MaskRule) else interventions
    several = (given,) if isinstance(given, Intervention) else tuple(given)
    for each in several:
        _require_intervention(each)
    written = [
        {"rule": _rule_as_json(each.rule), **{name: _plain(getattr(each, name)) for name in _SCOPE}}
        for each in several
    ]
    return {"format": FORMAT, "version": VERSION, "interventions": written}


def _require_intervention(given: object) -> None:
    if not isinstance(given, Intervention):
        require_rule(given, "save_interventions")
        raise MaskError(
            expected="interventions",
            got="a bare rule among them",
            where="in save_interventions",
            remedy="wrap it in Intervention(rule, layers=...)",
        )


def interventions_from_json(table: Any, where: str) -> tuple[Intervention, ...]:
    """Return what :func:`interventions_as_json` made a table of; ``where`` goes into errors."""
    head = (table.get("format"), table.get("version")) if isinstance(table, dict) else (None, None)
    if (
        head != (FORMAT, VERSION)
        or not isinstance(table.get("interventions"), list)
        or not table["interventions"]
    ):
        raise MaskError(
            expected=f"{FORMAT} of version {VERSION}",
            got=quote(head if head != (FORMAT, VERSION) else "no list of them"),
            where=where,
            remedy="write the file with masks.save_interventions of this version",
        )
    try:
        return tuple(_intervention(each) for each in table["interventions"])
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, ArithmeticError) as error:
        raise MaskError(
            expected="rules and scopes as masks.save_interventions writes them",
            got=quote(str(error), 100),
            where=where,
            remedy="write the file anew",
        ) from error


def _intervention(table: Document) -> Intervention:
    rule = _read(table["rule"])
    scope: Document = {
        name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
    }
    scope["rule"] = require_rule(rule, "a file")
    return Intervention(**scope)


def _kinds() -> dict[str, type]:
    """Every rule there is, by its name in small letters."""
    found: dict[str, type] = {"ramp": Ramp}
    waiting = [MaskRule]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if not inspect.isabstract(kind) and kind.__module__.startswith("attnscope."):
            found[kind.__name__.lower()] = kind
    return found


def _rule_as_json(rule: MaskRule | Ramp) -> Document:
    return {"kind": type(rule).__name__.lower(), **{name: _plain(part) for name, part in vars(rule).items()}}


def _plain(value: object) -> object:
    if isinstance(value, MaskRule | Ramp):
        return _rule_as_json(value)
    if isinstance(value, ShotPlan):
        facts: Document = {"kind": "shotplan", "cuts_frame": list(value.cuts_frame)}
        return facts | {"num_frames": value.num_frames, "fps": str(value.fps), "notes": list(value.notes)}
    if isinstance(value, LatentPlan):
        facts = {name: _plain(part) for name, part in vars(value).items()}
        return {"kind": "latentplan", **facts, "fps": str(value.fps)}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    # JSON has no infinity; what is hidden in an array of numbers is written as text
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _read(part: Any) -> Any:
    if isinstance(part, list):
        return tuple(_read(each) for each in part)
    if not isinstance(part, dict):
        return part
    kind = part["kind"]
    inside = {name: _read(value) for name, value in part.items() if name != "kind"}
    if kind == "shotplan":
        return ShotPlan(**{**inside, "fps": Fraction(inside["fps"])})
    if kind == "latentplan":
        return LatentPlan(**{**inside, "fps": Fraction(inside["fps"])})
    for name in _PARTS & inside.keys():
        require_rule(inside[name], f"{kind} in a file")
    kinds = _kinds()
    if kind not in kinds:
        raise MaskError(
            expected=f"a rule out of {', '.join(sorted(kinds))}",
            got=quote(kind),
            where="in a file of interventions",
            remedy="it may be from a newer version",
        )
    if kind == "anchors":
        return kinds[kind](inside["plan"], *inside["shots"])
    return kinds[kind](**(_BUILT[kind](inside) if kind in _BUILT else inside))
