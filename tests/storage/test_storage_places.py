"""Every chunk belongs to one place: 24 kinds of damage, many of them with good checksums, and none goes unnoticed."""

import json
import random
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from attnscope import schema
from attnscope.errors import StoreError
from attnscope.storage import Store, open_store, validate_store

PROMPTS, STEPS = range(2), range(3)


def mass(prompt, step):
    return f"mass/c.{prompt}.{step}.0.0.0.0.0"


def text(prompt, step):
    return f"text_mass/c.{prompt}.{step}.0.0.0.0"


def done(prompt, step):
    return f"done/c.{prompt}.{step}"


def two_units(rng):
    return rng.sample([(p, s) for p in PROMPTS for s in STEPS], 2)


def swap(store, one, other):
    a, b = (store / one).read_bytes(), (store / other).read_bytes()
    (store / one).write_bytes(b)
    (store / other).write_bytes(a)


def copy(store, names, *, source=None):
    for name, into in names:
        content = ((source or store) / name).read_bytes()
        (store / into).write_bytes(content)


def rewrite(store, name, index, change):
    """Change the values of a chunk, under a checksum that fits."""
    array = zarr.open_array(store / name, mode="r+")
    array.set_block_selection(index, change(array.get_block_selection(index)))


def flip(store, name, rng):
    content = bytearray((store / name).read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    (store / name).write_bytes(bytes(content))


def any_of(store, rng, pattern):
    return str(rng.choice(sorted(store.glob(pattern))).relative_to(store))


def truncate(store, rng, _):
    name = any_of(store, rng, "*/c.*")
    content = (store / name).read_bytes()
    (store / name).write_bytes(content[: rng.randrange(len(content))])


def zero(store, rng, _):
    name = any_of(store, rng, "*/c.*")
    content = (store / name).read_bytes()
    place = rng.randrange(len(content) - 4)
    (store / name).write_bytes(content[:place] + bytes(len(content) - place - 1) + b"\x01")


def tail(store, rng, _):
    name = any_of(store, rng, "*/c.*")
    (store / name).write_bytes((store / name).read_bytes() + rng.randbytes(3))


def unit_from_elsewhere(store, rng, others):
    unit = two_units(rng)[0]
    copy(store, [(name(*unit), name(*unit)) for name in (mass, text, done)], source=others["another run"])


def mass_from_elsewhere(store, rng, others):
    name = mass(*two_units(rng)[0])
    copy(store, [(name, name)], source=others["same run"])


def move_unit(store, rng, _):
    one, other = two_units(rng)
    copy(store, [(name(*one), name(*other)) for name in (mass, text, done)])


def labels_from_elsewhere(store, rng, others):
    step = rng.choice(STEPS)
    names = [(f"{name}/c.{step}",) * 2 for name in ("sigma", "timestep")]
    copy(store, names, source=others["other labels"])


# A store, a random generator, and other stores to take from.
KINDS = {
    "a bit of a mass": lambda s, r, o: flip(s, any_of(s, r, "mass/c.*"), r),
    "a bit of a text mass": lambda s, r, o: flip(s, any_of(s, r, "text_mass/c.*"), r),
    "a bit of a label of a step": lambda s, r, o: flip(
        s, any_of(s, r, r.choice(["sigma/c.*", "timestep/c.*"])), r
    ),
    "a bit of a marker": lambda s, r, o: flip(s, any_of(s, r, "done/c.*"), r),
    "a bit of a coordinate": lambda s, r, o: flip(s, any_of(s, r, "[hklpqb]*/c.*"), r),
    "a bit of the root": lambda s, r, o: flip(s, "zarr.json", r),
    "a bit of the metadata of an array": lambda s, r, o: flip(s, any_of(s, r, "*/zarr.json"), r),
    "truncated": truncate,
    "zeros": zero,
    "the checksum of nothing": lambda s, r, o: (s / any_of(s, r, "*/c.*")).write_bytes(bytes(4)),
    "a tail": tail,
    "a file lost": lambda s, r, o: (s / any_of(s, r, "*/*")).unlink(),
    "a label lost": lambda s, r, o: (s / any_of(s, r, r.choice(["sigma/c.*", "timestep/c.*"]))).unlink(),
    "masses that changed places": lambda s, r, o: swap(s, *[mass(*unit) for unit in two_units(r)]),
    "texts that changed places": lambda s, r, o: swap(s, *[text(*unit) for unit in two_units(r)]),
    "markers that changed places": lambda s, r, o: swap(s, *[done(*unit) for unit in two_units(r)]),
    "sigmas that changed places": lambda s, r, o: swap(s, *[f"sigma/c.{x}" for x in r.sample(STEPS, 2)]),
    "a mass of another step": lambda s, r, o: copy(s, [tuple(mass(*unit) for unit in two_units(r))]),
    "a whole unit of another step": move_unit,
    "a mass of another store": mass_from_elsewhere,
    "a whole unit of another run": unit_from_elsewhere,
    "labels of another store": labels_from_elsewhere,
    "the root of another run": lambda s, r, o: copy(s, [("zarr.json", "zarr.json")], source=o["another run"]),
    "keys in another order": lambda s, r, o: rewrite(
        s, "mass", (r.choice(PROMPTS), r.choice(STEPS), 0, 0, 0, 0, 0), lambda values: values[..., ::-1]
    ),
    "another sigma": lambda s, r, o: rewrite(s, "sigma", (r.choice(STEPS),), lambda values: values / 2),
    "a marker of the schema before": lambda s, r, o: rewrite(
        s, "done", two_units(r)[0], lambda values: np.ones_like(values)
    ),
}


def write_store(sweep, path, *, of_prompt=(0, 1), sigma=1.0, **changes):
    """A whole store in which no two units hold the same numbers."""
    store = Store.create(path, sweep.header(has_text_mass=True, **changes))
    for prompt, step in sweep.UNITS:
        share = 0.25 + 0.01 * (3 * prompt + step)
        values = sweep.unit_of(of_prompt[prompt], step, 1 - share)
        given_text = np.full((1, 2, 2, 4), share, np.float32)
        store.append(prompt, step, values, given_text, timestep=999.0 - step, sigma=sigma - step / 3)
    store.finalise()
    return path


@pytest.fixture(scope="module")
def sound(sweep, tmp_path_factory):
    return write_store(sweep, tmp_path_factory.mktemp("sound") / "sound.zarr")


@pytest.fixture(scope="module")
def others(sweep, tmp_path_factory):
    folder = tmp_path_factory.mktemp("others")
    return {
        "same run": write_store(sweep, folder / "same.zarr", of_prompt=(1, 0)),
        "another run": write_store(sweep, folder / "run.zarr", seeds=(7, 8)),
        "other labels": write_store(sweep, folder / "labels.zarr", sigma=2.0),
    }


def damage(kind, num_trials, sound, others, folder):
    """Damage copies in one kind of way; returns what validate missed, and where opening gave other numbers."""
    truth, missed, other_numbers = open_store(sound), [], []
    for trial in range(num_trials):
        copied = folder / f"{trial}.zarr"
        shutil.copytree(sound, copied)
        KINDS[kind](copied, random.Random(f"{kind} {trial}"), others)
        if not validate_store(copied):
            missed.append(trial)
        # what cannot be opened is not silent
        with suppress(StoreError):
            if not open_store(copied).identical(truth):
                other_numbers.append(trial)
    return missed, other_numbers


def test_there_are_two_dozen_kinds_of_damage():
    assert len(KINDS) >= 24


@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_of_any_kind_is_silent(kind, sound, others, tmp_path):
    assert damage(kind, 1, sound, others, tmp_path) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_out_of_500_is_silent(kind, sound, others, tmp_path):
    assert damage(kind, 500 // len(KINDS) + 1, sound, others, tmp_path) == ([], [])


@pytest.mark.parametrize("name", ["sigma/c.1", "timestep/c.1"])
def test_a_lost_label_is_an_error_at_opening(sweep, tmp_path, name):
    sweep.full_store(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / name).unlink()
    for attempt in (Store.open, open_store, lambda path: open_store(path, lazy=True)):
        with pytest.raises(
            StoreError, match="expected a whole chunk, got a missing or damaged one"
        ) as caught:
            attempt(tmp_path / "a.zarr")
        assert name in str(caught.value)


def test_labels_of_a_step_that_nobody_has_run_are_not_missed(sweep, tmp_path):
    store = Store.create(tmp_path / "a.zarr", sweep.header())
    sweep.append(store, 0, 1)
    assert Store.open(tmp_path / "a.zarr").progress() == (1, 6)


@pytest.fixture(params=[1, 2])
def old(tmp_path, request):
    """A store that a version before wrote: four of six units; in schema 2 also a revision of digits only."""
    with zipfile.ZipFile(Path(__file__).parent / "data" / f"schema_{request.param}.zip") as packed:
        packed.extractall(tmp_path / "old.zarr")
    return tmp_path / "old.zarr"


def test_a_store_of_a_schema_before_is_read_and_goes_on(sweep, old):
    assert validate_store(old) == []
    store = Store.open(old)
    assert store.progress() == (4, 6)
    version = json.loads((old / "zarr.json").read_text())["attributes"]["attnscope_schema"]
    assert store.header.attrs.get("revision", "12") == "12"
    before = sweep.files_of(old)
    for unit in sweep.UNITS[4:]:
        sweep.append(store, *unit)
    store.finalise()
    assert {name: before[name] for name in before if name != "zarr.json"}.items() <= sweep.files_of(
        old
    ).items()
    assert validate_store(old) == []
    dataset = open_store(old)
    assert dataset.attrs["attnscope_schema"] == version
    assert schema.parse_attributes(dataset.attrs)["scheduler"] == {"shift": 8.0}
    assert Store.open(old).header == store.header
    np.testing.assert_array_equal(dataset.mass.values[1, 2], sweep.unit_of(1, 2, 0.75))
    assert xr.open_zarr(old, chunks=None).done.dtype == (bool if version == 1 else np.uint64)


def test_in_a_store_of_a_schema_before_a_lost_label_is_an_error_too(old):
    (old / "sigma" / "c.0").unlink()
    with pytest.raises(StoreError, match="sigma/c.0"):
        open_store(old)
