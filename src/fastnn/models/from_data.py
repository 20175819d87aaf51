"""First values of weights that follow from the data."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import choice, takes_keywords, whole
from fastnn._randomness import Stream
from fastnn.layers import Dense, NTPDense
from fastnn.models.hidden import outputs_at
from fastnn.network.graph import nodes_between
from fastnn.ops import dense_forward

Array = NDArray[Any]

_STREAM = 1 << 16
"""Number of the sequence of random numbers, apart from those of initializers."""
_BYTES = 1 << 30
"""Most bytes of the hidden values of one layer."""


@takes_keywords
def initialize_from_data(
    model: Any, X: Any, *, kernel: str | None = "std", bias: str | None = "he+5", seed: int | None = None
) -> None:
    """Give the dense layers of a model first values that suit the data (Holzmüller et al., 2024).

    In the order of the graph, each ``Dense`` and ``NTPDense`` layer is changed. "std" divides the kernel's column of
    each output by the standard deviation of ``X @ W`` (of ``X @ W / sqrt(n_in)``) over the rows; where all rows are
    equal, nothing is changed. "he+5" sets the bias of each output to minus a random convex combination of its values
    in 5 rows, so that the kinks of activations lie among the data.

    Parameters
    ----------
    model : a built ``Model`` without dropout's effect: values are those of ``predict``.
    X : inputs, in the form that ``predict`` takes; at most as many rows as 1 GB of hidden values hold are used.
    kernel : "std" or None.
    bias : "he+5" or None.
    seed : seed of the random numbers; None for the model's.

    Raises
    ------
    ValueError
        The model is a ``Sequential`` or is not built.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> x = fastnn.Input((3,))
    >>> model = fastnn.Model(x, fastnn.layers.NTPDense(4)(x), seed=0)
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> fastnn.models.initialize_from_data(model, X, bias=None)
    >>> bool(np.allclose((model.predict(X, verbose=0) - model.layers[-1].bias.numpy()).std(axis=0), 1.0, atol=1e-5))
    True
    """
    choice("kernel", kernel, ("std", None))
    choice("bias", bias, ("he+5", None))
    if getattr(model, "kind", None) != "Functional":
        raise ValueError(f"model must be a fastnn.Model made of tensors, got {type(model).__name__}")
    stream = Stream(model.seed if seed is None else whole("seed", seed, at_least=0), _STREAM)
    arrays = [np.asarray(each) for each in (X if isinstance(X, list) else [X])]
    for layer, tensor, factor in _dense_calls(model):
        most = max(_BYTES // (model.dtype.itemsize * max(tensor.shape[-1], layer.units)), 2)
        rows = slice(None)
        if len(arrays[0]) > most:
            rows = np.sort((stream.uniform(most) * len(arrays[0])).astype(np.intp))  # type: ignore[assignment]
        part = [each[rows] for each in arrays]
        given = next((place for place, each in enumerate(model.inputs) if each is tensor), None)
        hidden = part[given] if given is not None else outputs_at(model, [tensor], part)[0]
        # not NumPy's product: its threads spin for a while after each, on the cores of other networks in training
        values = dense_forward(hidden.astype(np.float64) * factor, layer.kernel.numpy().astype(np.float64))
        if kernel == "std":
            deviation = values.std(axis=0)
            deviation[np.ptp(values, axis=0) == 0.0] = 1.0  # a mean that is rounded gives equal values a deviation
            layer.kernel.assign((layer.kernel.numpy() / deviation).astype(model.dtype))
            values /= deviation
        if bias == "he+5" and layer.use_bias:
            layer.bias.assign(_minus_combination(values, stream).astype(model.dtype))


def _dense_calls(model: Any) -> Iterator[tuple[Any, Any, float]]:
    """Yield each dense layer with its inputs, and the factor of the inputs; a layer that is called again once."""
    seen: set[int] = set()
    for node in nodes_between(model.inputs, model.outputs):
        layer = node.layer
        inner = layer.dense if isinstance(layer, NTPDense) else layer
        if isinstance(inner, Dense) and id(inner) not in seen:
            seen.add(id(inner))
            tensor = node.inputs[0]
            yield inner, tensor, float(tensor.row[-1]) ** -0.5 if isinstance(layer, NTPDense) else 1.0


def _minus_combination(values: Array, stream: Stream, n_rows: int = 5) -> Array:
    """Return for each column minus a random convex combination of its values in some rows."""
    n, width = values.shape
    rows = np.minimum((stream.uniform(n_rows * width) * n).astype(np.intp), n - 1).reshape(n_rows, width)
    shares = -np.log1p(-stream.uniform(n_rows * width)).reshape(n_rows, width)
    combination: Array = (values[rows, np.arange(width)] * shares).sum(axis=0) / shares.sum(axis=0)
    return -combination
