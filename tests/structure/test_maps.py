"""with_cuts."""

import pytest

from attnscope.errors import SchemaError
from attnscope.shots import ShotPlan
from attnscope.structure import with_cuts
from attnscope.testing.synthetic import block_attention


def test_cuts_of_the_pictures_go_to_the_nearest_latent_frame() -> None:
    """Frames 0, 1-4, 5-8, 9-12 of four latent frames: a cut at 8 is that at 9, one at 4 or 6 that at 5."""
    dataset = block_attention(ShotPlan.from_frames([5], num_frames=13, fps=16).to_latent())
    shots = {cut: with_cuts(dataset, [[cut]]).query_shot.values.tolist() for cut in (1, 3, 4, 6, 8, 12)}
    assert shots[1] == shots[3] == [0, 1, 1, 1]
    assert shots[4] == shots[6] == [0, 0, 1, 1]
    assert shots[8] == shots[12] == [0, 0, 0, 1]
    assert with_cuts(dataset, [[]]).query_shot.values.tolist() == [0, 0, 0, 0]
    assert with_cuts(dataset, [[8, 9, 5]]).key_shot.values.tolist() == [0, 0, 1, 2]
    for wrong in ([[13]], [[0]], [], [[5], [5]]):
        with pytest.raises(SchemaError, match="expected cuts within 13 frames for each of 1 prompts"):
            with_cuts(dataset, wrong)
