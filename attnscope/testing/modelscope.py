"""A tiny ModelScope text to video model: two stages."""

from __future__ import annotations

from importlib import import_module

from attnscope.families import ModelScope
from attnscope.testing.building import TinyPipeline, seed_weights, small_settings
from attnscope.testing.pictures import clip_texts, ddim, eightfold_vae, unet_3d
from attnscope.testing.specimens import IN_ONE_CALL, TWO_PROMPTS, Specimen


@seed_weights
def tiny_modelscope() -> TinyPipeline:
    """Build ModelScope: heads of size 8; 32 x 32 pixels by default."""
    diffusers = import_module("diffusers")
    unet = unet_3d("UNet3DConditionModel")
    return diffusers.TextToVideoSDPipeline(vae=eightfold_vae(), unet=unet, scheduler=ddim(), **clip_texts())


SETTINGS = small_settings(num_frames=5, height=32, width=32)
SPECIMENS = {
    "modelscope": Specimen(ModelScope(), tiny_modelscope, SETTINGS, guidance=(*IN_ONE_CALL[:2], TWO_PROMPTS))
}
