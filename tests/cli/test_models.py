"""`attnscope models`: what comes with the package."""

from __future__ import annotations

import json
from typing import Any

from attnscope.models import list_models


def test_every_embedded_model_is_listed(run: Any) -> None:
    outcome = run("models", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)["models"]
    assert [model["name"] for model in found] == [card.name for card in list_models()]
    assert [model["num_layers"] for model in found] == [card.num_layers for card in list_models()]


def test_a_table_for_people(run: Any) -> None:
    outcome = run("models")
    assert (outcome.code, outcome.err) == (0, "")
    assert all(card.name in outcome.out for card in list_models())
