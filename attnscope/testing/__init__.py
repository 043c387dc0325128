"""What tests stand on: tiny models of every family, published ones at full size, attention whose answer is known."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING

from attnscope.errors import UnknownModelError, quote

if TYPE_CHECKING:
    from attnscope.families.protocols import Pipeline
    from attnscope.testing import synthetic
    from attnscope.testing.full_size import full
    from attnscope.testing.specimens import Specimen

# Each name, and the module that builds it.
TINY_MODELS = {
    "wan": "wan",
    "wan-2.2": "wan",
    "wan-i2v": "wan",
    "wan-v2v": "wan",
    "cogvideox": "cogvideox",
    "cogvideox-1.5": "cogvideox",
    "cogvideox-i2v": "cogvideox",
    "cogvideox-v2v": "cogvideox",
    "hunyuan-video": "hunyuan_video",
    "hunyuan-video-1.5": "hunyuan_video15",
    "ltx": "ltx",
    "ltx-i2v": "ltx",
    "ltx-condition": "ltx",
    "ltx-2": "ltx2",
    "mochi": "mochi",
    "skyreels": "skyreels",
    "skyreels-df": "skyreels",
    "skyreels-causal": "skyreels",
    "allegro": "allegro",
    "easyanimate": "easyanimate",
    "latte": "latte",
    "animatediff": "animatediff",
    "modelscope": "modelscope",
    "i2vgen-xl": "i2vgen_xl",
    "svd": "stable_video_diffusion",
    "lavie": "lavie",
}


def tiny(name: str) -> Pipeline:
    """Build a small video model of a family: the real classes, random weights, no knowledge.

    Everything is there that a run needs, text encoder and tokenizer included; one or two blocks, a video of a few
    latent frames and tokens, well under a second. The same call gives the same weights.

    Parameters
    ----------
    name : str
        One of `TINY_MODELS`.

    Returns
    -------
    A diffusers pipeline.

    Raises
    ------
    UnknownModelError
        No tiny model has this name.

    Examples
    --------
    >>> pipe = tiny("cogvideox")
    >>> type(pipe).__name__, len(pipe.transformer.transformer_blocks)
    ('CogVideoXPipeline', 2)
    """
    return specimen(name).build()


def specimen(name: str) -> Specimen:
    """Return how a family proves itself: its tiny model and the settings of a small run.

    Raises
    ------
    UnknownModelError
        No tiny model has this name.

    Examples
    --------
    >>> specimen("wan").num_steps
    2
    """
    if name not in TINY_MODELS:
        near = difflib.get_close_matches(name, TINY_MODELS, n=1)
        raise UnknownModelError(
            expected=f"a tiny model out of {', '.join(TINY_MODELS)}",
            got=quote(name),
            where="in testing",
            remedy=f"{f'did you mean {near[0]}?' if near else 'name one of them'}",
        )
    found: Specimen = import_module(f"attnscope.testing.{TINY_MODELS[name]}").SPECIMENS[name]
    return found


def __getattr__(name: str) -> object:
    """Import `full` and `synthetic` on first use: one needs torch, the list of tiny models needs neither."""
    if name == "full":
        return import_module("attnscope.testing.full_size").full
    if name == "synthetic":
        return import_module("attnscope.testing.synthetic")
    raise AttributeError(f"module 'attnscope.testing' has no attribute {name!r}")


__all__ = ["TINY_MODELS", "full", "specimen", "synthetic", "tiny"]
