"""The compiled kernels as functions of arrays; ``fastnn.reference`` has the same functions in NumPy.

Functions of ``keras.ops`` that NumPy has too, such as ``ops.mean`` and ``ops.square``, have NumPy's results and Keras's
arguments, so that metrics written for Keras run.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import fastnn._core as _core
from fastnn._arrays import check_unmasked
from fastnn._missing import refuse
from fastnn._registry import unknown_name

Array = NDArray[Any]

ACTIVATION_OPTIONS: dict[str, dict[str, float]] = {
    "leaky_relu": {"negative_slope": 0.2},
    "elu": {"alpha": 1.0},
    "general_relu": {"negative_slope": 0.0, "max_value": math.inf, "threshold": 0.0},
}
"""Options of the activations that have any, in the core's order, with their defaults."""
_DEFAULTS = {name: tuple(options.values()) for name, options in ACTIVATION_OPTIONS.items()}
_CROSSENTROPY = {"from_logits": False, "label_smoothing": 0.0}
_FOCAL = {"alpha": 0.25, "gamma": 2.0, **_CROSSENTROPY}
LOSS_OPTIONS: dict[str, dict[str, Any]] = {
    "huber": {"delta": 1.0},
    "binary_crossentropy": _CROSSENTROPY,
    "categorical_crossentropy": _CROSSENTROPY,
    "sparse_categorical_crossentropy": {**_CROSSENTROPY, "ignore_class": None},
    "binary_focal_crossentropy": {"apply_class_balancing": False, **_FOCAL},
    "categorical_focal_crossentropy": _FOCAL,
    "quantile": {"q": 0.5},
    "gaussian_nll": {"full": False},
    "dice": {"per_row": False},
    "multi_quantile": {"levels": (0.05, 0.5, 0.95)},
}
"""Options of the losses that have any, with their defaults; all losses have those of ``REDUCTION_OPTIONS`` too."""
REDUCTION_OPTIONS = {"sum": False, "weighted_mean": False}
LABEL_LOSSES = ("sparse_categorical_crossentropy",)
"""Losses whose targets are class labels."""


def _floating(name: str, value: ArrayLike) -> Array:
    """Return ``value`` as a C-contiguous float32 or float64 array; other real types become float64."""
    check_unmasked(value, name)
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be real numbers, but its dtype is {array.dtype}")
    return np.ascontiguousarray(array, dtype=np.float32 if array.dtype == np.float32 else np.float64)


def _columns_per_target(name: str, options: dict[str, Any]) -> int:
    """Return the number of columns of the predictions for a column of the targets."""
    if name == "multi_quantile":
        return len(options["levels"])
    return 2 if name == "gaussian_nll" else 1


def _like(name: str, value: ArrayLike, dtype: np.dtype[Any]) -> Array:
    """Return ``value`` as a C-contiguous array of the dtype of another argument."""
    return _floating(name, value).astype(dtype, copy=False)


def _check_activation(name: str, options: dict[str, float]) -> tuple[float, ...]:
    """Return the values of an activation's options in the core's order."""
    if name not in _core.ACTIVATIONS:
        raise ValueError(unknown_name("activation", name, _core.ACTIVATIONS))
    defaults = ACTIVATION_OPTIONS.get(name, {})
    for option in options:
        if option not in defaults:
            known = ", ".join(defaults) or "none"
            raise TypeError(f"activation {name!r} has no option {option!r}; its options: {known}")
    return tuple(float(options.get(option, default)) for option, default in defaults.items())


def dense_forward(
    x: ArrayLike, kernel: ArrayLike, bias: ArrayLike | None = None, activation: str = "linear", out: Array | None = None
) -> Array:
    """Output of a fully connected layer: ``Y = activation(X @ W + b)``.

    Parameters
    ----------
    x : X (n, n_in).
    kernel : W (n_in, n_out).
    bias : b (n_out,), or None.
    activation : name; its options take their defaults.
    out : array (n, n_out) of x's dtype that receives the result.

    Returns
    -------
    ndarray
        Y (n, n_out).

    Examples
    --------
    >>> import fastnn
    >>> fastnn.ops.dense_forward([[1.0, 2.0]], [[1.0, -1.0], [1.0, -1.0]], [0.5, 0.5], "relu")
    array([[3.5, 0. ]])
    """
    return _core.dense_forward(x, kernel, bias, activation, out, parameters=_DEFAULTS.get(activation, ()))


def dense_backward(
    grad_out: ArrayLike,
    x: ArrayLike,
    kernel: ArrayLike,
    out: ArrayLike,
    activation: str = "linear",
    bias: ArrayLike | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients of a fully connected layer, given the gradient with respect to its output.

    With ``dZ = grad_out * activation'``: ``dX = dZ @ W.T``, ``dW = X.T @ dZ``, ``db`` = sum of dZ over the rows.

    Parameters
    ----------
    grad_out : (n, n_out).
    x, kernel, bias : the arguments of ``dense_forward``; leave bias out only if the layer has none. ``X @ W + b`` is
        computed again, so that derivatives are exact where the output has saturated.
    out : the result of ``dense_forward``, (n, n_out); only its shape is checked.
    activation : name.

    Returns
    -------
    grad_x, grad_kernel, grad_bias : ndarray
        (n, n_in), (n_in, n_out), (n_out,).
    """
    return _core.dense_backward(grad_out, x, kernel, bias, out, activation, parameters=_DEFAULTS.get(activation, ()))


def activation(name: str, x: ArrayLike, out: Array | None = None, **options: float) -> Array:
    """Apply an activation: elementwise, or along the last axis for softmax and log_softmax.

    Parameters
    ----------
    name : name of the activation.
    x : any shape; float32 stays float32, everything else is computed in float64.
    out : array of x's shape and dtype that receives the result.
    options : ``negative_slope`` of leaky_relu (0.2), ``alpha`` of elu (1.0), ``negative_slope`` (0), ``max_value``
        (infinity) and ``threshold`` (0) of general_relu.
    """
    parameters = _check_activation(name, options)
    x = _floating("x", x)
    if out is not None and (out.shape != x.shape or out.dtype != x.dtype):
        raise ValueError(f"out must have shape {x.shape} and dtype {x.dtype}, got {out.shape} and {out.dtype}")
    return _core.activation(name, x, out, parameters)


def activation_gradient(name: str, x: ArrayLike, grad_out: ArrayLike, **options: float) -> Array:
    """Return the gradient with respect to an activation's input: ``grad_out * f'(x)``, for softmax the Jacobian.

    Parameters
    ----------
    name : name of the activation.
    x, grad_out : the activation's input and the gradient with respect to its output, of the same shape.
    options : as for ``activation``.
    """
    parameters = _check_activation(name, options)
    x = _floating("x", x)
    grad_out = _like("grad_out", grad_out, x.dtype)
    if grad_out.shape != x.shape:
        raise ValueError(f"grad_out must have the shape of x, {x.shape}, got {grad_out.shape}")
    return _core.activation_gradient(name, x, grad_out, parameters)


def _loss(
    name: str, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None, gradient: bool, options: Any
) -> tuple[float, Array | None]:
    """Return the loss and, if ``gradient``, the gradient in the shape of ``y_pred``."""
    if name not in _core.LOSSES:
        raise ValueError(unknown_name("loss", name, _core.LOSSES))
    defaults = {**REDUCTION_OPTIONS, **LOSS_OPTIONS.get(name, {})}
    for option in options:
        if option not in defaults:
            raise TypeError(f"loss {name!r} has no option {option!r}; its options: {', '.join(defaults)}")
    options = {**defaults, **options}
    predictions = _floating("y_pred", y_pred)
    matrix = predictions.reshape(-1, 1) if predictions.ndim == 1 else predictions
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"y_pred must have shape (n, n_outputs) with n > 0, got {predictions.shape}")
    n, n_outputs = matrix.shape
    if name in LABEL_LOSSES:
        check_unmasked(y_true, "y_true")
        labels = np.asarray(y_true)
        if labels.shape not in ((n,), (n, 1)):
            raise ValueError(f"y_true must hold one label for each of {n} rows, got shape {labels.shape}")
        targets = labels.reshape(n).astype(np.int64)
        counted = targets if options["ignore_class"] is None else targets[targets != options["ignore_class"]]
        if not np.array_equal(targets, labels.reshape(n)) or np.any((counted < 0) | (counted >= n_outputs)):
            raise ValueError(f"labels in y_true must be whole numbers from 0 to {n_outputs - 1}")
    else:
        targets = _like("y_true", y_true, matrix.dtype)
        columns = n_outputs // _columns_per_target(name, options)
        targets = targets.reshape(n, 1) if targets.shape == (n,) and columns == 1 else targets
        if targets.shape != (n, columns):
            wanted = f"the shape of y_pred, {matrix.shape}" if columns == n_outputs else f"shape {(n, columns)}"
            raise ValueError(f"y_true must have {wanted}, got {targets.shape}")
    weights = None if sample_weight is None else _like("sample_weight", sample_weight, matrix.dtype)
    if weights is not None and weights.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},), got {weights.shape}")
    value, grad = _core.loss_and_gradient(name, targets, matrix, weights, gradient, **options)
    return value, None if grad is None else grad.reshape(predictions.shape)


def loss(
    name: str, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None, **options: Any
) -> float:
    """Value of a loss: the mean over rows of each row's loss times its weight.

    Arguments and errors are those of ``loss_and_gradient``.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.ops.loss("mean_squared_error", [[1.0], [2.0]], [[1.0], [4.0]])
    2.0
    """
    return _loss(name, y_true, y_pred, sample_weight, False, options)[0]


def loss_and_gradient(
    name: str, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None, **options: Any
) -> tuple[float, Array]:
    """Value of a loss and its gradient with respect to the predictions.

    Parameters
    ----------
    name : name of the loss.
    y_true : targets of the shape of y_pred, or labels 0..n_outputs-1 (n,) for sparse_categorical_crossentropy.
    y_pred : predictions (n, n_outputs), or (n,) for one output; float32 stays float32.
    sample_weight : (n,) factors of the row losses; the sum is still divided by the number of rows.
    options : of every loss ``sum`` (False), which returns the sum over rows instead of the mean, and ``weighted_mean``
        (False), which divides by the sum of the weights and returns 0 where it is 0; of huber ``delta`` (1.0); of the
        cross-entropies ``from_logits`` (False) and ``label_smoothing`` (0.0); of the sparse one ``ignore_class``
        (None), a label whose rows are left out of the mean; of the focal ones ``gamma`` (2.0) and ``alpha`` (0.25), for
        the categorical one a number or (n_outputs,); of the binary focal one ``apply_class_balancing`` (False); of
        quantile ``q`` (0.5); of multi_quantile, whose targets have a column for as many columns of y_pred,
        ``levels`` (0.05, 0.5, 0.95); of gaussian_nll, whose targets have half of the columns of y_pred,
        ``full`` (False); of dice ``per_row`` (False).

    Raises
    ------
    ValueError
        Unknown name, shapes that do not match, labels out of range.
    """
    value, gradient = _loss(name, y_true, y_pred, sample_weight, True, options)
    assert gradient is not None
    return value, gradient


def _activation_of(name: str) -> Callable[..., Any]:
    return lambda x: activation(name, x)


def _along(name: str) -> Callable[..., Any]:
    return lambda x, axis=-1: np.moveaxis(activation(name, np.moveaxis(np.asarray(x), axis, -1)), -1, axis)


_ELEMENTWISE = (
    "exponential hard_sigmoid hard_silu hard_swish mish relu relu6 selu sigmoid silu softplus softsign swish"
).split()
_OTHER_NAMES = {"hard_swish": "hard_silu", "swish": "silu"}
_ACTIVATIONS: dict[str, Callable[..., Any]] = {
    **{name: _activation_of(_OTHER_NAMES.get(name, name)) for name in _ELEMENTWISE},
    **{name: _along(name) for name in ("log_softmax", "softmax")},
    "elu": lambda x, alpha=1.0: activation("elu", x, alpha=alpha),
    "gelu": lambda x, approximate=True: activation("gelu_tanh" if approximate else "gelu", x),
    "leaky_relu": lambda x, negative_slope=0.2: activation("leaky_relu", x, negative_slope=negative_slope),
}
__all__ = ["activation", "activation_gradient", "dense_backward", "dense_forward", "loss", "loss_and_gradient"]


def _array_functions() -> dict[str, Callable[..., Any]]:
    """Return the functions that ``keras.ops`` has too, by name; imported when one is used, which keeps fastnn quick."""
    from fastnn._array_functions import ARRAY_FUNCTIONS

    return {**ARRAY_FUNCTIONS, **_ACTIVATIONS}


def __dir__() -> list[str]:
    return sorted([*__all__, *_array_functions()])


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in (functions := _array_functions()):
            return functions[name]
        return refuse(__name__, name, [*__all__, *functions])
