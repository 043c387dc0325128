"""rank_heads: the order, and what the best are worth on films that they were not chosen on."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from attnscope import structure, student
from attnscope.errors import InputError

NUM_LAYERS, NUM_HEADS, NUM_FRAMES = 3, 4, 8


def films(dataset, *, strong: dict[int, float], noise: float, num: int = 6, seed: int = 0) -> xr.Dataset:
    """Films whose heads look `strong` times more into their own shot; place = layer * heads + head."""
    rng = np.random.default_rng(seed)
    shots = np.stack([(np.arange(NUM_FRAMES) >= 2 + film % 5).astype(int) for film in range(num)])
    same = shots[:, :, None] == shots[:, None, :]
    power = np.ones(NUM_LAYERS * NUM_HEADS)
    power[list(strong)] = list(strong.values())
    weights = np.where(same[:, None, None], power[:, None, None][None, None], 1.0)
    weights = weights * np.exp(noise * rng.standard_normal((num, 2, len(power), NUM_FRAMES, NUM_FRAMES)))
    mass = (weights / weights.sum(axis=-1, keepdims=True)).reshape(
        num, 2, 1, NUM_LAYERS, NUM_HEADS, NUM_FRAMES, NUM_FRAMES
    )
    texts = [f"prompt {film // 2}" for film in range(num)]
    return dataset(mass, shots).assign_coords(
        text=("prompt", texts), seed=("prompt", [film % 2 for film in range(num)])
    )


def places(ranked: xr.Dataset, num: int) -> list[int]:
    first = ranked.isel(place=slice(num))
    return ((first["layer"] - 1) * NUM_HEADS + first["head"]).values.tolist()


def test_strong_heads_come_first_and_are_chosen_on_every_other_prompt(dataset) -> None:
    ranked = structure.rank_heads(films(dataset, strong={5: 8.0, 9: 4.0}, noise=0.3), num=2)
    assert places(ranked, 2) == [5, 9]
    assert ranked["chosen"].values[:3].tolist() == [1.0, 1.0, 0.0]
    assert ranked["in_films"].values[:2].tolist() == [1.0, 1.0]
    assert ranked["in_steps"].values[:2].tolist() == [1.0, 1.0]
    assert ranked.attrs["held_out"] == pytest.approx(float(ranked["value"][:2].mean()))


def test_the_value_is_the_mean_of_the_statistic_over_films(dataset) -> None:
    ds = films(dataset, strong={5: 3.0}, noise=0.5)
    ranked = structure.rank_heads(ds, "contrast")
    values = structure.contrast(ds, over=("step",)).isel(branch=0).transpose("prompt", "layer", "head").values
    means = np.exp(np.log(values).mean(axis=0)).ravel()
    assert ranked["value"].values == pytest.approx(np.sort(means)[::-1])
    assert places(ranked, 1) == [int(means.argmax())]


def test_among_heads_that_are_all_alike_the_best_is_nothing_on_other_films(dataset) -> None:
    """The lucky winner is high where it was chosen; on the prompts that did not choose it, it is as any other."""
    lucky, honest = [], []
    for seed in range(12):
        ranked = structure.rank_heads(films(dataset, strong={}, noise=1.0, seed=seed), num=1)
        lucky.append(float(ranked["value"][0]))
        honest.append(ranked.attrs["held_out"])
    assert np.mean(lucky) > 0.08
    assert abs(np.mean(honest)) < 0.04


def test_held_out_is_what_a_loop_says(dataset) -> None:
    ds = films(dataset, strong={2: 2.0, 7: 2.0}, noise=0.8)
    ranked = structure.rank_heads(ds, num=2)
    values = structure.adjusted_r(ds, over=("step",)).isel(branch=0).transpose("prompt", "layer", "head")
    table = values.values.reshape(6, -1)
    by_prompt = []
    for prompt in range(3):
        own = np.isin(np.arange(6), [2 * prompt, 2 * prompt + 1])
        best = np.argsort(-table[~own].mean(axis=0))[:2]
        by_prompt.append(table[own][:, best].mean())
    low, high = student.student_interval(np.asarray(by_prompt), level=0.95)
    found = [ranked.attrs[name] for name in ("held_out", "held_out_low", "held_out_high")]
    assert found == pytest.approx([np.mean(by_prompt), low, high])


def test_one_prompt_has_no_others_to_choose_on(dataset) -> None:
    ranked = structure.rank_heads(films(dataset, strong={1: 5.0}, noise=0.1, num=2))
    assert np.isnan(ranked.attrs["held_out"])
    assert np.isnan(ranked["chosen"].values).all()
    assert places(ranked, 1) == [1]


@pytest.mark.parametrize("num", [0, 13])
def test_more_best_heads_than_heads_are_refused(dataset, num: int) -> None:
    with pytest.raises(InputError, match=f"a number of heads from 1 to 12, got {num}"):
        structure.rank_heads(films(dataset, strong={}, noise=1.0), num=num)


def test_a_branch_that_was_not_recorded_is_refused(dataset) -> None:
    with pytest.raises(InputError, match="a recorded guidance branch, got 'uncond'"):
        structure.rank_heads(films(dataset, strong={}, noise=1.0), branch="uncond")
