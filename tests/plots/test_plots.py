"""What the figures draw, and that the files are the same every time."""

import hashlib
import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import xarray as xr

from attnscope import plots, synthetic
from attnscope.errors import InputError
from attnscope.plots import _theme
from attnscope.plots._panels import shared_scale
from attnscope.plots._view import choose_labels, view_of
from attnscope.plots.interactive import figure_maps
from attnscope.shots import ShotPlan


@pytest.fixture
def ds() -> xr.Dataset:
    """Two shots of 5 and 6 latent frames, 6 layers, 7 steps, 2 heads."""
    plan = ShotPlan.from_latent_frames([5], num_frames_latent=11, fps=16).to_latent()
    return synthetic.block_attention(plan, num_layers=6, num_steps=7, noise=0.3, locality=0.2)


def curve(mean, spread=0.1, first=1) -> xr.Dataset:
    """A curve as structure.profile returns it."""
    mean = np.asarray(mean, dtype=float)
    data = {"mean": ("layer", mean), "low": ("layer", mean - spread), "high": ("layer", mean + spread)}
    return xr.Dataset(data, {"layer": np.arange(first, first + len(mean))})


def squares(fig):
    return [ax for ax in fig.axes if ax.images]


def test_grid_shows_the_maps_it_names(ds):
    fig = plots.plot_maps(ds, layers=[2, 5], steps=[0, 3, 6])
    panels = squares(fig)
    assert [ax.get_title().split("\n")[0] for ax in panels[:3]] == ["step 0", "step 3", "step 6"]
    assert panels[1].get_title().split("\n")[1] == f"σ = {float(ds.sigma.sel(step=3)):.2f}"
    for ax, (layer, step) in zip(panels, [(a, b) for a in (2, 5) for b in (0, 3, 6)], strict=True):
        expected = ds.mass.sel(layer=layer, step=step).isel(prompt=0, branch=0).mean("head")
        np.testing.assert_allclose(ax.images[0].get_array(), expected, rtol=1e-6)
    texts = [text.get_text() for ax in panels for text in ax.texts]
    assert [text for text in texts if text.startswith("layer")] == ["layer 2", "layer 5"]


def test_one_scale_for_all_maps_and_it_says_what_it_is(ds):
    fig = plots.plot_maps(ds)
    norms = {(ax.images[0].norm.vmin, ax.images[0].norm.vmax) for ax in squares(fig)}
    assert len(norms) == 1
    assert len(squares(fig)) == 20
    (label,) = {ax.get_ylabel() for ax in fig.axes if "share" in ax.get_ylabel()}
    assert "share of the query frame's attention (log scale; mean over 2 heads)" in label.replace("\n", " ")
    one = plots.plot_maps(ds, head=1)
    assert any("head 1)" in ax.get_ylabel() for ax in one.axes)


def test_cuts_and_shots_are_where_the_plan_has_them(ds):
    ax = squares(plots.plot_maps(ds, layers=[1], steps=[0]))[0]
    vertical = [line.get_xdata()[0] for line in ax.lines if line.get_xdata()[0] == line.get_xdata()[1]]
    assert vertical == [4.5]
    bars = [
        (patch.get_x(), patch.get_width())
        for patch in ax.patches
        if patch.get_y() < -0.01 and patch.get_x() >= -0.5
    ]
    assert (-0.5, 5) in bars
    assert (4.5, 6) in bars
    assert list(ax.get_xticks()) == [0, 5, 10]


def test_each_prompt_has_its_own_cuts(ds):
    both = xr.concat([ds, ds.assign_coords(prompt=["other"])], "prompt")
    shots = np.stack([ds.query_shot.values, (np.arange(11) >= 3).astype(int)])
    both = both.drop_vars(["query_shot", "key_shot"]).assign_coords(
        query_shot=(("prompt", "query_frame"), shots)
    )
    assert view_of(both).cuts == [5]
    assert view_of(both, prompt="other").cuts == [3]


def test_without_a_plan_no_cut_is_drawn(ds):
    bare = ds.assign_coords(query_shot=("query_frame", np.full(11, -1)))
    ax = squares(plots.plot_maps(bare, layers=[1], steps=[0]))[0]
    assert not ax.lines
    assert not ax.patches


def test_labels_are_spread_with_both_ends(ds):
    view = view_of(ds)
    assert choose_labels(view, "layer", None, at_most=4) == [1, 3, 4, 6]
    assert choose_labels(view, "step", None, at_most=9) == [0, 1, 2, 3, 4, 5, 6]


def test_zeros_missing_maps_and_flat_maps_are_drawn(ds, tmp_path):
    masked = ds.copy(deep=True)
    masked.mass[:, 0, :, :, :, :5, 5:] = 0
    masked.mass[:, 1] = np.nan
    fig = plots.plot_maps(masked, layers=[1], steps=[0, 1])
    image = squares(fig)[0].images[0]
    assert image.get_array()[0, 10] < image.norm.vmin
    assert tuple(image.cmap.get_under()) == matplotlib.colors.to_rgba(_theme.BELOW_SCALE)
    plots.save_figure(fig, tmp_path / "masked")
    for value in (0.2, 0.0, np.nan):
        norm = shared_scale([np.full((3, 3), value)])
        assert 0 < norm.vmin < norm.vmax
        flat = ds.assign(mass=ds.mass * 0 + np.float32(value))
        plots.save_figure(plots.plot_maps(flat, layers=[1], steps=[0]), tmp_path / "flat")


def test_profile_draws_the_curves_and_bands_it_is_given():
    fig = plots.plot_profile(
        curve([2, 4, 8]),
        curve([0.5, 0.6, 0.7]),
        adjusted=curve([0, 0.1, 0.2]),
        distance_only=curve([1, 2, 3]),
        band=(2, 3),
    )
    upper, lower = fig.axes
    assert upper.get_yscale() == "log"
    assert [2, 4, 8] in [list(line.get_ydata()) for line in upper.lines]
    assert [text.get_text() for text in lower.get_legend().get_texts()] == [
        "raw (locality counts too)",
        "adjusted",
    ]
    assert [text.get_text() for text in upper.get_legend().get_texts()] == ["measured", "by distance alone"]
    assert [1, 2, 3] in [list(line.get_ydata()) for line in upper.lines]
    assert any("layers 2–3" in text.get_text() for text in upper.texts)
    assert len(upper.collections) == 1
    assert len(lower.collections) == 2
    named = plots.plot_profile(curve([2, 4, 8]), distance_only=curve([1, 2, 3]), names=("masked", "plain"))
    assert [text.get_text() for text in named.axes[0].get_legend().get_texts()] == ["masked", "plain"]
    single = plots.plot_profile(curve([2, 4, 8], spread=np.nan))
    assert len(single.axes) == 1
    assert not single.axes[0].collections


def test_overview_shows_the_layer_with_the_highest_curve(ds):
    contrast, removed = curve([1, 2, 9, 1, 1, 1]), curve([0, 0.1, 0, 0, 0.4, 0])
    assert squares(plots.plot_overview(ds, contrast))[0].get_title(loc="left").startswith("Layer 3:")
    both = plots.plot_overview(ds, contrast, adjusted=removed)
    assert squares(both)[0].get_title(loc="left").startswith("Layer 5:")
    expected = ds.mass.sel(layer=5).isel(prompt=0, branch=0).mean(["head", "step"])
    np.testing.assert_allclose(squares(both)[0].images[0].get_array(), expected, rtol=1e-6)
    assert squares(plots.plot_overview(ds, contrast, layer=6))[0].get_title(loc="left").startswith("Layer 6:")


@pytest.mark.parametrize("name", ["maps", "profile", "overview"])
def test_files_are_equal_byte_for_byte(ds, tmp_path, name):
    def digests(folder):
        contrast = curve([1, 2, 9, 1, 1, 1])
        fig = {
            "maps": lambda: plots.plot_maps(ds),
            "profile": lambda: plots.plot_profile(contrast, contrast, band=(2, 4), title="A title"),
            "overview": lambda: plots.plot_overview(ds, contrast, contrast, title="A title"),
        }[name]()
        paths = plots.save_figure(fig, tmp_path / folder / "a.b")
        assert [path.name for path in paths] == ["a.b.png", "a.b.pdf"]
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths], paths

    first, paths = digests("first")
    assert first == digests("second")[0]
    pdf = paths[1].read_bytes()
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf
    assert paths[0].read_bytes()[:4] == b"\x89PNG"


def test_nothing_reaches_over_the_edge(ds):
    """Labels must not be cut off: everything drawn lies inside the page."""
    contrast = curve([1, 2, 9, 1, 1, 1])
    figures = [
        plots.plot_maps(ds),
        plots.plot_maps(ds, layers=[1], steps=[0, 1, 2], title="One row"),
        plots.plot_maps(ds, layers=[1], steps=[0]),
        plots.plot_profile(contrast, contrast, title="Curves"),
        plots.plot_overview(ds, contrast, contrast, band=(2, 4), title="A page"),
        plots.plot_overview(ds, contrast, steps=[0]),
    ]
    for fig in figures:
        with _theme.theme():
            fig.canvas.draw()
            box = fig.get_tightbbox()
        width, height = fig.get_size_inches()
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        assert inside, (box, width, height)


def test_global_state_of_matplotlib_is_left_alone(ds, tmp_path):
    before = dict(matplotlib.rcParams)
    plots.save_figure(plots.plot_maps(ds, layers=[1], steps=[0]), tmp_path / "one")
    assert dict(matplotlib.rcParams) == before


def test_importing_plots_brings_neither_torch_nor_pyplot_nor_plotly_nor_statistics():
    code = (
        "import sys, attnscope.plots, attnscope.plots.interactive; "
        "print([name for name in ('torch', 'matplotlib.pyplot', 'plotly', 'attnscope.structure')"
        " if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def shown_maps(figure, moves):
    """The maps that stand on the axes, visible and opaque, after the sliders were moved one after another."""
    state = {
        name: [getattr(trace, name) for trace in figure.data] for name in ("visible", "opacity", "x0", "y0")
    }
    for move in moves:
        state |= move.args[0]
    return [
        index
        for index in range(len(figure.data))
        if state["visible"][index]
        and state["opacity"][index] == 1
        and state["x0"][index] == state["y0"][index] == 0
    ]


def test_sliders_compose(ds):
    """One map shows whatever was moved last: the one that all sliders point at."""
    moved = ds.assign_coords(prompt=[1])
    both = xr.concat([ds, moved * 0.5 + 0.5 / 11], "prompt", coords="minimal", compat="override")
    figure = figure_maps(both, steps=[0, 3], layers=[1, 2, 6])
    names = ["layer", "step", "head", "prompt"]
    sliders = dict(zip(names, figure.layout.sliders, strict=True))
    assert [slider.currentvalue.prefix for slider in sliders.values()] == [f"{name} " for name in names]
    assert len(figure.data) == 3 * 2 * 3 * 2
    assert shown_maps(figure, []) == [0]
    labels = {"layer": [1, 2, 6], "step": [0, 3], "head": [None, 0, 1], "prompt": both.prompt.values.tolist()}
    for place in itertools.product(*(range(len(labels[name])) for name in names)):
        moves = [sliders[name].steps[index] for name, index in zip(names, place, strict=True)]
        for order in (moves, moves[::-1]):
            (shown,) = shown_maps(figure, order)
        at = {name: labels[name][index] for name, index in zip(names, place, strict=True)}
        one = both.mass.sel(layer=at["layer"], step=at["step"], prompt=at["prompt"], branch="cond")
        expected = one.mean("head") if at["head"] is None else one.sel(head=at["head"])
        np.testing.assert_allclose(10.0 ** np.asarray(figure.data[shown].z), expected, rtol=1e-5)
        assert sliders["layer"].steps[place[0]].args[0]["hoverinfo"][shown] == "all"


def test_there_is_no_slider_where_there_is_nothing_to_choose(ds):
    figure = figure_maps(ds, layers=[2], head=1)
    assert [slider.currentvalue.prefix for slider in figure.layout.sliders] == ["step "]
    assert len(figure.data) == 7


def test_the_prompt_slider_moves_the_cuts(ds):
    shots = np.stack([ds.query_shot.values, (np.arange(11) >= 3).astype(int)])
    both = xr.concat([ds, ds.assign_coords(prompt=[1])], "prompt")
    both = both.drop_vars(["query_shot", "key_shot"]).assign_coords(
        query_shot=(("prompt", "query_frame"), shots)
    )
    figure = figure_maps(both, layers=[1], steps=[0], head=0)
    (slider,) = figure.layout.sliders
    cuts = [move.args[1]["shapes"][0]["x0"] for move in slider.steps]
    assert cuts == [4.5, 2.5]
    assert figure.layout.shapes[0].x0 == 4.5


def test_a_long_run_keeps_the_page_small():
    plan = ShotPlan.from_latent_frames([2], num_frames_latent=4, fps=16).to_latent()
    figure = figure_maps(synthetic.block_attention(plan, num_layers=30, num_heads=4, num_steps=50))
    assert len(figure.data) == 30 * 5 * 4
    assert len(figure.layout.sliders[1].steps) == 4
    assert {figure.layout.sliders[1].steps[place].label.split(",")[0] for place in (0, -1)} == {"0", "49"}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"layers": [9]}, r"expected recorded layers \(1 to 6\), got \[9\] to draw"),
        ({"steps": []}, r"expected recorded steps \(0 to 6\), got none to draw"),
        ({"branch": "neg"}, "expected a recorded branch, got 'neg'"),
        ({"head": 5}, "expected a recorded head, got 5 where the dataset has 0, 1"),
        ({"prompt": "x"}, "expected a recorded prompt, got 'x'"),
    ],
)
def test_what_was_not_recorded_is_refused(ds, kwargs, message):
    with pytest.raises(InputError, match=message) as caught:
        plots.plot_maps(ds, **kwargs)
    assert "\n" not in str(caught.value)


def test_what_is_no_curve_is_refused(ds):
    with pytest.raises(
        InputError, match=r"expected a curve with mean, low and high over one dim, got variables \['mass'\]"
    ):
        plots.plot_profile(ds)
    with pytest.raises(InputError, match="expected a curve with at least one value"):
        plots.plot_overview(ds, curve([np.nan] * 6))


def test_the_film_stands_above_the_overview_one_picture_a_latent_frame() -> None:
    from attnscope import structure

    plan = ShotPlan.from_latent_frames([3], num_frames_latent=6, fps=16).to_latent()
    ds = synthetic.block_attention(plan)
    curve = structure.profile(structure.contrast(structure.mean_map(ds)))
    film = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    figure = plots.plot_overview(ds, curve, film=film)
    pictures = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    shown = [picture for picture in pictures if picture.ndim == 3]
    assert len(shown) == 6
    assert all(np.array_equal(one, other) for one, other in zip(shown, film, strict=True))
    with pytest.raises(InputError, match="a picture for each of 6 latent frames"):
        plots.plot_overview(ds, curve, film=film[:5])
