"""Videos that a probe looks at: files, a folder or a manifest; their shots where somebody knows them, else found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attnscope._types import Crop, Document, Frames
from attnscope.cli._clock import clock_of
from attnscope.cli._lines import read_lines
from attnscope.dataset import render, sample_scene
from attnscope.errors import InputError, ShotPlanError, VideoError
from attnscope.models.finding import DRAWN_VIDEO, UsualVideo
from attnscope.shots import ShotPlan
from attnscope.video.files import Footage, fps_of, read_video

if TYPE_CHECKING:
    from attnscope.families.protocols import Pipeline
    from attnscope.metrics.scoring.manifests import Listed

DEMO_SEED = 20
"""Seed of the drawn film that is looked at when neither prompt nor video is given."""

DETECTOR: Final = "transnetv2"
"""What finds cuts that nobody gave, as `attnscope score` does."""

_MOST_FRAMES = 81
_CAPTIONS = ("a text file, one caption a line", "caption", "--captions")


@dataclass(frozen=True)
class Shown:
    """Videos of one length that a model is shown, each with its shots and what the model is told about it.

    `detector` is what found the shots, None where they were known; `source_fps` is the clock of the first file, None
    where there is none.
    """

    frames: tuple[Frames, ...]
    plans: tuple[ShotPlan, ...]
    captions: tuple[str, ...]
    detector: str | None = None
    source_fps: Fraction | None = None


def list_places(video: Path, captions: Path | None) -> list[Listed]:
    """List the videos that were named, before anything heavy is imported.

    Raises
    ------
    VideoError
        There is no such place.
    InputError
        A manifest that cannot be read, or another number of captions than videos.
    """
    if not os.path.exists(video):
        raise VideoError(
            expected="a video file, a folder of them or a manifest",
            got=f"{str(video)!r}, which is no file",
            where="as --video",
            remedy="check the path",
        )
    from attnscope.metrics.scoring.manifests import list_videos, read_manifest

    listed = read_manifest(video, ()) if video.suffix.lower() == ".csv" else list_videos([video])
    if captions is None:
        return listed
    texts = read_lines(captions, *_CAPTIONS)
    if len(texts) != len(listed):
        raise InputError(
            expected=f"one caption for each of {len(listed)} videos",
            got=f"{len(texts)}",
            where=f"in {captions}",
            remedy="write one on a line, in the order of the names",
        )
    return [replace(each, caption=text) for each, text in zip(listed, texts, strict=True)]


def size_for(pipe: Pipeline, sampling: Document, usual: UsualVideo | None) -> dict[str, int]:
    """Return height and width that videos are brought to: as asked for, else what the pipeline makes by itself."""
    from attnscope import families
    from attnscope.families.calling import default_size

    own = default_size(pipe, families.find(pipe)) if usual is None else {}
    small = usual or DRAWN_VIDEO
    return {
        name: int(sampling.get(name, own.get(name, pixels)))
        for name, pixels in (("height", small.height), ("width", small.width))
    }


def read_shown(
    pipe: Pipeline,
    listed: Sequence[Listed],
    *,
    shots: str | None,
    crop: Crop | None,
    num_frames: int | None,
    size: dict[str, int],
) -> Shown:
    """Read videos at the model's rate and size; several are cut to the length of the shortest.

    Raises
    ------
    VideoError, ShotPlanError
        A video that cannot be read, of another rate than the first, or shots that do not cover it.
    """
    from attnscope.metrics import detect_cuts

    most = num_frames or _MOST_FRAMES
    _require_size(pipe, num_frames=most, **size)
    alone = len(listed) == 1
    taken = [
        read_video(
            each.path,
            fps=fps_of(pipe),
            max_frames=most if alone else None,
            crop=each.crop if crop is None else crop,
            **size,
        )
        for each in listed
    ]
    _require_one_rate(listed, taken)
    length = _fit_length(pipe, min(most, *(len(each.frames) for each in taken)))
    plans, found = [], False
    for each, footage in zip(listed, taken, strict=True):
        cuts = _find_cuts(footage, each, shots)
        if cuts is None:
            cuts, found = detect_cuts(footage.frames, footage.fps, detector=DETECTOR).cuts_frame, True
        inside = sorted({cut for cut in cuts if 0 < cut < length})
        plans.append(ShotPlan.from_frames(inside, num_frames=length, fps=taken[0].fps))
    frames = tuple(footage.frames[:length] for footage in taken)
    told, detector = tuple(each.caption or "" for each in listed), DETECTOR if found else None
    return Shown(frames, tuple(plans), told, detector, taken[0].source_fps)


def draw_shown(
    pipe: Pipeline,
    shots: str | None,
    seed: int,
    num_frames: int | None,
    size: dict[str, int],
    usual: UsualVideo | None,
) -> Shown:
    """Draw the film of the demonstration.

    Raises
    ------
    ShotPlanError
        Shots of another length than the frames that were asked for.
    """
    clock = clock_of(pipe)
    plan = None if shots is None else ShotPlan.from_spec(shots, **clock)
    length = num_frames or ((usual or DRAWN_VIDEO).num_frames if plan is None else plan.num_frames)
    if plan is not None and plan.num_frames != length:
        raise ShotPlanError(
            expected=f"as many frames as the shots have, {plan.num_frames}",
            got=f"{length}",
            where="as --num-frames",
            remedy="leave it out or change the shots",
        )
    _require_size(pipe, num_frames=length, **size)
    scene = sample_scene(DEMO_SEED + seed, num_shots=3, num_frames=length, plan=plan, **clock)
    return Shown((render(scene, **size),), (scene.plan,), (scene.caption("none"),))


def _find_cuts(footage: Footage, listed: Listed, shots: str | None) -> Sequence[int] | None:
    """Cuts on the frames that were taken: those on the command line, those people marked, those asked for."""
    if shots is not None:
        return _cuts_of(footage, shots)
    given = listed.marked_cuts_frame
    if given is None:
        given = listed.request_at(footage.source_fps).cuts_frame
    return None if given is None else [footage.at(cut) for cut in given]


def _cuts_of(footage: Footage, shots: str) -> list[int]:
    """Bring shots that are given on the clock of the file to the frames that were taken from it."""
    given = ShotPlan.from_spec(shots, fps=footage.source_fps)
    if abs(given.num_frames - footage.num_source_frames) > max(Fraction(4), footage.source_fps / 2):
        raise ShotPlanError(
            expected=f"shots over the whole video, {float(footage.num_source_frames / footage.source_fps):.2f} s",
            got=f"{float(given.duration_s):.2f} s",
            where="as --shots",
            remedy="give every shot up to the end",
        )
    return [footage.at(cut) for cut in given.cuts_frame]


def _require_one_rate(listed: Sequence[Listed], taken: Sequence[Footage]) -> None:
    first = float(taken[0].fps)
    for each, footage in zip(listed, taken, strict=True):
        if abs(float(footage.fps) - first) > 0.02 * first:
            raise VideoError(
                expected=f"videos of one rate, {first:.3g} frames per second as {listed[0].name}",
                got=f"{float(footage.fps):.3g}",
                where=f"in {each.path}",
                remedy="look at it by itself",
            )


def _fit_length(pipe: Pipeline, num_frames: int) -> int:
    from attnscope import families

    stride = families.find(pipe).temporal_stride(pipe)
    return (num_frames - 1) // stride * stride + 1


def _require_size(pipe: Pipeline, **size: int) -> None:
    """Refuse a size before anything of that size is drawn or decoded."""
    from attnscope import families

    families.find(pipe).require_size(pipe, **size)
