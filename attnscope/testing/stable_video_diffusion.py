"""A tiny Stable Video Diffusion: two stages of 32 and 64 channels, the fewest that its group norms allow."""

from __future__ import annotations

from importlib import import_module

from attnscope.families import StableVideoDiffusion
from attnscope.testing.building import TinyPipeline, picture, seed_weights
from attnscope.testing.pictures import clip_pictures, eightfold_vae
from attnscope.testing.specimens import BOTH, Guidance, Specimen
from attnscope.testing.text import WIDTH


@seed_weights
def tiny_svd() -> TinyPipeline:
    """Build Stable Video Diffusion: 2 and 4 heads of size 16; it needs an image and reads no text."""
    diffusers = import_module("diffusers")
    unet = diffusers.UNetSpatioTemporalConditionModel(
        sample_size=4,
        num_frames=5,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        cross_attention_dim=WIDTH,
        num_attention_heads=(2, 4),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
    )
    return diffusers.StableVideoDiffusionPipeline(
        vae=eightfold_vae("AutoencoderKLTemporalDecoder"),
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(),
        **clip_pictures(224),
    )


SETTINGS = {
    "image": picture(32, 32),
    "num_frames": 5,
    "height": 32,
    "width": 32,
    "num_inference_steps": 2,
    "output_type": "latent",
}
GUIDANCE: Guidance = (
    ({}, BOTH[::-1]),
    ({"max_guidance_scale": 1.0}, BOTH[:1]),
    ({"num_videos_per_prompt": 2}, BOTH[::-1]),
)
SPECIMENS = {"svd": Specimen(StableVideoDiffusion(), tiny_svd, SETTINGS, guidance=GUIDANCE)}
