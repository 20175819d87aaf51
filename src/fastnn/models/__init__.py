"""Keras's import path of ``Sequential`` and of what makes one from a file, a description or another model."""

from collections.abc import Callable
from typing import Any

from fastnn.layers import Layer
from fastnn.layers.layer import layer_config, layer_from_config
from fastnn.models.sequential import Sequential
from fastnn.network.stack import Model
from fastnn.saving import load_model, save_model
from fastnn.saving.methods import model_from_json

__all__ = ["Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]


def clone_model(
    model: Sequential, input_tensors: None = None, clone_function: Callable[[Layer], Layer] | None = None
) -> Sequential:
    """Return a model with the same layers and new starting weights, not compiled.

    Parameters
    ----------
    model : the model to copy.
    input_tensors : must be None; fastnn has no symbolic tensors.
    clone_function : returns the new layer for a layer; by default one of the same options.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(2)])
    >>> [value.shape for value in fastnn.models.clone_model(model).get_weights()]
    [(3, 2), (2,)]
    """
    if input_tensors is not None:
        raise ValueError("input_tensors must be None: fastnn has no symbolic tensors")

    def same(layer: Layer) -> Layer:
        return layer_from_config(layer_config(layer))

    copies: list[Any] = [(clone_function or same)(layer) for layer in model._all_layers]
    clone = Sequential(copies, dtype=model.dtype, name=model.name)
    if model.built:
        clone.build(model.input_shape)
    return clone
