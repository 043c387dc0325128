"""The template family is a family: it proves the contract, and says what docs/families.md says."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from attnscope import families
from attnscope.testing.proving import prove

ROOT = Path(__file__).parents[2]


@pytest.fixture
def template(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    module = importlib.import_module("template_tiny")
    monkeypatch.setattr(families, "FAMILIES", (module.MyFamily(), *families.FAMILIES))
    return module


def test_the_template_holds_every_clause(template):
    (model,) = template.SPECIMENS.values()
    assert families.find(model.build()).name == "MyVideo"
    found = prove(model)
    assert {name: verdict.detail for name, verdict in found.items() if not verdict.holds} == {}
    assert len(found) == 9


def test_a_clause_that_breaks_does_not_hold_and_says_how(template):
    (model,) = template.SPECIMENS.values()
    broken = prove(type(model)(**{**vars(model), "settings": {**model.settings, "num_frames": "many"}}))
    assert not any(verdict.holds for name, verdict in broken.items() if name != "what_cannot_be_is_refused")
    assert "TypeError" in broken["only_looking_changes_nothing"].detail
