"""Elementwise parts of an ONNX graph, and which activation of fastnn or which scaling they compute.

Other tools write an activation as one operator or as any of several formulas. A formula of one variable is therefore
compared with fastnn's activations by its values, not by its form.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Union

import numpy as np
from numpy.typing import NDArray

import fastnn.activations as activations
import fastnn.ops as ops
from fastnn.activations import ActivationFunction
from fastnn.errors import ModelFormatError
from fastnn.interchange.onnx_file import Node

Array = NDArray[Any]

_MOST_PARTS = 32
"""Operators of one formula; the longest known has twelve."""
_MOST_CONSTANTS = 5
_MOST_COMPARISONS = 20_000
_PROBE = np.concatenate([np.linspace(-8.0, 8.0, 193), [-40.0, -20.0, 20.0, 40.0, -1e-3, 1e-3, 0.49, 5.99, 6.01]])
_DEFAULTS = {"Elu": (1.0,), "LeakyRelu": (0.01,)}
"""What attributes of operators are where the file does not say it."""
_TOLERANCE = 2e-6
"""Of constants that were rounded to float32."""
_erf: Callable[[Any], Any] = np.vectorize(math.erf, otypes=[np.float64])


class Variable(NamedTuple):
    """Stands for the input of a formula."""


@dataclass(eq=False)
class Formula:
    """An operator of formulas of one variable and constants.

    Parameters
    ----------
    node : the operator.
    arguments : formulas, constants, or the variable.
    """

    node: Node
    arguments: list[Union["Formula", Array, Variable]]

    def parts(self, inner: "Formula | None" = None) -> list["Formula"]:
        """Return this formula and those in it, each once; without ``inner`` and those in that.

        Raises
        ------
        ModelFormatError
            There are more than any activation has.
        """
        found: dict[int, Formula] = {}
        waiting = [self]
        while waiting:
            part = waiting.pop()
            if id(part) not in found and part is not inner:
                found[id(part)] = part
                waiting += [each for each in part.arguments if isinstance(each, Formula)]
            if len(found) > _MOST_PARTS:
                raise ModelFormatError(f"the formula that ends with {self.node} has more than {_MOST_PARTS} operators")
        return list(found.values())

    def value(self, x: Array, inner: "Formula | None" = None) -> Array | None:
        """Return the values for those of the variable, or for those of a part in its place.

        None if the formula takes the variable elsewhere too.
        """
        known: dict[int, Array | None] = {} if inner is None else {id(inner): x}
        return _value(self, None if inner is not None else x, known)

    def constants(self, inner: "Formula | None" = None) -> list[float]:
        """Return the single numbers in the formula, attributes of operators included."""
        numbers: list[float] = []
        for part in self.parts(inner):
            given = [each for each in part.arguments if isinstance(each, np.ndarray)]
            numbers += [float(each.reshape(())) for each in given if each.size == 1 and each.dtype.kind in "fiu"]
            numbers += [value for value in part.node.attributes.values() if isinstance(value, float)]
            numbers += _DEFAULTS.get(part.node.operator, ())
        return list(dict.fromkeys(numbers))

    def is_scalar(self, inner: "Formula | None") -> bool:
        """Return whether all constants are single numbers."""
        given = [each for part in self.parts(inner) for each in part.arguments if isinstance(each, np.ndarray)]
        return all(each.size == 1 and each.dtype.kind in "fiu" for each in given)


def _value(formula: Formula, x: Array | None, known: dict[int, Array | None]) -> Array | None:
    if id(formula) not in known:
        values: list[Any] = []
        for each in formula.arguments:
            if isinstance(each, Formula):
                values.append(_value(each, x, known))
            else:
                values.append(x if isinstance(each, Variable) else each.astype(np.float64).reshape(()))
        found = None
        if all(value is not None for value in values):
            found = np.asarray(ELEMENTWISE[formula.node.operator](formula.node.attributes, *values))
        known[id(formula)] = found
    return known[id(formula)]


# Operators


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def _hard_sigmoid(x: Any, alpha: float, beta: float) -> Any:
    return np.clip(alpha * x + beta, 0.0, 1.0)


def _gelu(attributes: dict[str, Any], x: Any) -> Any:
    return ops.activation("gelu_tanh" if attributes.get("approximate") == "tanh" else "gelu", x)


def _clip(attributes: dict[str, Any], x: Any, low: Any = None, high: Any = None) -> Any:
    low = attributes.get("min", -np.inf) if low is None else low
    return np.minimum(np.maximum(x, low), attributes.get("max", np.inf) if high is None else high)


def _scaled_elu(x: Any, alpha: float, scale: float) -> Any:
    return scale * np.where(x > 0.0, x, alpha * np.expm1(np.minimum(x, 0.0)))


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Abs": lambda _, x: np.abs(x),
    "Add": lambda _, x, y: x + y,
    "Cast": lambda _, x: np.asarray(x, np.float64),
    "Clip": _clip,
    "Div": lambda _, x, y: x / y,
    "Elu": lambda a, x: _scaled_elu(x, a.get("alpha", 1.0), 1.0),
    "Erf": lambda _, x: _erf(x),
    "Exp": lambda _, x: np.exp(x),
    "Gelu": _gelu,
    "Greater": lambda _, x, y: x > y,
    "GreaterOrEqual": lambda _, x, y: x >= y,
    "HardSigmoid": lambda a, x: _hard_sigmoid(x, a.get("alpha", 0.2), a.get("beta", 0.5)),
    "HardSwish": lambda _, x: x * _hard_sigmoid(x, 1.0 / 6.0, 0.5),
    "IsNaN": lambda _, x: np.isnan(x),
    "LeakyRelu": lambda a, x: np.where(x > 0.0, x, a.get("alpha", 0.01) * x),
    "Less": lambda _, x, y: x < y,
    "LessOrEqual": lambda _, x, y: x <= y,
    "Log": lambda _, x: np.log(x),
    "Max": lambda _, *x: np.maximum.reduce(np.broadcast_arrays(*x)),
    "Mean": lambda _, *x: sum(x) / len(x),
    "Min": lambda _, *x: np.minimum.reduce(np.broadcast_arrays(*x)),
    "Mish": lambda _, x: x * np.tanh(_softplus(x)),
    "Mul": lambda _, x, y: x * y,
    "Neg": lambda _, x: -x,
    "Not": lambda _, x: np.logical_not(x),
    "Pow": lambda _, x, y: np.power(x, y),
    "PRelu": lambda _, x, y: np.where(x > 0.0, x, y * x),
    "Reciprocal": lambda _, x: 1.0 / x,
    "Relu": lambda _, x: np.maximum(x, 0.0),
    "Selu": lambda a, x: _scaled_elu(x, a.get("alpha", 1.67326319217681884765625), a.get("gamma", 1.05070102214813232)),
    "Sigmoid": lambda _, x: ops.activation("sigmoid", x),
    "Softplus": lambda _, x: _softplus(x),
    "Softsign": lambda _, x: x / (1.0 + np.abs(x)),
    "Sqrt": lambda _, x: np.sqrt(x),
    "Sub": lambda _, x, y: x - y,
    "Sum": lambda _, *x: sum(x),
    "Swish": lambda a, x: x * ops.activation("sigmoid", a.get("alpha", 1.0) * x),
    "Tanh": lambda _, x: np.tanh(x),
    "Where": lambda _, c, x, y: np.where(c, x, y),
}
"""What an operator computes of its attributes and inputs."""


# What a formula is


def affine(formula: Formula | Variable, inner: Formula | None = None) -> tuple[Array, Array] | None:
    """Return scale and shift of ``scale * x + shift``, single numbers or vectors; None for any other formula.

    Parameters
    ----------
    formula : of the variable, or of ``inner`` in its place.
    inner : a part of the formula.
    """
    if formula is inner or (inner is None and isinstance(formula, Variable)):
        return np.ones(()), np.zeros(())
    if isinstance(formula, Variable):
        return None
    operator, arguments = formula.node.operator, formula.arguments
    if operator in ("Cast", "Neg"):
        found = None if isinstance(arguments[0], np.ndarray) else affine(arguments[0], inner)
        return found if found is None or operator == "Cast" else (-found[0], -found[1])
    if operator not in ("Add", "Sub", "Mul", "Div"):
        return None
    first, second = arguments
    if isinstance(first, np.ndarray) and not isinstance(second, np.ndarray) and operator != "Div":
        found, constant = affine(second, inner), _vector(first)
        if found is not None and operator == "Sub":
            found, operator = (-found[0], -found[1]), "Add"
    elif isinstance(second, np.ndarray) and not isinstance(first, np.ndarray):
        found, constant = affine(first, inner), _vector(second)
    else:
        return None
    if found is None or constant is None:
        return None
    scale, shift = found
    if operator in ("Add", "Sub"):
        return scale, shift + constant if operator == "Add" else shift - constant
    with np.errstate(all="ignore"):
        return (scale * constant, shift * constant) if operator == "Mul" else (scale / constant, shift / constant)


def _vector(constant: Array) -> Array | None:
    """Return a constant as one number or a vector of the features; None for other shapes."""
    if constant.dtype.kind not in "fiu":
        return None
    if constant.size == 1:
        return constant.astype(np.float64).reshape(())
    return constant.astype(np.float64).reshape(-1) if constant.size == constant.shape[-1] else None


class Matcher:
    """Compares formulas with fastnn's activations, a limited number of times."""

    def __init__(self) -> None:
        self._left = _MOST_COMPARISONS

    def activation_of(self, formula: Formula, inner: Formula | None) -> ActivationFunction | None:
        """Return the activation with the values of a formula; None if there is none.

        Parameters
        ----------
        formula : of the variable, or of ``inner`` in its place.
        inner : a part of the formula.

        Raises
        ------
        ModelFormatError
            The formulas of the file are so many that comparing them would take long.
        """
        if not formula.is_scalar(inner):
            return None
        with np.errstate(all="ignore"):
            values = formula.value(_PROBE, inner)
            if values is None or values.shape != _PROBE.shape or values.dtype.kind != "f":
                return None
            for candidate, expected in _candidates(formula.constants(inner)[:_MOST_CONSTANTS]):
                self._left -= 1
                if self._left < 0:
                    raise ModelFormatError("its formulas are too many and too long to be compared with activations")
                if (np.abs(values - expected) <= _TOLERANCE * (1.0 + np.abs(expected))).all():
                    return candidate
        return None


@functools.cache
def _plain() -> list[tuple[ActivationFunction, Array]]:
    """Return the activations of one element without options, and their values."""
    named = {name: getattr(activations, name) for name in activations.__all__ if "softmax" not in name}
    functions = [each for each in named.values() if isinstance(each, ActivationFunction) and not each.parameters]
    return [(each, each(_PROBE)) for each in functions]


def _candidates(constants: list[float]) -> Iterator[tuple[ActivationFunction, Array]]:
    """Yield activations of one element and their values, those with options for the constants of a formula."""
    yield from _plain()
    positive = [value for value in constants if 0.0 <= value < 1e6]
    for value in positive:
        leaky = activations.leaky_relu.with_parameters(negative_slope=value)
        exponential = activations.elu.with_parameters(alpha=value)
        yield from ((each, each(_PROBE)) for each in (leaky, exponential))
    for limit, slope, threshold in itertools.product([math.inf, *positive], [0.0, *positive], [0.0, *positive]):
        each = activations.relu.with_parameters(max_value=limit, negative_slope=slope, threshold=threshold)
        yield each, each(_PROBE)


def filled_gaps(formula: Formula) -> tuple[Array, Array, Array] | None:
    """Return scale and shift of a scaling, and what stands in place of NaN; None for any other formula."""
    if formula.node.operator != "Where" or len(formula.arguments) != 3:
        return None
    gaps, filling, scaled = formula.arguments
    if not is_gap(gaps) or not isinstance(filling, np.ndarray) or isinstance(scaled, np.ndarray):
        return None
    found, vector = affine(scaled), _vector(filling)
    return None if found is None or vector is None else (*found, vector)


def is_gap(formula: Any) -> bool:
    """Return whether a formula says which values are missing."""
    while isinstance(formula, Formula) and formula.node.operator == "Cast":
        formula = formula.arguments[0]
    return (
        isinstance(formula, Formula) and formula.node.operator == "IsNaN" and isinstance(formula.arguments[0], Variable)
    )
