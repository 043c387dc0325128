"""What must be known of a model family before its attention can be looked at, and what most families share."""

from __future__ import annotations

import functools
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from attnscope._types import Arguments
from attnscope.errors import LayoutError
from attnscope.families.facts import COND, UNCOND, UNKNOWN, Facts
from attnscope.families.layout import FrameLayout
from attnscope.families.protocols import Denoiser, Model
from attnscope.families.sizes import require_num_frames, require_pixels

# Under which names pipelines keep what their VAE makes of a video.
_TEMPORAL = ("vae_scale_factor_temporal", "vae_temporal_compression_ratio", "vae_temporal_scale_factor")
_SPATIAL = (
    "vae_scale_factor_spatial",
    "vae_spatial_compression_ratio",
    "vae_spatial_scale_factor",
    "vae_scale_factor",
)


@dataclass(frozen=True)
class Site:
    """One place in a model where attention happens.

    `layer` is the 1-based label ("7-28" in the paper), `module` the path as in diffusers, `stage` the part of the
    model it belongs to, `kind` whether frames look at frames (`self`) or at the text (`cross`). Only sites of
    kind `self` are counted as layers; the cross-attention beside layer 7 has the label 7 too. Of the attention calls
    that a processor makes, the first `num_unheard` are none of the site's (attention to an image, say). Where
    `by_picture`, each picture looks by itself, and the pictures of a video are neighbours in the batch.

    >>> Site(layer=7, module="blocks.6.attn1", stage="blocks", kind="self").prefix
    'blocks.6.attn'
    """

    layer: int
    module: str
    stage: str
    kind: Literal["self", "cross"]
    num_unheard: int = 0
    by_picture: bool = False

    @property
    def prefix(self) -> str:
        """What the names of the site's hook points begin with, counted from 0 as modules are."""
        return f"blocks.{self.layer - 1}.{'attn' if self.kind == 'self' else 'xattn'}"


def pair_sites(
    blocks: str,
    count: int,
    attention: str = "attn1",
    cross: str | None = None,
    *,
    first: int = 1,
    num_unheard: int = 0,
) -> Iterator[Site]:
    """Yield the sites of a row of equal blocks: self-attention, then the cross-attention beside it if there is one.

    >>> [(site.layer, site.module) for site in pair_sites("blocks", 2, "attn1", first=3)]
    [(3, 'blocks.0.attn1'), (4, 'blocks.1.attn1')]
    """
    for index in range(count):
        yield Site(first + index, f"{blocks}.{index}.{attention}", blocks, "self")
        if cross is not None:
            yield Site(first + index, f"{blocks}.{index}.{cross}", blocks, "cross", num_unheard)


@dataclass(frozen=True)
class DenoiserCall:
    """What one call of a denoiser was given, by the names of its `forward`; `video` is the latent video among it.

    `order` counts the calls that came before it at the same timestep.
    """

    arguments: Arguments
    video: Tensor
    order: int = 0

    @classmethod
    def bind(
        cls, denoiser: Denoiser, video_argument: str, args: Sequence[object], kwargs: Arguments
    ) -> DenoiserCall:
        """Give every argument the name that `forward` has for it."""
        named = dict(zip(_parameters(cast("Hashable", type(denoiser))), args, strict=False)) | dict(kwargs)
        return cls(named, cast(Tensor, named[video_argument]))

    @property
    def timestep(self) -> Tensor:
        """The scheduler's t: one number, or one a video, a frame or a token."""
        return torch.as_tensor(self.arguments["timestep"])

    @property
    def num_samples(self) -> int:
        """How many videos are in the batch."""
        return int(self.video.shape[0])


@functools.cache
def _parameters(kind: Hashable) -> tuple[str, ...]:
    return tuple(inspect.signature(kind.forward).parameters)[1:]  # type: ignore[attr-defined]


def num_heads_of(attention: object) -> int:
    """Return how many heads an attention module has."""
    heads: int = attention.heads  # type: ignore[attr-defined]  # every attention of diffusers has them
    return int(heads)


class Family(Facts, ABC):
    """One family of video models: its facts, and what must be read off a model. It is one small module."""

    @abstractmethod
    def sites(self, denoiser: Denoiser) -> tuple[Site, ...]:
        """Return the attention sites in the order they run."""

    @abstractmethod
    def layout(self, denoiser: Denoiser, call: DenoiserCall, sample: int) -> FrameLayout:
        """Return which token of a self-attention call belongs to which latent frame, for one video of the batch."""

    @abstractmethod
    def expected_layout(self, model: Model, *, num_frames: int, height: int, width: int) -> FrameLayout:
        """Return the layout that a video of this many latent frames, and pixels, will have; text as long as it gets."""

    def video_shape(self, call: DenoiserCall) -> tuple[int, ...]:
        """Return the shape of the latent video that a denoiser was given.

        Raises
        ------
        LayoutError
            It has not batch, channels, frames, height and width.
        """
        shape = tuple(call.video.shape)
        if len(shape) != 5:
            raise LayoutError(
                expected="latents with 5 dimensions, frames among them",
                got=f"shape {shape}",
                where=f"in a {self.name} model",
                remedy="pass the latents as the pipeline does",
            )
        return shape

    def denoisers(self, model: Model) -> dict[str, nn.Module]:
        """Return the networks that denoise, by their name in the pipeline; a bare network is its own."""
        if isinstance(model, nn.Module):
            return {self.parts[0]: model}
        found = {name: getattr(model, name, None) for name in self.parts}
        return {name: module for name, module in found.items() if module is not None}

    def first_denoiser(self, model: Model) -> Denoiser:
        """Return the network that denoises, the one for high noise where there are two."""
        return cast(Denoiser, next(iter(self.denoisers(model).values())))

    def branches(self, model: Model, context: str, call: DenoiserCall) -> tuple[str, ...]:
        """Return the guidance branch of every video in the batch; `context` is what the pipeline calls this pass.

        Guidance in one call doubles the batch: the same latents twice, first without and then with the prompt.
        """
        if context and context != "cond_uncond":
            return (context,) * call.num_samples
        if not context and (self.names_branches or isinstance(model, nn.Module)):
            return (UNKNOWN,) * call.num_samples
        half, odd = divmod(call.num_samples, 2)
        if not odd and _may_be_guided(model) and self.is_doubled(call):
            return (UNCOND,) * half + (COND,) * half
        return (COND,) * call.num_samples

    def is_doubled(self, call: DenoiserCall) -> bool:
        """Return whether the second half of the batch is the first one again."""
        first, second = call.video.chunk(2)
        return torch.equal(first, second)

    def temporal_stride(self, model: Model) -> int:
        """Return how many frames of video one latent frame holds (the first one holds a single frame)."""
        return _first_number(model, _TEMPORAL, self.stride)

    def spatial_scale(self, model: Model) -> int:
        """Return how many pixels a side one element of the latent picture holds."""
        return _first_number(model, _SPATIAL, self.scale)

    def default_size(self, model: Model) -> dict[str, int]:
        """Return the size of a video where the pipeline's own defaults leave it open: frames, height, width."""
        return {}

    def small_size(self, model: Model) -> dict[str, int]:
        """Return the size of a video of three latent frames to try a model with; pipelines ask for multiples of 32."""
        _, height, width = self.patch(self.first_denoiser(model))
        scale = self.spatial_scale(model)
        return {
            "num_frames": 2 * self.temporal_stride(model) + 1,
            "height": math.lcm(2 * height * scale, 32),
            "width": math.lcm(2 * width * scale, 32),
        }

    def num_latent_frames(self, model: Model, num_frames: int) -> int:
        """Return how many latent frames a video of this many frames has."""
        return (num_frames - 1) // self.temporal_stride(model) + 1

    def given_frames(self, model: Model) -> tuple[int, ...]:
        """Return the latent frames that a pipeline is given rather than makes: the first one, from an image."""
        return (0,) if type(model).__name__ in self.first_frame_pipelines else ()

    def patch(self, denoiser: Denoiser) -> tuple[int, int, int]:
        """Return what of the latent video makes one token: frames, height, width."""
        return (1, 1, 1)

    def most_positions(self, model: Model) -> int | None:
        """Return how many positions the model knows along a side; None where it knows them all."""
        return None

    def fixed_text_length(self, model: Model) -> int | None:
        """Return how many tokens of text the model must be given, no fewer and no more; None where it takes any."""
        return None

    def require_size(self, model: Model, *, num_frames: int, height: int, width: int) -> None:
        """Refuse what the patches do not tile, or what lies beyond the positions that the model knows.

        Raises
        ------
        InputError
            Frames, or pixels of a picture, that the model cannot make; the message says what is near.
        """
        stride, most = self.temporal_stride(model), self.most_positions(model)
        require_num_frames(num_frames, stride, most, self.name)
        patch = self.patch(self.first_denoiser(model))[1:]
        for side, pixels, of_patch in zip(("height", "width"), (height, width), patch, strict=True):
            require_pixels(side, pixels, self.spatial_scale(model) * of_patch, most, self.name)


class GridFamily(Family):
    """A family whose tokens are patches of a latent video (batch, channels, frames, height, width), frame by frame.

    `text` says where the tokens of the text stand that share the attention: nowhere, before, or after the frames;
    `text_length` gives how many they are at most.
    """

    text: ClassVar[Literal["none", "before", "after"]] = "none"

    @override
    def patch(self, denoiser: Denoiser) -> tuple[int, int, int]:
        """Return `patch_size_t` and `patch_size` of the configuration."""
        config = denoiser.config
        side = config.patch_size
        if isinstance(side, Sequence):
            frames, height, width = side
            return int(frames), int(height), int(width)
        return int(getattr(config, "patch_size_t", None) or 1), int(side), int(side)

    @override
    def most_positions(self, model: Model) -> int | None:
        """Return the length of the rotary table, where there is one."""
        most = dict(self.first_denoiser(model).config).get("rope_max_seq_len")
        return None if most is None else int(most)

    @override
    def default_size(self, model: Model) -> dict[str, int]:
        """Return the latent video of the configuration in frames and pixels."""
        config, scale = dict(self.first_denoiser(model).config), self.spatial_scale(model)
        known = [name for name in ("height", "width") if f"sample_{name}" in config]
        return {name: int(config[f"sample_{name}"]) * scale for name in known}

    def text_length(self, denoiser: Denoiser) -> int:
        """Return how many tokens of text share the attention at most."""
        return 0

    def text_tokens(self, call: DenoiserCall, sample: int) -> tuple[int, int]:
        """Return how many tokens of text, and how many of padding behind them, this call has for a video."""
        return (0, 0) if self.text == "none" else (int(call.arguments["encoder_hidden_states"].shape[1]), 0)

    @override
    def layout(self, denoiser: Denoiser, call: DenoiserCall, sample: int) -> FrameLayout:
        """Return the layout of a latent video, text where the family has it."""
        shape = self.video_shape(call)
        grid = (shape[self.frame_axis], *shape[3:])
        return self._layout(denoiser, grid, *self.text_tokens(call, sample))

    @override
    def expected_layout(self, model: Model, *, num_frames: int, height: int, width: int) -> FrameLayout:
        """Return the layout for a video of this size in latent frames and pixels."""
        denoiser, scale = self.first_denoiser(model), self.spatial_scale(model)
        frames = num_frames * self.patch(denoiser)[0]
        return self._layout(
            denoiser, (frames, height // scale, width // scale), self.text_length(denoiser), 0
        )

    def _layout(self, denoiser: Denoiser, grid: tuple[int, ...], text: int, padding: int) -> FrameLayout:
        frames, height, width = (size // part for size, part in zip(grid, self.patch(denoiser), strict=True))
        return FrameLayout.uniform(
            frames,
            height * width,
            text_before=text if self.text == "before" else 0,
            text_after=text if self.text == "after" else 0,
            padding_after=padding,
        )


def _may_be_guided(model: Model) -> bool:
    """What the pipeline says of itself; one that says nothing may be."""
    try:
        return bool(model.do_classifier_free_guidance)
    except AttributeError:
        scale = getattr(model, "_guidance_scale", None)
        return not isinstance(scale, int | float) or scale > 1


def _first_number(model: object, names: Sequence[str], otherwise: int) -> int:
    return next((int(getattr(model, name)) for name in names if hasattr(model, name)), otherwise)
