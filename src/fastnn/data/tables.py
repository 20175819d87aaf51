"""Tables of numbers, whole columns of which are read from one row to another: arrays, frames and ``.npy`` files."""

import mmap
import os
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import nearest

Array = NDArray[Any]


class Table:
    """Rows of one file or array.

    Parameters
    ----------
    name : what messages call it.
    n_rows : number of rows.
    columns : names of the columns, or None.
    row_shape : shape of a row.

    Attributes
    ----------
    groups : first row of each group of rows that are stored together, and the number of rows; None if there are none.
    """

    groups: Sequence[int] | None = None

    def __init__(self, name: str, n_rows: int, columns: Sequence[str] | None, row_shape: tuple[int, ...]) -> None:
        self.name, self.n_rows, self.row_shape = name, n_rows, row_shape
        self.columns = None if columns is None else list(columns)

    def dtype_of(self, column: str | None) -> np.dtype[Any]:
        """Return the type of a column, or for None of a table whose columns have no names.

        Raises
        ------
        ValueError
            The column does not hold numbers.
        """
        raise NotImplementedError

    def read(self, begin: int, end: int, columns: Sequence[str] | None) -> Array:
        """Return rows ``begin`` to ``end - 1`` of some columns: (n, n_columns), or for None (n, *row_shape)."""
        raise NotImplementedError

    def read_into(self, out: Any, begin: int, end: int) -> None:
        """Read rows ``begin`` to ``end - 1`` of all columns into an array of their type."""
        out[...] = self.read(begin, end, self.columns)

    def place(self, row: int) -> str:
        """Return where a row is, for messages."""
        return self.name

    def files(self) -> list[str]:
        """Return the paths of the files that are read, as far as they are known."""
        return []

    def check_columns(self, names: Sequence[str], argument: str) -> None:
        """Raise ValueError unless the table has columns of these names."""
        if self.columns is None:
            raise ValueError(f"{argument} has {names[0]!r}, but the columns of {self.name} have no names: give numbers")
        for name in names:
            if name not in self.columns:
                near = nearest(name, self.columns)
                hint = f"did you mean {near!r}? It" if near else ""
                shown = ", ".join(map(repr, self.columns[:20])) + (", ..." if len(self.columns) > 20 else "")
                raise ValueError(f"{self.name} has no column {name!r} ({argument}); {hint or 'it'} has {shown}")

    def not_numbers(self, column: str | None, dtype: Any, numbers: Sequence[str] = ()) -> ValueError:
        """Return the error for a column that does not hold numbers."""
        if column is None:
            return ValueError(f"{self.name} must hold real numbers, but its dtype is {dtype}")
        near = nearest(column, numbers)
        names = ([near] if near else []) + [name for name in numbers if name != near]
        shown = ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")
        return ValueError(
            f"column {column!r} of {self.name} holds {dtype}, not numbers: encode it before, or give columns= the "
            f"names of columns with numbers: {shown or 'there are none'}"
        )


class ArrayTable(Table):
    """An array, a memory map, or an object with a shape and a dtype that is sliced like one, such as zarr's arrays.

    Parameters
    ----------
    array : (n, ...); a structured dtype (n,) has a column for each field.
    name : what messages call it.
    """

    def __init__(self, array: Any, name: str) -> None:
        self.array = array
        fields = getattr(array.dtype, "names", None)
        if not array.shape:
            raise ValueError(f"{name} is one number, not rows")
        super().__init__(name, int(array.shape[0]), fields, () if fields else tuple(map(int, array.shape[1:])))
        chunks = getattr(array, "chunks", None)
        if isinstance(chunks, tuple):
            self.groups = [*range(0, self.n_rows, int(chunks[0])), self.n_rows]

    def dtype_of(self, column: str | None) -> np.dtype[Any]:
        """Return the type of a field or of the array."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype if column is None else self.array.dtype[column])
        if dtype.kind not in "fiub":
            fields = self.columns or ()
            raise self.not_numbers(column, dtype, [name for name in fields if self.array.dtype[name].kind in "fiub"])
        return dtype

    def files(self) -> list[str]:
        """Return the path of the file that the array maps into memory."""
        return file_of(self.array)

    def read(self, begin: int, end: int, columns: Sequence[str] | None) -> Array:
        """Return rows of the array; a view where that is possible."""
        rows: Array = np.asarray(self.array[begin:end])
        if columns is not None:
            rows = np.column_stack([rows[name] for name in columns])
        elif isinstance(self.array, np.memmap):
            rows = rows.copy()
        _release(self.array)
        return rows

    def read_into(self, out: Any, begin: int, end: int) -> None:
        """Copy rows of all columns into an array of their type."""
        if self.columns is not None:
            super().read_into(out, begin, end)
            return
        out[...] = self.array[begin:end]
        _release(self.array)


def file_of(array: Any) -> list[str]:
    """Return the path of the file that an array maps into memory, if it does."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return [] if array is None or array.filename is None else [str(array.filename)]


def _release(array: Any) -> None:
    """Let the system take back the memory of pages that a map of a file has read; the file keeps what was written."""
    if not isinstance(array, np.memmap) or array.mode not in ("r", "r+", "w+"):
        return
    mapped: Any = array._mmap  # type: ignore[attr-defined]
    if hasattr(mapped, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


class NpyFile(Table):
    """A ``.npy`` file, read without mapping it into memory."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            mapped = np.load(path, mmap_mode="r")
        except (ValueError, EOFError, OSError) as error:
            if not os.path.exists(path):
                raise FileNotFoundError(f"the file {path!r} does not exist") from None
            raise ValueError(f"{path!r} is not a .npy file of numbers, or it is truncated: {error}") from None
        if not isinstance(mapped, np.memmap) or not mapped.ndim:
            raise ValueError(f"{path!r} holds no rows")
        self._whole = ArrayTable(mapped, repr(path))
        # Columns one after the other can only be mapped: a row is not in one place.
        self._by_rows = bool(mapped.flags.c_contiguous)
        self._dtype, self._offset = mapped.dtype, int(mapped.offset)
        super().__init__(repr(path), self._whole.n_rows, self._whole.columns, self._whole.row_shape)
        if self._by_rows:
            self._whole.array = np.empty((0, *mapped.shape[1:]), mapped.dtype)

    def dtype_of(self, column: str | None) -> np.dtype[Any]:
        """Return the type of a field or of the array."""
        return self._whole.dtype_of(column)

    def files(self) -> list[str]:
        """Return the path of the file."""
        return [self._path]

    def read(self, begin: int, end: int, columns: Sequence[str] | None) -> Array:
        """Read rows from the file.

        Raises
        ------
        OSError
            The file is gone, or shorter than it was.
        """
        if not self._by_rows:
            return self._whole.read(begin, end, columns)
        rows: Any = np.empty((end - begin, *self.row_shape), self._dtype)
        self._read_rows(rows, begin, end)
        if columns is not None:
            rows = np.column_stack([rows[name] for name in columns])
        return cast(Array, rows)

    def read_into(self, out: Any, begin: int, end: int) -> None:
        """Read rows of all columns from the file into an array of their type."""
        if self.columns is None and self._by_rows and out.flags.c_contiguous:
            self._read_rows(out, begin, end)
        else:
            super().read_into(out, begin, end)

    def _read_rows(self, rows: Any, begin: int, end: int) -> None:
        """Read whole rows of the file into a contiguous array."""
        start = self._offset + begin * (rows.nbytes // max(1, len(rows)))
        with open(self._path, "rb", buffering=0) as file:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), start, rows.nbytes, os.POSIX_FADV_WILLNEED)
            file.seek(start)
            rest = memoryview(rows).cast("B")
            while rest.nbytes:
                count = file.readinto(rest)
                if not count:
                    raise OSError(
                        f"{self.name} ends before row {end - 1}: it has become shorter since the source was made"
                    )
                rest = rest[count:]


class FrameTable(Table):
    """A data frame of pandas or polars, which is in memory."""

    def __init__(self, frame: Any, name: str) -> None:
        self._frame = frame
        columns = list(frame.columns)
        if not all(isinstance(column, str) for column in columns):
            raise ValueError(f"the columns of {name} must have names that are text, got {columns[:5]}")
        super().__init__(name, int(frame.shape[0]), columns, (len(columns),))

    def dtype_of(self, column: str | None) -> np.dtype[Any]:
        """Return the type of a column."""
        dtype: np.dtype[Any] = np.asarray(self._frame[column][:0]).dtype
        if dtype.kind not in "fiub":
            raise self.not_numbers(column, dtype)
        return dtype

    def read(self, begin: int, end: int, columns: Sequence[str] | None) -> Array:
        """Return rows of some columns as one array."""
        return np.column_stack([np.asarray(self._frame[name][begin:end]) for name in columns or self.columns or ()])
