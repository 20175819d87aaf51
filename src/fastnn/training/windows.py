"""The rows of a ``fastnn.data`` source in windows: blocks that threads read while the one before is used.

Design: a) an epoch is an order of blocks, cut into windows, and an order of the rows of each window; both come from
the model's seed and a number that counts windows, so neither the readers nor their timing change a bit; b) rows lie in
a window in the order of the source, so that one window of all blocks is the array itself, in the order of an array's
epoch; c) the rows that fill no batch are copied in front of the next window: a batch does not end where a window does;
d) there are two buffers of inputs, one in use and one that is filled. Targets are allocated for each window, because
metrics keep them; e) ranks that train together read some of the blocks each, and exchange them when the window is used.
"""

import copy
import math
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
import fastnn._ranks as _ranks
from fastnn._arithmetic import default_arithmetic
from fastnn.data.source import Source
from fastnn.network.chain import takes_missing
from fastnn.network.program import Program
from fastnn.network.stack import LayerStack
from fastnn.training.rows import Rows, check_columns_of, features_of, listed, rows_with, weigh_classes

Array = NDArray[Any]

_BLOCK_STREAM = 1 << 62
"""Keeps the order of the blocks apart from the orders of rows of the same seed."""


class RowReader:
    """Reads the rows of a source for a model, checked and converted.

    Parameters
    ----------
    model : model that takes the rows; it is not changed.
    source : the source.
    name : name of the source in messages.
    targets : whether the rows need targets.
    class_weight : as in ``fit``.
    n_features : columns that the inputs must have; by default those that the model takes.
    """

    def __init__(
        self,
        model: LayerStack,
        source: Source,
        name: str = "x",
        targets: bool = True,
        class_weight: Any = None,
        n_features: int | None = None,
    ) -> None:
        self.source = source
        self._model, self._name, self._targets = model, name, targets
        self._class_weight, self._n_features = class_weight, n_features
        # Of blocks whose inputs were checked, like those of an array once in a fit, and are used as they are.
        self._known: dict[tuple[int, int], Program] = {}
        if model.port_names() is None:
            source.check_single(name, "this model")
            self._missing = takes_missing(model.all_layers)
        else:
            width = model.n_features or n_features or math.prod(source.shape[1:])
            self._missing = any(port.missing for port in model.ports(width))
        if targets and not source.has_targets:
            raise ValueError(f"{name} is a source without targets: give it y= or target=")
        check_columns_of(model, model.feature_names_in_, source, name)

    def rows(self, begin: int, end: int) -> "RowReader":
        """Return the reader of some of the rows."""
        part = copy.copy(self)
        part.source, part._known = self.source.rows(begin, end), {}
        return part

    @property
    def program(self) -> Program:
        """The model's program for the rows; the first one is read and checked."""
        return self.read(0, 1)[1]

    @default_arithmetic()
    def read(self, begin: int, end: int, out: Array | None = None) -> tuple[Rows, Program]:
        """Return rows ``begin`` to ``end - 1`` and the model's program for them.

        Inputs of the type and shape of ``out`` are read into it.

        Raises
        ------
        ValueError
            The rows do not suit the model; the message has the number that a row has in all rows, and its file.
        """
        name, y, weight = self._name, None, None
        if self._targets:
            x, y, weight = self.source.read(begin, end, out)
        else:
            x = self.source.read_inputs(begin, end, out)
        try:
            known = self._known.get((begin, end))
            if known is not None and x is out:
                X, program = x, known
            else:
                X, program = features_of(self._model, x, name, self._n_features)
                if X is x:
                    self._known[begin, end] = program
            if not self._targets:
                return Rows(X, None, None), program
            names = (name, f"the targets of {name}", f"the sample weights of {name}")
            rows = rows_with(self._model, X, y, weight, program, names)
            return weigh_classes(rows, self._class_weight, self._model, program, True), program
        except ValueError as error:
            raise ValueError(self.source.in_all_rows(str(error), begin)) from None

    def dtype_of(self, array: Array) -> np.dtype[Any]:
        """Return the type in which inputs like these are kept: the narrower float, or whole numbers as they are.

        Whole numbers become floats where a later block may have missing values.
        """
        if array.dtype.kind == "f":
            return min(array.dtype, self._model.dtype, key=lambda dtype: dtype.itemsize)
        return self._model.dtype if self._missing else array.dtype


class Window(NamedTuple):
    """Rows that are in memory together.

    Parameters
    ----------
    rows : the rows: those that the window before has left, then those that were read.
    order : numbers of the rows in the order to take them.
    n_batches : batches to take: whole ones, and at the end of the pass also the smaller last one.
    """

    rows: Rows
    order: Array
    n_batches: int


class _Filling(NamedTuple):
    """A window that is being read into a buffer.

    Parameters
    ----------
    key : seed and number that its order comes from, and whether it is shuffled.
    arrays : room for the rows of the window before, then for those of this one.
    reads : of its blocks, those of this rank.
    order : of its rows.
    first : where the rows of each rank begin in the arrays, and where the last one's end.
    """

    key: tuple[int, int, bool]
    arrays: list[Array | None]
    reads: list[Future[None]]
    order: Future[Array]
    first: list[int]


class BlockReader(Protocol):
    """What ``Windows`` reads from, such as a ``RowReader``."""

    source: Source

    def read(self, begin: int, end: int, out: Array | None = None) -> tuple[Rows, Any]:
        """Return rows ``begin`` to ``end - 1`` and the program of the model that takes them."""

    def dtype_of(self, array: Array) -> np.dtype[Any]:
        """Return the type in which inputs like these are kept."""


class Windows:
    """Gives the rows of a source window by window, while the next window is read.

    Parameters
    ----------
    reader : reads the rows.
    batch_size : rows in a batch.
    ranks : the ranks that use the same windows, each of which reads its part of the blocks; or None.

    Attributes
    ----------
    source : the source.
    first : the rows of the first block.
    program : program of the model's network for these rows.
    n_batches : batches of a pass.
    """

    def __init__(self, reader: BlockReader, batch_size: int, ranks: _ranks.Ranks | None = None) -> None:
        self._reader, self._batch_size, self._ranks = reader, batch_size, ranks
        self.source = reader.source
        self.first, self.program = reader.read(*self.source.blocks[0])
        self.n_batches = -(-len(self.source) // batch_size)
        self._room = min(batch_size, len(self.source)) - 1
        self._types = [None if array is None else (array.dtype, array.shape[1:]) for array in self.first.arrays()]
        self._n_inputs = len(listed(self.first.X))
        for place in range(self._n_inputs):
            self._types[place] = (reader.dtype_of(listed(self.first.X)[place]), listed(self.first.X)[place].shape[1:])
        self._buffers: list[list[Array]] = [[], []]
        self._pool: ThreadPoolExecutor | None = None
        self._filling: _Filling | None = None

    def close(self) -> None:
        """End the threads, once they have read the blocks that they are at."""
        pool, self._pool, self._filling = self._pool, None, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def one_pass(
        self, seed: int = 0, number: int = 0, shuffle: bool = False, another: bool = False
    ) -> Generator[Window]:
        """Give the windows of one pass over all rows.

        The inputs of a window may be overwritten once the next one is asked for.

        Parameters
        ----------
        seed : of the orders.
        number : window k of this pass has the number ``number + k`` among the windows of all passes.
        shuffle : whether blocks and rows are shuffled.
        another : whether a pass with these arguments and the next numbers is likely to follow.
        """
        plan = self._plan(seed, number, shuffle)
        left: list[Array | None] = []
        for k, blocks in enumerate(plan):
            key = (seed, number + k, shuffle)
            filling = self._filling
            if filling is None or filling.key != key:
                filling = self._start(key, blocks)
            for read in filling.reads:
                read.result()
            self._exchange(filling)
            order = filling.order.result()
            self._filling, last = None, k + 1 == len(plan)
            if not last:
                self._filling = self._start((seed, number + k + 1, shuffle), plan[k + 1])
            elif another:
                following = (seed, number + k + 1, shuffle)
                self._filling = self._start(following, self._plan(*following)[0])
            n_left = next((len(array) for array in left if array is not None), 0)
            rows = self._behind(left, filling.arrays, n_left)
            order = np.concatenate((np.arange(n_left), order + n_left)) if n_left else order
            n_batches = -(-len(order) // self._batch_size) if last else len(order) // self._batch_size
            yield Window(rows, order, n_batches)
            tail = order[n_batches * self._batch_size :]
            left = [None if array is None else array[tail] for array in rows.arrays()]

    def _plan(self, seed: int, number: int, shuffle: bool) -> list[list[int]]:
        """Return the numbers of the blocks of each window: at least ``window`` blocks, and the rows of a batch."""
        blocks, n = self.source.blocks, len(self.source.blocks)
        order = _core.random_order(seed, number | _BLOCK_STREAM, n).tolist() if shuffle else range(n)
        windows: list[list[int]] = []
        n_rows = 0
        for block in order:
            if not windows or (len(windows[-1]) >= self.source.window and n_rows >= self._batch_size):
                windows.append([])
                n_rows = 0
            windows[-1].append(block)
            n_rows += blocks[block][1] - blocks[block][0]
        return [sorted(window) for window in windows]

    def _start(self, key: tuple[int, int, bool], blocks: Sequence[int]) -> _Filling:
        """Begin to read a window into the buffer that is not in use."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.source.n_readers, "fastnn-reader")
        if self._filling is not None:
            # Nobody has asked for it: its reads write into the buffer.
            wait(self._filling.reads)
            self._filling.order.result()
        n_rows = sum(end - begin for begin, end in (self.source.blocks[block] for block in blocks))
        self._buffers.reverse()
        arrays = self._arrays(self._room + n_rows)
        seed, number, shuffle = key
        order = self._pool.submit(_core.random_order, seed, number, n_rows) if shuffle else Future()
        if not shuffle:
            order.set_result(np.arange(n_rows))
        reads, first = [], [self._room]
        n_ranks, rank = (1, 0) if self._ranks is None else (self._ranks.size, self._ranks.rank)
        for other in range(n_ranks):
            at = first[-1]
            for block in blocks[other * len(blocks) // n_ranks : (other + 1) * len(blocks) // n_ranks]:
                begin, end = self.source.blocks[block]
                if other == rank:
                    reads.append(self._pool.submit(self._read, arrays, at, begin, end))
                at += end - begin
            first.append(at)
        return _Filling(key, arrays, reads, order, first)

    def _exchange(self, filling: _Filling) -> None:
        """Get the rows that other ranks have read."""
        if self._ranks is None:
            return
        for array in filling.arrays:
            if array is not None:
                each = array.dtype.itemsize * math.prod(array.shape[1:])
                memory = array.reshape(-1).view(np.uint8).data
                self._ranks.gather(memory, [each * row for row in filling.first])

    def _arrays(self, n: int) -> list[Array | None]:
        """Return arrays for ``n`` rows; those of inputs are in the buffer."""
        buffers = self._buffers[0]
        if not buffers or len(buffers[0]) < n:
            buffers[:] = [
                np.empty((n, *kind[1]), kind[0]) for kind in self._types[: self._n_inputs] if kind is not None
            ]
        others = [None if kind is None else np.empty((n, *kind[1]), kind[0]) for kind in self._types[self._n_inputs :]]
        return [*(buffer[:n] for buffer in buffers), *others]

    def _read(self, arrays: list[Array | None], at: int, begin: int, end: int) -> None:
        """Read a block to where it belongs in the arrays of a window."""
        places = [None if array is None else array[at : at + end - begin] for array in arrays]
        rows, _ = self._reader.read(begin, end, places[0] if self._n_inputs == 1 else None)
        for place, found in zip(places, rows.arrays(), strict=True):
            if place is not None and not np.may_share_memory(place, found):
                place[...] = found

    def _behind(self, left: list[Array | None], arrays: list[Array | None], n_left: int) -> Rows:
        """Return the rows of a window with those that the one before has left in front of them."""
        start = self._room - n_left
        for array, rest in zip(arrays, left, strict=False):
            if array is not None and rest is not None:
                array[start : self._room] = rest
        return _in_form([None if array is None else array[start:] for array in arrays], self.first)


def _in_form(arrays: list[Any], form: Rows) -> Rows:
    """Return arrays as rows: a list for each argument of ``form`` that is one."""
    remaining = iter(arrays)
    parts = (form.X, form.y, form.sample_weight)
    X, y, weight = ([next(remaining) for _ in part] if isinstance(part, list) else next(remaining) for part in parts)
    return Rows(X, y, weight)
