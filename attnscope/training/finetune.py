"""Train a video model on films with cuts, under the mask that will hold when it makes them."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib import metadata
from pathlib import Path

from attnscope import __version__
from attnscope._types import Arguments, Document, Range
from attnscope.errors import InputError, quote
from attnscope.families.calling import fill_defaults, require_size
from attnscope.families.protocols import Denoiser, Pipeline
from attnscope.masks import MaskRule
from attnscope.masks.files import save_interventions
from attnscope.ranges import write_slice
from attnscope.storage.disk import explain, write_durably
from attnscope.training.batches import Assembly
from attnscope.training.cache import Cache, Encoded, data_digest
from attnscope.training.clips import Data, DrawnFilms, FilmSize, read_clips
from attnscope.training.denoisers import Trainable, find_trainable
from attnscope.training.estimates import Estimate, estimate
from attnscope.training.forward import training_forward
from attnscope.training.journal import LOG, read_lines
from attnscope.training.loop import Loop, OnStep
from attnscope.training.objectives import objective_of
from attnscope.training.recipe import Recipe, read_toml, write_toml
from attnscope.training.rules import Rule, rule_for
from attnscope.training.watching import AttentionRecord, choose_validation, steps_to_record
from attnscope.training.weights import prepare_weights, save_trained

RUN_FILE = "run.toml"
INTERVENTIONS = "interventions.json"
_LAST = 20


@dataclass(frozen=True)
class Training:
    """What a training run left: the folder, the weights, the mean of the last 20 losses, what was left out and why.

    ``weights`` is what ``pipe.load_lora_weights`` (LoRA) or ``from_pretrained`` (whole models) takes; ``estimate`` is
    there instead of everything else where only the cost was asked for.
    """

    folder: Path
    weights: Path | None
    num_steps: int
    loss: float | None
    num_films: int
    left_out: tuple[str, ...]
    estimate: Estimate | None = None


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
    validation: Arguments | None = None,
    validation_films: int = 2,
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
    validation : mapping, optional
        How validation films are made (``num_inference_steps``, ``guidance_scale``, ...), see ``validate_every``.
    validation_films : int
        How many films of the data, those with cuts first, are made again.
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
    ...     done = finetune(tiny("wan"), DrawnFilms(2, (2,), num_frames=17), out=out, rule="same_shot", steps=1,
    ...                     rank=2, height=32, width=32, num_frames=17)
    ...     done.num_steps, done.weights.name
    (1, 'pytorch_lora_weights.safetensors')
    """
    recipe = _recipe(recipe, changes)
    model = find_trainable(pipe, recipe.denoiser)
    run, size = Path(out), _film_size(model, recipe)
    clips, left_out = read_clips(data)
    kept = Cache(Path(cache or run / "cache"), model, size)
    films, refused = kept.films(clips)
    left_out += refused
    if not films:
        raise InputError(
            expected="at least one film that can be used",
            got=f"{len(left_out)} that cannot, the first because: {left_out[0] if left_out else 'there is none'}",
            where="as data to train on",
            remedy="correct the manifest",
        )
    objective = objective_of(pipe, recipe, by_flow=model.by_flow, bounds=model.bounds)
    assembly = Assembly(model, films, kept.text, objective, recipe)
    with _prepare_model(model, recipe, initial, keep=not dry_run):
        with training_forward(model, objective, rule, layers=layers, text_layers=text_layers) as forward:
            if dry_run:
                cost = estimate(forward, assembly, recipe)
                return Training(run, None, 0, None, len(films), tuple(left_out), cost)
            forward.require(film.plan for film in films)
            shapes = [tuple(film.tensors()["latents"].shape) for film in films]
            loop = Loop(run, recipe, forward, assembly, shapes, tensorboard=tensorboard, on_step=on_step)
            # nothing is written before everything that was given has been found usable
            asked = _Asked(model_name, rule, layers, text_layers, data, initial, tuple(left_out))
            _settle(run, model, recipe, films, asked)
            record = (
                AttentionRecord(run, forward, assembly, films, recipe) if steps_to_record(recipe) else None
            )
            chosen = choose_validation(films, validation_films, dict(validation or {}))
            loop.train(record, lambda step: chosen.make(run, step, forward, rule, layers))
        loop.adopt_average()
        model.denoiser.eval()
        weights = save_trained(model, recipe, run)
    losses = [line["loss"] for line in read_lines(run / LOG)[-_LAST:]]
    return Training(run, weights, recipe.steps, sum(losses) / len(losses), len(films), tuple(left_out))


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


@dataclass(frozen=True)
class _Asked:
    """What a run was asked to do, beside its recipe."""

    model_name: str
    rule: Rule
    layers: Range | None
    text_layers: Range
    data: Data
    initial: str | Path | None
    left_out: tuple[str, ...]


def _settle(run: Path, model: Trainable, recipe: Recipe, films: Sequence[Encoded], asked: _Asked) -> None:
    """Write down what the run is, or make sure that it is the one that began here.

    Raises
    ------
    InputError
        Another run began here.
    """
    path = run / RUN_FILE
    with explain(run):
        run.mkdir(parents=True, exist_ok=True)
    tables = _tables(run, model, recipe, films, asked)
    if path.exists():
        before = read_toml(path)
        for part, told in (("recipe", ()), ("run", ()), ("data", ("source", "left_out"))):
            for name in {**before.get(part, {}), **tables[part]}.keys() - told:
                was, now = before.get(part, {}).get(name), _as_read(tables[part].get(name))
                if was != now:
                    raise InputError(
                        expected=f"the run that began here, with {name} {quote(was)}",
                        got=quote(now),
                        where=f"in {path}",
                        remedy="go on with its own settings, or give another folder",
                    )
        return
    write_durably(path, write_toml(tables).encode())


def _as_read(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _tables(
    run: Path, model: Trainable, recipe: Recipe, films: Sequence[Encoded], asked: _Asked
) -> dict[str, Document]:
    pipe = model.pipe
    return {
        "run": {
            "model": asked.model_name or str(pipe.config.get("_name_or_path") or ""),
            "pipeline": type(pipe).__name__,
            "rule": _rule_words(run, asked.rule, films[0]),
            "layers": _words(asked.layers),
            "text_layers": _words(asked.text_layers),
            "initial": "" if asked.initial is None else str(asked.initial),
        },
        "recipe": recipe.table(),
        "data": {
            "source": _data_words(asked.data),
            "digest": data_digest(films),
            "num_films": len(films),
            "left_out": asked.left_out,
        },
        "versions": _versions(),
    }


def _rule_words(run: Path, rule: Rule, film: Encoded) -> str:
    """The text of a rule; what was given as objects is written to a file beside."""
    if rule is None or isinstance(rule, str):
        return rule or ""
    path = run / INTERVENTIONS
    found = rule_for(rule, film.plan)
    if found and not path.exists():
        save_interventions(path, found)
    return (
        INTERVENTIONS if not callable(rule) or isinstance(rule, MaskRule) else f"a function: {INTERVENTIONS}"
    )


def _words(chosen: Range | None) -> str:
    if isinstance(chosen, slice):
        return write_slice(chosen, name="layers")
    return (
        "" if chosen is None else chosen if isinstance(chosen, str) else ",".join(map(str, _as_list(chosen)))
    )


def _as_list(chosen: int | Iterable[int]) -> list[int]:
    return [chosen] if isinstance(chosen, int) else list(chosen)


def _data_words(data: Data) -> str:
    if isinstance(data, str | Path):
        return str(data)
    return repr(data) if isinstance(data, DrawnFilms) else f"{len(data)} clips"


def _versions() -> dict[str, str]:
    names = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy")
    found = {name: metadata.version(name) for name in names}
    return {"attnscope": __version__, "python": platform.python_version(), **found}
