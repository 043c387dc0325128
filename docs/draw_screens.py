"""Draw the pictures of the explorer and of a table of runs in docs/pictures: `python docs/draw_screens.py`.

Attention is made with a block structure that is known, films are drawn, and both have the same cuts. Needs a Chromium.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import xarray as xr
from playwright.sync_api import Page, sync_playwright

import attnscope as scope
from attnscope.dataset import render, sample_scene
from attnscope.exploring.runs import write_runs
from attnscope.video.files import write_video

PICTURES = Path(__file__).parent / "pictures"
SCENE = sample_scene(20, num_shots=3)
FILM = render(SCENE)
FULL_SIZE = {"num_layers": 30, "num_heads": 12, "num_steps": 50}
SMALL = {"num_layers": 10, "num_heads": 4}


def make_store(contrast: float, **shape: int) -> xr.Dataset:
    """Attention that follows the cuts of the film, more or less."""
    made = scope.synthetic.block_attention(
        SCENE.plan.to_latent(), contrast=contrast, locality=0.15, noise=0.5, **shape
    )
    return made.assign_coords(text=("prompt", ["a white triangle in three shots"]))


@contextmanager
def open_page(browser: Any, path: Path, width: int, height: int, scheme: str) -> Iterator[Page]:
    """Open a page as a screen of that size shows it."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.goto(path.as_uri())
    yield page
    context.close()


def draw_explorer(
    browser: Any, path: Path, name: str, width: int, height: int, scheme: str = "light"
) -> None:
    """Photograph the explorer of a report, with the film stopped in its second shot."""
    with open_page(browser, path, width, height, scheme) as page:
        page.wait_for_selector("#explorer[data-ready]")
        page.locator(".player .screen:visible").first.wait_for()
        page.locator(".player input").fill("24")
        page.mouse.move(0, 0)
        page.evaluate("() => scrollTo(0, 0)")  # a clip is counted from the top of the page
        box = page.locator("#explorer").bounding_box()
        assert box is not None
        shown = {**box, "height": min(box["height"], height)}
        page.screenshot(path=PICTURES / name, clip=shown, full_page=True)


def draw_runs(browser: Any, folder: Path) -> None:
    """Photograph a table of three runs."""
    for name, contrast in (("plain", 2.0), ("masked", 8.0), ("soft", 4.0)):
        make_store(contrast, **SMALL).to_zarr(folder / name / "attention.zarr")
        write_video(folder / name / "video-000.mp4", FILM, SCENE.plan.fps)
    with open_page(browser, write_runs(folder, folder / "runs.html"), 1360, 470, "light") as page:
        page.get_by_role("button", name="adjusted contrast").click()
        page.screenshot(path=PICTURES / "runs.png")


def main() -> None:
    """Draw all of them."""
    program = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    with TemporaryDirectory() as folder, sync_playwright() as driver:
        at = Path(folder)
        plain, masked = make_store(2.0, **SMALL), make_store(8.0, **SMALL)
        two = scope.write_report(plain, at / "two.html", compare=masked, video=FILM)
        full = scope.write_report(make_store(4.0, **FULL_SIZE), at / "full.html", video=FILM)
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        draw_explorer(browser, two, "explorer-light.png", 1280, 900)
        draw_explorer(browser, full, "explorer-dark.png", 1280, 900, "dark")
        draw_explorer(browser, two, "explorer-narrow.png", 420, 1300)
        draw_runs(browser, at / "runs")
        browser.close()


if __name__ == "__main__":
    main()
