"""Measure the dataset pipeline: bounds, joins, executors, kills, memory, throughput, and what follows for a large one.

`python experiments/dataset_pipeline/run.py --shared CLIPS --work EMPTY_FOLDER` writes every entry of results.json; what
is there already, of the same configuration and the same rows, is left as it is. `--only bounds kills` for some parts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import signal
import time
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from films import Truth, break_films, draw_films
from joins import measure_joins
from throughput import measure_throughput

from attnscope.dataset import render, sample_scene
from attnscope.dataset.building import build_dataset
from attnscope.dataset.jobs import find_contract
from attnscope.dataset.published.tables import read_clips, read_sources
from attnscope.dataset.rows import Clip, identify
from attnscope.dataset.settings import Settings, read_settings
from attnscope.metrics import agreement
from attnscope.metrics.scoring.manifests import read_manifest
from attnscope.video import write_video

HERE = Path(__file__).parent
TABLES = ("clips.parquet", "sources.parquet", "manifest.csv")
Results = dict[str, Any]


def measure_bounds(config: Results, shared: Path, work: Path) -> Results:
    """Hold the shots of clips against what was drawn, and against the marks on real clips; broken files are rows."""
    films = work / "films"
    films.mkdir(parents=True)
    truth = draw_films(films, config["films"], config["first_seed"])
    listed = read_manifest(shared / "manifest.csv", [shared])
    for each in [each for each in listed if each.marked_cuts_frame is not None][: config["real"]]:
        shutil.copy(each.path, films / each.path.name)
    broken = break_films(films, films / next(iter(truth)), config["broken"])
    settings = read_settings(config["settings"], "in config.toml")
    began = time.monotonic()
    build_dataset(films, work / "out", settings=settings, executor="serial")
    took_s = time.monotonic() - began
    clips: dict[str, list[Clip]] = {}
    for clip in read_clips(work / "out"):
        clips.setdefault(clip.file, []).append(clip)
    failed = {row.file: row.error for row in read_sources(work / "out") if row.status == "failed"}
    return {
        "took_s": took_s,
        "drawn": {kind: _score_drawn(truth, clips, kind) for kind in ("", "cut", "dissolve", "fade", "ends")},
        "marked": _score_marked(shared, clips),
        "broken": {
            "files": len(broken),
            "rows_with_a_reason": sum(bool(failed.get(name)) for name in broken),
        },
        "failed_that_are_whole": sorted(set(failed) - set(broken)),
    }


def _score_drawn(truth: dict[str, Truth], clips: dict[str, list[Clip]], kind: str) -> Results:
    """Count bounds found to within a frame, frames of transitions that are held, and removed frames that were clean."""
    found = known = right = held = num_removed = num_mixed = listed_mixed = 0
    for name, each in truth.items():
        if not each.kind.startswith(kind):
            continue
        bounds = [bound for clip in clips.get(name, []) for bound in _bounds(clip)]
        middles = [(start + stop) / 2 for start, stop in each.transitions]
        right += _count_matched(bounds, middles)
        found, known = found + len(bounds), known + len(middles)
        frames = {
            frame
            for clip in clips.get(name, [])
            for shot in clip.shots
            for frame in range(shot.source_start_frame, shot.source_stop_frame)
        }
        gone = {
            frame
            for clip in clips.get(name, [])
            for part in clip.removed
            for frame in range(part.start_frame, part.stop_frame)
        }
        held += len(frames & each.mixed)
        num_mixed, listed_mixed = num_mixed + len(each.mixed), listed_mixed + len(gone & each.mixed)
        num_removed += len(gone)
    return {
        "films": sum(each.kind.startswith(kind) for each in truth.values()),
        "bounds": known,
        "recall": right / known if known else None,
        "precision": right / found if found else None,
        "transition_frames": num_mixed,
        "transition_frames_held": held,
        "transition_frames_listed": listed_mixed,
        "clean_frames_removed": num_removed - listed_mixed,
    }


def _bounds(clip: Clip) -> list[float]:
    """Where shots meet, in frames of the film: the middle of what was taken out between them."""
    return [
        (before.source_stop_frame + after.source_start_frame) / 2
        for before, after in zip(clip.shots, clip.shots[1:], strict=False)
    ]


def _count_matched(found: list[float], known: list[float], tolerance: float = 1.0) -> int:
    left, count = sorted(found), 0
    for place in sorted(known):
        near = [each for each in left if abs(each - place) <= tolerance]
        if near:
            left.remove(near[0])
            count += 1
    return count


def _score_marked(shared: Path, clips: dict[str, list[Clip]]) -> Results:
    """Hold real clips against the cuts that their authors marked; detectors were chosen with these in sight."""
    found = known = right = 0
    for each in read_manifest(shared / "manifest.csv", [shared]):
        if each.marked_cuts_frame is None or each.name not in clips:
            continue
        bounds = [round(bound) for clip in clips.get(each.name, []) for bound in _bounds(clip)]
        seen = agreement(bounds, each.marked_cuts_frame, tolerance_frame=1)
        right += round(seen.recall * len(each.marked_cuts_frame)) if each.marked_cuts_frame else 0
        found, known = found + len(bounds), known + len(each.marked_cuts_frame)
    return {
        "bounds": known,
        "recall": right / known if known else None,
        "precision": right / found if found else None,
    }


def measure_kills(config: Results, shared: Path, work: Path) -> Results:
    """Kill a build at random moments and go on: the tables are those of a build that was left alone, byte for byte."""
    films = work / "films"
    films.mkdir(parents=True)
    for seed in range(config["films"]):
        scene = sample_scene(seed, num_shots=2, num_frames=33, min_shot_latent_frames=3)
        write_video(films / f"{seed}.mp4", render(scene, height=64, width=96), 16)
    settings = Settings(shortest_clip_s=1, least_side=48, join_likeness=-1, shortest_shot_s=0.3)
    build_dataset(
        films, work / "warm", settings=settings, executor="serial"
    )  # what is loaded once is loaded now
    began = time.monotonic()
    build_dataset(films, work / "whole", settings=settings, executor="serial")
    took_s, rng = time.monotonic() - began, random.Random(config["seed"])
    same = killed = 0
    for trial in range(config["trials"]):
        out = work / f"killed-{trial}"
        child = _fork(lambda out=out: build_dataset(films, out, settings=settings, executor="serial"))
        time.sleep(rng.uniform(0, took_s))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        os.waitpid(_fork(lambda out=out: build_dataset(films, out, settings=settings, executor="serial")), 0)
        same += _are_same(work / "whole", out)
    return {
        "trials": config["trials"],
        "killed_on_the_way": killed,
        "same_bytes": same,
        "whole_run_s": took_s,
    }


def _fork(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return child


def _are_same(one: Path, other: Path) -> bool:
    tables = all((one / name).read_bytes() == (other / name).read_bytes() for name in TABLES)
    clips = [sorted(path.relative_to(each) for path in each.glob("clips/*/*.mp4")) for each in (one, other)]
    left = list(other.rglob("*.partial"))
    return (
        tables
        and clips[0] == clips[1]
        and not left
        and all((one / name).read_bytes() == (other / name).read_bytes() for name in clips[0])
    )


def measure_memory(config: Results, shared: Path, work: Path) -> Results:
    """Build out of a thousand short files and watch the memory of the process while they go by."""
    films = work / "films"
    films.mkdir(parents=True)
    for index in range(config["files"]):
        path = films / f"{index:04d}.mp4"
        if index < config["different"]:
            scene = sample_scene(index, num_shots=1, num_frames=9)
            write_video(path, render(scene, height=64, width=64), 16)
        else:
            shutil.copy(films / f"{index % config['different']:04d}.mp4", path)
    settings = Settings(shortest_clip_s=0.5, least_side=48, join_likeness=-1, shortest_shot_s=0.2)
    mebibytes: dict[int, float] = {}

    def watch(done: int, total: int) -> None:
        if done in (50, 100, 250, 500, 750, config["files"]):
            mebibytes[done] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    build_dataset(films, work / "out", settings=settings, executor="serial", on_progress=watch)
    rows = sum(1 for _ in read_sources(work / "out"))
    return {"files": rows, "peak_mib_after_files": mebibytes}


def measure_executors(config: Results, shared: Path, work: Path) -> Results:
    """Build the same films with each executor, with Ray where it is installed: the same bytes."""
    films = work / "films"
    films.mkdir(parents=True)
    for seed in range(4):
        scene = sample_scene(seed, num_shots=2, num_frames=49, min_shot_latent_frames=5)
        write_video(films / f"{seed}.mp4", render(scene, height=64, width=96), 16)
    (films / "broken.mp4").write_text("no film")
    settings = Settings(shortest_clip_s=2, least_side=48, join_likeness=-1, shortest_shot_s=0.4)
    others = ["process", *(["ray"] if find_spec("ray") else [])]
    took_s = {}
    for name in ("serial", *others):
        began = time.monotonic()
        build_dataset(films, work / name, settings=settings, executor=name, processes=2)
        took_s[name] = time.monotonic() - began
    same = {name: _are_same(work / "serial", work / name) for name in others}
    return {
        "same_bytes_as_serial": same,
        "took_s": took_s,
        "ray": version("ray") if "ray" in others else None,
    }


def work_out_scale(config: Results, throughput: Results) -> Results:
    """Core-hours for the paper's number of videos, from milliseconds of a frame that were measured here."""
    stages = throughput["whole clips"]["stages_ms_per_frame"]
    frames = config["videos"] * config["minutes"] * 60 * config["fps"]
    larger = config["megapixels"] / config["measured_megapixels"]
    left = frames * config["share_left"]
    hours = {
        "join": frames * stages["join"] * larger / 3.6e6,
        "look": left * stages["look"] / 3.6e6,
        "cut": left * stages["cut"] * larger / 3.6e6,
    }
    return {
        "frames": frames,
        "core_hours": hours,
        "core_hours_in_all": sum(hours.values()),
        "how": "videos x minutes x 60 x fps frames; join and cut grow with the pixels of a frame, which is too much "
        "for join, whose detector sees 256 pixels of any film; look does not grow",
    }


PARTS = {
    "bounds": measure_bounds,
    "joins": measure_joins,
    "kills": measure_kills,
    "executors": measure_executors,
    "memory": measure_memory,
    "throughput": measure_throughput,
}


def main() -> None:
    """Run the parts that are not in the results yet, each with its configuration and the rows of this version."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="real clips with their manifest")
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    parser.add_argument("--only", nargs="*", choices=[*PARTS, "scale"], default=[*PARTS, "scale"])
    parser.add_argument("--anew", action="store_true", help="measure parts again that are there")
    parser.add_argument(
        "--quick", action="store_true", help="little of everything, into the folder, to see that it runs"
    )
    asked = parser.parse_args()
    config = tomllib.loads((HERE / "config.toml").read_text())
    path = HERE / "results.json"
    if asked.quick:
        config = {part: {**config.get(part, {}), **config["quick"].get(part, {})} for part in config}
        path = asked.work / "results.json"
        asked.work.mkdir(parents=True, exist_ok=True)
    for part in asked.only:
        results = json.loads(path.read_text()) if path.exists() else {}
        given = (config.get(part, {}), *([results["throughput"]["found"]] if part == "scale" else []))
        bound = identify(find_contract(Settings()), json.dumps(given, sort_keys=True))
        if results.get(part, {}).get("bound_to") == bound and not asked.anew:
            print(part, "is there")
            continue
        began = time.process_time()
        if part == "scale":
            found = work_out_scale(*given)
        else:
            shutil.rmtree(asked.work / part, ignore_errors=True)
            found = PARTS[part](*given, asked.shared, asked.work / part)
        entry = {
            "bound_to": bound,
            "machine": _machine(),
            "cpu_s": time.process_time() - began,
            "found": found,
        }
        results = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**results, part: entry}, indent=2) + "\n")
        print(part, json.dumps(entry, indent=2), flush=True)


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
