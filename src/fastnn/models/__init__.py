"""Keras's import path of ``Sequential``, and functions that make one from a file, a description or another model."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fastnn._arguments import flag, takes_keywords
from fastnn._missing import public_names
from fastnn._registry import CustomObjects
from fastnn._structures import filled, mapped
from fastnn.layers import Input
from fastnn.layers.layer import layer_config, layer_from_config
from fastnn.layers.sharing import describing, making
from fastnn.layers.tensor import tensors_in
from fastnn.models.model import Model
from fastnn.models.sequential import Sequential
from fastnn.network.graph import nodes_between, tensors_of
from fastnn.network.stack import require_stack

__all__ = [
    "Model",
    "Sequential",
    "clone_model",
    "initialize_from_data",
    "load_model",
    "model_from_json",
    "save_model",
]


@takes_keywords
def load_model(
    filepath: str | os.PathLike[str],
    custom_objects: CustomObjects | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """Read a model that ``model.save`` wrote.

    Parameters
    ----------
    filepath : the file.
    custom_objects : dict from name to function, for a model with custom losses or metrics.
    compile : whether to restore optimizer, loss and metrics too, so that training can continue.
    safe_mode : True or False: a file is data only and never runs code.

    Raises
    ------
    ModelFormatError
        The file is damaged, truncated, malicious, or not written by fastnn.
    ValueError
        A function is missing in ``custom_objects``.
    """
    from fastnn.saving.model_file import read_model

    flag("compile", compile), flag("safe_mode", safe_mode)
    if not isinstance(custom_objects, Mapping | None):
        raise TypeError(f"custom_objects must be a dict from name to function or class, got {custom_objects!r}")
    return read_model(filepath, Sequential, custom_objects, compile)


@takes_keywords
def model_from_json(json_string: str, custom_objects: CustomObjects | None = None) -> Any:
    """Return a model with new weights for the result of ``model.to_json()``."""
    from fastnn.saving.model_file import build_model
    from fastnn.saving.safetensors import parse_json

    document = parse_json(json_string, "description")
    if "config" not in document:
        raise ValueError("the description must be the result of model.to_json()")
    return build_model(document["config"], Sequential, custom_objects)


@takes_keywords
def clone_model(model: Model, input_tensors: Any = None, clone_function: Callable[[Any], Any] | None = None) -> Any:
    """Return an uncompiled model with the same layers and new starting weights.

    Parameters
    ----------
    model : the model to copy.
    input_tensors : symbolic tensors to make a graph on, in the form of ``model.input``; None for new inputs. It must be
        None for a ``Sequential``.
    clone_function : returns the new layer for a layer; by default one with the same options.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(2)])
    >>> [value.shape for value in fastnn.models.clone_model(model).get_weights()]
    [(3, 2), (2,)]
    """
    from fastnn.saving.description import custom_objects_of

    require_stack(model)
    if clone_function is not None and not callable(clone_function):
        raise TypeError(f"clone_function must be a function of a layer that returns one, got {clone_function!r}")
    custom_objects = custom_objects_of(model)

    def same(layer: Any) -> Any:
        return layer_from_config(layer_config(layer), custom_objects)

    chosen = clone_function or same
    if not isinstance(model, Sequential):
        with describing(), making():
            return _cloned_graph(model, input_tensors, chosen)
    if input_tensors is not None:
        raise ValueError("input_tensors must be None for a Sequential, which makes its own input")
    with describing(), making():
        copies: list[Any] = [chosen(layer) for layer in model.all_layers]
    clone = Sequential(copies, dtype=model.dtype, name=model.name)
    if model.built:
        clone.build(model.input_shape)
    return clone


def _cloned_graph(model: Model, input_tensors: Any, clone_function: Callable[[Any], Any]) -> Model:
    """Return a graph with the same calls of new layers."""
    starts = model.inputs if input_tensors is None else tensors_of(input_tensors, "input_tensors")
    if [each.shape for each in starts] != [each.shape for each in model.inputs]:
        raise ValueError(
            f"input_tensors must have the shapes {[each.shape for each in model.inputs]}, got "
            f"{[each.shape for each in starts]}"
        )
    if input_tensors is None:
        starts = [Input(each.row, dtype=each.declared_dtype, name=each.name) for each in model.inputs]
    known = {id(old): new for old, new in zip(model.inputs, starts, strict=True)}
    layers: dict[int, Any] = {}
    for node in nodes_between(model.inputs, model.outputs):
        if id(node.layer) not in layers:
            layers[id(node.layer)] = clone_function(node.layer)
        arguments, options = mapped(lambda leaf: known.get(id(leaf), leaf), node.arguments)
        found = tensors_in(layers[id(node.layer)](*arguments, **options))
        known.update({id(old): new for old, new in zip(node.outputs, found, strict=True)})
    inputs = filled(model.input, iter(starts))
    outputs = mapped(lambda leaf: known[id(leaf)], model.output)
    return Model(inputs, outputs, name=model.name, dtype=model.dtype)


if TYPE_CHECKING:
    from fastnn.models.from_data import initialize_from_data
    from fastnn.saving import save_model
else:
    __getattr__, __dir__ = public_names(
        __name__, __all__, late={"fastnn.models.from_data": ("initialize_from_data",), "fastnn.saving": ("save_model",)}
    )
