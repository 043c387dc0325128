"""A model without its weights: the network that denoises, built from its configuration on a device without memory."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnscope.errors import UnknownModelError
from attnscope.models.finding import INDEX, base_of, embedded_card, require_readable
from attnscope.ranges import parse_range

if TYPE_CHECKING:
    from attnscope._types import Range
    from attnscope.families import Family
    from attnscope.families.protocols import Denoiser


def build_skeleton(name: str) -> tuple[Family, Denoiser]:
    """Build the network that denoises as `name` has it, on the device `meta`, which holds shapes and no numbers.

    Raises
    ------
    UnknownModelError
        It is no embedded model and no folder, or its configuration cannot be read.
    """
    import torch

    card = embedded_card(name)
    folder = Path(name) if card is None else base_of(card)
    family = require_readable(folder)
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    part = next(part for part in family.parts if index.get(part, [None])[0] is not None)
    place = (folder if card is None else card.path) / part
    kind = class_of(*index[part])
    try:
        config = json.loads((place / "config.json").read_text(encoding="utf-8"))
        with torch.device("meta"):
            return family, kind.from_config(config)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UnknownModelError(
            expected="the configuration of a network that denoises",
            got=f"one that cannot be built ({type(error).__name__})",
            where=f"in {place}",
            remedy="restore it",
        ) from error


def class_of(library: str, name: str) -> Any:
    """Return the class of a part as the index of a pipeline names it; ours is not known to diffusers."""
    module = "attnscope.models.lavie" if name == "LaVieUNet" else library
    return getattr(import_module(module), name)


def require_layers(name: str, layers: Range, *, what: str = "layers") -> None:
    """Refuse layers that a model on this disk does not have, before its weights are read.

    Of a model on a hub nothing is known yet.

    Raises
    ------
    RangeError
        A label that is not there, or a range that cannot be read.
    """
    if layers == "all" or not (embedded_card(name) or (Path(name) / INDEX).is_file()):
        return
    family, denoiser = build_skeleton(name)
    labels = [site.layer for site in family.sites(denoiser) if site.kind == "self"]
    parse_range(layers, labels, name=what)
