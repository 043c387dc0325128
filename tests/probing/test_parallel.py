"""Several processes: one video shared by its heads, prompts shared by number; both equal to one process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from attnscope.errors import InputError, UnsupportedModelError
from attnscope.hooks import attach
from attnscope.hooks.parallel import heads_here
from attnscope.probing.probe import probe
from attnscope.storage import Store, validate_store
from attnscope.testing.wan import tiny_wan

sys.path.insert(0, str(Path(__file__).parent))
from two_processes import results

TINY = {"height": 32, "width": 32, "num_frames": 5, "num_inference_steps": 1, "max_sequence_length": 4}


@pytest.mark.slow
def test_two_processes_that_share_the_heads_of_a_video_equal_one_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*command, Path(__file__).parent / "two_processes.py", tmp_path], check=True, cwd=root, timeout=280
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        (tmp_path / "one").mkdir()
        alone = results(tmp_path / "one")
    finally:
        torch.set_num_threads(threads)
    for rank in (0, 1):
        shared = np.load(tmp_path / f"rank-{rank}.npz")
        assert set(shared) == set(alone)
        unequal = {name for name in alone if not np.array_equal(alone[name], shared[name])}
        assert not unequal
    assert validate_store(tmp_path / "a.zarr") == []
    assert np.array_equal(alone["store"], alone["resumed"])
    assert not np.array_equal(alone["masked"], alone["store"][:1, :, :1])
    assert np.array_equal(alone["plain"], alone["looked"])
    assert not np.array_equal(alone["plain"], alone["masked video"])
    assert alone["z"].shape[0] == alone["words"].shape[0] == 2


@pytest.mark.parametrize("options", [{"ring_degree": 2}, {"ulysses_degree": 2, "ulysses_anything": True}])
def test_attention_whose_heads_are_not_dealt_out_evenly_is_refused(options):
    from diffusers import ContextParallelConfig
    from diffusers.models._modeling_parallel import ParallelConfig

    pipe = tiny_wan(1)
    config = ParallelConfig(context_parallel_config=ContextParallelConfig(**options))
    pipe.transformer.blocks[0].attn1.processor._parallel_config = config
    with attach(pipe) as attachment, pytest.raises(UnsupportedModelError, match="deals out whole heads, got"):
        heads_here(attachment.taps[1].inner)


def test_processes_with_shares_of_the_prompts_fill_one_store_that_equals_one_of_one_process(tmp_path):
    prompts = ["a cat", "a dog", "a red ball"]
    whole = probe(tiny_wan(1), prompts, out=tmp_path / "one.zarr", **TINY)
    first = probe(tiny_wan(1), prompts, out=tmp_path / "two.zarr", share=(0, 2), **TINY)
    assert first.done.values.tolist() == [[True], [False], [True]]
    assert np.isnan(first.mass.values[1]).all()
    seen = []
    second = probe(
        tiny_wan(1),
        prompts,
        out=tmp_path / "two.zarr",
        share=(1, 2),
        on_step=lambda done, total: seen.append((done, total)),
        **TINY,
    )
    assert seen == [(0, 1), (1, 1)]
    assert np.array_equal(second.mass.values, whole.mass.values)
    assert validate_store(tmp_path / "two.zarr") == []


def test_a_share_without_a_store_and_one_that_is_none_are_refused():
    with pytest.raises(InputError, match="expected a store that 2 processes fill together, got no out"):
        probe(tiny_wan(1), "a cat", share=(0, 2), **TINY)
    with pytest.raises(InputError, match=r"0 <= index < count, got \(2, 2\)"):
        probe(tiny_wan(1), "a cat", share=(2, 2), out="x", **TINY)


def test_a_store_that_another_process_creates_first_is_opened(tmp_path, monkeypatch):
    prompts = ["a cat", "a dog"]
    create = Store.create.__func__

    def late(cls, path, header):
        create(cls, path, header)
        return create(cls, path, header)

    monkeypatch.setattr(Store, "create", classmethod(late))
    found = probe(tiny_wan(1), prompts, out=tmp_path / "a.zarr", share=(1, 2), **TINY)
    assert found.done.values.tolist() == [[False], [True]]
