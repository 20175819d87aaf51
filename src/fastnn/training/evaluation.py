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
from fastnn.training.metrics import spread
from fastnn.training.rows import Rows
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


def metric_values(model: LayerStack, y_true: Array, outputs: Array, weight: Array | None) -> dict[str, Any]:
    """Return the model's metrics by name, computed from the outputs that predict targets: the first ones."""
    y_pred = outputs[:, : model.loss.target_columns(outputs.shape[1])]
    return spread({metric.name: metric(y_true, y_pred, weight) for metric in model.metrics})


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
        self._options = loss_options(model.loss, model.program)
        self._logits = skips_final_activation(model.loss, model.program)
        each_batch = callbacks.has("on_test_batch_begin", "on_test_batch_end")
        in_batches = each_batch or model.loss.depends_on_batches
        self._parts = batch_slices(rows.n, batch_size if in_batches else rows_per_call(model))
        self._running = RunningMetrics(model) if model.metrics and callbacks.has("on_test_batch_end") else None
        network = model.network
        self._predictions = np.empty((rows.n, network.n_outputs), network.dtype) if model.metrics else None
        self._activity = (
            np.empty(max(p.stop - p.start for p in self._parts)) if model.program.penalizes_outputs else None
        )

    @default_arithmetic()
    def run(self) -> dict[str, Any]:
        """Evaluate with the current weights."""
        model, rows, callbacks, predictions = self._model, self._rows, self._callbacks, self._predictions
        loss_sum = 0.0
        callbacks.call("on_test_begin", {})
        if self._running is not None:
            self._running.reset()
        for batch, part in enumerate(self._parts):
            callbacks.call("on_test_batch_begin", batch, {})
            value, outputs = self._evaluate(part)
            loss_sum += value * (part.stop - part.start)
            if predictions is not None:
                final = model.program.final_activation
                predictions[part] = _core.activation(str(final), outputs) if self._logits else outputs
            batch_logs: dict[str, Any] = {"loss": loss_sum / part.stop}
            if self._running is not None and predictions is not None:
                weight = None if rows.sample_weight is None else rows.sample_weight[part]
                batch_logs.update(self._running.update(rows.y[part], predictions[part], weight))
            callbacks.call("on_test_batch_end", batch, batch_logs)
        logs: dict[str, Any] = {"loss": loss_sum / rows.n}
        if predictions is not None:
            logs.update(metric_values(model, rows.y, predictions, rows.sample_weight))
        callbacks.call("on_test_end", logs)
        return logs

    def _evaluate(self, part: slice) -> tuple[float, Array]:
        """Return the mean loss with penalties, and the outputs, of some of the rows."""
        network, rows = self._model.network, self._rows
        weight = None if rows.sample_weight is None else rows.sample_weight[part]
        penalties = None if self._activity is None else self._activity[: part.stop - part.start]
        outputs = network.predict(rows.X[part], None, 0, self._logits, penalties)
        value = loss_of_outputs(self._model.loss, self._options, rows.y[part], outputs, weight)
        return value + (network.penalty + (0.0 if penalties is None else float(penalties.mean()))), outputs


def predict_rows(model: LayerStack, X: Array, batch_size: int | Sequence[int], callbacks: CallbackList) -> Array:
    """Return the outputs (n, n_outputs) of inputs (n, n_features)."""
    network = model.network
    each_batch = callbacks.has("on_predict_batch_begin", "on_predict_batch_end")
    n = X.shape[0]
    if n <= rows_per_call(model) and not callbacks.callbacks:
        return network.predict(X)
    callbacks.call("on_predict_begin", {})
    out = np.empty((n, network.n_outputs), network.dtype)
    for batch, part in enumerate(batch_slices(n, batch_size if each_batch else rows_per_call(model))):
        callbacks.call("on_predict_batch_begin", batch, {})
        out[part] = network.predict(X[part])
        callbacks.call("on_predict_batch_end", batch, {"outputs": out[part]})
    callbacks.call("on_predict_end", {})
    return out
