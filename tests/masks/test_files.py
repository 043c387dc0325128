"""Interventions as files: every rule comes back as it was, on its own shots or on others."""

from __future__ import annotations

import json

import numpy as np
import pytest

from attnscope import ShotPlan, masks
from attnscope.errors import InputError, MaskError, StoreError
from attnscope.masks import (
    Intervention,
    Ramp,
    Sides,
    compile_rule,
    load_interventions,
    rebind,
    save_interventions,
)
from attnscope.masks.files import interventions_as_json, interventions_from_json

PLAN = ShotPlan.from_latent_frames([2], num_frames_latent=5, fps=16)
OTHER = ShotPlan.from_latent_frames([1, 3], num_frames_latent=5, fps=16)
SIDES = Sides.of_frames(5, stride=4, sigma=0.5)

RULES = {
    "same": lambda plan: masks.same_shot(plan),
    "latent": lambda plan: masks.same_shot(plan.to_latent(4)),
    "either": lambda plan: masks.same_shot(plan) | masks.first_frame(2, times=3),
    "both": lambda plan: masks.shot_causal(plan) & masks.band(2),
    "sum": lambda plan: masks.same_shot(plan).times(2) + masks.decay(3.0, 0.5),
    "not": lambda plan: ~masks.previous_shot(plan),
    "soft": lambda plan: masks.same_shot(plan).soft(4),
    "ramp": lambda plan: masks.same_shot(plan).soft(Ramp(8.0, 1.0)),
    "halo": lambda plan: masks.halo(plan, 1) | masks.next_shot(plan),
    "fade": lambda plan: masks.fade(plan, 2),
    "together": lambda plan: masks.together(plan, 4.0, reach=1),
    "starts": lambda plan: masks.same_shot(plan) | masks.shot_starts(plan, of="own", times=2),
    "anchors": lambda plan: masks.same_shot(plan) | masks.anchors(plan, 0, 1),
    "sampled": lambda plan: masks.same_shot(plan) | masks.sampled(0.5, seed=3, per="pair"),
    "array": lambda plan: masks.from_array(np.where(np.eye(5) == 1, 0.0, -np.inf).tolist()),
    "permuted": lambda plan: masks.permuted(masks.same_shot(plan), seed=1),
    "equal": lambda plan: masks.equal_band(masks.same_shot(plan), 5),
    "everything": lambda plan: masks.everything(),
    "text": lambda plan: masks.own_text(plan) | (masks.general_text(plan) & ~masks.padding_text()),
    "transitions": lambda plan: masks.everything() | masks.transitions(plan),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_comes_back(name, tmp_path):
    scoped = Intervention(RULES[name](PLAN), layers=(1, 3), heads="0", sigmas=(0.25, 1.0), branch="cond")
    path = save_interventions(tmp_path / "rule.json", scoped)
    assert load_interventions(path) == (scoped,)


@pytest.mark.parametrize("name", [name for name in RULES if name != "equal"])
def test_a_rule_is_put_on_other_shots(name, tmp_path):
    moved = rebind(RULES[name](PLAN), OTHER)
    plain = RULES[name](OTHER)
    if name != "latent":
        assert moved == plain
    assert np.array_equal(moved.relation(SIDES), plain.relation(SIDES), equal_nan=True)
    path = save_interventions(tmp_path / "rule.json", RULES[name](PLAN))
    assert load_interventions(path, OTHER)[0].rule == moved


@pytest.mark.parametrize("name", masks.list_presets())
def test_every_preset_comes_back_and_moves(name, tmp_path):
    path = save_interventions(tmp_path / "preset.json", masks.preset(name, PLAN))
    assert load_interventions(path) == masks.preset(name, PLAN)
    assert load_interventions(path, OTHER) == masks.preset(name, OTHER)


def test_a_rule_that_was_moved_leaves_the_first_alone():
    rule = masks.same_shot(PLAN) | masks.first_frame()
    before = compile_rule(rule, SIDES)
    rebind(rule, OTHER)
    assert np.array_equal(compile_rule(rule, SIDES), before)


GOOD = interventions_as_json(masks.same_shot(PLAN))


WRITTEN = {"kind": "shotplan", "cuts_frame": [9], "num_frames": 17, "fps": "16"}


def changed(**values):
    table = json.loads(json.dumps(GOOD))
    table["interventions"][0].update(values)
    return table


@pytest.mark.parametrize(
    "table",
    [
        None,
        [],
        {},
        {**GOOD, "version": 2},
        {**GOOD, "format": "other"},
        {**GOOD, "interventions": []},
        {**GOOD, "interventions": [1]},
        changed(rule={"kind": "os.system"}),
        changed(rule={"kind": "same_shot"}),
        changed(rule={"kind": "band", "reach": "x"}),
        changed(rule={"kind": "band", "reach": 1, "more": 1}),
        changed(rule={"kind": "ramp", "at_noise": 1.0, "at_clean": 0.0}),
        changed(rule={"kind": "soft", "rule": 3, "alpha": 1.0}),
        changed(rule=3),
        changed(sigmas=[2, 1]),
        changed(attention="both"),
        changed(more=1),
        changed(rule={"kind": "same_shot", "plan": {**WRITTEN, "cuts_frame": [99]}}),
        changed(rule={"kind": "same_shot", "plan": {**WRITTEN, "fps": "1/0"}}),
    ],
)
def test_what_is_no_intervention_is_refused_in_one_line(table):
    with pytest.raises(InputError) as caught:
        interventions_from_json(table, "in here")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", ["", "{", "null", "[" * 100_000, "\0"])
def test_a_file_that_is_none_is_named(tmp_path, content):
    path = tmp_path / "rule.json"
    path.write_text(content)
    with pytest.raises(MaskError, match="rule.json"):
        load_interventions(path)


def test_only_interventions_are_written(tmp_path):
    with pytest.raises(MaskError, match="wrap it"):
        save_interventions(tmp_path / "x.json", [masks.same_shot(PLAN)])
    with pytest.raises(MaskError):
        save_interventions(tmp_path / "x.json", ["same_shot"])
    with pytest.raises(StoreError, match="a path that can be read and written"):
        save_interventions(tmp_path / "absent" / "x.json", masks.same_shot(PLAN))
    assert list(tmp_path.iterdir()) == []


def test_rules_and_a_path_in_the_wrong_order_are_one_line(tmp_path):
    rules = masks.preset("cinetrans-dit", ShotPlan.from_seconds([2.5], duration=5.0, fps=16))
    with pytest.raises(MaskError, match="expected the path of a file first, then interventions"):
        save_interventions(rules, tmp_path / "cut.json")
    with pytest.raises(MaskError, match="expected the path of a file first"):
        load_interventions(rules)
