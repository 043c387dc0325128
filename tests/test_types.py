"""A kind of value has one name and a name means one kind: no alias is defined twice."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]


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
