"""Rules as text: the same rule as in Python, and one line for everything that is none."""

from __future__ import annotations

import pytest

from attnscope import masks
from attnscope.errors import MaskError
from attnscope.masks import (
    Intervention,
    Ramp,
    anchors,
    band,
    decay,
    everything,
    fade,
    first_frame,
    general_text,
    halo,
    own_text,
    padding_text,
    parse_rule,
    permuted,
    previous_shot,
    same_shot,
    sampled,
    shot_causal,
    shot_starts,
    together,
)
from attnscope.masks.rules import BY_NAME
from attnscope.shots import ShotPlan

PLAN = ShotPlan.from_latent_frames([3, 6], num_frames_latent=9, fps=16)

SAME = {
    "same_shot": same_shot(PLAN),
    " same_shot() ": same_shot(PLAN),
    "same_shot | first_frame": same_shot(PLAN) | first_frame(),
    "same_shot | first_frame(2, times=3)": same_shot(PLAN) | first_frame(2, times=3),
    "halo(1) & ~band(2)": halo(PLAN, 1) & ~band(2),
    "same_shot | previous_shot & band(3)": same_shot(PLAN) | (previous_shot(PLAN) & band(3)),
    "(same_shot | previous_shot) & band(3)": (same_shot(PLAN) | previous_shot(PLAN)) & band(3),
    "soft(same_shot, 4)": same_shot(PLAN).soft(4),
    "together(8, reach=1)": together(PLAN, 8, reach=1),
    "soft(same_shot, ramp(8, 0.5))": same_shot(PLAN).soft(Ramp(8, 0.5)),
    "fade(reach=3) + decay(2, 1.5)": fade(PLAN, 3) + decay(2, 1.5),
    "times(same_shot, 2) + everything": same_shot(PLAN).times(2) + everything(),
    'shot_causal | shot_starts(1, of="own", times=2)': (
        shot_causal(PLAN) | shot_starts(PLAN, 1, of="own", times=2)
    ),
    "same_shot | (anchors(0, 2) & sampled(0.5, seed=3))": (
        same_shot(PLAN) | (anchors(PLAN, 0, 2) & sampled(0.5, seed=3))
    ),
    "permuted(same_shot, seed=4)": permuted(same_shot(PLAN), seed=4),
    "same_shot | (own_text | general_text) & ~padding_text": (
        same_shot(PLAN) | ((own_text(PLAN) | general_text(PLAN)) & ~padding_text())
    ),
}


@pytest.mark.parametrize("text", SAME)
def test_text_is_the_rule_that_python_makes(text: str) -> None:
    assert parse_rule(text, PLAN) == SAME[text]


NO_RULES = {
    "": "something that does not parse",
    "   ": "something that does not parse",
    "same_shot |": "something that does not parse",
    "same_shot first_frame": "something that does not parse",
    "(((": "something that does not parse",
    "same\0shot": "something that does not parse",
    "same_shot; first_frame": "something that does not parse",
    "same_shots": "got 'same_shots'",
    "import os": "something that does not parse",
    "__import__('os').system('true')": 'got "__import__',
    "__import__('os')": "got '__import__'",
    "same_shot.__class__": "same_shot.__class__",
    "(lambda: 1)()": "lambda",
    "[same_shot]": "[same_shot]",
    "same_shot if 1 else first_frame": "if 1 else",
    "same_shot ^ first_frame": "same_shot ^ first_frame",
    "same_shot - first_frame": "same_shot - first_frame",
    "same_shot or first_frame": "same_shot or first_frame",
    "not same_shot": "not same_shot",
    "same_shot | 3": "got '3'",
    "3": "got no rule",
    "'same_shot'": "got no rule",
    "ramp(8, 0)": "got no rule",
    "~4": "got '4'",
    "-same_shot": "-same_shot",
    "halo(**1)": "got **",
    "halo(1, 2)": "expected halo(reach), got too many positional arguments",
    "halo(width=2)": "unexpected keyword argument 'width'",
    "first_frame(same_shot)": "whole number of latent frames",
    "band()": "missing a required argument",
    "band('wide')": "got 'wide' in band",
    "band(1e9)": "got 1000000000.0 in band",
    "band(99999999999999999999)": "whole number of latent frames",
    "soft(4)": "soft without a rule in it",
    "soft(same_shot)": "missing a required argument",
    "soft(same_shot, -4)": "strength from 0",
    "soft(same_shot, 1e400)": "got inf in soft",
    "times(same_shot, 0)": "multiplicity above 0",
    "permuted": "permuted without a rule in it",
    "anchors(7)": "among 0 to 2",
    "sampled(2)": "share from 0 to 1",
    "same_shot" + " | same_shot" * 60: "at most 500 characters",
    "~" * 400 + "same_shot": None,
}


@pytest.mark.parametrize("text", NO_RULES, ids=lambda text: text[:24])
def test_what_is_no_rule_is_refused_in_one_line(text: str) -> None:
    words = NO_RULES[text]
    if words is None:  # long, but a rule: it must be read without harm
        assert parse_rule(text, PLAN).describe().startswith("A frame sees all but")
        return
    with pytest.raises(MaskError) as caught:
        parse_rule(text, PLAN)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_rule_that_takes_no_array_has_its_own_name_in_text() -> None:
    shots = [
        "anchors",
        "fade",
        "halo",
        "next_shot",
        "previous_shot",
        "same_shot",
        "shot_causal",
        "shot_starts",
        "together",
    ]
    text = ["general_text", "own_text", "padding_text", "transitions"]
    frames = ["band", "decay", "everything", "first_frame", "sampled"]
    assert sorted(BY_NAME) == sorted([*shots, *text, *frames, "permuted", "ramp", "soft", "times"])
    assert all(BY_NAME[name] is getattr(masks, name) for name in [*shots, *text, *frames, "permuted"])


def test_there_are_enough_of_them() -> None:
    assert len([words for words in NO_RULES.values() if words]) >= 40


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attention": "temporal"}, "attention any, self or cross, got 'temporal'"),
        ({"branch": "both"}, "branch cond, uncond or cond,uncond, got 'both'"),
        ({"branch": "cond,cond"}, "got 'cond,cond'"),
        ({"branch": ""}, "got ''"),
        ({"sigmas": (0.5, 0.2)}, "noise level, from 0 to 1, got"),
        ({"sigmas": (0.0, 2.0)}, "noise level, from 0 to 1, got"),
        ({"sigmas": 0.5}, "noise level, from 0 to 1, got 0.5"),
        ({"sigmas": ("low", "high")}, "noise level, from 0 to 1"),
    ],
)
def test_a_scope_that_makes_no_sense_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(MaskError, match=words) as caught:
        Intervention(first_frame(), **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_an_intervention_says_where_it_acts() -> None:
    said = Intervention(
        first_frame(),
        layers=[1, 2, 3, 9],
        heads=0,
        steps="0-12",
        sigmas=(0.5, 1.0),
        branch="cond",
        attention="self",
    ).describe()
    assert said.endswith(
        "In layers 1-3,9, heads 0, steps 0-12, noise levels 0.5 to 1, branch cond, self-attention only."
    )
    with pytest.raises(MaskError, match="expected a mask rule after an intervention"):
        Intervention("same_shot")  # type: ignore[arg-type]
