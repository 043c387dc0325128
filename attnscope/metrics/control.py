"""Compare the cuts of a video with the cuts that were asked for: how many, where, how surely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from attnscope.errors import InputError

Counted = Literal["cuts", "shots"]

TOO_FEW_POWER, TOO_MANY_POWER = 2.0, 1.6
"""Read off the published curve, whose fit is 2.008 and 1.592; the paper prints neither."""


class Agreement(NamedTuple):
    """How the detected cuts agree with the requested ones, within a tolerance; NaN where there is nothing to divide by.

    ``offset_frame`` is the mean of detected minus requested over the pairs: positive is late.
    """

    precision: float
    recall: float
    f1: float
    offset_frame: float
    num_matched: int


def transition_control(num_detected: int, num_requested: int, *, count: Counted = "cuts") -> float:
    """Score whether a video has as many cuts as were asked for: 1 as many, 0 none at all.

    ``(x exp(1 - x)) ** k`` with x = detected / requested and k = 2.0 below 1, 1.6 above. Half of the cuts gives 0.68,
    twice as many 0.61. It counts, and is blind to where the cuts are: read it beside :func:`agreement`. Both arguments
    are numbers of cuts; ``count="shots"`` compares numbers of shots (one more each), which gives 0.28 to a video of one
    shot where four were asked for. NaN where no cut was asked for and cuts are counted.

    Source: CineTrans, figure of the metric; that it counts cuts follows from its table, where models that never cut
    have 0.

    Raises
    ------
    InputError
        Negative numbers.

    Examples
    --------
    >>> [round(transition_control(found, 4), 3) for found in (0, 2, 4, 8)]
    [0.0, 0.68, 1.0, 0.612]
    """
    if num_detected < 0 or num_requested < 0 or count not in ("cuts", "shots"):
        raise InputError(
            expected="numbers of cuts from 0 and count cuts or shots",
            got=f"{num_detected}, {num_requested} and {count!r}",
            where="in transition_control",
            remedy="count again",
        )
    more = 1 if count == "shots" else 0
    if num_requested + more == 0:
        return math.nan
    x = (num_detected + more) / (num_requested + more)
    return float((x * math.exp(1 - x)) ** (TOO_FEW_POWER if x < 1 else TOO_MANY_POWER))


def match_cuts(
    detected: Sequence[int], requested: Sequence[int], *, tolerance_frame: float
) -> list[tuple[int, int]]:
    """Pair each requested cut with at most one detected cut, and the other way round.

    As many pairs as possible, none further apart than the tolerance, and among those the closest. Pairs are (detected,
    requested), in order.

    >>> match_cuts([10, 12, 40], [11, 30], tolerance_frame=2)
    [(10, 11)]
    """
    found, asked = np.asarray(detected, float), np.asarray(requested, float)
    if not len(found) or not len(asked):
        return []
    gap = np.abs(found[:, None] - asked[None, :])
    never = 1.0 + gap.sum()  # dearer than every other pairing together
    rows, columns = _cheapest_pairs(np.where(gap <= tolerance_frame, gap, never))
    return sorted(
        (detected[int(i)], requested[int(j)])
        for i, j in zip(rows, columns, strict=True)
        if gap[i, j] <= tolerance_frame
    )


def agreement(detected: Sequence[int], requested: Sequence[int], *, tolerance_frame: float = 2) -> Agreement:
    """Say how many detected cuts were asked for, how many of those asked for are there, and how late they are.

    Raises
    ------
    InputError
        A negative tolerance.

    Examples
    --------
    >>> agreement([11, 40], [10, 20], tolerance_frame=2)
    Agreement(precision=0.5, recall=0.5, f1=0.5, offset_frame=1.0, num_matched=1)
    """
    if not tolerance_frame >= 0:
        raise InputError(
            expected="a tolerance of 0 frames or more",
            got=f"{tolerance_frame}",
            where="as tolerance_frame",
            remedy="2 is usual",
        )
    pairs = match_cuts(detected, requested, tolerance_frame=tolerance_frame)
    offsets = [found - asked for found, asked in pairs]
    return Agreement(
        precision=_share(len(pairs), len(detected)),
        recall=_share(len(pairs), len(requested)),
        f1=_share(2 * len(pairs), len(detected) + len(requested)),
        offset_frame=float(np.mean(offsets)) if offsets else math.nan,
        num_matched=len(pairs),
    )


def latent_of_cut(cut_frame: int, stride: int = 4) -> int:
    """Name the latent frame at which a model of this causal stride would have to cut: the nearest, else the earlier.

    >>> [latent_of_cut(frame) for frame in (16, 17, 18, 19, 20)]
    [5, 5, 5, 5, 6]
    """
    if stride < 1:
        raise InputError(
            expected="a stride of 1 or more",
            got=f"{stride}",
            where="in latent_of_cut",
            remedy="a Wan model has 4",
        )
    below, excess = (cut_frame - 1) // stride + 1, (cut_frame - 1) % stride
    return below + int(2 * excess > stride)


def latent_agreement(detected: Sequence[int], requested: Sequence[int], *, stride: int = 4) -> Agreement:
    """Compare cuts on the grid that the model can cut at: both go to their nearest latent frame and must meet there.

    ``offset_frame`` is in latent frames, and 0 by construction where there are pairs.

    >>> latent_agreement([17, 41], [16, 48]).recall
    0.5
    """
    on_grid = [sorted({latent_of_cut(frame, stride) for frame in frames}) for frames in (detected, requested)]
    return agreement(*on_grid, tolerance_frame=0)


def shot_cut_accuracy(
    detected: Sequence[int],
    requested: Sequence[int],
    *,
    num_frames: int,
    penalty_frame: float | None = None,
) -> float:
    """Score how far the cuts are from where they were asked for: 1 all in place, towards 0 the more is wrong.

    HoloCine's SCA = exp(-(matched + penalty) / num_frames): the distances of the paired cuts in frames, and
    ``penalty_frame`` for every cut that is missing or too many, paired so that the sum is least. The penalty is not
    published with the formula; the default is the mean length of a requested shot, the distance at which a cut would
    stand in another shot. Compare only numbers with the same penalty.

    Raises
    ------
    InputError
        No frames, a penalty that is not positive.

    Examples
    --------
    >>> round(shot_cut_accuracy([42], [40, 60], num_frames=90), 3)  # exp(-(2 + 30) / 90)
    0.701
    """
    penalty = num_frames / (len(requested) + 1) if penalty_frame is None else penalty_frame
    if num_frames < 1 or not penalty > 0:
        raise InputError(
            expected="at least 1 frame and a penalty above 0",
            got=f"{num_frames} and {penalty_frame}",
            where="in shot_cut_accuracy",
            remedy="leave the penalty out",
        )
    found, asked = np.asarray(detected, float), np.asarray(requested, float)
    gap = np.abs(found[:, None] - asked[None, :])
    # every cut may stay alone for the penalty: its own row or column of partners that are none
    alone = np.where(np.eye(len(found)), penalty, np.inf), np.where(np.eye(len(asked)), penalty, np.inf)
    cost = np.block([[gap, alone[0]], [alone[1], np.zeros((len(asked), len(found)))]])
    if not cost.size:
        return 1.0
    cost = np.where(np.isinf(cost), 1 + gap.sum() + penalty * (len(found) + len(asked)), cost)
    rows, columns = _cheapest_pairs(cost)
    return float(math.exp(-cost[rows, columns].sum() / num_frames))


def probabilities_at(
    ends: npt.NDArray[np.floating], requested: Sequence[int], *, tolerance_frame: int = 2
) -> list[float]:
    """Say for each requested cut how sure the detector is that there is one, at most a few frames away.

    The highest probability that a shot ends within ``tolerance_frame`` of the frame before the cut; no threshold is
    involved, so it tells a cut that was nearly made from none at all. Their mean is the soft control of a video.

    >>> ends = np.zeros(40)
    >>> ends[18] = 0.25
    >>> probabilities_at(ends, [20, 30])
    [0.25, 0.0]
    """
    return [
        float(ends[max(0, cut - 1 - tolerance_frame) : max(0, cut + tolerance_frame)].max(initial=0.0))
        for cut in requested
    ]


def _cheapest_pairs(cost: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    from scipy.optimize import linear_sum_assignment  # half a second, which not every score needs

    rows, columns = linear_sum_assignment(cost)
    return rows, columns


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
