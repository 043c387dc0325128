"""Choose what captions clips: nothing, an address, or a model that lies on this machine."""

from __future__ import annotations

import functools
from abc import abstractmethod
from typing import Protocol

from attnscope._types import Frames

NO_CAPTIONER = "none"


class Captioner(Protocol):
    """Something that says what is seen in pictures; ``name`` says which, with its model and its prompts."""

    name: str

    @abstractmethod
    def describe(self, pictures: Frames, prompt: str) -> str:
        """Say what is seen in pictures (N, H, W, 3), as the prompt asks for it.

        Raises
        ------
        NoAnswerError
            Nothing was said.
        """


@functools.lru_cache(maxsize=2)
def choose_captioner(place: str, model: str = "") -> Captioner:
    """Give the captioner at an address ("http://127.0.0.1:8000/v1"), or the model of that name or folder.

    ``model`` is which of its models an address is asked for, by default its first.

    Raises
    ------
    InputError
        The address is none.
    SetupError
        Nobody answers there, or no such model lies on this machine.
    """
    if "://" in place:
        from attnscope.dataset.captioning.endpoint import Endpoint

        return Endpoint(place, model)
    from attnscope.dataset.captioning.local import LocalModel

    return LocalModel(place)
