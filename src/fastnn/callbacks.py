"""Callbacks with Keras's hooks: what runs at the start and end of training, epochs and batches."""

import time
import warnings
from collections.abc import Callable
from typing import Any

from fastnn.progress import ProgressLine, format_logs, format_seconds

Logs = dict[str, Any]


class Callback:
    """Base of all callbacks: override the hooks that are needed.

    ``logs`` of a batch hold the mean loss of the epoch so far; ``logs`` of an epoch hold the loss, the metrics and,
    with validation data, the same with the prefix "val_". A callback that overrides a batch hook makes training
    return to Python after every step.

    Attributes
    ----------
    model : the model that is trained.
    params : dict with "epochs", "steps" and "verbose".
    """

    def __init__(self) -> None:
        self.model: Any = None
        self.params: dict[str, Any] = {}

    def set_model(self, model: Any) -> None:
        """Receive the model."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Receive "epochs", "steps" and "verbose"."""
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Run at the start of ``fit``."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Run at the end of ``fit``."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Run before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Run after an epoch; what is added to ``logs`` gets into the history."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Run before a training step; another name of ``on_train_batch_begin``."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Run after a training step; another name of ``on_train_batch_end``."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Run before a training step, counted from 0."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Run after a training step."""
        self.on_batch_end(batch, logs=logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Run before an evaluation, also of validation data."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Run after an evaluation."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Run before a batch of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Run after a batch of an evaluation."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Run before a prediction."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Run after a prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Run before a batch of a prediction."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Run after a batch of a prediction."""


_HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))
_NOTIFIED_THROUGH = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


def _overrides(callback: Callback, hook: str) -> bool:
    """Whether a callback does something at a hook."""
    names = (hook, _NOTIFIED_THROUGH[hook]) if hook in _NOTIFIED_THROUGH else (hook,)
    return any(getattr(getattr(callback, name), "__func__", None) is not getattr(Callback, name) for name in names)


class CallbackList:
    """The callbacks of one call of fit, evaluate or predict.

    Parameters
    ----------
    callbacks : a callback, a list of them, or None.
    model : the model.
    params : what callbacks get as ``params``.
    always : callbacks that are appended.

    Raises
    ------
    TypeError
        An entry is not a ``Callback``.
    """

    def __init__(self, callbacks: Any, model: Any, params: dict[str, Any], always: tuple[Callback, ...] = ()) -> None:
        given = [] if callbacks is None else callbacks if isinstance(callbacks, list | tuple) else [callbacks]
        for callback in given:
            if not isinstance(callback, Callback):
                raise TypeError(f"callbacks must be fastnn.callbacks.Callback objects, got {callback!r}")
        self.callbacks: list[Callback] = [*given, *always]
        self._model = model
        self._params = params
        self._hooks: dict[str, list[Callable[..., None]]] = {
            hook: [getattr(callback, hook) for callback in self.callbacks if _overrides(callback, hook)]
            for hook in _HOOKS
        }
        self.progress_loggers = [callback for callback in self.callbacks if isinstance(callback, ProgbarLogger)]

    def attach(self) -> None:
        """Give every callback the model and the parameters."""
        for callback in self.callbacks:
            callback.set_params(self._params)
            callback.set_model(self._model)

    def has(self, *hooks: str) -> bool:
        """Whether any callback does something at one of the hooks."""
        return any(self._hooks[hook] for hook in hooks)

    def call(self, hook: str, *arguments: Any) -> None:
        """Run one hook of every callback."""
        for run in self._hooks[hook]:
            run(*arguments)

    def close(self) -> None:
        """End the progress line, whatever happened."""
        for logger in self.progress_loggers:
            logger.close()


class History(Callback):
    """Records the logs of every epoch; ``fit`` returns one.

    Attributes
    ----------
    history : dict from name ("loss", "val_loss", metrics) to the list of its values.
    epoch : list of the epochs' numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start a new record of epochs."""
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Append the logs."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class _Monitor(Callback):
    """Base of callbacks that watch one number for improvement."""

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
        self.monitor = monitor
        self.mode = mode
        self.min_delta = abs(min_delta)
        self._sign: float | None = {"min": -1.0, "max": 1.0}.get(mode)

    def _value(self, logs: Logs | None) -> float | None:
        """Return the watched number, or None with a warning where the logs do not have it."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            warnings.warn(
                f"{type(self).__name__} watches {self.monitor!r}, which is not there; available: "
                f"{', '.join(logs or {})}",
                stacklevel=2,
            )
        return value

    def _improves(self, value: float, reference: float | None) -> bool:
        """Whether ``value`` is better than ``reference`` by more than ``min_delta``."""
        if self._sign is None:
            self._sign = self._automatic_sign()
        return reference is None or self._sign * (value - reference) > self.min_delta

    def _automatic_sign(self) -> float:
        """+1 where more is better, -1 where less is."""
        name = self.monitor.removeprefix("val_")
        if name == "loss":
            return -1.0
        directions = {metric.name: metric.direction for metric in getattr(self.model, "metrics", [])}
        if directions.get(name) is None:
            raise ValueError(
                f"{type(self).__name__} cannot tell whether {self.monitor!r} should rise or fall; pass mode='max' or "
                "mode='min'"
            )
        return 1.0 if directions[name] == "max" else -1.0


class EarlyStopping(_Monitor):
    """Stops training when a number has stopped improving (Prechelt, 1998).

    Parameters
    ----------
    monitor : name in the logs.
    min_delta : smallest change that counts.
    patience : epochs without improvement after which training stops.
    verbose : 1 prints a line when it acts.
    mode : "min", "max" or "auto" (from the name).
    baseline : value to be better than; waiting only starts anew after an improvement on it.
    restore_best_weights : whether to end with the weights of the best epoch.
    start_from_epoch : epochs to let pass first.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best: float | None = None
        self.best_weights: list[Any] | None = None
        self.best_epoch = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget an earlier fit."""
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Compare, remember, or stop."""
        current = self._value(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights = self.model.get_weights()
            self.best_epoch = epoch
        self.wait += 1
        if self._improves(current, self.best):
            self.best = current
            self.best_epoch = epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._improves(current, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Restore the best weights if asked to."""
        if self.stopped_epoch > 0 and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(_Monitor):
    """Multiplies the learning rate by ``factor`` when a number has stopped improving.

    Parameters
    ----------
    monitor : name in the logs.
    factor : less than 1.
    patience : epochs without improvement before the learning rate is reduced.
    verbose : 1 prints a line when it acts.
    mode : "min", "max" or "auto" (from the name).
    min_delta : smallest change that counts.
    cooldown : epochs to let pass after a reduction.
    min_lr : lower bound of the learning rate.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if not factor < 1.0:
            raise ValueError(f"factor must be less than 1, got {factor!r}")
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.min_lr = min_lr
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.wait = 0
        self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget an earlier fit."""
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Compare, and reduce the learning rate if nothing has improved for long enough."""
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        current = self._value(logs)
        if current is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self._improves(current, self.best):
            self.best = current
            self.wait = 0
        elif self.cooldown_counter <= 0:
            self.wait += 1
            old = float(self.model.optimizer.learning_rate)
            if self.wait >= self.patience and old > self.min_lr:
                new = max(old * self.factor, self.min_lr)
                self.model.optimizer.learning_rate = new
                if self.verbose:
                    print(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {new}.")
                self.cooldown_counter = self.cooldown
                self.wait = 0


class LearningRateScheduler(Callback):
    """Sets the learning rate before every epoch.

    Parameters
    ----------
    schedule : function of (epoch, learning_rate) or of (epoch), epochs counted from 0, that returns a float.
    verbose : 1 prints a line every epoch.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the learning rate."""
        try:
            rate = self.schedule(epoch, float(self.model.optimizer.learning_rate))
        except TypeError:
            rate = self.schedule(epoch)
        try:
            self.model.optimizer.learning_rate = float(rate)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the schedule must return a learning rate, it returned {rate!r}") from error
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {float(rate)}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Log the learning rate."""
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


class TerminateOnNaN(Callback):
    """Ends training quietly, instead of with ``DivergenceError``, when the loss is NaN or infinite."""

    def on_divergence(self, batch: int) -> None:
        """Say so and stop; ``batch`` is counted from 0."""
        print(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True


class LambdaCallback(Callback):
    """A callback made of functions.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end : functions of (epoch, logs).
    on_train_begin, on_train_end : functions of (logs).
    on_train_batch_begin, on_train_batch_end : functions of (batch, logs).
    hooks : any other hook of ``Callback`` by name.
    """

    def __init__(
        self,
        on_epoch_begin: Callable[[int, Logs], Any] | None = None,
        on_epoch_end: Callable[[int, Logs], Any] | None = None,
        on_train_begin: Callable[[Logs], Any] | None = None,
        on_train_end: Callable[[Logs], Any] | None = None,
        on_train_batch_begin: Callable[[int, Logs], Any] | None = None,
        on_train_batch_end: Callable[[int, Logs], Any] | None = None,
        **hooks: Callable[..., Any],
    ) -> None:
        super().__init__()
        given = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **hooks,
        }
        for hook, function in given.items():
            if hook not in _HOOKS:
                raise TypeError(f"LambdaCallback has no hook {hook!r}; the hooks are {', '.join(_HOOKS)}")
            if function is not None:
                setattr(self, hook, function)


class ProgbarLogger(Callback):
    """Shows the progress of training; ``fit`` adds one unless ``verbose=0``.

    Parameters
    ----------
    verbose : 1 is one line, rewritten at most four times a second (without a terminal: a line for an epoch, at most
        four a second, and for the last); 2 is a line for every epoch; None takes what ``fit`` was given.
    line : where to write.
    """

    def __init__(self, verbose: int | None = None, line: ProgressLine | None = None) -> None:
        super().__init__()
        self._verbose = verbose
        self._line = line if line is not None else ProgressLine()
        self._last: tuple[int, Logs] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start the clock."""
        self._last = None
        self._level = self._verbose if self._verbose is not None else int(self.params.get("verbose", 1))
        self._epochs = self.params.get("epochs", 1)
        self._steps = self.params.get("steps", 1)
        self._start = self._epoch_start = time.monotonic()
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start the epoch's clock."""
        self._epoch = epoch
        self._epoch_start = time.monotonic()

    def on_progress(self, step: int, loss: float) -> None:
        """Show how far the epoch is, if a refresh is due."""
        if self._level == 1 and self._line.on_terminal and self._line.due():
            self._line.show(f"Epoch {self._epoch + 1}/{self._epochs} - step {step}/{self._steps} - loss: {loss:.4g}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Show the epoch's numbers, if a refresh is due."""
        if self._level == 2 or (self._level == 1 and self._line.due()):
            self._line.show(self._describe(epoch, logs or {}))
            self._last = None
            if self._level == 2:
                self._line.end()
        elif self._level == 1:
            self._last = (epoch, dict(logs or {}))

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Show the last epoch."""
        if self._last is not None:
            self._line.show(self._describe(*self._last))

    def _describe(self, epoch: int, logs: Logs) -> str:
        now = time.monotonic()
        taken = format_seconds(now - (self._epoch_start if self._level == 2 else self._start))
        return f"Epoch {epoch + 1}/{self._epochs} - {taken} - {format_logs(logs)}"

    def close(self) -> None:
        """End the line."""
        self._line.end()
