"""One word for one thing: the names that the package defines are held against the glossary in DESIGN.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

import attnscope

ROOT = Path(__file__).parents[1]

# a word that may not be part of a name, and what to say instead
INSTEAD = {
    "util": "a noun for what the module holds",
    "utils": "a noun for what the module holds",
    "helper": "a noun for what it is",
    "helpers": "a noun for what they are",
    "manager": "a noun for what it is",
    "misc": "a noun for what the module holds",
    "common": "a noun for what the module holds",
    "scene": "shot (a scene is what is filmed, with all its shots, and belongs to attnscope.dataset)",
    "scenes": "shots (a scene is what is filmed, with all its shots, and belongs to attnscope.dataset)",
    "timestep": "step (timestep is the scheduler's t and stands alone)",
    "timesteps": "steps (timesteps are the scheduler's t and stand alone)",
    "nframes": "num_frames",
    "nlayers": "num_layers",
    "reel": "video",
    "watcher": "detector",
    "traces": "per_frame",
    "eye": "quality",
    "idx": "the thing's own name, or index",
}
# what is said in one room only; elsewhere the word has a meaning of its own
INSTEAD_IN = {
    "attnscope/sweeping/": {
        "order": "request",
        "studio": "maker",
        "run": "job",
        "unit": "key",
        "units": "keys",
        "cell": "variant (`cell` is the dim of the dataset)",
        "cells": "variants (`cell` is the dim of the dataset)",
    },
}
# whole names that say something wrong although each word is right
WRONG_NAMES = {
    r"Wanted|wanted_.*|.*_wanted": "request",
    r"(do|get)_.*": "the verb or the noun itself",
    r"n_.*|.*_count|number_of_.*": "num_...",
    r"layer_(index|number|id)": "layer (a label from 1) or module (a path)",
    r"time|(start|stop|end|cut)s?_time|seconds|secs": "a name that ends in its unit: ..._s, ..._frame",
    r"(start|first)_(end|last)": "start/stop for frames, first/last for layers",
}
# what was said once for something that has a name in the field, where attention is looked into: local names count, too
ROOMS_THAT_LISTEN = ("hooks", "intervening", "probing", "testing", "training")
FORMER_WORDS = {
    "hand": "listener",
    "hands": "listeners",
    "awake": "active",
    "heard": "has_listeners",
    "hear": "listen, note or measure",
    "hearing": "in_branch",
    "tell": "notify, or broadcast",
    "owner": "attachment",
    "window": "attachment",
}


class Definition(NamedTuple):
    name: str
    where: str


def words(name: str) -> list[str]:
    """The words of a name: snake_case and CamelCase taken apart."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def defined_names(source: str, where: str) -> list[Definition]:
    """Public functions, classes, methods, parameters and fields of a module. What is private or local is left out."""
    found: list[Definition] = []

    def visit(body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if node.name.startswith("_") and node.name != "__init__":
                    continue
                found.append(Definition(node.name, f"{where}, line {node.lineno}"))
                if isinstance(node, ast.ClassDef):
                    visit(node.body)
                else:
                    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                    found.extend(Definition(each.arg, f"{where}, line {each.lineno}") for each in arguments)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.append(Definition(node.target.id, f"{where}, line {node.lineno}"))

    visit(ast.parse(source).body)
    return [each for each in found if not each.name.startswith("_")]


def all_names(source: str, where: str) -> list[Definition]:
    """Whatever a module gives a name to: functions, classes, arguments, variables and attributes, local ones too."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                found.append(Definition(name, f"{where}, line {node.lineno}"))
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                found.append(Definition(name, f"{where}, line {node.lineno}"))
    return found


def former_words(source: str, where: str) -> list[str]:
    return [
        f"{each.where}: {each.name}; say {FORMER_WORDS[word]}"
        for each in all_names(source, where)
        for word in words(each.name)
        if word in FORMER_WORDS
    ]


def complaint(definition: Definition) -> str | None:
    for pattern, instead in WRONG_NAMES.items():
        if re.fullmatch(pattern, definition.name):
            return f"{definition.where}: {definition.name}; say {instead}"
    rooms = [instead for room, instead in INSTEAD_IN.items() if definition.where.startswith(room)]
    for word in words(definition.name):
        for instead in rooms:
            if word in instead:
                return f"{definition.where}: {definition.name}; say {instead[word]}"
        if word in ("timestep", "timesteps") and definition.name.lower() == word:
            continue
        if word in ("scene", "scenes") and "dataset" in definition.where:
            continue
        if word in INSTEAD:
            return f"{definition.where}: {definition.name}; say {INSTEAD[word]}"
    return None


def package_names() -> list[Definition]:
    found = []
    for root, package in ((ROOT, "attnscope"), (ROOT / "kernels", "attnscope_kernels")):
        for path in sorted((root / package).rglob("*.py")):
            where = path.relative_to(root).as_posix()
            found.append(Definition(path.stem.strip("_"), where))
            found += defined_names(path.read_text(encoding="utf-8"), where)
    return found


def test_names_are_in_the_glossary() -> None:
    assert sorted({message for each in package_names() if (message := complaint(each))}) == []


def test_the_words_that_must_be_there_are_there() -> None:
    names = {each.name for each in package_names()}
    assert {"ShotPlan", "FrameLayout", "shots", "layers", "num_frames", "timesteps"} <= names


def test_rooms_that_listen_have_the_words_of_the_field() -> None:
    paths = [path for room in ROOMS_THAT_LISTEN for path in sorted((ROOT / "attnscope" / room).rglob("*.py"))]
    assert len(paths) > 30
    found = [line for path in paths for line in former_words(path.read_text("utf-8"), path.name)]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    raised_hands = set()",
        "class Tap:\n    def __init__(self, owner): ...",
        "class Point:\n    def f(self):\n        self._is_awake = True",
        "with attach(pipe) as window: ...",
    ],
)
def test_a_former_word_is_seen_wherever_it_stands(source: str) -> None:
    assert former_words(source, "hooks/tap.py")


def test_bases() -> None:
    """Layers are labels from 1; steps, heads and frames count from 0; both are so in the data, not only on paper."""
    plan = attnscope.ShotPlan.from_frames([13], num_frames=25, fps=16).to_latent(4)
    attention = attnscope.synthetic.block_attention(plan, num_layers=3, num_heads=2, num_steps=2)
    assert list(attention.indexes["layer"]) == [1, 2, 3]
    assert list(attention.indexes["step"]) == [0, 1]
    assert list(attention.indexes["head"]) == [0, 1]
    assert list(attention.indexes["query_frame"]) == list(attention.indexes["key_frame"]) == list(range(7))


@pytest.mark.parametrize(
    "source",
    [
        "def detect_scenes(): ...",
        "def sweep(num_timesteps): ...",
        "class StoreManager: ...",
        "def get_shots(): ...",
        "def probe(*, n_layers=1): ...",
        "class Site:\n    layer_index: int",
        "def cut(*, time): ...",
        "class Tap:\n    def mass_helper(self): ...",
        "def score_reel(reel): ...",
        "class QualityWatcher: ...",
        "class Wanted: ...",
    ],
)
def test_a_wrong_word_is_seen(source: str) -> None:
    assert any(complaint(each) for each in defined_names(source, "attnscope/probing.py"))


@pytest.mark.parametrize(
    "source",
    [
        "def build(*, timesteps, steps): ...",
        "class Call:\n    timestep: float",
        "def _get(x): ...",
        "def to_latent(): ...",
    ],
)
def test_a_right_word_is_left_alone(source: str) -> None:
    assert not any(complaint(each) for each in defined_names(source, "attnscope/probing.py"))


def test_a_scene_is_what_is_filmed() -> None:
    assert complaint(Definition("Scene", "attnscope/dataset/scenes.py")) is None
    assert complaint(Definition("Scene", "attnscope/shots.py"))


@pytest.mark.parametrize("name", ["Order", "FilmStudio", "Run", "unit_of", "cells"])
def test_a_word_of_another_room_is_seen(name: str) -> None:
    assert complaint(Definition(name, "attnscope/sweeping/films.py, line 1"))
    assert complaint(Definition(name, "attnscope/storage/store.py, line 1")) is None
