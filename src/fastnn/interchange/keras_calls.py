"""Calls of layers in the descriptions of Keras's functional models, and which models are a chain of layers.

Keras 3 describes a call by its arguments, with ``__keras_tensor__`` where a tensor stands. Keras 2 has lists [layer,
call, output, options], one for each tensor. Both count the calls of a layer; those of a model in a model begin with 1,
because its own definition is call 0, except in some versions.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from fastnn._structures import mapped
from fastnn.errors import ModelFormatError


@dataclass(frozen=True)
class Place:
    """Where a tensor comes from.

    Parameters
    ----------
    layer : name of the layer.
    call : number of the call.
    output : number of the output.
    """

    layer: str
    call: int
    output: int


class Call(NamedTuple):
    """One call of a layer: arguments and options, with ``Place`` in place of tensors."""

    layer: str
    number: int
    arguments: list[Any]
    options: dict[str, Any]

    def places(self) -> list[Place]:
        """Return where the tensors come from."""
        return places_in([self.arguments, self.options])


def places_in(structure: Any) -> list[Place]:
    """Return the places in a structure of them and of other things, in order."""
    if isinstance(structure, Place):
        return [structure]
    if isinstance(structure, Mapping):
        return [place for key in sorted(structure) for place in places_in(structure[key])]
    return [place for each in structure for place in places_in(each)] if isinstance(structure, list) else []


def calls_of(described: Mapping[str, Any]) -> list[Call]:
    """Return the calls of a layer.

    Raises
    ------
    ModelFormatError
        The description has another form.
    """
    name = described["config"]["name"]
    nodes = described.get("inbound_nodes") or []
    if not isinstance(nodes, list):
        raise ModelFormatError(f"the layer {name[:80]!r} has calls of an unknown form")
    return [_call(name, number, node) for number, node in enumerate(nodes)]


def _call(name: str, number: int, node: Any) -> Call:
    if isinstance(node, dict) and isinstance(node.get("args"), list) and isinstance(node.get("kwargs", {}), dict):
        # Whether a layer trains is decided by fit and predict, whatever a call of Keras 3 says.
        options = {key: value for key, value in node.get("kwargs", {}).items() if key != "training"}
        return Call(name, number, _placed(node["args"]), _placed(options))
    given = places_of(node)
    found = places_in(given)
    if not found:
        raise ModelFormatError(f"the layer {name[:80]!r} is called on something other than tensors")
    options = {key: value for each in _entries(node) for key, value in each.items()}
    return Call(name, number, [found[0] if isinstance(given, list) and len(found) == 1 else given], options)


def _placed(value: Any) -> Any:
    """Return a structure of Keras 3 with places, and slices, in place of their descriptions."""
    if isinstance(value, list):
        return [_placed(each) for each in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind == "__keras_tensor__" and isinstance(config, dict):
        return _place(config.get("keras_history"))
    if kind == "__slice__" and isinstance(config, dict):
        return slice(*(config.get(key) for key in ("start", "stop", "step")))
    if kind == "__ellipsis__":
        return Ellipsis
    return {key: _placed(each) for key, each in value.items()}


def _place(history: Any) -> Place:
    if not isinstance(history, list) or len(history) < 3 or not _is_place(history):
        raise ModelFormatError("a tensor does not say which layer gives it")
    return Place(history[0], history[1], history[2])


def _is_place(value: list[Any]) -> bool:
    numbers = value[1:3]
    return isinstance(value[0], str) and all(isinstance(each, int) and each >= 0 for each in numbers)


def places_of(value: Any) -> Any:
    """Return a structure with places for lists [layer, call, output]."""
    if isinstance(value, list):
        return _place(value) if value and isinstance(value[0], str) else [places_of(each) for each in value]
    if isinstance(value, dict):
        return {key: places_of(each) for key, each in value.items()}
    raise ModelFormatError(f"{str(value)[:80]!r} stands where the output of a layer is meant")


def _entries(node: Any) -> list[dict[str, Any]]:
    """Return the options in the lists [layer, call, output, options] of Keras 2."""
    if isinstance(node, list) and node and isinstance(node[0], str):
        return [node[3]] if len(node) > 3 and isinstance(node[3], dict) else []
    inner = node.values() if isinstance(node, dict) else node
    return [options for each in inner for options in _entries(each)]


def with_calls_from_zero(
    structures: Sequence[Any], calls: Sequence[Call], models: Sequence[str]
) -> tuple[list[Any], list[Call]]:
    """Return structures of places, and calls, in which those of models are counted from 0."""
    n_calls: defaultdict[str, int] = defaultdict(int)
    for call in calls:
        n_calls[call.layer] += 1
    named = {place for place in places_in([*structures, *(each for call in calls for each in call.places())])}
    first = {name: int(any(place.layer == name and place.call == n_calls[name] for place in named)) for name in models}

    def moved(leaf: Any) -> Any:
        return replace(leaf, call=leaf.call - first.get(leaf.layer, 0)) if isinstance(leaf, Place) else leaf

    return [mapped(moved, each) for each in structures], [
        Call(call.layer, call.number, mapped(moved, call.arguments), mapped(moved, call.options)) for call in calls
    ]


def chain_of(inputs: Sequence[Place], outputs: Sequence[Place], calls: Sequence[Call], sums: set[str]) -> Any:
    """Return the names of the layers of a model in their order; None if it is not a chain.

    A list [name, [names]] stands for a sum of a value and of what a block of layers makes of it.

    Parameters
    ----------
    inputs, outputs : of the model.
    calls : the calls, in the order of the file.
    sums : names of layers that add.
    """
    if len(inputs) != 1 or len(outputs) != 1:
        return None
    chains: dict[str, list[Any]] = {inputs[0].layer: []}
    for call in calls:
        sources = [place.layer for place in call.places()]
        if call.number or call.layer in chains or any(source not in chains for source in sources):
            return None
        if call.layer in sums and len(sources) == 2:
            short, long = sorted((chains[source] for source in sources), key=len)
            if len(short) == len(long) or short != long[: len(short)]:
                return None
            chains[call.layer] = [*short, [call.layer, long[len(short) :]]]
        elif len(sources) == 1 and call.layer not in sums:
            chains[call.layer] = [*chains[sources[0]], call.layer]
        else:
            return None
    found = chains.get(outputs[0].layer)
    return found if found is not None and len(_flat(found)) == len(calls) else None


def _flat(chain: Sequence[Any]) -> list[str]:
    return [name for each in chain for name in ([each] if isinstance(each, str) else [each[0], *_flat(each[1])])]
