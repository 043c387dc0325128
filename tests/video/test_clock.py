"""The rate of a film is that of its frames, to within the grain of their stamps."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from attnscope.errors import VideoError
from attnscope.video.clock import FrameClock, _simplest_between, positive_rate

NTSC = [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001)]


def clock(
    stamps: list[int | None], base: Fraction, declared: list[Fraction | int | None] | None = None
) -> FrameClock:
    made = FrameClock(base, declared=[each and Fraction(each) for each in declared or []], where="in a.mkv")
    for stamp in stamps:
        made.tick(stamp)
    return made


def rounded(fps: Fraction, base: Fraction, num: int) -> list[int | None]:
    return [round(k / fps / base) for k in range(num)]


@pytest.mark.parametrize("fps", [*map(Fraction, (5, 8, 10, 12, 15, 16, 24, 25, 30, 50, 60)), *NTSC])
@pytest.mark.parametrize("base", [Fraction(1, 1000), Fraction(1, 90_000), Fraction(1, 15_360)])
@pytest.mark.parametrize("declared", [None, 1000, 25])
def test_the_stamps_are_believed_whatever_the_header_says(
    fps: Fraction, base: Fraction, declared: int | None
) -> None:
    # with a grain of a millisecond 29.97 and 30 are told apart from 1 400 frames on
    assert clock(rounded(fps, base, 2000), base, [declared]).rate() == fps


@pytest.mark.parametrize("fps", [10, 12, 15, 16, 24, 25, 30])
def test_hundredths_of_a_second_are_enough(fps: int) -> None:
    assert clock(rounded(Fraction(fps), Fraction(1, 100), 80), Fraction(1, 100), [fps]).rate() == fps


@pytest.mark.parametrize("declared", [*NTSC, Fraction(24), Fraction(30), Fraction(60)])
def test_of_the_rates_that_fit_a_short_film_it_is_the_declared_one(declared: Fraction) -> None:
    assert clock(rounded(declared, Fraction(1, 1000), 40), Fraction(1, 1000), [declared]).rate() == declared


def test_a_film_that_changed_its_container_keeps_its_grain() -> None:
    in_ms = [16 * round(1000 * k / 24) for k in range(300)]
    assert clock(in_ms, Fraction(1, 16_000), [Fraction(1_000_000, 41_667)]).rate() == 24


def test_an_odd_rate_is_taken_as_it_is() -> None:
    assert clock([8 * k for k in range(9)], Fraction(1, 100), [Fraction(25, 2)]).rate() == Fraction(25, 2)
    assert clock([6 * k for k in range(9)], Fraction(1, 100), [16]).rate() == Fraction(50, 3)


def test_stamps_out_of_order_and_no_stamps_at_all() -> None:
    assert clock([1, 4, 3, 5, 2, 8, 7, 6], Fraction(1, 24), [24]).rate() == 24
    assert clock([None] * 40, Fraction(1, 1_200_000), [None, Fraction(24), Fraction(25)]).rate() == 24
    with pytest.raises(VideoError, match="neither time stamps nor a rate in the header in a.mkv"):
        clock([None] * 40, Fraction(1, 1_200_000)).rate()


def test_two_frames_have_the_rate_that_is_declared() -> None:
    assert clock([0, 1], Fraction(1, 24), [24]).rate() == 24
    assert clock([0, 42], Fraction(1, 1000), [24]).rate() == 24
    assert clock([0, 42], Fraction(1, 1000)).rate() == Fraction(500, 21)


def test_trembling_stamps_give_the_mean() -> None:
    trembling = np.arange(900) * 100 / 3 + np.random.default_rng(0).uniform(-8, 8, 900)
    stamps: list[int | None] = [int(each) for each in np.round(trembling)]
    assert clock(stamps, Fraction(1, 1000), [30]).rate() == 30


@pytest.mark.parametrize(
    "stamps",
    [
        [*range(0, 200, 2), *range(200, 300)],  # twice as fast from the middle on
        [*range(0, 80, 2), *range(82, 160, 2)],  # one frame is missing
        [*range(0, 80, 2), 80, 80, *range(84, 160, 2)],  # one comes twice
        [0, 2, 4, 9, 11, 13],
        [7, 7, 7, 7],
    ],
)
def test_uneven_frames_are_refused(stamps: list[int | None]) -> None:
    with pytest.raises(VideoError, match="constant frame rate.*in a.mkv; re-encode"):
        clock(stamps, Fraction(1, 48), [24]).rate()


def test_a_long_uneven_film_is_refused_on_the_way() -> None:
    made = clock([], Fraction(1, 48), [24])

    def run() -> None:
        for k in range(10_000):
            made.tick(2 * k + max(0, k - 600))

    with pytest.raises(VideoError, match="constant frame rate"):
        run()
    assert made.num_frames < 1200


@pytest.mark.parametrize(
    ("low", "high", "found"), [("1.9", "2.1", "2"), ("2.1", "2.9", "5/2"), ("0.3", "0.34", "1/3")]
)
def test_the_simplest_fraction_between(low: str, high: str, found: str) -> None:
    assert _simplest_between(Fraction(low), Fraction(high)) == Fraction(found)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), True, "24"])
def test_what_is_no_rate_is_refused(rate: object) -> None:
    with pytest.raises(VideoError, match="expected a positive frame rate"):
        positive_rate(rate)  # type: ignore[arg-type]
