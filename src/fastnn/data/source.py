"""A source of rows: what a model reads block by block where the rows do not fit into memory."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import takes_keywords, whole
from fastnn.data.columns import Columns
from fastnn.data.named import NamedColumns, part_of
from fastnn.data.opening import open_tables

Array = NDArray[Any]

_BLOCK_BYTES = 1 << 22
_WINDOW_BYTES = 1 << 26
_MOST_BLOCK_ROWS = 1 << 16
_COUNTED_BYTES = 4
"""Bytes that a number counts for in the sizes of blocks and windows, whatever its type in the file."""


class Source:
    """Rows of files or arrays that ``fit``, ``evaluate`` and ``predict`` read block by block; ``source`` makes one.

    Attributes
    ----------
    shape : (n, n_features), of all inputs together; rows of another shape are given as they are.
    dtype : type of the inputs in the files; a dict for several inputs.
    columns : names of the inputs, or None; a dict of them for several inputs.
    targets : names of the targets, or None; a dict of them for several outputs.
    block_rows : rows of a block, the largest one where the blocks are row groups.
    window : blocks that are in memory together, and whose rows are shuffled.
    n_readers : threads that read.
    blocks : pairs (begin, end) of the rows of each block.
    """

    def __init__(
        self,
        x: Columns | NamedColumns,
        y: Columns | NamedColumns | None,
        weight: Columns | NamedColumns | None,
        rows: tuple[int, int],
        block_rows: int | None,
        window: int | None,
        n_readers: int,
    ) -> None:
        self._x, self._y, self._weight = x, y, weight
        self._begin, self._end = rows
        self._given = block_rows, window
        self.n_readers = n_readers
        self.dtype: Any = x.dtype
        self.columns: Any = x.names
        self.targets: Any = None if y is None else y.names
        self.shape = (self._end - self._begin, *x.row_shape)
        bytes_per_row = _COUNTED_BYTES * max(1, int(np.prod(x.row_shape)))
        self.blocks = self._cut(block_rows, bytes_per_row)
        self.block_rows = max(end - begin for begin, end in self.blocks)
        if window is None:
            window = min(len(self.blocks), max(1, _WINDOW_BYTES // (bytes_per_row * self.block_rows)))
        self.window = window

    def _cut(self, block_rows: int | None, bytes_per_row: int) -> list[tuple[int, int]]:
        """Return the rows of each block: of the given size, or the groups of the files, or of about 4 MB."""
        n = self._end - self._begin
        groups = self._x.groups() if block_rows is None else None
        if groups is not None:
            inner = [row - self._begin for row in groups if self._begin < row < self._end]
            cuts = [0, *inner, n]
        else:
            if block_rows is None:
                fitting = max(1, _BLOCK_BYTES // bytes_per_row)
                block_rows = min(_MOST_BLOCK_ROWS, 1 << (fitting.bit_length() - 1))
            cuts = [*range(0, n, block_rows), n]
        return list(pairwise(cuts))

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    @property
    def has_targets(self) -> bool:
        """Whether the source gives targets."""
        return self._y is not None

    @property
    def inputs(self) -> "dict[str, Source] | None":
        """The source of each of several inputs by name, without targets; None where there is one input."""
        if isinstance(self._x, Columns):
            return None
        given = ((self._begin, self._end), *self._given, self.n_readers)
        return {name: Source(part, None, None, *given) for name, part in self._x.parts.items()}

    def files(self) -> list[str]:
        """Return the paths of the files that are read."""
        parts = (self._x, self._y, self._weight)
        return [path for part in parts if part is not None for path in part.files()]

    def check_single(self, name: str, what: str) -> None:
        """Raise ValueError unless there is one input, and one array of targets if there are any."""
        for columns, plural in ((self._x, "inputs"), (self._y, "targets"), (self._weight, "sample weights")):
            if isinstance(columns, NamedColumns):
                names = ", ".join(map(repr, columns.parts))
                hint = f", such as {name}.inputs[{next(iter(columns.parts))!r}]" if columns is self._x else ""
                raise ValueError(f"{name} is a source with {plural} by name, {names}, but {what} takes one array{hint}")

    def rows(self, begin: int, end: int) -> "Source":
        """Return the source of rows ``begin`` to ``end - 1``, such as the part of one process.

        Blocks are cut from ``begin`` on, or at the row groups of the files.

        Raises
        ------
        ValueError
            The rows do not exist, or are none.
        """
        n = len(self)
        first = whole("begin", begin, at_least=0, at_most=n - 1)
        last = whole("end", end, at_least=first + 1, at_most=n)
        part = (self._begin + first, self._begin + last)
        return Source(self._x, self._y, self._weight, part, *self._given, self.n_readers)

    def read(self, begin: int, end: int, out: Array | None = None) -> tuple[Any, Any, Any]:
        """Return inputs (n, n_features), targets and sample weights of rows ``begin`` to ``end - 1``; None without.

        Several inputs, outputs or sample weights are dicts of arrays.

        Parameters
        ----------
        begin, end : numbers of the first row and of the one after the last.
        out : array (n, n_features) that the inputs are read into, if there is one input of their type and shape.

        Raises
        ------
        OSError
            A file cannot be read, has changed or is gone; the message names it, and the row group.
        """
        first, last = self._begin + begin, self._begin + end
        x = self.read_inputs(begin, end, out)
        y = None if self._y is None else self._y.read(first, last)
        return x, y, None if self._weight is None else self._weight.read(first, last)

    def read_targets(self) -> tuple[Any, Any]:
        """Return the targets and the sample weights of all rows."""
        parts = (self._y, self._weight)
        y, weight = (None if each is None else each.read(self._begin, self._end) for each in parts)
        return y, weight

    def read_inputs(self, begin: int, end: int, out: Array | None = None) -> Any:
        """Return the inputs (n, n_features) of rows ``begin`` to ``end - 1``; in ``out`` as in ``read``."""
        first, last = self._begin + begin, self._begin + end
        return self._x.read(first, last, out) if isinstance(self._x, Columns) else self._x.read(first, last)

    def in_all_rows(self, message: str, begin: int) -> str:
        """Return a message on rows from ``begin`` on with a row's number in all rows of the files, and its file."""
        found = re.search(r"\brow (\d+)(?:, column (\d+))? \(counted from 0\)", message)
        if found is None:
            return message
        row, of_targets = begin + int(found[1]), message.startswith(("the targets of ", "the sample weights of ", "y "))
        part = part_of(self._y if of_targets and self._y is not None else self._x, message)
        names = None if of_targets or part is None else part.names
        column = "" if found[2] is None else f", column {found[2]}"
        if found[2] is not None and names is not None:
            column += f" {names[int(found[2])]!r}"
        where = f"row {self._begin + row}{column} (counted from 0)"
        place = "x" if part is None else part.place(self._begin + row)
        if place not in ("x", "y") and "['" not in place:  # the message begins with the name of an array
            where += f", in {place}"
        return message[: found.start()] + where + message[found.end() :]

    def __repr__(self) -> str:
        n, *row = self.shape
        width = " x ".join(map(str, row)) if row else "1"
        return (
            f"<Source rows={n:,}, columns={width}, blocks={len(self.blocks):,}, block_rows={self.block_rows:,}, "
            f"window={self.window}>"
        )


@takes_keywords
def source(
    path_or_list_or_array: Any,
    y: Any = None,
    *,
    columns: Any = None,
    target: Any = None,
    sample_weight: Any = None,
    block_rows: int | None = None,
    window: int | None = None,
    n_readers: int = 1,
) -> Source:
    """Return a source of rows that need not fit into memory, for ``fit``, ``evaluate`` and ``predict``.

    An epoch takes the blocks in a random order. ``window`` blocks at a time are in memory, and their rows are shuffled
    together; the next window is read meanwhile, so there is memory for two. Both orders depend on the model's seed and
    the number of the epoch alone, not on ``n_readers`` or the speed of the disk. Batches continue from one window into
    the next. If all blocks are in one window, a model is trained bit for bit as by the array. Predictions, evaluations
    and epochs with ``shuffle=False`` take the rows in their order.

    Whole numbers and float64 are converted on the way, as those of arrays. Standardize with a ``layers.Normalization``
    whose ``adapt`` has read the source.

    Parameters
    ----------
    path_or_list_or_array : path of a ``.npy``, ``.parquet``, ``.arrow`` or ``.feather`` file or of a zarr array, a
        folder of files (in the order of their names), or a list of paths, whose rows follow each other; or an array,
        a ``numpy.memmap``, a data frame, a ``pyarrow.Table`` or a ``pyarrow.dataset.Dataset``. For a model with
        several inputs a dict of any of these by the name of the input, or one of them and a dict as ``columns``.
    y : targets, in any of these forms, with the same number of rows; or ``target``. A dict by the name of the output
        for a model with several outputs.
    columns : names of the inputs; numbers for arrays without names; by default all but those of ``target`` and
        ``sample_weight``. A dict of such lists by the name of the input for a model with several inputs.
    target : name or number of the column of targets, or a list of several; a dict of these by the name of the output.
    sample_weight : name or number of the column of sample weights, or an array (n,); or a dict of these by the name of
        the output.
    block_rows : rows of a block; by default the row groups, record batches or chunks of the files, or as many rows as
        take 4 MB in float32, a power of two of at most 65,536. A number that is smaller than a row group makes each
        row group be read several times.
    window : blocks of a window; by default all, or as many as take 64 MB in float32. More blocks mix the rows better.
    n_readers : threads that read blocks. One is enough for a local disk; reading over a network may need more.

    Raises
    ------
    ValueError
        A file of an unknown kind, a column that does not exist or does not hold numbers, or parts that do not fit.
    FileNotFoundError
        There is no such file.
    ImportError
        pyarrow or zarr is missing; the message has the line that installs it.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X = np.random.default_rng(0).normal(size=(1000, 3)).astype("float32")
    >>> rows = fastnn.data.source(X, X[:, 0] * X[:, 1], block_rows=100, window=4)
    >>> rows
    <Source rows=1,000, columns=3, blocks=10, block_rows=100, window=4>
    >>> model = fastnn.Sequential([fastnn.layers.Dense(8, "relu"), fastnn.layers.Dense(1)], seed=0)
    >>> model.compile("adam", "mse")
    >>> history = model.fit(rows, epochs=2, verbose=0)
    >>> model.predict(rows).shape
    (1000, 1)
    """
    if isinstance(path_or_list_or_array, Source):
        raise ValueError("this is a source already: use it, or its rows(begin, end)")
    for name, given in (("x", path_or_list_or_array), ("y", y), ("sample_weight", sample_weight)):
        parts = given.values() if isinstance(given, Mapping) else given if isinstance(given, list | tuple) else [given]
        if any(isinstance(each, Source) for each in parts):
            raise ValueError(f"{name} is or holds a source: give the files or arrays that it was made of")
    if y is not None and target is not None:
        raise ValueError("give y or target, not both: target is a column of x")
    if isinstance(path_or_list_or_array, Mapping):
        if target is not None:
            raise ValueError("x is a dict: give the targets as y, or give one table as x and a dict as columns")
        x: Columns | NamedColumns = _inputs_of_tables(path_or_list_or_array, columns)
        y_columns, weight = _given(y, "y"), _given(sample_weight, "sample_weight")
    else:
        tables = open_tables(path_or_list_or_array, "x")
        y_columns = _given(y, "y") if target is None else _chosen(tables, target, "target")
        weight = _weights(tables, sample_weight)
        if columns is None:
            weights = sample_weight.values() if isinstance(sample_weight, Mapping) else [sample_weight]
            taken = [*_columns_in(target), *(each for each in weights if isinstance(each, str | int))]
            x = Columns(tables, None, "columns", taken)
        else:
            x = _chosen(tables, columns, "columns", single=False)
            shared = [each for each in _columns_in(columns) if each in _columns_in(target)]
            if shared:
                raise ValueError(f"columns and target both have {shared[0]!r}")
    for other, name in ((y_columns, "y"), (weight, "sample_weight")):
        if other is not None and other.n_rows != x.n_rows:
            raise ValueError(f"x has {x.n_rows} rows, but {name} has {other.n_rows}")
    if not x.n_rows:
        raise ValueError("x is empty: at least one row is needed")
    size = None if block_rows is None else whole("block_rows", block_rows, at_least=1)
    blocks = None if window is None else whole("window", window, at_least=1)
    readers = whole("n_readers", n_readers, at_least=1, at_most=64)
    return Source(x, y_columns, weight, (0, x.n_rows), size, blocks, readers)


def _inputs_of_tables(given: Mapping[str, Any], columns: Any) -> NamedColumns:
    """Return the columns of inputs that have tables of their own."""
    if columns is not None and (not isinstance(columns, Mapping) or not columns.keys() <= given.keys()):
        raise ValueError(f"x is a dict: columns must be a dict with some of its names, {', '.join(map(repr, given))}")
    parts = {}
    for name, each in given.items():
        chosen = None if columns is None or columns.get(name) is None else _listed(columns[name])
        parts[name] = Columns(open_tables(each, f"x[{name!r}]"), chosen, f"columns[{name!r}]")
    return NamedColumns(parts, "x")


def _chosen(tables: Any, chosen: Any, argument: str, single: bool = True) -> Columns | NamedColumns:
    """Return chosen columns of tables, by name for a dict; with ``single`` the name of one gives an array (n,)."""
    if isinstance(chosen, Mapping):
        return NamedColumns(
            {name: _some(tables, each, f"{argument}[{name!r}]", single) for name, each in chosen.items()}, argument
        )
    return _some(tables, chosen, argument, single)


def _some(tables: Any, chosen: Any, argument: str, single: bool) -> Columns:
    names = _listed(chosen)
    if not names:
        raise ValueError(f"{argument} is empty: name at least one column")
    return Columns(tables, names, argument, (), single and _is_single(chosen))


def _weights(tables: Any, given: Any, argument: str = "sample_weight") -> Columns | NamedColumns | None:
    """Return sample weights, which are the name of a column of tables, or arrays or files of their own."""
    if isinstance(given, Mapping):
        parts = {name: _weights(tables, each, f"{argument}[{name!r}]") for name, each in given.items()}
        return NamedColumns({name: part for name, part in parts.items() if isinstance(part, Columns)}, argument)
    return _some(tables, given, argument, True) if isinstance(given, str | int) else _given(given, argument)


def _columns_in(chosen: Any) -> list[Any]:
    """Return the names or numbers of columns that an argument has, those in a dict among them."""
    values = chosen.values() if isinstance(chosen, Mapping) else [chosen]
    return [name for each in values for name in _listed(each)]


def _listed(names: Any) -> list[Any]:
    """Return one name or number, or several, as a list."""
    if names is None:
        return []
    if _is_single(names):
        return [names]
    return list(names)


def _is_single(target: Any) -> bool:
    return isinstance(target, str | int | np.integer)


def _given(value: Any, name: str) -> Columns | NamedColumns | None:
    """Return the columns of targets or weights that are given as arrays or files of their own."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        parts = {key: Columns(open_tables(each, f"{name}[{key!r}]"), None, name) for key, each in value.items()}
        return NamedColumns(parts, name)
    return Columns(open_tables(value, name), None, name)
