"""The picture network EfficientNet-Lite0 as plain functions of its published ImageNet weights.

Legend: N pictures, C channels, H and W pixels; pictures are (N, 224, 224, 3) RGB uint8.
Source: Tan and Le, EfficientNet, arXiv 1905.11946; the "lite" form has ReLU6 and no squeeze-and-excitation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from attnscope._types import Numbers

SIDE = 224
# repeats, kernel, stride of the first, of each of the seven stages
_STAGES = ((1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1))
_EPSILON = 1e-3
_LARGE, _FEW, _SOME = 6, 2, 8  # in the first 6 blocks 2 pictures stay in a processor's cache, behind them 8


class _Convolution(NamedTuple):
    """One convolution with its batch normalisation folded in, padded as TensorFlow does for even heights and widths."""

    weight: torch.Tensor
    bias: torch.Tensor
    stride: int
    groups: int

    def __call__(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        padding = (self.weight.shape[-1] - 1) // 2
        return functional.conv2d(x_NCHW, self.weight, self.bias, self.stride, padding, groups=self.groups)


_Block = tuple[list[_Convolution], bool]  # and whether its input is added


class Lite0:
    """Gives a vector of 1280 numbers for each picture, and the logits of 1000 classes."""

    def __init__(self, arrays: dict[str, Numbers]) -> None:
        weights = {name: torch.from_numpy(value) for name, value in arrays.items()}
        self._stem = _fold(weights, "_conv_stem", "_bn0", stride=2)
        self._blocks: list[_Block] = []
        for repeats, _, first in _STAGES:
            for repeat in range(repeats):
                name = f"_blocks.{len(self._blocks)}"
                stride = first if repeat == 0 else 1
                self._blocks.append((_parts(weights, name, stride), repeat > 0))
        self._head = _fold(weights, "_conv_head", "_bn1")
        self._classes = (weights["_fc.weight"], weights["_fc.bias"])

    def __call__(self, pictures: npt.NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (N, 1280) and class logits (N, 1000)."""
        with torch.inference_mode():
            some = torch.split(torch.from_numpy(np.ascontiguousarray(pictures)), _SOME)
            features = torch.cat([self._features(each) for each in some])
            return features, functional.linear(features, *self._classes)

    def _features(self, pictures: torch.Tensor) -> torch.Tensor:
        small = torch.cat([self._begin(few) for few in torch.split(pictures, _FEW)])
        return _relu6(self._head(self._through(small, self._blocks[_LARGE:]))).mean((2, 3))

    def _begin(self, pictures: torch.Tensor) -> torch.Tensor:
        x = pictures.float().div_(127.5).sub_(1).permute(0, 3, 1, 2)
        return self._through(_relu6(self._stem(x)), self._blocks[:_LARGE])

    @staticmethod
    def _through(x: torch.Tensor, blocks: Sequence[_Block]) -> torch.Tensor:
        for parts, is_repeat in blocks:
            inner = x
            for part in parts[:-1]:
                inner = _relu6(part(inner))
            inner = parts[-1](inner)
            x = inner.add_(x) if is_repeat else inner
        return x


def _relu6(x: torch.Tensor) -> torch.Tensor:
    return functional.hardtanh_(x, 0, 6)  # in place


def _parts(weights: dict[str, torch.Tensor], name: str, stride: int) -> list[_Convolution]:
    """Expansion (but in the first block), depthwise convolution, projection."""
    widen = [("_expand_conv", "_bn0", 1)] if f"{name}._expand_conv.weight" in weights else []
    parts = [*widen, ("_depthwise_conv", "_bn1", stride), ("_project_conv", "_bn2", 1)]
    return [_fold(weights, f"{name}.{conv}", f"{name}.{norm}", stride=step) for conv, norm, step in parts]


def _fold(weights: dict[str, torch.Tensor], conv: str, norm: str, stride: int = 1) -> _Convolution:
    weight = weights[f"{conv}.weight"]
    scale = weights[f"{norm}.weight"] / torch.sqrt(weights[f"{norm}.running_var"] + _EPSILON)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    depthwise = conv.endswith("_depthwise_conv")
    folded = weight * scale[:, None, None, None]
    if stride == 2:
        # TensorFlow pads one more behind than before: a row and column of zeros in the kernel, and the picture need not
        # be copied to be padded
        folded = functional.pad(folded, (1, 0, 1, 0))
    folded = folded.contiguous(memory_format=torch.channels_last)
    return _Convolution(folded, bias, stride, len(weight) if depthwise else 1)
