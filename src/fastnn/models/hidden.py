"""The outputs of the layers within a model."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn.layers import Layer
from fastnn.network.program import build_program
from fastnn.network.stack import LayerStack

Array = NDArray[Any]


def hidden_outputs(model: LayerStack, X: Array) -> list[Array]:
    """Return the outputs (n, size) of every layer but the last, in order; the bits are those within the model.

    Parameters
    ----------
    model : built model.
    X : checked inputs (n, n_features).
    """
    outputs = [X]
    for layer in model.layers[:-1]:
        outputs.append(_outputs_of(layer, outputs[-1], model.dtype))
    return outputs[1:]


def _outputs_of(layer: Layer, inputs: Array, dtype: np.dtype[Any]) -> Array:
    """Return the outputs of one layer for its inputs."""
    if layer.op(inputs.shape[1]) is None:
        return np.array(inputs, dtype, order="C")
    program = build_program([layer], inputs.shape[1])
    network = _core.Network(program.n_features, program.ops, dtype.name)
    values = [leaf.layer.read_weight(spec.name) for leaf in program.leaves for spec in leaf.specs]
    network.set_parameters([(op, name, 0) for op, name in program.parameters], values)
    return network.predict(inputs)
