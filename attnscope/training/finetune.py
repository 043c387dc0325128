"""Train a video model on films with cuts, under the mask that will hold when it makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from attnscope._types import Range
from attnscope.errors import InputError, quote
from attnscope.families.calling import fill_defaults, require_size
from attnscope.families.protocols import Denoiser, Pipeline
from attnscope.storage.disk import require_writable
from attnscope.training.batches import Assembly
from attnscope.training.cache import Cache
from attnscope.training.clips import Data, FilmSize, read_clips
from attnscope.training.denoisers import Trainable, find_trainable
from attnscope.training.estimates import Estimate, estimate
from attnscope.training.forward import training_forward
from attnscope.training.journal import LOG, read_lines
from attnscope.training.loop import Loop, OnStep
from attnscope.training.objectives import objective_of
from attnscope.training.recipe import Recipe
from attnscope.training.rules import Rule
from attnscope.training.run_file import Asked, require_same, settle
from attnscope.training.watching import (
    AttentionRecord,
    choose_validation,
    require_recorded_layers,
    steps_to_record,
)
from attnscope.training.weights import prepare_weights, save_trained
from attnscope.video.files import fps_of

_LAST = 20
_MOST_NAMED = 5


@dataclass(frozen=True)
class Training:
    """What a training run left: the folder, the weights, the mean of the last 20 losses, what was left out and why.

    ``shortened`` names the films that lost shots, as they are longer than the model's films.
    ``weights`` is what ``pipe.load_lora_weights`` (LoRA) or ``from_pretrained`` (whole models) takes. ``estimate`` is
    there instead where only the cost was asked for; then the films are those that are listed, and as many as a batch
    has were looked at.
    """

    folder: Path
    weights: Path | None
    num_steps: int
    loss: float | None
    num_films: int
    left_out: tuple[str, ...]
    estimate: Estimate | None = None
    shortened: tuple[str, ...] = ()


def finetune(
    pipe: Pipeline,
    data: Data,
    *,
    out: str | Path,
    rule: Rule = None,
    layers: Range | None = None,
    text_layers: Range = "all",
    recipe: Recipe | None = None,
    initial: str | Path | None = None,
    cache: str | Path | None = None,
    tensorboard: bool = False,
    model_name: str = "",
    dry_run: bool = False,
    on_step: OnStep = lambda done, total: None,
    **changes: object,
) -> Training:
    """Train a video model on films with cuts, under the mask that will hold when it makes films.

    In every forward and backward pass each film is under the rule for its own shots, and each shot reads its own
    caption. Run again with the same arguments, it goes on where it was stopped, and ends with the same weights, byte
    for byte. Afterwards the model in ``pipe`` is the trained one.

    Parameters
    ----------
    pipe
        A loaded diffusers pipeline of Wan or LaVie.
    data : path, DrawnFilms or list of Clip
        A folder with a ``manifest.csv`` as :func:`attnscope.score` reads it (``file``, ``shots``, ``caption``,
        ``captions`` with | between); films to be drawn; or clips of one's own.
    out : path
        Where everything goes: ``run.toml``, checkpoints, log, films, attention, and the trained weights.
    rule : str, MaskRule, Intervention, sequence of Intervention or function of a plan, optional
        What holds shots apart: "same_shot | first_frame", a preset's name, a rule (its shots are replaced by those of
        each film), or what makes one of a plan. None trains without.
    layers : range, optional
        Where a bare rule or preset acts.
    text_layers : range
        Layers where each shot reads its own caption; in the others it reads those of all shots.
    recipe : Recipe, optional
        Numbers of the run; ``changes`` go on top (``rank=16, steps=200``).
    initial : path, optional
        Adapters to begin with, as diffusers or peft saved them.
    cache : path, optional
        Where encoded films are kept; ``out/cache`` otherwise.
    tensorboard : bool
        Whether curves are written for TensorBoard.
    model_name : str
        What :func:`attnscope.load` knows the model as, for ``attnscope train resume``; else the pipeline's own name.
    dry_run : bool
        Say what the run would cost, and do no more.
    on_step : callable
        Told ``(done, total)`` after every update.

    Raises
    ------
    InputError
        Something that was given cannot be used; nothing was trained.
    RunError
        A loss that is no number; the message names step, batch and the last good checkpoint.
    SetupError
        The disk is full, or a package is missing.

    Examples
    --------
    >>> import tempfile
    >>> from attnscope.testing import tiny
    >>> from attnscope.training.clips import DrawnFilms
    >>> with tempfile.TemporaryDirectory() as out:
    ...     done = finetune(tiny("wan"), DrawnFilms(2, (2,)), out=out, rule="same_shot", steps=1,
    ...                     rank=2, height=32, width=32, num_frames=17)
    ...     done.num_steps, done.weights.name
    (1, 'pytorch_lora_weights.safetensors')
    """
    _check_early(Path(out), rule, layers, dry_run=dry_run)
    recipe = _recipe(recipe, changes)
    model = find_trainable(pipe, recipe.denoiser)
    run, size = Path(out), _film_size(model, recipe)
    require_same(run, model, recipe, Asked(model_name, rule, layers, text_layers, data, initial))
    clips, left_out = read_clips(data, replace(size, fps=size.fps or fps_of(model.pipe)))
    objective = objective_of(pipe, recipe, by_flow=model.by_flow, bounds=model.bounds)
    with _prepare_model(model, recipe, initial, keep=not dry_run):
        with (
            training_forward(model, objective, rule, layers=layers, text_layers=text_layers) as forward,
            _open_cache(run, cache, model, size, is_kept=not dry_run) as kept,
        ):
            require_recorded_layers(forward, recipe)
            films, refused = kept.films(clips, most=recipe.batch_size if dry_run else None)
            left_out += refused
            if not films:
                _refuse_all(left_out)
            assembly = Assembly(model, films, kept.text, objective, recipe)
            shortened = tuple(f"{film.clip.name}: {film.note}" for film in films if film.note)
            asked = Asked(model_name, rule, layers, text_layers, data, initial, tuple(left_out))
            if dry_run:
                cost = estimate(forward, assembly, recipe)
                return Training(run, None, 0, None, len(clips), tuple(left_out), cost, shortened)
            forward.require(film.plan for film in films)
            shapes = [tuple(film.tensors()["latents"].shape) for film in films]
            loop = Loop(run, recipe, forward, assembly, shapes, tensorboard=tensorboard, on_step=on_step)
            # nothing is written before everything that was given has been found usable
            settle(run, model, recipe, films, asked)
            record = (
                AttentionRecord(run, forward, assembly, films, recipe) if steps_to_record(recipe) else None
            )
            chosen = choose_validation(films, recipe, size)
            loop.train(record, lambda step: chosen.make(run, step, forward, rule, layers))
        loop.adopt_average()
        model.denoiser.eval()
        weights = save_trained(model, recipe, run)
    losses = [line["loss"] for line in read_lines(run / LOG)[-_LAST:]]
    loss = sum(losses) / len(losses)
    return Training(run, weights, recipe.steps, loss, len(films), tuple(left_out), shortened=shortened)


def _check_early(out: Path, rule: Rule, layers: Range | None, *, dry_run: bool) -> None:
    """Refuse what no model and no film is needed for."""
    if layers is not None and rule is None:
        raise InputError(
            expected="a rule that acts in the layers",
            got=f"none, and layers {quote(layers)}",
            where="in finetune",
            remedy="give a rule, or leave layers out",
        )
    if not dry_run:
        require_writable(out, "folder")


@contextmanager
def _open_cache(
    run: Path, cache: str | Path | None, model: Trainable, size: FilmSize, *, is_kept: bool
) -> Iterator[Cache]:
    """Open where encoded films are kept; where nothing is to be left, and no place was given, for a while only."""
    if cache is not None or is_kept:
        yield Cache(Path(cache or run / "cache"), model, size)
        return
    with TemporaryDirectory() as folder:
        yield Cache(Path(folder), model, size)


def _refuse_all(left_out: Sequence[str]) -> NoReturn:
    raise InputError(
        expected="at least one film that can be used",
        got=f"{len(left_out)} that cannot ({'; '.join(left_out[:_MOST_NAMED]) or 'there is none'})",
        where="as data to train on",
        remedy="correct the manifest",
    )


def _recipe(recipe: Recipe | None, changes: Mapping[str, object]) -> Recipe:
    if recipe is not None and not isinstance(recipe, Recipe):
        raise InputError(
            expected="a Recipe",
            got=quote(recipe),
            where="as recipe of finetune",
            remedy="write Recipe(rank=16)",
        )
    return Recipe.from_table(
        {**({} if recipe is None else recipe.table()), **changes}, "the recipe of finetune"
    )


def _film_size(model: Trainable, recipe: Recipe) -> FilmSize:
    """The size of films as the model sees them; what the recipe leaves open is the pipeline's own."""
    asked = {
        name: getattr(recipe, name) for name in ("num_frames", "height", "width") if getattr(recipe, name)
    }
    whole = fill_defaults(model.pipe, model.family, asked)
    require_size(model.pipe, model.family, whole)
    return FilmSize(
        int(whole["num_frames"]),
        int(whole["height"]),
        int(whole["width"]),
        Fraction(recipe.fps) if recipe.fps else None,
        model.family.temporal_stride(model.pipe),
    )


@contextmanager
def _prepare_model(
    model: Trainable, recipe: Recipe, initial: str | Path | None, *, keep: bool
) -> Iterator[None]:
    """Make weights trainable; where the run fails, or nothing is to be kept, the model is left without adapters."""
    prepare_weights(model, recipe, initial)
    done = False
    try:
        yield
        done = keep
    finally:
        denoiser: Denoiser = model.denoiser
        denoiser.requires_grad_(False)
        if recipe.checkpointing:
            denoiser.disable_gradient_checkpointing()
        if not done and recipe.method == "lora":
            denoiser.delete_adapters(list(denoiser.peft_config))
