"""Published video models as their authors configured them: what is known of them without a weight of theirs.

What a configuration leaves out is the default of its class in diffusers, which was written for that model.

Source: the conversion scripts of diffusers (`scripts/convert_wan_to_diffusers.py`, `..._cogvideox_...`,
`..._hunyuan_video_...`, `..._ltx_...`, `..._mochi_...`) for networks and VAEs; that of a text encoder stands beside it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from attnscope._types import Document
from attnscope.errors import UnknownModelError, quote


@dataclass(frozen=True)
class Part:
    """A network of a pipeline: the class that builds it, and what its configuration says."""

    kind: str
    config: Document = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedModel:
    """What a model's authors published beside its weights.

    `frames`, `height`, `width` and `num_steps` are those of its own examples, `text_tokens` how many tokens a prompt
    becomes, `library` where the classes of its text encoders are.
    """

    name: str
    repository: str
    pipeline: str
    denoiser: Part
    vae: Part
    text_encoders: Mapping[str, Part]
    frames: int
    height: int
    width: int
    num_steps: int
    text_tokens: int
    text_width: int = 4096


# T5 v1.1 XXL. Source: `t5/models/gin/models/t5.1.1.xxl.gin` of google-research/text-to-text-transfer-transformer;
# vocabulary, head size and gate from the config.json that FLUX.1 publishes of the same encoder (`text_encoder_2`).
_T5_XXL: Document = {
    "vocab_size": 32_128,
    "d_model": 4096,
    "d_ff": 10_240,
    "d_kv": 64,
    "num_heads": 64,
    "num_layers": 24,
    "feed_forward_proj": "gated-gelu",
}
_T5 = {"text_encoder": Part("T5EncoderModel", _T5_XXL)}
# Source: `umt5_xxl` in `wan/modules/t5.py` of Wan-Video/Wan2.1.
_UMT5 = {"text_encoder": Part("UMT5EncoderModel", {**_T5_XXL, "vocab_size": 256_384})}
_LLAMA_AND_CLIP = {
    # The language half of xtuner/llava-llama-3-8b-v1_1-transformers: Llama 3 8B with 64 tokens more. Source: its
    # config.json as kohya-ss/musubi-tuner keeps it (`LLAMA_CONFIG` in `hunyuan_model/text_encoder.py`).
    "text_encoder": Part(
        "LlamaModel",
        {
            "vocab_size": 128_320,
            "hidden_size": 4096,
            "intermediate_size": 14_336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
        },
    ),
    # The text half of openai/clip-vit-large-patch14. Source: `text_encoder/config.json` of Stable Diffusion 1.5.
    "text_encoder_2": Part(
        "CLIPTextModel",
        {
            "vocab_size": 49_408,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "max_position_embeddings": 77,
        },
    ),
}
_WAN_VAE = Part("AutoencoderKLWan")


def _wan(name: str, repository: str, num_layers: int, num_heads: int, ffn_dim: int) -> PublishedModel:
    sides = {"num_layers": num_layers, "num_attention_heads": num_heads, "ffn_dim": ffn_dim}
    network = Part("WanTransformer3DModel", {"attention_head_dim": 128, "text_dim": 4096, **sides})
    return PublishedModel(
        name, repository, "WanPipeline", network, _WAN_VAE, _UMT5, 81, 480, 832, 50, text_tokens=512
    )


PUBLISHED = {
    each.name: each
    for each in (
        _wan("wan2.1-1.3b", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", 30, 12, 8960),
        _wan("wan2.1-14b", "Wan-AI/Wan2.1-T2V-14B-Diffusers", 40, 40, 13_824),
        PublishedModel(
            "cogvideox-5b",
            "THUDM/CogVideoX-5b",
            "CogVideoXPipeline",
            Part(
                "CogVideoXTransformer3DModel",
                {"num_layers": 42, "num_attention_heads": 48, "use_rotary_positional_embeddings": True},
            ),
            Part("AutoencoderKLCogVideoX", {"scaling_factor": 0.7}),
            _T5,
            *(49, 480, 720, 50),
            text_tokens=226,
        ),
        PublishedModel(
            "hunyuan-video",
            "hunyuanvideo-community/HunyuanVideo",
            "HunyuanVideoPipeline",
            Part("HunyuanVideoTransformer3DModel", {"num_layers": 20, "num_single_layers": 40}),
            Part("AutoencoderKLHunyuanVideo"),
            _LLAMA_AND_CLIP,
            *(129, 720, 1280, 50),
            text_tokens=256,
        ),
        PublishedModel(
            "ltx-video",
            "Lightricks/LTX-Video",
            "LTXPipeline",
            Part("LTXVideoTransformer3DModel", {"num_layers": 28}),
            Part("AutoencoderKLLTXVideo"),
            _T5,
            *(161, 480, 704, 50),
            text_tokens=128,
        ),
        PublishedModel(
            "mochi-1",
            "genmo/mochi-1-preview",
            "MochiPipeline",
            Part("MochiTransformer3DModel", {"num_layers": 48}),
            Part("AutoencoderKLMochi"),
            _T5,
            *(163, 480, 848, 64),
            text_tokens=256,
        ),
    )
}
"""Every model of which the configuration is known, by a short name."""


def find_published(name: str) -> PublishedModel | None:
    """Return the published model of a short name or of its name on the hub; None if it is not known.

    >>> find_published("Wan-AI/Wan2.1-T2V-1.3B-Diffusers").name
    'wan2.1-1.3b'
    """
    return next((each for each in PUBLISHED.values() if name in (each.name, each.repository)), None)


def require_published(name: str) -> PublishedModel:
    """Return the published model of a name.

    Raises
    ------
    UnknownModelError
        No such model is known; the message lists those that are.

    Examples
    --------
    >>> require_published("mochi-1").denoiser.config["num_layers"]
    48
    """
    found = find_published(name)
    if found is None:
        near = difflib.get_close_matches(name.lower(), PUBLISHED, n=1)
        raise UnknownModelError(
            expected=f"a published model out of {', '.join(PUBLISHED)}",
            got=quote(name),
            where="in full",
            remedy=f"did you mean {near[0]}?" if near else "name one of them",
        )
    return found
