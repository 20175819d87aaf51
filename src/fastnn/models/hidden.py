"""The outputs of the layers within a model."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.layers import Layer
from fastnn.layers.tensor import KerasTensor
from fastnn.network.graph import Step, nodes_between, tensor_graph
from fastnn.network.program import Program, build_program, graph_program
from fastnn.network.stack import LayerStack
from fastnn.network.weights import new_network

Array = NDArray[Any]

_MOST_OUTPUTS = 64
"""Of a network."""


def hidden_outputs(model: Any, X: Any) -> list[Array]:
    """Return the outputs (n, size) of every layer but the last, in order; the bits are those within the model.

    Parameters
    ----------
    model : built model.
    X : checked inputs (n, n_features), or a list of them.
    """
    if model.kind != "Sequential":
        return outputs_at(model, hidden_tensors(model), X)
    outputs = [X]
    for layer in model.layers[:-1]:
        outputs.append(_outputs_of(layer, outputs[-1], model.dtype))
    return outputs[1:]


def hidden_tensors(model: Any) -> list[KerasTensor]:
    """Return what the layers of a graph give, call by call in the order of its layers, except for its outputs."""
    given = {id(tensor) for tensor in model.outputs}
    nodes = nodes_between(model.inputs, model.outputs)
    return [
        tensor
        for layer in model.layers
        for node in nodes
        if node.layer is layer
        for tensor in node.outputs
        if id(tensor) not in given and tensor.holds_floats
    ]


def outputs_at(model: Any, tensors: Sequence[KerasTensor], X: Any) -> list[Array]:
    """Return the values (n, size) of symbolic tensors of a graph for checked inputs."""
    if not tensors:
        return []
    graph = tensor_graph(model.inputs, tensors)
    program = graph_program(graph, model.all_layers)
    whole = model.program.graph
    arrays = dict(zip(map(whole.origin, whole.ports), X if isinstance(X, list) else [X], strict=True))
    found: Any = _network_of(program, model).predict([arrays[graph.origin(port)] for port in graph.ports])
    return found if isinstance(found, list) else [found]


def outputs_of_steps(model: LayerStack, steps: Sequence[Step], X: Any) -> list[Array]:
    """Return what some steps of a model's graph give, (n, size) each, for checked inputs."""
    found: list[Array] = []
    for first in range(0, len(steps), _MOST_OUTPUTS):
        graph = copy.copy(model.program.graph)
        graph.outputs = [step.output for step in steps[first : first + _MOST_OUTPUTS]]
        network = _network_of(graph_program(graph, model.all_layers), model)
        outputs = network.predict(X if isinstance(X, list) else [X])
        found += outputs if isinstance(outputs, list) else [outputs]
    return found


def _outputs_of(layer: Layer, inputs: Array, dtype: np.dtype[Any]) -> Array:
    """Return the outputs of one layer for its inputs."""
    if layer.op(inputs.shape[1]) is None:
        return np.array(inputs, dtype, order="C")
    program = build_program([layer], inputs.shape[1])
    network = new_network(program, dtype)
    _copy_weights(program, network)
    return network.predict(inputs)


def _network_of(program: Program, model: LayerStack) -> Any:
    """Return a network of a program with the weights that the layers have."""
    network = new_network(program, model.dtype, several=True)
    _copy_weights(program, network)
    return network


def _copy_weights(program: Program, network: Any) -> None:
    values = [leaf.layer.read_weight(spec.name) for leaf in program.leaves for spec in leaf.specs]
    network.set_parameters([(op, name, 0) for op, name in program.parameters], values)
