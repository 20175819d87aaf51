"""The base of all layers, and the input."""

import math
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
import fastnn.constraints as constraints
import fastnn.regularizers as regularizers
from fastnn._arguments import flag, float_type, input_type, optional, takes_keywords, whole
from fastnn._derivation import never_calls
from fastnn._missing import Advised
from fastnn._names import automatic_name
from fastnn._variables import Variable, as_variable_values

Array = NDArray[Any]


class ParameterSpec(NamedTuple):
    """One array of weights of a layer.

    Parameters
    ----------
    name : name in the compiled core.
    shape : shape of the array.
    initializer : initializer of its values.
    trainable : whether training changes it.
    """

    name: str
    shape: tuple[int, ...]
    initializer: Any
    trainable: bool = True


def _row_shape(name: str, shape: Any) -> tuple[int, ...]:
    """Return the shape of one row as a tuple of sizes of at least 1."""
    sizes = shape if isinstance(shape, Sequence) and not isinstance(shape, str) else (shape,)
    if len(sizes) == 0:
        raise ValueError(f"{name} must have at least one size, got {shape!r}")
    checked = tuple(whole(f"each size of {name}", size, at_least=1) for size in sizes)
    whole(f"the product of the sizes of {name}", math.prod(checked), at_least=1)
    return checked


class WeightAccess(Protocol):
    """Access of a layer to its weights, by name: in a built model's network, or kept when it left one."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the weights."""

    def read(self, name: str) -> Array:
        """Return a copy."""

    def write(self, name: str, value: Array) -> None:
        """Replace the values."""

    def set_trainable(self, names: Sequence[str], trainable: bool) -> None:
        """Freeze or release the weights of these names."""

    def part(self, prefix: str) -> "WeightAccess":
        """Return access to the weights whose names begin with ``prefix``, by the rest of their names."""


_COMPUTED = (
    "the compiled core computes a layer from its options; use an activation, another layer, or compute the inputs "
    "before the model"
)
_WIDTH = "the shapes follow from the options of the layers"


@never_calls(
    __call__="a model lists layers, it does not call them",
    add_loss="pass a regularizer, or a custom loss to compile",
    add_weight="the weights of a layer follow from its options",
    build="the weights follow from the options; pass an initializer to set their first values",
    call=_COMPUTED,
    compute_mask="rows of a dense network are not masked",
    compute_output_shape=_WIDTH,
    compute_output_spec=_WIDTH,
)
class Layer(Advised, registry.Description):
    """Base of all layers. A class derived from one of fastnn's layers may change its options, not what it computes.

    Parameters
    ----------
    name : name in ``summary()``; by default the class's name and a number.
    input_shape : shape of one row, for the first layer.
    input_dim : number of features, for the first layer; the same as ``input_shape=(input_dim,)``.
    trainable : whether training changes the weights.
    dtype : "float32" or "float64"; it must be the model's. None accepts the model's.

    Attributes
    ----------
    scope : start of the paths of the weights: names of the blocks that hold the layer.
    """

    _place = "layer"
    _needs = "op"
    _instead_of_own = (
        f"{_COMPUTED}. A class of your own may derive from a layer such as Dense and change its options; for a skip "
        "connection use Residual"
    )

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
        self.scope = ""
        self._specs: list[ParameterSpec] = []
        self._access: WeightAccess | None = None
        self._trainable = True
        self.dtype = None if dtype is None else float_type("dtype", dtype)
        if not trainable or not isinstance(trainable, bool | np.bool_):
            self.trainable = trainable
        self.owner: weakref.ref[Any] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except AttributeError:
            is_property = isinstance(getattr(type(self), name, None), property)
            if is_property and isinstance(getattr(self, name), Variable):
                raise AttributeError(
                    f"{name} of layer {self.name!r} lies in the network and cannot be replaced: use "
                    f"layer.{name}.assign(array)"
                ) from None
            raise

    # For models

    def n_outputs(self, n_in: int) -> int:
        """Return the number of output columns for ``n_in`` input columns."""
        return n_in

    def op(self, n_in: int) -> tuple[str, dict[str, Any]] | None:
        """Return the core's op ``(kind, options)``, or None if the layer does nothing."""
        raise NotImplementedError(f"{type(self).__name__} must define op(n_in)")

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return the layer's weights in Keras's order."""
        return []

    def keeps_elements(self) -> bool:
        """Return whether the layer treats all elements alike, so that it may come before ``Flatten``."""
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
        return {
            f"{parameter}_{kind}": registry.describe(kind, getattr(self, f"{parameter}_{kind}"))
            for kind in ("regularizer", "constraint")
            for parameter in parameters
        }

    def lend(self, specs: list[ParameterSpec], access: WeightAccess | None) -> None:
        """Give the layer access to its weights, or take the access away."""
        self._specs = specs
        self._access = access

    # For users

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Raise TypeError: a model lists layers, it does not call them."""
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
        return self._built_access().read(name)

    def _built_access(self) -> WeightAccess:
        if self._access is None:
            raise ValueError(
                f"layer {self.name!r} has no weights yet: give the model an Input, call "
                "model.build((None, n_features)), or fit it"
            )
        return self._access

    def get_weights(self) -> list[Array]:
        """Return copies of the weights, kernel first; an empty list before the model is built."""
        return [self.read_weight(spec.name) for spec in self._specs]

    def weight(self, name: str) -> Variable:
        """Return one weight by name; errors are those of ``read_weight``."""
        self._built_access()
        return Weight(self, name)

    def path_of(self, name: str) -> str:
        """Return the path of one weight, from this layer on."""
        return f"{self.name}/{name}"

    def write_weight(self, name: str, value: Array) -> None:
        """Replace one weight by an array of its shape and type."""
        self._built_access().write(name, value)

    def trains(self, name: str) -> bool:
        """Return whether training changes one weight."""
        return self.trainable and any(spec.name == name and spec.trainable for spec in self._specs)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace the weights: arrays in the order and shapes of ``get_weights()``.

        Raises
        ------
        ValueError
            Wrong number of arrays, wrong shape, or the model is not built yet; no weight is changed.
        """
        for spec, value in zip(self._specs, self.check_weights(weights), strict=True):
            self.write_weight(spec.name, value)

    def check_weights(self, weights: Sequence[Any]) -> list[Array]:
        """Return ``weights`` as arrays; errors are those of ``set_weights``."""
        dtype = self._built_access().dtype
        if len(weights) != len(self._specs):
            raise ValueError(f"layer {self.name!r} has {len(self._specs)} weight arrays, got {len(weights)}")
        return [
            as_variable_values(value, f"{spec.name} of layer {self.name!r}", spec.shape, dtype)
            for spec, value in zip(self._specs, weights, strict=True)
        ]

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
    def weights(self) -> list[Variable]:
        """The weights, in the order of ``get_weights()``."""
        return [self.weight(spec.name) for spec in self._specs]

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training changes."""
        return [weight for weight in self.weights if weight.trainable]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that training leaves unchanged."""
        return [weight for weight in self.weights if not weight.trainable]

    @property
    def losses(self) -> list[float]:
        """The penalties on the weights that training changes; [] before the model is built.

        A penalty on outputs (``activity_regularizer``) is not among them: it belongs to rows, and is in the loss.
        """
        regularizers = [
            (getattr(self, f"{spec.name}_regularizer", None), spec.name)
            for spec in self._specs
            if self.built and self.trains(spec.name)
        ]
        return [float(penalty(self.read_weight(name))) for penalty, name in regularizers if penalty is not None]

    variables = weights
    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments except ``trainable``, which may be set at any time."""
        config: dict[str, Any] = {"name": self.name}
        if self.dtype is not None:
            config["dtype"] = self.dtype.name
        if self.declared_input is not None:
            config["input_shape"] = self.declared_input
        return {**config, **super().get_config()}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


class Weight(Variable):
    """A weight of a layer; its numbers lie in the network.

    Parameters
    ----------
    layer : the layer.
    name : name of the weight, such as "kernel".
    """

    def __init__(self, layer: Layer, name: str) -> None:
        self._layer = layer
        self.name, self.path = name, f"{layer.scope}{layer.name}/{name}"

    def _read(self) -> Array:
        return self._layer.read_weight(self.name)

    def _write(self, value: Array) -> None:
        self._layer.write_weight(self.name, value)

    @property
    def trainable(self) -> bool:
        """Whether training changes the weight."""
        return self._layer.trains(self.name)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        raise AttributeError(f"trainable of {self.path} cannot be set alone: set that of its layer")

    def _change(self, value: Array) -> NoReturn:
        raise TypeError(f"{self.path} cannot be changed in place: use assign, assign_add or assign_sub")

    def __reduce__(self) -> tuple[Any, ...]:
        return np.array, (self.numpy(),)  # a copy cannot share the network


def layer_config(layer: Layer) -> dict[str, Any]:
    """Return the description of a layer; it has ``trainable`` only if the layer is frozen."""
    config = registry.serialize(layer)
    return config if layer.trainable else {**config, "trainable": False}


def layer_from_config(config: Any, custom_objects: registry.CustomObjects | None = None) -> Layer:
    """Return a new layer from the result of ``layer_config``."""
    layer = registry.deserialize("layer", _with_custom_parts(config, custom_objects or {}), custom_objects)
    if not isinstance(layer, Layer):
        raise ValueError(f"the description of a layer gives {layer!r}")
    if config.get("trainable", True) is False:
        layer.trainable = False
    return layer


def _with_custom_parts(config: Any, custom_objects: registry.CustomObjects) -> Any:
    """Return the description of a layer with its custom layers, initializers and the like in place of descriptions."""
    options = config.get("config") if isinstance(config, dict) else None
    if not isinstance(options, dict):
        return config
    made = dict(options)
    for name, value in options.items():
        if name == "layers" and isinstance(value, list):
            made[name] = [layer_from_config(each, custom_objects) for each in value]
        elif isinstance(value, dict) and ("function" in value or value.get("class_name") in custom_objects):
            made[name] = registry.deserialize(name.rpartition("_")[2], value, custom_objects)
    return {**config, "config": made}


@registry.register("layer", "InputLayer")
class InputLayer(Layer):
    """The shape of one input row, as a layer; arguments as in ``Input``."""

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
        input_type("dtype", dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        assert self.declared_input is not None
        return self.declared_input

    def op(self, n_in: int) -> None:
        """Return None: an input does nothing."""

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"name": self.name, "shape": self.shape}


@takes_keywords
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
    """Return a layer that states the shape of one input row: the first entry of a ``Sequential``.

    Parameters
    ----------
    shape : sizes of one row, such as (5,) or (28, 28).
    batch_size, dtype : accepted as in Keras, without effect: batches may have any size, inputs any real type.
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
