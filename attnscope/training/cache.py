"""Films as latents and captions as tokens, made once: safetensors files with checksums, bound to their model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor, nn

from attnscope._types import Document
from attnscope.errors import AttnscopeError, InputError, StoreError, quote
from attnscope.families import EncodedText
from attnscope.models.finding import name_of_loaded
from attnscope.shots import LatentPlan
from attnscope.storage.disk import explain, write_durably
from attnscope.training.clips import Clip, FilmSize
from attnscope.training.denoisers import Trainable

_CARD = "cache.json"
_COMPARED = ("model", "size")  # what of the card binds a folder; the model's name is for people
_SAMPLED = 4096  # numbers of each weight that tell models apart; training changes all of them


@dataclass(frozen=True)
class Encoded:
    """One film, encoded: its name, texts, shots on the latent grid, and the file with its latents.

    ``note`` says what of the film had to be left out, empty where nothing.
    """

    clip: Clip
    plan: LatentPlan
    path: Path
    digest: str
    note: str = ""

    def tensors(self) -> dict[str, Tensor]:
        """Read the latents (C, T, h, w), and what else the pipeline is given of the film."""
        return read_checked(self.path)[0]


class Cache:
    """A folder of films and captions, encoded by one model's VAE and text encoder.

    What is there is not made again; a folder that another model filled, or with films of another size, is refused.

    Raises
    ------
    InputError
        The folder belongs to another model or another size.
    """

    def __init__(self, folder: Path, model: Trainable, size: FilmSize) -> None:
        self.folder, self._model, self._size = folder, model, size
        card = {
            "model": fingerprint(model),
            "model_name": name_of_loaded(model.pipe, model.denoiser) or type(model.pipe).__name__,
            "size": f"{size.num_frames} x {size.height} x {size.width} at {size.fps or 'own'} fps",
        }
        self._card = card
        path = folder / _CARD
        with explain(folder):
            before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else card
        what = next((name for name in _COMPARED if before.get(name) != card[name]), "")
        if what:
            name = f"{what}_name"
            told = name if name in card.keys() & before.keys() and card[name] != before[name] else what
            raise InputError(
                expected=f"a cache of {what} {quote(card[told])}",
                got=quote(before.get(told)),
                where=f"in {folder}",
                remedy="give another folder as cache, or delete this one",
            )

    def _begin(self) -> None:
        """Make the folder; only where something is put into it."""
        with explain(self.folder):
            (self.folder / "films").mkdir(parents=True, exist_ok=True)
            (self.folder / "texts").mkdir(exist_ok=True)
            if not (self.folder / _CARD).exists():
                write_durably(self.folder / _CARD, json.dumps(self._card, indent=2).encode())

    def film(self, clip: Clip) -> Encoded:
        """Encode a film, or find it.

        Raises
        ------
        AttnscopeError
            The film cannot be used.
        """
        name = hashlib.sha256(f"{clip.identity}\0{clip.captions}".encode()).hexdigest()[:24]
        path = self.folder / "films" / f"{name}.safetensors"
        if not path.exists():
            frames, plan = clip.load(self._size)
            latent = plan.to_latent(self._size.stride)
            latents, given = self._model.encode(frames)
            if not bool(torch.isfinite(latents).all()):
                raise InputError(
                    expected="latents that are numbers",
                    got="NaN or infinity",
                    where=f"for {clip.name}",
                    remedy="leave it out, or encode in float32",
                )
            facts = {"plan": json.dumps(_plan_as_json(latent)), "name": clip.name}
            if plan.notes:
                facts["note"] = "; ".join(plan.notes)
            self._begin()
            write_checked(path, {"latents": latents, **given}, facts)
        _, facts = read_checked(path)
        plan_latent = _plan_from_json(json.loads(facts["plan"]))
        told = clip.keep_shots(plan_latent.num_shots)
        return Encoded(told, plan_latent, path, facts["sha256"], facts.get("note", ""))

    def text(self, caption: str) -> EncodedText:
        """Encode a caption, or find it."""
        path = self.folder / "texts" / f"{hashlib.sha256(caption.encode()).hexdigest()[:24]}.safetensors"
        if not path.exists():
            encoded = self._model.encode_text(caption)
            tensors = {"tokens": encoded.tokens, "padding": encoded.padding}
            kept = {name: value.float().cpu() for name, value in tensors.items()}
            self._begin()
            write_checked(path, kept, {"num_padding": str(encoded.num_padding), "caption": caption})
        found, facts = read_checked(path)
        return EncodedText(found["tokens"], found["padding"], int(facts["num_padding"]))

    def films(
        self,
        clips: Sequence[Clip],
        on_film: Callable[[int, int], None] = lambda done, total: None,
        *,
        most: int | None = None,
    ) -> tuple[list[Encoded], list[str]]:
        """Encode films one after another, all of them or the first so many that can be used.

        Those that cannot be used are left out, and why is returned beside.
        """
        encoded: list[Encoded] = []
        reasons = []
        for index, clip in enumerate(clips):
            if most is not None and len(encoded) >= most:
                break
            try:
                encoded.append(self.film(clip))
            except StoreError:
                raise  # the place is at fault, and would be for every film
            except InputError as error:
                reasons.append(f"{clip.name}: {error}")
            on_film(index + 1, len(clips))
        return encoded, reasons


def write_checked(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write tensors and facts about them, whole or not at all, with the checksum of both."""
    from safetensors.torch import save

    plain = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    facts = {**facts, "sha256": _digest(plain, facts)}
    write_durably(path, save(plain, dict(facts)))


def read_checked(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what :func:`write_checked` wrote.

    Raises
    ------
    InputError
        The file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            facts = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise damage_error(path, str(error)) from error
    if _digest(tensors, facts) != facts.get("sha256"):
        raise damage_error(path, "another checksum than when it was written")
    return tensors, facts


def damage_error(path: Path, reason: str) -> AttnscopeError:
    """Say that a file is not what was written."""
    return InputError(
        expected="a file as it was written",
        got=quote(reason, 100),
        where=f"in {path}",
        remedy="delete it, it is made again or an older one is taken",
    )


def fingerprint(model: Trainable) -> str:
    """Tell the VAE and the text encoder of a pipeline from those of others, by a sample of every weight."""
    digest = hashlib.sha256(type(model.pipe).__name__.encode())
    for name, part in sorted(model.pipe.components.items()):
        if isinstance(part, nn.Module) and part not in model.family.denoisers(model.pipe).values():
            for key, value in part.state_dict().items():
                digest.update(f"{name}.{key} {tuple(value.shape)} {value.dtype}".encode())
                digest.update(_sample(value))
    return digest.hexdigest()[:24]


def data_digest(films: Sequence[Encoded]) -> str:
    """Tell a data set from others: all latents, shots and captions, in their order."""
    digest = hashlib.sha256()
    for film in films:
        digest.update(
            f"{film.digest} {film.clip.caption}\0{film.clip.captions}\0{film.clip.general}".encode()
        )
    return digest.hexdigest()[:24]


def _sample(value: Tensor) -> bytes:
    flat = value.detach().flatten()
    some = flat[:: max(1, flat.numel() // _SAMPLED)].float().cpu()
    return bytes(some.numpy().tobytes())


def _digest(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    plain = {name: fact for name, fact in facts.items() if name != "sha256"}
    digest.update(json.dumps(plain, sort_keys=True).encode())
    return digest.hexdigest()


def _plan_as_json(plan: LatentPlan) -> Document:
    return {
        "num_frames": plan.num_frames,
        "cuts": plan.cuts,
        "stride": plan.stride,
        "fps": str(plan.fps),
        "requested_frame": plan.requested_frame,
    }


def _plan_from_json(table: Document) -> LatentPlan:
    return LatentPlan(
        table["num_frames"],
        tuple(table["cuts"]),
        table["stride"],
        Fraction(table["fps"]),
        tuple(table["requested_frame"]),
    )
