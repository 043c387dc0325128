"""Train and export the embedded models and those who judge them, one resumable command a model.

    python experiments/embedded_models/run.py wan-mini          --work runs/embedded_models
    python experiments/embedded_models/run.py wan-mini-nocuts   --work runs/embedded_models
    python experiments/embedded_models/run.py unet-mini         --work runs/embedded_models
    python experiments/embedded_models/run.py unet-mini-nocuts  --work runs/embedded_models
    python experiments/embedded_models/run.py readers           --work runs/embedded_models
    python experiments/embedded_models/run.py export --work runs/embedded_models --to attnscope/models/weights

A stage that is done is skipped; one that was killed goes on from its last saved state.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batches import Slabs, TrainingSet
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from export import export_models
from films import draw, draw_films, film, retaken, still
from readers import Watched, save_reader, train_cut_reader, train_picture_reader
from rich.progress import track
from safetensors.torch import load_file, save_file
from text import build_tokenizer, train_text
from transformer import build_transformer, deepen, train_stage
from transformers import T5Tokenizer, UMT5EncoderModel
from unet import unet_stage
from vae import encode_film, encode_moments, fit_latent_scale, psnr_db, train_vae

Config = dict[str, Any]
SHARD = 250
TRANSFORMERS = ("wan-mini", "wan-mini-nocuts")
UNETS = ("unet-mini", "unet-mini-nocuts")


def _clips(seeds: range, films: Config) -> torch.Tensor:
    """Films of one length as (B, 3, frames, H, W) in [-1, 1]."""
    pixels = np.stack(list(draw_films(seeds, films, num_frames=films["num_frames"])))
    return torch.from_numpy(pixels).permute(0, 4, 1, 2, 3).float().div(127.5).sub(1)


def vae_stage(work: Path, config: Config) -> AutoencoderKLWan:
    """Train the autoencoder once and measure it on held-out films."""
    if not (work / "vae").exists():
        films = config["films"]
        drawn = draw_films(range(config["vae"]["num_films"]), films, num_frames=films["num_frames"])
        vae = train_vae(np.stack(list(drawn)), work, config["vae"]).eval()
        fit_latent_scale(vae, _clips(range(64), films))
        held_out = films["held_out_seed"]
        quality = psnr_db(vae, _clips(range(held_out, held_out + 10), films)).mean()
        print(f"vae: {quality:.2f} dB on 10 held-out films")
        vae.save_pretrained(work / "vae")
    return AutoencoderKLWan.from_pretrained(work / "vae").eval().requires_grad_(False)


def text_stage(work: Path, config: Config) -> tuple[T5Tokenizer, UMT5EncoderModel]:
    """Train the text encoder once."""
    if not (work / "text_encoder").exists():
        train_text(work, config["films"], config["text"]).save_pretrained(work / "text_encoder")
        build_tokenizer(config["films"]["world"]).save_pretrained(work / "tokenizer")
    encoder = UMT5EncoderModel.from_pretrained(work / "text_encoder").eval().requires_grad_(False)
    return T5Tokenizer.from_pretrained(work / "tokenizer"), encoder


def latent_stage(work: Path, config: Config, num_clips: int, part: int = 0, parts: int = 1) -> None:
    """Encode the first films into normalised latents, a file a shard; several processes may each take a part."""
    vae = vae_stage(work, config).bfloat16()
    mean = torch.tensor(vae.config.latents_mean).view(-1, 1, 1, 1)
    std = torch.tensor(vae.config.latents_std).view(-1, 1, 1, 1)
    folder = work / "latents"
    folder.mkdir(exist_ok=True)
    for start in track(range(0, num_clips, SHARD)[part::parts], description="encoding films"):
        path = folder / f"{start:06d}.safetensors"
        if path.exists():
            continue
        latents = {}
        for seed, pixels in enumerate(draw_films(range(start, start + SHARD), config["films"]), start):
            latents[str(seed)] = ((encode_film(vae, pixels) - mean) / std).half()
        save_file(latents, path.with_suffix(".partial"))
        path.with_suffix(".partial").replace(path)


@torch.no_grad()
def _decoded(vae: AutoencoderKLWan, frames: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """A film after the autoencoder, with noise of this strength on its normalised latents."""
    mean, _ = encode_moments(
        vae, torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float().div(127.5).sub(1)
    )
    shaken = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed))
    std = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
    decoded = vae.decode(mean + noise * std * shaken).sample[0]
    return np.asarray((decoded.permute(1, 2, 3, 0) + 1).mul(127.5).round().clamp(0, 255), dtype=np.uint8)


def reader_stage(work: Path, config: Config) -> None:
    """Train the readers of pictures and of cuts once, on drawn films and on the same after the autoencoder."""
    if (work / "cut_reader.safetensors").exists():
        return
    films, recipe = config["films"], config["readers"]
    scenes = [film(seed, films) for seed in range(recipe["num_films"])]
    drawn = [Watched(scene, draw(scene, films)) for scene in scenes]

    def draw_still(number: int) -> Watched:
        scene = still(recipe["still_seed"] + number, films)
        return Watched(scene, draw(scene, films))

    save_reader(
        train_picture_reader(drawn, draw_still, films["world"], work, recipe["pictures"]),
        work / "picture_reader.safetensors",
    )
    vae = vae_stage(work, config)
    scenes = [retaken(seed, films) for seed in range(recipe["num_films"] // 2)]
    drawn = drawn[::2] + [Watched(scene, draw(scene, films)) for scene in scenes]
    decoded = [
        Watched(each.scene, _decoded(vae, each.frames, recipe["decoder_noise"] * (i % 2), i))
        for i, each in enumerate(drawn[:: recipe["decoded_every"]])
    ]
    save_reader(train_cut_reader(drawn + decoded, work, recipe["cuts"]), work / "cut_reader.safetensors")


def load_latents(work: Path, config: Config, num_clips: int, *, single_shot: bool) -> dict[int, torch.Tensor]:
    """The first encoded films by seed; only those with one shot where asked."""
    clips: dict[int, torch.Tensor] = {}
    for start in range(0, num_clips, SHARD):
        shard = load_file(work / "latents" / f"{start:06d}.safetensors")
        clips |= {int(name): value for name, value in shard.items()}
    if single_shot:
        return {seed: clip for seed, clip in clips.items() if len(film(seed, config["films"]).views) == 1}
    return clips


def transformer_stage(work: Path, config: Config, name: str) -> None:
    """Train one transformer through all stages and write its averaged weights to ``work/name``.

    The first stage sees no cut and is shared: both models begin with the same weights and part ways there.
    """
    if (work / name).exists():
        return
    slabs = Slabs(*text_stage(work, config))
    model = None
    for i, stage in enumerate(config["transformer"]["stages"]):
        recipe = config["transformer"] | stage
        stem = f"{'shared' if i == 0 else name}-{i}"
        if not (work / stem).exists():
            torch.manual_seed(2)
            deeper = build_transformer(recipe, recipe["num_layers"], config["vae"]["channels"])
            if model is not None:
                grown = deepen(dict(model.named_parameters()), recipe["copies"])
                deeper.load_state_dict(grown, strict=False)
            latent_stage(work, config, recipe["num_clips"])
            single_shot = i == 0 or name == "wan-mini-nocuts"
            latents = load_latents(work, config, recipe["num_clips"], single_shot=single_shot)
            films = TrainingSet(latents, slabs, config["films"], recipe)
            average = train_stage(deeper, films, work / f"{stem}-state", recipe, first_step=i * 1_000_000)
            deeper.float().load_state_dict(average, strict=False)
            deeper.save_pretrained(work / stem)
        # a fresh one: training leaves the model compiled and in bfloat16
        model = WanTransformer3DModel.from_pretrained(work / stem)
    assert model is not None
    model.eval().save_pretrained(work / name)


def main() -> None:
    """Read the command line and run the stages it names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "job",
        choices=["vae", "text", "readers", "latents", *TRANSFORMERS, *UNETS, "export"],
    )
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
    elif arguments.job == "readers":
        reader_stage(arguments.work, config)
    elif arguments.job in UNETS:
        unet_stage(arguments.work, config, arguments.job)
    elif arguments.job == "export":
        export_models(arguments.work, arguments.to, config)
    elif arguments.job == "latents":
        part, parts = (int(number) for number in arguments.part.split("/"))
        latent_stage(arguments.work, config, config["transformer"]["num_clips"], part, parts)
    else:
        transformer_stage(arguments.work, config, arguments.job)


if __name__ == "__main__":
    main()
