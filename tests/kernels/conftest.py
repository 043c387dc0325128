"""Kernels run in Triton's interpreter where there is no GPU; Triton asks for that when a kernel is first imported."""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
