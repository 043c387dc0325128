"""Guidance in one call, text in the same attention, places in the batch: hooks hear each thing as if it were alone."""

from __future__ import annotations

import pytest
import torch

from attnscope.errors import LayoutError
from attnscope.hooks import attach, run_with_cache, run_with_hooks
from attnscope.testing import specimen, tiny


def settings(name, **changes):
    generator = torch.Generator().manual_seed(7)
    return {**specimen(name).settings, "generator": generator, **changes}


def test_a_hook_hears_one_branch_at_a_time_and_pytorch_the_whole_batch():
    pipe, heard, whole = tiny("cogvideox"), [], []
    with attach(pipe) as attachment:
        attachment.listen("blocks.0.attn.hook_q", lambda q, point: heard.append((point.call.branch, len(q))))
        point = attachment.points["blocks.0.attn.hook_q"]
        remove = point.register_forward_hook(
            lambda module, args, q: whole.append((point.call.branch, len(q)))
        )
        pipe(**settings("cogvideox"))
        remove.remove()
    assert heard == [("uncond", 1), ("cond", 1)] * 2
    assert whole == [("uncond+cond", 2)] * 2


def test_what_a_hook_writes_to_one_branch_leaves_the_other_alone():
    pipe = tiny("cogvideox")
    names = ["blocks.0.attn.hook_z", "blocks.1.attn.hook_q"]
    plain = run_with_cache(pipe, names_filter=names, **settings("cogvideox"))[1]

    def silence(z, point):
        return torch.zeros_like(z) if point.call.branch == "cond" else None

    with attach(pipe) as attachment:
        attachment.listen(names[0], silence)
        changed = run_with_cache(attachment, names_filter=names, **settings("cogvideox"))[1]
    first = {record.call.branch: index for index, record in enumerate(plain[names[1]][:2])}
    before, after = (cache[names[1]] for cache in (plain, changed))
    assert torch.equal(before[first["uncond"]].value, after[first["uncond"]].value)
    assert not torch.allclose(before[first["cond"]].value, after[first["cond"]].value)


def test_a_mask_of_one_branch_is_no_mask_of_the_other():
    pipe, seen = tiny("cogvideox"), {}

    def hide(relation, point):
        if point.call.branch == "uncond":
            return None
        relation[-1, 1] = -torch.inf  # the last frame does not see the first; group 0 is the text
        return relation

    def look(mass, point):
        seen[point.call.branch] = mass[..., -1, 1]

    run_with_hooks(
        pipe,
        fwd_hooks=[("blocks.0.attn.hook_mask", hide), ("blocks.0.attn.hook_frame_mass", look)],
        **settings("cogvideox"),
    )
    assert bool((seen["cond"] == 0).all())
    assert bool((seen["uncond"] > 0).all())


def test_places_are_averaged_in_frame_mass_and_stand_side_by_side_elsewhere():
    pipe = tiny("latte")
    names = [f"blocks.0.attn.hook_{member}" for member in ("token_frame", "frame_mass", "q")]
    cache = run_with_cache(pipe, names_filter=names, **settings("latte"))[1]
    of_place, mean, query = (cache[name][1].value for name in names)
    assert of_place.shape == (16, 2, 4, 4)  # places, heads, frames, frames
    assert query.shape == (16, 4, 2, 16)
    torch.testing.assert_close(mean, of_place.mean(0, keepdim=True))


def test_videos_with_texts_of_different_lengths_in_one_call_are_refused_where_it_matters():
    pipe = tiny("hunyuan-video")
    two = settings("hunyuan-video", prompt=["a cat", "a red ball on the beach"])
    run_with_cache(pipe, names_filter="blocks.0.attn.hook_q", **two)
    with pytest.raises(
        LayoutError, match="got 2 lengths in one batch at layer 1; give the pipeline one prompt"
    ):
        run_with_cache(pipe, names_filter="blocks.0.attn.hook_frame_mass", **two)


def test_each_video_of_mochi_has_its_own_text():
    pipe, lengths = tiny("mochi"), []
    with attach(pipe) as attachment:

        def note(mass, point):
            segments = attachment.layout.segments
            lengths.append((point.call.branch, segments[-1].kind, segments[-1].num_tokens))

        attachment.listen("blocks.0.attn.hook_frame_mass", note)
        pipe(**settings("mochi"))
    # "two shots a red ball on the beach" and the end of text; without a negative prompt the end alone
    assert lengths == [("uncond", "text", 1), ("cond", "text", 9)] * 2


def test_a_second_run_starts_again_at_step_0_where_the_pipeline_counts_nothing():
    for name in ("allegro", "ltx", "skyreels-df"):
        pipe = tiny(name)
        with attach(pipe) as attachment:
            steps = []
            attachment.on_call(lambda call, steps=steps: steps.append(call.step))
            pipe(**settings(name, guidance_scale=1.0))
            pipe(**settings(name, guidance_scale=1.0))
        assert steps == [0, 1, 0, 1], name
