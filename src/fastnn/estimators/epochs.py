"""The epochs of both estimators: batches, orders of rows, records, validation and the end of training.

Design: random numbers are drawn in scikit-learn's order, so that an equal ``random_state`` gives equal starting
weights, validation rows and orders of rows.
"""

import copy
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

import fastnn._core as _core
import fastnn.optimizers as optimizers
from fastnn._arrays import is_source
from fastnn.callbacks import CallbackList, ProgbarLogger
from fastnn.estimators.base import NetworkEstimator
from fastnn.estimators.callbacks import CallbackModel, TaskReporter, copies_of
from fastnn.estimators.network import Objective, threads_to_use
from fastnn.estimators.orders import OrderDraw, draw_orders
from fastnn.training.epochs import run_epochs, run_steps

Array = NDArray[Any]
Weighted = tuple[Array, Array, Array | None]
"""X, y as columns, and sample weights."""

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
_MOST_ROWS = 2**20
"""Entries of the orders of rows of epochs that are trained together: 8 MB."""


@dataclass
class _Run:
    """What the epochs of one fit work with.

    Parameters
    ----------
    fit : the core's fit.
    rule, objective : update rule and loss.
    callbacks, tasks : fastnn's callbacks and scikit-learn's.
    y, weights : targets and sample weights of the training rows.
    validation : rows to validate with after every epoch, or None.
    batch_size : rows in a batch.
    seed : of dropout.
    draw_orders : gives the orders of rows of some epochs.
    offset : part of the epoch's reported loss that the core leaves out.
    """

    fit: Any
    rule: Any
    objective: Objective
    callbacks: CallbackList
    tasks: TaskReporter
    y: Array
    weights: Array | None
    validation: Weighted | None
    batch_size: int
    seed: int
    draw_orders: OrderDraw
    offset: float = 0.0

    def mean_loss(self) -> float:
        """Return the reported loss of the epoch's rows so far; NaN before the first step."""
        rows = min(self.fit.step * self.batch_size, len(self.y))
        return self.reported(self.fit.loss_sum, self.fit.penalty_sum, rows) if rows else math.nan

    def reported(self, loss_sum: float, penalty_sum: float, rows: int) -> float:
        """Return the reported loss for sums over rows."""
        return self.objective.reported(loss_sum / rows, penalty_sum / rows) + self.offset


class TrainedByEpochs(NetworkEstimator):
    """An estimator whose update rule trains it epoch by epoch."""

    _optimizer: Any

    def _reset_history(self) -> None:
        """Reset the attributes that fits record in."""
        self.n_iter_ = 0
        self.t_ = 0
        self.__dict__.pop("_optimizer", None)
        if self.solver != "lbfgs":
            self.loss_curve_: list[float] = []
            self._no_improvement_count = 0
            # As in scikit-learn: early stopping records scores and no best loss, a fit without it the reverse.
            self.best_loss_: Any = None if self.early_stopping else np.inf
            self.validation_scores_: list[float] | None = [] if self.early_stopping else None
            self.best_validation_score_: Any = -np.inf if self.early_stopping else None
            if self.early_stopping:
                self._best_weights = self._net.read()

    def _objective(self, rule: Any) -> Objective:
        loss, options, report = self._loss()
        options = {**options, "weighted_mean": True, "scaled_penalty": True}
        return Objective(loss, options, rule.core_name, rule.options(), float(self.alpha), report)

    def _attributes(self, flat: list[Array] | None = None) -> dict[str, Any]:
        """Return the attributes that a copy needs to predict, with the weights of this estimator or with ``flat``."""
        network = copy.copy(self._net)
        if flat:
            shapes = [array.shape for arrays in network.read() for array in arrays]
            parts = np.split(flat[0], np.cumsum([math.prod(shape) for shape in shapes])[:-1])
            arrays = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
            network.write(arrays[: len(arrays) // 2], arrays[len(arrays) // 2 :])
        return {"_net": network}

    def _update_rule(self, incremental: bool) -> Any:
        """Return the optimizer of this fit; ``partial_fit`` continues with the previous one."""
        if incremental and "_optimizer" in self.__dict__:
            return self._optimizer
        if self.optimizer is not None:
            self._optimizer = copy.deepcopy(optimizers.get(self.optimizer))
        elif self.solver == "sgd":
            self._optimizer = optimizers.SGD(self.learning_rate_init, self.momentum, bool(self.nesterovs_momentum))
        else:
            self._optimizer = optimizers.Adam(self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon)
        return self._optimizer

    def _split(self, X: Array, y: Array, sample_weight: Array | None) -> tuple[Weighted, Weighted]:
        """Split rows at random into training and validation rows."""
        train, held_out = train_test_split(
            np.arange(X.shape[0]),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._stratify(y),
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        parts = [
            (X[rows], y[rows], None if sample_weight is None else sample_weight[rows]) for rows in (train, held_out)
        ]
        return parts[0], parts[1]

    def _fit_stochastic(
        self,
        rows: Weighted,
        validation: Weighted | None,
        incremental: bool,
        raw: tuple[Any, Any],
        draw: OrderDraw = draw_orders,
    ) -> None:
        rule = self._update_rule(incremental)
        if self.early_stopping and validation is None:
            rows, validation = self._split(*rows)
        X, y, weights = rows
        if self.batch_size == "auto":
            batch_size = min(200, len(y))
        else:
            if self.batch_size > len(y):
                warnings.warn(
                    "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=4
                )
            batch_size = int(np.clip(self.batch_size, 1, len(y)))
        network = self._net
        objective = self._objective(rule)
        if incremental:
            network.continue_with(objective)
        else:
            network.compile(objective)
        if weights is not None:
            weights = np.ascontiguousarray(weights, network.dtype)
        targets = self._targets(y, network.dtype)
        fit = self._make_fit(X, targets, weights, batch_size)
        max_iter = 1 if incremental else self.max_iter
        self.callbacks_ = copies_of(self.callbacks)
        parameters = {"epochs": max_iter, "steps": fit.n_steps, "verbose": 1}
        always = (ProgbarLogger(1),) if self.progress else ()
        callbacks = CallbackList(self.callbacks_, CallbackModel(network, rule), parameters, always)
        callbacks.attach()
        tasks = TaskReporter(self, max_iter, *raw, self._attributes)
        dropout = any(network.architecture.dropout)
        seed = int(self._random_state.randint(np.iinfo(np.int32).max)) if dropout else 0
        run = _Run(fit, rule, objective, callbacks, tasks, y, weights, validation, batch_size, seed, draw)
        try:
            self._run_epochs(run, max_iter, incremental)
        finally:
            if is_source(X):
                fit.close()
            callbacks.close()
        tasks.close()
        if self.early_stopping:
            network.write(*self._best_weights)
        if objective.rule_options.get("use_ema"):
            network.core.use_average()

    def _make_fit(self, X: Any, targets: Array, weights: Array | None, batch_size: int) -> Any:
        """Return the core's fit of an array, or a fit over the windows of a source."""
        threads = threads_to_use(self.n_threads)
        if not is_source(X):
            return _core.Fit(self._net.core, X, targets, weights, batch_size, threads)
        from fastnn.estimators.streaming import SourceFit

        seed = int(self._random_state.randint(np.iinfo(np.int32).max)) if self.shuffle else None
        return SourceFit(self._net.core, self._rows_of_source(X, targets, weights), batch_size, threads, seed)

    def _run_epochs(self, run: _Run, max_iter: int, incremental: bool) -> None:
        """Train at most ``max_iter`` epochs, and keep the fitted attributes up to date."""
        order = np.arange(len(run.y)) if self.shuffle and isinstance(run.fit, _core.Fit) else None
        run.offset = self._loss_offset(run.y, run.weights, None, run.batch_size)
        logs: dict[str, Any] = {}
        run.callbacks.call("on_train_begin", {})
        try:
            self.n_iter_ = 0
            while self.n_iter_ < max_iter:
                run.tasks.begin()
                run.callbacks.call("on_epoch_begin", self.n_iter_, {})
                count = self._epochs_together(run, max_iter)
                self._record(run, self._train_epochs(run, order, count))
                if self.verbose:
                    print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
                logs = {"loss": self.loss_}
                if run.validation is not None:
                    logs.update(self._validate(run.objective, *run.validation))
                self._update_no_improvement_count()
                if self.solver == "sgd" and self.optimizer is None and self.learning_rate == "invscaling":
                    run.rule.learning_rate = float(self.learning_rate_init) / (self.t_ + 1) ** self.power_t
                run.callbacks.call("on_epoch_end", self.n_iter_ - 1, logs)
                stopped = run.tasks.end() or run.callbacks.stop_training
                if math.isnan(self.loss_):
                    warnings.warn(
                        f"The loss became NaN or infinite in iteration {self.n_iter_}. The weights of the best "
                        "validation score are kept.",
                        ConvergenceWarning,
                        stacklevel=6,
                    )
                    break
                if stopped or self._has_converged(run.rule) or incremental:
                    break
                if self.n_iter_ == self.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
                        "hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=6,
                    )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=6)
        run.callbacks.call("on_train_end", logs)

    def _record(self, run: _Run, loss: float) -> None:
        """Record an epoch."""
        self.loss_ = loss
        self.n_iter_ += 1
        self.t_ += len(run.y)
        self.loss_curve_.append(loss)

    def _epochs_together(self, run: _Run, max_iter: int) -> int:
        """Return the number of epochs that are trained in any case, with nothing to do between them but records."""
        changes_rate = self.solver == "sgd" and self.learning_rate == "invscaling"
        scheduled = self.optimizer is not None and run.rule.schedule is not None
        weighted = run.validation is not None or run.weights is not None
        watched = run.callbacks.each_epoch or run.tasks.active or self.verbose
        if changes_rate or scheduled or watched or weighted or not isinstance(run.fit, _core.Fit):
            return 1
        # Training ends after more than n_iter_no_change epochs without improvement, and each counts once.
        certain = self.n_iter_no_change + 1 - self._no_improvement_count
        return max(1, int(min(max_iter - self.n_iter_, certain, max(1, _MOST_ROWS // len(run.y)))))

    def _train_epochs(self, run: _Run, order: Array | None, count: int) -> float:
        """Train epochs; record all but the last, and return the reported loss of its rows."""
        fit, rule, iterations = run.fit, run.rule, self._net.core.iterations
        orders = None if order is None else run.draw_orders(self._random_state, order, count)
        if count == 1:
            return self._train_epoch(run, order)
        rate = rule.learning_rate
        rates = rule.learning_rates(iterations, fit.n_steps)
        fit.begin_epochs(run.seed, iterations, count, False, rates, orders, fit.n_steps)
        finished, losses = False, []
        try:
            finished = run_epochs(fit, lambda: run.callbacks.stop_training or rule.learning_rate != rate)
        finally:
            losses = [run.reported(total, penalty, len(run.y)) for total, penalty in fit.epoch_sums[:, :2].tolist()]
            for loss in losses[:-1] if finished else losses:
                self._record(run, loss)
                self._update_no_improvement_count()
        if not finished:
            raise ValueError(NOT_FINITE)
        return losses[-1]

    def _train_epoch(self, run: _Run, order: Array | None) -> float:
        """Train one epoch; return the reported loss of its rows.

        With ``early_stopping`` the result is NaN if a loss is not finite.

        Raises
        ------
        ValueError
            A loss is not finite, and there are no earlier weights to keep; scikit-learn's message.
        """
        if run.weights is not None:
            # Where rows have weights, the reported loss depends on which rows share a batch.
            run.offset = self._loss_offset(run.y, run.weights, order, run.batch_size)
        fit, iterations = run.fit, self._net.core.iterations
        fit.begin_epoch(run.seed, iterations, False, run.rule.learning_rates(iterations, fit.n_steps), order)
        # Without follow_rate: scikit-learn's loss of an epoch is that of all rows, so no callback cuts it short.
        if run_steps(fit, run.callbacks, run.mean_loss):
            return run.mean_loss()
        if not self.early_stopping:
            raise ValueError(NOT_FINITE)
        return math.nan

    def _validate(self, objective: Objective, X: Array, y: Array, weights: Array | None) -> dict[str, float]:
        """Record and return loss and score of the validation rows."""
        outputs = self._outputs_of_source(X) if is_source(X) else self._net.predict(X, threads_to_use(self.n_threads))
        finite = np.isfinite(self.loss_) and np.isfinite(outputs).all()
        score = float(self._score_outputs(outputs, y, weights)) if finite else np.nan
        dtype = self._net.dtype
        relative = None if weights is None else np.asarray(weights / np.mean(weights), dtype)
        loss = objective.of_outputs(self._targets(y, dtype), outputs, relative)
        loss += self._loss_offset(y, weights, None, len(y))
        if self.n_iter_ == 1 and (not hasattr(self, "validation_loss_curve_") or len(self.loss_curve_) == 1):
            self.validation_loss_curve_: list[float] = []
        if self.validation_scores_ is None:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf
        self.validation_scores_.append(score)
        self.validation_loss_curve_.append(loss)
        if self.verbose:
            print(f"Validation score: {score:f}")
        return {"val_loss": loss, "val_score": score}

    def _update_no_improvement_count(self) -> None:
        """Count epochs without a better validation score or, without early stopping, a lower training loss."""
        better = worse = False
        if self.validation_scores_:
            score = self.validation_scores_[-1]
            better = score > self.best_validation_score_
            worse = score < self.best_validation_score_ + self.tol
            if better:
                self.best_validation_score_ = score
        if self.early_stopping:
            if better:
                self._best_weights = self._net.read()
        else:
            worse = self.loss_ > self.best_loss_ - self.tol
            self.best_loss_ = min(self.best_loss_, self.loss_)
        self._no_improvement_count = self._no_improvement_count + 1 if worse else 0

    def _has_converged(self, rule: Any) -> bool:
        """Whether too many epochs brought no improvement; where the learning rate is adaptive, lower it first."""
        if self._no_improvement_count <= self.n_iter_no_change:
            return False
        what = "Validation score" if self.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        if self.solver != "sgd" or self.optimizer is not None or self.learning_rate != "adaptive":
            message, stop = f"{message} Stopping.", True
        elif rule.learning_rate <= 1e-6:
            message, stop = f"{message} Learning rate too small. Stopping.", True
        else:
            rule.learning_rate /= 5.0
            message, stop = f"{message} Setting learning rate to {rule.learning_rate:f}", False
            self._no_improvement_count = 0
        if self.verbose:
            print(message)
        return stop
