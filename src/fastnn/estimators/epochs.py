"""The epochs of one fit: orders of rows, losses and scores, when to stop."""

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

import fastnn._core as _core
from fastnn.callbacks import CallbackList
from fastnn.estimators.network import Objective, threads_to_use
from fastnn.estimators.protocol import TaskReporter
from fastnn.training.epochs import run_epoch

Array = NDArray[Any]

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class Epochs:
    """The epochs of one fit.

    Parameters
    ----------
    estimator : what is fitted; its attributes are kept up to date.
    fit : the core's fit.
    rule, objective : update rule and loss.
    callbacks : fastnn's callbacks, attached.
    tasks : scikit-learn's callbacks.
    validation : X, y and weights to validate with after every epoch, or None.
    data : targets, weights and batch size.
    """

    def __init__(
        self,
        estimator: Any,
        fit: _core.Fit,
        rule: Any,
        objective: Objective,
        callbacks: CallbackList,
        tasks: TaskReporter,
        validation: tuple[Array, Array, Array | None] | None,
        data: tuple[Array, Array | None, int],
    ) -> None:
        self._estimator = estimator
        self._fit = fit
        self._rule = rule
        self._objective = objective
        self._callbacks = callbacks
        self._tasks = tasks
        self._validation = validation
        self._data = data
        self._n_samples = len(data[0])
        dropout = any(estimator._net.architecture.dropout)
        self._seed = int(estimator._random_state.randint(np.iinfo(np.int32).max)) if dropout else 0

    def run(self, max_iter: int, incremental: bool) -> None:
        """Run at most ``max_iter`` epochs."""
        e = self._estimator
        order = np.arange(self._n_samples)
        fixed_offset = None if e.shuffle and self._data[1] is not None else self._offset(None)
        self._callbacks.call("on_train_begin", {})
        logs: dict[str, Any] = {}
        try:
            e.n_iter_ = 0
            for it in range(max_iter):
                self._tasks.begin()
                self._callbacks.call("on_epoch_begin", it, {})
                if e.shuffle:
                    # the exchanges that scikit-learn makes in a list of places and then applies to the order before
                    e._random_state.shuffle(order)
                total, penalty = self._epoch(order if e.shuffle else None)
                e.n_iter_ += 1
                e.loss_ = self._objective.reported(total, penalty) + (
                    self._offset(order) if fixed_offset is None else fixed_offset
                )
                e.t_ += self._n_samples
                e.loss_curve_.append(e.loss_)
                if e.verbose:
                    print(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
                logs = {"loss": e.loss_}
                self._validate(logs)
                self._count_no_improvement()
                if e.solver == "sgd" and e.optimizer is None and e.learning_rate == "invscaling":
                    self._rule.learning_rate = float(e.learning_rate_init) / (e.t_ + 1) ** e.power_t
                self._callbacks.call("on_epoch_end", it, logs)
                stopped = self._tasks.end() or self._callbacks.stop_training
                if math.isnan(total):
                    warnings.warn(
                        f"The loss became NaN or infinite in iteration {e.n_iter_}. The weights of the best validation "
                        "score are kept.",
                        ConvergenceWarning,
                        stacklevel=6,
                    )
                    break
                if stopped or (e._no_improvement_count > e.n_iter_no_change and self._stop()) or incremental:
                    break
                if e.n_iter_ == e.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({e.max_iter}) reached and the optimization "
                        "hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=6,
                    )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=6)
        self._callbacks.call("on_train_end", logs)

    def _offset(self, order: Array | None) -> float:
        y, weights, batch_size = self._data
        offset: float = self._estimator._loss_offset(y, weights, order, batch_size)
        return offset

    def _epoch(self, order: Array | None) -> tuple[float, float]:
        """Train one epoch; return the mean of its batch losses and the part of it that is penalties."""
        fit, core = self._fit, self._estimator._net.core
        rates = self._rule.learning_rates(core.iterations, fit.n_steps)
        fit.begin_epoch(self._seed, core.iterations, False, rates, order)
        # Without follow_rate: what callbacks change takes effect after the epoch, as an epoch's loss is of all rows.
        if not run_epoch(fit, self._callbacks, self._mean_loss):
            return self._diverged()
        return self._mean_loss(), fit.penalty_sum / self._n_samples

    def _mean_loss(self) -> float:
        return self._fit.loss_sum / self._n_samples

    def _diverged(self) -> tuple[float, float]:
        """Return NaN where there are earlier weights to go back to.

        Raises
        ------
        ValueError
            There are none; scikit-learn's message.
        """
        if not self._estimator.early_stopping:
            raise ValueError(NOT_FINITE)
        return np.nan, np.nan

    def _validate(self, logs: dict[str, Any]) -> None:
        """Record score and loss of the validation rows."""
        if self._validation is None:
            return
        e = self._estimator
        X, y, weights = self._validation
        outputs = e._net.predict(X, threads_to_use(e.n_threads))
        finite = np.isfinite(e.loss_) and np.isfinite(outputs).all()
        score = float(e._score_outputs(outputs, y, weights)) if finite else np.nan
        targets = e._targets(y, e._net.dtype)
        options = {k: v for k, v in self._objective.loss_options.items() if k not in ("from_logits", "weighted_mean")}
        weight = None if weights is None else np.asarray(weights / np.mean(weights), e._net.dtype)
        loss = _core.loss_and_gradient(self._objective.loss, targets, outputs, weight, False, **options)[0]
        loss = loss * self._objective.report + e._loss_offset(y, weights, None, len(y))
        if e.n_iter_ == 1 and (not hasattr(e, "validation_loss_curve_") or len(e.loss_curve_) == 1):
            e.validation_loss_curve_ = []
        if e.validation_scores_ is None:
            e.validation_scores_, e.best_validation_score_ = [], -np.inf
        e.validation_scores_.append(score)
        e.validation_loss_curve_.append(loss)
        logs.update(val_loss=loss, val_score=score)
        if e.verbose:
            print(f"Validation score: {score:f}")

    def _count_no_improvement(self) -> None:
        """Count epochs without a better validation score, or else training loss; keep the best weights."""
        e = self._estimator
        if self._validation is not None:
            score = e.validation_scores_[-1]
            better = score > e.best_validation_score_
            worse = score < e.best_validation_score_ + e.tol
            if better:
                e.best_validation_score_ = score
        if e.early_stopping:
            e._no_improvement_count = e._no_improvement_count + 1 if worse else 0
            if better:
                e._best_weights = e._net.read()
            return
        e._no_improvement_count = e._no_improvement_count + 1 if e.loss_ > e.best_loss_ - e.tol else 0
        e.best_loss_ = min(e.best_loss_, e.loss_)

    def _stop(self) -> bool:
        """Whether to stop after too many epochs without improvement, or else lower the learning rate."""
        e = self._estimator
        what = "Validation score" if e.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} consecutive epochs."
        if e.solver != "sgd" or e.optimizer is not None or e.learning_rate != "adaptive":
            message, stop = f"{message} Stopping.", True
        elif self._rule.learning_rate <= 1e-6:
            message, stop = f"{message} Learning rate too small. Stopping.", True
        else:
            self._rule.learning_rate /= 5.0
            message, stop = f"{message} Setting learning rate to {self._rule.learning_rate:f}", False
            e._no_improvement_count = 0
        if e.verbose:
            print(message)
        return stop
