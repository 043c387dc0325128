"""Measure exported models by everything that is asked of them, and write results.json and the sheets.

    python experiments/embedded_models/accept.py --work runs/embedded_models --models attnscope/models/weights

Films are made once and kept in the work folder, so it can be killed and repeated, and asked for single sections
(``--sections autoencoder,blocks``). No caption and no film here was trained on, and the detector's threshold comes
from films that were drawn and decoded for that alone.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from blocks import blocks_of_models
from films import draw, film, retaken
from judging import (
    Frames,
    Making,
    Readers,
    base_of,
    both_shots_match,
    captioned,
    captioned_film,
    cutting,
    film_pairs,
    load_model,
    load_readers,
    making_of,
    masked_film,
    mean,
    one_shot,
    plan_of,
    reading,
    share,
    unmasked_film,
)
from PIL import Image
from readers import find_cuts
from vae import encode_moments

from attnscope import metrics
from attnscope.dataset import Scene

HERE = Path(__file__).parent
CALIBRATION_SEED, AUTOENCODER_SEED = 80_000_000, 90_000_000
MODELS = ("wan-mini", "wan-mini-nocuts", "unet-mini", "unet-mini-nocuts")
COUNTED_BY = "span"
"""The detector that cards quote, which `generate` counts by; set on films that were drawn, and decoded."""
SHEET_FILMS = 24


class Acceptance:
    """What is measured, of which models, with what, and where films are kept."""

    def __init__(
        self,
        work: Path,
        models: Path,
        config: dict[str, Any],
        names: tuple[str, ...],
        num_films: int,
        num_masked: int,
    ) -> None:
        self.work, self.models, self.config = work, models, config
        self.names, self.num_films, self.num_masked = names, num_films, num_masked
        self.kept = work / "films"
        self._readers: dict[str, Readers] = {}
        self._pipes: dict[str, Any] = {}

    @property
    def bases(self) -> tuple[str, ...]:
        """The models that are no control of another."""
        return tuple(name for name in self.names if name == base_of(name))

    def films(self, name: str) -> dict[str, Any]:
        """Settings of the drawn films of a model."""
        own: dict[str, Any] = self.config["unet"]["films"] if base_of(name) == "unet-mini" else {}
        return self.config["films"] | own

    def making(self, name: str) -> Making:
        """How its films are made."""
        return making_of(self.models, name, self.config["films"]["world"])

    def pipe(self, name: str) -> Any:
        """A model, loaded once."""
        if name not in self._pipes:
            self._pipes[name] = load_model(self.models, name)
        return self._pipes[name]

    def readers(self, name: str) -> Readers:
        """The readers, with a threshold from retaken films, half of them after the autoencoder of this model."""
        base = base_of(name)
        if base not in self._readers:
            films = self.films(base)
            scenes = [retaken(CALIBRATION_SEED + i, films) for i in range(60)]
            drawn = [(scene, draw(scene, films)) for scene in scenes]
            seen = [(s, f if i % 2 else self.decoded(base, f)[1]) for i, (s, f) in enumerate(drawn)]
            self._readers[base] = load_readers(self.work, films, seen)
        return self._readers[base]

    @torch.no_grad()
    def latents(self, name: str, frames: Frames) -> torch.Tensor:
        """Latents (1, C, T, Y, X) of a film, not normalised."""
        vae = self.pipe(name).vae
        video = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float().div(127.5).sub(1)
        if base_of(name) == "wan-mini":
            return encode_moments(vae, video)[0]
        return vae.encode(video[0].transpose(0, 1)).latent_dist.mode().transpose(0, 1)[None]

    @torch.no_grad()
    def decoded(self, name: str, frames: Frames) -> tuple[np.ndarray, Frames]:
        """Quality of each frame (dB), and the film, after the autoencoder."""
        vae, latents = self.pipe(name).vae, self.latents(name, frames)
        if base_of(name) == "wan-mini":
            back = vae.decode(latents).sample[0].transpose(0, 1)
        else:
            back = vae.decode(latents[0].transpose(0, 1)).sample
        pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        quality = 10 * torch.log10(4 / (back - pictures).square().mean(dim=(1, 2, 3)))
        pixels = (back.permute(0, 2, 3, 1) + 1).mul(127.5).round().clamp(0, 255)
        return quality.numpy(), np.asarray(pixels, dtype=np.uint8)

    def autoencoder(self) -> dict[str, Any]:
        """How well films come back, how well the frame after a cut, and what it keeps of the shot before."""
        return {name: self._autoencoder(name) for name in self.bases}

    def _autoencoder(self, name: str) -> dict[str, Any]:
        quality, after_cut, kept = [], [], []
        films = self.films(name) | {"shots": [0.0, 0.7, 0.3], "share_long": 0.0}
        for i in range(self.num_films):
            scene = film(AUTOENCODER_SEED + i, films)
            frames = draw(scene, films)
            db, _ = self.decoded(name, frames)
            cuts = list(scene.plan.cuts_frame)
            quality.append(db.mean())
            after_cut.append(db[cuts].mean() - np.delete(db, cuts).mean())
            other = frames.copy()
            other[: cuts[0]] = 255 - frames[: cuts[0]]
            first, second = (self.latents(name, each) for each in (frames, other))
            late = scene.plan.to_latent(films["stride"]).cuts[0]
            change = (first - second).abs().mean(dim=(0, 1, 3, 4))
            kept.append(float(change[late:].max() / change[:late].mean()))
        return {
            "psnr_db": mean(quality),
            "frame_after_cut_db": mean(after_cut),
            "kept_over_cut": mean(kept),
        }

    def reader_ceiling(self) -> dict[str, Any]:
        """What the readers say of drawn films, and of the same after the autoencoder."""
        return {name: self._reader_ceiling(name) for name in self.bases}

    def _reader_ceiling(self, name: str) -> dict[str, Any]:
        films, readers = self.films(name), self.readers(name)
        result: dict[str, Any] = {}
        scenes = [one_shot(i, self.making(name)) for i in range(self.num_films)]
        drawn = [(scene, draw(scene, films)) for scene in scenes]
        result["drawn"] = reading(readers.pictures, drawn)
        result["decoded"] = reading(readers.pictures, [(s, self.decoded(name, f)[1]) for s, f in drawn])
        cut = [retaken(CALIBRATION_SEED + 1000 + i, films) for i in range(self.num_films)]
        asked = [scene.plan.cuts_frame for scene in cut]
        frames = [draw(scene, films) for scene in cut]
        result["cuts_drawn"] = self.cutting(name, frames, asked)
        result["cuts_decoded"] = self.cutting(name, [self.decoded(name, each)[1] for each in frames], asked)
        result["threshold"] = readers.threshold
        return result

    def films_of(self, name: str, kind: str) -> list[tuple[Scene, Frames]]:
        """The films of one kind, made where they are missing."""
        making = self.making(name)
        make = {"one-shot": unmasked_film, "masked": masked_film, "captioned": captioned_film}[kind]

        def scene(number: int) -> Scene:
            return captioned(number, making) if kind == "captioned" else one_shot(number, making, kind)

        return film_pairs(
            self.kept / name / kind,
            scene,
            lambda scene, number: make(self.pipe(name), scene, number, making),
            self.num_masked if kind == "masked" else self.num_films,
        )

    def one_shot(self) -> dict[str, Any]:
        """What the readers say of films from one-shot captions, and how many have a cut of their own."""
        result = {}
        for name in self.names:
            films = self.films_of(name, "one-shot")
            result[name] = reading(self.readers(name).pictures, films)
            for detector, find in self.detectors(name).items():
                result[name][f"uncut_{detector}"] = share([not find(frames) for _, frames in films])
        return result

    def masked(self) -> dict[str, Any]:
        """Where films from one-shot captions are cut under the published mask, by each detector."""
        result: dict[str, Any] = {}
        for name in self.names:
            films, making = self.films_of(name, "masked"), self.making(name)
            asked = [
                plan_of(i, making).to_latent(making.video.stride).realised_frame for i in range(len(films))
            ]
            result[name] = self.cutting(name, [frames for _, frames in films], asked)
        return result

    def captioned(self) -> dict[str, Any]:
        """Whether each shot shows what its own caption says."""
        result: dict[str, Any] = {}
        for name in self.bases:
            films, stride = self.films_of(name, "captioned"), self.making(name).video.stride
            asked = [scene.plan.to_latent(stride).realised_frame for scene, _ in films]
            pictures = self.readers(name).pictures
            result[name] = (
                reading(pictures, films)
                | self.cutting(name, [frames for _, frames in films], asked)
                | {"both_shots": both_shots_match(pictures, films)}
            )
        return result

    def cutting(self, name: str, films: list[Frames], asked: list[tuple[int, ...]]) -> dict[str, Any]:
        """Recall and precision of the cuts of films, by each detector."""
        return {
            detector: cutting([find(frames) for frames in films], asked)
            for detector, find in self.detectors(name).items()
        }

    def detectors(self, name: str) -> dict[str, Callable[[Frames], tuple[int, ...]]]:
        """Those that look for cuts: what `generate` counts by, the reader of this folder, a published network."""
        readers, video = self.readers(name), self.making(name).video

        def published(detector: Any) -> Callable[[Frames], tuple[int, ...]]:
            return lambda frames: (
                metrics.detect_cuts(
                    frames, video.fps, detector=detector, shortest_shot_s=0, stride=video.stride
                ).cuts_frame
            )

        return {
            "span": published("span"),
            "cut_reader": lambda frames: find_cuts(readers.cuts.logits(frames), readers.threshold),
            "transnetv2": published("transnetv2"),
        }

    def blocks(self) -> dict[str, Any]:
        """Whether attention follows the shots of films that are shown."""
        result: dict[str, Any] = {}
        for base in self.bases:
            pair = {name: self.pipe(name) for name in self.names if base_of(name) == base}
            result |= blocks_of_models(pair, self.making(base), self.num_films, self.work)
        return result

    def sheets(self) -> dict[str, Any]:
        """Pictures of films for the eye: eight frames of each, in two columns."""
        shown: dict[str, Any] = {}
        for name in self.bases:
            for kind in ("one-shot", "masked", "captioned"):
                films = self.films_of(name, kind)[:SHEET_FILMS]
                strips = [
                    np.concatenate(list(frames[:: len(frames) // 8][:8]), axis=1) for _, frames in films
                ]
                half = len(strips) // 2
                sheet = np.concatenate([np.concatenate(strips[:half]), np.concatenate(strips[half:])], axis=1)
                prefix = "sheet" if name == "wan-mini" else f"sheet-{name}"
                Image.fromarray(sheet).save(HERE / f"{prefix}-{kind}.png", optimize=True)
                shown.setdefault(name, {})[kind] = len(films)
        return shown


SECTIONS = ("autoencoder", "reader_ceiling", "one_shot", "masked", "captioned", "blocks", "sheets")


def headline(sections: dict[str, Any], num_films: int) -> dict[str, Any]:
    """The figures of each model, as its card quotes them."""
    rows: dict[str, Any] = {}
    for name in MODELS:
        read, cut = (sections.get(section, {}).get(name, {}) for section in ("one_shot", "masked"))
        if not read:
            continue
        cut = cut.get(COUNTED_BY, {})
        rows[name] = {
            "n": num_films,
            "subject_colour": read.get("colour"),
            "subject_shape": read.get("shape"),
            "place_colours": read.get("place_colours"),
            "place": read.get("place"),
            "framing": read.get("framing"),
            "films_without_a_cut_of_their_own": read.get(f"uncut_{COUNTED_BY}"),
            "both_shots_as_captioned": sections.get("captioned", {}).get(name, {}).get("both_shots"),
            "detector": COUNTED_BY,
            "psnr_db": sections.get("autoencoder", {}).get(base_of(name), {}).get("psnr_db"),
            "recall": cut.get("recall"),
            "precision": cut.get("precision"),
        }
    return rows


def write_cards(models: Path, rows: dict[str, Any]) -> None:
    """Write what was measured into the card of each model that lies there."""
    for name, row in rows.items():
        path = models / name / "card.json"
        if path.is_file():
            card = json.loads(path.read_text())
            path.write_text(json.dumps(card | {"measured": row}, indent=2) + "\n")


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("runs/embedded_models"))
    parser.add_argument("--models", type=Path, default=Path("attnscope/models/weights"))
    parser.add_argument("--config", type=Path, default=HERE / "config.toml")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--names", default=",".join(MODELS), help="models to measure, a comma between them")
    parser.add_argument("--films", type=int, default=80)
    parser.add_argument("--masked", type=int, default=120)
    given = parser.parse_args()
    config = tomllib.loads(given.config.read_text())
    names = tuple(filter(None, given.names.split(",")))
    acceptance = Acceptance(given.work, given.models, config, names, given.films, given.masked)
    document = json.loads(given.out.read_text()) if given.out.exists() else {"sections": {}}
    for section in filter(None, given.sections.split(",")):
        found = getattr(acceptance, section)()
        document["sections"].setdefault(section, {}).update(found)
        given.out.write_text(json.dumps(document, indent=1) + "\n")
        print(section, json.dumps(found, indent=1)[:3000], flush=True)
    document["models"] = headline(document["sections"], given.films)
    given.out.write_text(json.dumps(document, indent=1) + "\n")
    write_cards(given.models, document["models"])


if __name__ == "__main__":
    main()
