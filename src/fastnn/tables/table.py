"""Tables: columns by name, from CSV and Parquet files, and to CSV."""

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.saving.atomic import write_atomically

Array = NDArray[Any]

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""Entries, in small letters, that stand for a missing value."""


_DECIMAL_COMMA = re.compile(r"[+-]?\d*,?\d+(?:[eE][+-]?\d+)?")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d*(?:[eE][+-]?\d+)?")


class TableError(ValueError):
    """A table does not have what a command needs."""


@dataclass(frozen=True)
class Table:
    """A table.

    Parameters
    ----------
    source : name of the file, for messages.
    columns : lists of equal length by name: texts, or numbers of a Parquet file; None for a missing value.
    first_line : number of the file's line that holds the first row; 0 if rows have no lines.
    """

    source: str
    columns: Mapping[str, Sequence[Any]]
    first_line: int = 0

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), ()))

    def place(self, row: int) -> str:
        """Return where a row is, for messages."""
        return f"line {row + self.first_line}" if self.first_line else f"row {row} (counted from 0)"

    def take(self, rows: Array) -> "Table":
        """Return the table of these rows."""
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return Table(self.source, columns)

    def is_number(self, name: str) -> bool:
        """Whether all values of a column that are there are numbers; a column without values is not."""
        known = [value for value in self.columns[name] if value is not None]
        return bool(known) and all(as_number(value) is not None for value in known)

    def words(self, name: str) -> list[tuple[int, Any]]:
        """Return rows and values of the entries of a column that are not numbers."""
        return [(i, each) for i, each in enumerate(self.columns[name]) if each is not None and as_number(each) is None]

    def numbers(self, name: str) -> Array:
        """Return a column as float64 (n,), missing values as NaN.

        Raises
        ------
        TableError
            An entry is not a number, or infinite.
        """
        result = np.empty(self.n_rows)
        for row, value in enumerate(self.columns[name]):
            number = np.nan if value is None else as_number(value)
            if number is None or np.isinf(number):
                raise TableError(
                    f"{self.source}: column {name!r} has {shown(value)} in {self.place(row)}, not a finite number"
                )
            result[row] = number
        return result

    def texts(self, name: str) -> list[str | None]:
        """Return a column as texts, None for missing values."""
        return [None if value is None else str(value) for value in self.columns[name]]


def as_number(value: Any) -> float | None:
    """Return an entry as a number; None for a text that is none."""
    if isinstance(value, str) and "_" in value:
        return None
    try:
        return float(value)
    except OverflowError:
        return np.inf
    except (TypeError, ValueError):
        return None


def shown(value: Any) -> str:
    """Return an entry for messages, shortened."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a CSV file, in UTF-8 with a header, its columns separated by comma, semicolon or tab; or a Parquet file.

    Where semicolons or tabs separate columns, numbers may have decimal commas.

    Raises
    ------
    TableError
        The file has no header or no rows, a column twice, or a row of another length.
    """
    path = os.fspath(path)
    if path.lower().endswith((".parquet", ".pq")):
        return _read_parquet(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read()
        if "\0" in text:
            raise TableError(f"{path}: not a text: line {text[: text.index(chr(0))].count(chr(10)) + 1} has a byte 0")
        separator = _separator(text)
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: not a text in UTF-8: {error}; save it as UTF-8") from None
    except csv.Error as error:
        raise TableError(f"{path}: not a table of values separated by {separator!r}: {error}") from None
    if not rows or not any(name.strip() for name in rows[0]):
        raise TableError(f"{path}: the first line must hold the names of the columns")
    names = [name.strip() for name in rows[0]]
    _check_names(path, names)
    body = [(line, row) for line, row in enumerate(rows[1:], 2) if row]
    for line, row in body:
        if len(row) != len(names):
            raise TableError(f"{path}: line {line} has {len(row)} values for {len(names)} columns")
    if not body:
        raise TableError(f"{path}: there are no rows after the names of the columns")
    columns = {
        name: [None if row[i].strip().lower() in MISSING else row[i].strip() for _, row in body]
        for i, name in enumerate(names)
    }
    return Table(path, columns if separator == "," else _with_points(columns), 2)


def _separator(text: str) -> str:
    """Return what separates the names in the first line: the one that makes most of them."""
    line = text[: text.find("\n") + 1] or text
    return max(",;\t", key=lambda each: len(next(csv.reader([line], delimiter=each), ())))


def _with_points(columns: dict[str, list[str | None]]) -> dict[str, list[str | None]]:
    """Return columns with points in place of decimal commas, if the file has decimal commas and no decimal points."""
    known = {name: [value for value in values if value is not None] for name, values in columns.items()}
    if any(_DECIMAL_POINT.fullmatch(value) for values in known.values() for value in values):
        return columns
    found = {name for name, values in known.items() if values and all(map(_DECIMAL_COMMA.fullmatch, values))}
    return {
        name: [None if value is None else value.replace(",", ".") for value in values] if name in found else values
        for name, values in columns.items()
    }


def _check_names(path: str, names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        if not name:
            raise TableError(f"{path}: column {place + 1} has no name")
        if name in names[:place]:
            raise TableError(f"{path}: two columns are called {name!r}")


def _read_parquet(path: str) -> Table:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError("Parquet files need pyarrow: pip install '.[parquet]' or pip install pyarrow") from error
    try:
        table = parquet.read_table(path)
    except OSError:
        raise
    except Exception as error:
        raise TableError(f"{path}: not a Parquet file: {error}") from error
    _check_names(path, table.column_names)
    if not table.num_rows:
        raise TableError(f"{path}: there are no rows")
    columns = {}
    for name in table.column_names:
        values = table.column(name).to_pylist()
        if any(isinstance(value, list | dict | bytes) for value in values):
            raise TableError(f"{path}: column {name!r} holds lists, structures or bytes; leave it out of the file")
        # True and False are words, as in a CSV file.
        values = [str(value) if isinstance(value, bool) else value for value in values]
        columns[name] = [None if value is None or value != value else value for value in values]
    return Table(path, columns)


def table_text(columns: Mapping[str, Sequence[Any]]) -> str:
    """Return columns as CSV; numbers have the digits that give the same bits back."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def write_table(path: str | os.PathLike[str], columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns as a CSV file, whole or not at all."""
    write_atomically(path, [table_text(columns).encode()])
