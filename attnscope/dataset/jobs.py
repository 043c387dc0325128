"""The work on one source, as any executor does it: a job in, one line out, the result in a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from attnscope.dataset.caption import caption
from attnscope.dataset.captioning.choosing import choose_captioner
from attnscope.dataset.defade import defade
from attnscope.dataset.export import export
from attnscope.dataset.kept import Caption, Finished, Joined, Said, load_kept, save_kept
from attnscope.dataset.likeness import scene_encoder
from attnscope.dataset.rows import Clip, identify
from attnscope.dataset.settings import Settings, bind_cutting, bind_joining
from attnscope.dataset.sources import identify_source
from attnscope.dataset.split import split
from attnscope.dataset.stitch import stitch
from attnscope.errors import AttnscopeError
from attnscope.metrics.encoders.registry import Missing, find_encoder
from attnscope.metrics.scoring.workers import attempt


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be done with one source: the folders, the settings, and for the later rounds what was decided.

    ``taken`` are the numbers of the candidates that are cut out, ``joined`` the result that holds them, ``finished``
    that which holds the clips; ``captioner`` is what says something of them.
    """

    file: str
    folder: str
    out: str
    settings: Settings
    joined: str = ""
    taken: tuple[int, ...] = ()
    finished: str = ""
    captioner: str = "none"
    captioner_model: str = ""


class Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a job ended: the key of its result; for a source that could not be worked on, why."""

    status: Literal["ok", "failed"]
    key: str = ""
    error: str = ""


def join_source(job: Job) -> Done:
    """Split a source and stitch its pieces into candidates."""
    return _answer(job, lambda: _join(job))


def finish_source(job: Job) -> Done:
    """Cut the candidates that were taken out of a source."""
    return _answer(job, lambda: _finish(job))


def caption_source(job: Job) -> Done:
    """Say something of the clips of a source."""
    return _answer(job, lambda: _say(job))


def find_contract(settings: Settings) -> str:
    """The contract of the first round: settings, encoders and their weights."""
    encoder, aesthetic = scene_encoder(), find_encoder("aesthetic")
    judge = "none" if isinstance(aesthetic, Missing) else f"{aesthetic.name} {aesthetic.weights_sha256}"
    return bind_joining(settings, f"{encoder.name} {encoder.weights_sha256}", judge)


def _answer(job: Job, work: Callable[[], Done]) -> Done:
    done = attempt(work, job.file)
    return (
        Done("failed", error=_without(Path(job.folder), done)) if isinstance(done, AttnscopeError) else done
    )


def _join(job: Job) -> Done:
    folder, out = Path(job.folder), Path(job.out)
    source = identify_source(folder, job.file)
    contract = find_contract(job.settings)
    key = identify(contract, source.source_id)
    if load_kept(out, "joined", key, Joined) is None:
        (film,) = split(source, job.settings, folder)
        save_kept(out, "joined", key, Joined(film, tuple(stitch(film, job.settings, contract))))
    return Done("ok", key)


def _finish(job: Job) -> Done:
    folder, out = Path(job.folder), Path(job.out)
    contract = bind_cutting(job.settings, job.joined)
    key = identify(contract, *job.taken)
    kept = load_kept(out, "finished", key, Finished)
    if kept is not None and all(_is_there(clip, out) for clip in kept.clips):
        return Done("ok", key)
    joined = load_kept(out, "joined", job.joined, Joined)
    assert joined is not None, "the first round has just written it"
    clips = tuple(_cut(joined.candidates[index], job.settings, folder, out) for index in job.taken)
    is_whole = not any(clip.uri is None and clip.decision == "kept" for clip in clips)
    return _keep(out, "finished", key, Finished(tuple(map(_decide, clips))), is_whole=is_whole)


def _cut(clip: Clip, settings: Settings, folder: Path, out: Path) -> Clip:
    """Cut out one candidate; where that fails it has neither a file nor a decision against it, but the reason."""

    def work() -> Clip:
        (exact,) = defade(clip, settings, folder)
        (done,) = export(exact, settings, folder, out)
        return done

    done = attempt(work, clip.file)
    if isinstance(done, AttnscopeError):
        return msgspec.structs.replace(clip, reasons=(f"it could not be cut out: {_without(folder, done)}",))
    return done


def _decide(clip: Clip) -> Clip:
    """A clip that should be there and has no file was not made; its reasons say why."""
    return clip if clip.uri else msgspec.structs.replace(clip, decision="dropped")


def _keep(out: Path, stage: str, key: str, result: msgspec.Struct, *, is_whole: bool) -> Done:
    """Keep a result; what failed in part is kept beside, and tried again the next time."""
    key = key if is_whole else f"{key}-failed"
    save_kept(out, stage, key, result)
    return Done("ok", key)


def _is_there(clip: Clip, out: Path) -> bool:
    return clip.uri is None or (out / clip.uri).is_file()


def _say(job: Job) -> Done:
    out = Path(job.out)
    captioner = choose_captioner(job.captioner, job.captioner_model)
    key = identify(job.finished, captioner.name)
    if load_kept(out, "said", key, Said) is not None:
        return Done("ok", key)
    finished = load_kept(out, "finished", job.finished, Finished)
    assert finished is not None, "the second round has just written it"
    said = [done for clip in finished.clips if clip.uri for done in caption(clip, captioner, out)]
    captions = tuple(_as_caption(clip) for clip in said)
    is_whole = all(each.state == "ok" for each in captions)
    return _keep(out, "said", key, Said(captions), is_whole=is_whole)


def _as_caption(clip: Clip) -> Caption:
    shots = tuple(shot.caption or "" for shot in clip.shots)
    return Caption(clip.clip_id, clip.caption_state, clip.caption, shots, clip.captioner, clip.caption_reason)


def _without(folder: Path, error: AttnscopeError) -> str:
    """What went wrong, without the place of the films: that is nobody's business who reads the table."""
    return str(error).replace(f"{str(folder).rstrip('/')}/", "")
