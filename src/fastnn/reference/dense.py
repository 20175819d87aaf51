"""Forward and backward pass of one fully connected layer in plain NumPy."""

import numpy as np
from numpy.typing import ArrayLike

from fastnn.reference.activations import find_activation
from fastnn.reference.arguments import Array, as_floating, require_matrix


def _check_layer(x: Array, kernel: Array, bias: Array | None) -> None:
    require_matrix("x", x)
    require_matrix("kernel", kernel)
    if x.shape[1] != kernel.shape[0]:
        raise ValueError(f"x has {x.shape[1]} columns, kernel of shape {kernel.shape} needs {kernel.shape[0]}.")
    if bias is not None and bias.shape != kernel.shape[1:]:
        raise ValueError(f"bias must have shape {kernel.shape[1:]}, got {bias.shape}.")


def dense_forward(
    x: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None = None,
    activation: str = "linear",
    out: Array | None = None,
) -> Array:
    """Output of a fully connected layer: ``Y = activation(X @ W + b)``.

    Parameters
    ----------
    x : array_like
        X (n, n_in).
    kernel : array_like
        W (n_in, n_out).
    bias : array_like, optional
        b (n_out,).
    activation : str
        Name of an activation; its options have their default values.
    out : ndarray, optional
        Array (n, n_out) for the result.

    Returns
    -------
    ndarray
        Y (n, n_out).

    Examples
    --------
    >>> dense_forward([[1.0, 2.0]], [[1.0, -1.0], [1.0, -1.0]], [0.5, 0.5], "relu")
    array([[3.5, 0. ]])
    """
    entry, options = find_activation(activation, {})
    x = as_floating("x", x)
    kernel = as_floating("kernel", kernel)
    bias = None if bias is None else as_floating("bias", bias)
    _check_layer(x, kernel, bias)
    y = np.matmul(x, kernel, out=out)
    if bias is not None:
        y += bias
    entry.forward(y, y, *options)
    return y


def dense_backward(
    grad_out: ArrayLike,
    x: ArrayLike,
    kernel: ArrayLike,
    out: ArrayLike,
    activation: str = "linear",
    bias: ArrayLike | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients of a fully connected layer, given the gradient with respect to its output.

    With ``dZ = grad_out * activation'``: ``dX = dZ @ W.T``, ``dW = X.T @ dZ``, ``db = sum of dZ over the rows``.

    Parameters
    ----------
    grad_out : array_like
        Gradient with respect to the output, (n, n_out).
    x, kernel, bias : array_like
        Arguments of `dense_forward`: (n, n_in), (n_in, n_out), (n_out,) or None.
    out : array_like
        Result of `dense_forward`, (n, n_out), from which the derivative is computed. Where the derivative is not a
        function of the output, as for gelu and silu, the pre-activation is recomputed from x, kernel and bias.
    activation : str
        Name of an activation.

    Returns
    -------
    grad_x, grad_kernel, grad_bias : ndarray
        (n, n_in), (n_in, n_out), (n_out,).

    Examples
    --------
    >>> grad_x, grad_kernel, grad_bias = dense_backward([[1.0]], [[2.0]], [[3.0]], [[6.0]])
    >>> grad_x.item(), grad_kernel.item(), grad_bias.item()
    (3.0, 2.0, 1.0)
    """
    entry, options = find_activation(activation, {})
    grad_out = as_floating("grad_out", grad_out)
    x = as_floating("x", x)
    kernel = as_floating("kernel", kernel)
    out = as_floating("out", out)
    bias = None if bias is None else as_floating("bias", bias)
    _check_layer(x, kernel, bias)
    expected = (x.shape[0], kernel.shape[1])
    for argument, array in (("grad_out", grad_out), ("out", out)):
        if array.shape != expected:
            raise ValueError(f"{argument} must have shape {expected}, got {array.shape}.")
    grad_z = np.empty_like(grad_out)
    if entry.gradient_from_out is not None:
        entry.gradient_from_out(out, grad_out, grad_z, *options)
    else:
        entry.gradient(dense_forward(x, kernel, bias), grad_out, grad_z, *options)
    return grad_z @ kernel.T, x.T @ grad_z, grad_z.sum(axis=0)
