"""The picture that DESIGN.md opens with shows the rooms and arrows that are there."""

from __future__ import annotations

import importlib.util
import re
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def rooms() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_rooms", ROOT / "docs" / "draw_rooms.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_the_code(rooms: ModuleType) -> None:
    assert rooms.PICTURE.read_text(encoding="utf-8") == rooms.draw(), "run python docs/draw_rooms.py"


def test_a_new_arrow_changes_it(rooms: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    before, arrows = rooms.draw(), rooms.read_arrows()
    monkeypatch.setattr(rooms, "read_arrows", lambda: {**arrows, "student": frozenset({"shots"})})
    assert rooms.draw() != before


def test_every_arrow_points_down_and_none_that_follows_is_drawn(rooms: ModuleType) -> None:
    arrows = rooms.reduced(rooms.read_arrows())
    height = rooms.heights(arrows)
    assert all(height[target] < height[room] for room, targets in arrows.items() for target in targets)
    abc = {"a": frozenset("bc"), "b": frozenset("c"), "c": frozenset()}
    assert rooms.reduced(abc) == {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset()}


def test_no_two_rooms_overlap(rooms: ModuleType) -> None:
    levels, below, _ = rooms.with_bends(rooms.reduced(rooms.read_arrows()))
    place = rooms.positions(levels, below)
    for level in levels:
        middles = sorted(place[name][0] for name in level if ">" not in name)
        assert all(b - a >= rooms.BOX_WIDTH for a, b in pairwise(middles))


def test_every_room_has_its_paragraph() -> None:
    text = (ROOT / "DESIGN.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(\w+)`", text.split("## The rooms", 1)[1].split("\n## ", 1)[0]))
    rooms = {
        path.stem
        for path in (ROOT / "attnscope").iterdir()
        if path.is_dir() and (path / "__init__.py").is_file()
    }
    assert rooms - told == set()


def test_every_file_that_the_paragraphs_name_is_there() -> None:
    text = (ROOT / "DESIGN.md").read_text(encoding="utf-8").split("## The rooms", 1)[1].split("\n## ", 1)[0]
    named = {name.split("/")[-1] for name in re.findall(r"`([\w/]+\.py)`", text)}
    files = (path for folder in ("attnscope", "kernels", "tests") for path in (ROOT / folder).rglob("*.py"))
    assert len(named) > 20
    assert named - {path.name for path in files} == set()
