"""Published ways to hold shots apart, by name: each is a rule and the layers it was published for.

Where the publication says more than a mask can do (trained tokens, positions, sampled image tokens), the docstring
of the preset says what is left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType

from attnscope._types import Plan, Range
from attnscope.errors import MaskError, quote, suggest
from attnscope.masks.frame_rules import decay, everything, sampled
from attnscope.masks.frame_rules import first_frame as first_frame_rule
from attnscope.masks.interventions import Architecture, Intervention
from attnscope.masks.rules import MaskRule
from attnscope.masks.shot_rules import anchors, require_plan, same_shot, shot_starts, together
from attnscope.masks.text_rules import general_text, own_text, padding_text, transitions

Preset = tuple[Intervention, ...]

PUBLISHED_LAYERS: Mapping[Architecture, str] = MappingProxyType({"DiT": "7-28", "UNet": "-6:"})
"""Where CineTrans holds shots apart, by architecture."""


def preset(name: str, plan: Plan, **options: object) -> Preset:
    """Hold the shots of a film apart in a way that was published, by its name.

    Every preset takes ``layers`` to act elsewhere than it was published for; :func:`list_presets` says what each one
    shows and which other options it takes. Returns interventions for :func:`attnscope.intervene`, which refuses layers
    that were published for another architecture.

    Raises
    ------
    MaskError
        No preset has this name, or it has no such option.

    Examples
    --------
    >>> from attnscope import ShotPlan
    >>> plan = ShotPlan.from_seconds([2.5], duration=5.0, fps=16)
    >>> [each.layers for each in preset("cinetrans-dit", plan)]
    ['7-28']
    """
    require_plan(plan, "preset")
    if name not in PRESETS:
        raise MaskError(
            expected=f"a preset out of {', '.join(PRESETS)}",
            got=quote(name),
            where="as preset",
            remedy=suggest(name, PRESETS, "name one of them, or write a rule"),
        )
    build = PRESETS[name]
    known = [option for option in inspect.signature(build).parameters if option != "plan"]
    for option in options:
        if option not in known:
            raise MaskError(
                expected=f"options {', '.join(known)} of preset {name}",
                got=quote(option),
                where="in preset",
                remedy="leave it out",
            )
    return build(plan, **options)


def list_presets() -> dict[str, str]:
    """Say what each preset shows, by its name.

    >>> list_presets()["isolated"].split(":")[0]
    'Every shot for itself'
    """
    return {name: inspect.cleandoc(build.__doc__ or "") for name, build in PRESETS.items()}


def _cinetrans_dit(
    plan: Plan, *, first_frame: bool = True, padding: bool = True, layers: Range | None = None
) -> Preset:
    """CineTrans on a DiT (arXiv 2508.11484): own shot, first latent frame of the video, own and general caption.

    In layers 7-28 of a DiT.

    ``first_frame=False`` leaves the first frame to its own shot. The published code lets the padding of a visible
    caption be seen; ``padding=False`` hides it.
    """
    rule: MaskRule = same_shot(plan)
    if first_frame:
        rule = rule | first_frame_rule()
    layers, architecture = _choose_scope("DiT", layers)
    reading = rule | _own_and_general(plan, padding)
    return (Intervention(reading, layers=layers, architecture=architecture),)


def _cinetrans_unet(plan: Plan, *, layers: Range | None = None) -> Preset:
    """CineTrans on a UNet: own shot, in the last six temporal attentions in the order they run."""
    layers, architecture = _choose_scope("UNet", layers)
    return (Intervention(same_shot(plan), layers=layers, attention="self", architecture=architecture),)


def _choose_scope(architecture: Architecture, layers: Range | None) -> tuple[Range, Architecture]:
    """The layers of the publication, and in which models they are; layers that somebody chose are good for any."""
    return (PUBLISHED_LAYERS[architecture], architecture) if layers is None else (layers, "any")


def _holocine(plan: Plan, *, layers: Range = "all") -> Preset:
    """HoloCine: own shot, the first latent frame of every shot, that of the own shot twice (it is packed twice).

    Own and general caption, padding visible, in all layers.
    """
    frames = same_shot(plan) | shot_starts(plan) | shot_starts(plan, of="own", times=2)
    return (Intervention(frames | _own_and_general(plan, True), layers=layers),)


def _mask2dit(plan: Plan, *, layers: Range = "all") -> Preset:
    """Mask2DiT: all frames see all frames; the caption of a shot and its frames see each other and nothing else.

    Its segment-level condition, for prolonging a video, is no mask and is left out.
    """
    return (Intervention(everything() | own_text(plan), layers=layers),)


def _vstar(
    plan: Plan, *, width: float = 4.0, strength: float = 1.0, layers: Range = "all", steps: Range = "0-12"
) -> Preset:
    """VSTAR: scores raised near the diagonal by a Gaussian times the largest score, in the first 13 steps.

    It knows no shots. The published widths are 1, 4 and 8, by the resolution of the layer; here it is one width.
    """
    rule = decay(width, strength, by_largest=True)
    return (Intervention(rule, layers=layers, steps=steps, attention="self"),)


def _storydiffusion(
    plan: Plan, *, shots: tuple[int, ...] = (0,), share: float = 0.5, seed: int = 0, layers: Range = "all"
) -> Preset:
    """StoryDiffusion's consistent self-attention: own shot, and each frame of the anchor shots with a probability.

    Published on image tokens; here a latent frame is drawn whole, the same for everybody who looks.
    """
    rule = same_shot(plan) | (anchors(plan, *shots) & sampled(share, seed=seed))
    return (Intervention(rule, layers=layers, attention="self"),)


def _shotadapter(plan: Plan, *, layers: Range = "all") -> Preset:
    """ShotAdapter, the mask part: all frames see all frames; captions and shots, transition tokens and boundaries pair.

    The transition tokens themselves are trained and are no part of a mask.
    """
    return (Intervention(everything() | own_text(plan) | transitions(plan), layers=layers),)


def _isolate_shots(plan: Plan, *, layers: Range = "all") -> Preset:
    """Every shot for itself: own shot, own caption, as if the shots were made in separate runs and put together."""
    return (Intervention(same_shot(plan) | own_text(plan), layers=layers),)


def _hold_together(
    plan: Plan, *, factor: float = 8.0, reach: int = 0, layers: Range = "all", steps: Range = "all"
) -> Preset:
    """Nothing hidden, and shots that hold: other frames of the own shot count ``factor`` times. Of our own, no paper's.

    It takes away cuts beside those asked for (experiments/related_masks), and does not forbid those that the text asks
    for (experiments/hold_together).
    """
    rule = together(plan, factor, reach)
    return (Intervention(rule, layers=layers, steps=steps, attention="self"),)


def _own_and_general(plan: Plan, padding: bool) -> MaskRule:
    text = own_text(plan) | general_text(plan)
    return text if padding else text & ~padding_text()


CINETRANS = {"DiT": "cinetrans-dit", "UNet": "cinetrans-unet"}
"""The preset of the paper for each architecture."""

PRESETS: dict[str, Callable[..., Preset]] = {
    "cinetrans-dit": _cinetrans_dit,
    "cinetrans-unet": _cinetrans_unet,
    "holocine": _holocine,
    "mask2dit": _mask2dit,
    "vstar": _vstar,
    "storydiffusion": _storydiffusion,
    "shotadapter": _shotadapter,
    "isolated": _isolate_shots,
    "held-together": _hold_together,
}
