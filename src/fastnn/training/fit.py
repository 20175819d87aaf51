"""The loop behind ``fit``: epochs, validation, callbacks, and what happens when training diverges."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
import fastnn._ranks as _ranks
from fastnn._arguments import flag, whole
from fastnn._arithmetic import default_arithmetic
from fastnn.callbacks import CallbackList, TerminateOnNaN
from fastnn.errors import DivergenceError
from fastnn.network.objective import loss_names
from fastnn.network.outputs import misfit
from fastnn.network.stack import LayerStack
from fastnn.training.agreement import agreement
from fastnn.training.epochs import run_epochs, run_steps
from fastnn.training.evaluation import Evaluation
from fastnn.training.native import make_fit
from fastnn.training.outputs import empty_outputs, metric_values
from fastnn.training.rollback import EpochStart, Rollback
from fastnn.training.rows import Rows, joined, listed, n_rows, take
from fastnn.training.running import RunningMetrics
from fastnn.training.source import RowSource, Steps

Array = NDArray[Any]
Seen = tuple[Any, Any, Any]
"""Targets, outputs and sample weights (or None) of rows that were trained on."""

_LARGE_WEIGHT = 1e4
"""Training that starts from larger weights diverges again."""
_MOST_STEPS = 2**14
"""Steps of epochs that are trained together: some 10 ms of the smallest networks."""


class FitOptions(NamedTuple):
    """The checked options of one call of ``fit``.

    Parameters
    ----------
    epochs, initial_epoch : numbers of the end (exclusive) and of the first epoch.
    validation_freq : epochs between validations, or the numbers (counted from 1) of the epochs to validate after.
    shuffle : whether the rows get a new order every epoch.
    """

    epochs: int
    initial_epoch: int
    validation_freq: int | frozenset[int]
    shuffle: bool

    def validates(self, epoch: int) -> bool:
        """Whether to validate after an epoch, counted from 0."""
        if isinstance(self.validation_freq, int):
            return (epoch + 1) % self.validation_freq == 0
        return epoch + 1 in self.validation_freq


def fit_options(epochs: Any, initial_epoch: Any, shuffle: Any, validation_freq: Any) -> FitOptions:
    """Return the checked options of ``fit``."""
    frequency: int | frozenset[int]
    if isinstance(validation_freq, list | tuple | set | frozenset):
        if not validation_freq:
            raise ValueError("validation_freq must have the number of one epoch at least, got an empty list")
        frequency = frozenset(whole("each entry of validation_freq", epoch, at_least=1) for epoch in validation_freq)
    else:
        frequency = whole("validation_freq", validation_freq, at_least=1)
    first = whole("initial_epoch", initial_epoch, at_least=0)
    return FitOptions(whole("epochs", epochs, at_least=0), first, frequency, flag("shuffle", shuffle))


class Training:
    """One call of ``fit``.

    Parameters
    ----------
    model : a built and compiled model.
    source : rows to train on and to validate with.
    options : options of the fit.
    callbacks : attached callbacks.
    """

    def __init__(self, model: LayerStack, source: RowSource, options: FitOptions, callbacks: CallbackList) -> None:
        self._model = model
        self._source = source
        self._options = options
        # Batches keep the order in which they come.
        self._shuffle = options.shuffle and source.same_rows
        self._callbacks = callbacks
        self._validation = None
        if source.validation is not None:
            self._validation = Evaluation(model, source.validation, source.validation_batch_size, callbacks)
        self._held_out: _core.HeldOut | None = None
        self._terminators = [c for c in callbacks.callbacks if isinstance(c, TerminateOnNaN)]
        self._running = None
        if model.metrics and callbacks.has("on_train_batch_end"):
            self._running = RunningMetrics(model)
        self._agreement = agreement(model)
        self._network = model.network
        self._loss_names = loss_names(model)
        self._rows, self._batch_size = source.first.rows, 0
        self._load(source.first)

    def _load(self, steps: Steps) -> None:
        """Make the native fit of some rows; where they have the form of those before, copy them over these."""
        rows, self._steps = steps.rows, steps
        # The rows of a window lie in a buffer that is filled again.
        if steps.order is None and steps.batch_size == self._batch_size and _overwrite(self._rows, rows):
            return
        self._rows, self._n, self._batch_size = rows, rows.n, steps.batch_size
        self._predictions = empty_outputs(self._model, n_rows(rows.X)) if self._model.metrics else None
        self._fit = training_fit(self._model, rows, steps.batch_size, self._predictions)
        self._rollback = Rollback(
            self._model.network_weights, self._fit, self._source.same_rows, self._agreement.decide
        )

    @default_arithmetic()
    def run(self) -> None:
        """Run all epochs."""
        model, callbacks, options = self._model, self._callbacks, self._options
        model.stop_training = False
        logs: dict[str, Any] = {}
        callbacks.call("on_train_begin", {})
        first = callbacks.resume(options.initial_epoch)
        self._agreement.begin(self._rows, (self._batch_size, first, options.epochs))
        self._source.skip(max(0, first - options.initial_epoch))
        epochs = iter(range(first, options.epochs))
        for epoch, parts in zip(epochs, self._source, strict=False):
            callbacks.call("on_epoch_begin", epoch, {})
            count = self._epochs_together(epoch)
            if count > 1:
                n_more, logs = self._run_together(epoch, count)
                epoch = next(islice(epochs, n_more - 1, None)) if n_more else epoch
            else:
                logs = self._run_epoch(epoch, parts)
                self._agreement.after_steps(epoch)
            if self._validation is not None and options.validates(epoch):
                logs.update({f"val_{name}": value for name, value in self._validation.run().items()})
            callbacks.call("on_epoch_end", epoch, logs)
            self._agreement.after_callbacks()
            callbacks.call("after_epoch", epoch)
            # Weights that are not finite are taken back while the rows that led to them are still there.
            if model.stop_training or not (self._source.same_rows or model.network_weights.finite()):
                break
        if logs and not model.network_weights.finite():
            # The last steps had a finite loss and a gradient that was not.
            self._rollback.recover()
            if not self._terminators:
                place = (epoch + 1, options.epochs, 0, self._batch + self._fit.step - self._steps.first)
                raise divergence("weights", *place, float(logs["loss"]), model)
        elif logs and model.optimizer.use_ema:
            model.network_weights.use_average()
        callbacks.call("on_train_end", logs)

    def _epochs_together(self, epoch: int) -> int:
        """Return the number of epochs, this one among them, between which nothing is left to do in Python."""
        source, fit, options, stopper = self._source, self._fit, self._options, self._callbacks.stopper
        evaluates = self._validation is not None and self._validation.is_native
        if (
            (self._callbacks.each_epoch and stopper is None)
            or (
                stopper is not None
                and stopper.monitor == "val_loss"
                and not (evaluates and options.validation_freq == 1)
            )
            or self._predictions is not None
            or self._model.optimizer.schedule is not None
            or not isinstance(fit, _core.Fit)
            or _ranks.current() is not None
            or not (source.same_rows and source.n_steps == fit.n_steps)
        ):
            return 1
        end = min(options.epochs, epoch + max(1, _MOST_STEPS // fit.n_steps))
        if self._validation is not None and not evaluates:
            end = next((number + 1 for number in range(epoch, end) if options.validates(number)), end)
        return end - epoch

    def _run_together(self, epoch: int, count: int) -> tuple[int, dict[str, Any]]:
        """Train at most ``count`` epochs; return the number of the last one, counted from this one, and its logs."""
        model, fit, optimizer = self._model, self._fit, self._model.optimizer
        self._begin_sums()
        self._steps = self._source.first
        begun, rate = model.epochs_begun, optimizer.learning_rate
        rates = optimizer.learning_rates(self._network.iterations, fit.n_steps)
        self._rollback.begin_epoch(EpochStart(model.seed, begun + 1, self._shuffle, rates, {}, 0, fit.n_steps, count))
        self._watch_epochs(epoch, count)
        finished = False
        try:
            # Another thread may ask for the end, or set a learning rate.
            finished = run_epochs(fit, lambda: model.stop_training or optimizer.learning_rate != rate)
        finally:
            # Few steps of Python: an interrupt that comes now would lose the records of all these epochs.
            model.epochs_begun = begun + fit.epochs_begun
            means = fit.epoch_sums.T / self._rows.n
            names = ["loss", *self._loss_names]
            columns = dict(zip(names, (means[0], *means[2 : 1 + len(names)]), strict=True))
            n_done = means.shape[1] - finished  # the caller records the last one
            records = {name: each[:n_done].tolist() for name, each in columns.items()}
            if self._due is not None or self._callbacks.stopper is not None:
                # An epoch that has ended may have to be looked at.
                n_done = max(0, fit.epochs_begun - 1)
                records = {name: each[:n_done] for name, each in records.items()}
                records.update(self._end_watch(n_done))
            self._callbacks.record(range(epoch, epoch + n_done), records)
        if finished:
            return n_done, {name: float(each[-1]) for name, each in columns.items()}
        return n_done, self._diverged(epoch + n_done, [])

    def _watch_epochs(self, epoch: int, count: int) -> None:
        """Let the fit evaluate the held-out rows between the epochs that have been prepared, and stop early."""
        self._due: Array | None = None
        if self._validation is not None and self._validation.is_native:
            if self._held_out is None:
                self._held_out = self._validation.held_out()
            self._due = np.array([self._options.validates(number) for number in range(epoch, epoch + count)], np.uint8)
            self._fit.evaluate_between(self._held_out, self._due)
        if self._callbacks.stopper is not None:
            self._fit.stop_early(epoch=epoch, **self._callbacks.stopper.native_early_stopping())

    def _end_watch(self, n_epochs: int) -> dict[str, list[float]]:
        """Return the validation losses of epochs that were trained together; the early stopping catches up."""
        fit, stopper = self._fit, self._callbacks.stopper
        if stopper is not None:
            wait, best, best_epoch = fit.stopping
            kept = best_epoch >= 0 and stopper.restore_best_weights
            places = self._model.program.parameters if kept else []
            weights = [fit.best_parameter(*place) for place in places] if kept else None
            stopper.catch_up(wait, best, best_epoch, weights)
        if self._due is None:
            return {}
        assert self._validation is not None
        losses = fit.held_out_losses[:n_epochs][self._due[:n_epochs] != 0]
        return {f"val_{name}": values for name, values in self._validation.named(losses).items() if values}

    def _begin_sums(self) -> None:
        self._batch, self._n_rows, self._loss_sum = 0, 0, 0.0
        if self._loss_names:
            self._loss_sums: Array = np.zeros(len(self._loss_names))

    def _run_epoch(self, epoch: int, parts: Iterator[Steps]) -> dict[str, Any]:
        """Train one epoch; return its loss and metrics."""
        self._begin_sums()
        seen: list[Seen] = []
        if self._running is not None:
            self._running.reset()
        for number, steps in enumerate(parts):
            if number:
                self._batch += self._fit.step - self._steps.first
                self._loss_sum, self._n_rows = self._loss_sum + self._fit.loss_sum, self._n_rows + self._rows_done()
                if self._loss_names:
                    self._loss_sums = self._loss_sums + self._fit.loss_sums
                if self._predictions is not None:
                    # The next rows are written over these.
                    seen[-1] = tuple(_copied(arrays) for arrays in seen[-1])
            self._load(steps)
            finished = self._run_steps()
            if self._predictions is not None:
                seen.append(self._seen())
            if not finished:
                return self._diverged(epoch, seen)
            finite = self._source.same_rows or self._model.network_weights.finite()
            if self._model.stop_training or not finite:
                break
        return self._epoch_logs(self._mean_loss(), seen)

    def _run_steps(self) -> bool:
        """Run the steps that were loaded; return False if a loss is not finite."""
        model, fit, steps = self._model, self._fit, self._steps
        rates = model.optimizer.learning_rates(self._network.iterations, fit.n_steps - steps.first)
        self._rates = rates if not steps.first else np.concatenate((np.zeros(steps.first), rates))
        if not steps.first:
            model.epochs_begun += 1
        factors = self._callbacks.step_factors(self._network.iterations - steps.first, fit.n_steps)
        start = EpochStart(
            model.seed,
            model.epochs_begun,
            self._shuffle,
            self._rates,
            factors,
            steps.first,
            steps.last,
            order=steps.order,
        )
        self._rollback.begin_epoch(start)
        self._rate = model.optimizer.learning_rate
        if self._predictions is not None and (self._callbacks.each_step or steps.last - steps.first < fit.n_steps):
            # A callback may stop the epoch early: rows that were not trained on have no prediction.
            for array in listed(self._predictions):
                array.fill(np.nan)
        offset = self._batch - steps.first
        return run_steps(
            fit,
            self._callbacks,
            self._mean_loss,
            last=steps.last,
            offset=offset,
            batch_logs=self._batch_logs,
            follow_rate=self._follow_rate,
            decide=self._agreement.decide,
        )

    def _follow_rate(self) -> None:
        """Apply a learning rate that a callback has set to the rest of the epoch."""
        optimizer, fit = self._model.optimizer, self._fit
        if self._running is not None:
            self._next_rows = fit.batch_rows()
        if optimizer.learning_rate != self._rate:
            # In place, so that a recovery repeats the epoch with the same rates.
            self._rates[fit.step :] = optimizer.learning_rates(self._network.iterations, fit.n_steps - fit.step)
            fit.set_learning_rates(self._rates)
            self._rate = optimizer.learning_rate

    def _batch_logs(self) -> dict[str, Any]:
        """Return the loss and the metrics of the epoch's rows so far."""
        logs: dict[str, Any] = {"loss": self._mean_loss(), **self._losses_by_name()}
        if self._running is not None:
            assert self._predictions is not None
            done = self._rows._replace(numbers=None).part(self._next_rows)
            logs.update(self._running.update(done.y, take(self._predictions, self._next_rows), done.sample_weight))
        return logs

    def _rows_done(self) -> int:
        """Return the number of rows that the loaded steps have trained on so far."""
        first, done = self._steps.first * self._batch_size, self._fit.step * self._batch_size
        return int((done if done < self._n else self._n) - first)

    def _mean_loss(self) -> float:
        """Return the mean loss of the epoch's rows so far; NaN before the first step."""
        rows = self._n_rows + self._rows_done()
        return (self._loss_sum + self._fit.loss_sum) / rows if rows else float("nan")

    def _losses_by_name(self) -> dict[str, float]:
        """Return the mean loss of each of several outputs over the epoch's rows so far."""
        if not self._loss_names:
            return {}
        rows = self._n_rows + self._rows_done()
        sums = self._loss_sums + np.asarray(self._fit.loss_sums)
        return dict(zip(self._loss_names, (sums / rows if rows else sums * np.nan).tolist(), strict=True))

    def _seen(self) -> Seen:
        """Return targets, outputs and sample weights of the rows that the loaded steps have trained on."""
        assert self._predictions is not None
        done: Any = slice(None)
        predictions = self._predictions
        if self._rows.numbers is not None:
            predictions = take(predictions, self._rows.numbers)
        if self._steps.first or self._fit.step < self._fit.n_steps:
            done = ~np.isnan(listed(predictions)[0]).any(axis=1)
        y, sample_weight = self._rows.targets()
        return take(y, done), take(predictions, done), take(sample_weight, done)

    def _epoch_logs(self, loss: float, seen: list[Seen]) -> dict[str, Any]:
        """Return loss and metrics of the rows that were trained on."""
        logs = {"loss": loss, **self._losses_by_name()}
        if seen:
            logs.update(metric_values(self._model, *(joined(parts) for parts in zip(*seen, strict=True))))
        return logs

    def _diverged(self, epoch: int, seen: list[Seen]) -> dict[str, Any]:
        """Go back to the last finite weights; raise DivergenceError unless there is a ``TerminateOnNaN``."""
        step, loss = self._batch + self._fit.step - self._steps.first, self._mean_loss()
        logs = self._epoch_logs(float("nan"), seen) if step and self._terminators else {"loss": float("nan")}
        self._rollback.recover()
        if not self._terminators:
            n_steps = self._batch + self._steps.last - self._steps.first
            raise divergence("loss", epoch + 1, self._options.epochs, step + 1, n_steps, loss, self._model)
        for terminator in self._terminators:
            terminator.on_divergence(step)
        return logs


def _overwrite(old: Rows, new: Rows) -> bool:
    """Copy rows over others of the same form; return whether they have it."""
    if old is new:
        return True
    pairs = list(zip(old.arrays(), new.arrays(), strict=True))
    if [None if a is None else (a.shape, a.dtype) for a, _ in pairs] != [
        None if b is None else (b.shape, b.dtype) for _, b in pairs
    ]:
        return False
    for before, after in pairs:
        if before is not None and after is not None:
            before[...] = after
    return True


def _copied(arrays: Any) -> Any:
    """Return a copy of an array or of each array in a list; None stays None."""
    if isinstance(arrays, list):
        return [_copied(each) for each in arrays]
    return None if arrays is None else arrays.copy()


def divergence(
    what: str, epoch: int, epochs: int, step: int, n_steps: int, last_loss: float, model: LayerStack
) -> DivergenceError:
    """Return the error for a loss, or weights, that became NaN or infinite.

    Parameters
    ----------
    what : "loss" or "weights".
    epoch, epochs : number of the epoch, counted from 1, and of the last one.
    step : number of the step, counted from 1; 0 stands for the end of the epoch.
    n_steps : steps of the epoch.
    last_loss : mean loss of the epoch's earlier steps.
    model : the model.
    """
    before = "" if np.isnan(last_loss) else f"; the mean loss of the epoch until then was {last_loss:.4g}"
    where = f"step {step} of {n_steps}" if step else "at its end"
    size = max((float(np.abs(weight).max(initial=0.0)) for weight in model.get_weights()), default=0.0)
    kept = f", but they have grown to {size:.1e}: rebuild the model" if size > _LARGE_WEIGHT else ""
    message = (
        f"the {what} became NaN or infinite in epoch {epoch} of {epochs}, {where}{before}. "
        f"The model keeps its last finite weights{kept}. {_cures(model)}"
    )
    return DivergenceError(message, epoch, step or n_steps, last_loss)


def _cures(model: LayerStack) -> str:
    """Return advice for a loss that is not finite."""
    pairs = [pair for pair in zip(model.losses_of_outputs, model.program.heads, strict=True) if pair[0] is not None]
    slower = any(loss.targets == "numbers" and loss.core_name != "huber" for loss, _ in pairs if loss is not None)
    general = "scale inputs and targets to about unit size" if slower else "scale the inputs to about unit size"
    if not model.optimizer.full_batch:  # methods that find the length of a step have no learning rate
        rate = f"lower the learning rate (now {model.optimizer.learning_rate:g})"
        general += f", {rate} or use a loss that grows slower (Huber)" if slower else f" or {rate}"
    causes = [cause for loss, head in pairs if loss is not None and (cause := misfit(loss, head)) is not None]
    return f"Likely cause: {causes[0]}. Other cures: {general}" if causes else f"Likely cures: {general}"


@default_arithmetic()
def train_one_batch(model: LayerStack, rows: Rows) -> dict[str, Any]:
    """Make one update with all rows; return loss and metrics of the forward pass before it."""
    network = model.network
    predictions = empty_outputs(model, rows.n) if model.metrics else None
    fit = training_fit(model, rows, rows.n, predictions)
    model.epochs_begun += 1
    rates = model.optimizer.learning_rates(network.iterations, 1)
    fit.begin_epoch(model.seed, model.epochs_begun, False, rates)
    if fit.run(1) == "nonfinite":
        raise DivergenceError(
            f"the loss of this batch is NaN or infinite; the update was not made. {_cures(model)}",
            1,
            1,
        )
    logs = {"loss": fit.loss_sum / rows.n}
    names = loss_names(model)
    if names:
        logs.update(zip(names, (np.asarray(fit.loss_sums) / rows.n).tolist(), strict=True))
    if predictions is not None:
        logs.update(metric_values(model, rows.y, predictions, rows.sample_weight))
    return logs


def training_fit(model: LayerStack, rows: Rows, batch_size: int, predictions: Any) -> Any:
    """Return the fit that trains a model on rows with its optimizer.

    The ranks of this process divide it, unless a step takes all rows: then every rank makes all of it.
    """
    if not model.optimizer.full_batch:
        return make_fit(model, rows, batch_size, predictions, _ranks.current())
    from fastnn.optimizers.second_order import LBFGS
    from fastnn.training.lbfgs import LBFGSFit
    from fastnn.training.levenberg_marquardt import LevenbergMarquardtFit

    fit = LBFGSFit if isinstance(model.optimizer, LBFGS) else LevenbergMarquardtFit
    return fit(model, rows, predictions)
