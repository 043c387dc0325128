"""The same films without a mask, with it, and with its controls: all from the same noise, each kept when it is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import product
from pathlib import Path

import msgspec

from attnscope._types import Document, Range
from attnscope.families.protocols import Pipeline
from attnscope.intervening.generate import generate
from attnscope.intervening.intervene import Change
from attnscope.masks import Intervention, MaskRule, controls, first_frame, same_shot
from attnscope.metrics.scoring.score import Settings, score
from attnscope.probing.share import Share
from attnscope.reproducing.keeping import read_kept, say_request
from attnscope.reproducing.noise import share_noise, why_no_noise
from attnscope.reproducing.prompts import PlannedFilm
from attnscope.shots import ShotPlan
from attnscope.storage.sealed import write_sealed

_KIND = "film of a study"

CONDITIONS: dict[str, str] = {
    "none": "no mask",
    "blocks": "each shot sees itself alone",
    "first frame": "each shot sees itself and the first frame of the film",
    "permuted": "as many pairs as blocks, frames in another order",
    "band": "as many pairs as blocks, in a band along the diagonal",
    "other boundary": "blocks that are cut elsewhere",
    "same noise": "each shot sees itself alone, and all begin with the same noise",
}
"""What is done to a film, in words; three are controls of equal sparsity, and the last one takes away the noise."""

_SAME_NOISE = "same noise"


def list_conditions(pipe: Pipeline) -> tuple[dict[str, str], dict[str, str]]:
    """Return the conditions that a pipeline can be put under, and those left out, each with its reason."""
    reason = why_no_noise(pipe)
    left_out = {_SAME_NOISE: reason} if reason else {}
    return {name: words for name, words in CONDITIONS.items() if name not in left_out}, left_out


class KeptFilm(msgspec.Struct, frozen=True):
    """A film that is done: what was asked for, and its scores as JSON."""

    prompt: str
    seed: int
    asked: str
    scores: str


def build_change(condition: str, plan: ShotPlan, layers: Range, stride: int) -> Change | None:
    """Return what a condition changes in a film of these shots.

    >>> plan = ShotPlan.from_latent_frames([2], num_frames_latent=5, fps=16)
    >>> build_change("none", plan, "all", 4) is None
    True
    """
    blocks = same_shot(plan)
    match condition:
        case "none":
            return None
        case "blocks" | "same noise":
            rule: MaskRule = blocks
        case "first frame":
            rule = blocks | first_frame()
        case "permuted":
            rule = controls.permuted(blocks)
        case "band":
            rule = controls.equal_band(blocks, plan.to_latent(stride).num_frames, stride=stride)
        case _:
            rule = same_shot(controls.other_boundary(plan, stride=stride))
    return Intervention(rule, layers=layers)


def make_films(
    pipe: Pipeline,
    films: Sequence[PlannedFilm],
    folder: Path,
    *,
    conditions: Collection[str],
    layers: Range,
    stride: int,
    size: Document,
    asked: Document,
    share: Share,
    on_film: Callable[[int, int], None],
) -> None:
    """Make and score what is missing of this process's share; a film that is there was made by the same request.

    `size` is what the pipeline is told of height and width.

    Raises
    ------
    StoreError
        A film in the folder belongs to another request, or is damaged.
    """
    places = list(product(films, conditions))
    todo = share.of(range(len(places)))
    for done, index in enumerate(todo):
        film, condition = places[index]
        path = path_of(folder, condition, film.number)
        if read_film(path, film, asked) is None:
            told = dict(asked["arguments"])
            if condition == _SAME_NOISE:
                told["latents"] = share_noise(pipe, film.plan.to_latent(stride), size, film.number)
            made = generate(
                pipe,
                film.single,
                shots=film.plan,
                rule=build_change(condition, film.plan, layers, stride),
                seed=film.number,
                progress=False,
                **told,
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".partial.mp4")
            made.save(part)
            part.replace(path.with_suffix(".mp4"))
            row = score(made.frames, film.plan, caption=film.single, settings=Settings(stride=stride))
            row.pop("probabilities", None)
            scores = json.dumps(_finite(row), sort_keys=True)
            write_sealed(path, _KIND, KeptFilm(film.single, film.number, say_request(asked), scores))
        on_film(done + 1, len(todo))


def path_of(folder: Path, condition: str, number: int) -> Path:
    """Where the scores of a film lie; the film itself lies beside them."""
    return folder / condition.replace(" ", "-") / f"{number:03d}.json"


def read_film(path: Path, film: PlannedFilm, asked: Document) -> Document | None:
    """Return the scores of a film, None where it is not done.

    Raises
    ------
    StoreError
        It is damaged, or belongs to another request.
    """

    def is_asked(kept: KeptFilm) -> bool:
        return (kept.prompt, kept.seed, kept.asked) == (film.single, film.number, say_request(asked))

    kept = read_kept(path, _KIND, KeptFilm, is_asked)
    if kept is None:
        return None
    scores: Document = json.loads(kept.scores)
    return scores


def read_rows(
    films: Sequence[PlannedFilm], folder: Path, conditions: Collection[str], asked: Document
) -> Iterator[Document]:
    """Yield the scores of all films that are done, condition by condition."""
    for condition, film in product(conditions, films):
        row = read_film(path_of(folder, condition, film.number), film, asked)
        if row is not None:
            yield {**row, "method": condition, "status": "ok", "number": film.number}


def _finite(value: object) -> object:
    """JSON has no nan: what is not a number is null, as in all that is kept."""
    if isinstance(value, dict):
        return {str(name): _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value.item() if hasattr(value, "item") else value
