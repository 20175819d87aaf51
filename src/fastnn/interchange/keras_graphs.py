"""Graphs of Keras as models: layers that are called several times, models in models, operators on tensors."""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import fastnn.layers as layers
from fastnn._structures import mapped
from fastnn.errors import ModelFormatError
from fastnn.interchange.building import limit_of
from fastnn.interchange.keras_calls import Call, Place, calls_of, places_of, with_calls_from_zero
from fastnn.interchange.keras_layers import LOOKUPS, is_operation, layer_of, layers_of
from fastnn.interchange.keras_operations import operation_of
from fastnn.layers.tensor import KerasTensor, tensors_in
from fastnn.models import Model, Sequential
from fastnn.saving.keras_weights import Part, group_names

_MODELS = ("Sequential", "Functional", "Model")
_MOST_LAYERS = 1000
_MOST_CALLS = 2000
"""Calls of layers, with those in models in models; a network has at most 255 ops."""
_MOST_DEPTH = 20


class GraphReader:
    """Makes the layers and models of a description.

    Parameters
    ----------
    version : of Keras.
    given : bytes of the file.
    dtype : type of the models.
    asset : returns the bytes that an archive holds for a layer under a path, or None.
    """

    def __init__(self, version: str, given: int, dtype: str, asset: Callable[[str], bytes | None]) -> None:
        self._version, self._limit, self._dtype, self._asset = version, limit_of(given), dtype, asset
        self._left = _MOST_LAYERS
        self._shared: dict[int, Part] = {}
        self._n_calls: dict[int, int] = {}

    def parts(self, described: Sequence[Mapping[str, Any]], prefix: str, depth: int = 0) -> list[Part | None]:
        """Return the layers and models of descriptions; None for operations on tensors.

        Parameters
        ----------
        described : the descriptions.
        prefix : path of what holds them, in an archive.
        depth : number of models around them.
        """
        if depth > _MOST_DEPTH:
            raise ModelFormatError(f"it has models in models {_MOST_DEPTH} deep")
        self._left -= len(described)
        if self._left < 0:
            raise ModelFormatError(f"it has more than {_MOST_LAYERS} layers")
        operations = [is_operation(each) for each in described]
        kept = [each for each, is_one in zip(described, operations, strict=True) if not is_one]
        paths = iter(group_names([each["class_name"] for each in kept]))
        return [
            None if is_one else self._part(each, f"{prefix}layers/{next(paths)}/", depth)
            for each, is_one in zip(described, operations, strict=True)
        ]

    def _part(self, described: Mapping[str, Any], path: str, depth: int) -> Part:
        key, kind = described.get("shared_object_id"), described["class_name"]
        known = self._shared.get(key) if isinstance(key, int) else None
        if known is not None and known.class_name == kind:
            return known
        if kind in _MODELS:
            part = self.model(described, path, depth + 1)
        else:
            words = self._asset(f"assets/{path}vocabulary.txt") if kind in LOOKUPS else None
            vocabulary = None if words is None else words.decode().rstrip("\n").splitlines()
            part = Part(kind, layer_of(described, self._version, vocabulary))
        if isinstance(key, int):
            self._shared[key] = part
        return part

    def model(self, described: Mapping[str, Any], path: str = "", depth: int = 0) -> Part:
        """Return a model of a description, without weights."""
        config = described["config"]
        name = config.get("name") if isinstance(config, dict) else None
        inner = layers_of(described)
        parts = self.parts(inner, path, depth)
        if described["class_name"] == "Sequential":
            model: Any = Sequential(None, dtype=self._dtype, name=name)
            model.put(part.layer for part in parts if part is not None)
            self._n_calls[id(model)] = sum(self._cost(part.layer) for part in parts if part is not None)
        else:
            model = self.graph(config, inner, parts, name)
        if isinstance(config, dict) and config.get("trainable") is False:
            model.trainable = False
        return Part(described["class_name"], model, [part for part in parts if part is not None])

    def _cost(self, layer: Any) -> int:
        return self._n_calls.get(id(layer), 1)

    def graph(
        self, config: Mapping[str, Any], described: Sequence[Mapping[str, Any]], parts: Sequence[Part | None], name: Any
    ) -> Model:
        """Return a functional model of its description and its layers, without weights.

        Raises
        ------
        ModelFormatError
            Calls wait for each other in a cycle, or for a tensor that nothing gives; a layer is called in a way that
            fastnn does not know.
        """
        by_name: dict[str, tuple[Mapping[str, Any], Part | None]] = {}
        for each, part in zip(described, parts, strict=True):
            if by_name.setdefault(each["config"]["name"], (each, part))[0] is not each:
                raise ModelFormatError(f"two layers are called {each['config']['name'][:80]!r}")
        models = [key for key, (each, _) in by_name.items() if each["class_name"] in _MODELS]
        ends, calls = with_calls_from_zero(
            [places_of(config.get("input_layers")), places_of(config.get("output_layers"))],
            [call for each in described for call in calls_of(each)],
            models,
        )
        tensors = {(key, 0): _inputs(part.layer) for key, (_, part) in by_name.items() if part and _is_input(part)}
        n_calls = 0

        def call(each: Call) -> list[KerasTensor]:
            nonlocal n_calls
            description, part = by_name[each.layer]
            n_calls += 1 if part is None else self._cost(part.layer)
            if n_calls > _MOST_CALLS:
                raise ModelFormatError(f"its layers are called more than {_MOST_CALLS} times")
            found = self._called(each, description, part, tensors)
            for tensor in found:
                if 8 * _width(tensor) > self._limit:
                    raise ModelFormatError(f"the layer {each.layer[:80]!r} gives more columns than a file may ask for")
            return found

        _in_order(calls, call, tensors)
        inputs, outputs = (mapped(lambda leaf: _at(leaf, tensors), each) for each in ends)
        model = Model.of_tensors(inputs, outputs, name, dtype=self._dtype)
        self._n_calls[id(model)] = n_calls
        return model

    def _called(
        self, call: Call, described: Mapping[str, Any], part: Part | None, tensors: Mapping[Any, Sequence[KerasTensor]]
    ) -> list[KerasTensor]:
        arguments, options = (
            mapped(lambda leaf: _at(leaf, tensors) if isinstance(leaf, Place) else leaf, each)
            for each in (call.arguments, call.options)
        )
        options = {key: value for key, value in options.items() if value is not None}
        if part is None:
            return tensors_in(operation_of(described, arguments, options))
        given = {key: value for key, value in options.items() if tensors_in(value)}
        others = [key for key in options if key not in given]
        if others:
            raise ModelFormatError(
                f"the layer {call.layer[:80]!r} is called with {others[0][:40]}={str(options[others[0]])[:40]}, which "
                "fastnn does not know"
            )
        if described["class_name"] in _MODELS:
            return tensors_in(part.layer(*arguments, *given.values()))
        part.layer(*arguments, **given)
        outputs: list[KerasTensor] = part.layer.nodes[-1].outputs
        return outputs


def _is_input(part: Part) -> bool:
    return isinstance(part.layer, layers.InputLayer)


def _inputs(layer: layers.InputLayer) -> list[KerasTensor]:
    return [layer.tensor()]


def _width(tensor: KerasTensor) -> int:
    width = 1
    for size in tensor.row:
        width *= size
    return width


def _at(place: Any, tensors: Mapping[Any, Sequence[KerasTensor]]) -> Any:
    """Return the tensor of a place; other things are returned as they are."""
    found = tensors.get((place.layer, place.call), ())
    if place.output >= len(found):
        raise ModelFormatError(f"output {place.output} of call {place.call} of {place.layer[:80]!r} is not computed")
    return found[place.output]


def _in_order(
    calls: Sequence[Call], call: Callable[[Call], list[KerasTensor]], tensors: dict[Any, list[KerasTensor]]
) -> None:
    """Make the calls, each one as soon as its tensors are there."""
    users: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    missing: list[set[tuple[str, int]]] = []
    for number, each in enumerate(calls):
        needed = {(place.layer, place.call) for place in each.places()}
        if not needed:
            raise ModelFormatError(f"the layer {each.layer[:80]!r} is called on no tensor")
        missing.append({key for key in needed if key not in tensors})
        for key in missing[-1]:
            users[key].append(number)
    ready = deque(number for number, each in enumerate(missing) if not each)
    n_made = 0
    while ready:
        made = calls[ready.popleft()]
        key = (made.layer, made.number)
        if key in tensors:
            raise ModelFormatError(f"the input {made.layer[:80]!r} is called")
        tensors[key] = call(made)
        n_made += 1
        for user in users[key]:
            missing[user].discard(key)
            if not missing[user]:
                ready.append(user)
    if n_made < len(calls):
        waiting = next(each.layer for each, needed in zip(calls, missing, strict=True) if needed)
        raise ModelFormatError(
            f"the calls of {waiting[:80]!r} and others wait for each other in a cycle, or for what nothing gives"
        )
