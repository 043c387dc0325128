"""A tiny I2VGen-XL: two stages."""

from __future__ import annotations

from importlib import import_module

from attnscope.families import I2VGenXL
from attnscope.testing.building import TinyPipeline, picture, seed_weights, small_settings
from attnscope.testing.pictures import clip_pictures, clip_texts, ddim, eightfold_vae, unet_3d
from attnscope.testing.specimens import IN_ONE_CALL, Specimen


@seed_weights
def tiny_i2vgen_xl() -> TinyPipeline:
    """Build I2VGen-XL: heads of size 8; it needs an image."""
    diffusers = import_module("diffusers")
    unet = unet_3d("I2VGenXLUNet")
    return diffusers.I2VGenXLPipeline(
        vae=eightfold_vae(), unet=unet, scheduler=ddim(), **clip_texts(), **clip_pictures(32)
    )


# Its default, the last layer but one, asks for a part of CLIPTextModel that recent transformers have not.
SETTINGS = small_settings(image=picture(32, 32), clip_skip=None, num_frames=5, height=32, width=32)
SPECIMENS = {
    "i2vgen-xl": Specimen(I2VGenXL(), tiny_i2vgen_xl, SETTINGS, guidance=IN_ONE_CALL, draws_globally=True)
}
