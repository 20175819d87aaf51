"""Activation functions, for layers and as functions of arrays.

Each object describes a function; the compiled core computes it.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import fastnn._registry as registry
import fastnn.ops as ops
from fastnn._arguments import number, optional
from fastnn._derivation import Derivable, never_calls
from fastnn._missing import public_names


@never_calls(__call__="the compiled core computes an activation from its name and options")
class ActivationFunction(Derivable):
    """An activation function and its options.

    Parameters
    ----------
    name : name in the compiled core.
    parameters : options by name, in the core's order.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> fastnn.activations.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    name: str
    parameters: Mapping[str, float]

    def __init__(self, name: str, parameters: Mapping[str, float] | None = None) -> None:
        vars(self).update(name=name, parameters={} if parameters is None else parameters)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{self!r} does not change: with_parameters returns another function", name=name, obj=self)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, parameters={self.parameters!r})"

    @property
    def __name__(self) -> str:
        """The name, as Python functions have it."""
        return self.name

    def with_parameters(self, **parameters: float) -> "ActivationFunction":
        """Return the function with other values of some options.

        Raises
        ------
        TypeError
            The function has no such option.
        """
        for option, value in parameters.items():
            if option not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise TypeError(f"activation {self.__name__!r} has no option {option!r}; its options: {known}")
            if value != math.inf:
                number(f"{option} of activation {self.__name__!r}", value)
        changed = {option: float(parameters.get(option, value)) for option, value in self.parameters.items()}
        return type(self)(self.name, changed)

    def __call__(self, x: Any, **parameters: float) -> Any:
        """Apply the function to an array; softmax and log_softmax act along the last axis."""
        chosen = self.with_parameters(**parameters) if parameters else self
        return ops.activation(chosen.name, x, None, **chosen.parameters)

    def options(self) -> dict[str, Any]:
        """Return the options of a core op that applies the function."""
        options: dict[str, Any] = {"activation": self.name}
        if self.parameters:
            options["parameters"] = tuple(self.parameters.values())
        return options

    def from_config(self, config: Mapping[str, float]) -> "ActivationFunction":
        """Return the function with the options of ``get_config()``."""
        return self.with_parameters(**config)

    def get_config(self) -> str | dict[str, Any]:
        """Return the name, or name and options if an option differs from its default."""
        if self == _functions[self.name]:
            return self.name
        return {"class_name": self.name, "config": dict(self.parameters)}


class GeneralReLU(ActivationFunction):
    """``min(x, max_value)``, at least 0, above ``threshold``; else ``negative_slope * (x - threshold)``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> fastnn.activations.relu(np.array([-1.0, 0.5, 2.0]), max_value=1.0)
    array([-0. ,  0.5,  1. ])
    """

    @property
    def __name__(self) -> str:
        """The name, as Python functions have it."""
        return "relu"

    def with_parameters(self, **parameters: Any) -> ActivationFunction:
        """Return the function with other values of some options; ``max_value=None`` sets no maximum."""
        if "max_value" in parameters:
            given = None if parameters["max_value"] == math.inf else parameters["max_value"]
            bound = optional(number, "max_value", given, at_least=0.0)
            parameters["max_value"] = math.inf if bound is None else bound
        return super().with_parameters(**parameters)

    def get_config(self) -> dict[str, Any]:
        """Return name and options."""
        options: dict[str, Any] = dict(self.parameters)
        options["max_value"] = None if options["max_value"] == math.inf else options["max_value"]
        return {"class_name": "relu", "config": options}


class ReLU(ActivationFunction):
    """``max(x, 0)``; with options it becomes a ``GeneralReLU``."""

    def with_parameters(self, **parameters: Any) -> ActivationFunction:
        """Return the function with options: ``negative_slope`` (0), ``max_value`` (None) and ``threshold`` (0)."""
        return (
            GeneralReLU("general_relu", ops.ACTIVATION_OPTIONS["general_relu"]).with_parameters(**parameters)
            if parameters
            else self
        )


_functions: dict[str, ActivationFunction] = {}


def _define(name: str, *aliases: str, kind: type[ActivationFunction] = ActivationFunction) -> ActivationFunction:
    function = kind(name, ops.ACTIVATION_OPTIONS.get(name, {}))
    _functions[name] = function
    registry.register("activation", name, *aliases)(function)
    return function


linear = _define("linear")
relu = _define("relu", kind=ReLU)
relu6 = _define("relu6")
leaky_relu = _define("leaky_relu")
elu = _define("elu")
selu = _define("selu")
gelu = _define("gelu")
gelu_tanh = _define("gelu_tanh")
silu = _define("silu", "swish")
swish = silu
mish = _define("mish")
softplus = _define("softplus")
softsign = _define("softsign")
tanh = _define("tanh")
sigmoid = _define("sigmoid")
hard_sigmoid = _define("hard_sigmoid")
hard_silu = _define("hard_silu", "hard_swish")
hard_swish = hard_silu
exponential = _define("exponential")
softmax = _define("softmax")
log_softmax = _define("log_softmax")


def get(identifier: Any) -> ActivationFunction:
    """Return the activation for a name or an activation; None is linear.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones and the nearest.
    """
    return linear if identifier is None else registry.resolve("activation", identifier, ActivationFunction)


__all__ = [
    "ActivationFunction",
    "elu",
    "exponential",
    "gelu",
    "gelu_tanh",
    "get",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
]


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
