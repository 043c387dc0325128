"""Objects show themselves: what a notebook draws of a plan, a rule, a film, an attachment is what they say."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import attnscope as scope
from attnscope import masks
from attnscope.intervening.cut_check import CutCheck
from attnscope.intervening.film import Film
from attnscope.shots import svg

PLAN = scope.ShotPlan.from_frames([13, 29], num_frames=49, fps=16)
SVG = "{http://www.w3.org/2000/svg}"


def drawing(shown: str) -> ElementTree.Element:
    return ElementTree.fromstring(re.search(r"<svg.*</svg>", shown, re.S)[0])


def test_a_ruler_has_a_block_for_each_shot_as_long_as_it_is() -> None:
    blocks = drawing(PLAN._repr_html_()).findall(f"{SVG}rect")
    widths = np.array([float(block.get("width")) + 1 for block in blocks])
    np.testing.assert_allclose(widths / widths.sum(), np.array([13, 16, 20]) / 49, rtol=0.01)


def test_a_ruler_says_where_cuts_are() -> None:
    words = [each.text for each in drawing(PLAN._repr_html_()).findall(f"{SVG}text")]
    assert "13 (0.8125 s)" in words or "13 (0.812 s)" in words
    latent = [each.text for each in drawing(PLAN.to_latent()._repr_html_()).findall(f"{SVG}text")]
    assert "4 (frame 13)" in latent


@pytest.mark.parametrize(
    "rule", [masks.same_shot(PLAN), masks.band(2), masks.same_shot(PLAN).soft(2.0) | masks.first_frame()]
)
def test_a_rule_is_drawn_as_it_is_compiled(rule: masks.MaskRule) -> None:
    cells = drawing(rule._repr_html_()).findall(f"{SVG}rect")
    shown = np.array([float(re.search(r"fill-opacity:([\d.e-]+)", cell.get("style"))[1]) for cell in cells])
    weight = np.exp(masks.compile_rule(rule, masks.Sides.of_frames(13)))
    np.testing.assert_allclose(shown.reshape(13, 13), 0.06 + 0.94 * weight, atol=2e-3)


def test_a_rule_is_drawn_on_the_frames_of_its_own_plan() -> None:
    long = scope.ShotPlan.from_latent_frames([11], num_frames_latent=21, fps=16)
    shown = (masks.band(1) | masks.same_shot(long))._repr_html_()
    assert len(drawing(shown).findall(f"{SVG}rect")) == 21 * 21


def test_every_preset_shows_itself() -> None:
    for name in masks.list_presets():
        for each in masks.preset(name, PLAN):
            shown = each._repr_html_()
            assert svg.html.escape(each.rule.describe()) in shown


def test_a_film_is_short_in_words_and_a_strip_in_a_notebook() -> None:
    frames = np.zeros((49, 32, 48, 3), np.uint8)
    film = Film(frames, PLAN.to_latent(), (7, 8, 9), 0.5, CutCheck((13, 29), (14,)))
    assert repr(film) == (
        "Film(49 frames of 48 x 32 at 16 fps; cuts asked at [13, 29], found at [14]; masked layers 7-9)"
    )
    assert 'src="data:image/png;base64,' in film._repr_html_()


def test_an_attachment_says_who_listens() -> None:
    pipe = scope.testing.tiny("wan")
    with scope.attach(pipe) as attachment:
        assert "listeners" in attachment._repr_html_()
        stop = attachment.listen("blocks.*.attn.hook_q", lambda value, point: None)
        assert re.search(r"attn.hook_q</td><td[^>]*>heard in layers 1", attachment._repr_html_())
        stop()
        assert "open, taps in layers 1" in repr(attachment)
    assert "closed" in repr(attachment)


def test_what_is_written_cannot_become_html() -> None:
    assert "<b>" not in svg.card("<b>", facts=[("<b>", "<b>")])
    assert "<b>" not in svg.ruler([0, 5], ["<b>", "5"], title="<b>")


def test_no_result_prints_its_numbers() -> None:
    """A repr is read by people: none that the package gives is longer than a screen."""
    frames = np.zeros((49, 32, 48, 3), np.uint8)
    for thing in (
        Film(frames, PLAN.to_latent(), (7,), 0.5, CutCheck((13,), (14,))),
        PLAN,
        PLAN.to_latent(),
        masks.same_shot(PLAN),
        scope.metrics.detect_cuts(frames, 16, detector="content"),
    ):
        assert len(repr(thing)) < 600, type(thing).__name__
