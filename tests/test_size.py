"""A module fits in the head and a function on the screen."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE_LINES = 400
FUNCTION_LINES = 60

SOURCES = sorted(
    path
    for folder in ("attnscope", "kernels", "experiments", "notebooks")
    for path in (ROOT / folder).rglob("*.py")
)


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function without its docstring: that one is asked to be long."""
    first = function.body[0]
    docstring = ast.get_docstring(function) is not None
    return (
        (function.end_lineno or 0)
        - function.lineno
        + 1
        - ((first.end_lineno or 0) - first.lineno + 1 if docstring else 0)
    )


def long_functions(source: str) -> list[tuple[str, int]]:
    nodes = ast.walk(ast.parse(source))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [(each.name, code_lines(each)) for each in functions if code_lines(each) > FUNCTION_LINES]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_size(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MODULE_LINES
    assert long_functions(source) == []


def test_a_long_function_is_seen() -> None:
    body = "\n".join(["    x = 1"] * FUNCTION_LINES)
    assert long_functions(f"def f():\n{body}") == [("f", FUNCTION_LINES + 1)]


def test_a_long_docstring_is_not() -> None:
    text = "\n".join(["    word"] * FUNCTION_LINES)
    assert long_functions(f'def f():\n    """Sentence.\n{text}\n    """\n    return 1') == []
