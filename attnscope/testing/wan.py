"""Tiny Wan pipelines: 2.1 with one transformer, 2.2 with two; from text, from a picture, from a video."""

from __future__ import annotations

import functools
from importlib import import_module

import torch

from attnscope.families import Wan
from attnscope.testing.building import (
    TinyPipeline,
    picture,
    picture_encoder,
    seed_weights,
    small_settings,
    wan_vae,
)
from attnscope.testing.specimens import ONE_AFTER_THE_OTHER, Specimen
from attnscope.testing.text import WIDTH, t5_encoder, tokenizer


def tiny_wan(num_layers: int = 4, seed: int = 0, *, two_stages: bool = False) -> TinyPipeline:
    """Build a `WanPipeline` that has everything but knowledge: no download, well under a second.

    4 blocks of 2 heads of size 12; 17 frames of 64 x 64 become 5 latent frames of 16 tokens. With `two_stages`
    it has a second transformer for low noise, as Wan 2.2. Same seed, same weights.

    >>> pipe = tiny_wan(num_layers=2)
    >>> type(pipe).__name__, len(pipe.transformer.blocks)
    ('WanPipeline', 2)
    """
    diffusers = import_module("diffusers")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipe = diffusers.WanPipeline(
            tokenizer=tokenizer(is_closed=False),
            text_encoder=t5_encoder("UMT5"),
            transformer=_transformer(num_layers),
            transformer_2=_transformer(num_layers) if two_stages else None,
            vae=diffusers.AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
            boundary_ratio=0.875 if two_stages else None,
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _transformer(num_layers: int) -> object:
    diffusers = import_module("diffusers")
    return diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=WIDTH,
        freq_dim=32,
        ffn_dim=32,
        num_layers=num_layers,
        cross_attn_norm=True,
        rope_max_seq_len=32,
    ).eval()


@seed_weights
def tiny_wan_given(kind: str, *, num_layers: int = 2) -> TinyPipeline:
    """Build Wan 2.1 for a picture (`WanImageToVideoPipeline`) or a video (`WanVideoToVideoPipeline`)."""
    diffusers = import_module("diffusers")
    from_picture = kind == "WanImageToVideoPipeline"
    looks_at_image = {"image_dim": 4, "added_kv_proj_dim": 24} if from_picture else {}
    return getattr(diffusers, kind)(
        tokenizer=tokenizer(),
        text_encoder=t5_encoder("UMT5"),
        vae=wan_vae(),
        transformer=diffusers.WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=36 if from_picture else 16,
            out_channels=16,
            text_dim=WIDTH,
            freq_dim=32,
            ffn_dim=32,
            num_layers=num_layers,
            rope_max_seq_len=32,
            **looks_at_image,
        ),
        scheduler=diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
        **(picture_encoder() if from_picture else {}),
    )


SETTINGS = small_settings(num_frames=17, height=64, width=64, max_sequence_length=9)
SIZE = {"height": 32, "width": 32, "max_sequence_length": 512}
SPECIMENS = {
    "wan": Specimen(Wan(), functools.partial(tiny_wan, 2), SETTINGS),
    "wan-2.2": Specimen(Wan(), functools.partial(tiny_wan, 2, two_stages=True), SETTINGS),
    "wan-i2v": Specimen(
        Wan(),
        functools.partial(tiny_wan_given, "WanImageToVideoPipeline"),
        small_settings(image=picture(32, 32), num_frames=9, **SIZE),
        guidance=ONE_AFTER_THE_OTHER[:2],  # the pipeline makes one video of a picture
    ),
    "wan-v2v": Specimen(
        Wan(),
        functools.partial(tiny_wan_given, "WanVideoToVideoPipeline"),
        small_settings(video=[picture(32, 32)] * 9, strength=1.0, **SIZE),
        guidance=ONE_AFTER_THE_OTHER[:2],
    ),
}
