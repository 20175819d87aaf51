"""Values of an ONNX graph that layers of fastnn compute, and the layers that compute a formula."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn.layers as layers
from fastnn.errors import ModelFormatError
from fastnn.interchange.onnx_expressions import Formula, Matcher, Variable, affine, filled_gaps
from fastnn.interchange.onnx_file import Node
from fastnn.layers.arithmetic import Arithmetic

Array = NDArray[Any]

_LEAST_SCALE = 1e-7


@dataclass(eq=False)
class Stage:
    """A value that a layer computes from others; an input if there are none.

    Parameters
    ----------
    parents : the values that the layer takes.
    layer : the layer.
    weights : its weights.
    row : shape of a row.
    integers : whether these are whole numbers of an input.
    reused : whether several operators take the value.
    """

    parents: tuple["Stage", ...]
    layer: layers.Layer
    weights: list[Array]
    row: tuple[int, ...]
    integers: bool = False
    reused: bool = False

    def __post_init__(self) -> None:
        self.depth: int = 1 + max((parent.depth for parent in self.parents), default=-1)

    @property
    def width(self) -> int:
        """Number of columns."""
        return math.prod(self.row)

    def then(self, layer: layers.Layer, weights: list[Array], width: int | None = None) -> "Stage":
        """Return the value of one more layer."""
        return Stage((self,), layer, weights, self.row if width is None else (width,))

    def selected(self, layer: layers.Layer, row: tuple[int, ...]) -> "Stage":
        """Return columns of the value, or the value with rows of another shape."""
        return Stage((self,), layer, [], row, self.integers)


_MERGING: dict[str, Callable[[], layers.Layer]] = {
    "Add": layers.Add,
    "Sum": layers.Add,
    "Sub": layers.Subtract,
    "Mul": layers.Multiply,
    "Div": lambda: Arithmetic("divide"),
    "Mean": layers.Average,
    "Max": layers.Maximum,
    "Min": layers.Minimum,
}
"""Layers of operators that combine several values element by element."""


def merges(node: Node) -> bool:
    """Whether an operator combines several values element by element."""
    return node.operator in _MERGING


def merged(node: Node, stages: Sequence[Stage]) -> Stage:
    """Return what an operator makes of several values.

    Raises
    ------
    ModelFormatError
        Their shapes do not fit.
    """
    if len(stages) == 1:
        return stages[0]
    try:
        layer = _MERGING[node.operator]()
        row = layer.row_of(*(stage.row for stage in stages))
    except ValueError as error:
        raise ModelFormatError(f"the operator {node} joins values that fastnn does not: {error}") from None
    return Stage(tuple(stages), layer, [], row)


class Recognizer:
    """Finds the layers that compute formulas; what has been found for a formula is kept.

    Parameters
    ----------
    matcher : compares formulas with activations.
    """

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self._known: dict[Formula, Stage | None] = {}

    def layers_of(self, base: Stage, formula: Formula) -> Stage | None:
        """Return the value that layers make of another as a formula does; None if there are none."""
        if formula not in self._known:
            self._known[formula] = None
            self._known[formula] = self._found(base, formula)
        return self._known[formula]

    def _found(self, base: Stage, formula: Formula) -> Stage | None:
        parts = formula.parts()
        whole = self._layer(base, formula, None)
        if whole is not None:
            return whole
        for inner in parts[1:]:
            if self._layer(base, formula, inner) is not None:
                start = self.layers_of(base, inner)
                if start is not None:
                    return self._layer(start, formula, inner)
        node, arguments = formula.node, formula.arguments
        if node.operator in ("Div", "Reciprocal") and (node.operator == "Reciprocal" or _is_number(arguments[0])):
            below = self._argument(base, arguments[-1])
            number = 1.0 if node.operator == "Reciprocal" else float(arguments[0].reshape(()))  # type: ignore[union-attr]
            return None if below is None else below.then(Arithmetic("divide", number, reflected=True), [])
        if merges(node):
            stages = [self._argument(base, each) for each in arguments]
            return None if None in stages else merged(node, [each for each in stages if each is not None])
        return None

    def _argument(self, base: Stage, argument: Any) -> Stage | None:
        if isinstance(argument, Variable):
            return base
        return self.layers_of(base, argument) if isinstance(argument, Formula) else None

    def _layer(self, base: Stage, formula: Formula, inner: Formula | None) -> Stage | None:
        """Return the value of the one layer that computes a formula of ``base``, or None.

        The formula is of the variable, or of a part in its place.
        """
        found = affine(formula, inner)
        if found is not None:
            return scaled(base, *found)
        gaps = filled_gaps(formula) if inner is None else None
        if gaps is not None:
            return filled(base, *gaps, missing="mean")
        slopes = _slopes(formula, base.width, inner)
        if slopes is not None:
            return base.then(layers.PReLU(), [slopes])
        function = self._matcher.activation_of(formula, inner)
        return None if function is None else base.then(layers.Activation(function), [])


def _slopes(formula: Formula, width: int, inner: Formula | None) -> Array | None:
    """Return the slopes of ``Where(x > 0, x, x * slopes)``, or None."""

    def is_x(part: Any) -> bool:
        return part is inner if inner is not None else isinstance(part, Variable)

    if formula.node.operator != "Where" or not is_x(formula.arguments[1]):
        return None
    condition, _, below = formula.arguments
    if not isinstance(condition, Formula) or not isinstance(below, Formula) or condition.node.operator != "Greater":
        return None
    x, zero = condition.arguments
    if not is_x(x) or not isinstance(zero, np.ndarray) or zero.size != 1 or zero.reshape(-1)[0] != 0:
        return None
    slopes = next((each for each in below.arguments if isinstance(each, np.ndarray)), None)
    if below.node.operator != "Mul" or slopes is None or slopes.size != width or slopes.size == 1 < width:
        return None
    return slopes.reshape(-1) if any(map(is_x, below.arguments)) else None


def scaled(base: Stage, scale: Array, shift: Array) -> Stage:
    """Return ``scale * x + shift``: the bias of a dense layer, a normalization, or a frozen batch normalization."""
    for vector in (scale, shift):
        if vector.size not in (1, base.width) or not np.isfinite(vector).all():
            raise ModelFormatError(
                f"a scaling has {vector.size} numbers for {base.width} columns, or they are not finite"
            )
    if (scale == 1.0).all():
        if (shift == 0.0).all():
            return base
        if isinstance(base.layer, layers.Dense) and not base.layer.use_bias and not base.reused:
            bias = np.broadcast_to(shift, base.width)
            return Stage(base.parents, layers.Dense(base.width), [*base.weights, bias], base.row)
    if (scale > _LEAST_SCALE).all() and (scale < 1.0 / _LEAST_SCALE).all():
        return base.then(_normalization(scale, shift, None), [])
    frozen = layers.BatchNormalization(epsilon=0.0, trainable=False)
    return base.then(frozen, [np.broadcast_to(value, base.width) for value in (scale, shift, 0.0, 1.0)])


def _normalization(scale: Array, shift: Array, missing: str | None) -> layers.Normalization:
    # (x - mean) / deviation keeps digits that x * scale + shift loses where the mean is large.
    return layers.Normalization(mean=-shift / scale, variance=1.0 / scale**2, missing=missing)


def filled(base: Stage, scale: Array, shift: Array, filling: Array, missing: str) -> Stage:
    """Return the normalization that puts 0 for a missing value, or whose inverse puts the mean."""
    if (scale > _LEAST_SCALE).all() and all(vector.size in (1, base.width) for vector in (scale, shift, filling)):
        width = base.width * (2 if missing == "indicator" else 1)
        if (filling == 0.0).all():
            return base.then(_normalization(scale, shift, missing), [], width)
        if np.array_equal(np.broadcast_to(filling, base.width), np.broadcast_to(shift, base.width)):
            inverse = layers.Normalization(mean=shift, variance=scale**2, invert=True, missing=missing)
            return base.then(inverse, [], width)
    raise ModelFormatError("it fills missing values with something other than the mean of a normalization")


def _is_number(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.size == 1
