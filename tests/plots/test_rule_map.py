"""A rule as a picture: what is hidden is dark, what is counted twice is on a scale, the cuts are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from attnscope.errors import InputError
from attnscope.masks import Sides, compile_rule, preset, same_shot
from attnscope.plots import plot_rule
from attnscope.plots._theme import BELOW_SCALE
from attnscope.shots import ShotPlan

PLAN = ShotPlan.from_latent_frames([2], num_frames_latent=5, fps=16).to_latent()


def colours(figure: object) -> np.ndarray:
    (image,) = figure.axes[0].images  # type: ignore[attr-defined]
    return np.asarray(image.cmap(image.norm(image.get_array())))


def test_hidden_pairs_are_dark_and_visible_ones_alike() -> None:
    relation = compile_rule(same_shot(PLAN), Sides.of_frames(5))
    figure = plot_rule(relation, cuts=PLAN.cuts, title="same shot")
    seen = colours(figure)
    dark = np.array([int(BELOW_SCALE[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    assert np.array_equal(np.isclose(seen[..., :3], dark).all(-1), np.isneginf(relation))
    assert len(np.unique(seen[relation == 0], axis=0)) == 1
    assert len(figure.axes[0].lines) == 2
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["visible", "hidden"]


def test_weights_get_a_scale() -> None:
    relation = compile_rule(preset("holocine", PLAN)[0].rule, Sides.of_frames(5))
    figure = plot_rule(relation)
    assert len(figure.axes) == 2
    assert figure.axes[1].get_ylim() == pytest.approx((0.0, np.log(2)))


@pytest.mark.parametrize("wrong", [np.zeros((2, 3)), np.zeros(4), np.full((2, 2), np.nan), np.zeros((0, 0))])
def test_what_is_no_relation_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected a relation of frames by frames"):
        plot_rule(wrong)


def test_a_rule_that_is_not_compiled_is_refused():
    with pytest.raises(InputError, match="expected a compiled rule"):
        plot_rule(same_shot(ShotPlan.from_frames([9], num_frames=17, fps=16)))
