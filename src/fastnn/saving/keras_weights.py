"""Weights in HDF5 files of Keras: which arrays belong to which layer.

Keras 3 keeps the weights of a layer in the group ``layers/dense_1/vars`` under "0", "1", ...; the group's name is the
class and its number among the layers of that class, not the layer's name (``keras/src/saving/saving_lib.py``). The
layers of a model in a model lie in its group, and a layer that several models have lies where it comes first. Files
from before have the attributes ``layer_names`` and ``weight_names`` (``legacy_h5_format.py``); there a model in a model
has one list of arrays, those that training changes first.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.errors import ModelFormatError
from fastnn.layers import Layer, Residual
from fastnn.network.stack import LayerStack
from fastnn.saving.hdf5 import Group

Array = NDArray[Any]


class Part(NamedTuple):
    """A layer as Keras keeps its weights.

    Parameters
    ----------
    class_name : name of its class in Keras.
    layer : the layer or model of fastnn.
    parts : what it is composed of; None for a layer that is not.
    attribute : name under which the layer that holds it has it; None in a list of layers.
    """

    class_name: str
    layer: Any
    parts: "list[Part] | None" = None
    attribute: str | None = None

    def leaves(self) -> list[Any]:
        """Return the layers that are not composed of others, each one once."""
        if self.parts is None:
            return [self.layer]
        return list({id(leaf): leaf for part in self.parts for leaf in part.leaves()}.values())


def parts_of(layers: Sequence[Any]) -> list[Part]:
    """Return the parts of a model with these layers; those of residual blocks stand in place of the blocks."""
    found: list[Part] = []
    for layer in layers:
        if isinstance(layer, Residual):
            found += parts_of(layer.layers)
        elif isinstance(layer, LayerStack):
            found.append(Part(layer.kind, layer, parts_of(layer.layers)))
        elif layer.composes:
            inner = [
                part._replace(attribute=name)
                for name, each in layer.inner_places().items()
                for part in parts_of([each])
            ]
            found.append(Part(type(layer).__name__, layer, inner))
        else:
            found.append(Part(type(layer).__name__, layer))
    return found


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


def keras_variables(parts: Sequence[Part], root: Group, by_name: bool = False) -> dict[int, list[Array]]:
    """Return the variables of the layers of a model in a file of Keras, by the ``id`` of the layer.

    Parameters
    ----------
    parts : the layers.
    root : the root of the file.
    by_name : whether layers have the names in the file; otherwise an old file is read in the order of the layers.

    Raises
    ------
    ModelFormatError
        The file has weights of more layers.
    """
    found: dict[int, list[Array]] = {}
    extra = (
        _take(parts, root, "", found) if root.group("layers") is not None else _take_legacy(parts, root, by_name, found)
    )
    if extra:
        raise ModelFormatError(f"it has weights of layers that the model does not have: {', '.join(extra[:8])}")
    return found


def _take(parts: Sequence[Part], within: Group | None, prefix: str, found: dict[int, list[Array]]) -> list[str]:
    """Find the variables of parts in the group of what holds them; return the names of groups of other layers."""
    listed = None if within is None else within.group("layers")
    names = group_names([part.class_name for part in parts])
    extra = []
    for part, name in zip(parts, names, strict=True):
        holder, place = (listed, name) if part.attribute is None else (within, part.attribute)
        group = None if holder is None else holder.group(place)
        if part.parts is not None:
            extra += _take(part.parts, group, f"{prefix}{place}/", found)
        elif id(part.layer) not in found:
            found[id(part.layer)] = _variables(group)
    others = () if listed is None else [name for name in listed.names() if name not in names]
    return extra + [f"{prefix}{name}" for name in others if listed is not None and _has_weights(listed.group(name))]


def _variables(group: Group | None) -> list[Array]:
    within = None if group is None else group.group("vars")
    return [] if within is None else [within.array(str(number)) for number in range(len(within.names()))]


def _has_weights(group: Group | None) -> bool:
    """Whether a group holds variables, or layers that do."""
    if group is None:
        return False
    listed = group.group("layers")
    return bool(_variables(group)) or (
        listed is not None and any(_has_weights(listed.group(name)) for name in listed.names())
    )


def _take_legacy(parts: Sequence[Part], root: Group, by_name: bool, found: dict[int, list[Array]]) -> list[str]:
    """Find the variables of parts in a file from before Keras 3; return the names of other layers."""
    groups = _legacy_variables(root)
    waiting = [(name, arrays) for name, arrays in groups.items() if arrays]
    for part in parts:
        if by_name:
            arrays = groups.get(part.layer.name, [])
        else:
            arrays = waiting.pop(0)[1] if waiting and any(_trained(leaf) for leaf in part.leaves()) else []
        if part.parts is None:
            found.setdefault(id(part.layer), arrays)
        else:
            _share_out(part, arrays, found)
    return [] if by_name else [name for name, _ in waiting]


def _legacy_variables(root: Group) -> dict[str, list[Array]]:
    """Return the variables of all layers in a file from before Keras 3, by the layers' names."""
    within = root.group("model_weights") or root
    found = {}
    for name in within.texts("layer_names"):
        group = within.group(name)
        if group is None:
            raise ModelFormatError(f"the layer {name[:80]!r} is missing")
        found[name] = [group.array(path) for path in group.texts("weight_names")]
    return found


def _share_out(part: Part, arrays: Sequence[Array], found: dict[int, list[Array]]) -> None:
    """Divide the arrays of a model in a model among its layers."""
    slots = [(leaf, trained) for leaf in part.leaves() for trained in _trained(leaf)]
    if len(slots) != len(arrays):
        raise ValueError(
            f"the model {part.layer.name!r} has {len(arrays)} arrays in the file, {len(slots)} in the model"
        )
    values = iter(arrays)
    order = sorted(range(len(slots)), key=lambda place: not slots[place][1])
    placed = {place: next(values) for place in order}
    given: dict[int, list[Array]] = {}
    for place, (leaf, _) in enumerate(slots):
        given.setdefault(id(leaf), []).append(placed[place])
    for key, values_of_leaf in given.items():
        found.setdefault(key, values_of_leaf)


def _trained(leaf: Any) -> list[bool]:
    """Return whether training changes each of the weights of a layer."""
    if leaf.built:
        return [weight.trainable for weight in leaf.weights]
    return [leaf.trainable and spec.trainable for spec in leaf.parameter_specs(1)]


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
