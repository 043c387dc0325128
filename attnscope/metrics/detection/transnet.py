"""The shot detector TransNetV2 as plain functions of its published weights.

The same arithmetic as the reference implementation, laid out for a processor: the temporal convolutions of a block work
on the memory of the spatial ones without a copy, those of the first block are one with them, and batch normalisation is
folded in. Nothing is drawn at random and no global setting of torch is touched.

Legend: T frames, C channels, H = 27 and W = 48 pixels; frames are (T, H, W, 3) RGB uint8.
Source: Souček and Lokoč, TransNet V2, arXiv 2008.04838.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from attnscope._types import Frames, Numbers

Arithmetic = Literal["float32", "bfloat16"]
Curves = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

HEIGHT, WIDTH = 27, 48
_DILATIONS = (1, 2, 4, 8)
_REACH = max(_DILATIONS)  # frames on each side that a block needs
_SIDE = 50  # frames on each side that a frame is compared with
_EPSILON = 1e-3
_DENSE = (
    "frame_sim_layer.projection",
    "frame_sim_layer.fc",
    "color_hist_layer.fc",
    "cls_layer1",
    "cls_layer2",
)


@dataclass(frozen=True)
class _Block:
    """One block: for each dilation a spatial convolution, then a temporal one, and a shift."""

    spatial: tuple[torch.Tensor, ...]
    temporal: tuple[torch.Tensor, ...]
    shift: tuple[torch.Tensor, ...]

    def widen(self, x_TCHW: torch.Tensor) -> list[torch.Tensor]:
        """Run the spatial convolutions: (T, H * W, C) for each dilation, the pictures as rows one below another."""
        x_TCHW = x_TCHW.to(self.spatial[0].dtype)
        wide = (functional.conv2d(x_TCHW, weight, padding=1) for weight in self.spatial)
        return [each.permute(0, 2, 3, 1).flatten(1, 2) for each in wide]

    def join(
        self, before: list[torch.Tensor], wide: list[torch.Tensor], size: tuple[int, int]
    ) -> torch.Tensor:
        """Run the temporal convolutions and the ReLU where all frames they need are there: 8 fewer on each side."""
        num = max(0, len(before[0]) + len(wide[0]) - 2 * _REACH)
        joined = wide[0].new_empty(num, wide[0].shape[1], sum(map(len, self.shift)))
        parts = zip(before, wide, self.temporal, self.shift, joined.chunk(4, 2), _DILATIONS, strict=True)
        for old, new, weight, shift, place, dilation in parts:
            waiting, around = old[_REACH - dilation :], 2 * dilation
            # only the seam is copied: its answers need waiting frames too, the later ones new frames alone
            seam = min(num, len(waiting))
            rows = torch.cat([waiting, new[:around]])[: seam + around]
            _along_time(rows, weight, shift, dilation, place[:seam])
            _along_time(new[: num - seam + around], weight, shift, dilation, place[seam:])
        return joined.view(num, *size, joined.shape[2]).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class _ColourBlock:
    """The first block: of three colours so little comes in that the two convolutions of a dilation are one."""

    weight: tuple[torch.Tensor, ...]
    shift: tuple[torch.Tensor, ...]

    def widen(self, x_TCHW: torch.Tensor) -> list[torch.Tensor]:
        """Only lay the pictures out as rows: (T, H * W, C)."""
        return [x_TCHW.to(self.weight[0].dtype).permute(0, 2, 3, 1).flatten(1, 2)]

    def join(
        self, before: list[torch.Tensor], wide: list[torch.Tensor], size: tuple[int, int]
    ) -> torch.Tensor:
        """Run convolutions over space and time and the ReLU where all frames they need are there."""
        rows = torch.cat([*before, *wide])
        num = max(0, len(rows) - 2 * _REACH)
        joined = rows.new_empty(num, *size, sum(map(len, self.shift)))
        parts = zip(self.weight, self.shift, joined.chunk(4, 3), _DILATIONS, strict=True)
        for weight, shift, place, dilation in parts:
            near = torch.cat([rows[_REACH + step :][:num] for step in (-dilation, 0, dilation)], dim=2)
            x_TCHW = near.view(num, *size, near.shape[2]).permute(0, 3, 1, 2)
            branch = functional.conv2d(x_TCHW, weight, shift, padding=1)
            torch.clamp_min(branch.permute(0, 2, 3, 1), 0, out=place)
        return joined.permute(0, 3, 1, 2)


_AnyBlock = _Block | _ColourBlock


def _along_time(
    rows_TPC: torch.Tensor, weight: torch.Tensor, shift: torch.Tensor, dilation: int, place: torch.Tensor
) -> None:
    """Write the temporal convolution and its ReLU into its place among the channels: nothing is copied to join them."""
    if len(place):
        # channels-last memory (T, P, C) is also that of one picture of T rows and P columns
        columns = rows_TPC.unsqueeze(0).permute(0, 3, 1, 2)
        branch = functional.conv2d(columns, weight, shift, dilation=(dilation, 1))
        torch.clamp_min(branch.permute(0, 2, 3, 1)[0], 0, out=place)


class _RunningBlock:
    """A block that is given a video piece by piece, and answers for frames whose neighbours have come."""

    def __init__(self, block: _AnyBlock) -> None:
        self._block = block
        self._before: list[torch.Tensor] = []
        self._size = (0, 0)

    def __call__(self, x_TCHW: torch.Tensor) -> torch.Tensor:
        self._size = (x_TCHW.shape[2], x_TCHW.shape[3])
        return self._advance(self._block.widen(x_TCHW))

    def finish(self) -> torch.Tensor:
        """Answer for the last 8 frames: nothing comes after them."""
        return self._advance([torch.zeros_like(each[:_REACH]) for each in self._before])

    def _advance(self, wide: list[torch.Tensor]) -> torch.Tensor:
        before = self._before or [each.new_zeros(_REACH, *each.shape[1:]) for each in wide]
        answer = self._block.join(before, wide, self._size)
        kept = 2 * _REACH - len(wide[0])
        self._before = [
            torch.cat([old[-kept:], new]) if kept > 0 else new[-2 * _REACH :].clone()
            for old, new in zip(before, wide, strict=True)
        ]
        return answer


class _RunningStage:
    """Two blocks around a shortcut, and a picture of half the size."""

    def __init__(self, blocks: Sequence[_AnyBlock]) -> None:
        self._first, self._second = map(_RunningBlock, blocks)
        self._short: torch.Tensor | None = None  # what the second block has not answered for yet

    def __call__(self, x_TCHW: torch.Tensor, *, last: bool) -> torch.Tensor:
        short = _append(self._first(x_TCHW), self._first.finish()) if last else self._first(x_TCHW)
        answer = _append(self._second(short), self._second.finish()) if last else self._second(short)
        # half the size first, then the sum: of the shortcut a quarter waits, and a quarter is added
        waiting = _halve(short) if self._short is None else torch.cat([self._short, _halve(short)])
        self._short = waiting[len(answer) :]
        return _halve(answer).add_(waiting[: len(answer)])


def _halve(x_TCHW: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(x_TCHW, 2)


class TransNet:
    """Two probabilities for each frame: that a shot ends with it, and that it lies inside a transition.

    ``arrays`` are the published weights by name. Frames are given with context on both sides: the answers near the
    ends of a stretch are worse than inside. With ``arithmetic="bfloat16"`` the convolutions and the layer behind them
    multiply in bfloat16 (and sum in float32); the rest stays in float32.
    """

    def __init__(self, arrays: dict[str, Numbers], *, arithmetic: Arithmetic = "float32") -> None:
        weights = {name: torch.from_numpy(value) for name, value in arrays.items()}
        dtype = torch.bfloat16 if arithmetic == "bfloat16" else torch.float32
        parts = [_parts(weights, f"SDDCNN.{stage}.DDCNN.{block}") for stage in (0, 1, 2) for block in (0, 1)]
        blocks: list[_AnyBlock] = [
            _colour_block(parts[0], dtype),
            *(_block(each, dtype) for each in parts[1:]),
        ]
        self.stages = [blocks[:2], blocks[2:4], blocks[4:]]
        self.dense = {name: (weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in _DENSE}
        # the first columns of the layer belong to what was compared, which is known later
        num = sum(len(self.dense[name][1]) for name in ("color_hist_layer.fc", "frame_sim_layer.fc"))
        compared, pictured = weights["fc1.weight"].tensor_split([num], dim=1)
        self.hidden = (compared, pictured.to(dtype), weights["fc1.bias"])

    def __call__(self, frames: Frames) -> Curves:
        """Probabilities (T,) that a shot ends with this frame, and (T,) that this frame is part of a transition."""
        return Run(self)(frames, last=True)


class Run:
    """One video on its way through the network, piece by piece.

    Every layer keeps the few frames that its next answer needs (8 on each side for a block, 50 for the comparison of
    frames), so nothing is computed twice, the pieces leave no seam, and memory does not depend on the length.
    """

    def __init__(self, net: TransNet) -> None:
        self._net = net
        self._stages = [_RunningStage(blocks) for blocks in net.stages]
        self._means: list[torch.Tensor] = [torch.zeros(0) for _ in net.stages]
        self._hidden = torch.zeros(0)
        self._similarities = (
            _Similarity(*net.dense["color_hist_layer.fc"]),
            _Similarity(*net.dense["frame_sim_layer.fc"]),
        )
        self._ready: list[torch.Tensor] = [torch.zeros(0), torch.zeros(0)]

    def __call__(self, frames: Frames, *, last: bool) -> Curves:
        """Take the next frames; answers for all frames that can be judged now, after the last ones for all."""
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(frames)).float().div_(255).permute(0, 3, 1, 2)
            for k, stage in enumerate(self._stages):
                x = stage(x, last=last)
                self._means[k] = _append(self._means[k], x.float().mean((2, 3)))
            flat = x.permute(0, 2, 3, 1).flatten(1)
            colours, summaries = _histogram_colours(frames), self._summaries(len(flat))
            similar = [
                compare(each, last=last)
                for compare, each in zip(self._similarities, (colours, summaries), strict=True)
            ]
            return self._judge(flat, similar)

    def _summaries(self, num: int) -> torch.Tensor:
        """Means of all stages for the frames that the last stage has answered for, as vectors of length 1."""
        means = torch.cat([each[:num] for each in self._means], dim=1)
        self._means = [each[num:] for each in self._means]
        return functional.normalize(functional.linear(means, *self._net.dense["frame_sim_layer.projection"]))

    def _judge(self, flat: torch.Tensor, similar: list[torch.Tensor]) -> Curves:
        compared, pictured, bias = self._net.hidden
        self._hidden = _append(self._hidden, functional.linear(flat, pictured).float() + bias)
        self._ready = [_append(*pair) for pair in zip(self._ready, similar, strict=True)]
        count = min(len(each) for each in (self._hidden, *self._ready))
        seen = torch.cat([each[:count] for each in self._ready], dim=1)
        hidden = functional.relu(self._hidden[:count] + functional.linear(seen, compared))
        self._hidden, self._ready = self._hidden[count:], [each[count:] for each in self._ready]
        ends, inside = (
            torch.sigmoid(functional.linear(hidden, *self._net.dense[name]))[:, 0].numpy()
            for name in ("cls_layer1", "cls_layer2")
        )
        return ends, inside


class _Similarity:
    """How much each frame resembles the 50 before and the 50 after it, through one dense layer."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._dense = (weight, bias)
        self._seen: torch.Tensor | None = None

    def __call__(self, x_TC: torch.Tensor, *, last: bool) -> torch.Tensor:
        seen = x_TC.new_zeros(_SIDE, x_TC.shape[1]) if self._seen is None else self._seen
        around = torch.cat([seen, x_TC, x_TC.new_zeros(_SIDE if last else 0, x_TC.shape[1])])
        num = max(0, len(around) - 2 * _SIDE)
        here = around[_SIDE : _SIDE + num]
        rows = torch.arange(num)[:, None]
        likeness = (here @ around.T)[rows, rows + torch.arange(2 * _SIDE + 1)]
        self._seen = around[num:]
        return functional.relu(functional.linear(likeness, *self._dense))


def _histogram_colours(frames: Frames) -> torch.Tensor:
    """Histograms over 512 colours, of length 1."""
    bins = (frames >> 5).astype(np.int64)
    bins = (bins[..., 0] << 6) + (bins[..., 1] << 3) + bins[..., 2]
    bins += np.arange(len(frames))[:, None, None] * 512
    counts = np.bincount(bins.ravel(), minlength=512 * len(frames)).reshape(-1, 512)
    return functional.normalize(torch.from_numpy(counts).float())


def _append(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    return torch.cat([old, new]) if len(old) else new


_Parts = list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]


def _parts(weights: dict[str, torch.Tensor], name: str) -> _Parts:
    """Spatial kernel, temporal kernel and shift of each dilation, batch normalisation folded in."""
    scale = weights[f"{name}.bn.weight"] / torch.sqrt(weights[f"{name}.bn.running_var"] + _EPSILON)
    shift = weights[f"{name}.bn.bias"] - weights[f"{name}.bn.running_mean"] * scale
    parts = []
    for dilation, factor, offset in zip(_DILATIONS, scale.chunk(4), shift.chunk(4), strict=True):
        layers = f"{name}.Conv3D_{dilation}.layers"
        temporal = weights[f"{layers}.1.weight"][..., 0] * factor[:, None, None, None]
        parts.append((weights[f"{layers}.0.weight"][:, :, 0], temporal, offset))
    return parts


def _block(parts: _Parts, dtype: torch.dtype) -> _Block:
    spatial, temporal, shift = zip(*parts, strict=True)
    last = torch.channels_last
    return _Block(
        tuple(each.to(dtype).contiguous(memory_format=last) for each in spatial),
        tuple(each.to(dtype).contiguous(memory_format=last) for each in temporal),
        tuple(each.to(dtype) for each in shift),
    )


def _colour_block(parts: _Parts, dtype: torch.dtype) -> _ColourBlock:
    """One kernel over three frames for each dilation: the product of its two, as nothing stands between them."""
    weight = tuple(
        torch.einsum("omt,mchw->otchw", temporal[..., 0], spatial)
        .flatten(1, 2)
        .to(dtype)
        .contiguous(memory_format=torch.channels_last)
        for spatial, temporal, _ in parts
    )
    return _ColourBlock(weight, tuple(shift.to(dtype) for _, _, shift in parts))
