"""Imports point one way: the table under "Layers" in DESIGN.md is read here and held against the source."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FRONT_DOOR = "attnscope"
KERNELS = "attnscope_kernels"
OUTSIDE = ("experiments", "notebooks", "tests")
MOST_DOORS = 28  # entries at the top of the package, __init__.py and py.typed among them
NAME_ON_INSTALL = {
    "PIL": "pillow",
    "huggingface_hub": "huggingface-hub",
    "scenedetect": "scenedetect-headless",
    "typing_extensions": "typing-extensions",
}
# what the height alone would allow, and the design does not
NEVER = {
    ("families", "hooks"): "a family is known without being looked into",
    ("structure", "plots"): "a figure is drawn from numbers, never the other way round",
    ("plots", "structure"): "plots draws what it is given and computes nothing",
    ("plots", "pandas"): "plots draws what it is given and computes nothing",
    ("plots", "scipy"): "plots draws what it is given and computes nothing",
    ("video", "metrics"): "a video is read before it is measured",
    ("video", "torch"): "reading a file needs no network",
    ("video", "transformers"): "reading a file needs no network",
}
# what a row allows to one of its modules only
ONLY = {
    ("testing", "peft"): "attnscope.testing.contract",
    ("cli", "torch"): "attnscope.cli.doctor",
    ("cli", "attnscope_kernels"): "attnscope.cli.doctor",
}


class Row(NamedTuple):
    height: str
    modules: frozenset[str]
    packages: frozenset[str]


class Arrow(NamedTuple):
    source: str  # dotted module that imports
    target: str  # dotted name that is imported
    line: int


def layers_table(text: str) -> list[Row]:
    section = text.split("\n## Layers", 1)[1].split("\n## ", 1)[0]
    rows = []
    for height, modules, packages in re.findall(
        r"^\| *(\w+) *\| *(`[^|]*`) *\| *([^|]*?) *\|$", section, re.M
    ):
        rows.append(
            Row(height, frozenset(re.findall(r"\w+", modules)), frozenset(re.findall(r"\w+", packages)))
        )
    return rows


def arrows(module: str, source: str, *, is_package: bool = False) -> list[Arrow]:
    """All imports of one module, also those inside functions and those for the type checker."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [Arrow(module, alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: len(module.split(".")) - node.level + is_package]
                base = ".".join([*parents, base]).strip(".")
            found += [Arrow(module, f"{base}.{alias.name}", node.lineno) for alias in node.names]
    return found


def unit_of(dotted: str) -> str:
    """The row entry that a dotted name belongs to: attnscope.hooks.tap -> hooks, torch.nn -> torch."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == FRONT_DOOR and len(parts) > 1 else parts[0]


def complaint(arrow: Arrow, rows: list[Row]) -> str | None:
    source, target = unit_of(arrow.source), unit_of(arrow.target)
    where = f"{arrow.source}, line {arrow.line}: imports {arrow.target}"
    row = next((row for row in rows if source in row.modules), None)
    if row is None:
        return f"{where}: {source} has no height; give it one in the table of DESIGN.md"
    if reason := NEVER.get((source, target)):
        return f"{where}: {reason}"
    if (only := ONLY.get((source, target))) and only != arrow.source:
        return f"{where}: of {source}, only {only} may import {target}"
    if arrow.target.split(".")[0] != FRONT_DOOR:
        floor = frozenset() if row.height == "beside" else rows[0].packages
        allowed = target in sys.stdlib_module_names or target in row.packages | floor | row.modules
        return None if allowed else f"{where}: height {row.height} may not import {target}"
    if target == "__version__":
        return None if row.height != "beside" else f"{where}: the kernels know nothing of attnscope"
    target_row = next((row for row in rows if target in row.modules), None)
    if target_row is None:
        return f"{where}: through the front door; name the module that holds it"
    beside = "beside" in (row.height, target_row.height)
    if target_row == row or (target_row.height < row.height and not beside):
        return family_complaint(arrow, where)
    return f"{where}: an arrow from height {row.height} to {target_row.height} does not point down"


def family_complaint(arrow: Arrow, where: str) -> str | None:
    source, target = arrow.source.split("."), arrow.target.split(".")
    families = ["attnscope", "families"]
    if source[:2] != families or target[:2] != families or len(source) < 3 or len(target) < 3:
        return None
    shared = {
        *("base", "calling", "dropping", "facts", "layout", "looking", "protocols", "reading", "rehearsing"),
        *("sizes", "_unet"),
    }
    if source[2] in shared or target[2] in shared or source[2] == target[2]:
        return None
    return f"{where}: a family never imports another family"


def first_cycle(graph: dict[str, set[str]]) -> list[str]:
    """A way from a unit back to itself, or nothing."""

    def walk(path: list[str]) -> list[str]:
        for target in sorted(graph.get(path[-1], ())):
            if target in path:
                return [*path[path.index(target) :], target]
            if target not in done and (cycle := walk([*path, target])):
                return cycle
        done.add(path[-1])
        return []

    done: set[str] = set()
    return next((cycle for start in sorted(graph) if start not in done and (cycle := walk([start]))), [])


def package_arrows() -> list[Arrow]:
    found = []
    for root in (ROOT, ROOT / "kernels"):
        package = FRONT_DOOR if root == ROOT else KERNELS
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            module = ".".join(parts[:-1] if is_package else parts)
            if module != FRONT_DOOR:
                found += arrows(module, path.read_text(encoding="utf-8"), is_package=is_package)
    return found


ROWS = layers_table((ROOT / "DESIGN.md").read_text(encoding="utf-8"))


def test_the_table_is_read_whole() -> None:
    assert [row.height for row in ROWS] == ["0", "1", "1", "1", "2", "2", "2", "3", "4", "beside"]
    assert ROWS[0].packages == {"numpy", "scipy", "typing_extensions", "xarray", "zarr", "msgspec"}
    assert {"structure", "plots"} <= ROWS[1].modules
    assert "torch" not in ROWS[0].packages | ROWS[1].packages


def test_every_unit_has_a_height() -> None:
    homeless = {
        path.stem
        for path in (ROOT / FRONT_DOOR).iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").is_file()) and not path.stem.startswith("__")
    } - set().union(*(row.modules for row in ROWS))
    assert not homeless, "give it a height in the table of DESIGN.md"


def top_entries(package: Path) -> list[str]:
    return sorted(path.name for path in package.iterdir() if path.name != "__pycache__")


def test_the_ground_floor_has_no_drawers() -> None:
    """A reader takes in the top of the package at one look: 28 entries, and no private file but `_types.py`."""
    entries = top_entries(ROOT / FRONT_DOOR)
    assert len(entries) <= MOST_DOORS, (
        f"{len(entries)} entries at the top; put a file into the room that it serves"
    )
    assert [name for name in entries if re.match(r"_(?!_)", name)] == ["_types.py"]


def test_a_drawer_is_seen(tmp_path: Path) -> None:
    for name in ("rooms", "_drawer.py", "__pycache__"):
        (tmp_path / name).mkdir()
    assert top_entries(tmp_path) == ["_drawer.py", "rooms"]


def test_every_arrow_points_down() -> None:
    assert [message for arrow in package_arrows() if (message := complaint(arrow, ROWS))] == []


def test_every_import_is_a_declared_requirement() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    used = ("kernels", "metrics", "notebooks", "ray", "slurm")
    required = [*project["dependencies"], *(each for extra in used for each in extras[extra])]
    declared = {re.split(r"[\[<>=; ]", each)[0] for each in required}
    imported = {arrow.target.split(".")[0] for arrow in package_arrows()} - {FRONT_DOOR, KERNELS}
    assert {NAME_ON_INSTALL.get(each, each) for each in imported - sys.stdlib_module_names} <= declared


def test_no_circle() -> None:
    """No module leads back to itself. A name taken from a package counts as the package."""
    modules = {arrow.source for arrow in package_arrows()}
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for arrow in package_arrows():
        target = arrow.target if arrow.target in modules else arrow.target.rpartition(".")[0]
        if target in modules and target != arrow.source:
            graph[arrow.source].add(target)
    assert first_cycle(graph) == []


def mirrored_units(path: Path) -> set[str]:
    """The unit whose test this is: tests/plots/test_maps.py -> plots, tests/kernels/test_mass.py -> the kernels."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    unit = parts[1].removeprefix("test_")
    return {KERNELS if unit == "kernels" else unit} if parts[0] == "tests" else set()


def test_readers_use_public_names_only() -> None:
    """Experiments and notebooks see what a user sees; a test may open up the unit that it mirrors, and no other."""
    private = []
    for path in sorted(path for folder in OUTSIDE for path in (ROOT / folder).rglob("*.py")):
        for arrow in arrows(path.stem, path.read_text(encoding="utf-8")):
            ours = arrow.target.split(".")[0] in (FRONT_DOOR, KERNELS)
            if (
                ours
                and re.search(r"\._(?!_)", arrow.target)
                and unit_of(arrow.target) not in mirrored_units(path)
            ):
                private.append(f"{path.relative_to(ROOT)}, line {arrow.line}: {arrow.target}")
    assert private == []


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        ("attnscope.shots", "import torch", "height 0 may not import torch"),
        ("attnscope.shots", "def f():\n    from attnscope.structure import contrast", "does not point down"),
        ("attnscope.structure.contrast", "from ..plots import plot_maps", "never the other way round"),
        ("attnscope.plots.maps", "from attnscope import structure", "computes nothing"),
        ("attnscope.structure.contrast", "from attnscope.hooks import attach", "does not point down"),
        ("attnscope.structure.contrast", "import torch.nn", "may not import torch"),
        ("attnscope.families.wan", "from .ltx import LTX", "never imports another family"),
        ("attnscope.probing.probe", "from attnscope import ShotPlan", "through the front door"),
        ("attnscope_kernels.mass.torch", "from attnscope.errors import InputError", "does not point down"),
        ("attnscope_kernels.mass.torch", "import numpy", "may not import numpy"),
        ("attnscope.gadget", "import os", "has no height"),
        ("attnscope.video.files", "from attnscope.metrics import score", "read before it is measured"),
        ("attnscope.video.files", "import torch", "needs no network"),
        (
            "attnscope.metrics.scoring.score",
            "from attnscope.structure import contrast",
            "does not point down",
        ),
        ("attnscope.cli.probe", "import torch", "only attnscope.cli.doctor may import torch"),
        ("attnscope.cli.probe", "from attnscope_kernels import select", "only attnscope.cli.doctor"),
    ],
)
def test_a_wrong_arrow_is_seen(module: str, source: str, message: str) -> None:
    assert message in "\n".join(complaint(arrow, ROWS) or "" for arrow in arrows(module, source))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("attnscope.cli.probe", "from attnscope.probing.probe import probe"),
        ("attnscope.probing.probe", "from attnscope import __version__"),
        ("attnscope.hooks.tap", "import attnscope_kernels, torch, numpy"),
        ("attnscope.families.wan", "from attnscope.families.base import Site"),
        ("attnscope_kernels.mass.torch", "from attnscope_kernels.mass import reference"),
    ],
)
def test_a_right_arrow_is_left_alone(module: str, source: str) -> None:
    assert [complaint(arrow, ROWS) for arrow in arrows(module, source) if complaint(arrow, ROWS)] == []


def test_a_circle_is_seen() -> None:
    assert first_cycle({"shots": {"layout"}, "layout": {"schema"}, "schema": {"shots"}}) == [
        "layout",
        "schema",
        "shots",
        "layout",
    ]
