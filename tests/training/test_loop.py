"""The loop: killed and resumed, alone and in two processes, the weights are the same; what it writes can be used."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import attnscope as scope
from attnscope.errors import InputError, RunError, SetupError
from attnscope.testing import tiny
from attnscope.training.batches import Order
from attnscope.training.checkpoints import list_checkpoints
from attnscope.training.clips import DrawnFilms
from attnscope.training.journal import read_lines
from attnscope.video.files import read_frames

ROOT = Path(__file__).parents[2]
FILMS = DrawnFilms(5, (1, 2), num_frames=17, options={"min_shot_latent_frames": 1})
SMALL = {"rank": 2, "height": 32, "width": 32, "num_frames": 17, "rule": "same_shot | first_frame"}
LORA = "pytorch_lora_weights.safetensors"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("encoded")


def train(out, cache, name="wan", **changes):
    return scope.finetune(tiny(name), FILMS, out=out, cache=cache, **(SMALL | {"steps": 4} | changes))


def digest(folder):
    return hashlib.sha256((Path(folder) / LORA).read_bytes()).hexdigest()


def in_child(work, *arguments, **environment):
    """Run in a process that shares what is imported here, which takes a blink to start."""

    def job():
        os.environ.update(environment)
        torch.set_num_threads(1)
        work(*arguments)

    child = multiprocessing.get_context("fork").Process(target=job)
    child.start()
    return child


def kill_and_resume(folder, cache, seed, num_kills):
    """Kill the same run at random moments of its life, then let it end; returns how often it died."""
    rng = np.random.default_rng(seed)
    killed = 0
    for step in sorted(rng.integers(0, LONG["steps"], num_kills)):
        child = in_child(lambda: train(folder, cache, **LONG))
        # up to a step that was drawn, and then some milliseconds into whatever it does next
        while child.is_alive() and len(read_lines(folder / "log.jsonl")) < step:
            time.sleep(0.002)
        child.join(float(rng.uniform(0, 0.05)))
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
            killed += 1
        child.join()
    last = in_child(lambda: train(folder, cache, **LONG))
    last.join()
    assert last.exitcode == 0
    return killed


LONG = {"steps": 12, "batch_size": 2, "accumulate": 2, "ema": 0.9, "checkpoint_every": 2, "lora_dropout": 0.2}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, cache):
    """The folder of a run that nobody kills."""
    folder = tmp_path_factory.mktemp("undisturbed")
    train(folder, cache, **LONG)
    return folder


def test_a_run_that_is_killed_ends_with_the_same_weights(tmp_path, cache, undisturbed):
    assert kill_and_resume(tmp_path, cache, seed=0, num_kills=3) > 0
    assert digest(tmp_path) == digest(undisturbed)
    logs = [
        [(line["step"], line["loss"]) for line in read_lines(folder / "log.jsonl")]
        for folder in (undisturbed, tmp_path)
    ]
    assert logs[0] == logs[1]
    assert [step for step, _ in logs[0]] == list(range(1, LONG["steps"] + 1))


@pytest.mark.slow
def test_twenty_kills(tmp_path, cache, undisturbed):
    killed = 0
    for run in range(5):
        killed += kill_and_resume(tmp_path / str(run), cache, seed=run + 1, num_kills=4)
        assert digest(tmp_path / str(run)) == digest(undisturbed)
    assert killed >= 15


def test_a_damaged_checkpoint_is_passed_over(tmp_path, cache):
    changes = {"steps": 4, "checkpoint_every": 1, "keep": 3}
    train(tmp_path / "whole", cache, **changes)
    train(tmp_path / "again", cache, **changes)
    newest, older, _ = list_checkpoints(tmp_path / "again")
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    older.write_bytes(older.read_bytes()[:-5])
    (tmp_path / "again" / LORA).unlink()
    train(tmp_path / "again", cache, **changes)
    assert digest(tmp_path / "again") == digest(tmp_path / "whole")


def worker(out, cache, batch_size):
    from accelerate.state import AcceleratorState

    # what earlier tests told accelerate of this process is not true of a child of it
    AcceleratorState._reset_state(reset_partial_state=True)
    train(out, cache, batch_size=batch_size, steps=3, ema=0.5)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        torch.distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path, cache):
    train(tmp_path / "one", cache, batch_size=4, steps=3, ema=0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ranks = [
        in_child(
            worker,
            tmp_path / "two",
            cache,
            2,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE="2",
            LOCAL_WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
            OMP_NUM_THREADS="1",  # as torchrun says; unset, accelerate warns
        )
        for rank in range(2)
    ]
    for rank in ranks:
        rank.join()
        assert rank.exitcode == 0
    one, two = (load_file(tmp_path / name / LORA) for name in ("one", "two"))
    first = [read_lines(tmp_path / name / "log.jsonl")[0]["loss"] for name in ("one", "two")]
    assert first[0] == pytest.approx(first[1], rel=1e-6)
    moved = max(float(value.abs().max()) for name, value in one.items() if "lora_B" in name)
    apart = max(float((one[name] - two[name]).abs().max()) for name in one)
    assert apart < 1e-3 * moved


def test_what_was_trained_loads_in_plain_diffusers(tmp_path, cache):
    pipe = tiny("wan")
    plain = pipe.transformer.state_dict().copy()
    pipe.save_pretrained(tmp_path / "base")
    scope.finetune(
        pipe, FILMS, out=tmp_path / "run", cache=cache, **SMALL, steps=3, learning_rate=0.05, alpha=4
    )
    script = """
import sys, torch
from safetensors.torch import save_file
from diffusers import WanPipeline
pipe = WanPipeline.from_pretrained(sys.argv[1], torch_dtype=torch.float32)
pipe.set_progress_bar_config(disable=True)
def make():
    return pipe("a cat", height=32, width=32, num_frames=17, num_inference_steps=2, output_type="latent",
                generator=torch.Generator().manual_seed(0)).frames
without = make()
pipe.load_lora_weights(sys.argv[2])
save_file({"without": without, "trained": make()}, sys.argv[3])
assert not any(name.startswith("attnscope") for name in sys.modules)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "base", tmp_path / "run", tmp_path / "made.safetensors"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = load_file(tmp_path / "made.safetensors")
    without, trained = made["without"], made["trained"]
    here = pipe(
        "a cat",
        height=32,
        width=32,
        num_frames=17,
        num_inference_steps=2,
        output_type="latent",
        generator=torch.Generator().manual_seed(0),
    ).frames
    assert float((without - trained).abs().max()) > 1e-3
    assert float((here - trained).abs().max()) < 1e-4
    assert all(
        torch.equal(value, plain[name]) for name, value in tiny("wan").transformer.state_dict().items()
    )


def test_the_mask_works_on_what_was_trained(tmp_path, cache):
    train(tmp_path, cache, steps=2)
    pipe = tiny("wan")
    pipe.load_lora_weights(tmp_path)
    plan = scope.ShotPlan.from_latent_frames([2], num_frames_latent=5, fps=16)
    with scope.intervene(pipe, scope.masks.same_shot(plan)):
        mass = scope.probe(
            pipe, "a cat", shots=plan, height=32, width=32, num_frames=17, num_inference_steps=1
        ).mass
    assert float(mass.sel(query_frame=0, key_frame=4).max()) == 0


def peft_only(tmp_path):
    """Adapters as peft writes them, by peft alone."""
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        tiny("wan").transformer, LoraConfig(r=2, lora_alpha=4, target_modules=["to_q", "to_v"])
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator))
    model.save_pretrained(tmp_path)
    return model


def test_adapters_of_peft_alone_are_trained_further(tmp_path, cache):
    model = peft_only(tmp_path / "peft")
    targets = ["to_q", "to_v"]
    train(tmp_path / "on", cache, steps=1, initial=tmp_path / "peft", targets=targets, learning_rate=1e-9)
    pipe = tiny("wan")
    pipe.load_lora_weights(tmp_path / "on")
    given = torch.randn(1, 16, 2, 4, 4), torch.tensor([500.0]), torch.randn(1, 3, 32)
    with torch.no_grad():
        theirs, ours = (each(*given, return_dict=False)[0] for each in (model, pipe.transformer))
        plain = tiny("wan").transformer(*given, return_dict=False)[0]
    assert float((theirs - ours).abs().max()) < 1e-4
    assert float((theirs - plain).abs().max()) > 1e-2


def test_adapters_of_diffusers_are_trained_further(tmp_path, cache):
    train(tmp_path / "first", cache, steps=2, learning_rate=0.01)
    train(tmp_path / "second", cache, steps=1, initial=tmp_path / "first", learning_rate=1e-9)
    first, second = (load_file(tmp_path / name / LORA) for name in ("first", "second"))
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 1e-6


def test_a_unet_is_trained_whole(tmp_path):
    from attnscope.models.lavie import LaVieUNet

    pipe = tiny("lavie")
    before = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    films = DrawnFilms(3, (2,), num_frames=9, options={"stride": 1})
    done = scope.finetune(
        pipe, films, out=tmp_path, method="full", rule="same_shot", steps=2, height=32, width=32, num_frames=9
    )
    loaded = LaVieUNet.from_pretrained(done.weights).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in pipe.unet.state_dict().items())
    assert any(not torch.equal(before[name], value) for name, value in loaded.items())


def test_bfloat16_and_checkpointing_train(tmp_path, cache):
    pipe = tiny("wan")
    done = scope.finetune(
        pipe, FILMS, out=tmp_path, cache=cache, **SMALL, steps=2, precision="bfloat16", checkpointing=True
    )
    assert np.isfinite(done.loss)
    assert all(
        each.dtype == torch.float32 for name, each in pipe.transformer.named_parameters() if "lora" in name
    )


def test_attention_is_recorded_over_training_steps(tmp_path, cache):
    train(tmp_path, cache, steps=4, record_every=2, record_layers="2", learning_rate=0.05)
    attention = scope.open_store(tmp_path / "attention.zarr")
    assert list(attention.step.values) == [0, 2, 4]
    assert list(attention.layer.values) == [2]
    assert bool(attention.done.all())
    assert float(abs(attention.mass.isel(step=0) - attention.mass.isel(step=-1)).max()) > 1e-5
    first, last = (
        scope.structure.contrast(attention.sel(branch="cond").isel(step=[step])) for step in (0, -1)
    )
    assert bool((first != last).all())


def test_films_are_made_on_the_way_and_change_nothing(tmp_path, cache):
    train(tmp_path / "seen", cache, validate_every=2, validation_steps=1, record_every=2)
    train(tmp_path / "unseen", cache)
    lines = read_lines(tmp_path / "seen" / "validation.jsonl")
    assert [(line["step"], line["seed"]) for line in lines] == [(2, 0), (2, 1), (4, 0), (4, 1)]
    assert all(line["asked_frame"] for line in lines)
    films = list((tmp_path / "seen" / "films").rglob("*.mp4"))
    assert [read_frames(path).shape[1:] for path in films] == 4 * [(32, 32, 3)]
    assert digest(tmp_path / "seen") == digest(tmp_path / "unseen")


def test_a_loss_that_is_no_number_names_step_batch_and_checkpoint(tmp_path, cache):
    pipe = tiny("wan")
    broken = []

    def poison(done, total):
        if done == 2:
            weight = next(each for name, each in pipe.transformer.named_parameters() if "lora_B" in name)
            weight.data[0] = float("nan")
            broken.append(done)

    with pytest.raises(RunError, match=r"step 3, batch 2 \(scene \d\).*step-0000002.safetensors") as caught:
        scope.finetune(
            pipe, FILMS, out=tmp_path, cache=cache, **SMALL, steps=4, checkpoint_every=2, on_step=poison
        )
    assert broken == [2]
    assert len(str(caught.value).splitlines()) == 1
    assert not getattr(pipe.transformer, "peft_config", None)


def test_another_run_in_the_same_folder_is_refused(tmp_path, cache):
    train(tmp_path, cache, steps=1)
    with pytest.raises(InputError, match="learning_rate 0.0001.*got 0.001"):
        train(tmp_path, cache, steps=1, learning_rate=1e-3)
    with pytest.raises(InputError, match="rule 'same_shot | first_frame'"):
        train(tmp_path, cache, steps=1, rule="same_shot")


def test_a_rule_as_an_object_is_kept_beside_the_weights(tmp_path, cache):
    plan = scope.ShotPlan.from_latent_frames([2], num_frames_latent=5, fps=16)
    train(tmp_path / "object", cache, rule=scope.masks.same_shot(plan) | scope.masks.first_frame())
    train(tmp_path / "text", cache)
    assert digest(tmp_path / "object") == digest(tmp_path / "text")
    assert json.loads((tmp_path / "object" / "interventions.json").read_text())["version"] == 1


def test_a_full_disk_is_said_in_one_line(tmp_path, cache, monkeypatch):
    import errno

    from attnscope.training import checkpoints

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    from attnscope.storage import disk

    monkeypatch.setattr(disk.os, "fsync", full)
    with pytest.raises(SetupError, match="room on the disk"):
        checkpoints.write_checked(tmp_path / "x.safetensors", {"a": torch.zeros(2)}, {})
    assert list(tmp_path.iterdir()) == []


def test_states_of_eight_bits_need_their_package(tmp_path, cache):
    with pytest.raises(SetupError, match="bitsandbytes"):
        train(tmp_path, cache, optimiser="adamw8bit")


def test_the_cost_is_said_and_nothing_is_left(tmp_path, cache):
    pipe = tiny("wan")
    done = scope.finetune(pipe, FILMS, out=tmp_path / "run", cache=cache, **SMALL, steps=100, dry_run=True)
    assert done.estimate.num_trained == 1984
    assert done.estimate.total_s == pytest.approx(100 * done.estimate.step_s)
    assert not (tmp_path / "run").exists()
    assert not getattr(pipe.transformer, "peft_config", None)


def test_every_film_is_seen_once_an_epoch_whatever_the_batch():
    order = Order([(5,)] * 7 + [(9,)] * 4, 3, seed=1)
    seen = [place.film for number in range(order.num_batches) for place in order.batch(number)]
    assert set(seen) == set(range(11))
    assert all(len({place.film < 7 for place in order.batch(number)}) == 1 for number in range(20))
    numbers = [place.number for number in range(20) for place in order.batch(number)]
    assert numbers == list(range(60))


def test_films_differ_in_noise_and_are_the_same_again(assemble):
    here = assemble(batch_size=2)
    one, two = (here.assembly.batch(here.order.batch(number)) for number in (0, 1))
    assert torch.equal(one.noise, here.assembly.batch(here.order.batch(0)).noise)
    assert not torch.equal(one.noise[0], one.noise[1])
    assert not torch.equal(one.noise[0], two.noise[0])


def test_a_checkpoint_of_other_weights_is_refused(tmp_path, cache):
    train(tmp_path, cache, steps=1)
    path = list_checkpoints(tmp_path)[0]
    tensors = load_file(path)
    from attnscope.training.cache import write_checked

    write_checked(
        path, {f"{name}x": value for name, value in tensors.items()}, {"step": "1", "numbers": "{}"}
    )
    (tmp_path / LORA).unlink()
    with pytest.raises(InputError, match="differs in"):
        train(tmp_path, cache, steps=1)
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(InputError, match="adapters of rank 2"):
        train(tmp_path / "new", cache, initial=tmp_path / "empty.safetensors")


def test_curves_are_what_the_log_says(tmp_path, cache):
    """Read by TensorBoard itself."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path / "run", cache, steps=3, tensorboard=True)
    (events,) = (tmp_path / "run").rglob("events.out.tfevents.*")
    curves = EventAccumulator(str(events))
    curves.Reload()
    lines = read_lines(tmp_path / "run" / "log.jsonl")
    for name in ("loss", "learning_rate"):
        (tag,) = (tag for tag in curves.Tags()["scalars"] if tag.endswith(name))
        assert [point.step for point in curves.Scalars(tag)] == [1, 2, 3]
        assert [point.value for point in curves.Scalars(tag)] == pytest.approx([line[name] for line in lines])


def test_the_run_file_calls_an_embedded_model_by_its_name(tmp_path):
    # a folder would be another on each machine, and the control's is that of its base but for the denoiser
    films = DrawnFilms(1, (1,), num_frames=5, options={"min_shot_latent_frames": 1})
    pipe = scope.load("wan-mini-nocuts")
    scope.finetune(pipe, films, out=tmp_path, cache=tmp_path / "cache", steps=1, rank=1, num_frames=5)
    assert tomllib.loads((tmp_path / "run.toml").read_text())["run"]["model"] == "wan-mini-nocuts"
