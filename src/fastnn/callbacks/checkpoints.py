"""A callback that saves the model during training."""

import os
import warnings
from typing import Any

import numpy as np

from fastnn._arguments import as_path, as_verbosity, flag, number, optional, whole
from fastnn._warnings import warn
from fastnn.callbacks.callback import Logs
from fastnn.callbacks.monitors import Monitor
from fastnn.saving.foreign import foreign_suffix, warn_of_suffix


def steps_between(save_freq: Any) -> int | None:
    """Return the number of steps between two saves; None for a save after every epoch."""
    return None if save_freq == "epoch" else whole("save_freq", save_freq, at_least=1, others=", or 'epoch'")


class ModelCheckpoint(Monitor):
    """Saves the model after every epoch, after a number of steps, or after every improvement.

    Files are written atomically: after a crash you have the old file or the new one, never a partial file.

    Parameters
    ----------
    filepath : name of the file; may contain ``{epoch:02d}`` (counted from 1), ``{batch}`` and names in the logs such
        as ``{val_loss:.2f}``. Missing folders are created.
    monitor : name in the logs.
    verbose : 1 prints a line for every save.
    save_best_only : whether to save only when the monitored value has improved.
    save_weights_only : whether to call ``save_weights`` instead of ``save``.
    mode : "min", "max" or "auto" (from the name).
    save_freq : "epoch", or the number of training steps between two saves.
    initial_value_threshold : value that the first save must improve on.
    """

    kept_attributes = ("best", "_steps")

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, 0.0)
        self.filepath = as_path("filepath", filepath)
        warn_of_suffix(self.filepath)
        self.verbose = as_verbosity(verbose)
        self.save_best_only = flag("save_best_only", save_best_only)
        self.save_weights_only = flag("save_weights_only", save_weights_only)
        self.save_freq = save_freq
        self.best = optional(number, "initial_value_threshold", initial_value_threshold)
        if not self.save_best_only and (monitor, mode, self.best) != ("val_loss", "auto", None):
            warn("monitor, mode and initial_value_threshold have no effect without save_best_only=True")
        self._steps_between = steps_between(save_freq)
        self._steps = 0
        self._epoch = 0
        if self._steps_between is None:
            self.skipped_hooks = ("on_train_batch_end",)

    def written_path(self) -> str:
        """Return the path of the checkpoints, which may have fields such as ``{epoch}``."""
        return self.filepath

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Store the number of the epoch for saves within it."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save, if ``save_freq`` steps have run since the last time."""
        self._steps += 1
        if self._steps == self._steps_between:
            self._steps = 0
            self._save(self._epoch, {"batch": batch + 1, **(logs or {})})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save, if ``save_freq`` is "epoch"."""
        if self._steps_between is None:
            self._save(epoch, logs or {})

    def _save(self, epoch: int, logs: Logs) -> None:
        try:
            path = self.filepath.format(**{"epoch": epoch + 1, **logs})
        except KeyError as error:
            raise KeyError(
                f"filepath {self.filepath!r} contains {error}, which is not in the logs; available: epoch, "
                f"{', '.join(logs)}"
            ) from None
        if self.save_best_only and not self._is_best(epoch, logs):
            return
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: saving model to {path}")
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        save = self.model.save_weights if self.save_weights_only else self.model.save
        if foreign_suffix(path) is None:
            save(path)
            return
        with warnings.catch_warnings():
            # The constructor has warned once for all files.
            warnings.filterwarnings("ignore", message=".* is a fastnn safetensors file")
            save(path)

    def _is_best(self, epoch: int, logs: Logs) -> bool:
        """Return whether the monitored value is the best so far, or cannot be compared."""
        current = self._value(logs)
        if current is None:
            return True
        if np.ndim(current) > 0:
            warn(f"{self.monitor!r} is an array and cannot be compared: every model is saved")
            return True
        better = self._improves(current, self.best)
        if self.verbose:
            before = "None" if self.best is None else f"{self.best:.5f}"
            change = f"improved from {before} to {current:.5f}" if better else f"did not improve from {before}"
            print(f"\nEpoch {epoch + 1}: {self.monitor} {change}")
        if better:
            self.best = current
        return better
