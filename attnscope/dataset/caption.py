"""Say what is seen in a clip: once as a whole, once for each shot. Nothing is ever said that no model said.

Where there is no captioner the state is "skipped"; where one fails it is "failed", with the reason, and there is no
text.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from attnscope._types import Frames
from attnscope.dataset.captioning.choosing import Captioner
from attnscope.dataset.captioning.endpoint import NoAnswerError
from attnscope.dataset.rows import Clip
from attnscope.storage.confined import confine
from attnscope.video.streams import FileVideo

GENERAL = (
    "These are {num} frames of one video of {shots} shots, in order. Describe the whole video in one paragraph: who "
    "and what is seen, the place, the light, what happens, and how one shot leads to the next."
)
OF_SHOT = (
    "These are {num} frames of one shot of a video, in order. Describe this shot in one or two sentences: who and what "
    "is seen, the place, the framing, and how subject and camera move. Do not mention frames or shots."
)

_NUM_GENERAL, _NUM_OF_SHOT = 8, 4
_LONGER_SIDE = 512


def caption(clip: Clip, captioner: Captioner, out: Path) -> list[Clip]:
    """Say what is seen in a clip, as a whole and shot by shot.

    Parameters
    ----------
    clip : Clip
        One that has a file; any other is given back as it is.
    captioner : Captioner
        What is asked.
    out : Path
        The dataset.

    Returns
    -------
    list of Clip
        One, with its captions, or with the reason why there are none.

    Raises
    ------
    VideoError
        The file of the clip cannot be read.
    """
    if clip.uri is None:
        return [clip]
    video = FileVideo(confine(out, clip.uri))
    spans = [(0, clip.num_frames), *((shot.start_frame, shot.stop_frame) for shot in clip.shots)]
    texts = []
    try:
        for index, (start, stop) in enumerate(spans):
            pictures = _pictures(video, start, stop, _NUM_OF_SHOT if index else _NUM_GENERAL)
            prompt = (OF_SHOT if index else GENERAL).format(num=len(pictures), shots=len(clip.shots))
            texts.append(captioner.describe(pictures, prompt))
    except NoAnswerError as error:
        return [
            msgspec.structs.replace(
                clip, caption_state="failed", caption_reason=str(error), captioner=captioner.name
            )
        ]
    shots = tuple(
        msgspec.structs.replace(shot, caption=text) for shot, text in zip(clip.shots, texts[1:], strict=True)
    )
    return [
        msgspec.structs.replace(
            clip, shots=shots, caption=texts[0], caption_state="ok", captioner=captioner.name
        )
    ]


def _pictures(video: FileVideo, start: int, stop: int, num: int) -> Frames:
    """Take a few frames of a stretch, each in the middle of its part."""
    num = min(num, stop - start)
    indices = [start + int((place + 0.5) * (stop - start) / num) for place in range(num)]
    share = min(1.0, _LONGER_SIDE / max(video.size))
    height, width = (max(2, round(side * share)) for side in video.size)
    return np.concatenate(list(video.batches(indices, height=height, width=width)))
