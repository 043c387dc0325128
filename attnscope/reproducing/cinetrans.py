"""CineTrans again, on any model: attention observed, a mask and its controls, scores beside the published ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnscope._types import Document
from attnscope.errors import InputError
from attnscope.families import find
from attnscope.families.calling import fill_defaults
from attnscope.families.protocols import Pipeline
from attnscope.intervening.layers import choose_layers
from attnscope.metrics.detection.cuts import DetectorName
from attnscope.metrics.scoring.tables import methods_table
from attnscope.probing.share import WHOLE, Share
from attnscope.reproducing import paper
from attnscope.reproducing.ablating import list_conditions, make_films, read_rows
from attnscope.reproducing.observing import summarise_both
from attnscope.reproducing.page import write_page
from attnscope.reproducing.prompts import PlannedFilm, ScriptedFilm, plan_films
from attnscope.reproducing.watching import read_cuts, watch_films
from attnscope.storage import STORE_NAME, Store, open_store
from attnscope.storage.disk import write_durably
from attnscope.video.files import fps_of

Say = Callable[[str], None]


@dataclass(frozen=True)
class Study:
    """What is asked of a model: films in words, and where they come from."""

    model: str
    films: tuple[ScriptedFilm, ...]
    source: str
    is_embedded: bool = False
    is_packaged: bool = False


@dataclass(frozen=True)
class Cost:
    """What a study will make: films and calls of the network, before any is made."""

    num_observed: int
    num_films: int
    num_steps: int

    def describe(self) -> str:
        """Say it in a line.

        >>> Cost(2, 12, 20).describe()
        '2 films to observe and 12 to compare, 20 steps each: 280 steps in all'
        """
        total = (self.num_observed + self.num_films) * self.num_steps
        return (
            f"{self.num_observed} films to observe and {self.num_films} to compare, {self.num_steps} steps each: "
            f"{total} steps in all"
        )


@dataclass(frozen=True)
class Plan:
    """What is done to the films of a study: the request, the conditions, what is left out and why, what finds cuts."""

    asked: Document
    conditions: dict[str, str]
    left_out: dict[str, str]
    detector: DetectorName
    cost: Cost


def reproduce_cinetrans(
    pipe: Pipeline,
    study: Study,
    out: Path,
    *,
    layers: str | None = None,
    share: Share = WHOLE,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    say: Say = lambda line: None,
    **arguments: Any,
) -> Document | None:
    """Repeat what CineTrans reports, on this model: observation, mask ablation, score tables, figures, one page.

    Films are observed while they are made from prompts that carry their shots, and measured against the cuts that
    were asked for and those that a detector finds in them. Then the same films are made from prompts that do not,
    without a mask, with it, with controls of equal sparsity, and with the same noise in every shot. What
    is done is kept at once: killed at any moment, the same call goes on, and ends with the same page. Several processes
    share the work by `share`; the page is written by the one that finds everything there.

    Parameters
    ----------
    pipe : Pipeline
        A loaded pipeline.
    study : Study
        The films.
    out : Path
        Folder of the study.
    layers : str, optional
        Where masks act; those that were published for this architecture otherwise, as far as the model has them.
    **arguments
        Go to the pipeline.

    Returns
    -------
    dict or None
        What `result.json` holds; None while other processes are not done.

    Raises
    ------
    StoreError
        The folder holds another study.
    """
    family = find(pipe)
    whole = fill_defaults(pipe, family, arguments)
    stride = family.temporal_stride(pipe)
    latent = family.num_latent_frames(pipe, whole["num_frames"])
    films = plan_films(study.films, num_frames_latent=latent, stride=stride, fps=fps_of(pipe))
    masked = choose_layers(pipe, layers)
    asked = {
        "model": study.model,
        "layers": masked,
        "arguments": {name: value for name, value in arguments.items() if name != "num_frames"},
        "frames": whole["num_frames"],
    }
    conditions, left_out = list_conditions(pipe)
    detector: DetectorName = "span" if study.is_embedded else "transnetv2"
    cost = Cost(len(films), len(films) * len(conditions), int(whole["num_inference_steps"]))
    say(cost.describe())
    out.mkdir(parents=True, exist_ok=True)
    watch_films(pipe, films, out, detector=detector, asked=asked, share=share, **arguments)
    make_films(
        pipe,
        films,
        out / "films",
        conditions=conditions,
        layers=masked,
        stride=stride,
        size=whole,
        asked=asked,
        share=share,
        on_film=on_progress,
    )
    return finish(study, films, out, Plan(asked, conditions, left_out, detector, cost))


def finish(study: Study, films: Sequence[PlannedFilm], out: Path, plan: Plan) -> Document | None:
    """Write down what came out, if all of it is there: `result.json` and `page.html`."""
    asked, cost = plan.asked, plan.cost
    done, total = Store.open(out / STORE_NAME).progress()
    rows = list(read_rows(films, out / "films", plan.conditions, asked))
    found = [read_cuts(out, film, plan.detector, asked) for film in films]
    cuts = [each for each in found if each is not None]
    if done < total or len(rows) < cost.num_films or len(cuts) < len(films):
        return None
    attention = open_store(out / STORE_NAME)
    comparable, reasons = paper.judge(
        study.model, is_packaged=study.is_packaged, num_films=len(films), is_embedded=study.is_embedded
    )
    result: Document = {
        "study": "cinetrans",
        "source": paper.SOURCE,
        **asked,
        "prompts": study.source,
        "num_films": len(films),
        "num_steps": cost.num_steps,
        "prompts_sha256": hashlib.sha256("\n".join(film.prompt for film in films).encode()).hexdigest(),
        "comparable_with_paper": comparable,
        "reasons": list(reasons),
        "observation": summarise_both(attention, asked["layers"], cuts, plan.detector),
        "conditions": plan.conditions,
        "left_out": plan.left_out,
        "scores": [_line(line, rows) for line in methods_table(rows)],
        "published": paper.SCORES,
    }
    write_durably(out / "result.json", _as_json(result))
    write_page(result, attention, [*films], out)
    return result


def _line(line: Document, rows: list[Document]) -> Document:
    """A condition's scores, each with the reasons why it cannot be held against the paper's."""
    condition = str(line["method"])
    entries = [row["consistency"] or {} for row in rows if row["method"] == condition]
    published = paper.SCORES.get(paper.BESIDE.get(condition, ""), {})
    found: Document = {"condition": condition, "num_films": line["num_videos"]}
    for name in paper.COLUMNS:
        encoders = {
            str(entry[name]["encoder"])
            for entry in entries
            if (entry.get(name) or {}).get("encoder") is not None
        }
        found[name] = {
            **line[name],
            "paper": published.get(name),
            "comparable": False,
            "why_not": list(paper.judge_score(name, encoders)),
        }
    for name in ("recall", "f1"):
        if name in line:
            found[name] = {
                **line[name],
                "paper": None,
                "comparable": False,
                "why_not": ["the paper has no such score"],
            }
    return found


def _as_json(result: Document) -> bytes:
    def finite(value: object) -> object:
        if isinstance(value, dict):
            return {str(name): finite(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [finite(each) for each in value]
        return None if isinstance(value, float) and not abs(value) < float("inf") else value

    return f"{json.dumps(finite(result), indent=1, ensure_ascii=False, default=str)}\n".encode()


def require_study(name: str) -> None:
    """Refuse a study that is not known.

    Raises
    ------
    InputError
        No such study.
    """
    if name != "cinetrans":
        raise InputError(
            expected="a study out of cinetrans",
            got=repr(name),
            where="in reproduce",
            remedy="write cinetrans",
        )
