"""Graphs of layers as data: the layers with the calls of each, and the way back to symbolic tensors."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from fastnn._registry import CustomObjects
from fastnn._structures import mapped
from fastnn.layers.layer import layer_config, layer_from_config
from fastnn.layers.tensor import KerasTensor, Node
from fastnn.network.graph import nodes_between

_TENSOR = "tensor"
"""Key of what stands for a tensor: numbers of its layer in the list of layers, of the call, and of the output."""


def graph_config(model: Any) -> dict[str, Any]:
    """Return the layers of a model with their calls, and its inputs and outputs."""
    calls: defaultdict[int, list[Node]] = defaultdict(list)
    for node in nodes_between(model.inputs, model.outputs):
        calls[id(node.layer)].append(node)
    numbers = {id(layer): number for number, layer in enumerate(model.all_layers)}
    places = {
        id(tensor): [numbers[id(node.layer)], number, place]
        for nodes in calls.values()
        for number, node in enumerate(nodes)
        for place, tensor in enumerate(node.outputs)
    }
    places.update({id(tensor): [numbers[id(tensor.node.layer)], 0, 0] for tensor in model.inputs})

    def described(leaf: Any) -> Any:
        return {_TENSOR: places[id(leaf)]} if isinstance(leaf, KerasTensor) else leaf

    layers = []
    for layer in model.all_layers:
        arguments = [mapped(described, node.arguments) for node in calls[id(layer)]]
        config = layer_config(layer)
        config["calls"] = [[list(given), options] for given, options in arguments]
        layers.append(config)
    return {
        "layers": layers,
        "input_layers": mapped(described, model.input),
        "output_layers": mapped(described, model.output),
    }


def graph_from_config(config: Mapping[str, Any], custom_objects: CustomObjects | None) -> tuple[Any, Any]:
    """Return the inputs and outputs of the result of ``graph_config``, as structures of symbolic tensors.

    Raises
    ------
    ValueError
        A call takes tensors that no other call gives, or calls wait for each other in a cycle.
    """
    layers: list[Any] = []
    waiting: list[tuple[Any, Any]] = []
    for number, described in enumerate(config["layers"]):
        only = {key: value for key, value in described.items() if key != "calls"}
        layers.append(layer_from_config(only, custom_objects))
        waiting += [(number, call) for call in described["calls"]]
    tensors: dict[tuple[int, int], list[KerasTensor]] = {
        (number, 0): [layer.tensor()] for number, layer in enumerate(layers) if hasattr(layer, "tensor")
    }
    made: defaultdict[int, int] = defaultdict(int)
    while waiting:
        postponed = []
        blocked: set[int] = set()
        for number, call in waiting:
            if number in blocked or any(place not in tensors for place in _places(call)):
                blocked.add(number)
                postponed.append((number, call))
                continue
            given, options = _with_tensors(call, tensors)
            layers[number](*given, **options)
            tensors[number, made[number]] = layers[number].nodes[-1].outputs
            made[number] += 1
        if len(postponed) == len(waiting):
            names = ", ".join(repr(layers[number].name) for number, _ in postponed)
            raise ValueError(f"the calls of {names} wait for each other in a cycle, or for tensors that nothing gives")
        waiting = postponed
    return _with_tensors(config["input_layers"], tensors), _with_tensors(config["output_layers"], tensors)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {_TENSOR}


def _places(structure: Any) -> list[tuple[int, int]]:
    """Return layer and call of each tensor in a structure."""
    if _is_tensor(structure):
        number, call, _ = structure[_TENSOR]
        return [(number, call)]
    if isinstance(structure, Mapping):
        return [place for each in structure.values() for place in _places(each)]
    return [place for each in structure for place in _places(each)] if isinstance(structure, list) else []


def _with_tensors(structure: Any, tensors: Mapping[tuple[int, int], Sequence[KerasTensor]]) -> Any:
    """Return a structure with tensors in place of what stands for them."""
    if _is_tensor(structure):
        number, call, place = structure[_TENSOR]
        return tensors[number, call][place]
    if isinstance(structure, Mapping):
        return {key: _with_tensors(each, tensors) for key, each in structure.items()}
    return [_with_tensors(each, tensors) for each in structure] if isinstance(structure, list) else structure
