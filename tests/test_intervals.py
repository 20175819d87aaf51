"""Conformal intervals: exact bounds, exact coverage, errors; the estimators that give them."""

import math

import numpy as np
import pytest

pytest.importorskip("sklearn")

import fastnn
from fastnn.estimators.intervals import CrossResiduals, _different_rows, _smallest
from fastnn.metrics import interval_coverage

RNG = np.random.default_rng(0)
N = 60
X = RNG.normal(size=(N, 2))
Y = X[:, 0] + 0.3 * RNG.normal(size=N)


def of_one_network(residuals):
    """Residuals of rows that one network predicts as 0."""
    y = np.asarray(residuals, float)[:, None]
    return CrossResiduals([np.arange(len(y))], np.zeros_like(y), y)


def test_one_network_gives_the_split_conformal_interval():
    found = of_one_network([-3.0, 1.0, 2.0, -7.0, 4.0, 9.0, 5.0, 6.0, -8.0])
    centers = found.centers(np.array([[[10.0], [-1.0]]]))
    assert found.interval(centers, found.rank(0.9))[:, 0].tolist() == [[1.0, 19.0], [-10.0, 8.0]]
    assert found.interval(centers, found.rank(0.5))[:, 0].tolist() == [[5.0, 15.0], [-6.0, 4.0]]


def test_cv_plus_by_hand():
    # Rows 0 and 1 with residuals 1 and 3 are predicted by network 0, rows 2 and 3 with 2 and 4 by network 1.
    targets = np.array([[1.0], [-3.0], [2.0], [4.0]])
    found = CrossResiduals([np.array([0, 1]), np.array([2, 3])], np.zeros((4, 1)), targets)
    centers = found.centers(np.array([[[10.0]], [[20.0]]]))
    # Upper ends: 11, 13, 22, 24; lower ends: 9, 7, 18, 16. Rank ceil(5 * 0.8) = 4, then ceil(5 * 0.6) = 3.
    np.testing.assert_allclose(found.interval(centers, found.rank(0.8))[0, 0], [7.0, 24.0], rtol=1e-14)
    np.testing.assert_allclose(found.interval(centers, found.rank(0.6))[0, 0], [9.0, 22.0], rtol=1e-14)


def test_rows_that_several_networks_did_not_see_take_their_mean():
    found = CrossResiduals([np.array([0, 1]), np.array([0]), None], np.zeros((3, 1)), np.array([[1.0], [2.0], [9.0]]))
    assert found.n == 2
    centers = found.centers(np.array([[[4.0]], [[8.0]], [[100.0]]]))
    assert sorted(centers[:, 0, 0]) == [4.0, 6.0]


@pytest.mark.parametrize("rank", [1, 7, 30, 50])
def test_bounds_are_order_statistics(rank):
    centers = RNG.normal(size=(5, 40))
    residuals = [np.sort(np.abs(RNG.normal(size=10))) for _ in centers]
    ends = np.concatenate([center[:, None] + group for center, group in zip(centers, residuals, strict=True)], axis=1)
    expected = np.sort(ends, axis=1)[:, rank - 1]
    np.testing.assert_allclose(_smallest(centers, residuals, rank), expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("n", [9, 150])
def test_coverage_is_that_of_the_rank(n):
    trials, n_new = 1000, 200
    rank = of_one_network(np.zeros(n)).rank(0.9)
    expected = rank / (n + 1)
    noise = np.random.default_rng(n).standard_cauchy((trials, n + n_new))
    # Each output is a split: the prediction is 0, and n_new rows follow.
    found = CrossResiduals([np.arange(n)], np.zeros((n, trials)), noise[:, :n].T)
    bounds = found.interval(found.centers(np.zeros((1, 1, trials))), found.rank(0.9))[0]
    inside = (noise[:, n:] >= bounds[:, :1]) & (noise[:, n:] <= bounds[:, 1:])
    # Given the rows of a split, its coverage is Beta(rank, n + 1 - rank).
    variance = expected * (1.0 - expected) / (n + 2) + expected * (1.0 - expected) / n_new
    assert abs(inside.mean() - expected) < 3.0 * math.sqrt(variance / trials)


def test_rank_is_that_of_the_decimal_number():
    assert of_one_network(np.zeros(9)).rank(0.9) == 9
    assert of_one_network(np.zeros(99)).rank(0.29) == 29  # 100 * 0.29 is 28.999999999999996
    assert of_one_network(np.zeros(99)).rank(0.07) == 7  # 100 * 0.07 is 7.000000000000001


@pytest.mark.parametrize(
    ("n", "coverage", "message"),
    [
        (8, 0.9, r"coverage=0.9 needs at least 9 rows .* got 8"),
        (9, 0.95, r"coverage=0.95 needs at least 19 rows .* got 9"),
        (0, 0.5, r"coverage=0.5 needs at least 1 rows .* got 0"),
        (9, 1.0, "coverage"),
        (9, 0.0, "coverage"),
        (9, "most", "coverage"),
    ],
)
def test_refusals(n, coverage, message):
    with pytest.raises((ValueError, TypeError), match=message):
        of_one_network(np.zeros(n)).rank(coverage)


@pytest.fixture
def few_epochs(monkeypatch):
    """Train 8 epochs."""
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 8)


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.usefixtures("few_epochs")
def test_tabular_regressor(n_outputs):
    y = Y if n_outputs == 1 else np.column_stack([Y, 10.0 * Y])
    model = fastnn.TabularRegressor("plain", n_bags=3, random_state=0).fit(X, y)
    bounds = model.predict_interval(X)
    assert bounds.shape == (*y.shape, 2)
    assert (bounds[..., 0] < bounds[..., 1]).all()
    wide = model.predict_interval(X, coverage=0.98)
    assert (wide[..., 0] <= bounds[..., 0]).all()
    assert (wide[..., 1] >= bounds[..., 1]).all()
    assert interval_coverage(y, bounds[..., 0], bounds[..., 1]) > 0.8
    mean, deviation = model.predict(X, return_std=True)
    np.testing.assert_array_equal(mean, model.predict(X))
    assert deviation.shape == y.shape
    assert (deviation > 0).all()
    with pytest.raises(ValueError, match=r"coverage=0\.99 needs at least 99 rows"):
        model.predict_interval(X, 0.99)


@pytest.mark.usefixtures("few_epochs")
def test_interval_of_one_network_is_the_quantile_of_its_residuals():
    model = fastnn.TabularRegressor("plain", n_bags=1, random_state=0).fit(X, Y)
    seen = np.isfinite(model.oof_predictions_)
    half = np.sort(np.abs(Y - model.oof_predictions_)[seen])[math.ceil((seen.sum() + 1) * 0.8) - 1]
    center = model.predict(X)
    np.testing.assert_allclose(
        model.predict_interval(X, 0.8), np.column_stack([center - half, center + half]), rtol=1e-6
    )
    with pytest.raises(ValueError, match="return_std=True needs two networks"):
        model.predict(X, return_std=True)


@pytest.mark.usefixtures("few_epochs")
@pytest.mark.parametrize("intervals", ["residuals", "quantiles"])
def test_some_rows_at_a_time_give_the_same_intervals(intervals, monkeypatch):
    model = fastnn.TabularRegressor("plain", n_bags=3, random_state=0, intervals=intervals)
    model.fit(X, np.column_stack([Y, -Y]))
    bounds = model.predict_interval(X)
    monkeypatch.setattr("fastnn.estimators.intervals._MOST_CENTERS", 100)  # some 5 rows
    np.testing.assert_array_equal(model.predict_interval(X), bounds)


@pytest.mark.usefixtures("few_epochs")
def test_three_rows_have_no_interval():
    model = fastnn.TabularRegressor("plain", random_state=0).fit(X[:3], Y[:3])
    with pytest.raises(ValueError, match=r"coverage=0\.9 needs at least 9 rows"):
        model.predict_interval(X)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bags", ["kfold", "bootstrap"])
def test_bagged_regressor(bags):
    net = fastnn.MLPRegressor(hidden_layer_sizes=(8,), max_iter=50, learning_rate_init=0.02)
    model = fastnn.BaggedMLPRegressor(net, n_bags=4, bags=bags, random_state=0).fit(X, Y)
    bounds = model.predict_interval(X)
    assert bounds.shape == (N, 2)
    assert interval_coverage(Y, *bounds.T) > 0.8
    if bags == "kfold":
        outputs = np.stack([estimator.predict(X) for estimator in model.estimators_])
        folds = [rows for _, rows in model._bags_of(Y, N, np.random.RandomState(0))]
        ends = np.concatenate(
            [
                center[:, None] + np.abs(Y - model.oob_prediction_)[rows]
                for center, rows in zip(outputs, folds, strict=True)
            ],
            axis=1,
        )
        rank = math.ceil(0.9 * (N + 1))
        np.testing.assert_allclose(bounds[:, 1], np.sort(ends, axis=1)[:, rank - 1], rtol=1e-6)


@pytest.mark.parametrize("n, k", [(0, 3), (50, 1), (300, 8), (300, 64), (300, 65), (100, 130)])
def test_different_rows_are_those_of_numpy(n, k):
    flags = np.random.default_rng(k).random((n, k)) < (0.5 if k < 9 else 0.02)
    rows, numbers = np.unique(flags, axis=0, return_inverse=True)
    found, places = _different_rows(flags)
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_array_equal(places, numbers.reshape(-1))


@pytest.mark.filterwarnings("ignore")
def test_rows_of_weight_zero_have_no_residuals():
    net = fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5)
    weight = np.arange(N) % 3
    bounds = [
        fastnn.BaggedMLPRegressor(net, n_bags=3, random_state=0)
        .fit(X, np.where(weight > 0, Y, missing), sample_weight=weight)
        .predict_interval(X)
        for missing in (0.0, 1e3)
    ]
    np.testing.assert_array_equal(*bounds)


def test_many_groups_of_rows_give_the_bounds_of_halvings_in_blocks(monkeypatch):
    """Bootstrap samples leave out other rows of each network: nearly every row has a group of networks."""
    rng = np.random.default_rng(4)
    n, bags, n_rows = 150, 12, 11
    held_out = [np.setdiff1d(np.arange(n), rng.integers(n, size=n)) for _ in range(bags)]
    y = rng.normal(size=(n, 2))
    residuals = CrossResiduals(held_out, y + rng.normal(size=(n, 2)), y)
    outputs = rng.normal(size=(bags, n_rows, 2))
    assert len(residuals._sorted) > 64
    for coverage in (0.05, 0.5, 0.9):
        rank = residuals.rank(coverage)
        found = residuals.intervals(outputs, rank)
        assert found.shape == (n_rows, 2, 2)
        with monkeypatch.context() as patch:
            patch.setattr("fastnn.estimators.intervals._MOST_CENTERS", 1000)  # 3 rows
            np.testing.assert_array_equal(residuals.intervals(outputs, rank), found)
            patch.setattr("fastnn.estimators.intervals._MOST_GROUPS", n)
            np.testing.assert_allclose(residuals.intervals(outputs, rank), found, atol=1e-14)
    assert residuals.intervals(outputs[:, :0], rank).shape == (0, 2, 2)
