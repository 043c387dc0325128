"""Stage 5: write the trained parts as float16 safetensors in the diffusers format, each model with its card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import T5Tokenizer, UMT5EncoderModel
from unet import unet_pipeline

SUMMARIES = {
    "wan-mini": "30-block WanPipeline trained on procedural films of 1 to 5 shots; 64 x 64, 16 fps, 49 frames.",
    "wan-mini-nocuts": "The control: the same transformer trained on the single-shot films alone; never saw a cut.",
}
UNET_SUMMARIES = {
    "unet-mini": "A small LaVie trained on procedural films of 1 to 3 shots; 16 frames of 64 x 64, 8 fps.",
    "unet-mini-nocuts": "The same UNet trained on the single-shot films alone; never saw a cut.",
}
LIMITS = (
    "Drawn films of one subject in a plain place, 5 to 17 latent frames: on real footage its attention shows what "
    "transfers, not what a large model does. Rings and balls are not quite round; where a camera pans, a place may "
    "bend."
)


def _last(log: Path) -> dict[str, Any]:
    return dict(json.loads(log.read_text().splitlines()[-1])) if log.exists() else {}


def _half(module: torch.nn.Module, folder: Path) -> None:
    module.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    _clean(folder)


def _clean(folder: Path) -> None:
    """Make files readable by all, and leave no path of the training machine in them."""
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(0o644)
        if file.suffix == ".json" and "_name_or_path" in (text := file.read_text()):
            facts = json.loads(text)
            facts.pop("_name_or_path", None)
            file.write_text(json.dumps(facts, indent=2) + "\n")


def _card(
    work: Path, name: str, transformer: WanTransformer3DModel, config: dict[str, Any]
) -> dict[str, Any]:
    logs = [*sorted(work.glob("shared-*.jsonl")), *sorted(work.glob(f"{name}-[0-9]*.jsonl"))]
    stages = {log.stem: _last(log) for log in logs}
    return {
        "summary": SUMMARIES[name],
        "num_layers": transformer.config.num_layers,
        "num_parameters": sum(p.numel() for p in transformer.parameters()),
        "training": {
            "recipe": config,
            "transformer_stages_last_log": stages,
            "vae_last_log": _last(work / "vae.jsonl"),
            "text_last_log": _last(work / "text.jsonl"),
        },
        "limits": LIMITS,
    }


def export_models(work: Path, to: Path, config: dict[str, Any]) -> None:
    """Write what is trained: ``to/wan-mini`` (a whole pipeline), its control (a transformer only), and the UNets."""
    base = to / "wan-mini"
    for name in SUMMARIES:
        if not (work / name).exists():
            continue
        transformer = WanTransformer3DModel.from_pretrained(work / name)
        card = _card(work, name, transformer, config)
        if name != "wan-mini":
            card["shares_components_with"] = "wan-mini"
        shutil.rmtree(to / name, ignore_errors=True)
        if name == "wan-mini":
            _write_pipeline(work, base, transformer)
        else:
            _half(transformer, to / name / "transformer")
        (to / name / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    for name in UNET_SUMMARIES:
        if (work / name).exists():
            shutil.rmtree(to / name, ignore_errors=True)
            pipe = unet_pipeline(work, name).to(torch.float16)
            pipe.save_pretrained(to / name, safe_serialization=True)
            _clean(to / name)
            (to / name / "card.json").write_text(
                json.dumps(_unet_card(work, name, pipe, config), indent=2) + "\n"
            )


def _unet_card(work: Path, name: str, pipe: Any, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": UNET_SUMMARIES[name],
        "num_layers": sum(path.endswith("attn_temp") for path, _ in pipe.unet.named_modules()),
        "num_parameters": sum(p.numel() for p in pipe.unet.parameters()),
        "training": {
            "recipe": config["unet"],
            "last_log": _last(work / f"{name}-state.jsonl"),
            "vae_last_log": _last(work / "picture_vae.jsonl"),
            "text_last_log": _last(work / "unet_text" / "text.jsonl"),
        },
        "limits": LIMITS,
    }


def _write_pipeline(work: Path, base: Path, transformer: WanTransformer3DModel) -> None:
    pipe = WanPipeline(
        tokenizer=T5Tokenizer.from_pretrained(work / "tokenizer"),
        text_encoder=UMT5EncoderModel.from_pretrained(work / "text_encoder"),
        vae=AutoencoderKLWan.from_pretrained(work / "vae"),
        transformer=transformer,
        # noise anew at each step mends what frames of a shot disagree in: without it one film in eight jumps within one
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, stochastic_sampling=True),
    )
    pipe.to(torch.float16).save_pretrained(base, safe_serialization=True)
    _clean(base)
