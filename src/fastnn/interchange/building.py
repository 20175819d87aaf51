"""Models from the layers and weights of a file, as large as the file allows: one array may stand for many weights."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from numpy.typing import DTypeLike, NDArray

from fastnn.errors import ModelFormatError
from fastnn.layers import Layer
from fastnn.models import Sequential
from fastnn.network.program import Program, build_program
from fastnn.network.stack import LayerStack

_FREE = 1 << 22
"""Bytes that a model may have beyond those of its file."""


def model_of(layers: Sequence[Layer], weights: Sequence[NDArray[Any]], dtype: DTypeLike, given: int) -> Sequential:
    """Return the model of layers with their weights; no starting weights are made.

    Parameters
    ----------
    layers : the layers, an ``Input`` first.
    weights : all weights, in the order of ``get_weights()``.
    dtype : type of the model.
    given : bytes of the file.

    Raises
    ------
    ModelFormatError
        The model would take much more memory than the file.
    ValueError
        The layers or the weights do not fit together.
    """
    model = Sequential(None, dtype=dtype)
    model.put(layers)
    n_features = model.n_features
    assert n_features is not None
    _check_size(weights, model.layers, n_features, given)
    build(model, build_program(model.layers, n_features), weights, given)
    return model


def build(model: LayerStack, program: Program, weights: Sequence[NDArray[Any]], given: int) -> None:
    """Give a model without a network its weights; arguments and errors as in ``model_of``."""
    shapes = [spec.shape for spec in program.parameter_specs]
    if [array.shape for array in weights] != shapes:
        raise ValueError(f"the weights have the shapes {[array.shape for array in weights]}, the layers need {shapes}")
    if sum(array.nbytes for array in weights) > limit_of(given):
        raise _too_large(given)
    model.build_from(program, weights)


def limit_of(given: int) -> int:
    """Return the bytes that the weights of a model, or what its layers keep for each column, may take."""
    return 2 * given + _FREE


def check_columns(widths: Iterable[int], given: int) -> None:
    """Raise ``ModelFormatError`` if what layers keep for each of their columns is too much for the file."""
    if 8 * sum(widths) > limit_of(given):
        raise _too_large(given)


def _too_large(given: int) -> ModelFormatError:
    return ModelFormatError(f"the layers take more memory than a file of {given} bytes may ask for")


def _check_size(weights: Sequence[NDArray[Any]], layers: Sequence[Layer], n_features: int, given: int) -> None:
    """Raise if the weights, or what the layers keep for each column, take more than twice the file and 4 MiB."""
    limit = limit_of(given)
    taken, width = sum(array.nbytes for array in weights), n_features
    for layer in layers:
        taken += 8 * width
        if taken > limit or 8 * width > limit:
            break
        needed = sum(math.prod(spec.shape) for spec in layer.parameter_specs(width))
        width = layer.n_outputs(width)
        if 4 * needed > limit:
            break
    else:
        if 8 * width <= limit:
            return
    raise _too_large(given)
