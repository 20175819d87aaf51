"""The public kernels on arrays: arguments, errors, and a few values against the reference."""

import inspect

import numpy as np
import pytest

import fastnn
from fastnn import losses, ops, reference

RNG = np.random.default_rng(0)
X, W, B = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 2)), RNG.normal(size=2)


@pytest.mark.parametrize(
    "name", ["dense_forward", "dense_backward", "activation", "activation_gradient", "loss", "loss_and_gradient"]
)
def test_arguments_are_those_of_the_reference(name):
    ours, theirs = (inspect.signature(getattr(module, name)).parameters for module in (ops, reference))
    assert list(ours) == list(theirs)
    assert [p.default for p in ours.values()] == [p.default for p in theirs.values()]


@pytest.mark.parametrize("name", ops.LOSS_OPTIONS)
def test_defaults_of_losses_are_those_of_the_kernels(name):
    options = losses.get(name).options()
    assert options == {**ops.REDUCTION_OPTIONS, **ops.LOSS_OPTIONS[name]}


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "gelu", "softmax", "leaky_relu"])
def test_dense_equals_the_reference(activation):
    out = ops.dense_forward(X, W, B, activation)
    np.testing.assert_allclose(out, reference.dense_forward(X, W, B, activation), rtol=1e-12, atol=1e-14)
    assert ops.dense_forward(X, W, B, activation, np.empty((5, 2))).dtype == np.float64
    grad = RNG.normal(size=(5, 2))
    for a, b in zip(
        ops.dense_backward(grad, X, W, out, activation, B),
        reference.dense_backward(grad, X, W, out, activation, B),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_dtypes_and_lists():
    assert ops.activation("relu", X.astype(np.float32)).dtype == np.float32
    assert ops.activation("relu", [1, -1]).tolist() == [1.0, 0.0]
    assert ops.dense_forward([[1, 2]], [[1], [1]]).tolist() == [[3.0]]
    assert ops.loss("mean_squared_error", [1.0, 2.0], [1.0, 4.0]) == 2.0
    value, gradient = ops.loss_and_gradient("mean_squared_error", [1.0, 2.0], [1.0, 4.0])
    assert (value, gradient.tolist()) == (2.0, [0.0, 2.0])
    assert ops.loss("sparse_categorical_crossentropy", [1.0], [[0.5, 0.5]]) == pytest.approx(np.log(2.0))
    assert ops.activation("elu", np.array([-1.0]), alpha=2.0)[0] == pytest.approx(2.0 * np.expm1(-1.0))


def test_errors():
    for call, message in (
        (lambda: ops.activation("rleu", X), "unknown activation 'rleu'. Did you mean 'relu'"),
        (lambda: ops.activation("relu", X, np.empty((5, 2))), "out must have shape"),
        (lambda: ops.activation("relu", ["a"]), "x must be real numbers"),
        (lambda: ops.dense_forward(X, W.T), r"kernel must have shape \(3, n_out\), got \(2, 3\)"),
        (lambda: ops.dense_forward(X, W, B[:1]), r"bias must have shape \(2,\)"),
        (lambda: ops.dense_backward(X, X, W, X), r"grad_out must have shape \(5, 2\)"),
        (lambda: ops.activation_gradient("relu", X, W), "grad_out must have the shape of x"),
        (lambda: ops.loss("mse_", X, X), "unknown loss 'mse_'"),
        (lambda: ops.loss("huber", X, W), "y_true must have the shape of y_pred"),
        (lambda: ops.loss("huber", X, X, sample_weight=[1.0]), r"sample_weight must have shape \(5,\)"),
        (lambda: ops.loss("sparse_categorical_crossentropy", [0, 1, 2, 3, 0], X), "whole numbers from 0 to 2"),
        (lambda: ops.loss("sparse_categorical_crossentropy", [0.5] * 5, X), "whole numbers from 0 to 2"),
        (lambda: ops.loss("sparse_categorical_crossentropy", [0, 1], X), "one label for each of 5 rows"),
        (lambda: ops.loss("huber", X[:0], X[:0]), "n > 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="'relu' has no option 'alpha'"):
        ops.activation("relu", X, alpha=1.0)
    with pytest.raises(TypeError, match="no option 'delta'"):
        ops.loss("mean_squared_error", X, X, delta=1.0)
    assert fastnn.ops is ops
