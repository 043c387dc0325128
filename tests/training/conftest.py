from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from attnscope.testing import tiny
from attnscope.training.batches import Assembly, Order
from attnscope.training.cache import Cache
from attnscope.training.clips import DrawnFilms, FilmSize
from attnscope.training.denoisers import find_trainable
from attnscope.training.objectives import objective_of
from attnscope.training.recipe import Recipe
from attnscope.training.weights import prepare_weights

SMALL = {"rank": 4, "height": 32, "width": 32, "num_frames": 17}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def encoded(tmp_path_factory):
    """The folder of a cache for each tiny model, so that films are encoded once."""
    return {name: tmp_path_factory.mktemp(name) for name in ("wan", "lavie", "wan-i2v")}


@pytest.fixture
def assemble(encoded):
    """Builds everything that a training forward needs, on a tiny model, without the loop."""

    def build(name="wan", dtype=torch.float32, shots=(1, 2, 3), num_clips=6, **changes):
        recipe = Recipe(**(SMALL | changes))
        pipe = tiny(name)
        model = find_trainable(pipe)
        size = FilmSize(17, 32, 32, None, model.family.temporal_stride(pipe))
        cache = Cache(encoded[name], model, size)
        films, refused = cache.films(
            DrawnFilms(num_clips, shots, num_frames=17, options={"min_shot_latent_frames": 1}).clips(size)
        )
        assert refused == []
        objective = objective_of(pipe, recipe, by_flow=model.by_flow)
        assembly = Assembly(model, films, cache.text, objective, recipe)
        # encoded first, in float32, then the denoiser alone is made as exact as asked
        model.denoiser.to(dtype)
        weights = prepare_weights(model, recipe)
        order = Order(
            [film.tensors()["latents"].shape for film in films], recipe.batch_size, seed=recipe.seed
        )
        return SimpleNamespace(
            pipe=pipe,
            model=model,
            recipe=recipe,
            films=films,
            cache=cache,
            objective=objective,
            assembly=assembly,
            weights=weights,
            order=order,
        )

    return build
