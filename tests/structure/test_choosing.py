"""best_on_other_films."""

import numpy as np
import pytest
import xarray as xr

from attnscope.errors import InputError
from attnscope.structure import best_on_other_films


def test_the_best_of_noise_is_no_better_than_the_rest():
    """30 layers without any difference: the best on the same films looks good, the best on other films does not."""
    generator, same, other = np.random.default_rng(0), [], []
    for trial in range(200):
        values = xr.DataArray(
            generator.normal(size=(10, 30)), dims=("prompt", "layer"), coords={"layer": range(1, 31)}
        )
        same.append(float(values.mean("prompt").max()))
        other.append(float(best_on_other_films(values, seed=trial).value.mean()))
    assert np.mean(same) > 0.5
    assert abs(np.mean(other)) < 0.1


def test_each_film_is_reported_where_the_others_are_best():
    generator = np.random.default_rng(1)
    table = generator.normal(size=(6, 4))
    values = xr.DataArray(table, dims=("prompt", "head"), coords={"head": range(4), "prompt": list("abcdef")})
    found = best_on_other_films(values, "head", num_folds=6)
    for film in range(6):
        best = np.delete(table, film, axis=0).mean(axis=0).argmax()
        assert found.chosen.values[film] == best
        assert found.value.values[film] == table[film, best]
    halves = best_on_other_films(values, "head", num_folds=2, seed=3)
    assert len(set(halves.chosen.values.tolist())) <= 2
    assert found.attrs["most_chosen"] in range(4)


def test_refusals():
    values = xr.DataArray(np.ones((3, 2)), dims=("prompt", "layer"), coords={"layer": [1, 2]})
    with pytest.raises(InputError, match="expected the dims prompt and layer, got prompt, layer, head"):
        best_on_other_films(values.expand_dims(head=2, axis=2))
    with pytest.raises(InputError, match="expected from 2 folds to as many as there are films, 3, got 4"):
        best_on_other_films(values, num_folds=4)
