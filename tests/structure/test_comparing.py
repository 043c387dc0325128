"""compare pairs films by prompt and seed, and counts each prompt once."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from attnscope import structure, student
from attnscope.errors import InputError

TEXTS = ["a dog", "a dog", "a cat", "a cat", "a fish", "a fish", "a bird", "a bird"]
SEEDS = [0, 1] * 4


def films(dataset, seed: int, texts=TEXTS, seeds=SEEDS, layers=(1, 2)) -> xr.Dataset:
    num = len(texts)
    mass = np.random.default_rng(seed).dirichlet(np.ones(7), size=(num, 2, 1, len(layers), 3, 7))
    shots = [np.arange(7) >= 2 + place % 4 for place in range(num)]
    ds = dataset(mass, np.asarray(shots).astype(int))
    return ds.assign_coords(text=("prompt", list(texts)), seed=("prompt", list(seeds)), layer=list(layers))


def by_hand(values: np.ndarray) -> tuple[float, float, float]:
    """Seeds of a prompt averaged first, then Student's interval over the four prompts."""
    each = values.reshape(4, 2).mean(axis=1)
    low, high = student.student_interval(each, level=0.95)
    return each.mean(), low, high


def test_a_difference_is_paired_and_each_prompt_counts_once(dataset) -> None:
    a, b = films(dataset, 1), films(dataset, 2)
    found = structure.compare(a, b, "own_shot_mass", over=("step", "head"))
    first, second = (structure.own_shot_mass(each).sel(layer=2).isel(branch=0).values for each in (a, b))
    mean, low, high = by_hand(second - first)
    one = found.sel(layer=2).isel(branch=0)
    assert [float(one[name]) for name in ("change", "low", "high")] == pytest.approx([mean, low, high])
    assert (int(one["num"]), found.attrs["num_pairs"], found.attrs["change"]) == (4, 8, "difference")
    assert float(one["a"]) == pytest.approx(first.mean())


def test_a_ratio_is_compared_as_its_logarithm(dataset) -> None:
    a, b = films(dataset, 1), films(dataset, 2)
    found = structure.compare(a, b, "contrast").sel(layer=1).isel(branch=0)
    first, second = (structure.contrast(each).sel(layer=1).isel(branch=0).values for each in (a, b))
    assert [float(found[name]) for name in ("change", "low", "high")] == pytest.approx(
        np.exp(by_hand(np.log(second / first)))
    )


def test_the_order_of_films_does_not_matter(dataset) -> None:
    a, b = films(dataset, 1), films(dataset, 2)
    turned = b.isel(prompt=[5, 0, 7, 3, 1, 2, 6, 4]).assign_coords(prompt=range(8))
    xr.testing.assert_allclose(structure.compare(a, b), structure.compare(a, turned))


def test_films_and_layers_that_one_lacks_are_left_out(dataset) -> None:
    a, b = films(dataset, 1), films(dataset, 2, layers=(2, 3))
    found = structure.compare(a, b.isel(prompt=slice(2, None)), "own_shot_mass")
    assert found["layer"].values.tolist() == [2]
    assert (int(found["num"].squeeze()), found.attrs["num_pairs"]) == (3, 6)


def test_against_itself_nothing_changes(dataset) -> None:
    found = structure.compare(films(dataset, 1), films(dataset, 1), "adjusted_r")
    for name in ("change", "low", "high"):
        assert np.abs(found[name].values).max() == 0


def test_films_without_texts_are_prompts_of_their_own(dataset) -> None:
    texts, seeds = [""] * 4, [0, 1, 2, 3]
    a, b = (films(dataset, seed, texts, seeds) for seed in (1, 2))
    assert structure.compare(a, b, "own_shot_mass")["num"].values.max() == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": ("prompt", [8, 9] * 4)}, "8 and 8 films and none in common"),
        ({"seed": ("prompt", [0] * 8)}, "twice"),
    ],
)
def test_what_cannot_be_paired_is_refused(dataset, change, message) -> None:
    with pytest.raises(InputError, match=message):
        structure.compare(films(dataset, 1), films(dataset, 2).assign_coords(change))


def test_runs_that_share_no_layer_are_refused(dataset) -> None:
    with pytest.raises(InputError, match="share a layer"):
        structure.compare(films(dataset, 1), films(dataset, 2, layers=(3, 4)))


def test_an_unknown_statistic_is_told_the_known_ones(dataset) -> None:
    with pytest.raises(InputError, match="expected a statistic out of adjusted_r, .*, got 'contrasts'"):
        structure.compare(films(dataset, 1), films(dataset, 2), "contrasts")
