"""Arguments of layers: checked numbers, and the descriptions that names stand for."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import fastnn._registry as registry
import fastnn.constraints as constraints
import fastnn.regularizers as regularizers

if TYPE_CHECKING:
    from fastnn.layers.layer import Layer


def positive_integer(name: str, value: Any) -> int:
    """Return ``value`` as an int of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


def number(name: str, value: Any) -> float:
    """Return ``value`` as a finite float."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def nonnegative(name: str, value: Any) -> float:
    """Return ``value`` as a finite float of at least 0."""
    checked = number(name, value)
    if checked < 0.0:
        raise ValueError(f"{name} must be at least 0, got {value!r}")
    return checked


def row_shape(name: str, shape: Any) -> tuple[int, ...]:
    """Return the shape of one row as a tuple of positive integers."""
    sizes = shape if isinstance(shape, Sequence) and not isinstance(shape, str) else (shape,)
    if len(sizes) == 0:
        raise ValueError(f"{name} must have at least one size, got {shape!r}")
    return tuple(positive_integer(f"each size of {name}", size) for size in sizes)


def fraction(name: str, value: Any) -> float:
    """Return ``value`` as a float of at least 0 and less than 1."""
    checked = number(name, value)
    if not 0.0 <= checked < 1.0:
        raise ValueError(f"{name} must be at least 0 and less than 1, got {value!r}")
    return checked


def find_initializer(identifier: Any) -> Any:
    """Return the initializer for a name, class, object, dict or array."""
    if isinstance(identifier, np.ndarray):
        return registry.find("initializer", "constant")(identifier)
    base = registry.find("initializer", "zeros").__mro__[1]
    return registry.resolve("initializer", identifier, base)


def activation_options(activation: Any) -> dict[str, Any]:
    """Options of a core op that carries an activation."""
    options: dict[str, Any] = {"activation": activation.name}
    if activation.parameters:
        options["parameters"] = tuple(activation.parameters.values())
    return options


def float_type(dtype: Any) -> np.dtype[Any]:
    """Return "float32" or "float64" as a dtype; Keras's policies of these names too."""
    name = np.dtype(dtype).name if isinstance(dtype, type) else getattr(dtype, "name", dtype)
    known: dict[Any, np.dtype[Any]] = {each: np.dtype(each) for each in ("float32", "float64")}
    if name not in known:
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    return known[name]


def last_axis(axis: Any) -> None:
    """Check that ``axis`` is the only one that rows of a dense network have."""
    only = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
    if isinstance(only, bool) or only not in (-1, 1):
        raise ValueError(f"axis must be -1, the features of a row, got {axis!r}")


def absent(**arguments: Any) -> None:
    """Check that arguments of Keras which fastnn does not have are left out (None or False)."""
    for name, value in arguments.items():
        if value is not None and value is not False:
            raise ValueError(f"{name} is not supported and must be left out, got {value!r}")


def set_rules(layer: "Layer", parameter: str, regularizer: Any, constraint: Any) -> None:
    """Give a layer what is asked of one of its weights, such as ``beta_regularizer`` and ``beta_constraint``."""
    setattr(layer, f"{parameter}_regularizer", regularizers.get(regularizer))
    found = constraints.get(constraint)
    if found is not None and parameter != "kernel":
        found.rule("bias")
    setattr(layer, f"{parameter}_constraint", found)


def rule_options(layer: "Layer", *parameters: str) -> dict[str, Any]:
    """Return the options of a core op for what is asked of its weights."""
    options: dict[str, Any] = {}
    for parameter in parameters:
        regularizer = getattr(layer, f"{parameter}_regularizer")
        constraint = getattr(layer, f"{parameter}_constraint")
        if regularizer is not None:
            options[f"{parameter}_regularizer"] = regularizer.factors()
        if constraint is not None:
            options[f"{parameter}_constraint"] = constraint.rule("kernel" if parameter == "kernel" else "bias")
    return options


def rule_config(layer: "Layer", *parameters: str) -> dict[str, Any]:
    """Return the constructor's arguments that ``set_rules`` was given."""
    names = [f"{parameter}_{rule}" for rule in ("regularizer", "constraint") for parameter in parameters]
    return {name: serialized_or_none(getattr(layer, name)) for name in names}


def serialized_or_none(described: Any) -> dict[str, Any] | None:
    """Return ``serialized(described)``, None for None."""
    return None if described is None else serialized(described)


def serialized(described: Any) -> dict[str, Any]:
    """``{"class_name", "config"}`` of a description."""
    return {"class_name": type(described).__name__, "config": described.get_config()}
