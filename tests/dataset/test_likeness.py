"""How alike pictures are: colours against a count by hand, halves against the parts they are made of."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from attnscope.dataset import likeness
from attnscope.dataset.likeness import encode_colours, scene_encoder
from attnscope.errors import SetupError
from attnscope.metrics.encoders.registry import Missing, find_encoder


def count_colours(picture: np.ndarray) -> Counter[tuple[int, int, int]]:
    """Colours of a picture, pixel by pixel, after ITU-R BT.601."""
    counts: Counter[tuple[int, int, int]] = Counter()
    for red, green, blue in picture.reshape(-1, 3).astype(float):
        bright = 0.299 * red + 0.587 * green + 0.114 * blue
        tones = bright / 32, (blue - bright) / 1.772 / 16 + 4, (red - bright) / 1.402 / 16 + 4
        counts[tuple(min(7, max(0, int(tone))) for tone in tones)] += 1  # type: ignore[index]
    return counts


def test_colours_are_compared_as_a_count_by_hand_compares_them() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (4, 1, 1, 3))
    pictures = np.clip(base + rng.integers(-60, 60, (4, 16, 16, 3)), 0, 255).astype(np.uint8)
    alike = encode_colours(pictures) @ encode_colours(pictures).T
    counts = [count_colours(picture) for picture in pictures]
    expected = [
        [sum((one[colour] * other[colour]) ** 0.5 for colour in one) / 256 for other in counts]
        for one in counts
    ]
    # a colour on the border of two bins may fall to either side
    assert np.allclose(alike, expected, atol=0.02)
    assert alike.min() < 0.7


def test_likeness_is_the_mean_of_what_is_seen_and_of_the_colours() -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (3, 128, 128, 3)).astype(np.uint8)
    pictures[1] //= 3
    seen = find_encoder("visual", "efficientnet-lite0")
    assert not isinstance(seen, Missing)
    parts = [encode(pictures) for encode in (scene_encoder().encode, seen.encode, encode_colours)]
    both, one, other = (vectors @ vectors.T for vectors in parts)
    assert np.allclose(both, (one + other) / 2, atol=1e-5)
    assert np.allclose(np.diag(both), 1, atol=1e-5)


def test_where_a_thing_is_does_not_change_its_colours() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    assert np.allclose(encode_colours(picture), encode_colours(picture[:, ::-1, ::-1]))


def test_without_its_package_nothing_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness, "find_encoder", lambda *_: Missing("visual", "it is not there"))
    with pytest.raises(SetupError, match="it is not there; install attnscope"):
        scene_encoder()


def test_the_encoder_of_the_paper_is_refused_with_its_reason() -> None:
    found = find_encoder("visual", "imagebind")
    assert isinstance(found, Missing)
    assert found.reason.startswith("imagebind is a pickle of weights for code of its own")
