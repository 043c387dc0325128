"""A reference: how alike the shots of edited films are, kept as a few numbers a film and not a pixel."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from attnscope.errors import InputError, StoreError, quote
from attnscope.metrics.gap import Gap, Method, consistency_gap
from attnscope.storage.disk import explain
from attnscope.storage.sealed import SealError, read_sealed, write_sealed

VERSION = 2
KIND = f"attnscope reference {VERSION}"


@dataclass(frozen=True)
class Reference:
    """The likeness of shots in a set of films: for each measure one value a film, and the encoder that gave it.

    ``values`` and ``encoders`` have the same keys, such as ``inter_semantic``; an encoder is named with the hash of its
    weights, and values of different encoders are never compared.
    """

    num_videos: int
    values: Mapping[str, tuple[float, ...]]
    encoders: Mapping[str, str]
    detector: str

    def gap(
        self, measure: str, values: Iterable[float], encoder: str, *, method: Method = "kde", seed: int = 0
    ) -> Gap:
        """Measure how far other videos are from this reference.

        Raises
        ------
        InputError
            A measure that the reference lacks, another encoder, fewer than 20 videos.

        Examples
        --------
        >>> films = Reference(30, {"inter_visual": tuple(i / 50 for i in range(30))}, {"inter_visual": "a:1"}, "vote")
        >>> films.gap("inter_visual", [i / 50 for i in range(30)], "b:2")
        Traceback (most recent call last):
            ...
        attnscope.errors.InputError: expected values of the encoder a:1, got b:2 for inter_visual in a gap; score and \
reference must come from the same network, build the reference anew
        """
        if measure not in self.values:
            raise InputError(
                expected=f"a measure out of {', '.join(sorted(self.values)) or 'none'}",
                got=quote(measure),
                where="in a reference",
                remedy="build it anew",
            )
        if encoder != self.encoders[measure]:
            raise InputError(
                expected=f"values of the encoder {self.encoders[measure]}",
                got=f"{encoder} for {measure}",
                where="in a gap",
                remedy="score and reference must come from the same network, build the reference anew",
            )
        return consistency_gap(list(values), self.values[measure], method=method, seed=seed)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Keep the reference as a JSON file; whole or not at all."""
        path = Path(path)
        values = {name: list(each) for name, each in self.values.items()}
        with explain(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(path, KIND, _Written(self.num_videos, self.detector, dict(self.encoders), values))
        return path


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reference as it lies in a file."""

    num_videos: int
    detector: str
    encoders: dict[str, str]
    values: dict[str, list[float]]


def reference_of(rows: Iterable[Mapping[str, Any]]) -> Reference:
    """Gather a reference out of scored videos (:func:`attnscope.score`); what failed or has one shot is left out.

    Raises
    ------
    InputError
        Rows were scored with different encoders or detectors, or none has two shots.

    Examples
    --------
    >>> value = {"value": 0.7, "encoder": "a", "weights_sha256": "1"}
    >>> rows = [{"status": "ok", "detector": "vote", "consistency": {"inter_visual": value}}] * 2
    >>> reference_of(rows).values["inter_visual"]
    (0.7, 0.7)
    """
    values: dict[str, list[float]] = {}
    encoders: dict[str, str] = {}
    detectors, num_videos = set(), 0
    for row in rows:
        if row.get("status") != "ok":
            continue
        detectors.add(str(row["detector"]))
        num_videos += 1
        for name, entry in row["consistency"].items():
            value = entry["value"]
            if not name.startswith("inter_") or value is None or math.isnan(value):
                continue
            encoder = f"{entry['encoder']}:{entry['weights_sha256']}"
            if encoders.setdefault(name, encoder) != encoder:
                raise InputError(
                    expected=f"one encoder for {name}",
                    got=f"{encoders[name]} and {encoder}",
                    where="in a reference",
                    remedy="score all films anew",
                )
            values.setdefault(name, []).append(float(value))
    if len(detectors) > 1 or not values:
        raise InputError(
            expected="films of two shots or more, scored by one detector",
            got=f"{num_videos} films and the detectors {', '.join(sorted(detectors)) or 'none'}",
            where="in a reference",
            remedy="add edited films",
        )
    return Reference(
        num_videos, {name: tuple(each) for name, each in values.items()}, encoders, detectors.pop()
    )


def read_reference(path: str | os.PathLike[str]) -> Reference:
    """Read a reference that was built before.

    Raises
    ------
    InputError
        The file is none, is damaged, or was written by another version.
    """
    try:
        found = read_sealed(Path(path), KIND, _Written)
        if found is None:
            raise SealError("no file")
        if set(found.values) != set(found.encoders):
            raise SealError("values without their encoders")
    except (SealError, StoreError) as error:
        raise InputError(
            expected=f"a reference of version {VERSION}, as it was written",
            got=quote(str(error), 100),
            where=f"in {quote(str(path))}",
            remedy="make one with attnscope reference build",
        ) from error
    values = {name: tuple(each) for name, each in found.values.items()}
    return Reference(found.num_videos, values, found.encoders, found.detector)
