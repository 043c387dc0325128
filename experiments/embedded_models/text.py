"""Stage 3: tokenizer and text encoder (UMT5), taught to keep apart what belongs to which shot.

The tokenizer is built by hand from the words of the film grammar (single characters as a fallback).
The encoder is trained to let a small reader answer questions about the film from its token embeddings
(which shape, which colour, which texture in shot 2, ...), then frozen: both embedded models share it.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from films import film
from loop import Budget, load_state, save_state
from torch import nn
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

from attnscope.dataset import Scene, vocabulary

WIDTH = 128
MAX_SHOTS = 5
PER_SHOT = ("texture", "first colour", "second colour", "framing", "motion", "camera")


def build_tokenizer(world: str) -> T5Tokenizer:
    """Word-level Unigram tokenizer; anything outside the grammar falls back to single characters."""
    words = [word for word in vocabulary(world) if len(word) > 1]
    signs = sorted(set(string.ascii_letters + string.digits + string.punctuation + "▁"))
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -100.0)]
    pieces += [(f"▁{word}", -1.0) for word in words]
    pieces += [(f"▁{sign}", -2.0) for sign in [*string.digits, "[", "]", "(", ")", "a"]]
    pieces += [(sign, -4.0) for sign in signs]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def build_encoder(tokenizer: T5Tokenizer) -> UMT5EncoderModel:
    """A two-layer UMT5 encoder, 128 wide."""
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(tokenizer),
            d_model=WIDTH,
            d_kv=32,
            d_ff=256,
            num_layers=2,
            num_heads=4,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
            dropout_rate=0.0,
        )
    )


class Reader(nn.Module):
    """Answers a fixed list of questions from token embeddings: one learned query a question."""

    def __init__(self, num_questions: int, num_answers: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(num_questions, WIDTH) / WIDTH**0.5)
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.answer = nn.Linear(WIDTH, num_answers)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits (batch, question, answer)."""
        queries = self.queries.expand(len(tokens), -1, -1)
        read, _ = self.attention(queries, tokens, tokens, key_padding_mask=mask == 0, need_weights=False)
        return self.answer(read)


def answers(scene: Scene, index: dict[str, int]) -> list[int]:
    """Right answers for a film, -100 where the film has no such shot."""
    row = [index[scene.subject.shape], index[scene.subject.colour]]
    for i in range(MAX_SHOTS):
        if i < len(scene.views):
            view = scene.views[i]
            said = (view.texture, *view.colours, view.framing, view.motion, view.camera)
            row += [index[word] for word in said]
        else:
            row += [-100] * len(PER_SHOT)
    return row


def _words(config: dict[str, Any]) -> dict[str, int]:
    seen: dict[str, int] = {}
    for seed in range(2000):
        scene = film(seed, config)
        for view in scene.views:
            for word in (
                scene.subject.shape,
                scene.subject.colour,
                view.texture,
                *view.colours,
                view.framing,
                view.motion,
                view.camera,
            ):
                seen.setdefault(word, len(seen))
    return seen


def train_text(
    folder: Path, films: dict[str, Any], config: dict[str, Any], padded_to: int | None = None
) -> UMT5EncoderModel:
    """Train for ``config["steps"]``; returns the encoder.

    With ``padded_to`` every caption is padded to so many tokens and the padding is read like text, as LaVie's pipeline
    does; without, padding is hidden, as Wan's does.
    """
    torch.manual_seed(1)
    tokenizer = build_tokenizer(films["world"])
    index = _words(films)
    encoder = build_encoder(tokenizer)
    reader = Reader(2 + MAX_SHOTS * len(PER_SHOT), len(index))
    both = nn.ModuleDict({"encoder": encoder, "reader": reader})
    # who belongs to whom is said by word order alone, so the position biases must move first and far
    position = [p for name, p in both.named_parameters() if "relative_attention_bias" in name]
    others = [p for name, p in both.named_parameters() if "relative_attention_bias" not in name]
    groups = [{"params": others, "factor": 1.0}, {"params": position, "factor": 20.0, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config["lr"], betas=(0.9, 0.98))
    budget = Budget(config["steps"], folder / "text.jsonl", every=50)
    budget.restore(load_state(folder / "text_state", both, optimizer))
    while budget.goes_on():
        rng = np.random.default_rng([3, budget.step])
        scenes = [film(int(seed), films) for seed in rng.integers(0, films["num_clips"], config["batch"])]
        times = ("none",) if padded_to else ("none", "random", "exact")
        captions = [scene.caption(times[int(rng.integers(len(times)))]) for scene in scenes]
        tokens = tokenizer(
            captions, padding="max_length" if padded_to else True, max_length=padded_to, return_tensors="pt"
        )
        seen = torch.ones_like(tokens.attention_mask) if padded_to else tokens.attention_mask
        target = torch.tensor([answers(scene, index) for scene in scenes])
        for group in optimizer.param_groups:
            group["lr"] = group["factor"] * config["lr"] * budget.schedule(warmup_steps=50, hold=0.5)
        embedded = encoder(tokens.input_ids, seen).last_hidden_state
        logits = reader(embedded, seen)
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step()
        right = (logits.argmax(-1) == target)[target != -100].float().mean()
        budget.record(loss=float(loss.detach()), accuracy=float(right))
        if budget.step % 200 == 0:
            save_state(folder / "text_state", both, optimizer, budget.state())
    return encoder.eval().requires_grad_(False)
