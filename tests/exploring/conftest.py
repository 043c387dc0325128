"""Two stores of the same films, and a browser that is not let into any network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from attnscope import schema, synthetic
from attnscope.shots import ShotPlan

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CUTS = ([4], [2, 6], [5])
HOSTILE = "</script><script>document.title = 'broken'</script>"


def make_run(contrast: float, seed: int = 0, **options: Any) -> xr.Dataset:
    """Three films with different cuts, three layers, two heads, two steps; prompts that would break a careless page."""
    plans = [ShotPlan.from_latent_frames(cuts, num_frames_latent=9, fps=16).to_latent() for cuts in CUTS]
    shape = {"num_layers": 3, "num_heads": 2, "num_steps": 2, **options}
    films = [
        synthetic.block_attention(
            plan, contrast=contrast, locality=0.2, noise=0.5, seed=seed + place, **shape
        )
        for place, plan in enumerate(plans)
    ]
    bare = [
        film.drop_vars(["query_shot", "key_shot"]).assign_coords(
            prompt=[place], seed=("prompt", [place]), text=("prompt", [f"film {place} {HOSTILE}"])
        )
        for place, film in enumerate(films)
    ]
    return schema.with_shots(xr.concat(bare, "prompt"), plans)


@pytest.fixture(scope="session")
def plain() -> xr.Dataset:
    return make_run(1.3)


@pytest.fixture(scope="session")
def masked() -> xr.Dataset:
    return make_run(6.0, seed=50)


@pytest.fixture(scope="session")
def films() -> list[np.ndarray]:
    """Every frame of every film is one grey, its number: what is shown can be read off."""
    return [
        np.full((33, 24, 32, 3), 0, np.uint8) + np.arange(33, dtype=np.uint8)[:, None, None, None] * 7
        for _ in CUTS
    ]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    program = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page; what it writes to the console and whatever it asks of a network are failures."""
    contexts, complaints = [], []

    def complain(words: str) -> None:
        # reading pixels back is what the tests do, and Chromium has advice about it
        if "readback" not in words:
            complaints.append(words)

    def is_outside(url: str) -> bool:
        return not url.startswith(("file:", "data:", "blob:"))

    def open_it(path: Path, *, waits_for: str = "#explorer[data-ready]", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 1000}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complain(said.text))
        page.on("pageerror", lambda error: complain(str(error)))
        page.on("request", lambda asked: complain(asked.url) if is_outside(asked.url) else None)
        page.goto(path.as_uri())
        page.wait_for_selector(waits_for, state="attached")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []
