"""Where the rows of a fit or an evaluation come from: arrays, or batches that are collected for each epoch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastnn._arguments import whole
from fastnn._warnings import warn
from fastnn.network.stack import LayerStack
from fastnn.training.batches import BatchSource, Pass, gives_batches, read_once
from fastnn.training.rows import Rows, rows_of, split_point, validation_rows, weigh_classes


def one_pass(x: Any, y: Any, sample_weight: Any, batch_size: Any, steps: Any) -> tuple[Any, Any, Any, int, int | None]:
    """Return the arguments of ``evaluate`` or ``predict`` as arrays: ``x`` is read once if it gives batches.

    Returns
    -------
    x, y, sample_weight, batch_size, n
        ``n`` is the number of rows to take, the first ones; None for all.
    """
    if y is None and gives_batches(x):
        return *read_once(x, steps, "x", "steps"), None
    batch = as_batch_size(batch_size)
    return x, y, sample_weight, batch, _rows_in(steps, batch, "steps")


def as_batch_size(value: Any, default: int = 32, name: str = "batch_size") -> int:
    """Return a checked number of rows in a batch; the default for None."""
    return default if value is None else whole(name, value, at_least=1)


def _rows_in(steps: Any, batch_size: int, name: str) -> int | None:
    """Return the rows of a number of batches; None for None."""
    return None if steps is None else whole(name, steps, at_least=1) * batch_size


@dataclass(frozen=True)
class Validation:
    """The arguments of ``fit`` whose names begin with ``validation_``, unchecked."""

    data: Any = None
    split: Any = 0.0
    steps: Any = None
    batch_size: Any = None

    def separate(self, model: LayerStack, rows: Rows, batch_size: int) -> tuple[Rows, Rows | None]:
        """Return the rows to train on and those to validate with: the given ones, or else the last of ``rows``."""
        if self.data is None and not self.split:
            return rows, None
        steps, data = self.steps, self.data
        if data is None:
            rows, held_out = rows.split(split_point(rows.n, self.split))
        else:
            if gives_batches(data):
                *data, _ = read_once(data, steps, "validation_data", "validation_steps")
                steps = None
            held_out = validation_rows(model, data, rows.X.shape[1])
        return rows, held_out.first(_rows_in(steps, batch_size, "validation_steps"))


class RowSource:
    """The rows of a fit, epoch by epoch: the same arrays every time, or the next pass of a source of batches.

    All rows of an epoch are in memory. A later pass is copied over the earlier one, because the native fit and the
    metrics hold on to the arrays of the first epoch.

    Parameters
    ----------
    model : compiled model; it is not changed.
    x, y, sample_weight, class_weight, batch_size, steps_per_epoch : as in ``fit``, which describes the errors, too.
    validation : arguments about validation.

    Attributes
    ----------
    program : program of the model's network for these rows.
    rows : rows of the current epoch; their weights include those of the classes.
    batch_size : rows in a step.
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
        self._batches: BatchSource | None = None
        if y is None and gives_batches(x):
            self._batches = BatchSource(x, steps_per_epoch, "x", "steps_per_epoch")
            if sample_weight is not None or validation.split:
                raise ValueError(
                    "x gives batches: give sample_weight with them, and validation_data instead of validation_split"
                )
            x, y, sample_weight = self._batches.read()
            batch_size, steps_per_epoch = self._batches.batch_size, None
        self.batch_size = as_batch_size(batch_size)
        self.validation_batch_size = as_batch_size(validation.batch_size, self.batch_size, "validation_batch_size")
        rows, self.program = rows_of(model, x, y, sample_weight)
        rows, self.validation = validation.separate(model, rows, self.validation_batch_size)
        self.rows = self._weighed(rows)
        if steps_per_epoch is not None and whole("steps_per_epoch", steps_per_epoch, at_least=1) != self.n_steps:
            raise ValueError(
                f"steps_per_epoch={steps_per_epoch}, but an epoch is all {self.rows.n} rows, {self.n_steps} batches of "
                f"{self.batch_size}: leave steps_per_epoch out, and give fewer rows for shorter epochs"
            )

    @property
    def n_steps(self) -> int:
        """Steps of an epoch."""
        return -(-self.rows.n // self.batch_size)

    @property
    def same_rows(self) -> bool:
        """Whether every epoch has the same rows."""
        return self._batches is None

    def __iter__(self) -> Iterator[Rows]:
        """Give the rows of one epoch after the other, without end or until the batches end."""
        yield self.rows
        while self._batches is None or self._take(self._batches.read_next()):
            yield self.rows

    def _take(self, following: Pass | None) -> bool:
        """Copy the next epoch's rows over the current ones; return False if there are none."""
        if following is None:
            warn("x has no more batches: fit ends before the last epoch")
            return False
        old, new = self.rows, self._weighed(rows_of(self._model, *following)[0])
        for before, after in ((old.X, new.X), (old.y, new.y), (old.sample_weight, new.sample_weight)):
            shapes = [None if array is None else array.shape for array in (before, after)]
            if shapes[0] != shapes[1]:
                raise ValueError(
                    f"x gives an array of shape {shapes[1]} where the first epoch had {shapes[0]}: every epoch must "
                    "have the same number of rows"
                )
            if before is not None and after is not None:
                before[...] = after
        return True

    def _weighed(self, rows: Rows) -> Rows:
        """Return the rows with the weights of their classes."""
        return weigh_classes(rows, self._class_weight, self._model, self.program.n_outputs)
