"""A film that was made: its pictures, and where it is cut beside where it was asked to be."""

from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from attnscope._types import Frames
from attnscope.errors import VideoError, quote
from attnscope.intervening.cut_check import CutCheck
from attnscope.ranges import format_range
from attnscope.shots import LatentPlan
from attnscope.shots.svg import card
from attnscope.video.files import write_video
from attnscope.video.strips import film_strip, png_of

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, repr=False)
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

    @override
    def __repr__(self) -> str:
        num, height, width = self.frames.shape[:3]
        where = format_range(self.layers) if self.layers else "none"
        return (
            f"Film({num} frames of {width} x {height} at {self.plan.fps} fps; cuts asked at "
            f"{list(self.plan.requested_frame)}, found at {list(self.cuts.found_frame)}; masked layers {where})"
        )

    def _repr_html_(self) -> str:
        picture = b64encode(png_of(self.strip())).decode()
        image = f'<img src="data:image/png;base64,{picture}" alt="the film" style="max-width:100%">'
        return card(repr(self), image)

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
        return film_strip(self.frames, cuts=self.cuts.found_frame, num_pictures=num_pictures)
