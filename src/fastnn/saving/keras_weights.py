"""Weights in HDF5 files of Keras: which arrays belong to which layer.

Keras 3 keeps the weights of a layer in the group ``layers/dense_1/vars`` under "0", "1", ...; the group's name is the
class and its number among the layers of that class, not the layer's name (``keras/src/saving/saving_lib.py``). Files
from before have the attributes ``layer_names`` and ``weight_names`` (``legacy_h5_format.py``).
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.errors import ModelFormatError
from fastnn.layers import Layer, Residual
from fastnn.saving.hdf5 import Group

Array = NDArray[Any]


def snake_case(class_name: str) -> str:
    """Return Keras's name of a group for a class: "p_re_lu" for "PReLU"."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def group_names(class_names: Sequence[str]) -> list[str]:
    """Return the names of the groups of layers of these classes."""
    counts: dict[str, int] = {}
    names = []
    for class_name in class_names:
        name = snake_case(class_name)
        count = counts[name] = counts.get(name, -1) + 1
        names.append(f"{name}_{count}" if count else name)
    return names


def variables_of(root: Group, name: str) -> list[Array]:
    """Return the variables of a layer in a file of Keras 3."""
    group = root.group(f"layers/{name}/vars")
    if group is None:
        return []
    return [group.array(str(number)) for number in range(len(group.names()))]


def legacy_variables(root: Group) -> dict[str, list[Array]]:
    """Return the variables of all layers in a file from before Keras 3, by the layers' names."""
    within = root.group("model_weights") or root
    found = {}
    for name in within.texts("layer_names"):
        group = within.group(name)
        if group is None:
            raise ModelFormatError(f"the layer {name[:80]!r} is missing")
        found[name] = [group.array(path) for path in group.texts("weight_names")]
    return found


def fitted(arrays: Sequence[Array], layer: Layer, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """Return variables in the shapes of the weights of a layer; one number is that of all features.

    Raises
    ------
    ValueError
        The number of arrays or a shape is another one.
    """
    if len(arrays) == len(shapes):
        pairs = zip(arrays, shapes, strict=True)
        arrays = [np.broadcast_to(array.reshape(()), shape) if array.size == 1 else array for array, shape in pairs]
    given = [tuple(array.shape) for array in arrays]
    if given != list(shapes):
        raise ValueError(
            f"the weights of layer {layer.name!r} have shapes {given} in the file, {list(shapes)} in the model"
        )
    return list(arrays)


def keras_variables(layers: Sequence[Layer], root: Group) -> list[tuple[Layer, list[Array]]]:
    """Return the layers of a built model that have weights, each with its variables in a weights file of Keras.

    Raises
    ------
    ModelFormatError
        The file has weights of more layers.
    """
    weighted = [layer for layer in leaves(layers) if layer.weights]
    within = root.group("layers")
    if within is None:
        in_order = {name: arrays for name, arrays in legacy_variables(root).items() if arrays}
        found, extra = list(in_order.values())[: len(weighted)], list(in_order)[len(weighted) :]
        found += [[]] * (len(weighted) - len(found))
    else:
        names = group_names([type(layer).__name__ for layer in weighted])
        found = [variables_of(root, name) for name in names]
        extra = [name for name in within.names() if name not in names and variables_of(root, name)]
    if extra:
        raise ModelFormatError(f"it has weights of layers that the model does not have: {', '.join(extra[:8])}")
    return list(zip(weighted, found, strict=True))


def leaves(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers, with those of residual blocks in place of the blocks."""
    return [leaf for layer in layers for leaf in (leaves(layer.layers) if isinstance(layer, Residual) else [layer])]
