"""What the README and the docs show is true: Python runs, commands parse, pictures, links and make targets exist."""

from __future__ import annotations

import re
import runpy
import shlex
import warnings
from contextlib import nullcontext
from pathlib import Path

import pytest

from attnscope import errors

ROOT = Path(__file__).parents[1]
SITE = tuple(
    path.relative_to(ROOT).as_posix()
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if not {"_build", "gallery_of_figures"} & {*path.parts}
)
PAGES = ("README.md", "CONTRIBUTING.md", "DESIGN.md", "CHANGELOG.md", "kernels/README.md", *SITE)


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def commands(page: str) -> list[list[str]]:
    """The command lines of a page's bash blocks, without comments."""
    lines = (line for block in blocks(page, "bash") for line in block.splitlines())
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def links(page: str) -> list[str]:
    """What a page points to inside the repository."""
    targets = re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    # the gallery is drawn when the site is built
    return [target for target in targets if "://" not in target and "gallery_of_figures" not in target]


ATTNSCOPE_COMMANDS = [words[1:] for page in PAGES for words in commands(page) if words[0] == "attnscope"]
PYTHON_BLOCKS = [(page, block) for page in PAGES for block in blocks(page, "python")]
ERRORS = "docs/errors/"


def test_there_is_something_to_check() -> None:
    assert len(ATTNSCOPE_COMMANDS) >= 4
    assert len(PYTHON_BLOCKS) >= 3
    assert {words[0] for words in commands("README.md")} == {"attnscope", "make", "pip", "source"}


@pytest.mark.parametrize("words", ATTNSCOPE_COMMANDS, ids=" ".join)
def test_every_command_parses(words: list[str]) -> None:
    from attnscope.cli import app

    # refuses what it does not know with an exception; nothing is run
    command, bound, *_ = app.parse_args(words, exit_on_error=False, print_error=False)
    assert callable(command)
    assert bound.args or bound.kwargs or len(words) == 1


def test_a_command_that_does_not_parse_is_seen() -> None:
    from cyclopts import CycloptsError

    from attnscope.cli import app

    with pytest.raises(CycloptsError):
        app.parse_args(["probe", "--layer", "7-28"], exit_on_error=False, print_error=False)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "block"), PYTHON_BLOCKS, ids=lambda value: value.split("\n")[0])
def test_every_python_block_runs(
    page: str, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by itself, with no name but its own, in an empty folder; the imports it finds done save minutes."""
    program = tmp_path / f"{Path(page).stem}.py"
    program.write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    expected = getattr(errors, Path(page).stem) if page.startswith(ERRORS) else None
    with warnings.catch_warnings(), pytest.raises(expected) if expected else nullcontext() as raised:
        warnings.simplefilter("default")  # as in a program of its own
        runpy.run_path(str(program), run_name="__main__")
    if raised is not None:
        named = next(each for each in type(raised.value).__mro__ if each.__module__ == errors.__name__)
        assert expected in (named, errors.AttnscopeError), "the page of an error shows that very error"


def test_a_block_that_does_not_run_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NameError, match="scope"):
        test_every_python_block_runs("README.md", "scope.load('wan-mini')", tmp_path, monkeypatch)


def test_the_first_block_leaves_the_pictures_it_promises() -> None:
    assert '"maps")  # maps.png and maps.pdf' in blocks("README.md", "python")[0]


@pytest.mark.parametrize("page", PAGES)
def test_every_picture_and_link_leads_somewhere(page: str) -> None:
    assert [target for target in links(page) if not ((ROOT / page).parent / target).is_file()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_exists(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.M))
    prose = re.findall(r"`make ([a-z]+)`", (ROOT / page).read_text(encoding="utf-8"))
    assert {words[1] for words in commands(page) if words[0] == "make"} | set(prose) <= targets


def test_the_install_line_is_the_one_that_setup_uses() -> None:
    words = next(words for words in commands("README.md") if words[0] == "pip")
    assert words[1:] == ["install", "-e", ".[dev]", "-c", "constraints.txt"]
    assert '-e ".[dev]" -c constraints.txt' in (ROOT / ".ci" / "setup").read_text(encoding="utf-8")


def test_the_pages_stay_inside_the_repository() -> None:
    targets = [(ROOT / page).parent / target for page in PAGES for target in links(page)]
    assert [target for target in targets if not target.resolve().is_relative_to(ROOT)] == []


def test_the_readme_is_read_in_two_minutes() -> None:
    """About 240 words a minute, code and tables included."""
    words = (ROOT / "README.md").read_text(encoding="utf-8").split()
    assert len(words) < 850


def test_every_error_has_a_page_that_shows_it() -> None:
    classes = {
        name
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, errors.AttnscopeError)
    }
    pages = {Path(page).stem for page in SITE if page.startswith(ERRORS)} - {"index"}
    assert pages == classes
    assert [name for name in sorted(pages) if not blocks(f"{ERRORS}{name}.md", "python")] == []


def test_the_study_is_at_most_25_lines() -> None:
    (study,) = blocks("docs/study.md", "python")
    assert len([line for line in study.splitlines() if line.strip()]) <= 25
