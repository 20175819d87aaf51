"""Values of an ONNX graph that layers of fastnn compute, and the layers that compute a formula."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn.layers as layers
from fastnn.errors import ModelFormatError
from fastnn.interchange.onnx_expressions import Formula, Matcher, Variable, affine, filled_gaps

Array = NDArray[Any]

_LEAST_SCALE = 1e-7


@dataclass(eq=False)
class Stage:
    """A value that layers compute, one after the other from the input.

    Parameters
    ----------
    parent : the value before the last layer; None for the input.
    layer : the last layer.
    weights : its weights.
    width : number of columns.
    """

    parent: "Stage | None"
    layer: layers.Layer
    weights: list[Array]
    width: int
    depth: int = 0

    def then(self, layer: layers.Layer, weights: list[Array], width: int | None = None) -> "Stage":
        """Return the value of one more layer."""
        return Stage(self, layer, weights, self.width if width is None else width, self.depth + 1)

    def since(self, start: "Stage") -> list["Stage"] | None:
        """Return the values from another on, without it; None if this one does not come from it."""
        found: list[Stage] = []
        at: Stage | None = self
        while at is not None and at is not start:
            found.append(at)
            at = at.parent if at.depth > start.depth else None
        return None if at is None else found[::-1]


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
        if formula.node.operator == "Add" and any(isinstance(each, Variable) for each in formula.arguments):
            block = next((each for each in formula.arguments if isinstance(each, Formula)), None)
            end = None if block is None else self.layers_of(base, block)
            stages = None if end is None else end.since(base)
            return residual(base, stages) if stages else None
        return None

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
        if isinstance(base.layer, layers.Dense) and not base.layer.use_bias and base.parent is not None:
            bias = np.broadcast_to(shift, base.width)
            return base.parent.then(layers.Dense(base.width), [*base.weights, bias], base.width)
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


def residual(start: Stage, block: list[Stage]) -> Stage:
    """Return ``x + block(x)`` of a value."""
    stack, weights = assembled(block)
    return start.then(layers.Residual(stack), weights)


def assembled(stages: list[Stage]) -> tuple[list[layers.Layer], list[Array]]:
    """Return the layers of values and their weights; an activation becomes part of the dense layer before it."""
    stack: list[layers.Layer] = []
    weights: list[Array] = []
    for stage in stages:
        last, layer = stack[-1] if stack else None, stage.layer
        if isinstance(layer, layers.Activation) and isinstance(last, layers.Dense) and last.activation.name == "linear":
            stack[-1] = layers.Dense(last.units, layer.activation, use_bias=last.use_bias)
        else:
            stack.append(layer)
        weights += stage.weights
    return stack, weights
