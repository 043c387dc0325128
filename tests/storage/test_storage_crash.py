"""Interrupted, killed, out of space: nothing acknowledged is lost, and resuming changes nothing."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from attnscope.errors import SetupError, StoreError
from attnscope.storage import Store, disk, resume_or_create, validate_store
from attnscope.storage import store as writing

# Forks before zarr starts its thread, so that the imports are paid once and not once per kill.
WRITER = """
import os, random, shutil, signal, sys, time
sys.path.insert(0, sys.argv[1])
import conftest as t
from attnscope.storage import resume_or_create

path, rng = sys.argv[2], random.Random(0)
for kill in range(6):
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        store = resume_or_create(path, t.header())
        os.write(into, b"ready\\n")
        for prompt, step in t.UNITS:
            if not store.is_done(prompt, step):
                t.append(store, prompt, step)
                os.write(into, f"{prompt} {step}\\n".encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as lines:
        assert lines.readline() == "ready\\n"
        if kill < 5:
            time.sleep(rng.uniform(0.0, 0.04))
            os.kill(child, signal.SIGKILL)
        print(kill, lines.read().replace("\\n", ","), flush=True)
    os.waitpid(child, 0)
    shutil.copytree(path, f"{path}.{kill}")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is a POSIX signal")
def test_kill_9_loses_nothing_that_was_acknowledged(sweep, tmp_path):
    command = [sys.executable, "-c", WRITER, str(Path(__file__).parent), str(tmp_path / "a.zarr")]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    acknowledged = set()
    for kill, line in enumerate(run.stdout.splitlines()):
        acknowledged |= {tuple(map(int, unit.split())) for unit in line.split(" ", 1)[1].split(",") if unit}
        path = tmp_path / f"a.zarr.{kill}"
        assert validate_store(path) == []
        store = Store.open(path)
        assert all(store.is_done(*unit) for unit in acknowledged)
        dataset = store.dataset()
        for prompt, step in np.argwhere(dataset.done.values):
            np.testing.assert_array_equal(dataset.mass.values[prompt, step], sweep.unit_of(prompt, step))
    # A unit may be done without a word of it, if the kill came in between; never the other way round.
    assert acknowledged <= set(sweep.UNITS)
    assert store.progress() == (6, 6)
    sweep.full_store(tmp_path / "undisturbed.zarr")
    resumed, undisturbed = sweep.files_of(path), sweep.files_of(tmp_path / "undisturbed.zarr")
    del resumed["zarr.json"], undisturbed["zarr.json"]
    assert resumed == undisturbed


class PowerCutError(Exception):
    """Not an error that anything in the package knows."""


def test_a_crash_before_every_single_write_leaves_a_valid_store(sweep, tmp_path, monkeypatch):
    real = disk.write_durably
    sweep.full_store(tmp_path / "undisturbed.zarr", has_text_mass=True)
    wanted = sweep.files_of(tmp_path / "undisturbed.zarr")
    for crash_at in range(5):
        path = tmp_path / f"{crash_at}.zarr"
        store = Store.create(path, sweep.header(has_text_mass=True))
        sweep.append(store, 0, 0)
        calls = []

        def crashing(file, content, crash_at=crash_at, calls=calls, **options):
            if len(calls) == crash_at:
                raise PowerCutError
            calls.append(file)
            real(file, content, **options)

        with monkeypatch.context() as patch:
            patch.setattr(writing, "write_durably", crashing)
            with pytest.raises(PowerCutError):
                sweep.append(store, 0, 1)
        assert validate_store(path) == []
        resumed = resume_or_create(path, sweep.header(has_text_mass=True))
        assert resumed.progress() == (1, 6)
        assert np.isnan(resumed.dataset().mass.values[0, 1]).all()
        for unit in sweep.UNITS[1:]:
            sweep.append(resumed, *unit)
        got = sweep.files_of(path)
        assert {name: got[name] for name in got if name != "zarr.json"} == {
            name: wanted[name] for name in wanted if name != "zarr.json"
        }


def test_data_is_flushed_before_the_marker(sweep, tmp_path, monkeypatch):
    store = Store.create(tmp_path / "a.zarr", sweep.header())
    events = []
    real_sync, real_replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("sync"), real_sync(fd))[1])
    monkeypatch.setattr(
        Path,
        "replace",
        lambda self, to: (events.append(f"{to.parent.name}/{to.name}"), real_replace(self, to))[1],
    )
    sweep.append(store, 0, 0)
    assert events == [
        "sync",
        "timestep/c.0",
        "sync",
        "sync",
        "sigma/c.0",
        "sync",
        "sync",
        "mass/c.0.0.0.0.0.0.0",
        "sync",
        "sync",
        "done/c.0.0",
        "sync",
    ]


def test_a_torn_marker_is_not_done_and_is_written_again(sweep, tmp_path):
    sweep.full_store(tmp_path / "a.zarr")
    marker = tmp_path / "a.zarr" / "done" / "c.1.1"
    marker.write_bytes(b"")
    store = Store.open(tmp_path / "a.zarr")
    assert not store.is_done(1, 1)
    with pytest.raises(
        StoreError, match="expected a whole chunk, got a missing or damaged one at .*done/c.1.1"
    ):
        store.dataset()
    sweep.append(store, 1, 1)
    assert validate_store(tmp_path / "a.zarr") == []
    assert store.dataset().done.values.all()


def test_a_full_disk_is_the_environments_fault_and_loses_nothing(sweep, tmp_path, monkeypatch):
    store = Store.create(tmp_path / "a.zarr", sweep.header())
    sweep.append(store, 0, 0)

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            SetupError, match="expected room on the disk, got 'No space left on device' at"
        ) as caught:
            sweep.append(store, 0, 1)
        with pytest.raises(SetupError):
            Store.create(tmp_path / "b.zarr", sweep.header())
    assert len(str(caught.value).splitlines()) == 1
    assert sorted(os.listdir(tmp_path)) == ["a.zarr"]
    assert validate_store(tmp_path / "a.zarr") == []
    assert not list((tmp_path / "a.zarr").rglob("*.partial"))
    sweep.append(store, 0, 1)
    assert store.progress() == (2, 6)


def test_two_writers_with_their_own_prompts(sweep, tmp_path):
    first = Store.create(tmp_path / "a.zarr", sweep.header())
    second = Store.open(tmp_path / "a.zarr")
    for step in range(3):
        sweep.append(second, 1, step)
        sweep.append(first, 0, step)
    assert Store.open(tmp_path / "a.zarr").progress() == (6, 6)
    sweep.full_store(tmp_path / "b.zarr")
    a, b = sweep.files_of(tmp_path / "a.zarr"), sweep.files_of(tmp_path / "b.zarr")
    assert {name for name in a if a[name] != b[name]} <= {"zarr.json"}
