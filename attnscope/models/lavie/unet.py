"""LaVie's denoiser: the UNet of Stable Diffusion 1 with attention over time in every transformer block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders.peft import PeftAdapterMixin
from diffusers.models.attention import AttentionMixin
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_3d_condition import UNet3DConditionOutput
from torch import Tensor, nn
from typing_extensions import override

from attnscope.models.lavie.blocks import DownStage, MiddleStage, Resnet, Transformer, UpStage, each_frame


class LaVieUNet(ModelMixin, AttentionMixin, ConfigMixin, PeftAdapterMixin):  # type: ignore[misc]
    """The denoiser of LaVie (arXiv 2309.15103) and of CineTrans-UNet (arXiv 2508.11484): one architecture.

    Every transformer block looks within each frame, at the text, and then, at each place of the picture, from frame
    to frame (`attn_temp`). Stages are those of Stable Diffusion 1: attention in all but the deepest, and in the
    middle; so with two layers a stage there are 16 attentions over time, 6 on the way down, 1 in the middle, 9 on
    the way up, and the last six to run are those of `up_blocks.2` and `up_blocks.3`. The parameters have the names of
    the published checkpoints. The defaults are the published sizes.

    The norms of the resnets see all frames of a video at once. So frames that do not attend to each other still share
    a mean and a variance per group of channels.

    >>> small = LaVieUNet(block_out_channels=(8, 8), layers_per_block=1, num_heads=2, text_width=4, num_groups=4)
    >>> len([name for name, _ in small.named_modules() if name.endswith("attn_temp")])
    4
    """

    _supports_gradient_checkpointing = True
    _no_split_modules: Any = ("TransformerBlock", "Resnet")

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_size: int = 64,
        in_channels: int = 4,
        out_channels: int = 4,
        block_out_channels: Sequence[int] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        num_heads: int = 8,
        text_width: int = 768,
        num_groups: int = 32,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        widths = tuple(block_out_channels)
        time_channels = 4 * widths[0]
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.time_proj = Timesteps(widths[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(widths[0], time_channels)

        def resnet(before: int, after: int) -> Resnet:
            return Resnet(before, after, time_channels, num_groups, norm_eps)

        def transformers(width: int, num: int) -> list[Transformer]:
            return [Transformer(width, num_heads, text_width, num_groups) for _ in range(num)]

        self.down_blocks = nn.ModuleList()
        for before, width in zip((widths[0], *widths), widths, strict=False):
            deepest = len(self.down_blocks) == len(widths) - 1
            inputs = [before] + [width] * (layers_per_block - 1)
            attentions = None if deepest else transformers(width, layers_per_block)
            resnets = [resnet(each, width) for each in inputs]
            self.down_blocks.append(DownStage(resnets, attentions, width, shrinks=not deepest))

        deep = widths[-1]
        self.mid_block = MiddleStage([resnet(deep, deep), resnet(deep, deep)], transformers(deep, 1))

        # What the way down left, from the picture after the first convolution on.
        left = [widths[0]]
        for index, width in enumerate(widths):
            left += [width] * (layers_per_block + (index < len(widths) - 1))
        self.up_blocks = nn.ModuleList()
        before = deep
        for width in reversed(widths):
            first, last = not self.up_blocks, len(self.up_blocks) == len(widths) - 1
            resnets = []
            for _ in range(layers_per_block + 1):
                resnets.append(resnet(before + left.pop(), width))
                before = width
            attentions = None if first else transformers(width, layers_per_block + 1)
            self.up_blocks.append(UpStage(resnets, attentions, width, grows=not last))

        self.conv_norm_out = nn.GroupNorm(num_groups, widths[0], norm_eps)
        self.conv_out = nn.Conv2d(widths[0], out_channels, 3, padding=1)

    @override
    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        return_dict: bool = True,
    ) -> Any:
        """Return the noise that is in a latent video.

        Parameters
        ----------
        sample
            (videos, channels, frames, height, width).
        timestep
            One for all, or one for each video.
        encoder_hidden_states
            The text, (videos, tokens, width).
        return_dict
            Whether it comes as `.sample` or alone in a tuple.
        """
        noise_level = self._noise_level(sample, timestep)
        video = each_frame(self.conv_in, sample)
        seen = [video]
        for stage in self.down_blocks:
            video, new = stage(video, noise_level, encoder_hidden_states)
            seen += new
        video = self.mid_block(video, noise_level, encoder_hidden_states)
        for stage in self.up_blocks:
            video, seen = stage(video, seen, noise_level, encoder_hidden_states)
        noise = each_frame(self.conv_out, F.silu(self.conv_norm_out(video)))
        return UNet3DConditionOutput(sample=noise) if return_dict else (noise,)

    def _noise_level(self, sample: Tensor, timestep: Tensor | float) -> Tensor:
        timesteps = torch.as_tensor(timestep, device=sample.device).expand(sample.shape[0])
        waves = self.time_proj(timesteps)
        embedded: Tensor = self.time_embedding(waves.to(sample.dtype))
        return embedded
