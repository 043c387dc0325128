"""Labels of calls: step, timestep, noise level, branch, layer and denoiser, against what the pipeline really did."""

from __future__ import annotations

import math

import pytest
import torch

from attnscope.errors import LayoutError
from attnscope.hooks import attach
from attnscope.hooks.calls import NO_CALL
from attnscope.testing.wan import tiny_wan

SMALL = {
    "height": 32,
    "width": 32,
    "num_frames": 5,
    "num_inference_steps": 3,
    "max_sequence_length": 4,
    "output_type": "latent",
}


def watch(attachment, name="blocks.0.attn.hook_q"):
    calls = []
    attachment.listen(name, lambda value, point: calls.append(point.call))
    return calls


def forward(transformer, timestep=500.0):
    return transformer(
        torch.zeros(1, 16, 2, 4, 4), torch.tensor([timestep]), torch.zeros(1, 3, 32), return_dict=False
    )


@pytest.mark.parametrize("scheduler", ["FlowMatchEulerDiscreteScheduler", "UniPCMultistepScheduler"])
def test_labels_are_what_the_scheduler_did(scheduler):
    import diffusers

    pipe = tiny_wan(2)
    if scheduler == "UniPCMultistepScheduler":
        kind = getattr(diffusers, scheduler)
        pipe.scheduler = kind(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    with attach(pipe) as attachment:
        calls = watch(attachment, "blocks.1.attn.hook_q")
        pipe("a cat", **SMALL)
    timesteps, sigmas = pipe.scheduler.timesteps.tolist(), pipe.scheduler.sigmas.tolist()
    assert [(call.step, call.branch) for call in calls] == [
        (s, b) for s in range(3) for b in ("cond", "uncond")
    ]
    assert [call.timestep for call in calls] == [t for t in timesteps for _ in range(2)]
    assert [call.sigma for call in calls] == pytest.approx([s for s in sigmas[:3] for _ in range(2)])
    assert {(call.layer, call.denoiser, call.recomputed) for call in calls} == {(2, "transformer", False)}


def test_a_second_run_starts_again_at_step_0_and_no_guidance_means_no_uncond():
    pipe = tiny_wan(1)
    with attach(pipe) as attachment:
        calls = watch(attachment)
        pipe("a cat", **SMALL)
        pipe("a dog", guidance_scale=1.0, **SMALL)
    assert [(call.step, call.branch) for call in calls[6:]] == [(0, "cond"), (1, "cond"), (2, "cond")]


def test_two_stages_say_which_denoiser_ran():
    pipe = tiny_wan(1, two_stages=True)
    with attach(pipe) as attachment:
        calls = watch(attachment)
        pipe("a cat", guidance_scale=1.0, **SMALL)
    assert [(call.step, call.denoiser) for call in calls] == [
        (0, "transformer"),
        (1, "transformer_2"),
        (2, "transformer_2"),
    ]


def test_calls_outside_a_pipeline_are_unknown_and_a_new_timestep_is_a_new_step():
    pipe = tiny_wan(1)
    pipe.scheduler.set_timesteps(2)
    known = float(pipe.scheduler.timesteps[1])
    with attach(pipe) as attachment:
        calls = watch(attachment)
        for timestep in (known, known, 123.25):
            forward(pipe.transformer, timestep)
    assert [(call.step, call.branch) for call in calls] == [(0, "unknown"), (0, "unknown"), (1, "unknown")]
    assert calls[0].sigma == float(pipe.scheduler.sigmas[1])
    assert math.isnan(calls[2].sigma)


def test_the_noise_level_is_that_of_the_scheduler_the_pipeline_has_now():
    from diffusers import FlowMatchEulerDiscreteScheduler

    pipe = tiny_wan(1)
    with attach(pipe) as attachment:
        calls = watch(attachment)
        pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=7.0)
        pipe.scheduler.set_timesteps(5)
        forward(pipe.transformer, float(pipe.scheduler.timesteps[3]))
    assert calls[0].sigma == float(pipe.scheduler.sigmas[3])


def test_a_bare_denoiser_can_be_attached_and_knows_no_noise_level():
    transformer = tiny_wan(1).transformer
    with attach(transformer) as attachment:
        calls = watch(attachment)
        forward(transformer)
    assert calls[0].branch == "unknown"
    assert math.isnan(calls[0].sigma)
    assert calls[0].timestep == 500.0


def test_one_timestep_a_token_is_read_as_one():
    pipe = tiny_wan(1)
    with attach(pipe) as attachment:
        calls = watch(attachment)
        pipe.transformer(torch.zeros(1, 16, 2, 4, 4), torch.full((1, 8), 250.0), torch.zeros(1, 3, 32))
    assert calls[0].timestep == 250.0


def test_between_calls_nothing_is_labelled():
    pipe = tiny_wan(1)
    with attach(pipe) as attachment:
        pipe("a cat", **SMALL)
        assert attachment.call is NO_CALL
        with pytest.raises(LayoutError, match="expected a running denoiser"):
            _ = attachment.layout


def test_callbacks_before_and_after_every_pass_but_not_after_one_that_failed():
    pipe, seen = tiny_wan(1), []
    with attach(pipe) as attachment:
        stop = attachment.on_call(lambda call: seen.append(("before", call.step, call.branch)))
        attachment.on_call(lambda call: seen.append(("after", call.step, call.branch)), when="after")
        pipe("a cat", **{**SMALL, "num_inference_steps": 1})
        assert seen == [(w, 0, b) for b in ("cond", "uncond") for w in ("before", "after")]
        stop()
        pipe("a cat", guidance_scale=1.0, **{**SMALL, "num_inference_steps": 1})
        assert seen[4:] == [("after", 0, "cond")]

        def fail(value, point):
            raise RuntimeError("on purpose")

        attachment.listen("blocks.0.attn.hook_z", fail)
        with pytest.raises(RuntimeError, match="on purpose"):
            pipe("a cat", **SMALL)
        assert len(seen) == 5
        assert attachment.call is NO_CALL


def test_recomputation_runs_under_the_label_of_the_pass_it_belongs_to():
    pipe = tiny_wan(2)
    pipe.transformer.enable_gradient_checkpointing()
    original = pipe.transformer._gradient_checkpointing_func
    with attach(pipe) as attachment:
        calls = watch(attachment, "blocks.1.attn.hook_q")
        losses = [forward(pipe.transformer, timestep)[0].square().mean() for timestep in (900.0, 300.0)]
        assert pipe.transformer._gradient_checkpointing_func is original
        losses[0].backward()
        losses[1].backward()
    assert [(call.timestep, call.step, call.recomputed) for call in calls] == [
        (900.0, 0, False),
        (300.0, 1, False),
        (900.0, 0, True),
        (300.0, 1, True),
    ]
    assert attachment.call is NO_CALL


def test_a_mask_limited_to_one_step_is_in_force_when_that_step_is_recomputed():
    def hide_in_step_0(relation, point):
        return torch.eye(*relation.shape).bool() if point.call.step == 0 else None

    grads = []
    for checkpointing in (False, True):
        pipe = tiny_wan(2)
        if checkpointing:
            pipe.transformer.enable_gradient_checkpointing()
        with attach(pipe) as attachment:
            attachment.listen(lambda name: name.endswith(".attn.hook_mask"), hide_in_step_0)
            latents = torch.randn(1, 16, 3, 4, 4, generator=torch.Generator().manual_seed(1))
            outputs = [
                pipe.transformer(latents, torch.tensor([t]), torch.ones(1, 3, 32), return_dict=False)[0]
                for t in (900.0, 300.0)
            ]
            sum(output.square().mean() for output in outputs).backward()
        grads.append([p.grad for p in pipe.transformer.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_an_own_cache_context_of_the_instance_is_put_back():
    pipe = tiny_wan(1)
    own = pipe.transformer.cache_context
    pipe.transformer.cache_context = own
    with attach(pipe):
        assert pipe.transformer.cache_context is not own
    assert pipe.transformer.cache_context is own
