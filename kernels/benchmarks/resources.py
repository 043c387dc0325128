"""Compile every kernel for Hopper and Ampere, on any machine, and write down what it needs of the card.

    python kernels/benchmarks/resources.py [--json] [--out kernels/benchmarks/results/resources.json]

No GPU is needed: Triton compiles to machine code, and cuobjdump, which comes with it, reads registers, stack (what is
spilled) and shared memory off that code. Nothing is timed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from attnscope_kernels._settings import Setting, padded_head_size, setting
from attnscope_kernels.attend import kernel as attend
from attnscope_kernels.mass import kernel as mass

ARCHITECTURES = (90, 80)
DTYPES = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
HEAD_SIZES = (64, 128)
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"

# What each pointer of a kernel points at, where that is not a tensor of the attention.
_POINTERS = dict.fromkeys(("lse", "group_lse", "delta", "mass", "t_bias"), "*fp32")
_POINTERS |= dict.fromkeys(("t_part", "t_bounds", "t_tiles", "t_entries", "offsets"), "*i32")
_TENSORS = {"query", "key", "value", "output", "gradient", "query_gradient", "key_gradient", "value_gradient"}


def cases() -> Iterator[tuple[str, Any, str, int, dict[str, Any], Setting]]:
    """Every kernel in every form that a launch can ask for."""
    forms = {
        "forward": (attend.forward, [{"WITH_VALUE": v, "WITH_MASS": m} for v, m in ((1, 0), (1, 1), (0, 1))]),
        "backward_query": (attend.backward_query, [{}]),
        "backward_key": (attend.backward_key, [{}]),
        "second_pass": (mass.second_pass, [{}]),
    }
    for (name, (function, options)), (dtype, short), size in itertools.product(
        forms.items(), DTYPES.items(), HEAD_SIZES
    ):
        chosen = setting(name, size, dtype)  # type: ignore[arg-type]
        for option in options:
            constants = {key: bool(flag) for key, flag in option.items()}
            constants |= {"SIZE": size, "PADDED": padded_head_size(size)}
            constants |= {"ROWS": chosen.rows, "COLUMNS": chosen.columns}
            what = "".join(f" {key.lower()}" for key, flag in option.items() if flag)
            yield f"{name}{what}", function, short, size, constants, chosen
    mean = {"ROWS": 64, "BLOCK": 32}
    yield "mean_over_tokens", mass.mean_over_tokens, "fp32", 0, mean, Setting(64, 32, 4, 1)


def compile_kernel(
    function: Any, dtype: str, constants: dict[str, Any], chosen: Setting, architecture: int
) -> tuple[bytes, int]:
    """Machine code of one kernel for one architecture, and the bytes of shared memory it asks for at launch."""
    signature, attributes = {}, {}
    for index, name in enumerate(function.arg_names):
        if name in constants:
            signature[name] = "constexpr"
        elif name in _TENSORS:
            signature[name] = f"*{dtype}"
        elif name in _POINTERS:
            signature[name] = _POINTERS[name]
        else:
            signature[name] = "fp32" if name == "scale" else "i32"
        # addresses, and strides of real heads, are multiples of 16; tokens and counts need not be
        if signature[name].startswith("*") or re.fullmatch(r"[qkvod]_[bnh]", name):
            attributes[(index,)] = [["tt.divisibility", 16]]
    constexprs = {(function.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(function, signature, constexprs, attributes)
    options = {"num_warps": chosen.num_warps, "num_stages": chosen.num_stages}
    built = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
    return built.asm["cubin"], built.metadata.shared


def _inspect(flag: str, path: str) -> str:
    return subprocess.run([CUOBJDUMP, flag, path], check=True, capture_output=True, text=True).stdout


def resources(code: bytes) -> dict[str, int]:
    """Registers, bytes of stack, tensor-core and spill instructions of machine code."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        usage, assembly = _inspect("-res-usage", file.name), _inspect("-sass", file.name)
    found = {name: int(value) for name, value in re.findall(r"\b(REG|STACK):(\d+)", usage)}
    return {
        "registers": found["REG"],
        "stack_bytes": found["STACK"],
        "tensor_core_instructions": len(re.findall(r"\bH(?:G)?MMA\.", assembly)),
        "spill_instructions": len(re.findall(r"\b(?:STL|LDL)\b", assembly)),
    }


def measure(architecture: int) -> Iterator[dict[str, object]]:
    """One row for each kernel."""
    for name, function, dtype, size, constants, chosen in cases():
        code, shared_bytes = compile_kernel(function, dtype, constants, chosen, architecture)
        which = {"kernel": name, "dtype": dtype, "head_size": size, "arch": f"sm_{architecture}"}
        yield {**which, **chosen._asdict(), **resources(code), "shared_bytes": shared_bytes}


def main() -> None:
    """Compile, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print the document instead of a table")
    parser.add_argument("--out", type=Path, help="write the document there, too")
    arguments = parser.parse_args()
    rows = [row for architecture in ARCHITECTURES for row in measure(architecture)]
    document = {"triton": version("triton"), "rows": rows}
    if arguments.out:
        arguments.out.write_text(json.dumps(document, indent=1) + "\n")
    if arguments.json:
        print(json.dumps(document))
        return
    for row in rows:
        print("  ".join(str(value) for value in row.values()))


if __name__ == "__main__":
    main()
