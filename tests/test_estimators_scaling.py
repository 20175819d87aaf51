"""``standardize=True`` in any unit: of numbers whose squares vanish or overflow, and of targets far from zero."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

import fastnn
from fastnn.estimators.preprocessing import InputPreparation, center_and_deviation

RNG = np.random.default_rng(6)
N = 60
X = RNG.normal(size=(N, 2))
Y = X[:, 0] + 0.3 * RNG.normal(size=N)


def net(**options):
    return fastnn.MLPRegressor(
        **{
            "hidden_layer_sizes": (4,),
            "max_iter": 50,
            "standardize": True,
            "learning_rate_init": 0.05,
            "random_state": 0,
            **options,
        }
    )


@pytest.mark.parametrize("weight", [None, RNG.uniform(0.5, 2.0, 60)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_means_and_deviations_have_the_bits_of_numpy(dtype, weight):
    values = (100.0 * RNG.normal(size=(60, 3)) + 7.0).astype(dtype)
    center, deviation = center_and_deviation(values, weight)
    wide = values.astype("f8")
    expected = np.average(wide, axis=0, weights=weight)
    np.testing.assert_array_equal(center, expected)
    np.testing.assert_array_equal(deviation, np.sqrt(np.average((wide - expected) ** 2, axis=0, weights=weight)))
    if weight is None:
        np.testing.assert_array_equal(deviation, values.std(axis=0, dtype="f8"))


@pytest.mark.parametrize("unit", [2.0**-700, 2.0**-535, 2.0**-100, 2.0**700])
def test_the_unit_does_not_matter(unit):
    center, deviation = center_and_deviation(X * unit)
    expected = center_and_deviation(X)
    np.testing.assert_array_equal(center, expected[0] * unit)
    np.testing.assert_allclose(deviation / unit, expected[1], rtol=1e-15)
    found = net().fit(X, Y).predict(X)
    assert np.corrcoef(found, Y)[0, 1] > 0.9
    np.testing.assert_allclose(net().fit(X * unit, Y).predict(X * unit), found, rtol=1e-9)
    np.testing.assert_allclose(net().fit(X, Y * unit).predict(X) / unit, found, rtol=1e-9)


def test_rows_of_weight_zero_do_not_count():
    values = np.array([[0.1, 1e300], [0.1, 1.0], [5.0, 3.0], [0.1, 5.0]])
    center, deviation = center_and_deviation(values, np.array([1.0, 1.0, 0.0, 2.0]) * [0.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(center, [0.1, 11.0 / 3.0], rtol=1e-15)
    np.testing.assert_allclose(deviation, [0.0, np.sqrt(32.0 / 9.0)], rtol=1e-15)


def test_constant_columns_have_no_deviation():
    many = np.full((200_000, 2), 0.1)
    assert many.std(axis=0).max() > 1e-15  # the mean is rounded
    center, deviation = center_and_deviation(many)
    assert (center == 0.1).all() and (deviation == 0.0).all()
    expected = net().fit(np.column_stack([X, np.zeros(N)]), Y)
    for value in (0.1, 1e-300, 1.7e18 / 3.0, 1e200):
        table = np.column_stack([X, np.full(N, value)])
        model = net().fit(table, Y)
        assert (model._preparation.center[2], model._preparation.scale[2]) == (value, 1.0)
        np.testing.assert_array_equal(model.predict(table), expected.predict(table - [0.0, 0.0, value]))
        assert net().fit(X, np.full(N, value))._target_scaling[0] == value


@pytest.mark.parametrize("y", [1e9 + 100.0 * Y, (100 * Y).astype(int) + 10**15])
def test_targets_too_far_from_zero_for_float32_are_told(y):
    narrow = X.astype(np.float32)
    with pytest.warns(UserWarning, match=r"y has a mean of 1e\+\d+ and a deviation of .* predictions are float32"):
        net().fit(narrow, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "Stochastic Optimizer")
        found = net(dtype="float64").fit(narrow, y).predict(narrow)
        net().fit(X, y)
        net().fit(narrow, 100.0 * Y + 1e4)
    assert np.corrcoef(found - y.mean(), y - y.mean())[0, 1] > 0.9


def test_a_constant_column_of_a_source_has_no_deviation():
    n = 100_000
    table = np.column_stack([np.arange(n) % 7.0, np.full(n, 0.1), np.where(np.arange(n) % 3 == 0, np.nan, 0.7)])
    y = table[:, 0]
    for missing in ("mean", "indicator"):
        models = [
            net(missing=missing, max_iter=1, shuffle=False).fit(*rows)
            for rows in ((table, y), (fastnn.data.source(table, y),))
        ]
        for model in models:
            assert model._preparation.center.tolist()[1:] == [0.1, 0.7]
            assert model._preparation.scale.tolist()[1:] == [1.0, 1.0]
            assert model._preparation.fill[2] == 0.7
        far = np.array([[3.0, 0.2, 0.8]])
        np.testing.assert_allclose(*(model.predict(far) for model in models), rtol=1e-6)


def test_the_mean_that_fills_in_float32_is_that_of_float64():
    table = np.full((1_000_000, 2), 0.1, np.float32)
    table[::2] = 0.3
    table[7] = np.nan
    assert abs(np.nanmean(table, axis=0)[0] - 0.2) > 1e-4  # sums in float32
    preparation = InputPreparation.for_inputs(table, False, "mean")
    np.testing.assert_allclose(preparation.fill, [0.2, 0.2], rtol=1e-6)
    assert preparation.fill.dtype == preparation.transform(table[:9]).dtype == np.float32
