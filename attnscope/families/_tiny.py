"""A Wan pipeline with random weights, small enough to be built and run in a test, on the real diffusers classes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch

from attnscope.testing._text import WIDTH, t5_encoder, tokenizer


def tiny_wan(num_layers: int = 4, seed: int = 0, *, two_stages: bool = False) -> Any:
    """Build a `WanPipeline` that has everything but knowledge: no download, well under a second.

    4 blocks of 2 heads of size 12; 17 frames of 64 x 64 become 5 latent frames of 16 tokens. With `two_stages`
    it has a second transformer for low noise, as Wan 2.2. Same seed, same weights.

    >>> pipe = tiny_wan(num_layers=2)
    >>> type(pipe).__name__, len(pipe.transformer.blocks)
    ('WanPipeline', 2)
    """
    diffusers: Any = import_module("diffusers")  # untyped calls, and slow to import
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


def _transformer(num_layers: int) -> Any:
    diffusers: Any = import_module("diffusers")
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
