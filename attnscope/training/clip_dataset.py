"""The clips of a dataset as a map-style dataset of PyTorch: frames or cached latents, shots, captions.

A `torch.utils.data.DataLoader` takes it as it is; films are of different numbers of shots, so that `collate_clips`
leaves what cannot be stacked a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from attnscope.errors import InputError, quote
from attnscope.shots import LatentPlan, ShotPlan
from attnscope.training.cache import Cache
from attnscope.training.clips import Clip, FilmSize, read_clips


class ClipItem(TypedDict, total=False):
    """One clip: ``frames`` (C, T, H, W) from -1 to 1, or ``latents`` (C, T, h, w) of a cache, and its texts."""

    name: str
    frames: Tensor
    latents: Tensor
    plan: ShotPlan | LatentPlan
    caption: str
    captions: tuple[str, ...]


class ClipDataset:
    """Reads the clips of a dataset that `attnscope dataset build` made, or of any folder with a manifest.

    Parameters
    ----------
    data : path
        The folder, or its manifest.
    num_frames, height, width : int
        What a clip is brought to: its middle, scaled, and no more than so many frames.
    fps : Fraction or int, optional
        Frames per second; those of each file by default.
    stride : int
        Temporal stride of the model; the number of frames is one more than a multiple of it.
    cache : Cache, optional
        Where a model's latents lie or are to lie: then an item has ``latents`` and a plan on their grid, and no frames.

    Raises
    ------
    InputError
        There is no such folder, or no clip in it that has a caption; ``refused`` says of each other one why.
    """

    def __init__(
        self,
        data: str | Path,
        *,
        num_frames: int,
        height: int,
        width: int,
        fps: Fraction | int | None = None,
        stride: int = 4,
        cache: Cache | None = None,
    ) -> None:
        self.size = FilmSize(num_frames, height, width, None if fps is None else Fraction(fps), stride)
        self.clips, self.refused = read_clips(data, self.size)
        self._cache = cache
        if not self.clips:
            raise InputError(
                expected="at least one clip that can be used",
                got=f"none; {self.refused[0]}" if self.refused else "none",
                where=f"in {quote(str(data))}",
                remedy="caption them, with attnscope dataset build --caption",
            )

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> ClipItem:
        clip = self.clips[index]
        if self._cache is not None:
            encoded = self._cache.film(clip)
            return _describe(encoded.clip) | {"latents": encoded.tensors()["latents"], "plan": encoded.plan}
        frames, plan = clip.load(self.size)
        pictures = torch.from_numpy(frames).permute(3, 0, 1, 2).float().div_(127.5).sub_(1)
        return _describe(clip.keep_shots(plan.num_shots)) | {"frames": pictures, "plan": plan}


def collate_clips(items: Sequence[ClipItem]) -> dict[str, Tensor | list[object]]:
    """Put clips into a batch: tensors of one shape are stacked, everything else is a list."""
    batch: dict[str, Tensor | list[object]] = {}
    for name in items[0]:
        values = [item[name] for item in items]  # type: ignore[literal-required]
        alike = all(isinstance(value, Tensor) and value.shape == values[0].shape for value in values)
        batch[name] = torch.stack(values) if alike else values
    return batch


def _describe(clip: Clip) -> ClipItem:
    return {"name": clip.name, "caption": clip.caption, "captions": clip.captions}
