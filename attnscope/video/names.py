"""What video files are called: the endings that are looked for in folders, and names made fit to print."""

from __future__ import annotations

import os
from pathlib import Path

_CONTAINERS = """
3g2 3gp amv asf avi dav dif divx dv dvd evo f4v flm flv gif gxf ism ismv ivf ivr k3g kux lvf m2t m2ts m4v mj2 mk3d
mkv mods moflex mov mp4 mpe mpeg mpg mpv mts mvi mxf mxg nsv nut ogm ogv ogx pmp psp qt rm rmvb roq swf thp tod ts
ty usm vob vro webm wmv wtv xmv y4m yop
"""
_RAW_STREAMS = """
264 265 266 apv avc avs2 avs3 cavs drc evc h261 h263 h264 h265 h266 h26l hevc ipu j2k jpv m1v m2v mjpeg mjpg obu vc1
vc2 vvc
"""

VIDEO_ENDINGS = frozenset(f".{ending}" for ending in (_CONTAINERS + _RAW_STREAMS).split())
"""Endings of the video files that FFmpeg reads. Left out is what holds sound, text, subtitles or single pictures, and
what is a list of other files. A file that is named itself is tried whatever its ending."""


def is_video_name(path: str | os.PathLike[str]) -> bool:
    """Say whether a file in a folder is taken for a video.

    >>> is_video_name("clip.M2TS"), is_video_name("notes.txt")
    (True, False)
    """
    return Path(path).suffix.lower() in VIDEO_ENDINGS


def escape_name(path: str | os.PathLike[str]) -> str:
    r"""Write a file name so that every table and terminal can show it.

    Bytes that are no UTF-8 and control characters are shown as their code, so that different names stay different;
    everything else stays as it is.

    >>> escape_name(b"caf\xe9.mp4".decode("utf-8", "surrogateescape"))
    'caf\\xe9.mp4'
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    # below the blank, and from DEL to where Latin letters begin, lie the control characters
    return "".join(sign if " " <= sign < "\x7f" or sign >= "\xa0" else f"\\x{ord(sign):02x}" for sign in text)
