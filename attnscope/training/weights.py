"""Which weights are trained: adapters (LoRA, by peft) beside frozen ones, or all of the denoiser; saving them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attnscope._types import Document
from attnscope.errors import InputError, UnsupportedModelError, quote
from attnscope.families.protocols import Denoiser
from attnscope.storage.disk import explain
from attnscope.training.denoisers import Trainable
from attnscope.training.recipe import TARGETS, Recipe

ADAPTER = "default"
LORA_FILE = "pytorch_lora_weights.safetensors"
"""The name under which `pipe.load_lora_weights(folder)` looks for adapters."""

_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
_PEFT_FILE, _PEFT_CARD, _PEFT_PREFIX = "adapter_model.safetensors", "adapter_config.json", "base_model.model."


def target_modules(model: Trainable, targets: tuple[str, ...]) -> tuple[str, ...]:
    """List the linear layers that adapters go to, as paths in the denoiser.

    ``self``, ``cross``: query, key, value and output of every attention of that kind; ``feed-forward``: the linear
    layers of every feed-forward part; anything else: the linear layers whose path ends in it.

    Raises
    ------
    InputError
        A target that nothing in this denoiser answers to.

    Examples
    --------
    >>> from attnscope.testing import tiny
    >>> from attnscope.training.denoisers import find_trainable
    >>> target_modules(find_trainable(tiny("wan")), ("feed-forward",))[:2]
    ('blocks.0.ffn.net.0.proj', 'blocks.0.ffn.net.2')
    """
    linear = {path for path, module in model.denoiser.named_modules() if isinstance(module, nn.Linear)}
    of_target = {target: set(_layers_of(model, target, linear)) for target in targets}
    for target, found in of_target.items():
        if not found:
            raise InputError(
                expected=f"targets out of {', '.join(TARGETS)}, or ends of module paths",
                got=f"{quote(target)}, which no layer of {type(model.denoiser).__name__} answers to",
                where="as targets of a recipe",
                remedy=f"look at pipe.{model.part}.named_modules()",
            )
    chosen = set().union(*of_target.values())
    return tuple(path for path, _ in model.denoiser.named_modules() if path in chosen)


def _layers_of(model: Trainable, target: str, linear: set[str]) -> Iterator[str]:
    if target not in TARGETS:
        yield from (path for path in linear if path == target or path.endswith(f".{target}"))
        return
    kinds = {site.module: site.kind for site in model.family.sites(model.denoiser)}
    for path, module in model.denoiser.named_modules():
        if target == "feed-forward":
            if type(module).__name__ == "FeedForward":
                yield from (each for each in linear if each.startswith(f"{path}."))
        elif isinstance(getattr(module, "to_q", None), nn.Module):
            is_cross = bool(getattr(module, "is_cross_attention", False))
            if kinds.get(path, "cross" if is_cross else "self") == target:
                yield from (f"{path}.{each}" for each in _PROJECTIONS if f"{path}.{each}" in linear)


def prepare_weights(
    model: Trainable, recipe: Recipe, initial: str | Path | None = None
) -> dict[str, nn.Parameter]:
    """Freeze what is not trained, add adapters where they are; return what is trained, by its path.

    Adapters start as peft makes them (A drawn from the seed, B zero: the model is unchanged), or as ``initial`` holds
    them: a folder or file of diffusers (`pytorch_lora_weights.safetensors`) or of peft (`adapter_model.safetensors`).

    Raises
    ------
    InputError
        Targets that are not there, adapters that are there already, or an ``initial`` that does not fit.
    """
    denoiser: Denoiser = model.denoiser
    if getattr(denoiser, "peft_config", None):
        raise InputError(
            expected="a denoiser without adapters",
            got=f"one with {', '.join(denoiser.peft_config)}",
            where="to train",
            remedy="give its file as initial to train it further, or fuse it into the model",
        )
    if recipe.checkpointing:
        if not getattr(denoiser, "_supports_gradient_checkpointing", False):
            raise UnsupportedModelError(
                expected="a denoiser that can compute blocks twice",
                got=type(denoiser).__name__,
                where="with checkpointing",
                remedy="leave checkpointing out",
            )
        denoiser.enable_gradient_checkpointing()
    if recipe.method == "full":
        if initial is not None:
            raise InputError(
                expected="no adapters where all weights are trained",
                got=quote(str(initial)),
                where="as initial",
                remedy="fuse it into the model, or train with lora",
            )
        denoiser.requires_grad_(True)
    else:
        for part in model.pipe.components.values():
            if isinstance(part, nn.Module):
                part.requires_grad_(False)
        _add_adapters(model, recipe, initial)
    weights = {name: each for name, each in denoiser.named_parameters() if each.requires_grad}
    for each in weights.values():
        # Updates of 1e-4 vanish in 16 bits; the arithmetic may still run in them.
        each.data = each.data.to(torch.promote_types(each.dtype, torch.float32))
    return weights


def _add_adapters(model: Trainable, recipe: Recipe, initial: str | Path | None) -> None:
    from peft import LoraConfig

    denoiser: Denoiser = model.denoiser
    state = None if initial is None else _read_initial(model, Path(initial))
    targets = target_modules(model, recipe.targets)
    rank = recipe.rank
    alpha: Any = recipe.rank if recipe.alpha is None else recipe.alpha  # peft says int; fractions are fine
    if state is not None:
        targets, rank = _match_adapters(model, state, targets, recipe.rank, Path(str(initial)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        config = LoraConfig(
            r=rank, lora_alpha=alpha, lora_dropout=recipe.lora_dropout, target_modules=list(targets)
        )
        denoiser.add_adapter(config, adapter_name=ADAPTER)
    if state is not None:
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(denoiser, state, adapter_name=ADAPTER)


def _read_initial(model: Trainable, path: Path) -> dict[str, Tensor]:
    """The weights of adapters by path in the denoiser, with alpha other than the rank worked in."""
    from safetensors import SafetensorError, safe_open

    file = (
        path
        if path.is_file()
        else next((path / name for name in (LORA_FILE, _PEFT_FILE) if (path / name).is_file()), path)
    )
    try:
        with safe_open(file, "pt") as opened:
            found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
            facts = dict(opened.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise InputError(
            expected=f"adapters as {LORA_FILE} or {_PEFT_FILE}",
            got=quote(str(error), 80),
            where=f"at {path}",
            remedy="give the folder that holds them",
        ) from error
    prefixes = (f"{model.part}.", _PEFT_PREFIX)
    state = {_without(name, prefixes): value for name, value in found.items() if ".lora_" in name}
    scale = _scale(facts, file.parent / _PEFT_CARD, model.part)
    return {name: value * scale if ".lora_B" in name else value for name, value in state.items()}


def _without(name: str, prefixes: tuple[str, ...]) -> str:
    return next((name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)), name)


def _scale(facts: Mapping[str, str], card: Path, part: str) -> float:
    """How much adapters count where they come from, alpha / rank; here they count once."""
    config: Document = {}
    if card.is_file():
        config = json.loads(card.read_text(encoding="utf-8"))
    elif "lora_adapter_metadata" in facts:
        table = json.loads(facts["lora_adapter_metadata"])
        config = {name.removeprefix(f"{part}."): value for name, value in table.items()}
    rank, alpha = config.get("r"), config.get("lora_alpha")
    return float(alpha) / float(rank) if rank and alpha else 1.0


def _match_adapters(
    model: Trainable, state: Mapping[str, Tensor], targets: tuple[str, ...], rank: int, path: Path
) -> tuple[tuple[str, ...], int]:
    """The layers that adapters go to, those of given ones and those of the recipe, and the rank of both."""
    own = {name.rsplit(".lora_", 1)[0] for name in state}
    ranks = {value.shape[0] for name, value in state.items() if ".lora_A" in name}
    shapes = dict(model.denoiser.named_modules())
    strange = [name for name in own if not _fits(shapes.get(name), name, state)]
    if not own or strange or ranks != {rank}:
        what = f"adapters of rank {', '.join(map(str, sorted(ranks))) or 'none'}"
        if strange:
            what += f", which do not fit {min(strange)}"
        raise InputError(
            expected=f"adapters of rank {rank} for layers of {type(model.denoiser).__name__}",
            got=what,
            where=f"in {path}",
            remedy="begin with those of this model, and write their rank as rank",
        )
    return tuple(sorted(own | set(targets), key=list(shapes).index)), rank


def _fits(layer: nn.Module | None, name: str, state: Mapping[str, Tensor]) -> bool:
    """Whether adapters are for a layer of this many inputs and outputs."""
    down, up = (state.get(f"{name}.lora_{part}.weight") for part in "AB")
    if not isinstance(layer, nn.Linear) or down is None or up is None:
        return False
    return down.shape[1:] == (layer.in_features,) and up.shape[:1] == (layer.out_features,)


def save_trained(model: Trainable, recipe: Recipe, folder: Path) -> Path:
    """Write what was trained where diffusers looks for it: adapters, or the whole denoiser; returns the path.

    Adapters load with ``pipe.load_lora_weights(folder)``, a denoiser with ``from_pretrained(folder / part)``.
    """
    denoiser: Denoiser = model.denoiser
    with explain(folder):
        if recipe.method == "full":
            denoiser.save_pretrained(folder / model.part)
            return folder / model.part
        from peft import get_peft_model_state_dict
        from safetensors.torch import save

        from attnscope.storage.disk import write_durably

        state = get_peft_model_state_dict(denoiser, adapter_name=ADAPTER)
        # load_lora_weights reads the second transformer's adapters under the name of the first
        prefix = "transformer" if model.part.startswith("transformer") else model.part
        config = {
            # peft keeps names in a set: sorted, the same weights are the same file
            f"{prefix}.{name}": sorted(value) if isinstance(value, set | list) else value
            for name, value in denoiser.peft_config[ADAPTER].to_dict().items()
        }
        # One fact and no second: safetensors writes several in any order, and the same weights shall be the same file.
        facts = {"lora_adapter_metadata": json.dumps(config, indent=2, sort_keys=True, default=str)}
        tensors = {f"{prefix}.{name}": value.detach().cpu().contiguous() for name, value in state.items()}
        write_durably(folder / LORA_FILE, save(tensors, facts))
        return folder / LORA_FILE


@contextmanager
def use_average(weights: Mapping[str, nn.Parameter], average: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Put the average in place of the weights for a while; without one nothing changes."""
    if average is None:
        yield
        return
    kept = {name: weight.detach().clone() for name, weight in weights.items()}
    try:
        put(weights, average)
        yield
    finally:
        put(weights, kept)


@torch.no_grad()
def put(weights: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
    """Give weights other values."""
    for name, weight in weights.items():
        weight.copy_(values[name])
