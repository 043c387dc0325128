"""How the source reads: the formatter decides, overrides say so, docstrings have one form, functions are verbs."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(
    path
    for root in (ROOT / "attnscope", ROOT / "kernels" / "attnscope_kernels")
    for path in root.rglob("*.py")
)
READ_BY_PEOPLE = [
    *sorted(path for path in ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "notebooks").rglob("*.py")),
    *sorted((ROOT / "experiments").rglob("*.py")),
]
SWITCH = re.compile(r"#\s*fmt:\s*(skip|off)")
PROSE_SECTION = re.compile(r"^\s*(Raises|Returns|Args|Arguments|Yields):", re.M)
PRIVATE = re.compile(
    r"(?:from|import)\s+attnscope(?:_kernels)?[\w.]*\._(?!_)\w+|from\s+attnscope[\w.]*\s+import\s+_(?!_)\w+"
)
# Participles whose form does not show it.
IRREGULAR = re.compile(
    "begun|bound|bought|brought|built|caught|chosen|come|done|drawn|driven|fallen|felt|forgotten|(un)?found|frozen|"
    "given|gone|grown|heard|held|hidden|kept|(un)?known|laid|led|left|lent|lost|made|meant|met|paid|(un)?said|"
    "(un|unfore)?seen|sent|shown|spent|spoken|taken|taught|thrown|told|torn|worn|(un)?written"
)
# Verbs and nouns that only look so.
NO_PARTICIPLE = re.compile(
    "bring|drawing|during|embed|exceed|feed|need|nothing|proceed|seed|setting|string|table|variable"
)
# Participles that stand before a noun and make a term with it.
OF_A_NOUN = re.compile(
    "adjusted|displaced|embedded|expected|fixed|fused|given|loading|missing|padded|pooled|sampled|shared|smoothed|"
    "smoothing|stacked|stored|training|unforeseen|unknown|weighted"
)
SMALL_WORD = re.compile("a|as|at|by|for|from|here|in|into|of|on|out|over|the|to|under|up|with|without")
SHORTEST = 4  # words; below, a first line repeats the name: "The rest.", "How far."


def documented(source: str) -> Iterator[tuple[ast.AST, str]]:
    """Everything that has a docstring, with its text as it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module) and (
            text := ast.get_docstring(node, clean=True)
        ):
            yield node, text


def name_of(node: ast.AST) -> str:
    return getattr(node, "name", "the module")


def docstring_complaints(source: str) -> list[str]:
    """Sections in prose, and examples that stand inside another section."""
    found = []
    for node, text in documented(source):
        if match := PROSE_SECTION.search(text):
            found.append(f"{name_of(node)}: write {match[1]} as a section of numpydoc")
        before, arrow, _ = text.partition(">>>")
        has_sections = re.search(r"^\w[\w ]*\n-{3,}$", before, re.M)
        if arrow and has_sections and not re.search(r"^Examples\n-{8}$", before, re.M):
            found.append(f"{name_of(node)}: the examples need their heading")
    return found


def first_line(function: ast.FunctionDef) -> str:
    return (ast.get_docstring(function) or "").split("\n")[0]


def gap_complaints(sources: dict[str, str]) -> list[str]:
    """Docstrings that only fill a gap: hollow ones, and those that repeat the method that is overridden.

    That a method without a docstring says `@override` is ruff's rule D102.
    """
    classes = {
        node.name: node
        for source in sources.values()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
    }

    def ancestors(name: str) -> Iterator[ast.ClassDef]:
        for base in classes[name].bases:
            above = ast.unparse(base).split("[")[0].split(".")[-1]
            if above in classes and above != name:
                yield classes[above]
                yield from ancestors(above)

    def methods(node: ast.ClassDef) -> dict[str, ast.FunctionDef]:
        return {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}

    found = []
    for name, node in classes.items():
        above = [methods(each) for each in ancestors(name)]
        for method, function in methods(node).items():
            first = first_line(function)
            if first and first in [first_line(each[method]) for each in above if method in each]:
                found.append(f"{name}.{method}: repeats what it overrides; say @override and no more")
            if first and len(first.split()) < SHORTEST:
                found.append(f"{name}.{method}: {first!r} says no more than the name")
    return found


def is_participle(word: str) -> bool:
    looks = word.endswith(("ed", "ing", "able", "ible")) and len(word) > 4
    return bool(looks or IRREGULAR.fullmatch(word)) and not NO_PARTICIPLE.fullmatch(word)


def name_complaints(source: str) -> list[str]:
    """Functions that are named by what was done to their result, "decoded", and not by a verb or a noun.

    Attributes are values, so properties may be named so; a participle may also stand before a noun that is a term.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if any(ast.unparse(each).endswith(("property", ".setter")) for each in node.decorator_list):
            continue
        first, *rest = node.name.strip("_").split("_")
        is_term = OF_A_NOUN.fullmatch(first) and rest and not SMALL_WORD.fullmatch(rest[0])
        if is_participle(first) and not is_term:
            found.append(f"{node.name}: name it by a verb")
    return found


def private_imports(text: str) -> list[str]:
    return [match[0] for match in PRIVATE.finditer(text)]


def test_the_formatter_is_switched_off_nowhere() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    switched = [
        name
        for name in listed.stdout.split()
        if (ROOT / name).exists()
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
        if SWITCH.search(line) and name != "tests/test_style.py"
    ]
    assert switched == [], "shrink the call"


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_have_one_form(path: Path) -> None:
    assert docstring_complaints(path.read_text(encoding="utf-8")) == []


def test_no_docstring_only_fills_a_gap() -> None:
    assert gap_complaints({str(path): path.read_text(encoding="utf-8") for path in PACKAGES}) == []


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_functions_are_verbs(path: Path) -> None:
    assert name_complaints(path.read_text(encoding="utf-8")) == []


def test_examples_use_public_names() -> None:
    """What people copy: README, docs, notebooks, experiments and the examples in docstrings."""
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in READ_BY_PEOPLE}
    for path in PACKAGES:
        lines = [
            line
            for _, text in documented(path.read_text(encoding="utf-8"))
            for line in text.splitlines()
            if line.lstrip().startswith((">>>", "..."))
        ]
        texts[str(path.relative_to(ROOT))] = "\n".join(lines)
    assert {name: found for name, text in texts.items() if (found := private_imports(text))} == {}


@pytest.mark.parametrize("line", ["x = [  # fmt: skip", "# fmt: off", ")  #fmt:skip"])
def test_a_switch_is_seen(line: str) -> None:
    assert SWITCH.search(line)
    assert not SWITCH.search("x = 1  # the format: skip it")


@pytest.mark.parametrize(
    ("docstring", "complaint"),
    [
        ("Say it.\n\n    Raises: InputError.", "f: write Raises as a section of numpydoc"),
        ("Say it.\n\n    Returns: a number.", "f: write Returns as a section of numpydoc"),
        (
            "Say it.\n\n    Raises\n    ------\n    InputError\n        Bad.\n\n    >>> f()",
            "f: the examples need",
        ),
    ],
)
def test_another_form_is_seen(docstring: str, complaint: str) -> None:
    (found,) = docstring_complaints(f'def f():\n    """{docstring}\n    """')
    assert found.startswith(complaint)


def test_one_form_is_left_alone() -> None:
    sections = "Raises\n    ------\n    InputError\n        Bad.\n\n    Examples\n    --------\n    >>> f()"
    assert docstring_complaints(f'def f():\n    """Say it.\n\n    {sections}\n    """') == []
    assert docstring_complaints('def f():\n    """Say it.\n\n    >>> f()\n    """') == []


def test_a_repeated_and_a_hollow_docstring_are_seen() -> None:
    base = 'class Rule:\n    def words(self):\n        """Say what is seen, in words."""\n'
    repeated = base.replace("class Rule:", "class Band(Rule):")
    hollow = 'class Band(Rule):\n    @override\n    def words(self):\n        """How far."""\n'
    right = "class Band(Rule):\n    @property\n    @override\n    def words(self):\n        return 1\n"
    assert gap_complaints({"a": base, "b": repeated}) == [
        "Band.words: repeats what it overrides; say @override and no more"
    ]
    assert gap_complaints({"a": base, "b": hollow}) == ["Band.words: 'How far.' says no more than the name"]
    assert gap_complaints({"a": base, "b": right}) == []


@pytest.mark.parametrize(
    ("line", "is_private"),
    [
        ("from attnscope.families._tiny import wan", True),
        ("from attnscope.families import _tiny", True),
        ("import attnscope.hooks._window", True),
        ("from attnscope import __version__", False),
        ("from attnscope.testing import tiny", False),
    ],
)
def test_a_private_import_is_seen(line: str, is_private: bool) -> None:
    assert bool(private_imports(line)) == is_private


@pytest.mark.parametrize(
    ("name", "is_seen"),
    [
        ("_decoded_by_shot", True),
        ("flattened", True),
        ("checked_scale", True),
        ("_said", True),
        ("settled", True),
        ("_joined", True),
        ("handling", True),
        ("measurable", True),
        ("expected_by_lot", True),
        ("decode_by_shot", False),
        ("expected_layout", False),
        ("feed", False),
        ("is_hidden", False),
        ("__get_validated__", False),
    ],
)
def test_a_participle_is_seen(name: str, is_seen: bool) -> None:
    assert bool(name_complaints(f"def {name}(): ...")) == is_seen
    assert name_complaints(f"class A:\n    @property\n    def {name}(self): ...") == []
