"""Making the films of a sweep, in this process or in several."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from attnscope import models
from attnscope._types import Arguments, FilmPlans, OnProgress
from attnscope.checks import is_whole, require_whole
from attnscope.errors import InputError, RunError, ShotPlanError, quote
from attnscope.families import find
from attnscope.families.base import num_heads_of
from attnscope.families.calling import fill_defaults, rename_for_pipeline, require_runnable
from attnscope.families.protocols import Pipeline
from attnscope.families.rehearsing import rehearse
from attnscope.intervening.generate import generate
from attnscope.masks import parse_rule
from attnscope.probing.plain import plain
from attnscope.shots import ShotPlan
from attnscope.sweeping.store import FilmKey, SweepHeader, SweepStore, header_of
from attnscope.sweeping.variants import Variant
from attnscope.video.files import mp4_of
from attnscope.video.strips import png_of

_SAMPLED = 4096  # numbers of each parameter that tell weights from other weights


@dataclass(frozen=True)
class Request:
    """What all films of a sweep have in common, ready to be sent to another process."""

    prompts: tuple[str, ...]
    plans: tuple[ShotPlan, ...]
    rule: str
    seeds: tuple[int, ...]
    arguments: Arguments

    @classmethod
    def read(
        cls,
        prompts: str | Sequence[str],
        shots: FilmPlans,
        rule: str,
        seeds: Sequence[int],
        arguments: Arguments,
    ) -> Request:
        """Bring what was given to one form, and refuse what cannot be made.

        Raises
        ------
        InputError
            No prompt, other plans than prompts, a plan without a cut, no seeds.
        """
        texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
        plans = (shots,) * len(texts) if isinstance(shots, ShotPlan) else tuple(shots)
        if not texts or len(plans) != len(texts):
            raise InputError(
                expected="at least one prompt, and one plan for all or one a prompt",
                got=f"{len(texts)} prompts and {len(plans)} plans",
                where="in sweep",
                remedy="give as many",
            )
        if len(texts) > 1 and arguments.get("prompt_embeds") is not None:
            raise InputError(
                expected="one prompt, the label of its embeddings",
                got=f"{len(texts)} prompts beside prompt_embeds",
                where="in sweep",
                remedy="sweep them one by one",
            )
        for plan in plans:
            if not plan.cuts_frame:
                raise ShotPlanError(
                    expected="plans with a cut to look for",
                    got=plan.describe(),
                    where="in sweep",
                    remedy="plan at least two shots",
                )
            parse_rule(rule, plan)
        if not seeds or not all(is_whole(seed) and seed >= 0 for seed in seeds):
            raise InputError(
                expected="seeds from 0",
                got=quote(seeds),
                where="in sweep",
                remedy="write for instance (0, 1)",
            )
        return cls(texts, plans, rule, tuple(seeds), dict(arguments))


class MadeFilm(NamedTuple):
    """What is kept of a film: where it is cut, in video frames, a strip of its pictures, and the film itself."""

    found_frame: tuple[int, ...]
    strip_png: bytes
    film_mp4: bytes


class FilmMaker:
    """A model that makes the films of a request."""

    def __init__(self, pipe: Pipeline, request: Request) -> None:
        self.pipe, self.request = pipe, request
        family = find(pipe)
        denoiser = family.first_denoiser(pipe)
        sites = [site for site in family.sites(denoiser) if site.kind == "self"]
        self.labels = tuple(dict.fromkeys(site.layer for site in sites))
        self.num_heads = min(num_heads_of(denoiser.get_submodule(site.module)) for site in sites)
        self.arguments = fill_defaults(pipe, family, request.arguments)
        require_runnable(self.arguments, ("cond",))
        self.plans = tuple(plan.to_latent(family.temporal_stride(pipe)) for plan in request.plans)

    @cached_property
    def num_steps(self) -> int:
        """How many denoising steps a film has."""
        family, first = find(self.pipe), self.request.plans[0]
        told = {"prompt": self.request.prompts[0], "output_type": "latent"}
        asked = {**told, **self.arguments, "num_frames": first.num_frames}
        return rehearse(self.pipe, family, rename_for_pipeline(self.pipe, family, asked))

    def header(self) -> SweepHeader:
        """What the folder of a sweep must agree with."""
        return header_of(
            model=type(self.pipe).__name__,
            weights=self._weights(),
            rule=self.request.rule,
            prompts=list(self.request.prompts),
            seeds=list(self.request.seeds),
            num_frames=[plan.num_frames for plan in self.request.plans],
            cuts_frame=[list(plan.realised_frame) for plan in self.plans],
            arguments=plain({name: value for name, value in self.arguments.items() if name != "num_frames"}),
        )

    def check(self, variants: Sequence[Variant]) -> None:
        """Refuse variants that no film can be made with, before the first film is made.

        Raises
        ------
        InputError
            A strength, or a place, that a rule cannot have.
        """
        for variant in variants:
            for plan in self.plans:
                variant.changes(self.request.rule, plan, self.labels, self.request.seeds[0])

    def make(self, key: FilmKey) -> MadeFilm:
        """Make one film, and say where it is cut and how it looks."""
        changes = key.variant.changes(self.request.rule, self.plans[key.film], self.labels, key.seed)
        film = generate(
            self.pipe,
            self.request.prompts[key.film],
            shots=self.request.plans[key.film],
            rule=changes or None,
            seed=key.seed,
            progress=False,
            **self.request.arguments,
        )
        return MadeFilm(film.cuts.found_frame, png_of(film.strip()), mp4_of(film.frames, film.plan.fps))

    def _weights(self) -> str:
        digest = hashlib.sha256()
        for denoiser in find(self.pipe).denoisers(self.pipe).values():
            for name, parameter in denoiser.named_parameters():
                digest.update(name.encode())
                digest.update(parameter.detach().flatten()[:_SAMPLED].float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]


class Job:
    """A sweep that is being made: its folder, and who makes its films."""

    def __init__(
        self, model: str | os.PathLike[str] | Pipeline, request: Request, processes: int, loading: Arguments
    ) -> None:
        named = isinstance(model, str | os.PathLike)
        require_whole(processes, "at least 1 process", "in sweep", least=1)
        if processes > 1 and not named:
            raise InputError(
                expected=f"the name of a model for {processes} processes",
                got=f"a {type(model).__name__}",
                where="in sweep",
                remedy="every process loads its own, or use one process",
            )
        if loading and not isinstance(model, str | os.PathLike):
            raise InputError(
                expected="the name of a model that is loaded in this way",
                got=f"a {type(model).__name__}, which is loaded",
                where="in sweep",
                remedy="leave loading out",
            )
        self._processes, self._loading = processes, dict(loading)
        self._model = os.fspath(model) if isinstance(model, str | os.PathLike) else ""
        pipe = load_quietly(self._model, loading) if isinstance(model, str | os.PathLike) else model
        self.maker = FilmMaker(pipe, request)
        self.store: SweepStore
        self._is_new = False

    def begin(self, out: str | os.PathLike[str]) -> None:
        """Open the folder, once nothing is left to refuse."""
        self.store, self._is_new = SweepStore.resume_or_create(Path(out), self.maker.header())

    def make(
        self,
        variants: Sequence[Variant],
        on_film: OnProgress | None = None,
        *,
        films: Sequence[int] | None = None,
    ) -> None:
        """Make what is missing of these variants, all variants of a prompt before the next; ``films`` names prompts.

        Where the model refuses the very first film, no folder stays behind.
        """
        request = self.maker.request
        keys = [
            FilmKey(film, seed, variant)
            for film in (range(len(request.prompts)) if films is None else films)
            for seed in request.seeds
            for variant in variants
        ]
        missing = [key for key in keys if not self.store.has(key)]
        num_done = len(keys) - len(missing)
        try:
            for key, made in self._make_all(missing):
                self.store.put(key, made.found_frame, {".png": made.strip_png, ".mp4": made.film_mp4})
                num_done += 1
                if on_film is not None:
                    on_film(num_done, len(keys))
        except InputError:
            if self._is_new:
                self.store.discard()
            raise

    def _make_all(self, keys: Sequence[FilmKey]) -> Iterator[tuple[FilmKey, MadeFilm]]:
        if self._processes == 1 or len(keys) < 2:
            yield from ((key, self.maker.make(key)) for key in keys)
            return
        num_processes = min(self._processes, len(keys))
        threads = max(1, (os.cpu_count() or 1) // num_processes)
        with ProcessPoolExecutor(
            # a forked process would inherit the locks of torch's threads, but not the threads
            num_processes,
            get_context("spawn"),
            _begin,
            (self._model, self._loading, self.maker.request, threads),
        ) as pool:
            running: dict[Future[MadeFilm], FilmKey] = {pool.submit(_make, key): key for key in keys}
            try:
                for film in as_completed(running):
                    yield running[film], film.result()
            except BrokenProcessPool as error:
                raise RunError(
                    expected=f"{num_processes} processes to make {len(keys)} films",
                    got="one that died",
                    where="in sweep",
                    remedy="the same call goes on; where memory was short, use fewer processes",
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)


def load_quietly(model: str, loading: Arguments) -> Pipeline:
    """Load a model whose own progress bar stays away: one bar is enough."""
    pipe = models.load(model, **loading)
    pipe.set_progress_bar_config(disable=True)
    return pipe


_maker: FilmMaker | None = None
"""The model of this process, where it is one of several."""


def _begin(model: str, loading: Arguments, request: Request, num_threads: int) -> None:
    global _maker
    import torch

    torch.set_num_threads(num_threads)
    _maker = FilmMaker(load_quietly(model, loading), request)


def _make(key: FilmKey) -> MadeFilm:
    assert _maker is not None
    return _maker.make(key)
