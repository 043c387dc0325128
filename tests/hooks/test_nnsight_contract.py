"""What nnsight does that our facade must know of: each known trap, as it is in the version that is installed.

A test that fails here says that nnsight has changed: then look whether a warning in `as_nnsight` is out of date, or a
new one is due. The second half of each test shows that the hook points of attnscope do not fall into the trap.
"""

from __future__ import annotations

import pytest
import torch

from attnscope.hooks import as_nnsight, attach, run_with_cache
from attnscope.testing.wan import tiny_wan

nnsight = pytest.importorskip("nnsight")

SMALL = {
    "prompt": "a red ball",
    "height": 32,
    "width": 32,
    "num_frames": 13,
    "num_inference_steps": 3,
    "max_sequence_length": 6,
    "output_type": "latent",
}
NAME = "blocks.1.attn.hook_q"


def settings(**changes):
    return {**SMALL, "generator": torch.Generator().manual_seed(3), **changes}


def queries(pipe, **changes):
    _, cache = run_with_cache(pipe, names_filter=NAME, **settings(**changes))
    return [record.value for record in cache[NAME]]


def number_of(value, known):
    """Which call a value comes from."""
    return next((index for index, other in enumerate(known) if torch.equal(value, other)), None)


class Whole(torch.nn.Module):
    """A pipeline as a module, without taps."""

    def __init__(self, pipe):
        super().__init__()
        self.transformer, self._run = pipe.transformer, (pipe,)

    def forward(self, **arguments):
        return self._run[0](**arguments)


@pytest.fixture
def pipe():
    return tiny_wan(2)


def drilled(transformer, block=1):
    """A query as nnsight finds it inside the code of a forward pass: an operation, not a module."""
    return transformer.blocks[block].attn1.source.self_processor_0.source.dispatch_attention_fn_1.inputs[0][0]


@pytest.mark.filterwarnings("ignore:.*was never reached")
@pytest.mark.parametrize(("asked", "got"), [([1, 3, 5], [1, 4]), ([2, 3, 4], [2, 5]), ([0, 2, 4], [0, 2, 4])])
def test_operations_inside_a_forward_are_counted_from_when_they_are_first_asked_for(pipe, asked, got):
    known, found, pointed = queries(pipe), [], []
    model = nnsight.NNsight(Whole(pipe))
    with model.trace(**settings()) as tracer:
        for _ in tracer.iter[asked]:
            found.append(drilled(model.transformer).save())
    assert [number_of(value, known) for value in found] == got
    with attach(pipe) as attachment:
        model = as_nnsight(attachment)
        with model.trace(**settings()) as tracer:
            for _ in tracer.iter[asked]:
                pointed.append(model.blocks[1].attn.hook_q.output.save())
    assert [number_of(value, known) for value in pointed] == asked


def test_reading_operations_in_the_wrong_order_reads_the_next_pass_and_at_hook_points_it_is_an_error():
    pipe = tiny_wan(3)
    known = queries(pipe)
    model = nnsight.NNsight(Whole(pipe))
    with model.trace(**settings()):
        drilled(model.transformer, 2).save()
        early = drilled(model.transformer, 1).save()
    assert number_of(early, known) == 1
    with attach(pipe) as attachment:
        model = as_nnsight(attachment)
        with pytest.raises(Exception, match="already ran past it"):  # noqa: PT012, SIM117
            with model.trace(**settings()):
                model.blocks[2].attn.hook_q.output.save()
                model.blocks[1].attn.hook_q.output.save()


def test_an_adapter_added_after_wrapping_is_invisible_to_module_paths_but_not_to_hook_points(pipe):
    from peft import LoraConfig

    with attach(pipe) as attachment:
        model = as_nnsight(attachment)
        torch.manual_seed(5)
        pipe.transformer.add_adapter(
            LoraConfig(r=4, lora_alpha=64, target_modules=["to_v"], init_lora_weights=False)
        )
        adapted = pipe.transformer.blocks[1].attn1.to_v
        with model.trace(**settings(num_inference_steps=1)):
            stale = model.transformer.blocks[1].attn1.to_v.output.save()
            value = model.blocks[1].attn.hook_v.output.save()
    _, cache = run_with_cache(pipe, names_filter="blocks.1.attn.hook_v", **settings(num_inference_steps=1))
    assert type(adapted).__module__.startswith("peft")
    assert torch.equal(value, cache["blocks.1.attn.hook_v"][0].value)
    assert (stale.flatten() - value.flatten()).abs().max() > 1e-3


def test_a_trace_that_names_no_calls_reads_the_first_one(pipe):
    known = queries(pipe)
    with attach(pipe) as attachment:
        model = as_nnsight(attachment)
        with model.trace(**settings()):
            query = model.blocks[1].attn.hook_q.output.save()
    assert number_of(query, known) == 0


def test_gradients_reach_a_hook_point_in_a_trace(pipe):
    latents, text = torch.randn(1, 16, 3, 4, 4), torch.ones(1, 3, 32)
    transformer = pipe.transformer
    with attach(transformer) as attachment:
        model = as_nnsight(attachment)
        with model.trace(latents, torch.tensor([500.0]), text, return_dict=False):
            query = model.blocks[0].attn.hook_q.output
            query.retain_grad()
            mass = model.blocks[1].attn.hook_frame_mass.output
            loss = mass.diagonal(dim1=-2, dim2=-1).sum().save()
            kept = query.save()
        loss.backward()
    found = kept.grad
    kept_by_hook = {}
    with attach(transformer) as attachment:

        def keep(value, point):
            value.retain_grad()
            kept_by_hook["q"] = value

        attachment.listen("blocks.0.attn.hook_q", keep)
        attachment.listen(
            "blocks.1.attn.hook_frame_mass", lambda value, point: kept_by_hook.update(mass=value)
        )
        transformer(latents, torch.tensor([500.0]), text, return_dict=False)
        kept_by_hook["mass"].diagonal(dim1=-2, dim2=-1).sum().backward()
    assert found.abs().max() > 0
    torch.testing.assert_close(found, kept_by_hook["q"].grad, rtol=0, atol=1e-7)


def test_backward_hooks_of_pytorch_count_as_listeners(pipe):
    seen = []
    with attach(pipe.transformer) as attachment:
        point = attachment.points["blocks.1.attn.hook_z"]
        handle = point.register_full_backward_hook(
            lambda module, inward, outward: seen.append(outward[0].shape)
        )
        latents = torch.randn(1, 16, 3, 4, 4, requires_grad=True)
        out = pipe.transformer(latents, torch.tensor([500.0]), torch.ones(1, 3, 32), return_dict=False)[0]
        out.square().mean().backward()
        handle.remove()
    assert [tuple(shape) for shape in seen] == [(1, 12, 2, 12)]
