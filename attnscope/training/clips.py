"""The films a model is trained on: files with a manifest, or scenes that are drawn; what cannot be used, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from attnscope._types import Document, Frames
from attnscope.dataset import Scene, render, sample_scene
from attnscope.errors import InputError, quote
from attnscope.metrics.scoring.manifests import Listed, read_usable_lines
from attnscope.shots import ShotPlan
from attnscope.video.files import read_video

_DRAWN_FPS = 16  # where neither the model nor who asks says it
_SHORTEST_SHOT = 4  # frames that every drawn shot has at least; never less than two latent ones
MANIFEST = "manifest.csv"
"""How the manifest of a folder of clips is called."""


@dataclass(frozen=True)
class FilmSize:
    """How the model sees films: frames, pixels, frames per second (None: as the file), temporal stride of the VAE."""

    num_frames: int
    height: int
    width: int
    fps: Fraction | None
    stride: int


@dataclass(frozen=True)
class Clip:
    """One film to train on, and what is said of it.

    ``caption`` says the whole film; ``captions``, where there are any, each shot, and then ``general`` what holds for
    all. A film of one shot is told by its caption alone. ``source`` is a file with its line of the manifest, a scene to
    draw, or frames with their plan.
    """

    name: str
    caption: str
    captions: tuple[str, ...]
    general: str
    source: Listed | Scene | tuple[Frames, ShotPlan]

    @property
    def identity(self) -> str:
        """What tells the film from any other: what would be read or drawn, and what is said of it."""
        if isinstance(self.source, Listed):
            path = self.source.path
            stat = path.stat()
            place = (
                f"{path.name} {stat.st_size} {stat.st_mtime_ns} {self.source.cuts_s} {self.source.cuts_frame}"
            )
            return f"{place} {self.source.marked_cuts_frame} {self.source.crop}"
        if isinstance(self.source, Scene):
            return repr(self.source)
        import hashlib

        frames, plan = self.source
        return f"{hashlib.sha256(np.ascontiguousarray(frames).tobytes()).hexdigest()} {plan}"

    def keep_shots(self, num: int) -> Clip:
        """Say only what holds for the first shots, where the film loses its end.

        >>> clip = Clip("a", "a dog runs and sleeps", ("a dog runs", "a dog sleeps"), "a dog", sample_scene(0))
        >>> clip.keep_shots(1).caption, clip.keep_shots(1).captions, clip.keep_shots(2) is clip
        ('a dog runs', (), True)
        """
        if not self.captions or 1 < num >= len(self.captions):
            return self
        left = self.captions[:num]
        shortened = self if num >= len(self.captions) else replace(self, caption=". ".join(left))
        return replace(shortened, captions=left if num > 1 else ())

    def load(self, size: FilmSize) -> tuple[Frames, ShotPlan]:
        """Read or draw the film as the model sees it, with its shots.

        Raises
        ------
        AttnscopeError
            The film cannot be used; the message says why.
        """
        if isinstance(self.source, Listed):
            frames, plan = _read(self.source, size)
        elif isinstance(self.source, Scene):
            frames, plan = render(self.source, height=size.height, width=size.width), self.source.plan
        else:
            frames, plan = self.source
        if self.captions and len(self.captions) != plan.num_shots:
            raise InputError(
                expected=f"a caption for each of {plan.num_shots} shots",
                got=f"{len(self.captions)}",
                where=f"for {self.name}",
                remedy="correct its captions or its shots",
            )
        frames, plan = _shorten(np.asarray(frames), plan, size)
        plan.to_latent(size.stride)  # a shot that no latent frame is left for is refused here
        return frames, plan


@dataclass(frozen=True)
class DrawnFilms:
    """Films that are drawn from seeds, with cuts that are known exactly; see :func:`attnscope.dataset.sample_scene`.

    ``shots`` are the numbers of shots to choose from, ``options`` go to ``sample_scene`` (``world``, ``keep_place``).
    Films are as long and as fast as the model makes them, and cut where it can cut, unless both are told.
    """

    num_clips: int
    shots: tuple[int, ...] = (1, 2, 3)
    num_frames: int | None = None
    fps: int | None = None
    first_seed: int = 0
    options: Document = field(default_factory=dict)

    def clips(self, size: FilmSize) -> list[Clip]:
        """Invent the films as a model of this size sees them; nothing is drawn yet."""
        if not isinstance(self.num_clips, int) or self.num_clips < 1 or not self.shots:
            raise InputError(
                expected="at least one film, of at least one number of shots",
                got=f"{self.num_clips} films of {quote(self.shots)} shots",
                where="in DrawnFilms",
                remedy="write DrawnFilms(100)",
            )
        length, rate = self.num_frames or size.num_frames, self.fps or size.fps or _DRAWN_FPS
        told = self.num_frames is not None and self.fps is not None
        usual = {"num_frames": length, "fps": rate, **({} if told else self._cuts_for(length, size))}
        return [
            clip_of(sample_scene(seed, num_shots=self.shots[seed % len(self.shots)], **usual | self.options))
            for seed in range(self.first_seed, self.first_seed + self.num_clips)
        ]

    def _cuts_for(self, length: int, size: FilmSize) -> Document:
        """Where a model of this size can cut, with shots that are long enough, or as long as all have room."""
        latent = (length - 1) // size.stride + 1
        least = min(max(2, -(-_SHORTEST_SHOT // size.stride)), max(1, latent // max(self.shots)))
        return {"stride": size.stride, "min_shot_latent_frames": least}


Data = str | Path | DrawnFilms | Sequence[Clip]
"""A folder with a manifest (`attnscope dataset build` leaves one), the manifest itself, the Parquet of such a folder,
films to be drawn, or clips of one's own."""


def clip_of(drawn: Scene) -> Clip:
    """Say of a drawn scene what a caption would.

    >>> clip_of(sample_scene(3, num_shots=2)).captions == sample_scene(3, num_shots=2).shot_captions()
    True
    """
    captions = drawn.shot_captions() if drawn.plan.num_shots > 1 else ()
    return Clip(f"scene {drawn.seed}", drawn.caption("none"), captions, drawn.general_caption(), drawn)


def read_clips(data: Data, size: FilmSize) -> tuple[list[Clip], list[str]]:
    """List the films of a data set, and the lines of its manifest that cannot be used, each with its reason.

    Films that are drawn are drawn for ``size``.

    Raises
    ------
    InputError
        There is no such data set, or no film in it.
    """
    if isinstance(data, DrawnFilms):
        return data.clips(size), []
    if not isinstance(data, str | Path):
        given: list[Any] = list(data) if isinstance(data, Sequence) else []
        if not given or not all(isinstance(each, Clip) for each in given):
            raise InputError(
                expected="a folder of clips, DrawnFilms, or a list of Clip",
                got=quote(data),
                where="as data of finetune",
                remedy="write for instance DrawnFilms(100)",
            )
        return given, []
    manifest = find_manifest(data)
    listed, refused = read_usable_lines(manifest, [manifest.parent])
    clips, reasons = [], [str(error) for error in refused]
    for each in listed:
        try:
            clips.append(_clip(each))
        except InputError as error:
            reasons.append(str(error))
    return clips, reasons


def find_manifest(data: str | Path) -> Path:
    """Return the manifest of a folder of clips, the one that is named, or the one beside the Parquet of a dataset.

    Raises
    ------
    InputError
        There is none.
    """
    path = Path(data)
    if path.suffix == ".parquet":  # the table of a dataset, whose manifest lies beside it
        path = path.parent
    manifest = path / MANIFEST if path.is_dir() else path
    if not manifest.is_file():
        raise InputError(
            expected=f"a folder with a {MANIFEST}, or a manifest",
            got=quote(str(data)),
            where="as data to train on",
            remedy="write one with the columns file, shots, caption, captions (one a shot, | between)",
        )
    return manifest


def _clip(listed: Listed) -> Clip:
    captions = listed.captions
    if not listed.caption and not captions:
        raise InputError(
            expected="a caption, or one a shot as captions",
            got="none",
            where=f"for {listed.name}",
            remedy="fill the column caption",
        )
    whole = listed.caption or ". ".join(captions)
    return Clip(listed.name, whole, captions, whole, listed)


def _read(listed: Listed, size: FilmSize) -> tuple[Frames, ShotPlan]:
    footage = read_video(listed.path, height=size.height, width=size.width, fps=size.fps, crop=listed.crop)
    request = listed.request_at(footage.source_fps, footage.num_source_frames)
    cuts = listed.marked_cuts_frame if listed.marked_cuts_frame is not None else request.cuts_frame
    if cuts is None:
        if request.num_shots not in (None, 1):
            raise InputError(
                expected="the times of its cuts",
                got=f"{request.num_shots} shots and no times",
                where=f"for {listed.name}",
                remedy="fill the column shots",
            )
        cuts = ()
    placed = [footage.at(cut) for cut in cuts]
    return footage.frames, ShotPlan.from_frames(placed, num_frames=len(footage.frames), fps=footage.fps)


def _shorten(frames: Frames, plan: ShotPlan, size: FilmSize) -> tuple[Frames, ShotPlan]:
    """The film as long as the model takes it; what is longer loses its end, what is shorter is as long as it can be."""
    if frames.ndim != 4 or frames.dtype != np.uint8 or len(frames) != plan.num_frames:
        raise InputError(
            expected=f"frames as uint8 (frames, height, width, 3), {plan.num_frames} of them as the plan has",
            got=f"{frames.dtype} of shape {frames.shape}",
            where="in a clip",
            remedy="plan the film that is given",
        )
    length = min(len(frames), size.num_frames)
    length = (length - 1) // size.stride * size.stride + 1
    if length < size.stride + 1:
        raise InputError(
            expected=f"a film of at least {size.stride + 1} frames",
            got=f"{len(frames)}",
            where="in a clip",
            remedy="give a longer one",
        )
    cuts = [cut for cut in plan.cuts_frame if cut < length]
    lost = len(plan.cuts_frame) - len(cuts)
    # what was rounded when the shots were asked for is of no film that is there
    notes = (f"{lost} of {plan.num_shots} shots begin behind frame {length}",) if lost else ()
    return frames[:length], replace(ShotPlan.from_frames(cuts, num_frames=length, fps=plan.fps), notes=notes)
