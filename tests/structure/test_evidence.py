"""cut_test: its arrangements against enumeration, its size where other nulls fail, its refusals."""

from itertools import combinations, permutations

import numpy as np
import pytest

from attnscope.errors import InputError
from attnscope.structure import adjusted_r, cut_test
from attnscope.structure.arrays import adjustment, rearranging


def plan(cuts, num_frames=13):
    return (np.arange(num_frames)[:, None] >= np.array(cuts)).sum(axis=1)


def local_films(generator, plans, *, contrast=1.0, sink=0.0, noise=0.3):
    """Films that look at near frames; with a contrast of 1 they know nothing of their cuts."""
    shots = np.array(plans)
    frame = np.arange(shots.shape[1])
    same = shots[:, :, None] == shots[:, None, :]
    weight = np.where(same, contrast, 1.0) * np.exp(
        -0.3 * np.abs(frame[:, None] - frame) + noise * generator.normal(size=same.shape)
    )
    mass = weight / weight.sum(axis=-1, keepdims=True) * (1 - sink)
    mass[..., 0] += sink
    return mass


def as_dataset(dataset, mass, plans):
    return dataset(mass[:, None, None, None, None], np.array(plans))


def test_exchange_counts_every_arrangement(dataset):
    """Five films, all arrangements written out: p is the share that does as well."""
    plans = [plan([cut], 8) for cut in (2, 3, 5, 6, 2)]
    mass = local_films(np.random.default_rng(3), plans, contrast=1.1)
    ds = as_dataset(dataset, mass, plans)
    r = np.array([[adjustment.fit(one, other).r for other in plans] for one in ds.mass.values.squeeze()])
    means = [
        np.mean([r[film, given] for film, given in enumerate(order)]) for order in permutations(range(5))
    ]
    found = cut_test(ds, num_draws=20_000)
    assert found.attrs["null"] == "exchanged"
    assert found.attrs["num_arrangements"] == 60  # two films have the same cut
    assert found.attrs["smallest_p"] == pytest.approx(1 / 60)
    assert 0.02 < found.p.item() < 0.9
    assert found.p.item() == pytest.approx(np.mean(np.array(means) >= means[0] - 1e-12), abs=1e-12)
    assert found.null_mean.item() == pytest.approx(np.mean(means), abs=1e-12)
    assert found.adjusted_r.item() == pytest.approx(float(adjusted_r(ds).mean()))


@pytest.mark.parametrize(("num_arrangements", "kept"), [(20, 20), (24, 20), (39, 20), (40, 40), (127, 120)])
def test_p_is_a_share_of_20_40_60_arrangements(num_arrangements, kept):
    others = np.arange(1, num_arrangements)
    chosen = [rearranging.whole_twentieths(others, seed) for seed in range(50)]
    assert {len(each) + 1 for each in chosen} == {kept}
    assert all(len(set(each)) == len(each) for each in chosen)
    assert set(np.concatenate(chosen)) == set(others)  # none is left out for good
    assert rearranging.num_tried(num_arrangements, 199) == kept


def test_films_exchange_only_with_films_of_as_many_shots():
    plans = np.array([plan([3]), plan([5]), plan([3, 8]), plan([4, 9]), plan([6]), plan([5]), plan([7])])
    groups, (different, own) = plans.max(axis=1), np.unique(plans, axis=0, return_inverse=True)
    assert rearranging.num_exchanges(plans, groups) == 60 * 2  # two of five films have the same cut
    for num_draws in (119, 120):  # drawn, and all of them
        drawn = rearranging.exchanges(plans, num_draws, 0)
        assert drawn.shape == (120, 7)
        assert (drawn[0] == own.reshape(-1)).all()
        assert (different.max(axis=1)[drawn] == groups).all()
        assert (np.sort(drawn, axis=1) == np.sort(drawn[0])).all()
    expected = {
        tuple(np.array(drawn[0])[list(order)])
        for order in permutations(range(7))
        if (groups[list(order)] == groups).all()
    }
    assert {tuple(row) for row in drawn} == expected


@pytest.mark.parametrize(
    ("cuts", "num_frames"), [([3], 13), ([6], 13), ([2, 7], 13), ([4, 8], 13), ([5, 7, 15], 21), ([1, 3], 5)]
)
def test_moves_are_all_plans_with_as_short_a_shortest_shot(cuts, num_frames):
    shot = plan(cuts, num_frames)
    shortest = np.bincount(shot).min()
    expected = set()
    for places in combinations(range(1, num_frames), len(cuts)):
        lengths = np.diff([0, *places, num_frames])
        other = plan(places, num_frames)
        told = np.isfinite(adjustment.fit(np.random.default_rng(0).random((num_frames, num_frames)), other).r)
        if lengths.min() == shortest and told:
            expected.add(tuple(other))
    moved = rearranging.moves(shot, 0)
    assert {tuple(row) for row in moved} == expected
    assert len(moved) == len(expected)
    assert (moved[0] == shot).all()
    # the plans that a plan is compared with are compared with the same: that is what makes p exact
    assert all({tuple(other) for other in rearranging.moves(row, 0)} == expected for row in moved)


def test_many_plans_are_sampled():
    shot = plan([3, 9, 15, 22], 33)
    moved = rearranging.moves(shot, 0)
    assert 1990 < len(moved) <= 2001
    assert {int(np.bincount(row).min()) for row in moved} == {3}
    assert (moved[:, -1] == 4).all()


@pytest.mark.parametrize(
    ("name", "draw", "num_frames", "num_films", "sink"),
    [
        ("anywhere", lambda g: [g.integers(2, 12)], 13, 10, 0.0),
        ("no shot under 3", lambda g: [g.integers(3, 11)], 13, 10, 0.0),
        ("no shot under 3, frame 0 pulls", lambda g: [g.integers(3, 11)], 13, 40, 0.2),
        ("near the middle", lambda g: [g.integers(5, 9)], 13, 10, 0.2),
        ("short film", lambda g: [g.integers(2, 8)], 9, 10, 0.0),
    ],
)
def test_false_positives_where_moved_cuts_failed(name, draw, num_frames, num_films, sink):
    """Films that are local and nothing else: p <= .05 in one of twenty, for real kinds of plans."""
    generator, rejected = np.random.default_rng(11), []
    for trial in range(400):
        plans = np.array([plan(draw(generator), num_frames) for _ in range(num_films)])
        mass = local_films(generator, plans, sink=sink)
        different = np.unique(plans, axis=0)
        matrix = np.nan_to_num(adjustment.fit_plans(mass, different).r)
        drawn = rearranging.exchanges(plans, 199, trial)
        rejected.append(float(rearranging.exchange_p(matrix, drawn)[0]) <= 0.05)
    assert 0.02 < np.mean(rejected) < 0.085, name  # .05 and three standard errors of 400 trials


def test_one_film_of_three_shots_is_exact_for_cuts_drawn_by_lot():
    generator, ps = np.random.default_rng(12), []
    while len(ps) < 600:
        cuts = np.sort(generator.choice(np.arange(1, 13), 2, replace=False))
        shot = plan(cuts)
        if (
            rearranging.choose_null(shot[None]).kind == "none"
            or not adjustment.find_measurable(shot[None]).all()
        ):
            continue
        mass = local_films(generator, [shot])
        table = np.nan_to_num(adjustment.fit_plans(mass[0], rearranging.moves(shot, 0)).r)
        ps.append(float(rearranging.move_p([table], num_draws=99, seed=0)[0]))
    assert 0.02 < np.mean(np.array(ps) <= 0.05) < 0.075
    assert np.mean(np.array(ps) <= 0.5) == pytest.approx(0.5, abs=0.06)


def test_a_contrast_of_1_3_is_found(dataset):
    generator, found = np.random.default_rng(13), []
    for _ in range(40):
        plans = [plan([generator.integers(1, 13)]) for _ in range(10)]
        mass = local_films(generator, plans, contrast=1.3)
        found.append(cut_test(as_dataset(dataset, mass, plans), num_draws=399).p.item() <= 0.05)
    assert np.mean(found) >= 0.85


@pytest.mark.parametrize(
    ("plans", "null", "reason"),
    [
        (
            [plan([4])],
            "none",
            "one film: only 2 plans are as likely as its cuts; 4 films with different cuts",
        ),
        ([plan([6])] * 40, "none", "40 films: only 2 plans are as likely as the cuts that all of them have"),
        ([plan([7, 14], 21)] * 3, "none", "only 1 plans"),
        ([plan([3]), plan([5])], "none", "2 films: their cuts have only 4 places as likely"),
        (
            [plan([6]), plan([7]), plan([7]), plan([7])],
            "none",
            "have only 4 arrangements; 4 films with different",
        ),
        ([plan([2, 7])], "moved", ""),
        ([plan([2, 7])] * 5, "moved", ""),
        ([plan([2]), plan([3]), plan([4]), plan([5])], "exchanged", ""),
        ([plan([1]), np.zeros(13, int), np.full(13, -1)], "none", "no film has cuts that can be measured"),
    ],
)
def test_no_p_where_it_could_not_be_small(dataset, plans, null, reason):
    mass = local_films(np.random.default_rng(0), plans)
    found = cut_test(as_dataset(dataset, mass, plans), num_draws=99)
    assert found.attrs["null"] == null
    assert reason in found.attrs["reason"]
    assert np.isnan(found.p).all() == (null == "none")
    assert found.attrs["num_films_needed"] == 4
    if null == "moved":
        assert found.attrs["smallest_p"] == pytest.approx(1 / 20)  # of 21
        assert found.p.item() >= found.attrs["smallest_p"] - 1e-12


def test_films_without_cuts_or_maps_take_no_part(dataset):
    plans = [plan([cut]) for cut in (2, 4, 6, 8, 10)]
    mass = local_films(np.random.default_rng(1), plans, contrast=1.5)
    whole = cut_test(as_dataset(dataset, mass, plans))
    more_plans = [*plans, np.zeros(13, int), plan([5])]
    more = np.concatenate([mass, mass[:2]])
    more[6] = np.nan
    other = cut_test(as_dataset(dataset, more, more_plans))
    assert other.p.item() == whole.p.item()
    assert other.attrs["num_films"] == 5
    layers = np.stack([mass, np.full_like(mass, np.nan)], axis=1)[:, None, None, :, None]
    both = cut_test(dataset(layers, np.array(plans)))
    assert np.isfinite(both.p.sel(layer=1))
    assert np.isnan(both.p.sel(layer=2))


def test_few_draws_are_refused(two_shots):
    with pytest.raises(InputError, match="expected at least 99 draws, got 5"):
        cut_test(two_shots, num_draws=5)
