"""Layers of users that compose other layers: what is in them, and what ``call`` does with symbolic tensors."""

import inspect
from collections.abc import Mapping
from typing import Any

from fastnn._structures import leaves, mapped
from fastnn.layers.tensor import KerasTensor, Node, common_dtype, tensors_in


def layers_in(value: Any) -> dict[str, Any]:
    """Return the layers and models in attributes, lists, tuples and dicts, in order, each one once.

    The keys say where they are: "first", "towers.0".
    """
    found: dict[str, Any] = {}
    for name, each in value.items() if isinstance(value, Mapping) else enumerate(value):
        if isinstance(each, Mapping | list | tuple):
            inner = {f"{name}.{key}": layer for key, layer in layers_in(each).items()}
        else:
            inner = {str(name): each} if hasattr(type(each), "leaf_layers") else {}
        known = {id(layer) for layer in found.values()}
        found.update({key: layer for key, layer in inner.items() if id(layer) not in known})
    return found


def constructor_arguments(cls: Any, arguments: Any, options: Any) -> dict[str, Any]:
    """Return the arguments of a constructor by name; none if they do not suit it, which it says itself."""
    try:
        bound = inspect.signature(cls.__init__).bind(None, *arguments, **options)
    except TypeError:
        return {}
    found: dict[str, Any] = {}
    for name, value in list(bound.arguments.items())[1:]:
        several = bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        found.update(value if several else {name: value})
    return found


def trace_call(layer: Any, arguments: Any, options: Any) -> Node:
    """Return a call of a user's layer: ``layer.call`` runs on tensors that stand for its inputs.

    A second call with inputs of the same shapes and types uses what the first one gave.

    Raises
    ------
    ValueError
        Inputs of different types, a layer that is not an attribute, or an output that does not depend on the inputs.
    TypeError
        ``call`` returns something else than tensors.
    """
    tensors = tensors_in((arguments, options))
    dtype = common_dtype(f"layer {layer.name!r}", tensors, layer.dtype)
    key = repr(
        mapped(lambda leaf: (leaf.row, leaf.dtype) if isinstance(leaf, KerasTensor) else leaf, (arguments, options))
    )
    if key not in layer.traces:
        layer.traces[key] = _Trace(layer, arguments, options)
    trace = layer.traces[key]
    node = Node(
        layer,
        (arguments, options),
        [each.row for each in trace.outputs],
        [dtype if each.holds_floats else each.declared_dtype for each in trace.outputs],
    )
    node.inner, node.structure = (trace.inputs, trace.outputs), trace.structure
    return node


class _Trace:
    """What ``call`` of a user's layer does: the tensors that stand for its inputs, and those that it returns."""

    def __init__(self, layer: Any, arguments: Any, options: Any) -> None:
        self.inputs: list[KerasTensor] = []
        given, named = mapped(self._stand_in, (arguments, options))
        build = getattr(layer, "build", None)
        if build is not None:
            rows = [each.shape for each in self.inputs]
            build(rows[0] if len(rows) == 1 else rows)
        try:
            self.structure = layer.call(*given, **named)
        except TypeError as error:
            raise TypeError(f"call of layer {layer.name!r}: {error}") from error
        self.outputs = leaves(self.structure)
        wrong = [each for each in self.outputs if not isinstance(each, KerasTensor)]
        if wrong or not self.outputs:
            raise TypeError(
                f"call of layer {layer.name!r} must return tensors that it computes from its inputs with other layers, "
                f"got {wrong[0] if wrong else self.structure!r}"
            )
        if layer._trainable is False:
            layer.trainable = False  # of the layers that __init__ has made since
        self._check_owners(layer)

    def _stand_in(self, leaf: Any) -> Any:
        """Return a tensor that stands for an input, or another argument as it is."""
        if not isinstance(leaf, KerasTensor):
            return leaf
        node = Node(None, ([], {}), [leaf.row], [leaf.declared_dtype])
        self.inputs.append(node.outputs[0])
        return node.outputs[0]

    def _check_owners(self, layer: Any) -> None:
        """Raise for a layer with options that ``call`` makes itself: it would be another one in each call."""
        known = {id(each) for each in layer.inner_layers()}
        waiting, seen = list(self.outputs), set()
        while waiting:
            tensor = waiting.pop()
            node = tensor.node
            if id(node) in seen or any(tensor is each for each in self.inputs):
                continue
            seen.add(id(node))
            if node.layer is not None and id(node.layer) not in known and not node.layer.stateless:
                raise ValueError(
                    f"call of layer {layer.name!r} uses {node.layer.name!r}, which is not one of its attributes: make "
                    "it in __init__, as self.something"
                )
            waiting += node.inputs
