"""Rows that arrive batch by batch: from generators, ``utils.PyDataset`` and the loaders of other libraries."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import whole

Array = NDArray[Any]
Pass = tuple[Array, Array | None, Array | None]
"""Inputs, targets and sample weights of the rows of one pass."""


def gives_batches(x: Any) -> bool:
    """Whether ``x`` is an iterable of batches and not array-like."""
    if isinstance(x, Sequence | Set | Mapping) or not isinstance(x, Iterable):
        return False
    return not any(hasattr(x, name) for name in ("__array__", "__array_interface__", "toarray"))


class BatchSource:
    """A source of batches, read pass by pass: the rows of an epoch, or of an evaluation.

    Parameters
    ----------
    source : iterable of batches (x, y), (x, y, sample_weight) or x; all of one size, except a smaller last one.
    steps : batches of a pass; None for all. An iterator, which may have no end, needs a number.
    name, steps_name : names in messages.

    Attributes
    ----------
    batch_size : rows in a batch; known after the first pass.
    """

    def __init__(self, source: Any, steps: Any, name: str, steps_name: str) -> None:
        self._repeats = not isinstance(source, Iterator)
        if steps is None and not self._repeats:
            raise ValueError(f"{name} is a generator, which may have no end: give {steps_name}, the batches to take")
        self._steps = None if steps is None else whole(steps_name, steps, at_least=1)
        self._source = source
        self._running: Iterator[Any] = iter(() if steps is None else source)
        self._name, self._steps_name = name, steps_name
        self.batch_size = 0

    def read(self) -> Pass:
        """Return the rows of the first pass.

        Raises
        ------
        ValueError
            No batch, fewer than ``steps``, or batches that do not fit together.
        """
        found = self.read_next()
        if found is None:
            raise ValueError(f"{self._name} gave fewer batches than {self._steps_name}={self._steps} asks for")
        return found

    def read_next(self) -> Pass | None:
        """Return the rows of the next pass; None if an iterator has too few batches left."""
        batches = self._next_batches()
        if self._steps is not None and len(batches) < self._steps:
            return None
        if not batches:
            raise ValueError(f"{self._name} gave no batch")
        widths = {len(batch) for batch in batches}
        if len(widths) > 1 or not 1 <= len(batches[0]) <= 3:
            raise ValueError(
                f"{self._name} must give batches (x, y), (x, y, sample_weight) or x, all alike, got tuples of "
                f"{' and '.join(map(str, sorted(widths)))}"
            )
        columns = [[np.asarray(part) for part in parts] for parts in zip(*batches, strict=True)]
        self._check_sizes([len(part) for part in columns[0]])
        try:
            arrays = [np.concatenate(parts) for parts in columns]
        except ValueError as error:
            raise ValueError(f"the batches of {self._name} do not fit together: {error}") from None
        return arrays[0], arrays[1] if len(arrays) > 1 else None, arrays[2] if len(arrays) > 2 else None

    def _next_batches(self) -> list[tuple[Any, ...]]:
        if self._steps is None:
            found = list(self._source)
        else:
            found = list(islice(self._running, self._steps))
            while self._repeats and len(found) < self._steps:
                self._running = iter(self._source)
                more = list(islice(self._running, self._steps - len(found)))
                if not more:
                    break
                found += more
        return [tuple(batch) if isinstance(batch, tuple | list) else (batch,) for batch in found]

    def _check_sizes(self, sizes: list[int]) -> None:
        self.batch_size = self.batch_size or sizes[0]
        for number, size in enumerate(sizes):
            if size == 0:
                raise ValueError(f"batch {number} (counted from 0) of {self._name} has no rows")
            if size != self.batch_size and not (size < self.batch_size and number == len(sizes) - 1):
                raise ValueError(
                    f"batch {number} (counted from 0) of {self._name} has {size} rows, the first one "
                    f"{self.batch_size}: all but the last must have the same size"
                )


def read_once(source: Any, steps: Any, name: str, steps_name: str) -> tuple[Array, Array | None, Array | None, int]:
    """Return inputs, targets, sample weights and the rows in a batch of one pass; arguments as in ``BatchSource``."""
    batches = BatchSource(source, steps, name, steps_name)
    return *batches.read(), batches.batch_size
