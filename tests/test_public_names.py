"""The front door is exact: these names and no others, each with a docstring, none shadowing a module."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from types import ModuleType

import pytest

import attnscope

ROOT = Path(__file__).parents[1]
PACKAGES = (ROOT / "attnscope", ROOT / "kernels" / "attnscope_kernels")

PUBLIC = [
    "FrameLayout",
    "ShotPlan",
    "attach",
    "encode_captions",
    "errors",
    "explore",
    "find_layers",
    "finetune",
    "generate",
    "hook_points",
    "intervene",
    "load",
    "masks",
    "metrics",
    "nnsight",
    "offset_shots",
    "open_store",
    "open_sweep",
    "patch_mass",
    "plots",
    "probe",
    "probe_video",
    "run_with_cache",
    "run_with_hooks",
    "schema",
    "score",
    "structure",
    "sweep",
    "synthetic",
    "testing",
    "write_report",
]


def shadowed(package: Path) -> list[str]:
    """Names that a package exports although a module of it is called the same (the module itself excepted)."""
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    modules = {path.stem for path in package.glob("*.py")} | {
        path.parent.name for path in package.glob("*/__init__.py")
    }
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = {alias.asname or alias.name for alias in node.names}
            inside = node.module and (node.level or node.module.split(".")[0] == package.name)
            # "from .probing import probe" takes a thing out of a module, "from . import plots" the module
            if inside and node.module not in (package.name, f"attnscope.{package.name}"):
                defined |= names
    return sorted(defined & modules)


def test_the_list_is_exact_and_sorted() -> None:
    assert attnscope.__all__ == PUBLIC == sorted(PUBLIC)


def test_dir_shows_what_is_not_yet_resolved() -> None:
    assert dir(attnscope) == sorted([*PUBLIC, "__version__"])


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_resolves_and_has_a_first_line(name: str) -> None:
    thing = getattr(attnscope, name)
    first_line = (thing.__doc__ or "").strip().split("\n")[0]
    assert first_line.endswith(".")
    assert not first_line.startswith(name), "a first line that only repeats the signature"


@pytest.mark.parametrize("name", ["masks", "structure", "plots"])
def test_every_exported_name_of_a_subpackage_has_a_first_line(name: str) -> None:
    package = getattr(attnscope, name)
    assert package.__all__ == sorted(package.__all__, key=lambda each: (each.lower() == each, each))
    for each in package.__all__:
        assert (getattr(package, each).__doc__ or "").strip(), f"attnscope.{name}.{each} has no docstring"


def test_a_wrong_name_is_told_the_right_ones() -> None:
    with pytest.raises(AttributeError, match="no attribute 'shotplan'; it has FrameLayout, ShotPlan"):
        attnscope.__getattr__("shotplan")


def test_no_exported_name_equals_a_module_name() -> None:
    for package in PACKAGES:
        for path in [package / "__init__.py", *package.rglob("*/__init__.py")]:
            assert shadowed(path.parent) == [], path.parent.name


def test_a_shadowed_module_is_seen(tmp_path: Path) -> None:
    (tmp_path / "contrast.py").write_text("")
    (tmp_path / "__init__.py").write_text(f"from {tmp_path.name}.contrast import contrast\n")
    assert shadowed(tmp_path) == ["contrast"]
    (tmp_path / "__init__.py").write_text("from .contrast import contrast\n")
    assert shadowed(tmp_path) == ["contrast"]


def test_what_the_type_checker_sees_is_what_is_there() -> None:
    tree = ast.parse((ROOT / "attnscope" / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module
        for alias in node.names:
            value = getattr(attnscope, alias.name)
            if isinstance(value, ModuleType):
                assert value.__name__ == f"{node.module}.{alias.name}"
            else:
                assert value is getattr(importlib.import_module(node.module), alias.name)
