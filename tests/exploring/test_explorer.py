"""The explorer in a real browser: clicks, sliders, keys and two stores, read back from its pixels."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from attnscope import structure
from attnscope.exploring.packing import pack
from attnscope.exploring.report import write_report

OpenPage = Callable[..., Any]

STATE = """() => { const e = document.getElementById("explorer").explorer;
  return { ...e.at, head: e.head, view: e.view, pair: e.pair, hovered: e.hovered } }"""
PIXEL = """([place, query, key]) => { const e = document.getElementById("explorer").explorer, map = e.maps[place];
  const ratio = window.devicePixelRatio, at = (frame) => (frame + 0.3) * map.cell;
  return [...map.canvas.getContext("2d").getImageData(Math.round(ratio * (map.left + at(key))),
    Math.round(ratio * (map.top + at(query))), 1, 1).data].slice(0, 3) }"""
PLACE = """([place, query, key]) => { const e = document.getElementById("explorer").explorer, map = e.maps[place];
  return [map.left + (key + 0.5) * map.cell, map.top + (query + 0.5) * map.cell] }"""
CELL = """([layer, head]) => {
  const { left, top, across, down, cell } = document.getElementById("explorer").explorer.grid;
  return [left + head * across + cell / 2, top + layer * down + cell / 2] }"""


@pytest.fixture
def report(tmp_path: Path, plain: xr.Dataset, masked: xr.Dataset, films: list[np.ndarray]) -> Path:
    return write_report(plain, tmp_path / "two.html", compare=masked, video=films)


def move(page: Any, selector: str, place: list[float], *, click: bool = False) -> None:
    position = {"x": place[0], "y": place[1]}
    target = page.locator(selector)
    target.click(position=position) if click else target.hover(position=position)


def expected_colour(datasets: list[xr.Dataset], which: int, share: float) -> np.ndarray:
    indices = [pack(each, name="").index for each in datasets]
    low, high = min(each["scale"][0] for each in indices), max(each["scale"][1] for each in indices)
    table = np.frombuffer(b64decode(indices[which]["colours"]["mass"]), np.uint8).reshape(256, 3)
    return table[int(np.clip(1 + round(253 * (np.log(share) - low) / (high - low)), 1, 254))].astype(int)


def test_it_opens_at_the_head_that_follows_the_cuts_most(
    report: Path, open_page: OpenPage, plain: xr.Dataset
) -> None:
    state = open_page(report).evaluate(STATE)
    r = structure.adjusted_r(plain, over=("step",)).isel(prompt=0, branch=0).transpose("layer", "head").values
    assert (state["layer"], state["head"]) == np.unravel_index(r.argmax(), r.shape)


def test_a_click_pins_a_head_and_its_map_has_the_colours_of_its_numbers(
    report: Path, open_page: OpenPage, plain: xr.Dataset, masked: xr.Dataset
) -> None:
    page = open_page(report)
    move(page, "canvas.atlas", page.evaluate(CELL, [2, 1]), click=True)
    page.mouse.move(0, 0)
    state = page.evaluate(STATE)
    assert (state["layer"], state["head"], state["hovered"]) == (2, 1, None)
    assert "layer 3, head 1 (blocks.2.attn1), pinned" in page.inner_text("#explorer h3")
    for which, dataset in enumerate((plain, masked)):
        mean = dataset.mass.values.astype(np.float64).mean(axis=1)[0, 0, 2, 1]
        for query, key in ((0, 0), (7, 1), (1, 8)):
            seen = np.array(page.evaluate(PIXEL, [which, query, key]))
            wanted = expected_colour([plain, masked], which, mean[query, key])
            assert np.abs(seen - wanted).max() <= 3, (which, query, key)


def test_the_difference_is_red_where_the_second_looks_more(
    report: Path, open_page: OpenPage, plain: xr.Dataset, masked: xr.Dataset
) -> None:
    page = open_page(report)
    move(page, "canvas.atlas", page.evaluate(CELL, [0, 0]), click=True)
    page.mouse.move(0, 0)
    means = [each.mass.values.astype(np.float64).mean(axis=1)[0, 0, 0, 0] for each in (plain, masked)]
    ratio = means[1] / means[0]
    for query, key in (
        np.unravel_index(ratio.argmax(), ratio.shape),
        np.unravel_index(ratio.argmin(), ratio.shape),
    ):
        red, _, blue = page.evaluate(PIXEL, [2, int(query), int(key)])
        assert (red > blue) == (ratio[query, key] > 1)


def test_pointing_at_a_map_says_the_share_and_shows_the_frames(
    report: Path, open_page: OpenPage, plain: xr.Dataset
) -> None:
    page = open_page(report)
    move(page, "canvas.atlas", page.evaluate(CELL, [1, 0]), click=True)
    move(page, "canvas.map >> nth=0", page.evaluate(PLACE, [0, 5, 2]))
    words = page.inner_text(".readout")
    share = 100 * plain.mass.values.astype(np.float64).mean(axis=1)[0, 0, 1, 0, 5, 2]
    said = float(words.split("first ")[1].split(" %")[0])
    assert abs(said / share - 1) < 0.03
    assert "query frame 5" in words
    captions = page.locator(".pictures figcaption").all_inner_texts()
    # latent 5 covers video frames 17 to 20, latent 2 covers 5 to 8
    assert captions == ["query frame 5: video frames 17–20", "key frame 2: video frames 5–8"]
    grey = page.evaluate(
        "() => document.querySelector('.pictures canvas').getContext('2d').getImageData(8, 20, 1, 1).data[0]"
    )
    assert abs(grey - 7 * 17) <= 4
    page.mouse.move(0, 0)
    assert page.locator(".pictures figcaption").count() == 0


def test_the_slider_and_the_keys_go_through_steps(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    assert page.inner_text(".steps output") == "mean over steps"
    before = page.evaluate(PIXEL, [0, 3, 3])
    page.locator(".steps input").fill("2")
    assert page.evaluate(STATE)["step"] == 2
    assert page.inner_text(".steps output") == "1 (σ 0.50)"
    page.mouse.move(0, 0)
    assert page.evaluate(PIXEL, [0, 3, 3]) != before
    page.locator("canvas.atlas").focus()
    page.keyboard.press("Home")
    assert page.evaluate(STATE)["step"] == 0
    page.keyboard.press(".")
    assert page.evaluate(STATE)["step"] == 1


def test_arrows_move_the_pin_and_stop_at_the_edge(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    move(page, "canvas.atlas", page.evaluate(CELL, [0, 0]), click=True)
    for key, layer, head in (
        ("ArrowUp", 0, 0),
        ("ArrowDown", 1, 0),
        ("ArrowRight", 1, 1),
        ("ArrowRight", 1, 2),
        ("ArrowRight", 1, 2),
    ):
        page.keyboard.press(key)
        state = page.evaluate(STATE)
        assert (state["layer"], state["head"]) == (layer, head), key
    assert "mean over heads" in page.inner_text("#explorer h3")


def test_arrows_on_a_map_move_the_pair_and_escape_lets_go(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    page.locator("canvas.map").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(STATE)["pair"] == {"query": 1, "key": 1}
    page.keyboard.press("Escape")
    assert page.evaluate(STATE)["pair"] is None


def test_another_film_has_its_own_cuts_and_maps(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    before = page.evaluate(PIXEL, [0, 2, 6])
    page.locator("canvas.atlas").focus()
    page.keyboard.press("p")
    assert page.evaluate(STATE)["prompt"] == 1
    assert page.evaluate(PIXEL, [0, 2, 6]) != before
    assert "film 1 </script>" in page.locator("#explorer select").first.evaluate(
        "e => e.selectedOptions[0].text"
    )
    assert page.title() == "first and second"


def test_the_film_plays_at_its_speed_and_marks_what_its_frame_looks_at(
    report: Path, open_page: OpenPage
) -> None:
    page = open_page(report)
    page.locator(".player .screen:visible").wait_for()
    grey = """() => document.querySelector(".player .screen").getContext("2d").getImageData(8, 8, 1, 1).data[0]"""
    edge = """([row]) => { const { canvas, left, top, cell } = document.getElementById("explorer").explorer.maps[0];
      const context = canvas.getContext("2d"), at = [left + cell / 2, Math.round(top + row * cell)];
      const [red, , blue] = context.getImageData(...at, 1, 1).data;
      return red - blue }"""
    unmarked = page.evaluate(edge, [5])
    page.locator(".player input").fill("20")
    assert abs(page.evaluate(grey) - 7 * 20) <= 4
    assert page.inner_text(".player output") == "frame 20, 1.25 s"
    assert page.evaluate(edge, [5]) > unmarked + 80  # video frame 20 is the last of latent frame 5
    page.locator("canvas.atlas").focus()
    page.keyboard.press("Space")
    page.wait_for_function("() => document.getElementById('explorer').explorer.player.frame !== 20")
    page.keyboard.press("Space")
    second_later = """() => { const { player } = document.getElementById("explorer").explorer;
      player.isPlaying = true; player.run(1000, 0, 3); player.isPlaying = false; return player.frame }"""
    assert page.evaluate(second_later) == 3 + 16
    page.keyboard.press("Escape")
    assert page.evaluate(edge, [5]) == unmarked


def test_without_a_film_there_is_no_player(tmp_path: Path, open_page: OpenPage, plain: xr.Dataset) -> None:
    page = open_page(write_report(plain, tmp_path / "bare.html"))
    assert page.locator(".player:visible").count() == 0


def test_light_and_dark_follow_the_system_and_the_button(report: Path, open_page: OpenPage) -> None:
    ground = "() => getComputedStyle(document.body).backgroundColor"
    page = open_page(report, color_scheme="dark")
    dark = page.evaluate(ground)
    page.get_by_role("button", name="light / dark").click()
    light = page.evaluate(ground)
    assert (dark, light) == ("rgb(22, 22, 28)", "rgb(255, 255, 255)")
    page.locator("canvas.atlas").focus()
    page.keyboard.press("t")
    assert page.evaluate(ground) == dark


def test_it_is_sharp_at_twice_the_pixels(report: Path, open_page: OpenPage) -> None:
    page = open_page(report, device_scale_factor=2)
    width, shown = page.evaluate(
        "() => { const c = document.querySelector('canvas.map'); return [c.width, c.clientWidth] }"
    )
    assert width == 2 * shown
    assert page.evaluate(PIXEL, [0, 3, 3]) != [0, 0, 0]


def test_on_a_narrow_screen_nothing_is_wider_than_the_screen(report: Path, open_page: OpenPage) -> None:
    page = open_page(report, viewport={"width": 420, "height": 800})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 420


def test_a_layer_that_the_second_store_lacks_is_grey_there(
    tmp_path: Path, open_page: OpenPage, plain: xr.Dataset, masked: xr.Dataset
) -> None:
    page = open_page(write_report(plain, tmp_path / "two.html", compare=masked.sel(layer=[2, 3])))
    move(page, "canvas.atlas", page.evaluate(CELL, [0, 0]), click=True)
    page.mouse.move(0, 0)
    assert page.evaluate(PIXEL, [1, 3, 3]) == [0xD4, 0xD4, 0xDA]
    page.keyboard.press("ArrowDown")
    assert page.evaluate(PIXEL, [1, 3, 3]) != [0xD4, 0xD4, 0xDA]
