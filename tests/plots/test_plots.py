"""What the figures draw, and that the files are the same every time."""

import hashlib
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
from attnscope.plots._view import chosen, view_of
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
    assert chosen(view, "layer", None, at_most=4) == [1, 3, 4, 6]
    assert chosen(view, "step", None, at_most=9) == [0, 1, 2, 3, 4, 5, 6]


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


def test_sliders_compose(ds):
    """A map shows when both sliders point at it, whichever was moved last."""
    figure = figure_maps(ds)
    by_layer, by_step = figure.layout.sliders
    assert len(figure.data) == 42
    assert len(by_layer.steps) == 6
    assert len(by_step.steps) == 7
    for layer, one in enumerate(by_layer.steps):
        for step, other in enumerate(by_step.steps):
            shown = [
                index
                for index in range(42)
                if one.args[0]["opacity"][index] == 1 and other.args[0]["visible"][index]
            ]
            assert shown == [layer * 7 + step]
            assert one.args[0]["hoverinfo"][shown[0]] == "all"
            expected = ds.mass.isel(prompt=0, branch=0, layer=layer, step=step).mean("head")
            np.testing.assert_allclose(10.0 ** np.asarray(figure.data[shown[0]].z), expected, rtol=1e-5)
    at_first = [trace for trace in figure.data if trace.visible and trace.opacity == 1]
    assert len(at_first) == 1
    assert len(figure.layout.shapes) == 2


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
        InputError, match=r"expected a curve with mean, low and high, got variables \['mass'\]"
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
