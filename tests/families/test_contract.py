"""Every family proves every clause of the family contract on a tiny random model."""

from __future__ import annotations

import functools

import pytest
import torch

from attnscope.errors import UnsupportedModelError
from attnscope.families import FAMILIES, Wan, find
from attnscope.families._contract import Specimen, clauses
from attnscope.families._tiny import tiny_wan


def first_block_cache(denoiser):
    from diffusers import FirstBlockCacheConfig

    denoiser.enable_cache(FirstBlockCacheConfig(threshold=0.2))


def wan_forward(denoiser):
    generator = torch.Generator().manual_seed(5)
    return denoiser(
        hidden_states=torch.randn(1, 16, 4, 8, 8, generator=generator),
        timestep=torch.tensor([500]),
        encoder_hidden_states=torch.randn(1, 7, 32, generator=generator),
        return_dict=False,
    )[0]


SETTINGS = {
    "prompt": "two shots a red ball on the beach",
    "height": 64,
    "width": 64,
    "num_frames": 17,
    "num_inference_steps": 3,
    "max_sequence_length": 9,
    "output_type": "latent",
}

WAN = Specimen(
    family=Wan(),
    build=tiny_wan,
    settings=SETTINGS,
    num_steps=3,
    lora_targets=("to_q", "to_k", "to_v"),
    forward=wan_forward,
    enable_cache=first_block_cache,
)
SPECIMENS = {
    "wan-2.1": WAN,
    "wan-2.2": Specimen(
        **{**vars(WAN), "build": functools.partial(tiny_wan, num_layers=2, two_stages=True)},
    ),
}


@pytest.mark.parametrize("clause", clauses)
@pytest.mark.parametrize("family", SPECIMENS)
def test_clause_holds(family, clause):
    verdict = clauses[clause](SPECIMENS[family])
    print(f"{family}: {clause}: {verdict.detail}")
    assert verdict.holds, verdict.detail


def test_every_family_has_a_specimen_and_there_are_nine_clauses():
    assert {type(specimen.family) for specimen in SPECIMENS.values()} == {type(family) for family in FAMILIES}
    assert len(clauses) == 9


def test_a_family_is_found_by_its_classes_and_an_unknown_model_is_named():
    pipe = tiny_wan(2)
    assert isinstance(find(pipe), Wan)
    assert isinstance(find(pipe.transformer), Wan)
    with pytest.raises(
        UnsupportedModelError, match="WanPipeline, WanTransformer3DModel, got Linear, in"
    ) as caught:
        find(torch.nn.Linear(1, 1))
    assert "\n" not in str(caught.value)
