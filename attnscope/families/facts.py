"""The facts about a model family, as data: a family fills in what differs from most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

JOINT = "mass: joint softmax over all tokens, summed over key tokens, mean over query tokens"
PER_PLACE = "mass: softmax over the frames at each place of the latent picture, mean over places"
COND, UNCOND, UNKNOWN = "cond", "uncond", "unknown"


Reasons = Mapping[str, str]
"""Why something cannot be, by the column of the table of families."""

MIXED_TEXT: Reasons = {"captions": "what it is told is mixed, token with token, before the first layer"}
"""What cannot be where the tokens of a prompt, and so of all captions, attend to each other before they are read."""


class Facts:
    """What is known of a family without a model of it at hand."""

    name: ClassVar[str]
    """What people call it."""

    pipelines: ClassVar[tuple[str, ...]]
    """The classes that make its videos."""

    networks: ClassVar[tuple[str, ...]]
    """The classes that denoise in them."""

    parts: ClassVar[tuple[str, ...]] = ("transformer",)
    """Under which names a pipeline holds what denoises; the one for high noise comes first."""

    architecture: ClassVar[Literal["DiT", "UNet"]] = "DiT"
    """What kind of network denoises: layer 7 of one kind is not layer 7 of the other."""

    video_argument: ClassVar[str] = "hidden_states"
    """As what a denoiser is given the latent video."""

    frame_axis: ClassVar[int] = 2
    """Which of the five dimensions of that video counts its frames."""

    frames_argument: ClassVar[str] = "num_frames"
    """What a pipeline calls the number of frames."""

    stride: ClassVar[int] = 4
    """Frames of video in one latent frame, for a denoiser without a VAE that says so."""

    scale: ClassVar[int] = 8
    """Pixels a side in one element of the latent picture, likewise."""

    first_frame_pipelines: ClassVar[tuple[str, ...]] = ()
    """The pipelines that are given the first frame, as an image."""

    names_branches: ClassVar[bool] = True
    """Whether its pipelines say with `cache_context` which guidance branch runs."""

    reading: ClassVar[str] = JOINT
    """Which softmax the mass is a share of."""

    says_of_text: ClassVar[str] = "cross-attention"
    """Where text is read, in the words of the table."""

    says_of_guidance: ClassVar[str] = "one call, uncond then cond"
    """How guidance runs, in the words of the table."""

    cannot: ClassVar[Reasons] = {}
    """Why it is not taught something, by the column of the table; see :mod:`attnscope.families.protocols`."""

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the classes (pipelines and denoisers) that belong to it."""
        return self.pipelines + self.networks
