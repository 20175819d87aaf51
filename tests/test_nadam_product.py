"""Nadam's product of momenta: the same numbers as step by step, at the same price after any number of updates."""

import time

import numpy as np
import pytest

import fastnn

X = np.random.default_rng(0).normal(size=(64, 3))


def trained(iterations, beta_1, moments=0.25):
    """Return the weights after two updates that follow `iterations` earlier ones."""
    model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(2)], dtype="float64", seed=0)
    model.compile(fastnn.optimizers.Nadam(0.01, beta_1=beta_1), "mse")
    network = model.network
    for slot in (1, 2):
        network.set_parameter(0, "kernel", np.full((3, 2), moments), slot)
    network.iterations = iterations
    model.fit(X, X[:, :2], batch_size=32, verbose=0)
    return model.get_weights()[0]


def rates(t, beta_1, beta_2=0.999):
    """Return the factors of mean and gradient of update t, by a product over all updates."""
    momenta = [beta_1 * (1 - 0.5 * 0.96**k) for k in range(1, t + 2)]
    products = np.cumprod(np.array(momenta, dtype=np.longdouble))
    return momenta[t] / (1 - products[t]), (1 - momenta[t - 1]) / (1 - products[t - 1])


@pytest.mark.parametrize("beta_1", [0.0, 0.9, 0.999, 0.99999])
def test_a_billion_earlier_updates_cost_no_more_than_none(beta_1):
    trained(0, beta_1)
    for iterations in (10**9, 10**18, 2**62):
        start = time.process_time()
        weights = trained(iterations, beta_1)
        assert time.process_time() - start < 0.5
        assert np.isfinite(weights).all()


@pytest.mark.parametrize("iterations", [-1, 2**62 + 1, 2**63])
def test_iterations_have_bounds(iterations):
    model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(2)])
    model.compile("nadam", "mse")
    with pytest.raises(ValueError, match="iterations must be from 0 to"):
        model.network.iterations = iterations
    assert model.network.iterations == 0


@pytest.mark.parametrize(
    ("iterations", "beta_1"), [(0, 0.9), (500, 0.9), (3000, 0.99), (65534, 0.9999), (80000, 0.9999)]
)
def test_the_product_is_that_of_all_updates(iterations, beta_1):
    """One row, one weight, no bias: w changes by the rule of Dozat (2016), with the product taken one by one."""
    model = fastnn.Sequential([fastnn.Input((1,)), fastnn.layers.Dense(1, use_bias=False)], dtype="float64", seed=0)
    model.compile(fastnn.optimizers.Nadam(0.01, beta_1=beta_1), "mse")
    network = model.network
    network.iterations = iterations
    w = model.get_weights()[0].item()
    model.fit(np.ones((1, 1)), np.zeros((1, 1)), verbose=0)
    g, t = 2 * w, iterations + 1
    of_mean, of_gradient = rates(t, beta_1)
    mean, square = (1 - beta_1) * g, (1 - 0.999) * g * g
    step = 0.01 * float(of_mean * mean + of_gradient * g) / (np.sqrt(square / (1 - 0.999**t)) + 1e-7)
    assert model.get_weights()[0].item() == pytest.approx(w - step, rel=1e-9)
