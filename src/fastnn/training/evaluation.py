"""The loops behind ``evaluate`` and ``predict``."""

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn._arithmetic import default_arithmetic
from fastnn.callbacks import CallbackList
from fastnn.losses.custom import CustomLoss
from fastnn.network.objective import loss_names
from fastnn.network.stack import LayerStack
from fastnn.training.batches import batch_slices
from fastnn.training.native import make_held_out
from fastnn.training.outputs import Objective, empty_outputs, metric_values, of_output
from fastnn.training.rows import Rows, joined, listed, n_rows, take

if TYPE_CHECKING:
    from fastnn.training.windows import RowReader

Array = NDArray[Any]

_PRODUCTS_PER_CALL = 5e8
"""Products in one native call of prediction: about 50 ms on one slow core."""


def rows_per_call(model: LayerStack) -> int:
    """Return the rows of a native call of prediction or evaluation that takes about 50 ms."""
    return max(64, int(_PRODUCTS_PER_CALL / max(1, model.program.multiplications_per_row)))


class Evaluation:
    """Loss and metrics of rows, without training; can be run many times.

    Parameters
    ----------
    model : compiled model.
    rows : the rows, or the reader of those of a source.
    batch_size : rows in a batch, or in each; matters to callbacks and to losses that depend on batches.
    callbacks : callbacks of the fit or of the evaluation.

    Attributes
    ----------
    is_native : whether ``held_out`` and ``named`` give what ``run`` does.
    """

    def __init__(
        self,
        model: LayerStack,
        rows: "Rows | RowReader",
        batch_size: int | Sequence[int],
        callbacks: CallbackList,
    ) -> None:
        self._model = model
        self._rows = rows
        self._n = rows.n if isinstance(rows, Rows) else len(rows.source)
        self._callbacks = callbacks
        self._objective = Objective(model)
        self._names = loss_names(model)
        each_batch = callbacks.has("on_test_batch_begin", "on_test_batch_end")
        in_batches = each_batch or any(loss.depends_on_batches for loss in self._objective.losses if loss is not None)
        self._sizes = batch_size if in_batches else rows_per_call(model)
        self._running = None
        if model.metrics and callbacks.has("on_test_batch_end"):
            from fastnn.training.running import RunningMetrics

            self._running = RunningMetrics(model)
        self._predictions = empty_outputs(model, self._n) if model.metrics else None
        largest = min(self._n, self._sizes if isinstance(self._sizes, int) else max(self._sizes))
        self._activity = np.empty(largest) if model.program.penalizes_outputs else None
        self.is_native = (
            isinstance(rows, Rows)
            and not (model.metrics or model.program.penalizes_outputs)
            and not callbacks.has("on_test_begin", "on_test_end", "on_test_batch_begin", "on_test_batch_end")
            and not any(isinstance(loss, CustomLoss) for loss in self._objective.losses)
            and isinstance(self._sizes, int)
            and self._n <= self._sizes
        )

    @default_arithmetic()
    def run(self) -> dict[str, Any]:
        """Evaluate with the current weights."""
        model, callbacks, predictions = self._model, self._callbacks, self._predictions
        sums = np.zeros(1 + len(self._objective.losses))
        callbacks.call("on_test_begin", {})
        if self._running is not None:
            self._running.reset()
        seen: list[tuple[Any, Any]] = []
        with closing(self._batches()) as batches:
            for batch, (rows, place) in enumerate(batches):
                callbacks.call("on_test_batch_begin", batch, {})
                values, outputs = self._evaluate(rows)
                sums += np.array(values) * rows.n
                if predictions is not None:
                    for head in range(len(self._objective.losses)):
                        of_output(predictions, head)[place] = self._objective.activated(outputs, head)
                    if not isinstance(self._rows, Rows):
                        seen.append((rows.y, rows.sample_weight))
                batch_logs = self._logs(sums / place.stop)
                if self._running is not None:
                    batch_logs.update(self._running.update(rows.y, take(predictions, place), rows.sample_weight))
                callbacks.call("on_test_batch_end", batch, batch_logs)
        logs = self._logs(sums / self._n)
        if predictions is not None:
            if isinstance(self._rows, Rows):
                y, weight = self._rows.targets()
            else:
                y, weight = (joined(parts) for parts in zip(*seen, strict=True))
            logs.update(metric_values(model, y, predictions, weight))
        callbacks.call("on_test_end", logs)
        return logs

    def held_out(self) -> _core.HeldOut:
        """Return the rows for a fit that evaluates them between its epochs."""
        assert isinstance(self._rows, Rows)
        return make_held_out(self._model, self._rows.part(slice(None)), self._objective.logits)

    def named(self, losses: Array) -> dict[str, list[float]]:
        """Return what a fit gives for held-out rows, (n_epochs, 1 + n_losses), by the names that ``run`` returns."""
        return dict(zip(["loss", *self._names], losses.T.tolist(), strict=False))

    def _batches(self) -> Generator[tuple[Rows, slice]]:
        """Give the rows of each native call, and their place among all rows."""
        if isinstance(self._rows, Rows):
            for part in batch_slices(self._n, self._sizes):
                yield self._rows.part(part), part
            return
        assert isinstance(self._sizes, int)
        with closing(source_batches(self._rows, self._sizes)) as batches:
            for start, rows in batches:
                yield rows, slice(start, start + rows.n)

    def _logs(self, means: Array) -> dict[str, Any]:
        """Return the total loss and, with several outputs, that of each by name."""
        own = [mean for mean, loss in zip(means[1:].tolist(), self._objective.losses, strict=True) if loss is not None]
        return {"loss": float(means[0]), **dict(zip(self._names, own, strict=False))}

    def _evaluate(self, rows: Rows) -> tuple[list[float], Any]:
        """Return the mean total loss with penalties and that of each output, and the outputs, of some of the rows."""
        network = self._model.network
        penalties = None if self._activity is None else self._activity[: rows.n]
        outputs = self._objective.predict(network, rows.X, 0, penalties)
        total, values = self._objective.values(rows.y, outputs, rows.sample_weight)
        return [total + (network.penalty + (0.0 if penalties is None else float(penalties.mean()))), *values], outputs


def source_batches(reader: "RowReader", batch_size: int) -> Generator[tuple[int, Rows]]:
    """Give the rows of a source in their order, a batch at a time, each with the number of its first row."""
    from fastnn.training.windows import Windows

    windows = Windows(reader, batch_size)
    start = 0
    try:
        for window in windows.one_pass():
            for part in batch_slices(window.rows.n, batch_size)[: window.n_batches]:
                yield start, window.rows.part(part)
                start += part.stop - part.start
    finally:
        windows.close()


def predict_rows(model: LayerStack, X: Any, batch_size: int | Sequence[int], callbacks: CallbackList) -> Any:
    """Return the outputs (n, n_outputs) of inputs (n, n_features); a list for several outputs.

    ``X`` holds the inputs, or is the reader of those of a source.
    """
    is_rows = isinstance(X, list | np.ndarray)
    n = n_rows(X) if is_rows else len(X.source)
    if is_rows and n <= rows_per_call(model) and not callbacks.callbacks:
        return model.network.predict(X)
    out = empty_outputs(model, n)
    with closing(predicted(model, X, batch_size, callbacks)) as parts:
        for start, found in parts:
            for place, each in enumerate(listed(found)):
                of_output(out, place)[start : start + len(each)] = each
    return out


def predicted(
    model: LayerStack, X: Any, batch_size: int | Sequence[int], callbacks: CallbackList
) -> Generator[tuple[int, Any]]:
    """Give the outputs of ``predict_rows`` a call at a time, each with the number of its first row."""
    network = model.network
    each_batch = callbacks.has("on_predict_batch_begin", "on_predict_batch_end")
    sizes = batch_size if each_batch else rows_per_call(model)
    callbacks.call("on_predict_begin", {})
    with closing(_input_batches(X, sizes)) as batches:
        for batch, (start, part) in enumerate(batches):
            callbacks.call("on_predict_batch_begin", batch, {})
            found = network.predict(part)
            yield start, found
            callbacks.call("on_predict_batch_end", batch, {"outputs": model.in_form(found)})
    callbacks.call("on_predict_end", {})


def _input_batches(X: Any, sizes: int | Sequence[int]) -> Generator[tuple[int, Any]]:
    """Give the inputs of ``predict_rows`` in batches, each with the number of its first row."""
    if isinstance(X, list | np.ndarray):
        for part in batch_slices(n_rows(X), sizes):
            yield part.start, take(X, part)
        return
    assert isinstance(sizes, int)
    with closing(source_batches(X, sizes)) as batches:
        for start, rows in batches:
            yield start, rows.X
