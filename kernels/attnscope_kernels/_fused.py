"""PyTorch's own fused attention, with the log-sum-exp that `scaled_dot_product_attention` keeps to itself."""

from __future__ import annotations

import torch
from torch import Tensor


def fused_obstacle(device: torch.device, dtype: torch.dtype, head_size: int) -> str:
    """Say why there is no fused attention with a log-sum-exp for such tensors; nothing if there is."""
    if device.type == "cpu":
        return ""
    if device.type != "cuda":
        return f"PyTorch's fused attention gives no log-sum-exp on {device.type}"
    if dtype not in (torch.float16, torch.bfloat16) or head_size % 8 or head_size > 256:
        return "PyTorch's fused attention on CUDA takes 16-bit heads of a multiple of 8, at most 256"
    return ""


def attend_fused(
    q_BHND: Tensor, k_BHMD: Tensor, v_BHMD: Tensor, scale: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Output (B, H, N, D) and log-sum-exp (B, H, N) of one fused call; the log-sum-exp has no gradient.

    ``mask`` is added to the scores; only the CPU's fused call takes one.
    """
    if q_BHND.device.type == "cpu":
        output, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q_BHND, k_BHMD, v_BHMD, attn_mask=mask, scale=scale
        )
    else:
        output, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
            q_BHND, k_BHMD, v_BHMD, scale=scale
        )
    return output, lse
