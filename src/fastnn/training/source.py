"""Where the rows of a fit or an evaluation come from: arrays, sources, or batches collected as they are needed."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastnn._ranks as _ranks
from fastnn._arguments import whole
from fastnn._arrays import is_source
from fastnn._warnings import warn
from fastnn.network.program import Program
from fastnn.network.stack import LayerStack
from fastnn.training.batches import BatchSource, Stretch, gives_batches
from fastnn.training.rows import (
    Fold,
    Rows,
    batch_of_chain,
    check_columns_of,
    columns_of,
    rows_of,
    split_point,
    validation_rows,
    weigh_classes,
)

if TYPE_CHECKING:
    from fastnn.data.source import Source
    from fastnn.training.windows import RowReader, Windows

Array = NDArray[Any]


def source_rows(
    model: LayerStack, x: "Source", y: Any, sample_weight: Any, batch_size: int, steps: Any, targets: bool = True
) -> "RowReader":
    """Return a reader of the rows of a source to evaluate or, without targets, to predict.

    Raises
    ------
    ValueError
        Targets or weights are given in addition to the source, or the source has no targets.
    """
    from fastnn.training.windows import RowReader

    _refuse_beside_source(y=y, sample_weight=sample_weight)
    n = _rows_in(steps, batch_size, "steps")
    return RowReader(model, x if n is None else x.rows(0, min(n, len(x))), targets=targets)


def _refuse_beside_source(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"x is a source: give {name} to fastnn.data.source, not to this call")


def _refuse_parts(model: LayerStack, rows: str, given: dict[str, bool]) -> None:
    """Raise ValueError for an argument that gives an optimizer of full batches fewer rows at a time."""
    for name in (name for name, is_given in given.items() if is_given):
        raise ValueError(
            f"{model.optimizer.title} takes all {rows} in each step: it takes no {name}. Give x and y as arrays, and "
            "leave batch_size and steps_per_epoch out"
        )


def one_pass(
    model: LayerStack, x: Any, y: Any, sample_weight: Any, batch_size: Any, steps: Any
) -> tuple[Any, Any, Any, int | list[int], int | None]:
    """Return the arguments of ``evaluate`` or ``predict`` as arrays: ``x`` is read once if it gives batches.

    Returns
    -------
    x, y, sample_weight, batch_size, n
        ``batch_size`` is a list where ``x`` gives batches. ``n`` is the number of rows to take, the first ones; None
        for all.
    """
    _refuse_targets(x, y)
    if y is None and gives_batches(x):
        if sample_weight is not None:
            raise ValueError("x gives batches: give sample_weight with them, as (x, y, sample_weight)")
        _warn_of_sizes(batch_size)
        found = _batches_of(model, x, steps, "x", "steps", _Columns(model).learn).read_all()
        return found.x, found.y, found.sample_weight, found.sizes, None
    batch = as_batch_size(batch_size)
    return x, y, sample_weight, batch, _rows_in(steps, batch, "steps")


def _refuse_targets(x: Any, y: Any) -> None:
    """Raise ValueError for targets in addition to batches, which give their own."""
    if y is not None and not isinstance(x, np.ndarray) and gives_batches(x):
        raise ValueError("x is a generator or a loader, and y is given too: it must give batches (x, y)")


class _Columns:
    """The names of the columns of a fit: those that the model knows, or else those of the first data frame."""

    def __init__(self, model: LayerStack) -> None:
        self._model, self.names = model, model.feature_names_in_

    def learn(self, x: Any, name: str) -> None:
        """Check the columns of inputs; those of the first frame become known."""
        self.check(x, name)
        self.names = self.names or columns_of(self._model, x, name)

    def check(self, x: Any, name: str) -> None:
        """Raise ValueError if inputs are frames with other columns."""
        check_columns_of(self._model, self.names, x, name)


def _batches_of(
    model: LayerStack, x: Any, steps: Any, name: str, steps_name: str, check: Callable[[Any, str], None]
) -> BatchSource:
    unpack = partial(batch_of_chain, model) if model.port_names() is None else None
    return BatchSource(x, steps, name, steps_name, model.n_features, unpack, check)


def _warn_of_sizes(batch_size: Any) -> None:
    """Check a number of rows in a batch, and warn that it has no effect because ``x`` gives batches."""
    if batch_size is not None:
        warn(f"batch_size={as_batch_size(batch_size)} has no effect: x gives batches; give them that many rows")


def as_batch_size(value: Any, default: int = 32, name: str = "batch_size") -> int:
    """Return a checked number of rows in a batch; the default for None."""
    return default if value is None else whole(name, value, at_least=1)


def _rows_in(steps: Any, batch_size: int, name: str) -> int | None:
    """Return the rows of a number of batches; None for None."""
    return None if steps is None else whole(name, steps, at_least=1) * batch_size


class Validation(NamedTuple):
    """The arguments of ``fit`` whose names begin with ``validation_``, unchecked; or the fold that says the rows."""

    data: Any = None
    split: Any = 0.0
    steps: Any = None
    batch_size: Any = None
    fold: Fold | None = None
    freq: Any = 1

    def warn_of_ignored(self) -> None:
        """Warn of arguments that have no effect: without rows to validate with, or as these come in batches."""
        given = {"validation_steps": self.steps, "validation_batch_size": self.batch_size}
        given = {name: None if value is None else whole(name, value, at_least=1) for name, value in given.items()}
        given["validation_freq"] = None if self.freq == 1 else self.freq
        if self.data is not None and self.split:
            warn(f"validation_split={self.split} has no effect: validation_data is given")
        why = "there is nothing to validate with; give validation_data or validation_split"
        if self.fold is not None or self.data is not None or self.split:
            if not gives_batches(self.data):
                return
            why = "validation_data gives batches; give them that many rows"
            given = {"validation_batch_size": given["validation_batch_size"]}
        for name, value in given.items():
            if value is not None:
                warn(f"{name}={value} has no effect: {why}")

    def separate(
        self, model: LayerStack, rows: Rows, program: Program, batch_size: int, columns: _Columns
    ) -> "tuple[Rows, Rows | RowReader | None]":
        """Return the rows to train on and those to validate with: the given ones, or else the last of ``rows``."""
        if self.fold is not None:
            training, held_out = self.fold.rows_of(rows)
            return training, held_out.first(_rows_in(self.steps, batch_size, "validation_steps"))
        if self.data is None and not self.split:
            return rows, None
        steps, data = self.steps, self.data
        if is_source(data):
            from fastnn.training.windows import RowReader

            columns.check(data, "validation_data")
            n = _rows_in(steps, batch_size, "validation_steps")
            part = data if n is None else data.rows(0, min(n, len(data)))
            return rows, RowReader(model, part, "validation_data", n_features=program.n_features)
        if data is None:
            rows, held_out = rows.split(split_point(rows.n, self.split))
        else:
            if gives_batches(data):
                found = _batches_of(model, data, steps, "validation_data", "validation_steps", columns.check).read_all()
                data = [part for part in (found.x, found.y, found.sample_weight) if part is not None]
                steps = None
            elif isinstance(data, tuple | list) and data:
                columns.check(data[0], "validation_data[0]")
            held_out = validation_rows(model, data, program.n_features)
        return rows, held_out.first(_rows_in(steps, batch_size, "validation_steps"))


class Steps(NamedTuple):
    """Steps that one native fit makes in a row.

    Parameters
    ----------
    rows : the rows of the fit.
    batch_size : rows in a step.
    first, last : numbers of the first step, counted from 0, and of the one after the last.
    order : numbers of the rows in the order to take them, where the rows are a window of a source.
    """

    rows: Rows
    batch_size: int
    first: int
    last: int
    order: Array | None = None


class RowSource:
    """The rows of a fit, epoch by epoch: of arrays, of a ``fastnn.data`` source, or of batches.

    An epoch of ``steps_per_epoch`` steps over arrays continues where the last one ended. At the end of the rows it
    ends early, and the next one has a new order of rows.

    Parameters
    ----------
    model : compiled model; it is not changed.
    x, y, sample_weight, class_weight, batch_size, steps_per_epoch : as in ``fit``, which describes the errors, too.
    validation : arguments about validation.
    shuffle : whether the rows of a source get a new order every epoch.

    Attributes
    ----------
    program : program of the model's network for these rows.
    columns : names of the columns, if the rows come in data frames.
    first : the first steps.
    n_steps : steps of an epoch; None if a source of batches does not say.
    same_rows : whether all epochs are made of the same rows.
    validation : rows to evaluate after an epoch, or None.
    validation_batch_size : rows in a batch of the evaluation.
    """

    def __init__(
        self,
        model: LayerStack,
        x: Any,
        y: Any,
        sample_weight: Any,
        class_weight: Any,
        batch_size: Any,
        steps_per_epoch: Any,
        validation: Validation,
        shuffle: bool,
    ) -> None:
        self._model = model
        self._class_weight = class_weight
        self._position = 0
        self._shuffle = shuffle
        self._batches: BatchSource | None = None
        columns = _Columns(model)
        self._windows: Windows | None = None
        self._epoch: Iterator[Stretch] = iter(())
        if model.optimizer.full_batch:
            batches = y is None and (is_source(x) or gives_batches(x))
            _refuse_parts(model, "rows", {"batches of rows": batches, "steps_per_epoch": steps_per_epoch is not None})
        validation.warn_of_ignored()
        if is_source(x):
            _refuse_beside_source(y=y, sample_weight=sample_weight)
            self._open_windows(x, class_weight, batch_size, steps_per_epoch, validation)
            return
        _refuse_targets(x, y)
        if y is None and gives_batches(x):
            if sample_weight is not None or validation.split:
                raise ValueError(
                    "x gives batches: give sample_weight with them, and validation_data instead of validation_split"
                )
            _warn_of_sizes(batch_size)
            self._batches = _batches_of(model, x, steps_per_epoch, "x", "steps_per_epoch", columns.learn)
            self._epoch = self._batches.epoch()
            stretch = next(self._epoch, None)
            if stretch is None:
                raise ValueError("x gave no batch")
            x, y, sample_weight, batch_size = stretch.x, stretch.y, stretch.sample_weight, stretch.sizes[0]
        columns.learn(x, "x")
        self.columns = columns.names
        given, batch_size = batch_size, as_batch_size(batch_size)
        self.validation_batch_size = as_batch_size(validation.batch_size, batch_size, "validation_batch_size")
        rows, self.program = rows_of(model, x, y, sample_weight)
        rows, self.validation = validation.separate(model, rows, self.program, self.validation_batch_size, columns)
        if model.optimizer.full_batch:
            _refuse_parts(model, f"{rows.n} rows", {"batch_size": given is not None and batch_size < rows.n})
            batch_size = rows.n
        rows = weigh_classes(rows, class_weight, model, self.program, self._batches is not None)
        self.first = Steps(rows, batch_size, 0, -(-rows.n // batch_size))
        self.same_rows = self._batches is None
        self._per_epoch = self.first.last
        if self._batches is None and steps_per_epoch is not None:
            self._per_epoch = whole("steps_per_epoch", steps_per_epoch, at_least=1)
        self.n_steps = self._per_epoch if self._batches is None else self._batches.n_steps

    def _open_windows(
        self, x: "Source", class_weight: Any, batch_size: Any, steps_per_epoch: Any, validation: Validation
    ) -> None:
        """Read the first block of a source, and prepare to read the others."""
        from fastnn.training.windows import RowReader, Windows

        if validation.split:
            raise ValueError(
                "x is a source: instead of validation_split give validation_data, such as x.rows(begin, end)"
            )
        if steps_per_epoch is not None:
            raise ValueError("x is a source: instead of steps_per_epoch give a part of it, x.rows(begin, end)")
        size = as_batch_size(batch_size)
        self.validation_batch_size = as_batch_size(validation.batch_size, size, "validation_batch_size")
        reader = RowReader(self._model, x, class_weight=class_weight)
        columns = _Columns(self._model)
        columns.learn(x, "x")
        self.columns = columns.names
        windows = Windows(reader, size, _ranks.current())
        rows, self.program = windows.first, windows.program
        _, self.validation = validation.separate(self._model, rows, self.program, self.validation_batch_size, columns)
        self.first = Steps(rows, size, 0, 0)
        self.n_steps, self.same_rows = windows.n_batches, False
        self._windows = windows

    def close(self) -> None:
        """End the threads that read."""
        if self._windows is not None:
            self._windows.close()

    def _steps_of_windows(self, windows: "Windows") -> Iterator[Steps]:
        """Give the steps of an epoch over a source: of one window after the other."""
        number = self._model.epochs_begun + 1
        for window in windows.one_pass(self._model.seed, number, self._shuffle, another=True):
            yield Steps(window.rows, self.first.batch_size, 0, window.n_batches, window.order)

    def skip(self, n_epochs: int) -> None:
        """Continue as if ``n_epochs`` epochs had been trained; a source of batches begins with its first."""
        if self._windows is not None:
            return  # the model's counters say where it continues
        whole_pass = self.first.last
        self._position = n_epochs % -(-whole_pass // self._per_epoch) * self._per_epoch

    def __iter__(self) -> Iterator[Iterator[Steps]]:
        """Give the steps of one epoch after the other, without end or until the batches end."""
        if self._windows is not None:
            while True:
                yield self._steps_of_windows(self._windows)
        if self._batches is None:
            while True:
                yield iter([self._next_steps()])
        yield chain([self.first], map(self._steps_of, self._epoch))
        while True:
            self._epoch = self._batches.epoch()
            stretch = next(self._epoch, None)
            if stretch is None:
                warn("x has no more batches: fit ends before the last epoch")
                return
            yield map(self._steps_of, chain([stretch], self._epoch))

    def _next_steps(self) -> Steps:
        """Return the steps of the next epoch of arrays."""
        rows, batch_size, _, end, _ = self.first
        if self._per_epoch == end:
            return self.first
        first, last = self._position, min(self._position + self._per_epoch, end)
        if last - first < self._per_epoch:
            warn(
                f"x has no more rows for this epoch: it has {last - first} batches, fewer than steps_per_epoch="
                f"{self._per_epoch}, and the next one starts over"
            )
        self._position = last % end
        return Steps(rows, batch_size, first, last)

    def _steps_of(self, stretch: Stretch) -> Steps:
        """Return the steps of batches that follow the first ones."""
        rows, program = rows_of(self._model, stretch.x, stretch.y, stretch.sample_weight)
        rows = weigh_classes(rows, self._class_weight, self._model, program, True)
        return Steps(rows, stretch.sizes[0], 0, len(stretch.sizes))
