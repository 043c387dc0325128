"""A bridge from pictures to words made of two small networks: what a picture shows, said in the names of 1000 classes.

The class probabilities of a picture network weight the sentence vectors of the class names. That puts pictures and
captions into one space without a network that was trained on both. It is coarse: good for telling relative likeness.

Legend: N pictures or texts, K = 1000 classes, D = 384 numbers a sentence.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attnscope._types import Floats32
from attnscope.metrics.encoders.weights import CLASS_NAMES, MINILM

MEANINGS = Path(__file__).parent / "class_meanings.safetensors"
"""The class names as sentence vectors, 0.7 MiB. Made once by :func:`write_class_meanings`: it takes ten seconds."""

_BATCH = 128


class ClassMeanings(NamedTuple):
    """Sentence vectors of the class names (K, D), and their mean (D,), which every vector is taken relative to."""

    vectors: Floats32
    centre: Floats32

    def of_logits(self, logits: Floats32) -> Floats32:
        """Say pictures in words: (N, K) to (N, D)."""
        import torch

        # torch multiplies with as many threads as it was told to; those of numpy's product spin on for a tenth of a
        # second, and take the processor from whatever is scored beside
        shares = torch.softmax(torch.from_numpy(logits), dim=1)
        return np.asarray((shares @ torch.from_numpy(self.vectors)).numpy() - self.centre, np.float32)

    def of_vectors(self, sentences: Floats32) -> Floats32:
        """Put sentence vectors (N, D) where the pictures are."""
        return sentences - self.centre


@functools.lru_cache(maxsize=1)
def class_meanings() -> ClassMeanings:
    """Read the class names as sentence vectors.

    >>> class_meanings().vectors.shape
    (1000, 384)
    """
    from safetensors.numpy import load_file

    vectors = load_file(MEANINGS)["vectors"].astype(np.float32)
    return ClassMeanings(vectors, vectors.mean(axis=0))


def write_class_meanings(path: str | os.PathLike[str]) -> None:
    """Make the file of class names as sentence vectors anew, out of the packages that bring names and network.

    Raises
    ------
    SetupError
        One of them is not installed.
    """
    from safetensors.numpy import save_file

    names: list[str] = json.loads(CLASS_NAMES.locate().read_text(encoding="utf-8"))
    origin = {"names": CLASS_NAMES.requirement, "network": MINILM.requirement}
    save_file({"vectors": sentence_encoder()(names).astype(np.float16)}, path, metadata=origin)


@functools.lru_cache(maxsize=1)
def sentence_encoder() -> Callable[[Sequence[str]], Floats32]:
    """Return what gives texts vectors of length 1, (N, D): the mean over the tokens of a MiniLM, as it was trained.

    Raises
    ------
    SetupError
        The package that brings its weights is not installed.
    """
    folder = MINILM.locate().parent
    transformers = import_module("transformers")
    tokenizers = import_module("tokenizers")
    torch = import_module("torch")
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = transformers.BertModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        ).eval()
    finally:
        if shown:
            logging.enable_progress_bar()
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(256)

    def encode(texts: Sequence[str]) -> Floats32:
        parts = []
        with torch.inference_mode():
            for start in range(0, len(texts), _BATCH):
                coded = tokenizer.encode_batch(list(texts[start : start + _BATCH]))
                ids = torch.tensor([each.ids for each in coded])
                mask = torch.tensor([each.attention_mask for each in coded])
                hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
                weight = mask[..., None].float()
                mean = (hidden * weight).sum(1) / weight.sum(1)
                parts.append(torch.nn.functional.normalize(mean).numpy())
        return np.concatenate(parts)

    return encode
