"""Kernels run in Triton's interpreter where there is no GPU.

Triton asks for that when it is imported itself, which any test may cause: so it is said before the first one is.
"""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
