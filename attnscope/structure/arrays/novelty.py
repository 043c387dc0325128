"""Where a frame map falls apart into blocks: checkerboard novelty, its peaks, and their distance from the true cuts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.signal import find_peaks

from attnscope._types import Bools, Floats
from attnscope.structure.arrays.pair_means import Ints, Mass, distance, ratio


def symmetric(mass: Mass, *, first_key_frame: bool = True) -> Floats:
    """Average both directions of each pair; without key frame 0 its pairs keep only what frame 0 itself looks at."""
    both = (mass.astype(np.float64) + np.swapaxes(mass, -1, -2)) / 2
    if not first_key_frame:
        both[..., 0, :] = mass[..., 0, :]
        both[..., :, 0] = mass[..., 0, :]
    return np.asarray(both)


def without_distance(similarity: Floats) -> Floats:
    """Divide each pair by the mean of all pairs equally far apart; pairs of a distance that is all 0 stay 0."""
    num_frames = similarity.shape[-1]
    lag = distance(num_frames)
    member = (lag[..., None] == np.arange(num_frames)).astype(np.float64)
    mean = np.einsum("...qk,qkd->...d", similarity, member) / member.sum(axis=(0, 1))
    mean = np.where(mean == 0, 1.0, mean)
    return np.asarray(similarity / mean[..., lag])


def _windows(num_frames: int, half_width: int) -> tuple[Bools, Bools]:
    """Mark for each place the pairs on one side and the pairs across it: two arrays `(F-1, F, F)`."""
    place = np.arange(1, num_frames)[:, None]
    frame = np.arange(num_frames)[None, :]
    before = (frame < place) & (frame >= place - half_width)
    after = (frame >= place) & (frame < place + half_width)
    ahead = np.triu(np.ones((num_frames, num_frames), dtype=bool), 1)
    one_side = (before[:, :, None] & before[:, None, :]) | (after[:, :, None] & after[:, None, :])
    return one_side & ahead, before[:, :, None] & after[:, None, :]


def checkerboard_novelty(
    mass: Mass, *, half_width: int = 3, distance_normalised: bool = True, first_key_frame: bool = True
) -> Floats:
    """Give for each of the places 1..F-1 how much less is looked across it than beside it: `(..., F-1)` in [-1, 1].

    (beside - across) / (beside + across), means over pairs of different frames within `half_width` of the place.
    """
    similarity = symmetric(mass, first_key_frame=first_key_frame)
    if distance_normalised:
        similarity = without_distance(similarity)
    one_side, across = (window.astype(np.float64) for window in _windows(mass.shape[-1], half_width))
    beside = ratio(np.einsum("...qk,tqk->...t", similarity, one_side), one_side.sum(axis=(1, 2)))
    between = ratio(np.einsum("...qk,tqk->...t", similarity, across), across.sum(axis=(1, 2)))
    return ratio(beside - between, beside + between)


def peaks(novelty: Floats, *, num: int | None, threshold: float) -> Bools:
    """Mark the `num` highest local maxima of one curve `(T,)`, or those that reach the threshold."""
    picked = np.zeros(novelty.shape, dtype=bool)
    if np.isnan(novelty).any():
        return picked
    fence = [-np.inf]
    found = find_peaks(np.concatenate([fence, novelty, fence]))[0] - 1
    if num is None:
        chosen = found[novelty[found] >= threshold]
    else:
        # Equal heights: the earlier place first, so that a picture and a test agree on every machine.
        chosen = found[np.argsort(-novelty[found], kind="stable")[:num]]
    picked[chosen] = True
    return picked


def match_pairs(found: Ints, true: Ints, tolerance_frame: float) -> tuple[Ints, Ints]:
    """Pair each true cut with at most one found place: as many as possible, then as close as possible."""
    gap = np.abs(found[:, None] - true[None, :]).astype(np.float64)
    never = 1.0 + gap.sum()
    rows, columns = linear_sum_assignment(np.where(gap <= tolerance_frame, gap, never))
    kept = gap[rows, columns] <= tolerance_frame
    return found[rows[kept]], true[columns[kept]]


def boundary_error(picked: Bools, is_cut: Bools, tolerance_frame: float) -> npt.NDArray[np.float64]:
    """Give precision, recall, F1, mean offset, mean absolute offset of one curve `(T,)`; NaN where undefined."""
    found, true = np.flatnonzero(picked) + 1, np.flatnonzero(is_cut) + 1
    at, cut = match_pairs(found, true, tolerance_frame)
    offset = (at - cut).astype(np.float64)
    hits = float(len(at))
    mean_offset, mean_distance = (ratio(total, hits) for total in (offset.sum(), np.abs(offset).sum()))
    scores = [ratio(hits, len(found)), ratio(hits, len(true)), ratio(2 * hits, len(found) + len(true))]
    return np.array([*map(float, scores), float(mean_offset), float(mean_distance)])
