"""What ran is what counts: under every scheduler a probe has the steps, timesteps and noise levels of the run itself.

The truth is taken from the schedulers of diffusers, called by a pipeline that nobody looks at: each call of `step` is a
step at its timestep; the noise level is read from what `scale_model_input` divides by, or else, where it divides by
nothing, from the shares in which `add_noise` mixes a video of ones and noise of ones.
"""

from __future__ import annotations

import copy
import functools
import math
import warnings
from typing import Any

import diffusers
import pytest
import torch

import attnscope
from attnscope.testing import specimen, tiny

# Schedulers of diffusers warn of versions of numpy and of settings that they do not know.
pytestmark = pytest.mark.filterwarnings("ignore")

FAMILIES = ("modelscope", "animatediff", "latte", "cogvideox", "wan", "allegro")
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "DDIM": ("DDIMScheduler", {}),
    "PNDM": ("PNDMScheduler", {"skip_prk_steps": True}),
    "Euler": ("EulerDiscreteScheduler", {}),
    "Euler ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "Heun": ("HeunDiscreteScheduler", {}),
    "KDPM2": ("KDPM2DiscreteScheduler", {}),
    "KDPM2 ancestral": ("KDPM2AncestralDiscreteScheduler", {}),
    "DPM multistep": ("DPMSolverMultistepScheduler", {}),
    "DEIS": ("DEISMultistepScheduler", {}),
    "UniPC of flows": ("UniPCMultistepScheduler", FLOW),
    "flow Euler": ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    "flow Heun": ("FlowMatchHeunDiscreteScheduler", {"shift": 3.0}),
}


def level_by_scaling(scheduler: Any, timestep: torch.Tensor) -> float:
    """The level by what the scheduler itself would divide the video by: sqrt(1 + sigma^2); nan where by nothing."""
    if not hasattr(scheduler, "scale_model_input"):
        return math.nan
    share = float(scheduler.scale_model_input(torch.ones(1, dtype=torch.float64), timestep))
    return math.sqrt(1 - share**2) if share < 1 - 1e-9 else math.nan


def level_by_mixing(scheduler: Any, timestep: torch.Tensor) -> float:
    one, none = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    at = timestep.reshape(1)
    if hasattr(scheduler, "scale_noise"):
        video, noise = scheduler.scale_noise(one, at, none), scheduler.scale_noise(none, at, one)
    else:
        video, noise = scheduler.add_noise(one, none, at), scheduler.add_noise(none, one, at)
    kept, added = float(video), float(noise)
    return added if abs(kept + added - 1) < 1e-6 else added / math.hypot(kept, added)


class Spy:
    """Notes the timesteps at which a pipeline asks its scheduler for a step, and the noise level there."""

    def __init__(self, scheduler: Any) -> None:
        self.timesteps: list[float] = []
        self.levels: list[float] = []
        step = scheduler.step

        @functools.wraps(step)
        def noted_step(output: Any, timestep: Any, *args: Any, **kwargs: Any) -> Any:
            now = torch.as_tensor(timestep)
            level = level_by_scaling(copy.deepcopy(scheduler), now)
            self.levels.append(level_by_mixing(copy.deepcopy(scheduler), now) if math.isnan(level) else level)
            self.timesteps.append(float(timestep))
            return step(output, timestep, *args, **kwargs)

        scheduler.step = noted_step


def small(name: str) -> dict[str, Any]:
    given = {**specimen(name).settings, "num_inference_steps": 3}
    return {key: value for key, value in given.items() if key not in ("prompt", "output_type")}


def model(name: str, scheduler: str) -> Any:
    pipe, (kind, changes) = tiny(name), SCHEDULERS[scheduler]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.scheduler = getattr(diffusers, kind).from_config(pipe.scheduler.config, **changes)
    return pipe


def compare(name: str, scheduler: str) -> str:
    """One cell of the table: "right", "refused" where the pipeline itself does not run, or what is wrong."""
    plain = model(name, scheduler)
    spy = Spy(plain.scheduler)
    try:
        plain(prompt="x", generator=torch.Generator().manual_seed(0), output_type="latent", **small(name))
    except (ValueError, TypeError, AttributeError) as error:
        with pytest.raises(attnscope.errors.InputError):
            attnscope.probe(model(name, scheduler), "x", **small(name))
        return f"refused: {error}"[:60]
    probed = attnscope.probe(model(name, scheduler), "x", **small(name))
    steps, timesteps = probed.step.values.tolist(), probed.timestep.values.tolist()
    if steps != list(range(len(spy.timesteps))) or timesteps != pytest.approx(spy.timesteps):
        return f"steps {steps} at {timesteps}, the model ran at {spy.timesteps}"
    levels = probed.sigma.values.tolist()
    if levels != pytest.approx(spy.levels, abs=2e-3):
        return f"noise levels {levels}, the model's were {spy.levels}"
    return "right"


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_steps_timesteps_and_noise_levels_are_those_of_the_run(scheduler: str) -> None:
    assert compare("modelscope", scheduler).startswith(("right", "refused"))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES[1:])
def test_so_in_every_kind_of_family(name: str) -> None:
    table = {scheduler: compare(name, scheduler) for scheduler in SCHEDULERS}
    assert {s: found for s, found in table.items() if not found.startswith(("right", "refused"))} == {}
    assert sum(found == "right" for found in table.values()) >= 8
