"""What the layers of a chain say of its inputs, and whether they fit together."""

import math
from collections.abc import Sequence
from typing import Any

from fastnn.layers import Dense, Flatten, InputLayer, Layer, Normalization


def check_sequence(layers: Sequence[Any]) -> None:
    """Check that the layers fit together in this order.

    Raises
    ------
    ValueError
        An input that is not first, sizes that contradict each other, or two layers of one name.
    """
    names: dict[str, Layer] = {}
    n_outputs: int | None = None
    for position, layer in enumerate(layers):
        if names.setdefault(layer.name, layer) is not layer:
            raise ValueError(f"two layers are called {layer.name!r}; layer names must be unique")
        if position > 0 and isinstance(layer, InputLayer):
            raise ValueError(f"Input must come first, but layer {position} (counted from 0) is an Input")
        declared = layer.declared_input
        if declared is not None:
            if position > 0 and n_outputs is not None and declared != (n_outputs,):
                raise ValueError(
                    f"layer {position} ({layer.name!r}) declares input shape {declared}, but the layer before it, "
                    f"{layers[position - 1].name!r}, has {n_outputs} outputs"
                )
            follower = next((each for each in layers[position:] if not _keeps_shape(each)), layers[-1])
            if len(declared) > 1 and not isinstance(follower, Flatten) and not _keeps_shape(follower):
                raise ValueError(
                    f"layer {follower.name!r} takes rows that are vectors, but the input shape is {declared}: "
                    "put a Flatten layer first"
                )
            n_outputs = math.prod(declared)
        if n_outputs is not None:
            n_outputs = layer.n_outputs(n_outputs)
        elif isinstance(layer, Dense):
            n_outputs = layer.units


def _keeps_shape(layer: Layer) -> bool:
    """Whether a layer takes rows of any shape and keeps the shape."""
    return isinstance(layer, InputLayer) or layer.keeps_elements()


def flattened_shape(layers: Sequence[Layer]) -> tuple[int, ...] | None:
    """Return the shape of the rows that a first ``Flatten`` takes, () for any; None where rows must be vectors."""
    first = next((layer for layer in layers if not _keeps_shape(layer)), None)
    return layers[0].declared_input or () if isinstance(first, Flatten) else None


def takes_missing(layers: Sequence[Layer]) -> bool:
    """Whether NaN in the inputs stands for a missing value, which the first layer replaces."""
    first = next((layer for layer in layers if not isinstance(layer, InputLayer | Flatten)), None)
    return isinstance(first, Normalization) and first.missing is not None


def declared_features(layers: Sequence[Layer]) -> int | None:
    """Return the number of input columns that the layers declare, or have learned; None if the data decide it."""
    if not layers or layers[0].declared_input is None:
        return layers[0].learned_features if layers else None
    return math.prod(layers[0].declared_input)
