"""Bayesian regularization of Levenberg-Marquardt: evidence, noise, wide networks, constant targets."""

import numpy as np
import pytest

import fastnn
from fastnn import layers


def small(units, seed=0, optimizer="lm_bayes"):
    model = fastnn.Sequential([layers.Dense(units, "tanh"), layers.Dense(1)], dtype="float64", seed=seed)
    model.compile(optimizer=optimizer, loss="mse")
    return model


def test_bayesian_regularization_finds_the_noise():
    rng = np.random.default_rng(2)
    X = np.linspace(-1.0, 1.0, 100)[:, None]
    clean = np.sin(np.pi * X)
    y = clean + 0.1 * rng.normal(size=clean.shape)
    bayes, plain = small(20), small(20, optimizer="lm")
    for model in (bayes, plain):
        model.fit(X, y, epochs=200, verbose=0)
    inside = np.linspace(-0.99, 0.99, 500)[:, None]
    errors = [np.mean((model.predict(inside) - np.sin(np.pi * inside)) ** 2) for model in (bayes, plain)]
    assert errors[0] < 0.002 and errors[0] < errors[1]
    assert 3.0 < bayes.optimizer.effective_parameters < 30.0
    assert 0.05 < 1.0 / np.sqrt(2.0 * bayes.optimizer.beta) < 0.2  # the deviation of the noise is 0.1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_bayesian_regularization_of_constant_targets(target):
    model = fastnn.Sequential([layers.Dense(4, "tanh"), layers.Dense(1)], dtype="float64", seed=0)
    model.compile("lm_bayes", "mse")
    x = np.random.default_rng(0).normal(size=(40, 3))
    history = model.fit(x, np.full(40, target), epochs=1000, verbose=0)
    assert history.history["loss"][-1] < 1e-20 and len(history.epoch) < 1000
    assert np.isfinite([model.optimizer.alpha, model.optimizer.beta, model.optimizer.effective_parameters]).all()


@pytest.mark.parametrize("units", [10, 30, 100])
def test_bayesian_regularization_does_not_give_up_on_wide_networks(units):
    """The network of more units than the data need is about as good as that of enough; a straight line is not."""
    x = np.linspace(-1.0, 1.0, 94)[:, None]
    curve = np.sin(2.0 * np.pi * x) * np.exp(-x)
    y = curve + 0.1 * np.random.default_rng(1).normal(size=curve.shape)
    model = fastnn.Sequential([layers.Dense(units, "tanh"), layers.Dense(1)], dtype="float64", seed=1)
    model.compile("lm_bayes", "mse")
    model.fit(x, y, epochs=70, verbose=0)
    assert 10.0 < model.optimizer.effective_parameters < 18.0
    assert np.mean((model.predict(x, verbose=0) - curve) ** 2) < 0.3 * 0.1**2


def test_steps_without_a_penalty_end_in_noise_and_continue_over_fits():
    """Targets that nothing explains get a penalty; two fits are one, also where the first ends before the penalty."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    for y in (rng.normal(size=(60, 1)), np.sin(3.0 * x[:, :1])):
        models = [small(8, seed=2) for _ in "ab"]
        for model, parts in zip(models, ([15], [1, 14]), strict=True):
            for epochs in parts:
                model.fit(x, y, epochs=epochs, verbose=0)
        assert models[0].optimizer.alpha > 0.0 and models[0].optimizer.effective_parameters < 40.0
        assert models[0].predict(x, verbose=0).tobytes() == models[1].predict(x, verbose=0).tobytes()


def test_evidence_of_a_linear_model_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 6))
    y = X[:, :3] @ [1.0, 2.0, -1.0] + 0.5 * rng.normal(size=30)
    flat = dict.fromkeys(("alpha_1", "alpha_2", "lambda_1", "lambda_2"), 0.0)
    other = linear_model.BayesianRidge(fit_intercept=False, tol=1e-14, max_iter=100_000, **flat).fit(X, y)
    model = fastnn.Sequential([layers.Dense(1, use_bias=False)], dtype="float64", seed=0)
    model.compile("lm_bayes", "mse")
    model.fit(X, y, epochs=3000, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], other.coef_, rtol=1e-9, atol=1e-12)
    assert 2.0 * model.optimizer.alpha == pytest.approx(other.lambda_, rel=1e-9)
    assert 2.0 * model.optimizer.beta == pytest.approx(other.alpha_, rel=1e-9)
    expected = other.lambda_ * (other.coef_ @ other.coef_)
    assert model.optimizer.effective_parameters == pytest.approx(expected, rel=1e-9)
