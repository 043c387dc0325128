"""Taps that stand: processors exchanged, attachments that are closed or forgotten, Ctrl-C at any instant."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
import weakref

import pytest
import torch
from diffusers.models.transformers import transformer_wan
from diffusers.models.transformers.transformer_wan import WanAttnProcessor

import attnscope as scope
from attnscope.errors import InputError
from attnscope.hooks import Tap, attach, find_attachment, join_or_attach, run_with_cache, run_with_hooks
from attnscope.testing import specimen, tiny
from attnscope.testing.wan import tiny_wan

SMALL = {
    "height": 32,
    "width": 32,
    "num_frames": 5,
    "num_inference_steps": 1,
    "max_sequence_length": 4,
    "output_type": "latent",
}
MASS = "blocks.0.attn.hook_frame_mass"


def processors(pipe):
    return [block.attn1.processor for block in pipe.transformer.blocks]


def test_a_processor_that_is_exchanged_is_followed_and_stays_behind():
    pipe, own, seen = tiny_wan(2), WanAttnProcessor(), []
    with attach(pipe) as attachment:
        attachment.listen(MASS, lambda mass, point: seen.append(point.call.branch))
        pipe.transformer.blocks[0].attn1.set_processor(own)
        pipe("a cat", **SMALL)
        assert attachment.taps[1].inner is own
    assert seen == ["cond", "uncond"]
    assert processors(pipe)[0] is own


def test_projections_fused_and_taken_apart_again_while_attached():
    pipe = tiny("cogvideox")
    before = dict(pipe.transformer.attn_processors)
    settings = {**specimen("cogvideox").settings, "generator": torch.Generator()}
    with attach(pipe) as attachment:
        for change in (pipe.transformer.fuse_qkv_projections, pipe.transformer.unfuse_qkv_projections):
            change()
            assert len(run_with_cache(attachment, names_filter=MASS, **settings)[1][MASS]) == 4
    after = pipe.transformer.attn_processors
    assert all(after[name] is processor for name, processor in before.items())


def test_a_processor_nobody_knows_is_refused_at_the_next_pass():
    class Foreign:
        def __call__(self, attn, hidden_states, *rest):
            return hidden_states

    pipe = tiny_wan(1)
    with attach(pipe):
        pipe.transformer.blocks[0].attn1.set_processor(Foreign())
        with pytest.raises(scope.errors.UnsupportedModelError, match="got Foreign"):
            pipe("a cat", **SMALL)


def test_taps_that_are_set_back_after_the_end_are_no_attachment():
    pipe = tiny_wan(2)
    original = processors(pipe)
    with attach(pipe) as attachment:
        kept = pipe.transformer.attn_processors
    pipe.transformer.set_attn_processor(kept)
    assert find_attachment(pipe) is None
    with pytest.raises(InputError, match="expected an attachment that is open, got one that was closed"):
        run_with_hooks(attachment, "a cat", fwd_hooks=[], **SMALL)
    with attach(pipe) as again:
        assert again is not attachment
        assert not isinstance(again.taps[1].inner, Tap)
    assert processors(pipe) == original


def test_fused_while_attached_and_taken_apart_afterwards_leaves_the_very_objects():
    pipe = tiny("cogvideox")
    before = dict(pipe.transformer.attn_processors)
    with attach(pipe):
        pipe.transformer.fuse_qkv_projections()
    pipe.transformer.unfuse_qkv_projections()
    assert all(pipe.transformer.attn_processors[name] is each for name, each in before.items())


def test_ctrl_c_waits_until_objects_have_changed_hands():
    """A signal is raised at every line of attaching and detaching in turn; what was there is there again each time."""
    pipe = tiny_wan(1)
    plan = scope.ShotPlan.from_latent_frames([1], num_frames_latent=2, fps=16)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _raise_at_every_line(pipe, plan)
    finally:
        signal.signal(signal.SIGINT, before)


def _raise_at_every_line(pipe, plan):
    original, dispatch = processors(pipe), transformer_wan.dispatch_attention_fn
    heard = signal.getsignal(signal.SIGINT)
    num_lines = _lines(lambda: _intervene(pipe, plan), at=None)
    assert num_lines > 200
    num_raised = 0
    for at in range(0, num_lines, 11):
        try:
            _lines(lambda: _intervene(pipe, plan), at=at)
            time.sleep(0.1)  # what had to wait comes a moment later
        except KeyboardInterrupt:
            num_raised += 1
        assert processors(pipe) == original, at
        assert transformer_wan.dispatch_attention_fn is dispatch, at
        assert not pipe.transformer._forward_pre_hooks, at
        assert signal.getsignal(signal.SIGINT) is heard, at
        assert find_attachment(pipe) is None
    assert num_raised > num_lines // 11 * 0.9


def _intervene(pipe, plan):
    with scope.intervene(pipe, scope.masks.same_shot(plan)):
        pass


def _lines(run, *, at):
    """Run something and count the lines of attnscope's hooks and interventions; send SIGINT at one of them."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        if (
            "attnscope/hooks" not in frame.f_code.co_filename
            and "intervene.py" not in frame.f_code.co_filename
        ):
            return None
        if event == "line":
            if count == at:
                signal.raise_signal(signal.SIGINT)
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


def test_other_threads_attach_as_well():
    done = []
    thread = threading.Thread(target=lambda: done.append(_intervene_elsewhere()))
    thread.start()
    thread.join()
    assert done == [True]


def _intervene_elsewhere():
    pipe = tiny_wan(1)
    with join_or_attach(pipe) as attachment:
        return attachment.is_open


def test_a_forgotten_attachment_does_not_keep_a_model_alive():
    dispatch = transformer_wan.dispatch_attention_fn
    pipe = tiny_wan(1)
    attach(pipe)
    pipe("a cat", **SMALL)
    gone = weakref.ref(pipe.transformer)
    del pipe
    gc.collect()
    assert gone() is None
    assert transformer_wan.dispatch_attention_fn is dispatch


@pytest.mark.parametrize(
    ("member", "left", "got"),
    [
        ("q", lambda value: value[:, :3], r"got \(1, 3, 2, 12\)"),
        ("k", lambda value: value.double(), "got one of torch.float64"),
        ("z", lambda value: 3, "got 3 from hook"),
        ("pattern", lambda value: value[..., :2], "from hook"),
    ],
)
def test_a_hook_that_returns_what_does_not_fit_is_named(member, left, got):
    def wrong_hook(value, point):
        return left(value)

    with pytest.raises(InputError, match=f"{got}.*") as caught:
        run_with_hooks(tiny_wan(1), "a", fwd_hooks=[(f"blocks.0.attn.hook_{member}", wrong_hook)], **SMALL)
    assert "wrong_hook at blocks.0.attn.hook_" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Mismatch dtype")
@pytest.mark.parametrize("mode", ["autocast", "inference", "float64", "deterministic"])
def test_what_is_measured_is_measured_in_full_under_any_mode(mode):
    """The mass is that of the queries and keys that the model has, in float32, whatever the caller has switched on."""
    pipe, seen = tiny_wan(1), {}
    names = [f"blocks.0.attn.hook_{member}" for member in ("q", "k", "frame_mass", "token_frame", "pattern")]
    hooks = [
        (names, lambda value, point: seen.__setitem__(point.name.split("hook_")[1], value.detach().clone()))
    ]
    contexts = {
        "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
        "inference": torch.inference_mode,
    }
    before = torch.get_default_dtype()
    try:
        if mode == "float64":
            torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(mode == "deterministic")
        with contexts.get(mode, torch.no_grad)():
            run_with_hooks(pipe, "a cat", fwd_hooks=hooks, **SMALL)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_default_dtype(before)
    query, key = (seen[side].double().transpose(1, 2) for side in "qk")
    pattern = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
    mass = pattern.unflatten(-1, (2, -1)).sum(-1).unflatten(-2, (2, -1)).mean(-2)
    assert seen["frame_mass"].dtype == torch.float32
    torch.testing.assert_close(seen["frame_mass"].double(), mass, rtol=0, atol=1e-6)
    torch.testing.assert_close(seen["pattern"].double(), pattern, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Mismatch dtype")
def test_a_mask_holds_under_autocast():
    pipe, seen = tiny_wan(2), []
    plan = scope.ShotPlan.from_latent_frames([1], num_frames_latent=2, fps=16)
    with (
        torch.autocast("cpu", torch.bfloat16),
        scope.intervene(pipe, scope.masks.same_shot(plan)) as attachment,
    ):
        attachment.listen(MASS, lambda mass, point: seen.append(mass))
        pipe("a cat", **SMALL)
    assert all(float(mass[..., 0, 1].max()) == 0 for mass in seen)
