"""How well likeness tells joins within a film from strangers; what its halves do alone; which joins look strange."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attnscope.dataset.calibrating import Calibration, fit_threshold
from attnscope.dataset.likeness import encode_colours
from attnscope.dataset.settings import Settings
from attnscope.dataset.sources import identify_source, list_sources
from attnscope.dataset.split import split_with_seams

Results = dict[str, Any]


class Pair(NamedTuple):
    """Two pictures, the films they are from, and how alike they are: by what is seen, and by their colours."""

    before: str
    behind: str
    seen: float
    colours: float
    frame: int = -1

    def likeness(self, share: float) -> float:
        """How alike they are where colours have this share; the pipeline's is 0.5."""
        return (1 - share) * self.seen + share * self.colours


@dataclass(frozen=True)
class Pairs:
    """Joins and strangers."""

    joins: list[Pair]
    strangers: list[Pair]

    def keep(self, chosen: Callable[[Pair], bool]) -> Pairs:
        """Those that are chosen."""
        return Pairs(list(filter(chosen, self.joins)), list(filter(chosen, self.strangers)))

    def fit(self, share: float = 0.5) -> Calibration:
        """The best threshold and the area under the curve."""
        return fit_threshold(
            *([each.likeness(share) for each in some] for some in (self.joins, self.strangers))
        )


def measure_joins(config: Results, shared: Path, work: Path) -> Results:
    """Measure how well likeness tells joins from strangers, and find a threshold that was planted."""
    pairs = _look(shared)
    with (shared / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    one_scene = _pick_scenes(list(rows.values()))
    other = pairs.keep(
        lambda pair: pair.frame >= 0 or rows[pair.before]["prompt"] != rows[pair.behind]["prompt"]
    )
    of_scenes = pairs.keep(lambda pair: pair.before in one_scene and pair.behind in one_scene)
    return {
        "real": vars(pairs.fit()),
        "real_strangers_of_other_prompts": vars(other.fit()),
        "real_of_one_scene": vars(of_scenes.fit()),
        "auc_by_share_of_colours": {
            share: {"real": pairs.fit(share).auc, "real_of_one_scene": of_scenes.fit(share).auc}
            for share in config["shares"]
        },
        "held_out": _cross_validate(pairs, config),
        "least_alike_joins": _list_worst(pairs, config["worst"]),
        "planted": _find_planted(config),
    }


def _look(shared: Path) -> Pairs:
    """All joins of all films, and the end of each film with the beginning of each other."""
    joins, ends = [], {}
    num_colours = encode_colours(np.zeros((1, 8, 8, 3), np.uint8)).shape[1]

    def compare(before: Any, behind: Any) -> tuple[float, float]:
        parts = before * behind * 2  # each half of a vector is as long as the other
        return float(parts[:-num_colours].sum()), float(parts[-num_colours:].sum())

    for file in list_sources(shared):
        film, seams = split_with_seams(identify_source(shared, file), Settings(), shared)
        ends[file] = seams.ends()
        for piece in film.pieces[:-1]:
            joins.append(Pair(file, file, *compare(*seams.sides_at(piece.stop_frame)), piece.stop_frame))
    strangers = [
        Pair(one, other, *compare(ends[one][1], ends[other][0]))
        for one in ends
        for other in ends
        if one != other
    ]
    return Pairs(joins, strangers)


def _pick_scenes(rows: list[dict[str, str]]) -> set[str]:
    """The clips of CineTrans itself, which are of one scene each, and one of each prompt."""
    first = {row["prompt"]: row["file"] for row in reversed(rows) if row["group"] != "contrast"}
    return set(first.values())


def _cross_validate(pairs: Pairs, config: Results) -> Results:
    """Choose the share of colours and the threshold on four fifths of the films, and look at the joins of the rest."""
    films = sorted({pair.before for pair in pairs.strangers})
    order = np.random.default_rng(config["seed"]).permutation(len(films))
    fold = {films[place]: number % config["folds"] for number, place in enumerate(order)}
    parts, weights = [], []
    for number in range(config["folds"]):
        known = pairs.keep(lambda pair, k=number: k not in (fold[pair.before], fold[pair.behind]))
        held = pairs.keep(lambda pair, k=number: k in (fold[pair.before], fold[pair.behind]))
        share = max(config["shares"], key=lambda each, known=known: known.fit(each).auc)
        least = known.fit(share).join_likeness
        kept, taken = (
            float(np.mean([pair.likeness(share) >= least for pair in some]))
            for some in (held.joins, held.strangers)
        )
        parts.append(
            {"share": share, "auc": held.fit(share).auc, "joins_kept": kept, "strangers_joined": taken}
        )
        weights.append(len(held.joins))
    mean = {
        name: float(np.average([part[name] for part in parts], weights=weights))
        for name in ("auc", "joins_kept", "strangers_joined")
    }
    return {**mean, "folds": parts}


def _list_worst(pairs: Pairs, num: int) -> list[Results]:
    """The joins that look least like joins, and the share of strangers that look more so."""
    strangers = np.array([pair.likeness(0.5) for pair in pairs.strangers])
    worst = sorted(pairs.joins, key=lambda pair: pair.likeness(0.5))[:num]
    return [
        {
            "file": pair.before,
            "frame": pair.frame,
            "likeness": pair.likeness(0.5),
            "seen": pair.seen,
            "colours": pair.colours,
            "strangers_more_alike": float((strangers > pair.likeness(0.5)).mean()),
        }
        for pair in worst
    ]


def _find_planted(config: Results) -> Results:
    """Two normal distributions that cross at 0.4, and two with a gap between them."""
    rng = np.random.default_rng(config["seed"])
    joins, strangers = rng.normal(0.6, 0.1, config["pairs"]), rng.normal(0.2, 0.1, config["pairs"])
    planted = fit_threshold(joins, strangers)
    apart = fit_threshold(0.5 + rng.uniform(0, 0.5, 500), rng.uniform(-0.5, 0.49, 500))
    return {
        "optimum": 0.4,
        "found": planted.join_likeness,
        "gap_from_0.49_to_0.5": apart.join_likeness,
    }
