"""The data of a training run: what is read, what is left out and why, what is kept and when it is refused."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
import torch

from attnscope import ShotPlan
from attnscope.dataset import render, sample_scene
from attnscope.errors import InputError
from attnscope.testing import tiny
from attnscope.training.cache import Cache, data_digest, fingerprint, read_checked
from attnscope.training.clips import Clip, DrawnFilms, FilmSize, clip_of, read_clips
from attnscope.training.denoisers import find_trainable
from attnscope.video.files import write_video

SIZE = FilmSize(17, 32, 32, None, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of clips, with a manifest in which most lines are wrong in some way."""
    folder = tmp_path_factory.mktemp("clips")
    scene = sample_scene(20, num_shots=2, num_frames=17)
    film = render(scene, height=48, width=64)
    for name in ("good", "timed", "marked", "uncaptioned", "miscounted", "counted"):
        write_video(folder / f"{name}.mp4", film, 16)
    write_video(folder / "short.mp4", film[:3], 16)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "torn.mp4").write_bytes((folder / "good.mp4").read_bytes()[:300])
    cut = scene.plan.cuts_frame[0]
    rows = [
        "file,shots,caption,captions,marked_cut_frames,requested_shots",
        f'good.mp4,"0-{cut}f,{cut}-17f",a film,one | two,,',
        'timed.mp4,"0-0.3s,0.3-1.0625s",a film,,,',
        f"marked.mp4,,a film,one | two,{cut},",
        "uncaptioned.mp4,,,,,",
        f"miscounted.mp4,,a film,one | two | three,{cut},",
        "counted.mp4,,a film,,,2",
        "short.mp4,,a film,,,",
        "empty.mp4,,a film,,,",
        "torn.mp4,,a film,,,",
        "absent.mp4,,a film,,,",
        "good.mp4,0-1s+,a film,,,",
    ]
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def encode(data, cache, name="wan", size=SIZE):
    clips, reasons = read_clips(data, SIZE)
    kept = Cache(cache, find_trainable(tiny(name)), size)
    films, refused = kept.films(clips)
    return films, reasons + refused


def test_bad_lines_are_left_out_and_say_why(folder, tmp_path):
    films, reasons = encode(folder, tmp_path)
    assert [film.clip.name for film in films] == ["good.mp4", "timed.mp4", "marked.mp4"]
    told = "\n".join(reasons)
    assert len(reasons) == 8
    for name, reason in {
        "uncaptioned": "expected a caption",
        "miscounted": "a caption for each of 2 shots, got 3",
        "counted": "expected the times of its cuts, got 2 shots and no times",
        "short": "expected a video of at least 5 frames",
        "empty": "expected a video that can be decoded",
        "torn": "expected a video that can be decoded",
        "absent": "which is not there",
    }.items():
        line = next(line for line in reasons if re.search(rf"\b{name}\.mp4", line))
        assert reason in line, line
    assert "line 12" in told
    assert all(len(line.splitlines()) == 1 for line in reasons)


def test_cuts_of_a_file_are_on_the_latent_grid(folder, tmp_path):
    films, _ = encode(folder, tmp_path)
    expected = sample_scene(20, num_shots=2, num_frames=17).plan.to_latent(4).cuts
    assert [film.plan.cuts for film in films] == [expected, (2,), expected]
    assert films[0].clip.captions == ("one", "two")
    assert films[0].tensors()["latents"].shape == (16, 5, 4, 4)


def test_a_long_film_loses_its_end_and_a_lower_rate_takes_fewer_frames(tmp_path):
    frames = render(sample_scene(1, num_shots=1, num_frames=33), height=32, width=32)
    plan = ShotPlan.from_frames([9, 25], num_frames=33, fps=16)
    clip = Clip("long", "a film", (), "a film", (frames, plan))
    cut, shortened = clip.load(SIZE)
    assert (len(cut), shortened.cuts_frame) == (17, (9,))
    write_video(tmp_path / "long.mp4", frames, 16)
    (tmp_path / "manifest.csv").write_text("file,caption,marked_cut_frames\nlong.mp4,a film,16\n")
    (listed,), _ = read_clips(tmp_path, SIZE)
    slow, plan = listed.load(FilmSize(17, 32, 32, Fraction(8), 4))
    assert (len(slow), plan.cuts_frame, plan.fps) == (17, (8,), 8)


def test_films_are_encoded_once(folder, tmp_path, monkeypatch):
    films, _ = encode(folder, tmp_path)
    before = data_digest(films)
    from attnscope.families import Wan

    monkeypatch.setattr(Wan, "encode", lambda *_: pytest.fail("encoded again"))
    monkeypatch.setattr(Wan, "encode_text", lambda *_: pytest.fail("encoded again"))
    again, _ = encode(folder, tmp_path)
    assert data_digest(again) == before


def test_latents_are_those_of_the_pipeline(tmp_path):
    pipe = tiny("wan")
    scene = sample_scene(3, num_shots=2, num_frames=17)
    kept = Cache(tmp_path, find_trainable(pipe), SIZE)
    latents = kept.film(clip_of(scene)).tensors()["latents"]
    frames = render(scene, height=32, width=32)
    video = torch.from_numpy(frames).permute(3, 0, 1, 2)[None] / 127.5 - 1
    with torch.no_grad():
        mean = pipe.vae.encode(video).latent_dist.mode()[0]
    config = pipe.vae.config
    for channel in range(16):
        by_hand = (mean[channel] - config.latents_mean[channel]) / config.latents_std[channel]
        assert torch.allclose(latents[channel], by_hand, atol=1e-5)


def test_a_cache_of_another_model_or_size_is_refused(folder, tmp_path):
    encode(folder, tmp_path)
    pipe = tiny("wan")
    with torch.no_grad():
        next(pipe.vae.parameters()).add_(0.01)
    with pytest.raises(InputError, match="a cache of model .* delete this one"):
        Cache(tmp_path, find_trainable(pipe), SIZE)
    with pytest.raises(
        InputError, match="a cache of size '17 x 64 x 32 at own fps', got '17 x 32 x 32 at own fps'"
    ):
        Cache(tmp_path, find_trainable(tiny("wan")), FilmSize(17, 64, 32, None, 4))


def test_what_is_trained_does_not_change_the_cache():
    pipe = tiny("wan")
    before = fingerprint(find_trainable(pipe))
    with torch.no_grad():
        next(pipe.transformer.parameters()).add_(0.01)
    assert fingerprint(find_trainable(pipe)) == before


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:-9] + bytes(9), lambda b: b"x" * len(b)])
def test_a_damaged_film_is_named(folder, tmp_path, damage):
    films, _ = encode(folder, tmp_path)
    films[0].path.write_bytes(damage(films[0].path.read_bytes()))
    with pytest.raises(InputError, match="expected a file as it was written.*delete it"):
        read_checked(films[0].path)
    _, reasons = encode(folder, tmp_path)
    assert any(films[0].path.name in line for line in reasons)


def test_drawn_films_are_as_asked():
    size = FilmSize(49, 64, 64, None, 4)
    clips = DrawnFilms(4, (1, 2), options={"world": "plain"}).clips(size)
    assert [len(clip.captions) for clip in clips] == [0, 2, 0, 2]
    frames, plan = clips[1].load(size)
    assert np.array_equal(frames, render(sample_scene(1, num_shots=2, world="plain")))
    assert plan.num_shots == 2


@pytest.mark.parametrize("size", [FilmSize(16, 64, 64, Fraction(8), 1), FilmSize(17, 64, 64, None, 4)])
def test_drawn_films_have_their_shots_on_the_clock_of_the_model(size):
    for clip, num_shots in zip(DrawnFilms(8, (2, 1)).clips(size), [2, 1] * 4, strict=True):
        frames, plan = clip.load(size)
        assert (len(frames), plan.fps, plan.num_shots) == (size.num_frames, size.fps or 16, num_shots)
        assert plan.to_latent(size.stride).num_shots == num_shots
        assert not plan.notes


def test_many_shots_find_room_in_a_short_film():
    (clip,) = DrawnFilms(1, (3,)).clips(SIZE)
    assert clip.load(SIZE)[1].num_shots == 3


def test_films_whose_length_and_rate_are_told_are_what_they_were():
    """A run that was begun before films followed the model goes on with its own."""
    size = FilmSize(16, 64, 64, Fraction(8), 1)
    clips = DrawnFilms(4, (1, 2), num_frames=49, fps=16).clips(size)
    assert [clip.source for clip in clips] == [
        sample_scene(seed, num_shots=1 + seed % 2, num_frames=49, fps=16) for seed in range(4)
    ]


def test_films_that_lose_a_shot_are_named(tmp_path):
    films, reasons = encode(DrawnFilms(6, (3,), num_frames=49), tmp_path)
    assert reasons == []
    assert {film.plan.num_shots for film in films} == {1, 2}
    assert all("of 3 shots begin behind frame 17" in film.note for film in films)
    assert all(film.note for film in encode(DrawnFilms(6, (3,), num_frames=49), tmp_path)[0])
    assert not any(film.note for film in encode(DrawnFilms(2, (1,)), tmp_path)[0])
    # a plan that was rounded when it was asked for loses no shot
    plan = ShotPlan.from_seconds([0.5], duration=1, fps=16)
    assert plan.notes
    clip = Clip("own", "a dog", (), "a dog", (np.zeros((17, 32, 32, 3), np.uint8), plan))
    assert not encode([clip], tmp_path)[0][0].note


def test_latents_that_are_no_numbers_are_left_out(tmp_path, monkeypatch):
    from attnscope.families import Wan

    monkeypatch.setattr(Wan, "encode", lambda *_: torch.full((1, 16, 5, 4, 4), torch.nan))
    _, reasons = encode(DrawnFilms(1, (1,), num_frames=17), tmp_path)
    assert "latents that are numbers, got NaN" in reasons[0]
