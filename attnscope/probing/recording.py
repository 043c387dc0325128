"""Collecting the frame mass of a running pipeline, step by step, into a store or into memory.

Legend: S branches, L layers, H heads, F query frames, G key frames.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import xarray as xr

from attnscope._types import Floats32
from attnscope.errors import AttnscopeError, InputError, RunError
from attnscope.hooks import Attachment, Call, Heads, HookPoint
from attnscope.ranges import format_range
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


class _Step(NamedTuple):
    """What was measured in one step: mass (S, L, H, F, G) and text mass (S, L, H, F)."""

    mass: Floats32
    text_mass: Floats32 | None
    timestep: float
    sigma: float


class Memory:
    """Keeps finished steps in memory, for a probe that is given no path."""

    def __init__(self, header: StoreHeader) -> None:
        self.header = header
        self._steps: dict[tuple[int, int], _Step] = {}

    def is_done(self, prompt: int, step: int) -> bool:
        """Say whether a step is already there."""
        return (prompt, step) in self._steps

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
        self._steps[prompt, step] = _Step(mass, text_mass, timestep, sigma)

    def dataset(self) -> xr.Dataset:
        """Label everything that was kept."""
        head = self.header
        grid = [[self._steps[prompt, step] for step in head.steps] for prompt in range(len(head.prompts))]
        masses = np.stack([np.stack([each.mass for each in row]) for row in grid])
        texts = [[each.text_mass for each in row if each.text_mass is not None] for row in grid]
        labels = head.labels([each.timestep for each in grid[0]], [each.sigma for each in grid[0]])
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
        points = [tap.hook_frame_mass for tap in attachment.taps.values()]
        self._names = [point.name for point in points if point.layer in header.layers]
        self._prompt, self._step, self._num_steps = 0, -1, 0
        self._unit: dict[tuple[str, int], tuple[Floats32, Floats32 | None]] = {}
        # branches of this step that ran, whether they are still to be recorded or not
        self._made: set[str] = set()
        self._stop: Callable[[], None] | None = None
        self._leave = [
            attachment.on_call(self._before, when="before"),
            attachment.on_call(self._after, when="after"),
        ]

    def begin(self, prompt: int) -> None:
        """Say which prompt runs from here on."""
        self._prompt, self._unit, self._step, self._num_steps = prompt, {}, -1, 0
        self._made = set()

    def end(self) -> None:
        """Check that the prompt's steps were all there.

        Raises
        ------
        RunError
            The run ended before all its steps were made, or a guidance branch or the layers asked for never ran.
        """
        self._require_whole_step()
        missing = missing_steps(self._header, self._sink, self._prompt)
        if missing:
            raise RunError(
                expected=f"{self._header.num_steps} steps, {format_range(missing)} among them",
                got=f"{self._num_steps} of them" if self._num_steps else "none",
                where=f"in the run of prompt {self._prompt}",
                remedy="look what stopped it, a callback for instance, and run it again",
            )

    def close(self) -> None:
        """Stop listening; the attachment may belong to somebody else and stay open."""
        self._silence()
        for leave in self._leave:
            leave()
        self._leave = []

    def _before(self, call: Call) -> None:
        self._silence()
        if call.step != self._step:
            self._enter_step(call.step)
        wanted = set(call.branches) & set(self._header.branches) if call.step in self._header.steps else set()
        if again := wanted & self._made:
            raise self._second_pass(min(again), call.step, f"in the run of prompt {self._prompt}")
        self._made |= wanted
        if wanted and not self._sink.is_done(self._prompt, call.step):
            self._require_one_video()
            self._stop = self._attachment.listen(self._names, self._measure)

    def _after(self, call: Call) -> None:
        self._silence()
        complete = len(self._unit) == len(self._header.branches) * len(self._header.layers)
        if complete and not self._sink.is_done(self._prompt, call.step):
            mass, text = self._collect()
            self._sink.append(self._prompt, call.step, mass, text, call.timestep, call.sigma)
            self._unit = {}
            self._on_step()

    def _enter_step(self, step: int) -> None:
        """Refuse a step that nobody foresaw, and one whose place is taken; look whether the one before was whole."""
        self._require_whole_step()
        if not self._step < step < self._header.num_steps:
            raise RunError(
                expected=f"the steps 0 to {self._header.num_steps - 1}, one after the other, as the pipeline said",
                got=f"step {step} after step {self._step}",
                where=f"in the run of prompt {self._prompt}",
                remedy="probe a run that makes each of its steps once",
            )
        self._step, self._num_steps, self._made = step, self._num_steps + 1, set()

    def _second_pass(self, branch: str, step: int, where: str) -> RunError:
        return RunError(
            expected=f"one pass of branch {branch} at step {step}",
            got="a second one",
            where=where,
            remedy="probe a run that makes each of its steps once",
        )

    def _require_whole_step(self) -> None:
        """Refuse a step that is over and lacks something that was asked for."""
        head = self._header
        if self._step not in head.steps or self._sink.is_done(self._prompt, self._step):
            return
        missing = [
            each for each in head.branches if not any((each, layer) in self._unit for layer in head.layers)
        ]
        layers = [
            each for each in head.layers if not any((branch, each) in self._unit for branch in head.branches)
        ]
        if missing == ["uncond"]:
            remedy = (
                "raise the guidance scale above 1 (true_cfg_scale and a negative prompt in distilled models)"
            )
        else:
            remedy = "leave out the argument that switches them off, or name other layers"
        raise RunError(
            expected=f"layers {format_range(head.layers)} in branches {', '.join(head.branches)}",
            got=(
                f"no branch {missing[0]}"
                if missing == ["uncond"]
                else f"no attention in layers {format_range(layers)}"
            ),
            where=f"at step {self._step} of prompt {self._prompt}",
            remedy=remedy,
        )

    def _require_one_video(self) -> None:
        most = max(part.num_videos for part in self._attachment.parts)
        if most > 1:
            raise InputError(
                expected="one video at a time",
                got=f"a batch of {most}",
                where=f"in the run of prompt {self._prompt}",
                remedy="give several prompts as a list instead",
            )

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
        if (point.call.branch, point.layer) in self._unit:
            raise self._second_pass(point.call.branch, point.call.step, f"at {point.name}")
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
