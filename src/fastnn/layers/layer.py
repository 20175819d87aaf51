"""The base of all layers, and the input."""

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
import fastnn.constraints as constraints
import fastnn.regularizers as regularizers
from fastnn._arguments import flag, float_type, optional, whole
from fastnn._names import automatic_name

Array = NDArray[Any]


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


def _row_shape(name: str, shape: Any) -> tuple[int, ...]:
    """Return the shape of one row as a tuple of positive whole numbers."""
    sizes = shape if isinstance(shape, Sequence) and not isinstance(shape, str) else (shape,)
    if len(sizes) == 0:
        raise ValueError(f"{name} must have at least one size, got {shape!r}")
    checked = tuple(whole(f"each size of {name}", size, at_least=1) for size in sizes)
    whole(f"the product of the sizes of {name}", math.prod(checked), at_least=1)
    return checked


class WeightAccess(Protocol):
    """Access of a layer to its weights, by name: in a built model's network, or kept when it left one."""

    def read(self, name: str) -> Array:
        """Return a copy."""

    def write(self, name: str, value: Array) -> None:
        """Replace the values."""

    def set_trainable(self, names: Sequence[str], trainable: bool) -> None:
        """Freeze or release the weights of these names."""

    def part(self, prefix: str) -> "WeightAccess":
        """Return access to the weights whose names begin with ``prefix``, by the rest of their names."""


class Layer(registry.Description):
    """Base of all layers.

    Parameters
    ----------
    name : name in ``summary()``; by default the class's name and a number.
    input_shape : shape of one row, for a first layer.
    input_dim : number of features, for a first layer; the same as ``input_shape=(input_dim,)``.
    trainable : whether training changes the weights.
    dtype : the model's, "float32" or "float64", which a layer cannot change; None takes it.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        input_shape: Sequence[int] | None = None,
        input_dim: int | None = None,
        trainable: bool = True,
        dtype: Any = None,
    ) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string, got {name!r}")
        if input_shape is not None and input_dim is not None:
            raise ValueError("give input_shape or input_dim, not both")
        self.declared_input: tuple[int, ...] | None = None
        if input_dim is not None:
            self.declared_input = (whole("input_dim", input_dim, at_least=1),)
        elif input_shape is not None:
            self.declared_input = _row_shape("input_shape", input_shape)
        self.name = name if name is not None else automatic_name(type(self).__name__)
        self._specs: list[ParameterSpec] = []
        self._access: WeightAccess | None = None
        self._trainable = True
        self.dtype = None if dtype is None else float_type("dtype", dtype)
        if not trainable or not isinstance(trainable, bool | np.bool_):
            self.trainable = trainable
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

    def keeps_elements(self) -> bool:
        """Whether the layer treats every element alike, so that it may come before ``Flatten``."""
        return False

    def _regularize(self, parameter: str, regularizer: Any, constraint: Any) -> None:
        """Set the regularizer and the constraint of a weight, such as ``beta_regularizer`` and ``beta_constraint``."""
        setattr(self, f"{parameter}_regularizer", regularizers.get(regularizer))
        found = constraints.get(constraint)
        if found is not None and parameter != "kernel":
            found.rule("bias")  # raises for an axis that a vector does not have
        setattr(self, f"{parameter}_constraint", found)

    def _training_options(self, *parameters: str) -> dict[str, Any]:
        """Return the options of a core op that say how some weights are trained."""
        options: dict[str, Any] = {"trainable": self._trainable}
        for parameter in parameters:
            regularizer = getattr(self, f"{parameter}_regularizer")
            constraint = getattr(self, f"{parameter}_constraint")
            if regularizer is not None:
                options[f"{parameter}_regularizer"] = regularizer.factors()
            if constraint is not None:
                options[f"{parameter}_constraint"] = constraint.rule("kernel" if parameter == "kernel" else "bias")
        return options

    def _regularization_config(self, *parameters: str) -> dict[str, Any]:
        """Return the descriptions of the regularizers and constraints of some weights."""
        names = [f"{parameter}_{what}" for what in ("regularizer", "constraint") for parameter in parameters]
        described = {name: getattr(self, name) for name in names}
        return {name: None if each is None else registry.serialize(each) for name, each in described.items()}

    def lend(self, specs: list[ParameterSpec], access: WeightAccess | None) -> None:
        """Give the layer access to its weights in a built model, or take it away."""
        self._specs = specs
        self._access = access

    # What a user asks of a layer.

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Raise TypeError: layers are listed in a model, not called."""
        raise TypeError(
            f"layer {self.name!r} cannot be called: list layers in fastnn.Sequential([...]), with a "
            "fastnn.layers.Residual for a branch; model(x) and model.predict(x) take arrays"
        )

    @property
    def built(self) -> bool:
        """Whether the layer belongs to a built model."""
        return self._access is not None

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights; may be set at any time."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        trained = flag("trainable", value)
        if self._access is not None and self._specs:
            self._access.set_trainable([spec.name for spec in self._specs], trained)
        self._trainable = trained

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

    @property
    def weights(self) -> list[Array]:
        """Copies of the weights; the same as ``get_weights()``."""
        return self.get_weights()

    @property
    def trainable_weights(self) -> list[Array]:
        """Copies of the weights that training changes."""
        return [self.read_weight(spec.name) for spec in self._specs if spec.trainable and self.trainable]

    @property
    def non_trainable_weights(self) -> list[Array]:
        """Copies of the weights that training leaves unchanged."""
        return [self.read_weight(spec.name) for spec in self._specs if not (spec.trainable and self.trainable)]

    variables = weights
    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, save ``trainable``, which may be set at any time."""
        config: dict[str, Any] = {"name": self.name}
        if self.dtype is not None:
            config["dtype"] = self.dtype.name
        if self.declared_input is not None:
            config["input_shape"] = self.declared_input
        return {**config, **super().get_config()}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def layer_config(layer: Layer) -> dict[str, Any]:
    """Return the description of a layer; it has ``trainable`` only if the layer is frozen."""
    config = registry.serialize(layer)
    return config if layer.trainable else {**config, "trainable": False}


def layer_from_config(config: Any, custom_objects: registry.CustomObjects | None = None) -> Layer:
    """Return a new layer from the result of ``layer_config``."""
    layer = registry.deserialize("layer", config, custom_objects)
    if not isinstance(layer, Layer):
        raise ValueError(f"the description of a layer gives {layer!r}")
    if config.get("trainable", True) is False:
        layer.trainable = False
    return layer


@registry.register("layer", "InputLayer")
class InputLayer(Layer):
    """States the shape of one input row; its arguments are those of ``Input``."""

    def __init__(
        self,
        shape: Sequence[int] | int | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        if sparse or ragged:
            raise ValueError(f"inputs are dense arrays: sparse and ragged must be None, got {sparse!r}, {ragged!r}")
        if (shape is None) == (batch_shape is None):
            raise ValueError(
                f"give shape or batch_shape, one of them, got shape={shape!r}, batch_shape={batch_shape!r}"
            )
        if batch_shape is not None:
            batch_size, shape = batch_shape[0], batch_shape[1:]  # type: ignore[assignment]
        optional(whole, "batch_size", batch_size, at_least=1)
        super().__init__(name=name, input_shape=_row_shape("shape", shape))
        # What inputs are given as; they may be of any real type.
        np.dtype(dtype)

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


def Input(
    shape: Sequence[int] | int | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    *,
    name: str | None = None,
) -> InputLayer:
    """State the shape of one input row: the first entry of a ``Sequential``.

    Parameters
    ----------
    shape : sizes of one row, such as (5,) or (28, 28).
    batch_size, dtype : accepted as in Keras; batches of any size and inputs of any real type are taken.
    sparse, ragged : must be None or False.
    batch_shape : ``(batch_size, *shape)`` instead of ``shape``.
    name : name of the layer.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Sequential([fastnn.Input((5,)), fastnn.layers.Dense(1)])
    >>> model.count_params()
    6
    """
    return InputLayer(shape, batch_size, dtype, sparse, ragged, batch_shape, name=name)
