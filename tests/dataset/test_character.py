"""The reader of experiments/lora_transfer names the character of films that are drawn, and no other."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from attnscope.dataset import WORLDS, Scene, Subject, render, sample_scene

SCRIPT = Path(__file__).parents[2] / "experiments" / "lora_transfer" / "character.py"
WORLD = "textured"
LEAST_SHARE = 0.01


@pytest.fixture(scope="module")
def character() -> ModuleType:
    spec = importlib.util.spec_from_file_location("character", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def invent(seed: int, num_shots: int) -> Scene:
    return sample_scene(seed, num_shots=num_shots, num_frames=25, world=WORLD)


@pytest.mark.parametrize("shape", WORLDS[WORLD].shapes)
def test_the_character_is_named(character: ModuleType, shape: str) -> None:
    scene = character.give_character(7, Subject(shape, "orange"), invent, num_shots=2)
    frames = render(scene)
    assert all("orange" not in view.colours for view in scene.views)
    for shot, view in zip(scene.plan.shots, scene.views, strict=True):
        assert character.read_shot(frames[shot.start : shot.stop], view, WORLD, LEAST_SHARE) == (
            "orange",
            shape,
        )


def test_an_empty_place_has_no_character(character: ModuleType) -> None:
    scene = character.give_character(7, Subject("star", "orange"), invent, num_shots=1)
    first = next(iter(scene.views))
    plain = np.empty((2, 64, 64, 3), np.uint8)
    plain[:] = np.round(255 * np.array(character.COLOURS[first.colours[0]]))
    assert character.read_shot(plain, first, WORLD, LEAST_SHARE) == (None, None)
