"""Model families: what is known of each, and which one a loaded pipeline belongs to.

Importing this loads torch but no model library; a family is recognised by the name of its classes.
"""

from __future__ import annotations

from typing import Any

from attnscope.errors import UnsupportedModelError
from attnscope.families._base import DenoiserInput, EncodedText, Family, Site
from attnscope.families.wan import Wan

FAMILIES: tuple[Family, ...] = (Wan(),)


def find(model: Any) -> Family:
    """Say which family of video models a loaded pipeline (or its denoiser) belongs to.

    Raises
    ------
    UnsupportedModelError
        If no family knows the class; the message names the classes that are known.

    >>> find("a string")
    Traceback (most recent call last):
    ...
    attnscope.errors.UnsupportedModelError: expected a video model out of WanPipeline, WanTransformer3DModel, \
got str, in families.find; load one of them
    """
    classes = {kind.__name__ for kind in type(model).__mro__}
    for family in FAMILIES:
        if classes.intersection(family.models):
            return family
    known = ", ".join(name for family in FAMILIES for name in family.models)
    raise UnsupportedModelError(
        f"expected a video model out of {known}, got {type(model).__name__}, in families.find; load one of them"
    )


__all__ = ["FAMILIES", "DenoiserInput", "EncodedText", "Family", "Site", "Wan", "find"]
