"""How noisy the video is that a denoiser is given: one unit, whatever its scheduler counts in."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor


def noise_level(scheduler: object, timestep: Tensor) -> float:
    """Return the share of noise in what is denoised: 0 is a clean video, 1 is noise alone; nan where nobody knows.

    Where video and noise are mixed as `(1 - s) * video + s * noise` (flow matching) it is s. Elsewhere they are mixed
    as `a * video + b * noise`, of independent parts, and it is `b / sqrt(a^2 + b^2)`: the square root of the share that
    noise has of the variance. For a scheduler that adds noise of size sigma to a video (Euler, Heun and their kin) that
    is `sigma / sqrt(1 + sigma^2)`, for one that keeps a share `alphas_cumprod` of the variance (DDIM, PNDM)
    `sqrt(1 - alphas_cumprod)`.

    Parameters
    ----------
    scheduler
        A scheduler of diffusers, in the run that is asked about; None is a scheduler that knows nothing.
    timestep
        The scheduler's t of the pass, one number, in the precision in which the denoiser was given it.

    Examples
    --------
    >>> from diffusers import EulerDiscreteScheduler
    >>> euler = EulerDiscreteScheduler()
    >>> euler.set_timesteps(3)
    >>> [round(noise_level(euler, t), 3) for t in euler.timesteps]
    [1.0, 0.96, 0.01]
    """
    sigmas, kept = getattr(scheduler, "sigmas", None), getattr(scheduler, "alphas_cumprod", None)
    if sigmas is None and kept is not None:
        known = 0 <= float(timestep) < len(kept)
        return math.sqrt(1 - float(kept[int(timestep)])) if known else math.nan
    if sigmas is None:  # angles between video and noise (IPNDM)
        sigmas = getattr(scheduler, "betas", None)
    place = None if sigmas is None else _place(scheduler, timestep)
    if sigmas is None or place is None:
        return math.nan
    sigma = _sigma_between(scheduler, place)
    sigma = float(sigmas[place]) if sigma is None else sigma
    if _mixes_linearly(scheduler):
        return 1 - sigma if _setting(scheduler, "invert_sigmas") else sigma
    return sigma if sigmas is getattr(scheduler, "betas", None) else sigma / math.sqrt(1 + sigma**2)


def _place(scheduler: object, timestep: Tensor) -> int | None:
    """The index of the pass among the scheduler's timesteps: what it has counted, unless another one is denoised."""
    timesteps = getattr(scheduler, "timesteps", None)
    if timesteps is None:
        return None
    same = (timesteps.to(timestep.device, timestep.dtype) == timestep).nonzero().flatten().tolist()
    counted = getattr(scheduler, "step_index", None)
    counted = getattr(scheduler, "begin_index", None) if counted is None else int(counted)
    # Some denoisers are given t in a unit of their own; then what was counted must do.
    if counted is not None and (counted in same or (not same and 0 <= counted < len(timesteps))):
        return int(counted)
    return int(same[0]) if same else None


def _sigma_between(scheduler: object, place: int) -> float | None:
    """The noise of the second pass of a step, where it lies between two of the scheduler's own; else None."""
    if getattr(scheduler, "state_in_first_order", True):
        return None
    between = getattr(scheduler, "sigmas_interpol", None)
    if between is not None:
        # The ancestral kind counts its interpolated levels from the pass before.
        return float(between[place - hasattr(scheduler, "sigmas_down")])
    middle = getattr(scheduler, "mid_point_sigma", None)
    return None if middle is None else float(middle)


def _mixes_linearly(scheduler: object) -> bool:
    """Whether noise takes the place of the video (flow matching), rather than being added to it."""
    return (
        bool(_setting(scheduler, "use_flow_sigmas"))
        or _setting(scheduler, "prediction_type") == "flow_prediction"
        or not hasattr(scheduler, "add_noise")
    )


def _setting(scheduler: object, name: str) -> Any:
    return getattr(getattr(scheduler, "config", None), name, None)
