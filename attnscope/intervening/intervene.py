"""Hold the shots of a film apart while a model makes it: a rule put into its attention for one block of code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Unpack

from attnscope.errors import MaskError, quote
from attnscope.families.protocols import Model
from attnscope.hooks import Attachment, defer_interrupts, join_or_attach
from attnscope.intervening.captions import ShotText
from attnscope.intervening.masking import Masker, place
from attnscope.masks import Intervention, MaskRule
from attnscope.masks.interventions import Scope

Change = MaskRule | Intervention | Sequence[Intervention]


@contextmanager
@defer_interrupts
def intervene(
    pipe: Model | Attachment, rule: Change, *, text: ShotText | None = None, **scope: Unpack[Scope]
) -> Iterator[Attachment]:
    """Hold the shots of a film apart, or join them, while a model makes it.

    Within the block every attention call that the scope names runs under the rule: hidden frames are not computed and
    have a weight of exactly 0. A probe, a cache or hooks within the block see the changed attention. On leaving, also
    after an error, the model is what it was, by identity.

    Parameters
    ----------
    pipe
        A loaded diffusers video pipeline of a supported family, its denoiser, or an open :func:`attnscope.attach`.
    rule : MaskRule, Intervention or sequence of Intervention
        What to change: a rule, with its scope in the keywords; or interventions, as :func:`attnscope.masks.preset`
        gives them, which carry their own. Several add up.
    text : ShotText, optional
        Captions of the shots, from :func:`attnscope.encode_captions`; call the pipeline with
        ``prompt_embeds=text.embeds``. Which frames read which caption is for the rules to say
        (:func:`attnscope.masks.own_text`); in layers without such a rule every frame reads all of them.
    **scope
        ``layers``, ``heads``, ``steps``, ``sigmas``, ``branch``, ``attention`` as in
        :class:`attnscope.masks.Intervention`; both guidance branches by default.

    Yields
    ------
    Attachment
        The open attachment, for hooks of your own.

    Raises
    ------
    MaskError
        The rule, or where it shall act, makes no sense; what depends on the video is refused at the first call.
    RangeError
        A layer or head that the model does not have.

    Examples
    --------
    >>> import attnscope as scope
    >>> pipe, plan = scope.load("wan-mini"), scope.ShotPlan.from_latent_frames([2], num_frames_latent=5, fps=16)
    >>> with intervene(pipe, scope.masks.same_shot(plan), layers="7-28"):
    ...     attention = scope.probe(pipe, "One shot: a red ball", shots=plan, layers="6-7", num_inference_steps=1)
    >>> across = attention.mass.sel(query_frame=0, key_frame=4)
    >>> bool((across.sel(layer=7) == 0).all()), bool((across.sel(layer=6) > 0).all())
    (True, True)
    """
    interventions = interventions_of(rule, scope)
    _require_text(interventions, text)
    with join_or_attach(pipe) as attachment, ExitStack() as undo:
        Masker(attachment, place(interventions, attachment), text).listen(undo)
        said = [each.describe() for each in interventions]
        if text is not None:
            said.append(
                f"Captions of shots {list(text.captions)}, general {text.general!r}, padding {text.padding}."
            )
        before = list(attachment.changes)
        attachment.changes.extend(said)
        try:
            yield attachment
        finally:
            attachment.changes[:] = before


def interventions_of(rule: Change, scope: Scope) -> tuple[Intervention, ...]:
    """Bring what may be given as a change to one form.

    Raises
    ------
    MaskError
        It is no rule and no intervention, or has its scope twice.
    """
    if isinstance(rule, MaskRule):
        known = [name for name in Intervention.__dataclass_fields__ if name != "rule"]
        for name in scope:
            if name not in known:
                raise MaskError(
                    expected=f"a scope out of {', '.join(known)}",
                    got=quote(name),
                    where="in intervene",
                    remedy="leave it out",
                )
        return (Intervention(rule, **scope),)
    given: object = (rule,) if isinstance(rule, Intervention) else rule
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise MaskError(
            expected="a mask rule or interventions",
            got=quote(rule),
            where="in intervene",
            remedy="write for instance masks.same_shot(plan)",
        )
    for each in given:
        if not isinstance(each, Intervention):
            raise MaskError(
                expected="interventions",
                got=f"{quote(each)} among them",
                where="in intervene",
                remedy="wrap rules in Intervention(rule, layers=...)",
            )
    if scope:
        raise MaskError(
            expected="interventions that carry their scope",
            got=f"{', '.join(scope)} beside them",
            where="in intervene",
            remedy="say it in the intervention or preset",
        )
    return tuple(given)


def _require_text(interventions: Sequence[Intervention], text: ShotText | None) -> None:
    if text is None and any(each.attention == "cross" for each in interventions):
        raise MaskError(
            expected="captions of the shots for a rule in cross-attention",
            got="none",
            where="in intervene",
            remedy="give text=encode_captions(pipe, captions)",
        )
