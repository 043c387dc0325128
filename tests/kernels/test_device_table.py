"""A device is measured: what is wrong is never chosen, what is slow is left, and without a table it is said."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch

from attnscope_kernels import (
    _device_table,
    gate,
    measure_device,
    measuring,
    read_table,
    select_attention,
    select_mass,
)
from attnscope_kernels._device_table import FOLDER_VARIABLE, versions

SHOTS = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)).double().log()[None, None]
ATTENTION = {"device": "cpu", "num_tokens": 4 * 20, "relation": SHOTS, "head_size": 64}
MASS = {"device": "cpu", "num_tokens": 80, "num_groups": 4, "with_output": True, "needs_gradient": False}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Two shapes that take a blink, and a folder of our own for the table."""
    shapes = (measuring.MeasuredShape(4, 20, 2, 64), measuring.MeasuredShape(6, 1, 2, 64, batch=8))
    monkeypatch.setattr(measuring, "CPU_SHAPES", shapes)
    monkeypatch.setattr(measuring, "CPU_TYPES", (torch.float32,))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "tables"))
    return tmp_path / "tables"


def make_wrong(monkeypatch, module, way):
    """Let one way of attention give what is off by one in a thousand."""
    right = module.shot_attention

    def off(*tensors, implementation, **rest):
        output = right(*tensors, implementation=implementation, **rest)
        return output * 1.001 if implementation == way else output

    monkeypatch.setattr(module, "shot_attention", off)


def make_slow(monkeypatch, name, way):
    right = getattr(measuring, name)

    def slow(*tensors, implementation, **rest):
        if implementation == way:
            time.sleep(0.02)
        return right(*tensors, implementation=implementation, **rest)

    monkeypatch.setattr(measuring, name, slow)


def test_without_a_table_plain_pytorch_runs_and_says_so(small):
    assert read_table("cpu") is None
    for choice in (select_attention(**ATTENTION), select_mass(**MASS)):
        assert choice.name in ("split", "chunked")
        assert "not measured" in choice.reason


@pytest.mark.parametrize(("slow", "left"), [("split", "chunked"), ("chunked", "split")])
def test_a_slow_way_is_left(small, monkeypatch, slow, left):
    make_slow(monkeypatch, "shot_attention", slow)
    make_slow(monkeypatch, "frame_mass", slow)
    measure_device("cpu", budget_s=0.1).write()
    for choice in (select_attention(**ATTENTION), select_mass(**MASS)):
        assert choice.name == left
        assert "the fastest on this device at 80 tokens" in choice.reason


def test_a_wrong_way_is_never_chosen_though_it_is_fastest(small, monkeypatch):
    make_wrong(monkeypatch, gate, "split")
    make_slow(monkeypatch, "shot_attention", "chunked")
    table = measure_device("cpu", budget_s=0.1)
    table.write()
    assert table.is_wrong("attention", torch.float32, "split")
    assert not any(row.way == "split" and row.operation == "hard mask" for row in table.timings)
    assert select_attention(**ATTENTION).name == "chunked"
    assert select_attention(**ATTENTION | {"relation": SHOTS.clamp_min(-2)}).name == "chunked"
    assert select_mass(**MASS).reason.startswith("the fastest")


def test_where_nothing_is_right_nothing_runs(small):
    table = measure_device("cpu", budget_s=0.1)
    faults = tuple(("attention", way, "float32", "off") for way in ("chunked", "split", "short"))
    replace(table, faults=faults).write()
    with pytest.raises(
        ValueError, match="expected a way of attention that is right on .*, got none of"
    ) as caught:
        select_attention(**ATTENTION)
    assert "\n" not in str(caught.value)


def test_the_fastest_of_every_measured_shape_is_chosen(small):
    table = measure_device("cpu", budget_s=0.1)
    for row in table.timings:
        alike = [
            other for other in table.timings if (*vars(other).values(),)[:7] == (*vars(row).values(),)[:7]
        ]
        ways = {other.way for other in alike}
        found = table.fastest(row.operation, torch.float32, row.tokens, row.groups, ways)
        assert found is not None
        assert found[1].least_s <= row.least_s


def test_a_table_comes_back_as_it_was_and_lies_nowhere_else(small):
    table = measure_device("cpu", budget_s=0.1)
    path = table.write()
    assert read_table("cpu") == table
    assert [*small.iterdir()] == [path]
    assert set(table.speeds) == {"float32"}
    assert min(vars(table.speeds["float32"]).values()) > 0


def test_a_table_of_other_versions_is_not_read(small, monkeypatch):
    measure_device("cpu", budget_s=0.1).write()
    assert read_table("cpu") is not None
    other = {**versions(), "torch": "1.0"}
    monkeypatch.setattr("attnscope_kernels._device_table.versions", lambda: other)
    monkeypatch.setenv(FOLDER_VARIABLE, f"{small}/")
    assert read_table("cpu") is None


def test_a_damaged_table_is_said_and_not_followed(small):
    path = measure_device("cpu", budget_s=0.1).write()
    path.write_text("{")
    _device_table._read.cache_clear()
    with pytest.warns(UserWarning, match="cannot be read .*; measure anew"):
        assert read_table("cpu") is None
