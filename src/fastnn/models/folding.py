"""Folding: every step that is linear at prediction becomes part of the dense products.

``W2 (W1 x + b1) + b2`` is one layer, and so is a normalization with known statistics before or after a dense product.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._structures import filled
from fastnn.layers import (
    Activation,
    Add,
    BatchNormalization,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GaussianNoise,
    Identity,
    Input,
    InputLayer,
    Layer,
    Normalization,
    Reshape,
    Residual,
)
from fastnn.layers.merging import Merge
from fastnn.layers.normalization import deviation_of
from fastnn.network.graph import Graph
from fastnn.network.stack import LayerStack

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Scaling:
    """``y = x * scale + shift``, each (n,)."""

    scale: Array
    shift: Array


@dataclass(frozen=True)
class _Product:
    """``y = activation(x @ kernel + bias)``; activation None is linear."""

    kernel: Array
    bias: Array
    activation: Any
    name: str


@dataclass(frozen=True)
class _Block:
    """``y = x + parts(x)``."""

    parts: list[Any]
    name: str


def folded_layers(model: LayerStack) -> tuple[list[Layer], list[Any]]:
    """Return the layers, from ``Input`` on, and the weights of the model that ``folded`` describes."""
    n_features = model.program.n_features
    weights: list[Any] = []
    layers = _layers(_fold(model.layers, n_features), weights, n_features)
    shape = model.all_layers[0].declared_input
    start: list[Any] = [Input((n_features,) if shape is None else shape)]
    if shape is not None and len(shape) > 1:
        start.append(Flatten())
    return [*start, *layers], weights


def folded_graph(model: Any) -> tuple[Any, Any, list[tuple[Layer, list[Any]]]]:
    """Return the inputs and outputs of the folded model of a graph, and its new layers with their weights."""
    graph = model.program.graph
    calls = Counter(id(step.layer) for step in graph.steps)
    uses = Counter(value for step in graph.steps for value in step.inputs)
    uses.update(graph.outputs)
    parts: dict[int, tuple[Any, tuple[int, ...]]] = {}  # what gives a value, and from which values
    same: dict[int, int] = {}  # values that are others, unchanged
    for step in graph.steps:
        inputs = tuple(same.get(value, value) for value in step.inputs)
        shared = calls[id(step.layer)] > 1 and not step.layer.stateless
        described = [step.layer] if shared else _describe(step.layer, graph.width(inputs[0]))
        if isinstance(step.layer, Residual):
            described = [Add()]
        row_is_kept = graph.rows[step.output] == graph.rows[inputs[0]]
        if not described and (row_is_kept or isinstance(step.layer, Identity)):
            same[step.output] = inputs[0]
            uses[inputs[0]] += uses[step.output] - 1
            continue
        vectors = len(graph.rows[inputs[0]]) == 1
        part = described[0] if described and vectors else step.layer
        before = parts.get(inputs[0])
        if len(inputs) == 1 and before is not None and uses[inputs[0]] == 1:
            combined = [before[0]]
            _append(combined, part)
            if len(combined) == 1:
                parts[step.output] = (combined[0], before[1])
                del parts[inputs[0]]
                continue
        parts[step.output] = (part, inputs)
    return _emitted(model, graph, parts, same)


def _emitted(
    model: Any, graph: Graph, parts: dict[int, tuple[Any, tuple[int, ...]]], same: dict[int, int]
) -> tuple[Any, Any, list[tuple[Layer, list[Any]]]]:
    """Return new layers called on new inputs, for described parts."""
    starts = [Input(each.row, dtype=each.declared_dtype, name=each.name) for each in model.inputs]
    tensors: dict[int, Any] = dict(enumerate(starts))
    made: dict[int, Layer] = {}
    weights: list[tuple[Layer, list[Any]]] = []
    for step in graph.encoding:
        layer = made.setdefault(id(step.layer), _copy_of(step.layer))
        tensors[step.output] = layer(*(tensors[value] for value in step.inputs))
    for value, (part, inputs) in parts.items():
        if id(part) not in made:
            values: list[Any] = []
            (made[id(part)],) = _layers([part], values, graph.width(inputs[0]))
            weights.append((made[id(part)], values))
        given = [tensors[each] for each in inputs]
        takes_list = isinstance(part, Merge)
        tensors[value] = made[id(part)](given if takes_list else given[0])
    outputs = [tensors[same.get(value, value)] for value in graph.outputs]
    return filled(model.input, iter(starts)), filled(model.output, iter(outputs)), weights


def _copy_of(layer: Layer) -> Layer:
    """Return a layer of the same options."""
    config = {key: value for key, value in layer.get_config().items() if key != "input_shape"}
    return type(layer).from_config(config)


def _fold(layers: Sequence[Layer], n_in: int) -> list[Any]:
    """Describe layers as products, scalings, blocks and unchanged layers, with neighbours combined."""
    parts: list[Any] = []
    row: tuple[int, ...] = (n_in,)
    for layer in layers:
        described = _describe(layer, n_in)
        if len(row) > 1 and (described or isinstance(layer, Flatten)):
            described = [layer]  # a combination of layers takes rows that are vectors
        for part in described:
            _append(parts, part)
        n_in = layer.n_outputs(n_in)
        row = (
            layer.row_of(row) if isinstance(layer, Embedding | Reshape) else row if layer.keeps_elements() else (n_in,)
        )
    return parts


def _describe(layer: Layer, n_in: int) -> list[Any]:
    """Describe one layer; return an empty list if it does nothing at prediction."""
    if isinstance(layer, InputLayer | Flatten | Identity | Dropout | GaussianNoise):
        return []
    if isinstance(layer, Dense):
        kernel = np.asarray(layer.kernel, np.float64)
        bias = np.zeros(layer.units) if layer.bias is None else np.asarray(layer.bias, np.float64)
        activation = None if layer.activation.name == "linear" else layer.activation
        return [_Product(kernel, bias, activation, layer.name)]
    if isinstance(layer, BatchNormalization):
        mean, variance = (np.asarray(v, np.float64) for v in (layer.moving_mean, layer.moving_variance))
        scale = 1.0 / np.sqrt(variance + layer.epsilon)
        if layer.gamma is not None:
            scale = scale * layer.gamma
        return [_Scaling(scale, -mean * scale + (0.0 if layer.beta is None else layer.beta))]
    if isinstance(layer, Normalization) and layer.missing is None:
        mean, variance = (np.broadcast_to(np.asarray(v, np.float64), n_in) for v in (layer.mean, layer.variance))
        deviation = deviation_of(variance)
        if layer.invert:
            return [_Scaling(deviation, mean)]
        return [_Scaling(1.0 / deviation, -mean / deviation)]
    if isinstance(layer, Residual):
        return [_Block(_fold(layer.layers, n_in), layer.name)]
    return [layer]


def _append(parts: list[Any], part: Any) -> None:
    """Append a part, or combine it with the last one where both are linear."""
    last = parts[-1] if parts else None
    if isinstance(last, _Product) and last.activation is None:
        if isinstance(part, _Scaling):
            bias = last.bias * part.scale + part.shift
            parts[-1] = _Product(last.kernel * part.scale, bias, None, last.name)
            return
        if isinstance(part, Activation):
            parts[-1] = _Product(last.kernel, last.bias, part.activation, last.name)
            return
        if isinstance(part, _Product) and _is_cheaper(last.kernel, part.kernel):
            bias = last.bias @ part.kernel + part.bias
            parts[-1] = _Product(last.kernel @ part.kernel, bias, part.activation, part.name)
            return
    if isinstance(last, _Scaling):
        if isinstance(part, _Scaling):
            parts[-1] = _Scaling(last.scale * part.scale, last.shift * part.scale + part.shift)
            return
        if isinstance(part, _Product):
            parts.pop()
            bias = part.bias + last.shift @ part.kernel
            _append(parts, _Product(last.scale[:, None] * part.kernel, bias, part.activation, part.name))
            return
    parts.append(part)


def _is_cheaper(first: Array, second: Array) -> bool:
    """Whether one product costs no more than two; it does for a narrow layer between wide ones."""
    return bool(first.shape[0] * second.shape[1] <= first.size + second.size)


def _layers(parts: Sequence[Any], weights: list[Any], n_in: int) -> list[Layer]:
    """Return new layers for described parts, and append their weights to ``weights``."""
    layers: list[Layer] = []
    for part in parts:
        if isinstance(part, _Product):
            layers.append(Dense(part.kernel.shape[1], activation=part.activation, name=part.name))
            weights += [part.kernel, part.bias]
        elif isinstance(part, _Scaling):
            # With epsilon 0 and variance 1, gamma is the scale itself.
            layers.append(BatchNormalization(epsilon=0.0))
            weights += [part.scale, part.shift, np.zeros_like(part.scale), np.ones_like(part.scale)]
        elif isinstance(part, _Block):
            inner = _layers(part.parts, weights, n_in)
            layers.append(Residual(inner, name=part.name))
        else:
            # An unchanged layer: same options, same weights.
            layers.append(_copy_of(part))
            weights += part.get_weights()
        n_in = layers[-1].n_outputs(n_in)
    return layers
