"""A film that was made: its pictures, and where it is cut beside where it was asked to be."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from attnscope._types import Frames
from attnscope.checks import require_whole
from attnscope.errors import VideoError, quote
from attnscope.intervening.cut_check import CutCheck
from attnscope.shots import LatentPlan
from attnscope.video.files import write_video

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Film:
    """A generated film: its frames, where cuts were asked for, where they could fall, and where they are.

    ``frames`` is uint8 (frames, height, width, 3). ``layers`` are the masked ones, ``visible_fraction`` the share of
    pairs of frames that is left in them. ``plan.requested_frame`` is what was asked for, ``plan.realised_frame`` where
    the latent grid can put it; ``cuts`` compares the latter with the cuts that were found in the finished pictures.
    """

    frames: Frames
    plan: LatentPlan
    layers: tuple[int, ...]
    visible_fraction: float
    cuts: CutCheck

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the film as an mp4 file that every browser plays; returns the path.

        Raises
        ------
        VideoError
            The name does not end in .mp4, or its folder is not there.
        """
        target = Path(path)
        if target.suffix.lower() != ".mp4" or not target.resolve().parent.is_dir():
            raise VideoError(
                expected="an .mp4 file in a folder that is there",
                got=quote(str(target)),
                where="to save a film in",
                remedy='write for instance "film.mp4"',
            )
        return write_video(target, self.frames, self.plan.fps)

    def strip(self, num_pictures: int = 12) -> Image:
        """Return pictures of the film side by side, evenly over its length; a wide gap is a cut that was found.

        Raises
        ------
        InputError
            No number of pictures from 1.
        """
        from PIL import Image

        require_whole(num_pictures, "a number of pictures from 1", "in a film strip", least=1)
        taken = np.unique(np.linspace(0, len(self.frames) - 1, min(num_pictures, len(self.frames))).round())
        height, width = self.frames.shape[1:3]
        parts: list[Frames] = []
        before = None
        for frame in taken.astype(int):
            if before is not None:
                is_cut = any(before < cut <= frame for cut in self.cuts.found_frame)
                gap = max(width // (4 if is_cut else 32), 1)
                parts.append(np.full((height, gap, 3), 255, np.uint8))
            parts.append(self.frames[frame])
            before = frame
        return Image.fromarray(np.concatenate(parts, axis=1))
