"""Gradients of the loss with respect to the weights, and of the outputs with respect to the inputs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn.losses.custom import CustomLoss
from fastnn.network.stack import LayerStack
from fastnn.training.rows import Rows

Array = NDArray[Any]

_ROWS = 128
"""Rows per pass of the input gradients; a pass multiplies with an identity matrix of this size."""


def weight_gradients(model: LayerStack, rows: Rows) -> list[Array]:
    """Return the gradients of the loss of all rows as one batch, in the order of ``get_weights()``; dropout is off."""
    if isinstance(model.loss, CustomLoss):
        raise ValueError(f"gradients needs one of fastnn's losses, but the loss is your function {model.loss.name!r}")
    fit = _core.Fit(model.network, rows.X, rows.y, rows.sample_weight, rows.n)
    found = {(op, name): gradient for op, name, gradient in fit.gradients()}
    program, dtype = model.program, model.network.dtype
    shapes = [spec.shape for spec in program.parameter_specs]
    return [
        found[place] if place in found else np.zeros(shape, dtype)
        for place, shape in zip(program.parameters, shapes, strict=True)
    ]


def input_gradients(model: LayerStack, X: Array) -> Array:
    """Return the Jacobians (n, n_outputs, n_features) of the outputs with respect to each row of inputs.

    The rows become the kernel of a dense layer that is fed with an identity, so that the gradient of this kernel is
    that of the inputs. The loss is the absolute error of one output, whose derivative is exactly 1.
    """
    network, program = model.network, model.program
    jacobians = np.empty((len(X), network.n_outputs, network.n_features), network.dtype)
    for start in range(0, len(X), _ROWS):
        block = np.ascontiguousarray(X[start : start + _ROWS], network.dtype)
        n = len(block)
        first = ("dense", {"n_out": network.n_features, "use_bias": False, "activation": "linear"})
        extended = _core.Network(n, [first, *map(_moved, program.ops)], network.dtype.name)
        extended.set_parameter(0, "kernel", block)
        for place in program.parameters:
            extended.set_parameter(place[0] + 1, place[1], network.get_parameter(*place))
        extended.compile("mean_absolute_error", {"sum": True}, "sgd", {})
        identity = np.eye(n, dtype=network.dtype)
        outputs = extended.predict(identity)
        for column in range(network.n_outputs):
            targets = outputs.copy()
            targets[:, column] -= 1.0 + np.abs(targets[:, column])
            _, _, gradient = _core.Fit(extended, identity, targets, None, n).gradients()[0]
            jacobians[start : start + n, column] = gradient * network.n_outputs
    return jacobians


def _moved(op: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Return an op for a place one further back: a reference to another op grows by one."""
    kind, options = op
    return kind, {**options, "source": options["source"] + 1} if "source" in options else options
