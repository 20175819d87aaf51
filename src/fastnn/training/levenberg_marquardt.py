"""Steps of Levenberg-Marquardt, with and without Bayesian regularization."""

import math
from typing import Any

import numpy as np

import fastnn._core as _core
from fastnn._allocation import physical_memory
from fastnn.network.stack import LayerStack
from fastnn.optimizers.second_order import BayesianLevenbergMarquardt, LevenbergMarquardt
from fastnn.training.full_batch import FullBatchFit
from fastnn.training.jacobian import Array, dot, product
from fastnn.training.residuals import residuals_of
from fastnn.training.rows import Rows

_MOST_TRIES = 60
"""Most dampings that are tried for a step."""
_LEAST_DAMPING = 1e-15
_LARGEST_PRECISION = 1e100
"""Largest alpha and beta: targets that are met exactly have no noise, and 1 / 0 would be theirs."""
_PLAIN_STEPS = 10
"""Most steps without a penalty. Before the network follows the targets, the evidence calls a straight line enough."""
_SHARE_TO_FOLLOW = 0.5
"""Share of the targets' sum of squares about their mean: with a smaller error, the network follows the targets."""
_LEAST_GAIN = 1e-3
"""Share of the error: a step that gains less ends the steps without a penalty."""


class LevenbergMarquardtFit(FullBatchFit):
    """Steps of Levenberg-Marquardt; ``FullBatchFit`` describes the parameters."""

    def __init__(self, model: LayerStack, rows: Rows, predictions: Any) -> None:
        super().__init__(model, rows, predictions)
        rows = self._rows
        optimizer: LevenbergMarquardt = model.optimizer
        self._optimizer = optimizer
        inputs = [_float64(x) for x in (rows.X if isinstance(rows.X, list) else [rows.X])]
        targets, scale = self._targets_of(rows)
        self._n_residuals = int(np.count_nonzero(scale))
        weights = scale**2
        sums = np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        centers = (weights * targets).sum(axis=1, keepdims=True) / sums
        self._squares_of_targets = float((weights * (targets - centers) ** 2).sum())
        self._residuals = residuals_of(model.program, optimizer.title, inputs, targets, scale)
        # The equations in the residuals are solved where these are fewer, without a penalty on weights.
        self._dual = (
            not isinstance(optimizer, BayesianLevenbergMarquardt) and self._n_residuals < self._residuals.n_weights
        )
        self._check_memory()
        self._flat = np.zeros(0)
        self._version = -1
        # The model's weights are read from here, rounded to its type.
        self._rounded = np.empty(self._residuals.n_weights, model.network.dtype)
        self._places = [(place.op, place.name, 0) for place in self._residuals.places]
        self._values = [self._rounded[place.flat].reshape(place.shape) for place in self._residuals.places]

    def _check_memory(self) -> None:
        """Raise MemoryError for matrices that are larger than the machine's memory."""
        p, n = self._residuals.n_weights, self._residuals.n_residuals
        needed = 8 * (2 * n * n + n * p if self._dual else 2 * p * p)
        if needed > physical_memory():
            raise MemoryError(
                f"{self._optimizer.title} needs {needed / 2**30:.0f} GiB for {p} weights and {n} residuals, more than "
                "this machine has: use optimizer='lbfgs' or 'adam', or a smaller network"
            )

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
                    f"reduction={loss.reduction!r}; optimizer='lbfgs' takes every loss of fastnn, 'adam' your own, too"
                )
            if weight < 0.0:
                raise ValueError(f"{title} needs loss_weights of at least 0, got {weight}")
            targets.append(np.ascontiguousarray(_float64(y).reshape(rows.n, width).T))
            weights = np.ones(rows.n) if own is None else _float64(own)
            if weights.min(initial=0.0) < 0.0:
                raise ValueError(f"{title} needs sample weights of at least 0, got {weights.min()}")
            scales.append(np.repeat(np.sqrt(weights * weight / width)[None, :], width, axis=0))
        return np.concatenate(targets), np.concatenate(scales)

    def _take_weights(self) -> None:
        """Take the model's weights, unless they are those of the last step."""
        version = self._model.network_weights.version
        if version != self._version:
            self._flat = self._residuals.take_weights(self._model.network)
            self._error = self._residuals.square_sum(self._flat)
            self._version = version

    def _give_weights(self) -> None:
        """Give the model the new weights."""
        self._rounded[:] = self._flat
        self._model.network.set_parameters(self._places, self._values)

    def _make_step(self) -> bool:
        self._take_weights()
        if not math.isfinite(self._error):
            return False
        residuals, optimizer = self._residuals, self._optimizer
        bayes = optimizer if isinstance(optimizer, BayesianLevenbergMarquardt) else None
        alpha, beta = (bayes.alpha, bayes.beta) if bayes is not None else (0.0, 1.0)
        if self._dual:
            system: Any = _DualSystem(*residuals.jacobian(self._flat))
        else:
            system = _PrimalSystem(*residuals.normal_equations(self._flat), alpha, beta, self._flat)
        moved, before = False, self._error
        if np.abs(system.gradient).max() * 2.0 > optimizer.min_gradient * self._rows.n:
            moved = self._search(system, alpha, beta)
        if bayes is not None and (moved if bayes.alpha > 0.0 else not moved or self._ends_plain_steps(before)):
            self._update_evidence(bayes, system, self._n_residuals)
            moved = moved or bayes.alpha > 0.0
        if not moved:
            self._model.stop_training = True
        optimizer.note_training()
        self.loss_sum = self._error
        self.loss_sums = self._sums_of_outputs()
        return True

    def _search(self, system: Any, alpha: float, beta: float) -> bool:
        """Try dampings until a step lowers the objective; return False if none does, and keep the first damping."""
        optimizer, growth, first = self._optimizer, 2.0, self._optimizer.damping
        before = self._objective(self._error, self._flat, alpha, beta)
        for _ in range(_MOST_TRIES):
            if optimizer.damping > optimizer.max_damping:
                break
            found = system.solve(optimizer.damping)
            if found is not None:
                step, predicted = found
                flat = self._flat + step
                error = self._residuals.square_sum(flat)
                gain = before - self._objective(error, flat, alpha, beta)
                if math.isfinite(gain) and gain > 0.0 and predicted > 0.0:
                    self._flat, self._error = flat, error
                    optimizer.damping *= max(1.0 / 3.0, 1.0 - (2.0 * gain / predicted - 1.0) ** 3)
                    optimizer.damping = min(max(optimizer.damping, _LEAST_DAMPING), optimizer.max_damping)
                    self._give_weights()
                    return True
            optimizer.damping *= growth
            growth *= 2.0
        optimizer.damping = first  # the largest would hold back a fit to other rows
        return False

    @staticmethod
    def _objective(error: float, flat: Array, alpha: float, beta: float) -> float:
        return beta * error + (alpha * dot(flat, flat) if alpha else 0.0)

    def _ends_plain_steps(self, before: float) -> bool:
        """Whether the evidence counts from this step on, whose error was ``before``."""
        follows = self._error < _SHARE_TO_FOLLOW * self._squares_of_targets
        stands = 0.0 <= before - self._error < _LEAST_GAIN * before
        return follows or stands or self._model.network.iterations + 1 >= _PLAIN_STEPS

    def _update_evidence(self, bayes: BayesianLevenbergMarquardt, system: Any, n_residuals: int) -> None:
        """Set alpha and beta from the evidence, with ``J`` of the step before."""
        p = self._residuals.n_weights
        trace = system.inverse_trace() if bayes.alpha > 0.0 else None
        # In steps without a penalty alpha is 0; half of the residuals keeps beta positive where weights are many.
        gamma = min(p, 0.5 * n_residuals) if trace is None else min(max(p - bayes.alpha * trace, 0.0), float(p))
        gamma = min(gamma, n_residuals * (1.0 - 1e-9))
        squares = dot(self._flat, self._flat)
        if squares > 0.0:
            bayes.alpha = min(gamma / (2.0 * squares), _LARGEST_PRECISION)
        if self._error > 0.0:
            bayes.beta = min((n_residuals - gamma) / (2.0 * self._error), _LARGEST_PRECISION)
        bayes.effective_parameters = gamma

    def _sums_of_outputs(self) -> list[float]:
        """Return the sum over rows of each loss."""
        model = self._model
        if len(self.loss_sums) == 1:
            return [self._error]
        pairs = list(zip(model.losses_of_outputs, model.loss_weights, strict=True))
        weights = [weight for loss, weight in pairs if loss is not None]
        if not all(weights):
            return self.sums_of_objective()
        ends = np.cumsum([head.n_outputs for head in model.program.heads])[:-1]
        parts = np.split(self._residuals.squares_of_columns(self._flat), ends)
        return [
            float(part.sum() / weight) for part, (loss, weight) in zip(parts, pairs, strict=True) if loss is not None
        ]


class _PrimalSystem:
    """The normal equations in the weights: ``beta J.T J + alpha I``."""

    def __init__(self, normal: Array, gradient: Array, alpha: float, beta: float, flat: Array) -> None:
        self._matrix, self.gradient = normal, gradient
        if beta != 1.0 or alpha:
            normal *= beta
            normal.flat[:: len(flat) + 1] += alpha
            self.gradient = gradient * beta + alpha * flat

    def solve(self, damping: float) -> tuple[Array, float] | None:
        """Return the step and the gain that it promises; None if the matrix is not positive definite."""
        return _core.damped_step(self._matrix, self.gradient, damping)

    def inverse_trace(self) -> float | None:
        """Return the trace of the inverse of the matrix; None if it is not positive definite."""
        factor = self._matrix.copy()
        return _core.cholesky_inverse_trace(factor) if _core.cholesky(factor) else None


class _DualSystem:
    """The same step from the equations in the residuals, which are fewer than the weights."""

    def __init__(self, jacobian: Array, residuals: Array) -> None:
        self._jacobian, self._residuals = jacobian, residuals
        self._matrix = product(np.ascontiguousarray(jacobian.T), jacobian)
        self.gradient = product(jacobian, residuals[:, None])[:, 0].copy()

    def solve(self, damping: float) -> tuple[Array, float] | None:
        """Return the step ``-J.T (J J.T + damping I)^-1 r`` and the gain that it promises, or None."""
        found = _core.damped_step(self._matrix, self._residuals, damping)
        if found is None:
            return None
        step = product(self._jacobian, found[0][:, None])[:, 0].copy()
        return step, dot(step, damping * step - self.gradient)


def _float64(array: Any) -> Array:
    """Return a C-contiguous float64 array."""
    return np.ascontiguousarray(array, dtype=np.float64)
