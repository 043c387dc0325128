"""The documentation site builds offline without a warning, and has every public name on its API pages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zlib
from pathlib import Path
from types import ModuleType

import pytest

import attnscope
from attnscope.cli import main

ROOT = Path(__file__).parents[2]
ROOMS = ("structure", "masks", "plots", "metrics", "schema", "synthetic", "testing", "errors")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    words = ["-W", "--keep-going", "-q", "-b", "html", str(ROOT / "docs"), str(target)]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return target


def inventory(site: Path) -> set[str]:
    """Every name that the site documents: the index that Sphinx writes for other sites."""
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    lines = zlib.decompress(packed).decode().splitlines()
    return {line.split(" ")[0] for line in lines if " py:" in line}


def public_names() -> set[str]:
    names = {
        f"attnscope.{name}"
        for name in attnscope.__all__
        if not isinstance(getattr(attnscope, name), ModuleType)
    }
    for room in ROOMS:
        module = getattr(attnscope, room)
        exported = getattr(module, "__all__", None) or [
            name
            for name, thing in vars(module).items()
            if callable(thing)
            and getattr(thing, "__module__", "") == module.__name__
            and not name.startswith("_")
        ]
        names |= {f"{module.__name__}.{name}" for name in exported}
    return names


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_public_name_is_in_the_api_pages(site: Path) -> None:
    assert sorted(public_names() - inventory(site)) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_of_the_site_itself_is_fetched_from_elsewhere(site: Path) -> None:
    outside = re.compile(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:)?//[^"]*"')
    assert {
        path.name: found[0] for path in site.rglob("*.html") if (found := outside.findall(path.read_text()))
    } == {}


def test_every_figure_of_the_command_is_in_the_gallery(capsys: pytest.CaptureFixture[str]) -> None:
    """Two tables share one page: that of a sweep is written as that of a store is."""
    shown = {path.stem.removeprefix("plot_") for path in (ROOT / "docs" / "gallery").glob("plot_*.py")}
    assert main(["figure", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed) >= 13
    assert {name.removeprefix("effect-") for name in listed} - shown == set()


def test_every_page_is_reached_from_the_first() -> None:
    listed = set()
    for page in (ROOT / "docs").rglob("*.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
            entries = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed |= {(page.parent / entry).resolve() for entry in entries}
    pages = {path.with_suffix("").resolve() for path in (ROOT / "docs").rglob("*.md")} - {
        ROOT / "docs" / "index"
    }
    assert sorted(path.name for path in pages - listed) == []
