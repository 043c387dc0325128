"""A tiny HunyuanVideo 1.5 pipeline."""

from __future__ import annotations

from importlib import import_module

from attnscope.families import HunyuanVideo15
from attnscope.testing.building import TinyPipeline, seed_weights, small_settings
from attnscope.testing.specimens import BOTH, Guidance, Specimen
from attnscope.testing.text import WIDTH, llama, t5_encoder, tokenizer

_LAST_WORDS = "{{ messages[-1]['content'] }} </s>"


@seed_weights
def tiny_hunyuan_video15(*, num_layers: int = 2) -> TinyPipeline:
    """Build HunyuanVideo 1.5: 2 heads of size 16; 9 frames of 64 x 64 become 3 latent frames of 16 tokens."""
    diffusers = import_module("diffusers")
    pipe = diffusers.HunyuanVideo15Pipeline(
        text_encoder=llama(),
        tokenizer=tokenizer(chat_template=_LAST_WORDS),
        text_encoder_2=t5_encoder(),
        tokenizer_2=tokenizer(),
        vae=diffusers.AutoencoderKLHunyuanVideo15(
            latent_channels=4, block_out_channels=(32, 32, 32, 32, 32), layers_per_block=1
        ),
        transformer=diffusers.HunyuanVideo15Transformer3DModel(
            in_channels=9,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=16,
            num_layers=num_layers,
            num_refiner_layers=1,
            text_embed_dim=WIDTH,
            text_embed_2_dim=WIDTH,
            image_embed_dim=12,
            rope_axes_dim=(4, 6, 6),
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        guider=diffusers.ClassifierFreeGuidance(guidance_scale=6.0),
    )
    # As long as the pipeline makes them, texts would be ten times the video.
    pipe.prompt_template_encode_start_idx = 0
    pipe.tokenizer_max_length, pipe.tokenizer_2_max_length, pipe.vision_num_semantic_tokens = 12, 4, 3
    return pipe


SETTINGS = small_settings(num_frames=9, height=64, width=64, negative_prompt="a dog")
GUIDANCE: Guidance = (
    ({}, BOTH),
    ({"prompt": ["a cat", "a dog"], "negative_prompt": ["the beach", "the street"]}, BOTH),
)
SPECIMENS = {
    "hunyuan-video-1.5": Specimen(HunyuanVideo15(), tiny_hunyuan_video15, SETTINGS, guidance=GUIDANCE)
}
