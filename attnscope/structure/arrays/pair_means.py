"""Means of a frame map over chosen pairs of frames: inside a shot, across a cut, at one distance."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from attnscope._types import Bools, Floats

Mass: TypeAlias = npt.NDArray[np.floating]
Ints: TypeAlias = npt.NDArray[np.integer]


def same_shot(shot: Ints) -> Bools:
    """Say for each pair of frames whether both lie in one shot: `(..., F)` -> `(..., F, F)`."""
    return np.asarray(shot[..., :, None] == shot[..., None, :])


def is_known(shot: Ints) -> Bools:
    """Say whether every frame has a shot: `(..., F)` -> `(...)`."""
    return np.asarray((shot >= 0).all(axis=-1))


def distance(num_frames: int) -> npt.NDArray[np.intp]:
    """Give |query frame - key frame| for each pair: `(F, F)`."""
    frame = np.arange(num_frames)
    return np.asarray(np.abs(frame[:, None] - frame[None, :]))


def select_pairs(num_frames: int, *, diagonal: bool, first_key_frame: bool) -> Bools:
    """Say which pairs take part at all: `(F, F)`, without the diagonal or without key frame 0 where asked."""
    pairs = np.ones((num_frames, num_frames), dtype=bool)
    if not diagonal:
        np.fill_diagonal(pairs, False)
    if not first_key_frame:
        pairs[:, 0] = False
    return pairs


def pair_sum(mass: Mass, pairs: Bools) -> Floats:
    """Add up the mass of the chosen pairs: `(..., F, F)` -> `(...)`; a missing value in the map makes it NaN."""
    return np.asarray(np.einsum("...qk,...qk->...", mass, pairs.astype(np.float64)))


def ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> Floats:
    """Divide without warnings: x/0 is infinite, 0/0 is NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.divide(np.asarray(above, float), np.asarray(below, float)))


def intra_inter(
    mass: Mass, shot: Ints, *, diagonal: bool = True, first_key_frame: bool = True
) -> tuple[Floats, Floats, Floats, Floats]:
    """Sum and count the pairs inside shots and across cuts: (intra sum, intra count, inter sum, inter count)."""
    pairs = select_pairs(mass.shape[-1], diagonal=diagonal, first_key_frame=first_key_frame)
    same = same_shot(shot)
    known = is_known(shot)[..., None, None]
    intra, inter = same & pairs & known, ~same & pairs & known
    sums = [pair_sum(mass, chosen) for chosen in (intra, inter)]
    counts = [
        np.broadcast_to(chosen.sum(axis=(-1, -2), dtype=np.float64), sums[0].shape)
        for chosen in (intra, inter)
    ]
    return sums[0], counts[0], sums[1], counts[1]


def contrast(mass: Mass, shot: Ints, *, diagonal: bool = True, first_key_frame: bool = True) -> Floats:
    """Divide the mean mass of a pair inside a shot by that of a pair across a cut: `(...)`."""
    intra, num_intra, inter, num_inter = intra_inter(
        mass, shot, diagonal=diagonal, first_key_frame=first_key_frame
    )
    return ratio(ratio(intra, num_intra), ratio(inter, num_inter))


def distance_only_contrast(
    mass: Mass, shot: Ints, *, diagonal: bool = True, first_key_frame: bool = True
) -> Floats:
    """Give the contrast of the map whose every pair has the mean mass of the pairs equally far apart: `(...)`."""
    num_frames = mass.shape[-1]
    pairs = select_pairs(num_frames, diagonal=diagonal, first_key_frame=first_key_frame)
    of_lag = distance(num_frames)[None] == np.arange(num_frames)[:, None, None]
    of_lag &= pairs
    mean = ratio(np.einsum("...qk,lqk->...l", mass, of_lag.astype(np.float64)), of_lag.sum(axis=(1, 2)))
    expected = np.nan_to_num(mean)[..., distance(num_frames)]
    expected = np.where(np.isnan(mass).any(axis=(-1, -2), keepdims=True), np.nan, expected)
    return contrast(expected, shot, diagonal=diagonal, first_key_frame=first_key_frame)


def lag_matched_contrast(mass: Mass, shot: Ints, *, first_key_frame: bool = True) -> Floats:
    """Compare pairs inside and across at equal distance only (Mantel-Haenszel weights): `(...)`."""
    num_frames = mass.shape[-1]
    pairs = select_pairs(num_frames, diagonal=False, first_key_frame=first_key_frame)
    same, known = same_shot(shot), is_known(shot)[..., None, None]
    above, below = np.zeros(()), np.zeros(())
    for lag in range(1, num_frames):
        at_lag = pairs & known & (distance(num_frames) == lag)
        intra, inter = same & at_lag, ~same & at_lag
        num_intra, num_inter = intra.sum(axis=(-1, -2)), inter.sum(axis=(-1, -2))
        total = np.maximum(num_intra + num_inter, 1)
        above = above + pair_sum(mass, intra) * num_inter / total
        below = below + pair_sum(mass, inter) * num_intra / total
    return ratio(above, below)


def own_shot_mass(mass: Mass, shot: Ints) -> Floats:
    """Give the share of the video mass that stays in the query's own shot, mean over query frames: `(...)`."""
    within = np.einsum("...qk,...qk->...q", mass, same_shot(shot).astype(np.float64))
    share = ratio(within, mass.sum(axis=-1, dtype=np.float64)).mean(axis=-1)
    return np.where(is_known(shot), share, np.nan)


def first_frame_sink(mass: Mass, shot: Ints, *, other_shots_only: bool = True) -> Floats:
    """Compare key frame 0 with other keys equally far from the query: `(...)`, 1 means nothing special.

    With `other_shots_only` the queries lie outside the first shot and are compared with pairs across a cut.
    """
    num_frames = mass.shape[-1]
    across = ~same_shot(shot) if other_shots_only else np.ones_like(same_shot(shot))
    across = across & is_known(shot)[..., None, None]
    sink, expected = np.zeros(()), np.zeros(())
    for query in range(1, num_frames):
        counts = across[..., query, 0].astype(np.float64)
        peers = across & (distance(num_frames) == query)
        peers[..., :, 0] = False
        num_peers = np.maximum(peers.sum(axis=(-1, -2)), 1)
        sink = sink + counts * mass[..., query, 0]
        expected = expected + counts * pair_sum(mass, peers) / num_peers
    return ratio(sink, expected)
