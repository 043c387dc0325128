"""Tiny text encoders and a tokenizer of a few words, built from configurations: nothing is downloaded."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WIDTH = 32
_WORDS = [
    "one",
    "two",
    "shots",
    "shot",
    "a",
    "red",
    "blue",
    "ball",
    "cat",
    "dog",
    "on",
    "the",
    "beach",
    "street",
]
_SPECIAL = ("<pad>", "</s>", "<unk>")
VOCABULARY = len(_WORDS) + len(_SPECIAL)


def tokenizer(*, is_closed: bool = True, **settings: object) -> object:
    """Return a tokenizer that knows fourteen words and takes everything else for `<unk>`.

    `is_closed` says whether a text ends with `</s>`.
    """
    tokenizers = import_module("tokenizers")
    transformers = import_module("transformers")
    vocabulary = {word: index for index, word in enumerate((*_SPECIAL, *_WORDS))}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if is_closed:
        words.post_processor = tokenizers.processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", 1)]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", **settings
    )


def t5_encoder(kind: str = "T5", width: int = WIDTH) -> object:
    """Return a T5 or UMT5 encoder of one layer."""
    transformers = import_module("transformers")
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=VOCABULARY,
        d_model=width,
        d_kv=8,
        d_ff=37,
        num_layers=1,
        num_heads=4,
        relative_attention_num_buckets=8,
        pad_token_id=0,
        eos_token_id=1,
    )
    return getattr(transformers, f"{kind}EncoderModel")(config).eval()


def llama(width: int = WIDTH) -> PreTrainedModel:
    """Return a Llama model of three layers: HunyuanVideo reads the third state from the end."""
    transformers = import_module("transformers")
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=37,
        num_hidden_layers=3,
        num_attention_heads=4,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    model: PreTrainedModel = transformers.LlamaModel(config).eval()
    return model


def clip_text(**changes: object) -> object:
    """Return a CLIP text model of one layer; `changes` go to its configuration."""
    transformers = import_module("transformers")
    settings: dict[str, object] = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 37,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 1,
    }
    return transformers.CLIPTextModel(transformers.CLIPTextConfig(**settings | changes)).eval()
