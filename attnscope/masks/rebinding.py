"""A rule that was written for the shots of one film, put on those of another."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import overload

from attnscope._types import Plan
from attnscope.masks.interventions import Intervention
from attnscope.masks.rules import MaskRule
from attnscope.masks.shot_rules import Planned, require_plan


@overload
def rebind(change: MaskRule, plan: Plan) -> MaskRule: ...
@overload
def rebind(change: Intervention, plan: Plan) -> Intervention: ...
@overload
def rebind(change: Sequence[Intervention], plan: Plan) -> tuple[Intervention, ...]: ...
def rebind(
    change: MaskRule | Intervention | Sequence[Intervention], plan: Plan
) -> MaskRule | Intervention | tuple[Intervention, ...]:
    """Put a rule, or interventions, on the shots of another film; what knows no shots stays as it is.

    Training needs it: one rule is written down, and every clip has shots of its own.

    Parameters
    ----------
    change : MaskRule, Intervention or sequence of Intervention
        As :func:`attnscope.intervene` takes it.
    plan : ShotPlan or LatentPlan
        The shots of the other film.

    Raises
    ------
    MaskError
        ``plan`` is no plan.

    Examples
    --------
    >>> from attnscope import ShotPlan
    >>> from attnscope.masks import first_frame, same_shot
    >>> one, other = (ShotPlan.from_latent_frames([cut], num_frames_latent=5, fps=16) for cut in (1, 3))
    >>> rebind(same_shot(one) | first_frame(), other) == same_shot(other) | first_frame()
    True
    """
    require_plan(plan, "rebind")
    if isinstance(change, Intervention):
        return replace(change, rule=rebind(change.rule, plan))
    if not isinstance(change, MaskRule):
        return tuple(rebind(each, plan) for each in change)
    # A copy and not a new one: rules take their numbers in by many ways, and all keep them alike.
    moved = copy.copy(change)
    vars(moved).update(
        {name: rebind(part, plan) for name, part in vars(change).items() if isinstance(part, MaskRule)}
    )
    if isinstance(moved, Planned):
        vars(moved)["plan"] = plan
    return moved
