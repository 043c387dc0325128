"""The training forward against a dense reference that shares no line with it: whole masks and padding, film by film."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers.models.transformers import transformer_wan

from attnscope import ShotPlan, masks
from attnscope.errors import MaskError
from attnscope.training.denoisers import TEXT_LENGTH
from attnscope.training.forward import training_forward
from attnscope.training.rules import rule_for

TOKENS = 4  # of a latent frame: 32 x 32 pixels, 4 x 4 latents, patches of 2 x 2


def hides(rule, plan, query, key):
    """Whether latent frame `query` may not see latent frame `key`, written down by hand."""
    same = plan.shot_of_frame[query] == plan.shot_of_frame[key]
    return not (same or (rule == "first frame too" and key == 0))


def dense_masks(here, batch, film, rule):
    """Masks (queries, keys) of token pairs for one film: between frames, and from frames to the text of all slabs."""
    subject = batch.subjects[film]
    frames = range(subject.plan.num_frames)
    between = torch.tensor(
        [[-math.inf if hides(rule, subject.plan, f, g) else 0.0 for g in frames] for f in frames]
    )
    between = between.repeat_interleave(TOKENS, 0).repeat_interleave(TOKENS, 1)
    text = subject.text
    captions = [*text.captions, text.general]
    rows = []
    for frame in frames:
        row = torch.zeros(len(captions) * TEXT_LENGTH)
        for slab in range(len(text.captions)):
            if slab != subject.plan.shot_of_frame[frame]:
                row[slab * TEXT_LENGTH : (slab + 1) * TEXT_LENGTH] = -math.inf
        rows.append(row)
    return between.double(), torch.stack(rows).repeat_interleave(TOKENS, 0).double(), captions


def padded(here, captions):
    """The captions as Wan's own pipeline pads them, one behind another."""
    slabs = []
    for caption in captions:
        embeds, _ = here.pipe.encode_prompt(
            caption, do_classifier_free_guidance=False, max_sequence_length=TEXT_LENGTH
        )
        slabs.append(embeds[0])
    return torch.cat(slabs)[None].double()


def dense_loss(here, batch, rule, masked_layers, monkeypatch):
    """The loss of the batch by its definition."""
    state = {}

    def attend(query, key, value, **_):
        layer, is_self = divmod(state["calls"], 2)
        is_self = not is_self
        state["calls"] += 1
        q, k, v = (each.transpose(1, 2) for each in (query, key, value))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if is_self and layer + 1 in masked_layers:
            scores = scores + state["between"]
        if not is_self:
            scores = scores + state["text"]
        return (scores.softmax(-1) @ v).transpose(1, 2)

    total = torch.zeros((), dtype=torch.float64)
    with monkeypatch.context() as patch:
        patch.setattr(transformer_wan, "dispatch_attention_fn", attend)
        for film in range(len(batch.latents)):
            between, text, captions = dense_masks(here, batch, film, rule)
            state |= {"between": between, "text": text, "calls": 0}
            clean, noise = (each[film : film + 1].double() for each in (batch.latents, batch.noise))
            sigma = float(batch.timesteps[film]) / 1000
            told = padded(here, captions)
            shown = (1 - sigma) * clean + sigma * noise
            velocity = here.model.denoiser(shown, batch.timesteps[film : film + 1], told, return_dict=False)[
                0
            ]
            error = (velocity - (noise - clean)).square().mean()
            total = total + here.objective.weight(batch.timesteps)[film].double() * error / len(batch.latents)
    return total


def stir(weights, seed=3):
    """Give adapters a B that is not zero, else A has no gradient."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in weights.items():
            if "lora_B" in name:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=generator, dtype=torch.float64))


def gradients(here, loss):
    torch.autograd.backward(loss)
    found = {name: weight.grad.clone() for name, weight in here.weights.items()}
    here.model.denoiser.zero_grad()
    return found


@pytest.fixture
def no_float32(monkeypatch):
    """Wan computes norms and residuals in float32 whatever it is; an exact comparison needs it exact."""
    plain = torch.Tensor.float
    with monkeypatch.context() as patch:
        patch.setattr(
            torch.Tensor, "float", lambda self: self if self.dtype == torch.float64 else plain(self)
        )
        yield


@pytest.mark.usefixtures("no_float32")
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("rule", ["own shot", "first frame too"])
def test_gradients_are_those_of_the_dense_reference(assemble, monkeypatch, rule, checkpointing):
    here = assemble(dtype=torch.float64, batch_size=4, caption_dropout=0.3, checkpointing=checkpointing)
    text = "same_shot" if rule == "own shot" else "same_shot | first_frame"
    stir(here.weights)
    batch = here.assembly.batch(here.order.batch(0))
    assert len({subject.plan for subject in batch.subjects}) > 2
    assert {subject.is_routed for subject in batch.subjects} == {True, False}
    with training_forward(here.model, here.objective, text, layers="2") as forward:
        loss = forward.loss(batch)
        ours = gradients(here, loss)
    here.model.denoiser.disable_gradient_checkpointing()
    reference_loss = dense_loss(here, batch, rule, {2}, monkeypatch)
    reference = gradients(here, reference_loss)
    other = gradients(here, dense_loss(here, batch, rule, {1}, monkeypatch))
    assert abs(float(loss.detach() - reference_loss.detach())) <= 1e-9 * float(loss.detach())
    size = max(float(each.abs().max()) for each in reference.values())
    apart = max(float((ours[name] - reference[name]).abs().max()) for name in ours)
    assert apart <= 1e-9 * size
    # the same rule in another layer is another network
    assert max(float((ours[name] - other[name]).abs().max()) for name in ours) > 1e-4 * size


def test_a_checkpointed_block_is_recomputed(assemble):
    here = assemble(batch_size=2, checkpointing=True)
    seen = []
    with training_forward(here.model, here.objective, "same_shot") as forward:
        forward.attachment.listen(
            "blocks.0.attn.hook_z", lambda value, point: seen.append(point.call.recomputed)
        )
        torch.autograd.backward(forward.loss(here.assembly.batch(here.order.batch(0))))
    assert seen == [False, True]


def test_each_film_has_its_own_mask(assemble):
    here = assemble(batch_size=6)
    batch = here.assembly.batch(here.order.batch(0))
    masses = []
    with training_forward(here.model, here.objective, "same_shot") as forward:
        forward.attachment.listen(
            "blocks.1.attn.hook_frame_mass", lambda mass, point: masses.append(mass.detach())
        )
        forward.loss(batch)
    for film, subject in enumerate(batch.subjects):
        shot = torch.from_numpy(subject.plan.shot_of_frame)
        other = shot[:, None] != shot[None]
        assert float(masses[0][film][:, other].sum()) == 0
        assert bool((masses[0][film][:, ~other] > 0).all())


def test_processors_are_put_back(assemble):
    here = assemble()
    before = [each.processor for each in (block.attn1 for block in here.model.denoiser.blocks)]
    with training_forward(here.model, here.objective, "cinetrans-dit", layers="1-2"):
        pass
    assert [block.attn1.processor for block in here.model.denoiser.blocks] == before


def test_every_preset_without_steps_trains(assemble):
    here = assemble(batch_size=2)
    for name in masks.list_presets():
        if name == "cinetrans-unet":
            continue
        layers = "1-2"
        batch = here.assembly.batch(here.order.batch(1))
        rule = (lambda plan: masks.preset("vstar", plan, steps="all")) if name == "vstar" else name
        with training_forward(
            here.model, here.objective, rule, layers=None if name == "vstar" else layers
        ) as forward:
            assert math.isfinite(float(forward.loss(batch).detach())), name


def test_a_rule_over_noise_levels_holds_at_those(assemble):
    here = assemble(batch_size=1)

    def rule(plan):
        return masks.Intervention(masks.same_shot(plan), sigmas=(0.6, 1.0))

    losses = {}
    for level in (0.05, 0.95):
        places = [place for number in range(6) for place in here.order.batch(number)]
        place = next(each for each in places if here.films[each.film].plan.num_shots > 1)
        batch = here.assembly.batch([place], uniform=level)
        for name, each in (("none", None), ("scoped", rule), ("always", "same_shot")):
            with training_forward(here.model, here.objective, each) as forward:
                losses[level, name] = float(forward.loss(batch).detach())
    assert losses[0.05, "scoped"] == losses[0.05, "none"] != losses[0.05, "always"]
    assert losses[0.95, "scoped"] == losses[0.95, "always"] != losses[0.95, "none"]


def test_the_learned_unet_trains_under_the_mask(assemble):
    here = assemble("lavie", batch_size=2)
    batch = here.assembly.batch(here.order.batch(0))
    with training_forward(here.model, here.objective, "same_shot") as forward:
        torch.autograd.backward(forward.loss(batch))
    assert any(float(weight.grad.abs().max()) > 0 for weight in here.weights.values())


def test_a_model_that_begins_with_a_picture_trains(assemble):
    here = assemble("wan-i2v", batch_size=2)
    batch = here.assembly.batch(here.order.batch(0))
    assert batch.given["condition"].shape[1] == 20
    with training_forward(here.model, here.objective, "same_shot | first_frame") as forward:
        torch.autograd.backward(forward.loss(batch))
    assert any(float(weight.grad.abs().max()) > 0 for weight in here.weights.values())


def test_steps_of_denoising_are_refused():
    plan = ShotPlan.from_latent_frames([2], num_frames_latent=5, fps=16).to_latent(4)
    with pytest.raises(MaskError, match="noise levels"):
        rule_for("vstar", plan)
