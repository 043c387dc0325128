"""In which layers a mask acts where nobody says."""

from __future__ import annotations

from attnscope.errors import RangeError
from attnscope.families import find
from attnscope.families.protocols import Pipeline
from attnscope.masks.presets import PUBLISHED_LAYERS
from attnscope.ranges import parse_range


def choose_layers(pipe: Pipeline, asked: str | None = None) -> list[int]:
    """Choose where masks act: the layers asked for, else those published for the architecture; all of a shallow model.

    Raises
    ------
    RangeError
        The model has no such layers.

    Examples
    --------
    >>> from attnscope.testing import tiny
    >>> choose_layers(tiny("wan"))
    [1, 2]
    """
    family = find(pipe)
    labels = [site.layer for site in family.sites(family.first_denoiser(pipe)) if site.kind == "self"]
    if asked is not None:
        return list(parse_range(asked, labels, name="layers"))
    try:
        return list(parse_range(PUBLISHED_LAYERS[family.architecture], labels, name="layers"))
    except RangeError:
        return labels
