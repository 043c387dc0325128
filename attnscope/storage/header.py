"""What a store is about, fixed when it is created: two runs with the same header may share a store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction

import numpy as np

from attnscope._types import Document
from attnscope.errors import StoreError, quote
from attnscope.schema import DEFAULT_TOLERANCE, Coordinate, Labels, coordinates, shot_coordinates
from attnscope.shots import LatentPlan


@dataclass(frozen=True)
class StoreHeader:
    """Everything about a sweep that must not change while it runs: prompts, layers, shots, provenance.

    Attributes
    ----------
    prompts, seeds : tuples
        One run each.
    num_steps : int
        Denoising steps of a run; ``steps`` are the recorded ones, all by default.
    branches, layers, modules, stages, heads : tuples
        Labels, as in the schema.
    plans : tuple of LatentPlan or None
        The shots of each prompt.
    num_frames, stride, fps : int, int, Fraction
        The latent frames, and how they lie on the video.
    has_text_mass : bool
        Whether the model mixes text into the same attention.
    tolerance : float
        How far rows may be from 1.
    attrs : mapping
        Provenance, as JSON. It belongs to the identity of the run, so it holds no times of day.

    Raises
    ------
    StoreError
        Something is empty or has another length, a plan has other frames, or ``attrs`` is no JSON.

    Examples
    --------
    >>> header = StoreHeader(
    ...     prompts=("a dog",), seeds=(0,), num_steps=2, branches=("cond",), layers=(1,), modules=("blocks.0.attn1",),
    ...     stages=("",), heads=(0, 1), plans=(None,), num_frames=3, stride=4, fps=Fraction(16))
    >>> header.steps, StoreHeader.from_json(header.to_json()) == header
    ((0, 1), True)
    """

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    num_steps: int
    branches: tuple[str, ...]
    layers: tuple[int, ...]
    modules: tuple[str, ...]
    stages: tuple[str, ...]
    heads: tuple[int, ...]
    plans: tuple[LatentPlan | None, ...]
    num_frames: int
    stride: int
    fps: Fraction
    steps: tuple[int, ...] = ()
    has_text_mass: bool = False
    tolerance: float = DEFAULT_TOLERANCE
    attrs: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps) or tuple(range(self.num_steps)))
        for name in (
            "prompts",
            "seeds",
            "branches",
            "layers",
            "modules",
            "stages",
            "heads",
            "plans",
            "steps",
        ):
            # numpy's numbers are no JSON, and a list would not compare equal to the tuple that is read back.
            values = tuple(v.item() if isinstance(v, np.generic) else v for v in getattr(self, name))
            object.__setattr__(self, name, values)
            if not values:
                raise StoreError(
                    expected=f"at least one of {name}",
                    got="none",
                    where="in the header of a store",
                    remedy="name some",
                )
        self._require_plain_attrs()
        self._require_consistent_plans()
        try:
            # Encoded once here: a lone surrogate in a prompt would only fail when the file is written.
            "".join([*self.prompts, *self.modules, *self.stages, *self.branches]).encode()
            self.coordinates()
        except (ValueError, TypeError, OverflowError) as error:
            raise StoreError(
                expected="labels that agree with each other",
                got=f"trouble ({error})",
                where="in the header of a store",
                remedy="give one per prompt, step, layer and head, as text or 64-bit whole numbers",
            ) from error

    def _require_plain_attrs(self) -> None:
        try:
            plain = json.loads(json.dumps(dict(self.attrs), allow_nan=False, sort_keys=True))
        except (TypeError, ValueError, RecursionError) as error:
            raise StoreError(
                expected="provenance that JSON can hold",
                got=quote(str(error)),
                where="in the header of a store",
                remedy="use text, numbers, lists and dicts",
            ) from error
        object.__setattr__(self, "attrs", plain)

    def _require_consistent_plans(self) -> None:
        for plan in self.plans:
            clock = (self.stride, Fraction(self.fps))
            if plan is not None and (plan.stride, plan.fps) != clock:
                raise StoreError(
                    expected=f"plans of stride {self.stride} at {self.fps} fps",
                    got=f"stride {plan.stride} at {plan.fps} fps",
                    where="in the header of a store",
                    remedy="plan all prompts on the same clock",
                )

    @property
    def grid(self) -> LatentPlan:
        """The latent frames without any cut."""
        return LatentPlan(self.num_frames, (), self.stride, self.fps, ())

    @property
    def digest(self) -> str:
        """A fingerprint of the run: equal headers, equal digests."""
        text = json.dumps([self.to_json(), self.attrs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def labels(
        self, timesteps: Sequence[float] | None = None, sigmas: Sequence[float] | None = None
    ) -> Labels:
        """Return what every number of the dataset is about; timesteps and sigmas are NaN until they are known."""
        unknown = [float("nan")] * len(self.steps)
        return Labels(
            prompts=self.prompts,
            seeds=self.seeds,
            steps=self.steps,
            timesteps=timesteps or unknown,
            sigmas=sigmas or unknown,
            branches=self.branches,
            layers=self.layers,
            modules=self.modules,
            stages=self.stages,
            heads=self.heads,
            latent=self.grid,
        )

    def coordinates(
        self, timesteps: list[float] | None = None, sigmas: list[float] | None = None
    ) -> dict[str, Coordinate]:
        """Return all coordinates of the dataset; timesteps and sigmas are NaN until they are known."""
        labels = coordinates(self.labels(timesteps, sigmas))
        return labels | shot_coordinates(
            self.plans, num_prompts=len(self.prompts), num_frames=self.num_frames
        )

    def to_json(self) -> Document:
        """Return the header without ``attrs`` as plain JSON values."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "attrs"}
        values["fps"] = str(self.fps)
        values["plans"] = [
            None if plan is None else {"cuts": list(plan.cuts), "requested_frame": list(plan.requested_frame)}
            for plan in self.plans
        ]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, values: Document, attrs: Mapping[str, object] | None = None) -> StoreHeader:
        """Read a header back."""
        fps, num_frames, stride = Fraction(values["fps"]), values["num_frames"], values["stride"]
        plans = tuple(
            None
            if plan is None
            else LatentPlan(num_frames, tuple(plan["cuts"]), stride, fps, tuple(plan["requested_frame"]))
            for plan in values["plans"]
        )
        return cls(**{**values, "fps": fps, "plans": plans, "attrs": attrs or {}})

    def difference(self, other: StoreHeader) -> tuple[str, str] | None:
        """Say which field differs first and how, here and there; None where the two are the same run.

        >>> import dataclasses
        >>> header = StoreHeader(
        ...     prompts=("a dog",), seeds=(0,), num_steps=2, branches=("cond",), layers=(1,), modules=("m",),
        ...     stages=("",), heads=(0,), plans=(None,), num_frames=3, stride=4, fps=Fraction(16))
        >>> header.difference(dataclasses.replace(header, seeds=(1,)))
        ('seeds [0]', '[1]')
        """
        mine, theirs = (
            {**header.to_json(), **{f"attrs.{key}": value for key, value in header.attrs.items()}}
            for header in (self, other)
        )
        for name in [*mine, *(name for name in theirs if name not in mine)]:
            a, b = mine.get(name, "nothing"), theirs.get(name, "nothing")
            if a != b:
                return f"{name} {quote(a, 40)}", quote(b, 40)
        return None
