"""Columns of several tables under each other, chosen by name or number and read as one array."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.data.tables import Table

Array = NDArray[Any]


class Columns:
    """Some columns of tables that follow each other.

    Parameters
    ----------
    tables : the tables, all with the same columns.
    chosen : names or numbers of columns; None for all.
    argument : name of the argument in messages.
    left_out : names or numbers of columns that are not among all.
    single : whether the only column makes an array (n,).

    Attributes
    ----------
    n_rows, row_shape, dtype, names : of the array that the columns make; ``names`` is None without names.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        chosen: Sequence[Any] | None,
        argument: str,
        left_out: Sequence[Any] = (),
        single: bool = False,
    ) -> None:
        self._tables, self._single = list(tables), single
        self.starts = [0, *np.cumsum([table.n_rows for table in tables]).tolist()]
        self.n_rows: int = self.starts[-1]
        first = self._tables[0]
        self.names: list[str] | None = None
        self._numbers: list[int] | None = None
        if first.columns is not None:
            self.names = _names(first, chosen, argument, left_out)
            for table in self._tables:
                table.check_columns(self.names, argument)
            self.row_shape: tuple[int, ...] = (len(self.names),)
        else:
            self._numbers = _numbers(first, chosen, argument, left_out)
            self.row_shape = first.row_shape if self._numbers is None else (len(self._numbers),)
            for table in self._tables:
                if table.columns is not None or table.row_shape != first.row_shape:
                    raise ValueError(
                        f"{table.name} has rows of shape {table.row_shape}, but {first.name} has rows of "
                        f"{first.row_shape}; several inputs are a dict by name"
                    )
        if single:
            self.row_shape = ()
        # Whether they are all columns, in their order and of one type.
        self._all = self._numbers is None and all(table.columns == self.names for table in self._tables)
        wanted: list[str | None] = [None] if self.names is None else [*self.names]
        types = [table.dtype_of(name) for table in self._tables for name in wanted]
        self.dtype = np.result_type(*types)
        self._all &= all(dtype == self.dtype for dtype in types)

    def read(self, begin: int, end: int, out: Array | None = None) -> Array:
        """Return rows ``begin`` to ``end - 1`` as one array (n, *row_shape): in ``out``, if that has its form."""
        if out is not None and out.dtype == self.dtype and out.shape == (end - begin, *self.row_shape) and self._all:
            for start, table in zip(self.starts, self._tables, strict=False):
                low, high = max(begin, start), min(end, start + table.n_rows)
                if low < high:
                    table.read_into(out[low - begin : high - begin], low - start, high - start)
            return out
        parts = []
        for start, table in zip(self.starts, self._tables, strict=False):
            low, high = max(begin, start), min(end, start + table.n_rows)
            if low < high:
                rows = table.read(low - start, high - start, self.names)
                parts.append(rows if self._numbers is None else rows[:, self._numbers])
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return rows.reshape(len(rows), *self.row_shape)

    def place(self, row: int) -> str:
        """Return the file, and the part of it, that has a row."""
        table = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self._tables[table].place(row - self.starts[table])

    def files(self) -> list[str]:
        """Return the paths of the files that are read."""
        return [path for table in self._tables for path in table.files()]

    def groups(self) -> list[int] | None:
        """Return the first row of each group that the tables store together, and the number of rows."""
        if any(table.groups is None for table in self._tables):
            return None
        firsts = [
            start + row
            for start, table in zip(self.starts, self._tables, strict=False)
            for row in (table.groups or ())[:-1]
        ]
        return [*dict.fromkeys(firsts), self.n_rows]


def _names(table: Table, chosen: Sequence[Any] | None, argument: str, left_out: Sequence[Any]) -> list[str]:
    """Return the names of the chosen columns of a table whose columns have names."""
    known = table.columns or []
    if chosen is None:
        names = [name for name in known if name not in left_out]
        if not names:
            raise ValueError(f"{table.name} has no columns for {argument}: all are taken by target or sample_weight")
        return names
    for each in chosen:
        if not isinstance(each, str):
            raise ValueError(f"{argument} must hold names of columns of {table.name}, got {each!r}")
    twice = [name for place, name in enumerate(chosen) if name in chosen[:place]]
    if twice:
        raise ValueError(f"{argument} has the column {twice[0]!r} twice")
    return list(chosen)


def _numbers(table: Table, chosen: Sequence[Any] | None, argument: str, left_out: Sequence[Any]) -> list[int] | None:
    """Return the numbers of the chosen columns of a table whose columns have no names; None for all."""
    if chosen is None and not left_out:
        return None
    if len(table.row_shape) != 1:
        raise ValueError(f"{argument} chooses columns, but the rows of {table.name} have shape {table.row_shape}")
    width = table.row_shape[0]
    if chosen is None:
        taken = {int(each) % width for each in left_out}
        return [number for number in range(width) if number not in taken]
    for each in chosen:
        if isinstance(each, str):
            table.check_columns([each], argument)
        if isinstance(each, bool) or not isinstance(each, int | np.integer) or not -width <= each < width:
            raise ValueError(
                f"{argument} must hold numbers of columns of {table.name}, {-width} to {width - 1}, got {each!r}"
            )
    return [int(each) % width for each in chosen]
