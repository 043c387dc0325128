"""JSON that we wrote: 1,000 random corruptions of four kinds of document, none of them silent, none a traceback."""

import json
import os
import random
from pathlib import Path

import msgspec
import pytest

import attnscope as scope
from attnscope.errors import InputError, StoreError
from attnscope.metrics import Settings
from attnscope.metrics.references import Reference, read_reference
from attnscope.metrics.scoring import batches, kept_rows
from attnscope.metrics.scoring.manifests import Listed
from attnscope.storage.sealed import MAX_BYTES, SealError, read_sealed, seal, unseal, write_sealed
from attnscope.sweeping.store import FilmKey, SweepStore, header_of
from attnscope.sweeping.variants import Variant

REFERENCE = Reference(
    40, {"inter_visual": tuple(k / 40 for k in range(40))}, {"inter_visual": "lite0:abc"}, "vote"
)
ROW = {
    "status": "ok",
    "file": "a.mp4",
    "error": None,
    "cuts_detected_frame": [13, 20],
    "soft_control": float("nan"),
    "consistency": {"inter_visual": {"value": 0.1 + 0.2, "reason": None}, "worse": {"value": float("nan")}},
    "probabilities": [1e-05, 0.5, 1.0],
}
SETTINGS = Settings(detector="content")
KEYS = [
    FilmKey(film, seed, variant)
    for film in range(2)
    for seed in (0, 1)
    for variant in (Variant("none"), Variant("strength 2", layers="1-3", strength=2.0))
]


def flip(content, rng):
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def other_digit(content, rng):
    places = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    place = rng.choice(places)
    return content[:place] + bytes([rng.choice(b"0123456789")]) + content[place + 1 :]


def splice(content, rng):
    start, stop = sorted(rng.sample(range(len(content)), 2))
    return content[:start] + content[stop:]


def insert(content, rng):
    place = rng.randrange(len(content))
    extra = rng.choice(
        [b" ", b"\n", b"0", b"-", b"e9", b'"x": 1, ', b"null", b"[" * 5000, b"\x00", b"\xff", b"NaN"]
    )
    return content[:place] + extra + content[place:]


def retype(content, rng):
    """Another value for one that is somewhere in the document, written as JSON anew."""
    document = json.loads(content)
    part = document["body"]
    while isinstance(part, dict | list) and part:
        key = rng.choice(list(part) if isinstance(part, dict) else range(len(part)))
        if not isinstance(part[key], dict | list) or rng.random() < 0.3:
            part[key] = rng.choice([None, True, "x", -1, 1e308, [], {}, 10**30, [[[]]], 0.25])
            break
        part = part[key]
    return json.dumps(document).encode()


DAMAGES = [
    flip,
    other_digit,
    splice,
    insert,
    retype,
    lambda content, rng: content[: rng.randrange(len(content))],
    lambda content, rng: b"",
    lambda content, rng: rng.randbytes(200),
    lambda content, rng: content + content,
    lambda content, rng: b"[" * rng.randrange(1, 200_000),
]


@pytest.fixture
def film(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"a film")
    return Listed(tmp_path / "a.mp4", "a.mp4")


@pytest.fixture
def sweep_store(tmp_path):
    header = header_of(
        model="Wan",
        weights="ab",
        rule="same_shot",
        prompts=["a", "b"],
        seeds=[0, 1],
        num_frames=[17, 17],
        cuts_frame=[[5], [9]],
        arguments={"guidance_scale": 5.0},
    )
    store, _ = SweepStore.resume_or_create(tmp_path / "sweep", header)
    for number, key in enumerate(KEYS):
        store.put(key, [5 + number], {".png": b"strip"})
    return store


def damaged(path, rng):
    content = path.read_bytes()
    changed = content
    while changed == content:
        changed = rng.choice(DAMAGES)(content, rng)
    path.write_bytes(changed)
    return content


def test_250_damaged_references_are_all_refused(tmp_path):
    rng, path = random.Random(0), REFERENCE.write(tmp_path / "reference.json")
    assert read_reference(path) == REFERENCE
    for _ in range(250):
        content = damaged(path, rng)
        with pytest.raises(InputError, match="expected a reference of version") as caught:
            read_reference(path)
        assert "\n" not in str(caught.value)
        path.write_bytes(content)


def test_250_damaged_rows_are_all_scored_anew(tmp_path):
    rng = random.Random(1)
    kept_rows.save_row(tmp_path, "a request", ROW)
    assert json.dumps(kept_rows.load_row(tmp_path, "a request")) == json.dumps(ROW)
    (path,) = (tmp_path / "rows").iterdir()
    for _ in range(250):
        content = damaged(path, rng)
        assert kept_rows.load_row(tmp_path, "a request") is None
        path.write_bytes(content)


def test_250_damaged_films_and_headers_are_all_named(sweep_store):
    rng, truth = random.Random(2), scope.open_sweep(sweep_store.path)
    assert truth.num_detected.notnull().all()
    for trial in range(250):
        films = sorted((sweep_store.path / "films").glob("*.json"))
        path = sweep_store.path / "sweep.json" if trial % 5 == 0 else rng.choice(films)
        content = damaged(path, rng)
        with pytest.raises(StoreError) as caught:
            scope.open_sweep(sweep_store.path)
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)
        path.write_bytes(content)
    assert scope.open_sweep(sweep_store.path).identical(truth)


def test_250_films_that_lie_elsewhere_are_all_noticed(sweep_store, tmp_path):
    """Whole files with good checksums: of another film, of another sweep."""
    rng = random.Random(3)
    header = msgspec.structs.replace(sweep_store.header, rule="halo(1)")
    other, _ = SweepStore.resume_or_create(tmp_path / "other", header)
    for number, key in enumerate(KEYS):
        other.put(key, [6 + number], {".png": b"strip"})
    for trial in range(250):
        here, there = rng.sample(KEYS, 2)
        store, key = (other, here) if trial % 2 else (sweep_store, there)
        source = store.path / "films" / key.file_name
        path = sweep_store.path / "films" / here.file_name
        content = path.read_bytes()
        path.write_bytes(source.read_bytes())
        for ask in (lambda: scope.open_sweep(sweep_store.path), lambda key=here: sweep_store.has(key)):
            with pytest.raises(StoreError, match="expected the film that belongs here"):
                ask()
        path.write_bytes(content)


def test_a_sweep_of_the_version_before_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "films").mkdir()
    (tmp_path / "sweep.json").write_text(json.dumps({"format": "attnscope sweep 1", "model": "Wan"}))
    with pytest.raises(StoreError, match="begin the sweep anew in another folder"):
        scope.open_sweep(tmp_path)


def test_what_json_would_change_is_not_written(tmp_path):
    class Body(msgspec.Struct):
        value: object

    for value in (float("nan"), float("inf"), {"a": [float("nan")]}):
        with pytest.raises(ValueError, match="no number of JSON"):
            write_sealed(tmp_path / "a.json", "a kind", Body(value))
    deep = []
    for _ in range(60):
        deep = [deep]
    with pytest.raises(ValueError, match="levels"):
        write_sealed(tmp_path / "a.json", "a kind", Body(deep))
    assert list(tmp_path.iterdir()) == []
    text = seal("a kind", Body(1))
    with pytest.raises(SealError, match="of the kind 'a kind'"):
        unseal(text, "another kind", Body)


def test_a_file_beyond_the_limit_is_not_read(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(SealError, match="more than"):
        read_sealed(tmp_path / "a.json", "a kind", msgspec.Struct)


def test_a_film_replaced_at_equal_size_and_time_is_scored_anew(tmp_path, film):
    kept_rows.save_row(tmp_path, batches._digest_request(film, SETTINGS), ROW)
    state = os.stat(film.path)
    Path(film.path).write_bytes(b"b film")
    os.utime(film.path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert batches._load_earlier_row(tmp_path, film, SETTINGS) is None
    film.path.unlink()
    assert batches._load_earlier_row(tmp_path, film, SETTINGS) is None
