"""Every family proves every clause of the family contract on a tiny random model."""

from __future__ import annotations

import pytest
import torch

from attnscope.errors import UnknownModelError, UnsupportedModelError
from attnscope.families import FAMILIES, Wan, find
from attnscope.testing import TINY_MODELS, specimen, tiny
from attnscope.testing.contract import clauses


@pytest.mark.parametrize("clause", clauses)
@pytest.mark.parametrize("name", TINY_MODELS)
def test_clause_holds(name, clause):
    verdict = clauses[clause](specimen(name))
    print(f"{name}: {clause}: {verdict.detail}")
    assert verdict.holds, verdict.detail


def test_every_family_has_a_specimen_and_there_are_nine_clauses():
    assert {type(specimen(name).family) for name in TINY_MODELS} == {type(family) for family in FAMILIES}
    assert len(clauses) == 9


def test_a_family_is_found_by_its_classes_and_an_unknown_model_is_named():
    pipe = tiny("wan")
    assert isinstance(find(pipe), Wan)
    assert isinstance(find(pipe.transformer), Wan)
    with pytest.raises(UnsupportedModelError, match=r"families Wan, .*, got Linear in") as caught:
        find(torch.nn.Linear(1, 1))
    assert "\n" not in str(caught.value)


def test_a_tiny_model_nobody_knows_is_refused_with_a_near_name():
    with pytest.raises(UnknownModelError, match="did you mean cogvideox?"):
        tiny("cogvideo")
