"""Every damaged byte is found, and named by its file."""

import contextlib
import dataclasses
import random
import shutil

import numpy as np
import pytest
import zarr

from attnscope.errors import StoreError
from attnscope.storage import Store, open_store, validate_store


def _flip(content, rng):
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def _truncate(content, rng):
    return content[: rng.randrange(len(content))]


def _zero(content, rng):
    place = rng.randrange(len(content))
    return content[:place] + bytes(min(64, len(content) - place)) + content[place + 64 :]


def _zero_to_four(content, rng):
    # The checksum of nothing is four zero bytes.
    return bytes(4)


DAMAGES = (_flip, _flip, _truncate, _zero, _zero_to_four)


@contextlib.contextmanager
def damaged(path, names, rng):
    """Damage files, and repair them on leaving."""
    originals = {name: (path / name).read_bytes() for name in names}
    try:
        for name, content in originals.items():
            changed = content
            while changed == content:
                changed = rng.choice(DAMAGES)(content, rng)
            (path / name).write_bytes(changed)
        yield
    finally:
        for name, content in originals.items():
            (path / name).write_bytes(content)


@pytest.fixture
def copy(pristine, tmp_path):
    shutil.copytree(pristine, tmp_path / "copy.zarr")
    return tmp_path / "copy.zarr"


def test_damage_to_any_file_is_noticed(sweep, copy):
    rng = random.Random(1)
    assert validate_store(copy) == []
    for name in sorted(sweep.files_of(copy)):
        with damaged(copy, [name], rng):
            lines = validate_store(copy)
        assert len(lines) == 1, name
        assert str(copy / name) in lines[0]
        assert len(lines[0].splitlines()) == 1
    assert validate_store(copy) == []


def test_all_of_several_damaged_files_are_listed(sweep, copy):
    rng, names = random.Random(2), sorted(set(sweep.files_of(copy)) - {"zarr.json"})
    for _ in range(30):
        broken = rng.sample(names, 10)
        with damaged(copy, broken, rng):
            lines = validate_store(copy)
        assert {name for name in names if any(f"{copy / name};" in line for line in lines)} == set(broken)
        assert len(lines) == 10


def test_a_damaged_root_hides_no_damaged_chunk(sweep, copy):
    rng, names = (
        random.Random(3),
        sorted(name for name in sweep.files_of(copy) if not name.endswith("zarr.json")),
    )
    for _ in range(10):
        broken = rng.sample(names, 10)
        with damaged(copy, ["zarr.json", *broken], rng):
            lines = validate_store(copy)
        assert {name for name in names if any(f"{copy / name};" in line for line in lines)} == set(broken)


def test_damaged_metadata_never_raises(sweep, copy):
    rng = random.Random(4)
    documents = sorted(name for name in sweep.files_of(copy) if name.endswith("/zarr.json"))
    for _ in range(20):
        with damaged(copy, ["zarr.json", *rng.sample(documents, 8)], rng):
            assert str(copy / "zarr.json") in validate_store(copy)[0]


@pytest.mark.parametrize(
    "name", ["mass/c.1.2.0.0.0.0.0", "text_mass/c.0.0.0.0.0.0", "prompt/c.0", "timestep/c.1", "done/c.0.1"]
)
def test_a_missing_file_is_missed(copy, name):
    (copy / name).unlink()
    assert [line for line in validate_store(copy) if str(copy / name) in line]


def _rewrite(path, name, index, values):
    zarr.open_array(path / name, mode="r+").set_block_selection(index, values)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "expected finite mass, got 64 values"),
        (0.5, "expected rows that sum to 1"),
        (-9.0, "expected mass >= 0"),
    ],
)
def test_wrong_numbers_under_a_right_checksum(copy, value, message):
    _rewrite(copy, "mass", (1, 2, 0, 0, 0, 0, 0), np.full((1, 1, 1, 2, 2, 4, 4), value, np.float32))
    lines = validate_store(copy)
    if np.isnan(value):
        # zarr drops a chunk that holds only the fill value.
        assert lines == [line for line in lines if "expected a chunk" in line]
    else:
        assert message in lines[0]
        assert "prompt 1, step 2" in lines[0]
    assert len(lines) == 1


def test_other_labels_under_a_right_checksum(copy):
    _rewrite(copy, "layer", (0,), np.array([7, 8], np.int32))
    (line,) = validate_store(copy)
    assert "expected what the header says, got [7, 8] at" in line


def test_an_edited_attribute_is_noticed(copy):
    text = (copy / "zarr.json").read_text()
    (copy / "zarr.json").write_text(text.replace('"model_id": "tiny"', '"model_id": "huge"'))
    with pytest.raises(StoreError, match="expected sound metadata, got a damaged or edited file"):
        open_store(copy)
    assert len(validate_store(copy)) == 1


def test_a_damaged_chunk_is_an_error_when_read(copy):
    with damaged(copy, ["mass/c.0.1.0.0.0.0.0"], random.Random(4)):
        store = Store.open(copy)
        with pytest.raises(
            StoreError, match="expected a whole chunk, got a missing or damaged one at"
        ) as caught:
            store.dataset()
    assert len(str(caught.value).splitlines()) == 1


def test_headers_are_replaced_not_changed(sweep):
    with pytest.raises(dataclasses.FrozenInstanceError):
        sweep.header().seeds = (1, 2)
