"""Functions of Keras on tensors, such as ``1.0 - x`` and ``keras.ops.relu``, as layers of fastnn."""

from collections.abc import Mapping
from typing import Any

import fastnn.activations as activations
import fastnn.layers as layers
from fastnn.errors import ModelFormatError
from fastnn.layers.arithmetic import Arithmetic, GetItem
from fastnn.layers.tensor import KerasTensor
from fastnn.saving.keras_weights import snake_case

_ARITHMETIC = {
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    "TrueDivide": "divide",
    "Divide": "divide",
}
_MERGING = ("Maximum", "Minimum")
_OF_ACTIVATIONS = {
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Silu": "silu",
    "Selu": "selu",
    "Exp": "exponential",
    "Relu6": "relu6",
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
}
_AXES = (-1, 1)


def operation_of(described: Mapping[str, Any], arguments: list[Any], options: Mapping[str, Any]) -> Any:
    """Return the tensor that an operation gives.

    Parameters
    ----------
    described : class_name and config.
    arguments, options : of the call.

    Raises
    ------
    ModelFormatError
        fastnn has no layer for the operation, or for these arguments.
    """
    kind, config = described["class_name"], described["config"]
    name = config["name"]
    if not options:
        tensors = [each for each in arguments if isinstance(each, KerasTensor)]
        if kind in _ARITHMETIC and len(arguments) == 2:
            return _arithmetic(_ARITHMETIC[kind], name, *arguments)
        if kind in _MERGING and len(tensors) == len(arguments) == 2:
            return getattr(layers, kind)(name=name)(tensors)
        if kind == "Negative" and len(tensors) == len(arguments) == 1:
            return Arithmetic("multiply", -1.0, name=name)(tensors)
        if kind == "GetItem" and len(arguments) == 2:
            key = arguments[1]
            return GetItem(tuple(key) if isinstance(key, list) else key, name=name)(arguments[0])
        if kind == "Concatenate" and len(arguments) == 1:
            return layers.Concatenate(config.get("axis", -1), name=name)(arguments[0])
        function = _function(kind, config)
        if function is not None and len(tensors) == len(arguments) == 1:
            return layers.Activation(function, name=name)(tensors[0])
    raise ModelFormatError(
        f"the operation {name[:80]!r} is of the class {kind[:80]}, which fastnn lacks, or lacks with these arguments"
    )


def _arithmetic(operator: str, name: str, first: Any, second: Any) -> Any:
    """Return a sum, difference, product or quotient of two tensors, or of a tensor and a number."""
    if isinstance(first, KerasTensor) and isinstance(second, KerasTensor):
        return Arithmetic(operator, name=name)([first, second])
    reflected = isinstance(second, KerasTensor)
    tensor, constant = (second, first) if reflected else (first, second)
    if isinstance(constant, bool) or not isinstance(constant, int | float) or not isinstance(tensor, KerasTensor):
        raise ModelFormatError(f"the operation {name[:80]!r} takes an array; fastnn has those of tensors and numbers")
    return Arithmetic(operator, float(constant), reflected, name=name)([tensor])


def _function(kind: str, config: Mapping[str, Any]) -> Any:
    """Return the activation of an operation, or None."""
    others = {key: value for key, value in config.items() if key not in ("name", "dtype")}
    if kind == "Gelu":
        return "gelu_tanh" if others.get("approximate", True) else "gelu"
    if kind in ("Softmax", "LogSoftmax"):
        return snake_case(kind) if others.get("axis", -1) in _AXES else None
    if kind == "LeakyRelu":
        return activations.leaky_relu.with_parameters(negative_slope=others.get("negative_slope", 0.2))
    if kind == "Elu":
        return activations.elu.with_parameters(alpha=others.get("alpha", 1.0))
    return None if any(value not in (None, False) for value in others.values()) else _OF_ACTIVATIONS.get(kind)
