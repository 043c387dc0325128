"""Experiments that make films run on a model of any size and architecture, and go on where they were killed."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from attnscope.testing import tiny

FOLDER = Path(__file__).parents[1] / "experiments"
NAMES = sorted(
    path.parent.name for path in FOLDER.glob("*/run.py") if "from conducting import" in path.read_text()
)
SLOW = [pytest.param(name, marks=() if name == "first_frame" else pytest.mark.slow) for name in NAMES]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Writes a tiny random model to a folder; its class has defaults for films far larger than it can make."""
    folder = tmp_path_factory.mktemp("models")

    def write(name: str) -> str:
        if not (folder / name).exists():
            tiny(name).save_pretrained(folder / name)
        return str(folder / name)

    return write


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports the script of an experiment as Python runs it, with what stands beside it."""

    def read(name: str) -> ModuleType:
        monkeypatch.syspath_prepend(FOLDER)
        monkeypatch.syspath_prepend(FOLDER / name)
        spec = importlib.util.spec_from_file_location(f"{name}_run", FOLDER / name / "run.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return read


def conduct(module: ModuleType, *words: str) -> None:
    module.conduct(module.__file__, module.__doc__, module.make, module.summarise, words)


def test_all_experiments_of_films_are_known() -> None:
    assert len(NAMES) == 8


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
@pytest.mark.parametrize("name", SLOW)
def test_a_quick_run_with_a_model_of_another_size_goes_on_and_ends(
    load: Callable[[str], ModuleType], model: Callable[[str], str], name: str, tmp_path: Path
) -> None:
    module = load(name)
    words = ("--quick", "--model", model("wan"), "--out", str(tmp_path))
    conduct(module, *words)
    table = json.loads((tmp_path / "quick" / "results.json").read_text())
    rows = next(value for key, value in table.items() if key in ("cells", "conditions", "steps"))
    assert rows
    log = tmp_path / "quick" / "rows.jsonl"
    whole = log.read_text()
    # killed in the middle of a line: that film alone is made again
    log.write_text(whole[: len(whole) - len(whole.splitlines()[-1]) // 2])
    conduct(module, *words)
    assert log.read_text() == whole
    assert json.loads((tmp_path / "quick" / "results.json").read_text()) == table


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
@pytest.mark.parametrize(("name", "num_conditions"), [("tuning_ablation", 4), ("lora_transfer", 5)])
def test_a_unet_is_tuned_and_masked_by_the_same_command(
    load: Callable[[str], ModuleType],
    model: Callable[[str], str],
    name: str,
    num_conditions: int,
    tmp_path: Path,
) -> None:
    conduct(load(name), "--quick", "--model", model("lavie"), "--out", str(tmp_path))
    rows = [json.loads(line) for line in (tmp_path / "quick" / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * num_conditions  # two captions


def test_rows_of_other_settings_and_films_too_wide_are_refused(
    load: Callable[[str], ModuleType],
    model: Callable[[str], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = load("first_frame")
    small = (
        "--model",
        model("wan"),
        "--num-frames",
        "17",
        "--height",
        "32",
        "--width",
        "32",
        "--out",
        str(tmp_path),
    )
    settings = FOLDER / "first_frame" / "config.toml"
    other = tmp_path / "other.toml"
    other.write_text(settings.read_text().replace("num_captions = 40", "num_captions = 0"))
    with pytest.raises(SystemExit) as too_wide:
        conduct(module, "--model", model("wan"), "--out", str(tmp_path / "wide"))
    assert too_wide.value.code == 2
    assert "width" in capsys.readouterr().err
    conduct(module, *small, "--config", str(other))
    with pytest.raises(SystemExit) as mixed:
        conduct(module, *small)
    assert mixed.value.code == 2
    assert "the experiment that began here" in capsys.readouterr().err


def test_cuts_are_counted_over_films(load: Callable[[str], ModuleType]) -> None:
    load("first_frame")
    measuring = sys.modules["measuring"]
    rows = [
        {"caption": 0, "asked_frame": [5, 9], "found_frame": [5], "matched": 1},
        {"caption": 1, "asked_frame": [5], "found_frame": [7, 11, 12], "matched": 1},
        {"caption": 2, "colours": ["red"]},
    ]
    found = measuring.recall_and_precision(rows)
    assert (found["recall"]["value"], found["recall"]["n"]) == (2 / 3, 3)
    assert (found["precision"]["value"], found["precision"]["n"]) == (2 / 4, 4)
    assert found["recall"]["low"] is None  # two captions with cuts say nothing of others
    assert measuring.share(rows, [0, 0, 0], [0, 0, 0]) is None
    # the seeds of a caption go together: twice the films of the same captions, hit alike, are no surer
    once = [{"caption": number} for number in range(8)]
    hits, tries = [1, 1, 1, 0, 1, 1, 0, 1], [1] * 8
    assert (
        measuring.share(once * 2, hits * 2, tries * 2)["low"]
        < measuring.share(once, hits, tries)["low"] + 0.01
    )
    assert measuring.mean([None, 2.0, 4.0]) == {"value": 3.0, "low": None, "high": None, "n": 2}


def test_the_character_is_read_off_drawn_films(load: Callable[[str], ModuleType]) -> None:
    from attnscope.dataset import render, sample_scene

    load("lora_transfer")
    character = sys.modules["character"]
    right = tries = 0
    for seed in range(12):
        scene = sample_scene(seed, num_shots=2, num_frames=17, world="plain")
        start = scene.plan.cuts_frame[0]
        for view, frames in zip(scene.views, (render(scene)[:start], render(scene)[start:]), strict=True):
            if scene.subject.colour not in view.colours:
                said = character.read_shot(frames[::4], view, scene.world, 0.01)
                right += said == (scene.subject.shape, scene.subject.colour)[::-1]
                tries += 1
    assert tries >= 20
    assert right >= tries - 1
