"""How large a model may be that comes from a file: one array may stand for many weights."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from numpy.typing import NDArray

from fastnn.errors import ModelFormatError
from fastnn.layers import Layer

_FREE = 1 << 22
"""Bytes that a model may have beyond those of its file."""


def check_size(weights: Iterable[NDArray[Any]], layers: Sequence[Layer], n_features: int, given: int) -> None:
    """Raise unless a model takes about as much memory as its file.

    Parameters
    ----------
    weights : all weights.
    layers : the layers.
    n_features : number of input columns.
    given : bytes of the file.

    Raises
    ------
    ModelFormatError
        The weights, or what the layers keep for each column, take more than twice the bytes of the file and 4 MiB.
    """
    limit = 2 * given + _FREE
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
    raise ModelFormatError(f"the layers take more memory than a file of {given} bytes may ask for")
