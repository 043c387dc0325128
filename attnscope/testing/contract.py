"""What a model family must prove on a tiny random model before it is called supported: nine clauses.

Each clause takes a `Specimen` and returns whether it holds and the numbers it saw. The tests run every clause
for every family; `python -m pytest tests/families` is the proof.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from attnscope.errors import UnsupportedModelError
from attnscope.families.protocols import Denoiser, Pipeline
from attnscope.hooks import Attachment, HookPoint, Record, as_nnsight, attach
from attnscope.testing.reference import (
    by_brute_force,
    dense_mask,
    difference,
    ends,
    hide_halves,
    is_self,
    rows_that_look,
    segments,
    self_attention,
    tokens_that_look,
    two_shots,
)
from attnscope.testing.specimens import IN_ONE_CALL, ONE_AFTER_THE_OTHER, Specimen

TOLERANCE = 1e-5
# Listening to these costs nothing, but they are not among what is compared.
_CHANGING = ("hook_mask", "hook_scores", "hook_pattern", "hook_out")


class Verdict(NamedTuple):
    """Whether a clause holds, and the numbers."""

    holds: bool
    detail: str


def only_looking_changes_nothing(specimen: Specimen) -> Verdict:
    """1. A tap that only looks leaves the output bit-identical."""
    pipe = specimen.build()
    plain = specimen.run(pipe)
    looks = {
        "idle": _idle(specimen, pipe),
        "looking at everything": specimen.run_with_cache(pipe, lambda name: True)[0],
        "after detaching": specimen.run(pipe),
    }
    differences = {how: difference(video, plain) for how, video in looks.items()}
    return Verdict(
        all(torch.equal(video, plain) for video in looks.values()), f"max difference {differences}"
    )


def mass_is_a_probability(specimen: Specimen) -> Verdict:
    """2. Mass, text mass included, sums to 1 over keys, at every layer, head, step and branch; padding gets none."""
    pipe, sums, padded, least = specimen.build(), [], [0.0], 1.0
    with attach(pipe) as attachment:

        def measure(mass: Tensor, point: HookPoint) -> None:
            nonlocal least
            rows, padding = rows_that_look(attachment, point), segments(attachment, "padding")
            sums.append(float((mass[:, :, rows].sum(-1) - 1).abs().max()))
            least = min(least, float(mass.min()))
            if is_self(point.name) and padding:
                padded.append(float(mass[..., padding].max()))

        specimen.run_with_hooks(attachment, [(ends("hook_frame_mass"), measure)])
    holds = max(sums) <= TOLERANCE and least >= 0 and max(padded) == 0.0
    return Verdict(
        holds, f"worst row sum off by {max(sums):.1e} in {len(sums)} calls, {max(padded)} on padding"
    )


def mass_equals_brute_force(specimen: Specimen) -> Verdict:
    """3. Mass, token mass and log-sum-exp equal a float64 softmax over all tokens, whose output is the model's own."""
    pipe, seen = specimen.build(), cast(dict[str, dict[str, Tensor]], {})
    worst = dict.fromkeys(("frame_mass", "token_frame", "lse", "z"), 0.0)
    with attach(pipe) as attachment:

        def note(value: Tensor, point: HookPoint) -> None:
            # Each branch by itself: where two share a call, their values come in turn.
            of_branch = seen.setdefault(point.call.branch, {})
            of_branch[point.name.split("hook_")[1]] = value.detach()
            if point.name.endswith("hook_z"):
                own_bias = _own_bias(specimen, attachment, point) if is_self(point.name) else None
                wanted_of = by_brute_force(of_branch, attachment, point, specimen.hides, own_bias)
                for member, expected in wanted_of.items():
                    rows = tokens_that_look(attachment, point)
                    found, wanted = of_branch[member].double(), expected
                    if member in ("lse", "token_frame"):
                        found, wanted = found[:, :, rows], wanted[:, :, rows]
                    elif member == "z":
                        found, wanted = found[:, rows], wanted[:, rows]
                    worst[member] = max(worst[member], difference(found, wanted))

        specimen.run_with_hooks(attachment, [(lambda name: not name.endswith(_CHANGING), note)])
    shown = ", ".join(f"{member} {error:.1e}" for member, error in worst.items())
    return Verdict(max(worst.values()) <= TOLERANCE, f"max error {shown}")


def hard_mask_hides(specimen: Specimen) -> Verdict:
    """4. A hard mask gives inter-shot mass exactly 0, equals dense masking, and changes the output."""
    pipe = specimen.build()
    leaks: list[float] = []
    with attach(pipe) as attachment:

        def measure(mass: Tensor, point: HookPoint) -> None:
            leaks.append(float(mass[..., torch.isneginf(two_shots(attachment))].max()))

        hide = [(self_attention("mask"), hide_halves(attachment)), (self_attention("frame_mass"), measure)]
        masked = specimen.run_with_hooks(attachment, hide)
        dense = specimen.run_with_hooks(attachment, [(self_attention("scores"), dense_mask(attachment))])
    inter = max(leaks)
    changed, error = difference(masked, specimen.run(pipe)), difference(masked, dense)
    spread = max(1.0, float(masked.std()))  # a pipeline that ends at another scale rounds at that scale
    holds = inter == 0.0 and changed > 1e-4 and error <= 10 * TOLERANCE * spread
    return Verdict(
        holds, f"inter-shot mass {inter}, output changed by {changed:.1e}, dense masking differs {error:.1e}"
    )


def nothing_is_left_behind(specimen: Specimen) -> Verdict:
    """5. On leaving, everything is as it was, by identity, also when the pipeline raised."""
    pipe = specimen.build()
    specimen.run(pipe)  # diffusers leaves traces of its own at the first run
    before = _traces(specimen, pipe)
    _idle(specimen, pipe)
    after_run = _traces(specimen, pipe)

    def fail(value: Tensor, point: HookPoint) -> None:
        raise RuntimeError("on purpose")

    raised = False
    try:
        with attach(pipe) as attachment:
            specimen.run_with_hooks(attachment, [(self_attention("z"), fail)])
    except RuntimeError as error:
        raised = str(error) == "on purpose"
    after_error = _traces(specimen, pipe)
    same = [before == seen for seen in (after_run, after_error)]
    return Verdict(
        raised and all(same),
        f"{len(before)} objects the same after a run: {same[0]}, after an error: {same[1]}",
    )


def nnsight_reads_the_same(specimen: Specimen) -> Verdict:
    """6. nnsight reads the same values at the same calls, through the same names."""
    pipe = specimen.build()
    sites = [name.split(".hook_")[0] for name in _names(pipe) if name.endswith(".hook_q")]
    # A site that runs once a video runs more often than the denoiser; a trace can follow one such site at a time.
    sites = sites[-1:] if specimen.one_by_one else sites[-2:]
    members = ("q", "frame_mass", "lse", "z")
    wanted = [f"{site}.hook_{member}" for site in sites for member in members]
    _, cache = specimen.run_with_cache(pipe, wanted)
    records = cache[wanted[0]]
    num_visits = len(records) // (2 if _shares(records) and not specimen.one_by_one else 1)
    found: dict[str, list[Tensor]] = {name: [] for name in wanted}
    with attach(pipe) as attachment:
        model = as_nnsight(attachment)
        with model.trace(**specimen.arguments({})) as tracer:
            for _ in tracer.iter[:num_visits]:
                for name in wanted:
                    found[name].append(model.get(name).output.save())
    pairs: list[tuple[Tensor, Tensor]] = []
    for name in wanted:
        recorded = [record.value for record in cache[name]]
        alone = len(recorded) == num_visits
        pairs += (
            zip(found[name], recorded, strict=True)
            if alone
            else [(torch.cat(found[name]), torch.cat(recorded))]
        )
    holds = all(len(found[name]) == num_visits for name in wanted)
    worst = max(difference(a, b) if a.shape == b.shape else torch.inf for a, b in pairs)
    return Verdict(
        holds and worst == 0.0, f"max difference {worst} over {len(wanted)} points in {num_visits} calls each"
    )


def every_hook_fires(specimen: Specimen) -> Verdict:
    """7. Every advertised hook fires at each step and branch, with labels to match, under each kind of guidance."""
    pipe = specimen.build()
    wrong, num_names = [], 0
    for changes, branches in specimen.guidance:
        _, cache = specimen.run_with_cache(pipe, lambda name: True, **changes)
        num_names = len(cache)
        videos = max((changes[name] for name in changes if name.endswith("_per_prompt")), default=1)
        videos *= len(changes.get("prompt", [""]))
        for name, records in cache.items():
            # What comes out of the processor is the whole batch again, also where each video attends by itself.
            alone = specimen.one_by_one and not name.endswith("hook_out")
            labels = itertools.product(range(specimen.num_steps), branches)
            expected = [label for label in labels for _ in range(videos if alone else 1)]
            fired = [(record.call.step, record.call.branch) for record in records]
            if fired != expected or not _of_videos(name, records, 1 if alone else videos):
                wrong.append(f"{name} {changes}: {fired} of {[len(record.value) for record in records]}")
    return Verdict(num_names > 0 and not wrong, f"{num_names} names, wrong: {wrong[:3] or 'none'}")


def lora_and_gradients_pass(specimen: Specimen) -> Verdict:
    """8. LoRA is seen whenever it was added; masked gradients equal dense ones, with checkpointing too."""
    seen = [_query_with_lora(specimen, first) for first in ("lora", "tap", "nobody")]
    late, effect = difference(seen[0], seen[1]), difference(seen[0], seen[2])
    dense = _gradients(specimen, checkpointing=False, dense=True)
    sliced = _gradients(specimen, checkpointing=False, dense=False)
    rerun = _gradients(specimen, checkpointing=True, dense=False)
    size = max(float(grad.abs().max()) for grad in dense)
    errors = [max(map(difference, dense, other)) / size for other in (sliced, rerun)]
    unmasked = max(map(difference, dense, _gradients(specimen, checkpointing=False, dense=None))) / size
    holds = late == 0.0 and effect > 1e-3 and max(errors) <= 1e-4 and unmasked > 1e-2
    return Verdict(
        holds,
        f"LoRA changes queries by {effect:.1e}, order of adding by {late:.1e}; gradients differ from dense by "
        f"{errors[0]:.1e}, with checkpointing {errors[1]:.1e}, without the mask {unmasked:.1e} (relative)",
    )


def what_cannot_be_is_refused(specimen: Specimen) -> Verdict:
    """9. A cache that skips layers and a model nobody knows are refused with one line."""
    messages = []
    pipe = specimen.build()
    with attach(pipe):
        for denoiser in specimen.family.denoisers(pipe).values():
            skip_layers(denoiser)
        messages.append(_refusal(lambda: specimen.run(pipe)))
    messages.append(_refusal(lambda: attach(pipe)))
    messages.append(_refusal(lambda: attach(nn.Linear(1, 1))))
    holds = all(message and "\n" not in message for message in messages)
    return Verdict(holds, " | ".join(messages))


clauses: dict[str, Callable[[Specimen], Verdict]] = {
    clause.__name__: clause
    for clause in (
        only_looking_changes_nothing,
        mass_is_a_probability,
        mass_equals_brute_force,
        hard_mask_hides,
        nothing_is_left_behind,
        nnsight_reads_the_same,
        every_hook_fires,
        lora_and_gradients_pass,
        what_cannot_be_is_refused,
    )
}


def skip_layers(denoiser: Denoiser) -> None:
    """Switch on a cache of diffusers that skips layers: its own, or one put on every attention where it has none."""
    hooks = import_module("diffusers.hooks")
    try:
        cast(Any, denoiser).enable_cache(hooks.FirstBlockCacheConfig(threshold=0.2))
    except (AttributeError, ValueError, KeyError):
        registry = import_module("diffusers.hooks.hooks").HookRegistry.check_if_exists_or_initialize(denoiser)
        registry.register_hook(hooks.ModelHook(), "faster_cache_denoiser")


def _own_bias(specimen: Specimen, attachment: Attachment, point: HookPoint) -> Tensor | None:
    if specimen.own_bias is None:
        return None
    denoiser = specimen.family.first_denoiser(attachment.model)
    attention = denoiser.get_submodule(attachment.taps[point.layer].site.module)
    return specimen.own_bias(attention, attachment.layout.num_frames)


def _names(pipe: Pipeline) -> tuple[str, ...]:
    with attach(pipe) as attachment:
        return tuple(attachment.points)


def _idle(specimen: Specimen, pipe: Pipeline) -> Tensor:
    with attach(pipe) as attachment:
        return specimen.run_with_hooks(attachment, [])


def _shares(records: list[Record]) -> bool:
    """Whether the branches run in one call: then the one without the prompt comes first."""
    return records[0].call.branch == "uncond"


def _of_videos(name: str, records: list[Record], videos: int) -> bool:
    """Whether all values of a point are of this many videos; where every place attends by itself, of its places."""
    if name.endswith("hook_mask"):
        return True
    sizes = {len(record.value) for record in records}
    if name.endswith("hook_frame_mass"):
        return sizes == {videos}
    return len(sizes) == 1 and sizes.pop() % videos == 0


def _traces(specimen: Specimen, pipe: Pipeline) -> dict[str, object]:
    """Everything an attachment touches; processors and functions are equal only to themselves."""
    seen: dict[str, object] = {}
    for name, denoiser in specimen.family.denoisers(pipe).items():
        for site in specimen.family.sites(denoiser):
            processor = denoiser.get_submodule(site.module).processor
            seen[f"{name}.{site.module}"] = processor
            namespace = type(processor).__call__.__globals__
            seen[f"{name}.{site.module} calls"] = namespace.get("dispatch_attention_fn")
        seen[f"{name} own attributes"] = sorted(denoiser.__dict__)
        seen[f"{name} hooks"] = (list(denoiser._forward_pre_hooks), list(denoiser._forward_hooks))
        seen[f"{name} modules"] = [path for path, _ in denoiser.named_modules()]
        seen[f"{name} weights"] = list(denoiser.state_dict())
    return seen


def _add_lora(specimen: Specimen, denoiser: Denoiser) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = LoraConfig(
            r=4, lora_alpha=8, target_modules=list(specimen.lora_targets), init_lora_weights=False
        )
        if hasattr(denoiser, "add_adapter"):
            denoiser.add_adapter(config)
        else:
            inject_adapter_in_model(config, cast(nn.Module, denoiser))


def _query_with_lora(specimen: Specimen, first: str) -> Tensor:
    """Return a query of the last layer with LoRA added before the tap, after it, or not at all."""
    pipe = specimen.build()
    denoiser = specimen.family.first_denoiser(pipe)
    if first == "lora":
        _add_lora(specimen, denoiser)
    with attach(pipe) as attachment:
        if first == "tap":
            _add_lora(specimen, denoiser)
        name = [name for name in attachment.points if self_attention("q")(name)][-1]
        queries: list[Tensor] = []
        specimen.run_with_hooks(
            attachment, [(name, lambda value, point: queries.append(value.detach().clone()))]
        )
    return queries[0]


def _gradients(specimen: Specimen, *, checkpointing: bool, dense: bool | None) -> list[Tensor]:
    """Return gradients of the LoRA weights of self-attention, through a pass masked densely, sliced, or (None) not."""
    pipe = specimen.build()
    denoiser, arguments = specimen.denoiser_call(pipe)
    _add_lora(specimen, denoiser)
    if checkpointing and getattr(denoiser, "_supports_gradient_checkpointing", False):
        cast(Any, denoiser).enable_gradient_checkpointing()
    with attach(pipe) as attachment:
        if dense is not None:
            member, hook = ("scores", dense_mask(attachment)) if dense else ("mask", hide_halves(attachment))
            attachment.listen(self_attention(member), hook)
        output = denoiser(**{**arguments, "return_dict": False})[0]
        torch.autograd.backward(output.square().mean())
    masked = tuple(f"{site.module}." for site in specimen.family.sites(denoiser) if site.kind == "self")
    weights = [weight for name, weight in denoiser.named_parameters() if name.startswith(masked)]
    return [weight.grad for weight in weights if weight.grad is not None]


def _refusal(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except UnsupportedModelError as error:
        return str(error)
    return ""


__all__ = ["IN_ONE_CALL", "ONE_AFTER_THE_OTHER", "Specimen", "Verdict", "clauses"]
