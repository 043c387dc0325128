import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnscope.errors import LayoutError
from attnscope.families.layout import FrameLayout, Segment

segments = st.lists(
    st.tuples(st.sampled_from(["frame", "text", "padding"]), st.integers(1, 7)), min_size=1, max_size=12
).filter(lambda kinds: any(kind == "frame" for kind, _ in kinds))


def _layout(kinds):
    counts = {"frame": 0, "text": 0, "padding": 0}
    made = []
    for kind, size in kinds:
        made.append(Segment(kind, counts[kind], size))
        counts[kind] += 1
    return FrameLayout(tuple(made))


@given(segments)
def test_every_token_is_counted_one_by_one(kinds):
    layout = _layout(kinds)
    by_hand, frame = [], -1
    for kind, size in kinds:
        frame += kind == "frame"
        by_hand += [{"frame": frame, "text": -1, "padding": -2}[kind]] * size
    assert layout.token_frame().tolist() == by_hand
    assert layout.num_tokens == len(by_hand)
    assert layout.num_frames == frame + 1
    assert layout.offsets[0] == 0
    assert layout.offsets[-1] == len(by_hand)
    assert np.diff(layout.offsets).tolist() == [size for _, size in kinds]
    assert [kinds[position][0] for position in layout.frame_segments] == ["frame"] * layout.num_frames
    assert all(kinds[position][0] == "text" for position in layout.text_segments)


def test_wan_480p_has_1560_tokens_in_each_of_21_frames():
    layout = FrameLayout.uniform(21, 1560)
    assert layout.num_tokens == 32_760
    assert layout.text_segments == ()
    assert np.bincount(layout.token_frame()).tolist() == [1560] * 21


def test_text_stands_before_and_after():
    layout = FrameLayout.uniform(2, 3, text_before=2, text_after=1)
    assert layout.token_frame().tolist() == [-1, -1, 0, 0, 0, 1, 1, 1, -1]
    assert layout.text_segments == (0, 3)
    assert layout.frame_segments == (1, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FrameLayout(()), "expected at least one frame segment, got 0 segments"),
        (lambda: FrameLayout((Segment("text", 0, 3),)), "got 1 segments without a frame"),
        (
            lambda: FrameLayout((Segment("frame", 1, 3), Segment("frame", 0, 3))),
            "expected frame segments 0, 1, 2, ... in order and each once, got [1, 0] in this layout",
        ),
        (
            lambda: FrameLayout((Segment("frame", 0, 3), Segment("text", 2, 3))),
            "expected text segments 0, 1, 2",
        ),
        (lambda: Segment("image", 0, 3), "expected a segment kind among frame, text, padding, got 'image'"),
        (
            lambda: Segment("frame", 0, 0),
            "expected an index >= 0 and at least 1 token, got index 0 and 0 tokens",
        ),
        (lambda: Segment("frame", -1, 2), "got index -1"),
        (lambda: FrameLayout.uniform(0, 5), "expected at least 1 frame of at least 1 token"),
        (lambda: FrameLayout.uniform(2, 5, text_before=-1), "no negative text"),
    ],
)
def test_refuses_in_one_line(make, message):
    with pytest.raises(LayoutError) as caught:
        make()
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
