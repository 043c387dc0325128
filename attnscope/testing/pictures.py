"""What tiny UNets share: blocks of two of them, a VAE for pictures, CLIP for texts and pictures, a scheduler."""

from __future__ import annotations

from importlib import import_module

from attnscope.testing.text import WIDTH, clip_text, tokenizer

LENGTH = 9
"""Tokens that prompts are padded to."""


def eightfold_vae(kind: str = "AutoencoderKL") -> object:
    """Return a VAE of pictures: 8 x 8 pixels become one, four channels."""
    diffusers = import_module("diffusers")
    shared = {"block_out_channels": (32,) * 4, "layers_per_block": 1, "latent_channels": 4}
    if kind == "AutoencoderKL":
        shared |= {
            "norm_num_groups": 2,
            "block_out_channels": (4,) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
        }
    return getattr(diffusers, kind)(down_block_types=("DownEncoderBlock2D",) * 4, **shared)


def unet_3d(kind: str) -> object:
    """Return a UNet of diffusers' 3D blocks: two stages of 8 and 16 channels, heads of size 8."""
    return getattr(import_module("diffusers"), kind)(
        sample_size=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
        norm_num_groups=2,
    )


def clip_texts() -> dict[str, object]:
    """Return a CLIP text encoder of one layer, and its tokenizer."""
    return {
        "text_encoder": clip_text(max_position_embeddings=LENGTH, bos_token_id=1),
        "tokenizer": tokenizer(model_max_length=LENGTH),
    }


def clip_pictures(side: int) -> dict[str, object]:
    """Return a CLIP picture encoder of one layer, and what prepares pictures of this many pixels a side for it."""
    transformers = import_module("transformers")
    config = transformers.CLIPVisionConfig(
        hidden_size=WIDTH,
        projection_dim=WIDTH,
        intermediate_size=37,
        num_hidden_layers=1,
        num_attention_heads=4,
        image_size=side,
        patch_size=side // 2,
    )
    return {
        "image_encoder": transformers.CLIPVisionModelWithProjection(config),
        "feature_extractor": transformers.CLIPImageProcessor(crop_size=side, size=side),
    }


def ddim() -> object:
    """Return the scheduler that these models were published with."""
    diffusers = import_module("diffusers")
    return diffusers.DDIMScheduler(
        beta_schedule="linear", steps_offset=1, clip_sample=False, timestep_spacing="leading"
    )
