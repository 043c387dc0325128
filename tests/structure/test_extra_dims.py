"""Datasets behind one another along a dim that the schema has not: every statistic gives what each would alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

from attnscope import plots, schema, structure
from attnscope.errors import InputError
from attnscope.plots.interactive import figure_maps
from attnscope.shots import ShotPlan
from attnscope.testing.synthetic import block_attention

Statistic = Callable[[xr.Dataset], Any]

STATISTICS: dict[str, Statistic] = {
    "adjusted_contrast": structure.adjusted_contrast,
    "adjusted_r": structure.adjusted_r,
    "boundaries": lambda ds: structure.boundaries(ds, num="known"),
    "boundary_error": lambda ds: structure.boundary_error(structure.boundaries(ds), ds),
    "contrast": structure.contrast,
    "correlation": structure.correlation,
    "cut_test": structure.cut_test,
    "distance_only_contrast": structure.distance_only_contrast,
    "first_frame_sink": structure.first_frame_sink,
    "interval": lambda ds: structure.interval(structure.contrast(ds), scale="log")[0],
    "lag_matched_contrast": structure.lag_matched_contrast,
    "mean_map": structure.mean_map,
    "mean_over": lambda ds: structure.mean_over(structure.contrast(ds), scale="log"),
    "own_shot_mass": structure.own_shot_mass,
    "place_matched_contrast": structure.place_matched_contrast,
    "pooled_contrast": structure.pooled_contrast,
    "pooled_share_interval": lambda ds: structure.pooled_share_interval(
        structure.own_shot_mass(ds), 1 + structure.contrast(ds)
    )[0],
    "share_interval": lambda ds: structure.share_interval(structure.own_shot_mass(ds))[1],
    "with_cuts": lambda ds: structure.with_cuts(ds, [[5], [9], [13], [17]])[["mass"]],
    "with_shots": lambda ds: schema.with_shots(ds, plan(2))[["mass"]],
}
COMPARING_FILMS = {"cut_test", "place_matched_contrast"}
# takes no dataset of maps, or tables that other tests give it: best_on_other_films, profile and effects say so below
WITHOUT_MAPS = {"wilson", "causal_effect", "effect_grid", "best_on_other_films", "profile", "to_frame"}
ONE_TABLE = {"summary", "rank_heads", "compare"}


def plan(cut: int) -> Any:
    return ShotPlan.from_latent_frames([cut], num_frames_latent=7, fps=16).to_latent()


def films(cuts: tuple[int, ...], seed: int) -> xr.Dataset:
    """One film a cut, maps of its own each."""
    size = {"num_layers": 2, "num_heads": 3, "num_steps": 2}
    each = [
        block_attention(plan(cut), noise=0.4, seed=seed + number, **size).assign_coords(prompt=[number])
        for number, cut in enumerate(cuts)
    ]
    return xr.concat(each, "prompt", coords="different", compat="equals")


def behind_one_another(each: list[xr.Dataset], dim: str) -> xr.Dataset:
    bare = [one.drop_vars(dim, errors="ignore") for one in each]
    return xr.concat(bare, dim, coords="different", compat="equals")


@pytest.fixture(scope="module")
def alike() -> list[xr.Dataset]:
    """Two runs of four films, cut alike in both."""
    return [films((3, 5, 2, 4), seed) for seed in (0, 10)]


@pytest.fixture(scope="module")
def unlike() -> list[xr.Dataset]:
    """Two runs of four films, cut otherwise in each."""
    return [films((3, 5, 2, 4), 0), films((4, 2, 5, 3), 10)]


def test_every_public_statistic_is_here() -> None:
    assert {*STATISTICS, *WITHOUT_MAPS, *ONE_TABLE} - {"with_shots"} == set(structure.__all__)


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("dim", ["run", "seed"])
def test_a_statistic_of_runs_together_is_that_of_each(name: str, dim: str, alike: list[xr.Dataset]) -> None:
    together = STATISTICS[name](behind_one_another(alike, dim))
    for index, one in enumerate(alike):
        expected = STATISTICS[name](one)
        found = together.isel({dim: index}).transpose(*expected.dims)
        xr.testing.assert_allclose(found.drop_vars(found.coords), expected.drop_vars(expected.coords))


@pytest.mark.parametrize("name", [name for name in STATISTICS if name not in COMPARING_FILMS])
def test_a_statistic_of_runs_that_are_cut_otherwise_is_that_of_each(
    name: str, unlike: list[xr.Dataset]
) -> None:
    together = STATISTICS[name](behind_one_another(unlike, "run"))
    for index, one in enumerate(unlike):
        expected = STATISTICS[name](one)
        found = together.isel(run=index).transpose(*expected.dims)
        xr.testing.assert_allclose(found.drop_vars(found.coords), expected.drop_vars(expected.coords))


@pytest.mark.parametrize("name", sorted(COMPARING_FILMS))
def test_what_compares_films_says_that_it_must_know_what_a_film_is(
    name: str, unlike: list[xr.Dataset]
) -> None:
    with pytest.raises(InputError, match=f"shots that differ along run in {name}"):
        STATISTICS[name](behind_one_another(unlike, "run"))


def test_maps_are_averaged_along_a_dim_of_the_users_own(alike: list[xr.Dataset]) -> None:
    mean = structure.mean_map(behind_one_another(alike, "run"), ["run"])
    np.testing.assert_allclose(mean.mass, (alike[0].mass.astype(float) + alike[1].mass) / 2)
    with pytest.raises(InputError, match=r"dims among prompt, step, branch, layer, head, run, got 'walk'"):
        structure.mean_map(behind_one_another(alike, "run"), ["walk"])


@pytest.mark.parametrize(
    "call",
    [
        structure.summary,
        structure.rank_heads,
        lambda ds: structure.compare(ds, ds),
        plots.plot_maps,
        figure_maps,
        lambda ds: plots.plot_film(ds, np.zeros((7, 9, 16, 3), np.uint8)),
        lambda ds: plots.plot_overview(ds, structure.profile(structure.contrast(ds))),
        lambda ds: plots.plot_comparison(
            ds, ds, ds.mass[0, 0, 0, 0, 0, 0], (_curve(ds), _curve(ds)), _curve(ds)
        ),
        lambda ds: plots.plot_novelty(structure.boundaries(ds)),
        lambda ds: plots.plot_table(structure.contrast(ds)),
        lambda ds: plots.plot_effect_grid(structure.contrast(ds)),
        lambda ds: structure.best_on_other_films(structure.contrast(ds)),
        lambda ds: structure.causal_effect(structure.contrast(ds).to_dataset(name="recall")),
        lambda ds: plots.plot_effects(structure.place_matched_contrast(ds).rename(contrast="mean")),
        lambda ds: plots.plot_dose(structure.place_matched_contrast(ds).rename(contrast="mean")),
        lambda ds: plots.plot_profile(structure.place_matched_contrast(ds).rename(contrast="mean")),
    ],
    ids=lambda call: getattr(call, "__name__", ""),
)
def test_what_makes_one_page_or_one_number_says_in_one_line_what_to_select(
    call: Statistic, alike: list[xr.Dataset]
) -> None:
    with pytest.raises(InputError) as caught:
        call(behind_one_another(alike, "run"))
    assert "\n" not in str(caught.value)


def _curve(ds: xr.Dataset) -> xr.Dataset:
    return structure.profile(structure.contrast(ds))


def test_runs_are_compared_side_by_side_where_their_films_are_the_same(alike: list[xr.Dataset]) -> None:
    plain = [one.drop_vars("seed") for one in alike]
    together = structure.compare(behind_one_another(plain, "run"), behind_one_another(plain[::-1], "run"))
    for index, (one, other) in enumerate(zip(plain, plain[::-1], strict=True)):
        np.testing.assert_allclose(
            together["change"].isel(run=index), structure.compare(one, other)["change"]
        )
    assert len(structure.to_frame(structure.contrast(behind_one_another(plain, "run")))) == 2 * 4 * 2


def test_a_curve_over_layers_is_the_mean_over_runs(alike: list[xr.Dataset]) -> None:
    together = _curve(behind_one_another(alike, "run"))["mean"]
    np.testing.assert_allclose(together, sum(_curve(one)["mean"] for one in alike) / 2)


@pytest.mark.parametrize("name", STATISTICS)
def test_heads_are_selected_by_slice(name: str, alike: list[xr.Dataset]) -> None:
    by_slice, by_list = (alike[0].sel(head=which) for which in (slice(1, 2), [1, 2]))
    xr.testing.assert_identical(STATISTICS[name](by_slice), STATISTICS[name](by_list))
    if "head" not in STATISTICS[name](alike[0]).dims:
        alone = alike[0].sel(head=slice(2, 2))
        found, expected = STATISTICS[name](alone), STATISTICS[name](alone.isel(head=0))
        xr.testing.assert_allclose(
            found.drop_vars("head", errors="ignore"), expected.drop_vars("head", errors="ignore")
        )


@pytest.mark.parametrize(
    "draw", [plots.plot_maps, figure_maps, lambda ds: plots.plot_overview(ds, _curve(ds))]
)
@pytest.mark.parametrize(
    "select", [{"head": slice(1, 2)}, {"head": slice(2, 2)}, {"layer": slice(2, 2)}, {"step": slice(1, 1)}]
)
def test_figures_take_a_slice_and_a_single_place(
    draw: Statistic, select: Any, alike: list[xr.Dataset]
) -> None:
    assert _numbers_drawn(draw(alike[0].sel(select)))
    alone = {dim: which.stop for dim, which in select.items() if dim != "layer"}
    by_slice, by_label = (
        _numbers_drawn(draw(alike[0].sel(chosen)))
        for chosen in ({dim: slice(stop, stop) for dim, stop in alone.items()}, alone)
    )
    assert len(by_slice) == len(by_label)
    for one, other in zip(by_slice, by_label, strict=True):
        np.testing.assert_array_equal(one, other)


def _numbers_drawn(figure: Any) -> list[np.ndarray]:
    """What the pictures and curves of a figure show, drawn by matplotlib or by plotly."""
    if hasattr(figure, "axes"):
        images = [image.get_array() for axes in figure.axes for image in axes.get_images()]
        return images + [line.get_ydata() for axes in figure.axes for line in axes.get_lines()]
    return [np.asarray(trace.z if trace.type == "heatmap" else trace.y, float) for trace in figure.data]


def test_one_film_without_its_dim_is_cut_like_one_with_it(alike: list[xr.Dataset]) -> None:
    with_dim, without = alike[0].isel(prompt=[1]), alike[0].isel(prompt=1)
    cut: Statistic
    for cut in (lambda ds: structure.with_cuts(ds, [[9]]), lambda ds: schema.with_shots(ds, plan(4))):
        for name in ("query_shot", "key_shot"):
            assert cut(without)[name].variable.identical(cut(with_dim)[name].variable)
    with pytest.raises(InputError, match="a dim of the values to average"):
        structure.mean_over(structure.contrast(without))
