"""What is used of a pipeline, of a network that denoises, and what some families can beyond being looked at.

A pipeline of diffusers and a network of PyTorch come without types, or with types that say too little: what every one
of them has is written down here. What only some have (a second transformer, a processor of videos) is read by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from attnscope._types import Arguments, Floats32, Frames
from attnscope.errors import UnsupportedModelError


class Pipeline(Protocol):
    """A loaded pipeline of diffusers: it is called with a prompt and returns a video."""

    def __call__(self, **arguments: Any) -> Any:
        """Make a video as it was told."""

    def set_progress_bar_config(self, **settings: Any) -> None:
        """Say how its own progress bar shall look."""

    def __getattr__(self, name: str) -> Any:
        """Return a part (`transformer`, `vae`, `scheduler`, ...) or a setting."""


class Denoiser(Protocol):
    """A network that denoises: what a pipeline calls once or twice a step."""

    def __call__(self, *args: Any, **arguments: Any) -> Any:
        """Predict what of a video is noise."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield its weights, one tensor after another."""

    def __getattr__(self, name: str) -> Any:
        """Return a part (`blocks`, `config`, ...)."""


Model = Pipeline | Denoiser
"""Whatever can be looked into."""


@dataclass(frozen=True)
class EncodedText:
    """A prompt as the denoiser reads it: its tokens (tokens, width), and how many alike padding tokens follow them.

    `padding` is one of the padding tokens (width,); where there are none, `num_padding` is 0.
    """

    tokens: Tensor
    padding: Tensor
    num_padding: int


@runtime_checkable
class ReadsCaptions(Protocol):
    """A family whose text is read by attention from every frame, so that each shot can have a caption of its own."""

    padding: str

    def encode_text(self, model: Pipeline, text: str, length: int | None = None) -> EncodedText:
        """Return what the denoiser is given for a prompt of at most `length` tokens, padding counted apart."""

    def encode_negative(
        self, model: Pipeline, text: str, captions: Sequence[str], length: int | None = None
    ) -> Tensor | None:
        """Return the tokens of the negative prompt (tokens, width); None where it has a call of its own."""

    def tell_captions(self, model: Pipeline, tokens: Tensor, negative: Tensor | None) -> dict[str, Tensor]:
        """Return what a pipeline is told, by its names: captions (tokens, width), negative prompt, masks of both."""


@runtime_checkable
class DecodesShots(Protocol):
    """A family whose latents can be made into pictures shot by shot."""

    def decode(self, model: Pipeline, latents: Tensor) -> Floats32:
        """Return the pictures of one latent video, (frames, height, width, 3) from 0 to 1, as the pipeline does."""


@runtime_checkable
class LooksAtVideos(Protocol):
    """A family that can be shown a video that exists."""

    def look_at(
        self, model: Pipeline, frames: Frames, text: Arguments, sigmas: Sequence[float], seed: int
    ) -> None:
        """Encode a video (frames, height, width, 3) and run the denoiser once at each noise level.

        ``text`` is what the pipeline is told: ``prompt``, or ``prompt_embeds`` and what belongs to them.
        """


@runtime_checkable
class MovesInTime(Protocol):
    """A family that gives frames their time by turning queries and keys (RoPE), so that shots can be moved apart."""

    def temporal_frequencies(self, denoiser: Denoiser) -> Tensor:
        """Return the frequencies of time, radians a latent frame; they turn the first pairs of each head."""


Able = TypeVar("Able")


@dataclass(frozen=True)
class Capability:
    """Something that some families can: a word for the table, the protocol, what a model is then said to do.

    `needs` is what must be known of a family before it can: the reason why not, where the family has no better one.
    """

    column: str
    protocol: type
    words: str
    needs: str


CAPABILITIES = (
    Capability("captions", ReadsCaptions, "reads a caption for each shot", "how its padding of text is read"),
    Capability("by shot", DecodesShots, "decodes shots one by one", "how its VAE decodes a part of a video"),
    Capability("given videos", LooksAtVideos, "looks at a video that exists", "how its VAE is fed"),
    Capability("time offsets", MovesInTime, "can move shots in rotary time", "which rotary pairs are time"),
)


def require(family: object, protocol: type[Able], model: object) -> Able:
    """Return the family as one that can do what the protocol says.

    Raises
    ------
    UnsupportedModelError
        It is not taught to; the message says why.
    """
    if isinstance(family, protocol):
        return family
    capability = next(each for each in CAPABILITIES if each.protocol is protocol)
    name, reasons = getattr(family, "name", ""), getattr(family, "cannot", {})
    why = reasons.get(capability.column, f"it is not known {capability.needs}")
    raise UnsupportedModelError(
        expected=f"a model that {capability.words}",
        got=type(model).__name__,
        where=f"of the family {name}, which is not taught to ({why})",
        remedy="use a Wan model",
    )
