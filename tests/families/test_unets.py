"""UNets: which attentions are layers, in which order they run, and what a mask does to the paper's layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import MotionAdapter

import attnscope as scope
from attnscope import masks
from attnscope.errors import InputError, LayoutError, MaskError, RangeError, UnsupportedModelError
from attnscope.families import find
from attnscope.hooks import attach, run_with_cache, run_with_hooks
from attnscope.ranges import parse_range
from attnscope.testing import specimen, tiny
from attnscope.testing.animatediff import tiny_animatediff
from attnscope.testing.lavie import tiny_lavie
from attnscope.testing.wan import tiny_wan

NAMES = ("animatediff", "modelscope", "i2vgen-xl", "svd", "lavie")
SMALL = {"height": 64, "width": 64, "num_inference_steps": 1}


def attentions_over_time(pipe, proof, num_frames):
    """What runs, in the order it runs, on sequences as long as the video and as many as there are places."""
    ran = []

    def note(path):
        def hook(module, args, kwargs, output):
            hidden = args[0] if args else kwargs["hidden_states"]
            other = args[1] if len(args) > 1 else kwargs.get("encoder_hidden_states")
            # The deepest picture has four places in two videos; attention within a picture has a batch of frames.
            if hidden.shape[1] == num_frames and other is None:
                ran.append(path)

        return hook

    denoiser = proof.family.first_denoiser(pipe)
    hooks = [
        module.register_forward_hook(note(path), with_kwargs=True)
        for path, module in denoiser.named_modules()
        if hasattr(module, "processor")
    ]
    proof.run(pipe, num_inference_steps=1, num_frames=num_frames)
    for hook in hooks:
        hook.remove()
    return ran


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_the_attentions_over_time_in_the_order_they_run(name):
    proof = specimen(name)
    pipe = proof.build()
    # 7 is no number of places of any picture here
    ran = attentions_over_time(pipe, proof, num_frames=7)
    sites = [site for site in proof.family.sites(proof.family.first_denoiser(pipe)) if site.kind == "self"]
    left_out = ["image_latents_temporal_encoder.attn1"] if name == "i2vgen-xl" else []
    assert [path for path in ran if path not in left_out] == [site.module for site in sites]
    assert [path for path in ran if path in left_out] == left_out
    assert [site.layer for site in sites] == list(range(1, len(sites) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_stages_are_named_in_the_order_they_run_and_the_middle_is_not_last(name):
    proof = specimen(name)
    pipe = proof.build()
    denoiser = proof.family.first_denoiser(pipe)
    sites = proof.family.sites(denoiser)
    order = list(dict.fromkeys(site.stage for site in sites))
    before = ["in"] if name in ("modelscope", "i2vgen-xl") else []
    ways = ["down.0", "down.1", "mid", "up.0", "up.1"]
    assert order == before + [stage for stage in ways if stage in order]
    assert {"down.0", "mid", "up.1"} <= set(order)
    listed = [path for path, _ in denoiser.named_modules() if path in {site.module for site in sites}]
    # LaVie is ours, and declares the middle before the way up; diffusers declares it last.
    assert (listed == [site.module for site in sites]) == (name == "lavie")
    roots = {"in": "transformer_in", "mid": "mid_block", "down": "down_blocks", "up": "up_blocks"}
    assert all(site.module.startswith(roots[site.stage.split(".")[0]]) for site in sites)


def test_the_last_six_layers_of_cinetrans_unet_are_those_that_the_paper_masks():
    pipe = tiny_lavie(is_deep=True)
    sites = {site.layer: site for site in find(pipe).sites(pipe.unet)}
    assert list(sites) == list(range(1, 17))
    stages = [site.stage for site in sites.values()]
    assert [stages.count(f"down.{index}") for index in range(4)] == [2, 2, 2, 0]
    assert [stages.count(f"up.{index}") for index in range(4)] == [0, 3, 3, 3]
    assert stages[6] == "mid"
    last = [sites[layer].module for layer in parse_range("-6:", tuple(sites), name="layers")]
    paper = [
        f"up_blocks.{block}.attentions.{index}.transformer_blocks.0.attn_temp"
        for block in (2, 3)
        for index in range(3)
    ]
    assert last == paper


def test_the_preset_hides_other_shots_in_those_layers_alone_and_a_cut_can_fall_on_any_frame():
    pipe = tiny_lavie(is_deep=True)
    plan = scope.ShotPlan.from_frames([3], num_frames=7, fps=8)
    with scope.intervene(pipe, masks.preset("cinetrans-unet", plan)):
        attention = scope.probe(pipe, "a cat", shots=plan, **SMALL)
    across = (attention.query_shot != attention.key_shot) & (attention.mass >= 0)
    most = attention.mass.where(across).max([dim for dim in attention.mass.dims if dim != "layer"])
    assert (most.sel(layer=slice(11, 16)) == 0).all()
    assert (most.sel(layer=slice(1, 10)) > 0).all()
    assert attention.stage.sel(layer=slice(11, 16)).values.tolist() == ["up.2"] * 3 + ["up.3"] * 3
    assert attention.query_start_frame.values.tolist() == list(range(7))
    assert attention.query_shot.values.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert "at each place" in attention.attrs["reading"]


@pytest.mark.parametrize(
    ("name", "asked", "instead"),
    [
        (
            "lavie",
            "cinetrans-dit",
            "expected a DiT for layers 7-28 .* a UNet, in intervene; use preset cinetrans-unet",
        ),
        (
            "wan",
            "cinetrans-unet",
            "expected a UNet for layers -6: .* a DiT, in intervene; use preset cinetrans-dit",
        ),
    ],
)
def test_layers_that_were_published_for_another_architecture_are_not_taken(name, asked, instead):
    pipe = tiny_lavie(is_deep=True) if name == "lavie" else tiny_wan(num_layers=6)
    plan = scope.ShotPlan.from_frames([9], num_frames=17, fps=8)
    with pytest.raises(MaskError, match=instead):
        scope.generate(pipe, "a cat", shots=plan, rule=masks.preset(asked, plan), **SMALL)
    with pytest.raises(MaskError, match=instead), scope.intervene(pipe, masks.preset(asked, plan)):
        pass
    with scope.intervene(pipe, masks.preset(asked, plan, layers="2-3")) as attachment:
        assert "layers 2-3" in attachment.changes[0]


@pytest.mark.parametrize("name", ["animatediff", "lavie"])
def test_a_film_is_made_with_a_cut_where_it_is_asked_for(name):
    pipe = tiny(name)
    plan = scope.ShotPlan.from_frames([2, 5], num_frames=7, fps=8)
    films = [
        scope.generate(pipe, "a cat", shots=plan, rule=rule, layers=layers, **SMALL)
        for rule, layers in ((masks.same_shot(plan), "all"), (None, None))
    ]
    assert films[0].plan.realised_frame == (2, 5)
    assert films[0].frames.shape == (7, 64, 64, 3)
    assert films[0].visible_fraction == (4 + 9 + 4) / 49
    assert not np.array_equal(films[0].frames, films[1].frames)


@pytest.mark.parametrize("name", ["animatediff", "lavie"])
def test_what_these_models_cannot_do_is_said_in_one_line(name):
    pipe = tiny(name)
    plan = scope.ShotPlan.from_frames([2], num_frames=4, fps=8)
    attempts = {
        "can move shots in rotary time": lambda: scope.offset_shots(pipe, plan, 6).__enter__(),
        "expected layers among": lambda: scope.probe(pipe, "a cat", layers="1-40", num_frames=4, **SMALL),
        "expected a multiple of 8 pixels": lambda: scope.probe(
            pipe, "a cat", height=60, width=64, num_frames=4, num_inference_steps=1
        ),
    }
    for message, attempt in attempts.items():
        with pytest.raises((UnsupportedModelError, RangeError, InputError)) as caught:
            attempt()
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_more_frames_than_a_motion_module_has_positions_for_are_refused():
    with pytest.raises(
        InputError, match="expected at most 16 frames, .* got 17 as num_frames of a AnimateDiff video"
    ):
        scope.probe(tiny("animatediff"), "a cat", num_frames=17, **SMALL)


def test_attention_window_by_window_is_refused():
    pipe = tiny("animatediff")
    adapter = MotionAdapter(
        block_out_channels=(8, 16), motion_num_attention_heads=2, motion_norm_num_groups=2
    )
    pipe.register_modules(motion_adapter=adapter)
    pipe.enable_free_noise(context_length=4, context_stride=2)
    with pytest.raises(LayoutError, match="expected 8 query tokens in 8 frames, got 4"):
        scope.probe(pipe, "a cat", num_frames=8, **SMALL)


def test_a_video_that_is_changed_is_watched_from_the_step_it_starts_at():
    pipe = tiny_animatediff("AnimateDiffVideoToVideoPipeline")
    video = [np.zeros((32, 32, 3), np.uint8)] * 5
    settings = {"height": 32, "width": 32, "num_inference_steps": 4, "strength": 0.5, "output_type": "latent"}
    _, cache = run_with_cache(
        pipe, video=video, prompt="a cat", names_filter="blocks.0.attn.hook_frame_mass", **settings
    )
    records = cache["blocks.0.attn.hook_frame_mass"]
    assert [(record.call.step, record.call.branch) for record in records] == [
        (0, "uncond"),
        (0, "cond"),
        (1, "uncond"),
        (1, "cond"),
    ]


def test_the_image_of_stable_video_diffusion_is_one_token_that_gets_everything():
    proof = specimen("svd")
    pipe = proof.build()
    _, cache = proof.run_with_cache(pipe, lambda name: name.endswith("xattn.hook_frame_mass"))
    assert len(cache) == 4
    assert all(
        torch.equal(each.value, torch.ones_like(each.value)) for all_ in cache.values() for each in all_
    )


def test_frames_that_look_at_nobody_else_still_hear_of_the_others_through_the_norms():
    # A limit that the docstring states: with no attention across the cut in any layer, the other shot still matters.
    pipe = tiny("lavie")
    shape = (1, 4, 4, 8, 8)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    other = latents.clone()
    other[:, :, 2:] *= 2
    hidden = torch.eye(2).repeat_interleave(2, 0).repeat_interleave(2, 1).bool()
    relation = torch.zeros(4, 4).masked_fill(~hidden, -torch.inf)
    text = torch.zeros(1, 3, 32)
    with attach(pipe.unet) as attachment, torch.no_grad():
        attachment.listen(lambda name: name.endswith(".attn.hook_mask"), lambda value, point: relation)
        first, second = (pipe.unet(each, 500, text).sample[:, :, :2] for each in (latents, other))
    assert (first - second).abs().max() > 1e-4


def test_the_learned_bias_of_lavie_keeps_its_gradient_under_a_mask():
    relation = torch.zeros(4, 4)
    relation[:2, 2:] = relation[2:, :2] = -torch.inf
    gradients = []
    for is_dense in (True, False):
        unet = tiny("lavie").unet
        latents = torch.randn((1, 4, 4, 8, 8), generator=torch.Generator().manual_seed(1))
        member, hook = (
            ("scores", lambda scores, point: scores + relation)
            if is_dense
            else ("mask", lambda value, point: relation)
        )
        with attach(unet) as attachment:
            attachment.listen(lambda name, member=member: name.endswith(f".attn.hook_{member}"), hook)
            unet(latents, 500, torch.zeros(1, 3, 32)).sample.square().mean().backward()
        weights = [each for name, each in unet.named_parameters() if "attn_temp.to_q" in name]
        gradients.append([each.grad for each in weights])
        bias = unet.mid_block.attentions[0].transformer_blocks[0].attn_temp.time_rel_pos_bias
        if not is_dense:
            assert bias.relative_attention_bias.weight.grad.abs().max() > 0
    assert all(torch.allclose(one, two, atol=1e-6) for one, two in zip(*gradients, strict=True))


def test_hooks_write_what_frames_take_from_one_another():
    proof = specimen("lavie")
    pipe = proof.build()
    plain = proof.run(pipe)

    def silence(value, point):
        return torch.zeros_like(value)

    with attach(pipe) as attachment:
        silenced = proof.latents(
            run_with_hooks(attachment, fwd_hooks=[("blocks.1.attn.hook_z", silence)], **proof.arguments({}))
        )
    assert (silenced - plain).abs().max() > 1e-3


def test_the_noise_level_of_ddim_is_the_share_of_noise_and_can_limit_an_intervention():
    pipe = tiny("lavie")
    plan = scope.ShotPlan.from_frames([2], num_frames=4, fps=8)
    settings = {**SMALL, "num_inference_steps": 2}
    with scope.intervene(pipe, masks.same_shot(plan), sigmas=(0.9, 1.0)):
        attention = scope.probe(pipe, "a cat", shots=plan, **settings)
    kept = pipe.scheduler.alphas_cumprod[[int(each) for each in attention.timestep]]
    assert np.allclose(attention.sigma, (1 - kept).sqrt())
    assert ((attention.sigma >= 0.9) == [True, False]).all()
    across = attention.mass.sel(query_frame=0, key_frame=3)
    assert (across.sel(step=0) == 0).all()
    assert (across.sel(step=1) > 0).all()
