"""Find a model by name: what is embedded, a folder on disk, or a name on a hub; its card and the heads of its files."""

from __future__ import annotations

import difflib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attnscope._types import Document
from attnscope.errors import UnknownModelError, UnsupportedModelError, quote
from attnscope.models.choices import StoredParts
from attnscope.models.headers import read_parts

if TYPE_CHECKING:
    from attnscope.families import Family

_WEIGHTS = Path(__file__).parent / "weights"
_SHARED_WITH = "shares_components_with"
_READERS = ("tokenizer", "text_encoder")
_DENOISERS = ("transformer", "transformer_2", "unet")
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)

INDEX = "model_index.json"
"""What makes a folder a pipeline of diffusers: the list of its parts."""


@dataclass(frozen=True)
class UsualVideo:
    """What an embedded model makes where it is told nothing: size in pixels, frames a second, denoising steps.

    ``stride`` is how many frames a latent frame stands for: a cut can fall between latent frames only.
    """

    num_frames: int
    height: int
    width: int
    fps: int
    stride: int
    num_steps: int


DRAWN_VIDEO = UsualVideo(num_frames=49, height=64, width=64, fps=16, stride=4, num_steps=20)
"""What is drawn, and asked for, where a model does not say what it makes."""


@dataclass(frozen=True)
class ModelCard:
    """What is known of an embedded model: what it is for, how it was trained, what it cannot show.

    ``facts`` is the whole card as written beside the weights (data, recipe, steps, losses, sizes, limits).
    """

    name: str
    summary: str
    path: Path
    facts: Document

    @property
    def video(self) -> UsualVideo:
        """The videos that it was trained on, and makes by itself."""
        return UsualVideo(**self.facts["video"])

    def describe_unseen(self, num_frames: int, height: int, width: int) -> str:
        """Say what of a video its training had not, in which it is worse; empty where nothing is.

        >>> embedded_card("unet-mini").describe_unseen(49, 64, 64)
        'unet-mini was trained on 16 frames of 64 x 64; 49 frames are new to it'
        >>> embedded_card("wan-mini").describe_unseen(49, 64, 64)
        ''
        """
        least, most = self.facts["trained_frames"]
        video = self.video
        unseen = [] if least <= num_frames <= most else [f"{num_frames} frames"]
        if (height, width) != (video.height, video.width):
            unseen.append(f"pictures of {width} x {height}")
        known = str(least) if least == most else f"{least} to {most}"
        told = f"{self.name} was trained on {known} frames of {video.width} x {video.height}"
        return f"{told}; {' and '.join(unseen)} are new to it" if unseen else ""

    @property
    def denoiser(self) -> str:
        """Name of the part that denoises, ``transformer`` or ``unet``."""
        return next(part for part in _DENOISERS if (self.path / part).is_dir())

    @property
    def num_layers(self) -> int:
        """Number of self-attention layers, labels 1 to this."""
        return int(self.facts["num_layers"])

    @property
    def size_mib(self) -> float:
        """Size of its own files on disk."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file()) / 2**20


def list_models() -> tuple[ModelCard, ...]:
    """List the models that come with the package.

    >>> [card.name for card in list_models()]
    ['unet-mini', 'unet-mini-nocuts', 'wan-mini', 'wan-mini-nocuts']
    """
    return tuple(_read_card(path.parent) for path in sorted(_WEIGHTS.glob("*/card.json")))


def embedded_card(name: str) -> ModelCard | None:
    """Return the card of the embedded model of this name, None if there is none."""
    return next((card for card in list_models() if card.name == name), None)


def usual_video(name: str) -> UsualVideo | None:
    """Return what an embedded model makes where it is told nothing, None of other models.

    >>> usual_video("wan-mini").num_frames, usual_video("unet-mini").num_frames
    (49, 16)
    """
    card = embedded_card(name)
    return None if card is None else card.video


def name_of_loaded(pipe: object, denoiser: object) -> str:
    """Return by what name a pipeline was loaded: an embedded model, a name on a hub, a folder; empty if by none.

    An embedded model has the same name on every machine, wherever the package is installed, and its control, whose
    other parts are those of its base, has its own.

    >>> name_of_loaded(object(), object())
    ''
    """
    of_pipe, of_part = (
        str(dict(getattr(each, "config", {})).get("_name_or_path") or "") for each in (pipe, denoiser)
    )
    for path in map(Path, (of_part, of_pipe)):
        if path.is_relative_to(_WEIGHTS) and path != _WEIGHTS:
            return path.relative_to(_WEIGHTS).parts[0]
    return of_pipe or of_part


def base_of(card: ModelCard) -> Path:
    """Return the folder with all parts of an embedded model but its denoiser, which several have in common."""
    return _WEIGHTS / str(card.facts.get(_SHARED_WITH, card.name))


def inspect_model(name: str, variant: str | None = None) -> tuple[StoredParts, tuple[str, ...]]:
    """Return the stored tensors of a model's parts, and which parts denoise; of a hub model nothing is known yet.

    Raises
    ------
    UnknownModelError, UnsupportedModelError
        As `load`.
    """
    card = embedded_card(name)
    if card is not None:
        base = base_of(card)
        return {**read_parts(base), **read_parts(card.path)}, (card.denoiser,)
    if os.path.isfile(os.path.join(name, INDEX)):
        family = require_readable(Path(name))
        return read_parts(Path(name), variant), family.parts
    if _HUB_NAME.fullmatch(name) and not os.path.exists(name):
        return {}, _DENOISERS
    raise _unknown_model_error(name)


def _read_card(path: Path) -> ModelCard:
    facts = json.loads((path / "card.json").read_text())
    return ModelCard(path.name, facts["summary"], path, facts)


def require_readable(folder: Path) -> Family:
    """Return the family of a pipeline on disk, refusing what could not be loaded or looked into."""
    from attnscope.families import FAMILIES

    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UnknownModelError(
            expected="a diffusers folder",
            got="a damaged file",
            where=f"at {folder / INDEX}",
            remedy="restore it",
        ) from error
    kind = index.get("_class_name") if isinstance(index, dict) else None
    family = next((family for family in FAMILIES if kind in family.pipelines), None)
    if family is None:
        raise UnsupportedModelError(
            expected=f"a pipeline of the families {', '.join(family.name for family in FAMILIES)}",
            got=quote(kind),
            where=f"in {folder / INDEX}",
            remedy="give another model",
        )
    unread = [name for name in _READERS if index.get(name) == [None, None]]
    if unread:
        raise UnknownModelError(
            expected=f"a {kind} that can read prompts",
            got=f"one without {', '.join(unread)}",
            where=f"in {folder / INDEX}",
            remedy="save it with them",
        )
    if not any(folder.glob("*/*.safetensors")):
        raise UnknownModelError(
            expected="weights as safetensors files",
            got="none",
            where=f"in {folder}",
            remedy="convert the weights or fetch them anew",
        )
    return family


def _unknown_model_error(text: str) -> UnknownModelError:
    names = [card.name for card in list_models()]
    near = difflib.get_close_matches(text, names, n=1)
    hint = (
        f"did you mean {near[0]}?"
        if near
        else "give one of them, a diffusers folder, or a hub model owner/name"
    )
    if os.path.isdir(text):
        found = f"a folder without {INDEX}"
    else:
        found = "a file" if os.path.isfile(text) else "no such model and no such folder"
    return UnknownModelError(
        expected=f"a model ({', '.join(names)})",
        got=f"{quote(text)}, {found}",
        where="in load",
        remedy=hint,
    )
