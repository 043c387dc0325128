"""What UNets share whose attention over time runs at every place of the picture by itself: one token for each frame."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Literal

from torch import nn
from typing_extensions import override

from attnscope.errors import InputError
from attnscope.families.base import DenoiserCall, Family, Site
from attnscope.families.facts import PER_PLACE
from attnscope.families.layout import FrameLayout
from attnscope.families.protocols import Denoiser, Model

Looks = Literal["self", "cross", "text"]
"""What an attention looks at: frames at frames (`self`), frames at something given (`cross`), pictures at the text."""

Place = tuple[str, Looks]
"""Where within a stage an attention is, and what looks at what there."""

TEXT: Place = ("attn2", "text")
"""The second attention of a transformer block of Stable Diffusion: each picture reads the text by itself."""


BOTH_LOOK_AT_FRAMES: tuple[Place, Place] = (("attn1", "self"), ("attn2", "self"))
"""A temporal transformer block of diffusers whose second attention is told no text looks at frames twice."""


class UNetFamily(Family):
    """A UNet that is Stable Diffusion for each frame, with attention between the frames at each place of the picture.

    Layers are counted in the order they run: down, middle, up. That is not the order in which PyTorch lists modules,
    where the middle comes last. A latent frame is a frame; guidance is one call, [uncond, cond]. Where the pictures
    read the text is beside the layer that runs next.

    A mask hides frames in the attention over time and nowhere else. What else mixes frames passes by it; each family
    says what that is.
    """

    parts = ("unet",)
    architecture = "UNet"
    video_argument = "sample"
    stride = 1
    names_branches = False
    reading = PER_PLACE
    says_of_text = "within each picture"

    @abstractmethod
    def places(self, stage: nn.Module) -> Iterable[Place]:
        """Return the attentions over time, and those to the text, within a stage of the UNet, in the order they run."""

    def places_before(self, denoiser: Denoiser) -> Iterable[Place]:
        """Return the attentions over time that run before the first stage; they form the stage `in`."""
        return ()

    @override
    def sites(self, denoiser: Denoiser) -> tuple[Site, ...]:
        """Return the attention over time and to the text of every stage, in the order it runs."""
        found: list[Site] = []
        layer = 0
        for stage, path, looks in self._places(denoiser):
            layer += looks == "self"
            if looks == "text":
                found.append(Site(layer + 1, path, stage, "cross", by_picture=True))
            else:
                found.append(Site(layer, path, stage, looks))
        return tuple(found)

    def _places(self, denoiser: Denoiser) -> Iterator[tuple[str, str, Looks]]:
        for path, kind in self.places_before(denoiser):
            yield "in", path, kind
        for stage, path, block in stages(denoiser):
            for inner, kind in self.places(block):
                yield stage, f"{path}.{inner}", kind

    @override
    def layout(self, denoiser: Denoiser, call: DenoiserCall, sample: int) -> FrameLayout:
        """Return one token for each frame of a latent video."""
        return FrameLayout.uniform(self.video_shape(call)[self.frame_axis], 1)

    @override
    def expected_layout(self, model: Model, *, num_frames: int, height: int, width: int) -> FrameLayout:
        """Return one token for each frame, whatever the size of the picture."""
        return FrameLayout.uniform(num_frames, 1)

    @override
    def default_size(self, model: Model) -> dict[str, int]:
        config = self.first_denoiser(model).config
        side = getattr(config, "sample_size", None)
        found = {}
        if side is not None:
            height, width = (side, side) if isinstance(side, int) else side
            scale = self.spatial_scale(model)
            found = {"height": height * scale, "width": width * scale}
        if getattr(config, "num_frames", None) is not None:
            found["num_frames"] = config.num_frames
        return found

    def most_frames(self, model: Model) -> int | None:
        """Return how many frames have a position in the model; None where all have."""
        return None

    @override
    def require_size(self, model: Model, *, num_frames: int, height: int, width: int) -> None:
        """Refuse pictures that the VAE cannot make, and more frames than the model has positions for."""
        most = self.most_frames(model)
        if most is not None and num_frames > most:
            raise InputError(
                expected=f"at most {most} frames, the positions that the model knows",
                got=f"{num_frames}",
                where=f"as num_frames of a {self.name} video",
                remedy=f"use {most}",
            )
        super().require_size(model, num_frames=num_frames, height=height, width=width)


class TransformerUNetFamily(UNetFamily):
    """A UNet of the 3D blocks of diffusers: one temporal transformer before the first stage, one behind each resnet.

    Both attentions of their blocks look at frames.
    """

    @override
    def places(self, stage: nn.Module) -> Iterable[Place]:
        return within(stage, "temp_attentions", "transformer_blocks", *BOTH_LOOK_AT_FRAMES)

    @override
    def places_before(self, denoiser: Denoiser) -> Iterable[Place]:
        first = denoiser.get_submodule("transformer_in")
        return temporal_blocks("transformer_in", first, "transformer_blocks", *BOTH_LOOK_AT_FRAMES)


def stages(denoiser: Denoiser) -> Iterator[tuple[str, str, nn.Module]]:
    """Yield the stages of a UNet in the order they run: name (`down.0`, `mid`, `up.2`), path, and the stage."""
    unet = denoiser
    for index, block in enumerate(unet.down_blocks):
        yield f"down.{index}", f"down_blocks.{index}", block
    if getattr(unet, "mid_block", None) is not None:
        yield "mid", "mid_block", unet.mid_block
    for index, block in enumerate(unet.up_blocks):
        yield f"up.{index}", f"up_blocks.{index}", block


def temporal_blocks(path: str, module: nn.Module, blocks: str, *attentions: Place) -> Iterator[Place]:
    """Yield the attentions of each of the blocks of one module."""
    for index, _ in enumerate(getattr(module, blocks)):
        for name, kind in attentions:
            yield f"{path}.{blocks}.{index}.{name}", kind


def behind_text(stage: nn.Module, modules: str, *attentions: Place) -> Iterator[Place]:
    """Yield attentions over time, and before each module of them where the pictures of the same depth read the text."""
    pictures = getattr(stage, "attentions", None) or ()
    for depth, module in enumerate(getattr(stage, modules, None) or ()):
        if depth < len(pictures):
            yield from temporal_blocks(f"attentions.{depth}", pictures[depth], "transformer_blocks", TEXT)
        yield from temporal_blocks(f"{modules}.{depth}", module, "transformer_blocks", *attentions)


def within(stage: nn.Module, modules: str, blocks: str, *attentions: Place) -> Iterator[Place]:
    """Yield attentions of transformer blocks: `modules.0.blocks.0.attn1`, as many as the stage has.

    >>> stage = nn.Module()
    >>> stage.motion = nn.ModuleList([nn.Module()])
    >>> stage.motion[0].blocks = nn.ModuleList([nn.Module(), nn.Module()])
    >>> [path for path, _ in within(stage, "motion", "blocks", ("attn1", "self"))]
    ['motion.0.blocks.0.attn1', 'motion.0.blocks.1.attn1']
    """
    for outer, module in enumerate(getattr(stage, modules, None) or ()):
        yield from temporal_blocks(f"{modules}.{outer}", module, blocks, *attentions)
