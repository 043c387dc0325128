"""Probing: looking changes nothing, what is recorded is what happened, and it can be stopped and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from attnscope import ShotPlan, attach, load, probe, probe_video, schema
from attnscope.errors import AttnscopeError, InputError, RangeError, RunError, ShotPlanError, StoreError
from attnscope.storage import Store, validate_store
from attnscope.testing.wan import tiny_wan

SIZE: dict[str, Any] = {"height": 64, "width": 64, "num_frames": 17, "num_inference_steps": 3}


@pytest.fixture(scope="module")
def pipe() -> Any:
    return tiny_wan()


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (17, 64, 64, 3), dtype=np.uint8)


def latents(pipe: Any, prompt: str, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    result: torch.Tensor = pipe(prompt, generator=generator, output_type="latent", **SIZE).frames
    return result


def brute_force(pipe: Any, prompt: str, seed: int) -> dict[tuple[int, str, int], np.ndarray]:
    """Frame mass by a dense float64 softmax over all tokens, from query and key alone."""
    found: dict[tuple[int, str, int], np.ndarray] = {}
    with attach(pipe) as attachment:
        seen: dict[str, torch.Tensor] = {}

        def keep(value: torch.Tensor, point: Any) -> None:
            seen[point.name[-1]] = value.detach().double()
            if point.name.endswith("k"):
                scores = torch.einsum("bnhd,bmhd->bhnm", seen["q"], seen["k"]) / seen["q"].shape[-1] ** 0.5
                frames = scores.softmax(-1)[0].unflatten(1, (5, 16)).mean(2).unflatten(-1, (5, 16)).sum(-1)
                found[point.call.step, point.call.branch, point.layer] = frames.numpy()

        attachment.listen(lambda name: ".attn.hook_q" in name or ".attn.hook_k" in name, keep)
        latents(pipe, prompt, seed)
    return found


def test_recorded_mass_is_the_brute_force_softmax(pipe: Any) -> None:
    truth = brute_force(pipe, "a red ball", 7)
    dataset = probe(pipe, "a red ball", branch="cond,uncond", seed=7, **SIZE)
    assert set(truth) == {(s, b, n) for s in range(3) for b in ("cond", "uncond") for n in range(1, 5)}
    for (step, branch, layer), expected in truth.items():
        got = dataset.mass.sel(prompt=0, step=step, branch=branch, layer=layer).values
        assert np.abs(got - expected).max() < 1e-5
    assert float(np.abs(dataset.mass.sum("key_frame") - 1).max()) < 1e-5


def test_looking_changes_no_bit_and_leaves_no_trace(pipe: Any) -> None:
    before = latents(pipe, "a blue cat", 3)
    processors = [block.attn1.processor for block in pipe.transformer.blocks]
    seen: list[torch.Tensor] = []

    def keep(pipe: Any, step: int, timestep: Any, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        seen.append(values["latents"].clone())
        return values

    probe(pipe, "a blue cat", seed=3, branch="cond,uncond", callback_on_step_end=keep, **SIZE)
    assert len(seen) == 3
    assert torch.equal(seen[-1], before)
    assert all(b.attn1.processor is p for b, p in zip(pipe.transformer.blocks, processors, strict=True))


def test_labels_say_what_was_selected(pipe: Any) -> None:
    dataset = probe(pipe, ["a dog", "a cat"], layers="2-3", heads=1, steps="0,2", seed=5, **SIZE)
    assert dataset.layer.values.tolist() == [2, 3]
    assert dataset.module.values.tolist() == ["blocks.1.attn1", "blocks.2.attn1"]
    assert dataset["head"].values.tolist() == [1]
    assert dataset.step.values.tolist() == [0, 2]
    assert dataset.text.values.tolist() == ["a dog", "a cat"]
    assert dataset.seed.values.tolist() == [5, 6]
    whole = probe(pipe, ["a dog", "a cat"], seed=5, **SIZE)
    xr.testing.assert_equal(whole.mass.sel(layer=[2, 3], head=[1], step=[0, 2]), dataset.mass)
    assert schema.violations(dataset) == []


def test_the_record_says_which_implementation_looked(pipe: Any) -> None:
    few = probe(pipe, "x", num_inference_steps=1, num_frames=5, height=16, width=16)
    unmeasured = "; plain PyTorch, while this device is not measured"
    short = "chunked: sequences of at most 64 tokens are computed in large batches"
    assert few.attrs["frame_mass"] == short + unmeasured
    many = probe(pipe, "x", num_inference_steps=1, num_frames=17, height=64, width=64)
    assert many.attrs["frame_mass"] == "chunked: only the mass is wanted" + unmeasured


def test_the_record_says_which_model_was_looked_at(pipe: Any, tmp_path: Path) -> None:
    few: dict[str, Any] = {"num_inference_steps": 1, "num_frames": 5, "height": 16, "width": 16}
    assert probe(pipe, "x", **few).attrs["model"] == type(pipe).__name__
    # the control has the other parts of its base, and is not called by that
    assert probe(load("unet-mini-nocuts"), "x", **few).attrs["model"] == "unet-mini-nocuts"
    # where a model lies is no part of its name: several machines may fill one store
    for place in ("here", "there"):
        pipe.save_pretrained(tmp_path / place / "mine")
        store = probe(load(str(tmp_path / place / "mine")), "x", out=tmp_path / "store.zarr", **few)
        assert store.attrs["model"] == "mine"


def test_sigmas_and_timesteps_are_the_schedulers(pipe: Any) -> None:
    dataset = probe(pipe, "a dog", layers=1, **SIZE)
    pipe.scheduler.set_timesteps(3)
    assert np.allclose(dataset.timestep, pipe.scheduler.timesteps)
    assert np.allclose(dataset.sigma, pipe.scheduler.sigmas[:3])


def test_a_prompt_with_times_is_its_own_plan(pipe: Any) -> None:
    prompt = "Two shots: a cat; Shot 1: [0s, 0.5s] a street; Shot 2: [0.5s, 1s] a beach"
    arguments = {name: value for name, value in SIZE.items() if name != "num_frames"}
    dataset = probe(pipe, prompt, layers=1, **arguments)
    assert dataset.sizes["query_frame"] == 5
    assert dataset.query_shot.values.tolist() == [0, 0, 0, 1, 1]


def test_store_and_memory_hold_the_same(pipe: Any, tmp_path: Path) -> None:
    plan = ShotPlan.from_frames([9], num_frames=17, fps=16)
    memory = probe(pipe, "a dog", shots=plan, **SIZE)
    stored = probe(pipe, "a dog", shots=plan, out=tmp_path / "a.zarr", **SIZE)
    xr.testing.assert_equal(memory, stored)
    assert validate_store(tmp_path / "a.zarr") == []
    plain = xr.open_zarr(tmp_path / "a.zarr").mass.load().drop_vars("done")
    xr.testing.assert_equal(plain, memory.mass.drop_vars("done"))


class Stop(Exception):
    """Stands for whatever ends a process in the middle."""


def files(path: Path) -> dict[str, bytes]:
    """Every chunk of a store by name; metadata, which says when a store was made, left out."""
    chunks = (file for file in sorted(path.rglob("c*")) if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in chunks}


def test_an_interrupted_probe_resumes_to_the_same_bytes(pipe: Any, tmp_path: Path) -> None:
    run = {"prompt": ["a dog", "a cat"], "seed": 1, **SIZE}
    probe(pipe, out=tmp_path / "whole.zarr", **run)
    appended = Store.append
    count = 0

    def break_off(self: Store, *args: Any) -> None:
        nonlocal count
        count += 1
        if count == 5:
            raise Stop
        appended(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "append", break_off)
        with pytest.raises(Stop):
            probe(pipe, out=tmp_path / "cut.zarr", **run)
    assert Store.open(tmp_path / "cut.zarr").progress() == (4, 6)
    calls: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "append", lambda self, *args: (calls.append(args[0]), appended(self, *args)))
        probe(pipe, out=tmp_path / "cut.zarr", **run)
    assert calls == [1, 1], "only what was missing is written"
    assert files(tmp_path / "cut.zarr") == files(tmp_path / "whole.zarr")


def test_another_request_never_mixes_into_a_store(pipe: Any, tmp_path: Path) -> None:
    probe(pipe, "a dog", layers=1, out=tmp_path / "a.zarr", **SIZE)
    before = files(tmp_path / "a.zarr")
    with pytest.raises(StoreError, match="seed"):
        probe(pipe, "a dog", layers=1, seed=4, out=tmp_path / "a.zarr", **SIZE)
    assert files(tmp_path / "a.zarr") == before


def test_video_latents_are_noised_as_flow_matching_says(pipe: Any, film: np.ndarray) -> None:
    seen: list[torch.Tensor] = []
    handle = pipe.transformer.register_forward_pre_hook(
        lambda module, args: seen.append(args[0]), with_kwargs=False
    )
    try:
        dataset = probe_video(pipe, film, sigmas=[0.25, 1.0, 0.5], layers=1, seed=2)
    finally:
        handle.remove()
    assert dataset.sigma.values.tolist() == [1.0, 0.5, 0.25]
    assert dataset.timestep.values.tolist() == [1000.0, 500.0, 250.0]
    noise = torch.randn(seen[0].shape, generator=torch.Generator().manual_seed(2))
    assert torch.equal(seen[0], noise)
    clean = (seen[1] - 0.5 * noise) / 0.5
    assert torch.allclose(seen[2], 0.75 * clean + 0.25 * noise, atol=1e-5)


def test_video_latents_decode_to_the_video(pipe: Any, film: np.ndarray) -> None:
    video = torch.from_numpy(film).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    expected = pipe.vae.encode(video).latent_dist.mode()
    latents = pipe_family_latents(pipe, film)
    mean = torch.tensor(pipe.vae.config.latents_mean).view(1, -1, 1, 1, 1)
    std = torch.tensor(pipe.vae.config.latents_std).view(1, -1, 1, 1, 1)
    assert torch.allclose(latents * std + mean, expected, atol=1e-5), (
        "what the pipeline does before it decodes"
    )


def pipe_family_latents(pipe: Any, film: np.ndarray) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    handle = pipe.transformer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    try:
        probe_video(pipe, film, sigmas=[1e-9], layers=1)
    finally:
        handle.remove()
    return seen[0]


def test_videos_with_their_own_cuts(pipe: Any, film: np.ndarray) -> None:
    plans = [ShotPlan.from_frames([cut], num_frames=17, fps=16) for cut in (5, 13)]
    dataset = probe_video(pipe, [film, film[::-1].copy()], shots=plans, sigmas=[0.5], layers=1)
    assert dataset.query_shot.dims == ("prompt", "query_frame")
    assert dataset.query_shot.values.tolist() == [[0, 0, 1, 1, 1], [0, 0, 0, 0, 1]]


BAD: list[tuple[dict[str, Any], type[AttnscopeError], str]] = [
    ({"prompt": []}, InputError, "at least one prompt"),
    ({"layers": "5"}, RangeError, "1-4"),
    ({"layers": "3-2"}, RangeError, "layers"),
    ({"heads": "2"}, RangeError, "heads"),
    ({"steps": "0-3"}, RangeError, "steps"),
    ({"branch": "both"}, InputError, "cond, uncond"),
    ({"branch": "cond,cond"}, InputError, "cond, uncond"),
    ({"shots": [None, None]}, ShotPlanError, "one plan for each of 1 runs"),
    ({"num_frames": 16}, InputError, "use 17"),
    ({"height": 50}, InputError, "multiple of 16 pixels"),
    ({"num_inference_steps": 0}, InputError, "at least 1 step"),
    ({"guidance_scale": float("nan")}, InputError, "finite number"),
    ({"branch": "uncond", "guidance_scale": 1.0}, InputError, "guidance scale above 1"),
    ({"shots": ShotPlan.from_frames([9], num_frames=33, fps=16)}, ShotPlanError, "as many frames"),
    ({"prompt": "shot 1:[0s, 1s] a; shot 2:[2s, 3s] b"}, ShotPlanError, "gap after shot 1"),
    ({"colour": "red"}, InputError, "expected arguments of WanPipeline, got colour"),
    ({"output_type": "np"}, InputError, "output_type, which attnscope sets itself"),
]


@pytest.mark.parametrize(("change", "kind", "words"), BAD, ids=lambda value: str(value)[:40])
def test_bad_requests_are_one_line_and_write_nothing(
    pipe: Any, tmp_path: Path, change: dict[str, Any], kind: type[AttnscopeError], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        probe(pipe, **{"prompt": "a dog", "out": tmp_path / "a.zarr", **SIZE, **change})
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


BAD_VIDEOS: list[tuple[Any, dict[str, Any], str]] = [
    (np.zeros((16, 64, 64, 3), np.uint8), {}, "4n \\+ 1 frames"),
    (np.zeros((17, 64, 50, 3), np.uint8), {}, "multiple of 16 pixels, from 16 to 512, got 50 as width"),
    (np.zeros((17, 64, 64, 4), np.uint8), {}, "frames, height, width, 3"),
    (np.full((17, 64, 64, 3), 200, np.float32), {}, "uint8 0 to 255 or float 0 to 1"),
    ([np.zeros((17, 64, 64, 3), np.uint8), np.zeros((9, 64, 64, 3), np.uint8)], {}, "one shape"),
    (np.zeros((17, 64, 64, 3), np.uint8), {"sigmas": [0.0]}, "noise levels above 0"),
    (np.zeros((17, 64, 64, 3), np.uint8), {"prompt": ["a", "b"]}, "one prompt for each of 1"),
    (
        np.zeros((17, 64, 64, 3), np.uint8),
        {"shots": ShotPlan.from_frames([4], num_frames=9, fps=16)},
        "17 frames",
    ),
]


@pytest.mark.parametrize(("video", "options", "words"), BAD_VIDEOS, ids=range(len(BAD_VIDEOS)))
def test_bad_videos_are_one_line(pipe: Any, video: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        probe_video(pipe, video, **options)
    assert "\n" not in str(caught.value)


def test_a_branch_that_never_runs_is_said(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(pipe), "do_classifier_free_guidance", False)
    with pytest.raises(RunError, match="guidance scale above 1"):
        probe(pipe, "a dog", branch="uncond", **SIZE)
