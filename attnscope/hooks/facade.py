"""The same hook points through nnsight, for free-form work that hooks alone would make clumsy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from attnscope.hooks.attachment import Attachment


class _Runner(nn.Module):
    """A pipeline as a module: calling it runs the pipeline; its networks are children."""

    def __init__(self, model: Any, taps: dict[str, nn.Module], networks: dict[str, nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for name, tap in taps.items():
            _, index, kind = name.split(".")
            while len(self.blocks) <= int(index):
                self.blocks.append(nn.Module())
            self.blocks[int(index)].add_module(kind, tap)
        # In a tuple, so that a model that is itself a module is not registered a second time.
        self._model = (model,)
        for name, network in networks.items():
            self.add_module(name, network)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._model[0](*args, **kwargs)


def as_nnsight(window: Attachment) -> Any:
    """Open an attached pipeline in nnsight, with the hook points under the names they have everywhere else.

    `model.blocks[6].attn.hook_frame_mass.output` in a trace is what `run_with_cache` records under
    `blocks.6.attn.hook_frame_mass`, one value a denoiser call; writing to `hook_mask.output` intervenes. A trace
    runs the pipeline with its own number of steps. Add adapters first: nnsight does not see layers that are
    replaced later. Read hook points rather than `.source`, whose call numbers can be wrong without a word
    (nnsight 0.8.1).

    Returns
    -------
    An `nnsight.NNsight` around the pipeline's networks. It is of no use after `window` is detached.

    >>> from attnscope.families._tiny import tiny_wan
    >>> from attnscope.hooks import attach
    >>> with attach(tiny_wan(num_layers=2)) as window:
    ...     as_nnsight(window).blocks[1].attn.hook_q.path
    'model.blocks.1.attn.hook_q'
    """
    from nnsight import NNsight

    networks = {
        name: part
        for name, part in getattr(window.model, "components", {}).items()
        if isinstance(part, nn.Module)
    }
    networks |= window.family.denoisers(window.model)
    return NNsight(_Runner(window.model, {tap.site.prefix: tap for tap in window.all_taps}, networks))
