"""Make films with cuts where they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from attnscope._types import Arguments, Floats32, Padding, Range
from attnscope.checks import require_whole
from attnscope.errors import InputError, MaskError, quote
from attnscope.families import Family, find
from attnscope.families.calling import fill_defaults, rename_for_pipeline, require_runnable, require_size
from attnscope.families.protocols import DecodesShots, Pipeline, require
from attnscope.families.rehearsing import rehearse, run_pipeline
from attnscope.families.seeding import seed_draws
from attnscope.hooks import Attachment, join_or_attach
from attnscope.intervening.captions import ShotText, encode_captions
from attnscope.intervening.cut_check import check_cuts
from attnscope.intervening.film import Film
from attnscope.intervening.intervene import Change, intervene, interventions_of
from attnscope.intervening.masking import place
from attnscope.masks import Intervention, Sides, extent, general_text, own_text
from attnscope.models.preparing import explain_memory
from attnscope.probing.progress import hush_progress, progress_bar
from attnscope.ranges import parse_range
from attnscope.shots import LatentPlan, ShotPlan

if TYPE_CHECKING:
    from torch import Tensor


def generate(
    pipe: Pipeline,
    prompt: str,
    *,
    shots: ShotPlan,
    rule: Change | None = None,
    layers: Range | None = None,
    captions: Sequence[str] | None = None,
    text_layers: Range = "all",
    padding: Padding = "visible",
    decode_shots: bool = False,
    seed: int = 0,
    progress: bool = True,
    **arguments: object,
) -> Film:
    """Make a film whose shots are held apart by a rule, and look where it is cut.

    Parameters
    ----------
    pipe
        A loaded diffusers video pipeline of a supported family.
    prompt : str
        What the film is about; where there are captions, what holds for all shots.
    shots : ShotPlan
        Where to cut; also sets the number of frames.
    rule : MaskRule, Intervention or sequence of Intervention, optional
        What holds the shots apart, see :func:`attnscope.intervene`; None leaves the model alone.
    layers : range, optional
        Where a bare rule acts; interventions and presets carry their own.
    captions : sequence of str, optional
        What each shot shows. A shot reads its own caption and ``prompt``, in the layers ``text_layers``; in the others
        it reads those of all shots (CineTrans masks text in the layers where it masks frames).
    padding : {"visible", "hidden"}
        Whether the padding of captions is read, as :func:`attnscope.encode_captions`.
    decode_shots : bool
        Whether each shot is decoded by itself, so that the VAE's memory of the shot before does not bleed over the cut.
    seed : int
        Of the noise that the film begins with.
    progress : bool
        Whether a bar is shown, in a terminal or a notebook.
    **arguments
        Go to the pipeline: ``num_inference_steps``, ``height``, ``guidance_scale``, ...

    Raises
    ------
    InputError
        The plan, the rule, the captions or an argument cannot be used; nothing was run.

    Examples
    --------
    >>> import attnscope as scope
    >>> plan = scope.ShotPlan.from_frames([9], num_frames=17, fps=16)
    >>> preset = scope.masks.preset("cinetrans-dit", plan)
    >>> film = generate(scope.load("wan-mini"), "One shot: a red ball", shots=plan, rule=preset, num_inference_steps=1)
    >>> film.frames.shape, film.plan.realised_frame, len(film.layers), round(film.visible_fraction, 2)
    ((17, 64, 64, 3), (9,), 22, 0.6)
    """
    import torch

    family = find(pipe)
    if decode_shots:
        require(family, DecodesShots, pipe)
    _require_film(shots, seed, rule, layers, arguments)
    _require_prompt(prompt, captions, arguments)
    plan = shots.to_latent(family.temporal_stride(pipe))
    asked = fill_defaults(pipe, family, {**arguments, "num_frames": shots.num_frames})
    require_runnable(asked, ("cond",))
    require_size(pipe, family, asked)
    changes = () if rule is None else interventions_of(rule, {} if layers is None else {"layers": layers})
    text: ShotText | None = None
    if captions is not None:
        _require_captions(captions, plan)
        text = _encode(pipe, captions, prompt, padding, asked)
    with join_or_attach(pipe) as attachment:
        if text_layers != "all":
            parse_range(text_layers, tuple(attachment.taps), name="text layers")
        masked, fraction = _reach(changes, attachment, plan)
        told = {
            "prompt": prompt,
            "output_type": "latent" if decode_shots else "np",
            "generator": torch.Generator("cpu").manual_seed(seed),
        }
        called = rename_for_pipeline(pipe, family, {**told, **asked})
        _require_steps(pipe, family, changes, called)
        steps = int(asked["num_inference_steps"])
        changes = (*changes, *_route_captions(text, plan, text_layers))
        changing = intervene(attachment, changes, text=text) if changes else nullcontext()
        with (
            changing,
            seed_draws(pipe, called["generator"]),
            explain_memory(pipe),
            hush_progress(pipe),
            _show_steps(attachment, steps, progress),
        ):
            video = run_pipeline(pipe, family, called).frames
    video = _decode_by_shot(family, pipe, video, plan) if decode_shots else video[0]
    frames = np.round(255 * np.clip(video, 0, 1)).astype(np.uint8)
    return Film(frames, plan, masked, fraction, check_cuts(plan.realised_frame, frames, stride=plan.stride))


def _encode(
    pipe: Pipeline, captions: Sequence[str], prompt: str, padding: Padding, asked: dict[str, Any]
) -> ShotText:
    """Encode captions as long as the run is told; what the pipeline is told of them takes the place of the prompts."""
    text = encode_captions(
        pipe,
        captions,
        general=prompt,
        padding=padding,
        negative=asked.get("negative_prompt"),
        max_sequence_length=asked.get("max_sequence_length"),
    )
    if text.num_negative is not None:
        if asked.get("negative_prompt_embeds") is not None:
            raise InputError(
                expected="a negative prompt in words beside captions of the shots, whose length it gets",
                got="its embeddings",
                where=f"in generate with a {type(pipe).__name__}",
                remedy="give negative_prompt=...",
            )
        asked.pop("negative_prompt", None)
    asked.update(text.arguments)
    return text


def _route_captions(text: ShotText | None, plan: LatentPlan, layers: Range) -> tuple[Intervention, ...]:
    """Let each shot read its own caption and the general one; nothing where there are no captions."""
    if text is None:
        return ()
    return (Intervention(own_text(plan) | general_text(plan), layers=layers, attention="cross"),)


@contextmanager
def _show_steps(attachment: Attachment, num_steps: int, progress: bool) -> Iterator[None]:
    """Show how many denoising steps are done."""
    with progress_bar("making a film", shown=progress) as bar, ExitStack() as undo:
        undo.callback(attachment.on_call(lambda call: bar(call.step + 1, num_steps), when="after"))
        yield


def _require_film(shots: object, seed: object, rule: object, layers: object, arguments: Arguments) -> None:
    if not isinstance(shots, ShotPlan):
        raise InputError(
            expected="a ShotPlan",
            got=quote(shots),
            where="as shots of generate",
            remedy="write for instance ShotPlan.from_seconds([1.2], duration=3, fps=16)",
        )
    require_whole(seed, "a whole number from 0", "as seed of generate", remedy="write 0")
    if arguments.get("num_frames", shots.num_frames) != shots.num_frames:
        raise InputError(
            expected=f"as many frames as the plan has, {shots.num_frames}",
            got=quote(arguments["num_frames"]),
            where="as num_frames of generate",
            remedy="leave it out, or plan the video that is made",
        )
    if rule is None and layers is not None:
        raise InputError(
            expected=f"a rule that acts in layers {quote(layers)}",
            got="none",
            where="in generate",
            remedy="give rule=..., or leave layers out",
        )


def _require_prompt(prompt: object, captions: object, arguments: Arguments) -> None:
    has_embeds = arguments.get("prompt_embeds") is not None
    if not (isinstance(prompt, str) or (prompt is None and has_embeds)):
        raise InputError(
            expected="one prompt",
            got=quote(prompt),
            where="in generate",
            remedy="make several films one after the other",
        )
    if has_embeds and captions is not None:
        raise InputError(
            expected="captions of the shots or embeddings of a prompt",
            got="both",
            where="in generate",
            remedy="leave prompt_embeds out, captions become embeddings by themselves",
        )


def _require_steps(
    pipe: Pipeline, family: Family, changes: Sequence[Intervention], called: Arguments
) -> None:
    """Refuse steps that this run will not have; only then is it asked how many it has."""
    if any(each.steps != "all" for each in changes):
        num_steps = rehearse(pipe, family, called)
        for each in changes:
            parse_range(each.steps, range(num_steps), name="steps")


def _decode_by_shot(family: Family, pipe: Pipeline, latents: Tensor, plan: LatentPlan) -> Floats32:
    """Decode a latent video (1, channels, frames, height, width) shot by shot; returns as many frames as in one go."""
    import torch

    decoder, pieces = require(family, DecodesShots, pipe), []
    for start, stop in pairwise((0, *plan.cuts, plan.num_frames)):
        shot = latents[:, :, start:stop]
        repeats = start > 0 and plan.stride > 1
        if repeats:
            # A causal VAE makes one frame of what it takes for the first latent frame, and four of the others. The
            # first of this shot is shown to it twice: the frame it makes of the first showing is dropped.
            shot = torch.cat([shot[:, :, :1], shot], dim=2)
        frames = decoder.decode(pipe, shot)
        pieces.append(frames[1:] if repeats else frames)
    return np.concatenate(pieces)


def _require_captions(captions: Sequence[str], plan: LatentPlan) -> None:
    if isinstance(captions, str) or len(captions) != plan.num_shots:
        raise MaskError(
            expected=f"one caption for each of {plan.num_shots} shots",
            got=f"{'one text' if isinstance(captions, str) else len(captions)}",
            where="in generate",
            remedy="give one a shot",
        )


def _reach(
    changes: Sequence[Intervention], attachment: Attachment, plan: LatentPlan
) -> tuple[tuple[int, ...], float]:
    """The layers where frames are masked, and the share of pairs of frames that all rules together leave there."""
    sides = Sides.of_frames(plan.num_frames, stride=plan.stride, sigma=1.0)
    of_frames = [
        each
        for each in place(changes, attachment)
        if each.intervention.attention != "cross" and not each.intervention.rule.needs_largest
    ]
    for each in of_frames:
        extent(each.intervention.rule, sides)  # what cannot be compiled is refused before anything runs
    labels = sorted({layer for each in of_frames for layer in each.layers})
    if not of_frames:
        return tuple(labels), 1.0
    whole = of_frames[0].intervention.rule
    for each in of_frames[1:]:
        whole = whole + each.intervention.rule
    return tuple(labels), extent(whole, sides).visible_fraction
