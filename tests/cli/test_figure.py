"""`attnscope figure`: every figure of a store, the same bytes twice, without torch; what is missing is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from numpy.typing import NDArray

from attnscope import synthetic
from attnscope.cli import main
from attnscope.cli._recipes import RECIPES
from attnscope.shots import ShotPlan
from attnscope.storage import Store, StoreHeader
from attnscope.sweeping.store import FilmKey, SweepHeader, SweepStore
from attnscope.sweeping.variants import Variant
from attnscope.video.files import write_video

ROOT = Path(__file__).parents[2]
OF_A_STORE = {"maps", "profile", "overview", "atlas", "steps", "novelty", "film", "comparison", "numbers"}


def write_store(path: Path, contrast: float) -> Path:
    plans = [ShotPlan.from_latent_frames([cut], num_frames_latent=7, fps=16).to_latent() for cut in (3, 4, 5)]
    header = StoreHeader(
        prompts=("one", "two", "three"),
        seeds=(0, 1, 2),
        num_steps=2,
        branches=("cond",),
        layers=(1, 2, 3),
        modules=tuple(f"blocks.{index}.attn1" for index in range(3)),
        stages=("",) * 3,
        heads=(0, 1),
        plans=tuple(plans),
        num_frames=7,
        stride=4,
        fps=Fraction(16),
    )
    written = Store.create(path, header)
    for prompt, plan in enumerate(plans):
        kind = {"num_layers": 3, "num_steps": 2, "noise": 0.4, "locality": 0.2, "seed": prompt}
        mass: NDArray[np.float32] = synthetic.block_attention(plan, contrast=contrast, **kind).mass.values
        for step in range(2):
            written.append(prompt, step, mass[0, step], None, 1000.0 - step, 1.0 - step / 2)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stores of the same prompts, and the film of the first one."""
    place = tmp_path_factory.mktemp("stores")
    write_store(place / "plain.zarr", 2.0)
    write_store(place / "masked.zarr", 20.0)
    film = np.random.default_rng(0).integers(0, 256, (25, 32, 48, 3), dtype=np.uint8)
    write_video(place / "film.mp4", film, Fraction(16))
    return place


def test_every_figure_is_drawn_without_torch_and_the_same_twice(folder: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked" / "torch"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise RuntimeError('a figure needs no torch')\n")
    path = os.pathsep.join([str(blocked.parent), str(ROOT), str(ROOT / "kernels")])
    beside = ["--compare", str(folder / "masked.zarr"), "--film", str(folder / "film.mp4"), "--json"]
    bytes_of = []
    for name in ("first", "second"):
        words = ["figure", "--all", str(folder / "plain.zarr"), "-o", str(tmp_path / name), *beside]
        command = [sys.executable, "-W", "error", "-m", "attnscope", *words]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert {Path(each).stem for each in document["figures"]} == OF_A_STORE
        assert set(document["left_out"]) == set(RECIPES) - OF_A_STORE
        bytes_of.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert bytes_of[0] == bytes_of[1]
    assert {name.split(".")[1] for name in bytes_of[0]} == {"pdf", "tex"}


def test_the_folder_of_a_run_is_its_store_and_the_film_in_it_is_shown(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    copytree(folder / "plain.zarr", run / "attention.zarr")
    (run / "video-001.mp4").symlink_to(folder / "film.mp4")
    out = ["-o", str(tmp_path / "film.png")]
    assert main(["figure", "film", str(run), *out]) == 2  # the first prompt has no film
    assert "expected the film, with --film" in capsys.readouterr().err
    assert main(["figure", "film", str(run), *out, "--prompt", "1"]) == 0
    beside = (tmp_path / "film.png").read_bytes()
    given = ["--film", str(folder / "film.mp4"), "--prompt", "1"]
    assert main(["figure", "film", str(folder / "plain.zarr"), *out, *given]) == 0
    assert (tmp_path / "film.png").read_bytes() == beside
    assert main(["validate", str(run)]) == main(["structure", str(run)]) == 0


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_ending_is_the_format(folder: Path, tmp_path: Path, ending: str, capsys) -> None:
    out = tmp_path / "deep" / f"atlas.{ending}"
    assert main(["figure", "atlas", str(folder / "plain.zarr"), "-o", str(out), "--venue", "cvpr"]) == 0
    assert capsys.readouterr().out.split() == [str(out)]
    assert out.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending])


def test_the_venue_is_the_width(folder: Path, tmp_path: Path) -> None:
    for venue, width in (("iclr", 5.5), ("cvpr", 6.875), ("tmlr", 6.5)):
        out = tmp_path / f"{venue}.svg"
        assert main(["figure", "maps", str(folder / "plain.zarr"), "-o", str(out), "--venue", venue]) == 0
        assert f'width="{width * 72:g}pt"' in out.read_text()


def sweep_folder(path: Path, variants: list[Variant]) -> Path:
    """A sweep of two films and one seed, where stronger variants cut more."""
    header = SweepHeader(
        model="wan-mini",
        weights="",
        rule="same_shot",
        prompts=["a", "b"],
        seeds=[0],
        num_frames=[17, 17],
        cuts_frame=[[9], [13]],
        arguments={},
    )
    store, _ = SweepStore.resume_or_create(path, header)
    for film, cut in enumerate((9, 13)):
        for place, variant in enumerate(variants):
            store.put(FilmKey(film, 0, variant), [cut] if place > film else [], {})
    return path


@pytest.mark.parametrize(
    ("variants", "names"),
    [
        (
            [Variant("none"), Variant("1", strength=1.0), Variant("4", strength=4.0), Variant("full")],
            {"effects", "dose", "grid", "effect-numbers"},
        ),
        (
            [Variant(f"{k}.{h}", layers=str(k), heads=str(h)) for k in (1, 2) for h in (0, 1)],
            {"effects", "grid", "effect-numbers"},
        ),
    ],
)
def test_a_sweep_has_figures_of_its_own(
    tmp_path: Path, variants: list[Variant], names: set[str], capsys
) -> None:
    folder = sweep_folder(tmp_path / "swept", variants)
    assert main(["figure", "--all", str(folder), "-o", str(tmp_path / "out"), "--json"]) == 0
    assert {Path(each).stem for each in json.loads(capsys.readouterr().out)["figures"]} == names


def test_the_list_says_what_each_figure_shows_and_needs(capsys) -> None:
    assert main(["figure", "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(RECIPES)
    assert main(["figure", "--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["film"]["needs"] == ["attention", "film"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["maps", "STORE"], "expected a place for the figure, got none as -o; write -o maps.pdf"),
        (["mops", "STORE", "-o", "x.pdf"], "got 'mops "),
        (["STORE", "-o", "x.pdf"], "expected one of maps, profile"),
        (["--all", "maps", "STORE", "-o", "x"], "expected a store and no name"),
        (["film", "STORE", "-o", "x.pdf"], "expected the film, with --film, got"),
        (["comparison", "STORE", "-o", "x.pdf"], "expected a second store, with --compare, got"),
        (["dose", "STORE", "-o", "x.pdf"], "expected a folder that attnscope sweep wrote"),
        (["maps", "STORE", "-o", "x.tex"], "ends in .pdf or .svg or .png, got 'x.tex' as -o; write x.pdf"),
        (["numbers", "STORE", "-o", "x.pdf"], "ends in .tex, got 'x.pdf'"),
        (["maps", "nowhere", "-o", "x.pdf"], "got nothing at nowhere"),
        (["maps", "STORE", "-o", "x.pdf", "--layers", "9"], "expected layers among 1-3, got 9"),
        (["maps", "STORE", "-o", "x.pdf", "--branch", "neg"], "expected a recorded branch, got 'neg'"),
        (["maps", "STORE", "-o", "x.pdf", "--prompt", "7"], "expected a recorded prompt, got '7'"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(
    folder: Path, tmp_path: Path, monkeypatch, words: list[str], message: str, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(folder / "plain.zarr") if word == "STORE" else word for word in words]
    assert main(["figure", *words]) == 2
    said = capsys.readouterr().err
    assert message in said.replace(str(folder), "")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
