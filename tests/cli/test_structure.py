"""`attnscope structure`: the numbers of the library, of finished and unfinished stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from attnscope import structure
from attnscope.storage import Store, open_store
from attnscope.structure.headline import layer_curves


def test_every_number_is_that_of_the_library(run: Any, store: Path) -> None:
    outcome = run("structure", store, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    expected = json.loads(json.dumps(structure.summary(open_store(store))))
    assert found == {"store": str(store), "num_steps_done": 2, "num_steps": 2, **expected}
    assert found["contrast"] is not None


def test_a_table_shows_the_same_numbers(run: Any, store: Path) -> None:
    outcome = run("structure", store)
    assert (outcome.code, outcome.err) == (0, "")
    numbers = structure.summary(open_store(store))
    line = next(line for line in outcome.out.splitlines() if "intra-shot mass" in line)
    assert f"{numbers['contrast']:.3g}" in line


def test_an_unfinished_store_is_measured_on_what_is_there(run: Any, store: Path, tmp_path: Path) -> None:
    full = open_store(store)
    half, first_step = (
        Store.create(tmp_path / "half.zarr", Store.open(store).header),
        full.isel(prompt=0, step=0),
    )
    half.append(0, 0, first_step.mass.values, None, float(first_step.timestep), float(first_step.sigma))
    assert Store.open(tmp_path / "half.zarr").progress() == (1, 2)
    outcome = run("structure", "half.zarr", "--json")
    assert outcome.code == 0
    first = open_store(store).isel(step=[0])
    assert np.isclose(json.loads(outcome.out)["contrast"], structure.summary(first)["contrast"])


def test_a_store_in_which_nothing_is_done_yet(run: Any, store: Path) -> None:
    Store.create("empty.zarr", Store.open(store).header)
    outcome = run("structure", "empty.zarr", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(outcome.out)["contrast"] is None
    assert run("structure", "empty.zarr").code == 0


def test_curves_of_a_picture_are_the_statistics_by_layer(store: Path) -> None:
    dataset = open_store(store)
    curves = layer_curves(dataset, branch="cond")
    numbers = structure.summary(dataset)
    for name, key in (
        ("contrast", "contrast_by_layer"),
        ("distance_only", "contrast_distance_only_by_layer"),
        ("correlation", "pearson_r_by_layer"),
        ("adjusted", "adjusted_r_by_layer"),
    ):
        expected = numbers[key]
        assert isinstance(expected, dict)
        mean = curves[name]["mean"] if "mean" in curves[name] else curves[name]["value"]
        assert np.allclose(np.ravel(mean.values), list(expected.values()))
