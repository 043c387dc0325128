"""Which films are in a batch, how noisy each is and what it is told: everything drawn from the seed and a number.

No generator has a state that a checkpoint would have to keep: film number n of a run draws from (seed, n), whatever ran
before and however many processes share the batch.

Legend: B films, C channels, T latent frames, K text tokens, W width of text.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from attnscope.families import EncodedText
from attnscope.intervening.captions import ShotText, lay_slabs
from attnscope.training.cache import Encoded
from attnscope.training.denoisers import Trainable
from attnscope.training.objectives import Objective
from attnscope.training.recipe import Recipe
from attnscope.training.rules import Subject

Told = Literal["drawn", "whole", "routed"]
"""What a film is told: by lot, the caption of the whole film, or its own caption to each shot."""

_ORDER, _FILM = 0, 1  # what is drawn: the order of an epoch, or the noise of a film


@dataclass(frozen=True)
class Batch:
    """What one call of the denoiser is trained on.

    ``latents`` and ``noise`` (B, C, T, h, w), ``timesteps`` (B,), ``text`` (B, K, W), ``given`` beside it, ``subjects``
    for the rule, ``names`` of the films.
    """

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    text: Tensor
    given: dict[str, Tensor]
    subjects: tuple[Subject, ...]
    names: tuple[str, ...]


class Place(NamedTuple):
    """One film of a batch: which of the data set, and the number that its noise is drawn from."""

    film: int
    number: int


class Order:
    """The films of every batch of a run, so that each is seen once an epoch and a batch is of one shape.

    >>> order = Order([(5,), (5,), (9,)], 2, seed=0)
    >>> sorted({place.film for number in range(order.num_batches) for place in order.batch(number)})
    [0, 1, 2]
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], size: int, *, seed: int) -> None:
        self._size, self._seed = size, seed
        self._alike: dict[tuple[int, ...], list[int]] = {}
        for index, shape in enumerate(shapes):
            self._alike.setdefault(shape, []).append(index)
        self.num_batches = sum(-(-len(films) // size) for films in self._alike.values())
        self._epoch = functools.lru_cache(maxsize=2)(self._draw)

    def batch(self, number: int) -> list[Place]:
        """Return the films of batch ``number`` of the run, counted from 0."""
        films = self._epoch(number // self.num_batches)[number % self.num_batches]
        return [Place(film, number * self._size + place) for place, film in enumerate(films)]

    def _draw(self, epoch: int) -> list[list[int]]:
        rng = np.random.default_rng([self._seed, _ORDER, epoch])
        batches = []
        for films in self._alike.values():
            mixed = [films[index] for index in rng.permutation(len(films))]
            # The last batch of a shape is filled up from the beginning.
            whole = -(-len(mixed) // self._size) * self._size
            filled = [mixed[index % len(mixed)] for index in range(whole)]
            batches += [filled[start : start + self._size] for start in range(0, whole, self._size)]
        return [batches[index] for index in rng.permutation(len(batches))]


class Assembly:
    """Puts batches together out of encoded films."""

    def __init__(
        self,
        model: Trainable,
        films: Sequence[Encoded],
        text: Callable[[str], EncodedText],
        objective: Objective,
        recipe: Recipe,
    ) -> None:
        self._model, self._films, self._objective, self._recipe = model, films, objective, recipe
        self._text = functools.lru_cache(maxsize=None)(text)

    def batch(self, places: Sequence[Place], *, uniform: float | None = None, told: Told = "drawn") -> Batch:
        """Put a batch together; ``uniform`` fixes where in the noise levels, ``told`` which text, instead of lots."""
        tensors = [self._films[place.film].tensors() for place in places]
        drawn = [
            self._draws(place.number, each["latents"]) for place, each in zip(places, tensors, strict=True)
        ]
        levels = torch.tensor(
            [each[0] if uniform is None else uniform for each, _ in drawn], dtype=torch.float64
        )
        timesteps, sigmas = self._objective.level(levels)
        texts = [
            self._texts(self._films[place.film], *self._choices(lots, told))
            for place, (lots, _) in zip(places, drawn, strict=True)
        ]
        subjects = tuple(
            Subject(self._films[place.film].plan, text, float(sigma), routed, has_text)
            for place, sigma, (_, text, routed, has_text) in zip(places, sigmas, texts, strict=True)
        )
        names = [name for name in tensors[0] if name != "latents"]
        return Batch(
            torch.stack([each["latents"] for each in tensors]),
            torch.stack([noise for _, noise in drawn]),
            timesteps.float() if timesteps.is_floating_point() else timesteps,
            _side_by_side([tokens for tokens, *_ in texts]),
            {name: torch.stack([each[name] for each in tensors]) for name in names},
            subjects,
            tuple(self._films[place.film].clip.name for place in places),
        )

    def _draws(self, number: int, latents: Tensor) -> tuple[list[float], Tensor]:
        """Three even numbers (noise level, dropout, routing) and the noise of film ``number`` of the run."""
        seed = int(np.random.SeedSequence([self._recipe.seed, _FILM, number]).generate_state(1, np.uint64)[0])
        generator = torch.Generator().manual_seed(seed >> 1)
        lots = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
        return lots, torch.randn(latents.shape, generator=generator)

    def _choices(self, lots: Sequence[float], told: Told) -> tuple[bool, bool]:
        """Whether a film is told anything, and whether each shot reads its own caption."""
        if told != "drawn":
            return True, told == "routed"
        return lots[1] >= self._recipe.caption_dropout, lots[2] < self._recipe.routed

    def _texts(
        self, film: Encoded, is_told: bool, is_routed: bool
    ) -> tuple[Tensor, ShotText | None, bool, bool]:
        """The tokens (K, W), which slab each is, whether shots read their own, whether there is any text."""
        clip = film.clip
        if not self._model.reads_captions:
            return self._text(clip.caption if is_told else "").tokens, None, False, is_told
        is_routed = is_told and is_routed and bool(clip.captions)
        captions = clip.captions if is_routed else ()
        general = (clip.general if is_routed else clip.caption) if is_told else ""
        encoded = [self._text(each) for each in (*captions, general)]
        text = lay_slabs(captions, general, self._recipe.padding, encoded)
        return text.embeds[0], text, is_routed, is_told


def _side_by_side(texts: Sequence[Tensor]) -> Tensor:
    """Texts as one tensor; shorter ones are filled with zeros, which the rule hides."""
    longest = max(len(each) for each in texts)
    return torch.stack([torch.nn.functional.pad(each, (0, 0, 0, longest - len(each))) for each in texts])
