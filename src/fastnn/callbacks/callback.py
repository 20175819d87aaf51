"""The base class of callbacks, the list of the callbacks of one call, and the history of a fit."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from fastnn._arguments import nearest
from fastnn._derivation import Derivable
from fastnn._warnings import warn

Logs = dict[str, Any]


class Callback(Derivable):
    """Base class of callbacks: override the hooks you need.

    The ``logs`` of a batch hold the loss and the metrics of the epoch's rows so far, those of a predicted batch its
    "outputs". A metric that is a function is averaged over the batches then. The ``logs`` of an epoch hold the loss,
    the metrics of all its rows and, with validation data, the same values with the prefix ``val_``. If a callback
    overrides a batch hook, training returns to Python after every step.

    Attributes
    ----------
    model : the model being trained.
    params : dict with "epochs", "steps" and "verbose"; "steps" is None where only the source of batches knows.
    """

    kept_attributes: ClassVar[tuple[str, ...]] = ()
    """Attributes that ``BackupAndRestore`` saves: numbers, strings, None, or lists of arrays."""

    skipped_hooks: tuple[str, ...] = ()
    """Hooks that the class overrides and this object does not need: a hook of batches costs time in every step."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in () if cls.__module__.startswith("fastnn.") else vars(cls):
            if name.startswith("on_") and not hasattr(Callback, name) and (near := nearest(name, HOOKS, alike=0.85)):
                warn(f"{cls.__name__}.{name} is not a hook, so fastnn never calls it. Did you mean {near!r}?")

    def __init__(self) -> None:
        self.model: Any = None
        self.params: dict[str, Any] = {}

    def set_model(self, model: Any) -> None:
        """Receive the model."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Receive "epochs", "steps" and "verbose"."""
        self.params = params

    def check_kept(self, values: dict[str, Any]) -> None:
        """Raise ValueError unless this callback can go on with these values of its ``kept_attributes``.

        Called before a backup changes anything; by default every value is accepted that has the attribute's type.
        """

    def resume(self, callbacks: "Sequence[Callback]") -> int | None:
        """Return the epoch to continue from if this callback restores an interrupted fit, else None.

        Called once in every ``fit``, after the ``on_train_begin`` of all callbacks.

        Parameters
        ----------
        callbacks : all callbacks of the fit.
        """
        return None

    def native_early_stopping(self) -> dict[str, Any] | None:
        """Return the arguments of the core's ``Fit.stop_early`` that do what ``on_epoch_end`` does, or None."""
        return None

    def written_path(self) -> str | None:
        """Return the file or folder that the callback writes; None if it writes none."""
        return None

    def after_epoch(self, epoch: int) -> None:
        """Run after the ``on_epoch_end`` of all callbacks; the epoch is counted from 0."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Run at the start of ``fit``."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Run at the end of ``fit``."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Run before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Run after an epoch, counted from 0; values added to ``logs`` become part of the history."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Run before a training step: an alias of ``on_train_batch_begin``."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Run after a training step: an alias of ``on_train_batch_end``."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Run before a training step, counted from 0."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Run after a training step."""
        self.on_batch_end(batch, logs=logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Run before an evaluation, including that of validation data."""

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


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_") or name == "after_epoch")
_NOTIFIED_THROUGH = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


def _overrides(callback: Callback, hook: str) -> bool:
    """Return whether a callback overrides a hook and needs it."""
    if hook in callback.skipped_hooks:
        return False
    names = (hook, _NOTIFIED_THROUGH[hook]) if hook in _NOTIFIED_THROUGH else (hook,)
    return any(getattr(getattr(callback, name), "__func__", None) is not getattr(Callback, name) for name in names)


class CallbackList:
    """The callbacks of one call of fit, evaluate or predict.

    Parameters
    ----------
    callbacks : a callback, a list of them, or None.
    model : the model.
    params : the ``params`` of every callback.
    always : callbacks to append to these.

    Attributes
    ----------
    each_step : whether training must return to Python after every step, for a hook of training batches.
    each_epoch : whether it must return to Python after every epoch, for a hook of epochs other than a ``History``'s.
    stopper : the only callback that is the reason for this, if the core can do what it does; else None.

    Raises
    ------
    TypeError
        An entry is not a ``Callback``.
    ValueError
        A callback is listed twice.
    """

    def __init__(self, callbacks: Any, model: Any, params: dict[str, Any], always: tuple[Callback, ...] = ()) -> None:
        given = [] if callbacks is None else callbacks if isinstance(callbacks, list | tuple) else [callbacks]
        for callback in given:
            if not isinstance(callback, Callback):
                raise TypeError(f"callbacks must be fastnn.callbacks.Callback objects, got {callback!r}")
        if len({id(callback) for callback in given}) < len(given):
            raise ValueError("callbacks must be different objects: one of them is listed twice")
        self.callbacks: list[Callback] = [*given, *always]
        self._model = model
        self._params = params
        self._hooks: dict[str, list[Callable[..., None]]] = {
            hook: [getattr(callback, hook) for callback in self.callbacks if _overrides(callback, hook)]
            for hook in HOOKS
        }
        self._progress_loggers: list[Any] = [each for each in self.callbacks if hasattr(each, "on_progress")]
        self.each_step = self.has("on_train_batch_begin", "on_train_batch_end")
        watching = [
            callback
            for callback in self.callbacks
            if type(callback) is not History
            and (
                hasattr(callback, "factors_of")
                or any(_overrides(callback, hook) for hook in ("on_epoch_begin", "on_epoch_end", "after_epoch"))
            )
        ]
        self.each_epoch = self.each_step or bool(watching)
        alone = not self.each_step and len(watching) == 1
        self.stopper: Any = watching[0] if alone and watching[0].native_early_stopping() is not None else None

    def attach(self) -> None:
        """Give every callback the model and the parameters."""
        for callback in self.callbacks:
            callback.set_params(self._params)
            callback.set_model(self._model)

    def has(self, *hooks: str) -> bool:
        """Return whether any callback overrides one of the hooks."""
        return any(self._hooks[hook] for hook in hooks)

    def call(self, hook: str, *arguments: Any) -> None:
        """Run one hook of every callback."""
        for run in self._hooks[hook]:
            run(*arguments)

    def resume(self, first_epoch: int) -> int:
        """Return the epoch to start from: ``first_epoch``, or a later one if a callback restores an interrupted fit."""
        epochs = [callback.resume(self.callbacks) for callback in self.callbacks]
        return max([first_epoch, *(epoch for epoch in epochs if epoch is not None)])

    def record(self, epochs: range, values: dict[str, list[float]]) -> None:
        """Append the logs of several epochs to every ``History``; no other callback has a hook of epochs."""
        for callback in self.callbacks:
            if isinstance(callback, History):
                callback.extend(epochs, values)

    def step_factors(self, first_update: int, n_steps: int) -> dict[str, Any]:
        """Return the factors that callbacks give the options of ``n_steps`` updates, by name; {} if none does."""
        found: dict[str, Any] = {}
        for callback in self.callbacks:
            factors = getattr(callback, "factors_of", None)
            if factors is not None:
                found.update(factors(first_update, n_steps))
        return found

    @property
    def stop_training(self) -> bool:
        """Whether a callback has asked to stop."""
        return bool(self._model.stop_training)

    def progress(self, step: int, loss: float) -> None:
        """Show the number of steps done in this epoch, and the loss."""
        for logger in self._progress_loggers:
            logger.on_progress(step, loss)

    def close(self) -> None:
        """End the progress line, also after an error."""
        for logger in self._progress_loggers:
            logger.close()


class EpochRecord:
    """The epochs of a fit, counted from 0, the values of each name in their logs, and the ``params`` of callbacks."""

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}
        self.params: dict[str, Any] = {}


class History(Callback):
    """The logs of every epoch; ``fit`` returns this object.

    Parameters
    ----------
    record : where to record the epochs; None for a new record.

    Attributes
    ----------
    history : dict from name ("loss", "val_loss", metrics) to the values of all epochs.
    epoch : the epochs, counted from 0.
    """

    def __init__(self, record: EpochRecord | None = None) -> None:
        super().__init__()
        self.record = EpochRecord() if record is None else record
        self.params = self.record.params

    @property
    def epoch(self) -> list[int]:
        """The epochs, counted from 0."""
        return self.record.epoch

    @epoch.setter
    def epoch(self, epochs: list[int]) -> None:
        self.record.epoch = epochs

    @property
    def history(self) -> dict[str, list[Any]]:
        """The values of all epochs by name: "loss", "val_loss", metrics."""
        return self.record.history

    @history.setter
    def history(self, values: dict[str, list[Any]]) -> None:
        self.record.history = values

    def set_params(self, params: dict[str, Any]) -> None:
        """Receive "epochs", "steps" and "verbose"."""
        self.params = self.record.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start a new record of epochs."""
        self.epoch = []

    def extend(self, epochs: range, values: dict[str, list[float]]) -> None:
        """Append the logs of several epochs, by name."""
        for name, each in values.items():
            self.record.history.setdefault(name, []).extend(each)
        self.record.epoch.extend(epochs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Append the logs of an epoch."""
        self.record.epoch.append(epoch)
        history = self.record.history
        for name, value in (logs or {}).items():
            if name in history:
                history[name].append(value)
            else:
                history[name] = [value]
