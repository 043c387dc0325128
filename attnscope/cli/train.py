"""`attnscope train`: fine-tune a model on films with cuts, under the mask; go on with a run that was stopped."""

from __future__ import annotations

import ast
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
from attnscope.training.recipe import Recipe, read_toml

if TYPE_CHECKING:
    from attnscope.training.clips import Data, DrawnFilms
    from attnscope.training.rules import Rule

Job = Literal["lora", "full", "resume"]


def train_command(
    job: Job,
    folder: Path | None = None,
    /,
    *,
    model: str = "wan-mini",
    data: Path | None = None,
    drawn: Count | None = None,
    drawn_shots: str = "1,2,3",
    world: str = DEFAULT_WORLD,
    rule: str | None = None,
    layers: str | None = None,
    text_layers: str = "all",
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
        With resume: the run to go on with.
    model
        An embedded model, a diffusers folder, or owner/name on the hub.
    data
        A folder of clips with a manifest.csv: file, shots, caption, captions (one a shot, with | between).
    drawn
        So many films are drawn from seeds instead, with cuts that are known.
    drawn_shots
        The numbers of shots of drawn films.
    world
        What drawn films are made of: textured or plain.
    rule
        What holds shots apart: a preset's name, a rule ("same_shot | first_frame"), or a .json file of interventions.
    layers
        Where a bare rule or preset acts, "7-28".
    text_layers
        Layers where each shot reads its own caption.
    initial
        Adapters to begin with, as diffusers or peft saved them.
    cache
        Where encoded films are kept; the run's own folder otherwise.
    config
        A TOML file with a table [recipe].
    set
        One number of the recipe, "rank=16"; may be given several times.
    steps
        Updates of the weights.
    seed
        Everything that is drawn follows from it.
    out
        The folder of the run.
    dry_run
        Say what the run would cost, and do no more.
    tensorboard
        Write curves for TensorBoard, too.
    """
    if job == "resume":
        asked = _read_stopped_run(folder)
    else:
        if folder is not None:
            _refuse("a folder with resume only", str(folder), "as FOLDER", "write --out FOLDER")
        if (data is None) == (drawn is None):
            _refuse(
                "one of --data and --drawn", "neither" if data is None else "both", "to train on", "give one"
            )
        if out is None:
            _refuse("a folder for the run", "none", "as --out", "write --out runs/first")
        table = _recipe_table(config, set or [])
        if table.setdefault("method", job) != job:
            _refuse(
                f"method {job}, as the command says", quote(table["method"]), "in the recipe", "leave it out"
            )
        chosen = {"steps": steps, "seed": seed}
        table |= {name: value for name, value in chosen.items() if value is not None}
        asked = {
            "model": model,
            "data": str(data) if data is not None else "",
            "out": out,
            "rule": rule,
            "layers": layers,
            "text_layers": text_layers,
            "initial": initial,
            "recipe": Recipe.from_table(table, "the recipe"),
        }
        if drawn is not None:
            asked["drawn"] = {"num_clips": drawn, "shots": _numbers(drawn_shots), "options": {"world": world}}
    return _run(asked, cache=cache, dry_run=dry_run, tensorboard=tensorboard, as_json=json)


def _run(asked: Document, *, cache: Path | None, dry_run: bool, tensorboard: bool, as_json: bool) -> int:
    from attnscope.models import load
    from attnscope.models.skeleton import require_layers
    from attnscope.training.clips import DrawnFilms, find_manifest
    from attnscope.training.finetune import finetune
    from attnscope.training.loop import device_of_rank

    recipe: Recipe = asked["recipe"]
    rule = _rule(asked["rule"])
    if "drawn" not in asked:
        find_manifest(asked["data"])
    require_layers(asked["model"], asked["layers"] or "all")
    require_layers(asked["model"], asked["text_layers"], what="text layers")
    pipe = load(asked["model"], device=device_of_rank())
    pipe.set_progress_bar_config(disable=True)
    data: Data = asked["data"]
    if "drawn" in asked:
        frames: Document = {"num_frames": recipe.num_frames} if recipe.num_frames else {}
        data = (
            asked["drawn"]
            if isinstance(asked["drawn"], DrawnFilms)
            else DrawnFilms(**asked["drawn"], **frames)
        )
    done = finetune(
        pipe,
        data,
        out=asked["out"],
        rule=rule,
        layers=asked["layers"],
        text_layers=asked["text_layers"],
        recipe=recipe,
        initial=asked["initial"],
        cache=cache,
        dry_run=dry_run,
        tensorboard=tensorboard,
        model_name=asked["model"],
    )
    for reason in done.left_out:
        note(f"left out: {reason}")
    if as_json:
        print_json(
            {
                "folder": str(done.folder),
                "weights": None if done.weights is None else str(done.weights),
                "steps": done.num_steps,
                "loss": done.loss,
                "films": done.num_films,
                "left_out": list(done.left_out),
                "estimate": None if done.estimate is None else vars(done.estimate),
            }
        )
    elif done.estimate is not None:
        print(f"{done.num_films} films, {recipe.steps} steps: {done.estimate.describe()}")
    else:
        print(f"{done.num_films} films, {done.num_steps} steps, loss {done.loss:.4f}: {done.weights}")
    return 0


def _rule(text: str | None) -> Rule:
    """A rule as text that can be read, or what a file of interventions holds."""
    if not text:
        return None
    if text.endswith(".json"):
        return load_interventions(text)
    if text not in list_presets():
        # read once for many shots, before the model is loaded: a slip in the text costs no minute
        parse_rule(text, ShotPlan.from_latent_frames(range(1, 64), num_frames_latent=64, fps=16))
    return text


def _read_stopped_run(folder: Path | None) -> Document:
    """What a run that was stopped had been asked to do."""
    if folder is None:
        _refuse("the folder of a run", "none", "with resume", "write attnscope train resume FOLDER")
    path = folder / "run.toml"
    tables = read_toml(path)
    missing = [name for name in ("run", "recipe", "data") if not isinstance(tables.get(name), dict)]
    if missing:
        _refuse("tables run, recipe and data", f"none called {missing[0]}", f"in {path}", "restore the file")
    run, source = tables["run"], str(tables["data"].get("source", ""))
    if not run.get("model") or str(run.get("rule", "")).startswith("a function"):
        _refuse(
            "a run that was begun on the command line",
            "one of a pipeline or a rule made in Python",
            f"in {path}",
            "call finetune with the same arguments again",
        )
    rule = run["rule"]
    asked = {
        "model": run["model"],
        "data": source,
        "out": folder,
        "rule": str(folder / rule) if rule.endswith(".json") else rule,
        "layers": run["layers"] or None,
        "text_layers": run["text_layers"],
        "initial": run["initial"] or None,
        "recipe": Recipe.from_table(tables["recipe"], str(path)),
    }
    if source.startswith("DrawnFilms("):
        asked["drawn"] = _read_drawn_films(source, path)
    return asked


def _read_drawn_films(source: str, path: Path) -> DrawnFilms:
    """Drawn films as they were written down; the text is parsed, never run."""
    from attnscope.training.clips import DrawnFilms

    try:
        call = ast.parse(source, mode="eval").body
        assert isinstance(call, ast.Call)
        return DrawnFilms(**{str(each.arg): ast.literal_eval(each.value) for each in call.keywords})
    except (SyntaxError, ValueError, TypeError, AssertionError):
        _refuse("films to draw", quote(source), f"as source in {path}", "restore the file")


def _recipe_table(config: Path | None, settings: list[str]) -> Document:
    table: Document = {} if config is None else dict(read_toml(config).get("recipe", {}))
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            _refuse("a number of the recipe as name=value", quote(setting), "as --set", "write --set rank=16")
        table[name.strip()] = _value(text.strip())
    return table


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
