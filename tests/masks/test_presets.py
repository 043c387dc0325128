"""Each preset against a token-by-token construction straight from the definition that was published."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attnscope.errors import MaskError
from attnscope.masks import Group, Sides, compile_rule, extent, list_presets, preset
from attnscope.shots import LatentPlan, ShotPlan

TOKENS = 3  # of a latent frame
WORDS = 2  # of a caption
PADDING = 2

# shots by their lengths in latent frames: even, uneven, one shot, shots of one frame, the 21 frames of the paper
GRID = [
    (7, 6),
    (4, 5, 4),
    (5,),
    (1, 1, 1),
    (11, 10),
    (7, 7, 7),
    (5, 5, 5, 6),
    (1, 8, 1),
    (2, 3, 1, 6, 5),
    (1,),
]


def plan_of(lengths: tuple[int, ...]) -> LatentPlan:
    cuts = np.cumsum(lengths)[:-1].tolist()
    return ShotPlan.from_latent_frames(cuts, num_frames_latent=sum(lengths), fps=16).to_latent()


def shot_list(lengths: tuple[int, ...]) -> list[int]:
    """The shot of every latent frame, written out: [7, 6] is seven 0s and six 1s."""
    return [shot for shot, length in enumerate(lengths) for _ in range(length)]


def by_token(relation: np.ndarray, rows: list[int], columns: list[int]) -> np.ndarray:
    return np.repeat(np.repeat(relation, rows, axis=0), columns, axis=1)


def frames_of(name: str, lengths: tuple[int, ...], **options: object) -> np.ndarray:
    """What the preset says of tokens of frames looking at tokens of frames."""
    (one,) = preset(name, plan_of(lengths), **options)
    num = sum(lengths)
    return by_token(compile_rule(one.rule, Sides.of_frames(num)), [TOKENS] * num, [TOKENS] * num)


def text_of(name: str, lengths: tuple[int, ...], num_slabs: int, **options: object) -> np.ndarray:
    """What the preset says of tokens of frames looking at tokens of captions, padding behind each."""
    (one,) = preset(name, plan_of(lengths), **options)
    num = sum(lengths)
    relation = compile_rule(one.rule, Sides.of_text(num, num_slabs=num_slabs))
    return by_token(relation, [TOKENS] * num, [WORDS, PADDING] * num_slabs)


def additive(visible: np.ndarray) -> np.ndarray:
    return np.where(visible, 0.0, -np.inf)


def premask(lengths: tuple[int, ...], *, first_frame: bool) -> np.ndarray:
    """Token by token, as the code of CineTrans fills its mask: a block for each shot, then the first columns."""
    num = sum(lengths) * TOKENS
    mask = np.zeros((num, num), dtype=bool)
    start = 0
    for length in lengths:
        stop = start + length * TOKENS
        mask[start:stop, start:stop] = True
        start = stop
    if first_frame:
        mask[:, :TOKENS] = True
    return mask


def prompt_mask(lengths: tuple[int, ...], *, general: bool, padding: bool = True) -> np.ndarray:
    """Token by token: the slab of the own shot, and the last slab if it is general."""
    slab = WORDS + PADDING
    num_slabs = len(lengths) + general
    mask = np.zeros((sum(lengths) * TOKENS, num_slabs * slab), dtype=bool)
    start = 0
    for number, length in enumerate(lengths):
        stop = start + length * TOKENS
        mask[start:stop, number * slab : (number + 1) * slab] = True
        start = stop
    if general:
        mask[:, -slab:] = True
    if not padding:
        for number in range(num_slabs):
            mask[:, number * slab + WORDS : (number + 1) * slab] = False
    return mask


@pytest.mark.parametrize("lengths", GRID)
@pytest.mark.parametrize("first_frame", [True, False])
def test_cinetrans_dit(lengths: tuple[int, ...], first_frame: bool) -> None:
    seen = frames_of("cinetrans-dit", lengths, first_frame=first_frame)
    assert np.array_equal(seen, additive(premask(lengths, first_frame=first_frame)))
    for padding in (True, False):
        text = text_of("cinetrans-dit", lengths, len(lengths) + 1, first_frame=first_frame, padding=padding)
        assert np.array_equal(text, additive(prompt_mask(lengths, general=True, padding=padding)))
    (one,) = preset("cinetrans-dit", plan_of(lengths), first_frame=first_frame)
    assert (one.layers, one.heads, one.steps, one.branches) == ("7-28", "all", "all", ("cond", "uncond"))


@pytest.mark.parametrize("lengths", GRID)
def test_cinetrans_unet(lengths: tuple[int, ...]) -> None:
    """Per-frame shot numbers and an equality mask, in the last six temporal attentions; the text is left alone."""
    ids = np.repeat(shot_list(lengths), TOKENS)
    assert np.array_equal(frames_of("cinetrans-unet", lengths), additive(ids[:, None] == ids[None, :]))
    (one,) = preset("cinetrans-unet", plan_of(lengths))
    assert (one.layers, one.attention) == ("-6:", "self")


@pytest.mark.parametrize("lengths", GRID)
def test_holocine(lengths: tuple[int, ...]) -> None:
    """The keys of a shot are packed: own tokens, then the first latent of every shot; twice packed, twice counted."""
    num = sum(lengths)
    starts = np.cumsum((0, *lengths[:-1])).tolist()
    packed = np.zeros((num * TOKENS, num * TOKENS))
    for shot, length in enumerate(lengths):
        rows = slice(starts[shot] * TOKENS, (starts[shot] + length) * TOKENS)
        keys = list(range(rows.start, rows.stop))
        for start in starts:
            keys += range(start * TOKENS, (start + 1) * TOKENS)
        for key in keys:
            packed[rows, key] += 1
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(frames_of("holocine", lengths), np.log(packed), rtol=1e-12)
    text = text_of("holocine", lengths, len(lengths) + 1)
    assert np.array_equal(text, additive(prompt_mask(lengths, general=True)))


def test_a_key_that_is_packed_twice_is_a_key_with_log_two() -> None:
    scores, values = np.array([0.3, -1.2, 0.8]), np.array([1.0, 5.0, -2.0])
    twice = np.exp(scores[[0, 0, 1, 2]])
    weighed = np.exp(scores + np.log([2, 1, 1]))
    assert twice @ values[[0, 0, 1, 2]] / twice.sum() == pytest.approx(weighed @ values / weighed.sum())


def joint_sides(lengths: tuple[int, ...], *, num_transitions: int = 0) -> tuple[Sides, list[int]]:
    """Captions first, then frames, then transition tokens, in one attention; and the tokens of each group."""
    groups = [Group("text", shot) for shot in range(len(lengths))]
    groups += [Group("frame", frame) for frame in range(sum(lengths))]
    groups += [Group("transition", place) for place in range(num_transitions)]
    sizes = {"text": WORDS, "frame": TOKENS, "transition": 1}
    return Sides.joint(groups), [sizes[group.kind] for group in groups]


@pytest.mark.parametrize("lengths", GRID)
@pytest.mark.parametrize("reach", [0, 2])
def test_held_together(lengths: tuple[int, ...], reach: int) -> None:
    """Token by token: other frames of the own shot five times, everything else once."""
    frame = np.repeat(np.arange(sum(lengths)), TOKENS)
    shot = np.repeat(shot_list(lengths), TOKENS)
    far = np.abs(frame[:, None] - frame) > reach
    times = np.where((shot[:, None] == shot) & far, 5.0, 1.0)
    seen = frames_of("held-together", lengths, factor=5.0, reach=reach)
    np.testing.assert_allclose(np.exp(seen), times, rtol=1e-12)


@pytest.mark.parametrize("lengths", GRID)
def test_mask2dit(lengths: tuple[int, ...]) -> None:
    """Text s sees text s and video s; video s sees text s and all video."""
    sides, sizes = joint_sides(lengths)
    (one,) = preset("mask2dit", plan_of(lengths))
    shots = shot_list(lengths)
    text_tokens = len(lengths) * WORDS
    mask = np.zeros((sum(sizes), sum(sizes)), dtype=bool)
    mask[text_tokens:, text_tokens:] = True
    for shot in range(len(lengths)):
        words = slice(shot * WORDS, (shot + 1) * WORDS)
        pixels = text_tokens + np.flatnonzero(np.repeat(np.array(shots) == shot, TOKENS))
        mask[words, words] = True
        mask[words, pixels] = True
        mask[pixels, words] = True
    assert np.array_equal(by_token(compile_rule(one.rule, sides), sizes, sizes), additive(mask))


@pytest.mark.parametrize("lengths", GRID)
def test_shotadapter(lengths: tuple[int, ...]) -> None:
    """As Mask2DiT, and n - 1 transition tokens that see and are seen by the frames beside their boundary alone."""
    num_cuts = len(lengths) - 1
    sides, sizes = joint_sides(lengths, num_transitions=num_cuts)
    (one,) = preset("shotadapter", plan_of(lengths))
    relation = by_token(compile_rule(one.rule, sides), sizes, sizes)
    without = sum(sizes) - num_cuts
    plain_sides, plain_sizes = joint_sides(lengths)
    (mask2dit,) = preset("mask2dit", plan_of(lengths))
    plain = by_token(compile_rule(mask2dit.rule, plain_sides), plain_sizes, plain_sizes)
    assert np.array_equal(relation[:without, :without], plain)
    first_pixel = len(lengths) * WORDS
    for place in range(num_cuts):
        cut = sum(lengths[: place + 1])
        visible = np.zeros(sum(sizes), dtype=bool)
        visible[first_pixel + (cut - 1) * TOKENS : first_pixel + (cut + 1) * TOKENS] = True
        visible[without + place] = True
        assert np.array_equal(relation[without + place], additive(visible))
        assert np.array_equal(relation[:, without + place], additive(visible))


@pytest.mark.parametrize("lengths", GRID)
@pytest.mark.parametrize("width", [1.0, 4.0])
def test_vstar_gives_the_attention_that_was_published(lengths: tuple[int, ...], width: float) -> None:
    """Temporal attention, one token a frame: softmax(scores + N(d; width) / N(0; width) * scale * largest score)."""
    num, scale = sum(lengths), 1.5
    scores = np.random.default_rng(num).normal(size=(num, num))
    gauss = [
        [math.exp(-((i - j) ** 2) / (2 * width**2)) / (math.sqrt(2 * math.pi) * width) for j in range(num)]
        for i in range(num)
    ]
    published = scores + np.array(gauss) / gauss[0][0] * scale * scores.max(axis=1, keepdims=True)
    (one,) = preset("vstar", plan_of(lengths), width=width, strength=scale)
    frames = tuple(Group("frame", index) for index in range(num))
    sides = Sides(frames, frames, largest=tuple(scores.max(axis=1).tolist()))
    np.testing.assert_allclose(
        softmax(scores + compile_rule(one.rule, sides)), softmax(published), rtol=1e-10
    )
    assert one.steps == "0-12"


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("lengths", GRID)
@pytest.mark.parametrize("seed", [0, 3])
def test_storydiffusion(lengths: tuple[int, ...], seed: int) -> None:
    """One draw of columns for all; columns of shots that are no anchors are closed; the own image is open."""
    num, anchor_shots = sum(lengths), (0, len(lengths) - 1)
    shots = np.array(shot_list(lengths))
    drawn = np.random.default_rng(seed).random(num) < 0.5
    mask = np.zeros((num, num), dtype=bool)
    for frame in range(num):
        columns = drawn.copy()
        columns[~np.isin(shots, anchor_shots)] = False
        columns[shots == shots[frame]] = True
        mask[frame] = columns
    seen = frames_of("storydiffusion", lengths, shots=anchor_shots, seed=seed)
    assert np.array_equal(seen, by_token(additive(mask), [TOKENS] * num, [TOKENS] * num))


@pytest.mark.parametrize("lengths", GRID)
def test_isolated(lengths: tuple[int, ...]) -> None:
    """Attention under the preset is the attention of each shot alone, one after another."""
    assert np.array_equal(frames_of("isolated", lengths), additive(premask(lengths, first_frame=False)))
    text = text_of("isolated", lengths, len(lengths))
    assert np.array_equal(text, additive(prompt_mask(lengths, general=False)))


@pytest.mark.parametrize(
    ("lengths", "plain", "with_first"),
    [
        ((21,), 1.000, 1.000),
        ((11, 10), 0.501, 0.524),
        ((7, 7, 7), 0.333, 0.365),
        ((5, 5, 5, 6), 0.252, 0.288),
    ],
)
def test_the_visible_fractions_that_were_published(
    lengths: tuple[int, ...], plain: float, with_first: float
) -> None:
    for first_frame, fraction in ((False, plain), (True, with_first)):
        (one,) = preset("cinetrans-dit", plan_of(lengths), first_frame=first_frame)
        left = extent(one.rule, Sides.of_frames(21), tokens=1560)
        assert round(left.visible_fraction, 3) == fraction
        assert (left.all_pairs, left.relation_bytes, left.dense_bytes) == (32_760**2, 21 * 21 * 8, 32_760**2)


def test_an_extent_counts_tokens_of_uneven_groups() -> None:
    (one,) = preset("isolated", plan_of((1, 2)))
    left = extent(one.rule, Sides.of_frames(3), tokens=[5, 2, 1])
    assert (left.visible_pairs, left.all_pairs) == (25 + 9, 64)


def test_the_list_says_what_each_preset_shows() -> None:
    listed = list_presets()
    assert set(listed) == {
        "cinetrans-dit",
        "cinetrans-unet",
        "holocine",
        "mask2dit",
        "vstar",
        "storydiffusion",
        "shotadapter",
        "isolated",
        "held-together",
    }
    assert all(words.split("\n")[0].endswith(".") for words in listed.values())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("cinetrans", {}, "expected a preset out of cinetrans-dit, .* got 'cinetrans'"),
        ("holocine", {"first_frame": False}, "expected options layers of preset holocine, got 'first_frame'"),
        ("cinetrans-dit", {"vff": True}, "expected options first_frame, padding, layers"),
        ("storydiffusion", {"share": 2.0}, "share from 0 to 1"),
        ("storydiffusion", {"shots": (9,)}, "anchor shots among 0 to 1"),
        ("vstar", {"width": 0.0}, "width above 0"),
    ],
)
def test_a_preset_that_is_not_there_is_refused(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(MaskError, match=words) as caught:
        preset(name, plan_of((7, 6)), **options)
    assert "\n" not in str(caught.value)


def test_a_preset_needs_a_plan() -> None:
    with pytest.raises(MaskError, match="expected a ShotPlan"):
        preset("isolated", "0-1s")  # type: ignore[arg-type]
