"""Models as ONNX files: the ops of a network become nodes of a graph.

The writer works on the list of ops that the compiled network runs, so it serves models and estimators alike.
"""

import json
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.export.onnx_activations import write_activation, write_prelu
from fastnn.export.onnx_graph import Graph
from fastnn.network.chain import flattened_shape
from fastnn.network.stack import LayerStack

Array = NDArray[Any]


class Step(NamedTuple):
    """One op of a network.

    Parameters
    ----------
    kind, options : of the op.
    inputs : numbers of the values that it reads: 0 is the network's input, 1 the output of the first op, and so on.
    n_in : columns of its first input.
    name : the layer that it computes, for errors.
    arrays : weights and statistics by their names in the core.
    """

    kind: str
    options: dict[str, Any]
    inputs: tuple[int, ...]
    n_in: int
    name: str
    arrays: dict[str, Array]


def steps_of(
    n_features: int,
    ops: Sequence[tuple[str, dict[str, Any]]],
    places: Sequence[tuple[int, str]],
    weights: Sequence[Array],
) -> list[Step]:
    """Return the ops of a network, one after the other, with their weights.

    Parameters
    ----------
    n_features : number of input columns.
    ops : kind and options of each op.
    places : op and name in the core of every weight.
    weights : the weights in the same order.
    """
    steps, width = [], n_features
    for number, (kind, options) in enumerate(ops):
        inputs = options.get("inputs", (number,))
        steps.append(Step(kind, options, inputs, width, _LAYERS.get(kind, kind), {}))
        width = options.get("n_out", 2 * width if options.get("missing") == "indicator" else width)
    for (op, name), value in zip(places, weights, strict=True):
        steps[op].arrays[name] = value
    return steps


def export_onnx(model: LayerStack, path: str | os.PathLike[str], opset: int = 17) -> None:
    """Write the file that ``Sequential.export_onnx`` describes."""
    program = model.program
    steps = steps_of(program.n_features, program.ops, program.parameters, model.get_weights())
    graph = Graph(opset, model.dtype)
    shape = flattened_shape(model.all_layers) or ()
    value = graph.add_input("input", model.dtype, shape or (program.n_features,))
    if len(shape) > 1:
        value = graph.add("Flatten", value, axis=1)
    graph.add_output(write_network(graph, steps, value), "output", model.dtype, (program.n_outputs,))
    names = model.feature_names_in_
    graph.save(path, model.name, {} if names is None else {"feature_names": json.dumps(names)})


def write_network(graph: Graph, steps: Sequence[Step], value: str) -> str:
    """Append the nodes of a network to a graph; return the name of its output (N, n_outputs)."""
    values = [value]
    for step in steps:
        graph.layer = step.name
        inputs = [values[number] for number in step.inputs]
        values.append(_WRITERS[step.kind](graph, step, *inputs) if step.kind in _WRITERS else inputs[0])
    return values[-1]


_LAYERS = {
    "dense": "Dense",
    "activation": "Activation",
    "batch_normalization": "BatchNormalization",
    "layer_normalization": "LayerNormalization",
    "normalization": "Normalization",
    "prelu": "PReLU",
    "add": "Residual",
}
"""Layer of each op, for errors."""


def _activate(graph: Graph, step: Step, value: str) -> str:
    graph.layer = f"the activation {step.options['activation']} of {graph.layer}"
    return write_activation(graph, step.options["activation"], step.options.get("parameters", ()), value)


def _dense(graph: Graph, step: Step, value: str) -> str:
    names = [graph.constant(step.arrays[name], name=name) for name in ("kernel", "bias") if name in step.arrays]
    return _activate(graph, step, graph.add("Gemm", value, *names))


def _batch_normalization(graph: Graph, step: Step, value: str) -> str:
    mean, variance = step.arrays["moving_mean"], step.arrays["moving_variance"]
    gamma, beta = step.arrays.get("gamma", np.ones_like(mean)), step.arrays.get("beta", np.zeros_like(mean))
    names = [graph.constant(each, name="statistics") for each in (gamma, beta, mean, variance)]
    return graph.add("BatchNormalization", value, *names, epsilon=step.options["epsilon"])


def _layer_normalization(graph: Graph, step: Step, value: str) -> str:
    gamma, beta, epsilon = step.arrays.get("gamma"), step.arrays.get("beta"), step.options["epsilon"]
    if not step.options["rms_scaling"]:
        names = [graph.constant(np.ones(step.n_in) if gamma is None else gamma, name="gamma")]
        names += [] if beta is None else [graph.constant(beta, name="beta")]
        return graph.add("LayerNormalization", value, *names, axis=-1, epsilon=epsilon)
    centred = graph.add("Sub", value, graph.mean_of_rows(value))
    variance = graph.mean_of_rows(graph.add("Mul", centred, centred))
    deviation = graph.add("Sqrt", graph.add("Add", variance, graph.constant(epsilon)))
    scaled = graph.add("Div", value, deviation)
    return scaled if gamma is None else graph.add("Mul", scaled, graph.constant(gamma, name="gamma"))


def _normalization(graph: Graph, step: Step, value: str) -> str:
    given = [step.arrays.get(name, step.options.get(name)) for name in ("mean", "variance")]
    mean, variance = (np.asarray(each, graph.dtype) for each in given)
    deviation = np.maximum(np.sqrt(variance.astype(np.float64)), 1e-7)
    scale = graph.constant(deviation if step.options["invert"] else 1.0 / deviation, name="scale")
    centre = graph.constant(mean, name="mean")
    if step.options["invert"]:
        scaled = graph.add("Add", graph.add("Mul", value, scale), centre)
    else:
        scaled = graph.add("Mul", graph.add("Sub", value, centre), scale)
    if step.options["missing"] is None:
        return scaled
    gaps = graph.add("IsNaN", value)
    filled = graph.add("Where", gaps, centre if step.options["invert"] else graph.constant(0.0), scaled)
    if step.options["missing"] == "mean":
        return filled
    return graph.add("Concat", filled, graph.cast(gaps, graph.dtype), axis=-1)


def _prelu(graph: Graph, step: Step, value: str) -> str:
    return write_prelu(graph, value, graph.constant(step.arrays["alpha"], name="alpha"))


def _add(graph: Graph, step: Step, first: str, second: str) -> str:
    return graph.add("Add", first, second)


_WRITERS: dict[str, Callable[..., str]] = {
    "add": _add,
    "dense": _dense,
    "activation": _activate,
    "batch_normalization": _batch_normalization,
    "layer_normalization": _layer_normalization,
    "normalization": _normalization,
    "prelu": _prelu,
}
"""Ops that compute something at prediction; dropout and noise do not."""
