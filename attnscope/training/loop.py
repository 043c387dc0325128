"""The loop: batch, loss, gradients, update; and what is written down, looked at and kept on the way."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from attnscope._types import Document
from attnscope.errors import RunError, SetupError
from attnscope.families.protocols import Denoiser
from attnscope.training.batches import Assembly, Batch, Order
from attnscope.training.checkpoints import last_good, list_checkpoints, restore, save_checkpoint
from attnscope.training.forward import TrainingForward
from attnscope.training.journal import LOG, Bar, Curves, Journal, peak_memory_gib
from attnscope.training.recipe import Recipe
from attnscope.training.watching import AttentionRecord
from attnscope.training.weights import put, use_average

OnStep = Callable[[int, int], None]
VALIDATION = "validation.jsonl"
_WARM = 10  # of an average: it follows the weights closely at first


@dataclass(frozen=True)
class Line:
    """What one update was like, as it stands in the log."""

    step: int
    loss: float
    gradient_norm: float
    learning_rate: float
    films_per_s: float
    peak_memory_gib: float


class Loop:
    """Trains from the last good checkpoint of a run, or from the beginning, to its last step."""

    def __init__(
        self,
        run: Path,
        recipe: Recipe,
        forward: TrainingForward,
        assembly: Assembly,
        shapes: Sequence[tuple[int, ...]],
        *,
        tensorboard: bool = False,
        on_step: OnStep = lambda done, total: None,
    ) -> None:
        from accelerate import Accelerator

        self._run, self._recipe, self._forward, self._assembly = run, recipe, forward, assembly
        self._on_step = on_step
        denoiser: Denoiser = forward.model.denoiser
        on_cpu = next(denoiser.parameters()).device.type == "cpu"
        self.accelerator = Accelerator(gradient_accumulation_steps=recipe.accumulate, cpu=on_cpu)
        self._order = Order(shapes, recipe.batch_size * self.accelerator.num_processes, seed=recipe.seed)
        optimiser = build_optimiser([each for each in denoiser.parameters() if each.requires_grad], recipe)
        self._denoiser, self._optimiser = self.accelerator.prepare(denoiser, optimiser)
        # read again: what is sharded over processes are other tensors than before
        inner: nn.Module = self.accelerator.unwrap_model(self._denoiser)
        self.weights = {name: each for name, each in inner.named_parameters() if each.requires_grad}
        self.average: dict[str, Tensor] | None = None
        if recipe.ema:
            self.average = {name: each.detach().clone() for name, each in self.weights.items()}
        self._tensorboard = tensorboard

    def train(
        self,
        record: AttentionRecord | None = None,
        validate: Callable[[int], list[Document]] | None = None,
    ) -> None:
        """Run all steps that are left.

        Raises
        ------
        RunError
            The loss is no number; the message names step, batch and the last good checkpoint.
        SetupError
            The disk is full.
        """
        recipe, state = self._recipe, last_good(self._run)
        first = 0 if state is None else restore(state, self.weights, self._optimiser.optimizer, self.average)
        with ExitStack() as stack:
            is_main = self.accelerator.is_main_process
            names = (LOG, VALIDATION) if recipe.validate_every else (LOG,)
            journals = [Journal(self._run, name, first) for name in names] if is_main else []
            curves = Curves(self._run, wanted=self._tensorboard and is_main)
            stack.callback(curves.close)
            bar = stack.enter_context(Bar(recipe.steps, first)) if is_main else None
            stack.enter_context(torch.random.fork_rng(devices=[]))
            stack.enter_context(_without_autocast_notes())
            if first == 0:
                self._look(0, record, None, [])
            self._denoiser.train()
            for step in range(first, recipe.steps):
                line = self._update(step)
                if journals and bar is not None:
                    journals[0].write(vars(line))
                    curves.add(line.step, vars(line))
                    bar.show(line.step, loss=line.loss, speed=line.films_per_s, memory=line.peak_memory_gib)
                self._look(line.step, record, validate, journals[1:])
                if _is_due(line.step, recipe.checkpoint_every, recipe.steps):
                    self._save(line.step)
                self._on_step(line.step, recipe.steps)

    def _update(self, step: int) -> Line:
        recipe, began, losses = self._recipe, time.perf_counter(), []
        rate = recipe.rate(step)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        norm = math.nan
        for turn in range(recipe.accumulate):
            number = step * recipe.accumulate + turn
            batch = self._batch(number)
            with self.accelerator.accumulate(self._denoiser), self._precision():
                # dropout in adapters is the only thing that draws from PyTorch's own generator
                torch.manual_seed(_seed(recipe.seed, number, self.accelerator.process_index))
                loss = self._forward.loss(batch, self._denoiser)
                losses.append(self._reduce_loss(loss, step, number, batch))
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients:
                    norm = self._clip_gradients()
                    if not math.isfinite(norm):
                        raise self._refusal("gradients", norm, step, number, batch)
                self._optimiser.step()
                self._optimiser.zero_grad()
        self._follow(step)
        films = recipe.accumulate * recipe.batch_size * self.accelerator.num_processes
        return Line(
            step=step + 1,
            loss=sum(losses) / len(losses),
            gradient_norm=norm,
            learning_rate=rate,
            films_per_s=films / (time.perf_counter() - began),
            peak_memory_gib=peak_memory_gib(self.accelerator.device),
        )

    def _batch(self, number: int) -> Batch:
        places = self._order.batch(number)
        start = self.accelerator.process_index * self._recipe.batch_size
        return self._assembly.batch(places[start : start + self._recipe.batch_size])

    @contextmanager
    def _precision(self) -> Iterator[None]:
        is_low = self._recipe.precision == "bfloat16"
        device = self.accelerator.device.type
        with torch.autocast(device, torch.bfloat16) if is_low else nullcontext():
            yield

    def _reduce_loss(self, loss: Tensor, step: int, number: int, batch: Batch) -> float:
        """The loss over all processes, which must be a number in each."""
        found = float(self.accelerator.reduce(loss.detach(), "mean"))
        if not math.isfinite(found):
            raise self._refusal("loss", found, step, number, batch)
        return found

    def _refusal(self, what: str, found: float, step: int, number: int, batch: Batch) -> RunError:
        kept = list_checkpoints(self._run)
        return RunError(
            expected=f"a finite {what}" if what == "loss" else f"finite {what}",
            got=str(found),
            where=f"at step {step + 1}, batch {number} ({', '.join(batch.names)})",
            remedy=f"the last good checkpoint is {kept[0]}; lower the learning rate or leave the films out"
            if kept
            else "there is no checkpoint yet; lower the learning rate or leave the films out",
        )

    def _clip_gradients(self) -> float:
        most = self._recipe.max_norm or math.inf
        norm = self.accelerator.clip_grad_norm_(list(self.weights.values()), most)
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        if self.average is None:
            return
        kept = min(self._recipe.ema, (1 + step) / (_WARM + step))
        for name, weight in self.weights.items():
            self.average[name].lerp_(weight.detach(), 1 - kept)

    def adopt_average(self) -> None:
        """Make the average the model, where one was kept: it is what is handed over."""
        if self.average is not None:
            put(self.weights, self.average)

    def _look(
        self,
        step: int,
        record: AttentionRecord | None,
        validate: Callable[[int], list[Document]] | None,
        journals: list[Journal],
    ) -> None:
        """Record attention and make films where it is time to; the average does it, where there is one."""
        is_time = (
            validate is not None
            and bool(self._recipe.validate_every)
            and _is_due(step, self._recipe.validate_every, self._recipe.steps)
        )
        if (record is None or not record.is_due(step)) and not is_time:
            return
        self._denoiser.eval()
        # Sharded weights come together in all processes, or in none; otherwise one looks and the others wait.
        if self.accelerator.is_main_process or self._is_sharded:
            with use_average(self.weights, self.average):
                if record is not None:
                    record.look(step)
                if is_time and validate is not None:
                    for line in validate(step):
                        for journal in journals:
                            journal.write(line)
        self.accelerator.wait_for_everyone()
        self._denoiser.train()

    @property
    def _is_sharded(self) -> bool:
        return any(hasattr(each, "full_tensor") for each in self.weights.values())

    def _save(self, step: int) -> None:
        save_checkpoint(
            self._run,
            step,
            self.weights,
            self._optimiser.optimizer,
            self.average,
            keep=self._recipe.keep,
            is_main=self.accelerator.is_main_process,
        )
        self.accelerator.wait_for_everyone()


@contextmanager
def _without_autocast_notes() -> Iterator[None]:
    # Norms keep their weights in float32 under autocast; torch says at each kind of them that this is slower.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
        yield


def device_of_rank() -> str:
    """Return the processor that this process trains on: the GPU of its local rank where there are any."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def build_optimiser(weights: Sequence[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW, or the one whose states have 8 bits.

    Raises
    ------
    SetupError
        States of 8 bits are wanted and bitsandbytes is not installed.
    """
    options: Document = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(weights, **options)
    try:
        AdamW8bit = import_module("bitsandbytes.optim").AdamW8bit
    except ImportError as error:
        raise SetupError(
            expected="the package bitsandbytes",
            got="none",
            where="for optimiser adamw8bit",
            remedy="install it, or write adamw",
        ) from error
    eight: torch.optim.Optimizer = AdamW8bit(weights, **options)
    return eight


def _is_due(step: int, every: int, last: int) -> bool:
    return step == last or bool(every and step % every == 0)


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
