"""A kind of value has one name and a name means one kind; `Any`, which says nothing, is said seldom."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOO_MANY_ANY = 150  # what is left: libraries without types, JSON that is read, keywords that are handed on


def aliases(source: str) -> list[str]:
    """Names of the kinds of value that a module defines at its top, an underscore in front left out."""
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, is_alias = node.targets[0], True
        elif isinstance(node, ast.AnnAssign):
            target, is_alias = node.target, ast.unparse(node.annotation).endswith("TypeAlias")
        else:
            continue
        if is_alias and isinstance(target, ast.Name):
            name = target.id.strip("_")
            if name[:1].isupper() and not name.isupper():
                found.append(name)
    return found


def defined_twice(sources: dict[str, str]) -> dict[str, list[str]]:
    where = defaultdict(list)
    for path, source in sources.items():
        for name in aliases(source):
            where[name].append(path)
    return {name: paths for name, paths in where.items() if len(paths) > 1}


def uses_of_any(source: str) -> int:
    """How often a module says `Any`, under whatever name it was imported; the imports themselves do not count."""
    tree = ast.parse(source)
    names = {
        each.asname or each.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in ("typing", "typing_extensions")
        for each in node.names
        if each.name == "Any"
    }
    return sum(_says(node, names) for node in ast.walk(tree))


def _says(node: ast.AST, names: set[str]) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and "Any" in node.value:
        try:  # a type in quotes
            return sum(_says(each, names) for each in ast.walk(ast.parse(node.value, mode="eval")))
        except SyntaxError:
            return 0
    if isinstance(node, ast.Attribute):
        return node.attr == "Any"
    return isinstance(node, ast.Name) and node.id in names


def test_any_is_said_seldom() -> None:
    paths = [path for root in ("attnscope", "kernels") for path in sorted((ROOT / root).rglob("*.py"))]
    uses = {str(path.relative_to(ROOT)): uses_of_any(path.read_text(encoding="utf-8")) for path in paths}
    most = sorted(uses, key=uses.__getitem__, reverse=True)[:5]
    assert sum(uses.values()) < TOO_MANY_ANY, f"say what is meant; most are in {', '.join(most)}"


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("from typing import Any\ndef run(pipe: Any) -> dict[str, Any]: ...", 2),
        ("from typing import Any as Whatever\nx: Whatever = 1", 1),
        ("import typing\nx: list[typing.Any] = []", 1),
        ("from typing import Any, cast\nx = cast('dict[str, Any]', 1)", 1),
        ("'Any draw that comes.'\nclass Any: ...\nx: Any = Any()", 0),
    ],
)
def test_each_any_is_seen(source: str, count: int) -> None:
    assert uses_of_any(source) == count


def test_no_alias_is_defined_twice() -> None:
    paths = sorted((ROOT / "attnscope").rglob("*.py"))
    assert defined_twice({str(path): path.read_text(encoding="utf-8") for path in paths}) == {}


def test_what_several_rooms_share_is_defined_where_they_look_for_it() -> None:
    shared = aliases((ROOT / "attnscope" / "_types.py").read_text(encoding="utf-8"))
    assert {"Range", "Plan", "Plans", "LatentPlans", "FilmPlans", "Frames", "OnProgress"} <= set(shared)


def test_a_second_definition_is_seen() -> None:
    one, other = "Range = str | int\nLIMIT = 3\n", "_Range: TypeAlias = str\nclass Plan: ...\n"
    assert defined_twice({"a": one, "b": other}) == {"Range": ["a", "b"]}
    assert defined_twice({"a": one, "b": "LIMIT = 4\nFILMS, Names = 1, 2\n"}) == {}
