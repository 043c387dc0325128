"""A report is one file that lets nothing in and says what it says in words."""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64encode
from collections.abc import Callable
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from attnscope import structure, synthetic
from attnscope.cli import main
from attnscope.errors import InputError, StoreError
from attnscope.exploring.packing import pack
from attnscope.exploring.report import write_report
from attnscope.exploring.runs import write_runs
from attnscope.shots import ShotPlan
from attnscope.storage import Store, StoreHeader

OpenPage = Callable[..., Any]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, plain: xr.Dataset, masked: xr.Dataset) -> str:
    path = tmp_path_factory.mktemp("report") / "two.html"
    return write_report(plain, path, compare=masked).read_text(encoding="utf-8")


def test_the_policy_lets_in_this_style_and_script_and_nothing_else(written: str) -> None:
    policy = dict(
        part.split(" ", 1)
        for part in re.search(r'Content-Security-Policy" content="([^"]*)"', written)[1]
        .replace("&#x27;", "'")
        .split("; ")
    )
    assert policy["default-src"] == "'none'"
    for kind, pattern in (
        ("script", r'<script type="module">(.*?)</script>'),
        ("style", r"<style>(.*?)</style>"),
    ):
        (inside,) = re.findall(pattern, written, re.S)
        assert policy[f"{kind}-src"] == f"'sha256-{b64encode(sha256(inside.encode()).digest()).decode()}'"
    assert policy["img-src"] == "data:"
    assert "unsafe" not in written.split("</head>")[0]


def test_nothing_comes_from_outside(written: str) -> None:
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', written) == []


def test_a_prompt_cannot_write_into_the_page(written: str) -> None:
    assert "<script>document.title" not in written


def test_the_numbers_are_those_of_the_library(written: str, plain: xr.Dataset) -> None:
    numbers = structure.summary(plain)
    assert f"<td>{numbers['adjusted_contrast']:.3g}</td>" in written
    low, high = numbers["adjusted_contrast_ci"]
    assert f"<td>{low:.3g} to {high:.3g}</td>" in written


def test_the_difference_is_that_of_compare(written: str, plain: xr.Dataset, masked: xr.Dataset) -> None:
    over = ("step", "head", "layer")
    found = structure.compare(
        structure.mean_map(plain.sel(branch="cond"), over),
        structure.mean_map(masked.sel(branch="cond"), over),
    )
    assert (
        f"<td>{float(found['change']):.3g}</td><td>{float(found['low']):.3g} to {float(found['high']):.3g}</td>"
        in written
    )


def test_films_of_other_prompts_are_not_compared_in_pairs(
    tmp_path: Path, plain: xr.Dataset, masked: xr.Dataset
) -> None:
    other = masked.assign_coords(seed=("prompt", [7, 8, 9]))
    page = write_report(plain, tmp_path / "two.html", compare=other).read_text(encoding="utf-8")
    assert "No paired difference: expected films with a prompt and seed that both have" in page


def test_controls_stand_beside_the_numbers(written: str, plain: xr.Dataset) -> None:
    numbers = structure.summary(plain)
    assert f"distance alone makes {numbers['contrast_distance_only']:.3g}" in written
    assert (
        f"p = {numbers['p']:.3g}: the share of arrangements in which cuts move within their films" in written
    )


def test_the_same_store_gives_the_same_bytes(
    tmp_path: Path, plain: xr.Dataset, films: list[np.ndarray]
) -> None:
    first, second = (
        write_report(plain, tmp_path / name, video=films).read_bytes() for name in ("a.html", "b.html")
    )
    assert first == second


def test_a_store_without_cuts_is_shown_and_says_so(tmp_path: Path) -> None:
    plan = ShotPlan.from_latent_frames([], num_frames_latent=6, fps=16).to_latent()
    page = write_report(synthetic.block_attention(plan), tmp_path / "one.html").read_text(encoding="utf-8")
    assert "no cut is known, so there is nothing to measure against" in page


def test_where_there_is_no_p_there_is_the_reason(tmp_path: Path, plain: xr.Dataset) -> None:
    page = write_report(plain.isel(prompt=[0]), tmp_path / "one.html").read_text(encoding="utf-8")
    assert "No p: one film: only" in page


@pytest.mark.parametrize("name", ["report.pdf", "report"])
def test_another_ending_is_refused(tmp_path: Path, plain: xr.Dataset, name: str) -> None:
    with pytest.raises(InputError, match=re.escape("write report.html")):
        write_report(plain, tmp_path / name)


def test_stores_that_share_no_layer_are_refused(tmp_path: Path, plain: xr.Dataset) -> None:
    with pytest.raises(
        InputError, match="expected two stores that share a layer, got layers 1-1 and layers 2-3"
    ):
        write_report(plain.sel(layer=[1]), tmp_path / "a.html", compare=plain.sel(layer=[2, 3]))


def test_more_films_than_prompts_are_refused(
    tmp_path: Path, plain: xr.Dataset, films: list[np.ndarray]
) -> None:
    with pytest.raises(InputError, match="at most one film for each of 3 prompts, got 4"):
        write_report(plain, tmp_path / "a.html", video=[*films, films[0]])


def keep(dataset: xr.Dataset, path: Path) -> None:
    """Write a dataset as a run would have."""
    plans = [
        ShotPlan.from_latent_frames(cuts, num_frames_latent=9, fps=16).to_latent()
        for cuts in (prompt["cuts"] for prompt in pack(dataset, name="").index["prompts"])
    ]
    names = {"seeds": "seed", "branches": "branch", "layers": "layer", "modules": "module", "stages": "stage"}
    header = StoreHeader(
        prompts=tuple(dataset.text.values.tolist()),
        heads=tuple(dataset["head"].values.tolist()),
        num_steps=dataset.sizes["step"],
        plans=tuple(plans),
        num_frames=9,
        stride=4,
        fps=Fraction(16),
        attrs={"model": "synthetic"},
        **{name: tuple(dataset[coord].values.tolist()) for name, coord in names.items()},
    )
    path.parent.mkdir(parents=True)
    store = Store.create(path, header)
    for prompt in range(dataset.sizes["prompt"]):
        for step in range(dataset.sizes["step"]):
            mass = dataset.mass.values[prompt, step]
            store.append(prompt, step, mass, None, timestep=999.0 - step, sigma=1.0 - step / 2)
    store.finalise()


@pytest.fixture
def runs(tmp_path: Path, plain: xr.Dataset, masked: xr.Dataset) -> Path:
    """Two runs that can be read and one that is damaged."""
    folder = tmp_path / "runs"
    for name, dataset in (("plain", plain), ("masked", masked), ("broken", plain)):
        keep(dataset, folder / name / "attention.zarr")
    (folder / "broken" / "attention.zarr" / "zarr.json").write_text("{")
    return folder


def test_runs_are_a_table_that_sorts(tmp_path: Path, runs: Path, open_page: OpenPage) -> None:
    page = open_page(write_runs(runs, tmp_path / "runs.html"), waits_for="table.sorts")
    column = (
        "() => [...document.querySelectorAll('table.sorts tbody tr')].map((row) => row.cells[2].dataset.sort)"
    )
    assert page.evaluate(column) == ["broken", "masked", "plain"]
    page.get_by_role("button", name="adjusted contrast").click()
    assert page.evaluate(column) == ["masked", "plain", "broken"]
    page.get_by_role("button", name="adjusted contrast").click()
    assert page.evaluate(column) == ["plain", "masked", "broken"]
    assert page.locator("img.map").count() == 2


def test_a_folder_without_stores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected a store, or a folder with stores below it, got none"):
        write_runs(tmp_path, tmp_path / "runs.html")


def test_the_command_takes_a_store_the_folder_of_a_run_or_many(
    tmp_path: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ((runs / "plain" / "attention.zarr",), (runs / "plain",), (runs,)):
        target = tmp_path / "page.html"
        assert main(["report", *map(str, words), "-o", str(target), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["report"] == str(target)
    assert main(["report", str(runs), "--compare", str(runs / "plain"), "-o", str(target)]) == 2
    assert "expected one store with --compare" in capsys.readouterr().err


def test_two_stores_are_called_by_what_differs(tmp_path: Path, runs: Path) -> None:
    shutil.rmtree(runs / "broken")
    page = write_report(
        runs / "plain" / "attention.zarr", tmp_path / "a.html", compare=runs / "masked" / "attention.zarr"
    )
    assert "<title>plain and masked</title>" in page.read_text(encoding="utf-8")


def processor_s(protocol: Any) -> float:
    """What the process of a page has computed so far, in seconds of a processor."""
    metrics = protocol.send("Performance.getMetrics")["metrics"]
    return next(each["value"] for each in metrics if each["name"] == "ProcessTime")


@pytest.mark.slow
def test_a_model_of_full_size_fits_and_is_quick(tmp_path: Path, open_page: OpenPage) -> None:
    """50 steps, 30 layers, 12 heads, 21 latent frames: 12 MB, 3 s to load, 30 ms a step, no step left out.

    Both times are what the page's process computes, all its threads together: other processes share this machine, so
    that the time on a clock says nothing. Reading a pixel back makes it draw at once what it would put off.
    """
    plan = ShotPlan.from_latent_frames([7, 14], num_frames_latent=21, fps=16).to_latent()
    whole = synthetic.block_attention(
        plan, num_steps=50, num_layers=30, num_heads=12, noise=0.6, locality=0.1
    )
    path = write_report(whole, tmp_path / "wan.html")
    assert path.stat().st_size <= 12e6
    assert "left out" not in path.read_text(encoding="utf-8").split('id="explorer"')[0]
    page = open_page(path)
    assert len(page.evaluate("() => document.getElementById('explorer').explorer.first.index.steps")) == 51
    protocol = page.context.new_cdp_session(page)
    protocol.send("Performance.enable")
    before_s = processor_s(protocol)
    assert 0.1 < before_s < 3  # since it began
    page.evaluate(
        """() => { const e = document.getElementById("explorer").explorer;
        const sheets = [e.atlas, ...e.maps.map((map) => map.canvas)];
        for (let step = 1; step <= 50; step += 1) {
          e.go({ step });
          for (const sheet of sheets) sheet.getContext("2d").getImageData(0, 0, 1, 1);
        } }"""
    )
    step_ms = 1000 * (processor_s(protocol) - before_s) / 50
    assert 0.1 < step_ms < 30
