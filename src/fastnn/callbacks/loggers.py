"""Callbacks that show or record the progress of training."""

import os
import time
from typing import Any

import numpy as np

from fastnn._arguments import as_path, flag
from fastnn._progress import ProgressLine, format_logs, format_seconds
from fastnn._ranks import is_first
from fastnn._warnings import warn
from fastnn.callbacks.callback import Callback, Logs


class ProgbarLogger(Callback):
    """Shows the progress of training; ``fit`` adds one unless ``verbose=0``.

    Parameters
    ----------
    verbose : 1 shows one line, rewritten at most four times a second; if the output is not a terminal, it prints a
        line after an epoch, at most four a second, and one after the last epoch. 2 prints a line after every epoch.
        None uses the ``verbose`` of ``fit``.
    line : progress line to write to; None is a new one.
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
        """Show the progress of the epoch, if a refresh is due."""
        if self._level == 1 and self._line.on_terminal and self._line.due():
            of = "" if self._steps is None else f"/{self._steps}"
            self._line.show(f"Epoch {self._epoch + 1}/{self._epochs} - step {step}{of} - loss: {loss:.4g}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Show the epoch's logs, if a refresh is due."""
        if self._level == 2 or (self._level == 1 and self._line.due()):
            self._line.show(self._describe(epoch, logs or {}))
            self._last = None
            if self._level == 2:
                self._line.end()
        elif self._level == 1:
            self._last = (epoch, dict(logs or {}))

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Show the last epoch, if it has not been shown."""
        if self._last is not None:
            self._line.show(self._describe(*self._last))

    def _describe(self, epoch: int, logs: Logs) -> str:
        now = time.monotonic()
        taken = format_seconds(now - (self._epoch_start if self._level == 2 else self._start))
        return f"Epoch {epoch + 1}/{self._epochs} - {taken} - {format_logs(logs)}"

    def close(self) -> None:
        """End the line."""
        self._line.end()


class CSVLogger(Callback):
    """Appends the logs of every epoch to a CSV file.

    The columns are "epoch" and the names of the first epoch's logs in alphabetical order. A value that a later epoch
    lacks is written as "NA".

    Parameters
    ----------
    filename : the file.
    separator : text between columns.
    append : whether to continue an existing file instead of replacing it.
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        super().__init__()
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"separator must be one character, got {separator!r}")
        self.filename = as_path("filename", filename)
        self.separator = separator
        self.append = flag("append", append)
        self._names: list[str] | None = None
        self._header_needed = True
        self._appends = False  # whether no epoch has been added yet to the columns of another fit
        self._left_out: set[str] = set()

    def written_path(self) -> str:
        """Return the path of the file."""
        return self.filename

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start a new file, or find out whether the existing one has a header."""
        self._names, self._header_needed, self._appends = None, True, False
        self._left_out = set()
        if self.append and os.path.exists(self.filename):
            self._names = self._columns()
            self._header_needed = self._names is None
            self._appends = not self._header_needed
        elif not self.append and is_first():
            open(self.filename, "w").close()

    def _columns(self) -> list[str] | None:
        """Return the names in the header of an existing file, without "epoch"; None for an empty file."""
        import csv

        with open(self.filename, newline="") as file:
            header = next(csv.reader(file, delimiter=self.separator), None)
        if header is not None and header[0] != "epoch":
            raise ValueError(
                f"{self.filename!r} does not begin with the header of a CSVLogger, 'epoch' and names with "
                f"{self.separator!r} between them, but with {header[:3]!r}: choose another filename, or append=False"
            )
        return None if header is None else header[1:]

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Append a line."""
        import csv

        if not is_first():
            return
        logs = logs or {}
        unknown = [] if self._names is None else [name for name in logs if name not in self._names]
        if unknown:
            lacks = (
                f"{self.filename!r} has no column for {unknown[0]!r}; its columns: "
                f"{', '.join(['epoch', *(self._names or ())])}"
            )
            if self._appends:
                raise ValueError(f"{lacks}. Choose another filename, or append=False")
            if unknown[0] not in self._left_out:
                warn(f"{lacks}, those of the first epoch: later values are left out")
            self._left_out.update(unknown)
        self._appends = False
        with open(self.filename, "a", newline="") as file:
            writer = csv.writer(file, delimiter=self.separator)
            if self._names is None:
                self._names = sorted(logs)
                # If the first epoch has no validation, its logs lack the columns that later ones fill.
                if not any(name.startswith("val_") for name in self._names):
                    self._names += [f"val_{name}" for name in self._names]
                if self._header_needed:
                    writer.writerow(["epoch", *self._names])
            writer.writerow([epoch, *(_as_text(logs.get(name, "NA")) for name in self._names)])


def _as_text(value: Any) -> Any:
    """Return an array as "[1.0, 2.0]", anything else as it is."""
    return f"[{', '.join(map(str, value))}]" if isinstance(value, np.ndarray) and value.ndim else value
