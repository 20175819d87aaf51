"""First values of weights that follow from the data."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import choice, optional, takes_keywords, whole
from fastnn._randomness import Stream
from fastnn.layers import Dense
from fastnn.network.program import Program
from fastnn.network.stack import require_stack
from fastnn.ops import dense_forward
from fastnn.training.rows import features_of

Array = NDArray[Any]

_STREAM = 1 << 16
"""Number of the sequence of random numbers, apart from those of initializers."""
_BYTES = 1 << 30
"""Most bytes of the hidden values of one layer."""
_COMBINED = 5
"""Rows whose values "he+5" combines."""


@takes_keywords
def initialize_from_data(
    model: Any, X: Any, *, kernel: str | None = "std", bias: str | None = "he+5", seed: int | None = None
) -> None:
    """Give the dense layers of a model first values that suit the data (Holzmüller et al., 2024).

    In the order of the calls, each ``Dense`` and ``NTPDense`` layer that is trained is changed, also within blocks and
    models. "std" divides the kernel's column of each output by the standard deviation of ``X @ W`` (of
    ``X @ W / sqrt(n_in)``) over the rows; where all rows are equal, nothing is changed. "he+5" sets the bias of each
    output to minus a random convex combination of its values in 5 rows, so that the kinks of activations lie among the
    data.

    Parameters
    ----------
    model : a ``Model`` or a ``Sequential``. Values are those of ``predict``: dropout has no effect.
    X : inputs, in the form that ``predict`` takes; at most as many rows as 1 GB of hidden values hold are used.
    kernel : "std" or None.
    bias : "he+5" or None.
    seed : seed of the random numbers; None for the model's.

    Raises
    ------
    TypeError
        ``model`` is not a model.
    ValueError
        X does not suit the model, or a layer gives values that are not finite.

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
    require_stack(model)
    known_seed = optional(whole, "seed", seed, at_least=0)
    rows, program = features_of(model, X, "X")
    model.build_from(program)
    stream = Stream(model.seed if known_seed is None else known_seed, _STREAM)
    before = model.get_weights()
    arrays = rows if isinstance(rows, list) else [rows]
    for layer, buffer, factor in _dense_calls(program):
        width = layer.kernel.shape[0]
        most = max(_BYTES // (model.dtype.itemsize * max(width, layer.units)), 2)
        taken: Any = slice(None)
        if len(arrays[0]) > most:
            taken = np.sort((stream.uniform(most) * len(arrays[0])).astype(np.intp))
        part = [each[taken] for each in arrays]
        hidden = part[buffer] if buffer < len(part) else model.network.predict(part, buffers=[buffer])[0]
        # not NumPy's product: its threads spin for a while after each, on the cores of other networks in training
        values = dense_forward(hidden.astype(np.float64) * factor, layer.kernel.numpy().astype(np.float64))
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = values.std(axis=0)
        if not np.isfinite(deviation).all():  # as where a value is not finite
            model.set_weights(before)
            raise ValueError(f"layer {layer.name!r} gives values of X that are too large: scale X")
        if kernel == "std":
            deviation[np.ptp(values, axis=0) == 0.0] = 1.0  # a mean that is rounded gives equal values a deviation
            layer.kernel.assign((layer.kernel.numpy() / deviation).astype(model.dtype))
            values /= deviation
        if bias == "he+5" and layer.use_bias:
            layer.bias.assign(_minus_combination(values, stream).astype(model.dtype))


def _dense_calls(program: Program) -> Iterator[tuple[Any, int, float]]:
    """Yield each trained dense layer at its first call, with the buffer that it reads and a factor of the buffer."""
    trained = {
        leaf.places[0][0]: leaf.layer
        for leaf in program.leaves
        if isinstance(leaf.layer, Dense) and leaf.layer.trainable
    }
    n_inputs = len(program.input_widths)

    def read_by(number: int) -> int:
        return program.ops[number][1].get("inputs", (number + n_inputs - 1 if number else 0,))[0]  # type: ignore[no-any-return]

    for number in range(len(program.ops)):
        if number in trained:
            buffer, factor = read_by(number), 1.0
            kind, options = program.ops[buffer - n_inputs] if buffer >= n_inputs else ("", {})
            if kind == "multiply" and "number" in options:  # as of NTPDense: the product is computed in float64
                buffer, factor = read_by(buffer - n_inputs), options["number"]
            yield trained[number], buffer, factor


def _minus_combination(values: Array, stream: Stream) -> Array:
    """Return for each column minus a random convex combination of its values in some rows."""
    n, width = values.shape
    rows = np.minimum((stream.uniform(_COMBINED * width) * n).astype(np.intp), n - 1).reshape(_COMBINED, width)
    shares = -np.log1p(-stream.uniform(_COMBINED * width)).reshape(_COMBINED, width)
    combination: Array = (values[rows, np.arange(width)] * shares).sum(axis=0) / shares.sum(axis=0)
    return -combination
