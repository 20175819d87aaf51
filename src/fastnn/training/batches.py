"""Rows that arrive batch by batch: from generators, ``utils.PyDataset`` and the loaders of other libraries."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import whole
from fastnn._arrays import check_unmasked
from fastnn._structures import leaves, mapped
from fastnn._warnings import warn
from fastnn.utils import PyDataset

Array = NDArray[Any]

_STRETCH_BYTES = 1 << 26
"""Bytes from which on the batches of a stretch are trained on before more are read."""
_BATCH_BYTES = 1 << 10
"""Bytes that a batch takes apart from its numbers."""
_LARGE = 1 << 30
"""Bytes from which on the rows of a whole pass are compared with the memory that is left."""


def gives_batches(x: Any) -> bool:
    """Whether ``x`` is an iterable of batches and not array-like."""
    if isinstance(x, Sequence | Set | Mapping) or not isinstance(x, Iterable):
        return False
    return not any(hasattr(x, name) for name in ("__array__", "__array_interface__", "toarray"))


def _n_batches(source: Any) -> int | None:
    """Return the number of batches of a source; None if it does not say, or has no end."""
    if isinstance(source, PyDataset):
        return source.num_batches
    return len(source) if hasattr(source, "__len__") else None


class Stretch(NamedTuple):
    """Batches in a row that can be joined: all have the same number of rows, except for a smaller last one.

    Parameters
    ----------
    x, y, sample_weight : inputs, targets and sample weights of all rows: arrays, or lists or dicts of arrays.
    sizes : rows of each batch.
    """

    x: Any
    y: Any
    sample_weight: Any
    sizes: list[int]


class BatchSource:
    """A source of batches, read epoch by epoch, some batches at a time.

    Parameters
    ----------
    source : iterable of batches (x, y), (x, y, sample_weight) or x.
    steps : batches of an epoch; None for all that there are.
    name, steps_name : names in messages.
    n_features : columns of the inputs, if they are known.
    unpack : function of a batch that returns it with arrays for lists of one, of a model whose rows may be lists; None
        if a list in a batch holds one array for each input or output.
    check : function of the inputs of a batch and their name in messages, which may raise.

    Attributes
    ----------
    n_steps : batches of an epoch; None if only the source knows.
    """

    def __init__(
        self,
        source: Any,
        steps: Any,
        name: str,
        steps_name: str,
        n_features: int | None,
        unpack: Callable[[tuple[Any, ...]], tuple[Any, ...]] | None,
        check: Callable[[Any, str], None],
    ) -> None:
        self._steps = None if steps is None else whole(steps_name, steps, at_least=1)
        self._source = source
        self._restarts = not isinstance(source, Iterator)
        length = _n_batches(source)
        self._has_length = length is not None
        self._running: Iterator[Any] = iter(()) if self._restarts else iter(source)
        self._name, self._steps_name, self._n_features = name, steps_name, n_features
        self._unpack, self._check = unpack, check
        self._width = 0
        self.n_steps: int | None = self._steps
        if steps is None:
            self.n_steps = length

    def epoch(self) -> Iterator[Stretch]:
        """Give the stretches of the next epoch; none if an iterator has ended.

        Raises
        ------
        ValueError
            No batch in a source that starts over, or a batch that is not like the first one.
        """
        group: list[tuple[Array, ...]] = []
        n_bytes = 0
        self._notify("on_epoch_begin")
        for number, batch in enumerate(self._batches()):
            arrays = self._arrays(number, batch)
            sizes = [_length(each[0]) for each in group]
            if group and (n_bytes > _STRETCH_BYTES or sizes[-1] < sizes[0] or _length(arrays[0]) > sizes[0]):
                yield self._joined(group)
                group, n_bytes = [], 0
            group.append(arrays)
            n_bytes += _BATCH_BYTES + _n_bytes(arrays)
        if group:
            yield self._joined(group)
        self._notify("on_epoch_end")

    def _notify(self, hook: str) -> None:
        """Run a hook of ``utils.PyDataset``."""
        run = getattr(self._source, hook, None)
        if callable(run):
            run()

    def _batches(self) -> Iterator[Any]:
        """Give the batches of the next epoch."""
        if self._steps is None and self._restarts:
            self._running = iter(self._source)
        number = 0
        while self._steps is None or number < self._steps:
            try:
                batch = next(self._running)
            except StopIteration:
                if self._steps is None or not self._restarts:
                    break
                if number and self._has_length:
                    self._running = iter(())
                    break
                self._running = iter(self._source)
                batch = next(self._running, self)
                if batch is self:
                    break
            number += 1
            yield batch
        if not number and self._restarts:
            raise ValueError(f"{self._name} gave no batch")
        if number and self._steps is not None and number < self._steps:
            warn(
                f"{self._name} has no more batches: this epoch has {number}, fewer than {self._steps_name}="
                f"{self._steps}"
            )

    def _arrays(self, number: int, batch: Any) -> tuple[Array, ...]:
        """Return copies of the arrays of a batch: a source may write the next one over them."""
        parts = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
        width, self._width = self._width or len(parts), self._width or len(parts)
        if len(parts) != width or not 1 <= width <= 3:
            given = " and ".join(map(str, sorted({width, len(parts)})))
            raise ValueError(
                f"{self._name} must give batches (x, y), (x, y, sample_weight) or x, all alike, got tuples of {given}"
            )
        if self._unpack is not None:
            parts = self._unpack(parts)
        self._check(parts[0], self._name)

        def copied(part: Any) -> Array:
            check_unmasked(part, f"batch {number} (counted from 0) of {self._name}")
            return np.array(part)

        arrays = tuple(copied(part) if self._unpack is not None else _in_structure(copied, part) for part in parts)
        first = leaves(arrays[0])[0]
        if first.ndim < 2 and self._n_features not in (1, None):
            raise ValueError(
                f"{self._name} is a generator or a loader, but batch {number} (counted from 0) has shape "
                f"{first.shape}: it must give batches of rows, (rows, {self._n_features})"
            )
        if len(np.atleast_1d(first)) == 0:
            raise ValueError(f"batch {number} (counted from 0) of {self._name} has no rows")
        return tuple(mapped(np.atleast_1d, array) for array in arrays)

    def _joined(self, group: list[tuple[Any, ...]]) -> Stretch:
        """Return batches as one array, or one structure of arrays, for each part."""
        columns = list(zip(*group, strict=True))
        try:
            arrays = [_concatenated(parts) for parts in columns]
        except (ValueError, KeyError) as error:
            raise ValueError(f"the batches of {self._name} do not fit together: {error}") from None
        filled: list[Any] = [*arrays, None, None]
        return Stretch(filled[0], filled[1], filled[2], [_length(part) for part in columns[0]])

    def read_all(self) -> Stretch:
        """Return the rows of one epoch, all of them in memory.

        Raises
        ------
        ValueError
            No batch, fewer than ``steps``, or batches that do not fit together.
        MemoryError
            The rows take more memory than there is, as those of a generator without end do.
        """
        stretches: list[Stretch] = []
        n_bytes = 0
        for stretch in self.epoch():
            stretches.append(stretch)
            n_bytes += _BATCH_BYTES * len(stretch.sizes)
            n_bytes += _n_bytes([stretch.x, stretch.y, stretch.sample_weight])
            if n_bytes > _LARGE and n_bytes > _free_bytes():
                raise MemoryError(
                    f"{self._name} gives more rows than the memory holds: give {self._steps_name}, the batches to take"
                )
        if not stretches:
            raise ValueError(f"{self._name} gave no batch")
        sizes = [size for stretch in stretches for size in stretch.sizes]
        parts = [(stretch.x, stretch.y, stretch.sample_weight)[: self._width] for stretch in stretches]
        joined = self._joined([tuple(part for part in each if part is not None) for each in parts])
        return Stretch(joined.x, joined.y, joined.sample_weight, sizes)


def _in_structure(function: Callable[[Any], Any], part: Any) -> Any:
    """Return ``function`` of an array, or of each array in a list, tuple or dict of arrays."""
    if isinstance(part, Mapping):
        return {key: _in_structure(function, each) for key, each in part.items()}
    if isinstance(part, list | tuple) and part and all(hasattr(each, "shape") and np.ndim(each) for each in part):
        return [_in_structure(function, each) for each in part]
    return function(part)


def _concatenated(parts: Sequence[Any]) -> Any:
    """Return the rows of arrays, or of structures of arrays that are alike, in one."""
    if isinstance(parts[0], dict):
        return {key: _concatenated([part[key] for part in parts]) for key in parts[0]}
    if isinstance(parts[0], list):
        return [_concatenated(each) for each in zip(*parts, strict=True)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _length(part: Any) -> int:
    """Return the number of rows of an array or a structure of arrays."""
    return len(leaves(part)[0])


def _n_bytes(parts: Any) -> int:
    """Return the bytes of arrays, None among them."""
    return sum(array.nbytes for array in leaves(parts) if array is not None)


def _free_bytes() -> float:
    """Return the bytes of memory that are free now; infinity where the system does not say."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return float("inf")


def batch_slices(n: int, sizes: int | Sequence[int]) -> list[slice]:
    """Return the rows of each batch: of one size, except for the last, or of the given sizes."""
    if isinstance(sizes, int):
        return [slice(start, min(start + sizes, n)) for start in range(0, n, sizes)]
    stops = np.cumsum(sizes).tolist()
    return [slice(stop - size, stop) for stop, size in zip(stops, sizes, strict=True)]
