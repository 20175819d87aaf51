"""A callback that keeps the state of a fit in a file, from which an interrupted fit resumes."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import as_path, flag, number, whole
from fastnn._ranks import on_first
from fastnn.callbacks.callback import Callback, Logs
from fastnn.callbacks.checkpoints import steps_between
from fastnn.errors import ModelFormatError
from fastnn.saving.atomic import write_atomically
from fastnn.saving.contents import COUNT_LIMIT, check_counters, check_entries, count_weights
from fastnn.saving.description import difference, model_config, to_json
from fastnn.saving.model_file import encode_model, opened, restore_training
from fastnn.saving.safetensors import Reader, parse_json


class BackupAndRestore(Callback):
    """Saves the complete training state after every epoch, so that an interrupted fit can resume.

    A resumed fit gives bit-for-bit the results of an uninterrupted one: the backup holds the weights, the moments, the
    position in the random streams of row order and dropout, the history, and the state of ``EarlyStopping``,
    ``ReduceLROnPlateau`` and ``ModelCheckpoint``. The model, the data and the arguments of ``fit`` must be the same.
    The backup is removed when the fit ends. Only a fit with ``LBFGS`` differs after a pause: its memory is empty then.

    Parameters
    ----------
    backup_dir : folder for the backup, used by this fit alone; created if missing.
    save_freq : "epoch", or a number of training steps: a backup is then written at the end of an epoch if at least
        that number of steps has run since the last backup.
    double_checkpoint : accepted as in Keras, without effect: backups are written atomically, so one is enough.
    delete_checkpoint : whether to remove the backup when the fit ends.

    Raises
    ------
    ModelFormatError
        In ``fit``: the backup is damaged, or belongs to another model, optimizer or list of callbacks. The model is
        left unchanged.
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        self.backup_dir = as_path("backup_dir", backup_dir)
        if not self.backup_dir:
            raise ValueError("backup_dir is empty")
        self.save_freq = save_freq
        self.double_checkpoint = flag("double_checkpoint", double_checkpoint)
        self.delete_checkpoint = flag("delete_checkpoint", delete_checkpoint)
        self._steps_between = steps_between(save_freq) or 0
        self._saved_at: int | None = None
        self._callbacks: Sequence[Callback] = ()

    @property
    def path(self) -> str:
        """The file of the backup."""
        return os.path.join(self.backup_dir, "backup.safetensors")

    def written_path(self) -> str:
        """Return the folder of the backup."""
        return self.backup_dir

    def resume(self, callbacks: Sequence[Callback]) -> int | None:
        """Restore the backup, if there is one, and return the epoch to continue from."""
        self._saved_at = None
        self._callbacks = [callback for callback in callbacks if callback is not self]
        if not os.path.exists(self.path):
            return None
        backup = None
        with opened(self.path) as reader:
            fit = parse_json(reader.header.metadata.get("fit", ""), "state of the fit")
            change = self._change(reader.header.metadata, [state["class_name"] for state in fit["callbacks"]])
            if change is None:
                backup = self._read(reader, fit)
        if backup is None:
            raise ModelFormatError(
                f"cannot resume from the backup in {self.backup_dir!r}: {change}. Fit the model that was saved, give "
                "another backup_dir, or delete this one to start over"
            )
        restore_training(self.model, backup.arrays, backup.training)
        self.model.seed = backup.training["seed"]
        if backup.learning_rate is not None:
            self.model.optimizer.learning_rate = backup.learning_rate
        for name, value in backup.options.items():
            setattr(self.model.optimizer, name, value)
        for callback, state in zip(self._callbacks, backup.states, strict=True):
            for name, value in state.items():
                setattr(callback, name, value)
        self.model.history.history = backup.history
        self.model.history.epoch = backup.epochs
        return int(self.params["epochs"]) if backup.stopped else backup.next_epoch

    def _read(self, reader: Reader, fit: Mapping[str, Any]) -> "_Backup":
        """Return what the backup holds, once all of it suits the model, the optimizer and the callbacks."""
        header, model = reader.header, self.model
        training = parse_json(header.metadata["training"], "training state")
        check_counters(training)
        # By place, not by name: layers that name themselves have other names in another process.
        shapes = [spec.shape for spec in model.program.parameter_specs]
        names = dict(zip(header.entries, shapes, strict=False))
        n_moments = model.network.n_slots
        if training["n_moments"] != n_moments or count_weights(header) != len(shapes):
            raise ModelFormatError(
                f"it has {count_weights(header)} weights and {training['n_moments']} moments of each; the model has "
                f"{len(shapes)}, and the optimizer {n_moments}"
            )
        check_entries(names, n_moments, header, model.dtype.name)
        rate, settable = fit["learning_rate"], model.optimizer.settable_rate is not None
        if (rate is None) == settable:
            raise ModelFormatError("a learning rate is saved, but this one follows a schedule, or the other way round")
        if type(fit["stopped"]) is not bool:
            raise ModelFormatError(f"stopped must be true or false, got {str(fit['stopped'])[:40]}")
        arrays = reader.arrays()
        optimizer = parse_json(header.metadata["compile"], "training options")["arguments"]["optimizer"]["config"]
        return _Backup(
            list(arrays.values())[: len(names) * (1 + n_moments)],
            training,
            number("learning_rate", rate, at_least=0.0) if settable else None,
            {name: number(name, optimizer[name], at_least=0.0) for name in model.optimizer.changing},
            [
                _read_state(callback, f"callbacks/{place}", state["state"], arrays)
                for place, (callback, state) in enumerate(zip(self._callbacks, fit["callbacks"], strict=True))
            ],
            {
                name: _column(arrays[f"history/{place}"]) if values is None else _listed(f"history of {name}", values)
                for place, (name, values) in enumerate(fit["history"].items())
            },
            [_count("each of epochs", epoch) for epoch in _listed("epochs", fit["epochs"])],
            _count("epoch", fit["epoch"]),
            fit["stopped"],
        )

    def _change(self, metadata: Mapping[str, str], callbacks: list[str]) -> str | None:
        """Return how this fit differs from the saved one; None if it does not."""
        saved = parse_json(metadata["model"], "architecture")
        # A round trip through JSON, as the saved configuration has made.
        config = parse_json(to_json(model_config(self.model), "architecture"), "architecture")
        change = difference(config, saved)
        if change is not None:
            return f"the model differs from the one that was saved: {change}"
        names = {
            "optimizer": type(self.model.optimizer).__name__,
            "callbacks": [type(callback).__name__ for callback in self._callbacks],
        }
        arguments = parse_json(metadata["compile"], "training options")["arguments"]
        before = {"optimizer": arguments["optimizer"]["class_name"], "callbacks": callbacks}
        for what, name in names.items():
            if name != before[what]:
                return f"the saved fit had the {what} {before[what]}; this one has {name}"
        return None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Count the steps from the first epoch on, or from the one to continue from."""
        if self._saved_at is None:
            self._saved_at = self.model.network.iterations

    def after_epoch(self, epoch: int) -> None:
        """Write the backup."""
        iterations = self.model.network.iterations
        if self._saved_at is not None and iterations - self._saved_at < self._steps_between:
            return
        self._saved_at = iterations
        model, history = self.model, self.model.history
        arrays: dict[str, Any] = {}
        recorded = {}
        for place, (name, values) in enumerate(history.history.items()):
            column = np.asarray(values)
            if column.dtype.kind in "fiu":
                arrays[f"history/{place}"] = column
            recorded[name] = None if column.dtype.kind in "fiu" else values
        states = [
            {"class_name": type(callback).__name__, "state": _state_of(callback, f"callbacks/{place}", arrays)}
            for place, callback in enumerate(self._callbacks)
        ]
        fit = {
            "epoch": epoch + 1,
            "stopped": bool(model.stop_training),
            "epochs": history.epoch,
            "history": recorded,
            # A schedule computes its rate from the number of updates.
            "learning_rate": model.optimizer.settable_rate,
            "callbacks": states,
        }
        os.makedirs(self.backup_dir, exist_ok=True)
        write_atomically(self.path, encode_model(model, arrays, fit=to_json(fit, "state of the fit")))

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Remove the backup."""
        if self.delete_checkpoint:
            on_first(f"remove {self.path}", self._remove)

    def _remove(self) -> None:
        if os.path.exists(self.path):
            os.unlink(self.path)
            if not os.listdir(self.backup_dir):
                os.rmdir(self.backup_dir)


class _Backup(NamedTuple):
    """What a backup holds, checked; the attributes are those of the model, of the fit and of its callbacks."""

    arrays: list[NDArray[Any]]
    training: dict[str, Any]
    learning_rate: float | None
    options: dict[str, float]
    states: list[dict[str, Any]]
    history: dict[str, list[Any]]
    epochs: list[int]
    next_epoch: int
    stopped: bool


def _count(name: str, value: Any) -> int:
    return whole(name, value, at_least=0, at_most=COUNT_LIMIT - 1)


def _listed(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ModelFormatError(f"{name} must be a list, got {str(value)[:40]}")
    return value


def _column(values: NDArray[Any]) -> list[Any]:
    """Return the values of one name in the history: numbers, or arrays if the metric is an array."""
    return values.tolist() if values.ndim == 1 else list(values)


def _state_of(callback: Callback, prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the kept attributes of a callback as JSON data; lists of arrays go into ``arrays``."""
    state: dict[str, Any] = {}
    for name in callback.kept_attributes:
        value = getattr(callback, name)
        if isinstance(value, list):
            arrays.update({f"{prefix}/{name}/{number}": array for number, array in enumerate(value)})
            state[name] = {"arrays": len(value)}
        elif isinstance(value, float | np.floating):
            # As text, which is exact and can be NaN.
            state[name] = {"float": float(value).hex()}
        else:
            state[name] = value
    return state


def _read_state(callback: Callback, prefix: str, state: Mapping[str, Any], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the kept attributes of a callback from what ``_state_of`` returned."""
    if state.keys() != set(callback.kept_attributes):
        raise ModelFormatError(f"it holds a different state of {type(callback).__name__}")
    values = {name: _read_value(value, f"{prefix}/{name}", arrays) for name, value in state.items()}
    for name, value in values.items():
        present = getattr(callback, name)
        # None stands for a value that is not there yet: the callback itself knows of which type it will be.
        if value is not None and present is not None and _kind(value) is not _kind(present):
            raise ModelFormatError(f"{name} of {type(callback).__name__} is {str(value)[:40]}")
    callback.check_kept(values)
    return values


def _kind(value: Any) -> type:
    """Return the type of a value; whole numbers count as floats."""
    return float if type(value) is int else type(value)


def _read_value(value: Any, name: str, arrays: Mapping[str, Any]) -> Any:
    """Return one kept attribute: None, a number, a text, or a list of arrays."""
    if isinstance(value, dict) and value.keys() == {"arrays"}:
        return [arrays[f"{name}/{number}"] for number in range(whole("arrays", value["arrays"], at_least=0))]
    if isinstance(value, dict) and value.keys() == {"float"}:
        return float.fromhex(value["float"])
    if value is None or isinstance(value, int | str):
        return value
    raise ModelFormatError(f"{name} is {str(value)[:40]}")
