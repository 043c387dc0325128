import ast
import copy
import inspect
import io
import tokenize
from pathlib import Path

import pytest

from attnscope import errors
from attnscope.errors import MaskError


def _classes():
    return [
        cls
        for _, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.AttnscopeError)
    ]


def test_every_error_is_drawn_in_the_docstring():
    drawn = errors.__doc__
    assert all(cls.__name__ in drawn for cls in _classes())


def test_the_tree_says_whose_move_it_is():
    for cls in _classes():
        if issubclass(cls, errors.InputError):
            assert cls.exit_code == 2
            assert issubclass(cls, ValueError)
    assert errors.RunError.exit_code == 1
    assert errors.SetupError.exit_code == 3
    assert not issubclass(errors.RunError, ValueError)


@pytest.mark.parametrize("cls", _classes())
@pytest.mark.parametrize("text", ["a\nb", "a\r\n  b", "a\x0bb", "a\u2028b"])
def test_a_message_is_one_line(cls, text):
    assert str(cls(text)) == "a b"


NESTED = []
for _ in range(100_000):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    "value", ["x" * 1000, "\n\n", "\u2028", "é" * 50, list(range(1000)), None, [10**5000], NESTED]
)
def test_a_quoted_value_is_short_and_on_one_line(value):
    shown = errors.quote(value)
    assert len(shown) <= 60
    assert len(shown.splitlines()) == 1
    assert shown.isascii()


NAMES = {name for name, thing in vars(errors).items() if isinstance(thing, type)} | {"NoStoreError"}
PARTS = {"expected", "got", "where", "remedy"}
SHORTEST_LITERAL = 20


def typed_by_hand(source: str) -> list[int]:
    """Lines where an error is given a sentence of its own instead of its four parts."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        texts = [
            each.value
            for each in (ast.walk(node.args[0]) if node.args else ())
            if isinstance(each, ast.Constant) and isinstance(each.value, str)
        ]
        if not (isinstance(node.func, ast.Name) and node.func.id in NAMES):
            # the class may stand in a variable; its sentence begins as ours do
            found += [node.lineno] if texts and texts[0].startswith("expected ") else []
            continue
        words = sum(map(len, texts))
        named = {each.arg for each in node.keywords}
        if words >= SHORTEST_LITERAL or (not node.args and named != PARTS):
            found.append(node.lineno)
    return found


def splinters(source: str) -> list[tuple[int, str]]:
    """Pieces of a message that was chopped to fit a line and should be one or two whole literals."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg in PARTS:
            pieces = pieces_of(ast.get_source_segment(source, node.value) or "")
            found += [
                (node.value.lineno, each)
                for each in pieces
                if len(pieces) > 1 and len(each) < SHORTEST_LITERAL
            ]
    return found


def pieces_of(segment: str) -> list[str]:
    """The literals that stand behind one another in a source segment, with their quotes."""
    depth, pieces = 0, []
    for token in tokenize.generate_tokens(io.StringIO(f"({segment}\n)").readline):
        kind = tokenize.tok_name[token.type]
        if kind == "STRING" and depth == 0:
            pieces.append(token.string)
        elif kind == "FSTRING_START":
            depth += 1
            if depth == 1:
                start = token.start
        elif kind == "FSTRING_END":
            depth -= 1
            if depth == 0:
                pieces.append("x" * (token.end[1] - start[1]))
        elif depth == 0 and (kind == "NAME" or (kind == "OP" and token.string not in "()")):
            return []  # not literals alone
    return pieces


SOURCES = sorted((Path(__file__).parents[1] / "attnscope").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_message_is_composed_at_the_door(path: Path) -> None:
    assert typed_by_hand(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_message_is_chopped_into_splinters(path: Path) -> None:
    assert splinters(path.read_text(encoding="utf-8")) == []


def test_a_sentence_typed_by_hand_is_seen() -> None:
    assert typed_by_hand('raise InputError(f"expected a number, got {x} in probe; write 1")') == [1]
    assert typed_by_hand('raise kind(f"expected a number, got {x} in probe; write 1")') == [1]
    assert typed_by_hand('raise InputError(expected="a", got="b", remedy="c")') == [1]
    assert typed_by_hand('raise InputError(expected="a", got="b", where="in c", remedy="d")') == []
    assert typed_by_hand('raise MaskError(f"{error} ({point.name})")') == []


def test_a_splinter_is_seen() -> None:
    whole = "a whole sentence of some length "
    assert splinters(f'E(expected=("{whole}" "{whole}"))') == []
    assert splinters(f'E(expected=("{whole}" f"{{x}} be "))')[0][0] == 1
    assert splinters('E(got=f"{x}")') == []


def test_the_parts_can_be_read_and_survive_another_process() -> None:
    error = MaskError(expected="a rule", got="7, 8", where="in intervene", remedy="write one")
    assert str(error) == "expected a rule, got 7, 8, in intervene; write one"  # a comma closes what has one
    other = MaskError(expected="a rule", got="[7, 8]", where="in intervene", remedy="write one")
    assert str(other) == "expected a rule, got [7, 8] in intervene; write one"
    again = copy.copy(error)  # by the same way that a process pool sends what its workers raise
    assert (type(again), str(again), again.remedy) == (MaskError, str(error), "write one")
