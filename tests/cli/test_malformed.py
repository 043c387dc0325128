"""Malformed input: one line that says what was wrong, exit code 2, nothing on stdout, nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

PROMPT = ("probe", "--prompt", "a cat", "--num-frames", "17", "--num-inference-steps", "2")
SIZED = (*PROMPT, "--height", "64", "--width", "64")
FILM = ("probe", "--video", "clip.mp4", "--sigmas", "0.5")


def shots(spec: str) -> tuple[str, ...]:
    return ("probe", "--prompt", "a cat", "--height", "64", "--width", "64", "--shots", spec)


def asked(*words: str) -> tuple[str, ...]:
    return (
        "generate",
        "--shots",
        "0-9f,9-17f",
        "--height",
        "64",
        "--width",
        "64",
        "--num-inference-steps",
        "2",
        "--out",
        "film.mp4",
        *words,
    )


def ruled(rule: str) -> tuple[str, ...]:
    return asked("--rule", rule)


def listed(text: str) -> tuple[str, ...]:
    return ("probe", "--height", "64", "--width", "64", "--prompt", text)


CASES: dict[str, tuple[Sequence[str], str]] = {
    # shots on the command line
    "shots-empty": (shots(""), "expected shots like"),
    "shots-words": (shots("two shots"), "expected shots like"),
    "shots-no-unit": (shots("0-1,1-2"), "expected shots like"),
    "shots-mixed-units": (shots("0-1s,16-33f"), "one unit"),
    "shots-gap": (shots("0-0.5s,0.75-1s"), "gap after shot 1"),
    "shots-overlap": (shots("0-0.5s,0.25-1s"), "overlap with shot 1"),
    "shots-late-start": (shots("1-2s"), "begin at 0s"),
    "shots-backwards": (shots("0-0s"), "stop after it starts"),
    "shots-negative": (("probe", "--shots=-1-2s"), "expected shots like"),
    "shots-nan": (shots("0-nans"), "expected shots like"),
    "shots-fraction-of-a-frame": (shots("0-8.5f,8.5-17f"), "whole frames"),
    "shots-newline": (shots("0-1s\n1-2s"), "expected shots like"),
    "shots-not-4n-plus-1": (shots("0-8f,8-16f"), "4n + 1 frames"),
    "shots-same-latent-frame": (shots("0-9f,9-10f,10-17f"), "same latent frame"),
    "shots-too-long": (shots("0-100s"), "num_frames"),
    "shots-against-num-frames": ((*SIZED, "--shots", "0-16f,16-33f"), "as many frames as the shots have"),
    "shots-against-num-frames-drawn": (
        ("probe", "--shots", "0-16f,16-33f", "--num-frames", "17"),
        "as many frames as the shots have",
    ),
    "shots-more-than-can-be-drawn": (
        ("probe", "--shots", ",".join(f"{4 * k}-{4 * k + 4}f" for k in range(9)) + ",36-37f"),
        "at most 8 shots",
    ),
    "shots-not-the-whole-video": ((*FILM, "--shots", "0-9f,9-90f"), "whole video"),
    "shots-bad-beside-a-video": ((*FILM, "--shots", "0-9"), "expected shots like"),
    # shots in a prompt
    "prompt-shot-without-time": (listed("Two shots: a; Shot 1: b; Shot 2: [1s, 2s] c"), "after 'Shot 1:'"),
    "prompt-wrong-count": (listed("Three shots: a; Shot 1: [0s, 1s] b; Shot 2: [1s, 2s] c"), "3 shots"),
    "prompt-gap": (listed("Shot 1: [0s, 1s] b; Shot 2: [1.5s, 2s] c"), "gap after shot 1"),
    "prompt-unordered": (listed("Shot 2: [0s, 1s] b; Shot 1: [1s, 2s] c"), "numbered 1, 2, 3"),
    "prompt-lower-case": (listed("shot 1:[0s, 1s] b; shot 2:[0.5s, 2s] c"), "overlap with shot 1"),
    "prompt-bad-time": (listed("Shot 1: [zero, one] b"), "after 'Shot 1:'"),
    "prompt-late-start": (listed("Shot 1: [1s, 2s] b"), "begin at 0s"),
    "prompt-lone-surrogate": ((*SIZED[:2], "a \udcff", *SIZED[3:]), "text"),
    # ranges
    "layers-zero": ((*SIZED, "--layers", "0"), "expected layers among 1-30, got 0"),
    "layers-beyond": ((*SIZED, "--layers", "1-3"), "expected layers among 1-2, got 3"),
    "layers-backwards": ((*SIZED, "--layers", "2-1"), "write 1-2"),
    "layers-empty": ((*SIZED, "--layers", ""), "expected layers like"),
    "layers-words": ((*SIZED, "--layers", "deep"), "expected layers like"),
    "layers-too-many-last": ((*SIZED, "--layers", "-6:"), "last 1 to 2 of layers"),
    "heads-beyond": ((*SIZED, "--heads", "0-2"), "expected heads among 0-1, got 2"),
    "heads-comma": ((*SIZED, "--heads", "0,"), "expected heads like"),
    "steps-beyond": ((*SIZED, "--steps", "2"), "expected steps among 0-1, got 2"),
    "steps-beyond-of-a-video": ((*FILM, "--steps", "1"), "expected steps among 0, got 1"),
    "layers-beyond-of-a-video": ((*FILM, "--layers", "7-28"), "expected layers among 1-2"),
    # models
    "model-unknown": (
        ("probe", "--model", "sora"),
        "expected a model (unet-mini, unet-mini-nocuts, wan-mini",
    ),
    "model-near-miss": (("probe", "--model", "wan-mni"), "did you mean wan-mini?"),
    "model-empty": (("probe", "--model", ""), "no such model"),
    "model-dots": (("probe", "--model", "../.."), "without model_index.json"),
    "model-empty-folder": (("probe", "--model", "empty"), "without model_index.json"),
    "model-nested-empty-folder": (("probe", "--model", "nest/empty"), "without model_index.json"),
    "model-file": (("probe", "--model", "words.txt"), "a file"),
    "model-nested-file": (("probe", "--model", "nest/words.txt"), "a file"),
    "model-very-long": (("probe", "--model", "m" * 5000), "no such model"),
    "model-no-safetensors": (("probe", "--model", "pickled"), "none in pickled"),
    "model-damaged-index": (("probe", "--model", "damaged"), "damaged"),
    "model-other-pipeline": (("probe", "--model", "other"), "StableDiffusionPipeline"),
    # videos
    "video-missing": (("probe", "--video", "nowhere.mp4"), "no file"),
    "video-folder": (("probe", "--video", "empty"), "at least one video"),
    "video-very-long-name": (("probe", "--video", "v" * 5000), "no file"),
    "video-text": (("probe", "--video", "text.mp4"), "can be decoded"),
    "video-empty-file": (("probe", "--video", "empty.mp4"), "can be decoded"),
    "video-sound-only": (("probe", "--video", "sound.mp4"), "no video stream"),
    "video-one-frame": (("probe", "--video", "one.mp4"), "at least 5 frames"),
    "video-truncated": (("probe", "--video", "truncated.mp4"), "can be decoded"),
    # stores
    "store-missing": (("structure", "nowhere.zarr"), "got nothing"),
    "store-file": (("structure", "words.txt"), "got a file"),
    "store-empty-folder": (("structure", "empty"), "empty folder"),
    "store-other-folder": (("structure", "nest"), "without zarr.json"),
    "store-other-zarr": (("structure", "other.zarr"), "other zarr data"),
    "store-newer-schema": (("structure", "newer.zarr"), "update attnscope"),
    "store-corrupt-json": (("structure", "corrupt.zarr"), "damaged"),
    "store-very-long-name": (("structure", "s" * 5000), "s" * 5000),
    "store-no-such-branch": (("structure", "good.zarr", "--branch", "uncond"), "guidance branch"),
    "validate-missing": (("validate", "nowhere.zarr"), "got nothing"),
    "validate-file": (("validate", "words.txt"), "got a file"),
    "validate-empty-folder": (("validate", "empty", "--json"), "empty folder"),
    "validate-other-zarr": (("validate", "other.zarr"), "other zarr data"),
    "validate-newer-schema": (("validate", "newer.zarr"), "update attnscope"),
    "out-is-a-file": ((*SIZED, "--out", "words.txt"), "words.txt"),
    "out-holds-another-run": ((*SIZED, "--out", "held"), "settings this store was begun with"),
    "out-holds-something-else": ((*SIZED, "--out", "occupied"), "attention store"),
    # files of prompts
    "prompts-missing": (("probe", "--prompts", "nowhere.txt"), "nowhere.txt"),
    "prompts-empty": (("probe", "--prompts", "empty.mp4"), "at least one prompt"),
    "prompts-only-comments": (("probe", "--prompts", "comments.txt"), "at least one prompt"),
    "prompts-binary": (("probe", "--prompts", "binary.txt"), "binary.txt"),
    "prompts-zero-bytes": (("probe", "--prompts", "zeros.txt"), "zero bytes"),
    "prompts-folder": (("probe", "--prompts", "empty"), "empty"),
    "prompts-of-two-lengths": (
        ("probe", "--prompts", "lengths.txt", "--height", "64", "--width", "64"),
        "one length",
    ),
    # scores
    "score-nothing": (("score",), "expected videos to score"),
    "score-missing": (("score", "nowhere.mp4"), "does not exist"),
    "score-empty-folder": (("score", "empty"), "at least one video"),
    "score-shots-and-manifest": (("score", "--shots", "0-1s,1-2s", "--manifest", "list.csv"), "got both"),
    "score-bad-shots": (("score", "clip.mp4", "--shots", "two"), "expected shots like"),
    "score-manifest-missing": (("score", "--manifest", "nowhere.csv"), "expected a manifest"),
    "score-manifest-binary": (("score", "--manifest", "binary.txt"), "expected a manifest"),
    "score-manifest-without-files": (("score", "--manifest", "words.txt"), "a column file"),
    "score-manifest-names-nothing": (("score", "--manifest", "list.csv"), "line 2 of list.csv"),
    "score-reference-missing": (
        ("score", "clip.mp4", "--reference", "nowhere.json"),
        "a reference of version",
    ),
    "score-reference-other": (("score", "clip.mp4", "--reference", "words.txt"), "a reference of version"),
    "score-out-is-a-file": (("score", "clip.mp4", "--out", "words.txt"), "the file 'words.txt' as --out"),
    "score-threshold": (("score", "clip.mp4", "--threshold", "1.5"), "between 0 and 1"),
    "score-threshold-nan": (("score", "clip.mp4", "--threshold", "nan"), "finite number"),
    "score-tolerance": (("score", "clip.mp4", "--tolerance", "1.5"), "--tolerance"),
    "score-stride": (("score", "clip.mp4", "--stride", "0"), "expected a stride from 1"),
    "score-jobs": (("score", "clip.mp4", "--jobs", "0"), "--jobs"),
    "score-detector": (("score", "clip.mp4", "--detector", "eyes"), "--detector"),
    "reference-action": (("reference", "burn", "empty"), "build"),
    "reference-missing": (("reference", "build", "nowhere"), "expected a folder of films"),
    "reference-file": (("reference", "build", "clip.mp4"), "expected a folder of films"),
    "reference-empty": (("reference", "build", "empty"), "at least one video"),
    "reference-out-is-a-folder": (
        ("reference", "build", "nest", "--out", "empty"),
        "the folder 'empty' as --out",
    ),
    # numbers
    "seed-word": (("probe", "--seed", "x"), "--seed"),
    "seed-negative": (("probe", "--seed=-1"), "--seed"),
    "seed-huge": (("probe", "--seed", "9" * 30), "--seed"),
    "seed-missing": (("probe", "--seed"), "--seed"),
    "sigmas-above-one": (("probe", "--sigmas", "2"), "noise levels above 0"),
    "sigmas-zero": (("probe", "--sigmas", "0"), "noise levels above 0"),
    "sigmas-nan": (("probe", "--sigmas", "nan"), "noise levels above 0"),
    "sigmas-words": (("probe", "--sigmas", "low,high"), "--sigmas"),
    "sigmas-empty": (("probe", "--sigmas", ""), "--sigmas"),
    "crop-one-number": ((*FILM, "--crop", "0.5"), "top,right,bottom,left"),
    "crop-everything": ((*FILM, "--crop", "0.5,0,0.5,0"), "leave a picture"),
    "crop-nan": ((*FILM, "--crop", "nan,0,0,0"), "leave a picture"),
    "num-frames-16": (("probe", "--prompt", "a cat", "--num-frames", "16"), "use 17"),
    "num-frames-16-drawn": (("probe", "--num-frames", "16"), "4n + 1 frames"),
    "num-frames-16-of-a-video": ((*FILM, "--num-frames", "16"), "4n + 1 frames"),
    "num-frames-zero": (("probe", "--num-frames", "0"), "--num-frames"),
    "num-frames-negative": (("probe", "--num-frames=-17"), "--num-frames"),
    "num-frames-fraction": (("probe", "--num-frames", "17.5"), "--num-frames"),
    "num-frames-beyond-the-model": (("probe", "--num-frames", "4001"), "num_frames of a Wan video"),
    "height-50": ((*PROMPT, "--height", "50", "--width", "64"), "use 48"),
    "height-50-drawn": (("probe", "--height", "50"), "multiple of 16 pixels"),
    "height-50-of-a-video": ((*FILM, "--height", "50"), "multiple of 16 pixels"),
    "height-zero": (("probe", "--height", "0"), "--height"),
    "width-huge": (("probe", "--width", "16000"), "width of a Wan video"),
    "size-of-the-default-is-too-big": (PROMPT, "width"),
    "num-inference-steps-zero": (("probe", "--prompt", "a", "--num-inference-steps", "0"), "from 1 to 1000"),
    "guidance-nan": ((*SIZED, "--guidance-scale", "nan"), "finite number"),
    "guidance-infinite": ((*SIZED, "--guidance-scale", "inf"), "finite number"),
    "guidance-word": ((*SIZED, "--guidance-scale", "strong"), "finite number"),
    # films with cuts on demand
    "generate-no-shots": (("generate", "--out", "film.mp4"), "expected shots, got none"),
    "generate-no-shots-in-the-prompt": (
        ("generate", "--out", "film.mp4", "--prompt", "two shots: a cat"),
        "expected shots, got none",
    ),
    "generate-prompt-gap": (
        ("generate", "--out", "film.mp4", "--prompt", "Shot 1: [0s, 1s] a; Shot 2: [1.5s, 2s] b"),
        "gap after shot 1",
    ),
    "generate-no-out": (("generate", "--shots", "0-1s,1-2s"), "--out"),
    "generate-shots-words": (("generate", "--out", "film.mp4", "--shots", "two"), "expected shots like"),
    "generate-shots-overlap": (
        ("generate", "--out", "film.mp4", "--shots", "0-2s,1-3s"),
        "overlap with shot 1",
    ),
    "generate-shots-same-latent-frame": (
        (*asked()[:2], "0-9f,9-10f,10-17f", *asked()[3:]),
        "same latent frame",
    ),
    "generate-shots-not-4n-plus-1": ((*asked()[:2], "0-8f,8-16f", *asked()[3:]), "4n+1 frames"),
    "generate-out-folder": ((*asked()[:-1], "empty"), "expected an .mp4 file"),
    "generate-out-other-kind": ((*asked()[:-1], "film.avi"), "expected an .mp4 file"),
    "generate-out-nowhere": ((*asked()[:-1], "nowhere/film.mp4"), "folder that is there"),
    "generate-preset-unknown": (asked("--preset", "cinetrans"), "expected a preset out of cinetrans-dit"),
    "generate-preset-empty": (asked("--preset", ""), "expected a preset out of"),
    "generate-preset-and-rule": (
        asked("--preset", "holocine", "--rule", "same_shot"),
        "one of --preset and --rule",
    ),
    "generate-first-frame-elsewhere": (
        asked("--preset", "holocine", "--first-frame"),
        "with preset cinetrans-dit only",
    ),
    "generate-first-frame-of-a-rule": (
        asked("--rule", "same_shot", "--no-first-frame"),
        "| first_frame in a rule",
    ),
    "generate-layers-of-nothing": (asked("--preset", "none", "--layers", "1"), "with a mask only"),
    "generate-layers-of-the-preset-beyond": (asked(), "expected layers among 1-2, got 7"),
    "generate-preset-of-unets": (
        asked("--preset", "cinetrans-unet"),
        "use preset cinetrans-dit, or name layers",
    ),
    "generate-layers-beyond": (asked("--layers", "1-3"), "expected layers among 1-2, got 3"),
    "generate-layers-words": (asked("--layers", "deep"), "expected layers like"),
    "generate-steps-beyond": (
        asked("--preset", "vstar", "--layers", "all"),
        "expected steps among 0-1, got 2",
    ),
    "generate-text-layers-of-nothing": (
        asked("--text-layers", "1"),
        "--text-layers with --shot-prompts only",
    ),
    "generate-padding-of-nothing": (asked("--padding", "hidden"), "--padding with --shot-prompts only"),
    "generate-padding-unknown": (asked("--padding", "gone"), "--padding"),
    "generate-captions-missing": (asked("--shot-prompts", "nowhere.txt"), "nowhere.txt"),
    "generate-captions-binary": (asked("--shot-prompts", "binary.txt"), "binary.txt"),
    "generate-captions-none": (asked("--shot-prompts", "comments.txt"), "at least one caption"),
    "generate-captions-too-few": (
        asked("--layers", "1", "--shot-prompts", "words.txt"),
        "one caption for each of 2 shots, got 1",
    ),
    "generate-text-layers-beyond": (
        asked("--layers", "1", "--shot-prompts", "lengths.txt", "--text-layers", "9"),
        "expected text layers among 1-2, got 9",
    ),
    "generate-height-50": ((*asked()[:4], "50", *asked()[5:], "--layers", "1"), "use 48"),
    "generate-guidance-nan": (asked("--layers", "1", "--guidance-scale", "nan"), "finite number"),
    "generate-seed-word": (asked("--seed", "x"), "--seed"),
    "generate-model-unknown": (
        asked("--model", "sora"),
        "expected a model (unet-mini, unet-mini-nocuts, wan-mini",
    ),
    # rules in words
    "rule-empty": (ruled(""), "something that does not parse"),
    "rule-unknown": (ruled("same_shots"), "got 'same_shots'"),
    "rule-half": (ruled("same_shot |"), "something that does not parse"),
    "rule-call": (ruled("open('words.txt')"), "got 'open'"),
    "rule-attribute": (ruled("same_shot.__class__"), "same_shot.__class__"),
    "rule-import": (ruled("__import__('os').system('rm words.txt')"), "__import__"),
    "rule-number": (ruled("3"), "no rule"),
    "rule-too-long": (ruled("same_shot" + " | same_shot" * 60), "at most 500 characters"),
    "rule-newline": (ruled("same_shot\nfirst_frame"), "something that does not parse"),
    "rule-halo-of-half-a-frame": (ruled("halo(0.5)"), "whole number of latent frames"),
    "rule-soft-below-nothing": (ruled("soft(same_shot, -4)"), "strength from 0"),
    "rule-soft-of-nothing": (ruled("soft(4)"), "soft without a rule"),
    "rule-not-of-weights": (ruled("~fade(2)"), "only shows or hides under ~"),
    "rule-that-blinds": (ruled("previous_shot"), "frame 0 that sees nothing"),
    "rule-anchor-beyond": (ruled("same_shot | anchors(5)"), "anchor shots among 0 to 1"),
    # branches and options
    "branch-unknown": ((*SIZED, "--branch", "both"), "cond, uncond or both"),
    "branch-twice": ((*SIZED, "--branch", "cond,cond"), "cond, uncond or both"),
    "branch-empty": ((*SIZED, "--branch", ""), "cond, uncond or both"),
    "branch-of-a-video": ((*FILM, "--branch", "uncond"), "expected branch cond"),
    "branch-without-guidance": (
        (*SIZED, "--branch", "uncond", "--guidance-scale", "1"),
        "guidance scale above 1",
    ),
    "prompt-and-video": ((*FILM, "--prompt", "a cat"), "one of --prompt, --prompts, --video"),
    "prompt-and-prompts": (("probe", "--prompt", "a", "--prompts", "words.txt"), "one of --prompt"),
    "steps-of-a-video": ((*FILM, "--num-inference-steps", "3"), "--num-inference-steps with --prompt only"),
    "guidance-of-a-video": ((*FILM, "--guidance-scale", "3"), "--guidance-scale with --prompt only"),
    "sigmas-of-a-prompt": ((*SIZED, "--sigmas", "0.5"), "--sigmas with --video only"),
    "crop-of-a-prompt": ((*SIZED, "--crop", "0,0,0,0"), "--crop with --video only"),
    "crop-of-the-drawn-film": (("probe", "--crop", "0,0,0,0"), "--crop with --video only"),
    "command-unknown": (("prob",), 'Did you mean "probe"?'),
    "option-unknown": (("probe", "--promt", "x"), "Did you mean --prompt?"),
    "option-unknown-everywhere": (("--bogus",), "--bogus"),
    "option-twice": (("probe", "--seed", "1", "--seed", "2"), "--seed"),
    "flag-with-a-value": (("probe", "--json=maybe"), "--json"),
    "words-too-many": (("structure", "good.zarr", "b\nc"), "Unused"),
    "word-missing": (("validate",), "STORE"),
}


@pytest.fixture(scope="session")
def before(broken: Path, everything: Any) -> dict[str, bytes | None]:
    return everything(broken)


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_nothing_written(
    case: str,
    run: Any,
    broken: Path,
    before: dict[str, bytes | None],
    monkeypatch: pytest.MonkeyPatch,
    everything: Any,
) -> None:
    words, needed = CASES[case]
    monkeypatch.chdir(broken)
    outcome = run(*words)
    assert outcome.out == ""
    assert outcome.err.startswith("attnscope: error: ")
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.endswith("\n")
    assert needed in outcome.err
    assert outcome.code == 2
    assert everything(broken) == before


def test_the_words_that_are_not_malformed_run(run: Any, broken: Path, tmp_path: Path) -> None:
    """The rows above fail for the reason they name: without their fault the same words pass."""
    shutil.copy(broken / "clip.mp4", tmp_path)
    for number, words in enumerate((SIZED, FILM)):
        outcome = run(*words, "--out", f"out-{number}", "--layers", "1")
        assert (outcome.code, outcome.err) == (0, "")
    shutil.copy(broken / "words.txt", tmp_path)
    for words in (asked("--layers", "1"), ruled("same_shot"), ruled("soft(same_shot, 4)")):
        outcome = run(*words)
        assert (outcome.code, outcome.err) == (0, "")
