"""summary."""

import json

import numpy as np
import pytest

from attnscope.errors import InputError
from attnscope.structure import combined_p, contrast, correlation, mean_map, summary

CONTRACT = {
    "contrast",
    "contrast_no_diagonal",
    "pearson_r",
    "pearson_p",
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
    assert found["contrast"] == pytest.approx(float(contrast(whole).mean()))
    assert found["contrast_by_layer"][2] == pytest.approx(
        float(contrast(mean_map(random_maps)).sel(layer=2).mean())
    )
    result = correlation(whole)
    assert found["pearson_r"] == pytest.approx(float(result.r.mean()))
    assert found["pearson_p"] == pytest.approx(float(combined_p(result).squeeze()))
    assert found["contrast_mean_of_ratios"] == pytest.approx(float(contrast(random_maps).mean()))
    low, high = found["contrast_ci"]
    assert low <= found["contrast"] <= high


def test_single_prompt_has_exact_p_and_no_interval(random_maps):
    found = summary(random_maps.isel(prompt=[0]))
    assert found["contrast_ci"] == [None, None]
    assert found["pearson_p_smallest"] == pytest.approx(1 / 6)
    assert summary(random_maps.isel(prompt=0))["contrast"] == pytest.approx(found["contrast"])


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
    single = summary(dataset(mass[1:], [[0, 0, 0, 0]]))
    assert single["contrast"] is None
    assert single["pearson_p"] is None
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
