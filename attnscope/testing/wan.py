"""Tiny Wan pipelines: 2.1 with one transformer, 2.2 with two."""

from __future__ import annotations

import functools

from attnscope.families import Wan
from attnscope.families._specimen import Specimen
from attnscope.families._tiny import tiny_wan
from attnscope.testing._building import small_settings

SETTINGS = small_settings(num_frames=17, height=64, width=64, max_sequence_length=9)
SPECIMENS = {
    "wan": Specimen(Wan(), functools.partial(tiny_wan, 2), SETTINGS),
    "wan-2.2": Specimen(Wan(), functools.partial(tiny_wan, 2, two_stages=True), SETTINGS),
}
