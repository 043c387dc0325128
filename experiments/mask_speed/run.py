"""Is generation under a mask slower than without? One denoiser call of a Wan transformer, with and without, in turn.

    python experiments/mask_speed/run.py --device cpu
    python experiments/mask_speed/run.py --device cuda --blocks 30 --heads 12 --head-size 128

Weights are random, as time does not depend on them. Calls alternate, so that a busy machine slows both; the ratio is
that of neighbouring calls, masked over unmasked.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from diffusers import WanTransformer3DModel

import attnscope as scope
from attnscope import masks

TEXT_TOKENS, TEXT_WIDTH = 64, 64


def denoiser(blocks: int, heads: int, head_size: int, device: str) -> Any:
    """A Wan transformer of this size."""
    torch.manual_seed(0)
    model: Any = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=heads,
        attention_head_dim=head_size,
        in_channels=16,
        out_channels=16,
        text_dim=TEXT_WIDTH,
        freq_dim=64,
        ffn_dim=4 * heads * head_size,
        num_layers=blocks,
        rope_max_seq_len=128,
    )
    return model.to(device).eval()


def seconds(call: Any, device: str) -> float:
    """How long one call takes."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Print the ratio for each number of shots."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--head-size", type=int, default=64)
    parser.add_argument("--frames", type=int, default=13, help="latent frames")
    parser.add_argument("--side", type=int, default=40, help="of a latent frame")
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    model = denoiser(given.blocks, given.heads, given.head_size, given.device)
    video = torch.randn(1, 16, given.frames, given.side, given.side, device=given.device)
    text = torch.randn(1, TEXT_TOKENS, TEXT_WIDTH, device=given.device)
    timestep = torch.tensor([500], device=given.device)

    def call() -> None:
        with torch.no_grad():
            model(video, timestep, text)

    num_tokens = given.frames * (given.side // 2) ** 2
    print(
        f"{num_tokens} tokens, {given.blocks} blocks, {given.heads} heads of {given.head_size}, {given.device}"
    )
    for num_shots in (2, 4):
        cuts = [given.frames * shot // num_shots for shot in range(1, num_shots)]
        plan = scope.ShotPlan.from_latent_frames(cuts, num_frames_latent=given.frames, fps=16)
        pairs = []
        for repeat in range(given.repeats + 1):
            plain = seconds(call, given.device)
            with scope.intervene(model, masks.same_shot(plan)):
                masked = seconds(call, given.device)
            if repeat:
                pairs.append((plain, masked))
        ratios = [masked / plain for plain, masked in pairs]
        plain, masked = np.median(pairs, axis=0)
        print(
            f"{num_shots} shots: unmasked {plain:.3f} s, masked {masked:.3f} s, ratio {np.median(ratios):.2f} "
            f"(from {min(ratios):.2f} to {max(ratios):.2f}, {given.repeats} pairs)",
            flush=True,
        )


if __name__ == "__main__":
    main()
