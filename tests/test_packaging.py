"""What installs attnscope agrees with itself, and names no machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import distributions, version
from pathlib import Path

import pytest

import attnscope

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BINARY = {".png", ".pdf", ".mp4", ".npz", ".safetensors", ".zip"}

MACHINE_PATHS = re.compile(r"(?<![\w.])/(root|home/\w+|opt|work|Users/\w+|mnt|tmp)/\w")
REGISTRY_HOSTS = re.compile(
    r"pypi[.]org|pythonhosted[.]org|download[.]pytorch|anaconda[.](org|com)|local[h]ost"
)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, set[str]]:
    """Name and versions of constraints.txt; several versions where markers choose."""
    versions: dict[str, set[str]] = {}
    for name, pinned in re.findall(r"^([\w.-]+)==([^\s;]+)", text("constraints.txt"), re.M):
        versions.setdefault(normal(name), set()).add(pinned)
    return versions


def requirements() -> list[str]:
    extras = PROJECT["project"]["optional-dependencies"]
    return [*PROJECT["project"]["dependencies"], *(each for extra in extras.values() for each in extra)]


def repository_files() -> list[Path]:
    """What git keeps or would keep; everything but hidden and cached files where there is no git."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        listed = subprocess.run(
            [git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return [
            ROOT / name for name in sorted(set(listed.stdout.split("\0"))) if name and (ROOT / name).is_file()
        ]
    return [
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file() and not any(part.startswith((".venv", ".git", "__", "runs")) for part in path.parts)
    ]


def traces(content: str) -> list[str]:
    return [
        f"line {number}: {line.strip()[:80]}"
        for number, line in enumerate(content.splitlines(), 1)
        if MACHINE_PATHS.search(line) or REGISTRY_HOSTS.search(line)
    ]


def test_every_requirement_is_locked() -> None:
    names = {normal(re.split(r"[\[<>=; ]", each)[0]) for each in requirements()} - {"attnscope"}
    assert names <= set(locked())


def test_the_lock_agrees_with_the_pins_of_dev() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", "\n".join(requirements()), re.M))
    assert {"torch", "triton"} <= set(pins)
    assert {name: locked()[normal(name)] for name in pins} == {name: {pin} for name, pin in pins.items()}


def test_every_direct_requirement_has_a_lower_bound() -> None:
    unbounded = [
        each for each in requirements() if not re.search(r"[>=]=", each) and "attnscope[" not in each
    ]
    assert unbounded == []


def test_the_lock_names_the_command_that_made_it() -> None:
    head = text("constraints.txt").split("\n")[:2]
    assert (
        "uv pip compile --universal --python-version 3.11 --extra dev pyproject.toml -o constraints.txt"
        in head[1]
    )


def test_the_installed_torch_is_the_pinned_one_and_brings_no_gpu_libraries() -> None:
    installed = version("torch")
    assert installed.split("+")[0] in locked()["torch"]
    if installed.endswith("+cpu"):
        assert [each.name for each in distributions() if normal(each.name).startswith("nvidia-")] == []


def test_conda_installs_the_same_files() -> None:
    pip_lines = re.findall(r"^ {6}- (.*)$", text("environment.yml"), re.M)
    assert pip_lines == ["-c constraints.txt", "-e .[dev]"]
    assert f"python={PROJECT['project']['requires-python'].removeprefix('>=')}" in text("environment.yml")


def test_setup_installs_the_same_files() -> None:
    commands = re.findall(r"install (?:--python \S+ )?(-e .*)$", text(".ci/setup"), re.M)
    assert commands == ['-e ".[dev]" -c constraints.txt'] * 2


def test_kernels_is_a_source_root_and_no_package() -> None:
    assert (ROOT / "kernels" / "attnscope_kernels" / "__init__.py").is_file()
    assert not (ROOT / "kernels" / "__init__.py").exists()


def test_the_version_is_the_same_everywhere() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "attnscope/__init__.py"
    released = re.findall(r"^## \[(\d[^\]]*)\]", text("CHANGELOG.md"), re.M)
    assert released[0] == attnscope.__version__
    assert f"version: {attnscope.__version__}\n" in text("CITATION.cff")


def test_the_licence_is_whole() -> None:
    assert "Apache License" in text("LICENSE")
    assert "END OF TERMS AND CONDITIONS" in text("LICENSE")
    assert PROJECT["project"]["license"] == "Apache-2.0"


def test_no_file_names_a_machine() -> None:
    found = {}
    for path in repository_files():
        if path.suffix not in BINARY and (lines := traces(path.read_text(encoding="utf-8"))):
            found[path.relative_to(ROOT).as_posix()] = lines
    assert found == {}


# @ stands for a slash and ! for a dot, so that this file does not contain what it looks for
@pytest.mark.parametrize(
    "line",
    [
        "see @root@models@x",
        "`@work@main`",
        "find-links = @opt@wheels",
        "path = '@home@ada@x'",
        "--index-url https:@@pypi!org@simple",
    ],
)
def test_a_trace_of_a_machine_is_seen(line: str) -> None:
    assert traces(line.replace("@", "/").replace("!", "."))


@pytest.mark.parametrize("line", ["blocks/work/x", "notebooks/root/x", "https://arxiv.org/abs/2508.11484"])
def test_an_ordinary_line_is_left_alone(line: str) -> None:
    assert traces(line) == []
