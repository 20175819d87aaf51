"""Fits of optimizers whose steps take all rows: Levenberg-Marquardt with and without Bayesian regularization, L-BFGS."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn.losses.custom import CustomLoss
from fastnn.network.stack import LayerStack
from fastnn.optimizers.second_order import LBFGS, BayesianLevenbergMarquardt, FullBatch, LevenbergMarquardt
from fastnn.training.jacobian import Array, ResidualNetwork, dot
from fastnn.training.rows import Rows

_MOST_TRIES = 60
"""Most dampings that are tried for a step."""
_MOST_EVALUATIONS = 30
"""Most points of a line search."""
_SUFFICIENT, _CURVATURE = 1e-4, 0.9
"""Constants of the Wolfe conditions."""


def full_batch_fit(model: LayerStack, rows: Rows, predictions: Any) -> "FullBatchFit":
    """Return the fit of a model whose optimizer takes all rows in each step."""
    if isinstance(model.optimizer, LBFGS):
        return _LBFGSFit(model, rows, predictions)
    return _LevenbergMarquardtFit(model, rows, predictions)


class FullBatchFit:
    """A fit of one step an epoch; has the interface of the core's ``Fit``.

    The loss, the losses of the outputs and the predictions are those after the step.

    Parameters
    ----------
    model : a built and compiled model.
    rows : all rows.
    predictions : receives the outputs, an array or a list; or None.
    """

    n_steps = 1

    def __init__(self, model: LayerStack, rows: Rows, predictions: Any) -> None:
        self._model, self._predictions = model, predictions
        self._rows = rows if rows.numbers is None else rows.part(slice(None))
        self.step = 0
        self.loss_sum = 0.0
        self.loss_sums: list[float] = []

    def begin_epoch(
        self, seed: int, epoch: int, shuffle: bool, learning_rates: Any, order: Any = None, first_step: int = 0
    ) -> None:
        """Begin an epoch; the order of rows does not matter."""
        self.step, self.loss_sum = 0, 0.0
        self.loss_sums = [0.0 for _ in self._model.losses_of_outputs]

    def set_learning_rates(self, learning_rates: Any) -> None:
        """Do nothing: the optimizer has no learning rate."""

    def batch_rows(self) -> NDArray[np.int64]:
        """Return the numbers of the rows of a step."""
        return np.arange(self._rows.n)

    def run(self, max_steps: int = -1, max_seconds: float = 0.05) -> str:
        """Make the step; "nonfinite" if the loss of the weights before it is not finite."""
        if self.step or not max_steps:
            return "finished" if self.step else "more"
        if not self._make_step():
            return "nonfinite"
        self.step = 1
        network = self._model.network
        network.iterations += 1
        if self._predictions is not None:
            found = network.predict(self._rows.X)
            pairs = zip(found, self._predictions, strict=True) if isinstance(found, list) else [(found, self._predictions)]
            for new, kept in pairs:
                (kept[0] if isinstance(kept, list) else kept)[...] = new
        return "finished"

    def _make_step(self) -> bool:
        raise NotImplementedError


class _LevenbergMarquardtFit(FullBatchFit):
    """Steps of Levenberg-Marquardt; ``FullBatchFit`` describes the parameters."""

    def __init__(self, model: LayerStack, rows: Rows, predictions: Any) -> None:
        super().__init__(model, rows, predictions)
        rows = self._rows
        optimizer: LevenbergMarquardt = model.optimizer
        self._optimizer = optimizer
        self._network = ResidualNetwork(model.program, optimizer.title)
        self._inputs = [_float64(x) for x in (rows.X if isinstance(rows.X, list) else [rows.X])]
        self._targets, self._scale = self._targets_of(rows)
        self._block = self._network.block_rows()
        self._diagonal = np.zeros(self._network.n_weights)
        self._flat = np.zeros(0)
        self._parts: list[Array] = []
        self._version = -1

    def _targets_of(self, rows: Rows) -> tuple[Array, Array]:
        """Return the targets (columns, n) and the factors of their residuals."""
        model, title = self._model, self._optimizer.title
        targets, scales = [], []
        several = isinstance(rows.y, list)
        for place, (loss, weight) in enumerate(zip(model.losses_of_outputs, model.loss_weights, strict=True)):
            y = rows.y[place] if several else rows.y
            own = rows.sample_weight[place] if isinstance(rows.sample_weight, list) else rows.sample_weight
            width = model.program.heads[place].n_outputs
            if loss is None:
                targets.append(np.zeros((width, rows.n)))
                scales.append(np.zeros((width, rows.n)))
                continue
            if loss.core_name != "mean_squared_error" or loss.reduction != "sum_over_batch_size":
                raise ValueError(
                    f"{title} minimizes the mean squared error: compile with loss='mse', got {loss.name!r} with "
                    f"reduction={loss.reduction!r}; optimizer='lbfgs' takes every loss"
                )
            targets.append(np.ascontiguousarray(_float64(y).reshape(rows.n, width).T))
            weights = np.ones(rows.n) if own is None else _float64(own)
            if weights.min(initial=0.0) < 0.0:
                raise ValueError(f"{title} needs sample weights of at least 0, got {weights.min()}")
            scales.append(np.broadcast_to(np.sqrt(weights * weight / width), (width, rows.n)))
        return np.concatenate(targets), np.ascontiguousarray(np.concatenate(scales))

    def _residuals(self, first: int, last: int) -> Array:
        """Return the scaled residuals (columns, n) of some rows with the weights of the copy."""
        outputs = self._network.outputs([x[first:last] for x in self._inputs])
        stacked = np.concatenate([output.T for output in outputs])
        return np.ascontiguousarray((stacked - self._targets[:, first:last]) * self._scale[:, first:last])

    def _square_sum(self, flat: Array) -> float:
        """Return the sum of the squared residuals at some weights, which the copy gets."""
        self._network.set_weights(flat)
        self._parts = [self._residuals(first, first + self._block) for first in range(0, self._rows.n, self._block)]
        return sum(dot(part, part) for part in self._parts)

    def _take_weights(self) -> None:
        """Take the model's weights, unless they are those of the last step."""
        version = self._model.network_weights.version
        if version != self._version:
            self._flat = self._network.copy_from(self._model.network)
            self._error = self._square_sum(self._flat)
            self._version = version

    def _give_weights(self) -> None:
        """Give the model the new weights, rounded to its type."""
        network = self._model.network
        places = [(place.op, place.name, 0) for place in self._network.places]
        values = [self._flat[place.flat].reshape(place.shape).astype(network.dtype) for place in self._network.places]
        network.set_parameters(places, values)

    def _make_step(self) -> bool:
        self._take_weights()
        if not math.isfinite(self._error):
            return False
        network, optimizer = self._network, self._optimizer
        bayes = optimizer if isinstance(optimizer, BayesianLevenbergMarquardt) else None
        alpha, beta = (bayes.alpha, bayes.beta) if bayes is not None else (0.0, 1.0)
        n_residuals = int(np.count_nonzero(self._scale))
        if bayes is None and n_residuals < network.n_weights:
            system: Any = _DualSystem(*self._whole_jacobian())
        else:
            system = _PrimalSystem(*self._normal_equations(), alpha, beta, self._flat)
        self._diagonal = np.maximum(self._diagonal, system.diagonal)
        self._diagonal[self._diagonal == 0.0] = 1.0
        moved = False
        if np.abs(system.gradient).max() * 2.0 > optimizer.min_gradient * self._rows.n:
            moved = self._search(system, alpha, beta)
        if not moved:
            self._square_sum(self._flat)
            self._model.stop_training = True
        elif bayes is not None:
            self._update_evidence(bayes, system, n_residuals)
        self.loss_sum = self._error
        self.loss_sums = self._sums_of_outputs()
        return True

    def _search(self, system: Any, alpha: float, beta: float) -> bool:
        """Try dampings until a step lowers the objective; return False if none does."""
        optimizer, growth = self._optimizer, 2.0
        before = self._objective(self._error, self._flat, alpha, beta)
        for _ in range(_MOST_TRIES):
            if optimizer.damping > optimizer.max_damping:
                break
            step = system.solve(optimizer.damping * self._diagonal)
            if step is not None:
                flat = self._flat + step
                error = self._square_sum(flat)
                gain = before - self._objective(error, flat, alpha, beta)
                predicted = dot(step, optimizer.damping * self._diagonal * step - system.gradient)
                if math.isfinite(gain) and gain > 0.0 and predicted > 0.0:
                    self._flat, self._error = flat, error
                    optimizer.damping *= max(1.0 / 3.0, 1.0 - (2.0 * gain / predicted - 1.0) ** 3)
                    optimizer.damping = max(optimizer.damping, 1e-15)
                    self._give_weights()
                    return True
            optimizer.damping *= growth
            growth *= 2.0
        optimizer.damping = min(optimizer.damping, optimizer.max_damping)
        return False

    @staticmethod
    def _objective(error: float, flat: Array, alpha: float, beta: float) -> float:
        return beta * error + (alpha * dot(flat, flat) if alpha else 0.0)

    def _blocks(self) -> Any:
        """Yield inputs, residuals and factors of the rows, block by block."""
        for number, residuals in enumerate(self._parts):
            rows = slice(number * self._block, number * self._block + residuals.shape[1])
            yield [x[rows] for x in self._inputs], residuals, np.ascontiguousarray(self._scale[:, rows])

    def _normal_equations(self) -> tuple[Array, Array]:
        """Return the lower triangle of ``J.T J``, and ``J.T r``."""
        p = self._network.n_weights
        normal, gradient = np.zeros((p, p)), np.zeros(p)
        for inputs, residuals, scale in self._blocks():
            self._network.add_normal_equations(inputs, residuals, scale, normal, gradient)
        return normal, gradient

    def _whole_jacobian(self) -> tuple[Array, Array]:
        """Return the transposed Jacobian of all rows and the residuals."""
        parts, residuals = [], []
        for inputs, block, scale in self._blocks():
            parts.append(self._network.jacobian(inputs, scale).copy())
            residuals.append(block.ravel())
        return np.concatenate(parts, axis=1), np.concatenate(residuals)

    def _update_evidence(self, bayes: BayesianLevenbergMarquardt, system: Any, n_residuals: int) -> None:
        """Set alpha and beta from the evidence, with ``J`` of the step before."""
        p = self._network.n_weights
        trace = system.inverse_trace() if bayes.alpha > 0.0 else None
        # Before the first step alpha is 0; half of the residuals keeps beta positive where weights are many.
        gamma = min(p, 0.5 * n_residuals) if trace is None else min(max(p - bayes.alpha * trace, 0.0), float(p))
        gamma = min(gamma, n_residuals * (1.0 - 1e-9))
        squares = dot(self._flat, self._flat)
        if squares > 0.0:
            bayes.alpha = gamma / (2.0 * squares)
        if self._error > 0.0:
            bayes.beta = (n_residuals - gamma) / (2.0 * self._error)
        bayes.effective_parameters = gamma

    def _sums_of_outputs(self) -> list[float]:
        """Return the sum over rows of each output's loss."""
        heads = self._model.program.heads
        if len(heads) == 1:
            return [self._error]
        squares = np.zeros(len(self._targets))
        for part in self._parts:
            squares += (part**2).sum(axis=1)
        ends = np.cumsum([head.n_outputs for head in heads])
        weights = self._model.loss_weights
        parts = np.split(squares, ends[:-1])
        return [float(part.sum() / weight) if weight else 0.0 for part, weight in zip(parts, weights, strict=True)]


class _PrimalSystem:
    """The normal equations in the weights: ``beta J.T J + alpha I``."""

    def __init__(self, normal: Array, gradient: Array, alpha: float, beta: float, flat: Array) -> None:
        self._matrix = np.ascontiguousarray(normal.T) * beta
        self._matrix.flat[:: len(flat) + 1] += alpha
        self.gradient = gradient * beta + alpha * flat
        self.diagonal = self._matrix.diagonal().copy()

    def solve(self, damping: Array) -> Array | None:
        """Return the step for a diagonal of dampings; None if the matrix is not positive definite."""
        factor = self._matrix.copy()
        factor.flat[:: len(damping) + 1] += damping
        return -_core.cholesky_solve(factor, self.gradient) if _core.cholesky(factor) else None

    def inverse_trace(self) -> float | None:
        """Return the trace of the inverse of the matrix; None if it is not positive definite."""
        factor = self._matrix.copy()
        return _core.cholesky_inverse_trace(factor) if _core.cholesky(factor) else None


class _DualSystem:
    """The same step from the equations in the residuals, which are fewer than the weights."""

    def __init__(self, jacobian: Array, residuals: Array) -> None:
        self._jacobian, self._residuals = jacobian, residuals
        self.gradient = np.ascontiguousarray(_core.dense_forward(jacobian, residuals[:, None], None, "linear", None)[:, 0])
        self.diagonal = np.square(jacobian).sum(axis=1)

    def solve(self, damping: Array) -> Array | None:
        """Return the step for a diagonal of dampings: ``-D^-1 J.T (J D^-1 J.T + I)^-1 r``."""
        scaled = self._jacobian / damping[:, None]
        matrix = _core.dense_forward(np.ascontiguousarray(self._jacobian.T), scaled, None, "linear", None)
        matrix.flat[:: len(matrix) + 1] += 1.0
        if not _core.cholesky(matrix):
            return None
        solution = _core.cholesky_solve(matrix, self._residuals)
        return -np.ascontiguousarray(_core.dense_forward(scaled, solution[:, None], None, "linear", None)[:, 0])


class _LBFGSFit(FullBatchFit):
    """Iterations of L-BFGS; ``FullBatchFit`` describes the parameters."""

    def __init__(self, model: LayerStack, rows: Rows, predictions: Any) -> None:
        super().__init__(model, rows, predictions)
        from fastnn.training.fit import make_fit

        optimizer: LBFGS = model.optimizer
        for kind, options in model.program.ops:
            refused = [option for option in options if option.endswith(("_constraint", "_factors"))]
            if kind == "batch_norm" or refused:
                what = refused[0].replace("_", " ") if refused else "BatchNormalization, whose statistics change"
                raise ValueError(f"{optimizer.title} takes no {what}; use optimizer='adam'")
        if any(isinstance(loss, CustomLoss) for loss in model.losses_of_outputs):
            raise ValueError(f"{optimizer.title} takes no loss function of your own; use optimizer='adam'")
        self._optimizer, rows = optimizer, self._rows
        self._fit = make_fit(model, rows, rows.n, None)
        self._fit.begin_epoch(0, 0, False, np.zeros(1))
        self._places = [
            place
            for leaf in model.program.leaves
            for spec, place in zip(leaf.specs, leaf.places, strict=True)
            if spec.trainable and leaf.layer.trainable
        ]
        if not self._places:
            raise ValueError(f"{optimizer.title} has nothing to train: all layers are frozen")
        self._changes: list[tuple[Array, Array, float]] = []
        self._point: tuple[float, Array] | None = None
        self._flat = np.zeros(0)

    def _read(self) -> Array:
        """Return the trained weights of the model, flat."""
        network = self._model.network
        return np.concatenate([network.get_parameter(*place).ravel() for place in self._places]).astype(np.float64)

    def _value(self, flat: Array) -> tuple[float, Array]:
        """Return loss and gradient at some weights, which the model gets."""
        network = self._model.network
        shapes = [network.get_parameter(*place).shape for place in self._places]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        parts = np.split(flat, ends[:-1])
        values = [part.reshape(shape).astype(network.dtype) for part, shape in zip(parts, shapes, strict=True)]
        network.set_parameters([(op, name, 0) for op, name in self._places], values)
        found = {(op, name): gradient for op, name, gradient in self._fit.gradients()}
        loss, penalty = self._fit.loss_of_gradients
        gradient = np.concatenate([found[place].ravel() for place in self._places]).astype(np.float64)
        return loss + penalty, gradient

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
        self.loss_sums = list(self._fit.loss_sums)
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
        length, new_value, new_gradient = found
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
        if not finite or new_value > value + _SUFFICIENT * length * slope or new_value >= low[1] and low[0] > 0.0:
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
    """Return the minimum of the cubic through two points, kept away from both; four times the length without the second."""
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


def _float64(array: Any) -> Array:
    """Return a C-contiguous float64 array."""
    return np.ascontiguousarray(array, dtype=np.float64)
