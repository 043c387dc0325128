"""Intervening: the change is there, exactly where it was meant, and nothing of it stays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import attnscope as scope
from attnscope import masks
from attnscope.errors import InputError, MaskError, RangeError
from attnscope.families import find as pipe_family
from attnscope.hooks import find_attachment, run_with_cache, run_with_hooks
from attnscope.intervening.generate import _decode_by_shot
from attnscope.intervening.masking import largest_scores
from attnscope.testing.wan import tiny_wan

SMALL = {"height": 32, "width": 32, "num_frames": 17, "num_inference_steps": 3, "output_type": "latent"}
PLAN = scope.ShotPlan.from_latent_frames([2], num_frames_latent=5, fps=16)
SHOT = np.array([0, 0, 1, 1, 1])
ACROSS = SHOT[:, None] != SHOT[None, :]


@pytest.fixture
def pipe() -> Any:
    return tiny_wan(3)


def make(pipe: Any, prompt: str | None = "a red ball", **arguments: Any) -> torch.Tensor:
    given = {**SMALL, **arguments} if prompt is None else {"prompt": prompt, **SMALL, **arguments}
    video: torch.Tensor = pipe(generator=torch.Generator().manual_seed(3), **given).frames
    return video


def looked(pipe: Any, **options: Any) -> Any:
    small = {name: value for name, value in SMALL.items() if name != "output_type"}
    return scope.probe(pipe, "a red ball", branch="cond,uncond", **small, **options)


def across(attention: Any, **where: Any) -> np.ndarray:
    """The masses from shot to shot, of every prompt, step, branch, layer, head that was asked for."""
    mass = attention.mass.sel(**where).transpose(..., "query_frame", "key_frame").values
    return np.asarray(mass[..., ACROSS])


def traces(pipe: Any) -> list[Any]:
    found = []
    for block in pipe.transformer.blocks:
        found += [block.attn1.processor, block.attn2.processor]
    return [*found, pipe.transformer.__dict__.get("cache_context"), len(pipe.transformer._forward_hooks)]


def test_inside_masked_layers_no_mass_crosses_the_cut_and_outside_it_does(pipe: Any) -> None:
    with scope.intervene(pipe, masks.same_shot(PLAN), layers="2-3"):
        attention = looked(pipe)
    assert attention.sizes["branch"] == 2
    assert (across(attention, layer=[2, 3]) == 0).all()
    assert (across(attention, layer=1) > 1e-3).all()
    np.testing.assert_allclose(attention.mass.sum("key_frame"), 1, atol=1e-5)


def test_the_video_differs_and_is_what_it_was_afterwards(pipe: Any) -> None:
    plain = make(pipe)
    with scope.intervene(pipe, masks.same_shot(PLAN)):
        masked = make(pipe)
    assert (masked - plain).abs().max() > 1e-4
    assert torch.equal(make(pipe), plain)


def test_the_first_frame_of_the_video_stays_visible(pipe: Any) -> None:
    with scope.intervene(pipe, masks.same_shot(PLAN) | masks.first_frame()):
        mass = looked(pipe).mass
    to_first = mass.sel(query_frame=[2, 3, 4], key_frame=0)
    assert (to_first > 1e-3).all()
    assert (mass.sel(query_frame=[2, 3, 4], key_frame=1) == 0).all()
    # not the other way round: frame 0 sees its own shot alone
    assert (mass.sel(query_frame=0, key_frame=[2, 3, 4]) == 0).all()


@pytest.mark.parametrize(
    ("options", "where", "elsewhere"),
    [
        ({"layers": 2}, {"layer": 2}, {"layer": [1, 3]}),
        ({"heads": "1"}, {"head": 1}, {"head": 0}),
        ({"steps": "1-2"}, {"step": [1, 2]}, {"step": 0}),
        ({"branch": "cond"}, {"branch": "cond"}, {"branch": "uncond"}),
        ({"sigmas": (0.0, 0.9)}, {"step": [1, 2]}, {"step": 0}),
        (
            {"layers": "1,3", "heads": [0], "steps": [0]},
            {"layer": [1, 3], "head": 0, "step": 0},
            {"layer": 2},
        ),
    ],
    ids=["layers", "heads", "steps", "branch", "noise levels", "all of them"],
)
def test_a_scope_is_kept(
    pipe: Any, options: dict[str, Any], where: dict[str, Any], elsewhere: dict[str, Any]
) -> None:
    with scope.intervene(pipe, masks.same_shot(PLAN), **options):
        attention = looked(pipe)
    assert attention.sigma.values[0] > 0.9 > attention.sigma.values[1]
    assert (across(attention, **where) == 0).all()
    assert (across(attention, **elsewhere) > 1e-4).all()


def test_both_branches_are_masked_unless_said_otherwise(pipe: Any) -> None:
    with scope.intervene(pipe, masks.same_shot(PLAN)):
        assert (across(looked(pipe), branch="uncond") == 0).all()


def test_a_masked_video_is_that_of_a_dense_mask(pipe: Any) -> None:
    """Written by hand into the scores of every token, with nothing of the rules or the relation in between."""
    shot = torch.arange(20) // 4 >= 2
    hidden = torch.where(shot[:, None] == shot[None, :], 0.0, -math.inf)
    hidden[:, :4] = 0.0
    hooks = [
        (
            lambda name: name.endswith("attn.hook_scores") and ".attn." in name,
            lambda scores, point: scores + hidden,
        )
    ]
    dense = run_with_hooks(
        pipe, "a red ball", fwd_hooks=hooks, generator=torch.Generator().manual_seed(3), **SMALL
    ).frames
    with scope.intervene(pipe, masks.preset("cinetrans-dit", PLAN, layers="all")):
        masked = make(pipe)
    torch.testing.assert_close(masked, dense, rtol=0, atol=1e-5)


def test_a_softer_mask_lets_more_through(pipe: Any) -> None:
    leaks = []
    for alpha in (0.0, 2.0, 8.0):
        with scope.intervene(pipe, masks.same_shot(PLAN).soft(alpha), layers=1):
            leaks.append(float(across(looked(pipe), layer=1, step=0).mean()))
    plain = float(across(looked(pipe), layer=1, step=0).mean())
    assert leaks[0] == pytest.approx(plain, abs=1e-6)
    assert leaks[0] > 2 * leaks[1] > 2 * leaks[2] > 0


def test_a_ramp_runs_with_the_noise(pipe: Any) -> None:
    with scope.intervene(pipe, masks.same_shot(PLAN).soft(masks.Ramp(12.0, 0.0)), layers=1):
        ratio = [float(across(looked(pipe), layer=1, step=step).mean()) for step in (0, 2)]
    assert ratio[1] > 3 * ratio[0]


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_stays_behind(pipe: Any, fails: bool) -> None:
    make(pipe)  # diffusers leaves traces of its own at the first run
    before = traces(pipe)

    def act() -> None:
        with scope.intervene(pipe, masks.same_shot(PLAN), layers=2):
            make(pipe)
            if fails:
                make(pipe, height=33)

    if fails:
        with pytest.raises(ValueError, match="divisible by 16"):
            act()
    else:
        act()
    after = traces(pipe)
    assert all(one is other for one, other in zip(before[:-1], after[:-1], strict=True))
    assert before[-1] == after[-1]
    assert find_attachment(pipe) is None


def test_a_window_that_was_open_stays_open_and_quiet(pipe: Any) -> None:
    with scope.attach(pipe) as attachment:
        with scope.intervene(attachment, masks.same_shot(PLAN)) as same:
            assert same is attachment
            assert attachment.changes == [
                "A frame sees its own shot (cut at video frame 5). In all layers, all heads, "
                "all steps, branches cond and uncond."
            ]
        assert attachment.changes == []
        assert not any(point.is_active for point in attachment.points.values())
        assert find_attachment(pipe) is attachment


def test_a_probe_leaves_nothing_in_a_window_that_is_not_its_own(pipe: Any) -> None:
    with scope.intervene(pipe, masks.same_shot(PLAN)) as attachment:
        first, second = looked(pipe, layers=1), looked(pipe, layers="1-2")
        assert attachment.callbacks == {"before": [], "after": []}
    np.testing.assert_array_equal(first.mass, second.mass.sel(layer=[1]))


def test_interventions_add_up_one_inside_the_other(pipe: Any) -> None:
    with scope.intervene(pipe, masks.band(2)), scope.intervene(pipe, masks.same_shot(PLAN)):
        mass = looked(pipe).mass
    lag = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    hidden = ACROSS | (lag > 2)
    assert (mass.values[..., hidden] == 0).all()
    assert (mass.values[..., ~hidden] > 0).all()


def test_a_record_says_what_was_changed(pipe: Any, tmp_path: Any) -> None:
    assert "interventions" not in looked(pipe, layers=1).attrs
    with scope.intervene(pipe, masks.same_shot(PLAN), layers=2):
        attention = looked(pipe, layers=1, out=tmp_path / "one.zarr")
    assert scope.schema.parse_attributes(attention.attrs)["interventions"] == [
        "A frame sees its own shot (cut at video frame 5). In layers 2, all heads, all steps, branches cond and uncond."
    ]
    # the same store does not go on with another mask
    with (
        scope.intervene(pipe, masks.band(1)),
        pytest.raises(InputError, match="settings this store was begun with"),
    ):
        looked(pipe, layers=1, out=tmp_path / "one.zarr")


def test_two_transformers_are_both_masked() -> None:
    pipe = tiny_wan(2, two_stages=True)
    with scope.intervene(pipe, masks.same_shot(PLAN), layers=1):
        _, cache = run_with_cache(pipe, "a red ball", names_filter="blocks.0.attn.hook_frame_mass", **SMALL)
    records = cache["blocks.0.attn.hook_frame_mass"]
    assert {record.call.denoiser for record in records} == {"transformer", "transformer_2"}
    assert all((record.value[..., torch.from_numpy(ACROSS)] == 0).all() for record in records)


def test_a_decay_in_units_of_the_largest_score_is_vstar(pipe: Any) -> None:
    """Token by token by hand: scores plus the fall with distance times the mean of the largest scores of the frame."""
    rule = masks.decay(2.0, 1.5, by_largest=True)
    with scope.intervene(pipe, rule, layers=1):
        _, cache = run_with_cache(
            pipe,
            "a red ball",
            generator=torch.Generator().manual_seed(3),
            **SMALL,
            names_filter=[f"blocks.0.attn.hook_{member}" for member in ("q", "k", "frame_mass")],
        )
    lag = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    fall = torch.from_numpy(np.exp(-(lag**2) / 8) - 1)
    for q, k, mass in zip(*(cache[name] for name in cache), strict=True):
        scores = torch.einsum("bnhd,bmhd->bhnm", q.value, k.value).double() / math.sqrt(12)
        largest = scores.amax(-1).unflatten(-1, (5, 4)).mean(-1)
        bias = 1.5 * largest[..., None] * fall
        pattern = (scores + bias.repeat_interleave(4, -1).repeat_interleave(4, -2)).softmax(-1)
        by_hand = pattern.unflatten(-1, (5, 4)).sum(-1).unflatten(-2, (5, 4)).mean(-2)
        torch.testing.assert_close(mass.value.double(), by_hand, rtol=0, atol=1e-6)
        plain = scores.softmax(-1).unflatten(-1, (5, 4)).sum(-1).unflatten(-2, (5, 4)).mean(-2)
        assert (plain - by_hand).abs().max() > 1e-3
        torch.testing.assert_close(largest_scores(q.value, k.value, range(0, 24, 4)), largest)


CAPTIONS = ("a red ball", "a blue dog on the beach")


@pytest.mark.parametrize("general", [None, "two shots"])
def test_captions_behind_one_another_are_the_padded_prompts(pipe: Any, general: str | None) -> None:
    """Slabs of 512 tokens with their padding, routed in the scores by hand, as the code of CineTrans lays them."""
    texts = [*CAPTIONS, *([general] if general else [])]
    padded = [
        pipe.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=64)[0]
        for text in texts
    ]
    hidden = torch.full((20, 64 * len(texts)), -math.inf)
    hidden[:8, :64] = 0.0
    hidden[8:, 64:128] = 0.0
    hidden[:, 128:] = 0.0

    def route(scores: torch.Tensor, point: Any) -> torch.Tensor | None:
        return scores + hidden if scores.shape[-1] == hidden.shape[-1] else None

    by_hand = run_with_hooks(
        pipe,
        fwd_hooks=[("blocks.1.xattn.hook_scores", route)],
        generator=torch.Generator().manual_seed(3),
        prompt_embeds=torch.cat(padded, 1),
        **SMALL,
    ).frames
    text = scope.encode_captions(pipe, CAPTIONS, general=general, max_sequence_length=64)
    rule = masks.own_text(PLAN) | masks.general_text(PLAN)
    with scope.intervene(pipe, rule, text=text, layers=2):
        routed = make(pipe, None, prompt_embeds=text.embeds)
    torch.testing.assert_close(routed, by_hand, rtol=0, atol=1e-5)
    with scope.intervene(pipe, masks.everything(), text=text):
        read_by_all = make(pipe, None, prompt_embeds=text.embeds)
    assert (routed - read_by_all).abs().max() > 1e-4


def test_the_negative_prompt_repeated_for_every_shot_is_the_negative_prompt(pipe: Any) -> None:
    """What lets the uncond branch stay as it is: equal slabs, each read once or several times, are the same."""
    null = pipe.encode_prompt("", do_classifier_free_guidance=False, max_sequence_length=64)[0]
    text = scope.encode_captions(pipe, CAPTIONS, max_sequence_length=64)
    with scope.intervene(pipe, masks.own_text(PLAN), text=text):
        videos = [
            make(pipe, None, prompt_embeds=text.embeds, negative_prompt_embeds=null.repeat(1, times, 1))
            for times in (1, 3)
        ]
    torch.testing.assert_close(*videos, rtol=0, atol=1e-5)


def test_a_frame_reads_its_own_caption_only(pipe: Any) -> None:
    text = scope.encode_captions(pipe, CAPTIONS, general="two shots")
    rule = masks.own_text(PLAN) | masks.general_text(PLAN)
    name = "blocks.1.xattn.hook_frame_mass"
    with scope.intervene(pipe, rule, text=text, layers=2):
        _, cache = run_with_cache(pipe, prompt_embeds=text.embeds, names_filter=name, **SMALL)
    slabs = torch.tensor([group.index for group in text.slab_of_token])
    for record in cache[name]:
        if record.call.branch == "uncond":
            continue
        of_slab = torch.stack([record.value[..., slabs == slab].sum(-1) for slab in range(3)], -1)
        assert (of_slab[..., :2, 1] == 0).all()
        assert (of_slab[..., 2:, 0] == 0).all()
        assert (of_slab[..., :2, 0] > 0).all()
        assert (of_slab[..., 2] > 0).all()


def test_padding_that_is_hidden_is_not_there(pipe: Any) -> None:
    shown, hidden = (
        scope.encode_captions(pipe, CAPTIONS, padding=padding)  # type: ignore[arg-type]
        for padding in ("visible", "hidden")
    )
    assert [group.kind for group in shown.slab_of_token].count("padding") == 2
    assert [group.kind for group in hidden.slab_of_token].count("padding") == 0
    assert hidden.embeds.shape[1] == shown.embeds.shape[1] - 2
    assert sum(np.exp(shown.bias_of_token)) == pytest.approx(2 * 512)


def test_twenty_captions(pipe: Any) -> None:
    plan = scope.ShotPlan.from_latent_frames(range(1, 20), num_frames_latent=20, fps=16)
    text = scope.encode_captions(
        pipe, [f"a {word}" for word in ("cat", "dog", "ball", "beach")] * 5, general="shots"
    )
    rule = masks.preset("isolated", plan)[0].rule | masks.general_text(plan)
    name = "blocks.0.xattn.hook_frame_mass"
    with scope.intervene(pipe, rule, text=text):
        _, cache = run_with_cache(
            pipe,
            prompt_embeds=text.embeds,
            names_filter=name,
            **{**SMALL, "num_frames": 77, "num_inference_steps": 1, "guidance_scale": 1.0},
        )
    (record,) = cache[name]
    slabs = np.array([group.index for group in text.slab_of_token])
    for frame in range(20):
        seen = {int(slab) for slab in slabs[(record.value[0, :, frame] > 0).any(0).numpy()]}
        assert seen == {frame, 20}


@pytest.mark.parametrize("cuts", [(2,), (1, 4), ()])
def test_a_film_decode_by_shots_is_as_long_and_nothing_bleeds_over_the_cut(
    pipe: Any, cuts: tuple[int, ...]
) -> None:
    plan = scope.ShotPlan.from_latent_frames(cuts, num_frames_latent=5, fps=16).to_latent()
    latents = torch.randn(1, 16, 5, 4, 4, generator=torch.Generator().manual_seed(1))
    family = pipe_family(pipe)
    whole, by_shot = family.decode(pipe, latents), _decode_by_shot(family, pipe, latents, plan)
    assert whole.shape == by_shot.shape == (17, 32, 32, 3)
    # the VAE is causal: the first shot does not know what comes
    first_stop = plan.first_frame(cuts[0]) if cuts else 17
    np.testing.assert_allclose(by_shot[:first_stop], whole[:first_stop], atol=1e-5)
    if not cuts:
        return
    other = latents.clone()
    other[:, :, : cuts[0]] += 5.0
    assert np.abs(family.decode(pipe, other)[first_stop:] - whole[first_stop:]).max() > 1e-4
    np.testing.assert_array_equal(
        _decode_by_shot(family, pipe, other, plan)[first_stop:], by_shot[first_stop:]
    )


def test_generate_decodes_by_shots_what_it_decodes_at_once(pipe: Any) -> None:
    options = {
        "shots": PLAN,
        "rule": masks.same_shot(PLAN),
        "height": 32,
        "width": 32,
        "num_inference_steps": 2,
    }
    at_once, by_shot = (
        scope.generate(pipe, "a cat", decode_shots=choice, **options) for choice in (False, True)
    )
    assert at_once.frames.shape == by_shot.frames.shape == (17, 32, 32, 3)
    assert np.abs(at_once.frames[:5].astype(int) - by_shot.frames[:5]).max() <= 1
    assert np.abs(at_once.frames[5:].astype(int) - by_shot.frames[5:]).max() > 1


REFUSED = {
    "no rule": ({"rule": "same_shot"}, MaskError, "expected a mask rule or interventions, got 'same_shot'"),
    "nothing": ({"rule": []}, MaskError, r"got \[\] in intervene"),
    "a number": ({"rule": 3}, MaskError, "got 3 in intervene"),
    "rules without scope in a list": (
        {"rule": [masks.band(1)]},
        MaskError,
        "expected interventions, got band",
    ),
    "scope twice": (
        {"rule": masks.Intervention(masks.band(1)), "layers": 1},
        MaskError,
        "carry their scope, got layers beside",
    ),
    "an unknown scope": (
        {"rule": masks.band(1), "layer": 1},
        MaskError,
        "scope out of layers, .* got 'layer'",
    ),
    "a layer beyond": ({"rule": masks.band(1), "layers": "7-28"}, RangeError, "layers among 1-3, got 7"),
    "a head beyond": ({"rule": masks.band(1), "heads": "2"}, RangeError, "heads among 0-1, got 2"),
    "cross without captions": (
        {"rule": masks.own_text(PLAN), "attention": "cross"},
        MaskError,
        "expected captions of the shots",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_before_anything_is_attached(pipe: Any, case: str) -> None:
    options, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words) as caught, scope.intervene(pipe, **options):
        pytest.fail("the block must not be entered")
    assert "\n" not in str(caught.value)
    assert find_attachment(pipe) is None


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"steps": "0-9"}, RangeError, "steps among 0-2, got 3"),
        (
            {"rule": masks.same_shot(scope.ShotPlan.from_frames([9], num_frames=49, fps=16))},
            MaskError,
            "plan of 5",
        ),
        ({"rule": masks.previous_shot(PLAN)}, MaskError, "frame 0 that sees nothing"),
    ],
)
def test_what_does_not_fit_the_video_is_refused_at_its_first_call(
    pipe: Any, options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    rule = options.pop("rule", masks.same_shot(PLAN)) if "rule" in options else masks.same_shot(PLAN)
    with pytest.raises(kind, match=words) as caught, scope.intervene(pipe, rule, **options):
        make(pipe)
    assert "\n" not in str(caught.value)
    assert find_attachment(pipe) is None


def test_a_denoiser_alone_has_no_steps_to_choose(pipe: Any) -> None:
    video, text = torch.zeros(1, 16, 5, 4, 4), torch.zeros(1, 3, 32)
    with scope.intervene(pipe.transformer, masks.same_shot(PLAN)):
        pipe.transformer(video, torch.tensor([5]), text, return_dict=False)
    with (
        pytest.raises(
            MaskError, match="expected a pipeline that counts its steps, got WanTransformer3DModel"
        ),
        scope.intervene(pipe.transformer, masks.same_shot(PLAN), steps=0),
    ):
        pipe.transformer(video, torch.tensor([5]), text, return_dict=False)


def test_captions_that_the_pipeline_was_not_given_are_missed(pipe: Any) -> None:
    text = scope.encode_captions(pipe, CAPTIONS)
    with pytest.raises(MaskError, match="text tokens of the shot captions, got 512"):  # noqa: SIM117
        with scope.intervene(pipe, masks.own_text(PLAN), text=text):
            make(pipe)


@pytest.mark.parametrize(
    ("captions", "options", "words"),
    [
        ("a red ball", {}, "one caption for each shot, got 'a red ball'"),
        ([], {}, r"one caption for each shot, got \[\]"),
        (["a", None], {}, "one caption for each shot"),
        (["a"], {"padding": "none"}, "padding visible or hidden, got 'none'"),
    ],
)
def test_captions_that_are_none_are_refused(
    pipe: Any, captions: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(MaskError, match=words):
        scope.encode_captions(pipe, captions, **options)


REFUSED_FILMS: dict[str, tuple[dict[str, Any], str]] = {
    "no plan": ({"shots": [9]}, "expected a ShotPlan"),
    "a seed in words": ({"seed": "x"}, "whole number from 0"),
    "other frames than planned": ({"num_frames": 49}, "as many frames as the plan has, 17, got 49"),
    "layers of no rule": ({"layers": "7-9"}, "a rule that acts in layers '7-9'"),
    "what no pipeline knows": ({"colour": "red"}, "got colour"),
}


@pytest.mark.parametrize("case", REFUSED_FILMS)
def test_films_that_make_no_sense_are_refused(case: str) -> None:
    options, words = REFUSED_FILMS[case]
    with pytest.raises(InputError, match=words) as caught:
        scope.generate(scope.load("wan-mini"), "a red ball", **{"shots": PLAN, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["wan", "cogvideox", "hunyuan-video", "animatediff", "lavie"])
def test_a_pipeline_without_a_text_encoder_is_refused_in_one_line(name: str) -> None:
    pipe = scope.testing.tiny(name)
    pipe.text_encoder = None
    given = scope.testing.specimen(name).settings
    settings = {each: given[each] for each in given if each not in ("output_type", "prompt", "generator")}
    with pytest.raises(
        InputError, match="that can read prompts, got one without text_encoder in this pipeline; load"
    ):
        scope.probe(pipe, "a red ball", **settings)
    with pytest.raises(
        InputError, match="that can read prompts, got one without text_encoder in this pipeline; load"
    ):
        run_with_cache(pipe, "a red ball", names_filter="blocks.0.attn.hook_q", **settings)
