"""Shares of prompts: who runs which, and what the environment says."""

from __future__ import annotations

import pytest

from attnscope.errors import InputError
from attnscope.probing.share import Share


def test_shares_cover_every_prompt_once():
    shares = [Share(index, 3).of(range(8)) for index in range(3)]
    assert sorted(prompt for share in shares for prompt in share) == list(range(8))


def test_an_environment_that_is_none_is_refused():
    with pytest.raises(InputError, match="got RANK='one' and WORLD_SIZE='2' in the environment"):
        Share.from_environment({"RANK": "one", "WORLD_SIZE": "2"})
    with pytest.raises(InputError, match=r"0 <= index < count, got \(2, 2\)"):
        Share.from_environment({"RANK": "2", "WORLD_SIZE": "2"})
