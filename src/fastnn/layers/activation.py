"""Activations as layers."""

from typing import Any, ClassVar

import fastnn._registry as registry
import fastnn.activations as activations
from fastnn._arguments import last_axis, number, optional
from fastnn._variables import Variable
from fastnn.activations import ActivationFunction
from fastnn.layers.layer import Layer
from fastnn.layers.weights import ParameterSpec, initializer_of


def find_activation(identifier: Any) -> ActivationFunction:
    """Return the activation for a name, None, an activation or an activation layer."""
    if isinstance(identifier, Activation):
        return identifier.activation
    return activations.get(identifier)


@registry.register("layer", "Activation")
class Activation(Layer):
    """An activation function as a layer: ``Y = f(X)``, Y of X's shape.

    Parameters
    ----------
    activation : name or activation.
    """

    def __init__(self, activation: Any, **layer_options: Any) -> None:
        self.activation = find_activation(activation)
        super().__init__(**layer_options)

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's activation op."""
        return "activation", self.activation.options()

    def keeps_elements(self) -> bool:
        """Return whether the function acts on each element by itself."""
        return self.activation.name not in ("softmax", "log_softmax")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "activation": self.activation.get_config()}


class _NamedActivation(Activation):
    """Base of layers that apply one activation function; their arguments are its options."""

    _function: ClassVar[ActivationFunction]

    def __init__(self, parameters: dict[str, float], **layer_options: Any) -> None:
        checked = {option: number(option, value, at_least=0.0) for option, value in parameters.items()}
        super().__init__(self._function.with_parameters(**checked), **layer_options)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**Layer.get_config(self), **self.activation.parameters}


@registry.register("layer", "ReLU")
class ReLU(_NamedActivation):
    """Rectified linear unit: ``min(x, max_value)`` above ``threshold``, else ``negative_slope * (x - threshold)``."""

    _function = activations.leaky_relu

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **layer_options: Any,
    ) -> None:
        given = {"negative_slope": negative_slope, "threshold": threshold}
        self.options: dict[str, Any] = {option: number(option, value, at_least=0.0) for option, value in given.items()}
        self.options["max_value"] = optional(number, "max_value", max_value, at_least=0.0)
        if max_value is not None or threshold != 0.0:
            relu = activations.relu.with_parameters(**self.options)
            Activation.__init__(self, relu, **layer_options)
        elif negative_slope == 0.0:
            Activation.__init__(self, "relu", **layer_options)
        else:
            super().__init__({"negative_slope": negative_slope}, **layer_options)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**Layer.get_config(self), **self.options}


@registry.register("layer", "LeakyReLU")
class LeakyReLU(_NamedActivation):
    """Leaky rectified linear unit: x above 0, ``negative_slope * x`` below."""

    _function = activations.leaky_relu

    def __init__(self, negative_slope: float = 0.3, **layer_options: Any) -> None:
        super().__init__({"negative_slope": negative_slope}, **layer_options)


@registry.register("layer", "ELU")
class ELU(_NamedActivation):
    """Exponential linear unit: x above 0, ``alpha * (exp(x) - 1)`` below (Clevert et al., 2016)."""

    _function = activations.elu

    def __init__(self, alpha: float = 1.0, **layer_options: Any) -> None:
        super().__init__({"alpha": alpha}, **layer_options)


@registry.register("layer", "Softmax")
class Softmax(_NamedActivation):
    """Softmax of each row; ``axis`` must be -1."""

    _function = activations.softmax

    def __init__(self, axis: int = -1, **layer_options: Any) -> None:
        last_axis(axis)
        super().__init__({}, **layer_options)


@registry.register("layer", "PReLU")
class PReLU(Layer):
    """Rectified linear unit with a learned slope: x above 0, ``alpha * x`` below, one alpha per feature.

    He et al. (2015).

    Parameters
    ----------
    alpha_initializer, alpha_regularizer, alpha_constraint : names or descriptions for alpha (n_in,).
    shared_axes : must be None; the rows of a dense network have one axis.
    """

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: None = None,
        **layer_options: Any,
    ) -> None:
        if shared_axes is not None:
            raise ValueError(f"shared_axes must be None, rows of a dense network have one axis; got {shared_axes!r}")
        self.alpha_initializer = initializer_of("alpha_initializer", alpha_initializer, "zeros")
        self._regularize("alpha", alpha_regularizer, alpha_constraint)
        super().__init__(**layer_options)

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's op."""
        return "prelu", self._training_options("alpha")

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return alpha (n_in,)."""
        return [ParameterSpec("alpha", (n_in,), self.alpha_initializer)]

    @property
    def alpha(self) -> Variable:
        """The slopes (n_in,)."""
        return self.weight("alpha")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "alpha_initializer": registry.describe("initializer", self.alpha_initializer),
            **self._regularization_config("alpha"),
        }
