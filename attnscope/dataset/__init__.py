"""Multi-shot clips to train on: films that are drawn, and the pipeline that makes clips out of films."""

from __future__ import annotations

from attnscope.dataset.drawing.painting import COLOURS
from attnscope.dataset.drawing.scenes import Scene, Subject, View, render, sample_scene, vocabulary
from attnscope.dataset.drawing.worlds import DEFAULT_WORLD, WORLDS, World

__all__ = [
    "COLOURS",
    "DEFAULT_WORLD",
    "WORLDS",
    "Scene",
    "Subject",
    "View",
    "World",
    "render",
    "sample_scene",
    "vocabulary",
]
