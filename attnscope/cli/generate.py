"""`attnscope generate`: a film with cuts where they are asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from attnscope._types import Document
from attnscope.cli._clock import ANY_CLOCK, Clock, clock_of
from attnscope.cli._lines import read_lines
from attnscope.cli._numbers import Seed
from attnscope.cli._options import USUAL_LOADING, USUAL_SAMPLING, AsJson, Loading, Out, Sampling, frames_in
from attnscope.cli._output import print_json
from attnscope.dataset import sample_scene
from attnscope.errors import InputError, quote, suggest
from attnscope.masks import Intervention, list_presets, parse_rule, preset
from attnscope.masks.presets import CINETRANS
from attnscope.ranges import format_range
from attnscope.shots import ShotPlan
from attnscope.storage.disk import require_writable
from attnscope.video.files import write_video

if TYPE_CHECKING:
    from attnscope.intervening.film import Film

NO_PRESET = "none"
WITH_FIRST_FRAME = CINETRANS["DiT"]

_CAPTIONS = ("a text file, one caption a line", "caption", "--shot-prompts")
_TIMED_SHOT = re.compile(r"\bshot\s*\d+\s*:\s*\[", re.IGNORECASE)


def generate_command(
    *,
    loading: Loading = USUAL_LOADING,
    shots: str | None = None,
    preset: str | None = None,
    rule: str | None = None,
    layers: str | None = None,
    first_frame: bool | None = None,
    prompt: str | None = None,
    shot_prompts: Path | None = None,
    text_layers: str | None = None,
    padding: Literal["visible", "hidden"] | None = None,
    decode_shots: bool = False,
    seed: Seed = 0,
    out: Out,
    sampling: Sampling = USUAL_SAMPLING,
    as_json: AsJson = False,
) -> None:
    """Make a film with cuts where they are asked for, and say where it is cut.

    The shots are held apart by a mask on the model's attention; the model itself is not changed. Reports the cuts that
    were asked for, where the model's latent grid lets them fall, and where the finished film is cut.

    Parameters
    ----------
    shots
        The shots: "0-1.2s,1.2-3s", or in frames "0-24f,24-49f". A prompt that lists its shots carries them itself.
    preset
        A published mask: cinetrans-dit (the default of DiTs), cinetrans-unet (that of UNets), holocine, mask2dit,
        vstar, storydiffusion, shotadapter, isolated; or none.
    rule
        A mask in words instead of a preset, as "same_shot | first_frame" or "soft(same_shot, 4)".
    layers
        Layer labels from 1 where the mask acts, as in "7-28"; by default where the preset was published for.
    first_frame
        Whether every frame sees the first latent frame of the film; for cinetrans-dit only, yes by default.
    prompt
        What the film is about; by default one that is drawn from the seed.
    shot_prompts
        A text file with one caption a line, one for each shot; each shot reads its own, beside the prompt.
    text_layers
        Layers in which a shot reads its own caption only; "all" by default.
    padding
        Whether the padding of captions is read: visible (the default) or hidden.
    decode_shots
        Decode each shot by itself, so that the shot before does not bleed over the cut.
    seed
        Seed of the noise the film begins with.
    out
        The mp4 file to write; a strip of its pictures lies beside it as a PNG.
    """
    _require_fitting(preset, rule, layers, first_frame)
    _require_captions(shot_prompts, text_layers, padding)
    _require_out(out)
    # Whatever can be refused is refused before a model is loaded: on any clock, the mask can be read or not.
    _changes(preset, rule, _plan(shots, prompt, ANY_CLOCK), layers, first_frame)
    captions = None if shot_prompts is None else read_lines(shot_prompts, *_CAPTIONS)
    loading.require_layers(layers or "all", text_layers or "all")

    from attnscope import families
    from attnscope.intervening.generate import generate as make_film

    pipe = loading.load({**frames_in(shots), **sampling.arguments()})
    name = preset if preset or rule else CINETRANS[families.find(pipe).architecture]
    plan = _plan(shots, prompt, clock_of(pipe))
    changes = _changes(name, rule, plan, layers, first_frame)
    words = sample_scene(seed, num_shots=1).caption("none") if prompt is None else prompt
    film = make_film(
        pipe,
        words,
        shots=plan,
        rule=changes or None,
        captions=captions,
        decode_shots=decode_shots,
        seed=seed,
        text_layers=text_layers or "all",
        padding=padding or "visible",
        **sampling.arguments(),
    )
    loading.warn_of(film.frames.shape)
    document = {
        **_write(film, out),
        **_summarise(film),
        "preset": name,
        "rule": [each.describe() for each in changes],
        "prompt": words,
        "shot_prompts": captions,
        "seed": seed,
        "model": loading.model,
    }
    if as_json:
        return print_json(document)
    _say(document, plan)


def _write(film: Film, out: Path) -> Document:
    """Write the film, and a strip of its pictures beside it; say where they lie."""
    strip = out.with_suffix(".png")
    write_video(out, film.frames, film.plan.fps)
    film.strip().save(strip)
    return {"video": str(out), "strip": str(strip)}


def _summarise(film: Film) -> Document:
    """What was asked for, what the latent grid allows, what the finished pictures show."""
    return {
        "cuts_requested_frame": film.plan.requested_frame,
        "cuts_realised_frame": film.plan.realised_frame,
        "cuts_detected_frame": film.cuts.found_frame,
        "stride": film.plan.stride,
        "recall": film.cuts.recall,
        "precision": film.cuts.precision,
        "transition_control": film.cuts.transition_control,
        "layers": format_range(film.layers) if film.layers else None,
        "visible_fraction": film.visible_fraction,
    }


def _say(document: Document, plan: ShotPlan) -> None:
    def places(frames: tuple[int, ...]) -> str:
        shown = (f"{frame} ({float(frame / plan.fps):g} s)" for frame in frames)
        return ", ".join(shown) or "none"

    print(f"video     {document['video']}, pictures of it in {document['strip']}")
    print(f"asked     cuts at frame {places(document['cuts_requested_frame'])}")
    grid = f", where a latent frame of {document['stride']} begins" if document["stride"] > 1 else ""
    print(f"possible  cuts at frame {places(document['cuts_realised_frame'])}{grid}")
    print(f"found     cuts at frame {places(document['cuts_detected_frame'])}")
    for sentence in document["rule"] or ["No mask."]:
        print(f"mask      {sentence}")
    print(f"visible   {100 * document['visible_fraction']:.1f}% of the pairs of frames in those layers")


def _plan(shots: str | None, prompt: str | None, clock: Clock) -> ShotPlan:
    if shots is not None:
        return ShotPlan.from_spec(shots, **clock)
    if prompt is None or not _TIMED_SHOT.search(prompt):
        raise InputError(
            expected="shots",
            got="none in --shots and",
            where=f"in --prompt ({quote(prompt)})",
            remedy='write --shots "0-1.5s,1.5-3s"',
        )
    return ShotPlan.from_prompt(prompt, **clock)


def _changes(
    name: str | None, rule: str | None, plan: ShotPlan, layers: str | None, first_frame: bool | None
) -> tuple[Intervention, ...]:
    """The mask that was asked for; nothing for "none"."""
    if rule is not None:
        return (Intervention(parse_rule(rule, plan), layers="all" if layers is None else layers),)
    if name is None or name == NO_PRESET:
        return ()
    options = {"layers": layers, "first_frame": first_frame}
    return preset(name, plan, **{option: value for option, value in options.items() if value is not None})


def _require_fitting(
    preset: str | None, rule: str | None, layers: str | None, first_frame: bool | None
) -> None:
    """Refuse a mask that contradicts itself."""
    if preset is not None and rule is not None:
        raise InputError(
            expected="one of --preset and --rule",
            got=f"{quote(preset)} and {quote(rule)}",
            where="on the command line",
            remedy="leave one",
        )
    if preset not in (None, NO_PRESET, *list_presets()):
        raise InputError(
            expected=f"a preset out of {', '.join(list_presets())} or none",
            got=quote(preset),
            where="as --preset",
            remedy=suggest(preset, list_presets(), "name one"),
        )
    if first_frame is not None and (rule is not None or preset not in (None, WITH_FIRST_FRAME)):
        raise InputError(
            expected=f"--first-frame with preset {WITH_FIRST_FRAME} only",
            got="it",
            where=f"with {quote(rule or preset)}",
            remedy="leave it out, or write | first_frame in a rule",
        )
    if preset == NO_PRESET and layers is not None:
        raise InputError(
            expected="--layers with a mask only",
            got=quote(layers),
            where="with --preset none",
            remedy="leave it out",
        )


def _require_captions(shot_prompts: Path | None, text_layers: str | None, padding: str | None) -> None:
    """Refuse what is about captions where there are none."""
    for option, value in (("--text-layers", text_layers), ("--padding", padding)):
        if value is not None and shot_prompts is None:
            raise InputError(
                expected=f"{option} with --shot-prompts only",
                got=f"{quote(value)} without",
                where="on the command line",
                remedy="leave it out or give them",
            )


def _require_out(out: Path) -> None:
    """Refuse a place where no film can be written."""
    if out.suffix.lower() != ".mp4" or not out.absolute().parent.is_dir() or out.is_dir():
        raise InputError(
            expected="an .mp4 file in a folder that is there",
            got=quote(str(out)),
            where="as --out",
            remedy="write --out clip.mp4",
        )
    require_writable(out, "file")
