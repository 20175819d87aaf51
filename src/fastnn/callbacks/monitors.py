"""Callbacks that monitor a value in the logs for improvement."""

from typing import Any

import numpy as np

from fastnn._arguments import as_verbosity, choice, flag, number, optional, text, whole
from fastnn._derivation import never_calls
from fastnn._warnings import warn
from fastnn.callbacks.callback import Callback, Logs


@never_calls(
    get_monitor_value="the value comes from the logs: put it there in on_epoch_end of a callback that is listed before",
    _is_improvement="mode and min_delta say what counts as an improvement",
    _save_model="use model.save in on_epoch_end of a class that derives from Callback",
)
class Monitor(Callback):
    """Base class of callbacks that monitor one value for improvement."""

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        super().__init__()
        self.monitor = text("monitor", monitor)
        self.mode = choice("mode", mode, ("auto", "min", "max"))
        self.min_delta = abs(number("min_delta", min_delta))
        self._sign: float | None = {"min": -1.0, "max": 1.0}.get(mode)

    def check_kept(self, values: dict[str, Any]) -> None:
        """Raise ValueError unless the best value is a number or None, and what is a number stays one."""
        for name, value in values.items():
            if name == "best" and value is None:
                continue
            if (name == "best" or isinstance(getattr(self, name), int)) and not isinstance(value, int | float):
                raise ValueError(f"{name} of {type(self).__name__} must be a number, got {str(value)[:40]}")

    def _value(self, logs: Logs | None) -> float | None:
        """Return the monitored value; warn and return None if the logs do not have it."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            warn(
                f"{type(self).__name__} watches {self.monitor!r}, which is not in the logs; available: "
                f"{', '.join(logs or {})}"
            )
        return value

    def _improves(self, value: float, reference: float | None) -> bool:
        """Return whether ``value`` is better than ``reference`` by more than ``min_delta``."""
        if np.ndim(value) > 0:
            raise ValueError(
                f"{type(self).__name__} watches {self.monitor!r}, which is an array (one number per class); watch a "
                "number, for instance metrics.F1Score(average='macro')"
            )
        if self._sign is None:
            self._sign = self._automatic_sign()
        return reference is None or self._sign * (value - reference) > self.min_delta

    def _automatic_sign(self) -> float:
        """Return +1 if larger values are better, -1 if smaller values are."""
        name = self.monitor.removeprefix("val_")
        directions = {metric.name: metric.direction for metric in getattr(self.model, "metrics", [])}
        if name == "loss" or (name.endswith("_loss") and name not in directions):
            return -1.0  # of all outputs, or of one
        if directions.get(name) is None:
            raise ValueError(
                f"{type(self).__name__} cannot tell whether {self.monitor!r} should rise or fall; pass mode='max' or "
                "mode='min'"
            )
        return 1.0 if directions[name] == "max" else -1.0


class EarlyStopping(Monitor):
    """Stops training when a monitored value has stopped improving (Prechelt, 1998).

    Parameters
    ----------
    monitor : name in the logs.
    min_delta : smallest change that counts as an improvement.
    patience : epochs without improvement after which training stops.
    verbose : 1 prints a line when training stops early.
    mode : "min", "max" or "auto" (from the name).
    baseline : value to improve on: improvements that do not reach it do not restart ``patience``.
    restore_best_weights : whether to end with the weights of the best epoch.
    start_from_epoch : first epoch to monitor, counted from 0.
    """

    kept_attributes = ("wait", "stopped_epoch", "best", "best_epoch", "best_weights")

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
        self.patience = whole("patience", patience, at_least=0)
        self.verbose = as_verbosity(verbose)
        self.baseline = optional(number, "baseline", baseline)
        self.restore_best_weights = flag("restore_best_weights", restore_best_weights)
        self.start_from_epoch = whole("start_from_epoch", start_from_epoch, at_least=0)
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best: float | None = None
        self.best_weights: list[Any] | None = None
        self.best_epoch = 0

    def check_kept(self, values: dict[str, Any]) -> None:
        """Raise ValueError unless the best value is a number, and the best weights are arrays like the model's."""
        super().check_kept(values)
        shapes = [spec.shape for spec in self.model.program.parameter_specs]
        best = values["best_weights"]
        if best is not None and (not isinstance(best, list) or [array.shape for array in best] != shapes):
            raise ValueError("best_weights of EarlyStopping must be weights of the model, or None")

    def native_early_stopping(self) -> dict[str, Any] | None:
        """Return the arguments of the core's ``Fit.stop_early`` that do what ``on_epoch_end`` does, or None."""
        if type(self) is not EarlyStopping or "on_epoch_end" in vars(self):
            return None
        if self.monitor not in ("loss", "val_loss") or self.mode == "max":
            return None
        return {
            "held_out": self.monitor == "val_loss",
            "min_delta": self.min_delta,
            "patience": self.patience,
            "baseline": self.baseline,
            "best": self.best,
            "wait": self.wait,
            "start": self.start_from_epoch,
            "keep_weights": self.restore_best_weights,
        }

    def catch_up(self, wait: int, best: float | None, best_epoch: int, best_weights: list[Any] | None) -> None:
        """Take the state after epochs that the core has watched; ``best_epoch`` is -1 if none of them was the best."""
        self.wait, self.best = wait, best
        if best_epoch >= 0:
            self.best_epoch, self.best_weights = best_epoch, best_weights

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Reset the state."""
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Compare with the best value so far; stop if there was no improvement for long enough."""
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
        """Restore the best weights, with ``restore_best_weights``."""
        if self.stopped_epoch > 0 and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by ``factor`` when a monitored value has stopped improving.

    Parameters
    ----------
    monitor : name in the logs.
    factor : at least 0 and less than 1.
    patience : epochs without improvement before the learning rate is reduced.
    verbose : 1 prints a line when the learning rate is reduced.
    mode : "min", "max" or "auto" (from the name).
    min_delta : smallest change that counts as an improvement.
    cooldown : epochs after a reduction in which none is counted for ``patience``.
    min_lr : lower bound of the learning rate.
    """

    kept_attributes = ("wait", "best", "cooldown_counter")

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
        self.factor = number("factor", factor, at_least=0.0, below=1.0)
        self.patience = whole("patience", patience, at_least=0)
        self.verbose = as_verbosity(verbose)
        self.cooldown = whole("cooldown", cooldown, at_least=0)
        self.min_lr = number("min_lr", min_lr, at_least=0.0)
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.wait = 0
        self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Reset the state; raise TypeError if the learning rate follows a schedule."""
        self.model.optimizer.require_settable_rate("ReduceLROnPlateau")
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Compare with the best value so far; reduce the learning rate if there was no improvement for long enough."""
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
