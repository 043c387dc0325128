"""`attnscope score`: measure videos, and leave tables and a page to look at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from attnscope._types import Document
from attnscope.cli._numbers import Jobs, Probability, Stride, Tolerance
from attnscope.cli._options import AsJson, OutIfAny
from attnscope.cli._output import finite, print_json, print_table
from attnscope.errors import InputError, quote
from attnscope.metrics.scoring.workers import processors
from attnscope.storage.disk import make_folder, require_writable, write_durably

if TYPE_CHECKING:
    from attnscope.metrics.references import Reference
    from attnscope.metrics.scoring.manifests import Listed
    from attnscope.metrics.scoring.score import Settings

Detectors = Literal["transnetv2", "content", "adaptive", "vote", "span"]

_CURVES = ("probabilities", "probabilities_inside")
_SHOWN = (
    "transition_control",
    "soft_control",
    "f1",
    "inter_semantic",
    "inter_visual",
    "intra_subject",
    "flicker_ratio",
)


def score_command(
    places: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    /,
    *,
    manifest: Path | None = None,
    shots: str | None = None,
    detector: Detectors = "transnetv2",
    threshold: Probability | None = None,
    tolerance: Tolerance = 2,
    stride: Annotated[Stride, Parameter(help="Causal temporal stride of the model; 1 for none.")] = 4,
    reference: Path | None = None,
    encoders: str | None = None,
    anywhere: Annotated[bool, Parameter(negative="")] = False,
    jobs: Jobs | None = None,
    out: OutIfAny = None,
    as_json: AsJson = False,
) -> int:
    """Measure videos: their cuts, whether those were asked for, how alike the shots are, how clean the cuts.

    Writes tables (CSV, Parquet), score.json with the detector's curves, and contact_sheet.html to --out. A video that
    cannot be scored becomes a line with its reason, and the exit code is 1; the same command goes on where it stopped.

    Parameters
    ----------
    places
        Video files, and folders with videos in them. With a manifest, where its files lie.
    manifest
        A CSV table with a line for each video: file, and where known method, group, shots, requested_shots,
        requested_times_s, caption, marked_cut_frames, bordered.
    anywhere
        Take files from anywhere that a manifest names them: absolute paths, and those that lead out with "..".
    shots
        The shots that were asked for, of all videos alike: "0-1.5s,1.5-3s", or in frames "0-24f,24-49f".
    detector
        What finds the cuts; vote takes what two of the first three agree on; span is for films of small models.
    threshold
        Probability above which a frame ends a shot (transnetv2, vote; 0.3 by default), or novelty (span; 0.135).
    tolerance
        How many frames a cut may be away from where it was asked for.
    reference
        A reference of edited films, made by attnscope reference build; adds the consistency gap.
    encoders
        Encoders to use, with commas between ("dinov2,clip-b32"); for other tasks the paper's where the model cache has
        it, else the one that is installed.
    jobs
        How many videos at a time; by default one for each processor.
    out
        Folder for the results; by default one below runs/ that is named after the request.
    """
    from attnscope.metrics import references
    from attnscope.metrics.encoders.registry import choose_encoders
    from attnscope.metrics.scoring import batches, manifests
    from attnscope.metrics.scoring.score import Settings

    if stride < 1:
        raise InputError(
            expected="a stride from 1",
            got=f"{stride}",
            where="as --stride",
            remedy="a Wan model has 4",
        )
    listed = _list_videos(places, manifest, shots, anywhere)
    known = None if reference is None else references.read_reference(reference)
    settings = Settings(
        detector=detector,
        threshold=threshold,
        tolerance_frame=tolerance,
        stride=stride,
        encoders={} if encoders is None else choose_encoders(encoders),
    )
    folder = out or Path("runs") / f"score-{_digest([each.name for each in listed], manifest, settings)}"
    _require_folder(folder)
    from attnscope.probing.progress import progress_bar

    with progress_bar("scoring") as on_done:
        rows = batches.score_videos(
            listed, settings, folder=folder, jobs=jobs or processors(), on_done=on_done
        )
    document = _write(folder, listed, rows, settings, known)
    document["left_out"] = {} if manifest is not None else manifests.count_left_out(places)
    if as_json:
        print_json(document)
    else:
        _print(document, folder)
    return 1 if document["failed"] else 0


def _list_videos(
    places: Sequence[Path], manifest: Path | None, shots: str | None, anywhere: bool
) -> list[Listed]:
    from attnscope.metrics.scoring import manifests

    if not places and manifest is None:
        raise InputError(
            expected="videos to score",
            got="none",
            where="on the command line",
            remedy="name files, folders or a --manifest",
        )
    if manifest is not None and shots is not None:
        raise InputError(
            expected="--shots or --manifest",
            got=f"both ({quote(shots)})",
            where="on the command line",
            remedy="write the shots into the manifest",
        )
    if manifest is not None:
        return manifests.read_manifest(manifest, places, anywhere=anywhere)
    return manifests.list_videos(places, shots=shots)


def _digest(names: Sequence[str], manifest: Path | None, settings: Settings) -> str:
    asked = [list(names), str(manifest), asdict(settings)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]


def _require_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(
            expected="a folder for the results",
            got=f"the file {quote(str(folder))}",
            where="as --out",
            remedy="name another",
        )
    require_writable(folder, "folder")


def _write(
    folder: Path,
    listed: Sequence[Listed],
    rows: list[Document],
    settings: Settings,
    reference: Reference | None,
) -> Document:
    """Write score.json, the tables and the page; returns what is printed, which leaves the curves out."""
    from attnscope.metrics.scoring import contact_sheets, tables

    methods = tables.methods_table(rows, reference=reference)
    groups = {
        group: tables.methods_table([row for row in rows if row["group"] == group])
        for group in sorted({row["group"] for row in rows if row["group"]})
    }
    document: Document = {
        "settings": asdict(settings),
        "num_videos": len(rows),
        "failed": [{"file": row["file"], "error": row["error"]} for row in rows if row["status"] != "ok"],
        "methods": methods,
        "groups": groups,
        "videos": rows,
    }
    text = json.dumps(finite(document), allow_nan=False)
    make_folder(folder)
    write_durably(folder / "score.json", f"{text}\n".encode())
    flat, flat_methods = (
        [tables.flat_row(row) for row in rows],
        [tables.flat_method(line) for line in methods],
    )
    tables.write_csv(folder / "videos.csv", flat)
    tables.write_csv(folder / "methods.csv", flat_methods)
    tables.write_parquet(folder / "videos.parquet", flat)
    contact_sheets.write_contact_sheet(folder / "contact_sheet.html", listed, rows)
    written = ("score.json", "videos.csv", "videos.parquet", "methods.csv", "contact_sheet.html")
    shown = [{name: value for name, value in row.items() if name not in _CURVES} for row in rows]
    return {**document, "videos": shown, "files": [str(folder / name) for name in written]}


def _print(document: Document, folder: Path) -> None:
    from attnscope.metrics.scoring import tables

    columns = ("method", "n", *(name.replace("_", " ") for name in _SHOWN))
    rows = [
        (line["method"], line["num_videos"], *(line[name]["mean"] for name in _SHOWN))
        for line in document["methods"]
    ]
    print_table("Means over videos", columns, rows)
    videos = [
        (
            row["file"],
            " ".join(map(str, row.get("cuts_detected_frame") or [])) or None,
            tables.measure_of(row, "transition_control"),
            tables.measure_of(row, "soft_control"),
        )
        for row in document["videos"]
    ]
    print_table("Videos", ("file", "cuts at frame", "transition control", "soft control"), videos)
    for each in document["failed"]:
        print(f"failed  {each['file']}: {each['error']}")
    if left_out := document["left_out"]:
        kinds = ", ".join(f"{count} {ending}" for ending, count in left_out.items())
        print(f"left out  {sum(left_out.values())} files that are no videos by their ending: {kinds}")
    print(f"look at {folder / 'contact_sheet.html'}")
