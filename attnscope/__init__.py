"""See, measure and change how video diffusion models attend across shot cuts.

Every public name is resolved on first use, so that ``import attnscope`` costs nothing: reading a store and
drawing a figure never waits for torch.

>>> import attnscope as scope
>>> scope.ShotPlan.from_seconds([1.5], duration=3.0, fps=16).num_shots
2
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "FrameLayout",
    "ShotPlan",
    "attach",
    "encode_captions",
    "errors",
    "explore",
    "find_layers",
    "finetune",
    "generate",
    "hook_points",
    "intervene",
    "load",
    "masks",
    "metrics",
    "nnsight",
    "offset_shots",
    "open_store",
    "open_sweep",
    "patch_mass",
    "plots",
    "probe",
    "probe_video",
    "run_with_cache",
    "run_with_hooks",
    "schema",
    "score",
    "structure",
    "sweep",
    "synthetic",
    "testing",
    "write_report",
]

if TYPE_CHECKING:
    from attnscope import errors, masks, metrics, plots, schema, structure, testing
    from attnscope.exploring.explore import explore
    from attnscope.exploring.report import write_report
    from attnscope.families.layout import FrameLayout
    from attnscope.hooks import attach, hook_points, nnsight, run_with_cache, run_with_hooks
    from attnscope.intervening.captions import encode_captions
    from attnscope.intervening.generate import generate
    from attnscope.intervening.intervene import intervene
    from attnscope.intervening.patching import patch_mass
    from attnscope.intervening.positions import offset_shots
    from attnscope.metrics import score
    from attnscope.models import load
    from attnscope.probing.probe import probe, probe_video
    from attnscope.shots import ShotPlan
    from attnscope.storage import open_store
    from attnscope.sweeping.find_layers import find_layers
    from attnscope.sweeping.sweep import open_sweep, sweep
    from attnscope.testing import synthetic
    from attnscope.training.finetune import finetune
else:
    from importlib import import_module

    _MODULE_OF = {
        "FrameLayout": "families.layout",
        "ShotPlan": "shots",
        "attach": "hooks",
        "encode_captions": "intervening.captions",
        "explore": "exploring.explore",
        "find_layers": "sweeping.find_layers",
        "finetune": "training.finetune",
        "generate": "intervening.generate",
        "hook_points": "hooks",
        "intervene": "intervening.intervene",
        "load": "models",
        "nnsight": "hooks",
        "offset_shots": "intervening.positions",
        "open_store": "storage",
        "open_sweep": "sweeping.sweep",
        "patch_mass": "intervening.patching",
        "probe": "probing.probe",
        "probe_video": "probing.probe",
        "run_with_cache": "hooks",
        "run_with_hooks": "hooks",
        "score": "metrics",
        "sweep": "sweeping.sweep",
        "synthetic": "testing",
        "write_report": "exploring.report",
    }

    def __getattr__(name: str) -> object:
        """Import what was asked for, and remember it."""
        if name not in __all__:
            raise AttributeError(f"module 'attnscope' has no attribute {name!r}; it has {', '.join(__all__)}")
        if name not in _MODULE_OF:
            return import_module(f"attnscope.{name}")
        value = getattr(import_module(f"attnscope.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """List the public names, resolved or not."""
        return sorted([*__all__, "__version__"])
