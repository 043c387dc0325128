"""The same pictures are the same file, whatever lay in the memory that the encoder was given."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ENCODE = """
import sys
import numpy as np
from attnscope.video import write_video

blocks = np.random.default_rng(0).integers(0, 256, (17, 6, 6, 3), np.uint8)
write_video(sys.argv[1], np.repeat(np.repeat(blocks, 8, axis=1), 8, axis=2), 16)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="MALLOC_PERTURB_ is glibc's")
def test_a_film_is_the_same_bytes_whatever_memory_held_before(tmp_path: Path) -> None:
    digests = set()
    for byte in (0, 85, 170):  # what new memory is filled with; 0 leaves it as it is
        path = tmp_path / f"{byte}.mp4"
        env = {**os.environ, "MALLOC_PERTURB_": str(byte)}
        subprocess.run([sys.executable, "-c", ENCODE, str(path)], check=True, env=env)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1
