"""Draw the tables and the picture of kernels/README.md from what run.py and resources.py wrote.

    python kernels/benchmarks/report.py

Replaces the text between the marks of kernels/README.md, and writes kernels/benchmarks/results/<device>.png.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
Row = dict[str, Any]


def results(device: str) -> dict[str, Any] | None:
    """What was measured on a device; None where nothing was."""
    path = HERE / "results" / f"{device}.json"
    return json.loads(path.read_text()) if path.exists() else None


def _table(header: list[str], lines: list[list[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _find(rows: list[Row], **wanted: object) -> Row | None:
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return found[0] if found else None


def _number(row: Row | None, digits: str = "{ratio:.2f}") -> str:
    return "" if row is None else digits.format(**row)


def mass_table(rows: list[Row]) -> str:
    """Frame mass with output against the fastest plain attention; and what building maps costs."""
    mine = [row for row in rows if row["op"] == "frame_mass"]
    ways = sorted({row["impl"] for row in mine}, key=lambda name: ("auto" not in name, name))
    header = [
        "shape",
        "fastest plain attention, ms",
        *ways,
        "maps by head",
        "maps by frame",
        "peak MiB (auto)",
    ]
    lines = []
    for shape in dict.fromkeys(row["shape"] for row in mine):
        of_shape = [row for row in mine if row["shape"] == shape]
        plain = [row for row in of_shape if row["is_fastest_plain"]]
        base = plain[0]["peer_ms"]
        maps = [_find(of_shape, peer=f"maps by {unit}") for unit in ("head", "frame")]
        lines.append(
            [shape, f"{base:.1f}", *(_number(_find(plain, impl=way)) for way in ways)]
            + ["" if row is None else f"{row['peer_ms'] / base:.2f}" for row in maps]
            + [f"{plain[0]['peak_mib']:.0f}"]
        )
    return _table(header, lines)


def attention_table(rows: list[Row], direction: str) -> str:
    """Masked attention against the fastest unmasked one, with the peers beside it."""
    mine = [row for row in rows if row["op"] == "shot_attention" and row["direction"] == direction]
    ways = sorted({row["impl"] for row in mine}, key=lambda name: ("auto" not in name, name))
    peers = [p for p in dict.fromkeys(row["peer"] for row in mine) if "," in p or p == "FlexAttention"]
    header = ["shape", "shots", "first frame", "visible", *ways, *peers]
    lines = []
    for row in (r for r in mine if r["is_fastest_plain"] and r["impl"] == ways[0]):
        same = {key: row[key] for key in ("shape", "shots", "first_frame")}
        here = [r for r in mine if all(r[key] == value for key, value in same.items())]
        plain = [r for r in here if r["is_fastest_plain"]]
        others = [_find(here, peer=peer) for peer in peers]
        lines.append(
            [
                row["shape"],
                str(row["shots"]),
                "yes" if row["first_frame"] else "",
                f"{row['visible_fraction']:.2f}",
            ]
            + [_number(_find(plain, impl=way)) for way in ways]
            + ["" if r is None else f"{r['peer_ms'] / row['peer_ms']:.2f}" for r in others]
        )
    return _table(header, lines)


def resource_table() -> str:
    """What compiled kernels need of a card, in bfloat16."""
    document = json.loads((HERE / "results" / "resources.json").read_text())
    header = [
        "kernel",
        "head size",
        "card",
        "tile",
        "warps",
        "stages",
        "registers",
        "spilled bytes",
        "shared bytes",
    ]
    lines = [
        [row["kernel"], str(row["head_size"]), row["arch"], f"{row['rows']} x {row['columns']}"]
        + [str(row[key]) for key in ("num_warps", "num_stages", "registers", "stack_bytes", "shared_bytes")]
        for row in document["rows"]
        if row["dtype"] == "bf16"
    ]
    return f"triton {document['triton']}\n\n{_table(header, lines)}"


def section(device: str) -> str:
    """The part of the README about one device."""
    document = results(device)
    if document is None:
        return f"not measured; `python kernels/benchmarks/run.py --device {device}` measures it"
    facts = (
        f"{document['device_name']}, torch {document['torch']}, {document['threads']} threads; plain matrix "
    )
    facts += f"products run at {document['matmul_tflops']:.2f} TFLOP/s. Ratios of medians, one process, in turn.\n\n"
    parts = [
        facts + "**Frame mass with output / fastest plain attention**\n\n" + mass_table(document["rows"])
    ]
    for direction in ("forward", "forward+backward"):
        title = f"**Masked attention / fastest unmasked attention, {direction}**"
        parts.append(f"{title}\n\n{attention_table(document['rows'], direction)}")
    return "\n\n".join(parts)


def draw(device: str, document: dict[str, Any]) -> Path:
    """Cost of a mask against what it lets be seen, ours and the dense mask."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    rows = [r for r in document["rows"] if r["op"] == "shot_attention" and r["direction"] == "forward"]
    shape = rows[0]["shape"]
    rows = [r for r in rows if r["shape"] == shape and r["impl"] == "shot_attention auto"]
    plain = [r for r in rows if r["is_fastest_plain"]]
    axes.plot([0, 1], [0, 1], color="0.7", lw=1, label="cost = visible pairs")
    axes.plot(
        *zip(*[(r["visible_fraction"], r["ratio"]) for r in plain], strict=True), "o", label="shot_attention"
    )
    for peer, mark in (("sdpa, dense mask", "x"), ("FlexAttention", "+")):
        base = {(r["shots"], r["first_frame"]): r["peer_ms"] for r in plain}
        found = [
            (r["visible_fraction"], r["peer_ms"] / base[r["shots"], r["first_frame"]])
            for r in rows
            if r["peer"] == peer
        ]
        if found:
            axes.plot(*zip(*found, strict=True), mark, label=peer)
    axes.set(
        xlabel="visible pairs of frames, share", ylabel="time / fastest unmasked attention", xlim=(0, 1.05)
    )
    axes.set_title(f"{shape}, {document['device_name']}", loc="left")
    axes.legend(frameon=False)
    path = HERE / "results" / f"{device}.png"
    figure.savefig(path, dpi=150, metadata={"Software": None})
    return path


def main() -> None:
    """Write everything into the README."""
    parts = {"resources": resource_table(), "cpu": section("cpu"), "cuda": section("cuda")}
    for device in ("cpu", "cuda"):
        document = results(device)
        if document is not None:
            picture = draw(device, document).relative_to(README.parent).as_posix()
            parts[device] += (
                f"\n\n![Cost of masked attention against the share of visible pairs, {device}]({picture})"
            )
    text = README.read_text()
    for name, body in parts.items():
        mark = f"<!-- {name} -->"
        text = re.sub(
            f"{mark}.*?<!-- end -->", lambda _, m=mark, b=body: f"{m}\n{b}\n<!-- end -->", text, flags=re.S
        )
    README.write_text(text)


if __name__ == "__main__":
    main()
