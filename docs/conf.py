"""How the documentation site is built (`make docs`): offline, and a warning is an error."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

import attnscope  # noqa: E402  (the tree that this page stands in, not another one that is installed)

project, author, copyright = "attnscope", "The attnscope authors", "The attnscope authors"
version = release = attnscope.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "matplotlib.sphinxext.mathmpl",
]
exclude_patterns = [
    "_build",
    "gallery",
    "**/README.rst",
    "sg_execution_times.rst",
    "gallery_of_figures/*.ipynb",
]
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
# the gallery's settings hold a function, which cannot be written into a cache, and need not be
suppress_warnings = ["config.cache"]
mathmpl_fontsize = 12.0
mathmpl_srcset = ["2x"]

html_theme = "pydata_sphinx_theme"
html_title = "attnscope"
html_show_sourcelink = False
html_sidebars = {"**": ["globaltoc.html"]}  # every page is one click away
html_theme_options = {
    "navbar_center": [],
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def draw_pages(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Take every figure of a gallery script: ours belong to no window, so the usual scraper does not see them."""
    from sphinx_gallery.scrapers import figure_rst

    from attnscope.plots import Page

    drawn = []
    for value in block_vars["example_globals"].values():
        if isinstance(value, Page):
            path = next(block_vars["image_path_iterator"])
            Path(path).write_bytes(value._repr_png_()[0])
            drawn.append(path)
    return figure_rst(drawn, gallery_conf["src_dir"])


sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "gallery_of_figures",
    "image_scrapers": (draw_pages,),
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": (),
    "write_computation_times": False,
    "show_memory": False,
    "min_reported_time": 10_000,
    "download_all_examples": False,
    "show_signature": False,
}

_CODE = re.compile(r"(?<![`:\w])`([^`\n]+)`(?![`_])")
_DISTANCE = re.compile(r"\|([^|`\n]{1,30})\|")


def write_code_as_literals(
    app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Docstrings say `name` as Markdown does, for which reStructuredText wants two backticks; |a - b| is a distance."""
    text = _CODE.sub(r"``\1``", "\n".join(lines))
    lines[:] = _DISTANCE.sub(r"\|\1\|", text).split("\n")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", write_code_as_literals, priority=100)
