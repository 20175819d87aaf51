"""Layers of a network's structure: Flatten, Identity and residual blocks."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._arguments import choice
from fastnn._variables import Variable
from fastnn.layers.layer import InputLayer, Layer, ParameterSpec, WeightAccess, layer_config, layer_from_config

Array = NDArray[Any]


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

    def op(self, n_in: int) -> None:
        """Return None: the rows of a dense network are vectors."""


@registry.register("layer", "Identity")
class Identity(Layer):
    """Return the inputs unchanged: ``Y = X``."""

    def keeps_elements(self) -> bool:
        """Return True."""
        return True

    def op(self, n_in: int) -> None:
        """Return None."""


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
        if all(layer.op(1) is None for layer in found if not isinstance(layer, Residual)) and not any(
            isinstance(layer, Residual) for layer in found
        ):
            raise ValueError("Residual needs a layer that computes something, such as Dense")
        self.layers: list[Layer] = found
        super().__init__(**layer_options)

    @property
    def trainable(self) -> bool:
        """Whether training changes any layer; assigning freezes or releases all of them."""
        return any(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.layers:
            layer.trainable = value

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

    def lend(self, specs: list[ParameterSpec], access: WeightAccess | None) -> None:
        """Give the layer and those of its block access to their weights, or take it away."""
        super().lend(specs, access)
        for layer in self.layers:
            layer.scope, prefix = f"{self.scope}{self.name}/", f"{layer.name}."
            own = [spec._replace(name=spec.name[len(prefix) :]) for spec in specs if spec.name.startswith(prefix)]
            layer.lend(own, None if access is None else access.part(prefix))

    def weight(self, name: str) -> Variable:
        """Return one weight by name, "layer.weight"."""
        self._built_access()
        layer, name = self._inner(name)
        return layer.weight(name)

    def path_of(self, name: str) -> str:
        """Return the path of one weight, from this layer on."""
        layer, name = self._inner(name)
        return f"{self.name}/{layer.path_of(name)}"

    def _inner(self, name: str) -> tuple[Layer, str]:
        """Return the layer of the block that has a weight, and the weight's name there."""
        layer = next(each for each in self.layers if name.startswith(f"{each.name}."))
        return layer, name.removeprefix(f"{layer.name}.")

    @property
    def losses(self) -> list[float]:
        """The penalties on the weights of the block's layers."""
        return [penalty for layer in self.layers for penalty in layer.losses]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the layers as descriptions."""
        return {**super().get_config(), "layers": [layer_config(layer) for layer in self.layers]}
