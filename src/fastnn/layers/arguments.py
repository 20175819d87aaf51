"""Arguments of layers: the descriptions that names stand for."""

from typing import TYPE_CHECKING, Any

import numpy as np

import fastnn._registry as registry
import fastnn.constraints as constraints
import fastnn.regularizers as regularizers

if TYPE_CHECKING:
    from fastnn.layers.layer import Layer


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
