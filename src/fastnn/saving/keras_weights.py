"""Weights in HDF5 files of Keras: which arrays belong to which layer, and access to files that are not trusted.

Keras 3 keeps the weights of a layer in the group ``layers/dense_1/vars`` under "0", "1", ...; the group's name is the
class and its number among the layers of that class, not the layer's name (``keras/src/saving/saving_lib.py``). Files
from before have the attributes ``layer_names`` and ``weight_names`` (``legacy_h5_format.py``).
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import installed
from fastnn.errors import ModelFormatError
from fastnn.layers import Layer, Residual

Array = NDArray[Any]

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_MOST_NAMES = 4096
_TEXT_LIMIT = 1 << 22


class WeightGroup:
    """A group of an HDF5 file; datasets that lie outside the file, or claim more bytes than it has, are refused.

    Parameters
    ----------
    group : the group of h5py.
    budget : list with the number of bytes that may still be read.
    """

    def __init__(self, group: Any, budget: list[int]) -> None:
        self._group, self._budget = group, budget

    def names(self) -> list[str]:
        """Return the names of the members, which are numbers where Keras counts."""
        if len(self._group) > _MOST_NAMES:
            raise ModelFormatError(f"a group has more than {_MOST_NAMES} members")
        return list(self._group)

    def group(self, path: str) -> "WeightGroup | None":
        """Return a group inside, or None."""
        found = self._member(path)
        return WeightGroup(found, self._budget) if hasattr(found, "keys") else None

    def array(self, path: str) -> Array:
        """Return a dataset of numbers."""
        found = self._member(path)
        if found is None or not hasattr(found, "shape") or found.shape is None:
            raise ModelFormatError(f"the array {path!r} is missing")
        if found.is_virtual or found.external:
            raise ModelFormatError(f"the array {path!r} lies in another file")
        if found.dtype.kind not in "fiu" or found.dtype.itemsize > 8 or found.ndim > 8:
            raise ModelFormatError(f"the array {path!r} does not hold numbers")
        self._spend(found.size * found.dtype.itemsize, path)
        return np.asarray(found[()])

    def text(self, name: str) -> str | None:
        """Return an attribute that is a text, or None."""
        value = self._attribute(name)
        if isinstance(value, bytes | np.bytes_):
            value = bytes(value).decode()
        return value if isinstance(value, str) else None

    def texts(self, name: str) -> list[str]:
        """Return an attribute that is an array of texts; Keras divides long ones into "name0", "name1", ..."""
        parts = [self._attribute(name)]
        if parts[0] is None:
            numbered = (self._attribute(f"{name}{number}") for number in range(100))
            parts = list(itertools.takewhile(lambda part: part is not None, numbered))
        values = [each for part in parts for each in np.ravel(part)[:_MOST_NAMES].tolist()]
        return [each.decode() if isinstance(each, bytes) else str(each) for each in values]

    def _attribute(self, name: str) -> Any:
        attributes = self._group.attrs
        if name not in attributes:
            return None
        handle = attributes.get_id(name)
        if np.prod(handle.shape, dtype=float) * handle.dtype.itemsize > _TEXT_LIMIT:
            raise ModelFormatError(f"the attribute {name!r} is too long")
        return attributes[name]

    def _member(self, path: str) -> Any:
        """Return a member by its path, through links inside this file only."""
        found = self._group
        for part in path.split("/"):
            if not hasattr(found, "keys"):
                return None
            link = found.get(part, getlink=True) if part in found else None
            if link is None:
                return None
            if type(link).__name__ != "HardLink":
                raise ModelFormatError(f"{path!r} is a link, which may point to another file")
            found = found[part]
        return found

    def _spend(self, count: int, path: str) -> None:
        self._budget[0] -= count
        if self._budget[0] < 0:
            raise ModelFormatError(f"the arrays up to {path!r} claim more bytes than the file has")


@contextmanager
def opened_hdf5(file: Any, size: int, what: str) -> Iterator[WeightGroup]:
    """Open an HDF5 file of ``size`` bytes for ``what``, which the error of a missing h5py names."""
    h5py = installed("h5py", what, "keras")
    try:
        with h5py.File(file, "r") as opened:
            yield WeightGroup(opened, [size])
    except (OSError, RuntimeError, KeyError) as error:
        raise ModelFormatError(
            f"it looks like an HDF5 file (.h5), such as Keras writes, but is damaged: {error}"
        ) from None


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


def variables_of(root: WeightGroup, name: str) -> list[Array]:
    """Return the variables of a layer in a file of Keras 3."""
    group = root.group(f"layers/{name}/vars")
    if group is None:
        return []
    return [group.array(str(number)) for number in range(len(group.names()))]


def legacy_variables(root: WeightGroup) -> dict[str, list[Array]]:
    """Return the variables of all layers in a file from before Keras 3, by the layers' names."""
    within = root.group("model_weights") or root
    found = {}
    for name in within.texts("layer_names"):
        group = within.group(name)
        if group is None:
            raise ModelFormatError(f"the layer {name[:80]!r} is missing")
        found[name] = [group.array(path) for path in group.texts("weight_names")]
    return found


def fitted(arrays: Sequence[Array], layer: Layer) -> list[Array]:
    """Return variables in the shapes of the weights of a built layer; one number is that of all features.

    Raises
    ------
    ValueError
        The number of arrays or a shape is another one.
    """
    shapes = [value.shape for value in layer.get_weights()]
    if len(arrays) == len(shapes):
        pairs = zip(arrays, shapes, strict=True)
        arrays = [np.broadcast_to(array.reshape(()), shape) if array.size == 1 else array for array, shape in pairs]
    given = [tuple(array.shape) for array in arrays]
    if given != shapes:
        raise ValueError(f"the weights of layer {layer.name!r} have shapes {given} in the file, {shapes} in the model")
    return list(arrays)


def keras_variables(layers: Sequence[Layer], root: WeightGroup) -> list[tuple[Layer, list[Array]]]:
    """Return the layers of a built model that have weights, each with its variables in a weights file of Keras.

    Raises
    ------
    ModelFormatError
        The file has weights of more layers.
    """
    weighted = [layer for layer in _leaves(layers) if layer.get_weights()]
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
        raise ModelFormatError(f"it has weights of layers that the model has not: {', '.join(extra[:8])}")
    return list(zip(weighted, found, strict=True))


def _leaves(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers, with those of residual blocks in place of the blocks."""
    return [leaf for layer in layers for leaf in (_leaves(layer.layers) if isinstance(layer, Residual) else [layer])]
