"""`attnscope validate`: sound stores, one damaged chunk, and what is no store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest


def test_a_sound_store(run: Any, store: Path) -> None:
    assert run("validate", store) == (0, f"{store}: valid\n", "")
    found = json.loads(run("validate", store, "--json").out)
    assert found == {
        "store": str(store),
        "valid": True,
        "violations": [],
        "num_steps_done": 2,
        "num_steps": 2,
    }


@pytest.fixture
def damaged(store: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the store with one bit flipped in a chunk of mass."""
    copy = tmp_path / "copy.zarr"
    shutil.copytree(store, copy)
    chunk = sorted(path for path in (copy / "mass").rglob("c*") if path.is_file())[0]
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    return copy, chunk


def test_one_flipped_bit_is_found_and_named(run: Any, damaged: tuple[Path, Path]) -> None:
    copy, chunk = damaged
    outcome = run("validate", copy)
    assert (outcome.code, outcome.err) == (1, "")
    assert str(chunk) in outcome.out
    assert outcome.out.endswith(f"{copy}: 1 violations\n")
    found = json.loads(run("validate", copy, "--json").out)
    assert not found["valid"]
    assert [str(chunk) in line for line in found["violations"]] == [True]


def test_structure_names_the_damaged_chunk_too(run: Any, damaged: tuple[Path, Path]) -> None:
    copy, chunk = damaged
    outcome = run("structure", copy, "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert str(chunk) in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_store_that_lost_its_root_is_damaged_not_absent(run: Any, damaged: tuple[Path, Path]) -> None:
    copy, chunk = damaged
    (copy / "zarr.json").unlink()
    outcome = run("validate", copy)
    assert outcome.code == 1
    assert "zarr.json" in outcome.out
    assert str(chunk) in outcome.out
