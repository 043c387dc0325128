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

Every message is one line and says four things in order: what was expected, what came, where, what to do.
"""

from __future__ import annotations

from typing import ClassVar


class AttnscopeError(Exception):
    r"""Anything that attnscope raises on purpose; catch this one to catch them all.

    The message is kept on one line, because the command line prints it as it is.

    >>> str(AttnscopeError("expected a,\n got b"))
    'expected a, got b'
    >>> InputError.exit_code, RunError.exit_code, SetupError.exit_code
    (2, 1, 3)
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        # Texts of other libraries may be embedded; whatever they contain, one error stays one line.
        super().__init__(" ".join(part.strip() for part in message.splitlines()))


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


def quote(value: object, limit: int = 60) -> str:
    r"""Show a value inside an error message: on one line, and never longer than ``limit`` characters.

    >>> quote("Shot 1:\n")
    "'Shot 1:\\n'"
    >>> quote("a" * 100, limit=12)
    "'aaaa...aaa'"
    """
    shown = ascii(value)
    if len(shown) <= limit:
        return shown
    tail = (limit - 3) // 2
    return f"{shown[: limit - 3 - tail]}...{shown[-tail:]}"
