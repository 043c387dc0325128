"""Hook names: what exists, what is near, and that nothing is taken in silence."""

from __future__ import annotations

import pytest

from attnscope.errors import HookNameError
from attnscope.hooks import attach, run_with_cache, run_with_hooks
from attnscope.hooks.points import MEMBERS
from attnscope.testing.wan import tiny_wan

SMALL = {
    "height": 32,
    "width": 32,
    "num_frames": 5,
    "num_inference_steps": 1,
    "max_sequence_length": 4,
    "output_type": "latent",
}


@pytest.fixture
def pipe():
    return tiny_wan(2)


def never(value, point):
    raise AssertionError(f"{point.name} should not have fired")


def test_every_layer_has_every_member_under_the_diffusers_index(pipe):
    with attach(pipe) as attachment:
        expected = {f"blocks.{i}.{a}.hook_{m}" for i in (0, 1) for a in ("attn", "xattn") for m in MEMBERS}
        assert set(attachment.points) == expected
        assert attachment.points["blocks.1.attn.hook_z"] is attachment.taps[2].hook_z
        assert attachment.points["blocks.1.xattn.hook_z"] is attachment.cross_taps[2].hook_z
        assert attachment.points["blocks.1.attn.hook_z"].layer == 2
        assert all(point.name == name for name, point in attachment.points.items())


def test_points_fire_in_the_order_they_are_advertised(pipe):
    order = []
    hooks = [(lambda name: name.startswith("blocks.0.attn."), lambda value, point: order.append(point.name))]
    run_with_hooks(pipe, "a cat", fwd_hooks=hooks, guidance_scale=1.0, **SMALL)
    assert order == [f"blocks.0.attn.hook_{member}" for member in MEMBERS]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("blocks.1.attn.hook_frame_pattern", "blocks.1.attn.hook_pattern"),
        ("blocks.1.attn.hook_query", "blocks.1.attn.hook_q"),
        ("blocks.2.attn.hook_z", "blocks.1.attn.hook_z"),
        ("completely different", "blocks."),
    ],
)
def test_an_unknown_name_is_refused_with_near_matches_before_anything_runs(pipe, name, near):
    for run in (
        lambda: run_with_hooks(
            pipe, "a cat", fwd_hooks=[("blocks.0.attn.hook_q", never), (name, never)], **SMALL
        ),
        lambda: run_with_cache(pipe, "a cat", names_filter=["blocks.0.attn.hook_q", name], **SMALL),
    ):
        with pytest.raises(HookNameError, match="expected one of 44 hook names, got") as caught:
            run()
        assert near in str(caught.value).split("did you mean ")[1]
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("nothing", [[], lambda name: "hook_pre_softmax" in name])
def test_a_filter_that_takes_nothing_is_an_error_and_not_an_empty_result(pipe, nothing):
    with pytest.raises(HookNameError, match="a filter that takes none in run_with_cache; ask for names like"):
        run_with_cache(pipe, "a cat", names_filter=nothing, **SMALL)


def test_a_list_that_fails_half_way_leaves_no_listener(pipe):
    with attach(pipe) as attachment:
        with pytest.raises(HookNameError):
            attachment.listen(["blocks.0.attn.hook_q", "blocks.0.attn.hook_x"], never)
        assert not any(point.is_active for point in attachment.points.values())
        stop = attachment.listen("blocks.0.attn.hook_q", never)
        assert attachment.points["blocks.0.attn.hook_q"].has_listeners
        stop()
        assert not attachment.points["blocks.0.attn.hook_q"].has_listeners


def test_patterns_take_what_a_shell_would_and_each_name_once(pipe):
    with attach(pipe) as attachment:
        heard = []
        stop = attachment.listen(
            ["blocks.*.attn.hook_q", "blocks.1.attn.hook_?"], lambda value, point: heard.append(point.name)
        )
        pipe("a cat", guidance_scale=1.0, **SMALL)
        stop()
        pipe("a cat", guidance_scale=1.0, **SMALL)
    expected = ["blocks.0.attn.hook_q", *(f"blocks.1.attn.hook_{member}" for member in "qkvz")]
    assert heard == expected


def test_a_pattern_that_takes_nothing_is_refused_among_others_too(pipe):
    with pytest.raises(
        HookNameError, match=r"got 'blocks.\*.attn.hook_query' in run_with_cache; did you mean"
    ):
        run_with_cache(pipe, "a cat", names_filter=["blocks.*.hook_z", "blocks.*.attn.hook_query"], **SMALL)
