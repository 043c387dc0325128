"""Patching frame masses: the mass is the recorded one, what lies within frames is the model's own, nothing stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import attnscope as scope
from attnscope import masks
from attnscope.errors import InputError, MaskError, RangeError
from attnscope.hooks import run_with_cache
from attnscope.testing.wan import tiny_wan

SMALL = {"height": 32, "width": 32, "num_frames": 17, "num_inference_steps": 2}
PLAN = scope.ShotPlan.from_latent_frames([2], num_frames_latent=5, fps=16)
ACROSS = np.not_equal.outer([0, 0, 1, 1, 1], [0, 0, 1, 1, 1])


@pytest.fixture
def pipe() -> Any:
    return tiny_wan(3)


def looked(pipe: Any, prompt: str = "a red ball", **options: Any) -> Any:
    return scope.probe(pipe, prompt, branch="cond,uncond", **SMALL, **options)


@pytest.fixture
def cut(pipe: Any) -> Any:
    """A run whose frames hardly look across the cut, in layers 2 and 3."""
    with scope.intervene(pipe, masks.same_shot(PLAN).soft(6)):
        return looked(pipe, layers="2-3")


def test_the_mass_is_the_recorded_one_where_it_was_patched_and_the_models_own_elsewhere(
    pipe: Any, cut: Any
) -> None:
    plain = looked(pipe, "a blue cat", seed=4)
    with scope.patch_mass(pipe, cut, layers="2"):
        patched = looked(pipe, "a blue cat", seed=4)
    first = {"step": 0, "branch": "cond"}
    assert abs(plain.mass.sel(layer=2) - cut.mass.sel(layer=2)).max() > 0.05
    np.testing.assert_allclose(patched.mass.sel(layer=2), cut.mass.sel(layer=2), atol=1e-6)
    np.testing.assert_array_equal(patched.mass.sel(layer=1, **first), plain.mass.sel(layer=1, **first))
    assert abs(patched.mass.sel(layer=3) - cut.mass.sel(layer=3)).max() > 0.05


def test_a_hidden_pair_stays_hidden(pipe: Any) -> None:
    with scope.intervene(pipe, masks.same_shot(PLAN)):
        hidden = looked(pipe)
    with scope.patch_mass(pipe, hidden):
        mass = looked(pipe, "a blue cat").mass.transpose(..., "query_frame", "key_frame").values
    assert (mass[..., ACROSS] == 0).all()


def test_only_chosen_heads_and_steps_are_patched(pipe: Any, cut: Any) -> None:
    with scope.patch_mass(pipe, cut, heads="1", steps="1"):
        patched = looked(pipe, "a blue cat")
    off = abs(patched.mass.sel(layer=[2, 3]) - cut.mass.sel(layer=[2, 3])).max(["query_frame", "key_frame"])
    assert (off.sel(head=1, step=1) < 1e-6).all()
    assert (off.sel(head=0) > 1e-3).all()
    assert (off.sel(step=0) > 1e-3).all()


def test_attention_within_frames_is_the_models_own(pipe: Any, cut: Any) -> None:
    """Against the whole pattern: patched and plain agree on every token within a frame once each frame sums to 1."""
    name = "blocks.1.attn.hook_pattern"
    given = {"prompt": "a blue cat", **SMALL, "guidance_scale": 1.0}

    def pattern() -> torch.Tensor:
        generator = torch.Generator().manual_seed(3)
        _, cache = run_with_cache(pipe, names_filter=name, generator=generator, **given)
        return cache[name][0].value.double()

    plain = pattern()
    with scope.patch_mass(pipe, cut, layers="2"):
        patched = pattern()
    by_frame = [each.unflatten(-1, (5, -1)) for each in (plain, patched)]
    shares = [each / each.sum(-1, keepdim=True) for each in by_frame]
    torch.testing.assert_close(shares[0], shares[1], atol=1e-5, rtol=1e-4)
    token = [each.sum(-1) for each in by_frame]
    # one factor for each pair of frames: log ratios of token masses differ within a query frame by a row's constant
    ratio = (token[1] / token[0]).log().unflatten(-2, (5, -1))
    relative = ratio - ratio[..., :1]
    assert relative.std(-2).max() < 1e-4
    expected = torch.from_numpy(cut.mass.sel(layer=2, step=0, branch="cond").values[0]).double()
    measured = token[1].unflatten(-2, (5, -1)).mean(-2)[0]
    torch.testing.assert_close(measured, expected, atol=1e-6, rtol=0)


def test_the_plain_logarithm_is_not_exact_where_tokens_differ() -> None:
    from attnscope.hooks.reweighting import bias_for_mass

    token = torch.tensor([[[[0.9, 0.1], [0.3, 0.7]]]], dtype=torch.float64)
    wanted = torch.tensor([[[[0.5, 0.5]]]], dtype=torch.float64)

    def mass(bias: torch.Tensor) -> torch.Tensor:
        weighed = token * bias.exp()
        return (weighed / weighed.sum(-1, keepdim=True)).mean(-2, keepdim=True)

    assert (mass((wanted / token.mean(-2, keepdim=True)).log()) - wanted).abs().max() > 5e-3
    assert (mass(bias_for_mass(token, wanted, (0, 2))) - wanted).abs().max() < 1e-9


def test_nothing_stays(pipe: Any, cut: Any) -> None:
    before = looked(pipe).mass
    with scope.patch_mass(pipe, cut) as attachment:
        assert attachment.changes == ["Frame masses of a recorded run in layers 2-3, heads 0-1, steps 0-1."]
    assert attachment.changes == []
    np.testing.assert_array_equal(looked(pipe).mass, before)


def test_refusals(pipe: Any, cut: Any) -> None:
    with pytest.raises(RangeError), scope.patch_mass(pipe, cut, layers="1"):
        pass
    with pytest.raises(InputError, match="got 1 as prompt"), scope.patch_mass(pipe, cut, prompt=1):
        pass
    with pytest.raises(InputError, match="expected an attention dataset, got 3"), scope.patch_mass(pipe, 3):
        pass
    with pytest.raises(InputError, match="got one without"), scope.patch_mass(pipe, cut.drop_vars("mass")):
        pass
    with pytest.raises(InputError, match="got none at some"), scope.patch_mass(pipe, cut.where(cut.step > 0)):
        pass
    longer = {**SMALL, "num_frames": 21}
    with pytest.raises(InputError, match="as recorded, got 6"), scope.patch_mass(pipe, cut):
        scope.probe(pipe, "a red ball", branch="cond,uncond", **longer)
    with (
        pytest.raises(MaskError, match="mass on hidden frames"),
        scope.intervene(pipe, masks.same_shot(PLAN)),
        scope.patch_mass(pipe, cut),
    ):
        looked(pipe)
