"""Stop commands at random moments, by SIGKILL and by Ctrl-C, and see whether anything that was done is lost.

    python experiments/crash_safety/run.py [--kills 100] [--interrupts 60] [--out results.json]

Five commands are stopped: probe, sweep, score, generate and reference build. Each works in a child process until a
signal comes at a random moment of its run, and goes on in the next child, until it is done. After each signal, what was
there before must still be there, byte for byte; in the end every file must be the one that an undisturbed run writes.
After Ctrl-C there must be one line on stderr and exit code 130. Prints what was found as JSON; exit code 1 if anything
was lost, differs, or was said otherwise. POSIX only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from attnscope.cli import main as attnscope
from attnscope.dataset import render, sample_scene
from attnscope.storage import Store, validate_store
from attnscope.testing import tiny
from attnscope.video import write_video

SMALL = ("--height", "32", "--width", "32", "--num-inference-steps", "3")
SHOTS = ("--shots", "0-9f,9-17f")
SAID = "attnscope: interrupted; the same command goes on where this one stopped"
Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Work:
    """One command: its words, and the files by which it says that a part of the work is done."""

    name: str
    words: tuple[str, ...]
    acknowledged: Callable[[Path], Files]


@dataclass(frozen=True)
class End:
    """How a child ended, and what it said on stderr."""

    status: int
    said: tuple[str, ...]

    def is_stopped_by(self, stop: int) -> bool:
        """Whether the signal came before the command had ended by itself."""
        if stop == signal.SIGKILL:
            return os.WIFSIGNALED(self.status)
        return os.WIFEXITED(self.status) and os.WEXITSTATUS(self.status) == 130


def list_works(folder: Path, films: Path) -> tuple[Work, ...]:
    """The five commands, each of several parts where it has parts."""
    tiny("wan").save_pretrained(folder / "model")
    model = ("--model", str(folder / "model"))
    prompts = folder / "prompts.txt"
    prompts.write_text("One shot: a red ball\nOne shot: a blue star\n")
    made = (*model, "--prompt", "a red ball", *SHOTS, *SMALL)
    scored = ("--detector", "content", "--jobs", "1")
    return (
        Work(
            "probe",
            ("probe", "--prompts", str(prompts), "--num-frames", "17", *model, *SMALL, "--out", "out"),
            stored,
        ),
        Work(
            "sweep",
            ("sweep", "layers", "--values", "1;2", "--layers", "1-2", *made, "--out", "out"),
            filmed,
        ),
        Work("score", ("score", str(films), *scored, "--out", "out"), kept),
        Work("generate", ("generate", *made, "--layers", "1-2", "--out", "film.mp4"), lambda place: {}),
        Work("reference build", ("reference", "build", str(films), *scored, "--out", "reference.json"), kept),
    )


def stored(place: Path) -> Files:
    """The steps that a store says it holds, each with all its bytes.

    Raises
    ------
    RuntimeError
        What is there is no sound store.
    """
    path = place / "out" / "attention.zarr"
    if not path.exists():
        return {}
    if wrong := validate_store(path):
        raise RuntimeError(f"after a signal the store has {wrong[0]}")
    store = Store.open(path)
    done = [
        (p, s) for p in range(len(store.header.prompts)) for s in store.header.steps if store.is_done(p, s)
    ]
    chunks = [
        path / f"{name}/c.{p}.{s}{rest}" for p, s in done for name, rest in (("mass", ".0" * 5), ("done", ""))
    ]
    return {str(file.relative_to(place)): file.read_bytes() for file in chunks}


def filmed(place: Path) -> Files:
    """The films of a sweep that were looked at."""
    return {file.name: file.read_bytes() for file in place.glob("out/films/*.json")}


def kept(place: Path) -> Files:
    """The rows that score keeps."""
    return {file.name: file.read_bytes() for file in place.glob("**/rows/*.json")}


def results(place: Path) -> Files:
    """Every file that a command has written, but for the root of a store, which holds a time of day."""
    every = sorted(
        file for file in place.rglob("*") if file.is_file() and file.name not in ("said", "printed")
    )
    return {
        str(file.relative_to(place)): file.read_bytes() for file in every if file.parent.suffix != ".zarr"
    }


def run(words: Sequence[str], place: Path, stop: int | None = None, after_s: float = 0.0) -> End:
    """Run a command in a child, in the folder ``place``; stop it after a while, if it has not ended by then."""
    place.mkdir(exist_ok=True)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir(place)
            for number, name in ((1, "printed"), (2, "said")):
                os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
            # a shell that runs this in the background has Ctrl-C ignored
            signal.signal(signal.SIGINT, signal.default_int_handler)
            code = attnscope(words)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)  # whatever happens, the child must not go on as a second parent
    if stop is not None:
        time.sleep(after_s)
        os.kill(child, stop)
    _, status = os.waitpid(child, 0)
    end = End(status, tuple((place / "said").read_text().splitlines()))
    is_done = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
    if not is_done and (stop is None or not end.is_stopped_by(stop)):
        raise RuntimeError(f"`{' '.join(words)}` failed by itself in {place}: {' '.join(end.said[-1:])}")
    return end


def trial(work: Work, stops: Sequence[int], folder: Path, rng: random.Random) -> dict[str, int]:
    """Stop a command by each of these signals; count what was lost."""
    start = time.perf_counter()
    run(work.words, folder / "whole")
    duration_s = time.perf_counter() - start
    print(f"{work.name}: {duration_s:.1f} s undisturbed", file=sys.stderr, flush=True)
    truth = results(folder / "whole")
    found = dict.fromkeys(
        (
            "kills",
            "interrupts",
            "parts_acknowledged",
            "parts_lost",
            "completed",
            "that_differ",
            "said_otherwise",
        ),
        0,
    )
    place, waiting = folder / "stopped-0", list(stops)
    while waiting:
        before = work.acknowledged(place)
        end = run(work.words, place, waiting[0], rng.uniform(0.02, 0.95) * duration_s)
        after = work.acknowledged(place)
        found["parts_acknowledged"] += len(before)
        found["parts_lost"] += sum(after.get(name) != content for name, content in before.items())
        if end.is_stopped_by(waiting[0]):
            is_kill = waiting.pop(0) == signal.SIGKILL
            found["kills" if is_kill else "interrupts"] += 1
            found["said_otherwise"] += not is_kill and end.said != (SAID,)
        else:
            compare(place, truth, found)
            place = folder / f"stopped-{found['completed']}"
    run(work.words, place)
    compare(place, truth, found)
    return found


def compare(place: Path, truth: Files, found: dict[str, int]) -> None:
    """Hold what was stopped and gone on with against the undisturbed run."""
    found["completed"] += 1
    there = results(place)
    if different := sorted(name for name in {*there, *truth} if there.get(name) != truth.get(name)):
        found["that_differ"] += 1
        print(
            f"{place.parent.name}: {', '.join(different)} of {place.name} differ", file=sys.stderr, flush=True
        )


@contextmanager
def draw_films(num_films: int) -> Iterator[tuple[Path, Path]]:
    """A folder to work in, and one with films to score."""
    with tempfile.TemporaryDirectory() as name:
        films = Path(name) / "films"
        films.mkdir()
        for seed in range(num_films):
            frames = render(sample_scene(seed, num_shots=2, num_frames=24), height=64, width=64)
            write_video(films / f"{seed}.mp4", frames, 16)
        yield Path(name), films


def main() -> int:
    """Run all trials in a temporary folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--interrupts", type=int, default=60)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*", help="some of the five commands")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)  # a forked child cannot use the parent's thread pool
    rng = random.Random(0)
    found: dict[str, dict[str, int]] = {}
    with draw_films(4) as (folder, films):
        every = list_works(folder, films)
        each = [work for work in every if not arguments.only or work.name in arguments.only]
        for number, work in enumerate(each):
            stops = [
                stop
                for stop, count in ((signal.SIGKILL, arguments.kills), (signal.SIGINT, arguments.interrupts))
                for _ in range(number, count, len(each))
            ]
            rng.shuffle(stops)
            (folder / work.name).mkdir()
            found[work.name] = trial(work, stops, folder / work.name, rng)
            print(work.name, found[work.name], file=sys.stderr, flush=True)
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")
    wrong = ("parts_lost", "that_differ", "said_otherwise")
    return int(any(counts[name] for counts in found.values() for name in wrong))


if __name__ == "__main__":
    sys.exit(main())
