"""Comparisons in ONNX graphs that encode categories: one column for each number, and bins of numbers."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn.layers as layers
from fastnn.interchange.onnx_columns import reshaped
from fastnn.interchange.onnx_file import DOUBLE, FLOAT, Node
from fastnn.interchange.onnx_stages import Stage

Array = NDArray[Any]


@dataclass(frozen=True)
class Comparison:
    """A value that is compared with several numbers along its last axis, which has the size 1.

    Parameters
    ----------
    base : the value.
    numbers : the numbers.
    mode : "one_hot", "count" or "multi_hot" for equal numbers; "bins" where it is at least as large.
    """

    base: Stage
    numbers: Array
    mode: str


def compared(node: Node, stage: Stage, numbers: Any) -> Comparison | None:
    """Return a comparison that starts an encoding of categories, or None."""
    if not isinstance(numbers, np.ndarray) or numbers.ndim != 1 or not numbers.size or stage.row[-1:] != (1,):
        return None
    if node.operator == "Equal" and np.array_equal(numbers, np.arange(len(numbers))):
        return Comparison(stage, numbers, "one_hot")
    return Comparison(stage, numbers, "bins") if node.operator == "GreaterOrEqual" else None


def continued(node: Node, given: Comparison, others: list[Any]) -> Comparison | Stage | None:
    """Return what an operator makes of a comparison, or None where it is no part of an encoding."""
    if node.operator == "Cast" and node.attributes.get("to") in (FLOAT, DOUBLE):
        return given
    if node.operator == "ReduceSum" and not node.attributes.get("keepdims", 1):
        axes = others[0].reshape(-1).tolist() if others and isinstance(others[0], np.ndarray) else None
        axis, n = axes[0] if axes and len(axes) == 1 else None, len(given.base.row)
        if given.mode == "bins" and axis in (-1, n) and (np.diff(given.numbers) > 0).all():
            inputs = reshaped(given.base, given.base.row[:-1])
            return Stage((inputs,), layers.Discretization(given.numbers.tolist()), [], inputs.row, integers=True)
        return replace(given, mode="count") if given.mode == "one_hot" and axis == n - 1 > 0 else None
    if node.operator == "Min" and given.mode == "count" and len(others) == 1 and isinstance(others[0], np.ndarray):
        return replace(given, mode="multi_hot") if others[0].size == 1 and others[0].max() == 1 else None
    return None


def encoded(given: Comparison) -> Stage | None:
    """Return the columns of zeros and ones, or of counts; None for an unfinished comparison."""
    if given.mode == "bins":
        return None
    *before, n_compared, _ = (1, *given.base.row)
    n = len(given.numbers)
    layer = layers.CategoryEncoding(n, output_mode=given.mode)
    if given.mode == "one_hot":
        inputs = reshaped(given.base, given.base.row if given.base.width == 1 else given.base.row[:-1])
        inputs = reshaped(inputs, (1,)) if inputs.width == 1 else inputs
        return reshaped(Stage((inputs,), layer, [], layer.row_of(inputs.row)), (*given.base.row[:-1], n))
    if given.base.width != n_compared:
        return None
    return reshaped(Stage((reshaped(given.base, (n_compared,)),), layer, [], (n,)), (*before[1:], n))
