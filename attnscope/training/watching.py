"""What is looked at while a model is trained: films at fixed seeds with their scores, attention over training steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from attnscope._types import Arguments, Document, Floats32, Range
from attnscope.hooks import HookPoint
from attnscope.intervening.generate import generate
from attnscope.ranges import parse_range
from attnscope.shots import LatentPlan, ShotPlan
from attnscope.storage import STORE_NAME, StoreHeader
from attnscope.storage.disk import explain
from attnscope.storage.store import resume_or_create
from attnscope.training.batches import Assembly, Place
from attnscope.training.cache import Encoded
from attnscope.training.clips import FilmSize
from attnscope.training.forward import TrainingForward
from attnscope.training.recipe import Recipe
from attnscope.training.rules import Rule, rule_for
from attnscope.video.files import write_video

FILMS = "films"
RECORDED_FILMS = 2
_MIDDLE = 0.5  # half of what training draws is noisier


def steps_to_record(recipe: Recipe) -> tuple[int, ...]:
    """Return the training steps at which attention is recorded: from 0, every so many, and the last."""
    if not recipe.record_every:
        return ()
    return tuple(sorted({*range(0, recipe.steps, recipe.record_every), recipe.steps}))


def require_recorded_layers(forward: TrainingForward, recipe: Recipe) -> tuple[int, ...]:
    """Return the layers whose attention is recorded.

    Raises
    ------
    RangeError
        A label that is not there, or a range that cannot be read.
    """
    return parse_range(recipe.record_layers, tuple(forward.attachment.taps), name="record layers")


class AttentionRecord:
    """How the model looks at the same films, under the same noise, after more and more training; without the rule.

    One dataset, opened by ``attnscope.open_store``: ``step`` is the training step, ``prompt`` one film of the data, and
    the noise level is the middle of those that training draws. What differs between steps is the weights alone.
    """

    def __init__(
        self,
        run: Path,
        forward: TrainingForward,
        assembly: Assembly,
        films: Sequence[Encoded],
        recipe: Recipe,
    ) -> None:
        self._forward, self._assembly = forward, assembly
        alike = [i for i, film in enumerate(films) if film.plan.num_frames == films[0].plan.num_frames]
        cut = [i for i in alike if films[i].plan.num_shots > 1]
        self._films = (cut or alike)[:RECORDED_FILMS]
        self._layers = require_recorded_layers(forward, recipe)
        self._store = resume_or_create(
            run / STORE_NAME, self._header([films[i] for i in self._films], recipe)
        )
        self._masses: dict[int, Floats32] = {}

    def _header(self, films: Sequence[Encoded], recipe: Recipe) -> StoreHeader:
        taps, plan = self._forward.attachment.taps, films[0].plan
        sites = [taps[layer].site for layer in self._layers]
        denoiser = self._forward.model.denoiser
        heads = min(int(denoiser.get_submodule(site.module).heads) for site in sites)  # type: ignore[arg-type]
        return StoreHeader(
            prompts=tuple(film.clip.caption for film in films),
            seeds=(recipe.seed,) * len(films),
            num_steps=recipe.steps + 1,
            steps=steps_to_record(recipe),
            branches=("cond",),
            layers=self._layers,
            modules=tuple(site.module for site in sites),
            stages=tuple(site.stage for site in sites),
            heads=tuple(range(heads)),
            plans=tuple(film.plan for film in films),
            num_frames=plan.num_frames,
            stride=plan.stride,
            fps=plan.fps,
            tolerance=1e-3 if recipe.precision == "bfloat16" else 1e-5,
            attrs={"step_is": "training step", "rule": "none, the model alone"},
        )

    def is_due(self, step: int) -> bool:
        """Say whether attention is recorded after ``step`` updates."""
        return step in self._store.header.steps

    def look(self, step: int) -> None:
        """Record the attention after ``step`` updates, unless it is there."""
        if not self.is_due(step):
            return
        names = [f"blocks.{layer - 1}.attn.hook_frame_mass" for layer in self._layers]
        for prompt, film in enumerate(self._films):
            if self._store.is_done(prompt, step):
                continue
            batch = self._assembly.batch([Place(film, film)], uniform=_MIDDLE, told="whole")
            stop = self._forward.attachment.listen(names, self._note)
            try:
                with torch.no_grad():
                    self._forward.loss(batch, is_ruled=False)
            finally:
                stop()
            mass = np.stack([self._masses[layer] for layer in self._layers])[None]
            self._store.append(
                prompt, step, mass, None, timestep=float(batch.timesteps[0]), sigma=batch.subjects[0].sigma
            )

    def _note(self, mass: torch.Tensor, point: HookPoint) -> None:
        self._masses[point.layer] = mass[0].detach().float().cpu().numpy()


@dataclass(frozen=True)
class Validation:
    """Films made again and again at fixed seeds, to see what training does; which, and how they are made."""

    films: tuple[Encoded, ...]
    arguments: Arguments

    def make(
        self, run: Path, step: int, forward: TrainingForward, rule: Rule, layers: Range | None
    ) -> list[Document]:
        """Make the films under the rule, write them down, and return a line of scores for each."""
        lines = []
        folder = run / FILMS / f"step-{step:07d}"
        with explain(folder):
            folder.mkdir(parents=True, exist_ok=True)
        forward.pause()
        for seed, film in enumerate(self.films):
            clip, plan = film.clip, video_plan(film.plan)
            routed = bool(clip.captions) and forward.model.reads_captions
            made = generate(
                forward.model.pipe,
                clip.general if routed else clip.caption,
                shots=plan,
                rule=rule_for(rule, film.plan, layers) or None,
                captions=clip.captions if routed else None,
                seed=seed,
                **self.arguments,
            )
            with explain(folder):
                write_video(folder / f"film-{seed}.mp4", made.frames, plan.fps)
            lines.append(
                {
                    "step": step,
                    "film": clip.name,
                    "seed": seed,
                    "asked_frame": list(made.cuts.asked_frame),
                    "found_frame": list(made.cuts.found_frame),
                    "transition_control": made.cuts.transition_control,
                    "recall": made.cuts.recall,
                    "precision": made.cuts.precision,
                }
            )
        return lines


def video_plan(plan: LatentPlan) -> ShotPlan:
    """Return a plan on the frames of the video, cuts where the latent grid has them.

    >>> video_plan(ShotPlan.from_frames([9], num_frames=17, fps=16).to_latent(4)).cuts_frame
    (9,)
    """
    return ShotPlan.from_frames(
        plan.realised_frame, num_frames=plan.stride * (plan.num_frames - 1) + 1, fps=plan.fps
    )


def choose_validation(films: Sequence[Encoded], recipe: Recipe, size: FilmSize) -> Validation:
    """Take the first films with cuts, or the first at all; they are made as large as films are in training."""
    cut = [film for film in films if film.plan.num_shots > 1]
    asked = {
        "num_inference_steps": recipe.validation_steps or None,
        "guidance_scale": recipe.validation_guidance,
        "height": size.height,
        "width": size.width,
    }
    arguments = {name: value for name, value in asked.items() if value is not None}
    return Validation(tuple((cut or list(films))[: recipe.validation_films]), arguments)
