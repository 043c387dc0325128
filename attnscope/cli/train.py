"""`attnscope train`: fine-tune a model on films with cuts, under the mask; go on with a run that was stopped."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

from cyclopts import Parameter

from attnscope._types import Document
from attnscope.cli._numbers import Count, Seed
from attnscope.cli._options import AsJson, OutIfAny
from attnscope.cli._output import note, print_json
from attnscope.dataset import DEFAULT_WORLD
from attnscope.errors import InputError, quote
from attnscope.masks import list_presets, load_interventions, parse_rule
from attnscope.shots import ShotPlan
from attnscope.training.recipe import Recipe

if TYPE_CHECKING:
    from attnscope.training.clips import DrawnFilms
    from attnscope.training.rules import Rule
    from attnscope.training.run_file import RunFile

Job = Literal["lora", "full", "resume"]


def train_command(
    job: Job,
    folder: Path | None = None,
    /,
    *,
    model: str | None = None,
    data: Path | None = None,
    drawn: Count | None = None,
    drawn_shots: str | None = None,
    world: str | None = None,
    rule: str | None = None,
    layers: str | None = None,
    text_layers: str | None = None,
    initial: Path | None = None,
    cache: Path | None = None,
    config: Path | None = None,
    set: Annotated[list[str] | None, Parameter(negative="")] = None,
    steps: Count | None = None,
    seed: Seed | None = None,
    out: OutIfAny = None,
    dry_run: bool = False,
    tensorboard: bool = False,
    json: AsJson = False,
) -> int:
    """Train adapters (lora) or all weights (full) of a model on films with cuts, or go on with a run (resume FOLDER).

    Each film is under the rule for its own shots, and each shot reads its own caption. Everything goes to the folder
    --out: run.toml with every number, checkpoints, log.jsonl, films, attention over training steps, and the weights,
    which plain diffusers loads: pipe.load_lora_weights(FOLDER).

    Parameters
    ----------
    job
        lora, full, or resume.
    folder
        With resume: the run to go on with, by its own settings.
    model
        An embedded model, a diffusers folder, or owner/name on the hub; wan-mini by default.
    data
        A folder of clips with a manifest.csv: file, shots, caption, captions (one a shot, with | between).
    drawn
        Draw so many films instead, with cuts that are known.
    drawn_shots
        Numbers of shots of drawn films; 1,2,3 by default.
    world
        What drawn films show: plain (by default) or textured.
    rule
        What each frame may see: a preset's name, a rule ("same_shot | first_frame"), or a .json file of interventions.
    layers
        Where a bare rule or preset acts, "7-28".
    text_layers
        Layers where each shot reads its own caption; all by default.
    initial
        Adapters to begin with, as diffusers or peft saved them.
    cache
        Where encoded films are kept; the run's own folder otherwise.
    config
        A TOML file with a table [recipe], or the run.toml of another run: what is given here goes before it.
    set
        One setting of the recipe, "rank=16"; may be given several times. docs/howto/fine-tuning.md lists them.
    steps
        Updates of the weights; 1000 by default.
    seed
        Everything that is drawn follows from it.
    out
        The folder of the run.
    dry_run
        Say what the run would cost, and write nothing.
    tensorboard
        Write curves for TensorBoard, too.
    """
    if job == "resume":
        options = (model, data, drawn, drawn_shots, world, rule, layers, text_layers, initial, config, set)
        if any(each is not None for each in (*options, steps, seed, out)):
            _refuse(
                "--cache, --tensorboard, --dry-run and --json alone",
                "settings of a run",
                "with resume",
                "train further with lora, --config FOLDER/run.toml, --initial FOLDER and a new --out",
            )
        asked = _read_stopped_run(folder)
    else:
        if folder is not None:
            _refuse("a folder with resume only", str(folder), "as FOLDER", _explain_word(str(folder)))
        if data is None and drawn is None and config is None:
            _refuse("one of --data and --drawn", "neither", "to train on", "write --drawn 64")
        if out is None and not dry_run:
            _refuse("a folder for the run", "none", "as --out", "write --out runs/first")
        from attnscope.training.run_file import RunFile, read_run_file

        begun = RunFile({}) if config is None else read_run_file(config)
        asked = _Asked(
            model=model or begun.model or "wan-mini",
            data=_films(data, drawn, drawn_shots, world, begun),
            out=out or Path("run"),
            rule=begun.rule if rule is None else rule,
            layers=layers or begun.layers or None,
            text_layers=text_layers or begun.text_layers or "all",
            initial=str(initial or begun.initial) or None,
            recipe=_read_recipe(job, begun.recipe, set or [], config, steps=steps, seed=seed),
        )
    return _run(asked, cache=cache, dry_run=dry_run, tensorboard=tensorboard, as_json=json)


@dataclass(frozen=True)
class _Asked:
    """What a run is asked to do."""

    model: str
    data: str | DrawnFilms
    out: Path
    rule: str
    layers: str | None
    text_layers: str
    initial: str | None
    recipe: Recipe


def _run(asked: _Asked, *, cache: Path | None, dry_run: bool, tensorboard: bool, as_json: bool) -> int:
    from attnscope.models import load
    from attnscope.models.skeleton import require_layers
    from attnscope.training.clips import find_manifest
    from attnscope.training.finetune import finetune
    from attnscope.training.loop import device_of_rank

    recipe = asked.recipe
    rule = _rule(asked.rule)
    if isinstance(asked.data, str):
        find_manifest(asked.data)
    require_layers(asked.model, asked.layers or "all")
    require_layers(asked.model, asked.text_layers, what="text layers")
    require_layers(asked.model, recipe.record_layers, what="record layers")
    pipe = load(asked.model, device=device_of_rank())
    pipe.set_progress_bar_config(disable=True)
    done = finetune(
        pipe,
        asked.data,
        out=asked.out,
        rule=rule,
        layers=asked.layers,
        text_layers=asked.text_layers,
        recipe=recipe,
        initial=asked.initial,
        cache=cache,
        dry_run=dry_run,
        tensorboard=tensorboard,
        model_name=asked.model,
    )
    for reason in done.left_out:
        note(f"left out: {reason}")
    if done.shortened:
        note(f"{len(done.shortened)} films lose shots: {'; '.join(done.shortened[:_MOST_NAMED])}")
    if as_json:
        print_json(
            {
                "folder": str(done.folder),
                "weights": None if done.weights is None else str(done.weights),
                "steps": done.num_steps,
                "loss": done.loss,
                "films": done.num_films,
                "left_out": list(done.left_out),
                "shortened": list(done.shortened),
                "estimate": None if done.estimate is None else vars(done.estimate),
            }
        )
    elif done.estimate is not None:
        print(f"{done.num_films} films, {recipe.steps} steps: {done.estimate.describe()}")
    else:
        last = f"mean loss of the last steps {done.loss:.4f}"
        print(f"{done.num_films} films, {done.num_steps} steps, {last}: {done.weights}")
    return 0


def _films(
    data: Path | None,
    drawn: int | None,
    shots: str | None,
    world: str | None,
    begun: RunFile,
) -> str | DrawnFilms:
    """The films that were asked for here, else those of the run that is begun alike."""
    from attnscope.training.clips import DrawnFilms

    if data is not None and drawn is not None:
        _refuse("one of --data and --drawn", "both", "to train on", "give one")
    if drawn is None and (shots is not None or world is not None):
        _refuse("--drawn beside them", "none", "with --drawn-shots or --world", "write --drawn 64")
    if data is not None:
        return str(data)
    if drawn is None:
        if not begun.data:
            _refuse("one of --data and --drawn", "neither", "to train on", "give one")
        return begun.data
    options = {"world": world or DEFAULT_WORLD}
    return DrawnFilms(drawn, _numbers("1,2,3" if shots is None else shots), options=options)


def _rule(text: str) -> Rule:
    """A rule as text that can be read, or what a file of interventions holds."""
    if not text:
        return None
    if text.endswith(".json"):
        return load_interventions(text)
    if text not in list_presets():
        # read once for many shots, before the model is loaded: a slip in the text costs no minute
        parse_rule(text, ShotPlan.from_latent_frames(range(1, 64), num_frames_latent=64, fps=16))
    return text


def _read_stopped_run(folder: Path | None) -> _Asked:
    """What a run that was stopped had been asked to do."""
    from attnscope.training.run_file import RUN_FILE, read_run_file

    if folder is None:
        _refuse("the folder of a run", "none", "with resume", "write attnscope train resume FOLDER")
    path = folder / RUN_FILE
    if not path.is_file():
        _refuse("the folder of a run", f"one without {RUN_FILE}", f"at {folder}", "begin one with train lora")
    run = read_run_file(path)
    missing = [name for name in ("recipe", "model", "data") if not getattr(run, name)]
    if missing:
        _refuse(
            "a run that was begun on the command line",
            f"one without {missing[0]}",
            f"in {path}",
            "call finetune with the same arguments again, or restore the file",
        )
    return _Asked(
        model=run.model,
        data=run.data,
        out=folder,
        rule=run.rule,
        layers=run.layers or None,
        text_layers=run.text_layers or "all",
        initial=run.initial or None,
        recipe=Recipe.from_table(run.recipe, str(path)),
    )


def _read_recipe(
    job: str, begun: Document, given: list[str], config: Path | None, **chosen: int | None
) -> Recipe:
    """The recipe of the file, with what is given here in the place of it."""
    told = _settings(given)
    if job == "full" and (idle := sorted(_OF_ADAPTERS & told.keys())):
        _refuse(f"{idle[0]} with lora", "full", "as what to train", "leave it out, or write train lora")
    table = begun | told
    if table.setdefault("method", job) != job:
        _refuse(f"method {job}, as the command says", quote(table["method"]), "in the recipe", "leave it out")
    table |= {name: value for name, value in chosen.items() if value is not None}
    return Recipe.from_table(table, "the recipe" if config is None else f"the recipe of {config}")


def _explain_word(word: str) -> str:
    """Say what was probably meant by a word where the folder of a run to go on with stands."""
    from attnscope.models.finding import embedded_card

    if embedded_card(word):
        return f"write --model {word}"
    return f"repeat --set, as in --set {word}" if "=" in word else "write --out FOLDER"


def _settings(given: list[str]) -> Document:
    table: Document = {}
    for setting in given:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not equals:
            _refuse("a setting as name=value", quote(setting), "as --set", "write --set rank=16")
        table[name] = text if name in _TEXTS else _value(text)
    return table


_OF_ADAPTERS = {"rank", "alpha", "lora_dropout", "targets"}
_MOST_NAMED = 5
_TEXTS = [each.name for each in fields(Recipe) if each.type == "str"]
"""Settings that are text whatever they look like: layers "7" or "7-8,25"."""


def _value(text: str) -> str | bool | int | float | list[str]:
    """A number, true or false, several words with commas between, or a word."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return [part.strip() for part in text.split(",")] if "," in text else text


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and 1 <= int(part) <= 8 for part in parts):
        _refuse("numbers of shots from 1 to 8", quote(text), "as --drawn-shots", "write 1,2,3")
    return tuple(map(int, parts))


def _refuse(expected: str, got: str, where: str, remedy: str) -> NoReturn:
    raise InputError(expected=expected, got=got, where=where, remedy=remedy)
