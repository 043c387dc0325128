"""Train and export the embedded models `wan-mini` and `wan-mini-nocuts`, one resumable command a model.

    python experiments/embedded_models/run.py wan-mini  --work runs/embedded_models
    python experiments/embedded_models/run.py nocuts    --work runs/embedded_models
    python experiments/embedded_models/run.py export    --work runs/embedded_models --to attnscope/models/weights
    python experiments/embedded_models/run.py adopt     --work runs/embedded_models --to attnscope/models/weights

The last one goes the other way: it lays the exported models into an empty work folder, so that only the last stage of
training runs. A stage that is done is skipped; one that was killed goes on from its last saved state.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batches import Slabs
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from export import SUMMARIES, export_models
from films import draw_films, film
from rich.progress import track
from safetensors.torch import load_file, save_file
from text import build_tokenizer, train_text
from transformer import build_transformer, deepen, train_stage
from transformers import T5Tokenizer, UMT5EncoderModel
from vae import encode_moments, fit_latent_scale, psnr_db, train_vae

Config = dict[str, Any]


def _clips(seeds: range, films: Config) -> torch.Tensor:
    """Films of one length as (B, 3, frames, H, W) in [-1, 1]."""
    pixels = np.stack(list(draw_films(seeds, films, num_frames=films["num_frames"])))
    return torch.from_numpy(pixels).permute(0, 4, 1, 2, 3).float().div(127.5).sub(1)


def vae_stage(work: Path, config: Config) -> AutoencoderKLWan:
    """Train the autoencoder once and measure it on held-out films."""
    if not (work / "vae").exists():
        films = config["films"]
        pixels = np.stack(list(draw_films(range(1000), films, num_frames=films["num_frames"])))
        vae = train_vae(pixels, work, config["vae"]).eval()
        fit_latent_scale(vae, _clips(range(64), films))
        held_out = films["held_out_seed"]
        print(
            f"vae: {psnr_db(vae, _clips(range(held_out, held_out + 10), films)):.2f} dB on 10 held-out films"
        )
        vae.save_pretrained(work / "vae")
    return AutoencoderKLWan.from_pretrained(work / "vae").eval().requires_grad_(False)


def text_stage(work: Path, config: Config) -> tuple[T5Tokenizer, UMT5EncoderModel]:
    """Train the text encoder once."""
    if not (work / "text_encoder").exists():
        train_text(work, config["films"], config["text"]).save_pretrained(work / "text_encoder")
        build_tokenizer().save_pretrained(work / "tokenizer")
    encoder = UMT5EncoderModel.from_pretrained(work / "text_encoder").eval().requires_grad_(False)
    return T5Tokenizer.from_pretrained(work / "tokenizer"), encoder


@torch.no_grad()
def latent_stage(work: Path, config: Config, part: int = 0, parts: int = 1, shard: int = 250) -> None:
    """Encode all films into normalised latents, a file a shard; several processes may each take a part."""
    vae = vae_stage(work, config).bfloat16()
    mean = torch.tensor(vae.config.latents_mean).view(-1, 1, 1, 1)
    std = torch.tensor(vae.config.latents_std).view(-1, 1, 1, 1)
    folder = work / "latents"
    folder.mkdir(exist_ok=True)
    starts = range(0, config["films"]["num_clips"], shard)
    for start in track(list(starts)[part::parts], description="encoding films"):
        path = folder / f"{start:06d}.safetensors"
        if path.exists():
            continue
        clips = dict(enumerate(draw_films(range(start, start + shard), config["films"]), start))
        latents = {}
        for length in {len(pixels) for pixels in clips.values()}:
            seeds = [seed for seed, pixels in clips.items() if len(pixels) == length]
            for i in range(0, len(seeds), 8):
                some = seeds[i : i + 8]
                pixels = torch.from_numpy(np.stack([clips[seed] for seed in some]))
                video = pixels.permute(0, 4, 1, 2, 3).div(127.5).sub(1).bfloat16()
                encoded = (encode_moments(vae, video)[0].float() - mean) / std
                latents |= {str(seed): latent for seed, latent in zip(some, encoded.half(), strict=True)}
        save_file(latents, path.with_suffix(".partial"))
        path.with_suffix(".partial").replace(path)


def load_latents(work: Path, config: Config, *, single_shot: bool) -> dict[int, torch.Tensor]:
    """All encoded films by seed; only those with one shot where asked."""
    clips: dict[int, torch.Tensor] = {}
    for path in sorted((work / "latents").glob("*.safetensors")):
        clips |= {int(name): value for name, value in load_file(path).items()}
    if single_shot:
        return {seed: clip for seed, clip in clips.items() if len(film(seed, config["films"]).views) == 1}
    return clips


def transformer_stage(work: Path, config: Config, name: str) -> None:
    """Train one transformer, shallow then deep, and write its averaged weights to ``work/name``."""
    if (work / name).exists():
        return
    recipe = config["transformer"]
    slabs = Slabs(*text_stage(work, config))
    latents = load_latents(work, config, single_shot=name == "wan-mini-nocuts")
    torch.manual_seed(2)
    stages = _stages(recipe, name)
    model = build_transformer(recipe, stages[0]["num_layers"])
    for i, stage in enumerate(stages):
        copies = stage["num_layers"] // len(model.blocks)
        if copies > 1:
            weights = deepen(dict(model.named_parameters()), copies)
            model = build_transformer(recipe, stage["num_layers"])
            model.load_state_dict(weights, strict=False)
        finished = work / f"{name}-{i}"
        if not finished.exists():
            start = {key: weight.detach().clone() for key, weight in model.named_parameters()}
            average = train_stage(
                model, latents, slabs, work / f"{name}-{i}-state", config["films"], recipe | stage,
                first_step=i * 1_000_000,
            )  # fmt: skip
            share = stage.get("share_kept", 0.0)
            mixed = {key: weight.lerp(start[key], share) for key, weight in average.items()}
            model.float().load_state_dict(mixed, strict=False)
            model.save_pretrained(finished)
        # a fresh one: training leaves the model compiled and in bfloat16
        model = WanTransformer3DModel.from_pretrained(finished)
    model.eval().save_pretrained(work / name)


def _stages(recipe: Config, name: str) -> list[Config]:
    """The stages of a model: those that name it, and those that name none."""
    return [stage for stage in recipe["stages"] if name in stage.get("models", [name])]


def adopt_models(work: Path, exported: Path, config: Config) -> None:
    """Lay exported models into the work folder as what all but the last stage made, so that only that one runs."""
    base = exported / "wan-mini"
    exact = {"torch_dtype": torch.float32}
    AutoencoderKLWan.from_pretrained(base / "vae", **exact).save_pretrained(work / "vae")
    UMT5EncoderModel.from_pretrained(base / "text_encoder", **exact).save_pretrained(work / "text_encoder")
    T5Tokenizer.from_pretrained(base / "tokenizer").save_pretrained(work / "tokenizer")
    for name in SUMMARIES:
        transformer = WanTransformer3DModel.from_pretrained(exported / name / "transformer", **exact)
        card = json.loads((exported / name / "card.json").read_text())
        logs = list(card["training"]["transformer_stages_last_log"].values())
        for i in range(len(_stages(config["transformer"], name)) - 1):
            transformer.save_pretrained(work / f"{name}-{i}")
            (work / f"{name}-{i}-state.jsonl").write_text(json.dumps(logs[i]) + "\n")
    for part in ("vae", "text"):
        (work / f"{part}.jsonl").write_text(json.dumps(card["training"][f"{part}_last_log"]) + "\n")


def main() -> None:
    """Read the command line and run the stages it names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("job", choices=["vae", "text", "latents", "wan-mini", "nocuts", "export", "adopt"])
    parser.add_argument("--work", type=Path, default=Path("runs/embedded_models"))
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("config.toml"))
    parser.add_argument("--to", type=Path, default=Path("attnscope/models/weights"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--part", default="0/1", help="with latents: this process's share, e.g. 0/2")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    config = tomllib.loads(arguments.config.read_text())
    if arguments.job == "vae":
        vae_stage(arguments.work, config)
    elif arguments.job == "text":
        text_stage(arguments.work, config)
    elif arguments.job == "export":
        export_models(arguments.work, arguments.to, config)
    elif arguments.job == "adopt":
        adopt_models(arguments.work, arguments.to, config)
    else:
        part, parts = (int(number) for number in arguments.part.split("/"))
        latent_stage(arguments.work, config, part, parts)
        if arguments.job != "latents":
            transformer_stage(
                arguments.work, config, {"nocuts": "wan-mini-nocuts"}.get(arguments.job, arguments.job)
            )


if __name__ == "__main__":
    main()
