"""The shot detector TransNetV2 as plain functions of its published weights.

The same arithmetic as the reference implementation, laid out for a processor: the four dilations of a block share one
spatial convolution, the temporal ones work on the same memory without a copy, and batch normalisation is folded into
them. Nothing is drawn at random and no global setting of torch is touched.

Legend: T frames, C channels, H = 27 and W = 48 pixels; frames are (T, H, W, 3) RGB uint8.
Source: Souček and Lokoč, TransNet V2, arXiv 2008.04838.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

Arithmetic = Literal["float32", "bfloat16"]

HEIGHT, WIDTH = 27, 48
_DILATIONS = (1, 2, 4, 8)
_LOOKUP = 101
_EPSILON = 1e-3


@dataclass(frozen=True)
class _Block:
    """One block: a spatial convolution for all dilations, then a temporal one for each, and a shift."""

    spatial: torch.Tensor
    temporal: tuple[torch.Tensor, ...]
    shift: tuple[torch.Tensor, ...]

    def __call__(self, x_TCHW: torch.Tensor) -> torch.Tensor:
        x_TCHW = x_TCHW.to(self.spatial.dtype)
        wide = functional.conv2d(x_TCHW, self.spatial, padding=1)
        num, _, height, width = wide.shape
        # channels-last memory (T, H, W, C) is also that of one picture of T rows and H W columns
        rows = wide.permute(0, 2, 3, 1).reshape(num, height * width, -1)
        columns = rows.unsqueeze(0).permute(0, 3, 1, 2)
        branches = [
            functional.conv2d(part, weight, shift, padding=(dilation, 0), dilation=(dilation, 1))
            for part, weight, shift, dilation in zip(
                columns.chunk(4, dim=1), self.temporal, self.shift, _DILATIONS, strict=True
            )
        ]
        joined = torch.cat(branches, dim=1)
        flat = joined.permute(0, 2, 3, 1).reshape(num, height, width, -1)
        return flat.permute(0, 3, 1, 2)


class TransNet:
    """Two probabilities for each frame: that a shot ends with it, and that it lies inside a transition.

    ``arrays`` are the published weights by name. Frames are given with context on both sides: the answers near the
    ends of a stretch are worse than inside. With ``arithmetic="bfloat16"`` the convolutions multiply in bfloat16 (and
    sum in float32); everything after them stays in float32.
    """

    def __init__(self, arrays: dict[str, npt.NDArray[Any]], *, arithmetic: Arithmetic = "float32") -> None:
        weights = {name: torch.from_numpy(value) for name, value in arrays.items()}
        dtype = torch.bfloat16 if arithmetic == "bfloat16" else torch.float32
        self._stages = [
            [_block(weights, f"SDDCNN.{stage}.DDCNN.{block}", dtype) for block in (0, 1)]
            for stage in (0, 1, 2)
        ]
        self._dense = {
            name: (weights[f"{name}.weight"], weights[f"{name}.bias"])
            for name in (
                "frame_sim_layer.projection", "frame_sim_layer.fc", "color_hist_layer.fc", "fc1", "cls_layer1",
                "cls_layer2",
            )
        }  # fmt: skip

    def __call__(
        self, frames: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Probabilities (T,) that a shot ends with this frame, and (T,) that this frame is part of a transition."""
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(frames)).float().div_(255).permute(0, 3, 1, 2)
            means = []
            for first, second in self._stages:
                shortcut = functional.relu(first(x))
                x = functional.relu(second(shortcut)) + shortcut
                x = functional.avg_pool2d(x, 2)
                means.append(x.float().mean((2, 3)))
            flat = x.float().permute(0, 2, 3, 1).reshape(len(x), -1)
            seen = torch.cat([self._colours(frames), self._similarity(means), flat], dim=1)
            hidden = functional.relu(functional.linear(seen, *self._dense["fc1"]))
            ends, inside = (
                torch.sigmoid(functional.linear(hidden, *self._dense[name]))[:, 0].numpy()
                for name in ("cls_layer1", "cls_layer2")
            )
        return ends, inside

    def _similarity(self, means: list[torch.Tensor]) -> torch.Tensor:
        projected = functional.linear(torch.cat(means, dim=1), *self._dense["frame_sim_layer.projection"])
        return functional.relu(
            _look_around(functional.normalize(projected), *self._dense["frame_sim_layer.fc"])
        )

    def _colours(self, frames: npt.NDArray[np.uint8]) -> torch.Tensor:
        bins = (frames >> 5).astype(np.int64)
        bins = (bins[..., 0] << 6) + (bins[..., 1] << 3) + bins[..., 2]
        bins += np.arange(len(frames))[:, None, None] * 512
        counts = np.bincount(bins.ravel(), minlength=512 * len(frames)).reshape(-1, 512)
        histogram = functional.normalize(torch.from_numpy(counts).float())
        return functional.relu(_look_around(histogram, *self._dense["color_hist_layer.fc"]))


def _look_around(x_TC: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """How much each frame resembles the 50 before and the 50 after it, through one dense layer."""
    half = _LOOKUP // 2
    padded = functional.pad(x_TC @ x_TC.T, (half, half))
    rows = torch.arange(len(x_TC))[:, None]
    return functional.linear(padded[rows, rows + torch.arange(_LOOKUP)], weight, bias)


def _block(weights: dict[str, torch.Tensor], name: str, dtype: torch.dtype) -> _Block:
    parts = [f"{name}.Conv3D_{dilation}.layers" for dilation in _DILATIONS]
    spatial = torch.cat([weights[f"{part}.0.weight"][:, :, 0] for part in parts])
    scale = weights[f"{name}.bn.weight"] / torch.sqrt(weights[f"{name}.bn.running_var"] + _EPSILON)
    shift = weights[f"{name}.bn.bias"] - weights[f"{name}.bn.running_mean"] * scale
    temporal = [
        weights[f"{part}.1.weight"][..., 0] * factor[:, None, None, None]
        for part, factor in zip(parts, scale.chunk(4), strict=True)
    ]
    last = torch.channels_last
    return _Block(
        spatial.to(dtype).contiguous(memory_format=last),
        tuple(each.to(dtype).contiguous(memory_format=last) for each in temporal),
        shift.to(dtype).chunk(4),
    )
