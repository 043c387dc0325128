from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnscope.errors import ShotPlanError
from attnscope.shots import LatentPlan, Shot, ShotPlan, parse_prompt

PROMPT = "Two shots: a red ball; Shot 1: [0s, 4s] wide shot; Shot 2: [4s, 8s] close-up"

# First new frames of cuts in published CineTrans videos; all of them lie on the grid 4k-3.
PUBLISHED_CUTS = [(41,), (17, 49), (17, 41, 61), (53,), (29, 49), (21, 45), (25, 53)]


def covering_latent(frame, stride):
    """Find the latent frame that covers a video frame by laying the latent frames out one by one."""
    latent, covered = 0, 1
    while covered <= frame:
        latent, covered = latent + 1, covered + stride
    return latent


@st.composite
def plans(draw, stride=4):
    num_latent = draw(st.integers(2, 40))
    latent = draw(st.sets(st.integers(1, num_latent - 1), max_size=5))
    fps = draw(st.sampled_from([8, 16, 24, Fraction(30000, 1001), Fraction("23.976")]))
    return ShotPlan.from_latent_frames(sorted(latent), num_frames_latent=num_latent, fps=fps, stride=stride)


@given(st.sampled_from([1, 4, 8]).flatmap(lambda stride: st.tuples(st.just(stride), plans(stride))))
def test_latent_to_frames_to_latent_is_exact(case):
    stride, plan = case
    for snap in ("nearest", "floor", "ceil", "error"):
        latent = plan.to_latent(stride, snap=snap)
        assert latent.realised_frame == latent.requested_frame == plan.cuts_frame
        assert set(latent.error_s) <= {0.0}
        assert (
            ShotPlan.from_latent_frames(
                latent.cuts, num_frames_latent=latent.num_frames, fps=plan.fps, stride=stride
            )
            == plan
        )


@given(plans())
def test_seconds_to_latent_to_frames_to_seconds(plan):
    again = ShotPlan.from_seconds(plan.cuts_s, duration=plan.duration_s, fps=plan.fps)
    assert (again.cuts_frame, again.num_frames) == (plan.cuts_frame, plan.num_frames)
    assert again.to_latent().cuts == plan.to_latent().cuts


@given(st.integers(1, 76), st.sampled_from([1, 2, 4, 8]))
def test_nearest_is_the_nearest_possible_cut_by_search(cut, stride):
    latent = ShotPlan.from_frames([cut], num_frames=81, fps=16).to_latent(stride)
    possible = [
        frame
        for frame in range(1, 81)
        if covering_latent(frame - 1, stride) != covering_latent(frame, stride)
    ]
    best = min(possible, key=lambda frame: (abs(frame - cut), frame))
    assert latent.realised_frame == (best,)
    assert abs(latent.error_s[0]) <= stride / 2 / 16


@given(st.integers(1, 77))
def test_floor_and_ceil_enclose_the_cut(cut):
    plan = ShotPlan.from_frames([cut], num_frames=81, fps=16)
    (floor,), (ceil,) = (plan.to_latent(snap=snap).realised_frame for snap in ("floor", "ceil"))
    assert floor <= cut <= ceil
    assert ceil - floor == (0 if (cut - 1) % 4 == 0 else 4)
    assert plan.to_latent(snap="floor").cuts == (covering_latent(cut, 4),)


@pytest.mark.parametrize("cuts", PUBLISHED_CUTS)
def test_published_cuts_lie_on_the_grid(cuts):
    latent = ShotPlan.from_frames(cuts, num_frames=81, fps=16).to_latent(snap="error")
    assert latent.realised_frame == cuts
    assert latent.cuts == tuple((cut + 3) // 4 for cut in cuts)


def test_the_published_mask_11_10_is_a_cut_at_frame_41():
    latent = ShotPlan.from_latent_frames([11], num_frames_latent=21, fps=16).to_latent()
    assert np.bincount(latent.shot_of_frame).tolist() == [11, 10]
    assert latent.realised_frame == (41,)
    assert latent.first_frame(11) / 16 == 2.5625


@given(plans())
def test_shots_partition_the_frames(plan):
    by_hand = [shot for shot, (start, stop) in enumerate(plan.shots) for _ in range(start, stop)]
    assert plan.shot_of_frame.tolist() == by_hand
    assert plan.num_shots == len(plan.shots) == len(set(by_hand))
    latent = plan.to_latent()
    # The plan lies on the grid, so every video frame is in the shot of the latent frame that covers it.
    covered = [latent.shot_of_frame[covering_latent(frame, 4)] for frame in range(plan.num_frames)]
    assert covered == by_hand


def test_spans_cover_the_video_once():
    latent = ShotPlan.from_frames([], num_frames=81, fps=16).to_latent()
    frames = [frame for k in range(latent.num_frames) for frame in range(*latent.frame_span(k))]
    assert frames == list(range(81))


@pytest.mark.parametrize(
    ("duration", "fps", "num_frames", "rounded"),
    [
        (5, 16, 81, True),
        (3, 8, 25, True),
        ("3.0625", 16, 49, False),
        (1 / 16, 16, 1, False),
        (0.01, 16, 1, True),
    ],
)
def test_a_duration_becomes_4n_plus_1_frames_and_says_so(duration, fps, num_frames, rounded):
    plan = ShotPlan.from_seconds([], duration=duration, fps=fps)
    assert plan.num_frames == num_frames
    assert bool(plan.notes) == rounded
    assert all(note in plan.describe() for note in plan.notes)


def test_stride_1_keeps_16_frames():
    assert ShotPlan.from_seconds([1], duration=2, fps=8, stride=1).num_frames == 16


def test_decimals_mean_what_is_written():
    assert ShotPlan.from_seconds([0.1 + 0.2], duration=1, fps=10).cuts_frame == (3,)
    assert ShotPlan.from_seconds(["2.3"], duration="5", fps="10").cuts_frame == (23,)
    assert ShotPlan.from_frames([], num_frames=1, fps="30000/1001").fps == Fraction(30000, 1001)


def test_prompt_gives_plan_and_captions():
    parsed = parse_prompt(PROMPT)
    assert (parsed.general, parsed.captions) == ("a red ball", ("wide shot", "close-up"))
    assert parsed.times_s == ((0.0, 4.0), (4.0, 8.0))
    plan = ShotPlan.from_prompt(PROMPT, fps=16)
    assert (plan.num_frames, plan.cuts_frame) == (129, (64,))


@pytest.mark.parametrize(
    "text",
    [
        "Shot1:[0s,2.75s]a;Shot2:[2.75s,5s]b",
        "2 shots: general. Shot 1: [0, 2.75] a\nShot 2: [2.75, 5] b",
        "SHOT 1 : [0.0s - 2.75s] a; shot 2: [ 2.75 S , 5. s ] b",
    ],
)
def test_prompt_spellings(text):
    parsed = parse_prompt(text)
    assert parsed.captions == ("a", "b")
    assert parsed.times_s == ((0.0, 2.75), (2.75, 5.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a red ball", "got no shots in 'a red ball'; list the shots"),
        (
            "Three shots: x; Shot 1: [0s, 4s] a; Shot 2: [4s, 8s] b",
            "expected 3 shots because the prompt begins with",
        ),
        (
            "Shot 2: [0s, 4s] a; Shot 1: [4s, 8s] b",
            "expected shots numbered 1, 2, 3, ... in order, got [2, 1]",
        ),
        ("Shot 1: [0s, 4s] a; Shot 1: [4s, 8s] b", "got [1, 1]"),
        ("Shot 1: wide; Shot 2: [4s, 8s] b", "expected a time like [0s, 4s] after 'Shot 1:', got ' wide; '"),
        ("Shot 1: [1s, 4s] a", "expected shot 1 to begin at 0s, got [1s, 4s]"),
        ("Shot 1: [0s, 0s] a", "expected shot 1 to stop after it starts, got [0s, 0s]"),
        ("Shot 1: [0s, 4s] a; Shot 2: [3s, 8s] b", "(overlap with shot 1)"),
        ("Shot 1: [0s, 4s] a; Shot 2: [4.5s, 8s] b", "[4.5s, 8s] after [0s, 4s] (gap after shot 1)"),
        ("Shot 1: [0s, 4s] a; Shot 2: [8s, 4s] b", "expected shot 2 to stop after it starts"),
        ("Shot 1: [-1s, 4s] a", "expected a time like"),
        ("Shot 1: [0s, 99999999s] a", "expected a time like"),
    ],
)
def test_prompt_contradictions(text, message):
    with pytest.raises(ShotPlanError) as caught:
        ShotPlan.from_prompt(text, fps=16)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_spec_in_seconds_and_in_frames():
    seconds = ShotPlan.from_spec("0-1.5s, 1.5-3s", fps=16)
    assert (seconds.num_frames, seconds.cuts_frame) == (49, (24,))
    frames = ShotPlan.from_spec("0-24f,24-49f", fps=16)
    assert (frames.num_frames, frames.shots) == (49, (Shot(0, 24), Shot(24, 49)))
    assert ShotPlan.from_spec("0s-3s", fps=16).num_shots == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "expected shots like \"0-1.5s,1.5-3s\" or \"0-24f,24-49f\", got '' in ''"),
        ("0-3", "write start, stop and the unit s or f"),
        ("0-24f,24-3s", "expected one unit for all shots, got s and f"),
        ("0-1.5f", "expected whole frames"),
        ("0-1s,2-3s", "(gap after shot 1)"),
        ("0-2s,1-3s", "(overlap with shot 1)"),
        ("1-3s", "expected shot 1 to begin at 0s"),
        ("0-999999s", "expected 1 to 10000000 frames"),
        ("0-1e9s", "expected shots like"),
    ],
)
def test_spec_contradictions(spec, message):
    with pytest.raises(ShotPlanError) as caught:
        ShotPlan.from_spec(spec, fps=16)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@given(st.text(alphabet="0123456789.-,sf[]:; SHhotTwo\n", max_size=40))
def test_any_text_is_read_or_refused(text):
    for read in (ShotPlan.from_spec, ShotPlan.from_prompt):
        try:
            message = read(text, fps=16).describe()
        except ShotPlanError as error:
            message = str(error)
        assert len(message.splitlines()) == 1


def test_two_cuts_in_one_latent_frame():
    plan = ShotPlan.from_frames([65, 67], num_frames=81, fps=16)
    with pytest.raises(ShotPlanError) as caught:
        plan.to_latent()
    assert str(caught.value) == (
        "expected shots of at least one latent frame, which holds 4 frames here, got cuts at 4.06 s and 4.19 s "
        "(frames 65 and 67 at 16 fps) that fall in the same latent frame 17, so shot 2 would be empty, in to_latent; "
        "move the cuts apart or drop one"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ShotPlan.from_frames([80], num_frames=81, fps=16).to_latent(),
            "a cut at 5.00 s (frame 80 at 16 fps) that falls behind the last latent frame 20, so shot 2 would be empty",
        ),
        (
            lambda: ShotPlan.from_frames([40], num_frames=81, fps=16).to_latent(snap="error"),
            "got a cut at frame 40 (2.5 s) inside latent frame 10; cut at frame 37 or 41, or choose another snap",
        ),
        (
            lambda: ShotPlan.from_frames([40], num_frames=80, fps=16).to_latent(),
            "expected a video of 4n+1 frames for temporal stride 4, got 80 frames in this shot plan; use 77 or 81",
        ),
        (
            lambda: ShotPlan.from_frames([], num_frames=81, fps=16).to_latent(snap="up"),
            "got 'up' in to_latent",
        ),
        (
            lambda: ShotPlan.from_frames([], num_frames=81, fps=16).to_latent(0),
            "expected a temporal stride of at",
        ),
        (
            lambda: ShotPlan.from_frames([0], num_frames=9, fps=8),
            "expected every cut among frames 1 to 8, got (0,)",
        ),
        (lambda: ShotPlan.from_frames([9], num_frames=9, fps=8), "got (9,) in a video of 9 frames"),
        (
            lambda: ShotPlan.from_frames([5, 3], num_frames=9, fps=8),
            "expected rising cuts, got frames (5, 3)",
        ),
        (
            lambda: ShotPlan.from_frames([3, 3], num_frames=9, fps=8),
            "expected rising cuts, got frames (3, 3)",
        ),
        (
            lambda: ShotPlan.from_frames([2.5], num_frames=9, fps=8),
            "expected cuts as whole frames, got (2.5,)",
        ),
        (lambda: ShotPlan.from_frames([], num_frames=0, fps=8), "got 0 frames at 8 fps"),
        (
            lambda: ShotPlan.from_frames([], num_frames=9, fps=0),
            "expected 1 to 10000000 frames and a positive fps",
        ),
        (
            lambda: ShotPlan.from_frames([], num_frames=9, fps="fast"),
            "expected a finite number as fps, got 'fast'",
        ),
        (
            lambda: ShotPlan.from_frames([], num_frames=9, fps="1/0"),
            "expected a finite number as fps, got '1/0'",
        ),
        (lambda: ShotPlan.from_frames([], num_frames=9, fps="1e99999999"), "expected a finite number as fps"),
        (lambda: ShotPlan.from_seconds([], duration=float("nan"), fps=8), "as duration, got nan"),
        (lambda: ShotPlan.from_seconds([], duration=float("inf"), fps=8), "as duration, got inf"),
        (lambda: ShotPlan.from_seconds([], duration=0, fps=8), "expected a positive duration, got 0.0 s"),
        (lambda: ShotPlan.from_seconds([], duration=1e300, fps=8), "expected 1 to 10000000 frames"),
        (
            lambda: ShotPlan.from_seconds([9.0], duration=5, fps=16),
            "expected every cut among frames 1 to 80, got (144,)",
        ),
        (lambda: LatentPlan(5, (2,), 4, Fraction(16), ()), "expected one requested frame per cut, got 0"),
        (lambda: LatentPlan(5, (5,), 4, Fraction(16), (3,)), "expected every cut among latent frames 1 to 4"),
    ],
)
def test_refuses_in_one_line(make, message):
    with pytest.raises(ShotPlanError) as caught:
        make()
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_describe_says_asked_and_possible():
    latent = ShotPlan.from_frames([41, 60], num_frames=81, fps=16).to_latent()
    assert latent.describe() == (
        "3 shots on 21 latent frames (stride 4, 16 fps); cut 1 falls as asked at frame 41 (2.5625 s); "
        "cut 2 asked at frame 60 (3.75 s), falls at frame 61 (3.8125 s)"
    )
