"""A noise level as a family says it itself, where it runs its denoiser without a scheduler."""

from __future__ import annotations


class NoiseShare(float):
    """A noise level that is a share already, from 0 to 1, and no sigma in the unit of some scheduler.

    >>> NoiseShare(0.5) == 0.5
    True
    """
