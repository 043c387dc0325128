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
from unet import SHARED, unet_pipeline

SUMMARIES = {
    "wan-mini": "30-block WanPipeline trained on procedural films of 1 to 5 shots; 64 x 64, 16 fps, 49 frames.",
    "wan-mini-nocuts": "The control: the same transformer trained on the single-shot films alone; never saw a cut.",
    "unet-mini": "A small LaVie trained on procedural films of 1 to 3 shots; 64 x 64, 8 fps, 16 frames.",
    "unet-mini-nocuts": "The control: the same UNet trained on the single-shot films alone; never saw a cut.",
}
LIMITS = (
    "Drawn films of one subject in a plain place, 5 to 17 latent frames: on real footage its attention shows what "
    "transfers, not what a large model does. Rings and balls are not quite round; where a camera pans, a place may "
    "bend."
)
UNET_LIMITS = (
    "Drawn films of one subject in a plain place, 16 frames: on real footage its attention shows what transfers, not "
    "what a large model does. A picture is 8 x 8 latents: small things are lost, and one place in four is another kind "
    "than asked. It was not trained on captions routed to shots, and shows little of them. Shots of fewer than three "
    "frames and films longer than 16 were not in its training, and are worse."
)
STEPS = 20


def _last(log: Path) -> dict[str, Any]:
    return dict(json.loads(log.read_text().splitlines()[-1])) if log.exists() else {}


def _clean(folder: Path) -> None:
    """Make files readable by all, and leave no path of the training machine in them."""
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(0o644)
        if file.suffix == ".json" and "_name_or_path" in (text := file.read_text()):
            facts = json.loads(text)
            facts.pop("_name_or_path", None)
            file.write_text(json.dumps(facts, indent=2) + "\n")


def export_models(work: Path, to: Path, config: dict[str, Any]) -> None:
    """Write what is trained: the models whole, of each control what denoises, which alone differs."""
    for name in SUMMARIES:
        if not (work / name).exists():
            continue
        base = name.removesuffix("-nocuts")
        shutil.rmtree(to / name, ignore_errors=True)
        pipe = wan_pipeline(work, name) if base == "wan-mini" else unet_pipeline(work, name)
        denoiser = "transformer" if base == "wan-mini" else "unet"
        if name == base:
            pipe.to(torch.float16).save_pretrained(to / name, safe_serialization=True)
        else:
            getattr(pipe, denoiser).to(torch.float16).save_pretrained(
                to / name / denoiser, safe_serialization=True
            )
        _clean(to / name)
        facts = (_wan_facts if base == "wan-mini" else _unet_facts)(work, name, pipe, config)
        card = {
            "summary": SUMMARIES[name],
            "core_hours": round(_spent_s(facts["training"]) / 3600, 2),
            **facts,
        }
        if name != base:
            card["shares_components_with"] = base
        (to / name / "card.json").write_text(json.dumps(card, indent=2) + "\n")


def _spent_s(facts: Any) -> float:
    """Processor seconds of all stages of a training, the shared ones too."""
    if not isinstance(facts, dict):
        return 0.0
    return facts.get("spent_s", 0.0) + sum(_spent_s(each) for each in facts.values())


def _single_shots(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe as the control had it, which never saw a cut nor a caption of a second shot."""
    told = {"shots": [1.0], "share_multi_shot": 0.0, "share_routed": 0.0}
    return {
        name: _single_shots(each) if isinstance(each, dict) else told.get(name, each)
        for name, each in recipe.items()
    }


def _recipe(name: str, recipe: dict[str, Any]) -> dict[str, Any]:
    return _single_shots(recipe) if name.endswith("-nocuts") else recipe


def _video(films: dict[str, Any]) -> dict[str, int]:
    return {name: films[name] for name in ("num_frames", "height", "width", "fps", "stride")} | {
        "num_steps": STEPS
    }


def _wan_facts(work: Path, name: str, pipe: Any, config: dict[str, Any]) -> dict[str, Any]:
    logs = [*sorted(work.glob("shared-*.jsonl")), *sorted(work.glob(f"{name}-[0-9]*.jsonl"))]
    return {
        "num_layers": pipe.transformer.config.num_layers,
        "num_parameters": sum(p.numel() for p in pipe.transformer.parameters()),
        "video": _video(config["films"]),
        "trained_frames": [
            (each(config["transformer"]["stages"][-1]["lengths"]) - 1) * config["films"]["stride"] + 1
            for each in (min, max)
        ],
        "training": {
            "recipe": _recipe(name, {part: settings for part, settings in config.items() if part != "unet"}),
            "transformer_stages_last_log": {log.stem: _last(log) for log in logs},
            "vae_last_log": _last(work / "vae.jsonl"),
            "text_last_log": _last(work / "text.jsonl"),
        },
        "limits": LIMITS,
    }


def _unet_facts(work: Path, name: str, pipe: Any, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "num_layers": sum(path.endswith("attn_temp") for path, _ in pipe.unet.named_modules()),
        "num_parameters": sum(p.numel() for p in pipe.unet.parameters()),
        "video": _video(config["films"] | config["unet"]["films"]),
        "trained_frames": [config["unet"]["films"]["num_frames"]] * 2,
        "training": {
            "recipe": _recipe(name, config["unet"]),
            "pictures_last_log": _last(work / f"{SHARED}-state.jsonl"),
            "films_last_log": _last(work / f"{name}-state.jsonl"),
            "vae_last_log": _last(work / "picture_vae.jsonl"),
            "text_last_log": _last(work / "unet_text" / "text.jsonl"),
        },
        "limits": UNET_LIMITS,
    }


def wan_pipeline(work: Path, name: str) -> WanPipeline:
    """A trained variant with all its parts."""
    return WanPipeline(
        tokenizer=T5Tokenizer.from_pretrained(work / "tokenizer"),
        text_encoder=UMT5EncoderModel.from_pretrained(work / "text_encoder"),
        vae=AutoencoderKLWan.from_pretrained(work / "vae"),
        transformer=WanTransformer3DModel.from_pretrained(work / name),
        # noise anew at each step mends what frames of a shot disagree in: without it one film in eight jumps within one
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, stochastic_sampling=True),
    )
