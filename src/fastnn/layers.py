"""Layers: small descriptions with Keras's names and arguments.

A layer holds options, never weights. A built model lends its layers access to their part of its weights.
"""

import itertools
import math
import re
import weakref
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fastnn import constraints, registry, regularizers

Array = NDArray[Any]

_name_counters: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)


def automatic_name(class_name: str) -> str:
    """Return Keras's automatic name of the next object of a class: "dense", "dense_1", ..."""
    snake = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", class_name)
    snake = re.sub("([a-z])([A-Z])", r"\1_\2", snake).lower()
    number = next(_name_counters[snake])
    return snake if number == 0 else f"{snake}_{number}"


def _positive_integer(name: str, value: Any) -> int:
    """Return ``value`` as an int of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


def _number(name: str, value: Any) -> float:
    """Return ``value`` as a finite float."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def _nonnegative(name: str, value: Any) -> float:
    """Return ``value`` as a finite float of at least 0."""
    number = _number(name, value)
    if number < 0.0:
        raise ValueError(f"{name} must be at least 0, got {value!r}")
    return number


def _input_shape(name: str, shape: Any) -> tuple[int, ...]:
    """Return the shape of one row as a tuple of positive integers."""
    sizes = shape if isinstance(shape, Sequence) and not isinstance(shape, str) else (shape,)
    if len(sizes) == 0:
        raise ValueError(f"{name} must have at least one size, got {shape!r}")
    return tuple(_positive_integer(f"each size of {name}", size) for size in sizes)


@dataclass(frozen=True)
class ParameterSpec:
    """One array of weights of a layer.

    Parameters
    ----------
    name : name in the compiled core.
    shape : shape of the array.
    initializer : initializer object that fills it.
    trainable : whether training changes it.
    """

    name: str
    shape: tuple[int, ...]
    initializer: Any
    trainable: bool = True


class WeightAccess(Protocol):
    """A built model's loan to a layer: reads and writes the layer's weights by name."""

    def read(self, name: str) -> Array:
        """Return a copy."""

    def write(self, name: str, value: Array) -> None:
        """Replace the values."""


class Layer:
    """Base of all layers.

    Parameters
    ----------
    name : name in ``summary()``; by default the class's name and a number.
    input_shape : shape of one row, for a first layer.
    input_dim : number of features, for a first layer; the same as ``input_shape=(input_dim,)``.
    """

    def __init__(
        self, *, name: str | None = None, input_shape: Sequence[int] | None = None, input_dim: int | None = None
    ) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string, got {name!r}")
        if input_shape is not None and input_dim is not None:
            raise ValueError("give input_shape or input_dim, not both")
        self.declared_input: tuple[int, ...] | None = None
        if input_dim is not None:
            self.declared_input = (_positive_integer("input_dim", input_dim),)
        elif input_shape is not None:
            self.declared_input = _input_shape("input_shape", input_shape)
        self.name = name if name is not None else automatic_name(type(self).__name__)
        self._specs: list[ParameterSpec] = []
        self._access: WeightAccess | None = None
        self.owner: weakref.ref[Any] | None = None

    # What a model asks of a layer.

    def n_outputs(self, n_in: int) -> int:
        """Return the number of output columns for ``n_in`` input columns."""
        return n_in

    def op(self, n_in: int) -> tuple[str, dict[str, Any]] | None:
        """Return the core's op ``(kind, options)``, or None for a layer that changes nothing."""
        raise NotImplementedError(f"{type(self).__name__} must define op(n_in)")

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return the layer's weights in Keras's order."""
        return []

    def lend(self, specs: list[ParameterSpec], access: WeightAccess | None) -> None:
        """Give the layer access to its weights in a built model, or take it away."""
        self._specs = specs
        self._access = access

    # What a user asks of a layer.

    @property
    def built(self) -> bool:
        """Whether the layer belongs to a built model."""
        return self._access is not None

    def read_weight(self, name: str) -> Array:
        """Return a copy of one weight by name.

        Raises
        ------
        ValueError
            The model is not built yet.
        """
        if self._access is None:
            raise ValueError(
                f"layer {self.name!r} has no weights yet: give the model an Input, call "
                "model.build((None, n_features)), or fit it"
            )
        return self._access.read(name)

    def get_weights(self) -> list[Array]:
        """Return copies of the weights, kernel first; an empty list before the model is built."""
        return [self.read_weight(spec.name) for spec in self._specs]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace the weights: arrays in the order and shapes of ``get_weights()``.

        Raises
        ------
        ValueError
            Wrong number of arrays or wrong shape, or the model is not built yet; nothing is changed then.
        """
        for spec, value in zip(self._specs, self.check_weights(weights), strict=True):
            assert self._access is not None
            self._access.write(spec.name, value)

    def check_weights(self, weights: Sequence[Any]) -> list[Array]:
        """Return ``weights`` as arrays, or raise what ``set_weights`` raises."""
        if self._access is None:
            raise ValueError(f"layer {self.name!r} has no weights yet, so they cannot be set: build the model first")
        if len(weights) != len(self._specs):
            raise ValueError(f"layer {self.name!r} has {len(self._specs)} weight arrays, got {len(weights)}")
        arrays = [np.asarray(value) for value in weights]
        for spec, array in zip(self._specs, arrays, strict=True):
            if array.shape != spec.shape:
                raise ValueError(f"{spec.name} of layer {self.name!r} has shape {spec.shape}, got {array.shape}")
            if array.dtype.kind not in "fiub":
                raise ValueError(f"{spec.name} of layer {self.name!r} must be numbers, got dtype {array.dtype}")
        return arrays

    @property
    def weights(self) -> list[Array]:
        """Copies of the weights; the same as ``get_weights()``."""
        return self.get_weights()

    def count_params(self) -> int:
        """Return the number of weights.

        Raises
        ------
        ValueError
            The model is not built yet.
        """
        if self._access is None:
            raise ValueError(f"layer {self.name!r} is not built yet, so its number of weights is not known")
        return sum(math.prod(spec.shape) for spec in self._specs)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config: dict[str, Any] = {"name": self.name}
        if self.declared_input is not None:
            config["input_shape"] = self.declared_input
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build a layer from ``get_config()``."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


@registry.register("layer", "InputLayer")
class InputLayer(Layer):
    """States the shape of one input row; made by ``Input``."""

    def __init__(self, shape: Sequence[int] | int, *, name: str | None = None) -> None:
        super().__init__(name=name, input_shape=_input_shape("shape", shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        assert self.declared_input is not None
        return self.declared_input

    def op(self, n_in: int) -> None:
        """Return None: an input changes nothing."""

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"name": self.name, "shape": self.shape}


def Input(shape: Sequence[int] | int, *, name: str | None = None) -> InputLayer:
    """State the shape of one input row: the first entry of a ``Sequential``.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Sequential([fastnn.Input((5,)), fastnn.layers.Dense(1)])
    >>> model.count_params()
    6
    """
    return InputLayer(shape, name=name)


@registry.register("layer", "Dense")
class Dense(Layer):
    """Fully connected layer: ``Y = activation(X @ W + b)``.

    Shapes: X (n, n_in), W (n_in, units), b (units,), Y (n, units).

    Parameters
    ----------
    units : number of outputs.
    activation : name, activation or activation layer; None is linear.
    use_bias : whether to add b.
    kernel_initializer, bias_initializer : names or initializers.
    kernel_regularizer, bias_regularizer : names or regularizers of W and b.
    activity_regularizer : name or regularizer of Y, divided by the rows of the batch.
    kernel_constraint, bias_constraint : names or constraints of W and b, applied after every update.
    name, input_shape, input_dim : as in ``Layer``.

    Raises
    ------
    ValueError
        ``units`` is not a positive integer, or a name is unknown.
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        name: str | None = None,
        input_shape: Sequence[int] | None = None,
        input_dim: int | None = None,
    ) -> None:
        self.units = _positive_integer("units", units)
        self.activation = _find_activation(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = _find_initializer(kernel_initializer)
        self.bias_initializer = _find_initializer(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        if self.bias_constraint is not None:
            self.bias_constraint.rule("bias")
        super().__init__(name=name, input_shape=input_shape, input_dim=input_dim)

    def n_outputs(self, n_in: int) -> int:
        """Return ``units``."""
        return self.units

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's dense op."""
        options = {"n_out": self.units, "use_bias": self.use_bias, **_activation_options(self.activation)}
        for name in ("kernel_regularizer", "bias_regularizer", "activity_regularizer"):
            if getattr(self, name) is not None:
                options[name] = getattr(self, name).factors()
        for parameter in ("kernel", "bias"):
            constraint = getattr(self, f"{parameter}_constraint")
            if constraint is not None:
                options[f"{parameter}_constraint"] = constraint.rule(parameter)
        return "dense", options

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return the kernel (n_in, units) and the bias (units,)."""
        specs = [ParameterSpec("kernel", (n_in, self.units), self.kernel_initializer)]
        if self.use_bias:
            specs.append(ParameterSpec("bias", (self.units,), self.bias_initializer))
        return specs

    @property
    def kernel(self) -> Array:
        """Copy of the kernel, (n_in, units)."""
        return self.read_weight("kernel")

    @property
    def bias(self) -> Array | None:
        """Copy of the bias, (units,); None without one."""
        return self.read_weight("bias") if self.use_bias else None

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": self.activation.get_config(),
            "use_bias": self.use_bias,
            "kernel_initializer": _serialized(self.kernel_initializer),
            "bias_initializer": _serialized(self.bias_initializer),
            **{name: _serialized_or_none(getattr(self, name)) for name in _RULES},
        }


@registry.register("layer", "Activation")
class Activation(Layer):
    """An activation function as a layer: ``Y = f(X)``, Y of X's shape.

    Parameters
    ----------
    activation : name or activation.
    """

    def __init__(
        self,
        activation: Any,
        *,
        name: str | None = None,
        input_shape: Sequence[int] | None = None,
        input_dim: int | None = None,
    ) -> None:
        self.activation = _find_activation(activation)
        super().__init__(name=name, input_shape=input_shape, input_dim=input_dim)

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's activation op."""
        return "activation", _activation_options(self.activation)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "activation": self.activation.get_config()}


class _NamedActivation(Activation):
    """An activation layer whose function is fixed and whose options are its arguments."""

    _function: ClassVar[str]

    def __init__(self, parameters: dict[str, float], **layer_options: Any) -> None:
        checked = {option: _nonnegative(option, value) for option, value in parameters.items()}
        super().__init__(registry.find("activation", self._function).with_parameters(**checked), **layer_options)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**Layer.get_config(self), **self.activation.parameters}


@registry.register("layer", "ReLU")
class ReLU(_NamedActivation):
    """Rectified linear unit: ``min(x, max_value)`` above ``threshold``, else ``negative_slope * (x - threshold)``."""

    _function = "leaky_relu"

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **layer_options: Any,
    ) -> None:
        given = {"negative_slope": negative_slope, "threshold": threshold}
        self.options: dict[str, Any] = {option: _nonnegative(option, value) for option, value in given.items()}
        self.options["max_value"] = None if max_value is None else _nonnegative("max_value", max_value)
        if max_value is not None or threshold != 0.0:
            relu = registry.find("activation", "relu").with_parameters(**self.options)
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

    _function = "leaky_relu"

    def __init__(self, negative_slope: float = 0.3, **layer_options: Any) -> None:
        super().__init__({"negative_slope": negative_slope}, **layer_options)


@registry.register("layer", "ELU")
class ELU(_NamedActivation):
    """Exponential linear unit: x above 0, ``alpha * (exp(x) - 1)`` below (Clevert et al., 2016)."""

    _function = "elu"

    def __init__(self, alpha: float = 1.0, **layer_options: Any) -> None:
        super().__init__({"alpha": alpha}, **layer_options)


@registry.register("layer", "Softmax")
class Softmax(_NamedActivation):
    """Softmax over the columns of each row."""

    _function = "softmax"

    def __init__(self, **layer_options: Any) -> None:
        super().__init__({}, **layer_options)


@registry.register("layer", "Dropout")
class Dropout(Layer):
    """Sets a random fraction of its inputs to 0 in training and scales the rest by ``1 / (1 - rate)``.

    Does nothing in prediction and evaluation (Srivastava et al., 2014).

    Parameters
    ----------
    rate : fraction to drop, 0 <= rate < 1.
    seed : accepted as in Keras; the masks come from the model's seed.
    """

    def __init__(
        self,
        rate: float,
        *,
        seed: int | None = None,
        name: str | None = None,
        input_shape: Sequence[int] | None = None,
        input_dim: int | None = None,
    ) -> None:
        self.rate = _number("rate", rate)
        if not 0.0 <= self.rate < 1.0:
            raise ValueError(f"rate must be at least 0 and less than 1, got {rate!r}")
        self.seed = seed
        super().__init__(name=name, input_shape=input_shape, input_dim=input_dim)

    def op(self, n_in: int) -> tuple[str, dict[str, Any]] | None:
        """Return the core's dropout op."""
        return ("dropout", {"rate": self.rate}) if self.rate > 0.0 else None

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@registry.register("layer", "Flatten")
class Flatten(Layer):
    """Turns each row into a vector; as a first layer it accepts inputs of any shape, such as (n, 28, 28)."""

    def op(self, n_in: int) -> None:
        """Return None: rows of a dense network are vectors already."""


def _find_activation(identifier: Any) -> Any:
    """Return the activation for a name, None, an activation or an activation layer."""
    if isinstance(identifier, Activation):
        return identifier.activation
    base = type(registry.find("activation", "linear"))
    return registry.resolve("activation", "linear" if identifier is None else identifier, base)


def _find_initializer(identifier: Any) -> Any:
    """Return the initializer for a name, class, object, dict or array."""
    if isinstance(identifier, np.ndarray):
        return registry.find("initializer", "constant")(identifier)
    base = registry.find("initializer", "zeros").__mro__[1]
    return registry.resolve("initializer", identifier, base)


def _activation_options(activation: Any) -> dict[str, Any]:
    """Options of a core op that carries an activation."""
    options: dict[str, Any] = {"activation": activation.name}
    if activation.parameters:
        options["parameters"] = tuple(activation.parameters.values())
    return options


_RULES = ("kernel_regularizer", "bias_regularizer", "activity_regularizer", "kernel_constraint", "bias_constraint")


def _serialized_or_none(described: Any) -> dict[str, Any] | None:
    """Return ``_serialized(described)``, None for None."""
    return None if described is None else _serialized(described)


def _serialized(described: Any) -> dict[str, Any]:
    """``{"class_name", "config"}`` of a description."""
    return {"class_name": type(described).__name__, "config": described.get_config()}
