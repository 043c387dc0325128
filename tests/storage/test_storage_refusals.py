"""What does not belong together is refused in one line, and nothing is written."""

import json
import os
from fractions import Fraction

import numpy as np
import pytest
import zarr

from attnscope import schema
from attnscope.errors import SchemaError, StoreError
from attnscope.storage import Store, StoreHeader, open_store, resume_or_create, validate_store


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": (0, 1)}, "seeds [0, 1099511627776], got [0, 1] in"),
        ({"prompts": ("a dog", "a cow")}, "prompts ["),
        ({"layers": (2, 3)}, "layers [1, 2], got [2, 3] in"),
        ({"plans": (None, None)}, "plans ["),
        ({"tolerance": 1e-3}, "tolerance 1e-05, got 0.001 in"),
        (
            {"attrs": {"model_id": "other", "lora": [], "scheduler": {"shift": 8.0}}},
            "attrs.model_id 'tiny', got 'other' in",
        ),
        ({"attrs": {"model_id": "tiny", "lora": []}}, "attrs.scheduler {'shift': 8.0}, got 'nothing' in"),
    ],
)
def test_another_run_is_not_mixed_in(sweep, tmp_path, changes, message):
    Store.create(tmp_path / "a.zarr", sweep.header())
    before = sweep.files_of(tmp_path)
    with pytest.raises(StoreError) as caught:
        resume_or_create(tmp_path / "a.zarr", sweep.header(**changes))
    assert str(caught.value).startswith("expected the settings this store was begun with, ")
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert sweep.header().digest != sweep.header(**changes).digest
    assert sweep.files_of(tmp_path) == before
    assert resume_or_create(tmp_path / "a.zarr", sweep.header()).header == sweep.header()


def _newer(path):
    path.mkdir()
    document = {"attributes": {"attnscope_schema": 99}, "consolidated_metadata": {"metadata": {}}}
    (path / "zarr.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), "got an empty folder at"),
        (lambda path: path.write_text("x"), "got a file at"),
        (
            lambda path: (path.mkdir(), (path / "notes.txt").write_text("x")),
            "got a folder without zarr.json at",
        ),
        (lambda path: zarr.create_group(path, attributes={"a": 1}), "got other zarr data at"),
        (lambda path: (path.mkdir(), (path / "zarr.json").write_text("[" * 100_000)), "it cannot be parsed"),
        (lambda path: (path.mkdir(), (path / "zarr.json").write_text("[]")), "got other zarr data at"),
        (_newer, "expected a store of schema 3 or older, got schema 99 at"),
    ],
)
def test_a_path_that_is_no_store_is_left_alone(sweep, tmp_path, make, message):
    path = tmp_path / "a.zarr"
    make(path)
    before = sweep.files_of(tmp_path)
    for attempt in (Store.open, open_store, lambda p: resume_or_create(p, sweep.header())):
        with pytest.raises(StoreError) as caught:
            attempt(path)
        assert message in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(StoreError, match="expected a path where nothing is yet"):
        Store.create(path, sweep.header())
    assert message in validate_store(path)[0]
    assert sweep.files_of(tmp_path) == before


def test_paths_that_cannot_be(sweep, tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "a.zarr", tmp_path / ("x" * 300), "nul\0.zarr"):
        with pytest.raises(StoreError) as caught:
            Store.create(path, sweep.header())
        assert len(str(caught.value).splitlines()) == 1
        assert len(validate_store(path)) == 1
    assert sorted(os.listdir(tmp_path)) == ["file"]
    with pytest.raises(StoreError, match="got nothing at"):
        open_store(tmp_path / "absent.zarr")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": ()}, "expected at least one of prompts, got none"),
        ({"seeds": (1,)}, "expected one seed for each of 2 prompts, got 1"),
        ({"seeds": (1, 2**64)}, "expected labels that agree with each other"),
        ({"prompts": ("a", "\ud800")}, "expected labels that agree with each other"),
        ({"plans": (None,)}, "expected one plan of 4 latent frames for each of 2 prompts, got 1"),
        ({"fps": Fraction(8)}, "expected plans of stride 4 at 8 fps, got stride 4 at 16 fps"),
        ({"attrs": {"a": object()}}, "expected provenance that JSON can hold"),
        ({"attrs": {"a": float("nan")}}, "expected provenance that JSON can hold"),
        ({"attrs": {"finalised": True}}, "expected provenance under names of its own, got ['finalised']"),
    ],
)
def test_a_header_that_makes_no_sense_writes_nothing(sweep, tmp_path, changes, message):
    with pytest.raises(StoreError) as caught:
        Store.create(tmp_path / "a.zarr", sweep.header(**changes))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert os.listdir(tmp_path) == []


def test_a_header_is_read_back_equal(sweep):
    for each in (sweep.header(), sweep.header(plans=(None, None), steps=(0, 2), fps=Fraction(30000, 1001))):
        again = StoreHeader.from_json(json.loads(json.dumps(each.to_json())), each.attrs)
        assert again == each
        assert again.digest == each.digest
    assert sweep.header(layers=np.array([1, 2])) == sweep.header()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda sweep, s: sweep.append(s, 0, 0),
            StoreError,
            "expected a unit that is not done, got prompt 0, step 0, done already",
        ),
        (
            lambda sweep, s: sweep.append(s, 2, 0),
            StoreError,
            "expected a prompt from 0 to 1 and a recorded step, got prompt 2, step 0",
        ),
        (
            lambda sweep, s: s.append(0, 1, sweep.unit_of(0, 0)[:, :1], None, 998.0, 0.5),
            SchemaError,
            "expected mass of shape (1, 2, 2, 4, 4) (branch, layer, head, query_frame, key_frame), got (1, 1, 2, 4, 4)",
        ),
        (
            lambda sweep, s: s.append(0, 1, sweep.unit_of(0, 0), np.zeros((1, 2, 2, 4)), 998.0, 0.5),
            SchemaError,
            "expected no text_mass, got the opposite at prompt 0, step 1",
        ),
        (
            lambda sweep, s: s.append(0, 1, sweep.unit_of(0, 0) * 1.01, None, 998.0, 0.5),
            SchemaError,
            "expected rows that sum to 1",
        ),
        (
            lambda sweep, s: s.append(0, 1, sweep.unit_of(0, 0) * np.nan, None, 998.0, 0.5),
            SchemaError,
            "expected finite mass",
        ),
        (
            lambda sweep, s: s.append(1, 0, sweep.unit_of(0, 0), None, 123.0, 1.0),
            StoreError,
            "expected the timestep that other prompts had at this step, got 123.0 at prompt 1, step 0",
        ),
        (lambda sweep, s: s.finalise(), StoreError, "expected all 6 units done, got 1 in"),
    ],
)
def test_what_cannot_be_appended_changes_nothing(sweep, tmp_path, call, error, message):
    store = Store.create(tmp_path / "a.zarr", sweep.header())
    sweep.append(store, 0, 0)
    before = sweep.files_of(tmp_path)
    with pytest.raises(error) as caught:
        call(sweep, store)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert sweep.files_of(tmp_path) == before


def test_bfloat16_needs_the_wider_tolerance(sweep, tmp_path):
    store = Store.create(tmp_path / "a.zarr", sweep.header(tolerance=1e-3))
    store.append(0, 0, sweep.unit_of(0, 0) * np.float32(1.0005), None, 999.0, 1.0)
    assert validate_store(tmp_path / "a.zarr") == []
    assert schema.violations(store.dataset()) == []


def test_finalise_sweeps_up_and_changes_no_numbers(sweep, tmp_path):
    store = sweep.full_store(tmp_path / "a.zarr")
    before = sweep.files_of(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "mass" / ".c.0.0.0.0.0.0.0.77.partial").write_bytes(b"torn")
    store.finalise()
    store.finalise()
    after = sweep.files_of(tmp_path / "a.zarr")
    assert {name for name in after if after[name] != before.get(name)} == {"zarr.json"}
    assert not list((tmp_path / "a.zarr").rglob("*.partial"))
    assert validate_store(tmp_path / "a.zarr") == []
    assert resume_or_create(tmp_path / "a.zarr", sweep.header()).progress() == (6, 6)
