"""Model families: what is known of each, and which one a loaded pipeline belongs to.

Importing this loads torch but no model library; a family is recognised by the name of its classes.
"""

from __future__ import annotations

from attnscope.errors import UnsupportedModelError
from attnscope.families.allegro import Allegro
from attnscope.families.animatediff import AnimateDiff
from attnscope.families.base import DenoiserCall, Family, Site
from attnscope.families.cogvideox import CogVideoX
from attnscope.families.easyanimate import EasyAnimate
from attnscope.families.hunyuan_video import HunyuanVideo
from attnscope.families.hunyuan_video15 import HunyuanVideo15
from attnscope.families.i2vgen_xl import I2VGenXL
from attnscope.families.latte import Latte
from attnscope.families.lavie import LaVie
from attnscope.families.ltx import LTX
from attnscope.families.ltx2 import LTX2
from attnscope.families.mochi import Mochi
from attnscope.families.modelscope import ModelScope
from attnscope.families.protocols import EncodedText
from attnscope.families.skyreels import SkyReels
from attnscope.families.stable_video_diffusion import StableVideoDiffusion
from attnscope.families.wan import Wan

FAMILIES: tuple[Family, ...] = (
    Wan(),
    SkyReels(),
    CogVideoX(),
    HunyuanVideo(),
    HunyuanVideo15(),
    LTX(),
    LTX2(),
    Mochi(),
    Allegro(),
    EasyAnimate(),
    Latte(),
    AnimateDiff(),
    ModelScope(),
    I2VGenXL(),
    StableVideoDiffusion(),
    LaVie(),
)


# Video models whose attention is linear: they have no softmax, so nothing is a share of anything.
LINEAR = (
    "SanaVideoPipeline",
    "SanaImageToVideoPipeline",
    "SanaVideoTransformer3DModel",
    "SanaWMPipeline",
    "SanaWMTransformer3DModel",
)


def find(model: object) -> Family:
    """Say which family of video models a loaded pipeline (or its denoiser) belongs to.

    Raises
    ------
    UnsupportedModelError
        If no family knows the class (the message names the families that are known), or its attention is linear.

    Examples
    --------
    >>> find("a string")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    attnscope.errors.UnsupportedModelError: expected a video model of the families Wan, SkyReels-V2, ..., got str in \
families.find; load one of them
    """
    classes = {kind.__name__ for kind in type(model).__mro__}
    if classes.intersection(LINEAR):
        raise UnsupportedModelError(
            expected="a model with softmax attention",
            got=f"{type(model).__name__}, whose attention is linear",
            where="in families.find",
            remedy="no frame has a share of it, take another model",
        )
    for family in FAMILIES:
        if classes.intersection(family.models):
            return family
    raise UnsupportedModelError(
        expected=f"a video model of the families {', '.join(family.name for family in FAMILIES)}",
        got=f"{type(model).__name__}",
        where="in families.find",
        remedy="load one of them",
    )


__all__ = [
    "FAMILIES",
    "LTX",
    "LTX2",
    "Allegro",
    "AnimateDiff",
    "CogVideoX",
    "DenoiserCall",
    "EasyAnimate",
    "EncodedText",
    "Family",
    "HunyuanVideo",
    "HunyuanVideo15",
    "I2VGenXL",
    "LaVie",
    "Latte",
    "Mochi",
    "ModelScope",
    "Site",
    "SkyReels",
    "StableVideoDiffusion",
    "Wan",
    "find",
]
