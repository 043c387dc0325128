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
    Readers,
    both_shots_match,
    captioned,
    captioned_film,
    cutting,
    film_pairs,
    load_model,
    load_readers,
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
MODELS = ("wan-mini", "wan-mini-nocuts")
SHEET_FILMS = 24


class Acceptance:
    """What is measured, with what, and where films are kept."""

    def __init__(
        self, work: Path, models: Path, config: dict[str, Any], num_films: int, num_masked: int
    ) -> None:
        self.work, self.models, self.config = work, models, config
        self.films, self.num_films, self.num_masked = config["films"], num_films, num_masked
        self.kept = work / "films"
        self._readers: Readers | None = None
        self._pipes: dict[str, Any] = {}

    def pipe(self, name: str = "wan-mini") -> Any:
        """A model, loaded once."""
        if name not in self._pipes:
            self._pipes[name] = load_model(self.models, name)
        return self._pipes[name]

    @property
    def readers(self) -> Readers:
        """The readers, with a threshold from retaken films, half of them after the autoencoder."""
        if self._readers is None:
            scenes = [retaken(CALIBRATION_SEED + i, self.films) for i in range(60)]
            drawn = [(scene, draw(scene, self.films)) for scene in scenes]
            seen = [(s, f if i % 2 else self.decoded(f)[1]) for i, (s, f) in enumerate(drawn)]
            self._readers = load_readers(self.work, self.films, seen)
        return self._readers

    @torch.no_grad()
    def decoded(self, frames: Frames) -> tuple[np.ndarray, Frames]:
        """Quality of each frame (dB), and the film, after the autoencoder."""
        vae = self.pipe().vae
        video = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float().div(127.5).sub(1)
        back = vae.decode(encode_moments(vae, video)[0]).sample
        quality = 10 * torch.log10(4 / (back - video).square().mean(dim=(0, 1, 3, 4)))
        pixels = (back[0].permute(1, 2, 3, 0) + 1).mul(127.5).round().clamp(0, 255)
        return quality.numpy(), np.asarray(pixels, dtype=np.uint8)

    def autoencoder(self) -> dict[str, Any]:
        """How well films come back, how well the frame after a cut, and what it keeps of the shot before."""
        quality, after_cut, kept = [], [], []
        vae = self.pipe().vae
        for i in range(self.num_films):
            scene = film(AUTOENCODER_SEED + i, self.films | {"shots": [0.0, 0.7, 0.3], "share_long": 0.0})
            frames = draw(scene, self.films)
            db, _ = self.decoded(frames)
            cuts = list(scene.plan.cuts_frame)
            quality.append(db.mean())
            after_cut.append(db[cuts].mean() - np.delete(db, cuts).mean())
            other = frames.copy()
            other[: cuts[0]] = 255 - frames[: cuts[0]]
            with torch.no_grad():
                first, second = (
                    encode_moments(
                        vae, torch.from_numpy(f).permute(3, 0, 1, 2)[None].float().div(127.5).sub(1)
                    )[0]
                    for f in (frames, other)
                )
            late = scene.plan.to_latent().cuts[0]
            change = (first - second).abs().mean(dim=(0, 1, 3, 4))
            kept.append(float(change[late:].max() / change[:late].mean()))
        return {
            "psnr_db": mean(quality),
            "frame_after_cut_db": mean(after_cut),
            "kept_over_cut": mean(kept),
        }

    def reader_ceiling(self) -> dict[str, Any]:
        """What the readers say of drawn films, and of the same after the autoencoder."""
        result: dict[str, Any] = {}
        scenes = [one_shot(i, self.films) for i in range(self.num_films)]
        drawn = [(scene, draw(scene, self.films)) for scene in scenes]
        result["drawn"] = reading(self.readers.pictures, drawn)
        result["decoded"] = reading(self.readers.pictures, [(s, self.decoded(f)[1]) for s, f in drawn])
        cut = [retaken(CALIBRATION_SEED + 1000 + i, self.films) for i in range(self.num_films)]
        for name, change in (("drawn", lambda f: f), ("decoded", lambda f: self.decoded(f)[1])):
            found = [self.cuts_of(change(draw(scene, self.films))) for scene in cut]
            result[f"cuts_{name}"] = cutting(found, [scene.plan.cuts_frame for scene in cut])
        result["threshold"] = self.readers.threshold
        return result

    def cuts_of(self, frames: Frames) -> tuple[int, ...]:
        """Cuts that the cut reader finds."""
        return find_cuts(self.readers.cuts.logits(frames), self.readers.threshold)

    def films_of(self, name: str, kind: str) -> list[tuple[Scene, Frames]]:
        """The films of one kind, made where they are missing."""
        return film_pairs(
            self.kept / name / kind, self._scene(kind), self._maker(name, kind), self._number(kind)
        )

    def _number(self, kind: str) -> int:
        return self.num_masked if kind == "masked" else self.num_films

    def _scene(self, kind: str) -> Callable[[int], Scene]:
        if kind == "captioned":
            return lambda i: captioned(i, self.films)
        return lambda i: one_shot(i, self.films, kind)

    def _maker(self, name: str, kind: str) -> Callable[[Scene, int], Frames]:
        make = {"one-shot": unmasked_film, "masked": masked_film, "captioned": captioned_film}[kind]
        return lambda scene, number: make(self.pipe(name), scene, number)

    def one_shot(self) -> dict[str, Any]:
        """What the readers say of films from one-shot captions, and how many have a cut of their own."""
        result = {}
        for name in MODELS:
            films = self.films_of(name, "one-shot")
            result[name] = reading(self.readers.pictures, films)
            for detector, find in self.detectors().items():
                result[name][f"uncut_{detector}"] = share(not find(frames) for _, frames in films)
        return result

    def masked(self) -> dict[str, Any]:
        """Where films from one-shot captions are cut under the published mask, by each detector."""
        result: dict[str, Any] = {}
        for name in MODELS:
            films = self.films_of(name, "masked")
            asked = [plan_of(i).to_latent().realised_frame for i in range(len(films))]
            result[name] = self.cutting(films, asked)
        return result

    def captioned(self) -> dict[str, Any]:
        """Whether each shot shows what its own caption says."""
        films = self.films_of("wan-mini", "captioned")
        asked = [scene.plan.to_latent().realised_frame for scene, _ in films]
        return {
            "wan-mini": reading(self.readers.pictures, films)
            | self.cutting(films, asked)
            | {"both_shots": both_shots_match(self.readers.pictures, films)}
        }

    def cutting(self, films: list[tuple[Scene, Frames]], asked: list[tuple[int, ...]]) -> dict[str, Any]:
        """Recall and precision of the cuts of films, by each detector."""
        return {
            detector: cutting([find(frames) for _, frames in films], asked)
            for detector, find in self.detectors().items()
        }

    def detectors(self) -> dict[str, Callable[[Frames], tuple[int, ...]]]:
        """Those that look for cuts: what `generate` counts by, the reader of this folder, a published network."""

        def published(detector: Any) -> Callable[[Frames], tuple[int, ...]]:
            return lambda frames: (
                metrics.detect_cuts(frames, 16, detector=detector, shortest_shot_s=0).cuts_frame
            )

        return {
            "span": published("span"),
            "cut_reader": self.cuts_of,
            "transnetv2": published("transnetv2"),
        }

    def blocks(self) -> dict[str, Any]:
        """Whether attention follows the shots of films that are shown."""
        return blocks_of_models(
            {name: self.pipe(name) for name in MODELS}, self.films, self.num_films, self.work
        )

    def sheets(self) -> dict[str, Any]:
        """Pictures of films for the eye: eight frames of each, in two columns."""
        shown = {}
        for kind in ("one-shot", "masked", "captioned"):
            films = self.films_of("wan-mini", kind)[:SHEET_FILMS]
            strips = [np.concatenate(list(frames[:: len(frames) // 8][:8]), axis=1) for _, frames in films]
            half = len(strips) // 2
            sheet = np.concatenate([np.concatenate(strips[:half]), np.concatenate(strips[half:])], axis=1)
            Image.fromarray(sheet).save(HERE / f"sheet-{kind}.png", optimize=True)
            shown[kind] = len(films)
        return shown


SECTIONS = ("autoencoder", "reader_ceiling", "one_shot", "masked", "captioned", "blocks", "sheets")


def headline(sections: dict[str, Any], num_films: int) -> dict[str, Any]:
    """The figures of each model, as its card quotes them."""
    rows: dict[str, Any] = {}
    for name in MODELS:
        read, cut = (sections.get(section, {}).get(name, {}) for section in ("one_shot", "masked"))
        cut = cut.get("span", {})
        rows[name] = {
            "n": num_films,
            "subject_colour": read.get("colour"),
            "subject_shape": read.get("shape"),
            "place_colours": read.get("place_colours"),
            "psnr_db": sections.get("autoencoder", {}).get("psnr_db"),
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
    parser.add_argument("--films", type=int, default=80)
    parser.add_argument("--masked", type=int, default=120)
    given = parser.parse_args()
    config = tomllib.loads(given.config.read_text())
    acceptance = Acceptance(given.work, given.models, config, given.films, given.masked)
    document = json.loads(given.out.read_text()) if given.out.exists() else {"sections": {}}
    for section in filter(None, given.sections.split(",")):
        document["sections"][section] = getattr(acceptance, section)()
        document["models"] = headline(document["sections"], given.films)
        given.out.write_text(json.dumps(document, indent=1) + "\n")
        print(section, json.dumps(document["sections"][section], indent=1)[:3000], flush=True)
    write_cards(given.models, document["models"])


if __name__ == "__main__":
    main()
