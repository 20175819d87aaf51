"""A network as a list of steps with plain arrays: what the writers of every language read.

Buffers are numbered: the inputs first, then the output of each step, in order. A step names the buffers that it reads.
Every buffer has rows that are vectors.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.layers.normalization import deviation_of

Array = NDArray[Any]

_TEST_ROWS = 9
"""Rows of a self-test: a whole tile of six rows, and rows that are left."""
_ROW_ACTIVATIONS = ("softmax", "log_softmax")
ARITHMETIC = ("add", "subtract", "multiply", "divide", "average", "maximum", "minimum")
"""Steps that combine buffers element by element, in order; a buffer of width 1 goes with every column."""
PRODUCTS = ("dense", "grouped_product", "member_product")
"""Steps with a kernel: for all columns, for each of the ``groups`` of columns, the same one for each group."""
READS_INPUTS = ("look_up", "discretize", "convert", "robust_scaling")
"""Steps that take the option ``columns`` of their buffer, which may be an input of integers or strings."""


@dataclass(frozen=True)
class Step:
    """One operation.

    Parameters
    ----------
    kind : one of the core's ops that compute something at prediction, where an activation is a step for itself, and
        "mix", of x and an activation of x, is the rest of a parametric one. Before the network: "look_up" (numbers of
        entries), "discretize" (numbers of bins), "hot" (numbers as columns of 0 and 1), "convert" (integers as
        floating-point numbers) and "robust_scaling". Of estimators also "prepare" (inputs), "rescale" (targets) and
        "two_classes".
    inputs : numbers of the buffers that it reads.
    n_in, n_out : columns of its first input, and of its output.
    name : name of the layer that it computes.
    options : by name; of an activation "activation" (the core's name) and "parameters".
    arrays : by name; weights in the network's dtype, the constants of estimators and scalers in float64. Steps of
        a layer that is called several times have the same arrays.
    """

    kind: str
    inputs: tuple[int, ...]
    n_in: int
    n_out: int
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)

    @property
    def operations(self) -> int:
        """Multiply-adds of one row in its product."""
        return self.n_in * self.n_out // self.groups if self.kind in PRODUCTS else 0

    @property
    def groups(self) -> int:
        """Number of groups of columns that are multiplied apart."""
        return int(self.options.get("groups", 1))


@dataclass(frozen=True)
class End:
    """An input or an output.

    Parameters
    ----------
    name : name of the input, or of the layer that gives the output.
    row : shape of a row.
    dtype : type of its elements: that of the network; of an input also int32, int64 or "U", strings.
    columns : names of the columns, or None.
    """

    name: str
    row: tuple[int, ...]
    dtype: np.dtype[Any]
    columns: Sequence[str] | None = None

    @property
    def n(self) -> int:
        """Number of columns of a row that is a vector."""
        return math.prod(self.row)

    @property
    def described_columns(self) -> list[str]:
        """Names of the columns; none where their number is wrong."""
        return [] if self.columns is None or len(self.columns) != self.n else [str(each) for each in self.columns]


@dataclass(frozen=True)
class ExportedNetwork:
    """A whole network.

    Parameters
    ----------
    title : what it is, in a few words.
    dtype : float32 or float64.
    inputs : the inputs: buffers 0, 1, ...
    steps : in order.
    outputs : the outputs.
    results : the buffer of each output.
    evaluate : function from a list of inputs, each (n, columns), to the list of outputs (n, columns) that fastnn
        computes.
    """

    title: str
    dtype: np.dtype[Any]
    inputs: tuple[End, ...]
    steps: tuple[Step, ...]
    outputs: tuple[End, ...]
    results: tuple[int, ...]
    evaluate: Callable[[list[Array]], list[Array]]

    @property
    def operations(self) -> int:
        """Multiply-adds of one row in all products."""
        return sum(step.operations for step in self.steps)

    @property
    def n_weights(self) -> int:
        """Number of weights and constants; those of layers that are called several times count once."""
        arrays = {id(array): array.size for step in self.steps for array in step.arrays.values()}
        return sum(arrays.values())

    def widths(self) -> list[int]:
        """Return the columns of every buffer."""
        return [*(each.n for each in self.inputs), *(step.n_out for step in self.steps)]

    def with_columns(self, inputs: Sequence[str], outputs: Sequence[str]) -> "ExportedNetwork":
        """Return the network with names for the columns of its only input and output."""
        (given,), (result,) = self.inputs, self.outputs
        return replace(self, inputs=(replace(given, columns=inputs),), outputs=(replace(result, columns=outputs),))

    def in_formulas(self) -> "ExportedNetwork":
        """Return the network with steps whose arrays are the constants of their formulas, as ``in_formula`` has it."""
        made: dict[tuple[int, ...], Mapping[str, Array]] = {}  # steps of one layer keep having the same arrays
        steps = []
        for step in self.steps:
            key, arrays = tuple(map(id, step.arrays.values())), in_formula(step, self.dtype).arrays
            steps.append(replace(step, arrays=made.setdefault(key, arrays) if key else arrays))
        return replace(self, steps=tuple(steps))

    def test_rows(self) -> tuple[list[Array], list[Array]]:
        """Return inputs and fastnn's outputs, each (n, columns); the outputs are finite.

        Raises
        ------
        ValueError
            No input gives finite outputs.
        """
        generator = np.random.Generator(np.random.Philox(key=17))
        draws = [generator.standard_normal((_TEST_ROWS, end.n)) for end in self.inputs]
        codes = self._codes()
        for factor in (1.0, 0.1, 0.001, 0.0):
            X = []
            for buffer, (end, draw) in enumerate(zip(self.inputs, draws, strict=True)):
                centre, spread = self._scale(buffer)
                values = centre + factor * draw * spread
                for column in range(end.n):
                    known = codes.get((buffer, column))
                    if known is not None:
                        values[:, column] = known[generator.integers(len(known), size=_TEST_ROWS)]
                X.append(values.astype(end.dtype))
            Y = [np.ascontiguousarray(each, self.dtype) for each in self.evaluate(X)]
            if all(np.isfinite(each).all() for each in (*X, *Y)):
                return X, Y
        raise ValueError("the network gives no finite outputs, so there is nothing to export")

    def _scale(self, buffer: int) -> tuple[Any, Any]:
        """Return centre and spread of the inputs that the network was trained on, or 0 and 1."""
        centre, spread = np.zeros(self.inputs[buffer].n), np.ones(self.inputs[buffer].n)
        for step in self.steps:
            arrays = step.arrays
            if step.inputs == (buffer,) and step.kind == "robust_scaling":
                columns, scale = step.options["columns"], arrays["scale"]
                centre[columns] = arrays["centre"]
                spread[columns] = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0.0)
            if step.inputs == (buffer,) and step.kind == "prepare" and "centre" in arrays:
                return arrays["centre"], arrays["scale"]
            if step.inputs == (buffer,) and step.kind == "normalization" and not step.options["invert"]:
                return arrays["mean"].astype(np.float64), np.sqrt(np.maximum(arrays["variance"].astype(np.float64), 0))
        return centre, spread

    def _codes(self) -> dict[tuple[int, int], Array]:
        """Return the values that a column of an input may have, by input and column, where they are categories."""
        columns: list[Any] = [[(i, column) for column in range(end.n)] for i, end in enumerate(self.inputs)]
        found: dict[tuple[int, int], Array] = {}
        for step in self.steps:
            known = [columns[buffer] for buffer in step.inputs]
            columns.append(None)
            if any(each is None for each in known):
                continue
            options = step.options
            if step.kind == "concatenate":
                columns[-1] = [place for each in known for place in each]
            elif step.kind == "slice":
                columns[-1] = [known[0][i] for i in range(options["start"], options["stop"], options["step"])]
            elif step.kind == "convert":
                columns[-1] = [known[0][i] for i in options["columns"]]
            elif step.kind in ("embedding", "hot"):
                n = len(step.arrays["kernel"]) if step.kind == "embedding" else options["depth"]
                for place in known[0]:
                    smaller = min(n, len(found.get(place, range(n))))
                    found[place] = np.arange(smaller)
            elif step.kind == "look_up":
                found |= {known[0][i]: step.arrays["keys"] for i in options["columns"]}
        return found


def in_formula(step: Step, dtype: np.dtype[Any]) -> Step:
    """Return a step whose arrays are the constants of its formula, rounded as the kernels round them.

    "dense": kernel and bias; normalizations of columns: centre, scale and shift of ``(x - centre) * scale + shift``;
    "layer_normalization" and "feature_scale": scale and shift; "bounded_lines": slope, offset, low and high.
    """
    given, n = step.arrays, step.n_in

    def weight(name: str, default: float, size: int = n) -> Array:
        return given[name] if name in given else np.full(size, default, dtype)

    if step.kind in PRODUCTS:
        bias = weight("bias", 0.0, given["kernel"].shape[1])
        return replace(step, arrays={"kernel": given["kernel"], "bias": bias})
    if step.kind == "feature_scale":
        return replace(step, arrays={"scale": given["scale"], "shift": weight("bias", 0.0, step.n_out)})
    if step.kind == "bounded_lines":
        slope, low, high = given["kernel"]
        return replace(step, arrays={"slope": slope, "offset": given["bias"], "low": low, "high": high})
    if step.kind == "layer_normalization":
        return replace(step, arrays={"scale": weight("gamma", 1.0), "shift": weight("beta", 0.0)})
    if step.kind == "batch_normalization":
        with np.errstate(all="ignore"):
            inverse = 1.0 / np.sqrt(given["moving_variance"].astype(np.float64) + step.options["epsilon"])
            scale = (weight("gamma", 1.0).astype(np.float64) * inverse).astype(dtype)
        return replace(step, arrays={"centre": given["moving_mean"], "scale": scale, "shift": weight("beta", 0.0)})
    if step.kind == "normalization":
        deviation, zeros, invert = deviation_of(given["variance"]), np.zeros(n, dtype), step.options["invert"]
        centre, shift = (zeros, given["mean"]) if invert else (given["mean"], zeros)
        scale = (deviation if invert else 1.0 / deviation).astype(dtype)
        return replace(step, arrays={"centre": centre, "scale": scale, "shift": shift})
    return step


def check_finite(steps: Sequence[Step]) -> None:
    """Raise ValueError where a weight is NaN or infinite, naming the layer."""
    for step in steps:
        for name, array in step.arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"layer {step.name!r} has a {name} that is not finite: it cannot be exported")


def describe_activation(options: Mapping[str, Any]) -> str:
    """Return the name of an activation with its options, such as "elu(1.0)"."""
    given = ", ".join("inf" if math.isinf(value) else repr(float(value)) for value in options["parameters"])
    return f"{options['activation']}({given})" if given else str(options["activation"])


def acts_on_rows(options: Mapping[str, Any]) -> bool:
    """Whether an activation needs a whole row."""
    return options["activation"] in _ROW_ACTIVATIONS
