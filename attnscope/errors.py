"""What can go wrong, as one tree: the class says whose move it is, the exit code says it to a shell.

::

    AttnscopeError                  anything this library raises on purpose
    ├── InputError        exit 2    what was given cannot be used; also a ValueError
    │   ├── RangeError              "7-28,30" and its kin
    │   ├── ShotPlanError           shots, cuts, durations, frame rates
    │   ├── LayoutError             tokens to frames
    │   ├── SchemaError             an attention dataset that breaks its written schema
    │   ├── StoreError              a path that is not the store that was expected
    │   ├── MaskError               a mask rule or its scope
    │   ├── PromptFileError         a file of prompts
    │   ├── VideoError              a video file or frame array
    │   ├── UnknownModelError       a model name nobody here knows
    │   ├── UnsupportedModelError   a model whose attention cannot be observed
    │   └── HookNameError           a hook point that does not exist
    ├── RunError          exit 1    the run failed although the input was fine
    └── SetupError        exit 3    the environment: a missing extra, no device, a full disk

Every message is one line and says four things in order: what was expected, what came, where, what to do. It is
composed at one door, `AttnscopeError`, from those four parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar

_IN_BRACKETS = re.compile(r"\[[^\]]*\]|\([^)]*\)|'[^']*'")


class AttnscopeError(Exception):
    r"""Anything that attnscope raises on purpose; catch this one to catch them all.

    The sentence is composed here, of the four parts that a reader needs, and nowhere else; it is kept on one line,
    because the command line prints it as it is. Each part can be read again from the error.

    Parameters
    ----------
    message : str
        A whole sentence that another check has composed (a kernel's, a validator's), instead of the parts.
    expected, got : str
        What can be used, and what came.
    where : str
        The argument, file or place that it came from, with its preposition: "as seed of generate", "in clip.mp4".
    remedy : str
        What to do now.

    Examples
    --------
    >>> error = InputError(expected="a whole number from 0", got="-1", where="as seed", remedy="write\n 0")
    >>> str(error), error.remedy
    ('expected a whole number from 0, got -1 as seed; write 0', 'write 0')
    >>> InputError.exit_code, RunError.exit_code, SetupError.exit_code
    (2, 1, 3)
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str = "", /, *, expected: str = "", got: str = "", where: str = "", remedy: str = ""
    ) -> None:
        self.expected, self.got, self.where, self.remedy = map(one_line, (expected, got, where, remedy))
        if not message:
            clause = "," if "," in _IN_BRACKETS.sub("", self.got) else ""
            message = f"expected {self.expected}, got {self.got}{clause} {self.where}; {self.remedy}"
        super().__init__(one_line(message))


class InputError(AttnscopeError, ValueError):
    """What was given cannot be used, and only the caller can change it."""

    exit_code = 2


class RangeError(InputError):
    """A range of layers, heads or steps cannot be read or names something that is not there."""


class ShotPlanError(InputError):
    """Shots or cuts contradict each other, the video, or the latent frame grid."""


class LayoutError(InputError):
    """Tokens cannot be assigned to frames as described."""


class SchemaError(InputError):
    """A dataset breaks the written schema of attention datasets."""


class StoreError(InputError):
    """A path is not the attention store that was expected."""


class MaskError(InputError):
    """A mask rule, or where it should act, makes no sense for this video or model."""


class PromptFileError(InputError):
    """A file of prompts cannot be read."""


class VideoError(InputError):
    """A video cannot be read or has the wrong shape."""


class UnknownModelError(InputError):
    """No model goes by this name."""


class UnsupportedModelError(InputError):
    """The model is known, but its attention cannot be observed."""


class HookNameError(InputError):
    """No hook point goes by this name in this model."""


class RunError(AttnscopeError):
    """The run failed although its input was fine."""

    exit_code = 1


class SetupError(AttnscopeError):
    """The environment lacks something: an optional dependency, a device, disk space."""

    exit_code = 3


def one_line(text: str) -> str:
    r"""Fold a text to one line: texts of other libraries may be embedded, and one error stays one line.

    >>> one_line("no\n  such file")
    'no such file'
    """
    return " ".join(part.strip() for part in text.splitlines())


def suggest(name: object, known: Iterable[object], otherwise: str) -> str:
    """Give the remedy for a name that is not there: the one that was probably meant, or what else to do.

    >>> suggest("cinetran-dit", ["cinetrans-dit", "vstar"], "name one of them")
    "did you mean 'cinetrans-dit'?"
    >>> suggest("x", ["cinetrans-dit", "vstar"], "name one of them")
    'name one of them'
    """
    from difflib import get_close_matches

    close = get_close_matches(str(name), [str(each) for each in known], n=1, cutoff=0.6)
    return f"did you mean {quote(close[0])}?" if close else otherwise


def quote(value: object, limit: int = 60) -> str:
    r"""Show a value inside an error message: on one line, and never longer than ``limit`` characters.

    >>> quote("Shot 1:\n")
    "'Shot 1:\\n'"
    >>> quote("a" * 100, limit=12)
    "'aaaa...aaa'"
    """
    try:
        shown = ascii(value)
    except (RecursionError, ValueError):
        # Python writes neither lists that nest without end nor whole numbers of more than 4,300 digits.
        shown = f"a {type(value).__name__} too large to show"
    if len(shown) <= limit:
        return shown
    tail = (limit - 3) // 2
    return f"{shown[: limit - 3 - tail]}...{shown[-tail:]}"
