"""A tiny LTX-2 pipeline: video and sound."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from attnscope.families import LTX2
from attnscope.testing.building import TinyPipeline, seed_weights, small_settings
from attnscope.testing.specimens import BOTH, Guidance, Specimen
from attnscope.testing.text import WIDTH, llama, tokenizer


@seed_weights
def tiny_ltx2(*, num_layers: int = 2) -> TinyPipeline:
    """Build LTX-2: 2 heads of size 8; 9 frames of 32 x 32 become 3 latent frames of 16 tokens, beside the sound."""
    diffusers = import_module("diffusers")
    parts = import_module("diffusers.pipelines.ltx2")
    text_encoder = llama()
    return diffusers.LTX2Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=_vae(),
        audio_vae=diffusers.AutoencoderKLLTX2Audio(
            base_channels=4,
            ch_mult=(1,),
            num_res_blocks=1,
            resolution=32,
            latent_channels=2,
            mel_bins=8,
        ),
        text_encoder=text_encoder,
        tokenizer=tokenizer(),
        connectors=_connectors(parts, text_encoder.config.num_hidden_layers + 1),
        transformer=diffusers.LTX2VideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            audio_in_channels=4,
            audio_out_channels=4,
            audio_num_attention_heads=2,
            audio_attention_head_dim=4,
            audio_cross_attention_dim=8,
            num_layers=num_layers,
            caption_channels=WIDTH,
            rope_double_precision=False,
            rope_type="split",
        ),
        vocoder=parts.vocoder.LTX2Vocoder(
            in_channels=16,
            hidden_channels=8,
            upsample_kernel_sizes=[4, 4],
            upsample_factors=[2, 2],
            resnet_kernel_sizes=[3],
            resnet_dilations=[[1, 3, 5]],
        ),
    )


def _vae() -> object:
    diffusers = import_module("diffusers")
    return diffusers.AutoencoderKLLTX2Video(
        latent_channels=4,
        block_out_channels=(8,),
        decoder_block_out_channels=(8,),
        down_block_types=("LTX2VideoDownBlock3D",),
        layers_per_block=(1,),
        decoder_layers_per_block=(1, 1),
        spatio_temporal_scaling=(True,),
        decoder_spatio_temporal_scaling=(True,),
        decoder_inject_noise=(False, False),
        downsample_type=("spatial",),
        upsample_type=("spatiotemporal",),
        upsample_residual=(False,),
        upsample_factor=(1,),
        patch_size=1,
        spatial_compression_ratio=8,
        temporal_compression_ratio=4,
    )


def _connectors(parts: ModuleType, num_states: int) -> object:
    sides: dict[str, object] = {}
    for side in ("video", "audio"):
        sides |= {
            f"{side}_connector_num_attention_heads": 4,
            f"{side}_connector_attention_head_dim": 8,
            f"{side}_connector_num_layers": 1,
            f"{side}_connector_num_learnable_registers": None,
        }
    return parts.connectors.LTX2TextConnectors(
        caption_channels=WIDTH,
        text_proj_in_factor=num_states,
        connector_rope_base_seq_len=32,
        rope_double_precision=False,
        rope_type="split",
        **sides,
    )


SETTINGS = small_settings(
    num_frames=9,
    height=32,
    width=32,
    max_sequence_length=16,
    stg_scale=0.0,
    audio_stg_scale=0.0,
    modality_scale=1.0,
    audio_modality_scale=1.0,
)
UNGUIDED = {"guidance_scale": 1.0, "audio_guidance_scale": 1.0}
GUIDANCE: Guidance = (
    ({}, BOTH[::-1]),
    (UNGUIDED, BOTH[:1]),
    ({"num_videos_per_prompt": 2}, BOTH[::-1]),
)
SPECIMENS = {"ltx-2": Specimen(LTX2(), tiny_ltx2, SETTINGS, guidance=GUIDANCE)}
