"""The scripts of experiments/figures draw from a store alone."""

import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from attnscope import synthetic
from attnscope.shots import ShotPlan
from attnscope.storage import Store, StoreHeader

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Two prompts with different cuts, and one step that was never recorded."""
    path = tmp_path_factory.mktemp("run") / "attention.zarr"
    plans = [ShotPlan.from_latent_frames([cut], num_frames_latent=7, fps=16).to_latent() for cut in (3, 4)]
    maps = [
        synthetic.block_attention(plan, num_layers=3, noise=0.2, seed=cut) for cut, plan in enumerate(plans)
    ]
    header = StoreHeader(
        prompts=("one", "two"),
        seeds=(0, 1),
        num_steps=3,
        branches=("cond",),
        layers=(1, 2, 3),
        modules=tuple(f"blocks.{index}.attn1" for index in range(3)),
        stages=("",) * 3,
        heads=(0, 1),
        plans=tuple(plans),
        num_frames=7,
        stride=4,
        fps=Fraction(16),
    )
    written = Store.create(path, header)
    for prompt, ds in enumerate(maps):
        for step in range(3 - prompt):
            mass = ds.mass.isel(prompt=0, step=step).values.astype(np.float32)
            written.append(prompt, step, mass, None, 1000.0 - step, 1.0 - step / 3)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "options", "names"),
    [
        ("maps.py", ["--layers", "1", "3", "--html"], ["maps.html", "maps.pdf", "maps.png"]),
        ("profile.py", ["--band", "2", "3"], ["overview.pdf", "overview.png", "profile.pdf", "profile.png"]),
    ],
)
def test_script_writes_what_it_says(store, tmp_path, script, options, names):
    command = [sys.executable, "-W", "error", str(ROOT / "experiments" / "figures" / script), str(store)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    blocked = tmp_path / "blocked"
    (blocked / "torch").mkdir(parents=True)
    (blocked / "torch" / "__init__.py").write_text("raise RuntimeError('a figure needs no torch')\n")
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "out"), *options],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(blocked), path])},
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert sorted(Path(line).name for line in done.stdout.split()) == names


@pytest.mark.slow
def test_only_what_changed_is_made_again(store, tmp_path):
    """A second run makes nothing; an edited script makes its own figure; a missing file is made again."""
    scripts = shutil.copytree(ROOT / "experiments" / "figures", tmp_path / "scripts")
    out = tmp_path / "out"

    def remake() -> set[str]:
        done = subprocess.run(
            [sys.executable, str(scripts / "remake.py"), str(store), "-o", str(out)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")])},
        )
        assert done.returncode == 0, done.stderr
        return {Path(line).stem for line in done.stdout.split()}

    assert remake() == {"maps", "profile", "overview", "atlas", "steps", "novelty"}
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert remake() == set()
    with (scripts / "steps.py").open("a") as script:
        script.write("\n# edited\n")
    (out / "atlas.pdf").unlink()
    assert remake() == {"steps", "atlas"}
    after = {path.name: path.read_bytes() for path in out.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"made.json"}


@pytest.mark.slow
def test_two_stores_are_compared(store, tmp_path):
    script = ROOT / "experiments" / "figures" / "comparison.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(store), str(store), "-o", str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")])},
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comparison.pdf", "comparison.png"]
