"""Captions of shots in every family that reads them, against masks that are laid into the scores by hand."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

import attnscope as scope
from attnscope import masks
from attnscope.errors import InputError, MaskError
from attnscope.families.calling import omit_prompts
from attnscope.families.protocols import ReadsCaptions
from attnscope.hooks import Attachment, HookPoint, attach
from attnscope.intervening.captions import ShotText
from attnscope.testing import TINY_MODELS, specimen, tiny

CAPTIONS = ("a red ball", "a blue dog on the beach")
GENERAL = "two shots"
NEGATIVE = "a cat"
# 16 positions of text in all: two captions and a general one do not fit.
FULL = ("cogvideox", "cogvideox-i2v", "cogvideox-v2v")
READERS = [
    name for name in TINY_MODELS if isinstance(specimen(name).family, ReadsCaptions) and name not in FULL
]
ON_TEXT_ALONE = "xattn"


def two_shots(pipe: Any, name: str) -> scope.ShotPlan:
    settings, family = specimen(name).settings, specimen(name).family
    count = settings.get("num_frames", settings.get("video_length")) or len(settings["video"])
    num_frames, stride = family.num_latent_frames(pipe, count), family.temporal_stride(pipe)
    return scope.ShotPlan.from_latent_frames(
        [num_frames // 2], num_frames_latent=num_frames, fps=16, stride=stride
    )


def encode(pipe: Any, name: str, captions: Any = CAPTIONS, general: str | None = GENERAL) -> ShotText:
    length = specimen(name).settings.get("max_sequence_length")
    return scope.encode_captions(
        pipe, captions, general=general, negative=NEGATIVE, max_sequence_length=length
    )


def told(pipe: Any, text: ShotText) -> dict[str, Any]:
    """What the pipeline is told in place of prompts; a negative prompt with a call of its own in words."""
    apart = {"negative_prompt": NEGATIVE} if text.num_negative is None else {"negative_prompt": None}
    return {"prompt": None, **apart, **omit_prompts(pipe, text.arguments), **text.arguments}


def at_text(attachment: Attachment, member: str) -> list[str]:
    """The points where text is read: in an attention of its own, or in that of the frames."""
    alone = [name for name in attachment.points if f".{ON_TEXT_ALONE}." in name]
    return [name for name in alone or attachment.points if name.endswith(f"hook_{member}")]


def shots_of_tokens(attachment: Attachment, slabs: list[int], cut: int) -> Tensor:
    """The shot of every token of the attention that runs: that of its frame, or of its caption."""
    found: list[int] = []
    for segment in attachment.layout.segments:
        if segment.kind == "frame":
            found += [int(segment.index >= cut)] * segment.num_tokens
        elif segment.kind == "text" and segment.index == 0:
            found += slabs
    return torch.tensor(found)


def hide_by_hand(
    attachment: Attachment, text: ShotText, slabs: list[int], cut: int, scores: Tensor, point: HookPoint
) -> Tensor:
    """Which token may not look at which, from the lengths of the captions alone: (N, M), 0 and -inf."""
    num_negative = len(slabs) if text.num_negative is None else text.num_negative
    if point.call.branch == "uncond" and text.num_negative is None:
        return scores
    if f".{ON_TEXT_ALONE}." in point.name:
        query = shots_of_tokens(attachment, [], cut)
        spare = scores.shape[-1] - len(slabs)
        key = torch.tensor([*slabs, *[-1] * spare])
        hidden = (key != 2) & (query[:, None] != key)
        bias = torch.tensor(text.bias_of_token, dtype=torch.float64).clamp(min=-1e9)
        if point.call.branch == "uncond":
            hidden = (torch.arange(len(key)) >= num_negative).expand(hidden.shape)
            bias = torch.zeros(len(key))
        return (
            scores
            + bias.masked_fill(bias < -1, 0.0)
            + torch.zeros(hidden.shape).masked_fill(hidden, -math.inf)
        )
    frames = torch.from_numpy(attachment.layout.token_frame() >= 0)
    if point.call.branch == "uncond":
        if int((~frames).sum()) == num_negative:
            return scores
        place = (~frames).cumsum(0) - 1
        absent = ~frames & (place >= num_negative)
        hidden = absent & ~torch.eye(len(absent), dtype=torch.bool)
        return scores.masked_fill(hidden, -math.inf)
    shot = shots_of_tokens(attachment, slabs, cut)
    general = (shot == 2) & ~frames
    concerns_text = ~frames[:, None] | ~frames
    hidden = concerns_text & (shot[:, None] != shot) & ~general & ~general[:, None]
    return scores.masked_fill(hidden, -math.inf)


@pytest.mark.parametrize("name", READERS)
def test_frames_read_their_own_caption_as_in_scores_masked_by_hand(name: str) -> None:
    pipe, model = tiny(name), specimen(name)
    plan, text = two_shots(pipe, name), encode(pipe, name)
    cut = plan.to_latent(model.family.temporal_stride(pipe)).cuts[0]
    reader: Any = model.family
    length = model.settings.get("max_sequence_length")
    sizes = [
        len(each.tokens) + (each.num_padding > 0)
        for each in (reader.encode_text(pipe, words, length) for words in (*CAPTIONS, GENERAL))
    ]
    slabs = [slab for slab, size in enumerate(sizes) for _ in range(size)]
    with attach(pipe) as attachment:

        def route(scores: Tensor, point: HookPoint) -> Tensor:
            return hide_by_hand(attachment, text, slabs, cut, scores, point).to(scores)

        hooks: Any = [(at_text(attachment, "scores"), route)]
        by_hand = model.run_with_hooks(attachment, hooks, **told(pipe, text))
    with scope.intervene(pipe, masks.own_text(plan) | masks.general_text(plan), text=text):
        routed = model.run(pipe, **told(pipe, text))
    with scope.intervene(pipe, masks.everything(), text=text):
        read_by_all = model.run(pipe, **told(pipe, text))
    spread = max(1.0, float(by_hand.std()))
    torch.testing.assert_close(routed, by_hand, rtol=0, atol=5e-5 * spread)
    assert (routed - read_by_all).abs().max() > 1e-5


@pytest.mark.parametrize("name", READERS)
def test_of_another_shot_s_caption_a_frame_sees_exactly_nothing(name: str) -> None:
    pipe, model = tiny(name), specimen(name)
    plan, text = two_shots(pipe, name), encode(pipe, name)
    cut = plan.to_latent(model.family.temporal_stride(pipe)).cuts[0]
    slabs = torch.tensor([group.index for group in text.slab_of_token])
    read = torch.tensor(text.bias_of_token) > -math.inf
    seen = 0
    with (
        attach(pipe) as attachment,
        scope.intervene(attachment, masks.own_text(plan) | masks.general_text(plan), text=text),
    ):

        def look(mass: Tensor, point: HookPoint) -> None:
            nonlocal seen
            if point.call.branch == "uncond":
                return
            frames = list(attachment.layout.frame_segments)
            of_frames = mass[:, :, frames]
            if f".{ON_TEXT_ALONE}." in point.name:
                of_slab = torch.stack(
                    [of_frames[..., read & (slabs == slab)].sum(-1) for slab in range(3)], -1
                )
            else:
                of_slab = of_frames[..., list(attachment.layout.text_segments)]
            assert (of_slab[:, :, :cut, 1] == 0).all()
            assert (of_slab[:, :, cut:, 0] == 0).all()
            assert (of_slab[:, :, :cut, 0] > 0).all()
            assert (of_slab[:, :, cut:, 1] > 0).all()
            assert (of_slab[..., 2] > 0).all()
            seen += 1

        model.run_with_hooks(attachment, [(at_text(attachment, "frame_mass"), look)], **told(pipe, text))
    assert seen > 0


@pytest.mark.parametrize("name", READERS)
def test_one_caption_for_one_shot_is_the_prompt(name: str) -> None:
    """Both branches: the caption is encoded as the pipeline encodes a prompt, and the negative prompt is its own."""
    pipe, model = tiny(name), specimen(name)
    # Latte cuts off the padding of a prompt only where it is told to
    own = {"mask_feature": True} if "mask_feature" in model.settings else {}
    text = encode(pipe, name, CAPTIONS[:1], None)
    plain = model.run(pipe, prompt=CAPTIONS[0], negative_prompt=NEGATIVE, **own)
    with scope.intervene(pipe, masks.everything(), text=text):
        told_apart = model.run(pipe, **told(pipe, text), **own)
    spread = max(1.0, float(plain.std()))
    torch.testing.assert_close(told_apart, plain, rtol=0, atol=5e-5 * spread)
    assert (model.run(pipe, prompt=CAPTIONS[1], negative_prompt=NEGATIVE, **own) - plain).abs().max() > 1e-5


@pytest.mark.parametrize("name", READERS)
def test_the_negative_prompt_does_not_feel_how_many_captions_there_are(name: str) -> None:
    pipe, model = tiny(name), specimen(name)
    found = []
    for captions in (CAPTIONS[1:], CAPTIONS):
        text = encode(pipe, name, captions, None)
        outputs: list[Tensor] = []
        denoiser: Any = model.family.first_denoiser(pipe)
        remove = denoiser.register_forward_hook(lambda module, args, out: outputs.append(out[0])).remove  # noqa: B023
        with scope.intervene(pipe, masks.everything(), text=text):
            model.run(pipe, **told(pipe, text))
        remove()
        found.append(outputs[1] if text.num_negative is None else outputs[0].chunk(2)[0])
    torch.testing.assert_close(*found, rtol=0, atol=5e-5)


@pytest.mark.parametrize("name", FULL)
def test_captions_that_have_no_position_are_refused(name: str) -> None:
    pipe = tiny(name)
    with pytest.raises(InputError, match="expected 16 tokens of text in all"):
        encode(pipe, name)


def test_captions_that_fit_the_positions_are_read() -> None:
    pipe = tiny("cogvideox")
    text = scope.encode_captions(pipe, CAPTIONS, max_sequence_length=8)
    assert text.embeds.shape[1] == 16


def test_padding_that_is_read_like_words_cannot_be_hidden() -> None:
    with pytest.raises(MaskError, match="padding that it reads like words"):
        scope.encode_captions(tiny("lavie"), CAPTIONS, padding="hidden")


def test_slabs_lie_behind_one_another() -> None:
    text = encode(tiny("easyanimate"), "easyanimate")
    indices = [group.index for group in text.slab_of_token]
    stops = [index + 1 for index, (one, other) in enumerate(pairwise(indices)) if one != other]
    assert stops == list(accumulate([256, 256]))
