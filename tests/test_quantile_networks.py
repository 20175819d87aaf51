"""Networks that predict several quantiles: the loss, the layer that keeps them in order, and their intervals."""

from functools import partialmethod

import numpy as np
import pytest

import fastnn
from fastnn import layers, losses
from fastnn.metrics import interval_coverage

RNG = np.random.default_rng(7)
LEVELS = (0.1, 0.5, 0.9)


def test_loss_is_the_mean_of_the_losses_of_the_levels():
    y, q = RNG.normal(size=(50, 2)), RNG.normal(size=(50, 6))
    each = [losses.Quantile(level)(y, q[:, 2 * k : 2 * k + 2]) for k, level in enumerate(LEVELS)]
    assert losses.MultiQuantile(LEVELS)(y, q) == pytest.approx(np.mean(each), rel=1e-15)


@pytest.mark.parametrize("levels", [(), (0.5, 0.1), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5), 0.5, "half", ["a"], [np.nan]])
def test_wrong_levels(levels):
    with pytest.raises(ValueError, match="levels must"):
        losses.MultiQuantile(levels)


def test_outputs_must_suit_the_levels():
    model = fastnn.Sequential([fastnn.Input((2,)), layers.Dense(4)])
    with pytest.raises(ValueError, match="an output for each of its 3 levels per target; the model has 4"):
        model.compile("sgd", losses.MultiQuantile(LEVELS))
    with pytest.raises(ValueError, match="needs 3 inputs for each target, one for each level, got 4"):
        layers.NonCrossingQuantiles(3)(fastnn.Input((4,)))
    with pytest.raises(ValueError, match="'multi_quantile' predicts several"):
        fastnn.MLPRegressor(loss="multi_quantile").fit(np.ones((4, 1)), np.arange(4.0))


def quantile_network(n_targets=1, dtype="float32"):
    model = fastnn.Sequential(
        [
            layers.Dense(24, "tanh"),
            layers.Dense(n_targets * len(LEVELS)),
            layers.NonCrossingQuantiles(len(LEVELS)),
        ],
        seed=0,
        dtype=dtype,
    )
    model.compile(fastnn.optimizers.Adam(0.01), losses.MultiQuantile(LEVELS), metrics=["mae"])
    return model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quantiles_never_cross(dtype):
    x = fastnn.Input((6,))
    model = fastnn.Model(x, layers.NonCrossingQuantiles(3)(x), dtype=dtype)
    given = 10.0 ** RNG.uniform(-8, 4, (5000, 6)) * RNG.choice([-1.0, 1.0], (5000, 6))
    found = model.predict(given, verbose=0).reshape(-1, 3, 2)
    assert (np.diff(found, axis=1) >= 0.0).all()
    np.testing.assert_array_equal(found[:, 0], given[:, :2].astype(dtype))


def test_network_learns_the_quantiles_and_is_kept_in_a_file(tmp_path):
    X = RNG.uniform(-1, 1, (2000, 1))
    noise = RNG.uniform(-1, 1, (2000, 2))
    y = np.column_stack([X[:, 0] + noise[:, 0], (1.0 + X[:, 0]) * noise[:, 1]])
    model = quantile_network(n_targets=2)
    history = model.fit(X, y, epochs=60, batch_size=64, verbose=0).history
    found = model.predict(X, verbose=0)
    assert found.shape == (2000, 6)
    wanted = np.column_stack([c for z in (-0.8, 0.0, 0.8) for c in (X[:, 0] + z, (1.0 + X[:, 0]) * z)])
    assert np.abs(found - wanted).mean() < 0.06
    middle = np.abs(model.predict(X, verbose=0)[:, 2:4] - y).mean()
    assert model.evaluate(X, y, verbose=0)[1] == pytest.approx(middle, rel=1e-5)
    assert history["mae"][-1] < history["mae"][0]
    model.save(tmp_path / "quantiles.fastnn")
    loaded = fastnn.load_model(tmp_path / "quantiles.fastnn")
    assert loaded.loss.levels == LEVELS
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), found)


@pytest.fixture
def few_epochs(monkeypatch):
    """Train 30 epochs."""
    pytest.importorskip("sklearn")
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 30)


@pytest.mark.usefixtures("few_epochs")
@pytest.mark.parametrize(("recipe", "n_outputs"), [("plain", 1), ("realmlp", 2), ("tabm", 2)])
def test_intervals_of_quantiles(recipe, n_outputs, monkeypatch):
    from fastnn.tabular import recipes

    monkeypatch.setattr(recipes.Task, "__init__", partialmethod(recipes.Task.__init__, n_members=3))
    X = RNG.uniform(-1, 1, (600, 2))
    y = X[:, :1] + (0.05 + 0.6 * (X[:, :1] > 0)) * RNG.normal(size=(600, n_outputs))
    y = y[:, 0] if n_outputs == 1 else y
    model = fastnn.TabularRegressor(recipe, n_bags=3, random_state=0, intervals="quantiles").fit(X[:300], y[:300])
    test, truth = X[300:], y[300:]
    bounds = model.predict_interval(test)
    assert bounds.shape == (*truth.shape, 2)
    assert 0.84 < interval_coverage(truth, bounds[..., 0], bounds[..., 1]) < 0.96
    widths = bounds[..., 1] - bounds[..., 0]
    assert (widths > 0).all()
    assert widths[test[:, 0] > 0].mean() > 1.3 * widths[test[:, 0] < 0].mean()
    outputs = model._quantiles.outputs(model._encoded(test))
    levels = outputs.reshape(*outputs.shape[:2], 9, n_outputs)
    assert (np.diff(levels, axis=2) >= 0).all()
    narrow = model.predict_interval(test, 0.5)
    assert (narrow[..., 1] - narrow[..., 0] < widths).mean() > 0.95
    with pytest.raises(ValueError, match=r"coverage=0\.999 needs at least 999 rows"):
        model.predict_interval(test, 0.999)
    with pytest.raises((ValueError, TypeError), match="coverage"):
        model.predict_interval(test, "most")


@pytest.mark.usefixtures("few_epochs")
def test_predictions_are_those_without_quantiles():
    X = RNG.normal(size=(60, 2))
    options = {"n_bags": 2, "random_state": 0}
    plain = fastnn.TabularRegressor("plain", **options).fit(X, X[:, 0])
    other = fastnn.TabularRegressor("plain", intervals="quantiles", **options).fit(X, X[:, 0])
    np.testing.assert_array_equal(plain.predict(X), other.predict(X))
    with pytest.raises(ValueError, match="intervals"):
        fastnn.TabularRegressor(intervals="both").fit(X, X[:, 0])
