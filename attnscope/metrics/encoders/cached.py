"""Load the paper's picture encoders out of the user's model cache: safetensors only, and never from the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from attnscope._types import Frames

_CLASSES = {
    "dinov2": "Dinov2Model",
    "clip": "CLIPVisionModelWithProjection",
    "aesthetic": "CLIPVisionModelWithProjection",
}


class UnavailableError(Exception):
    """Why an encoder cannot be had: the sentence that a value without it carries as its reason."""


def has(repository: str, cache_dir: Path | None) -> bool:
    """Say whether the cache holds the weights of a repository as safetensors."""
    return _weights(repository, cache_dir) is not None


def _weights(repository: str, cache_dir: Path | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache  # transformers takes a second to say the same

    found = try_to_load_from_cache(repository, "model.safetensors", cache_dir=cache_dir)
    return Path(found) if isinstance(found, str) else None


def load(repository: str, kind: str, cache_dir: Path | None, name: str) -> tuple[Any, list[Path]]:
    """Give the model and the files its weights came from.

    Raises
    ------
    UnavailableError
        The cache does not hold it as safetensors.
    """
    found = _weights(repository, cache_dir)
    if found is None:
        raise UnavailableError(f"{name} is not in the local model cache as safetensors")
    transformers = import_module("transformers")
    options: dict[str, object] = {"cache_dir": cache_dir, "local_files_only": True}
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = getattr(transformers, _CLASSES[kind]).from_pretrained(
            repository, use_safetensors=True, trust_remote_code=False, **options
        )
    except OSError as error:
        raise UnavailableError(f"{name} lies incomplete in the local model cache") from error
    finally:
        if shown:
            logging.enable_progress_bar()
    return model.eval(), [found]


def aesthetic_judge(
    encode: Callable[[Frames], npt.NDArray[np.float32]], weights: Path, name: str
) -> Callable[[Frames], npt.NDArray[np.float32]]:
    """Return what judges pictures, (N, 1): a linear layer on CLIP vectors of length 1, a tenth of its marks of 1 to 10.

    Raises
    ------
    UnavailableError
        The file holds no such layer.
    """
    from safetensors.numpy import load_file

    arrays = load_file(weights)
    try:
        weight, bias = arrays["predictor.weight"], arrays["predictor.bias"]
    except KeyError as error:
        raise UnavailableError(f"{name} lies in the local model cache without its linear layer") from error

    def judge(frames: Frames) -> npt.NDArray[np.float32]:
        vectors = encode(frames)
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray((vectors @ weight.T + bias) / 10, np.float32)

    return judge


def picture_encoder(
    model: Callable[..., Any], kind: str, mean: Sequence[float], deviation: Sequence[float]
) -> Callable[[Frames], npt.NDArray[np.float32]]:
    """Return what gives pictures (N, H, W, 3) their vectors (N, D): the class token, or CLIP's projection."""
    torch = import_module("torch")
    centre = torch.tensor(mean).view(1, 3, 1, 1)
    spread = torch.tensor(deviation).view(1, 3, 1, 1)

    def encode(frames: Frames) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(frames)).float().div(255).permute(0, 3, 1, 2)
            answer = model(pixel_values=(x - centre) / spread)
            vectors = answer.last_hidden_state[:, 0] if kind == "dinov2" else answer.image_embeds
        return np.asarray(vectors.numpy(), np.float32)

    return encode
