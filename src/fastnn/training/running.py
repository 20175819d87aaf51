"""Metrics of the rows so far, batch by batch, for the logs of batch hooks."""

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._warnings import warn
from fastnn.network.stack import LayerStack
from fastnn.training.metrics import FunctionMetric, plain_result, spread
from fastnn.training.outputs import metric_rows, of_output

Array = NDArray[Any]


class _MeanOfBatches:
    """A metric that is a function of targets and predictions: the mean over the batches so far, weighted by rows."""

    def __init__(self, name: str, metric: FunctionMetric) -> None:
        self._name, self._metric = name, metric
        self.reset_state()

    def reset_state(self) -> None:
        self._sum, self._rows = 0.0, 0

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        try:
            self._metric.update_state(y_true, y_pred, sample_weight)
            value = float(self._metric.result())
        except MemoryError:
            raise
        except Exception as error:
            if not np.isnan(self._sum):
                warn(
                    f"metric {self._name!r} cannot be computed for one batch, so the logs of batches hold nan, while "
                    f"those of the epoch are of all rows: {error}"
                )
            value = float("nan")
        self._sum += value * len(y_pred)
        self._rows += len(y_pred)

    def result(self) -> float:
        return self._sum / self._rows


class RunningMetrics:
    """The metrics of a model, updated batch by batch.

    Parameters
    ----------
    model : compiled model. Its own metric objects stay as they are: a callback may evaluate in the meantime.
    """

    def __init__(self, model: LayerStack) -> None:
        self._model = model
        self._metrics: list[tuple[Any, Any]] = []
        for compiled in model.metrics:
            inner = compiled.metric
            own = _MeanOfBatches(compiled.name, inner) if isinstance(inner, FunctionMetric) else copy.copy(inner)
            self._metrics.append((compiled, own))
        self.reset()

    def reset(self) -> None:
        """Forget all rows."""
        for _, metric in self._metrics:
            metric.reset_state()

    def update(self, y_true: Any, outputs: Any, sample_weight: Any) -> dict[str, Any]:
        """Take the rows of a batch; return the metrics of all rows so far by name."""
        results = {}
        for compiled, metric in self._metrics:
            rows = metric_rows(self._model, compiled.output, y_true, outputs)
            weight = of_output(sample_weight, compiled.output)
            metric.update_state(*rows, *((weight,) if compiled.weighted and weight is not None else ()))
            results[compiled.name] = plain_result(metric.result())
        return spread(results)
