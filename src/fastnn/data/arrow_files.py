"""Tables in Parquet and Arrow files, read by row groups and record batches (pyarrow)."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import installed
from fastnn.data.tables import Table

Array = NDArray[Any]

_ROWS_AT_A_TIME = 1024
"""Rows whose columns are written side by side while they stay in the cache."""


class ArrowTable(Table):
    """A table of pyarrow in memory; the base of the files, which give its columns a group of rows at a time.

    Parameters
    ----------
    name : what messages call it.
    schema : pyarrow's schema.
    sizes : rows of each group.
    """

    group_word = "chunk"

    def __init__(self, name: str, schema: Any, sizes: Sequence[int]) -> None:
        super().__init__(name, int(sum(sizes)), schema.names, (len(schema.names),))
        self._schema = schema
        self.groups = [0, *np.cumsum(sizes).tolist()]

    def dtype_of(self, column: str | None) -> np.dtype[Any]:
        """Return NumPy's type for a column."""
        dtype = self._number_type(column)
        if dtype is None:
            numbers = [name for name in self._schema.names if self._number_type(name) is not None]
            raise self.not_numbers(column, self._schema.field(column).type, numbers)
        return dtype

    def _number_type(self, column: str | None) -> np.dtype[Any] | None:
        """Return NumPy's type for a column of numbers; None for other columns."""
        found: Any = self._schema.field(column).type
        types = installed("pyarrow", "reading Parquet and Arrow files", "parquet").types
        if types.is_decimal(found):
            return np.dtype(np.float64)
        if types.is_integer(found) or types.is_floating(found) or types.is_boolean(found):
            dtype: np.dtype[Any] = np.dtype(found.to_pandas_dtype())
            return dtype
        return None

    def group_of(self, row: int) -> int:
        """Return the number of the group that has a row."""
        assert self.groups is not None
        return int(np.searchsorted(self.groups, row, side="right")) - 1

    def place(self, row: int) -> str:
        """Return file and group of a row."""
        return f"{self.group_word} {self.group_of(row)} of {self.name}"

    def read(self, begin: int, end: int, columns: Sequence[str] | None) -> Array:
        """Return rows of some columns as one array; a missing value is NaN."""
        assert self.groups is not None and self.columns is not None
        names = list(self.columns if columns is None else columns)
        dtype = np.result_type(*(self.dtype_of(name) for name in names))
        out: Array | None = None
        for group in range(self.group_of(begin), self.group_of(end - 1) + 1):
            first = self.groups[group]
            low, high = max(begin, first), min(end, self.groups[group + 1])
            table = self._group(group, names).slice(low - first, high - low)
            values = [_as_numbers(table.column(name)) for name in names]
            if out is None:
                # Missing values make whole numbers floats.
                dtype = np.result_type(dtype, *values)
                out = np.empty((end - begin, len(names)), dtype)
            elif np.result_type(dtype, *values) != dtype:
                dtype = np.result_type(dtype, *values)
                out = out.astype(dtype)
            for start in range(0, high - low, _ROWS_AT_A_TIME):
                part = slice(low - begin + start, low - begin + min(start + _ROWS_AT_A_TIME, high - low))
                for place, column in enumerate(values):
                    out[part, place] = column[start : start + _ROWS_AT_A_TIME]
        assert out is not None
        return out

    def _group(self, number: int, names: list[str]) -> Any:
        """Return columns of a group as a table or batch of pyarrow."""
        raise NotImplementedError


def _as_numbers(column: Any) -> Array:
    """Return a column of pyarrow as an array (n,), missing values as NaN."""
    values: Array = column.to_numpy() if hasattr(column, "chunks") else column.to_numpy(zero_copy_only=False)
    return values.astype(np.float64) if values.dtype.kind == "O" else values


class ArrowInMemory(ArrowTable):
    """A ``pyarrow.Table``."""

    def __init__(self, table: Any, name: str) -> None:
        super().__init__(name, table.schema, [table.num_rows])
        self._table = table
        self.groups = [0, table.num_rows]

    def _group(self, number: int, names: list[str]) -> Any:
        return self._table.select(names)


class _ArrowFile(ArrowTable):
    """A file, which must not change while it is read."""

    def __init__(self, path: str, schema: Any, sizes: Sequence[int]) -> None:
        super().__init__(repr(path), schema, sizes)
        self._path, self._status = path, _status(path)

    def files(self) -> list[str]:
        """Return the path of the file."""
        return [self._path]

    def _group(self, number: int, names: list[str]) -> Any:
        where = f"{self.group_word} {number} of {self.name}"
        if not os.path.exists(self._path):
            raise OSError(f"{where} cannot be read: the file is gone")
        before, now = self._status, _status(self._path)
        if now != before:
            how = "it was written to" if now[0] == before[0] else f"it had {before[0]} bytes, and has {now[0]}"
            raise OSError(f"{where} cannot be read: the file has changed since the source was made: {how}")
        try:
            return self._read_group(number, names)
        except MemoryError:
            raise
        except Exception as error:  # pyarrow's own exceptions are derived from several classes
            raise OSError(f"{where} cannot be read: {error}") from error

    def _read_group(self, number: int, names: list[str]) -> Any:
        raise NotImplementedError


def _status(path: str) -> tuple[int, int]:
    """Return size and time of the last change of a file."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


class ParquetFile(_ArrowFile):
    """A Parquet file, read by row groups."""

    group_word = "row group"

    def __init__(self, path: str) -> None:
        arrow = installed("pyarrow", "reading Parquet files", "parquet")
        self._parquet = installed("pyarrow.parquet", "reading Parquet files", "parquet")
        if not os.path.exists(path):
            raise FileNotFoundError(f"the file {path!r} does not exist")
        try:
            metadata = self._parquet.read_metadata(path)
            schema = metadata.schema.to_arrow_schema()
        except (arrow.ArrowException, OSError) as error:
            raise ValueError(f"{path!r} is not a Parquet file, or it is truncated: {error}") from error
        self._metadata = metadata
        super().__init__(path, schema, [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)])

    def _read_group(self, number: int, names: list[str]) -> Any:
        with self._parquet.ParquetFile(self._path, metadata=self._metadata) as file:
            return file.read_row_group(number, columns=names, use_threads=False)


class ArrowFile(_ArrowFile):
    """An Arrow IPC file (Feather version 2), read by record batches."""

    group_word = "record batch"

    def __init__(self, path: str) -> None:
        self._arrow = installed("pyarrow", "reading Arrow files", "parquet")
        if not os.path.exists(path):
            raise FileNotFoundError(f"the file {path!r} does not exist")
        try:
            with self._arrow.memory_map(path) as mapped, self._arrow.ipc.open_file(mapped) as file:
                schema = file.schema
                sizes = [file.get_batch(i).num_rows for i in range(file.num_record_batches)]
        except (self._arrow.ArrowException, OSError) as error:
            raise ValueError(f"{path!r} is not an Arrow file, or it is truncated: {error}") from error
        super().__init__(path, schema, sizes)

    def _read_group(self, number: int, names: list[str]) -> Any:
        with self._arrow.OSFile(self._path) as stream:
            return self._arrow.ipc.open_file(stream).get_batch(number).select(names)
