"""Activation functions and their derivatives in plain NumPy.

Every activation is a row of the table ``ACTIVATIONS``: its forward function, its gradient as a function of the input
x, and, where one exists, its gradient as a function of the output, for backward passes that keep outputs. All of them
preserve float32 and float64 and, except for the exponential, are finite for every finite input.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastnn.reference.arguments import Array, as_floating, complete_options, require_known
from fastnn.reference.error_function import normal_cdf

# Klambauer et al., "Self-normalizing neural networks", 2017.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946
_GELU_TANH_SCALE = math.sqrt(2.0 / math.pi)
_GELU_TANH_CUBIC = 0.044715


def _linear(x: Array, out: Array) -> None:
    if out is not x:
        np.copyto(out, x)


def _linear_gradient(x: Array, grad: Array, dx: Array) -> None:
    if dx is not grad:
        np.copyto(dx, grad)


def _relu(x: Array, out: Array) -> None:
    np.maximum(x, 0.0, out=out)


def _relu_gradient(x: Array, grad: Array, dx: Array) -> None:
    np.multiply(grad, x > 0.0, out=dx)


def _leaky_relu(x: Array, out: Array, negative_slope: float) -> None:
    np.copyto(out, np.where(x > 0.0, x, x * negative_slope))


def _leaky_relu_gradient(x: Array, grad: Array, dx: Array, negative_slope: float) -> None:
    np.multiply(grad, np.where(x > 0.0, x.dtype.type(1.0), x.dtype.type(negative_slope)), out=dx)


def _tanh(x: Array, out: Array) -> None:
    np.tanh(x, out=out)


def _tanh_gradient(x: Array, grad: Array, dx: Array) -> None:
    # 1 / cosh(x)^2 = 4 e / (1 + e)^2 with e = exp(-2 |x|): no cancellation where tanh is near 1.
    e = np.exp(-2.0 * np.abs(x))
    np.multiply(grad, 4.0 * e / np.square(1.0 + e), out=dx)


def _tanh_gradient_from_out(y: Array, grad: Array, dx: Array) -> None:
    slope = np.square(y)
    np.subtract(1.0, slope, out=slope)
    np.multiply(grad, slope, out=dx)


def _sigmoid_of(x: Array) -> Array:
    # 1 / (1 + e) for x >= 0 and e / (1 + e) below, with e = exp(-|x|): no overflow, no cancellation.
    e = np.abs(x)
    np.negative(e, out=e)
    np.exp(e, out=e)
    numerator = np.where(x >= 0.0, x.dtype.type(1.0), e)
    e += 1.0
    numerator /= e
    return numerator


def _sigmoid(x: Array, out: Array) -> None:
    np.copyto(out, _sigmoid_of(x))


def _sigmoid_gradient(x: Array, grad: Array, dx: Array) -> None:
    e = np.exp(-np.abs(x))
    np.multiply(grad, e / np.square(1.0 + e), out=dx)


def _sigmoid_gradient_from_out(y: Array, grad: Array, dx: Array) -> None:
    slope = 1.0 - y
    slope *= y
    np.multiply(grad, slope, out=dx)


def _exponential(x: Array, out: Array) -> None:
    np.exp(x, out=out)


def _exponential_gradient(x: Array, grad: Array, dx: Array) -> None:
    np.multiply(grad, np.exp(x), out=dx)


def _exponential_gradient_from_out(y: Array, grad: Array, dx: Array) -> None:
    np.multiply(grad, y, out=dx)


def _softmax(x: Array, out: Array) -> None:
    np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
    np.exp(out, out=out)
    out /= out.sum(axis=-1, keepdims=True)


def _softmax_gradient(x: Array, grad: Array, dx: Array) -> None:
    y = np.empty_like(x)
    _softmax(x, y)
    _softmax_gradient_from_out(y, grad, dx)


def _softmax_gradient_from_out(y: Array, grad: Array, dx: Array) -> None:
    projection = (grad * y).sum(axis=-1, keepdims=True)
    np.subtract(grad, projection, out=dx)
    dx *= y


def log_of_sum(exponentials: Array, total: Array) -> Array:
    """Return ``log(total)``, the sums of rows of exponentials whose largest is 1.

    Where no other comes near 1, log(1 + the others): the logarithm of the sum would lose what is small.
    """
    others = np.where(exponentials < 1, exponentials, 0).sum(axis=-1, keepdims=True)
    logarithm: Array = np.where(total < 2, np.log1p(others), np.log(total))
    return logarithm


def _log_softmax(x: Array, out: Array) -> None:
    np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
    exponentials = np.exp(out)
    out -= log_of_sum(exponentials, exponentials.sum(axis=-1, keepdims=True))


def _log_softmax_gradient(x: Array, grad: Array, dx: Array) -> None:
    y = np.empty_like(x)
    _log_softmax(x, y)
    _log_softmax_gradient_from_out(y, grad, dx)


def _log_softmax_gradient_from_out(y: Array, grad: Array, dx: Array) -> None:
    np.subtract(grad, np.exp(y) * grad.sum(axis=-1, keepdims=True), out=dx)


def _softplus(x: Array, out: Array) -> None:
    # log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)) never overflows.
    tail = np.log1p(np.exp(-np.abs(x)))
    np.add(np.maximum(x, 0.0), tail, out=out)


def _softplus_gradient(x: Array, grad: Array, dx: Array) -> None:
    np.multiply(grad, _sigmoid_of(x), out=dx)


def _softplus_gradient_from_out(y: Array, grad: Array, dx: Array) -> None:
    np.multiply(grad, -np.expm1(-y), out=dx)


def _scaled_elu(x: Array, out: Array, alpha: float, scale: float) -> None:
    negative = np.expm1(np.minimum(x, 0.0))
    negative *= scale * alpha
    np.copyto(out, np.where(x > 0.0, scale * x, negative))


def _scaled_elu_gradient(x: Array, grad: Array, dx: Array, alpha: float, scale: float) -> None:
    slope = np.exp(np.minimum(x, 0.0))
    slope *= scale * alpha
    np.multiply(grad, np.where(x > 0.0, x.dtype.type(scale), slope), out=dx)


def _scaled_elu_gradient_from_out(y: Array, grad: Array, dx: Array, alpha: float, scale: float) -> None:
    np.multiply(grad, np.where(y > 0.0, y.dtype.type(scale), y + scale * alpha), out=dx)


def _elu(x: Array, out: Array, alpha: float) -> None:
    _scaled_elu(x, out, alpha, 1.0)


def _elu_gradient(x: Array, grad: Array, dx: Array, alpha: float) -> None:
    _scaled_elu_gradient(x, grad, dx, alpha, 1.0)


def _elu_gradient_from_out(y: Array, grad: Array, dx: Array, alpha: float) -> None:
    _scaled_elu_gradient_from_out(y, grad, dx, alpha, 1.0)


def _selu(x: Array, out: Array) -> None:
    _scaled_elu(x, out, _SELU_ALPHA, _SELU_SCALE)


def _selu_gradient(x: Array, grad: Array, dx: Array) -> None:
    _scaled_elu_gradient(x, grad, dx, _SELU_ALPHA, _SELU_SCALE)


def _selu_gradient_from_out(y: Array, grad: Array, dx: Array) -> None:
    _scaled_elu_gradient_from_out(y, grad, dx, _SELU_ALPHA, _SELU_SCALE)


def _gelu(x: Array, out: Array) -> None:
    # Below -40 the distribution function is zero in float64; the bound avoids -inf * 0.
    np.multiply(np.maximum(x, -40.0), normal_cdf(x), out=out)


def _gelu_gradient(x: Array, grad: Array, dx: Array) -> None:
    bounded = np.clip(x, -40.0, 40.0)
    density = np.exp(-0.5 * bounded * bounded)
    density *= 1.0 / math.sqrt(2.0 * math.pi)
    np.multiply(grad, normal_cdf(x) + bounded * density, out=dx)


def _gelu_tanh(x: Array, out: Array) -> None:
    # (1 + tanh(u)) / 2 = sigmoid(2 u), which keeps the relative accuracy of the negative tail.
    bounded = np.maximum(x, -60.0)
    cubed = np.minimum(bounded, 60.0)
    inner = 2.0 * _GELU_TANH_SCALE * (cubed + _GELU_TANH_CUBIC * cubed * cubed * cubed)
    np.multiply(bounded, _sigmoid_of(inner), out=out)


def _gelu_tanh_gradient(x: Array, grad: Array, dx: Array) -> None:
    bounded = np.clip(x, -60.0, 60.0)
    square = bounded * bounded
    inner = 2.0 * _GELU_TANH_SCALE * bounded * (1.0 + _GELU_TANH_CUBIC * square)
    s = _sigmoid_of(inner)
    slope = 2.0 * _GELU_TANH_SCALE * (1.0 + 3.0 * _GELU_TANH_CUBIC * square)
    np.multiply(grad, s * (1.0 + bounded * slope * _sigmoid_of(-inner)), out=dx)


def _silu(x: Array, out: Array) -> None:
    np.multiply(np.maximum(x, -800.0), _sigmoid_of(x), out=out)


def _silu_gradient(x: Array, grad: Array, dx: Array) -> None:
    bounded = np.clip(x, -800.0, 800.0)
    np.multiply(grad, _sigmoid_of(bounded) * (1.0 + bounded * _sigmoid_of(-bounded)), out=dx)


def _relu6(x: Array, out: Array) -> None:
    np.clip(x, 0.0, 6.0, out=out)


def _relu6_gradient(x: Array, grad: Array, dx: Array) -> None:
    np.multiply(grad, (x > 0.0) & (x < 6.0), out=dx)


def _general_relu(x: Array, out: Array, negative_slope: float, max_value: float, threshold: float) -> None:
    np.copyto(out, np.where(x > threshold, np.clip(x, 0.0, max_value), negative_slope * (x - threshold)))


def _general_relu_gradient(
    x: Array, grad: Array, dx: Array, negative_slope: float, max_value: float, threshold: float
) -> None:
    inside = (x > 0.0) & (x < max_value)
    np.multiply(grad, np.where(x > threshold, inside, negative_slope).astype(x.dtype), out=dx)


def _mish(x: Array, out: Array) -> None:
    tail = np.log1p(np.exp(-np.abs(x)))
    np.multiply(np.maximum(x, -1000.0), np.tanh(np.maximum(x, 0.0) + tail), out=out)


def _mish_gradient(x: Array, grad: Array, dx: Array) -> None:
    bounded = np.clip(x, -1000.0, 1000.0)
    t = np.tanh(np.maximum(bounded, 0.0) + np.log1p(np.exp(-np.abs(bounded))))
    np.multiply(grad, t + bounded * (1.0 - t * t) * _sigmoid_of(bounded), out=dx)


def _softsign(x: Array, out: Array) -> None:
    np.divide(x, 1.0 + np.abs(x), out=out)


def _softsign_gradient(x: Array, grad: Array, dx: Array) -> None:
    np.multiply(grad, 1.0 / np.square(1.0 + np.abs(x)), out=dx)


def _hard_sigmoid(x: Array, out: Array) -> None:
    np.multiply(np.clip(x + 3.0, 0.0, 6.0), 1.0 / 6.0, out=out)


def _hard_sigmoid_gradient(x: Array, grad: Array, dx: Array) -> None:
    np.multiply(grad, np.where(np.abs(x) < 3.0, x.dtype.type(1.0 / 6.0), x.dtype.type(0.0)), out=dx)


def _hard_silu(x: Array, out: Array) -> None:
    np.multiply(np.maximum(x, -3.0), np.clip(x + 3.0, 0.0, 6.0) * (1.0 / 6.0), out=out)


def _hard_silu_gradient(x: Array, grad: Array, dx: Array) -> None:
    slope = np.clip(x + 3.0, 0.0, 6.0) + np.where(np.abs(x) < 3.0, x, x.dtype.type(0.0))
    np.multiply(grad, slope * (1.0 / 6.0), out=dx)


class Activation(NamedTuple):
    """One activation: ``forward(x, out, *options)``, ``gradient(x, grad, dx, *options)`` and the options' defaults.

    ``gradient_from_out(y, grad, dx, *options)`` is None if the derivative is not a function of the output.
    ``dx`` may be ``grad``; ``out`` may be ``x``.
    """

    forward: Callable[..., None]
    gradient: Callable[..., None]
    gradient_from_out: Callable[..., None] | None
    options: dict[str, float]


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(_linear, _linear_gradient, _linear_gradient, {}),
    "relu": Activation(_relu, _relu_gradient, _relu_gradient, {}),
    "leaky_relu": Activation(_leaky_relu, _leaky_relu_gradient, _leaky_relu_gradient, {"negative_slope": 0.2}),
    "tanh": Activation(_tanh, _tanh_gradient, _tanh_gradient_from_out, {}),
    "sigmoid": Activation(_sigmoid, _sigmoid_gradient, _sigmoid_gradient_from_out, {}),
    "exponential": Activation(_exponential, _exponential_gradient, _exponential_gradient_from_out, {}),
    "softmax": Activation(_softmax, _softmax_gradient, _softmax_gradient_from_out, {}),
    "log_softmax": Activation(_log_softmax, _log_softmax_gradient, _log_softmax_gradient_from_out, {}),
    "softplus": Activation(_softplus, _softplus_gradient, _softplus_gradient_from_out, {}),
    "elu": Activation(_elu, _elu_gradient, _elu_gradient_from_out, {"alpha": 1.0}),
    "selu": Activation(_selu, _selu_gradient, _selu_gradient_from_out, {}),
    "gelu": Activation(_gelu, _gelu_gradient, None, {}),
    "gelu_tanh": Activation(_gelu_tanh, _gelu_tanh_gradient, None, {}),
    "silu": Activation(_silu, _silu_gradient, None, {}),
    "relu6": Activation(_relu6, _relu6_gradient, None, {}),
    "general_relu": Activation(
        _general_relu,
        _general_relu_gradient,
        None,
        {"negative_slope": 0.0, "max_value": math.inf, "threshold": 0.0},
    ),
    "mish": Activation(_mish, _mish_gradient, None, {}),
    "softsign": Activation(_softsign, _softsign_gradient, None, {}),
    "hard_sigmoid": Activation(_hard_sigmoid, _hard_sigmoid_gradient, None, {}),
    "hard_silu": Activation(_hard_silu, _hard_silu_gradient, None, {}),
}


def find_activation(name: str, options: dict[str, Any]) -> tuple[Activation, tuple[float, ...]]:
    """Return the table's row for ``name`` and the values of its options in order.

    Raises
    ------
    ValueError
        Unknown name, or an option that is not a finite number of at least 0.
    """
    require_known("activation", name, ACTIVATIONS)
    entry = ACTIVATIONS[name]
    values = complete_options(f"activation {name!r}", options, entry.options)
    for option, value in values.items():
        if not 0.0 <= value < math.inf and not (option == "max_value" and value == math.inf):
            raise ValueError(f"{option} of activation {name!r} must be a finite number >= 0, got {value!r}.")
    return entry, tuple(float(value) for value in values.values())


def activation(name: str, x: ArrayLike, out: Array | None = None, **options: float) -> Array:
    """Apply an activation: ``y = f(x)``, elementwise, or along the last axis for softmax and log_softmax.

    Parameters
    ----------
    name : str
        A key of `ACTIVATIONS`.
    x : array_like
        Any shape; float32 stays float32, other types are computed in float64.
    out : ndarray, optional
        Array for the result, of the shape and type of x; may be x itself.
    **options : float
        ``negative_slope`` of leaky_relu (0.2), ``alpha`` of elu (1.0), ``negative_slope`` (0), ``max_value``
        (infinity) and ``threshold`` (0) of general_relu.

    Returns
    -------
    ndarray
        ``out``, or a new array.

    Examples
    --------
    >>> activation("relu", [-1.0, 2.0])
    array([0., 2.])
    """
    entry, values = find_activation(name, options)
    x = as_floating("x", x)
    if out is None:
        out = np.empty_like(x)
    elif out.shape != x.shape or out.dtype != x.dtype:
        raise ValueError(f"out must have shape {x.shape} and type {x.dtype}, got {out.shape} and {out.dtype}.")
    entry.forward(x, out, *values)
    return out


def activation_gradient(name: str, x: ArrayLike, grad_out: ArrayLike, **options: float) -> Array:
    """Pull a gradient back through an activation: ``grad_out * f'(x)``, or its product with the row's Jacobian.

    The derivative is computed from x, accurate in relative terms where f saturates. It is 0 for relu and the slope
    of the negative side for leaky_relu and elu at x = 0.

    Parameters
    ----------
    name : str
        A key of `ACTIVATIONS`.
    x, grad_out : array_like
        The activation's input and the gradient with respect to its output, of the same shape.
    **options : float
        As in `activation`.

    Returns
    -------
    ndarray
        Gradient with respect to x, of the shape of x.

    Examples
    --------
    >>> activation_gradient("relu", [-1.0, 2.0], [10.0, 10.0])
    array([ 0., 10.])
    """
    entry, values = find_activation(name, options)
    x = as_floating("x", x)
    grad_out = as_floating("grad_out", grad_out)
    if grad_out.shape != x.shape:
        raise ValueError(f"grad_out must have the shape of x, {x.shape}, got {grad_out.shape}.")
    dx = np.empty_like(x, dtype=np.result_type(x, grad_out))
    entry.gradient(x, grad_out, dx, *values)
    return dx
