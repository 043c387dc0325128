"""How a model is trained: every number of a run, checked when it is written down, kept as TOML beside the weights."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal, get_args

from attnscope._types import Arguments, Document, Padding
from attnscope.checks import is_number, is_whole
from attnscope.errors import InputError, quote, suggest

Trained = Literal["lora", "full"]
Precision = Literal["float32", "bfloat16"]
Schedule = Literal["constant", "cosine", "linear"]
Optimiser = Literal["adamw", "adamw8bit"]
Weighting = Literal["family", "none", "bell", "min-snr"]

TARGETS = ("self", "cross", "feed-forward")
"""Parts of a block that a LoRA goes to; other names are taken as ends of module paths ("attn1.to_q")."""


@dataclass(frozen=True)
class Recipe:
    """What a training run does, apart from model, films and rule; the defaults are those of CineTrans-DiT.

    Attributes
    ----------
    method : {"lora", "full"}
        Low-rank adapters beside frozen weights, or all weights of the denoiser.
    rank, alpha, lora_dropout : int, float or None, float
        Of the adapters; ``alpha`` is the rank where it is None, so that adapters count once.
    targets : tuple of str
        Where adapters go: :data:`TARGETS`, or ends of module paths.
    denoiser : str
        Which network of the pipeline is trained; empty: its first.
    steps, batch_size, accumulate : int
        Updates of the weights; films in a batch of one process; batches for an update.
    learning_rate, warmup, schedule : float, int, str
        Peak rate, steps until it is reached, and how it falls after.
    optimiser, weight_decay, max_norm : str, float, float
        AdamW, with states of 8 bits if wanted; gradients are scaled down to ``max_norm``, 0 leaves them alone.
    ema : float
        Share of the average that stays at a step; 0 keeps no average.
    weighting : str
        How noise levels count; "family" is what the family was trained with.
    shift : float or None
        How far flow matching moves to high noise; None: as the pipeline's scheduler.
    caption_dropout : float
        Share of films whose text is left out, which guidance needs.
    routed : float
        Share of films with captions of shots in which each shot reads its own; the others read one for all.
    padding : {"visible", "hidden"}
        Whether the padding of captions is read.
    precision : {"float32", "bfloat16"}
        Of the arithmetic; weights that are trained stay in float32.
    checkpointing : bool
        Compute each block twice instead of keeping what is within it.
    height, width, num_frames, fps : int
        Of the films as the model sees them; 0: as the pipeline's defaults, and as the file for ``fps``.
    checkpoint_every, keep, validate_every, record_every : int
        Steps between checkpoints, checkpoints kept, steps between validation films and between records of attention;
        0 never, apart from the end.
    validation_films, validation_steps, validation_guidance : int, int, float or None
        How many films of the data, those with cuts first, are made again; denoising steps and guidance of these, 0 and
        None: as the pipeline's defaults.
    record_layers : str
        Layers whose attention is recorded.
    seed : int
        Of the order of films, noise, noise levels and dropout: the whole run follows from it.

    Raises
    ------
    InputError
        A number that makes no sense, with the place.

    Examples
    --------
    >>> Recipe(rank=16).scale
    1.0
    >>> Recipe(rank=0)
    Traceback (most recent call last):
    ...
    attnscope.errors.InputError: expected a whole number from 1, got 0 as rank of a recipe; write 64
    """

    method: Trained = "lora"
    rank: int = 64
    alpha: float | None = None
    lora_dropout: float = 0.0
    targets: tuple[str, ...] = TARGETS
    denoiser: str = ""
    steps: int = 1000
    batch_size: int = 1
    accumulate: int = 1
    learning_rate: float = 1e-4
    warmup: int = 0
    schedule: Schedule = "constant"
    optimiser: Optimiser = "adamw"
    weight_decay: float = 0.01
    max_norm: float = 1.0
    ema: float = 0.0
    weighting: Weighting = "family"
    shift: float | None = None
    caption_dropout: float = 0.1
    routed: float = 1.0
    padding: Padding = "visible"
    precision: Precision = "float32"
    checkpointing: bool = False
    height: int = 0
    width: int = 0
    num_frames: int = 0
    fps: int = 0
    checkpoint_every: int = 100
    keep: int = 2
    validate_every: int = 0
    validation_films: int = 2
    validation_steps: int = 0
    validation_guidance: float | None = None
    record_every: int = 0
    record_layers: str = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", _texts(self.targets, "targets"))
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                _refuse(
                    name, getattr(self, name), " or ".join(get_args(choices)), f"write {get_args(choices)[0]}"
                )
        for name, least in _WHOLE.items():
            value = getattr(self, name)
            if not is_whole(value) or not least <= value <= _MOST:
                _refuse(
                    name, value, f"a whole number from {least}", f"write {_DEFAULTS[name] or max(least, 1)}"
                )
        for name, (fits, words, example) in _NUMBERS.items():
            value = getattr(self, name)
            if not (is_number(value) and fits(value)) and not (value is None and _DEFAULTS[name] is None):
                _refuse(name, value, words, f"write {example}")
        if not isinstance(vars(self)["checkpointing"], bool):
            _refuse("checkpointing", self.checkpointing, "true or false", "write true")
        for name, example in (("denoiser", ""), ("record_layers", "7-28")):
            if not isinstance(vars(self)[name], str):
                _refuse(name, getattr(self, name), "a text", f'write "{example}"')

    @property
    def scale(self) -> float:
        """By how much adapters count: alpha / rank."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0.

        >>> [Recipe(steps=4, warmup=2, schedule="linear", learning_rate=1.0).rate(step) for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
        """
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        left = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
        return self.learning_rate * left[self.schedule]

    def table(self) -> Document:
        """Return what TOML can hold of it: numbers that are None are left out."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value is not None
        }

    @classmethod
    def from_table(cls, table: Arguments, where: str) -> Recipe:
        """Read a recipe from a table.

        Raises
        ------
        InputError
            A name that no recipe has, or a value that makes no sense.
        """
        known = [each.name for each in fields(cls)]
        for name in table:
            if name not in known:
                raise InputError(
                    expected=f"a setting out of {', '.join(known)}",
                    got=quote(name),
                    where=f"in {where}",
                    remedy=suggest(name, known, "leave it out"),
                )
        return replace(cls(), **table)


def read_toml(path: Path) -> Document:
    """Read a TOML file.

    Raises
    ------
    InputError
        It cannot be read, or is no TOML.
    """
    if not path.is_file():
        raise InputError(
            expected="a TOML file",
            got="none",
            where=f"at {path}",
            remedy="check the path",
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            expected="a TOML file",
            got=quote(str(error), 100),
            where=f"at {path}",
            remedy="correct its lines",
        ) from error


def write_toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    r"""Write tables of plain values as TOML, which Python can read and not write.

    >>> write_toml({"recipe": {"rank": 4, "targets": ["self"], "note": 'a "b"'}})
    '[recipe]\nrank = 4\ntargets = ["self"]\nnote = "a \\"b\\""\n'
    """
    parts = []
    for name, table in tables.items():
        lines = [f"[{name}]", *(f"{key} = {_literal(value)}" for key, value in table.items())]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _literal(value: object) -> str:
    import json

    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    # A JSON text is a TOML text, but for the delete character, which JSON leaves as it is.
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    return text.replace("\x7f", "\\u007f")


_MOST = 10**9
_CHOICES: dict[str, object] = {
    "method": Trained,
    "schedule": Schedule,
    "optimiser": Optimiser,
    "weighting": Weighting,
    "padding": Padding,
    "precision": Precision,
}
_WHOLE = {
    "rank": 1,
    "steps": 1,
    "batch_size": 1,
    "accumulate": 1,
    "warmup": 0,
    "height": 0,
    "width": 0,
    "num_frames": 0,
    "fps": 0,
    "checkpoint_every": 0,
    "keep": 1,
    "validate_every": 0,
    "validation_films": 1,
    "validation_steps": 0,
    "record_every": 0,
    "seed": 0,
}
_SHARE: tuple[Callable[[float], bool], str] = (lambda x: 0 <= x <= 1, "a share from 0 to 1")
_BELOW_1: tuple[Callable[[float], bool], str] = (lambda x: 0 <= x < 1, "a number from 0, below 1")
_POSITIVE: tuple[Callable[[float], bool], str] = (lambda x: x > 0, "a number above 0")
_FROM_0: tuple[Callable[[float], bool], str] = (lambda x: x >= 0, "a number from 0")
_NUMBERS = {
    "alpha": (*_POSITIVE, "64"),
    "shift": (*_POSITIVE, "3"),
    "learning_rate": (*_POSITIVE, "1e-4"),
    "weight_decay": (*_FROM_0, "0.01"),
    "max_norm": (*_FROM_0, "1"),
    "lora_dropout": (*_BELOW_1, "0"),
    "ema": (*_BELOW_1, "0.999"),
    "caption_dropout": (*_SHARE, "0.1"),
    "validation_guidance": (*_FROM_0, "5"),
    "routed": (*_SHARE, "1"),
}
_DEFAULTS = {each.name: each.default for each in fields(Recipe)}


def _texts(given: object, name: str) -> tuple[str, ...]:
    found: tuple[str, ...] = (given,) if isinstance(given, str) else ()
    found = tuple(given) if isinstance(given, list | tuple) else found
    if not found or not all(isinstance(each, str) and each for each in found):
        _refuse(name, given, f"names out of {', '.join(TARGETS)}, or ends of module paths", 'write ["self"]')
    return found


def _refuse(name: str, value: object, expected: str, remedy: str) -> None:
    raise InputError(expected=expected, got=quote(value), where=f"as {name} of a recipe", remedy=remedy)
