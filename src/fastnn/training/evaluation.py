"""The loops behind ``evaluate`` and ``predict``."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn._arithmetic import default_arithmetic
from fastnn.callbacks import CallbackList
from fastnn.losses import Loss
from fastnn.losses.custom import CustomLoss
from fastnn.network.program import loss_options, skips_final_activation
from fastnn.network.stack import LayerStack
from fastnn.training.batches import batch_slices
from fastnn.network.objective import loss_names
from fastnn.training.outputs import empty_outputs, metric_values, of_output
from fastnn.training.rows import Rows, n_rows, take
from fastnn.training.running import RunningMetrics

Array = NDArray[Any]

_PRODUCTS_PER_CALL = 5e8
"""Products in one native call of prediction: about 50 ms on one slow core."""


def rows_per_call(model: LayerStack) -> int:
    """Return the rows of a native call of prediction or evaluation that takes about 50 ms."""
    return max(64, int(_PRODUCTS_PER_CALL / model.program.multiplications_per_row))


def loss_of_outputs(
    loss: Loss, options: Mapping[str, Any], y: Array, outputs: Array, sample_weight: Array | None
) -> float:
    """Return the loss of given outputs, without penalties.

    Parameters
    ----------
    loss : any loss, also one written in Python.
    options : ``loss_options`` of the loss and the network.
    y : targets.
    outputs : of the network; the values before its last activation where ``skips_final_activation``.
    sample_weight : (n,) or None.
    """
    if isinstance(loss, CustomLoss):
        return loss(y, outputs, sample_weight)
    value, _ = _core.loss_and_gradient(loss.core_name, y, outputs, sample_weight, False, **options)
    return value


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
        self._losses, self._heads = model.losses_of_outputs, model.program.heads
        pairs = list(zip(self._losses, self._heads, strict=True))
        self._options = [{} if loss is None else loss_options(loss, head) for loss, head in pairs]
        self._logits = [loss is not None and skips_final_activation(loss, head) for loss, head in pairs]
        self._names = loss_names(model)
        each_batch = callbacks.has("on_test_batch_begin", "on_test_batch_end")
        in_batches = each_batch or any(loss.depends_on_batches for loss in self._losses if loss is not None)
        self._parts = batch_slices(rows.n, batch_size if in_batches else rows_per_call(model))
        self._running = RunningMetrics(model) if model.metrics and callbacks.has("on_test_batch_end") else None
        self._predictions = empty_outputs(model, rows.n) if model.metrics else None
        self._activity = (
            np.empty(max(p.stop - p.start for p in self._parts)) if model.program.penalizes_outputs else None
        )

    @default_arithmetic()
    def run(self) -> dict[str, Any]:
        """Evaluate with the current weights."""
        model, rows, callbacks, predictions = self._model, self._rows, self._callbacks, self._predictions
        sums = np.zeros(1 + len(self._losses))
        callbacks.call("on_test_begin", {})
        if self._running is not None:
            self._running.reset()
        for batch, part in enumerate(self._parts):
            callbacks.call("on_test_batch_begin", batch, {})
            values, outputs = self._evaluate(part)
            sums += np.array(values) * (part.stop - part.start)
            if predictions is not None:
                for place, (head, skipped) in enumerate(zip(self._heads, self._logits, strict=True)):
                    given = of_output(outputs, place)
                    found = _core.activation(str(head.final_activation), given) if skipped else given
                    of_output(predictions, place)[part] = found
            batch_logs = self._logs(sums / part.stop)
            if self._running is not None:
                done = rows.part(part)
                batch_logs.update(self._running.update(done.y, take(predictions, part), done.sample_weight))
            callbacks.call("on_test_batch_end", batch, batch_logs)
        logs = self._logs(sums / rows.n)
        if predictions is not None:
            logs.update(metric_values(model, rows.y, predictions, rows.sample_weight))
        callbacks.call("on_test_end", logs)
        return logs

    def _logs(self, means: Array) -> dict[str, Any]:
        """Return the total loss and, with several outputs, that of each by name."""
        own = [mean for mean, loss in zip(means[1:].tolist(), self._losses, strict=True) if loss is not None]
        return {"loss": float(means[0]), **dict(zip(self._names, own, strict=False))}

    def _evaluate(self, part: slice) -> tuple[list[float], Any]:
        """Return the mean total loss with penalties and that of each output, and the outputs, of some of the rows."""
        model, rows = self._model, self._rows.part(part)
        network = model.network
        penalties = None if self._activity is None else self._activity[: part.stop - part.start]
        chain = model.program.is_chain
        outputs = network.predict(rows.X, None, 0, self._logits[0] if chain else self._logits, penalties)
        outputs = outputs if chain or isinstance(outputs, list) else [outputs]
        total, values = 0.0, []
        for place, loss in enumerate(self._losses):
            values.append(0.0)
            if loss is not None:
                y, weight = of_output(rows.y, place), of_output(rows.sample_weight, place)
                given = of_output(outputs, place)
                values[-1] = loss_of_outputs(loss, self._options[place], y, given, weight)
                total += model.loss_weights[place] * values[-1]
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
