"""Likeness, flicker and sharpness: closed forms, and encoders that say where they come from."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from attnscope.errors import InputError, SetupError
from attnscope.metrics import between_shots, find_encoder, list_encoders, within_shots
from attnscope.metrics.consistency import choose_frames
from attnscope.metrics.detection.transition import Transition
from attnscope.metrics.encoders.bridge import class_meanings, sentence_encoder
from attnscope.metrics.encoders.registry import Encoder, Missing, choose_encoders, list_cached
from attnscope.metrics.encoders.weights import CLASS_NAMES, MINILM
from attnscope.metrics.quality import FrameQuality, PerFrame, flicker_around_cuts, sharpness_around_cuts
from attnscope.video.scaling import Scaler
from attnscope.video.streams import ArrayVideo, FileVideo

CLIPS = Path(__file__).parents[2].parent / "shared" / "videos"


def angle(*degrees: float) -> np.ndarray:
    turned = np.radians(degrees)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


def test_shots_at_known_angles() -> None:
    scores = between_shots([angle(0, 20), angle(70), angle(130)])  # means at 10, 70, 130 degrees
    assert scores["adjacent"] == pytest.approx(0.5, abs=1e-6)
    assert scores["all_pairs"] == pytest.approx((0.5 + 0.5 - 0.5) / 3, abs=1e-6)
    assert all(math.isnan(each) for each in between_shots([angle(0)]).values())


def test_a_shot_at_known_angles() -> None:
    # beside: 60, 60 degrees; to the first: 60, 120 (negative, counts as 0)
    assert within_shots([angle(0, 60, 120)]) == pytest.approx((0.5 + 0.25) / 2, abs=1e-6)
    assert within_shots([angle(0, 60, 120), angle(5, 5)]) == pytest.approx((0.375 + 1) / 2, abs=1e-6)
    assert math.isnan(within_shots([angle(0)]))


@pytest.mark.parametrize("num_frames", [9, 17, 40, 81])
@pytest.mark.parametrize("cuts", [(), (8,), (3, 6), (20, 24, 50)])
def test_no_frame_near_a_cut_is_compared(num_frames: int, cuts: tuple[int, ...]) -> None:
    cuts = tuple(cut for cut in cuts if cut < num_frames)
    shots = choose_frames([Transition(cut, cut, cut, "cut", 0.9) for cut in cuts], num_frames)
    edges = [0, *cuts, num_frames]
    assert len(shots) == len(cuts) + 1
    for frames, start, stop in zip(shots, edges, edges[1:], strict=False):
        assert frames == sorted(set(frames))
        assert all(start <= frame < stop for frame in frames)
        if len(frames) > 1:
            assert all(frame - cut >= 4 or frame - cut < -4 for frame in frames for cut in cuts)


def test_a_dissolve_is_kept_clear_of() -> None:
    first, second = choose_frames([Transition(30, 26, 34, "dissolve", 0.9)], 64)
    assert (max(first), min(second)) == (20, 39)


def per_frame(frames: np.ndarray) -> PerFrame:
    watcher = FrameQuality()
    for picture in ArrayVideo(frames, 16):
        watcher.process(picture)
    return watcher.finish()


def test_flicker_is_what_jumps_there_and_back() -> None:
    level = np.array([100, 110, 100, 110, 110, 110, 120, 130, 140], np.uint8)
    frames = np.broadcast_to(level[:, None, None, None], (9, 32, 32, 3)).copy()
    flicker = per_frame(frames).flicker
    # a video picture holds 219 levels of brightness, so a level may move by one
    assert np.allclose(flicker[1:-1], [10, 10, 5, 0, 5, 0, 0], atol=1.5)
    assert np.isnan(flicker[[0, -1]]).all()


def test_flicker_beside_a_cut_belongs_to_no_shot() -> None:
    trace = np.array([np.nan, 2, 2, 50, 50, 4, 4, 4, 2, np.nan])
    found = flicker_around_cuts(PerFrame(trace, np.ones(10)), [4])
    assert found["flicker"] == pytest.approx((2 + 2 + 4 + 4 + 4 + 2) / 6)
    assert (found["flicker_after_cut"], found["flicker_ratio"]) == (4, 2)
    assert math.isnan(flicker_around_cuts(PerFrame(trace, np.ones(10)), [])["flicker_ratio"])


def test_a_blur_after_a_cut_is_seen() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    blurred = sharp.copy()
    blurred[20] = sharp[20].reshape(32, 2, 32, 2, 3).mean((1, 3)).repeat(2, 0).repeat(2, 1)
    plain = sharpness_around_cuts(per_frame(sharp), [20])
    found = sharpness_around_cuts(per_frame(blurred), [20])
    assert plain["sharpness_after_cut_0"] == pytest.approx(1, abs=0.1)
    assert found["sharpness_after_cut_0"] < 0.6
    assert found["sharpness_after_cut_1"] == pytest.approx(1, abs=0.1)
    assert math.isnan(sharpness_around_cuts(per_frame(sharp), [])["sharpness_after_cut_0"])
    assert math.isnan(sharpness_around_cuts(per_frame(sharp), [38])["sharpness_after_cut_0"])


def test_nothing_stands_in_for_an_encoder(tmp_path: Path) -> None:
    for task in ("background", "aesthetic"):
        found = find_encoder(task, cache_dir=tmp_path)  # type: ignore[arg-type]
        assert isinstance(found, Missing)
        assert "no package brings" in found.reason
    asked = find_encoder("visual", "dinov2", cache_dir=tmp_path)
    assert isinstance(asked, Missing)
    assert asked.reason == "dinov2 is not in the local model cache as safetensors"
    remote = find_encoder("semantic", "viclip", cache_dir=tmp_path)
    assert isinstance(remote, Missing)
    assert "not run" in remote.reason
    with pytest.raises(
        InputError, match="expected auto or one of dinov2, dreamsim, imagebind, efficientnet-lite0 for visual"
    ):
        find_encoder("visual", "clip", cache_dir=tmp_path)
    with pytest.raises(InputError, match="expected a task out of"):
        find_encoder("smell")  # type: ignore[arg-type]


def test_the_packaged_encoders_are_not_the_papers(tmp_path: Path) -> None:
    for task in ("visual", "semantic"):
        found = find_encoder(task, cache_dir=tmp_path)  # type: ignore[arg-type]
        assert isinstance(found, Encoder)
        assert not found.comparable_to_paper
        vectors = found.encode(np.zeros((2, found.side, found.side, 3), np.uint8))
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert {name for name, _ in list_encoders()} >= {"viclip", "dinov2", "clip-b32", "efficientnet-lite0"}


def test_pictures_that_change_in_number_or_place_are_looked_at_anew() -> None:
    visual = find_encoder("visual", "efficientnet-lite0")
    assert isinstance(visual, Encoder)
    frames = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    both, last = visual.encode(frames), visual.encode(frames[1:].copy())
    assert np.allclose(both[1:], last)
    frames[0] = frames[1]
    assert np.allclose(visual.encode(frames)[0], last[0]), "changed where it lies"
    assert not np.allclose(both[0], last[0])


def test_many_pictures_give_what_each_gives_alone() -> None:
    visual = find_encoder("visual", "efficientnet-lite0")
    assert isinstance(visual, Encoder)
    frames = np.random.default_rng(0).integers(0, 256, (11, 224, 224, 3), dtype=np.uint8)
    alone = [visual.encode(frame[None])[0] for frame in frames]
    assert np.allclose(visual.encode(frames), alone, atol=1e-5)


@pytest.mark.parametrize("size", [3, 5])
def test_strided_convolutions_are_padded_behind_as_tensorflow_pads(size: int) -> None:
    from attnscope.metrics.encoders.lite0 import _fold

    torch.manual_seed(0)
    weight = torch.randn(6, 1, size, size)
    norm = {"weight": torch.ones(6), "bias": torch.zeros(6), "running_mean": torch.zeros(6)}
    weights = {"a_depthwise_conv.weight": weight, **{f"n.{name}": value for name, value in norm.items()}}
    weights["n.running_var"] = torch.full((6,), 1 - 1e-3)
    x = torch.randn(2, 6, 8, 12)
    before = (size - 2) // 2
    padded = torch.nn.functional.pad(x, (before, size - 2 - before) * 2)
    expected = torch.nn.functional.conv2d(padded, weight, stride=2, groups=6)
    assert torch.allclose(_fold(weights, "a_depthwise_conv", "n", stride=2)(x), expected, atol=1e-5)


def in_cache(folder: Path, repository: str, model: Any) -> None:
    """Put a model where the hub's client would have put it."""
    place = folder / f"models--{repository.replace('/', '--')}"
    model.save_pretrained(place / "snapshots" / "0" / "")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0")


def test_the_papers_encoder_is_taken_from_the_cache(tmp_path: Path) -> None:
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 224}
    model = Dinov2Model(Dinov2Config(**sizes)).eval()
    in_cache(tmp_path, "facebook/dinov2-base", model)
    found = find_encoder("visual", cache_dir=tmp_path)
    assert isinstance(found, Encoder)
    assert (found.name, found.comparable_to_paper) == ("dinov2", True)
    frames = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = torch.from_numpy(((frames / 255 - mean) / deviation).astype(np.float32)).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = model(pixel_values=pixels).last_hidden_state[:, 0].numpy()
    assert np.allclose(
        found.encode(frames), expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-4
    )


def small_clip() -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPVisionConfig(**sizes, projection_dim=8, image_size=224, patch_size=32)
    return CLIPVisionModelWithProjection(config).eval()


def clip_vectors(model: Any, frames: np.ndarray) -> np.ndarray:
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    deviation = np.array([0.26862954, 0.26130258, 0.27577711])
    pixels = torch.from_numpy(((frames / 255 - mean) / deviation).astype(np.float32)).permute(0, 3, 1, 2)
    with torch.no_grad():
        vectors = model(pixel_values=pixels).image_embeds.numpy()
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_clip_is_taken_from_the_cache(tmp_path: Path) -> None:
    model = small_clip()
    in_cache(tmp_path, "openai/clip-vit-base-patch32", model)
    found = find_encoder("background", cache_dir=tmp_path)
    assert isinstance(found, Encoder)
    assert (found.name, found.comparable_to_paper) == ("clip-b32", True)
    frames = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    assert np.allclose(found.encode(frames), clip_vectors(model, frames), atol=1e-4)
    assert choose_encoders("clip-b32", cache_dir=tmp_path) == {"background": "clip-b32"}
    assert list_cached(cache_dir=tmp_path)["clip-b32"] == "in the local model cache"


def test_beauty_is_a_linear_layer_on_clip(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model, repository = small_clip(), "shunk031/aesthetics-predictor-v1-vit-large-patch14"
    in_cache(tmp_path, repository, model)
    (path,) = tmp_path.glob("models--*/snapshots/0/model.safetensors")
    plain = find_encoder("aesthetic", cache_dir=tmp_path)
    assert isinstance(plain, Missing)
    assert "without its linear layer" in plain.reason
    weight, bias = torch.arange(8.0)[None], torch.tensor([5.0])
    save_file({**load_file(path), "predictor.weight": weight, "predictor.bias": bias}, path, {"format": "pt"})
    found = find_encoder("aesthetic", cache_dir=tmp_path)
    assert isinstance(found, Encoder)
    frames = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    expected = (clip_vectors(model, frames) @ np.arange(8) + 5) / 10
    assert np.allclose(found.encode(frames)[:, 0], expected, atol=1e-4)


def test_encoders_are_chosen_by_name(tmp_path: Path) -> None:
    chosen = choose_encoders("efficientnet-lite0, class-bridge", cache_dir=tmp_path)
    assert chosen == {
        "visual": "efficientnet-lite0",
        "semantic": "class-bridge",
        "text_video": "class-bridge",
    }
    with pytest.raises(
        SetupError, match="expected the encoder dinov2, got nothing to load: dinov2 is not in"
    ):
        choose_encoders("dinov2", cache_dir=tmp_path)
    with pytest.raises(
        InputError, match="expected one encoder for visual, got efficientnet-lite0 and efficient"
    ):
        choose_encoders("efficientnet-lite0,efficientnet-lite0", cache_dir=tmp_path)


def test_the_picture_network_knows_a_cup_of_coffee() -> None:
    path = CLIPS / "ablation-coffee_cup_complete.mp4"
    if not path.is_file():
        pytest.skip("the clips of the CineTrans authors are not here")
    from attnscope.metrics.encoders.registry import _lite0

    video = FileVideo(path, crop=(0.13, 0.04, 0.04, 0.04))
    (frame,) = next(iter(video.batches([180], height=224, width=224)))
    names = json.loads(CLASS_NAMES.locate().read_text())
    best = [names[int(index)] for index in np.argsort(-_lite0()(frame[None])[1][0])[:3]]
    assert {"espresso", "cup", "coffee mug"} & set(best), best


@pytest.mark.slow
def test_the_class_names_mean_what_the_sentence_network_says() -> None:
    names = json.loads(CLASS_NAMES.locate().read_text())
    picked = list(range(0, 1000, 37))
    encode = sentence_encoder()
    expected = encode([names[index] for index in picked])
    assert np.abs(class_meanings().vectors[picked] - expected).max() < 1e-3
    dog, puppy, car = encode(["a dog", "a puppy", "a car"])
    assert dog @ puppy > dog @ car + 0.3
    assert MINILM.is_installed()


@pytest.mark.parametrize("colorspace", [1, 2, 5])  # of BT.709, not said, of BT.601
def test_brightness_is_what_was_coded_whatever_the_colour(colorspace: int) -> None:
    rng = np.random.default_rng(0)
    coded = rng.integers(16, 235, (90, 64), dtype=np.uint8)  # 60 rows of luma, 30 of chroma
    grey = []
    for chroma in (coded[60:], np.full((30, 64), 128, np.uint8)):
        picture = av.VideoFrame.from_ndarray(np.concatenate([coded[:60], chroma]), format="yuv420p")
        picture.colorspace = colorspace
        grey.append(Scaler().grey(picture, 32))
    assert grey[0].shape == (30, 32)
    np.testing.assert_array_equal(*grey)
