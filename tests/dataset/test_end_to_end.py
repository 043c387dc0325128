"""From films to a scored film, by the script that does all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from attnscope.testing.wan import tiny_wan

SCRIPT = Path(__file__).parents[2] / "experiments" / "dataset_pipeline" / "end_to_end.py"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_films_become_clips_become_weights_become_a_film(tmp_path: Path) -> None:
    tiny_wan(num_layers=2).save_pretrained(tmp_path / "tiny")
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "run", "--quick", "--films", "3", "--model", tmp_path / "tiny"],
        cwd=SCRIPT.parents[2],
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("3 clips of 3 films, valid: True; trained 2 steps on 3 films;")
    assert last.endswith("f1 1.00")
