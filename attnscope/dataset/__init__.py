"""Videos with known shots: procedural scenes now, film pipelines later."""

from __future__ import annotations

from attnscope.dataset._drawing import COLOURS
from attnscope.dataset.scenes import Scene, Subject, View, render, sample_scene, vocabulary
from attnscope.dataset.worlds import WORLDS, World

__all__ = ["COLOURS", "WORLDS", "Scene", "Subject", "View", "World", "render", "sample_scene", "vocabulary"]
