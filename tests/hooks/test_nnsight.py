"""nnsight on the hook points of attnscope: alignment of calls, which it gets wrong elsewhere, is right here."""

from __future__ import annotations

import pytest
import torch

from attnscope.hooks import as_nnsight, attach, attention, find_attachment, run_with_cache, run_with_hooks
from attnscope.testing.wan import tiny_wan

SMALL = {
    "prompt": "a red ball",
    "height": 32,
    "width": 32,
    "num_frames": 13,
    "num_inference_steps": 3,
    "max_sequence_length": 6,
    "output_type": "latent",
}
MASS = "blocks.1.attn.hook_frame_mass"


def settings(**changes):
    return {**SMALL, "generator": torch.Generator().manual_seed(3), **changes}


@pytest.fixture
def pipe():
    return tiny_wan(2)


@pytest.fixture
def expected(pipe):
    """The mass of layer 2 at the six calls, recorded without nnsight."""
    _, cache = run_with_cache(pipe, names_filter=MASS, **settings())
    return [record.value for record in cache[MASS]]


def same(found, wanted):
    return len(found) == len(wanted) and all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3, 4, 5], [1, 3, 5], [2, 4], [0, 2, 4], [5]])
def test_chosen_calls_are_those_calls(pipe, expected, chosen):
    # The selections that drilled `.source` operations get wrong without a word.
    found = []
    with attach(pipe) as attachment:
        model = as_nnsight(attachment)
        with model.trace(**settings()) as tracer:
            for _ in tracer.iter[chosen]:
                found.append(model.blocks[1].attn.hook_frame_mass.output.save())
    assert same(found, [expected[index] for index in chosen])


def test_a_point_that_is_first_asked_for_late_is_not_shifted(pipe, expected):
    queries, found = [], []
    with attach(pipe) as attachment:
        model = as_nnsight(attachment)
        with model.trace(**settings()) as tracer:
            for _ in tracer.iter[0:3]:
                queries.append(model.blocks[0].attn.hook_q.output.save())
            for _ in tracer.iter[4:6]:
                found.append(model.blocks[1].attn.hook_frame_mass.output.save())
    assert len(queries) == 3
    assert same(found, expected[4:6])


def test_the_cache_of_a_trace_holds_the_same_values(pipe, expected):
    with attach(pipe) as attachment:
        model = as_nnsight(attachment)
        with model.trace(**settings()) as tracer:
            cache = tracer.cache(modules=[model.blocks[1].attn.hook_frame_mass]).save()
    assert same(cache["model.transformer.blocks.1.attn1.processor.hook_frame_mass"].output, expected)


def test_nothing_expensive_is_computed_for_a_trace_that_does_not_ask(pipe, monkeypatch):
    monkeypatch.setattr(attention, "frame_mass", None)
    monkeypatch.setattr(attention, "dense_scores", None)
    outputs = []
    with attach(pipe) as attachment:
        model = as_nnsight(attachment)
        with model.trace(**settings()) as tracer:
            for _ in tracer.iter[:6]:
                outputs.append(model.blocks[0].attn.hook_out.output.save())
    assert len(outputs) == 6


def test_writing_to_the_mask_in_a_trace_equals_a_hook(pipe):
    alone = torch.eye(4).bool()
    hooked = run_with_hooks(
        pipe, fwd_hooks=[("blocks.0.attn.hook_mask", lambda value, point: alone)], **settings()
    ).frames
    masses = []
    with attach(pipe) as attachment:
        model = as_nnsight(attachment)
        with model.trace(**settings()) as tracer:
            for _ in tracer.iter[:6]:
                model.blocks[0].attn.hook_mask.output = alone
                masses.append(model.blocks[0].attn.hook_frame_mass.output.save())
            traced = model.output.frames.save()
    assert torch.equal(traced, hooked)
    itself = torch.eye(4).expand(1, 2, 4, 4)
    assert all(torch.equal(mass == 0, itself == 0) for mass in masses)
    assert all(torch.allclose(mass, itself, atol=1e-6) for mass in masses)
    assert not torch.equal(hooked, pipe(**settings()).frames)


def test_a_trace_leaves_the_output_bit_identical_and_detaching_after_it_leaves_the_processors(pipe):
    before = [block.attn1.processor for block in pipe.transformer.blocks]
    plain = pipe(**settings()).frames
    with attach(pipe) as attachment:
        model = as_nnsight(attachment)
        with model.trace(**settings()):
            traced = model.output.frames.save()
    assert torch.equal(traced, plain)
    assert [block.attn1.processor for block in pipe.transformer.blocks] == before
    assert torch.equal(pipe(**settings()).frames, plain)


def test_two_videos_a_prompt_are_both_there(pipe):
    _, cache = run_with_cache(pipe, names_filter=MASS, **settings(num_videos_per_prompt=2))
    found = []
    with attach(pipe) as attachment:
        model = as_nnsight(attachment)
        with model.trace(**settings(num_videos_per_prompt=2)) as tracer:
            for _ in tracer.iter[:6]:
                found.append(model.blocks[1].attn.hook_frame_mass.output.save())
    assert found[0].shape == (2, 2, 4, 4)
    assert same(found, [record.value for record in cache[MASS]])


def state(pipe):
    """What a module is: its class, its own attributes by identity, its hooks, its children."""
    found = {}
    for name, part in pipe.components.items():
        for path, module in part.named_modules() if isinstance(part, torch.nn.Module) else ():
            own = {
                key: id(value)
                for key, value in module.__dict__.items()
                if not (key.startswith("_") and isinstance(value, dict))
            }
            hooks = {
                key: list(value.values())
                for key, value in module.__dict__.items()
                if key.endswith("_hooks") and value
            }
            found[name, path] = (type(module), own, hooks, list(module._modules))
    return found


def test_a_pipeline_that_is_opened_for_traces_is_closed_with_its_block(pipe, expected):
    before, plain, found = state(pipe), pipe(**settings()).frames, []
    with as_nnsight(pipe) as model:
        assert find_attachment(pipe) is not None
        with model.trace(**settings()) as tracer:
            for _ in tracer.iter[:6]:
                found.append(model.blocks[1].attn.hook_frame_mass.output.save())
    assert same(found, expected)
    assert find_attachment(pipe) is None
    assert state(pipe) == before
    assert torch.equal(pipe(**settings()).frames, plain)


def test_it_is_closed_after_an_error_too_and_a_window_of_somebody_else_is_left_open(pipe):
    before = state(pipe)
    with pytest.raises(ZeroDivisionError), as_nnsight(pipe):
        raise ZeroDivisionError
    assert state(pipe) == before
    with attach(pipe) as attachment:
        inside = state(pipe)
        for opened in (pipe, attachment):
            with as_nnsight(opened):
                assert state(pipe) != inside
            assert state(pipe) == inside
            assert find_attachment(pipe) is attachment
    assert state(pipe) == before


def test_what_others_put_over_the_modules_stays(pipe):
    module = pipe.transformer.blocks[0].ffn
    original, mine = module.forward, lambda hidden: original(hidden)
    with as_nnsight(pipe):
        module.forward = mine
    assert module.__dict__["forward"] is mine
    del module.forward
    module.forward = mine
    with as_nnsight(pipe):
        assert module.__dict__["forward"] is not mine
    assert module.__dict__["forward"] is mine
