"""Draw the rooms of the package and the arrows between them, from the imports as they are: docs/rooms.svg.

`python docs/draw_rooms.py` writes the picture anew; a test holds the one in git against the code. An arrow says
"imports", all of them point down, and one that follows from others (a to b to c, so a to c) is left out.
"""

from __future__ import annotations

import ast
import functools
import html
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "attnscope"
PICTURE = ROOT / "docs" / "rooms.svg"
KERNELS = "attnscope_kernels"
# What every room may read: drawn as the ground that all stand on, without its arrows.
GROUND = ("errors", "checks", "_types")
PURPOSE = {
    "attnscope_kernels": "mass and masks, fast",
    "cli": "one file a command",
    "dataset": "films to clips, drawn films",
    "exploring": "explorer, report",
    "families": "what is known of a model",
    "hooks": "taps, points, listeners",
    "intervening": "generate, intervene",
    "masks": "rules as data",
    "metrics": "score a video",
    "models": "embedded models",
    "plots": "figures",
    "probing": "probe",
    "ranges": "“7-28”, “-6:”",
    "reproducing": "a study again",
    "schema": "the attention dataset",
    "shots": "where a film is cut",
    "storage": "the zarr store",
    "structure": "statistics",
    "sweeping": "sweep, find_layers",
    "student": "how sure a mean is",
    "testing": "tiny models, the contract",
    "training": "finetune",
    "video": "frames in and out",
}
BOX_WIDTH, BOX_HEIGHT, GAP, FLOOR, BEND_WIDTH = 156, 44, 14, 96, 26
SWEEPS = 24
STYLE = """
svg { font-family: system-ui, sans-serif; background: #fff }
rect { fill: #f3f5f8; stroke: #8a94a3 } .name { font-weight: 600; fill: #1c2430; font-size: 14px }
.purpose { fill: #5a6472; font-size: 11px } path { fill: none; stroke: #8a94a3; stroke-opacity: .55 }
.head { fill: #8a94a3 }
@media (prefers-color-scheme: dark) {
  svg { background: #11151b } rect { fill: #1d242d; stroke: #6b7685 } .name { fill: #e8ecf1 }
  .purpose { fill: #9aa5b3 } path { stroke: #6b7685 } .head { fill: #6b7685 }
}
"""

Arrows = dict[str, frozenset[str]]


def room_of(path: Path, root: Path) -> str:
    """The room that a file stands in: attnscope/hooks/tap.py -> hooks, attnscope/ranges.py -> ranges."""
    parts = path.relative_to(root).with_suffix("").parts
    return KERNELS if parts[0] == KERNELS else parts[1]


def imported(source: str) -> set[str]:
    """The rooms that a file imports from, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == KERNELS:
                found.add(KERNELS)
            elif parts[0] == "attnscope" and len(parts) > 1 and parts[1] != "__version__":
                found.add(parts[1])
    return found


def read_arrows() -> Arrows:
    """All rooms and what each imports, itself and the ground left out."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = room_of(path, ROOT)
        if room not in ("__init__", "__main__", *GROUND):
            found.setdefault(room, set()).update(imported(path.read_text(encoding="utf-8")))
    found[KERNELS] = set()
    return {room: frozenset(target & found.keys() - {room}) for room, target in found.items()}


def reduced(arrows: Arrows) -> Arrows:
    """Without the arrows that follow from others."""

    @functools.cache
    def below(room: str) -> frozenset[str]:
        return arrows[room].union(*(below(each) for each in arrows[room]))

    return {
        room: frozenset(each for each in target if not any(each in below(other) for other in target - {each}))
        for room, target in arrows.items()
    }


def heights(arrows: Arrows) -> dict[str, int]:
    """The floor of each room, the lowest 0: one above the highest that it imports."""

    @functools.cache
    def height(room: str) -> int:
        return 1 + max((height(each) for each in arrows[room]), default=-1)

    return {room: height(room) for room in arrows}


def with_bends(arrows: Arrows) -> tuple[list[list[str]], dict[str, list[str]], list[list[str]]]:
    """The floors, what hangs below each thing on them, and the way of each arrow.

    An arrow that passes a floor has a bend there, which takes its place among the rooms: no line runs behind one.
    """
    height = heights(arrows)
    levels: list[list[str]] = [[] for _ in range(max(height.values()) + 1)]
    for room in sorted(arrows):
        levels[height[room]].append(room)
    below: dict[str, list[str]] = {room: [] for room in arrows}
    ways = []
    for room in sorted(arrows):
        for target in sorted(arrows[room]):
            way = [room]
            for floor in range(height[room] - 1, height[target], -1):
                bend = f"{room}>{target}@{floor}"
                levels[floor].append(bend)
                below[bend] = []
                way.append(bend)
            way.append(target)
            ways.append(way)
            for upper, lower in pairwise(way):
                below[upper].append(lower)
    return levels, below, ways


def positions(levels: list[list[str]], below: dict[str, list[str]]) -> dict[str, tuple[float, float]]:
    """The middle of each room and bend: near what it hangs on, pushed apart where two would overlap."""
    above: dict[str, list[str]] = {name: [] for name in below}
    for upper, lowers in below.items():
        for lower in lowers:
            above[lower].append(upper)
    x = {name: float(number * BOX_WIDTH) for level in levels for number, name in enumerate(level)}
    for sweep in range(SWEEPS):
        for level in levels if sweep % 2 else reversed(levels):
            neighbours = below if sweep % 2 else above
            wanted = {
                name: sum(x[each] for each in neighbours[name]) / len(neighbours[name])
                if neighbours[name]
                else x[name]
                for name in level
            }
            level.sort(key=lambda name: (wanted[name], name))
            spread(level, wanted, x)
    left = min(x.values()) - BOX_WIDTH / 2 - GAP
    return {
        name: (x[name] - left, (len(levels) - 0.5 - floor) * FLOOR)
        for floor, level in enumerate(levels)
        for name in level
    }


def room_needed(name: str) -> float:
    """Half of the width that a thing takes on its floor."""
    return (BEND_WIDTH if ">" in name else BOX_WIDTH + GAP) / 2


def spread(level: list[str], wanted: dict[str, float], x: dict[str, float]) -> None:
    """Put a floor in order without overlap, as near to what is wanted as pushing from the left and right allows."""
    from_left, from_right = {}, {}
    edge = -float("inf")
    for name in level:
        from_left[name] = max(wanted[name], edge + room_needed(name))
        edge = from_left[name] + room_needed(name)
    edge = float("inf")
    for name in reversed(level):
        from_right[name] = min(wanted[name], edge - room_needed(name))
        edge = from_right[name] - room_needed(name)
    for name in level:
        x[name] = (from_left[name] + from_right[name]) / 2


def path(way: list[str], place: dict[str, tuple[float, float]]) -> str:
    """One arrow: down from a room, straight through the bends, into the room below."""
    (x, y), *rest = [place[each] for each in way]
    y += BOX_HEIGHT / 2
    drawn = f"M{x:.0f} {y:.0f}"
    for number, (to_x, to_y) in enumerate(rest):
        is_last = number == len(rest) - 1
        stop = to_y - BOX_HEIGHT / 2 - (6 if is_last else 0)
        bend = (stop - y) / 2
        drawn += f"C{x:.0f} {y + bend:.0f} {to_x:.0f} {stop - bend:.0f} {to_x:.0f} {stop:.0f}"
        if not is_last:
            drawn += f"L{to_x:.0f} {to_y + BOX_HEIGHT / 2:.0f}"
        x, y = to_x, to_y + BOX_HEIGHT / 2
    return f'<path d="{drawn}" marker-end="url(#to)"/>'


def box(room: str, x: float, y: float) -> str:
    """One room: its name, and what it is for."""
    return (
        f'<rect x="{x - BOX_WIDTH / 2:.0f}" y="{y - BOX_HEIGHT / 2:.0f}" '
        f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
        f'<text class="name" x="{x:.0f}" y="{y - 3:.0f}" text-anchor="middle">{html.escape(room)}</text>'
        f'<text class="purpose" x="{x:.0f}" y="{y + 13:.0f}" text-anchor="middle">{html.escape(PURPOSE[room])}</text>'
    )


def draw() -> str:
    """The picture, as SVG."""
    arrows = reduced(read_arrows())
    levels, below, ways = with_bends(arrows)
    place = positions(levels, below)
    height, width = FLOOR * len(levels) + 34, round(max(x for x, _ in place.values()) + BOX_WIDTH / 2 + GAP)
    ground = f"{', '.join(GROUND)}: the ground that every room stands on"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            "<title>The rooms of attnscope; an arrow says imports</title>",
            f"<style>{STYLE}</style>",
            '<defs><marker id="to" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path class="head" d="M0 0L8 4L0 8z"/></marker></defs>',
            *(path(way, place) for way in ways),
            *(box(room, *place[room]) for room in sorted(arrows)),
            f'<text class="purpose" x="{width / 2:.0f}" y="{height - 16}" text-anchor="middle">'
            f"{html.escape(ground)}</text>",
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
