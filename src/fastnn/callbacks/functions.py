"""Callbacks that run functions, and the one that stops a diverging fit."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import as_verbosity, flag
from fastnn.callbacks.callback import HOOKS, Callback, Logs
from fastnn.layers import AlphaDropout, Dropout


class LearningRateScheduler(Callback):
    """Sets the learning rate before every epoch.

    Parameters
    ----------
    schedule : function of (epoch, learning_rate) or of (epoch) that returns a float; epochs are counted from 0.
    verbose : 1 prints a line in every epoch.

    Raises
    ------
    TypeError
        In ``fit``, before any step: the optimizer's learning rate follows a schedule.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(f"schedule must be a function of (epoch, learning_rate) or of (epoch), got {schedule!r}")
        self.schedule = schedule
        self.verbose = as_verbosity(verbose)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Raise TypeError if the learning rate follows a schedule."""
        self.model.optimizer.require_settable_rate("LearningRateScheduler")

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the learning rate."""
        try:
            rate = self.schedule(epoch, float(self.model.optimizer.learning_rate))
        except TypeError:
            rate = self.schedule(epoch)
        try:
            self.model.optimizer.learning_rate = float(rate)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the schedule must return a learning rate, but returned {rate!r}") from error
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {float(rate)}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Log the learning rate."""
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


class StepFactors(Callback):
    """Multiplies weight decay, dropout and label smoothing by factors that follow the number of earlier updates.

    Parameters
    ----------
    weight_decay : factor of the optimizer's weight decay.
    dropout : factor of the rates of all ``Dropout`` and ``AlphaDropout`` layers; a rate must stay below 1.
    label_smoothing : factor of the losses' label smoothing, which must stay at most 1.

    Each is a schedule of ``fastnn.optimizers.schedules``, or a function of an array of numbers of updates that returns
    numbers of at least 0; None for the factor 1.

    Raises
    ------
    TypeError
        In ``fit``, before any step: the optimizer takes all rows in each step, and its options stay as they are.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn.optimizers.schedules import FlatCosine
    >>> factors = fastnn.callbacks.StepFactors(dropout=FlatCosine(1.0, total_steps=4))
    >>> factors.factors_of(0, 4)["dropout"].round(2).tolist()
    [1.0, 1.0, 1.0, 0.5]
    """

    def __init__(self, weight_decay: Any = None, dropout: Any = None, label_smoothing: Any = None) -> None:
        super().__init__()
        given = {"weight_decay": weight_decay, "dropout": dropout, "label_smoothing": label_smoothing}
        self.schedules = {name: schedule for name, schedule in given.items() if schedule is not None}
        for name, schedule in self.schedules.items():
            if not callable(schedule):
                raise TypeError(f"{name} must be a schedule or a function of the step, got {schedule!r}")
        self._largest: dict[str, float] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Raise TypeError if the optimizer follows no factors."""
        model = self.model
        if model.optimizer.full_batch:
            raise TypeError(f"{model.optimizer.title} follows no factors from step to step: leave StepFactors out")
        rates = [layer.rate for layer in model.leaf_layers() if isinstance(layer, Dropout | AlphaDropout)]
        smoothings = [getattr(loss, "label_smoothing", 0.0) for loss in model.losses_of_outputs]
        self._largest = {"dropout": max(rates, default=0.0), "label_smoothing": max(smoothings, default=0.0)}

    def factors_of(self, first_update: int, n_steps: int) -> dict[str, NDArray[np.float64]]:
        """Return the factors of ``n_steps`` updates from number ``first_update`` on, by name."""
        steps = np.arange(first_update, first_update + n_steps, dtype=np.float64)
        found = {}
        for name, schedule in self.schedules.items():
            values = np.asarray(schedule(steps), np.float64)
            if values.shape != steps.shape or not (np.isfinite(values) & (values >= 0.0)).all():
                raise ValueError(f"{name} of StepFactors must give one finite factor of at least 0 for each step")
            most = self._largest.get(name, 0.0) * values.max(initial=0.0)
            if most > 1.0 or (most == 1.0 and name == "dropout"):
                raise ValueError(
                    f"{name} of StepFactors gives the factor {values.max():g}, which makes {most:g} of a {name} of "
                    f"{self._largest[name]:g}: it must stay {'below' if name == 'dropout' else 'at most'} 1"
                )
            found[name] = values
        return found


class TerminateOnNaN(Callback):
    """Stops training when the loss is NaN or infinite; without it, ``fit`` raises ``DivergenceError``.

    Parameters
    ----------
    raise_error : whether to raise RuntimeError instead; no ``on_train_end`` is called then.
    """

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = flag("raise_error", raise_error)

    def on_divergence(self, batch: int) -> None:
        """Print the number of the batch, counted from 0, and stop."""
        if self.raise_error:
            raise RuntimeError(f"the loss of batch {batch} is NaN or infinite; the model keeps its last finite weights")
        print(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True


class LambdaCallback(Callback):
    """A callback built from functions.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end : functions of (epoch, logs).
    on_train_begin, on_train_end : functions of (logs).
    on_train_batch_begin, on_train_batch_end : functions of (batch, logs).
    hooks : functions for other hooks of ``Callback``, by name.
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
            if hook not in HOOKS:
                raise TypeError(f"LambdaCallback has no hook {hook!r}; the hooks are {', '.join(HOOKS)}")
            if function is not None and not callable(function):
                raise TypeError(f"{hook} must be a function, got {function!r}")
            if function is not None:
                setattr(self, hook, function)
