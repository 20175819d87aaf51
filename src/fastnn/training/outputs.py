"""The outputs of a model: room for them, and the metrics that are computed from them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.network.stack import LayerStack

Array = NDArray[Any]


def metric_values(model: LayerStack, y_true: Any, outputs: Any, weight: Any) -> dict[str, Any]:
    """Return the model's metrics by name, computed from the outputs that predict targets: the first ones."""
    return {
        metric.name: metric(*metric_rows(model, metric.output, y_true, outputs), of_output(weight, metric.output))
        for metric in model.metrics
    }


def metric_rows(model: LayerStack, output: int, y_true: Any, outputs: Any) -> tuple[Array, Array]:
    """Return the targets and the predictions of one output; of the latter the columns that predict targets."""
    y_pred, loss = of_output(outputs, output), model.losses_of_outputs[output]
    columns = y_pred.shape[1] if loss is None else loss.target_columns(y_pred.shape[1])
    return of_output(y_true, output), y_pred[:, :columns]


def of_output(arrays: Any, output: int) -> Any:
    """Return the array of one output, of one array or a list with one for each output."""
    return arrays[output] if isinstance(arrays, list) else arrays


def empty_outputs(model: LayerStack, n: int, fill: float = np.nan) -> Any:
    """Return arrays for the outputs of ``n`` rows: one array, or a list of them as in ``Rows``."""
    program, dtype = model.program, model.dtype
    arrays = [np.full((n, head.n_outputs), fill, dtype) for head in program.heads]
    return arrays[0] if program.is_chain else arrays
