"""What the denoisers are trained on: latents of films, cut to a length, with the text each latent frame may read.

Legend: B films, T latent frames, K text positions (all slabs of a film one after another).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from films import film
from transformers import T5Tokenizer, UMT5EncoderModel

from attnscope import ShotPlan
from attnscope.dataset import Scene

TEXT_LENGTH = 512
"""Tokens to which diffusers' WanPipeline pads a prompt. The padding is not masked there: every padding token is the
same constant key, so m of them are one key with log-multiplicity log(m), which is what is trained on here."""

TEXT_WIDTHS = (40, 192, 320)
"""Text positions of a batch are padded (and hidden) to one of these, so that few shapes are compiled."""


@dataclass(frozen=True)
class Batch:
    """Clean latents (B, C, T, 8, 8), text (B, K, 128), additive text bias (B, T, K) in natural-log units."""

    latents: torch.Tensor
    text: torch.Tensor
    text_bias: torch.Tensor


class Slabs:
    """Embeds captions once and lays the slabs of a film behind one another."""

    def __init__(self, tokenizer: T5Tokenizer, encoder: UMT5EncoderModel) -> None:
        self.tokenizer, self.encoder = tokenizer, encoder
        self._known: dict[str, torch.Tensor] = {}

    def embed(self, caption: str) -> torch.Tensor:
        """Token embeddings (tokens, 128) without padding."""
        if caption not in self._known:
            tokens = self.tokenizer(caption, return_tensors="pt")
            with torch.no_grad():
                self._known[caption] = self.encoder(**tokens).last_hidden_state[0].half()
        return self._known[caption].float()

    def lay(self, slabs: list[tuple[str, np.ndarray]], num_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Text (K, 128) and bias (T, K) for (caption, visible-to-frame) pairs; one padding key for each slab."""
        texts, biases = [], []
        for caption, visible in slabs:
            embedded = self.embed(caption)
            texts.append(torch.cat([embedded, embedded.new_zeros(1, embedded.shape[1])]))
            row = torch.zeros(len(embedded) + 1)
            row[-1] = math.log(TEXT_LENGTH - len(embedded))
            seen = torch.from_numpy(visible[:num_frames])[:, None]
            biases.append(torch.where(seen, row[None], -math.inf))
        return torch.cat(texts), torch.cat(biases, dim=1)


def cut_short(scene: Scene, num_frames: int) -> Scene:
    """The first ``num_frames`` frames of a film as a film of its own."""
    cuts = tuple(cut for cut in scene.plan.cuts_frame if cut < num_frames)
    plan = ShotPlan.from_frames(cuts, num_frames=num_frames, fps=scene.plan.fps)
    return replace(scene, plan=plan, views=scene.views[: len(cuts) + 1])


def still(scene: Scene, latent_frame: int) -> Scene:
    """One latent frame of a film as a film of its own."""
    shot = int(scene.plan.to_latent().shot_of_frame[latent_frame])
    plan = ShotPlan.from_frames((), num_frames=1, fps=scene.plan.fps)
    return replace(scene, plan=plan, views=scene.views[shot : shot + 1])


def slabs_of(scene: Scene, rng: np.random.Generator, config: dict[str, Any]) -> list[tuple[str, np.ndarray]]:
    """Choose the text of a film: nothing, one caption for all frames, or one for each shot and a general one."""
    shot_of_frame = scene.plan.to_latent().shot_of_frame
    everywhere = np.ones(len(shot_of_frame), dtype=bool)
    if rng.uniform() < config["text_dropout"]:
        return [("", everywhere)]
    if len(scene.views) > 1 and rng.uniform() < config["share_routed"]:
        shots = [(caption, shot_of_frame == i) for i, caption in enumerate(scene.shot_captions())]
        return [*shots, (scene.general_caption(), everywhere)]
    return [(scene.caption("none" if rng.uniform() < 0.5 else "random"), everywhere)]


class TrainingSet:
    """Latents of films with their captions, drawn a batch at a time; the same step always draws the same batch.

    A batch holds as many films as fit ``frames_per_batch``. At a length of one latent frame it holds stills, each from
    anywhere in its film, with the caption of its shot.
    """

    def __init__(
        self, latents: dict[int, torch.Tensor], slabs: Slabs, films: dict[str, Any], config: dict[str, Any]
    ) -> None:
        self.latents, self.slabs, self.config = latents, slabs, config
        self.scenes = {seed: film(seed, films) for seed in latents}
        has_cut = {seed: len(scene.views) > 1 for seed, scene in self.scenes.items()}
        num_cut, share = sum(has_cut.values()), config["share_multi_shot"]
        each = {True: share / max(1, num_cut), False: (1 - share) / max(1, len(has_cut) - num_cut)}
        self.weights = {seed: each[cut] for seed, cut in has_cut.items()}

    def draw(self, step: int) -> Batch:
        """Draw the batch of a step."""
        rng = np.random.default_rng([5, step])
        length = int(rng.choice(self.config["lengths"], p=self.config["length_shares"]))
        seeds = [seed for seed, clip in self.latents.items() if clip.shape[1] >= length]
        share = np.array([self.weights[seed] for seed in seeds])
        chosen = rng.choice(seeds, round(self.config["frames_per_batch"] / length), p=share / share.sum())
        clips, texts = [], []
        for seed in chosen:
            latents, scene = self.latents[int(seed)], self.scenes[int(seed)]
            start = int(rng.integers(latents.shape[1])) if length == 1 else 0
            part = still(scene, start) if length == 1 else cut_short(scene, 4 * (length - 1) + 1)
            clips.append(latents[:, start : start + length].float())
            texts.append(self.slabs.lay(slabs_of(part, rng, self.config), length))
        return Batch(torch.stack(clips), *_padded(texts))


def _padded(texts: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(text) for text, _ in texts)
    width = next(width for width in TEXT_WIDTHS if width >= longest)
    pad = torch.nn.functional.pad
    text = torch.stack([pad(text, (0, 0, 0, width - len(text))) for text, _ in texts])
    bias = torch.stack([pad(bias, (0, width - bias.shape[1]), value=-math.inf) for _, bias in texts])
    return text, bias
