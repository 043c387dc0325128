"""The parts of LaVie's UNet: those of Stable Diffusion, applied to each frame, and attention over time between them.

Legend: B videos, C channels, F frames, Y X height and width of the latent picture, P places of it, N pictures (B x F).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from typing_extensions import override

from attnscope.models.lavie.temporal import TemporalAttention


def each_frame(layer: Callable[..., Tensor], video_BCFYX: Tensor, *arguments: object) -> Tensor:
    """Apply a layer for pictures to every frame by itself."""
    num_videos, _, num_frames = video_BCFYX.shape[:3]
    pictures = layer(video_BCFYX.transpose(1, 2).flatten(0, 1), *arguments)
    return pictures.reshape(num_videos, num_frames, *pictures.shape[1:]).transpose(1, 2)


class Resnet(nn.Module):
    """Two convolutions of each frame, told the noise level. Their norms see all frames of a video at once."""

    def __init__(
        self, in_channels: int, out_channels: int, time_channels: int, num_groups: int, eps: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(num_groups, in_channels, eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(time_channels, out_channels)
        self.norm2 = nn.GroupNorm(num_groups, out_channels, eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    @override
    def forward(self, video_BCFYX: Tensor, noise_level: Tensor) -> Tensor:
        """Return the video with as many channels as this block gives."""
        change = each_frame(self.conv1, F.silu(self.norm1(video_BCFYX)))
        change = change + self.time_emb_proj(F.silu(noise_level))[:, :, None, None, None]
        change = each_frame(self.conv2, F.silu(self.norm2(change)))
        if self.conv_shortcut is not None:
            video_BCFYX = each_frame(self.conv_shortcut, video_BCFYX)
        return video_BCFYX + change


class TransformerBlock(nn.Module):
    """Attention within each picture, to the text, over time, and a feed-forward layer; each added to what it reads."""

    def __init__(self, channels: int, num_heads: int, text_width: int) -> None:
        super().__init__()
        size: Any = {"heads": num_heads, "dim_head": channels // num_heads}
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Attention(channels, **size)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = Attention(channels, cross_attention_dim=text_width, **size)
        self.norm_temp = nn.LayerNorm(channels)
        self.attn_temp = TemporalAttention(channels, num_heads)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels, activation_fn="geglu")

    @override
    def forward(self, tokens_NPC: Tensor, text: Tensor, num_frames: int) -> Tensor:
        """Return the tokens of all pictures after the block."""
        tokens_NPC = tokens_NPC + self.attn1(self.norm1(tokens_NPC))
        tokens_NPC = tokens_NPC + self.attn2(self.norm2(tokens_NPC), encoder_hidden_states=text)
        # A line is a place of the picture over time.
        lines_BPFC = tokens_NPC.reshape(-1, num_frames, *tokens_NPC.shape[1:]).transpose(1, 2)
        change = self.attn_temp(self.norm_temp(lines_BPFC.flatten(0, 1))).view_as(lines_BPFC)
        tokens_NPC = (lines_BPFC + change).transpose(1, 2).flatten(0, 1)
        changed: Tensor = tokens_NPC + self.ff(self.norm3(tokens_NPC))
        return changed


class Transformer(nn.Module):
    """A transformer block between two projections; its norm sees each picture by itself."""

    def __init__(self, channels: int, num_heads: int, text_width: int, num_groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(num_groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, num_heads, text_width)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    @override
    def forward(self, video_BCFYX: Tensor, text: Tensor) -> Tensor:
        """Return the video after attention; `text` is (B, tokens, width)."""
        num_frames = video_BCFYX.shape[2]
        return each_frame(self._attend, video_BCFYX, text.repeat_interleave(num_frames, 0), num_frames)

    def _attend(self, pictures: Tensor, text: Tensor, num_frames: int) -> Tensor:
        tokens_NPC = self.proj_in(self.norm(pictures)).flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            tokens_NPC = block(tokens_NPC, text, num_frames)
        changed: Tensor = pictures + self.proj_out(tokens_NPC.transpose(1, 2).reshape_as(pictures))
        return changed


class Stage(nn.Module):
    """Resnets and, behind each of them, attention where the stage has any. Base of the stages of the UNet."""

    _gradient_checkpointing_func: Callable[..., Tensor]

    def __init__(self, resnets: list[Resnet], attentions: list[Transformer] | None) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.attentions = None if attentions is None else nn.ModuleList(attentions)
        self.resnets = nn.ModuleList(resnets)

    def run(self, layer: nn.Module, *arguments: Tensor) -> Tensor:
        """Run a layer, kept for the backward pass or computed anew in it."""
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(layer, *arguments)
        result: Tensor = layer(*arguments)
        return result

    def attend(self, index: int, video: Tensor, text: Tensor) -> Tensor:
        """Run the attention behind a resnet, if there is any."""
        return video if self.attentions is None else self.run(self.attentions[index], video, text)


class DownStage(Stage):
    """Resnets, attention behind each, then half the height and width."""

    def __init__(
        self, resnets: list[Resnet], attentions: list[Transformer] | None, channels: int, *, shrinks: bool
    ) -> None:
        super().__init__(resnets, attentions)
        self.downsamplers = nn.ModuleList(
            [Downsample2D(channels, use_conv=True, name="op")] if shrinks else []
        )

    @override
    def forward(self, video: Tensor, noise_level: Tensor, text: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the video, and what the stages on the way up shall see of this one."""
        seen = []
        for index, resnet in enumerate(self.resnets):
            video = self.attend(index, self.run(resnet, video, noise_level), text)
            seen.append(video)
        for shrink in self.downsamplers:
            video = each_frame(shrink, video)
            seen.append(video)
        return video, seen


class MiddleStage(Stage):
    """A resnet, attention, a resnet."""

    @override
    def forward(self, video: Tensor, noise_level: Tensor, text: Tensor) -> Tensor:
        """Pass a video through attention and convolutions at the lowest resolution."""
        video = self.attend(0, self.run(self.resnets[0], video, noise_level), text)
        return self.run(self.resnets[1], video, noise_level)


class UpStage(Stage):
    """Resnets that also see what the way down left, attention behind each, then twice the height and width."""

    def __init__(
        self, resnets: list[Resnet], attentions: list[Transformer] | None, channels: int, *, grows: bool
    ) -> None:
        super().__init__(resnets, attentions)
        self.upsamplers = nn.ModuleList([Upsample2D(channels, use_conv=True)] if grows else [])

    @override
    def forward(
        self, video: Tensor, seen: list[Tensor], noise_level: Tensor, text: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the video, and what is left to be seen by the stages above."""
        for index, resnet in enumerate(self.resnets):
            joined = torch.cat([video, seen[-1 - index]], 1)
            video = self.attend(index, self.run(resnet, joined, noise_level), text)
        left = seen[: -len(self.resnets)]
        for grow in self.upsamplers:
            # Where a height or width was odd on the way down, twice the half of it is one too many.
            video = each_frame(grow, video, left[-1].shape[-2:])
        return video, left
