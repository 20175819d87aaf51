"""Predictions written to a ``.npy`` file as they are computed, so that they need no memory and can be resumed.

Design: outputs are appended to ``out.partial``. Now and then the file is synchronized to the disk, and then the number
of rows in ``out.progress``, which is written atomically: the file always has the rows that the progress says, whatever
happens to the process. At the end the file is renamed.
"""

import contextlib
import hashlib
import json
import os
import time
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._ranks import on_first
from fastnn.callbacks import CallbackList
from fastnn.data.tables import file_of
from fastnn.network.stack import LayerStack
from fastnn.saving.atomic import mode_to_keep, write_atomically
from fastnn.saving.foreign import warn_of_suffix
from fastnn.training.evaluation import predicted
from fastnn.training.rows import listed, n_rows, take

Array = NDArray[Any]

_SECONDS_BETWEEN_RECORDS = 1.0
_RECORD_BYTES = 1 << 14
"""Room that is made on a full disk for the record: some blocks of the file system."""


def write_predictions(
    model: LayerStack, X: Any, batch_size: Any, callbacks: CallbackList, out: Any, resume: bool
) -> Array:
    """Write the outputs of ``predict_rows`` to a file and return it, mapped into memory.

    Parameters
    ----------
    model, X, batch_size, callbacks : as in ``predict_rows``; with ``resume`` an ``int`` batch size.
    out : path of the file.
    resume : whether to continue what an earlier call has left.

    Raises
    ------
    OSError
        A file cannot be written, or ``out`` is a folder, a device, a pipe or read-only; rows that were written stay.
    ValueError
        The model has several outputs, or the files that are there belong to other predictions.
    """
    if not isinstance(out, str | os.PathLike):
        raise ValueError(f"out must be the path of a .npy file, got {type(out).__name__}")
    warn_of_suffix(out, "a NumPy array", ".npy")
    path = os.path.realpath(os.fspath(out))
    mode_to_keep(path)  # raises for what must not be replaced
    if not os.path.isdir(os.path.dirname(path)):
        raise FileNotFoundError(f"the folder {os.path.dirname(path)!r} does not exist; create it first")
    if len(model.program.heads) != 1:
        raise ValueError(f"out= is for a model with one output, this one has {len(model.program.heads)}")
    if any(os.path.realpath(each) == path for each in _files_of(X)):
        raise ValueError(f"out={os.fspath(out)!r} is a file that x reads: give the predictions another path")
    on_first(f"write {path}", lambda: _write(model, X, batch_size, callbacks, path, resume))
    result: Array = np.load(path, mmap_mode="r")
    return result


def _files_of(X: Any) -> list[str]:
    """Return the paths of the files from which checked inputs are read."""
    if hasattr(X, "source"):
        found: list[str] = X.source.files()
        return found
    return [path for array in listed(X) for path in file_of(array)]


def _write(model: LayerStack, X: Any, batch_size: Any, callbacks: CallbackList, path: str, resume: bool) -> None:
    """Write all outputs, or those that are missing."""
    n = _length(X)
    row = model.in_form(np.empty((1, model.program.heads[0].n_outputs), model.dtype)).shape[1:]
    file = _PartialFile(path, (n, *row), model.dtype, _fingerprint(model, X))
    try:
        done = file.resume() if resume else 0
        if not done:
            file.begin()
        if done < n:
            with closing(predicted(model, _from_row(X, done), batch_size, callbacks)) as parts:
                for _, outputs in parts:
                    file.append(outputs)
        file.finish()
    finally:
        file.close()


def _length(X: Any) -> int:
    return n_rows(X) if isinstance(X, list | np.ndarray) else len(X.source)


def _from_row(X: Any, first: int) -> Any:
    """Return the inputs from a row on."""
    if not first:
        return X
    return take(X, slice(first, None)) if isinstance(X, list | np.ndarray) else X.rows(first, len(X.source))


def _fingerprint(model: LayerStack, X: Any) -> str:
    """Return a hash of the weights, and of the first and the last row of the inputs."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    n = _length(X)
    for row in {0, n - 1} if n else ():
        rows = take(X, slice(row, row + 1)) if isinstance(X, list | np.ndarray) else X.read(row, row + 1)[0].X
        for array in listed(rows):
            digest.update(np.ascontiguousarray(array).astype(model.dtype).tobytes())
    return digest.hexdigest()


class _PartialFile:
    """The file that predictions are appended to, and the record of how many there are.

    Parameters
    ----------
    path : of the finished file.
    shape, dtype : of all predictions.
    fingerprint : of the model and the inputs.
    """

    def __init__(self, path: str, shape: tuple[int, ...], dtype: np.dtype[Any], fingerprint: str) -> None:
        self._path, self._partial, self._progress = path, f"{path}.partial", f"{path}.progress"
        self._shape, self._dtype = shape, dtype
        self._row_bytes = int(np.prod(shape[1:])) * dtype.itemsize
        self._about = {"shape": list(shape), "dtype": dtype.name, "fingerprint": fingerprint}
        self._file: Any = None
        self._header = 0
        self._done = self._recorded = 0
        self._recorded_at = 0.0

    def begin(self) -> None:
        """Begin a new file."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._progress)
        try:
            self._file = open(self._partial, "wb", buffering=0)
            np.lib.format.write_array_header_1_0(
                self._file,
                {
                    "descr": np.lib.format.dtype_to_descr(self._dtype),
                    "fortran_order": False,
                    "shape": self._shape,
                },
            )
            self._header = self._file.tell()
            self._record()
        except OSError as error:
            raise self._failed(error) from error

    def resume(self) -> int:
        """Open the file of an earlier call and return how many rows it has; 0 if there is none.

        Raises
        ------
        ValueError
            It belongs to other predictions.
        """
        try:
            with open(self._progress, encoding="utf-8") as file:
                progress = json.load(file)
            size = os.path.getsize(self._partial)
        except FileNotFoundError:
            return 0
        except ValueError as error:
            raise ValueError(f"{self._progress!r} is damaged: delete it, or call without resume=True") from error
        for name, value in self._about.items():
            if progress.get(name) != value:
                what = "the model or the inputs" if name == "fingerprint" else f"the {name} {value}"
                before = "" if name == "fingerprint" else f", was {progress.get(name)}"
                raise ValueError(
                    f"cannot resume {self._partial!r}: {what} changed{before}. Call without resume=True to start over"
                )
        header, done = int(progress["header"]), int(progress["rows"])
        if size < header + done * self._row_bytes:
            raise ValueError(
                f"cannot resume {self._partial!r}: it has {size} bytes, fewer than its {done} rows take. Call without "
                "resume=True to start over"
            )
        self._file = open(self._partial, "r+b", buffering=0)
        self._file.truncate(header + done * self._row_bytes)
        self._file.seek(0, os.SEEK_END)
        self._header, self._done, self._recorded = header, done, done
        self._recorded_at = time.monotonic()
        return done

    def append(self, outputs: Array) -> None:
        """Write the outputs of the next rows."""
        try:
            buffer: Any = np.ascontiguousarray(outputs)
            rest = memoryview(buffer).cast("B")
            while rest.nbytes:
                rest = rest[self._file.write(rest) :]
            self._done += len(outputs)
            if time.monotonic() - self._recorded_at > _SECONDS_BETWEEN_RECORDS:
                self._record()
        except OSError as error:
            raise self._failed(error) from error

    def _record(self) -> None:
        """Synchronize the rows to the disk, then their number."""
        os.fsync(self._file.fileno())
        progress = {**self._about, "header": self._header, "rows": self._done}
        write_atomically(self._progress, [json.dumps(progress).encode()])
        self._recorded, self._recorded_at = self._done, time.monotonic()

    def finish(self) -> None:
        """Give the complete file its name."""
        try:
            os.fsync(self._file.fileno())
            self.close()
            os.replace(self._partial, self._path)
        except OSError as error:
            raise self._failed(error) from error
        with contextlib.suppress(OSError):
            os.unlink(self._progress)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _failed(self, error: OSError) -> OSError:
        """Return the error for a file that cannot be written, once what is written is recorded if that is possible."""
        # The record takes a new file, for which a full disk has no room: the last rows make way for it.
        given_up = -(-_RECORD_BYTES // self._row_bytes)
        for done in (self._done, self._done - given_up):
            if self._file is not None and done > self._recorded:
                with contextlib.suppress(OSError):
                    self._file.truncate(self._header + done * self._row_bytes)
                    self._done = done
                    self._record()
        needed = self._header + self._shape[0] * self._row_bytes
        return type(error)(
            error.errno,
            f"the predictions cannot be written ({error.strerror}); {self._recorded} of {self._shape[0]} rows are kept "
            f"in {self._partial!r}. The whole file takes {needed} bytes: make room, and call again with resume=True",
        )
