"""Probe, mask and generate with a published model at its full size, random weights, on a CPU within 20 GiB.

    python experiments/full_size/run.py [--model wan2.1-1.3b] [--out experiments/full_size/results.json]

Asks four things of the instrument and nothing of the weights, which are random: do the masses of two layers equal a
brute-force softmax in float64; is what crosses a mask exactly 0; how long does a probed run take beside a plain one;
how does the memory that a probe adds grow with the tokens. Times are processor seconds of one thread, each kind of run
in turn, the least of two.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import attnscope as scope

HERE = Path(__file__).parent
VIDEO = {"num_frames": 17, "height": 96, "width": 96}
RUN = {**VIDEO, "num_inference_steps": 1, "guidance_scale": 1.0, "max_sequence_length": 64}
PROMPT = "two shots a red ball on the beach"
PLAN = scope.ShotPlan.from_latent_frames([2], num_frames_latent=5, fps=16)
LAYERS = (7, 28)
LIMIT = 1e-5
# Latent frames and pixels a side of the calls of one layer whose memory is asked: 196 to 7,056 tokens.
SIZES = ((4, 112), (16, 112), (16, 224), (36, 224))


def spent(run: Callable[[], Any]) -> float:
    """Processor seconds of a run."""
    before = time.process_time()
    run()
    return time.process_time() - before


def peak_gib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def brute_force(query: torch.Tensor, key: torch.Tensor, frames: int) -> torch.Tensor:
    """Frame mass (heads, F, F) by the definition, in float64, with the whole map."""
    scores = torch.einsum("nhd,mhd->hnm", query.double(), key.double()) * query.shape[-1] ** -0.5
    by_frame = scores.softmax(-1).unflatten(-1, (frames, -1)).sum(-1)
    return by_frame.unflatten(1, (frames, -1)).mean(2)


def compare(pipe: Any) -> dict[str, float]:
    """Largest difference between the mass at its hook point and brute force, by layer."""
    names = [f"blocks.{layer - 1}.attn.hook_{what}" for layer in LAYERS for what in ("q", "k", "frame_mass")]
    generator = torch.Generator().manual_seed(0)
    _, cache = scope.run_with_cache(
        pipe, names_filter=names, prompt=PROMPT, generator=generator, output_type="latent", **RUN
    )
    found = {}
    for layer in LAYERS:
        query, key, mass = (
            cache[f"blocks.{layer - 1}.attn.hook_{what}"][0].value[0] for what in ("q", "k", "frame_mass")
        )
        exact = brute_force(query, key, mass.shape[-1])
        found[str(layer)] = float((mass.double() - exact).abs().max())
    return found


def probe_and_mask(name: str) -> dict[str, Any]:
    """Everything that is asked of the whole model."""
    pipe = scope.testing.full(name)
    after_building = peak_gib()

    def plain() -> None:
        pipe(PROMPT, generator=torch.Generator().manual_seed(0), output_type="latent", **RUN)

    def probed() -> None:
        scope.probe(pipe, PROMPT, shots=PLAN, **RUN)

    plain()
    after_plain = peak_gib()
    times: dict[str, list[float]] = {"plain": [], "probed": []}
    for _ in range(2):
        times["plain"].append(spent(plain))
        times["probed"].append(spent(probed))
    after_probe = peak_gib()
    with scope.intervene(pipe, scope.masks.same_shot(PLAN), layers="7-28"):
        attention = scope.probe(pipe, PROMPT, shots=PLAN, **RUN)
    crossing = attention.mass.where(attention.query_shot != attention.key_shot)
    film = scope.generate(pipe, PROMPT, shots=PLAN, rule=scope.masks.same_shot(PLAN), layers="7-28", **RUN)
    least = {kind: min(values) for kind, values in times.items()}
    return {
        "layers": int(attention.sizes["layer"]),
        "heads": int(attention.sizes["head"]),
        "weights": sum(each.numel() for each in pipe.transformer.parameters()),
        "row_sums_off_by": float(abs(attention.mass.sum("key_frame") - 1).max()),
        "mass_off_by": compare(pipe),
        "crossing_in_masked_layers": float(crossing.sel(layer=slice(7, 28)).max()),
        "crossing_elsewhere": float(crossing.sel(layer=slice(1, 6)).max()),
        "film_frames": len(film.frames),
        "seconds": {**least, "ratio": least["probed"] / least["plain"]},
        "peak_gib": {"built": after_building, "plain": after_plain, "probed": after_probe, "end": peak_gib()},
    }


def memory_by_tokens(name: str) -> list[dict[str, float]]:
    """What a probe adds to the memory of one layer's call; sizes grow, so a plain call sets the mark for its probe."""
    network = scope.testing.full(name, num_layers=1).transformer
    rows = []
    for frames, side in SIZES:
        noise = torch.Generator().manual_seed(0)
        video = torch.zeros(1, 16, frames, side // 8, side // 8).normal_(generator=noise)
        given = video, torch.tensor([500]), torch.zeros(1, 64, 4096)
        with torch.no_grad():
            network(*given, return_dict=False)
            plain = peak_gib()
            scope.run_with_cache(network, *given, names_filter="*frame_mass", return_dict=False)
        tokens = frames * (side // 16) ** 2
        extra, whole_map = 1024 * (peak_gib() - plain), 12 * tokens**2 * 4 / 2**20
        rows.append({"tokens": tokens, "peak_gib": plain, "extra_mib": extra, "map_mib": whole_map})
    return rows


def main() -> None:
    """Run everything once and write the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="wan2.1-1.3b")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    facts = {"model": arguments.model, "machine": platform.machine(), "torch": torch.__version__}
    # small before large: the most memory that a process has held never falls
    by_tokens = memory_by_tokens(arguments.model)
    found = {**facts, "video": VIDEO, "memory_by_tokens": by_tokens, **probe_and_mask(arguments.model)}
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    worst = max(found["mass_off_by"].values())
    if worst > LIMIT or found["crossing_in_masked_layers"] != 0 or found["peak_gib"]["end"] > 20:
        print(
            f"run.py: expected masses within {LIMIT:g}, nothing across a mask and 20 GiB at most, got {found}"
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
