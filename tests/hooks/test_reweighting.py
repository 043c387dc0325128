"""Writing a frame mass: attention gets it exactly, changes no more than it must, and gradients are those of that."""

from __future__ import annotations

import pytest
import torch

from attnscope.errors import InputError, RunError
from attnscope.hooks import attach, run_with_cache, run_with_hooks
from attnscope.hooks.attention import Attention
from attnscope.hooks.reweighting import bias_for_mass
from attnscope.hooks.seam import AttentionCall
from attnscope.testing.wan import tiny_wan

SMALL = {
    "height": 32,
    "width": 32,
    "num_frames": 13,
    "num_inference_steps": 1,
    "guidance_scale": 1.0,
    "max_sequence_length": 6,
    "output_type": "latent",
}
SITE = "blocks.1.attn"
MASS = f"{SITE}.hook_frame_mass"


@pytest.fixture
def pipe():
    return tiny_wan(2)


def away_from_the_first(mass, point=None):
    """Half of what frames give to frame 0 goes to themselves."""
    wanted = mass.clone()
    moved = wanted[..., 0] / 2
    wanted[..., 0] -= moved
    return wanted + torch.diag_embed(moved)


def seen(pipe, *hooks, members=("pattern", "frame_mass", "token_frame", "lse", "z", "v")):
    with attach(pipe) as attachment:
        for name, hook in hooks:
            attachment.listen(name, hook)
        names = [f"{SITE}.hook_{member}" for member in members]
        generator = torch.Generator().manual_seed(3)
        result, cache = run_with_cache(attachment, "a cat", names_filter=names, generator=generator, **SMALL)
    return result.frames, {name.split("hook_")[1]: records[0].value for name, records in cache.items()}


def test_the_written_mass_is_the_mass_and_nothing_else_within_a_frame_changes(pipe):
    plain_video, plain = seen(pipe)
    video, now = seen(
        pipe, (MASS, away_from_the_first), members=("frame_mass", "token_frame", "lse", "z", "v")
    )
    wanted = away_from_the_first(plain["frame_mass"])
    torch.testing.assert_close(now["frame_mass"], wanted, rtol=0, atol=1e-6)
    assert (wanted - plain["frame_mass"]).abs().max() > 0.05
    assert (video - plain_video).abs().max() > 1e-4
    torch.testing.assert_close(now["token_frame"].sum(-1), torch.ones(1, 2, 16), rtol=0, atol=1e-5)
    # One factor for each pair of frames, up to what normalises a token: that is the nearest such attention (the
    # Lagrange condition of the least Kullback-Leibler divergence), and it says what the output must be.
    log_factor = (now["token_frame"] / plain["token_frame"]).log()
    log_factor = (log_factor - log_factor[..., :1]).unflatten(2, (4, 4))
    torch.testing.assert_close(log_factor, log_factor[:, :, :, :1].expand_as(log_factor), rtol=0, atol=1e-4)
    pattern = plain["pattern"] * log_factor.flatten(2, 3).exp().repeat_interleave(4, -1)
    pattern = pattern / pattern.sum(-1, keepdim=True)
    z = torch.einsum("bhnm,bmhd->bnhd", pattern, now["v"])
    torch.testing.assert_close(now["z"], z, rtol=0, atol=1e-5)


def test_a_frame_can_be_cut_off_for_good(pipe):
    def cut_off(mass, point):
        wanted = mass.clone()
        wanted[..., 1:, 0] = 0
        return wanted / wanted.sum(-1, keepdim=True)

    _, now = seen(pipe, (MASS, cut_off), members=("frame_mass", "z", "v"))
    assert bool((now["frame_mass"][..., 1:, 0] == 0).all())
    _, masked = seen(pipe, (f"{SITE}.hook_v", lambda v, p: v), members=("frame_mass",))
    torch.testing.assert_close(now["frame_mass"], cut_off(masked["frame_mass"], None), rtol=0, atol=1e-6)


@pytest.mark.parametrize("in_place", [True, False])
def test_what_is_written_is_taken_in_place_or_returned_and_the_same_numbers_change_nothing(pipe, in_place):
    plain, _ = seen(pipe, members=("q",))

    def write(mass, point, change=away_from_the_first):
        wanted = change(mass)
        if not in_place:
            return wanted
        mass.copy_(wanted)
        return None

    changed, _ = seen(pipe, (MASS, write), members=("q",))
    same, _ = seen(pipe, (MASS, lambda mass, point: write(mass, point, lambda m: m.clone())), members=("q",))
    assert not torch.equal(changed, plain)
    torch.testing.assert_close(same, plain, rtol=0, atol=1e-5)
    looked, _ = seen(pipe, (MASS, lambda mass, point: None), members=("q",))
    assert torch.equal(looked, plain)


def test_a_mask_that_is_in_force_and_an_edited_pattern_are_what_is_reweighed(pipe):
    hidden = torch.ones(4, 4).bool()
    hidden[3, 1] = False
    mask = (f"{SITE}.hook_mask", lambda relation, point: hidden)
    members = ("frame_mass", "z")
    _, masked = seen(pipe, mask, members=members)
    _, both = seen(pipe, mask, (MASS, away_from_the_first), members=members)
    torch.testing.assert_close(
        both["frame_mass"], away_from_the_first(masked["frame_mass"]), rtol=0, atol=1e-6
    )
    assert bool((both["frame_mass"][..., 3, 1] == 0).all())
    # The same mask, written into the whole map: two ways to one attention.
    bias = torch.zeros(4, 4).masked_fill(~hidden, -torch.inf)
    dense = bias.repeat_interleave(4, 0).repeat_interleave(4, 1)
    scores = (f"{SITE}.hook_scores", lambda value, point: value + dense)
    _, edited = seen(pipe, scores, (MASS, away_from_the_first), members=members)
    for member in members:
        torch.testing.assert_close(edited[member], both[member], rtol=0, atol=1e-5)


def test_text_masses_of_cross_attention_can_be_written_too(pipe):
    name = "blocks.0.xattn.hook_frame_mass"

    def only_the_first_word(mass, point):
        return torch.zeros_like(mass).index_fill(-1, torch.tensor([0]), 1.0)

    generator = torch.Generator().manual_seed(3)
    names = ["blocks.0.xattn.hook_z", "blocks.0.xattn.hook_v"]
    with attach(pipe) as attachment:
        attachment.listen(name, only_the_first_word)
        _, cache = run_with_cache(attachment, "a cat", names_filter=names, generator=generator, **SMALL)
    z, v = (cache[name][0].value for name in names)
    torch.testing.assert_close(z, v[:, :1].expand_as(z), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (lambda mass: mass[..., :2], r"of shape \(1, 2, 4, 4\), got \(1, 2, 4, 2\)"),
        (lambda mass: -mass, "from 0 to 1, got negative"),
        (lambda mass: mass * torch.nan, "from 0 to 1, got negative numbers or none"),
        (lambda mass: mass / 2, r"rows that sum to 1, got 0.5 in row \(0, \d, \d\),? .*divide by"),
    ],
)
def test_what_is_no_mass_is_refused(pipe, write, text):
    with pytest.raises(InputError, match=text) as caught:
        run_with_hooks(pipe, "a cat", fwd_hooks=[(MASS, lambda mass, point: write(mass))], **SMALL)
    assert MASS in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mass_for_what_a_mask_hides_is_refused(pipe):
    hooks = [
        (f"{SITE}.hook_mask", lambda relation, point: torch.eye(4).bool()),
        (MASS, lambda mass, point: torch.full_like(mass, 0.25)),
    ]
    with pytest.raises(InputError, match="expected no mass where attention is hidden, got some at blocks.1"):
        run_with_hooks(pipe, "a cat", fwd_hooks=hooks, **SMALL)


@pytest.mark.parametrize("sharpness", [1.0, 6.0, 20.0])
@pytest.mark.parametrize("num_tokens", [1, 4, 64])
def test_the_bias_is_found_however_far_the_mass_is(sharpness, num_tokens):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 5 * num_tokens, 6, generator=generator).double() * sharpness
    wanted = (torch.randn(2, 3, 5, 6, generator=generator).double() * 4).softmax(-1)
    offsets = [num_tokens * frame for frame in range(6)]
    bias = bias_for_mass(logits.softmax(-1), wanted, offsets)
    found = (logits + bias.repeat_interleave(num_tokens, 2)).softmax(-1).unflatten(2, (5, num_tokens)).mean(3)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-8)


def test_one_mass_holds_for_all_places_of_a_video():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(6, 2, 4, 4, generator=generator).double()  # 2 videos of 3 places, one token a frame
    wanted = torch.rand(2, 2, 4, 4, generator=generator).double()
    wanted /= wanted.sum(-1, keepdim=True)
    bias = bias_for_mass(logits.softmax(-1), wanted, range(5))
    found = (logits + bias).softmax(-1).unflatten(0, (2, 3)).mean(1)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-8)


def test_gradients_pass_through_the_written_mass_and_through_the_bias_that_keeps_it():
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 4, 1, 3, generator=generator).double().requires_grad_() for _ in range(3))
    level = torch.randn(1, 1, 2, 2, generator=generator).double().requires_grad_()

    def attention(query, key, value, logits):
        call = AttentionCall(query, key, value, None, None, "", run=None, alone=None)
        own = Attention(call, lambda: ((0, 2, 4), (0, 1, 4)))
        return own.with_frame_mass(logits.softmax(-1), MASS).output()

    assert torch.autograd.gradcheck(attention, (q, k, v, level), atol=1e-6)


def test_a_trace_reads_and_writes_it_across_steps(pipe):
    settings = {**SMALL, "num_inference_steps": 3, "prompt": "a cat"}
    hooked = run_with_hooks(
        pipe, fwd_hooks=[(MASS, away_from_the_first)], generator=torch.Generator().manual_seed(3), **settings
    ).frames
    masses = []
    with attach(pipe) as attachment:
        from attnscope.hooks import as_nnsight

        model = as_nnsight(attachment)
        with model.trace(generator=torch.Generator().manual_seed(3), **settings) as tracer:
            for _ in tracer.iter[:3]:
                mass = model.blocks[1].attn.hook_frame_mass.output
                masses.append(mass.clone().save())
                moved = mass[..., 0] / 2
                wanted = mass - torch.nn.functional.pad(moved[..., None], (0, 3)) + torch.diag_embed(moved)
                model.blocks[1].attn.hook_frame_mass.output = wanted
            traced = model.output.frames.save()
    assert torch.equal(traced, hooked)
    assert len(masses) == 3
    assert not torch.equal(hooked, pipe(generator=torch.Generator().manual_seed(3), **settings).frames)


def test_attention_that_does_not_reach_a_frame_at_all_says_so(pipe):
    def freeze(query, point):
        return query * 1e4

    hooks = [(f"{SITE}.hook_q", freeze), (MASS, lambda mass, point: torch.full_like(mass, 0.25))]
    with pytest.raises((RunError, InputError)) as caught:
        run_with_hooks(pipe, "a cat", fwd_hooks=hooks, **SMALL)
    assert "\n" not in str(caught.value)
