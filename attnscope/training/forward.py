"""The training forward: a batch of films under noise, through the denoiser under the rule, to a loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from attnscope._types import Range
from attnscope.hooks import Attachment, attach
from attnscope.masks import Intervention, general_text, own_text
from attnscope.shots import LatentPlan
from attnscope.training.batches import Batch
from attnscope.training.denoisers import Trainable
from attnscope.training.objectives import Objective, weighted_error
from attnscope.training.rules import BatchRules, Rule, rule_for


class TrainingForward:
    """A denoiser that is attached to and the rule in it; made by :func:`training_forward`."""

    def __init__(
        self,
        model: Trainable,
        objective: Objective,
        attachment: Attachment,
        rules: BatchRules,
        dtype: torch.dtype,
    ) -> None:
        self.model, self.objective, self.attachment, self._rules, self._dtype = (
            model,
            objective,
            attachment,
            rules,
            dtype,
        )

    def pause(self) -> None:
        """Let the denoiser run by itself, in its pipeline say, until the next batch."""
        self._rules.begin(())

    def require(self, plans: Iterable[LatentPlan]) -> None:
        """Make sure that the rule can be put on the shots of these films, in layers that the denoiser has.

        Raises
        ------
        AttnscopeError
            It cannot; the message says why.
        """
        for plan in plans:
            self._rules.place(plan)

    def loss(self, batch: Batch, denoiser: nn.Module | None = None, *, is_ruled: bool = True) -> Tensor:
        """Return the loss of a batch, a number with a gradient.

        ``denoiser`` is the one wrapped for several processes; not ``is_ruled``, all frames see all frames and text.
        """
        device = next(self.model.denoiser.parameters()).device
        latents, noise = (each.to(device, self._dtype) for each in (batch.latents, batch.noise))
        timesteps = batch.timesteps.to(device)
        shown, target = self.objective.question(latents, noise, timesteps)
        given = {name: each.to(device, self._dtype) for name, each in batch.given.items()}
        self._rules.begin(batch.subjects, is_ruled=is_ruled)
        answer = self.model.answer(
            denoiser or self.model.denoiser, shown, timesteps, batch.text.to(device, self._dtype), given
        )
        return weighted_error(answer, target, self.objective.weight(timesteps))


@contextmanager
def training_forward(
    model: Trainable,
    objective: Objective,
    rule: Rule,
    *,
    layers: Range | None = None,
    text_layers: Range = "all",
) -> Iterator[TrainingForward]:
    """Open a denoiser for training under a rule; on leaving, its processors are what they were.

    The rule holds in the forward pass, in the backward pass, and where checkpointing computes a block again. Beside it,
    where films have captions of shots, each shot reads its own and the general one in the layers ``text_layers``.
    """

    def route_text(plan: LatentPlan) -> tuple[Intervention, ...]:
        if not model.reads_captions:
            return ()
        reading = own_text(plan) | general_text(plan)
        return (Intervention(reading, layers=text_layers, attention="cross"),)

    dtype = next(model.denoiser.parameters()).dtype
    with attach(model.pipe) as attachment, ExitStack() as undo:
        rules = BatchRules(attachment, lambda plan: rule_for(rule, plan, layers), route_text)
        rules.listen(undo)
        yield TrainingForward(model, objective, attachment, rules, dtype)
