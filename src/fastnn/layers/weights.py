"""The weights of layers: what describes them, who holds their numbers, and how users see them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

import fastnn.initializers as initializers
from fastnn._arguments import errors_of, flag
from fastnn._variables import Variable, as_variable_values

Array = NDArray[Any]


def initializer_of(argument: str, given: Any, default: Any = None) -> Any:
    """Return the initializer that an argument gives, or ``default`` for None; errors name the argument."""
    with errors_of(argument):
        return initializers.get(default if given is None else given)


class ParameterSpec(NamedTuple):
    """One array of weights of a layer.

    Parameters
    ----------
    name : name of the weight, such as "kernel".
    shape : shape of the array.
    initializer : initializer of its values.
    trainable : whether training changes it.
    """

    name: str
    shape: tuple[int, ...]
    initializer: Any
    trainable: bool = True


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


class Weighted:
    """Base of layers, as far as it has to do with weights.

    A layer that is composed of others has their weights: in the order of its attributes, each one once.
    """

    name: str
    scope: str

    def __init__(self) -> None:
        self._specs: list[ParameterSpec] = []
        self._access: WeightAccess | None = None
        self._trainable = True

    def inner_layers(self) -> list[Any]:
        """Return the layers and models that this layer is composed of."""
        return []

    def leaf_layers(self) -> list[Any]:
        """Return the layers that have weights of their own and are not composed of others: this one, or those in it."""
        return leaves_of(self.inner_layers()) or [self]

    def lend(self, specs: list[ParameterSpec], access: WeightAccess | None) -> None:
        """Give the layer access to its weights, or take the access away."""
        self._specs = specs
        self._access = access

    def _held(self) -> list[tuple[Any, ParameterSpec]]:
        """Return the layers that have the weights, and the weights, in order."""
        return [(leaf, spec) for leaf in self.leaf_layers() for spec in leaf._specs]

    @property
    def built(self) -> bool:
        """Whether the layer belongs to a built model."""
        return any(leaf._access is not None for leaf in self.leaf_layers())

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights; may be set at any time."""
        inner = self.inner_layers()
        return any(layer.trainable for layer in inner) if inner else self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        trained = flag("trainable", value)
        if self._access is not None and self._specs:
            self._access.set_trainable([spec.name for spec in self._specs], trained)
        self._trainable = trained
        for layer in self.inner_layers():
            layer.trainable = trained

    @property
    def holder(self) -> WeightAccess | None:
        """What holds the last values of the weights; None before the layer belongs to a built model."""
        return self._access

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
        return [leaf.read_weight(spec.name) for leaf, spec in self._held()]

    def weight(self, name: str) -> Variable:
        """Return one weight by name; errors are those of ``read_weight``."""
        self._built_access()
        return Weight(self, name)

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
        for (leaf, spec), value in zip(self._held(), self.check_weights(weights), strict=True):
            leaf.write_weight(spec.name, value)

    def check_weights(self, weights: Sequence[Any]) -> list[Array]:
        """Return ``weights`` as arrays; errors are those of ``set_weights``."""
        held = self._held()
        dtype = (held[0][0] if held else self)._built_access().dtype
        if len(weights) != len(held):
            raise ValueError(f"layer {self.name!r} has {len(held)} weight arrays, got {len(weights)}")
        return [
            as_variable_values(value, f"{spec.name} of layer {leaf.name!r}", spec.shape, dtype)
            for (leaf, spec), value in zip(held, weights, strict=True)
        ]

    def count_params(self) -> int:
        """Return the number of weights.

        Raises
        ------
        ValueError
            The model is not built yet.
        """
        if not self.built:
            raise ValueError(f"layer {self.name!r} is not built yet, so its number of weights is not known")
        return sum(math.prod(spec.shape) for _, spec in self._held())

    @property
    def weights(self) -> list[Variable]:
        """The weights, in the order of ``get_weights()``."""
        return [leaf.weight(spec.name) for leaf, spec in self._held()]

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
            (getattr(leaf, f"{spec.name}_regularizer", None), leaf, spec.name)
            for leaf, spec in self._held()
            if leaf.built and leaf.trains(spec.name)
        ]
        return [float(penalty(leaf.read_weight(name))) for penalty, leaf, name in regularizers if penalty is not None]

    variables = weights
    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights


def leaves_of(layers: Sequence[Any]) -> list[Any]:
    """Return the layers in layers and models that are not composed of others: each one once, in order."""
    return list({id(leaf): leaf for layer in layers for leaf in layer.leaf_layers()}.values())


class Weight(Variable):
    """A weight of a layer; its numbers lie in the network.

    Parameters
    ----------
    layer : the layer.
    name : name of the weight, such as "kernel".
    """

    def __init__(self, layer: Weighted, name: str) -> None:
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
