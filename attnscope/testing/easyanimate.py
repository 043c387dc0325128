"""A tiny EasyAnimate pipeline."""

from __future__ import annotations

from importlib import import_module

from attnscope.families import EasyAnimate
from attnscope.testing.building import TinyPipeline, seed_weights, small_settings
from attnscope.testing.specimens import IN_ONE_CALL, Specimen
from attnscope.testing.text import WIDTH, llama, tokenizer

# Reads what was said and nothing else; the real template wraps it in words of the model's own.
_CHAT = "{% for message in messages %}{{ message['content'][0]['text'] }}{% endfor %}"


@seed_weights
def tiny_easyanimate(*, num_layers: int = 2, mmdit_layers: int = 1) -> TinyPipeline:
    """Build EasyAnimate: 2 heads of size 16, one block with weights of its own for the text, one without."""
    diffusers = import_module("diffusers")
    return diffusers.EasyAnimatePipeline(
        tokenizer=tokenizer(chat_template=_CHAT),
        text_encoder=llama(),
        vae=diffusers.AutoencoderKLMagvit(
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            spatial_group_norm=False,
        ),
        transformer=diffusers.EasyAnimateTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=4,
            out_channels=4,
            patch_size=2,
            num_layers=num_layers,
            mmdit_layers=mmdit_layers,
            time_embed_dim=2,
            text_embed_dim=WIDTH,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )


SETTINGS = small_settings(num_frames=9, height=32, width=32, negative_prompt="a dog")
GUIDANCE = (*IN_ONE_CALL[:2], ({"num_images_per_prompt": 2}, ("uncond", "cond")))
SPECIMENS = {"easyanimate": Specimen(EasyAnimate(), tiny_easyanimate, SETTINGS, guidance=GUIDANCE)}
