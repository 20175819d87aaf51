"""Keras's import path of ``Sequential``, and functions that make one from a file, a description or another model."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastnn._arguments import takes_keywords
from fastnn._missing import public_names
from fastnn._registry import CustomObjects
from fastnn.layers import Layer
from fastnn.layers.layer import layer_config, layer_from_config
from fastnn.models.sequential import Sequential
from fastnn.network.stack import Model

__all__ = ["Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]


@takes_keywords
def load_model(
    filepath: str | os.PathLike[str],
    custom_objects: CustomObjects | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Sequential:
    """Read a model that ``model.save`` wrote.

    Parameters
    ----------
    filepath : the file.
    custom_objects : dict from name to function, for a model with custom losses or metrics.
    compile : whether to restore optimizer, loss and metrics too, so that training can continue.
    safe_mode : accepted as in Keras; a file is data only and never runs code.

    Raises
    ------
    ModelFormatError
        The file is damaged, truncated, malicious, or not written by fastnn.
    ValueError
        A function is missing in ``custom_objects``.
    """
    from fastnn.saving.model_file import read_model

    return read_model(filepath, Sequential, custom_objects, compile)


@takes_keywords
def model_from_json(json_string: str, custom_objects: CustomObjects | None = None) -> Sequential:
    """Return a model with new weights for the result of ``model.to_json()``."""
    from fastnn.saving.model_file import build_model
    from fastnn.saving.safetensors import parse_json

    document = parse_json(json_string, "description")
    if "config" not in document:
        raise ValueError("the description must be the result of model.to_json()")
    return build_model(document["config"], Sequential, custom_objects)


@takes_keywords
def clone_model(
    model: Sequential, input_tensors: None = None, clone_function: Callable[[Layer], Layer] | None = None
) -> Sequential:
    """Return an uncompiled model with the same layers and new starting weights.

    Parameters
    ----------
    model : the model to copy.
    input_tensors : must be None; fastnn has no symbolic tensors.
    clone_function : returns the new layer for a layer; by default one with the same options.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(2)])
    >>> [value.shape for value in fastnn.models.clone_model(model).get_weights()]
    [(3, 2), (2,)]
    """
    if input_tensors is not None:
        raise ValueError("input_tensors must be None: fastnn has no symbolic tensors")
    from fastnn.saving.description import custom_objects_of

    custom_objects = custom_objects_of(model)

    def same(layer: Layer) -> Layer:
        return layer_from_config(layer_config(layer), custom_objects)

    copies: list[Any] = [(clone_function or same)(layer) for layer in model.all_layers]
    clone = Sequential(copies, dtype=model.dtype, name=model.name)
    if model.built:
        clone.build(model.input_shape)
    return clone


if TYPE_CHECKING:
    from fastnn.saving import save_model
else:
    __getattr__, __dir__ = public_names(__name__, __all__, late={"save_model": "fastnn.saving"})
