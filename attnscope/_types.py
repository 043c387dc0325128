"""Kinds of value that several rooms take and give, each defined once and only here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from attnscope.shots import LatentPlan, ShotPlan

Range = str | int | slice | Iterable[int]
"""Layers, heads or steps: "7-28,30", "-6:", "all", 7 or [7, 8]; read by :func:`attnscope.ranges.parse_range`."""

Plan = ShotPlan | LatentPlan
"""The shots of one video, in frames of the video or of its latents."""

Plans = ShotPlan | None | Sequence[ShotPlan | None]
"""The shots of several videos where they are known: one plan for all, or one for each."""

FilmPlans = ShotPlan | Sequence[ShotPlan]
"""The shots of several films that are to be cut: one plan for all, or one for each."""

LatentPlans = LatentPlan | None | Sequence[LatentPlan | None]
"""As `Plans`, in latent frames."""

OnProgress = Callable[[int, int], None]
"""Told how far a run is, as (done, total)."""

Crop = tuple[float, float, float, float]
"""Shares of a picture to cut off: top, right, bottom, left."""

Frames = NDArray[np.uint8]
"""Pictures of a video (frames, height, width, 3), from 0 to 255."""

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Bools = NDArray[np.bool_]

Vectors = NDArray[np.float32]
"""What an encoder makes of pictures or texts, (number, width), each of length 1."""

Numbers = NDArray[Any]
"""An array of whatever numbers."""

Document = dict[str, Any]
"""What is written as JSON, or read from it."""

Padding = Literal["visible", "hidden"]
"""Whether what fills a caption up to its full length is read with it."""

Arguments = Mapping[str, Any]
"""What a pipeline or a network is called with, by the names that it has for them."""
