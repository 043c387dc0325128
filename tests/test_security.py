"""Nothing that runs what a file says: no pickle, no remote code, no shell; no exception swallowed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# One file's trouble, whatever it is, becomes its row with the reason: the one place that answers everything.
ANSWERS_EVERYTHING = ROOT / "attnscope" / "metrics" / "scoring" / "workers.py"
SOURCES = sorted(
    path
    for folder in ("attnscope", "kernels", "experiments", "notebooks", "tests")
    for path in (ROOT / folder).rglob("*.py")
)

UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {
    "torch.load": "safetensors, or torch.load(..., weights_only=True, mmap=...) of a file that was checked",
    "torch.save": "safetensors",
    "os.system": "subprocess.run with a list",
    "os.popen": "subprocess.run with a list",
    "yaml.load": "tomllib",
    "eval": "a parser",
    "exec": "a parser",
}
UNSAFE_ARGUMENTS = {
    "trust_remote_code": True,
    "shell": True,
    "allow_pickle": True,
    "weights_only": False,
    "remote": True,
}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def dangers(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                roots = {alias.name.split(".")[0] for alias in names}
                found += [f"line {node.lineno}: imports {name}" for name in sorted(roots & UNSAFE_MODULES)]
            case ast.ImportFrom(module=str(module)):
                taken = {f"{module}.{alias.name}" for alias in node.names} & set(UNSAFE_CALLS)
                if module.split(".")[0] in UNSAFE_MODULES or taken:
                    found.append(f"line {node.lineno}: imports from {module}")
            case ast.Call():
                found += unsafe_call(node)
            case ast.ExceptHandler() if is_blind(node):
                found.append(f"line {node.lineno}: catches everything and does not raise again")
    return found


NAMES_A_SHELL = ("app.generate_completion", "shell")
"""Here the word says for which shell completions are written; none is run."""


def unsafe_call(node: ast.Call) -> list[str]:
    name = dotted(node.func)
    if name == "torch.load" and loads_weights_only(node):
        return []
    found = [f"line {node.lineno}: {name}; use {UNSAFE_CALLS[name]}"] if name in UNSAFE_CALLS else []
    for keyword in node.keywords:
        if keyword.arg not in UNSAFE_ARGUMENTS or (name, keyword.arg) == NAMES_A_SHELL:
            continue
        # a value that is computed may turn out unsafe; only the written safe one is let through
        unsafe = UNSAFE_ARGUMENTS[keyword.arg]
        safe = isinstance(keyword.value, ast.Constant) and keyword.value.value is not unsafe
        if not safe:
            found.append(f"line {node.lineno}: {keyword.arg} in {name}")
    return found


def loads_weights_only(node: ast.Call) -> bool:
    """Whether tensors are mapped and nothing is run: the one form in which a torch archive may be read."""
    named = {keyword.arg: keyword.value for keyword in node.keywords}
    only = named.get("weights_only")
    return (
        named.keys() == {"map_location", "weights_only", "mmap"}
        and isinstance(only, ast.Constant)
        and only.value is True
    )


def is_blind(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    everything = any(kind is None or dotted(kind) in ("Exception", "BaseException") for kind in kinds)
    return everything and not any(isinstance(node, ast.Raise) for node in ast.walk(handler))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_dangerous(path: Path) -> None:
    found = dangers(path.read_text(encoding="utf-8"))
    if path == ANSWERS_EVERYTHING:
        assert len(found) == 1
        found = [each for each in found if "catches everything" not in each]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "from torch import load",
        "import torch\ntorch.load('weights.pt')",
        "import torch\ntorch.load('weights.pt', weights_only=True)",
        "import torch\ntorch.load('weights.pt', map_location='cpu', weights_only=False, mmap=True)",
        "import torch\ntorch.load('weights.pt', map_location='cpu', weights_only=flag, mmap=True)",
        "import torch\ntorch.load('weights.pt', map_location='cpu', weights_only=True, mmap=True, encoding='x')",
        "eval('1')",
        "def f(x):\n    exec(x)",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "load('model', trust_remote_code=True)",
        "load('model', trust_remote_code=flag)",
        "import numpy\nnumpy.load('x.npy', allow_pickle=True)",
        "try:\n    f()\nexcept:\n    pass",
        "try:\n    f()\nexcept Exception:\n    value = None",
        "try:\n    f()\nexcept (ValueError, BaseException) as error:\n    print(error)",
    ],
)
def test_a_danger_is_seen(source: str) -> None:
    assert dangers(source)


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()",
        "import torch\ntorch.load(path, map_location='cpu', weights_only=True, mmap=True)",
        "load('model', trust_remote_code=False)",
        "try:\n    f()\nexcept BaseException:\n    restore()\n    raise",
        "try:\n    f()\nexcept OSError as error:\n    report(error)",
    ],
)
def test_what_is_safe_is_left_alone(source: str) -> None:
    assert dangers(source) == []
