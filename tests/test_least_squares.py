"""Residuals of chains of dense layers in the core: against finite differences, and bit for bit against NumPy's path."""

import numpy as np
import pytest

import fastnn
import fastnn._core as core
from fastnn import layers
from fastnn.training.jacobian import ResidualNetwork
from fastnn.training.residuals import ChainResiduals, Residuals, residuals_of

PROBLEMS = {
    "SIN": (41, 1, lambda: [layers.Dense(5, "tanh"), layers.Dense(1)]),
    "PARITY": (8, 3, lambda: [layers.Dense(10, "tanh"), layers.Dense(10, "tanh"), layers.Dense(1)]),
    "three columns in blocks": (333, 7, lambda: [layers.Dense(20, "gelu"), layers.Dense(13, "relu"), layers.Dense(3)]),
    "no biases": (99, 4, lambda: [layers.Dense(9, "elu", use_bias=False), layers.Dense(2, "sigmoid", use_bias=False)]),
    "one weight": (1, 1, lambda: [layers.Dense(1, use_bias=False)]),
    "fixed layers first": (
        700,
        3,
        lambda: [
            layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0]),
            layers.Dense(4, "tanh", trainable=False),
            layers.Dense(40, "softplus"),
            layers.Dense(10),
        ],
    ),
}


def problem(name):
    """Return program, network, weights, inputs, targets and factors of a problem."""
    n, n_in, stack = PROBLEMS[name]
    rng = np.random.default_rng(len(name))
    model = fastnn.Sequential(stack(), dtype="float64", seed=0)
    model.build((None, n_in))
    columns = model.program.n_outputs
    arrays = rng.normal(size=(n, n_in)), rng.normal(size=(columns, n)), rng.uniform(0.5, 2.0, (columns, n))
    moved = [array + 0.3 * rng.normal(size=array.shape) for array in model.get_weights()]
    model.set_weights(moved)
    return model.program, model.network, arrays


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_core_has_the_bits_of_numpy(name):
    program, network, (X, targets, scale) = problem(name)
    slow = Residuals(ResidualNetwork(program, "a test"), [X], targets, scale)
    flat = slow.take_weights(network)
    error, (normal, gradient), (J, r) = slow.square_sum(flat), slow.normal_equations(flat), slow.jacobian(flat)
    upper = np.triu_indices(len(flat))
    for n_threads in (1, 2, 3):
        with fastnn.threads(n_threads):
            fast = residuals_of(program, "a test", [X], targets, scale)
        assert type(fast) is ChainResiduals
        np.testing.assert_array_equal(fast.take_weights(network), flat)
        assert fast.square_sum(flat) == error
        found, slope = fast.normal_equations(flat)
        np.testing.assert_array_equal(found[upper], normal[upper])
        np.testing.assert_array_equal(slope, gradient)
        for a, b in zip(fast.jacobian(flat), (J, r), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["SIN", "PARITY", "no biases"])
def test_jacobian_equals_differences(name):
    program, network, (X, targets, scale) = problem(name)
    residuals = residuals_of(program, "a test", [X], targets, scale)
    flat = residuals.take_weights(network)
    J, r = residuals.jacobian(flat)
    assert residuals.square_sum(flat) == pytest.approx(r @ r, rel=1e-13)
    for i, step in enumerate(1e-5 * np.eye(flat.size)):
        near, far = (residuals.jacobian(flat + k * step)[1] - residuals.jacobian(flat - k * step)[1] for k in (1, 2))
        np.testing.assert_allclose(J[i], (8.0 * near - far) / 12e-5, rtol=1e-7, atol=1e-9)


def test_other_networks_go_without_the_core():
    inputs = fastnn.Input((2,))
    first = layers.Dense(3, "tanh")
    again = layers.Dense(2, "tanh")
    frozen = fastnn.Sequential([layers.Dense(3), layers.Dense(2, trainable=False), layers.Dense(1)], dtype="float64")
    frozen.build((None, 2))
    networks = [
        fastnn.Model(inputs, layers.add([first(inputs), layers.Dense(3)(inputs)])),
        fastnn.Model(inputs, again(again(inputs))),
        fastnn.Model(inputs, [first(inputs), layers.Dense(1)(first(inputs))]),
        frozen,
    ]
    for model in networks:
        assert ResidualNetwork(model.program, "a test").chain() is None


def test_a_fixed_layer_that_changes_is_followed():
    X = np.linspace(-1.0, 1.0, 20)[:, None]
    losses = []
    for early in (True, False):
        stack = [layers.Dense(4, "tanh", trainable=False), layers.Dense(1)]
        model = fastnn.Sequential(stack, dtype="float64", seed=0)
        model.build((None, 1))
        changed = [2.0 * weight if place < 2 else weight for place, weight in enumerate(model.get_weights())]
        model.compile(optimizer="lm", loss="mse")
        change = fastnn.callbacks.LambdaCallback(on_train_begin=lambda logs, m=model, w=changed: m.set_weights(w))
        if early:
            model.set_weights(changed)
        losses.append(model.fit(X, X**2, epochs=3, verbose=0, callbacks=[] if early else [change]).history["loss"])
    assert losses[0] == losses[1]


def test_damped_step_solves_its_equations():
    rng = np.random.default_rng(0)
    B, gradient = rng.normal(size=(9, 6)), rng.normal(size=6)
    A = np.triu(B.T @ B)
    step, gain = core.damped_step(A, gradient, 0.5)
    np.testing.assert_allclose(step, -np.linalg.solve(B.T @ B + 0.5 * np.eye(6), gradient), rtol=1e-12)
    assert gain == pytest.approx(step @ (0.5 * step - gradient), rel=1e-13)
    assert core.damped_step(-np.eye(2), np.ones(2), 0.5) is None
    with pytest.raises(ValueError, match="must be contiguous float64 of shapes"):
        core.damped_step(A, gradient[:5], 0.5)


def test_arguments_of_the_core_are_checked():
    layer, X, row = (1, True, "tanh", ()), np.ones((4, 2)), np.ones((1, 4))
    found = core.LeastSquares([layer], X, row, row, 16)
    assert found.error(np.zeros(3)) == 4.0
    with pytest.raises(ValueError, match=r"weights must be contiguous float64 of shape \(3,\)"):
        found.error(np.zeros(4))
    for change, message in [
        ({"layers": []}, "layers must be 1 to"),
        ({"layers": [(0, True, "tanh", ())]}, "outputs of a layer must be from 1 to"),
        ({"layers": [(1, True, "softmax", ())]}, "softmax is not elementwise"),
        ({"X": np.ones((0, 2))}, "X is empty"),
        ({"targets": np.ones((2, 4))}, r"targets must have shape \(1, 4\)"),
        ({"block": 24}, "block must be a multiple of 16, got 24"),
    ]:
        arguments = {"layers": [layer], "X": X, "targets": row, "factors": row, "block": 16}
        with pytest.raises(ValueError, match=message):
            core.LeastSquares(**{**arguments, **change})
