"""Where the rows of a fit or an evaluation come from: arrays, or batches that are collected as they are needed."""

from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

from fastnn._arguments import whole
from fastnn._warnings import warn
from fastnn.network.stack import LayerStack
from fastnn.training.batches import BatchSource, Stretch, gives_batches
from fastnn.training.rows import Fold, Rows, rows_of, split_point, validation_rows, weigh_classes


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
    if y is None and gives_batches(x):
        found = BatchSource(x, steps, "x", "steps", model.n_features, model.ports() is not None).read_all()
        return found.x, found.y, found.sample_weight, found.sizes, None
    batch = as_batch_size(batch_size)
    return x, y, sample_weight, batch, _rows_in(steps, batch, "steps")


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

    def separate(self, model: LayerStack, rows: Rows, batch_size: int) -> tuple[Rows, Rows | None]:
        """Return the rows to train on and those to validate with: the given ones, or else the last of ``rows``."""
        if self.fold is not None:
            training, held_out = self.fold.rows_of(rows)
            return training, held_out.first(_rows_in(self.steps, batch_size, "validation_steps"))
        if self.data is None and not self.split:
            return rows, None
        steps, data = self.steps, self.data
        if data is None:
            rows, held_out = rows.split(split_point(rows.n, self.split))
        else:
            if gives_batches(data):
                source = BatchSource(
                    data, steps, "validation_data", "validation_steps", model.n_features, model.ports() is not None
                )
                found = source.read_all()
                data = [part for part in (found.x, found.y, found.sample_weight) if part is not None]
                steps = None
            held_out = validation_rows(model, data, None if isinstance(rows.X, list) else rows.X.shape[1])
        return rows, held_out.first(_rows_in(steps, batch_size, "validation_steps"))


class Steps(NamedTuple):
    """Steps that one native fit makes in a row.

    Parameters
    ----------
    rows : the rows of the fit.
    batch_size : rows in a step.
    first, last : numbers of the first step, counted from 0, and of the one after the last.
    """

    rows: Rows
    batch_size: int
    first: int
    last: int


class RowSource:
    """The rows of a fit, epoch by epoch: of arrays, or of a source of batches.

    An epoch of ``steps_per_epoch`` steps over arrays goes on where the one before has ended. At the end of the rows it
    ends early, and the next one has a new order of rows.

    Parameters
    ----------
    model : compiled model; it is not changed.
    x, y, sample_weight, class_weight, batch_size, steps_per_epoch : as in ``fit``, which describes the errors, too.
    validation : arguments about validation.

    Attributes
    ----------
    program : program of the model's network for these rows.
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
    ) -> None:
        self._model = model
        self._class_weight = class_weight
        self._position = 0
        self._batches: BatchSource | None = None
        self._epoch: Iterator[Stretch] = iter(())
        if y is None and gives_batches(x):
            if sample_weight is not None or validation.split:
                raise ValueError(
                    "x gives batches: give sample_weight with them, and validation_data instead of validation_split"
                )
            self._batches = BatchSource(
                x, steps_per_epoch, "x", "steps_per_epoch", model.n_features, model.ports() is not None
            )
            self._epoch = self._batches.epoch()
            stretch = next(self._epoch, None)
            if stretch is None:
                raise ValueError("x gave no batch")
            x, y, sample_weight, batch_size = stretch.x, stretch.y, stretch.sample_weight, stretch.sizes[0]
        given, batch_size = batch_size, as_batch_size(batch_size)
        self.validation_batch_size = as_batch_size(validation.batch_size, batch_size, "validation_batch_size")
        rows, self.program = rows_of(model, x, y, sample_weight)
        rows, self.validation = validation.separate(model, rows, self.validation_batch_size)
        if model.optimizer.full_batch:
            if self._batches is not None or steps_per_epoch is not None or (given is not None and batch_size < rows.n):
                what = "a generator" if self._batches is not None else "steps_per_epoch" if given is None else "batch_size"
                raise ValueError(
                    f"{model.optimizer.title} takes all {rows.n} rows in each step, so it takes no {what}: give arrays, "
                    "and leave batch_size and steps_per_epoch out"
                )
            batch_size = rows.n
        rows = weigh_classes(rows, class_weight, model, self.program, self._batches is not None)
        self.first = Steps(rows, batch_size, 0, -(-rows.n // batch_size))
        self.same_rows = self._batches is None
        self._per_epoch = self.first.last
        if self._batches is None and steps_per_epoch is not None:
            self._per_epoch = whole("steps_per_epoch", steps_per_epoch, at_least=1)
        self.n_steps = self._per_epoch if self._batches is None else self._batches.n_steps

    def skip(self, n_epochs: int) -> None:
        """Go on as if ``n_epochs`` epochs had been trained; a source of batches begins with its first."""
        whole_pass = self.first.last
        self._position = n_epochs % -(-whole_pass // self._per_epoch) * self._per_epoch

    def __iter__(self) -> Iterator[Iterator[Steps]]:
        """Give the steps of one epoch after the other, without end or until the batches end."""
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
        rows, batch_size, _, end = self.first
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
