"""The command line: one file a command. Results go to stdout, everything else to stderr.

Exit codes: 0 done; 1 the run failed; 2 bad input; 3 something of the machine is missing; 130, 143 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from cyclopts import App
from cyclopts.exceptions import CycloptsError

from attnscope import __version__
from attnscope.cli._output import quiet
from attnscope.errors import AttnscopeError, SetupError, quote

# A command's module is imported when the command is called or explained, so that the overview needs no torch.
_COMMANDS = {
    "probe": "Record which frames look at which, and measure it against the shots.",
    "generate": "Make a film with cuts where they are asked for, and say where it is cut.",
    "sweep": "Change the attention in one place after another, and see which change cuts the film.",
    "find-layers": "Search for the fewest layers, or heads, with which a mask still cuts.",
    "train": "Fine-tune a model on films with cuts, under the mask; go on with a run that was stopped.",
    "dataset": "Make clips of several shots out of films; look at them and check them.",
    "structure": "Measure how strongly attention in a store follows the shots.",
    "figure": "Draw a figure for a paper from a store, or all that it holds.",
    "report": "Write a store, two of them or a folder of runs as one page that opens offline.",
    "validate": "Check a store: schema, checksums, row sums; one line for each violation.",
    "score": "Measure videos: their cuts, whether as asked, how alike the shots are.",
    "reference": "Build a reference out of edited films, to measure a gap against.",
    "families": "List the model families that are supported, or prove what holds for them.",
    "reproduce": "Repeat a published study on any model: numbers beside the paper's, one page.",
    "submit": "Spread the prompts of a probe over jobs of a cluster.",
    "models": "List the models that come with the package.",
    "completion": "Print what makes a shell complete the commands and options.",
    "doctor": "Say what is installed and which implementation will run here.",
}
_GROUPS = ("dataset",)  # with commands of their own

app = App(
    name="attnscope",
    help="See, measure and change how video diffusion models attend across shot cuts.",
    help_epilogue=(
        "What reports takes --json, for one JSON document on stdout. Everything takes --quiet, which leaves stderr to "
        "errors, and --debug, which shows where an error comes from. NO_COLOR is respected, and progress is shown on "
        "terminals only.\n"
    ),
    version=__version__,
    version_flags=["--version"],
    help_flags=["--help", "-h"],
    suppress_keyboard_interrupt=False,  # Ctrl-C has a line of its own, below
    help_format="plaintext",  # no parser for markup to load: help is there at once
)
for _name, _sentence in _COMMANDS.items():
    _module = _name.replace("-", "_")
    if _name in _GROUPS:
        app.command(f"attnscope.cli.{_module}:app", name=_name, help=_sentence)
    else:
        app.command(
            f"attnscope.cli.{_module}:{_module}_command", name=_name, help=_sentence, help_epilogue=""
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    ``--debug`` anywhere shows the traceback of an error above its one line, ``--quiet`` leaves stderr to errors.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    words = [word for word in given if word not in ("--debug", "--quiet")]
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        with quiet("--quiet" in given):
            result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except (AttnscopeError, CycloptsError) as error:
        if debug:
            traceback.print_exc()
        return _say(error, words)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            return _leave_pipe()
        if debug:
            traceback.print_exc()
        return _say(_trouble_with_file(error), words)
    except KeyboardInterrupt:
        print("attnscope: interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return result if isinstance(result, int) else 0


def _leave_pipe() -> int:
    """The reader of our output has gone (attnscope ... | head): nothing is left to say."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _trouble_with_file(error: OSError) -> AttnscopeError:
    """What the operating system says of a file that no command expected trouble with, in one line."""
    return SetupError(
        expected="files and folders that can be read and written",
        got=quote(error.strerror or str(error)),
        where=f"at {error.filename}" if error.filename else "on this machine",
        remedy="check the path, its permissions and the room on the disk",
    )


def _say(error: Exception, words: Sequence[str]) -> int:
    # a converter's own message says more than the sentence that is put around it
    error = error.__cause__ if isinstance(error.__cause__, AttnscopeError) else error
    line = " ".join(str(error).split())
    if isinstance(error, CycloptsError):
        command = f"attnscope {words[0]}" if words and words[0] in _COMMANDS else "attnscope"
        line += f"{'' if line.endswith(('.', '?')) else '.'} See `{command} --help`."
    # a name that is no text in any encoding is still a name
    line = line.encode("utf-8", "backslashreplace").decode()
    print(f"attnscope: error: {line}", file=sys.stderr)
    return error.exit_code if isinstance(error, AttnscopeError) else 2


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
