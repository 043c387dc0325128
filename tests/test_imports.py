"""The front door is light: reading a store or a help page never waits for torch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "nnsight",
    "matplotlib",
    "plotly",
    "xarray",
    "zarr",
    "scipy",
    "numpy",
)
HELP_BUDGET_S = 0.5
HELP = "import sys; sys.argv = ['attnscope', '--help']; from attnscope.cli import main; sys.exit(main())"
REPORT = f"import sys; print(*[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def processor_s(code: str) -> float:
    """Processor time of the best of three runs: the wall clock of a busy machine would measure its neighbours."""
    times_s = []
    for _ in range(3):
        before = os.times()
        run(code).check_returncode()
        after = os.times()
        spent = (after.children_user + after.children_system) - (
            before.children_user + before.children_system
        )
        times_s.append(spent)
    return min(times_s)


def test_import_attnscope_imports_nothing_heavy() -> None:
    done = run(f"import attnscope; {REPORT}")
    assert (done.returncode, done.stderr.split()) == (0, [])


def test_dir_and_a_wrong_name_import_nothing_heavy() -> None:
    done = run(f"import attnscope; dir(attnscope); hasattr(attnscope, 'nothing'); {REPORT}")
    assert (done.returncode, done.stderr.split()) == (0, [])


@pytest.mark.parametrize("name", ["ShotPlan", "masks", "structure", "schema", "open_store"])
def test_reading_a_store_imports_no_torch(name: str) -> None:
    done = run(f"import attnscope; attnscope.{name}; {REPORT}")
    assert done.returncode == 0, done.stderr
    assert not {"torch", "diffusers", "nnsight", "matplotlib"} & set(done.stderr.split())


def test_help_imports_nothing_heavy() -> None:
    done = run(f"import atexit\n@atexit.register\ndef report():\n    {REPORT}\n{HELP}")
    assert done.returncode == 0, done.stderr
    assert "probe" in done.stdout
    assert not {"torch", "diffusers", "nnsight", "matplotlib"} & set(done.stderr.split())


def test_no_command_waits_for_torch_before_it_has_read_its_line() -> None:
    """The modules of all commands together: help, completion and refusals come before the ten seconds of a model."""
    done = run(
        "import importlib, pkgutil, attnscope.cli as cli\n"
        "for module in pkgutil.walk_packages(cli.__path__, 'attnscope.cli.'):\n"
        f"    importlib.import_module(module.name)\n{REPORT}"
    )
    assert done.returncode == 0, done.stderr
    assert not {"torch", "diffusers", "nnsight", "matplotlib"} & set(done.stderr.split())


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows does not report the processor time of child processes"
)
def test_help_is_quick() -> None:
    bare_s, help_s = processor_s("pass"), processor_s(HELP)
    assert help_s - bare_s < HELP_BUDGET_S, f"--help needs {help_s:.2f} s, bare python {bare_s:.2f} s"
