"""Ask a model of transformers that lies on this machine: a folder, or a name in the local model cache.

Weights are read as safetensors, code that comes with them is not run, and nothing is fetched.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

from attnscope._types import Frames
from attnscope.dataset.captioning.endpoint import NoAnswerError
from attnscope.errors import SetupError, one_line, quote

_MOST_TOKENS = 512


class LocalModel:
    """A vision-language model of transformers, asked with greedy decoding, so that it says the same again.

    Raises
    ------
    SetupError
        No such model lies on this machine, or it needs code of its own.
    """

    def __init__(self, model: str) -> None:
        transformers: Any = import_module("transformers")  # untyped calls
        try:
            self._processor = transformers.AutoProcessor.from_pretrained(
                model, local_files_only=True, trust_remote_code=False
            )
            loaded = transformers.AutoModelForImageTextToText.from_pretrained(
                model, local_files_only=True, trust_remote_code=False, use_safetensors=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise SetupError(
                expected="a vision-language model of transformers on this machine",
                got=f"{quote(model)}, of which transformers says {quote(one_line(str(error)), 160)}",
                where="as --caption",
                remedy="fetch it first, or name an address",
            ) from error
        self._model = loaded.eval()
        self.name = f"{Path(model).name} {_digest(loaded.config.to_json_string())}"

    def describe(self, pictures: Frames, prompt: str) -> str:
        """Say what is seen in pictures; see :class:`attnscope.dataset.captioning.choosing.Captioner`."""
        from PIL import Image

        torch: Any = import_module("torch")
        images = [Image.fromarray(picture) for picture in pictures]
        content = [*({"type": "image"} for _ in images), {"type": "text", "text": prompt}]
        text = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        inputs = self._processor(text=text, images=images, return_tensors="pt").to(self._model.device)
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, do_sample=False, max_new_tokens=_MOST_TOKENS)
        new = tokens[0, inputs["input_ids"].shape[1] :]
        said = one_line(self._processor.decode(new, skip_special_tokens=True)).strip()
        if not said:
            raise NoAnswerError("the model said nothing")
        return said


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
