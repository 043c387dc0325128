"""Put the results of the rounds together: the row of every source, and of every candidate whatever became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from attnscope.dataset.jobs import Done
from attnscope.dataset.kept import Caption, Finished, Joined, Said, load_kept
from attnscope.dataset.published.tables import SourceRow
from attnscope.dataset.rows import Clip
from attnscope.dataset.screen import Standards, screen
from attnscope.dataset.settings import Settings
from attnscope.errors import StoreError
from attnscope.storage.sealed import Body
from attnscope.video.names import escape_name


@dataclass(frozen=True)
class Ends:
    """How the rounds of one source ended; a round that had nothing to do is None."""

    file: str
    joined: Done
    finished: Done | None = None
    said: Done | None = None


class Assembly:
    """Reads the results that lie in a dataset, source by source: no more than one of them is in memory."""

    def __init__(self, out: Path, settings: Settings) -> None:
        self._out, self._settings = out, settings
        self.standards = Standards()

    def candidates(self, ends: Ends) -> tuple[Clip, ...]:
        """Give the candidates of a source as they were joined; none where that failed."""
        return self._load("joined", ends.joined, Joined).candidates if ends.joined.status == "ok" else ()

    def screen_candidates(self, ends: Ends) -> Iterator[Clip]:
        """Give the candidates of a source as they were screened."""
        for clip in self.candidates(ends):
            yield from screen(clip, self._settings, self.standards)

    def choose_taken(self, ends: Ends) -> tuple[int, ...]:
        """Give the numbers of the candidates that are cut out."""
        return tuple(
            index for index, clip in enumerate(self.screen_candidates(ends)) if clip.decision == "kept"
        )

    def rows(self, ends: Ends) -> tuple[SourceRow, list[Clip]]:
        """Give the row of a source, and those of its candidates in order."""
        if ends.joined.status == "failed":
            return SourceRow(escape_name(ends.file), "failed", ends.joined.error), []
        film = self._load("joined", ends.joined, Joined).film
        clips = [self._final(clip, ends) for clip in self.screen_candidates(ends)]
        row = SourceRow(
            file=film.source.file,
            status="ok",
            error=None,
            source_id=film.source.source_id,
            sha256=film.source.sha256,
            num_bytes=film.source.num_bytes,
            num_frames=film.num_frames,
            fps=film.fps,
            width=film.width,
            height=film.height,
            first_stamp=film.first_stamp,
            num_pieces=len(film.pieces),
            num_candidates=len(clips),
            num_clips=sum(clip.uri is not None for clip in clips),
        )
        return row, clips

    def _final(self, clip: Clip, ends: Ends) -> Clip:
        """What became of a candidate in the later rounds."""
        if clip.decision == "dropped" or ends.finished is None:
            return clip
        if ends.finished.status == "failed":
            return clip.drop(f"it could not be cut out: {ends.finished.error}")
        finished = self._load("finished", ends.finished, Finished).clips
        clip = next(each for each in finished if each.clip_id == clip.clip_id)
        if ends.said is None or clip.uri is None:
            return clip
        if ends.said.status == "failed":
            return msgspec.structs.replace(
                clip, caption_state="failed", caption_reason=f"nothing was said: {ends.said.error}"
            )
        said = {each.clip_id: each for each in self._load("said", ends.said, Said).captions}
        return _with_caption(clip, said)

    def _load(self, stage: str, done: Done, body: type[Body]) -> Body:
        kept = load_kept(self._out, stage, done.key, body)
        if kept is None:
            raise StoreError(
                expected=f"the result {done.key}, which was just written",
                got="none",
                where=f"in {self._out}",
                remedy="run the same command again, and give each build a folder of its own",
            )
        return kept


def _with_caption(clip: Clip, said: Mapping[str, Caption]) -> Clip:
    caption = said[clip.clip_id]
    texts = caption.shots if caption.state == "ok" else (None,) * len(clip.shots)
    shots = tuple(
        msgspec.structs.replace(shot, caption=text) for shot, text in zip(clip.shots, texts, strict=True)
    )
    return msgspec.structs.replace(
        clip,
        shots=shots,
        caption=caption.general,
        caption_state=caption.state,
        caption_reason=caption.reason,
        captioner=caption.captioner,
    )
