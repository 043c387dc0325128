"""summary."""

import json

import numpy as np
import pytest

from attnscope.errors import InputError
from attnscope.structure import (
    adjusted_contrast,
    adjusted_r,
    contrast,
    correlation,
    mean_map,
    summary,
)

CONTRACT = {
    "adjusted_contrast",
    "adjusted_r",
    "place_matched_contrast",
    "p",
    "p_reason",
    "contrast",
    "contrast_distance_only",
    "contrast_no_diagonal",
    "pearson_r",
    "pearson_r_distance_removed",
    "contrast_by_layer",
    "boundary_recall",
}


def test_keys_and_json(random_maps):
    found = summary(random_maps)
    assert set(found) >= CONTRACT
    assert json.loads(json.dumps(found, allow_nan=False))["num_prompts"] == 2
    assert list(found["contrast_by_layer"]) == [1, 2]


def test_averages_in_the_order_it_says(random_maps):
    found = summary(random_maps)
    whole = mean_map(random_maps, ("step", "head", "layer"))
    assert found["contrast"] == pytest.approx(float(np.exp(np.log(contrast(whole)).mean())))
    assert found["contrast_by_layer"][2] == pytest.approx(
        float(np.exp(np.log(contrast(random_maps)).sel(layer=2).mean()))
    )
    assert found["adjusted_contrast"] == pytest.approx(float(np.exp(np.log(adjusted_contrast(whole)).mean())))
    assert found["adjusted_r"] == pytest.approx(float(adjusted_r(whole).mean()))
    assert found["pearson_r"] == pytest.approx(float(correlation(whole).mean()))
    assert found["contrast_mean_of_ratios"] == pytest.approx(float(contrast(random_maps, over=()).mean()))
    assert found["adjusted_contrast_all_frames"] == pytest.approx(
        float(np.exp(np.log(adjusted_contrast(whole, first_key_frame=True)).mean()))
    )


def test_few_films_have_no_interval_and_no_p(random_maps):
    found = summary(random_maps)
    assert found["adjusted_contrast_ci"] == [None, None]
    assert found["p"] is None
    assert found["p_num_films_needed"] == 4
    assert "films with different cuts are needed" in found["p_reason"]
    one = summary(random_maps.isel(prompt=[0]))
    assert one["place_matched_contrast"] is None
    assert summary(random_maps.isel(prompt=0))["contrast"] == pytest.approx(one["contrast"])


def test_many_films_have_both(dataset):
    generator = np.random.default_rng(0)
    shots = np.array([np.arange(9) >= cut for cut in (2, 3, 4, 5, 6, 7)]).astype(int)
    same = shots[:, :, None] == shots[:, None, :]
    mass = (
        np.exp(0.2 * generator.normal(size=(6, 1, 1, 2, 1, 9, 9)))
        * np.where(same, 3.0, 1.0)[:, None, None, None, None]
    )
    found = summary(dataset(mass / mass.sum(axis=-1, keepdims=True), shots))
    assert found["p"] < 0.01
    assert found["p_null"] == "exchanged"
    for name in ("adjusted_contrast", "place_matched_contrast"):
        low, high = found[f"{name}_ci"]
        assert low < 3 < high
        assert low < found[name] < high


def test_hard_masks_and_single_shots_are_said_not_printed(dataset):
    mass = np.zeros((2, 1, 1, 2, 1, 4, 4))
    mass[:, :, :, 0] = np.kron(np.eye(2), np.full((2, 2), 0.5))
    mass[:, :, :, 1] = 0.25
    found = summary(dataset(mass, [[0, 0, 1, 1], [0, 0, 0, 0]]))
    assert found["contrast_by_layer"] == {1: None, 2: pytest.approx(1.0)}
    assert found["contrast"] == pytest.approx(3.0)
    assert found["num_single_shot"] == 1
    assert len(found["notes"]) == 2
    assert "in layers 1:" in found["notes"][0]
    masked = summary(dataset(mass[:1, :, :, :1], [[0, 0, 1, 1]]))
    assert masked["adjusted_contrast"] is None
    assert "6 pair(s) of frames have no mass" in masked["notes"][0]
    single = summary(dataset(mass[1:], [[0, 0, 0, 0]]))
    assert single["contrast"] is None
    assert single["p"] is None
    assert single["p_reason"] == "no film has cuts that can be measured"
    assert single["boundary_recall"] is None
    json.dumps(single, allow_nan=False)


def test_branch_is_chosen_by_name(random_maps, dataset):
    both = dataset(np.concatenate([random_maps.mass.values] * 2, axis=2), random_maps.query_shot.values)
    both.mass[:, :, 1] = 1 / 7
    assert summary(both)["contrast"] == pytest.approx(summary(random_maps)["contrast"])
    assert summary(both, branch="uncond")["contrast"] == pytest.approx(1.0)
    with pytest.raises(
        InputError, match="expected a recorded guidance branch, got 'neg' where the dataset has cond"
    ):
        summary(both, branch="neg")
