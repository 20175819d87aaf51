"""Layers in plain NumPy: ``forward`` keeps the arrays that ``backward`` needs, ``backward`` the weights' gradients.

``x`` is (n, n_in), ``y`` (n, n_out). In training ``at`` is (seed, epoch, step); in prediction it is None.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn.reference.activations import activation, activation_gradient
from fastnn.reference.arguments import Array
from fastnn.reference.random import dropped, normal

Place = tuple[int, int, int]
Rule = Callable[[Array], Array]


class Layer:
    """Base of the layers.

    Parameters
    ----------
    weights : arrays, the trained ones first; they are changed in place.
    n_trained : number of trained arrays.
    """

    activity: tuple[float, float] = (0.0, 0.0)
    """Factors l1, l2 of the penalty on the outputs, which is divided by the rows of the batch."""

    def __init__(self, weights: Sequence[Any] = (), n_trained: int = 0) -> None:
        self.weights: list[Array] = [np.array(weight) for weight in weights]
        self.n_trained = n_trained
        self.gradients: list[Array] = []
        self.penalties: list[tuple[float, float]] = [(0.0, 0.0)] * n_trained
        """Factors l1, l2 of the penalty on each trained array."""
        self.constraints: list[Rule | None] = [None] * n_trained

    def forward(self, x: Array, at: Place | None) -> Array:
        """Return the outputs."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(x, at)")

    def backward(self, grad: Array) -> Array:
        """Return the gradient with respect to x, and keep those with respect to the trained weights."""
        raise NotImplementedError(f"{type(self).__name__} must define backward(grad)")

    def parts(self) -> list["Layer"]:
        """Return the layers that hold the weights: this layer, or the layers inside it."""
        return [self]


class Dense(Layer):
    """``activation(x @ kernel + bias)``."""

    def __init__(self, kernel: Any, bias: Any = None, name: str = "linear", **options: float) -> None:
        super().__init__([kernel] if bias is None else [kernel, bias], 1 if bias is None else 2)
        self.name, self.options = name, options

    def forward(self, x: Array, at: Place | None) -> Array:
        """Return the outputs."""
        self.x = x
        self.z = x @ self.weights[0]
        if len(self.weights) > 1:
            self.z += self.weights[1]
        return activation(self.name, self.z, None, **self.options)

    def backward(self, grad: Array) -> Array:
        """Return ``dz @ kernel.T``."""
        dz = activation_gradient(self.name, self.z, grad, **self.options)
        self.gradients = [self.x.T @ dz, dz.sum(axis=0)][: len(self.weights)]
        grad_x: Array = dz @ self.weights[0].T
        return grad_x


class Activation(Layer):
    """An activation by name."""

    def __init__(self, name: str, **options: float) -> None:
        super().__init__()
        self.name, self.options = name, options

    def forward(self, x: Array, at: Place | None) -> Array:
        """Return the outputs."""
        self.x = x
        return activation(self.name, x, None, **self.options)

    def backward(self, grad: Array) -> Array:
        """Return the gradient with respect to x."""
        return activation_gradient(self.name, self.x, grad, **self.options)


class PReLU(Layer):
    """``max(x, 0) + alpha * min(x, 0)``, alpha (n_in,) (He et al., 2015)."""

    def __init__(self, alpha: Any) -> None:
        super().__init__([alpha], 1)

    def forward(self, x: Array, at: Place | None) -> Array:
        """Return the outputs."""
        self.x = x
        outputs: Array = np.maximum(x, 0.0) + self.weights[0] * np.minimum(x, 0.0)
        return outputs

    def backward(self, grad: Array) -> Array:
        """Return the gradient with respect to x."""
        self.gradients = [(grad * np.minimum(self.x, 0.0)).sum(axis=0)]
        return np.where(self.x > 0.0, grad, grad * self.weights[0])


class _Normalized(Layer):
    """``hat * gamma + beta`` with ``hat = (x - mean) / sqrt(variance + epsilon)``, with statistics along one axis."""

    axis: int

    def _scale(self, hat: Array, inverse: Array) -> Array:
        self.hat, self.inverse = hat, inverse
        return hat * self.weights[0] + (self.weights[1] if self.n_trained > 1 else 0.0)

    def backward(self, grad: Array) -> Array:
        """Return the gradient with respect to x, through mean and variance."""
        self.gradients = [(grad * self.hat).sum(axis=0), grad.sum(axis=0)][: self.n_trained]
        g = grad * self.weights[0]
        means = [values.mean(axis=self.axis, keepdims=True) for values in (g, g * self.hat)]
        grad_x: Array = self.inverse * (g - means[0] - self.hat * means[1])
        return grad_x


class BatchNormalization(_Normalized):
    """Statistics of the batch in training, moving statistics in prediction (Ioffe and Szegedy, 2015)."""

    axis = 0

    def __init__(
        self, gamma: Any, beta: Any, mean: Any, variance: Any, momentum: float = 0.99, epsilon: float = 1e-3
    ) -> None:
        super().__init__([gamma, beta, mean, variance], 2)
        self.momentum, self.epsilon = momentum, epsilon

    def forward(self, x: Array, at: Place | None) -> Array:
        """Return the outputs; in training, update the moving statistics."""
        mean, variance = self.weights[2:]
        if at is not None:
            moving = mean, variance
            mean, variance = x.mean(axis=0), x.var(axis=0)
            for kept, new in zip(moving, (mean, variance), strict=True):
                kept += (1.0 - self.momentum) * (new - kept)
        inverse = 1.0 / np.sqrt(variance + self.epsilon)
        return self._scale((x - mean) * inverse, inverse)


class LayerNormalization(_Normalized):
    """Statistics of each row (Ba, Kiros and Hinton, 2016); without beta as Keras's ``rms_scaling``, uncentred."""

    axis = 1

    def __init__(self, gamma: Any, beta: Any = None, epsilon: float = 1e-3) -> None:
        super().__init__([gamma] if beta is None else [gamma, beta], 1 if beta is None else 2)
        self.epsilon = epsilon

    def forward(self, x: Array, at: Place | None) -> Array:
        """Return the outputs."""
        mean = x.mean(axis=1, keepdims=True)
        inverse = 1.0 / np.sqrt(x.var(axis=1, keepdims=True) + self.epsilon)
        self.centred = (x - mean) * inverse
        return self._scale(self.centred if self.n_trained > 1 else x * inverse, inverse)

    def backward(self, grad: Array) -> Array:
        """Return the gradient with respect to x; if not centred, ``d inverse / dx = -inverse^2 centred / n_in``."""
        if self.n_trained > 1:
            return super().backward(grad)
        self.gradients = [(grad * self.hat).sum(axis=0)]
        g = grad * self.weights[0]
        grad_x: Array = self.inverse * (g - self.centred * (g * self.hat).mean(axis=1, keepdims=True))
        return grad_x


class Normalization(Layer):
    """``(x - mean) / max(sqrt(variance), 1e-7)``, or its inverse; learned statistics (with a count) are weights."""

    def __init__(self, mean: Any, variance: Any, count: Any = None, invert: bool = False) -> None:
        super().__init__([] if count is None else [mean, variance, count])
        self.mean, self.variance, self.invert = np.array(mean), np.array(variance), invert

    def forward(self, x: Array, at: Place | None) -> Array:
        """Return the outputs."""
        self.deviation = np.maximum(np.sqrt(self.variance), 1e-7)
        outputs: Array = self.mean + x * self.deviation if self.invert else (x - self.mean) / self.deviation
        return outputs

    def backward(self, grad: Array) -> Array:
        """Return the gradient with respect to x."""
        grad_x: Array = grad * self.deviation if self.invert else grad / self.deviation
        return grad_x


class Dropout(Layer):
    """Dropout (Srivastava et al., 2014), or alpha dropout (Klambauer et al., 2017).

    Parameters
    ----------
    rate : fraction of dropped elements.
    stream : number of the layer's random numbers.
    alpha : whether to preserve mean and variance of SELU's outputs.
    seed : of the layer, in place of the network's.
    """

    def __init__(self, rate: float, stream: int, alpha: bool = False, seed: int | None = None) -> None:
        super().__init__()
        self.rate, self.stream, self.alpha, self.seed = rate, stream, alpha, seed

    def forward(self, x: Array, at: Place | None) -> Array:
        """Return the outputs."""
        self.kept = np.ones_like(x)
        if at is None or not self.rate:
            return x
        seed = at[0] if self.seed is None else self.seed
        out = dropped((len(x), x.shape[1]), self.rate, seed, *at[1:], self.stream)
        low = -1.0507009873554804934 * 1.6732632423543772848
        scale = 1.0 / (1.0 - self.rate)
        if self.alpha:
            scale = ((1.0 - self.rate) * (1.0 + self.rate * low * low)) ** -0.5
        self.kept = np.where(out, 0.0, scale)
        if not self.alpha:
            return x * self.kept
        return np.where(out, scale * low, x * scale) - scale * low * self.rate

    def backward(self, grad: Array) -> Array:
        """Return the gradient with respect to x."""
        grad_x: Array = grad * self.kept
        return grad_x


class GaussianNoise(Layer):
    """Normal noise in training."""

    def __init__(self, deviation: float, stream: int) -> None:
        super().__init__()
        self.deviation, self.stream = deviation, stream

    def forward(self, x: Array, at: Place | None) -> Array:
        """Return the outputs."""
        return x if at is None else x + self.deviation * normal((len(x), x.shape[1]), *at, self.stream)

    def backward(self, grad: Array) -> Array:
        """Return the gradient unchanged."""
        return grad


class Residual(Layer):
    """``x + block(x)`` (He et al., 2016)."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.layers = list(layers)

    def forward(self, x: Array, at: Place | None) -> Array:
        """Return the outputs."""
        y = x
        for layer in self.layers:
            y = layer.forward(y, at)
        return x + y

    def backward(self, grad: Array) -> Array:
        """Return the gradient with respect to x, through the block and around it."""
        g = grad
        for layer in reversed(self.layers):
            g = layer.backward(g)
        return grad + g

    def parts(self) -> list[Layer]:
        """Return the layers inside."""
        return [part for layer in self.layers for part in layer.parts()]
