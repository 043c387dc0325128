"""A video that exists is shown to a model as its own pipeline would call it, in every family that can encode one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import attnscope as scope
from attnscope.errors import UnsupportedModelError
from attnscope.families import find
from attnscope.families.looking import LookingFamily, mix_noise, scale_latents
from attnscope.testing import specimen, tiny

NAMES = (
    "skyreels",
    "skyreels-df",
    "cogvideox",
    "cogvideox-1.5",
    "hunyuan-video",
    "hunyuan-video-1.5",
    "ltx",
    "mochi",
    "easyanimate",
    "latte",
    "animatediff",
    "modelscope",
    "lavie",
)
OURS = ("num_frames", "video_length", "height", "width", "prompt", "num_inference_steps", "output_type")


def shown(name, monkeypatch):
    """A tiny pipeline, told what its small run is told, and a video of the size of that run."""
    pipe, settings = tiny(name), specimen(name).settings
    family = find(pipe)
    extra = {key: value for key, value in settings.items() if key not in OURS}
    monkeypatch.setattr(type(family), "preparing", {**family.preparing, **extra})
    count = settings.get("num_frames", settings.get("video_length"))
    video = np.random.default_rng(3).integers(
        0, 256, (count, settings["height"], settings["width"], 3), np.uint8
    )
    return pipe, family, video


@pytest.mark.parametrize("name", NAMES)
def test_a_given_video_is_looked_at_at_each_noise_level(name, monkeypatch):
    pipe, family, video = shown(name, monkeypatch)
    before = dict(vars(pipe))
    denoiser = family.first_denoiser(pipe)
    attention = scope.probe_video(pipe, video, prompt="a red ball", sigmas=[0.8, 0.3])
    text = attention.text_mass if "text_mass" in attention else 0.0
    np.testing.assert_allclose(attention.mass.sum("key_frame") + text, 1, atol=1e-5)
    assert attention.sigma.values.tolist() == [0.8, 0.3]
    assert attention.sizes["query_frame"] == family.num_latent_frames(pipe, len(video))
    assert family.first_denoiser(pipe) is denoiser
    assert {key: vars(pipe)[key] for key in before if key in vars(pipe)}.keys() == before.keys()
    other = scope.probe_video(pipe, 255 - video, prompt="a red ball", sigmas=[0.8, 0.3])
    assert float(abs(other.mass - attention.mass).max()) > 0  # it is this video that is looked at


@pytest.mark.parametrize("name", ["skyreels", "cogvideox", "hunyuan-video", "mochi", "easyanimate", "ltx"])
def test_the_pipeline_gives_its_vae_back_what_the_vae_made(name, monkeypatch):
    # The pipeline's own last step undoes the scaling: what it hands to its VAE is what the VAE gave to us.
    pipe, family, video = shown(name, monkeypatch)
    made, handed = [], []
    encode = pipe.vae.encode

    def note_encoded(pictures):
        found = encode(pictures)
        made.append(found.latent_dist.mode())
        return found

    def note_decoded(latents, *args, **kwargs):
        handed.append(latents)
        raise StopIteration

    monkeypatch.setattr(pipe.vae, "encode", note_encoded)
    monkeypatch.setattr(pipe.vae, "decode", note_decoded)
    latents = family.encode_video(pipe, video)
    still = lambda *args, **kwargs: (latents_as_called,)  # noqa: E731 - a step that changes nothing
    asked = family._prepare(pipe, family.first_denoiser(pipe), video, {"prompt": "a red ball"})[
        family.video_argument
    ]
    latents_as_called = family.fit(pipe, latents, asked)
    monkeypatch.setattr(pipe.scheduler, "step", still)
    count = {family.frames_argument: len(video), "height": video.shape[1], "width": video.shape[2]}
    with pytest.raises((StopIteration, RuntimeError)):
        pipe("a red ball", num_inference_steps=2, output_type="np", **count, **family.preparing)
    np.testing.assert_allclose(handed[0].detach().float(), made[0].detach().float(), atol=1e-5)


def test_noise_follows_the_law_of_the_scheduler():
    latents, noise = torch.full((2,), 4.0), torch.full((2,), 8.0)
    flow = SimpleNamespace(config={"num_train_timesteps": 1000})
    assert [
        each.tolist() if torch.is_tensor(each) else each for each in mix_noise(flow, latents, noise, 0.25)
    ] == [
        [5.0, 5.0],
        250.0,
    ]
    turned = SimpleNamespace(config={"num_train_timesteps": 1000, "invert_sigmas": True})
    assert mix_noise(turned, latents, noise, 0.25)[1] == 750.0
    kept = torch.tensor([0.99, 0.64, 0.36])
    diffusion = SimpleNamespace(config={"num_train_timesteps": 3}, alphas_cumprod=kept)
    mixed, timestep = mix_noise(diffusion, latents, noise, 0.6)  # sqrt(1 - 0.64) = 0.6
    assert timestep == 1
    torch.testing.assert_close(mixed, torch.full((2,), 0.8 * 4 + 0.6 * 8))


def test_latents_come_to_mean_0_and_width_1_by_channel():
    def vae(config):
        return SimpleNamespace(config=config, named_buffers=lambda recurse: {})

    config = {"latents_mean": [1.0, 2.0], "latents_std": [2.0, 4.0], "scaling_factor": 3.0}
    latents = torch.tensor([3.0, 10.0]).view(1, 2, 1, 1, 1)
    assert scale_latents(vae(config), latents).flatten().tolist() == [3.0, 6.0]
    assert scale_latents(vae({"scaling_factor": 0.5}), latents).flatten().tolist() == [
        1.5,
        5.0,
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [("cogvideox-i2v", "told its image"), ("svd", "told an image"), ("allegro", "large tiles")],
)
def test_what_must_be_told_an_image_is_refused(name, words):
    with pytest.raises(UnsupportedModelError, match=words):
        scope.probe_video(tiny(name), np.zeros((9, 32, 32, 3), np.uint8), sigmas=[0.5])


def test_at_least_eight_families_look_at_videos():
    families = {find(tiny(name)).name for name in NAMES}
    assert all(isinstance(find(tiny(name)), LookingFamily) for name in NAMES)
    assert len(families) >= 8
