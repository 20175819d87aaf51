"""Activations as ONNX operators: a single one where the opset has it, else the formula.

In float64 ONNX Runtime lacks some operators (LeakyRelu, PRelu, Elu, Selu, Softplus, Softsign, HardSigmoid, HardSwish,
Mish, Erf): there the formula is written, with Erf in float32.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn.export.onnx_graph import Graph

# Klambauer et al., "Self-normalizing neural networks", 2017.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def write_activation(graph: Graph, name: str, parameters: Sequence[float], x: str) -> str:
    """Append the nodes of an activation of x; return the name of the result.

    Parameters
    ----------
    graph : the graph.
    name : name in the core.
    parameters : its options in the core's order.
    x : name of the input.
    """
    if name == "linear":
        return x
    if name in _OPERATORS:
        operator, attributes = _OPERATORS[name]
        return graph.add(operator, x, **attributes)
    return _FORMULAS[name](graph, x, *parameters)


_OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "exponential": ("Exp", {}),
    "softmax": ("Softmax", {"axis": -1}),
    "log_softmax": ("LogSoftmax", {"axis": -1}),
}


def _single(graph: Graph) -> bool:
    return graph.dtype == np.float32


def _with(graph: Graph, operator: str, x: str, number: float) -> str:
    """Append an operator of x and a number."""
    return graph.add(operator, x, graph.constant(number))


def _relu6(graph: Graph, x: str) -> str:
    return graph.add("Clip", x, graph.constant(0.0), graph.constant(6.0))


def _leaky_relu(graph: Graph, x: str, negative_slope: float) -> str:
    if _single(graph):
        return graph.add("LeakyRelu", x, alpha=negative_slope)
    return write_prelu(graph, x, graph.constant(negative_slope))


def write_prelu(graph: Graph, x: str, slope: str) -> str:
    """Append the nodes of x above 0 and ``slope * x`` below; return the name of the result."""
    if _single(graph):
        return graph.add("PRelu", x, slope)
    return graph.add("Where", _with(graph, "Greater", x, 0.0), x, graph.add("Mul", x, slope))


def _general_relu(graph: Graph, x: str, negative_slope: float, max_value: float, threshold: float) -> str:
    upper = [] if max_value == math.inf else [graph.constant(max_value)]
    above = graph.add("Clip", x, graph.constant(0.0), *upper)
    below = _with(graph, "Mul", _with(graph, "Sub", x, threshold), negative_slope)
    return graph.add("Where", _with(graph, "Greater", x, threshold), above, below)


def _scaled_elu(graph: Graph, x: str, alpha: float, scale: float) -> str:
    below = _with(graph, "Sub", graph.add("Exp", _with(graph, "Min", x, 0.0)), 1.0)
    below = _with(graph, "Mul", below, alpha * scale)
    above = x if scale == 1.0 else _with(graph, "Mul", x, scale)
    return graph.add("Where", _with(graph, "Greater", x, 0.0), above, below)


def _elu(graph: Graph, x: str, alpha: float) -> str:
    return graph.add("Elu", x, alpha=alpha) if _single(graph) else _scaled_elu(graph, x, alpha, 1.0)


def _selu(graph: Graph, x: str) -> str:
    if _single(graph):
        return graph.add("Selu", x, alpha=_SELU_ALPHA, gamma=_SELU_SCALE)
    return _scaled_elu(graph, x, _SELU_ALPHA, _SELU_SCALE)


def _gelu(graph: Graph, x: str) -> str:
    if _single(graph) and graph.has("Gelu"):
        return graph.add("Gelu", x, approximate="none")
    inner = _with(graph, "Mul", x, math.sqrt(0.5))
    erf = graph.add("Erf", inner) if _single(graph) else _erf_in_float32(graph, inner)
    return graph.add("Mul", _with(graph, "Mul", x, 0.5), _with(graph, "Add", erf, 1.0))


def _erf_in_float32(graph: Graph, x: str) -> str:
    return graph.cast(graph.add("Erf", graph.cast(x, np.float32)), np.float64)


def _gelu_tanh(graph: Graph, x: str) -> str:
    if _single(graph) and graph.has("Gelu"):
        return graph.add("Gelu", x, approximate="tanh")
    cube = graph.add("Mul", graph.add("Mul", x, x), x)
    inner = graph.add("Add", x, _with(graph, "Mul", cube, 0.044715))
    tanh = graph.add("Tanh", _with(graph, "Mul", inner, math.sqrt(2.0 / math.pi)))
    return graph.add("Mul", _with(graph, "Mul", x, 0.5), _with(graph, "Add", tanh, 1.0))


def _silu(graph: Graph, x: str) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def _softplus(graph: Graph, x: str) -> str:
    if _single(graph):
        return graph.add("Softplus", x)
    tail = graph.add("Exp", graph.add("Neg", graph.add("Abs", x)))
    return graph.add("Add", graph.add("Relu", x), graph.add("Log", _with(graph, "Add", tail, 1.0)))


def _mish(graph: Graph, x: str) -> str:
    if _single(graph) and graph.has("Mish"):
        return graph.add("Mish", x)
    return graph.add("Mul", x, graph.add("Tanh", _softplus(graph, x)))


def _softsign(graph: Graph, x: str) -> str:
    if _single(graph):
        return graph.add("Softsign", x)
    return graph.add("Div", x, _with(graph, "Add", graph.add("Abs", x), 1.0))


def _hard_sigmoid(graph: Graph, x: str) -> str:
    if _single(graph):
        return graph.add("HardSigmoid", x, alpha=1.0 / 6.0, beta=0.5)
    return _with(graph, "Div", _relu6(graph, _with(graph, "Add", x, 3.0)), 6.0)


def _hard_silu(graph: Graph, x: str) -> str:
    if _single(graph) and graph.has("HardSwish"):
        return graph.add("HardSwish", x)
    return graph.add("Mul", x, _hard_sigmoid(graph, x))


_FORMULAS: dict[str, Callable[..., str]] = {
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "general_relu": _general_relu,
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "mish": _mish,
    "softplus": _softplus,
    "softsign": _softsign,
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": _hard_silu,
}
