"""The loops behind ``evaluate`` and ``predict``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arithmetic import default_arithmetic
from fastnn.callbacks import CallbackList
from fastnn.network.objective import loss_names
from fastnn.network.stack import LayerStack
from fastnn.training.batches import batch_slices
from fastnn.training.outputs import Objective, empty_outputs, metric_values, of_output
from fastnn.training.rows import Rows, n_rows, take

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
    rows : the rows.
    batch_size : rows in a batch, or in each; matters to callbacks and to losses that depend on batches.
    callbacks : callbacks of the fit or of the evaluation.
    """

    def __init__(self, model: LayerStack, rows: Rows, batch_size: int | Sequence[int], callbacks: CallbackList) -> None:
        self._model = model
        self._rows = rows
        self._callbacks = callbacks
        self._objective = Objective(model)
        self._names = loss_names(model)
        each_batch = callbacks.has("on_test_batch_begin", "on_test_batch_end")
        in_batches = each_batch or any(loss.depends_on_batches for loss in self._objective.losses if loss is not None)
        self._parts = batch_slices(rows.n, batch_size if in_batches else rows_per_call(model))
        self._running = None
        if model.metrics and callbacks.has("on_test_batch_end"):
            from fastnn.training.running import RunningMetrics

            self._running = RunningMetrics(model)
        self._predictions = empty_outputs(model, rows.n) if model.metrics else None
        self._activity = (
            np.empty(max(p.stop - p.start for p in self._parts)) if model.program.penalizes_outputs else None
        )

    @default_arithmetic()
    def run(self) -> dict[str, Any]:
        """Evaluate with the current weights."""
        model, rows, callbacks, predictions = self._model, self._rows, self._callbacks, self._predictions
        sums = np.zeros(1 + len(self._objective.losses))
        callbacks.call("on_test_begin", {})
        if self._running is not None:
            self._running.reset()
        for batch, part in enumerate(self._parts):
            callbacks.call("on_test_batch_begin", batch, {})
            values, outputs = self._evaluate(part)
            sums += np.array(values) * (part.stop - part.start)
            if predictions is not None:
                for place in range(len(self._objective.losses)):
                    of_output(predictions, place)[part] = self._objective.activated(outputs, place)
            batch_logs = self._logs(sums / part.stop)
            if self._running is not None:
                done = rows.part(part)
                batch_logs.update(self._running.update(done.y, take(predictions, part), done.sample_weight))
            callbacks.call("on_test_batch_end", batch, batch_logs)
        logs = self._logs(sums / rows.n)
        if predictions is not None:
            y, sample_weight = rows.targets()
            logs.update(metric_values(model, y, predictions, sample_weight))
        callbacks.call("on_test_end", logs)
        return logs

    def _logs(self, means: Array) -> dict[str, Any]:
        """Return the total loss and, with several outputs, that of each by name."""
        own = [mean for mean, loss in zip(means[1:].tolist(), self._objective.losses, strict=True) if loss is not None]
        return {"loss": float(means[0]), **dict(zip(self._names, own, strict=False))}

    def _evaluate(self, part: slice) -> tuple[list[float], Any]:
        """Return the mean total loss with penalties and that of each output, and the outputs, of some of the rows."""
        network, rows = self._model.network, self._rows.part(part)
        penalties = None if self._activity is None else self._activity[: part.stop - part.start]
        outputs = self._objective.predict(network, rows.X, 0, penalties)
        total, values = self._objective.values(rows.y, outputs, rows.sample_weight)
        return [total + (network.penalty + (0.0 if penalties is None else float(penalties.mean()))), *values], outputs


def predict_rows(model: LayerStack, X: Any, batch_size: int | Sequence[int], callbacks: CallbackList) -> Any:
    """Return the outputs (n, n_outputs) of inputs (n, n_features); a list for several outputs."""
    network = model.network
    each_batch = callbacks.has("on_predict_batch_begin", "on_predict_batch_end")
    n = n_rows(X)
    if n <= rows_per_call(model) and not callbacks.callbacks:
        return network.predict(X)
    callbacks.call("on_predict_begin", {})
    out = empty_outputs(model, n)
    for batch, part in enumerate(batch_slices(n, batch_size if each_batch else rows_per_call(model))):
        callbacks.call("on_predict_batch_begin", batch, {})
        found = network.predict(take(X, part))
        for place, each in enumerate(found if isinstance(found, list) else [found]):
            of_output(out, place)[part] = each
        callbacks.call("on_predict_batch_end", batch, {"outputs": model.in_form(take(out, part))})
    callbacks.call("on_predict_end", {})
    return out
