"""Every number of a build, what it means, and the contract that each part of the work is bound to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated

import msgspec

from attnscope.errors import InputError, one_line, quote

_VERSION = 4  # of what the stages do; one more whenever the same numbers would give other rows

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]
Whole = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a build goes by; the defaults are those of Cine250K as far as the paper says them.

    Clips last ``shortest_clip_s`` to ``longest_clip_s`` and have ``fewest_shots`` to ``most_shots``; the best
    ``aesthetic_share`` of them are taken. What the paper leaves open: a shot lasts at least ``shortest_shot_s``;
    neighbours are joined from a likeness of ``join_likeness`` on (see ``attnscope dataset calibrate``); the short side
    has at least ``least_side`` pixels; ``least_motion`` and ``least_contrast`` are grey levels; clips whose
    fingerprints differ in at most ``duplicate_bits`` are one; a picture is judged every ``judge_every_s``; a
    transition is seen from the probability ``transition_threshold`` on, and ``margin_frames`` on each side go with
    it; ``crf`` and ``preset`` are what the encoder x264 is told.
    """

    shortest_shot_s: Seconds = 0.6
    join_likeness: Annotated[float, msgspec.Meta(ge=-1, le=1)] = 0.55
    judge_every_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 2.0
    shortest_clip_s: Seconds = 8.0
    longest_clip_s: Seconds = 15.0
    fewest_shots: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    most_shots: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    aesthetic_share: Share = 0.4
    least_side: Whole = 256
    least_motion: Annotated[float, msgspec.Meta(ge=0, le=255)] = 0.5
    least_contrast: Annotated[float, msgspec.Meta(ge=0, le=255)] = 8.0
    duplicate_bits: Annotated[int, msgspec.Meta(ge=0, le=15)] = 12
    transition_threshold: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.3
    margin_frames: Annotated[int, msgspec.Meta(ge=0, le=100)] = 1
    crf: Annotated[int, msgspec.Meta(ge=0, le=51)] = 17
    preset: str = "veryfast"

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(self):
            if isinstance(field.default, float):  # 2 and 2.0 are one setting
                msgspec.structs.force_setattr(self, field.name, float(getattr(self, field.name)))
        if self.shortest_clip_s > self.longest_clip_s or self.fewest_shots > self.most_shots:
            raise ValueError("the least is more than the most")


_JOINING = ("shortest_shot_s", "join_likeness", "judge_every_s", "longest_clip_s", "most_shots")
_CUTTING = (
    *("shortest_shot_s", "shortest_clip_s", "longest_clip_s", "fewest_shots", "most_shots"),
    *("transition_threshold", "margin_frames", "crf", "preset"),
)


def read_settings(table: Mapping[str, object], where: str) -> Settings:
    """Read settings from a table of names and values, which may be text.

    Raises
    ------
    InputError
        A name is unknown, or a value is none that it can have.

    Examples
    --------
    >>> read_settings({"most_shots": "6"}, "as --set").most_shots
    6
    """
    names = [field.name for field in msgspec.structs.fields(Settings)]
    if unknown := [name for name in table if name not in names]:
        raise InputError(
            expected=f"one of {', '.join(names)}",
            got=quote(unknown[0]),
            where=where,
            remedy="use one of them",
        )
    try:
        return msgspec.convert(dict(table), Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InputError(
            expected="settings that a build can have",
            got=quote(dict(table)),
            where=where,
            remedy=f"{one_line(str(error))}; see `attnscope dataset build --help`",
        ) from error


def bind_joining(settings: Settings, *encoders: str) -> str:
    """What the candidates of a source are bound to: a result under another contract answers another question."""
    return _contract(settings, _JOINING, encoders)


def bind_cutting(settings: Settings, joining: str) -> str:
    """What the finished clips of a source are bound to."""
    return _contract(settings, _CUTTING, (joining,))


def _contract(settings: Settings, names: tuple[str, ...], facts: tuple[str, ...]) -> str:
    values = [str(getattr(settings, name)) for name in names]
    return hashlib.sha256("\0".join([str(_VERSION), *values, *facts]).encode()).hexdigest()[:16]
