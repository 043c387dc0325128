"""What training must know of a family beyond what looking at it needs: what goes into the denoiser, beside the film.

Legend: B films, K text tokens, W width of text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from attnscope._types import Frames
from attnscope.errors import InputError, UnsupportedModelError, quote
from attnscope.families import EncodedText, Family, Wan, find
from attnscope.families.protocols import Pipeline

TEXT_LENGTH = 512
"""Tokens to which diffusers' Wan pipeline pads a prompt unless told otherwise."""

Given = Mapping[str, Tensor]
"""What a film's pipeline is given beside text, by name: the latents of a first picture, say."""

_WAN = Wan()


class Trainable(ABC):
    """A denoiser in its pipeline, ready to be trained.

    ``by_flow`` says whether it is trained by flow matching (else it predicts noise), ``reads_captions`` whether
    captions can be routed to shots, ``bounds`` between which noise levels this denoiser runs.
    """

    by_flow: ClassVar[bool]
    reads_captions: ClassVar[bool]

    def __init__(self, pipe: Pipeline, part: str) -> None:
        self.pipe, self.part = pipe, part
        self.family: Family = find(pipe)
        self.denoiser: nn.Module = getattr(pipe, part)

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest noise level at which this denoiser runs."""
        return 0.0, 1.0

    @abstractmethod
    def encode_text(self, caption: str) -> EncodedText:
        """Return a caption as the denoiser reads it."""

    @abstractmethod
    def encode(self, frames: Frames) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the latents (channels, frames, height, width) of a film, and what else the pipeline is given of it."""

    @abstractmethod
    def answer(
        self, denoiser: nn.Module, shown: Tensor, timesteps: Tensor, text: Tensor, given: Given
    ) -> Tensor:
        """Run the denoiser once on a batch: shown (B, C, T, h, w), timesteps (B,), text (B, K, W)."""


class TrainableWan(Trainable):
    """Wan 2.1 and 2.2, from text or from a first picture."""

    by_flow = True
    reads_captions = True

    @property
    @override
    def bounds(self) -> tuple[float, float]:
        """The part of the noise levels that this one of two transformers is responsible for."""
        boundary = self.pipe.config.get("boundary_ratio")
        if boundary is None:
            return 0.0, 1.0
        return (float(boundary), 1.0) if self.part == "transformer" else (0.0, float(boundary))

    @override
    def encode_text(self, caption: str) -> EncodedText:
        """Return the tokens, and how many alike padding tokens follow them."""
        return _WAN.encode_text(self.pipe, caption, TEXT_LENGTH)

    @override
    def encode(self, frames: Frames) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the latents; where films begin with a picture, what the pipeline makes of the first one."""
        given: dict[str, Tensor] = {}
        with torch.no_grad():
            latents = _WAN.encode(self.pipe, frames)[0].float().cpu()
        if not self.family.given_frames(self.pipe):
            return latents, given
        picture = torch.from_numpy(frames[0]).permute(2, 0, 1)[None].float() / 127.5 - 1
        num_frames, height, width = frames.shape[:3]
        with torch.no_grad():
            _, condition, *rest = self.pipe.prepare_latents(
                picture, 1, len(latents), height, width, num_frames, torch.float32, self.pipe.vae.device, None
            )
            if rest:
                raise UnsupportedModelError(
                    expected="a pipeline whose first frame is told by channels of its own",
                    got=f"{type(self.pipe).__name__} with a timestep for each token",
                    where="in a model to train",
                    remedy="train Wan 2.1, or Wan 2.2 14B",
                )
            given["condition"] = condition[0].float().cpu()
            if getattr(self.pipe, "image_encoder", None) is not None:
                seen = self.pipe.encode_image(frames[0], self.pipe.vae.device)
                given["picture"] = seen[0].float().cpu()
        return latents, given

    @override
    def answer(
        self, denoiser: nn.Module, shown: Tensor, timesteps: Tensor, text: Tensor, given: Given
    ) -> Tensor:
        """Return the velocity that the network predicts for these noisy latents."""
        told: dict[str, object] = {"return_dict": False}
        if "condition" in given:
            shown = torch.cat([shown, given["condition"].to(shown)], 1)
        if "picture" in given:
            told["encoder_hidden_states_image"] = given["picture"].to(text)
        velocity: Tensor = denoiser(shown, timesteps, text, **told)[0]
        return velocity


class TrainableLaVie(Trainable):
    """LaVie and CineTrans-UNet: a UNet that reads one caption for the whole film."""

    by_flow = False
    reads_captions = False

    @override
    def encode_text(self, caption: str) -> EncodedText:
        """Return the tokens, padding among them, which the model reads as any other."""
        with torch.no_grad():
            tokens, _ = self.pipe.encode_prompt(caption, self.denoiser.device, 1, False)
        return EncodedText(tokens[0], tokens[0, -1], 0)

    @override
    def encode(self, frames: Frames) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the latents, picture by picture."""
        vae = self.pipe.vae
        pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).to(vae.device, vae.dtype) / 127.5 - 1
        with torch.no_grad():
            latents = vae.encode(pictures).latent_dist.mode().float() * vae.config.scaling_factor
        return latents.transpose(0, 1).cpu(), {}

    @override
    def answer(
        self, denoiser: nn.Module, shown: Tensor, timesteps: Tensor, text: Tensor, given: Given
    ) -> Tensor:
        """Return the noise that the network predicts in these noisy latents."""
        noise: Tensor = denoiser(shown, timesteps, text, return_dict=False)[0]
        return noise


_OF_FAMILY: dict[str, type[Trainable]] = {"Wan": TrainableWan, "LaVie": TrainableLaVie}


def find_trainable(pipe: Pipeline, part: str = "") -> Trainable:
    """Say how a pipeline's denoiser is trained.

    Raises
    ------
    UnsupportedModelError
        The family is not taught to train, or no family knows the pipeline.
    InputError
        The pipeline has no such denoiser, or was loaded without a part that training needs.

    Examples
    --------
    >>> from attnscope.testing import tiny
    >>> find_trainable(tiny("wan")).by_flow
    True
    """
    family = find(pipe)
    if isinstance(pipe, nn.Module) or family.name not in _OF_FAMILY:
        raise UnsupportedModelError(
            expected=f"a pipeline of the families {', '.join(_OF_FAMILY)}",
            got=f"{type(pipe).__name__} of the family {family.name}",
            where="as a model to train",
            remedy="load one of them",
        )
    known = family.denoisers(pipe)
    if part and part not in known:
        raise InputError(
            expected=f"a denoiser out of {', '.join(known)}",
            got=quote(part),
            where="as denoiser of a recipe",
            remedy="leave it out for the first",
        )
    for name in ("vae", "text_encoder", "tokenizer", "scheduler"):
        if getattr(pipe, name, None) is None:
            raise InputError(
                expected="a whole pipeline",
                got=f"one without {name}",
                where="as a model to train",
                remedy="load it with all its parts",
            )
    return _OF_FAMILY[family.name](pipe, part or next(iter(known)))
