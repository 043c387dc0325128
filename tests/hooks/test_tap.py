"""The tap: looks without a trace, replaces what it is told to, refuses what it cannot do."""

from __future__ import annotations

import inspect
import threading

import pytest
import torch
from diffusers.models.attention_dispatch import attention_backend
from diffusers.models.transformers import transformer_wan
from diffusers.models.transformers.transformer_wan import WanAttnProcessor

from attnscope.errors import InputError, LayoutError, MaskError, UnsupportedModelError
from attnscope.hooks import Tap, attach, attention, run_with_cache, run_with_hooks
from attnscope.testing.wan import tiny_wan

SMALL = {
    "height": 32,
    "width": 32,
    "num_frames": 13,
    "num_inference_steps": 2,
    "max_sequence_length": 6,
    "output_type": "latent",
}


@pytest.fixture
def pipe():
    return tiny_wan(2)


def run(pipe, *hooks, **changes):
    generator = torch.Generator().manual_seed(3)
    return run_with_hooks(
        pipe, "a red ball", fwd_hooks=list(hooks), generator=generator, **SMALL, **changes
    ).frames


def remember(pipe, names, *hooks):
    generator = torch.Generator().manual_seed(3)
    with attach(pipe) as attachment:
        for name, hook in hooks:
            attachment.listen(name, hook)
        return run_with_cache(attachment, "a red ball", names_filter=names, generator=generator, **SMALL)[1]


def processors(pipe):
    return [block.attn1.processor for block in pipe.transformer.blocks]


def test_expensive_points_are_computed_only_while_somebody_listens(pipe, monkeypatch):
    count = {"frame_mass": 0, "token_mass": 0, "dense_scores": 0}
    for name in count:
        original = getattr(attention, name)

        def counted(*args, name=name, original=original, **kwargs):
            count[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(attention, name, counted)
    cheap = ("q", "k", "v", "mask", "z", "out")
    run(pipe, (lambda name: name.split("hook_")[1] in cheap, lambda value, point: None))
    assert count == {"frame_mass": 0, "token_mass": 0, "dense_scores": 0}
    run(
        pipe,
        ("blocks.1.attn.hook_frame_mass", lambda v, p: None),
        ("blocks.1.attn.hook_lse", lambda v, p: None),
    )
    assert count == {"frame_mass": 4, "token_mass": 0, "dense_scores": 0}


def test_a_tap_nobody_listens_to_does_not_stand_between(pipe, monkeypatch):
    seen = []
    original = Tap.attend
    monkeypatch.setattr(
        Tap, "attend", lambda self, call: seen.append(self.site.module) or original(self, call)
    )
    run(pipe, ("blocks.1.xattn.hook_q", lambda value, point: None))
    assert set(seen) == {"blocks.1.attn2"}


def test_a_pytorch_hook_counts_as_a_listener(pipe):
    shapes = []
    with attach(pipe) as attachment:
        handle = attachment.taps[1].hook_frame_mass.register_forward_hook(
            lambda m, a, out: shapes.append(out.shape)
        )
        pipe("a cat", **SMALL)
        handle.remove()
        pipe("a cat", **SMALL)
    assert shapes == [(1, 2, 4, 4)] * 4


def test_weights_and_their_names_do_not_change_while_attached(pipe):
    before = {name: weight.clone() for name, weight in pipe.transformer.state_dict().items()}
    with attach(pipe):
        during = pipe.transformer.state_dict()
        assert list(during) == list(before)
        assert all(torch.equal(during[name], weight) for name, weight in before.items())


def test_the_tap_takes_the_arguments_of_its_processor_and_passes_settings_through(pipe):
    original = processors(pipe)[0]
    with attach(pipe) as attachment:
        first = attachment.taps[1]
        assert isinstance(first, Tap)
        assert first.inner is original
        assert inspect.signature(first.__call__) == inspect.signature(original.__call__)
        with attention_backend(
            "native"
        ):  # diffusers sets the backend for the whole process, too; this undoes it
            pipe.transformer.set_attention_backend("_native_math")
            assert original._attention_backend == first._attention_backend == "_native_math"
            first._parallel_config = None
            assert original.__dict__["_parallel_config"] is None
            run_with_hooks(
                attachment, "a cat", fwd_hooks=[("blocks.0.attn.hook_q", lambda v, p: None)], **SMALL
            )


def test_a_cache_keeps_what_it_saw_whatever_happens_to_it_later(pipe):
    def spoil(module, inputs, value):
        value.zero_()

    name = "blocks.0.attn.hook_out"
    with attach(pipe) as attachment:
        attachment.points[name].register_forward_hook(spoil)
        _, cache = run_with_cache(attachment, "a cat", names_filter=name, **SMALL)
    assert all(record.value.abs().max() > 0 for record in cache[name])


def test_a_cache_holds_a_recomputed_value_once_and_detached():
    transformer = tiny_wan(2).transformer
    transformer.enable_gradient_checkpointing()
    name, seen = "blocks.1.attn.hook_q", []
    with attach(transformer) as attachment:
        attachment.listen(name, lambda value, point: seen.append(point.call.recomputed))
        transformer.register_forward_hook(lambda module, inputs, output: output[0].sum().backward())
        video, text = torch.zeros(1, 16, 2, 4, 4), torch.zeros(1, 3, 32)
        _, cache = run_with_cache(
            attachment, video, torch.tensor([5]), text, names_filter=name, return_dict=False
        )
    assert seen == [False, True]
    assert [record.value.requires_grad for record in cache[name]] == [False]


def test_hooks_are_gone_after_a_run_on_an_open_window_also_after_an_error(pipe):
    def fail(value, point):
        raise RuntimeError("on purpose")

    with attach(pipe) as attachment:
        run_with_hooks(
            attachment, "a cat", fwd_hooks=[("blocks.0.attn.hook_q", lambda value, point: None)], **SMALL
        )
        with pytest.raises(RuntimeError, match="on purpose"):
            run_with_hooks(attachment, "a cat", fwd_hooks=[("blocks.0.attn.hook_q", fail)], **SMALL)
        assert not any(point.is_active for point in attachment.points.values())
        assert isinstance(pipe.transformer.blocks[0].attn1.processor, Tap)


def test_a_query_of_zeros_looks_everywhere_alike(pipe):
    cache = remember(
        pipe,
        ["blocks.0.attn.hook_frame_mass", "blocks.0.attn.hook_z", "blocks.0.attn.hook_v"],
        ("blocks.0.attn.hook_q", lambda value, point: torch.zeros_like(value)),
    )
    for mass, z, v in zip(*cache.values(), strict=True):
        torch.testing.assert_close(mass.value, torch.full((1, 2, 4, 4), 0.25), rtol=0, atol=1e-6)
        torch.testing.assert_close(
            z.value, v.value.mean(1, keepdim=True).expand_as(z.value), rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("member", ["v", "z", "out"])
def test_replacing_with_zeros_reaches_the_output(pipe, member):
    plain = run(pipe)
    replaced = run(pipe, (f"blocks.0.attn.hook_{member}", lambda value, point: value * 0))
    assert not torch.equal(plain, replaced)
    again = run(pipe, (f"blocks.0.attn.hook_{member}", lambda value, point: value.clone()))
    assert torch.equal(plain, again)


@pytest.mark.parametrize("in_place", [False, True])
def test_an_edited_pattern_is_the_one_that_weighs_and_is_measured(pipe, in_place):
    def first_frame_only(pattern, point):
        edited = pattern if in_place else pattern.clone()
        edited[...] = 0
        edited[..., :4] = 0.25
        return None if in_place else edited

    members = ("frame_mass", "token_frame", "z", "v")
    cache = remember(
        pipe,
        [f"blocks.0.attn.hook_{member}" for member in members],
        ("blocks.0.attn.hook_pattern", first_frame_only),
    )
    expected = torch.tensor([1.0, 0, 0, 0])
    for mass, token, z, v in zip(*cache.values(), strict=True):
        assert torch.equal(mass.value, expected.expand(1, 2, 4, 4))
        assert torch.equal(token.value, expected.expand(1, 2, 16, 4))
        wanted = v.value[:, :4].mean(1, keepdim=True).expand_as(z.value)
        torch.testing.assert_close(z.value, wanted, rtol=0, atol=1e-6)


def test_looking_at_scores_and_pattern_leaves_the_output_bit_identical(pipe):
    looks = [(lambda name: name.endswith(("scores", "pattern")), lambda value, point: None)]
    assert torch.equal(run(pipe), run(pipe, *looks))


@pytest.mark.parametrize("kind", ["soft", "hard", "per head", "cross"])
def test_a_written_mask_equals_the_same_mask_in_dense_scores(pipe, kind):
    site = "blocks.1.xattn" if kind == "cross" else "blocks.1.attn"
    columns = 6 if kind == "cross" else 4
    relation = torch.randn(4, columns, generator=torch.Generator().manual_seed(2))
    if kind == "hard":
        relation = torch.where(relation > 0.3, -torch.inf, 0.0).fill_diagonal_(0.0)
    if kind == "per head":
        relation = torch.stack([relation, torch.zeros(4, 4)])
    dense = relation.repeat_interleave(4, -2)
    dense = dense if kind == "cross" else dense.repeat_interleave(4, -1)
    written = run(pipe, (f"{site}.hook_mask", lambda value, point: value + relation))
    scored = run(pipe, (f"{site}.hook_scores", lambda value, point: value + dense))
    torch.testing.assert_close(written, scored, rtol=0, atol=1e-5)
    assert (written - run(pipe)).abs().max() > 1e-4
    mass = remember(pipe, f"{site}.hook_frame_mass", (f"{site}.hook_mask", lambda value, point: relation))
    seen = remember(pipe, f"{site}.hook_pattern", (f"{site}.hook_mask", lambda value, point: relation))
    for one, other in zip(*mass.values(), *seen.values(), strict=True):
        reduced = other.value.unflatten(-1, (columns, -1)).sum(-1).unflatten(-2, (4, -1)).mean(-2)
        torch.testing.assert_close(one.value, reduced, rtol=0, atol=1e-6)


def test_a_mask_that_hides_nothing_is_the_original_attention(pipe, monkeypatch):
    plain = run(pipe)
    monkeypatch.setattr(attention, "shot_attention", None)
    everywhere = (
        lambda name: name.endswith("hook_mask"),
        lambda value, point: torch.ones(value.shape).bool(),
    )
    assert torch.equal(plain, run(pipe, everywhere))


def test_two_pipelines_share_the_seam_and_the_last_one_closes_it(pipe):
    original, other = transformer_wan.dispatch_attention_fn, tiny_wan(1)
    first, second = attach(pipe), attach(other)
    assert transformer_wan.dispatch_attention_fn is not original
    first.detach()
    first.detach()
    assert transformer_wan.dispatch_attention_fn is not original
    masses = []
    second.listen("blocks.0.attn.hook_frame_mass", lambda value, point: masses.append(value))
    pipe("a cat", **SMALL)
    assert not masses
    other("a cat", **SMALL)
    assert len(masses) == 4
    second.detach()
    assert transformer_wan.dispatch_attention_fn is original


def test_somebody_who_wrapped_the_wrapper_is_left_alone(pipe):
    plain, original = run(pipe), transformer_wan.dispatch_attention_fn
    attachment = attach(pipe)
    ours = transformer_wan.dispatch_attention_fn

    def theirs(*args, **kwargs):
        return ours(*args, **kwargs)

    transformer_wan.dispatch_attention_fn = theirs
    try:
        attachment.detach()
        assert transformer_wan.dispatch_attention_fn is theirs
        assert torch.equal(
            pipe("a red ball", generator=torch.Generator().manual_seed(3), **SMALL).frames, plain
        )
    finally:
        transformer_wan.dispatch_attention_fn = original


@pytest.mark.parametrize("where", ["in a hook", "in another thread"])
def test_a_model_that_runs_while_a_tap_listens_is_not_heard_by_it(pipe, where):
    other, fired, videos = tiny_wan(2), [], []

    def run_other(*_):
        videos.append(other("a cat", **SMALL).frames)

    def run_other_beside(*_):
        thread = threading.Thread(target=run_other)
        thread.start()
        thread.join()

    hooks = [
        ("blocks.0.attn.hook_z", lambda value, point: fired.append((point.call.step, point.call.branch)))
    ]
    if where == "in a hook":
        hooks.append(("blocks.0.attn.hook_v", run_other))
    else:  # while the tapped processor runs, before it attends
        pipe.transformer.blocks[0].attn1.to_q.register_forward_hook(run_other_beside)
    with attach(other):
        run(pipe, *hooks)
    assert fired == [(step, branch) for step in (0, 1) for branch in ("cond", "uncond")]
    assert len(videos) == 4


def test_a_processor_set_while_attached_stays(pipe):
    own = WanAttnProcessor()
    original = processors(pipe)[1]
    with attach(pipe):
        pipe.transformer.blocks[0].attn1.set_processor(own)
    assert processors(pipe) == [own, original]


def test_attaching_twice_is_refused_and_leaves_the_first_one_whole(pipe):
    before = processors(pipe)
    with attach(pipe) as attachment:
        with pytest.raises(
            InputError, match="expected a model without taps, .* at blocks.0.attn1; use"
        ) as caught:
            attach(pipe)
        assert "\n" not in str(caught.value)
        assert processors(pipe) == list(attachment.taps.values())
    assert processors(pipe) == before


def test_an_attachment_that_fails_half_way_leaves_nothing(pipe):
    class Foreign:
        def __call__(self, attn, hidden_states, *rest):
            return hidden_states

    original = transformer_wan.dispatch_attention_fn
    foreign = pipe.transformer.blocks[1].attn1.processor = Foreign()
    first = processors(pipe)[0]
    with pytest.raises(
        UnsupportedModelError, match="or scaled_dot_product_attention, got Foreign in .*test_tap"
    ):
        attach(pipe)
    assert processors(pipe) == [first, foreign]
    assert transformer_wan.dispatch_attention_fn is original
    assert "cache_context" not in pipe.transformer.__dict__


@pytest.mark.parametrize(
    ("relation", "text"),
    [
        (torch.zeros(4, 3), r"shape \(4, 4\), .* got \(4, 3\)"),
        (torch.zeros(4, 4).bool(), "frame 0 that sees none"),
        (torch.full((4, 4), torch.nan), "got nan"),
    ],
)
def test_a_mask_that_cannot_be_is_refused(pipe, relation, text):
    with pytest.raises(MaskError, match=text) as caught:
        run(pipe, ("blocks.1.attn.hook_mask", lambda value, point: relation))
    assert "blocks.1.attn.hook_mask" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("member", ["token_frame", "lse"])
def test_a_measurement_cannot_be_replaced(pipe, member):
    with pytest.raises(
        InputError, match=f"replaces a measurement at blocks.0.attn.hook_{member}; return None"
    ):
        run(pipe, (f"blocks.0.attn.hook_{member}", lambda value, point: value * 2))


@pytest.mark.parametrize("member", ["scores", "pattern", "token_frame"])
def test_a_map_that_is_too_large_is_refused_with_its_size(pipe, monkeypatch, member):
    monkeypatch.setattr(attention, "MAX_MAP_ELEMENTS", 100)
    with pytest.raises(
        InputError, match=r"at most 100 elements, got 1 x 2 x 16 x (16|4) at blocks.0.attn"
    ) as caught:
        run(pipe, (f"blocks.0.attn.hook_{member}", lambda value, point: None))
    assert "\n" not in str(caught.value)


def test_a_layer_called_alone_has_no_frames(pipe):
    with attach(pipe) as attachment:
        attachment.listen("blocks.0.attn.hook_frame_mass", lambda value, point: None)
        with pytest.raises(LayoutError, match="expected a running denoiser"):
            pipe.transformer.blocks[0].attn1(torch.zeros(1, 16, 24))
        attachment.on_call(lambda call: pipe.transformer.blocks[0].attn1(torch.zeros(1, 5, 24)))
        with pytest.raises(
            LayoutError, match="expected 16 query tokens in 4 frames, got 5 at blocks.0.attn1"
        ):
            pipe("a cat", **SMALL)


def test_a_mask_of_the_models_own_is_measured_if_it_hides_whole_frames_and_refused_if_it_divides_them(pipe):
    attention = pipe.transformer.blocks[0].attn1
    hidden = torch.zeros(1, 16, 24)
    later = torch.ones(1, 1, 16, 16).tril().bool()
    frame = later[..., ::4, ::4].repeat_interleave(4, -1).repeat_interleave(4, -2)
    seen = []

    def call(mask):
        attachment.on_call(lambda call: attention(hidden, attention_mask=mask))
        pipe("a cat", **SMALL)

    with attach(pipe) as attachment:
        attachment.listen("blocks.0.attn.hook_frame_mass", lambda mass, point: seen.append(mass))
        call(frame)
        assert seen[0][0, 0].tolist() == [
            [1, 0, 0, 0],
            [0.5, 0.5, 0, 0],
            pytest.approx([1 / 3] * 3 + [0]),
            [0.25] * 4,
        ]
        with pytest.raises(
            UnsupportedModelError, match=r"got one of shape \(1, 1, 16, 16\) that divides them"
        ):
            call(later)


def test_a_cache_that_skips_layers_is_refused_however_it_was_switched_on(pipe):
    from diffusers.hooks import PyramidAttentionBroadcastConfig, apply_pyramid_attention_broadcast

    config = PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500
    )
    apply_pyramid_attention_broadcast(pipe.transformer, config)
    with pytest.raises(UnsupportedModelError, match=r"runs every layer at every step, .* disable_cache\(\)"):
        attach(pipe)


def test_fused_projections_offloaded_weights_and_layerwise_casting_are_seen_as_well(pipe):
    pipe.transformer.fuse_qkv_projections()
    pipe.transformer.enable_layerwise_casting(storage_dtype=torch.float16, compute_dtype=torch.float32)
    cache = remember(pipe, "blocks.1.attn.hook_frame_mass")["blocks.1.attn.hook_frame_mass"]
    assert all(torch.allclose(record.value.sum(-1), torch.ones(1, 2, 4)) for record in cache)
