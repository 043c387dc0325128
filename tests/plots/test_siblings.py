"""Novelty, dose, film and comparison: what is drawn is what was given."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from attnscope import plots, structure, synthetic
from attnscope.errors import InputError
from attnscope.plots import _theme


def levels(strength: list[object]) -> xr.Dataset:
    values = {"mean": [0.6, 0.1, 0.9], "low": [0.5, 0.0, 0.8], "high": [0.7, 0.2, 1.0]}
    data = {name: ("strength", value) for name, value in values.items()}
    return xr.Dataset(data, {"strength": strength}, {"measure": "recall"})


def test_novelty_is_a_curve_with_picks_and_cuts() -> None:
    ds = synthetic.example()
    found = structure.boundaries(structure.mean_map(ds, ["step", "head", "layer"])).isel(prompt=0, branch=0)
    (ax,) = plots.plot_novelty(found, [3], threshold=0.2).axes
    drawn = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(drawn["novelty"].get_ydata(), found.novelty.values)
    assert list(drawn["picked"].get_xdata()) == [3]
    assert list(drawn["cut"].get_xdata()) == [3, 3]
    assert list(drawn["threshold"].get_ydata()) == [0.2, 0.2]


def test_novelty_of_many_layers_is_faint_and_their_mean_strong() -> None:
    found = structure.boundaries(structure.mean_map(synthetic.example(noise=0.3))).isel(prompt=0, branch=0)
    (ax,) = plots.plot_novelty(found).axes
    assert len(ax.lines) == 4 + 1 + 1
    (mean,) = [line for line in ax.lines if line.get_label() == "mean over layers"]
    np.testing.assert_allclose(mean.get_ydata(), found.novelty.mean("layer").values)
    with pytest.raises(InputError, match="novelty over boundary"):
        plots.plot_novelty(structure.boundaries(synthetic.example()))


def test_a_dose_is_ordered_by_strength() -> None:
    (ax,) = plots.plot_dose(levels([2.0, 0.0, 8.0]), untouched=levels([0.0, 1.0, 2.0]).isel(strength=1)).axes
    (curve,) = [line for line in ax.lines if line.get_label() == "change"]
    assert curve.get_xdata().tolist() == [0.0, 2.0, 8.0]
    assert curve.get_ydata().tolist() == [0.1, 0.6, 0.9]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("strength", "recall")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["no change", "change"]
    with pytest.raises(InputError, match="strengths that are numbers"):
        plots.plot_dose(levels(["none", "soft", "full"]))


def test_between_steps_there_is_no_tick() -> None:
    steps = levels([0.0, 1.0, 2.0])
    (ax,) = plots.plot_dose(steps.assign_coords(strength=[0, 1, 2]).rename(strength="step")).axes
    assert all(tick == int(tick) for tick in ax.get_xticks())


def test_a_film_stands_along_both_edges_of_its_map() -> None:
    ds = synthetic.example()
    film = np.random.default_rng(0).integers(0, 256, (6, 9, 16, 3), dtype=np.uint8)
    figure = plots.plot_film(ds, film, layer=2, step=1)
    pictures = [
        ax.images[0].get_array() for ax in figure.axes if ax.images and ax.images[0].get_array().ndim == 3
    ]
    assert len(pictures) == 12
    assert all(np.array_equal(one, other) for one, other in zip(pictures, [*film, *film], strict=True))
    (square,) = [ax for ax in figure.axes if ax.images and ax.images[0].get_array().shape == (6, 6)]
    expected = ds.mass.sel(layer=2, step=1).isel(prompt=0, branch=0).mean("head")
    np.testing.assert_allclose(square.images[0].get_array(), expected, rtol=1e-6)
    with pytest.raises(InputError, match="a picture for each of 6 latent frames"):
        plots.plot_film(ds, film[:5])


def test_a_comparison_shows_both_maps_the_change_and_the_paired_difference() -> None:
    one, other = (structure.mean_map(synthetic.example(contrast=ratio)) for ratio in (2.0, 20.0))
    change = (other.mass - one.mass).sel(layer=3).isel(prompt=0, branch=0).rename("share")
    values = [structure.contrast(each) for each in (one, other)]
    curves = tuple(map(structure.profile, values))
    difference = structure.profile(values[1] - values[0])
    figure = plots.plot_comparison(one, other, change, curves, difference, names=("plain", "masked"), layer=3)
    first, second, changed = (ax.images[0] for ax in figure.axes if ax.images)
    np.testing.assert_allclose(first.get_array(), one.mass.sel(layer=3).isel(prompt=0, branch=0), rtol=1e-6)
    np.testing.assert_allclose(
        second.get_array(), other.mass.sel(layer=3).isel(prompt=0, branch=0), rtol=1e-6
    )
    assert first.norm is second.norm
    np.testing.assert_allclose(changed.get_array(), change)
    assert changed.norm.vmin == -changed.norm.vmax
    drawn = {line.get_label(): line.get_ydata() for ax in figure.axes for line in ax.lines}
    np.testing.assert_allclose(drawn["masked − plain"], difference["mean"])
    np.testing.assert_allclose(drawn["plain"], curves[0]["mean"])
    with pytest.raises(InputError, match="maps of as many latent frames"):
        plots.plot_comparison(one, other, change[:5, :5], curves, difference, layer=3)


def test_what_no_mass_is_left_of_is_at_the_end_of_the_scale() -> None:
    one = structure.mean_map(synthetic.example())
    change = xr.DataArray(np.full((6, 6), -np.inf), dims=("query_frame", "key_frame"))
    change[0, 0] = 2.0
    curve = structure.profile(structure.contrast(one))
    figure = plots.plot_comparison(one, one, change, (curve, curve), curve)
    image = [ax.images[0] for ax in figure.axes if ax.images][2]
    assert image.get_clim() == (-2.0, 2.0)
    assert np.asarray(image.get_array())[1, 1] == -2.0


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (0.123456, "0.123"),
        (1234.5, "1.23e+03"),
        (7, "7"),
        (None, "--"),
        (float("nan"), "--"),
        ([0.1, None], "[0.1, --]"),
        ("50% of a_b & c", r"50\% of a\_b \& c"),
        ("\\~^", r"\textbackslash{}\textasciitilde{}\textasciicircum{}"),
    ],
)
def test_cells_of_a_latex_table(value: object, cell: str) -> None:
    lines = plots.latex_table(["a", "b"], [["x", value]]).splitlines()
    assert lines[4] == rf"x & {cell} \\"


def test_a_latex_table_floats_where_it_has_a_caption() -> None:
    text = plots.latex_table(["a"], [["x"]], caption="100%", label="tab:a")
    assert text.startswith(
        "\\begin{table}[t]\n\\centering\n\\caption{100\\%}\n\\label{tab:a}\n\\begin{tabular}{l}\n"
    )
    with pytest.raises(InputError, match="2 cells a row, one for each column, got 1"):
        plots.latex_table(["a", "b"], [["x"]])


WIDE = [plots.VENUES["iclr"].text_in, plots.VENUES["cvpr"].text_in]
NARROW = [plots.VENUES["iclr"].column_in, plots.VENUES["cvpr"].column_in]


def narrow_figures(width: float) -> dict[str, plots.Page]:
    rng = np.random.default_rng(0)
    dims = {"step": range(3), "layer": range(1, 23)}
    found = structure.boundaries(structure.mean_map(synthetic.example(noise=0.3))).isel(prompt=0, branch=0)
    return {
        "steps": plots.plot_table(
            xr.DataArray(rng.normal(size=(3, 22)), dims, name="adjusted r"), centre=0, width_in=width
        ),
        "novelty": plots.plot_novelty(found, [3], threshold=0.2, width_in=width),
        "dose": plots.plot_dose(levels([2.0, 0.0, 8.0]), width_in=width, title="Dose"),
    }


def wide_figures(width: float) -> dict[str, plots.Page]:
    ds = synthetic.example(noise=0.3)
    maps = structure.mean_map(ds)
    curve = structure.profile(structure.contrast(maps), scale="log")
    r = structure.profile(structure.adjusted_r(maps))
    change = (maps.mass - 0.1).sel(layer=1).isel(prompt=0, branch=0).rename("log2 of the ratio of shares")
    curves = {"distance_only": curve, "adjusted": r, "width_in": width, "title": "A title"}
    film = np.zeros((6, 9, 16, 3), dtype=np.uint8)
    return {
        "maps": plots.plot_maps(ds, width_in=width),
        "profile": plots.plot_profile(curve, r, **curves),
        "overview": plots.plot_overview(ds, curve, r, film=film, **curves),
        "film": plots.plot_film(ds, film, width_in=width),
        "comparison": plots.plot_comparison(maps, maps, change, (r, r), r, width_in=width),
    }


@pytest.mark.parametrize(
    ("make", "width"),
    [(wide_figures, width) for width in WIDE] + [(narrow_figures, width) for width in NARROW],
)
def test_nothing_reaches_over_the_edge_at_the_width_of_a_venue(make, width: float) -> None:
    for name, figure in make(width).items():
        with _theme.theme():
            figure.canvas.draw()
            box = figure.get_tightbbox()
        wide, tall = figure.get_size_inches()
        assert wide == pytest.approx(width), name
        assert min(box.x0, box.y0) >= 0, (name, box)
        assert (box.x1 <= wide, box.y1 <= tall) == (True, True), (name, box, wide, tall)
