"""Layers of a network's structure: the shape of rows, identity, and residual blocks."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import fastnn._registry as registry
from fastnn._arguments import choice, whole
from fastnn.layers.inputs import InputLayer
from fastnn.layers.layer import Layer, layer_config, layer_from_config
from fastnn.layers.tensor import KerasTensor
from fastnn.layers.weights import ParameterSpec


@registry.register("layer", "Flatten")
class Flatten(Layer):
    """Turn each row into a vector; as the first layer it accepts inputs of any shape, such as (n, 28, 28).

    Parameters
    ----------
    data_format : must be None or "channels_last"; elements keep their order in memory.
    """

    def __init__(self, data_format: str | None = None, **layer_options: Any) -> None:
        choice("data_format", data_format, (None, "channels_last"))
        super().__init__(**layer_options)

    stateless = selects = True

    def row_of(self, *rows: tuple[int, ...]) -> tuple[int, ...]:
        """Return the number of elements of a row."""
        return (math.prod(rows[0]),)

    def op(self, n_in: int) -> None:
        """Return None: the rows of a dense network are vectors."""

    def compute(self, *arguments: Any, **options: Any) -> Any:
        """Return an array (n, ...) with its rows as vectors."""
        return np.asarray(arguments[0]).reshape(len(arguments[0]), -1)


@registry.register("layer", "Reshape")
class Reshape(Layer):
    """Give rows another shape with as many elements, in the same order: such as (n, 1, 8) to (n, 8).

    Parameters
    ----------
    target_shape : shape of one row; -1 stands for the size that is left.
    """

    stateless = selects = True

    def __init__(self, target_shape: Sequence[int], **layer_options: Any) -> None:
        sizes = tuple(target_shape) if isinstance(target_shape, Sequence) else (target_shape,)
        if sum(size == -1 for size in sizes) > 1:
            raise ValueError(f"target_shape may have -1 once, got {target_shape!r}")
        self.target_shape = tuple(size if size == -1 else whole("each size", size, at_least=1) for size in sizes)
        super().__init__(**layer_options)

    def keeps_elements(self) -> bool:
        """Return True."""
        return True

    def row_of(self, *rows: tuple[int, ...]) -> tuple[int, ...]:
        """Return the target shape."""
        n, known = math.prod(rows[0]), math.prod(size for size in self.target_shape if size != -1)
        row = tuple(n // known if size == -1 else size for size in self.target_shape)
        if math.prod(row) != n:
            raise ValueError(
                f"layer {self.name!r} gives rows of shape {self.target_shape}, but it is called on a tensor of shape "
                f"{(None, *rows[0])}, which has {n} elements in a row"
            )
        return row

    def op(self, n_in: int) -> None:
        """Return None: the elements of a row keep their order."""

    def compute(self, *arguments: Any, **options: Any) -> Any:
        """Return an array (n, ...) with rows of the target shape."""
        return np.asarray(arguments[0]).reshape(len(arguments[0]), *self.target_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "target_shape": self.target_shape}


@registry.register("layer", "Identity")
class Identity(Layer):
    """Return the inputs unchanged: ``Y = X``."""

    stateless = selects = True

    def keeps_elements(self) -> bool:
        """Return True."""
        return True

    def op(self, n_in: int) -> None:
        """Return None."""

    def compute(self, *arguments: Any, **options: Any) -> Any:
        """Return the array."""
        return arguments[0]


@registry.register("layer", "Residual")
class Residual(Layer):
    """A block of layers whose input is added to its output: ``Y = X + block(X)`` (He et al., 2016).

    The block must have equal numbers of inputs and outputs. Its weights are those of its layers, in order.

    Parameters
    ----------
    layers : list of layers.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn import layers
    >>> block = layers.Residual([layers.Dense(8, activation="relu"), layers.Dense(3)])
    >>> model = fastnn.Sequential([fastnn.Input((3,)), block])
    >>> model.count_params()
    59
    """

    def __init__(self, layers: Sequence[Any], **layer_options: Any) -> None:
        if isinstance(layers, Layer):
            raise TypeError(f"layers must be a list of layers, got the layer {layers!r}")
        # get_config() gives descriptions.
        found = [layer_from_config(layer) if isinstance(layer, dict) else layer for layer in layers]
        found = [layer.node.layer if isinstance(layer, KerasTensor) else layer for layer in found]
        for layer in found:
            if not isinstance(layer, Layer) or isinstance(layer, InputLayer):
                raise TypeError(f"Residual takes layers, without Input, got {layer!r}")
            if layer.declared_input is not None:
                raise ValueError(f"layer {layer.name!r} states an input shape; in Residual the block's input has none")
            if layer.owner is not None and layer.owner() is not None:
                raise ValueError(f"layer {layer.name!r} belongs to a model already and layers are not shared")
        names = [layer.name for layer in found]
        if len(set(names)) < len(names):
            raise ValueError(f"layer names in Residual must be unique, got {', '.join(names)}")
        if not any(layer.computes() for layer in found):
            raise ValueError("Residual needs a layer that computes something, such as Dense")
        self.layers: list[Layer] = found
        super().__init__(**layer_options)
        self._refuse_factors(True)

    def inner_layers(self) -> list[Any]:
        """Return the layers of the block."""
        return list(self.layers)

    def inner_places(self) -> dict[str, Any]:
        """Return the layers of the block by name."""
        return {layer.name: layer for layer in self.layers}

    def n_outputs(self, n_in: int) -> int:
        """Return ``n_in``.

        Raises
        ------
        ValueError
            The numbers of inputs and outputs of the block differ.
        """
        n_out = n_in
        for layer in self.layers:
            n_out = layer.n_outputs(n_out)
        if n_out != n_in:
            raise ValueError(
                f"Residual layer {self.name!r} adds its input to its output, so both must have the same size: "
                f"it has {n_in} inputs and {n_out} outputs"
            )
        return n_in

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return the core's op that ends the block; the program adds its option ``source``."""
        return "add", {}

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return the weights of the block's layers, named "layer.weight"."""
        specs = []
        for layer in self.layers:
            specs += [spec._replace(name=f"{layer.name}.{spec.name}") for spec in layer.parameter_specs(n_in)]
            n_in = layer.n_outputs(n_in)
        return specs

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the layers as descriptions."""
        return {**super().get_config(), "layers": [layer_config(layer) for layer in self.layers]}
