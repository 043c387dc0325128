"""Every script of the gallery draws one figure, or prints one table."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from attnscope.plots import Page

SCRIPTS = sorted((Path(__file__).parents[2] / "docs" / "gallery").glob("plot_*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_shows_one_thing(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = [value for value in runpy.run_path(str(path)).values() if isinstance(value, Page)]
    tables = capsys.readouterr().out.count(r"\begin{tabular}")
    assert len(pages) + tables == 1
