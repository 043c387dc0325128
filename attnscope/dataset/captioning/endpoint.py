"""Ask a server that speaks as OpenAI's does (vLLM, SGLang, llama.cpp, Ollama), on this machine or one the user named.

Pictures go to the address that was given and to no other: it is not followed when it sends elsewhere.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException, HTTPMessage
from typing import IO, TypeVar

import msgspec
from typing_extensions import override

from attnscope._types import Document, Frames
from attnscope.errors import InputError, SetupError, one_line, quote
from attnscope.video.stills import embed_jpeg

KEY_VARIABLE = "ATTNSCOPE_CAPTION_KEY"
"""The environment variable that holds the key of the server, where it asks for one."""

Reply = TypeVar("Reply")

_TRIES, _FIRST_PAUSE_S, _PATIENCE_S = 4, 0.5, 300.0
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_MOST_BYTES = 1 << 22
_MOST_TOKENS = 512


class NoAnswerError(Exception):
    """Why nothing was said: the sentence that a clip without captions carries as its reason."""


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    choices: tuple[_Choice, ...]


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: tuple[_Model, ...]


class Endpoint:
    """A server that is asked picture by picture; what it refuses for a moment is asked again, a little later each time.

    Parameters
    ----------
    address : str
        Where it is, up to and with ``/v1``.
    model : str
        Which of its models is asked; its first where none is named.

    Raises
    ------
    InputError
        The address is none of http or https.
    SetupError
        Nobody answers there.
    """

    def __init__(self, address: str, model: str = "") -> None:
        parts = urllib.parse.urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise InputError(
                expected="an address as http://127.0.0.1:8000/v1",
                got=quote(address),
                where="as --caption",
                remedy=f"write it so, and a key into {KEY_VARIABLE}",
            )
        self._address = address.rstrip("/")
        self._open = urllib.request.build_opener(_StayHere).open
        try:
            self._model = model or self._first_model()
        except NoAnswerError as error:
            raise SetupError(
                expected="a server that lists its models",
                got=str(error),
                where=f"at {self._address}",
                remedy="start it, or name its model with --caption-model",
            ) from error
        self.name = f"{self._model} at {parts.hostname}"

    def describe(self, pictures: Frames, prompt: str) -> str:
        """Say what is seen in pictures; see :class:`attnscope.dataset.captioning.choosing.Captioner`."""
        content = [{"type": "text", "text": prompt}, *map(_as_part, pictures)]
        asked = {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": _MOST_TOKENS,
        }
        answer = self._ask("chat/completions", asked, _Answer)
        text = one_line(answer.choices[0].message.content or "").strip() if answer.choices else ""
        if not text:
            raise NoAnswerError("the server answered without a text")
        if answer.choices[0].finish_reason == "length":
            raise NoAnswerError(f"the answer was cut off after {_MOST_TOKENS} tokens")
        return text

    def _first_model(self) -> str:
        models = self._ask("models", None, _Models).data
        if not models:
            raise NoAnswerError("it lists no model")
        return models[0].id

    def _ask(self, path: str, document: Document | None, kind: type[Reply]) -> Reply:
        pause_s = _FIRST_PAUSE_S
        for attempt in range(_TRIES):
            try:
                with self._open(self._request(path, document), timeout=_PATIENCE_S) as reply:
                    return msgspec.json.decode(reply.read(_MOST_BYTES), type=kind)
            except urllib.error.HTTPError as error:
                reason, again = f"the server answered {error.code}", error.code in _AGAIN
                error.close()
            except (OSError, HTTPException) as error:
                reason, again = f"the server was not reached: {one_line(str(error))}", True
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                reason, again = f"the answer cannot be read: {one_line(str(error))}", False
            if not again or attempt == _TRIES - 1:
                break
            time.sleep(pause_s)
            pause_s *= 2
        raise NoAnswerError(reason)

    def _request(self, path: str, document: Document | None) -> urllib.request.Request:
        headers = {"Content-Type": "application/json", "User-Agent": "attnscope"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        body = None if document is None else json.dumps(document).encode()
        return urllib.request.Request(f"{self._address}/{path}", body, headers)


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: pictures and key are for the server that was named."""

    @override
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        # no request to follow: the redirection becomes an error of its own
        return None


def _as_part(picture: Frames) -> Document:
    return {"type": "image_url", "image_url": {"url": embed_jpeg(picture, quality=85)}}
