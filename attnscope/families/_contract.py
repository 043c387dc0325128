"""What a model family must prove on a tiny random model before it is called supported: nine clauses.

Each clause takes a `Specimen` and returns whether it holds and the numbers it saw. The tests run every clause
for every family; `python -m pytest tests/families` is the proof.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from attnscope.errors import UnsupportedModelError
from attnscope.families._base import Family
from attnscope.hooks import HookPoint, Record, as_nnsight, attach, run_with_cache, run_with_hooks

TOLERANCE = 1e-5


class Verdict(NamedTuple):
    """Whether a clause holds, and the numbers."""

    holds: bool
    detail: str


@dataclass(frozen=True)
class Specimen:
    """A family and the tiny random model it proves itself on.

    `build` makes the pipeline, `settings` are the arguments of one small run that returns latents, `num_steps`
    how many steps that is, `lora_targets` which linear layers a LoRA goes to, `forward` runs one denoiser call
    outside the pipeline (for gradients), `enable_cache` switches on a cache that skips layers.
    """

    family: Family
    build: Callable[[], Any]
    settings: dict[str, Any]
    num_steps: int
    lora_targets: tuple[str, ...]
    forward: Callable[[nn.Module], Tensor]
    enable_cache: Callable[[nn.Module], None]

    def run(self, pipe: Any, **changes: Any) -> Tensor:
        """Run the pipeline with its small settings and a fixed seed; return the latents."""
        video: Tensor = pipe(**self._arguments(changes)).frames
        return video

    def hooked(self, pipe: Any, hooks: list[tuple[Any, Any]], **changes: Any) -> Tensor:
        """Run with hooks."""
        video: Tensor = run_with_hooks(pipe, fwd_hooks=hooks, **self._arguments(changes)).frames
        return video

    def cached(self, pipe: Any, names: Any, **changes: Any) -> tuple[Tensor, dict[str, list[Record]]]:
        """Run with a cache of the hook points named."""
        result, cache = run_with_cache(pipe, names_filter=names, **self._arguments(changes))
        return result.frames, cache

    def _arguments(self, changes: dict[str, Any]) -> dict[str, Any]:
        return {**self.settings, "generator": torch.Generator().manual_seed(7), **changes}


def only_looking_changes_nothing(specimen: Specimen) -> Verdict:
    """1. A tap that only looks leaves the output bit-identical."""
    pipe = specimen.build()
    plain = specimen.run(pipe)
    looks = {
        "idle": specimen.hooked(pipe, []),
        "looking at everything": specimen.cached(pipe, lambda name: True)[0],
        "after detaching": specimen.run(pipe),
    }
    differences = {how: _difference(video, plain) for how, video in looks.items()}
    return Verdict(
        all(torch.equal(video, plain) for video in looks.values()), f"max difference {differences}"
    )


def mass_is_a_probability(specimen: Specimen) -> Verdict:
    """2. Mass and text mass sum to 1 over keys, at every layer, head, step and branch."""
    _, cache = specimen.cached(specimen.build(), lambda name: name.endswith("hook_frame_mass"))
    masses = [record.value for records in cache.values() for record in records]
    worst = max(float((mass.sum(-1) - 1).abs().max()) for mass in masses)
    least = min(float(mass.min()) for mass in masses)
    return Verdict(
        worst <= TOLERANCE and least >= 0, f"worst row sum off by {worst:.1e} in {len(masses)} calls"
    )


def mass_equals_brute_force(specimen: Specimen) -> Verdict:
    """3. Mass, token mass and log-sum-exp equal a float64 softmax over all tokens."""
    pipe = specimen.build()
    members = ("q", "k", "frame_mass", "token_frame", "lse")
    _, cache = specimen.cached(pipe, lambda name: name.split("hook_")[1] in members)
    worst = dict.fromkeys(("frame_mass", "token_frame", "lse"), 0.0)
    for prefix in {name.split("hook_")[0] for name in cache}:
        for index in range(len(cache[f"{prefix}hook_q"])):
            seen = {member: cache[f"{prefix}hook_{member}"][index].value for member in members}
            for member, expected in _by_brute_force(seen["q"], seen["k"], seen["frame_mass"].shape).items():
                worst[member] = max(worst[member], _difference(seen[member].double(), expected))
    shown = ", ".join(f"{member} {error:.1e}" for member, error in worst.items())
    return Verdict(max(worst.values()) <= TOLERANCE, f"max error {shown}")


def hard_mask_hides(specimen: Specimen) -> Verdict:
    """4. A hard mask gives inter-shot mass exactly 0, equals dense masking, and changes the output."""
    pipe = specimen.build()
    leaks: list[float] = []

    def hide(relation: Tensor, point: HookPoint) -> Tensor:
        return _two_shots(relation)

    def measure(mass: Tensor, point: HookPoint) -> None:
        leaks.append(float(mass[..., torch.isneginf(_two_shots(mass[0, 0]))].max()))

    masked = specimen.hooked(
        pipe, [(_self_attention("mask"), hide), (_self_attention("frame_mass"), measure)]
    )
    dense = specimen.hooked(pipe, _dense_mask())
    inter = max(leaks)
    changed, error = _difference(masked, specimen.run(pipe)), _difference(masked, dense)
    holds = inter == 0.0 and changed > 1e-4 and error <= TOLERANCE
    return Verdict(
        holds, f"inter-shot mass {inter}, output changed by {changed:.1e}, dense masking differs {error:.1e}"
    )


def nothing_is_left_behind(specimen: Specimen) -> Verdict:
    """5. On leaving, everything is as it was, by identity, also when the pipeline raised."""
    pipe = specimen.build()
    specimen.run(pipe)  # diffusers leaves traces of its own at the first run
    before = _traces(specimen, pipe)
    specimen.hooked(pipe, [])
    after_run = _traces(specimen, pipe)

    def fail(value: Tensor, point: HookPoint) -> None:
        raise RuntimeError("on purpose")

    raised = False
    try:
        specimen.hooked(pipe, [(_self_attention("z"), fail)])
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
    sites = [name.split(".hook_")[0] for name in _names(pipe) if name.endswith(".hook_q")][-2:]
    members = ("q", "frame_mass", "lse", "z")
    wanted = [f"{site}.hook_{member}" for site in sites for member in members]
    _, cache = specimen.cached(pipe, wanted)
    num_calls = len(cache[wanted[0]])
    found: dict[str, list[Tensor]] = {name: [] for name in wanted}
    with attach(pipe) as window:
        model = as_nnsight(window)
        with model.trace(**specimen._arguments({})) as tracer:
            for _ in tracer.iter[:num_calls]:
                for name in wanted:
                    found[name].append(model.get(name).output.save())
    pairs = [(a, b.value) for name in wanted for a, b in zip(found[name], cache[name], strict=True)]
    worst = max(_difference(a, b) for a, b in pairs)
    return Verdict(worst == 0.0, f"max difference {worst} over {len(pairs)} values in {num_calls} calls")


def every_hook_fires(specimen: Specimen) -> Verdict:
    """7. Every advertised hook fires once per step and branch, with labels to match, under each kind of guidance."""
    pipe = specimen.build()
    wrong, num_names = [], 0
    for changes, branches, videos in (
        ({}, ("cond", "uncond"), 1),
        ({"guidance_scale": 1.0}, ("cond",), 1),
        ({"num_videos_per_prompt": 2}, ("cond", "uncond"), 2),
    ):
        _, cache = specimen.cached(pipe, lambda name: True, **changes)
        num_names = len(cache)
        expected = list(itertools.product(range(specimen.num_steps), branches))
        for name, records in cache.items():
            fired = [(record.call.step, record.call.branch) for record in records]
            size = {record.value.shape[0] for record in records if not name.endswith("hook_mask")}
            if fired != expected or size - {videos}:
                wrong.append(f"{name} {changes}: {fired} of batch {size}")
    return Verdict(num_names > 0 and not wrong, f"{num_names} names, wrong: {wrong[:3] or 'none'}")


def lora_and_gradients_pass(specimen: Specimen) -> Verdict:
    """8. LoRA is seen whenever it was added; masked gradients equal dense ones, with checkpointing too."""
    seen = [_query_with_lora(specimen, first) for first in ("lora", "tap", "nobody")]
    late, effect = _difference(seen[0], seen[1]), _difference(seen[0], seen[2])
    dense = _gradients(specimen, checkpointing=False, dense=True)
    sliced = _gradients(specimen, checkpointing=False, dense=False)
    rerun = _gradients(specimen, checkpointing=True, dense=False)
    size = max(float(grad.abs().max()) for grad in dense)
    errors = [max(map(_difference, dense, other)) / size for other in (sliced, rerun)]
    unmasked = max(map(_difference, dense, _gradients(specimen, checkpointing=False, dense=None))) / size
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
    window = attach(pipe)
    for denoiser in specimen.family.denoisers(pipe).values():
        specimen.enable_cache(denoiser)
    messages.append(_refusal(lambda: specimen.run(pipe)))
    window.detach()
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


def _names(pipe: Any) -> tuple[str, ...]:
    with attach(pipe) as window:
        return tuple(window.points)


def _self_attention(member: str) -> Callable[[str], bool]:
    return lambda name: name.endswith(f".attn.hook_{member}")


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one.detach() - other.detach()).abs().max())


def _two_shots(relation: Tensor) -> Tensor:
    """Two shots that do not see each other, over as many frames as the relation has: 0 and -inf."""
    shot = torch.arange(relation.shape[0]) >= relation.shape[0] // 2
    return torch.zeros(relation.shape).masked_fill(shot[:, None] != shot[None, :], -torch.inf)


def _dense_mask() -> list[tuple[Any, Any]]:
    """Hooks that mask in the token x token scores: the plain way, which shares no code with the sliced one."""
    relations: list[Tensor] = []

    def note(relation: Tensor, point: HookPoint) -> None:
        relations.append(_two_shots(relation))

    def mask(scores: Tensor, point: HookPoint) -> Tensor:
        relation = relations[-1]
        tokens = scores.shape[-1] // relation.shape[-1]
        return scores + relation.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)

    return [(_self_attention("mask"), note), (_self_attention("scores"), mask)]


def _by_brute_force(query: Tensor, key: Tensor, shape: torch.Size) -> dict[str, Tensor]:
    """Softmax over all tokens in float64, then sums over equal key groups and means over equal frames."""
    scores = torch.einsum("bnhd,bmhd->bhnm", query.double(), key.double()) / query.shape[-1] ** 0.5
    token = scores.softmax(-1).unflatten(-1, (shape[-1], -1)).sum(-1)
    frame = token.unflatten(-2, (shape[-2], -1)).mean(-2)
    return {"frame_mass": frame, "token_frame": token, "lse": scores.logsumexp(-1)}


def _traces(specimen: Specimen, pipe: Any) -> dict[str, object]:
    """Everything an attachment touches; processors and functions are equal only to themselves."""
    seen: dict[str, object] = {}
    for name, denoiser in specimen.family.denoisers(pipe).items():
        for site in specimen.family.sites(denoiser):
            processor: Any = denoiser.get_submodule(site.module).processor
            seen[f"{name}.{site.module}"] = processor
            namespace = type(processor).__call__.__globals__
            seen[f"{name}.{site.module} calls"] = namespace["dispatch_attention_fn"]
        seen[f"{name} own attributes"] = sorted(denoiser.__dict__)
        seen[f"{name} hooks"] = (list(denoiser._forward_pre_hooks), list(denoiser._forward_hooks))
        seen[f"{name} modules"] = [path for path, _ in denoiser.named_modules()]
        seen[f"{name} weights"] = list(denoiser.state_dict())
    return seen


def _add_lora(specimen: Specimen, denoiser: Any) -> None:
    from peft import LoraConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = LoraConfig(
            r=4, lora_alpha=8, target_modules=list(specimen.lora_targets), init_lora_weights=False
        )
        denoiser.add_adapter(config)


def _query_with_lora(specimen: Specimen, first: str) -> Tensor:
    """Return a query of the last layer with LoRA added before the tap, after it, or not at all."""
    pipe = specimen.build()
    denoiser = next(iter(specimen.family.denoisers(pipe).values()))
    if first == "lora":
        _add_lora(specimen, denoiser)
    with attach(pipe) as window:
        if first == "tap":
            _add_lora(specimen, denoiser)
        name = [name for name in window.points if _self_attention("q")(name)][-1]
        queries: list[Tensor] = []
        window.listen(name, lambda value, point: queries.append(value.detach().clone()))
        specimen.run(pipe)
    return queries[0]


def _gradients(specimen: Specimen, *, checkpointing: bool, dense: bool | None) -> list[Tensor]:
    """Return the gradients of the LoRA weights through a forward pass masked densely, sliced, or (None) not."""
    pipe = specimen.build()
    denoiser: Any = next(iter(specimen.family.denoisers(pipe).values()))
    _add_lora(specimen, denoiser)
    if checkpointing:
        denoiser.enable_gradient_checkpointing()
    sliced = [(_self_attention("mask"), lambda relation, point: _two_shots(relation))]
    with attach(pipe) as window:
        for names, hook in {True: _dense_mask(), False: sliced, None: []}[dense]:
            window.listen(names, hook)
        torch.autograd.backward(specimen.forward(denoiser).square().mean())
    return [weight.grad for weight in denoiser.parameters() if weight.grad is not None]


def _refusal(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except UnsupportedModelError as error:
        return str(error)
    return ""
