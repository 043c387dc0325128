"""What the films of a study are about: prompts of two to four shots, packaged, drawn, or from a file."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import msgspec

from attnscope.errors import InputError
from attnscope.shots import ShotPlan
from attnscope.storage.disk import write_durably

PACKAGED = Path(__file__).parent / "prompts.json"
FEWEST_SHOTS, MOST_SHOTS = 2, 4


class ScriptedFilm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A film in words: what holds throughout, and what each shot shows. `single` says it as one shot, where given."""

    general: str
    captions: tuple[str, ...]
    single: str | None = None


@dataclass(frozen=True)
class PlannedFilm:
    """A film whose shots have their places: the prompt that carries them, and the one that says nothing of them."""

    number: int
    plan: ShotPlan
    prompt: str
    single: str


def read_films(path: Path = PACKAGED) -> tuple[ScriptedFilm, ...]:
    """Return the films of a JSON file: a list of {"general": ..., "captions": [...]}; the packaged hundred by default.

    Raises
    ------
    InputError
        The file cannot be read, or a film has no two to four captions.

    Examples
    --------
    >>> len(read_films())
    100
    """
    try:
        films = msgspec.json.decode(path.read_bytes(), type=tuple[ScriptedFilm, ...])
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(
            expected='a JSON list of {"general": ..., "captions": [...]}',
            got=" ".join(str(error).split()),
            where=f"in {path}",
            remedy="write it so",
        ) from error
    for number, film in enumerate(films, 1):
        if not FEWEST_SHOTS <= len(film.captions) <= MOST_SHOTS or not all((film.general, *film.captions)):
            raise InputError(
                expected=f"{FEWEST_SHOTS} to {MOST_SHOTS} captions and a general one, none of them empty",
                got=f"{len(film.captions)} in film {number}",
                where=f"in {path}",
                remedy="write one caption a shot",
            )
    if not films:
        raise InputError(expected="at least one film", got="none", where=f"in {path}", remedy="write one")
    return films


def plan_films(
    films: Sequence[ScriptedFilm], *, num_frames_latent: int, stride: int, fps: Fraction, seed: int = 0
) -> tuple[PlannedFilm, ...]:
    """Give every film its cuts, on the latent grid, drawn by lot: films that are cut alike could not be compared.

    No shot is shorter than half of what equal shots would be.

    Raises
    ------
    InputError
        More shots than latent frames.
    """
    found = []
    for number, film in enumerate(films):
        cuts = draw_cuts(len(film.captions), num_frames_latent, random.Random(f"{seed}/{number}"))
        plan = ShotPlan.from_latent_frames(cuts, num_frames_latent=num_frames_latent, fps=fps, stride=stride)
        single = film.single or film.general
        found.append(PlannedFilm(number, plan, plan.to_prompt(film.general, film.captions), single))
    return tuple(found)


def draw_cuts(num_shots: int, num_frames: int, lot: random.Random) -> list[int]:
    """Draw where shots begin: all places are equally likely that leave each shot half of an equal share.

    >>> draw_cuts(2, 13, random.Random(0))
    [9]
    """
    shortest = max(1, num_frames // (2 * num_shots))
    if num_shots * shortest > num_frames:
        raise InputError(
            expected=f"at least {num_shots} latent frames for {num_shots} shots",
            got=f"{num_frames}",
            where="in a planned film",
            remedy="raise --num-frames",
        )
    # What is left over after every shot has its shortest length is shared out by lot.
    spare = num_frames - num_shots * shortest
    marks = sorted(lot.randint(0, spare) for _ in range(num_shots - 1))
    return [(index + 1) * shortest + mark for index, mark in enumerate(marks)]


def write_films(path: Path, films: Sequence[ScriptedFilm]) -> None:
    """Write films as `read_films` reads them."""
    text = json.dumps([msgspec.to_builtins(film) for film in films], indent=1, ensure_ascii=False)
    write_durably(path, f"{text}\n".encode())
