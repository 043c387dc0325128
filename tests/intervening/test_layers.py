"""In which layers a mask acts where nobody says."""

from __future__ import annotations

import pytest

from attnscope import load
from attnscope.errors import RangeError
from attnscope.intervening.layers import choose_layers
from attnscope.testing import tiny


@pytest.mark.parametrize(("name", "layers"), [("wan-mini", range(7, 29)), ("unet-mini", range(6, 12))])
def test_the_layers_are_those_published_for_the_architecture(name: str, layers: range) -> None:
    assert choose_layers(load(name)) == [*layers]


def test_a_shallow_model_is_masked_whole_and_layers_asked_for_are_taken() -> None:
    pipe = tiny("wan")
    assert choose_layers(pipe) == [1, 2]
    assert choose_layers(pipe, "-1:") == [2]
    with pytest.raises(RangeError, match="expected layers among 1-2, got 3"):
        choose_layers(pipe, "3")
