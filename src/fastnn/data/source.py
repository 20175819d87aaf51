"""A source of rows: what a model reads block by block where the rows do not fit into memory."""

import re
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import takes_keywords, whole
from fastnn.data.columns import Columns
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
    shape : (n, n_features); rows of another shape are given as they are.
    dtype : type of the inputs in the files.
    columns : names of the inputs, or None.
    targets : names of the targets, or None.
    block_rows : rows of a block, the largest one where the blocks are row groups.
    window : blocks that are in memory together, and whose rows are shuffled.
    n_readers : threads that read.
    blocks : pairs (begin, end) of the rows of each block.
    """

    def __init__(
        self,
        x: Columns,
        y: Columns | None,
        weight: Columns | None,
        rows: tuple[int, int],
        block_rows: int | None,
        window: int | None,
        n_readers: int,
    ) -> None:
        self._x, self._y, self._weight = x, y, weight
        self._begin, self._end = rows
        self._given = block_rows, window
        self.n_readers = n_readers
        self.dtype = x.dtype
        self.columns = x.names
        self.targets = None if y is None else y.names
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

    def read(self, begin: int, end: int, out: Array | None = None) -> tuple[Array, Array | None, Array | None]:
        """Return inputs (n, n_features), targets and sample weights of rows ``begin`` to ``end - 1``; None without.

        Parameters
        ----------
        begin, end : numbers of the first row and of the one after the last.
        out : array (n, n_features) that the inputs are read into, if it has their type and shape.

        Raises
        ------
        OSError
            A file cannot be read, has changed or is gone; the message names it, and the row group.
        """
        first, last = self._begin + begin, self._begin + end
        x = self._x.read(first, last, out)
        y = None if self._y is None else self._y.read(first, last)
        return x, y, None if self._weight is None else self._weight.read(first, last)

    def read_targets(self) -> tuple[Array | None, Array | None]:
        """Return the targets and the sample weights of all rows."""
        parts = (self._y, self._weight)
        y, weight = (None if each is None else each.read(self._begin, self._end) for each in parts)
        return y, weight

    def read_inputs(self, begin: int, end: int, out: Array | None = None) -> Array:
        """Return the inputs (n, n_features) of rows ``begin`` to ``end - 1``; in ``out`` as in ``read``."""
        return self._x.read(self._begin + begin, self._begin + end, out)

    def place(self, row: int, targets: bool = False) -> str:
        """Return the file, and the row group, that has the inputs or the targets of a row, for messages."""
        columns = self._y if targets and self._y is not None else self._x
        return columns.place(self._begin + row)

    def in_all_rows(self, message: str, begin: int) -> str:
        """Return a message on rows from ``begin`` on with a row's number in all rows of the files, and its file."""
        found = re.search(r"\brow (\d+)(?:, column (\d+))? \(counted from 0\)", message)
        if found is None:
            return message
        row, of_targets = begin + int(found[1]), message.startswith(("the targets of ", "the sample weights of ", "y "))
        column = "" if found[2] is None else f", column {found[2]}"
        if found[2] is not None and self.columns is not None and not of_targets:
            column += f" {self.columns[int(found[2])]!r}"
        where = f"row {self._begin + row}{column} (counted from 0)"
        place = self.place(row, of_targets)
        if place not in ("x", "y"):
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
        a ``numpy.memmap``, a data frame, a ``pyarrow.Table`` or a ``pyarrow.dataset.Dataset``.
    y : targets, in any of these forms, with the same number of rows; or ``target``.
    columns : names of the inputs; numbers for arrays without names; by default all but those of ``target`` and
        ``sample_weight``.
    target : name or number of the column of targets, or a list of several.
    sample_weight : name or number of the column of sample weights, or an array (n,).
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
    tables = open_tables(path_or_list_or_array, "x")
    if y is not None and target is not None:
        raise ValueError("give y or target, not both: target is a column of x")
    targets = _listed(target)
    weights = _listed(sample_weight) if isinstance(sample_weight, str | int) else []
    chosen = None if columns is None else _listed(columns)
    if chosen is not None and not chosen:
        raise ValueError("columns is empty: name at least one column")
    y_columns = _given(y, "y") if target is None else Columns(tables, targets, "target", (), _is_single(target))
    if weights:
        weight: Columns | None = Columns(tables, weights, "sample_weight", (), True)
    else:
        weight = _given(sample_weight, "sample_weight")
    x = Columns(tables, chosen, "columns", [*targets, *weights])
    shared = [each for each in targets if chosen is not None and each in chosen]
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


def _listed(names: Any) -> list[Any]:
    """Return one name or number, or several, as a list."""
    if names is None:
        return []
    if isinstance(names, str | int | np.integer):
        return [names]
    return list(names)


def _is_single(target: Any) -> bool:
    return isinstance(target, str | int | np.integer)


def _given(value: Any, name: str) -> Columns | None:
    """Return the columns of targets or weights that are given as arrays or files of their own."""
    return None if value is None else Columns(open_tables(value, name), None, name)
