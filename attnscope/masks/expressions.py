"""Rules as text, for the command line: "same_shot | first_frame", "soft(same_shot, 4)", "~band(2) & same_shot".

The text is parsed, never run: names out of a list, numbers, "words", and the signs | & + ~.
"""

from __future__ import annotations

import ast
import inspect
from typing import NoReturn

from attnscope._types import Plan
from attnscope.errors import MaskError, quote, suggest
from attnscope.masks.presets import PRESETS
from attnscope.masks.rules import BY_NAME, MaskRule
from attnscope.masks.shot_rules import require_plan

MAX_LENGTH = 500
"""Longer than any rule one would write."""

MAX_DEPTH = 420
"""More parts in one another than any rule needs, and few enough for what reads and describes it by calls."""


def parse_rule(text: str, plan: Plan) -> MaskRule:
    """Read a rule that was written as text, for the shots of one film.

    Names of shot rules take the plan by themselves: ``same_shot``, ``halo(2)``. ``soft(rule, 4)``,
    ``soft(rule, ramp(8, 0))``, ``times(rule, 2)`` and ``permuted(rule, seed=1)`` change a rule. ``~`` binds first,
    then ``+``, ``&``, ``|``, as in Python.

    Raises
    ------
    MaskError
        The text is no rule; the message says which part.

    Examples
    --------
    >>> from attnscope import ShotPlan
    >>> plan = ShotPlan.from_latent_frames([3], num_frames_latent=5, fps=16)
    >>> print(parse_rule("same_shot | first_frame", plan).describe())
    A frame sees its own shot (cut at video frame 9), or the first latent frame of the video.
    """
    require_plan(plan, "parse_rule")
    if len(text) > MAX_LENGTH:
        raise MaskError(
            expected=f"a rule of at most {MAX_LENGTH} characters",
            got=f"{len(text)}",
            where=f"in {quote(text)}",
            remedy="write it in Python",
        )
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        _refuse(text, "something that does not parse")
    if _depth(tree.body) > MAX_DEPTH:
        _refuse(text, f"more than {MAX_DEPTH} parts in one another")
    try:
        rule = _Reader(text, plan).read(tree.body)
    except RecursionError:
        # Who calls may already stand deep.
        _refuse(text, "more parts in one another than can be read here")
    return rule if isinstance(rule, MaskRule) else _refuse(text, "no rule")


def _depth(node: ast.AST) -> int:
    """How many parts of a rule stand in one another; counted without a call in a call."""
    depth, level = 0, [node]
    while level:
        depth, level = depth + 1, [child for parent in level for child in ast.iter_child_nodes(parent)]
    return depth


class _Reader:
    """Turns the parts of one text into rules."""

    def __init__(self, text: str, plan: Plan) -> None:
        self._text, self._plan = text, plan

    def read(self, node: ast.expr) -> object:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                return ~self._rule(operand)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self._rule(left) | self._rule(right)
            case ast.BinOp(left=left, op=ast.BitAnd(), right=right):
                return self._rule(left) & self._rule(right)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._rule(left) + self._rule(right)
            case ast.Name(id=name):
                return self._build(name, [], {})
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
                named = {keyword.arg: self.read(keyword.value) for keyword in keywords if keyword.arg}
                if len(named) < len(keywords):
                    _refuse(self._text, "**")
                return self._build(name, [self.read(argument) for argument in arguments], named)
        _refuse(self._text, quote(ast.unparse(node)))

    def _rule(self, node: ast.expr) -> MaskRule:
        rule = self.read(node)
        return rule if isinstance(rule, MaskRule) else _refuse(self._text, quote(ast.unparse(node)))

    def _build(self, name: str, arguments: list[object], named: dict[str, object]) -> object:
        if name not in BY_NAME:
            _refuse(self._text, quote(name))
        build = BY_NAME[name]
        parameters = inspect.signature(build).parameters
        if "plan" in parameters:
            arguments = [self._plan, *arguments]
        if "rule" in parameters and not (arguments and isinstance(arguments[0], MaskRule)):
            _refuse(self._text, f"{name} without a rule in it")
        try:
            inspect.signature(build).bind(*arguments, **named)
        except TypeError as error:
            wanted = [each for each in parameters if each not in ("plan", "rule")]
            raise MaskError(
                expected=f"{name}({', '.join(wanted)})",
                got=f"{error}",
                where=f"in the rule {quote(self._text)}",
                remedy="correct what stands in the brackets",
            ) from error
        return build(*arguments, **named)


def _refuse(text: str, found: str) -> NoReturn:
    raise MaskError(
        expected=f"a rule out of {', '.join(sorted(BY_NAME))}, joined by | & + ~",
        got=found,
        where=f"in the rule {quote(text)}",
        remedy=suggest(text.strip(), [*PRESETS, *BY_NAME], 'write for instance "same_shot | first_frame"'),
    )
