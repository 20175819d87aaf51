"""Layers for tables in plain NumPy: scales, mixed activations, cosines, bounded lines, groups and members."""

from typing import Any

import numpy as np

from fastnn.reference.activations import activation, activation_gradient
from fastnn.reference.arguments import Array
from fastnn.reference.layers import Layer, Place


class FeatureScale(Layer):
    """``x * scale + bias``; scale (k n_in,) takes the features k times."""

    def __init__(self, scale: Any, bias: Any = None) -> None:
        super().__init__([scale] if bias is None else [scale, bias], 1 if bias is None else 2)

    def forward(self, x: Array, at: Place | None) -> Array:
        """Return the outputs (n, k n_in)."""
        self.width = x.shape[1]
        self.repeated = np.tile(x, (1, len(self.weights[0]) // self.width))
        outputs: Array = self.repeated * self.weights[0] + (self.weights[1] if self.n_trained > 1 else 0.0)
        return outputs

    def backward(self, grad: Array) -> Array:
        """Return the gradient with respect to x, summed over the k copies."""
        self.gradients = [(grad * self.repeated).sum(axis=0), grad.sum(axis=0)][: self.n_trained]
        grad_x: Array = (grad * self.weights[0]).reshape(len(grad), -1, self.width).sum(axis=1)
        return grad_x


class ParametricActivation(Layer):
    """``x + (f(x) - x) * mix`` with the activation f of a name, mix (n_in,)."""

    def __init__(self, mix: Any, name: str = "linear", **options: float) -> None:
        super().__init__([mix], 1)
        self.name, self.options = name, options

    def forward(self, x: Array, at: Place | None) -> Array:
        """Return the outputs."""
        self.x = x
        self.difference = activation(self.name, x, None, **self.options) - x
        outputs: Array = x + self.difference * self.weights[0]
        return outputs

    def backward(self, grad: Array) -> Array:
        """Return the gradient with respect to x."""
        self.gradients = [(grad * self.difference).sum(axis=0)]
        mixed = grad * self.weights[0]
        grad_x: Array = grad - mixed + activation_gradient(self.name, self.x, mixed, **self.options)
        return grad_x


class CosineFeatures(Layer):
    """``cos(2 pi w x + b)``, w and b (n_in k,): k neighbouring outputs for each feature."""

    def __init__(self, frequencies: Any, bias: Any) -> None:
        super().__init__([frequencies, bias], 2)

    def forward(self, x: Array, at: Place | None) -> Array:
        """Return the outputs (n, n_in k)."""
        self.width = x.shape[1]
        self.repeated = np.repeat(x, len(self.weights[0]) // self.width, axis=1)
        self.angle = 2.0 * np.pi * self.weights[0] * self.repeated + self.weights[1]
        outputs: Array = np.cos(self.angle)
        return outputs

    def backward(self, grad: Array) -> Array:
        """Return the gradient with respect to x."""
        slope = -grad * np.sin(self.angle)
        self.gradients = [2.0 * np.pi * (slope * self.repeated).sum(axis=0), slope.sum(axis=0)]
        grad_x: Array = 2.0 * np.pi * (slope * self.weights[0]).reshape(len(grad), self.width, -1).sum(axis=2)
        return grad_x


class BoundedLines(Layer):
    """``min(high, max(low, w x + b))``: the kernel (3, n_in k) holds w, low and high; none of them is trained."""

    def __init__(self, kernel: Any, bias: Any) -> None:
        super().__init__([kernel, bias])

    def forward(self, x: Array, at: Place | None) -> Array:
        """Return the outputs (n, n_in k)."""
        self.width = x.shape[1]
        (slopes, low, high), bias = self.weights
        outputs: Array = np.minimum(
            high, np.maximum(low, np.repeat(x, len(bias) // self.width, axis=1) * slopes + bias)
        )
        self.slopes = np.where((outputs > low) & (outputs < high), slopes, 0.0)
        return outputs

    def backward(self, grad: Array) -> Array:
        """Return the gradient with respect to x; a line at its bound has none."""
        grad_x: Array = (grad * self.slopes).reshape(len(grad), self.width, -1).sum(axis=2)
        return grad_x


class GroupedDense(Layer):
    """A product for each group of p features: the kernel (p, groups units) holds the groups side by side."""

    def __init__(self, kernel: Any, bias: Any = None, groups: int = 1) -> None:
        super().__init__([kernel] if bias is None else [kernel, bias], 1 if bias is None else 2)
        self.groups = groups

    def kernels(self) -> Array:
        """Return the kernel of each group, (groups, p, units)."""
        kernel = self.weights[0]
        return kernel.reshape(len(kernel), self.groups, -1).swapaxes(0, 1)

    def forward(self, x: Array, at: Place | None) -> Array:
        """Return the outputs (n, groups units)."""
        self.grouped = x.reshape(len(x), self.groups, -1)
        outputs: Array = np.einsum("ngp,gpu->ngu", self.grouped, self.kernels())
        if self.n_trained > 1:
            outputs += self.weights[1].reshape(-1, outputs.shape[2])
        return outputs.reshape(len(x), -1)

    def backward(self, grad: Array) -> Array:
        """Return the gradient with respect to x."""
        slopes = grad.reshape(len(grad), self.groups, -1)
        of_kernels = np.einsum("ngp,ngu->pgu", self.grouped, slopes)
        self.gradients = self.gradients_of(of_kernels, slopes.sum(axis=0))[: self.n_trained]
        grad_x: Array = np.einsum("ngu,gpu->ngp", slopes, self.kernels())
        return grad_x.reshape(len(grad), -1)

    def gradients_of(self, of_kernels: Array, of_biases: Array) -> list[Array]:
        """Return the weights' gradients from those of each group, (p, groups, units) and (groups, units)."""
        return [of_kernels.reshape(self.weights[0].shape), of_biases.ravel()]


class MemberDense(GroupedDense):
    """One kernel (p, units) and bias (units,) for all groups of p features."""

    def kernels(self) -> Array:
        """Return the kernel of each group, (groups, p, units)."""
        return np.stack([self.weights[0]] * self.groups)

    def gradients_of(self, of_kernels: Array, of_biases: Array) -> list[Array]:
        """Return the weights' gradients: the sums over the groups."""
        return [of_kernels.sum(axis=1), of_biases.sum(axis=0)]
