"""Operators of ONNX that are layers of fastnn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn.layers as layers
from fastnn.interchange.onnx_file import Node
from fastnn.interchange.onnx_stages import Stage

Array = NDArray[Any]


def _gemm(node: Node, value: Stage, kernel: Array, bias: Array | None = None) -> Stage | None:
    attributes = node.attributes
    if attributes.get("transA") or kernel.ndim != 2:
        return None
    kernel = kernel.T if attributes.get("transB") else kernel
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    if kernel.shape[0] != value.width or not kernel.size:
        return None
    units = kernel.shape[1]
    weights = [kernel if alpha == 1.0 else kernel * alpha]
    if bias is not None:
        if bias.size not in (1, units):
            return None
        weights.append(np.broadcast_to((bias if beta == 1.0 else bias * beta).reshape(-1), units))
    return value.then(layers.Dense(units, use_bias=bias is not None), weights, units)


def _matmul(node: Node, value: Stage, kernel: Array) -> Stage | None:
    return _gemm(Node(node.operator, node.name), value, kernel)


def _batch_normalization(
    node: Node, value: Stage, gamma: Array, beta: Array, mean: Array, variance: Array
) -> Stage | None:
    weights = [gamma, beta, mean, variance]
    if node.attributes.get("training_mode") or any(each.shape != (value.width,) for each in weights):
        return None
    momentum, epsilon = node.attributes.get("momentum", 0.9), node.attributes.get("epsilon", 1e-5)
    return value.then(layers.BatchNormalization(momentum=short(momentum), epsilon=short(epsilon)), weights)


def _layer_normalization(node: Node, value: Stage, gamma: Array, beta: Array | None = None) -> Stage | None:
    weights = [gamma] if beta is None else [gamma, beta]
    if node.attributes.get("axis", -1) not in (-1, 1) or any(each.shape != (value.width,) for each in weights):
        return None
    epsilon = short(node.attributes.get("epsilon", 1e-5))
    return value.then(layers.LayerNormalization(epsilon=epsilon, center=beta is not None), weights)


def short(number: float) -> float:
    """Return the shortest decimal of a float32 attribute: 0.001 for 0.0010000000474974513."""
    return float(str(np.float32(number)))


def _softmax(node: Node, value: Stage) -> Stage | None:
    if node.attributes.get("axis", -1) not in (-1, 1):
        return None
    return value.then(layers.Activation("softmax" if node.operator == "Softmax" else "log_softmax"), [])


def _prelu(node: Node, value: Stage, slopes: Array) -> Stage | None:
    if slopes.size != value.width or slopes.shape[-1] != value.width:
        return None
    return value.then(layers.PReLU(), [slopes.reshape(-1)])


LAYERS: dict[str, Any] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "PRelu": _prelu,
}
"""What an operator makes of a value and of constants; None if no layer has its attributes or shapes."""
