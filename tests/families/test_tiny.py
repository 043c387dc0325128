"""Tiny models agree on what is the same in all of them."""

from __future__ import annotations

from pathlib import Path

import attnscope
from attnscope.testing import TINY_MODELS, tiny

SOURCE = Path(attnscope.__file__).parent


def test_the_words_that_tiny_tokenizers_know_are_written_down_once():
    places = [path for path in SOURCE.rglob("*.py") if "WordLevel(" in path.read_text(encoding="utf-8")]
    assert [path.relative_to(SOURCE).as_posix() for path in places] == ["testing/text.py"]


def test_one_per_module_of_the_tiny_models_knows_the_same_words():
    pipes = (tiny(name) for name in {module: name for name, module in TINY_MODELS.items()}.values())
    tokenizers = [pipe.tokenizer for pipe in pipes if hasattr(pipe, "tokenizer")]
    assert len(tokenizers) > 10
    assert all(each.get_vocab() == tokenizers[0].get_vocab() for each in tokenizers)
