"""The model of the values of an ONNX graph: a ``Sequential`` if they are a chain, otherwise a ``Model``."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import DTypeLike, NDArray

import fastnn.layers as layers
from fastnn.interchange.building import build, check_columns, model_of
from fastnn.interchange.onnx_stages import Stage
from fastnn.layers.arithmetic import Arithmetic, GetItem
from fastnn.layers.merging import Merge
from fastnn.models import Model

Array = NDArray[Any]

_OF_GRAPHS = (Arithmetic, GetItem, layers.Embedding, layers.Reshape)
"""Layers that a chain does not have."""


def assembled(inputs: Mapping[str, Stage], outputs: Mapping[str, Stage], dtype: DTypeLike, given: int) -> Any:
    """Return the model that computes values.

    Parameters
    ----------
    inputs, outputs : the values by name.
    dtype : type of the model.
    given : bytes of the file.

    Raises
    ------
    ModelFormatError
        The layers would take much more memory than the file.
    """
    order = _fused(_ordered(list(outputs.values())), outputs)
    ends = [order[id(stage)] for stage in outputs.values()]
    stages = list({id(stage): stage for stage in order.values()}.values())
    check_columns([stage.width for stage in stages], given)
    keys = [_weights_key(stage) for stage in stages]
    if len(inputs) == len(ends) == 1 and len(set(keys) - {None}) == len(keys) - keys.count(None):
        start = next(iter(inputs.values()))
        chain = None if start.integers or not start.row else _chain(ends[0], start)
        if chain is not None and _count(chain) == len(stages) - 1:
            stack = [_layer(each) for each in chain] or [layers.Activation("linear")]
            weights = [array for each in chain for array in _weights(each)]
            return model_of([start.layer, *stack], weights, dtype, given)
    return _graph(inputs, dict(zip(outputs, ends, strict=True)), stages, dtype, given)


def _ordered(ends: Sequence[Stage]) -> list[Stage]:
    """Return all values that others need, each after those that it is computed from."""
    found: dict[int, Stage] = {}
    waiting = list(ends)
    while waiting:
        stage = waiting.pop()
        if id(stage) not in found:
            found[id(stage)] = stage
            waiting += stage.parents
    return sorted(found.values(), key=lambda stage: stage.depth)


def _fused(order: Sequence[Stage], outputs: Mapping[str, Stage]) -> dict[int, Stage]:
    """Return the value that takes the place of each, by ``id``: activations become part of the dense layers before."""
    uses = Counter(id(parent) for stage in order for parent in stage.parents)
    uses.update(id(stage) for stage in outputs.values())
    calls = Counter(key for stage in order if (key := _weights_key(stage)) is not None)
    found: dict[int, Stage] = {}
    left_out: set[int] = set()
    for stage in order:
        before = stage.parents[0] if stage.parents else None
        dense = None if before is None else before.layer
        if (
            isinstance(stage.layer, layers.Activation)
            and before is not None
            and isinstance(dense, layers.Dense)
            and dense.activation.name == "linear"
            and uses[id(before)] == 1
            and calls[_weights_key(before)] < 2
        ):
            made = layers.Dense(dense.units, stage.layer.activation, use_bias=dense.use_bias, trainable=dense.trainable)
            found[id(stage)] = replace(
                before, layer=made, parents=tuple(found[id(parent)] for parent in before.parents)
            )
            left_out.add(id(before))
        else:
            changed = tuple(found[id(parent)] for parent in stage.parents)
            same = all(a is b for a, b in zip(changed, stage.parents, strict=True))
            found[id(stage)] = stage if same else replace(stage, parents=changed)
    return {key: stage for key, stage in found.items() if key not in left_out}


def _chain(end: Stage, start: Stage) -> list[Any] | None:
    """Return the values from one to another, with a list for the block of a sum ``x + block(x)``.

    None if something else lies between them.
    """
    found: list[Any] = []
    at = end
    while at is not start:
        if len(at.parents) == 1 and not isinstance(at.layer, _OF_GRAPHS):
            found.append(at)
            at = at.parents[0]
        elif type(at.layer) is layers.Add and len(at.parents) == 2:
            short, long = sorted(at.parents, key=lambda stage: stage.depth)
            block = None if short is long or long.depth > 250 else _chain(long, short)
            if not block or short.width != long.width:
                return None
            found.append(block)
            at = short
        else:
            return None
    return found[::-1]


def _count(chain: Sequence[Any]) -> int:
    return sum(1 + _count(each) if isinstance(each, list) else 1 for each in chain)


def _layer(each: Any) -> layers.Layer:
    made: layers.Layer = layers.Residual([_layer(inner) for inner in each]) if isinstance(each, list) else each.layer
    return made


def _weights(each: Any) -> list[Array]:
    return [array for inner in each for array in _weights(inner)] if isinstance(each, list) else list(each.weights)


def _weights_key(stage: Stage) -> Any:
    """Return what is equal for layers that have the same arrays of a file as weights; None without such weights.

    Arrays of equal numbers do not count: files store those of several layers once.
    """
    if not any(array.size and (array != array.flat[0]).any() for array in stage.weights):
        return None
    places = [(array.__array_interface__["data"][0], array.shape, array.strides) for array in stage.weights]
    config = {key: str(value) for key, value in stage.layer.get_config().items() if key != "name"}
    return (type(stage.layer).__name__, tuple(sorted(config.items())), tuple(places))


def _graph(
    inputs: Mapping[str, Stage], outputs: Mapping[str, Stage], stages: Sequence[Stage], dtype: DTypeLike, given: int
) -> Model:
    """Return the model of a graph; values with the same weights share a layer."""
    titles = {id(stage): name for name, stage in outputs.items() if stage.parents}
    taken = {*inputs, *(stage.layer.name for stage in stages if stage.parents)}
    starts = []
    for name, stage in inputs.items():
        assert isinstance(stage.layer, layers.InputLayer)
        stage.layer.name = name or stage.layer.name
        starts.append(stage.layer.tensor())
    tensors: dict[int, Any] = {id(stage): tensor for stage, tensor in zip(inputs.values(), starts, strict=True)}
    shared: dict[Any, layers.Layer] = {}
    weights: dict[int, list[Array]] = {}
    for stage in stages:
        if not stage.parents:
            continue
        key = _weights_key(stage)
        layer = stage.layer if key is None else shared.setdefault(key, stage.layer)
        if layer is stage.layer:
            title = titles.get(id(stage))
            layer.name = _free(title if title and title not in taken else layer.name, inputs)
            taken.add(layer.name)
        arguments = [tensors[id(parent)] for parent in stage.parents]
        tensors[id(stage)] = layer(arguments if isinstance(layer, Merge) else arguments[0])
        weights.setdefault(id(layer), stage.weights)
    ends = [tensors[id(stage)] for stage in outputs.values()]
    model = Model.of_tensors(starts if len(starts) > 1 else starts[0], ends if len(ends) > 1 else ends[0], dtype=dtype)
    program = model.program_for()
    build(model, program, [array for leaf in program.leaves for array in weights[id(leaf.layer)]], given)
    return model


def _free(name: str, names: Collection[str]) -> str:
    """Return a name that is not among others."""
    while name in names:
        name += "_"
    return name
