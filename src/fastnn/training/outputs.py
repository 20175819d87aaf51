"""The outputs of a model: room for them, and the losses and metrics that are computed from them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn.losses import Loss
from fastnn.losses.custom import CustomLoss
from fastnn.network.program import loss_options, skips_final_activation
from fastnn.network.stack import LayerStack
from fastnn.training.metrics import spread

Array = NDArray[Any]


def metric_values(model: LayerStack, y_true: Any, outputs: Any, weight: Any) -> dict[str, Any]:
    """Return the model's metrics by name, computed from the outputs that predict targets: the first ones."""
    values = {
        metric.name: metric(*metric_rows(model, metric.output, y_true, outputs), of_output(weight, metric.output))
        for metric in model.metrics
    }
    return spread(values)


def metric_rows(model: LayerStack, output: int, y_true: Any, outputs: Any) -> tuple[Array, Array]:
    """Return the targets and the predictions of one output; of the latter the columns that predict targets."""
    y_pred, loss = of_output(outputs, output), model.losses_of_outputs[output]
    return of_output(y_true, output), y_pred if loss is None else loss.predictions(y_pred)


def of_output(arrays: Any, output: int) -> Any:
    """Return the array of one output, of one array or a list with one for each output."""
    return arrays[output] if isinstance(arrays, list) else arrays


def empty_outputs(model: LayerStack, n: int) -> Any:
    """Return arrays of NaN for the outputs of ``n`` rows: one array, or a list of them as in ``Rows``."""
    program, dtype = model.program, model.dtype
    arrays = [np.full((n, head.n_outputs), np.nan, dtype) for head in program.heads]
    return arrays[0] if program.is_chain else arrays


class Objective:
    """The losses of a compiled model, computed from given outputs, without penalties.

    Parameters
    ----------
    model : the model.

    Attributes
    ----------
    losses : the loss of each output, or None.
    logits : for each output, whether its loss takes the values before the last activation.
    """

    def __init__(self, model: LayerStack) -> None:
        heads = model.program.heads
        self.losses, self._weights = model.losses_of_outputs, model.loss_weights
        pairs = list(zip(self.losses, heads, strict=True))
        self._options = [{} if loss is None else loss_options(loss, head) for loss, head in pairs]
        self.logits = [loss is not None and skips_final_activation(loss, head) for loss, head in pairs]
        self._activations = [head.final_activation for head in heads]
        self._chain = model.program.is_chain

    def predict(self, network: _core.Network, X: Any, n_threads: int = 0, activity: Array | None = None) -> Any:
        """Return the outputs of a network of the model, as the losses take them: an array, or a list as in ``Rows``."""
        logits: Any = self.logits[0] if self._chain else self.logits
        outputs: Any = network.predict(X, None, n_threads, logits, activity)
        return outputs if self._chain or isinstance(outputs, list) else [outputs]

    def values(self, y: Any, outputs: Any, sample_weight: Any) -> tuple[float, list[float]]:
        """Return the weighted sum of the losses, and the loss of each output; 0 where there is none."""
        total, values = 0.0, []
        for place, loss in enumerate(self.losses):
            values.append(0.0)
            if loss is not None:
                given, weight = of_output(outputs, place), of_output(sample_weight, place)
                values[-1] = loss_of_outputs(loss, self._options[place], of_output(y, place), given, weight)
                total += self._weights[place] * values[-1]
        return total, values

    def activated(self, outputs: Any, place: int) -> Array:
        """Return the predictions of one output for what ``predict`` gave."""
        given: Array = of_output(outputs, place)
        return _core.activation(str(self._activations[place]), given) if self.logits[place] else given


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
