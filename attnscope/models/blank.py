"""Networks without numbers (device `meta`), called with videos without numbers: what a call costs, before it runs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from typing_extensions import override

from attnscope._types import Document
from attnscope.errors import InputError
from attnscope.families.protocols import Denoiser
from attnscope.models.published import Part, PublishedModel

CALLABLE = (
    "WanTransformer3DModel",
    "SkyReelsV2Transformer3DModel",
    "CogVideoXTransformer3DModel",
    "MochiTransformer3DModel",
    "HunyuanVideoTransformer3DModel",
    "LTXVideoTransformer3DModel",
)
"""The networks whose arguments are known well enough to be called on nothing."""


@dataclass(frozen=True)
class CallCost:
    """What one call costs: operations in attention and in the rest, and the most bytes alive beside the weights."""

    attention_flops: int
    other_flops: int
    peak_bytes: int


def cut_depth(model: PublishedModel, num_layers: int | None) -> PublishedModel:
    """Return the model with its first layers only; HunyuanVideo has two kinds, one behind the other.

    Raises
    ------
    InputError
        It has fewer layers.
    """
    if num_layers is None:
        return model
    config = dict(model.denoiser.config)
    left = num_layers
    for name in ("num_layers", "num_single_layers"):
        if name in config:
            config[name], left = min(config[name], left), left - min(config[name], left)
    if left:
        raise InputError(
            expected=f"at most {num_layers - left} layers",
            got=f"{num_layers}",
            where=f"as num_layers of {model.name}",
            remedy="leave it out for all of them",
        )
    return replace(model, denoiser=Part(model.denoiser.kind, config))


def build_network(part: Part) -> nn.Module:
    """Build a network whose weights have shapes and no numbers; tables that are computed are computed."""
    accelerate = import_module("accelerate")
    library = "diffusers" if hasattr(import_module("diffusers"), part.kind) else "transformers"
    kind = getattr(import_module(library), part.kind)
    with accelerate.init_empty_weights(include_buffers=False):
        if library == "diffusers":
            network: nn.Module = kind(**part.config)
        else:
            network = kind(kind.config_class(**part.config))
    if library == "transformers":
        network.tie_weights()  # type: ignore[operator]
    return network.eval()


def cost_of_call(
    network: nn.Module, latents: tuple[int, ...], text_tokens: int, dtype: torch.dtype
) -> CallCost | None:
    """Run a network that denoises on nothing; None where it is of a kind whose arguments are not known.

    Parameters
    ----------
    latents : tuple of int
        Shape of the latent video (batch, channels, frames, height, width).
    text_tokens : int
        How many tokens a prompt becomes.
    """
    given = _arguments(cast(Denoiser, network), latents, text_tokens, dtype)
    if given is None:
        return None
    strip(network, dtype)
    with _without_positions(network):
        return measure(lambda: network(**given), network)


def strip(network: nn.Module, dtype: torch.dtype) -> None:
    """Take all numbers from a network, those of computed tables too, and let it have this type."""
    # the method of diffusers warns of what it would do to weights, and there are none
    nn.Module.to(network, device="meta", dtype=dtype)


def measure(call: Callable[[], object], network: nn.Module) -> CallCost:
    """Return what a call on the device `meta` costs; attention is counted, and takes the memory of its output."""
    live, attention = _Live(network), _Attention()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), torch.device("meta"), _all_are_there(), counter, live, attention:
        call()
    return CallCost(attention.flops, int(counter.get_total_flops()), live.peak)


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the memory of tensors while they live, that of the weights apart."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._now = 0
        self._seen = {_key(each) for each in (*network.parameters(), *network.buffers())}

    @override
    def __torch_dispatch__(
        self,
        function: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Document | None = None,
    ) -> object:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and _key(tensor) not in self._seen:
                storage, key = tensor.untyped_storage(), _key(tensor)
                self._seen.add(key)
                self._now += storage.nbytes()
                self.peak = max(self.peak, self._now)
                weakref.finalize(storage, self._drop, key, storage.nbytes())
        return result

    def _drop(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self._now -= size


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


class _Attention(TorchFunctionMode):
    """Stands in for fused attention: two products of all queries with all keys, and no map."""

    flops = 0

    @override
    def __torch_function__(
        self,
        function: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Document | None = None,
    ) -> object:
        if function is not nn.functional.scaled_dot_product_attention:
            return function(*args, **(kwargs or {}))
        query, key = (cast(Tensor, each) for each in (*args, *(kwargs or {}).values())[:2])
        self.flops += 4 * query.numel() * key.shape[-2]
        return torch.empty_like(query)


@contextmanager
def _all_are_there() -> Iterator[None]:
    """Let padding be found where nothing has a value: every token counts as one."""
    config = import_module("torch.fx.experimental._config")
    with config.patch(meta_nonzero_assume_all_nonzero=True):
        yield


@contextmanager
def _without_positions(network: nn.Module) -> Iterator[None]:
    """Mochi makes its rotary positions under autocast, which `meta` lacks; they cost next to nothing."""
    rope = getattr(network, "rope", None)
    if type(network).__name__ != "MochiTransformer3DModel" or rope is None:
        yield
        return

    def positions(
        frequencies: Tensor, frames: int, height: int, width: int, *rest: object, **others: object
    ) -> tuple[Tensor, Tensor]:
        cos, sin = torch.empty(2, frames * height * width, *frequencies.shape[1:], device="meta")
        return cos, sin

    rope.forward = positions
    try:
        yield
    finally:
        del rope.forward


def _arguments(
    network: Denoiser, latents: tuple[int, ...], text_tokens: int, dtype: torch.dtype
) -> Document | None:
    """What the pipeline would call the network with: of the right shapes and without a value."""
    kind, config = type(network).__name__, network.config
    batch, channels, *grid = latents

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, device="meta", dtype=dtype)

    width = config.get("text_dim") or config.get("caption_channels") or config.get("text_embed_dim")
    given: Document = {
        "hidden_states": empty(*latents),
        "timestep": torch.empty(batch, device="meta", dtype=torch.long),
        "encoder_hidden_states": empty(batch, text_tokens, width or 0),
        "return_dict": False,
    }
    masked = {"encoder_attention_mask": torch.ones(batch, text_tokens, device="meta", dtype=dtype)}
    if kind in ("WanTransformer3DModel", "SkyReelsV2Transformer3DModel"):
        return given
    if kind == "CogVideoXTransformer3DModel":
        return given | {"hidden_states": empty(batch, grid[0], channels, *grid[1:])}
    if kind == "MochiTransformer3DModel":
        return given | masked
    if kind == "HunyuanVideoTransformer3DModel":
        told = {"guidance": empty(batch)} if config.guidance_embeds else {}
        return given | masked | told | {"pooled_projections": empty(batch, config.pooled_projection_dim)}
    if kind == "LTXVideoTransformer3DModel":
        sides = dict(zip(("num_frames", "height", "width"), grid, strict=True))
        return given | masked | sides | {"hidden_states": empty(batch, grid[0] * grid[1] * grid[2], channels)}
    return None
