"""Effects of a sweep against counting by hand; Wilson's interval against its defining equation."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from attnscope import structure
from attnscope.errors import InputError


def swept(recall: np.ndarray, **labels: list[str]) -> xr.Dataset:
    cells = labels.pop("cell")
    return xr.Dataset(
        {"recall": (("prompt", "seed", "cell"), recall)},
        {"cell": cells, "cuts_frame": ("prompt", ["5", "9", "5"])}
        | {name: ("cell", values) for name, values in labels.items()},
    )


def example() -> xr.Dataset:
    recall = np.array([[[0, 1, 1], [0, 1, np.nan]], [[0, 1, 0], [1, 1, 0]], [[0, 0, 1], [0, 0, 0]]], float)
    return swept(recall, cell=["none", "full", "layers 7"], layers=["all", "7-28", "7"], heads=["all"] * 3)


def test_means_are_over_seeds_then_prompts_and_effects_are_paired() -> None:
    effect = structure.causal_effect(example())
    np.testing.assert_allclose(effect["mean"], [0.5 / 3, 2 / 3, 0.5])
    np.testing.assert_allclose(effect["effect"], [0, (1 + 0.5 + 0) / 3, (1 - 0.5 + 0.5) / 3])
    assert effect["num"].values.tolist() == [3, 3, 3]
    assert (effect["low"] <= effect["mean"]).all()
    assert (effect["mean"] <= effect["high"]).all()
    assert effect.attrs["measure"] == "recall"


def test_alike_films_are_no_certainty() -> None:
    """Films that are all cut: the interval of the share is Wilson's, wider below five films, never of no length."""
    six = structure.causal_effect(swept_of(np.tile([0.0, 1.0], (6, 1, 1))))
    np.testing.assert_allclose(
        [six["low"][1], six["high"][1]], [float(end) for end in structure.wilson(6, 6)]
    )
    effect = structure.causal_effect(swept_of(np.tile([0.0, 1.0], (4, 1, 1))))
    assert effect["low"][1] < float(structure.wilson(4, 4)[0])
    assert effect["effect_low"][1] < 0.1
    assert effect["effect_high"][1] == 1
    fewer = structure.causal_effect(swept_of(np.tile([0.0, 1.0], (2, 1, 1))))
    assert np.isnan(fewer["low"]).all()


def test_cuts_of_one_film_and_seeds_of_one_prompt_are_no_films() -> None:
    """Half of ten films with all of their three cuts, half with none: as unsure as five of ten, not fifteen of 30."""
    whole = np.repeat([0.0, 1.0], 5)[:, None, None] * np.ones((1, 2, 1))
    ds = swept_of(whole).assign(num_requested=("prompt", [3] * 10))
    effect = structure.causal_effect(ds)
    variance = 0.25 * 10 / 9
    expected = structure.wilson(0.5 * 0.25 * 10 / variance, 0.25 * 10 / variance)[0]
    np.testing.assert_allclose(effect["low"], max(expected, structure.wilson(5, 10)[0]), atol=0.01)
    # independent cuts, spread evenly over films, count each
    even = np.full((10, 2, 1), 0.5)
    even[0], even[1] = 0.4, 0.6
    assert (
        effect["low"]
        < structure.causal_effect(swept_of(even).assign(num_requested=("prompt", [3] * 10)))["low"]
    )


def swept_of(recall: np.ndarray) -> xr.Dataset:
    cells = ["none", "full"][: recall.shape[2]]
    return xr.Dataset({"recall": (("prompt", "seed", "cell"), recall)}, {"cell": cells})


def test_without_the_cell_none_there_is_a_mean_and_no_effect() -> None:
    effect = structure.causal_effect(example().sel(cell=["full"]))
    assert effect["mean"].item() == pytest.approx(2 / 3)
    assert np.isnan(effect["effect"]).all()


def test_the_grid_is_a_mean_over_films_that_bear_both_labels() -> None:
    grid = structure.effect_grid(example(), rows="cell", columns="cuts_frame")
    assert grid.dims == ("cell", "cuts_frame")
    assert grid.cell.values.tolist() == ["none", "full", "layers 7"]
    np.testing.assert_allclose(grid.sel(cell="none"), [0.0, 0.5])
    np.testing.assert_allclose(grid.sel(cell="full"), [0.5, 1.0])
    np.testing.assert_allclose(
        grid.sel(cell="layers 7"), [2 / 3, 0.0]
    )  # the film that is missing is left out
    by_layer = structure.effect_grid(example(), rows="layers", columns="heads")
    assert by_layer.layers.values.tolist() == ["7"]


def test_a_place_without_films_is_nan() -> None:
    recall = np.ones((3, 1, 2))
    both = swept(recall, cell=["a", "b"], layers=["7", "8"], heads=["0", "1"])
    grid = structure.effect_grid(both, rows="layers", columns="heads")
    np.testing.assert_array_equal(grid, [[1, np.nan], [np.nan, 1]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: structure.causal_effect(xr.Dataset()), "got 'recall' among nothing"),
        (lambda: structure.causal_effect(example(), "beauty"), "got 'beauty'"),
        (lambda: structure.effect_grid(example(), rows="cell", columns="cell"), "two different labels"),
        (lambda: structure.effect_grid(example(), rows="cell", columns="colour"), "two different labels"),
        (lambda: structure.wilson(3, 2), "hits from 0"),
        (lambda: structure.wilson(-1, 2), "hits from 0"),
        (lambda: structure.wilson(1, 2, level=1), "hits from 0"),
    ],
)
def test_refusals(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("hits", "tries"), [(0, 5), (5, 5), (1, 20), (37, 40), (80, 80)])
def test_wilson_solves_its_equation(hits: int, tries: int) -> None:
    """The ends are the shares p at which the count is 1.96 standard errors of p away, and 0 and 1 at the ends."""
    low, high = (float(end) for end in structure.wilson(hits, tries))
    for end, is_edge in ((low, hits == 0), (high, hits == tries)):
        if is_edge:
            assert end in (0.0, 1.0)
        else:
            error = np.sqrt(end * (1 - end) / tries)
            assert abs(hits / tries - end) == pytest.approx(1.959963984540054 * error)
    assert low <= hits / tries <= high
    assert all(np.isnan(end) for end in structure.wilson(0, 0))
