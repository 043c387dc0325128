"""Sharing prompts on the command line: by what torchrun sets, and by jobs."""

from __future__ import annotations

import builtins
import json

import numpy as np
import pytest

from attnscope.cli import submit
from attnscope.storage import Store, open_store

TINY = [
    "--num-frames",
    "17",
    "--num-inference-steps",
    "1",
    "--height",
    "32",
    "--width",
    "32",
    "--guidance-scale",
    "1",
]


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("a cat\na dog\na red ball\n")
    return path


@pytest.fixture
def debug(monkeypatch):
    """Run jobs at once in this process."""
    import submitit

    monkeypatch.setenv("RANK", "0")  # the jobs set both; this puts them back
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setattr(
        submit, "_executor", lambda cluster, logs: submitit.AutoExecutor(folder=logs, cluster="debug")
    )


def test_processes_started_by_torchrun_share_the_prompts_and_the_report_is_made_by_one(
    run, prompts, tmp_path, monkeypatch
):
    words = ["probe", "--prompts", prompts, "--out", tmp_path / "o", *TINY]
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, done in (("1", 1), ("0", 3)):
        monkeypatch.setenv("RANK", rank)
        found = run(*words, "--json")
        assert found.code == 0, found.err
        assert json.loads(found.out)["share"] == [int(rank), 2]
        assert json.loads(found.out)["steps_done"] == done
        assert not (tmp_path / "o" / "summary.json").exists()
    assert sorted(path.name for path in (tmp_path / "o").glob("*.mp4")) == [
        f"video-00{index}.mp4" for index in range(3)
    ]
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.delenv("RANK")
    before = (tmp_path / "o" / "video-000.mp4").stat().st_mtime_ns
    assert run(*words).code == 0
    assert (tmp_path / "o" / "summary.json").exists()
    assert (tmp_path / "o" / "video-000.mp4").stat().st_mtime_ns == before
    run("probe", "--prompts", prompts, "--out", tmp_path / "alone", *TINY)
    one, two = (open_store(tmp_path / name / "attention.zarr") for name in ("alone", "o"))
    assert np.array_equal(one.mass.values, two.mass.values)


def test_a_single_prompt_cannot_be_shared(run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = run("probe", "--prompt", "a cat")
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert "expected --prompts, which 2 processes can share, got a single run" in found.err


@pytest.mark.usefixtures("debug")
def test_jobs_fill_one_store(run, prompts, tmp_path):
    words = ["probe", "--prompts", prompts, "--out", tmp_path / "o", *TINY]
    found = run("submit", "--jobs", "2", "--cluster", "local", "--logs", tmp_path / "logs", "--", *words)
    assert found.code == 0, found.err
    assert "when all are done: attnscope probe --prompts" in found.out
    assert Store.open(tmp_path / "o" / "attention.zarr").progress() == (3, 3)


@pytest.mark.usefixtures("debug")
def test_a_job_that_fails_is_an_error_with_exit_code_1(run, prompts, tmp_path):
    words = ["probe", "--prompts", prompts, "--out", tmp_path / "o", "--layers", "9", *TINY]
    found = run("submit", "--jobs", "1", "--cluster", "local", "--logs", tmp_path / "logs", "--", *words)
    assert found.code == 1
    assert "expected 1 jobs to end well, got 1 that failed" in found.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["generate", "--shots", "0-1s,1-2s"], "expected probe with --prompts and --out, got 'generate"),
        (["probe", "--prompt", "a cat"], "expected probe with --prompts and --out"),
        (["probe", "--prompts", "p.txt", "--out", "o", "--stepz", "3"], "--stepz"),
    ],
)
def test_what_would_fail_in_the_queue_is_refused_before(run, words, text):
    found = run("submit", "--jobs", "2", "--", *words)
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert text in found.err


def test_without_a_cluster_or_the_package_it_says_so_with_exit_code_3(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["submit", "--jobs", "1", "--", "probe", "--prompts", "p.txt", "--out", "o"]
    found = run(*words)
    assert (found.code, found.err.count("\n")) == (3, 1)
    assert "expected the slurm cluster, got" in found.err
    importing = builtins.__import__

    def without(name, *rest):
        if name == "submitit":
            raise ImportError(name)
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    found = run(*words)
    assert (found.code, found.err.count("\n")) == (3, 1)
    assert "install attnscope[slurm]" in found.err
