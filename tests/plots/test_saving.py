"""Figures on disk: the ending decides, fonts are inside, the bytes are the same twice; in a notebook, a picture."""

from __future__ import annotations

import io
import re
import zlib
from pathlib import Path

import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from attnscope import plots, synthetic


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("maps", ["maps.png", "maps.pdf"]),
        ("maps.pdf", ["maps.pdf"]),
        ("maps.svg", ["maps.svg"]),
        ("maps.PNG", ["maps.PNG"]),
        ("v1.2", ["v1.2.png", "v1.2.pdf"]),
    ],
)
def test_the_ending_says_what_is_written(tmp_path: Path, given: str, written: list[str]) -> None:
    paths = plots.save_figure(plots.plot_maps(synthetic.example(), layers=[1], steps=[0]), tmp_path / given)
    assert [path.name for path in paths] == written
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(written)
    heads = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    assert all(path.read_bytes().startswith(heads[path.suffix.lower()]) for path in paths)


@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_the_same_bytes_twice_and_every_font_inside(tmp_path: Path, ending: str) -> None:
    first, second = (
        plots.save_figure(plots.plot_maps(synthetic.example()), tmp_path / f"{name}.{ending}")[0].read_bytes()
        for name in "ab"
    )
    assert first == second
    if ending == "svg":
        assert b"<text" not in first, "letters are outlines"
        assert b"<use" in first
    if ending == "pdf":
        fonts = _pdf_objects(first)
        described = [
            each for each in fonts if b"/FontDescriptor" in each and b"/Type /FontDescriptor" in each
        ]
        assert described
        assert all(b"/FontFile2" in each for each in described), (
            "each font that is named is embedded as TrueType"
        )
        assert b"/Type3" not in b"".join(fonts)


def _pdf_objects(data: bytes) -> list[bytes]:
    """The objects of a PDF, those in compressed streams too."""
    found = re.findall(rb"\d+ 0 obj(.*?)endobj", data, re.S)
    for stream in re.findall(rb"/ObjStm.*?stream\r?\n(.*?)endstream", data, re.S):
        found.append(zlib.decompress(stream.rstrip(b"\r\n")))
    return found


def test_a_notebook_shows_a_picture_without_being_told() -> None:
    figure = plots.plot_maps(synthetic.example(), layers=[1], steps=[0])
    shown, metadata = DisplayFormatter().format(figure)
    assert shown["image/png"].startswith(b"\x89PNG")
    with Image.open(io.BytesIO(shown["image/png"])) as picture:
        width, height = picture.size
    size = metadata["image/png"]
    assert (width, height) == pytest.approx((2 * size["width"], 2 * size["height"]), abs=2)


@pytest.mark.parametrize("venue", plots.VENUES)
def test_at_the_width_of_a_venue_nothing_is_cut_off_and_no_letter_is_below_5_points(venue: str) -> None:
    width = plots.VENUES[venue].text_in
    figure = plots.plot_maps(synthetic.example(), width_in=width)
    figure.draw_without_rendering()
    assert figure.get_size_inches()[0] == width
    box = figure.get_tightbbox()
    assert box.x0 >= 0
    assert box.x1 <= width
    texts = [text for text in figure.findobj(lambda each: hasattr(each, "get_fontsize")) if text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 5
