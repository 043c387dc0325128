"""Score one video: its cuts and how they agree with the plan, how alike its shots are, how clean its cuts are."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np

from attnscope._types import Crop, Document, Vectors
from attnscope.errors import VideoError
from attnscope.metrics import consistency, control, quality
from attnscope.metrics.detection.cuts import SHORTEST_SHOT_S, CutDetector, Detection, DetectorName
from attnscope.metrics.encoders.registry import Encoder, Missing, Task, find_encoder
from attnscope.metrics.scoring.requests import Request
from attnscope.shots import ShotPlan
from attnscope.video.display import NO_CROP
from attnscope.video.streams import ArrayVideo, FileVideo, Video

Row = Document

_INTER: Mapping[str, Task] = {"inter_semantic": "semantic", "inter_visual": "visual"}
_INTRA: Mapping[str, Task] = {"intra_subject": "visual", "intra_background": "background"}
_BATCH = 8


@dataclass(frozen=True)
class Settings:
    """How videos are scored; equal settings give equal numbers.

    ``tolerance_frame`` is how far a cut may be from where it was asked for, ``stride`` the causal stride of the model
    that made the video (1 for a model without one), ``encoders`` names the encoder for a task where it should not be
    the first that is there.
    """

    detector: DetectorName = "transnetv2"
    threshold: float | None = None
    shortest_shot_s: float = SHORTEST_SHOT_S
    arithmetic: Literal["auto", "float32", "bfloat16"] = "auto"
    tolerance_frame: int = 2
    stride: int = 4
    encoders: Mapping[Task, str] = field(default_factory=dict)


def score(
    video: object,
    plan: ShotPlan | None = None,
    *,
    fps: Fraction | int | float | None = None,
    caption: str | None = None,
    crop: Crop = NO_CROP,
    settings: Settings | None = None,
) -> Row:
    """Score a video: whether it cuts where it was told to, and whether its shots belong together.

    ``video`` is a file, or frames (frames, height, width, 3) with ``fps`` (by default that of the plan): uint8, floats
    from 0 to 1, a tensor or a list of pictures, as pipelines give them. ``plan`` says which shots were asked for;
    without one there is nothing to hold the cuts against, and those numbers are null.
    Nothing is resampled: a cut at frame c of the plan is looked for at frame c of the video.

    Returns plain numbers under names: the cuts found, transition control, agreement, soft control, likeness between and
    within shots, flicker and sharpness around cuts, and ``probabilities``, the detector's curve. A number that cannot
    be had is null, with its reason beside it.

    Raises
    ------
    VideoError
        The video cannot be read or is no video, or the plan is longer or shorter than it.
    SetupError
        The package that holds the detector's weights is not installed.

    Examples
    --------
    >>> from attnscope.dataset import render, sample_scene
    >>> scene = sample_scene(20, num_shots=2, num_frames=33)
    >>> row = score(render(scene), scene.plan)
    >>> row["cuts_detected_frame"] == list(scene.plan.cuts_frame), row["transition_control"]
    (True, 1.0)
    """
    if isinstance(video, str | os.PathLike):
        opened: Video = FileVideo(video, crop=crop)
    else:
        rate = fps
        if rate is None and plan is not None:
            rate = plan.fps
        if rate is None:
            raise VideoError(
                expected="the frame rate of frames in memory",
                got="neither fps nor a plan",
                where="in score",
                remedy="give fps",
            )
        opened = ArrayVideo(video, rate)

    def ask(opened: Video) -> Request:
        if plan is None:
            return Request(caption=caption)
        if plan.num_frames != opened.num_frames:
            raise VideoError(
                expected=f"a video of {plan.num_frames} frames as its plan has",
                got=f"{opened.num_frames}",
                where="in score",
                remedy="give its own plan",
            )
        cuts_s = tuple(cut / plan.fps for cut in plan.cuts_frame)
        return Request(cuts_frame=plan.cuts_frame, caption=caption, cuts_s=cuts_s)

    return score_opened(opened, ask, settings or Settings())


def score_opened(video: Video, ask: Callable[[Video], Request], settings: Settings) -> Row:
    """Score a video; see :func:`score`. It runs twice: past detector and quality, then for the frames to compare.

    ``ask`` says what was asked for, once length and frame rate of the video are known, or refuses what cannot be.
    """
    detector = CutDetector(
        settings.detector,
        threshold=settings.threshold,
        shortest_shot_s=settings.shortest_shot_s,
        arithmetic=settings.arithmetic,
    )
    frame_quality = quality.FrameQuality()
    detector.begin()
    for picture in video:
        detector.process(picture)
        frame_quality.process(picture)
    request = ask(video)
    detection, per_frame = detector.finish(video.num_frames, video.fps), frame_quality.finish()
    cuts = detection.cuts_frame
    likeness = _measure_likeness(video, detection, request, settings)
    return {
        "num_frames": video.num_frames,
        "fps": float(video.fps),
        "height": video.size[0],
        "width": video.size[1],
        "duration_s": float(video.num_frames / video.fps),
        "notes": list(request.notes),
        **describe_cuts(detection),
        **score_control(detection, request, settings),
        "consistency": likeness,
        "quality": {
            **quality.flicker_around_cuts(per_frame, cuts),
            **quality.sharpness_around_cuts(per_frame, cuts),
            "aesthetic": likeness.pop("aesthetic"),
        },
        "probabilities": None if detection.ends is None else _round_curve(detection.ends),
        "probabilities_inside": None if detection.inside is None else _round_curve(detection.inside),
    }


def describe_cuts(detection: Detection) -> Row:
    """List what a detector found, as plain numbers."""
    return {
        "detector": detection.detector,
        "threshold": detection.threshold,
        "arithmetic": detection.arithmetic,
        "num_shots_detected": len(detection.transitions) + 1,
        "cuts_detected_frame": list(detection.cuts_frame),
        "cuts_detected_s": [float(cut / detection.fps) for cut in detection.cuts_frame],
        "transitions": [
            {
                "cut_frame": each.cut_frame,
                "start_frame": each.start_frame,
                "stop_frame": each.stop_frame,
                "kind": each.kind,
                "probability": each.probability,
                "num_votes": each.num_votes,
            }
            for each in detection.transitions
        ],
    }


def score_control(detection: Detection, request: Request, settings: Settings) -> Row:
    """Hold the cuts found against those asked for; None where nobody asked, or only how many were asked is known."""
    found, asked = detection.cuts_frame, request.cuts_frame
    scores: Row = {
        "num_shots_requested": None if request.num_cuts is None else request.num_cuts + 1,
        "cuts_requested_s": None if request.cuts_s is None else [float(cut) for cut in request.cuts_s],
        "cuts_requested_frame": None if asked is None else list(asked),
        "transition_control": None,
        "shot_cut_accuracy": None,
        "agreement": None,
        "agreement_latent": None,
        "probabilities_at_requested": None,
        "soft_control": None,
    }
    if request.num_cuts is not None:
        scores["transition_control"] = control.transition_control(len(found), request.num_cuts)
    if asked is None:
        return scores
    near = control.agreement(found, asked, tolerance_frame=settings.tolerance_frame)
    on_grid = control.latent_agreement(found, asked, stride=settings.stride)
    scores["shot_cut_accuracy"] = control.shot_cut_accuracy(found, asked, num_frames=detection.num_frames)
    scores["agreement"] = {**near._asdict(), "tolerance_frame": settings.tolerance_frame}
    scores["agreement_latent"] = {**on_grid._asdict(), "stride": settings.stride}
    if detection.ends is not None:
        # a cut that moved to the model's own grid was still made
        reach = max(settings.tolerance_frame, settings.stride // 2)
        at = control.probabilities_at(detection.ends, asked, tolerance_frame=reach)
        scores["probabilities_at_requested"] = at
        scores["soft_control"] = float(np.mean(at)) if at else math.nan
    return scores


def _measure_likeness(video: Video, detection: Detection, request: Request, settings: Settings) -> Row:
    """What the encoders say of the frames to compare: likeness, agreement with the caption, and beauty."""
    tasks: list[Task] = ["semantic", "visual", "background", "aesthetic"]
    if request.caption:
        tasks.append("text_video")
    found = {task: find_encoder(task, settings.encoders.get(task, "auto")) for task in tasks}
    shots = consistency.choose_frames(detection.transitions, detection.num_frames)
    vectors = _encode(video, shots, {task: each for task, each in found.items() if isinstance(each, Encoder)})
    scores: Row = {}
    for name, task in _INTER.items():
        pairs = consistency.between_shots(vectors[task]) if task in vectors else {}
        lonely = None if len(shots) > 1 else "the video has one shot, so there is nothing to compare"
        scores[name] = _describe_value(found[task], pairs.get("all_pairs"), lonely)
        scores[f"{name}_adjacent"] = _describe_value(found[task], pairs.get("adjacent"), lonely)
    for name, task in _INTRA.items():
        value = consistency.within_shots(vectors[task]) if task in vectors else None
        short = "no shot is long enough to compare its frames"
        scores[name] = _describe_value(
            found[task], value, short if value is None or math.isnan(value) else None
        )
    if request.caption:
        scores["text_alignment"] = _measure_alignment(found["text_video"], vectors, request.caption)
    marks = vectors.get("aesthetic")
    scores["aesthetic"] = _describe_value(
        found["aesthetic"], None if marks is None else float(np.concatenate(marks).mean()), None
    )
    return scores


def _measure_alignment(found: Encoder | Missing, vectors: Mapping[Task, list[Vectors]], caption: str) -> Row:
    if isinstance(found, Missing) or found.encode_text is None:
        return _describe_value(found, None, None)
    frames = np.concatenate(vectors["text_video"])
    return _describe_value(
        found, consistency.cosine(frames.mean(axis=0), found.encode_text([caption])[0]), None
    )


def _encode(
    video: Video, shots: Sequence[Sequence[int]], encoders: Mapping[Task, Encoder]
) -> dict[Task, list[Vectors]]:
    """Give each shot's frames their vectors, one batch of pictures in memory at a time."""
    order = [index for shot in shots for index in shot]
    made: dict[Task, Vectors] = {}
    for side in {each.side for each in encoders.values()}:
        here = {task: each for task, each in encoders.items() if each.side == side}
        start = 0
        for pictures in video.batches(order, height=side, width=side, size=_BATCH):
            for task, each in here.items():
                vectors = each.encode(pictures)
                if task not in made:  # one block: joined at the end they would take their place twice
                    made[task] = np.empty((len(order), vectors.shape[1]), np.float32)
                made[task][start : start + len(pictures)] = vectors
            start += len(pictures)
    ends = np.cumsum([len(shot) for shot in shots])[:-1]
    return {task: np.split(whole, ends) for task, whole in made.items()}


def _describe_value(found: Encoder | Missing, value: float | None, reason: str | None) -> Row:
    """One number with what it takes to trust it."""
    if isinstance(found, Missing):
        return _describe_missing(found)
    good = value is not None and not math.isnan(value)
    return {
        "value": value if good else None,
        "encoder": found.name,
        "weights_sha256": found.weights_sha256,
        "comparable_to_paper": found.comparable_to_paper,
        "reason": None if good else reason,
    }


def _describe_missing(found: Encoder | Missing) -> Row:
    reason = found.reason if isinstance(found, Missing) else None
    nothing: Row = dict.fromkeys(("value", "encoder", "weights_sha256"))
    return {**nothing, "comparable_to_paper": False, "reason": reason}


def _round_curve(curve: Iterable[float]) -> list[float]:
    return [round(float(each), 4) for each in curve]
