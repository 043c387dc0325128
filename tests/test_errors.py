import inspect

import pytest

from attnscope import errors


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


@pytest.mark.parametrize("value", ["x" * 1000, "\n\n", "\u2028", "é" * 50, list(range(1000)), None])
def test_a_quoted_value_is_short_and_on_one_line(value):
    shown = errors.quote(value)
    assert len(shown) <= 60
    assert len(shown.splitlines()) == 1
    assert shown.isascii()
