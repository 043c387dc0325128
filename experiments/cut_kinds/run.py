"""Are cuts told from flashes and fades, in colour and without? On drawn clips whose cuts are known.

    python experiments/cut_kinds/run.py                 # the 60 clips that are reported
    python experiments/cut_kinds/run.py --first 0       # the clips that thresholds were chosen on

Prints for each detector and kind: cuts, found, matched, precision, recall, F1.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from clips import FPS, KINDS, REPORTING, draw

from attnscope.metrics import agreement, detect_cuts

DETECTORS = ("transnetv2", "vote", "adaptive", "content")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=REPORTING, help="first seed")
    parser.add_argument("--each", type=int, default=10, help="clips of each kind")
    parser.add_argument("--detectors", nargs="+", default=DETECTORS)
    parser.add_argument("--verbose", action="store_true", help="print the clips that are wrong")
    given = parser.parse_args()
    for detector in given.detectors:
        print(f"{detector:16} cuts found matched  precision recall   F1")
        for kind in KINDS:
            seeds = range(given.first, given.first + given.each)
            print(f"  {kind:15} {line(detector, kind, seeds, verbose=given.verbose)}", flush=True)


def line(detector: str, kind: str, seeds: Sequence[int], *, verbose: bool) -> str:
    """Counts over all clips of one kind."""
    asked = found = matched = 0
    for seed in seeds:
        clip = draw(kind, seed)
        cuts = detect_cuts(clip.frames, FPS, detector=detector).cuts_frame  # type: ignore[arg-type]
        near = agreement(cuts, clip.cuts_frame, tolerance_frame=clip.tolerance_frame).num_matched
        asked, found, matched = asked + len(clip.cuts_frame), found + len(cuts), matched + near
        if verbose and not near == len(cuts) == len(clip.cuts_frame):
            print(f"    {kind} {seed}: {cuts} for {clip.cuts_frame}")
    precision, recall = matched / found if found else 0.0, matched / asked
    return f"{asked:4d} {found:5d} {matched:7d}  {precision:9.2f} {recall:6.2f} {2 * matched / (asked + found):5.2f}"


if __name__ == "__main__":
    main()
