"""What the paper reports, and when a number of ours may be held against it."""

from __future__ import annotations

from attnscope._types import Document

SOURCE = "CineTrans, ICLR 2026, arXiv 2508.11484"
RATIO, CORRELATION = 26.68, 0.71

COLUMNS = ("transition_control", "inter_semantic", "inter_visual", "intra_subject", "intra_background")

SCORES: dict[str, dict[str, float | None]] = {
    name: dict(zip(COLUMNS, values, strict=True))
    for name, values in {
        "DiT, no mask, not tuned": (0.2051, 0.5924, 0.5274, 0.9153, 0.9523),
        "DiT, mask, not tuned": (0.6564, 0.7838, 0.7844, 0.9618, 0.9746),
        "CineTrans-DiT (mask, tuned)": (0.7003, 0.7858, 0.7874, 0.9673, 0.9775),
        "UNet, no mask, not tuned": (0.0, None, None, 0.9615, 0.9702),
        "UNet, mask, not tuned": (0.6168, 0.7962, 0.8186, 0.9616, 0.9719),
        "CineTrans-Unet (mask, tuned)": (0.8598, 0.8095, 0.7247, 0.9598, 0.9725),
    }.items()
}
"""The table of the project's page (Results.png)."""

BESIDE = {"none": "DiT, no mask, not tuned", "first frame": "DiT, mask, not tuned"}
"""Which published row a condition repeats; the paper masks a DiT with the first frame visible."""


def judge(
    model: str, *, is_packaged: bool, num_films: int, is_embedded: bool
) -> tuple[bool, tuple[str, ...]]:
    """Say whether numbers of a model can be held against the paper's, and all reasons why they cannot.

    >>> judge("wan-mini", is_packaged=False, num_films=4, is_embedded=True)[0]
    False
    """
    reasons = ["the paper's 100 prompts and its evaluation code are not public: the prompts are others"]
    if is_embedded:
        reasons.append(f"{model} is a small model of drawn films, none of those in the paper")
    if not is_packaged and not is_embedded:
        reasons.append("the prompts were given by the user")
    if num_films < 100:
        reasons.append(
            f"it is made of {num_films} film{'s' if num_films > 1 else ''} where the paper has 100"
        )
    return False, tuple(reasons)


def judge_score(name: str, encoders: set[str]) -> tuple[str, ...]:
    """Say why a score cannot be held against the paper's, beside what holds for all of them."""
    if name == "transition_control":
        return ("the curve was read off a figure, and what is counted is inferred",)
    known = ", ".join(sorted(encoders)) or "no encoder that is installed"
    return (f"measured by {known}, where the paper has ViCLIP, DINO or CLIP",)


def list_observed() -> Document:
    """Return what the paper says of attention."""
    return {"contrast": RATIO, "correlation": CORRELATION}
