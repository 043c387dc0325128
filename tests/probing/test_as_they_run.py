"""Pipelines as people run them: begun in the middle, ended early, guided truly, given embeddings, oddly set."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import pytest
import torch

import attnscope as scope
from attnscope.errors import InputError, RunError
from attnscope.probing.plain import plain
from attnscope.testing import specimen, tiny


def small(name: str, **changes: Any) -> dict[str, Any]:
    given = {**specimen(name).settings, **changes}
    return {key: value for key, value in given.items() if key not in ("prompt", "output_type")}


def test_a_video_that_is_changed_has_the_steps_that_run() -> None:
    half = small("wan-v2v", strength=0.5, num_inference_steps=4)
    assert scope.probe(tiny("wan-v2v"), "x", **half).step.values.tolist() == [0, 1]


def test_an_intervention_at_a_step_acts_there_in_a_run_that_begins_in_the_middle() -> None:
    pipe, hidden = tiny("wan-v2v"), {}
    plan = scope.ShotPlan.from_frames([5], num_frames=9, fps=8)
    with scope.intervene(pipe, scope.masks.same_shot(plan), steps="1") as attachment:
        attachment.listen(
            "blocks.0.attn.hook_frame_mass",
            lambda mass, point: hidden.__setitem__(point.call.step, float(mass[..., 0, -1].max()) == 0),
        )
        pipe(
            prompt="x",
            output_type="latent",
            generator=torch.Generator(),
            **small("wan-v2v", strength=0.5, num_inference_steps=4),
        )
    assert hidden == {0: False, 1: True}


def test_own_noise_levels_are_the_steps() -> None:
    asked = {key: value for key, value in small("hunyuan-video").items() if key != "num_inference_steps"}
    probed = scope.probe(tiny("hunyuan-video"), "x", sigmas=[1.0, 0.6, 0.2], **asked)
    assert probed.sizes["step"] == 3
    assert not bool(probed.mass.isnull().any())


def test_true_guidance_runs_both_branches_whatever_the_distilled_scale_is() -> None:
    asked = small("hunyuan-video", guidance_scale=1.0, true_cfg_scale=2.0, negative_prompt="bad")
    probed = scope.probe(tiny("hunyuan-video"), "x", branch="cond,uncond", **asked)
    assert probed.branch.values.tolist() == ["cond", "uncond"]
    with pytest.raises(InputError, match="expected a guidance scale above 1 .* as true_cfg_scale"):
        scope.probe(tiny("hunyuan-video"), "x", branch="uncond", **{**asked, "true_cfg_scale": 1.0})
    with pytest.raises(InputError, match="expected a negative prompt"):
        scope.probe(tiny("hunyuan-video"), "x", branch="uncond", **{**asked, "negative_prompt": None})


def test_a_run_that_was_stopped_says_how_far_it_came() -> None:
    def stop(pipe: Any, index: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
        pipe._interrupt = True
        return kept

    with pytest.raises(RunError, match="expected 3 steps, 1-2 among them, got 1 of them"):
        scope.probe(tiny("wan"), "x", callback_on_step_end=stop, **small("wan", num_inference_steps=3))


def test_layers_that_are_switched_off_are_named() -> None:
    with pytest.raises(RunError, match="got no attention in layers 1-2 at step 0"):
        scope.probe(tiny("latte"), "x", **small("latte", enable_temporal_attentions=False))


def test_no_step_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="at least one denoising step, got none"):
        scope.probe(tiny("wan-v2v"), "x", **small("wan-v2v", strength=0.3, num_inference_steps=2))


@pytest.mark.parametrize("name", ["modelscope", "animatediff"])
@pytest.mark.parametrize("step", [0, 1])
def test_a_pass_that_comes_again_under_its_step_is_never_dropped_in_silence(name: str, step: int) -> None:
    pipe, given = tiny(name), []
    pipe.unet.register_forward_pre_hook(lambda module, *call: given.append(call), with_kwargs=True)
    advance = pipe.scheduler.step

    def look_twice(*args: Any, **kwargs: Any) -> Any:
        words, named = given[-1]
        pipe.unet(*words, **named)
        return advance(*args, **kwargs)

    pipe.scheduler.step = look_twice
    with pytest.raises(RunError, match=f"one pass of branch cond at step {step}, got a second one"):
        scope.probe(pipe, "x", steps=step, **small(name))


def test_steps_that_are_made_several_times_are_refused() -> None:
    pipe = tiny("animatediff")
    pipe.enable_free_init(num_iters=2)
    with pytest.raises(InputError, match="got FreeInit, which makes them 2 times"):
        scope.probe(pipe, "x", **small("animatediff"))
    pipe.disable_free_init()
    assert scope.probe(pipe, "x", **small("animatediff")).sizes["step"] == 2


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num_videos_per_prompt": 2}, "one video a run, got 2 as num_videos_per_prompt"),
        ({"generator": torch.Generator()}, "give seed=... instead"),
        ({"return_dict": False}, "arguments without return_dict"),
        ({"num_inference_steps": 2.5}, "at least 1 step, got 2.5"),
        ({"prompt_embeds": torch.zeros(2, 4, 32)}, r"the embeddings of one prompt"),
        ({"height": 32.0}, "expected a whole number, got 32.0 as height"),
    ],
)
def test_what_a_run_cannot_take_is_refused_before_it(changes: dict[str, Any], text: str) -> None:
    pipe = tiny("wan")
    pipe.transformer.forward = None  # nothing may run
    with pytest.raises(InputError, match=text):
        scope.probe(pipe, "x", **small("wan", **changes))


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    assert (
        scope.probe(
            tiny("wan"), "x", seed=np.int64(1), **small("wan", num_inference_steps=np.int32(1))
        ).sizes["step"]
        == 1
    )


def test_a_missing_argument_of_the_pipeline_is_one_line() -> None:
    asked = {key: value for key, value in small("wan-i2v").items() if key != "image"}
    with pytest.raises(InputError, match="WanImageToVideoPipeline can begin with, got .*'image'"):
        scope.probe(tiny("wan-i2v"), "x", **asked)


def test_embeddings_take_the_place_of_the_prompt_which_is_the_label() -> None:
    pipe = tiny("wan")
    embeds = pipe.encode_prompt("a red ball", do_classifier_free_guidance=False)[0]
    told = scope.probe(pipe, "a red ball", **small("wan"))
    pipe.text_encoder = None
    given = scope.probe(pipe, "a label", prompt_embeds=embeds, negative_prompt_embeds=embeds, **small("wan"))
    assert given.text.values.tolist() == ["a label"]
    wanted = scope.probe(tiny("wan"), "a red ball", **small("wan", max_sequence_length=embeds.shape[1]))
    np.testing.assert_allclose(given.mass.isel(step=0), wanted.mass.isel(step=0), atol=1e-6)
    assert told.sizes == given.sizes
    arguments = scope.schema.parse_attributes(given.attrs)["arguments"]
    assert arguments["prompt_embeds"].startswith("<Tensor ")
    with pytest.raises(InputError, match="one prompt, the label of its embeddings"):
        scope.probe(pipe, ["a", "b"], prompt_embeds=embeds, **small("wan"))


def test_a_film_is_made_from_embeddings() -> None:
    pipe = tiny("wan")
    embeds = pipe.encode_prompt("a red ball", do_classifier_free_guidance=False)[0]
    plan = scope.ShotPlan.from_frames([9], num_frames=17, fps=16)
    asked = {key: value for key, value in small("wan").items() if key != "num_frames"}
    told = scope.generate(pipe, "a red ball", shots=plan, **{**asked, "max_sequence_length": embeds.shape[1]})
    given = scope.generate(pipe, "a label", shots=plan, prompt_embeds=embeds, **asked)
    np.testing.assert_allclose(given.frames.astype(int), told.frames.astype(int), atol=1)


class Spacing(enum.Enum):
    TRAILING = "trailing"


def test_a_record_holds_whatever_a_pipeline_holds() -> None:
    found = plain(
        {
            "low": -float("inf"),
            "scalar": np.float32(0.5),
            "none": float("nan"),
            "kind": Spacing.TRAILING,
            "betas": torch.ones(3),
            "t": torch.tensor(3),
            "dtype": torch.float16,
            "flag": np.bool_(True),
            1: {2, 1},
        }
    )
    digest = found.pop("betas")
    assert found == {
        "low": "-inf",
        "scalar": 0.5,
        "none": "nan",
        "kind": "trailing",
        "t": 3,
        "dtype": "torch.float16",
        "flag": True,
        "1": [1, 2],
    }
    assert digest != plain(torch.zeros(3)) != plain(torch.zeros(1, 3))


def test_videos_run_backwards_and_single_noise_levels_are_taken() -> None:
    pipe, clip = tiny("wan"), np.zeros((17, 64, 64, 3), np.uint8)
    assert scope.probe_video(pipe, clip[::-1], sigmas=0.5).sigma.values.tolist() == [0.5]
    with pytest.raises(InputError, match="at least one noise level"):
        scope.probe_video(pipe, clip, sigmas=[])


def test_a_store_and_memory_have_the_same_coordinates(tmp_path: Any) -> None:
    kept = scope.probe(tiny("wan"), "a", out=tmp_path / "a.zarr", **small("wan"))
    free = scope.probe(tiny("wan"), "a", **small("wan"))
    assert set(kept.coords) == set(free.coords)
