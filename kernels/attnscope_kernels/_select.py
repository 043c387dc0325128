"""Which implementation computes a mass or an attention, and why: chosen from the shapes, never in silence."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ._device_table import DeviceTable, read_table
from ._fused import fused_obstacle
from ._relation import is_whole, parts, runs
from ._settings import is_interpreted, kernel_obstacle

MassImplementation = Literal["auto", "reference", "chunked", "split", "kernel", "second_pass"]
AttendImplementation = Literal["auto", "reference", "short", "chunked", "split", "kernel"]

# Below this many tokens in a key group, one call per group costs more than it saves (measured, 1 CPU thread).
SPLIT_MIN_TOKENS = 192
# Sequences this short (the frames of a UNet's temporal attention) fill no tile; they are computed in large batches.
SHORT_TOKENS = 64
_UNMEASURED = "; plain PyTorch, while this device is not measured"


# What was chosen for an attention call, with the table it was chosen by: the same call comes at every layer and step.
_CHOSEN: dict[tuple[object, ...], tuple[DeviceTable | None, Choice]] = {}
_REMEMBERED = 256


class Choice(NamedTuple):
    """The name of the implementation that will run, and the reason in words."""

    name: str
    reason: str


def select_mass(
    *,
    device: str | torch.device,
    num_tokens: int,
    num_groups: int,
    with_output: bool,
    needs_gradient: bool,
    dtype: torch.dtype = torch.float32,
    head_size: int = 128,
    is_plain: bool = True,
    implementation: MassImplementation = "auto",
) -> Choice:
    """Say which way the frame mass will be computed for tensors of this shape, and why.

    All ways are exact; they differ in speed only. `num_tokens` and `num_groups` count the keys; `is_plain` says that
    no frame relation is given.

    Raises
    ------
    ValueError
        If an implementation is asked for that does not exist or cannot do what is wanted.

    Examples
    --------
    >>> shape = {"num_tokens": 5376, "num_groups": 21, "needs_gradient": False}
    >>> select_mass(device="cpu", with_output=True, **shape).name
    'split'
    >>> select_mass(device="cpu", with_output=False, **shape).reason.split(";")[0]
    'only the mass is wanted'
    """
    device = torch.device(device)
    obstacles = _mass_obstacles(device, dtype, head_size, with_output, needs_gradient, is_plain)
    if implementation != "auto":
        return _choose_named(implementation, get_args(MassImplementation), obstacles, "frame_mass")
    possible = [way for way, obstacle in obstacles.items() if not obstacle and _may_be_chosen(way)]
    operation = "mass and output" if with_output else "mass"
    measured = _choose_measured(operation, device, dtype, num_tokens, num_groups, possible)
    if measured is not None:
        return measured
    if num_tokens <= SHORT_TOKENS:
        reason = f"sequences of at most {SHORT_TOKENS} tokens are computed in large batches"
    elif obstacles["split"]:
        reason = obstacles["split"]
    elif num_tokens < SPLIT_MIN_TOKENS * num_groups:
        reason = f"key groups hold fewer than {SPLIT_MIN_TOKENS} tokens"
    else:
        return Choice("split", f"the output is wanted too and the key groups are large{_UNMEASURED}")
    return Choice("chunked", f"{reason}{_UNMEASURED}")


def mass_obstacles(query: Tensor, *, with_output: bool) -> dict[str, str]:
    """Say of every way that `auto` may take why it cannot compute the mass of such tensors; nothing if it can."""
    return _mass_obstacles(query.device, query.dtype, query.shape[-1], with_output, False, True)


def _mass_obstacles(
    device: torch.device,
    dtype: torch.dtype,
    head_size: int,
    with_output: bool,
    needs_gradient: bool,
    is_plain: bool,
) -> dict[str, str]:
    gradient = "gradients are needed and only the plain formula has them" if needs_gradient else ""
    return {
        "chunked": "",
        "split": gradient or _no_output(with_output) or fused_obstacle(device, dtype, head_size),
        "kernel": gradient or kernel_obstacle(device, dtype, head_size),
        "second_pass": gradient
        or _no_output(with_output)
        or ("" if is_plain else "PyTorch's fused attention takes no frame relation")
        or kernel_obstacle(device, dtype, head_size)
        or fused_obstacle(device, dtype, head_size),
    }


def select_attention(
    *,
    device: str | torch.device,
    num_tokens: int,
    relation: Tensor,
    dtype: torch.dtype = torch.float32,
    head_size: int = 128,
    has_content: bool = False,
    with_lse: bool = False,
    needs_gradient: bool = False,
    implementation: AttendImplementation = "auto",
) -> Choice:
    """Say which way attention under this checked frame relation (batch or 1, heads or 1, F, G) will be computed.

    All ways are exact; they differ in speed only. `num_tokens` counts queries or keys, whichever are more.

    Raises
    ------
    ValueError
        If an implementation is asked for that does not exist or cannot do what is wanted.

    Examples
    --------
    >>> two_shots = torch.block_diag(torch.zeros(3, 3), torch.zeros(2, 2)).double()[None, None]
    >>> select_attention(device="cpu", num_tokens=5376, relation=two_shots).name
    'split'
    """
    device = torch.device(device)
    relation = relation[(None,) * (4 - relation.ndim)]
    table = read_table(device)
    known = (
        *(relation.contiguous().numpy().tobytes(), relation.shape, device, dtype, head_size, num_tokens),
        *(has_content, with_lse, implementation, is_interpreted()),
    )
    if (found := _CHOSEN.get(known)) is None or found[0] is not table:
        if len(_CHOSEN) >= _REMEMBERED:
            _CHOSEN.clear()
        chosen = _select_attention(
            device, dtype, head_size, num_tokens, relation, has_content, with_lse, implementation
        )
        found = _CHOSEN[known] = (table, chosen)
    return found[1]


def _select_attention(
    device: torch.device,
    dtype: torch.dtype,
    head_size: int,
    num_tokens: int,
    relation: Tensor,
    has_content: bool,
    with_lse: bool,
    implementation: AttendImplementation,
) -> Choice:
    content = "scores scaled by the row's largest take the plain formula" if has_content else ""
    obstacles = _attention_obstacles(device, dtype, head_size, num_tokens, relation, content, with_lse)
    if implementation != "auto":
        return _choose_named(implementation, get_args(AttendImplementation), obstacles, "shot_attention")
    if content:
        return Choice("chunked", content)
    possible = [way for way, obstacle in obstacles.items() if not obstacle and _may_be_chosen(way)]
    operation = "hard mask" if _is_flat(relation) else "soft mask"
    measured = _choose_measured(operation, device, dtype, num_tokens, relation.shape[-1], possible)
    if measured is not None:
        return measured
    if not obstacles["short"]:
        reason = f"sequences of at most {SHORT_TOKENS} tokens take one call with a small mask"
        return Choice("short", f"{reason}{_UNMEASURED}")
    if obstacles["split"]:
        return Choice("chunked", f"{obstacles['split']}{_UNMEASURED}")
    return Choice("split", f"frames that see the same share one fused call on sliced keys{_UNMEASURED}")


def attention_obstacles(query: Tensor, relation: Tensor) -> dict[str, str]:
    """Say of every way that `auto` may take why it cannot attend so; nothing if it can."""
    relation = relation[(None,) * (4 - relation.ndim)]
    return _attention_obstacles(
        query.device, query.dtype, query.shape[-1], query.shape[1], relation, "", False
    )


def _attention_obstacles(
    device: torch.device,
    dtype: torch.dtype,
    head_size: int,
    num_tokens: int,
    relation: Tensor,
    content: str,
    with_lse: bool,
) -> dict[str, str]:
    long = f"sequences hold more than {SHORT_TOKENS} tokens" if num_tokens > SHORT_TOKENS else ""
    return {
        "chunked": "",
        "short": content or long or ("a masked call gives no log-sum-exp" if with_lse else ""),
        "split": content or (_mask_with_lse(device, dtype, head_size, relation) if with_lse else ""),
        "kernel": content or kernel_obstacle(device, dtype, head_size),
    }


def _may_be_chosen(way: str) -> bool:
    """The interpreter is for tests: nobody waits for it who did not ask."""
    return way not in ("kernel", "second_pass") or not is_interpreted()


def _choose_measured(
    operation: str,
    device: torch.device,
    dtype: torch.dtype,
    num_tokens: int,
    num_groups: int,
    possible: list[str],
) -> Choice | None:
    """The fastest way by the table of this device; None where it has none that fits."""
    table = read_table(device)
    if table is None:
        return None
    subject = "mass" if operation.startswith("mass") else "attention"
    right = tuple(way for way in possible if not table.is_wrong(subject, dtype, way))
    if not right:
        raise ValueError(
            f"expected a way of {subject} that is right on {table.device}, got none of {', '.join(possible)}, "
            f"in {str(dtype).removeprefix('torch.')}; use another type"
        )
    found = table.fastest(operation, dtype, num_tokens, num_groups, right)
    if found is None:
        if len(right) < len(possible):
            return Choice(right[0], "the only way that is right on this device, where it was compared")
        return None
    way, row = found
    return Choice(
        way,
        f"the fastest on this device at {row.tokens} tokens in {row.groups} groups, where it was measured",
    )


def _is_flat(relation: Tensor) -> bool:
    """Whether all that is seen is seen alike, row by row: nothing but a hard mask."""
    seen = ~torch.isneginf(relation)
    highest = relation.amax(-1, keepdim=True)
    return bool(torch.where(seen, relation - highest, torch.zeros_like(relation)).eq(0).all())


def _no_output(with_output: bool) -> str:
    return "" if with_output else "only the mass is wanted"


def _mask_with_lse(device: torch.device, dtype: torch.dtype, head_size: int, relation: Tensor) -> str:
    obstacle = fused_obstacle(device, dtype, head_size)
    if not obstacle and device.type != "cpu" and not is_whole(relation):
        flat = all(
            run.is_flat for _, _, matrix in parts(relation, *relation.shape[:2]) for run in runs(matrix)
        )
        return "" if flat else "the fused call with a log-sum-exp takes no bias there"
    return obstacle


def _choose_named(name: str, known: tuple[str, ...], obstacles: dict[str, str], operation: str) -> Choice:
    if name not in known:
        raise ValueError(
            f"expected an implementation out of {', '.join(known)}, got {name!r}, "
            f"in {operation}; use 'auto' to let the shapes decide"
        )
    obstacle = obstacles.get(name, "")
    if obstacle:
        raise ValueError(
            f"expected a call that implementation={name!r} can do, got one where {obstacle}, "
            f"in {operation}; use implementation='chunked'"
        )
    return Choice(name, "asked for")
