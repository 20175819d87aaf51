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


SAMPLE = np.array([[0.5, -1.5, 2.0], [0.25, 3.0, -0.75]])
LABELS = np.array([2, 0, 1, 2])


def test_array_functions_have_the_results_of_numpy_and_the_arguments_of_keras():
    for result, expected in (
        (ops.arctan2(x1=SAMPLE, x2=2.0), np.arctan2(SAMPLE, 2.0)),
        (ops.isclose(x1=1.0, x2=1.0 + 1e-9), True),
        (ops.nan_to_num(x=[np.nan, np.inf, -np.inf], nan=1.0, posinf=2.0, neginf=3.0), [1.0, 2.0, 3.0]),
        (ops.clip(SAMPLE, x_min=-1.0, x_max=1.0), np.clip(SAMPLE, -1.0, 1.0)),
        (ops.clip(x=SAMPLE, x_min=None, x_max=1.0), np.minimum(SAMPLE, 1.0)),
        (ops.sum(x=SAMPLE, axis=1, keepdims=True), [[1.0], [2.5]]),
        (ops.max(x=SAMPLE, axis=0), [0.5, 3.0, 2.0]),
        (ops.max(x=SAMPLE, initial=4.0), 4.0),
        (ops.reshape(x=SAMPLE, newshape=(3, 2)), SAMPLE.reshape(3, 2)),
        (ops.tile(x=[1.0, 2.0], repeats=2), [1.0, 2.0, 1.0, 2.0]),
        (ops.concatenate(xs=[[1.0], [2.0]], axis=0), [1.0, 2.0]),
        (ops.where(condition=SAMPLE > 0.0, x1=1.0, x2=0.0), SAMPLE > 0.0),
        (ops.quantile(x=[1.0, 2.0, 4.0], q=0.5), 2.0),
        (ops.nanmean(x=[np.nan, 1.0, 3.0]), 2.0),
        (ops.cumsum(x=[1.0, 2.0], dtype="float64"), [1.0, 3.0]),
        (ops.pad(x=[1.0], pad_width=1, constant_values=7.0), [7.0, 1.0, 7.0]),
        (ops.pad(x=[1.0, 2.0], pad_width=1, mode="reflect"), [2.0, 1.0, 2.0, 1.0]),
        (ops.arange(3), [0, 1, 2]),
        (ops.arange(start=1, stop=6, step=2), [1, 3, 5]),
        (ops.divide_no_nan(x1=[1.0, 2.0], x2=[0.0, 4.0]), [0.0, 0.5]),
        (ops.logsumexp(x=[1000.0, 1000.0]), 1000.0 + np.log(2.0)),
        (ops.logsumexp(x=[[-np.inf, -np.inf], [0.0, 0.0]], axis=1), [-np.inf, np.log(2.0)]),
        (ops.rsqrt(x=4.0), 0.5),
        (ops.one_hot(x=LABELS, num_classes=3), np.eye(3)[LABELS]),
        (ops.one_hot(x=[-1, 3], num_classes=3), np.zeros((2, 3))),
        (ops.unstack(x=SAMPLE, axis=1)[2], SAMPLE[:, 2]),
        (ops.slice(inputs=SAMPLE, start_indices=(0, 1), shape=(2, 2)), SAMPLE[:, 1:]),
        (ops.bitwise_left_shift(x=3, y=2), 12),
        (ops.trapezoid(y=[1.0, 3.0]), 2.0),
        (ops.split(x=SAMPLE, indices_or_sections=3, axis=1)[0], SAMPLE[:, :1]),
        (ops.einsum("ij,kj->ik", SAMPLE, SAMPLE), SAMPLE @ SAMPLE.T),
        (ops.cast(x=[1.7], dtype="int32"), [1]),
        (ops.norm(x=[3.0, 4.0]), 5.0),
        (ops.solve(a=[[2.0]], b=[[4.0]]), [[2.0]]),
        (ops.relu(SAMPLE), np.maximum(SAMPLE, 0.0)),
        (ops.softmax([[0.0, 0.0]], axis=-1), [[0.5, 0.5]]),
        (ops.softmax([[0.0], [0.0]], axis=0), [[0.5], [0.5]]),
        (ops.sigmoid(x=0.0), 0.5),
        (ops.leaky_relu(x=-1.0, negative_slope=0.1), -0.1),
    ):
        np.testing.assert_allclose(result, expected, rtol=1e-12)
    assert list(inspect.signature(ops.isclose).parameters) == ["x1", "x2", "rtol", "atol", "equal_nan"]
    assert ops.arctan2.__name__ == "arctan2"


def test_every_array_function_can_be_called():
    square = np.array([[2.0, 1.0], [1.0, 3.0]])
    whole = np.array([[6, 4], [2, 9]])
    for name in dir(ops):
        function = getattr(ops, name)
        required = [
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ]
        values = whole if "shift" in name or name.startswith("bitwise") or name in ("gcd", "lcm", "ldexp") else square
        if name in ("bartlett", "blackman", "hamming", "hanning"):
            assert len(function(3)) == 3
        elif set(required) <= {"x", "x1", "x2", "y", "a", "b", "array", "variable"} and name not in (
            *("array_split", "bincount", "correlate", "cross", "vander", "loss", "activation", "diagflat", "diag"),
            *("arccosh", "arctanh", "arcsin", "arccos"),
        ):
            assert function(**dict.fromkeys(required, values)) is not None, name
