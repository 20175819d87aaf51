"""Models as ONNX files: the steps of a network become nodes of a graph.

The writer works on the steps of an exported network, so it serves models and estimators alike.
"""

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.export.network import ExportedNetwork, Step
from fastnn.export.onnx_activations import write_activation, write_prelu
from fastnn.export.onnx_categories import write_discretize, write_embedding, write_hot, write_look_up
from fastnn.export.onnx_graph import Graph
from fastnn.export.onnx_tabular import (
    write_bounded_lines,
    write_cosine_features,
    write_feature_scale,
    write_groups,
    write_mix,
    write_robust_scaling,
)
from fastnn.layers.normalization import deviation_of

Array = NDArray[Any]


def export_onnx(network: ExportedNetwork, path: str | os.PathLike[str], opset: int, name: str) -> None:
    """Write the file that ``Model.export_onnx`` describes; ``name`` is that of the graph."""
    graph = Graph(opset, network.dtype)
    values = [_flat(graph, graph.add_input(end.name, end.dtype, end.row), end.row) for end in network.inputs]
    names = [graph.reserve(end.name) for end in network.outputs]
    values = write_steps(graph, network.steps, values)
    for value, end, title in zip((values[b] for b in network.results), network.outputs, names, strict=True):
        if len(end.row) != 1:
            value = graph.add("Reshape", value, graph.constant([-1, *end.row], np.int64))
        graph.add_output(value, title, network.dtype, end.row)
    columns = network.inputs[0].columns
    graph.save(path, name, {} if columns is None else {"feature_names": json.dumps(columns)})


def _flat(graph: Graph, value: str, row: tuple[int, ...]) -> str:
    """Return an input with rows that are vectors."""
    if len(row) == 1:
        return value
    return graph.add("Flatten", value, axis=1) if row else graph.add("Unsqueeze", value, graph.constant([1], np.int64))


def write_steps(graph: Graph, steps: Sequence[Step], values: Sequence[str]) -> list[str]:
    """Append the nodes of a network's steps to a graph; return the names of its buffers, (N, columns) each.

    Parameters
    ----------
    graph : the graph.
    steps : steps in order.
    values : names of the inputs.
    """
    found = list(values)
    for step in steps:
        graph.layer = _LAYERS.get(step.kind, f"layer {step.name!r}")
        found.append(_WRITERS[step.kind](graph, step, *(found[buffer] for buffer in step.inputs)))
    return found


_LAYERS = {
    "dense": "Dense",
    "batch_normalization": "BatchNormalization",
    "layer_normalization": "LayerNormalization",
    "normalization": "Normalization",
    "prelu": "PReLU",
}
"""Layer of each step, for errors."""


def _activate(graph: Graph, step: Step, value: str) -> str:
    graph.layer = f"the activation {step.options['activation']} of layer {step.name!r}"
    return write_activation(graph, step.options["activation"], step.options["parameters"], value)


def _dense(graph: Graph, step: Step, value: str) -> str:
    return graph.add("Gemm", value, *(graph.weight(array, name) for name, array in step.arrays.items()))


def _batch_normalization(graph: Graph, step: Step, value: str) -> str:
    mean, variance = step.arrays["moving_mean"], step.arrays["moving_variance"]
    gamma, beta = step.arrays.get("gamma", np.ones_like(mean)), step.arrays.get("beta", np.zeros_like(mean))
    names = [graph.weight(each, "statistics") for each in (gamma, beta, mean, variance)]
    options = {name: step.options[name] for name in ("epsilon", "momentum")}
    return graph.add("BatchNormalization", value, *names, **options)


def _layer_normalization(graph: Graph, step: Step, value: str) -> str:
    gamma, beta, epsilon = step.arrays.get("gamma"), step.arrays.get("beta"), step.options["epsilon"]
    if not step.options["rms"]:
        # in float64: in float32 ONNX Runtime loses digits where a row's mean is large, since it subtracts squares
        weights = {"gamma": np.ones(step.n_in) if gamma is None else gamma} | ({} if beta is None else {"beta": beta})
        names = [graph.weight(weight, name, np.float64) for name, weight in weights.items()]
        wide = graph.in_type(value, np.float64)
        return graph.in_type(graph.add("LayerNormalization", wide, *names, axis=-1, epsilon=epsilon), graph.dtype)
    centred = graph.add("Sub", value, graph.mean_of_rows(value))
    variance = graph.mean_of_rows(graph.add("Mul", centred, centred))
    deviation = graph.add("Sqrt", graph.add("Add", variance, graph.constant(epsilon)))
    scaled = graph.add("Div", value, deviation)
    return scaled if gamma is None else graph.add("Mul", scaled, graph.weight(gamma, "gamma"))


def _normalization(graph: Graph, step: Step, value: str) -> str:
    mean, deviation, invert = step.arrays["mean"], deviation_of(step.arrays["variance"]), step.options["invert"]
    scale = graph.constant(deviation if invert else 1.0 / deviation, name="scale")
    centre = graph.constant(mean, name="mean")
    if invert:
        scaled = graph.add("Add", graph.add("Mul", value, scale), centre)
    else:
        scaled = graph.add("Mul", graph.add("Sub", value, centre), scale)
    if step.options["missing"] is None:
        return scaled
    gaps = graph.add("IsNaN", value)
    filled = graph.add("Where", gaps, centre if invert else graph.constant(0.0), scaled)
    if step.options["missing"] == "mean":
        return filled
    return graph.add("Concat", filled, graph.cast(gaps, graph.dtype), axis=-1)


def _prelu(graph: Graph, step: Step, value: str) -> str:
    return write_prelu(graph, value, graph.weight(step.arrays["alpha"], "alpha"))


_OPERATORS = {
    "add": "Add",
    "average": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "maximum": "Max",
    "minimum": "Min",
}


def _arithmetic(graph: Graph, step: Step, *values: str) -> str:
    operands = list(values)
    if "number" in step.options:
        operands.insert(0 if step.options["number_first"] else 1, graph.constant(step.options["number"]))
    result = operands[0]
    for operand in operands[1:]:
        result = graph.add(_OPERATORS[step.kind], result, operand)
    return graph.add("Div", result, graph.constant(len(values))) if step.kind == "average" else result


def _concatenate(graph: Graph, step: Step, *values: str) -> str:
    return graph.add("Concat", *values, axis=-1) if len(values) > 1 else values[0]


def _slice(graph: Graph, step: Step, value: str) -> str:
    stop = step.options["stop"] if step.options["stop"] >= 0 else -(1 << 62)  # -1 would be the last column
    bounds = [[step.options["start"]], [stop], [-1], [step.options["step"]]]
    return graph.add("Slice", value, *(graph.constant(each, np.int64) for each in bounds))


def _dot(graph: Graph, step: Step, first: str, second: str) -> str:
    axis = graph.constant([-1], np.int64)
    product = graph.add("ReduceSum", graph.add("Mul", first, second), axis, keepdims=1)
    if not step.options["normalize"]:
        return product
    for value in (first, second):
        squares = graph.add("ReduceSum", graph.add("Mul", value, value), axis, keepdims=1)
        product = graph.add("Div", product, graph.add("Sqrt", graph.add("Max", squares, graph.constant(1e-14))))
    return product


def _convert(graph: Graph, step: Step, value: str) -> str:
    return graph.cast(graph.columns(value, step.options["columns"], step.n_in), graph.dtype)


_WRITERS: dict[str, Callable[..., str]] = {
    **dict.fromkeys(_OPERATORS, _arithmetic),
    "dense": _dense,
    "activation": _activate,
    "batch_normalization": _batch_normalization,
    "layer_normalization": _layer_normalization,
    "normalization": _normalization,
    "prelu": _prelu,
    "concatenate": _concatenate,
    "slice": _slice,
    "dot": _dot,
    "embedding": write_embedding,
    "convert": _convert,
    "look_up": write_look_up,
    "discretize": write_discretize,
    "hot": write_hot,
    "feature_scale": write_feature_scale,
    "mix": write_mix,
    "cosine_features": write_cosine_features,
    "bounded_lines": write_bounded_lines,
    "grouped_product": write_groups,
    "member_product": write_groups,
    "robust_scaling": write_robust_scaling,
}
