"""What holds before the first test: how many threads there are, and that kernels run where there is no GPU.

Kernels run in Triton's interpreter then. Triton asks for that when it is imported itself, which any test may cause: so
it is said before the first one is.
"""

from __future__ import annotations

import os

# One of several processes takes its share of the cores, not all of them, and so do the programs that it starts.
if num_workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // num_workers))

# What somebody measured of this machine must not decide what runs in a test.
os.environ["ATTNSCOPE_DEVICE_TABLES"] = os.path.join(os.path.dirname(__file__), "no-tables")

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
