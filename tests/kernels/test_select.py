"""Which implementation runs, and that it says so."""

from __future__ import annotations

import pytest
import torch

from attnscope_kernels import _select, select_attention, select_mass

MASS = {
    "device": "cpu",
    "num_tokens": 21 * 256,
    "num_groups": 21,
    "with_output": True,
    "needs_gradient": False,
}


@pytest.fixture
def a_gpu(monkeypatch):
    """Choose as on a machine with a GPU, where nothing is interpreted; nothing is run."""
    monkeypatch.setenv("TRITON_INTERPRET", "0")


@pytest.mark.parametrize(
    ("keywords", "name", "reason"),
    [
        ({}, "split", "large"),
        ({"with_output": False}, "chunked", "only the mass"),
        ({"needs_gradient": True}, "chunked", "gradients"),
        ({"num_tokens": 210}, "chunked", "fewer than"),
        ({"num_tokens": 16, "num_groups": 16}, "chunked", "large batches"),
        ({"device": "cuda"}, "chunked", "16-bit heads"),
        ({"device": "cuda", "dtype": torch.bfloat16}, "split", "not measured"),
        ({"device": "cuda", "with_output": False}, "chunked", "not measured"),
        ({"device": "cuda", "head_size": 256}, "chunked", "16-bit heads"),
        ({"device": "cuda", "head_size": 256, "dtype": torch.bfloat16}, "split", "large"),
        ({"device": "cuda", "dtype": torch.float64}, "chunked", "16-bit heads"),
        ({"device": "mps"}, "chunked", "on mps"),
        ({"implementation": "reference"}, "reference", "asked for"),
    ],
)
def test_the_choice_of_a_mass_is_said_aloud(keywords, name, reason, a_gpu):
    choice = select_mass(**MASS | keywords)
    assert choice.name == name
    assert reason in choice.reason


def shots(*lengths):
    blocks = torch.block_diag(*(torch.ones(n, n) for n in lengths)).bool()
    return torch.zeros(blocks.shape, dtype=torch.float64).masked_fill(~blocks, -torch.inf)[None, None]


@pytest.mark.parametrize(
    ("keywords", "name", "reason"),
    [
        ({}, "split", "sliced keys"),
        ({"with_lse": True}, "split", "sliced keys"),
        ({"has_content": True}, "chunked", "row's largest"),
        ({"device": "cuda", "dtype": torch.bfloat16}, "split", "sliced keys"),
        ({"device": "cuda", "relation": shots(*[1] * 9)}, "split", "not measured"),
        ({"relation": shots(*[1] * 9), "num_tokens": 9}, "short", "one call"),
        ({"device": "cuda", "relation": shots(*[1] * 9), "num_tokens": 9}, "short", "one call"),
        ({"relation": shots(*[1] * 9), "num_tokens": 9, "with_lse": True}, "split", "sliced keys"),
        ({"device": "cuda", "relation": torch.eye(3).double()[None, None]}, "split", "sliced keys"),
        ({"device": "cuda", "with_lse": True, "dtype": torch.float32}, "chunked", "16-bit heads"),
        ({"device": "cuda", "head_size": 160}, "split", "sliced keys"),
        ({"device": "cuda", "head_size": 160, "with_lse": True}, "chunked", "16-bit heads"),
        ({"device": "mps"}, "split", "sliced keys"),
        ({"device": "mps", "with_lse": True}, "chunked", "no log-sum-exp on mps"),
        (
            {
                "device": "cuda",
                "head_size": 256,
                "dtype": torch.bfloat16,
                "with_lse": True,
                "relation": torch.eye(3).double()[None, None],
            },
            "chunked",
            "takes no bias",
        ),
    ],
)
def test_the_choice_of_an_attention_is_said_aloud(keywords, name, reason, a_gpu):
    given = {"device": "cpu", "num_tokens": 5376, "relation": shots(3, 2)} | keywords
    choice = select_attention(**given)
    assert choice.name == name
    assert reason in choice.reason


def test_what_cannot_be_done_is_refused_when_asked_for():
    with pytest.raises(ValueError, match="got one where only the mass is wanted") as caught:
        select_mass(**MASS | {"with_output": False}, implementation="split")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="takes no frame relation"):
        select_mass(**MASS, is_plain=False, implementation="second_pass")
    with pytest.raises(ValueError, match="gradients are needed"):
        select_mass(**MASS | {"needs_gradient": True}, implementation="kernel")
    with pytest.raises(ValueError, match="expected an implementation out of auto, reference"):
        select_mass(**MASS, implementation="fast")
    with pytest.raises(ValueError, match="row's largest"):
        select_attention(
            device="cpu", num_tokens=10, relation=shots(1), has_content=True, implementation="kernel"
        )


def test_kernels_say_why_they_cannot_run(monkeypatch):
    obstacle = _select.kernel_obstacle
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert obstacle(cpu, torch.float32, 64) == "Triton kernels run on CUDA devices, not on cpu"
    assert "not in float64" in obstacle(cuda, torch.float64, 64)
    assert "at most 128, not 129" in obstacle(cuda, torch.float32, 129)
    assert obstacle(cuda, torch.float16, 128) == ""
    monkeypatch.setitem(__import__("sys").modules, "triton", None)
    assert obstacle(cuda, torch.float16, 128) == "triton is not installed"
