"""Collecting the frame mass of a running pipeline, step by step, into a store or into memory.

Legend: S branches, L layers, H heads, F query frames, G key frames.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import numpy as np
import xarray as xr

from attnscope._types import Floats32
from attnscope.errors import AttnscopeError, RunError
from attnscope.hooks import Attachment, Call, Heads, HookPoint
from attnscope.schema import build_dataset, with_shots
from attnscope.storage import Store, StoreHeader, resume_or_create


class Sink(Protocol):
    """Where finished steps go: a store on disk, or memory."""

    def is_done(self, prompt: int, step: int) -> bool:
        """Say whether a step is already there."""

    def append(
        self,
        prompt: int,
        step: int,
        mass: Floats32,
        text_mass: Floats32 | None,
        timestep: float,
        sigma: float,
    ) -> None:
        """Take over one finished step, mass (S, L, H, F, G)."""


class Memory:
    """Keeps finished steps in memory, for a probe that is given no path."""

    def __init__(self, header: StoreHeader) -> None:
        self.header = header
        self._units: dict[tuple[int, int], tuple[Floats32, Floats32 | None, float, float]] = {}

    def is_done(self, prompt: int, step: int) -> bool:
        """Say whether a step is already there."""
        return (prompt, step) in self._units

    def append(
        self,
        prompt: int,
        step: int,
        mass: Floats32,
        text_mass: Floats32 | None,
        timestep: float,
        sigma: float,
    ) -> None:
        """Take over one finished step."""
        self._units[prompt, step] = (mass, text_mass, timestep, sigma)

    def dataset(self) -> xr.Dataset:
        """Label everything that was kept."""
        head = self.header
        grid = [[self._units[prompt, step] for step in head.steps] for prompt in range(len(head.prompts))]
        masses = np.stack([np.stack([unit[0] for unit in row]) for row in grid])
        texts = [[unit[1] for unit in row if unit[1] is not None] for row in grid]
        labels = head.labels([unit[2] for unit in grid[0]], [unit[3] for unit in grid[0]])
        text_mass = np.stack([np.stack(row) for row in texts]) if head.has_text_mass else None
        dataset = build_dataset(masses, labels, text_mass=text_mass, attrs=head.attrs)
        return with_shots(dataset, head.plans)


class Follower:
    """What a process knows of the store that the first of its group writes: what is done."""

    def __init__(self, path: str | os.PathLike[str], done: set[tuple[int, int]]) -> None:
        self._path, self._done = path, done

    def is_done(self, prompt: int, step: int) -> bool:
        """Say whether a step is already there."""
        return (prompt, step) in self._done

    def append(
        self,
        prompt: int,
        step: int,
        mass: Floats32,
        text_mass: Floats32 | None,
        timestep: float,
        sigma: float,
    ) -> None:
        """Note that the first process takes over this step."""
        self._done.add((prompt, step))

    def dataset(self) -> xr.Dataset:
        """Read what the first process has written."""
        return Store.open(self._path).dataset()


def open_sink(
    header: StoreHeader, out: str | os.PathLike[str] | None, heads: Heads | None
) -> Memory | Store | Follower:
    """Open where finished steps go. Of processes that share a video, the first writes to the store."""
    if out is None:
        return Memory(header)
    if heads is None:
        return resume_or_create(out, header)
    done = None
    if heads.rank == 0:
        try:
            store = resume_or_create(out, header)
        except AttnscopeError:
            heads.broadcast(None, len(header.prompts) * len(header.steps))
            raise
        done = [store.is_done(prompt, step) for prompt, step in _units(header)]
    told = heads.broadcast(done, len(header.prompts) * len(header.steps))
    if told is None:
        raise RunError(
            expected="a store that the first process could open",
            got="an error there",
            where=f"at {out}",
            remedy="read what it says",
        )
    if heads.rank == 0:
        return store
    return Follower(out, {unit for unit, there in zip(_units(header), told, strict=True) if there})


def _units(header: StoreHeader) -> list[tuple[int, int]]:
    return list(itertools.product(range(len(header.prompts)), header.steps))


class Recorder:
    """Listens to frame mass while a pipeline runs one prompt, and hands on every step as soon as it is whole."""

    def __init__(
        self, attachment: Attachment, header: StoreHeader, sink: Sink, on_step: Callable[[], None]
    ) -> None:
        self._attachment, self._header, self._sink, self._on_step = attachment, header, sink, on_step
        points = [cast(HookPoint, tap.hook_frame_mass) for tap in attachment.taps.values()]
        self._names = [point.name for point in points if point.layer in header.layers]
        self._prompt = 0
        self._unit: dict[tuple[str, int], tuple[Floats32, Floats32 | None]] = {}
        self._stop: Callable[[], None] | None = None
        self._leave = [
            attachment.on_call(self._before, when="before"),
            attachment.on_call(self._after, when="after"),
        ]

    def begin(self, prompt: int) -> None:
        """Say which prompt runs from here on."""
        self._prompt, self._unit = prompt, {}

    def end(self) -> None:
        """Check that the prompt's steps were all there.

        Raises
        ------
        RunError
            The pipeline never ran a step or a guidance branch that was asked for.
        """
        missing = [step for step in self._header.steps if not self._sink.is_done(self._prompt, step)]
        if missing:
            recorded = sorted({branch for branch, _ in self._unit})
            raise RunError(
                expected=f"branches {', '.join(self._header.branches)} at every step",
                got=f"{recorded or 'none'}",
                where=f"at step {missing[0]} of prompt {self._prompt}",
                remedy=(
                    "the uncond branch needs a guidance scale above "
                    "1, or true guidance where the model is distilled"
                ),
            )

    def close(self) -> None:
        """Stop listening; the attachment may belong to somebody else and stay open."""
        self._silence()
        for leave in self._leave:
            leave()
        self._leave = []

    def _before(self, call: Call) -> None:
        self._silence()
        wanted = set(call.branches) & set(self._header.branches) and call.step in self._header.steps
        if wanted and not self._sink.is_done(self._prompt, call.step):
            self._stop = self._attachment.listen(self._names, self._measure)

    def _after(self, call: Call) -> None:
        self._silence()
        complete = len(self._unit) == len(self._header.branches) * len(self._header.layers)
        if call.step in self._header.steps and complete:
            mass, text = self._collect()
            self._sink.append(self._prompt, call.step, mass, text, call.timestep, call.sigma)
            self._unit = {}
            self._on_step()

    def _silence(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _measure(self, mass_BHFG: object, point: HookPoint) -> None:
        import torch

        assert isinstance(mass_BHFG, torch.Tensor)
        if point.call.branch not in self._header.branches:
            return
        segments = self._attachment.layout.segments
        if self._attachment.layout.num_frames != self._header.num_frames:
            raise RunError(
                expected=f"{self._header.num_frames} latent frames in one call",
                got=f"{self._attachment.layout.num_frames}",
                where=f"at {point.name}",
                remedy="make a video that the model makes in one piece",
            )
        frames = [i for i, segment in enumerate(segments) if segment.kind == "frame"]
        texts = [i for i, segment in enumerate(segments) if segment.kind == "text"]
        if len(mass_BHFG) != 1:
            raise RunError(
                expected="one video at a time",
                got=f"a batch of {len(mass_BHFG)}",
                where=f"at {point.name}",
                remedy="pass several prompts as a list instead",
            )
        mass_HFG = mass_BHFG[0].detach().float()
        if (heads := self._attachment.heads) is not None:
            mass_HFG = heads.collect(mass_HFG)
        mass = mass_HFG.cpu().numpy()[list(self._header.heads)][:, frames]
        text = mass[..., texts].sum(axis=-1) if self._header.has_text_mass else None
        self._unit[point.call.branch, point.layer] = (mass[..., frames], text)

    def _collect(self) -> tuple[Floats32, Floats32 | None]:
        head = self._header
        units = [[self._unit[branch, layer] for layer in head.layers] for branch in head.branches]
        mass = np.stack([np.stack([unit[0] for unit in row]) for row in units])
        texts = [[unit[1] for unit in row if unit[1] is not None] for row in units]
        return mass, np.stack([np.stack(row) for row in texts]) if head.has_text_mass else None


def missing_steps(header: StoreHeader, sink: Sink, prompt: int) -> Sequence[int]:
    """Steps of a prompt that are not there yet."""
    return [step for step in header.steps if not sink.is_done(prompt, step)]
