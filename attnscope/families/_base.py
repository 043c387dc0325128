"""What must be known of a model family before its attention can be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from attnscope.layout import FrameLayout


@dataclass(frozen=True)
class Site:
    """One place in a model where attention happens.

    `layer` is the 1-based label ("7-28" in the paper), `module` the path as in diffusers, `stage` the part of the
    model it belongs to, `kind` whether frames look at frames (`self`) or at the text (`cross`). Only sites of
    kind `self` are counted as layers; the cross-attention beside layer 7 has the label 7 too.

    >>> Site(layer=7, module="blocks.6.attn1", stage="blocks", kind="self").module
    'blocks.6.attn1'
    """

    layer: int
    module: str
    stage: str
    kind: Literal["self", "cross"]


@dataclass(frozen=True)
class DenoiserInput:
    """What one call of a denoiser was given: the latent video and the noise it holds."""

    latent_shape: tuple[int, ...]
    timestep: Tensor


@dataclass(frozen=True)
class EncodedText:
    """A prompt as the denoiser reads it: its tokens (tokens, width), and how many alike padding tokens follow them.

    `padding` is one of the padding tokens (width,); where there are none, `num_padding` is 0.
    """

    tokens: Tensor
    padding: Tensor
    num_padding: int


class Family(Protocol):
    """The facts about one family of video models. A family is one small module; it computes nothing."""

    @property
    def name(self) -> str:
        """The family's name as people write it."""

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the diffusers classes (pipelines and denoisers) that belong to it."""

    @property
    def renames(self) -> Mapping[str, str]:
        """What nnsight must call differently so that its paths read like the names of hook points."""

    def denoisers(self, model: Any) -> dict[str, nn.Module]:
        """Return the networks that denoise, by their name in the pipeline."""

    def sites(self, denoiser: nn.Module) -> tuple[Site, ...]:
        """Return the attention sites in the order they run."""

    def prefix(self, site: Site) -> str:
        """Return what the names of a site's hook points begin with: `blocks.6.attn`."""

    def layout(self, denoiser: nn.Module, latent_shape: Sequence[int]) -> FrameLayout:
        """Return which token of a self-attention call belongs to which latent frame."""

    def temporal_stride(self, model: Any) -> int:
        """Return how many frames of video one latent frame holds (the first one holds a single frame)."""

    def require_size(self, model: Any, *, num_frames: int, height: int, width: int) -> None:
        """Raise an InputError for videos that the model cannot make: frames, and pixels of a picture."""

    def temporal_frequencies(self, denoiser: nn.Module) -> Tensor:
        """Return the rotary frequencies of time, radians a latent frame; they turn the first pairs of each head."""

    def encode_text(self, model: Any, text: str, length: int) -> EncodedText:
        """Return what the denoiser is given for a prompt of at most `length` tokens, padding counted apart."""

    def decode(self, model: Any, latents: Tensor) -> Any:
        """Return the pictures of one latent video, (frames, height, width, 3) from 0 to 1, as the pipeline does."""

    def read_input(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> DenoiserInput:
        """Return what a denoiser was called with."""

    def look_at(self, model: Any, frames: Any, prompt: str, sigmas: Sequence[float], seed: int) -> None:
        """Encode a video (uint8, frames x height x width x 3) and run the denoiser once at each noise level."""
