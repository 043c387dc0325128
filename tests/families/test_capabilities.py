"""What the table of families says, held on tiny models: a capability works, or is refused in one line with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import attnscope as scope
from attnscope.errors import UnsupportedModelError
from attnscope.families import FAMILIES, Family, find
from attnscope.families.protocols import CAPABILITIES, Capability
from attnscope.testing import TINY_MODELS, specimen, tiny

OURS = ("num_frames", "video_length", "height", "width", "prompt", "num_inference_steps", "output_type")


def name_of(family: Family) -> str:
    """The first tiny model of a family that reads texts of any length; from text alone, where there is such a one."""
    own = [name for name in TINY_MODELS if type(specimen(name).family) is type(family)]
    free = [name for name in own if family.fixed_text_length(tiny(name)) is None]
    return (free or own)[0]


def captions(pipe: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family, settings = find(pipe), specimen(name).settings
    stride = family.temporal_stride(pipe)
    count = settings.get("num_frames", settings.get("video_length"))
    num_frames = family.num_latent_frames(pipe, count)
    plan = scope.ShotPlan.from_latent_frames([1], num_frames_latent=num_frames, fps=16, stride=stride)
    if name == "allegro":
        pipe.vae.enable_tiling()  # its VAE decodes nothing else, and tiles of the tiny one are larger than its pictures
    told = {key: value for key, value in settings.items() if key not in OURS or key in ("height", "width")}
    predicted: list[torch.Tensor] = []
    remove = (
        family.first_denoiser(pipe)
        .register_forward_hook(lambda module, args, output: predicted.append(output[0]))
        .remove
    )
    films = []
    for second in ("a red ball", "the beach"):
        film = scope.generate(
            pipe,
            "a cat",
            shots=plan,
            captions=["a dog", second],
            num_inference_steps=2,
            progress=False,
            **told,
        )
        films.append((film.frames, predicted[-1]))
    remove()
    assert films[0][0].shape == films[1][0].shape == (plan.num_frames, *films[0][0].shape[1:])
    assert not torch.equal(films[0][1], films[1][1])


def by_shot(pipe: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {key: value for key, value in specimen(name).settings.items() if key in ("height", "width")}
    stride = find(pipe).temporal_stride(pipe)
    plan = scope.ShotPlan.from_latent_frames([2], num_frames_latent=4, fps=16, stride=stride)
    films = [
        scope.generate(pipe, "a cat", shots=plan, decode_shots=each, num_inference_steps=1, **settings).frames
        for each in (True, False)
    ]
    assert films[0].shape == films[1].shape
    assert np.array_equal(films[0][0], films[1][0])  # the first shot has nothing before it


def given_videos(pipe: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, family = specimen(name).settings, find(pipe)
    extra = {key: value for key, value in settings.items() if key not in OURS}
    monkeypatch.setattr(
        type(family), "preparing", {**getattr(family, "preparing", {}), **extra}, raising=False
    )
    count = settings.get("num_frames", settings.get("video_length"))
    shape = (count, settings["height"], settings["width"], 3)
    video = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    mass, other = (
        scope.probe_video(pipe, each, prompt="a red ball", sigmas=[0.5]).mass for each in (video, 255 - video)
    )
    assert bool(np.isfinite(mass).all())
    assert float(abs(mass - other).max()) > 0


def time_offsets(pipe: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = specimen(name).run(pipe)
    num_frames = plain.shape[find(pipe).frame_axis]
    plan = scope.ShotPlan.from_latent_frames([2], num_frames_latent=num_frames, fps=16)
    with scope.offset_shots(pipe, plan, 6):
        moved = specimen(name).run(pipe)
    assert (moved - plain).abs().max() > 1e-4
    assert torch.equal(specimen(name).run(pipe), plain)


TRIED = {
    "captions": captions,
    "by shot": by_shot,
    "given videos": given_videos,
    "time offsets": time_offsets,
}


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda each: each.column)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda each: each.name)
def test_a_capability_works_or_is_refused_with_a_reason(
    family: Family, capability: Capability, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = name_of(family)
    pipe = tiny(name)
    if isinstance(family, capability.protocol):
        TRIED[capability.column](pipe, name, monkeypatch)
        return
    with pytest.raises(UnsupportedModelError) as caught:
        TRIED[capability.column](pipe, name, monkeypatch)
    reason = family.cannot.get(capability.column, f"it is not known {capability.needs}")
    assert f"of the family {family.name}, which is not taught to ({reason})" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reasons_stand_for_what_a_family_cannot_and_for_nothing_else() -> None:
    columns = {each.column: each.protocol for each in CAPABILITIES}
    wrong = [
        (family.name, column)
        for family in FAMILIES
        for column in family.cannot
        if column not in columns or isinstance(family, columns[column])
    ]
    assert wrong == []


def test_how_many_families_can_what() -> None:
    counts = {
        each.column: sum(isinstance(family, each.protocol) for family in FAMILIES) for each in CAPABILITIES
    }
    assert counts == {"captions": 11, "by shot": 2, "given videos": 12, "time offsets": 1}
