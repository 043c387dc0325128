"""Move shots apart in the positions that a model gives its frames: what EchoShot and MultiShotMaster do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnscope._types import Numbers, Range
from attnscope.checks import is_number
from attnscope.errors import InputError, ShotPlanError, quote
from attnscope.families.protocols import Model, MovesInTime, require
from attnscope.hooks import Attachment, HookPoint, defer_interrupts, join_or_attach
from attnscope.ranges import format_range, parse_range
from attnscope.shots import LatentPlan, ShotPlan

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
@defer_interrupts
def offset_shots(
    pipe: Model | Attachment,
    shots: ShotPlan | LatentPlan,
    by: float | Sequence[float] = 4.0,
    *,
    layers: Range = "all",
) -> Iterator[Attachment]:
    """Tell a model that more time passes at a cut than does: each shot lies further back by some latent frames.

    Models with rotary positions (RoPE) turn queries and keys by an angle that grows with the frame, and see of it only
    the difference. Within the block the time of all frames of shot s is moved by ``s * by`` latent frames (or by
    ``by[s]``), in queries and keys of self-attention: within a shot nothing changes, and from shot to shot frames are
    as far apart as if those between were missing. No weight changes and nothing is hidden; a model that was not trained
    on it need not cut there. It works beside :func:`attnscope.intervene`.

    EchoShot (arXiv 2506.15838) and MultiShotMaster turn each shot by a phase and train on it; the phase of a rotary
    pair of frequency w is here w times the offset. What they do to the positions of text is left out.

    Parameters
    ----------
    pipe
        A loaded diffusers video pipeline of a supported family, its denoiser, or an open :func:`attnscope.attach`.
    shots : ShotPlan or LatentPlan
        Where the shots are.
    by : float or sequence of float
        How far, in latent frames; fractions and negative numbers are fine. One number a shot, or one for each cut.
    layers : range
        Labels from 1.

    Raises
    ------
    UnsupportedModelError
        The family has no rotary positions in time.
    InputError
        A number that is not finite, or not one for each shot.
    ShotPlanError
        The video of the run has another length than the plan.

    Examples
    --------
    >>> import attnscope as scope
    >>> pipe, plan = scope.load("wan-mini"), scope.ShotPlan.from_latent_frames([2], num_frames_latent=5, fps=16)
    >>> few = {"num_inference_steps": 1, "num_frames": 17, "layers": "1"}
    >>> plain = scope.probe(pipe, "One shot: a red ball", **few).mass
    >>> with offset_shots(pipe, plan, 6):
    ...     moved = scope.probe(pipe, "One shot: a red ball", **few).mass
    >>> bool((abs(moved - plain) > 1e-3).any())
    True
    """
    offsets = _offsets(shots.num_shots, by)
    with join_or_attach(pipe) as attachment, ExitStack() as undo:
        family = attachment.family
        denoiser = family.first_denoiser(attachment.model)
        frequencies = require(family, MovesInTime, denoiser).temporal_frequencies(denoiser)
        latent = (
            shots.to_latent(family.temporal_stride(attachment.model))
            if isinstance(shots, ShotPlan)
            else shots
        )
        labels = parse_range(layers, tuple(attachment.taps), name="layers")
        shift = np.array(offsets)[latent.shot_of_frame]
        for layer in labels:
            tap = attachment.taps[layer]
            for point in (tap.hook_q, tap.hook_k):
                undo.callback(attachment.listen(point.name, _Turn(attachment, shift, frequencies)))
        moved = ", ".join(f"{each:g}" for each in offsets)
        said = f"Shots moved in time by {moved} latent frames in layers {format_range(labels)}."
        attachment.changes.append(said)
        undo.callback(attachment.changes.remove, said)
        yield attachment


def _offsets(num_shots: int, by: float | Sequence[float]) -> tuple[float, ...]:
    given = [shot * by for shot in range(num_shots)] if isinstance(by, int | float) else list(by)
    if len(given) != num_shots or not all(map(is_number, given)):
        raise InputError(
            expected=f"a finite number of latent frames, or one for each of {num_shots} shots",
            got=quote(by),
            where="in offset_shots",
            remedy="write for instance 4",
        )
    return tuple(map(float, given))


@dataclass(frozen=True)
class _Turn:
    """Turns queries or keys by what a shift of each latent frame means to them: a listener."""

    attachment: Attachment
    shift: Numbers
    frequencies: Tensor

    def __call__(self, value: Tensor, point: HookPoint) -> Tensor:
        import torch

        sizes = np.diff(self.attachment.layout.offsets)
        if len(sizes) != len(self.shift):
            raise ShotPlanError(
                expected=f"a video of {len(self.shift)} latent frames as planned",
                got=f"{len(sizes)}",
                where=f"at {point.name}",
                remedy="plan the video that is made",
            )
        of_token = torch.from_numpy(np.repeat(self.shift, sizes))
        return turn(value, of_token, self.frequencies)


def turn(value_BNHD: Tensor, shift_N: Tensor, frequencies: Tensor) -> Tensor:
    """Turn queries or keys by what a shift in time means to each rotary pair.

    The first ``2 * len(frequencies)`` numbers of a head are pairs (x, y), side by side, that encode time with these
    frequencies, in radians a latent frame; the others are left alone.

    >>> import torch
    >>> quarter = torch.tensor([torch.pi / 2])
    >>> turn(torch.tensor([[[[0.0, 1.0, 7.0]]]]), torch.tensor([1.0]), quarter).round().int().tolist()
    [[[[-1, 0, 7]]]]
    """
    import torch

    angle = shift_N.double()[:, None] * frequencies.double().cpu()
    cos, sin = (each[None, :, None].to(value_BNHD.device) for each in (angle.cos(), angle.sin()))
    width = 2 * len(frequencies)
    timed = value_BNHD[..., :width].double()
    first, second = timed[..., 0::2], timed[..., 1::2]
    pairs = torch.stack([first * cos - second * sin, first * sin + second * cos], -1).flatten(-2)
    return torch.cat([pairs.to(value_BNHD.dtype), value_BNHD[..., width:]], -1)
