"""From films to a scored film, by the command line alone: draw, build, look, check, train, generate, score.

`python experiments/dataset_pipeline/end_to_end.py EMPTY_FOLDER --quick`. What is drawn is known, and so are its
captions: they are written into the manifest as a person would who has seen the films; no model has said them.
"""

from __future__ import annotations

import argparse
import csv
import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from attnscope.cli import main as attnscope
from attnscope.dataset import Scene, render, sample_scene
from attnscope.dataset.published.tables import read_clips
from attnscope.video import write_video

QUICK = ("height=32", "width=32", "num_frames=17", "rank=2", "steps=2")
USUAL = ("steps=200",)
PROMPT = "Two shots: a red ball; Shot 1: [0s, 0.5s] wide shot; Shot 2: [0.5s, 1s] close shot"


def call(*words: object) -> dict[str, object]:
    """Run one command and read what it prints; a command that fails ends the script."""
    print("attnscope", *words, flush=True)
    printed = StringIO()
    with redirect_stdout(printed):
        code = attnscope([str(word) for word in words])
    if code:
        raise SystemExit(f"exit code {code}: {printed.getvalue()}")
    return dict(json.loads(printed.getvalue())) if "--json" in words else {}


def draw(folder: Path, num_films: int) -> dict[str, Scene]:
    """Draw films of two shots, one in three with a dissolve."""
    folder.mkdir(parents=True)
    scenes = {}
    for seed in range(num_films):
        dissolve = 6 if seed % 3 == 2 else 0
        scene = sample_scene(
            seed, num_shots=2, num_frames=49, dissolve_frames=dissolve, min_shot_latent_frames=5
        )
        write_video(folder / f"{seed}.mp4", render(scene, height=64, width=96), scene.plan.fps)
        scenes[f"{seed}.mp4"] = scene
    return scenes


def tell(dataset: Path, scenes: dict[str, Scene]) -> None:
    """Write the captions of drawn films into the manifest."""
    of_clip = {clip.uri: scenes[clip.file] for clip in read_clips(dataset)}
    path = dataset / "manifest.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        scene = of_clip[row["file"]]
        row["caption"], row["captions"] = scene.caption("none"), " | ".join(scene.shot_captions())
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="wan-mini")
    parser.add_argument("--films", type=int, default=6)
    parser.add_argument(
        "--quick", action="store_true", help="two steps, tiny films: it runs, it does not learn"
    )
    asked = parser.parse_args()
    films, dataset, run = asked.folder / "films", asked.folder / "dataset", asked.folder / "run"
    scenes = draw(films, asked.films)
    chosen = [
        f"--set={each}"
        for each in ("shortest_clip_s=1.5", "least_side=48", "join_likeness=-1", "shortest_shot_s=0.4")
    ]
    built = call("dataset", "build", films, "--out", dataset, *chosen, "--executor", "serial", "--json")
    call("dataset", "inspect", dataset, "--films", films)
    checked = call("dataset", "validate", dataset, "--json")
    tell(dataset, scenes)
    recipe = [f"--set={each}" for each in (QUICK if asked.quick else USUAL)]
    trained = call(
        *("train", "lora", "--model", asked.model, "--data", dataset, "--rule", "same_shot", "--out", run),
        *(*recipe, "--json"),
    )
    size = ("--height", 32, "--width", 32, "--num-inference-steps", 2) if asked.quick else ()
    film = asked.folder / "film.mp4"
    given = (
        "--model",
        asked.model,
        "--lora",
        trained["weights"],
        "--prompt",
        PROMPT,
        "--rule",
        "same_shot",
        *size,
    )
    call("generate", *given, "--out", film, "--json")
    scored = call("score", film, "--shots", "0-0.5s,0.5-1.0625s", "--out", asked.folder / "scores", "--json")
    real = call("score", "--manifest", dataset / "manifest.csv", "--out", asked.folder / "real", "--json")
    known = [row["agreement"]["f1"] for row in real["videos"]]
    print(
        f"{built['clips']} clips of {built['sources']} films, valid: {checked['valid']}; trained {trained['steps']} "
        f"steps on {trained['films']} films; cuts of the new film: {scored['videos'][0]['cuts_detected_frame']}; "
        f"of the clips, held against their rows, f1 {sum(known) / len(known):.2f}"
    )


if __name__ == "__main__":
    main()
