"""The gap: distances with a closed form, the null level that was measured elsewhere, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import gaussian_kde

from attnscope.errors import InputError
from attnscope.metrics import (
    Reference,
    consistency_gap,
    js_distance,
    read_reference,
    reference_of,
    references,
)
from attnscope.storage.sealed import seal

# mean distance of n draws to 5000 of the same distribution, measured by somebody else; which distribution is not said,
# a beta(8, 4) has the same level in all fifteen cells of histograms
NULL = {10: (0.49, 0.17), 40: (0.26, 0.11), 80: (0.18, 0.095), 200: (0.12, 0.07), 1000: (0.06, 0.04)}


def test_histograms_have_a_closed_form() -> None:
    # half of the first in each of two bins, all of the second in one of them
    first, second = [0.12, 0.12, 0.62, 0.62], [0.12, 0.12]
    p, q = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    middle = (p + q) / 2
    expected = np.sqrt((np.sum(p * np.log2(p / middle)) + np.log2(1 / middle[0])) / 2)
    assert js_distance(first, second, method="histogram") == pytest.approx(expected)
    assert js_distance(first, [0.32, 0.32], method="histogram") == 1


def test_the_smooth_distance_is_that_of_smooth_densities() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(0.4, 0.1, 60), rng.normal(0.55, 0.12, 90)
    z = [np.arctanh(each) for each in (first, second)]
    grid = np.linspace(-1, 2.5, 8000)
    width = max(1.06 * each.std(ddof=1) * len(each) ** -0.2 for each in z)
    # scipy's factor times the standard deviation is the bandwidth
    densities = [gaussian_kde(each, bw_method=width / each.std(ddof=1))(grid) for each in z]
    assert js_distance(first, second) == pytest.approx(jensenshannon(*densities, base=2), abs=2e-3)


def test_a_distance_has_no_direction_and_is_0_to_itself() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.uniform(0, 1, 40), rng.uniform(-1, 1, 50)
    for method in ("kde", "histogram"):
        assert js_distance(first, first, method=method) == pytest.approx(0, abs=1e-7)  # type: ignore[arg-type]
        there, back = (js_distance(*pair, method=method) for pair in ((first, second), (second, first)))  # type: ignore[arg-type]
        assert there == pytest.approx(back)
        assert 0 < there < 1


@pytest.mark.parametrize("num", NULL)
def test_the_null_level_is_the_measured_one(num: int) -> None:
    rng = np.random.default_rng(num)
    reference = rng.beta(8, 4, 5000)
    levels = [
        np.mean([js_distance(rng.beta(8, 4, num), reference, method=method) for _ in range(60)])
        for method in ("histogram", "kde")
    ]
    histogram, smooth = NULL[num]
    assert levels[0] == pytest.approx(histogram, abs=0.02)
    assert levels[1] == pytest.approx(smooth, abs=0.015)


def test_a_gap_stands_beside_its_null_level() -> None:
    rng = np.random.default_rng(3)
    film = rng.normal(0.6, 0.1, 400)
    same = consistency_gap(rng.normal(0.6, 0.1, 60), film, num_draws=200)
    other = consistency_gap(rng.normal(0.3, 0.1, 60), film, num_draws=200)
    assert same.distance < same.null_high
    assert same.p > 0.05
    assert same.low == 0.0
    assert other.p == pytest.approx(1 / 201)
    assert other.null_high < other.low < other.distance < other.high
    assert other.wasserstein == pytest.approx(0.3, abs=0.04)
    assert (same.num_videos, same.num_reference, same.method) == (60, 400, "kde")


def test_a_small_reference_raises_no_more_alarms_than_a_large_one() -> None:
    """Both sides from one place: p <= .05 in one of twenty, also where the reference is as small as the sample."""
    rng, alarms = np.random.default_rng(5), []
    for trial in range(120):
        values = np.tanh(rng.normal(0.8, 0.3, 70))
        alarms.append(consistency_gap(values[:50], values[50:], num_draws=79, seed=trial).p <= 0.05)
    assert np.mean(alarms) < 0.12  # .05 and three and a half standard errors


def test_a_gap_of_the_same_seed_is_the_same() -> None:
    rng = np.random.default_rng(4)
    values, film = rng.uniform(0, 0.9, 30), rng.uniform(0, 0.9, 50)
    assert consistency_gap(values, film, num_draws=50) == consistency_gap(values, film, num_draws=50)
    assert consistency_gap(values, film, num_draws=50) != consistency_gap(values, film, num_draws=50, seed=1)


def test_too_few_videos_are_refused() -> None:
    many = np.linspace(0.1, 0.9, 40)
    with pytest.raises(InputError, match="at least 20 videos for a gap, got 19 in the videos"):
        consistency_gap(many[:19], many)
    with pytest.raises(InputError, match="got 5 in the reference"):
        consistency_gap(many, many[:5])
    with pytest.raises(InputError, match="expected at least 2 cosines"):
        js_distance([0.5, 1.5], many)
    with pytest.raises(InputError, match="expected at least 2 cosines"):
        js_distance([0.5, float("nan")], many)
    with pytest.raises(InputError, match="kde or histogram"):
        js_distance(many, many, method="kolmogorov")  # type: ignore[arg-type]


def row(
    value: float | None, *, encoder: str = "a", detector: str = "vote", status: str = "ok"
) -> dict[str, Any]:
    entry = {"value": value, "encoder": encoder, "weights_sha256": "1"}
    return {
        "status": status,
        "detector": detector,
        "consistency": {"inter_visual": entry, "intra_subject": entry},
    }


def test_a_reference_keeps_what_compares_shots_and_comes_back(tmp_path: Path) -> None:
    rows = [*(row(value / 40) for value in range(30)), row(None), row(0.5, status="failed")]
    reference = reference_of(rows)
    assert (reference.num_videos, reference.detector) == (31, "vote")
    assert reference.values == {"inter_visual": tuple(value / 40 for value in range(30))}
    path = reference.write(tmp_path / "deep" / "reference.json")
    assert read_reference(path) == reference
    assert reference.gap("inter_visual", [value / 40 for value in range(30)], "a:1").distance == 0


def test_encoders_are_never_mixed() -> None:
    with pytest.raises(InputError, match="expected one encoder for inter_visual, got a:1 and b:1"):
        reference_of([row(0.5), row(0.5, encoder="b")])
    with pytest.raises(
        InputError, match="scored by one detector, got 2 films and the detectors content, vote"
    ):
        reference_of([row(0.5), row(0.5, detector="content")])
    with pytest.raises(InputError, match="films of two shots or more"):
        reference_of([row(None)])
    reference = Reference(30, {"inter_visual": (0.5,) * 30}, {"inter_visual": "a:1"}, "vote")
    with pytest.raises(InputError, match="expected values of the encoder a:1, got b:1"):
        reference.gap("inter_visual", [0.5] * 30, "b:1")
    with pytest.raises(InputError, match="expected a measure out of inter_visual"):
        reference.gap("inter_semantic", [0.5] * 30, "a:1")


def sealed(kind: str = references.KIND, **fields: Any) -> str:
    return seal(kind, msgspec.defstruct("Body", fields)(**fields)).decode()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        "[" * 100_000,
        json.dumps(
            {"format": "attnscope reference", "version": 1, "values": {"x": [1]}, "encoders": {"x": "a"}}
        ),
        sealed(num_videos=1, detector="vote", encoders={"x": "a"}, values={"x": ["a"]}),
        sealed(num_videos=1, detector="vote", encoders={}, values={"x": [1.0]}),
        sealed(num_videos=1, detector="vote", encoders={"x": "a"}, values={"x": [1.0]}, more=1),
        sealed(
            "attnscope reference 99", num_videos=1, detector="vote", encoders={"x": "a"}, values={"x": [1.0]}
        ),
    ],
)
def test_a_file_that_is_no_reference_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "reference.json"
    path.write_text(content)
    with pytest.raises(InputError, match="expected a reference of version 2"):
        read_reference(path)
