"""How a model is loaded: where, in which numbers; what cannot be is one line before any weight is read."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from attnscope import load
from attnscope.errors import AttnscopeError, InputError, RunError, SetupError
from attnscope.models import _load, choice_of, choices, machine, preparing
from attnscope.models.choices import LoadChoice, LoadRequest, estimate_memory
from attnscope.models.finding import inspect_model
from attnscope.models.headers import StoredTensor, read_parts, stored_kind
from attnscope.models.machine import Machine, choose_device, local_rank
from attnscope.models.planning import count_activations
from attnscope.testing import specimen, tiny
from attnscope.testing.wan import tiny_wan

GIB = 2**30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny"
    tiny_wan(num_layers=2).to(torch.bfloat16).save_pretrained(path)
    return path


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be read beyond the heads of files."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(_load, "_load_pipeline", refuse)
    monkeypatch.setattr(_load, "_load_embedded", refuse)


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> list[LoadChoice]:
    """A machine with four accelerators, and what was brought to them; it stays on the CPU here."""
    brought: list[LoadChoice] = []
    monkeypatch.setattr(machine, "find_machine", lambda: Machine("cuda", 4))
    monkeypatch.setattr(choices, "free_memory", lambda device: 24 * GIB)
    monkeypatch.setattr(preparing, "_bring", lambda pipe, choice, networks: brought.append(choice))
    return brought


def lora(path: Path, layer: str = "blocks.0.attn1.to_q", width: int = 24) -> Path:
    save_file(
        {
            f"transformer.{layer}.lora_A.weight": torch.zeros(2, width),
            f"transformer.{layer}.lora_B.weight": torch.zeros(24, 2),
        },
        path,
    )
    return path


WRONG: dict[str, tuple[dict[str, Any], type[AttnscopeError], str]] = {
    "a type that does not exist": ({"dtype": "bf8"}, InputError, "expected one of auto, bf16"),
    "fp16 on a CPU": ({"dtype": "fp16"}, InputError, "many times slower"),
    "the same, as PyTorch says it": ({"dtype": torch.float16}, InputError, "many times slower"),
    "no such kind of device": ({"device": "gpu"}, SetupError, "a device of this machine"),
    "a device that is not here": ({"device": "cuda"}, SetupError, "(cpu) or auto, got 'cuda'"),
    "an offload that does not exist": ({"offload": "disk"}, InputError, "as offload"),
    "offload on a CPU": ({"offload": "model"}, InputError, "with an accelerator"),
    "layers offloaded on a CPU": ({"offload": "sequential"}, InputError, "with an accelerator"),
    "bits that do not exist": ({"quantize": "2bit"}, InputError, "as quantize"),
    "no bitsandbytes": ({"quantize": "8bit"}, SetupError, "the package bitsandbytes"),
    "no torchao": ({"quantize": "int8"}, SetupError, "the package torchao"),
    "an encoder that is dropped, and waits": (
        {"drop_text_encoder": True, "offload": "model"},
        InputError,
        "drop_text_encoder with offload model",
    ),
    "two ways that exclude each other": (
        {"quantize": "4bit", "offload": "group"},
        InputError,
        "stay where they are",
    ),
    "a LoRA that is not there": ({"lora": "no.safetensors"}, InputError, "which is none, as lora"),
    "a LoRA that is no file of weights": ({"lora": "words.txt"}, InputError, "which is none, as lora"),
    "a LoRA of a wider model": ({"lora": "wide.safetensors"}, InputError, "a layer of width 24"),
    "a LoRA of a deeper model": ({"lora": ["deep.safetensors:0.5"]}, InputError, "no such layer blocks.9"),
    "a LoRA without LoRA": ({"lora": "plain.safetensors"}, InputError, "none among 1 tensors"),
    "a LoRA of endless strength": ({"lora": "good.safetensors:inf"}, InputError, "a finite strength"),
    "a damaged LoRA": ({"lora": "damaged.safetensors"}, AttnscopeError, "one that cannot be read"),
    "a back end nobody knows": ({"attention_backend": "magic"}, InputError, "an attention back end out of"),
}


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_one_line_before_weights_are_read(
    case: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lora(Path("wide.safetensors"), width=32)
    lora(Path("deep.safetensors"), "blocks.9.attn1.to_q")
    lora(Path("good.safetensors"))
    save_file({"weight": torch.zeros(1)}, Path("plain.safetensors"))
    Path("damaged.safetensors").write_bytes(struct.pack("<Q", 2**60))
    Path("words.txt").write_text("no weights")
    asked, error, words = WRONG[case]
    with pytest.raises(error) as caught:
        load(folder, **asked)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_weights")
def test_too_little_memory_is_said_before_weights_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "free_memory", lambda device: 1024)
    with pytest.raises(SetupError, match="GiB of memory on cpu for the weights alone") as caught:
        load(folder)
    assert caught.value.remedy == "use --dtype bf16, --drop-text-encoder, fewer frames or a smaller picture"


@pytest.mark.usefixtures("no_weights")
def test_what_a_step_computes_is_counted_where_the_size_of_the_video_is_known(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = estimate_memory(LoadChoice("cpu", "fp32", LoadRequest()), *inspect_model(str(folder)))
    small, large = (count_activations(str(folder), (17, side, side), "fp32") for side in (64, 512))
    assert small is not None
    assert large is not None
    assert large > small > 0
    monkeypatch.setattr(choices, "free_memory", lambda device: weights + (small + large) // 2)
    with pytest.raises(AssertionError, match="weights were read"):
        load(folder)
    with pytest.raises(AssertionError, match="weights were read"):
        load(folder, video=(17, 64, 64))
    with pytest.raises(
        SetupError, match="on cpu for the weights and what a denoising step computes"
    ) as caught:
        load(folder, video=(17, 512, 512))
    assert caught.value.remedy == "use --dtype bf16, --drop-text-encoder, fewer frames or a smaller picture"
    with pytest.raises(InputError, match="num_frames"):
        load(folder, video=(16, 64, 64))


@pytest.mark.parametrize("name", ["cogvideox", "cogvideox-1.5", "hunyuan-video", "ltx", "mochi", "skyreels"])
def test_what_a_step_computes_is_counted_whatever_text_the_model_reads(name: str, tmp_path: Path) -> None:
    tiny(name).save_pretrained(tmp_path)
    size = tuple(int(specimen(name).settings[each]) for each in ("num_frames", "height", "width"))
    assert (count_activations(str(tmp_path), size, "fp32") or 0) > 0


def test_of_a_network_that_cannot_be_called_on_nothing_the_weights_alone_are_counted(tmp_path: Path) -> None:
    tiny("latte").save_pretrained(tmp_path)
    assert count_activations(str(tmp_path), (4, 8, 8), "fp32") is None
    load(tmp_path, device="cpu", video=(4, 8, 8))


@pytest.mark.usefixtures("no_weights")
def test_a_number_beyond_the_accelerators_is_refused(folder: Path, accelerator: list[LoadChoice]) -> None:
    with pytest.raises(SetupError, match="cuda:3"):
        load(folder, device="cuda:4")
    assert accelerator == []


def test_an_accelerator_is_taken_in_the_type_that_is_stored(
    folder: Path, accelerator: list[LoadChoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")
    pipe: Any = load(folder)
    (choice,) = accelerator
    assert (choice.device, choice.dtype) == ("cuda:2", "bf16")
    assert pipe.transformer.dtype == torch.bfloat16
    assert choice_of(pipe) is choice
    assert choice.describe() == "on cuda:2 in bf16"


def test_on_a_cpu_nothing_changes(folder: Path) -> None:
    pipe: Any = load(folder)
    assert pipe.transformer.dtype == torch.float32
    choice = choice_of(pipe)
    assert choice is not None
    assert (choice.device, choice.dtype, choice.record()) == ("cpu", "fp32", {})


def test_which_process_this_is_is_read_as_torchrun_and_slurm_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_RANK", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)
    assert local_rank() == 0
    monkeypatch.setenv("SLURM_LOCALID", "1")
    assert local_rank() == 1
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert local_rank() == 3
    assert choose_device("auto", Machine("cuda", 2)) == "cuda:1"
    assert choose_device("cuda:0", Machine("cuda", 2)) == "cuda:0"
    assert choose_device("cpu", Machine("cuda", 2)) == "cpu"


def test_a_lora_is_added_with_its_strength_and_is_in_the_record(folder: Path, tmp_path: Path) -> None:
    file = lora(tmp_path / "style.safetensors")
    pipe: Any = load(folder, lora=f"{file}:0.5")
    layer = pipe.transformer.blocks[0].attn1.to_q
    assert layer.scaling == {"lora0": 0.5}
    choice = choice_of(pipe)
    assert choice is not None
    (record,) = choice.record()["lora"]
    assert (record["file"], record["scale"], len(record["sha256"])) == ("style.safetensors", 0.5, 64)
    assert "lora style.safetensors:0.5" in choice.describe()


def test_memory_is_counted_by_hand() -> None:
    parts = {
        "transformer": {"a": StoredTensor("BF16", (100, 10)), "b": StoredTensor("BF16", (10,))},
        "vae": {"c": StoredTensor("F32", (500,))},
    }
    assert stored_kind(parts["transformer"]) == "BF16"

    def needed(dtype: str, activations: int = 0, **asked: Any) -> int:
        choice = LoadChoice("cuda", dtype, LoadRequest(**asked))
        return estimate_memory(choice, parts, ("transformer",), activations)

    assert needed("fp32") == 4 * 1510
    assert needed("bf16") == 2 * 1510
    assert needed("bf16", offload="model") == 2 * 1010
    assert needed("bf16", offload="sequential") == 2 * 1000
    assert needed("bf16", activations=700) == 2 * 1510 + 700
    assert needed("bf16", activations=700, offload="model") == 2 * 1010 + 700
    assert needed("bf16", activations=700, offload="sequential") == 2 * 1000 + 700
    assert needed("bf16", quantize="8bit") == 1010 + 2 * 500
    assert needed("bf16", quantize="4bit") == 505 + 2 * 500
    parts["text_encoder"] = {"d": StoredTensor("F32", (600,))}
    # while it encodes, all weights are there; while something is denoised, it is not
    assert needed("bf16", drop_text_encoder=True) == 2 * 2110
    assert needed("bf16", activations=700, drop_text_encoder=True) == 2 * 2110
    assert needed("bf16", activations=1700, drop_text_encoder=True) == 2 * 1510 + 1700


def test_heads_of_files_say_what_the_weights_are(folder: Path) -> None:
    parts = read_parts(folder)
    pipe: Any = load(folder)
    for name in ("transformer", "vae", "text_encoder"):
        weights = dict(getattr(pipe, name).named_parameters())
        stored = {key: tensor.shape for key, tensor in parts[name].items() if key in weights}
        assert len(stored) > 10
        assert all(tuple(weights[key].shape) == shape for key, shape in stored.items())


def test_tiles_and_a_back_end_reach_the_parts(folder: Path) -> None:
    pipe: Any = load(folder, vae_tiling=True, attention_backend="native")
    assert pipe.vae.use_tiling
    choice = choice_of(pipe)
    assert choice is not None
    assert choice.record() == {"vae_tiling": "on", "attention_backend": "native"}
    assert choice.describe() == "on cpu in fp32, vae tiling on, attention backend native"


def test_memory_that_runs_out_is_one_line_with_advice() -> None:
    words = "expected memory for this run, got none left on this device"
    with pytest.raises(RunError, match=words), preparing.explain_memory(object()):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    with pytest.raises(RuntimeError, match="shapes"), preparing.explain_memory(object()):
        raise RuntimeError("shapes differ")
