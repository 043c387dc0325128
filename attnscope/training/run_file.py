"""The file that says what a training run is: written beside its weights, read to go on with it or to begin alike."""

from __future__ import annotations

import ast
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path

from attnscope import __version__
from attnscope._types import Document, Range
from attnscope.errors import InputError, quote, suggest
from attnscope.masks import MaskRule
from attnscope.masks.files import save_interventions
from attnscope.models.finding import name_of_loaded
from attnscope.ranges import write_slice
from attnscope.storage.disk import explain, write_durably
from attnscope.training.cache import Encoded, data_digest
from attnscope.training.clips import Data, DrawnFilms
from attnscope.training.denoisers import Trainable
from attnscope.training.recipe import Recipe, read_toml, write_toml
from attnscope.training.rules import Rule, rule_for

RUN_FILE = "run.toml"
INTERVENTIONS = "interventions.json"
_A_FUNCTION, _CLIPS = "a function", " clips"
_KNOWN = {
    "run": ("model", "pipeline", "rule", "layers", "text_layers", "initial"),
    "recipe": tuple(each.name for each in fields(Recipe)),
    "data": ("source", "digest", "num_films", "left_out"),
    "versions": None,
}
"""The tables of the file and their keys; of some, any."""


@dataclass(frozen=True)
class Asked:
    """What a run was asked to do, beside its recipe."""

    model_name: str
    rule: Rule
    layers: Range | None
    text_layers: Range
    data: Data
    initial: str | Path | None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunFile:
    """What a file asks a run to do; what it leaves open is empty, or None.

    ``rule`` is text, or the path of a file of interventions; ``data`` a folder or a manifest, or films to be drawn.
    """

    recipe: Document
    model: str = ""
    rule: str = ""
    layers: str = ""
    text_layers: str = ""
    initial: str = ""
    data: str | DrawnFilms = ""


def read_run_file(path: Path) -> RunFile:
    """Read a file that a run has left, or one that was written by hand with some of its tables.

    Raises
    ------
    InputError
        It is no TOML, has a table or a key that no run has, or says what only Python can say.
    """
    tables = read_toml(path)
    for name, table in tables.items():
        _require_known(name, _KNOWN, path, "a table")
        if not isinstance(table, dict):
            _refuse(f"a table [{name}]", quote(table), path, f"write [{name}] and its settings below")
        keys = _KNOWN[name]
        for key in table if keys is not None else ():
            _require_known(key, keys or (), path, f"a setting of [{name}]")
    run, source = tables.get("run", {}), tables.get("data", {}).get("source", "")
    for name, value in {**run, "source": source}.items():
        if not isinstance(value, str):
            _refuse(f"{name} as text", quote(value), path, f'write {name} = "..."')
    rule = run.get("rule", "")
    if rule.startswith(_A_FUNCTION):
        _refuse("a rule that a file can hold", "one made in Python", path, "call finetune as it was called")
    if rule.endswith(".json"):
        rule = str(path.parent / rule)
    words = {name: run.get(name, "") for name in ("model", "layers", "text_layers", "initial")}
    films = _read_drawn(source, path) if source.startswith(f"{DrawnFilms.__name__}(") else source
    if source.endswith(_CLIPS):
        films = ""  # a list in Python, which no file can hold
    return RunFile(tables.get("recipe", {}), rule=rule, data=films, **words)


def _require_known(name: str, known: Iterable[str], path: Path, what: str) -> None:
    if name not in known:
        _refuse(f"{what} out of {', '.join(known)}", quote(name), path, suggest(name, known, "leave it out"))


def _read_drawn(source: str, path: Path) -> DrawnFilms:
    """Drawn films as they were written down; the text is parsed, never run."""
    try:
        call = ast.parse(source, mode="eval").body
        assert isinstance(call, ast.Call)
        return DrawnFilms(**{str(each.arg): ast.literal_eval(each.value) for each in call.keywords})
    except (SyntaxError, ValueError, TypeError, AssertionError) as error:
        raise InputError(
            expected="films to draw",
            got=quote(source),
            where=f"as source in {path}",
            remedy="restore the file",
        ) from error


def _refuse(expected: str, got: str, path: Path, remedy: str) -> None:
    raise InputError(expected=expected, got=got, where=f"in {path}", remedy=remedy)


def settle(run: Path, model: Trainable, recipe: Recipe, films: Sequence[Encoded], asked: Asked) -> None:
    """Write down what the run is, or make sure that it is the one that began here.

    Raises
    ------
    InputError
        Another run began here.
    """
    with explain(run):
        run.mkdir(parents=True, exist_ok=True)
    rule = _rule_words(run, asked.rule, films[0])
    data = {
        "source": _data_words(asked.data),
        "digest": data_digest(films),
        "num_films": len(films),
        "left_out": asked.left_out,
    }
    tables = {**_tables(model, recipe, asked, rule), "data": data, "versions": _versions()}
    path = run / RUN_FILE
    if path.exists():
        _require_same(path, tables)
    else:
        write_durably(path, write_toml(tables).encode())


def require_same(run: Path, model: Trainable, recipe: Recipe, asked: Asked) -> None:
    """Refuse a folder where a run with other settings began; nothing is written, and the films are not compared.

    Raises
    ------
    InputError
        Another run began here.
    """
    path = run / RUN_FILE
    if path.exists():
        is_text = asked.rule is None or isinstance(asked.rule, str)
        before = read_toml(path).get("run", {}).get("rule", "")
        _require_same(path, _tables(model, recipe, asked, (asked.rule or "") if is_text else before))


def _require_same(path: Path, tables: dict[str, Document]) -> None:
    before = read_toml(path)
    for part, told in (("recipe", ()), ("run", ()), ("data", ("source", "left_out"))):
        for name in {**before.get(part, {}), **tables[part]}.keys() - told if part in tables else ():
            was, now = before.get(part, {}).get(name), _as_read(tables[part].get(name))
            if was != now:
                raise InputError(
                    expected=f"the run that began here, with {name} {quote(was)}",
                    got=quote(now),
                    where=f"in {path}",
                    remedy="go on with its own settings, or give another folder",
                )


def _as_read(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _tables(model: Trainable, recipe: Recipe, asked: Asked, rule: object) -> dict[str, Document]:
    pipe = model.pipe
    return {
        "run": {
            "model": _place(asked.model_name or name_of_loaded(pipe, model.denoiser)),
            "pipeline": type(pipe).__name__,
            "rule": rule,
            "layers": _words(asked.layers),
            "text_layers": _words(asked.text_layers),
            "initial": "" if asked.initial is None else _place(str(asked.initial)),
        },
        "recipe": recipe.table(),
    }


def _place(name: str) -> str:
    """A path so that it is found from anywhere; the name of a model as it is."""
    return str(Path(name).resolve()) if name and Path(name).exists() else name


def _rule_words(run: Path, rule: Rule, film: Encoded) -> str:
    """The text of a rule; what was given as objects is written to a file beside."""
    if rule is None or isinstance(rule, str):
        return rule or ""
    path = run / INTERVENTIONS
    found = rule_for(rule, film.plan)
    if found and not path.exists():
        save_interventions(path, found)
    is_function = callable(rule) and not isinstance(rule, MaskRule)
    return f"{_A_FUNCTION}: {INTERVENTIONS}" if is_function else INTERVENTIONS


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
        return _place(str(data))
    return repr(data) if isinstance(data, DrawnFilms) else f"{len(data)}{_CLIPS}"


def _versions() -> dict[str, str]:
    names = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy")
    found = {name: metadata.version(name) for name in names}
    return {"attnscope": __version__, "python": platform.python_version(), **found}
