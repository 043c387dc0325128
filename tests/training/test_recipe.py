"""A recipe is checked where it is written, and survives its file; the objectives keep their definitions."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnscope.errors import InputError, UnsupportedModelError
from attnscope.testing import tiny
from attnscope.training.denoisers import find_trainable
from attnscope.training.objectives import Epsilon, Flow, objective_of, weighted_error
from attnscope.training.recipe import Recipe, write_toml
from attnscope.training.weights import prepare_weights, target_modules


def test_a_recipe_survives_its_file():
    recipe = Recipe(rank=3, alpha=6.5, targets=("self", "to_out.0"), checkpointing=True, learning_rate=3e-5)
    table = tomllib.loads(write_toml({"recipe": recipe.table()}))["recipe"]
    assert Recipe.from_table(table, "here") == recipe


@given(st.text())
def test_any_text_survives_the_file(text):
    assert tomllib.loads(write_toml({"a": {"b": text, "c": [text]}})) == {"a": {"b": text, "c": [text]}}


def test_targets_are_all_projections_and_feed_forwards(assemble):
    model = find_trainable(tiny("wan"))
    paths = target_modules(model, ("self", "cross", "feed-forward"))
    # 2 blocks: q, k, v, o of two attentions, and two linear layers
    assert len(paths) == 2 * (4 + 4 + 2)
    assert target_modules(model, ("attn2.to_k",)) == ("blocks.0.attn2.to_k", "blocks.1.attn2.to_k")


def test_the_published_adapters_of_wan_have_the_published_size():
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        denoiser = WanTransformer3DModel(
            num_layers=30, num_attention_heads=12, attention_head_dim=128, ffn_dim=8960
        )
    pipe = tiny("wan")
    pipe.transformer = denoiser
    paths = target_modules(find_trainable(pipe), ("self", "cross", "feed-forward"))
    layers = dict(denoiser.named_modules())
    size = sum(64 * (layers[path].in_features + layers[path].out_features) for path in paths)
    assert size == 30 * (2 * 4 * (1536 + 1536) * 64 + 2 * (1536 + 8960) * 64) == 87_490_560


def test_adapters_begin_without_effect_and_are_drawn_from_the_seed():
    states = []
    for seed in (0, 0, 1):
        pipe = tiny("wan")
        weights = prepare_weights(find_trainable(pipe), Recipe(rank=2, seed=seed))
        assert all(
            float(each.detach().abs().max()) == 0 for name, each in weights.items() if "lora_B" in name
        )
        states.append(
            torch.cat([each.detach().flatten() for name, each in weights.items() if "lora_A" in name])
        )
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_flow_matching_is_its_formula():
    flow = Flow(shift=3.0)
    timesteps, sigmas = flow.level(torch.tensor([0.0, 0.25, 1.0]))
    assert sigmas.tolist() == pytest.approx([0.0, 0.5, 1.0])
    assert torch.allclose(timesteps, 1000 * sigmas)
    clean, noise = torch.randn(3, 2, 2), torch.randn(3, 2, 2)
    shown, target = flow.question(clean, noise, timesteps)
    assert torch.allclose(shown[1], 0.5 * (clean[1] + noise[1]), atol=1e-6)
    assert torch.allclose(target, noise - clean)


def test_the_bell_is_one_on_average_and_highest_in_the_middle():
    flow = Flow(shift=3.0, bell=True)
    timesteps, _ = flow.level((torch.arange(1, 1001, dtype=torch.float64)) / 1000)
    weights = flow.weight(timesteps)
    assert float(weights.mean()) == pytest.approx(1.0, abs=1e-6)
    assert float(timesteps[weights.argmax()]) == pytest.approx(500, abs=2)
    assert float(weights.min()) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("bounds", "part"), [((0.875, 1.0), "transformer"), ((0.0, 0.875), "transformer_2")])
def test_each_of_two_denoisers_is_trained_at_its_own_noise(bounds, part):
    model = find_trainable(tiny("wan-2.2"), part)
    assert model.bounds == bounds
    flow = objective_of(model.pipe, Recipe(), by_flow=True, bounds=model.bounds)
    _, sigmas = flow.level(torch.linspace(0, 1, 11))
    assert float(sigmas.min()) == pytest.approx(bounds[0])
    assert float(sigmas.max()) == pytest.approx(bounds[1])


@pytest.mark.parametrize("velocity", [False, True])
def test_the_denoiser_answer_gives_the_film_back(velocity):
    kept = tuple(torch.linspace(0.999, 0.01, 1000, dtype=torch.float64).tolist())
    objective = Epsilon(kept, velocity)
    timesteps, sigmas = objective.level(torch.tensor([0.0, 0.5, 0.9999]))
    assert timesteps.tolist() == [0, 500, 999]
    clean, noise = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    shown, target = objective.question(clean, noise, timesteps)
    a, s = (1 - sigmas**2).sqrt()[:, None], sigmas[:, None]
    back = a * shown - s * target if velocity else (shown - s * target) / a
    assert torch.allclose(back, clean)


def test_min_snr_is_its_formula():
    kept = (0.99, 0.5, 0.1)
    weights = Epsilon(kept, min_snr=True).weight(torch.tensor([0, 1, 2]))
    by_hand = [min(k / (1 - k), 5) / (k / (1 - k)) for k in kept]
    assert weights.tolist() == pytest.approx(by_hand)


def test_the_loss_weighs_films():
    answer, target = torch.tensor([[1.0, 1.0], [3.0, 1.0]]), torch.zeros(2, 2)
    assert float(weighted_error(answer, target, torch.tensor([1.0, 2.0]))) == (1 * 1 + 2 * 5) / 2


def test_the_shift_is_that_of_the_pipeline():
    assert objective_of(tiny("wan"), Recipe(), by_flow=True).shift == 3.0
    assert objective_of(tiny("wan"), Recipe(shift=5.0), by_flow=True).shift == 5.0


def test_rates_rise_and_fall():
    recipe = Recipe(steps=10, warmup=2, schedule="cosine", learning_rate=1.0)
    rates = [recipe.rate(step) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates == sorted(rates[:2]) + sorted(rates[2:], reverse=True)
    assert rates[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))


def test_models_that_are_not_taught_to_train_are_refused():
    with pytest.raises(UnsupportedModelError, match="of the families Wan, LaVie"):
        find_trainable(tiny("mochi"))
    pipe = tiny("wan")
    pipe.transformer._supports_gradient_checkpointing = False
    with pytest.raises(UnsupportedModelError, match="compute blocks twice"):
        prepare_weights(find_trainable(pipe), Recipe(checkpointing=True))
    pipe = tiny("wan")
    pipe.vae = None
    with pytest.raises(InputError, match="one without vae"):
        find_trainable(pipe)


def test_every_setting_stands_in_the_documentation():
    page = (Path(__file__).parents[2] / "docs" / "howto" / "fine-tuning.md").read_text()
    table = page[page.index("| setting | default |") :].split("\n\n")[0]
    named = re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in table.splitlines()))
    assert sorted(named) == sorted(each.name for each in fields(Recipe))
