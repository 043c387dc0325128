"""Take frames in memory in the forms in which pipelines and libraries give them.

Legend: T frames, H height, W width; what comes out is uint8 (T, H, W, 3) RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from attnscope._types import Frames, Numbers
from attnscope.errors import VideoError

_FEWEST_FRAMES = 2
_ROUNDING = 1e-3  # how far float arithmetic may carry a pixel beyond 0 and 1
_FORMS = "frames of shape (frames, height, width, 3), uint8 0 to 255 or float 0 to 1"


def as_frames(video: object, *, where: str = "as video", fewest: int = _FEWEST_FRAMES) -> Frames:
    """Bring a video in memory to uint8 frames.

    Parameters
    ----------
    video : array, tensor or sequence
        An array or a torch tensor (T, H, W, 3), a tensor (T, 3, H, W), either with a leading 1 for the one video of a
        pipeline's output; or a list of pictures: arrays, tensors (3, H, W) or PIL images. uint8 is taken as it is,
        other whole numbers from 0 to 255 likewise; floats are shares from 0 to 1, as pipelines give them.
    where : str
        What it is called in messages.
    fewest : int
        The least number of frames.

    Returns
    -------
    ndarray
        uint8 (T, H, W, 3).

    Raises
    ------
    VideoError
        It is no video: another shape, too few frames, several videos at once, numbers outside these ranges or nan.

    Examples
    --------
    >>> as_frames(np.full((2, 8, 8, 3), 0.5))[0, 0, 0]
    array([128, 128, 128], dtype=uint8)
    >>> as_frames(np.zeros((4, 8, 8), np.uint8))
    Traceback (most recent call last):
        ...
    attnscope.errors.VideoError: expected frames of shape (frames, height, width, 3), uint8 0 to 255 or float 0 to 1, \
got uint8 of shape (4, 8, 8) as video; convert them
    """
    frames = _as_array(video, where)
    if frames.ndim == 5 and len(frames) == 1:
        frames = frames[0]
    if frames.ndim == 4 and frames.shape[3] != 3 and frames.shape[1] == 3:
        frames = frames.transpose(0, 2, 3, 1)
    if frames.ndim != 4 or frames.shape[-1] != 3 or min(frames.shape[1:3]) < 1:
        raise _refusal(frames, f"{frames.dtype} of shape {frames.shape}", where)
    if len(frames) < fewest:
        raise VideoError(
            expected=f"a video of at least {fewest} frames",
            got=f"shape {frames.shape}",
            where=where,
            remedy="give a longer one",
        )
    return _as_uint8(frames, where)


def as_videos(video: Any, *, where: str = "as video", fewest: int = _FEWEST_FRAMES) -> list[Frames]:
    """Bring one video or several to uint8 frames each.

    Several are a sequence of what :func:`as_frames` takes, or an array or tensor with one more dimension in front.

    >>> [each.shape for each in as_videos(np.zeros((3, 5, 8, 8, 3), np.uint8))]
    [(5, 8, 8, 3), (5, 8, 8, 3), (5, 8, 8, 3)]
    """
    is_sequence = isinstance(video, Sequence) and not isinstance(video, str | bytes) and len(video) > 0
    if getattr(video, "ndim", 0) == 5 or (is_sequence and not _is_picture(video[0])):
        return [as_frames(each, where=where, fewest=fewest) for each in video]
    return [as_frames(video, where=where, fewest=fewest)]


def _as_array(video: object, where: str) -> Numbers:
    if isinstance(video, Sequence) and not isinstance(video, str | bytes):
        if len(video) == 1 and not _is_picture(video[0]):
            return _as_array(video[0], where)  # a pipeline's output: a list of one video
        pictures = [_as_picture(each) for each in video]
        if len({each.shape for each in pictures}) != 1:
            raise VideoError(
                expected="pictures of one shape",
                got=f"{sorted({each.shape for each in pictures})[:3]}" if pictures else "none",
                where=where,
                remedy="bring them to one size",
            )
        return np.stack(pictures)
    return _numbers(video)


def _is_picture(value: object) -> bool:
    return hasattr(value, "getbands") or getattr(value, "ndim", 0) == 3


def _as_picture(value: Any) -> Numbers:
    """One picture (H, W, 3), or whatever came; channels first only where they can be nothing else."""
    if hasattr(value, "getbands"):  # a PIL image
        return np.asarray(value.convert("RGB"))
    array = _numbers(value)
    if array.ndim == 3 and array.shape[2] != 3 and array.shape[0] == 3:
        return array.transpose(1, 2, 0)
    return array


def _numbers(value: Any) -> Numbers:
    """An array of what may be a tensor, on whichever device and with gradients or without."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        # numpy lacks bfloat16
        value = value.float() if value.is_floating_point() else value
    return np.asarray(value)


def _as_uint8(frames: Numbers, where: str) -> Frames:
    if frames.dtype == np.uint8:
        return frames
    if frames.dtype.kind not in "iuf" or not frames.size:
        raise _refusal(frames, f"{frames.dtype} of shape {frames.shape}", where)
    low, high = frames.min(), frames.max()
    if frames.dtype.kind in "iu" and low >= 0 and high <= 255:
        return frames.astype(np.uint8)
    if frames.dtype.kind == "f" and low >= -_ROUNDING and high <= 1 + _ROUNDING:
        return np.round(255 * np.clip(frames, 0, 1)).astype(np.uint8)
    raise _refusal(frames, f"{frames.dtype} from {low} to {high}", where)


def _refusal(frames: Numbers, got: str, where: str) -> VideoError:
    several = frames.ndim == 5 and len(frames) > 1
    remedy = "give one video at a time" if several else "convert them"
    return VideoError(expected=_FORMS, got=got, where=where, remedy=remedy)
