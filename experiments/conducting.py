"""How the experiments that make films are conducted: settings, model, rows that are there already, table, picture.

Such an experiment is a folder beside this file. Its `config.toml` was written down before the first film, its `run.py`
says what is made and what of it is measured. A row is on disk as soon as it is measured: killed at any moment, the same
command goes on. Rows that were made with other settings are refused.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import attnscope as scope
from attnscope.dataset import DEFAULT_WORLD, Scene, sample_scene
from attnscope.errors import AttnscopeError, InputError
from attnscope.families import find
from attnscope.families.calling import fill_defaults, require_size
from attnscope.families.protocols import ReadsCaptions
from attnscope.intervening.layers import choose_layers
from attnscope.plots import plot_dose, plot_effects, save_figure
from attnscope.storage.disk import write_durably
from attnscope.training.clips import Data, DrawnFilms
from attnscope.training.journal import read_lines
from attnscope.video.files import fps_of

Row = dict[str, Any]
QUICK_NUM_LATENT = 7
"""Latent frames of the films of a quick run, whose pictures are the smallest that the model makes."""
SHORTEST_SHOT = 4
"""Frames that every shot of a drawn film has at least, a quarter of a short film; never less than two latent ones."""
KEY = ("condition", "caption", "seed")
"""What tells the rows of an experiment apart."""


class SizedModel:
    """A model, and films as large as it makes them: its own size, unless another one was asked for."""

    def __init__(self, pipe: Any, world: str, asked: dict[str, int], *, is_quick: bool = False) -> None:
        self.pipe, self.family, self._world = pipe, find(pipe), world
        pipe.set_progress_bar_config(disable=True)
        self.stride = self.family.temporal_stride(pipe)
        whole = fill_defaults(pipe, self.family, asked)
        if is_quick:
            few = min(int(whole["num_frames"]), self.stride * (QUICK_NUM_LATENT - 1) + 1)
            whole |= {**self.family.small_size(pipe), "num_frames": few, **asked}
        require_size(pipe, self.family, whole)
        self.num_frames, self.height, self.width = (
            int(whole[name]) for name in ("num_frames", "height", "width")
        )
        self.num_latent = self.family.num_latent_frames(pipe, self.num_frames)
        self.fps = fps_of(pipe)
        self.layers = choose_layers(pipe)
        self.preset = f"cinetrans-{self.family.architecture.lower()}"

    @property
    def size(self) -> dict[str, int]:
        """Frames, height and width, as pipelines are told them."""
        return {"num_frames": self.num_frames, "height": self.height, "width": self.width}

    @property
    def routes_captions(self) -> bool:
        """Whether each shot can read a caption of its own; else all frames read one for all shots."""
        return isinstance(self.family, ReadsCaptions)

    def invent(self, seed: int, num_shots: int) -> Scene:
        """A film in words, with its cuts; `render` draws it."""
        return sample_scene(
            seed, num_shots=num_shots, **self._drawing(), num_frames=self.num_frames, fps=self.fps
        )

    def clips(self, num: int, shots: Sequence[int], first_seed: int) -> DrawnFilms:
        """Films to train on."""
        rate = int(self.fps)
        return DrawnFilms(num, tuple(shots), self.num_frames, rate, first_seed, options=self._drawing())

    def plan_one_cut(self, number: int) -> scope.ShotPlan:
        """Two shots of two latent frames or more; the cut walks over the grid."""
        places = range(2, self.num_latent - 1)
        return scope.ShotPlan.from_latent_frames(
            [places[number % len(places)]],
            num_frames_latent=self.num_latent,
            fps=self.fps,
            stride=self.stride,
        )

    def make(self, prompt: str, plan: scope.ShotPlan, **options: Any) -> scope.Film:
        """Make one film."""
        sides = {"height": self.height, "width": self.width}
        return scope.generate(self.pipe, prompt, shots=plan, progress=False, **sides, **options)

    def _drawing(self) -> dict[str, Any]:
        shortest = max(2, min(SHORTEST_SHOT // self.stride, self.num_latent // 4))
        return {"world": self._world, "stride": self.stride, "min_shot_latent_frames": shortest}


@dataclass(frozen=True)
class Experiment:
    """The settings of a run, the rows that are there, and where its table and pictures go."""

    config: dict[str, Any]
    out: Path
    results: Path
    asked: dict[str, int]
    is_quick: bool

    def load_model(self) -> SizedModel:
        """Load the model anew; what was trained before is not in it."""
        pipe = scope.load(self.config["model"]["base"])
        return SizedModel(pipe, self.config["films"]["world"], self.asked, is_quick=self.is_quick)

    def invent(self, model: SizedModel, number: int) -> Scene:
        """The film that a caption is of; no model has seen it."""
        films = self.config["films"]
        return model.invent(films["first_seed"] + number, films["shots"][number % len(films["shots"])])

    @property
    def rows(self) -> list[Row]:
        """All that was measured; a line that a killed run left half written is none."""
        return read_lines(self.out / "rows.jsonl")

    def train(self, name: str, model: SizedModel, data: Data, **options: Any) -> Path:
        """Tune a model on films of its own size, from the last checkpoint on; returns the folder of its adapters."""
        done = scope.finetune(
            model.pipe,
            data,
            out=self.out / name,
            cache=self.out / "cache",
            on_step=lambda step, total: print(f"{name}: step {step} of {total}", flush=True),
            **model.size,
            **self.config["recipe"],
            **options,
        )
        return done.folder

    def missing(
        self, conditions: Sequence[str], captions: Sequence[int] | None = None
    ) -> Iterator[tuple[str, int, int]]:
        """Conditions, captions and seeds without a row: all conditions of a caption before the next one."""
        there, films = {tuple(row[name] for name in KEY) for row in self.rows}, self.config["films"]
        if captions is None:
            captions = range(films["num_captions"])
        for seed, caption, condition in product(range(films["seeds"]), captions, conditions):
            if (condition, caption, seed) not in there:
                yield condition, caption, seed

    def add(self, condition: str, caption: int, seed: int, **measured: Any) -> None:
        """Write a row down for good."""
        line = json.dumps({"condition": condition, "caption": caption, "seed": seed, **measured})
        with (self.out / "rows.jsonl").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
            file.flush()
            os.fsync(file.fileno())
        print(line[:200], flush=True)

    def settle(self) -> None:
        """Begin here, or go on with what began here.

        Raises
        ------
        InputError
            Another experiment began here.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        path, now = self.out / "settings.json", {**self.config, "asked": self.asked}
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else now
        for name in before.keys() | now.keys():
            if before.get(name) != now.get(name):
                raise InputError(
                    expected=f"the experiment that began here, with {name} {before.get(name)}",
                    got=f"{now.get(name)}",
                    where=f"in {self.out}",
                    remedy="give another folder as --out",
                )
        write_durably(path, json.dumps(now, indent=2).encode())
        whole = "".join(json.dumps(row) + "\n" for row in self.rows)
        write_durably(self.out / "rows.jsonl", whole.encode())

    def write(self, table: Row) -> None:
        """Write the table of all rows that are there, and print its rows."""
        whole = {"config": self.config, **table}
        self.results.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        for name, rows in table.items():
            for row in rows if isinstance(rows, list) else [{name: rows}]:
                print("  ".join(f"{key} {_in_words(value)}" for key, value in row.items()))

    def draw(
        self,
        name: str,
        rows: Sequence[Row],
        measure: str,
        *,
        along: str = "condition",
        label: str = "",
        is_share: bool = True,
    ) -> None:
        """Draw one measure of all rows with its interval: a curve where rows follow a number, else a point each."""
        told = [row for row in rows if row[measure] is not None]
        if not told:
            return
        values = {key: [row[measure][key] for row in told] for key in ("value", "low", "high", "n")}
        renamed = {"value": "mean", "n": "num"}
        effect = xr.Dataset(
            {renamed.get(key, key): (along, np.array(each, float)) for key, each in values.items()},
            {along: [row[along] for row in told]},
        )
        plot = plot_dose if np.issubdtype(effect[along].dtype, np.number) else plot_effects
        figure = plot(effect, label=label or measure.replace("_", " "), is_share=is_share)
        save_figure(figure, self.results.parent / f"{name}.png")


def conduct(
    script: str,
    sentence: str,
    make: Callable[[Experiment], None],
    summarise: Callable[[Experiment], Row],
    arguments: Sequence[str] | None = None,
) -> None:
    """Read the command line, make what is missing, write the table; what is wrong is said in one line."""
    folder = Path(script).parent
    parser = argparse.ArgumentParser(
        description=sentence, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="another model: a folder, or owner/name on the hub")
    for name in ("num-frames", "height", "width"):
        parser.add_argument(f"--{name}", type=int, help="of the films; the model's own by default")
    parser.add_argument("--config", type=Path, default=folder / "config.toml", help="other settings")
    parser.add_argument("--out", type=Path, default=Path("runs") / folder.name, help="where rows go")
    parser.add_argument("--results", type=Path, help="where the table goes; beside the rows by default")
    parser.add_argument("--table", action="store_true", help="make nothing, only the table of what is there")
    parser.add_argument("--quick", action="store_true", help="a few small films, to see that it runs")
    given = parser.parse_args(arguments)
    out = given.out / "quick" if given.quick else given.out
    sizes = {name: getattr(given, name) for name in ("num_frames", "height", "width")}
    asked = {name: value for name, value in sizes.items() if value is not None}
    config = read_config(given.config, model=given.model, quick=given.quick)
    experiment = Experiment(config, out, given.results or out / "results.json", asked, given.quick)
    try:
        experiment.settle()
        if not given.table:
            make(experiment)
        experiment.write(summarise(experiment))
    except AttnscopeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def read_config(path: Path, *, model: str | None, quick: bool) -> dict[str, Any]:
    """The settings of a file; those of its table `quick` replace others of the same name where that is asked for."""
    config = tomllib.loads(path.read_text(encoding="utf-8"))
    changes = config.pop("quick")
    config["films"].setdefault("world", DEFAULT_WORLD)
    if model is not None:
        config["model"]["base"] = model
    tables = [each for each in config.values() if isinstance(each, dict)]
    for table in tables if quick else ():
        table.update({name: value for name, value in changes.items() if name in table})
    return config


def _in_words(value: Any) -> str:
    if isinstance(value, dict) and {"value", "low", "high", "n"} <= value.keys():
        low, high = ("?" if value[end] is None else f"{value[end]:.3f}" for end in ("low", "high"))
        return f"{value['value']:.3f} [{low}, {high}] n {value['n']}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
