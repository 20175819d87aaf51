"""Iterations of L-BFGS on all rows."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.layers import BatchNormalization
from fastnn.losses.custom import CustomLoss
from fastnn.network.stack import LayerStack
from fastnn.optimizers.second_order import LBFGS
from fastnn.training.full_batch import FullBatchFit
from fastnn.training.jacobian import Array, dot, name_of_option
from fastnn.training.native import make_fit
from fastnn.training.rows import Rows

_MOST_EVALUATIONS = 30
"""Most points of a line search."""
_SUFFICIENT, _CURVATURE = 1e-4, 0.9
"""Constants of the Wolfe conditions."""


class LBFGSFit(FullBatchFit):
    """Iterations of L-BFGS; ``FullBatchFit`` describes the parameters."""

    def __init__(self, model: LayerStack, rows: Rows, predictions: Any) -> None:
        super().__init__(model, rows, predictions)
        optimizer: LBFGS = model.optimizer
        for _, options in model.program.ops:
            refused = [option for option in options if option.endswith(("_constraint", "_factors"))]
            if refused:
                raise ValueError(f"{optimizer.title} takes no {name_of_option(refused[0])}; use optimizer='adam'")
        if any(isinstance(leaf.layer, BatchNormalization) and leaf.layer.trainable for leaf in model.program.leaves):
            raise ValueError(
                f"{optimizer.title} takes no BatchNormalization whose statistics change: freeze the layer, or use "
                "optimizer='adam'"
            )
        if any(isinstance(loss, CustomLoss) for loss in model.losses_of_outputs):
            raise ValueError(f"{optimizer.title} takes no loss function of your own; use optimizer='adam'")
        self._optimizer, rows = optimizer, self._rows
        self._fit = make_fit(model, rows, rows.n, None)
        self._fit.begin_epoch(0, 0, False, np.zeros(1))
        trained = model.program.trained
        if not trained:
            raise ValueError(f"{optimizer.title} has nothing to train: all layers are frozen")
        self._places, self._shapes = [place for _, place in trained], [spec.shape for spec, _ in trained]
        self._ends = np.cumsum([math.prod(shape) for shape in self._shapes])[:-1]
        self._changes: list[tuple[Array, Array, float]] = []
        self._point: tuple[float, Array] | None = None
        self._flat = np.zeros(0)

    def _read(self) -> Array:
        """Return the trained weights of the model, flat."""
        network = self._model.network
        return np.concatenate([network.get_parameter(*place).ravel() for place in self._places]).astype(np.float64)

    def _value(self, flat: Array) -> tuple[float, Array]:
        """Return loss and gradient at some weights, which the model gets."""
        network, shapes = self._model.network, self._shapes
        parts = np.split(flat, self._ends)
        values = [part.reshape(shape).astype(network.dtype) for part, shape in zip(parts, shapes, strict=True)]
        network.set_parameters([(op, name, 0) for op, name in self._places], values)
        found = {(op, name): gradient for op, name, gradient in self._fit.gradients()}
        loss, _ = self._fit.loss_of_gradients
        gradient = np.concatenate([found[place].ravel() for place in self._places]).astype(np.float64)
        return loss, gradient

    def _make_step(self) -> bool:
        flat = self._read()
        if self._point is None or (flat != self._flat).any():
            self._changes.clear()
            self._flat, self._point = flat, self._value(flat)
        value, gradient = self._point
        if not (math.isfinite(value) and np.isfinite(gradient).all()):
            return False
        if np.abs(gradient).max() <= self._optimizer.min_gradient or not self._search(value, gradient):
            self._model.stop_training = True
        self.loss_sum = self._point[0] * self._rows.n
        if len(self.loss_sums) > 1:
            self.loss_sums = self.sums_of_objective()
        return True

    def _search(self, value: float, gradient: Array) -> bool:
        """Move along the direction of the last changes; return False if the loss does not fall."""
        direction = self._direction(gradient)
        if dot(direction, gradient) >= 0.0:
            self._changes.clear()
            direction = -gradient
        first = 1.0 if self._changes else min(1.0, 1.0 / math.sqrt(dot(gradient, gradient)))
        start = self._flat
        found = strong_wolfe(lambda t: self._value(start + t * direction), value, gradient, direction, first)
        if found is None:
            self._value(start)
            if self._changes:
                self._changes.clear()
                return self._search(value, gradient)
            return False
        _, new_value, new_gradient = found
        step, change = self._read() - start, new_gradient - gradient
        self._flat, self._point = start + step, (new_value, new_gradient)
        curvature = dot(step, change)
        if curvature > 1e-10 * dot(change, change):
            self._changes.append((step, change, curvature))
            del self._changes[: -self._optimizer.memory]
        return True

    def _direction(self, gradient: Array) -> Array:
        """Return minus the approximate inverse Hessian times the gradient: two loops over the changes."""
        q = gradient.copy()
        factors = []
        for step, change, curvature in reversed(self._changes):
            factor = dot(step, q) / curvature
            factors.append(factor)
            q -= factor * change
        if self._changes:
            _, change, curvature = self._changes[-1]
            q *= curvature / dot(change, change)
        for (step, change, curvature), factor in zip(self._changes, reversed(factors), strict=True):
            q += step * (factor - dot(change, q) / curvature)
        return -q


def strong_wolfe(
    evaluate: Callable[[float], tuple[float, Array]], value: float, gradient: Array, direction: Array, first: float
) -> tuple[float, float, Array] | None:
    """Return a step length with the value and gradient there; None if no length lowers the value.

    The length meets the strong Wolfe conditions if one is found within 30 evaluations; otherwise it is the best one.
    The last evaluation is the one at the returned length.
    """
    slope = dot(gradient, direction)
    low: tuple[float, float, float] = (0.0, value, slope)
    high: tuple[float, float, float] | None = None
    length, best = first, None
    for _ in range(_MOST_EVALUATIONS):
        new_value, new_gradient = evaluate(length)
        new_slope = dot(new_gradient, direction)
        finite = math.isfinite(new_value) and math.isfinite(new_slope)
        if not finite or new_value > value + _SUFFICIENT * length * slope or (new_value >= low[1] and low[0] > 0.0):
            high = (length, new_value if finite else math.inf, new_slope if finite else math.nan)
        else:
            best = (length, new_value, new_gradient)
            if abs(new_slope) <= -_CURVATURE * slope:
                return best
            if new_slope >= 0.0 if high is None or high[0] > low[0] else new_slope < 0.0:
                high = low
            low = (length, new_value, new_slope)
        length = _next_length(low, high)
        if high is not None and abs(high[0] - low[0]) <= 1e-12 * max(high[0], low[0]):
            break
    if best is None:
        return None
    again = evaluate(best[0])
    return best[0], *again


def _next_length(low: tuple[float, float, float], high: tuple[float, float, float] | None) -> float:
    """Return the minimum of the cubic through two points, away from both; without the second, 4 times the length."""
    if high is None:
        return 4.0 * low[0]
    width = high[0] - low[0]
    length = low[0] + 0.5 * width
    if math.isfinite(high[1]) and math.isfinite(high[2]):
        d = low[2] + high[2] - 3.0 * (high[1] - low[1]) / width
        root = d * d - low[2] * high[2]
        if root >= 0.0:
            root = math.copysign(math.sqrt(root), width)
            denominator = high[2] - low[2] + 2.0 * root
            if denominator:
                length = high[0] - width * (high[2] + root - d) / denominator
    inner, outer = low[0] + 0.1 * width, low[0] + 0.9 * width
    return min(max(length, min(inner, outer)), max(inner, outer))
