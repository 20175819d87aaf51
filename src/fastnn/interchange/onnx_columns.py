"""Operators of ONNX that select, join and reshape columns, and constants that say which."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn.layers as layers
from fastnn.errors import ModelFormatError
from fastnn.interchange.onnx_file import Node
from fastnn.interchange.onnx_stages import Stage
from fastnn.layers.arithmetic import GetItem

Array = NDArray[Any]

_MOST_NUMBERS = 64
"""Elements of a constant that is computed from others: shapes, numbers of columns."""
_MOST_PIECES = 64
_ARITHMETIC = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.floor_divide}


def _integers(value: Any) -> list[int] | None:
    """Return a constant, or an attribute, of whole numbers as a list; None for anything else."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        return [int(each) for each in value.reshape(-1)]
    return list(value) if isinstance(value, list) else [value] if isinstance(value, int) else None


def _given(node: Node, arguments: Sequence[Any], place: int, name: str) -> list[int] | None:
    """Return whole numbers that are an input of an operator, or in older opsets its attribute."""
    return _integers(arguments[place] if len(arguments) > place else node.attributes.get(name))


def _reshaped(value: Stage, row: tuple[int, ...]) -> Stage:
    """Return a value with rows of another shape."""
    if row == value.row:
        return value
    before = value.parents[0] if isinstance(value.layer, layers.Reshape | layers.Flatten) and value.parents else None
    if before is not None and before.row == row:
        return before
    return value.selected(layers.Flatten() if len(row) == 1 and value.row else layers.Reshape(row), row)


def _flatten(node: Node, value: Stage, arguments: Sequence[Any]) -> Stage | None:
    return _reshaped(value, (value.width,)) if node.attributes.get("axis", 1) == 1 else None


def _reshape(node: Node, value: Stage, arguments: Sequence[Any]) -> Stage | None:
    """Return the value where the rows stay rows; -1 for their number is what ``Shape`` gives, too."""
    sizes = _given(node, arguments, 1, "shape")
    if not sizes or sizes[0] not in (0, -1) or len(sizes) > 8 or node.attributes.get("allowzero"):
        return None
    row = [value.row[place] if size == 0 and place < len(value.row) else size for place, size in enumerate(sizes[1:])]
    known = math.prod(size for size in row if size > 0)
    if row.count(-1) == 1 and known and value.width % known == 0:
        row = [value.width // known if size == -1 else size for size in row]
    return _reshaped(value, tuple(row)) if min(row, default=1) > 0 and math.prod(row) == value.width else None


def _squeeze(node: Node, value: Stage, arguments: Sequence[Any]) -> Stage | None:
    axes = _given(node, arguments, 1, "axes")
    n = len(value.row) + 1
    if axes is None:
        return None
    places = {axis + n if axis < 0 else axis for axis in axes}
    if not all(0 < place < n and value.row[place - 1] == 1 for place in places):
        return None
    return _reshaped(value, tuple(size for place, size in enumerate(value.row) if place + 1 not in places))


def _unsqueeze(node: Node, value: Stage, arguments: Sequence[Any]) -> Stage | None:
    axes = _given(node, arguments, 1, "axes")
    n = len(value.row) + 1 + len(axes or ())
    places = sorted(axis + n if axis < 0 else axis for axis in axes or ())
    if not places or n > 8 or not all(0 < place < n for place in places) or len(set(places)) < len(places):
        return None
    row = list(value.row)
    for place in places:
        row.insert(place - 1, 1)
    return _reshaped(value, tuple(row))


def _columns(value: Stage, columns: range) -> Stage | None:
    """Return some columns of a value whose rows are vectors."""
    if len(columns) == 0 or len(value.row) != 1:
        return None
    if columns == range(value.width):
        return value
    stop = None if columns.step < 0 and columns.stop < 0 else columns.stop
    key = (slice(None), slice(columns.start, stop, columns.step))
    return value.selected(GetItem(key), (len(columns),))


def _slice(node: Node, value: Stage, arguments: Sequence[Any]) -> Stage | None:
    found = [_given(node, arguments, place, name) for place, name in enumerate(("starts", "ends", "axes", "steps"), 1)]
    starts, ends, axes, steps = found
    if starts is None or ends is None or len(value.row) != 1:
        return None
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) == 1 or axes[0] not in (1, -1) or steps[0] == 0:
        return None
    return _columns(value, range(*slice(starts[0], ends[0], steps[0]).indices(value.width)))


def split(node: Node, arguments: Sequence[Any]) -> list[Stage]:
    """Return the outputs of a ``Split``.

    Raises
    ------
    ModelFormatError
        It splits rows, or into parts that do not make up the columns.
    """
    value = arguments[0]
    n = len(node.outputs)
    sizes = _given(node, arguments, 1, "split")
    if isinstance(value, Stage) and len(value.row) == 1 and node.attributes.get("axis", 0) in (1, -1) and n:
        each = -(-value.width // n)
        sizes = [*[each] * (n - 1), value.width - each * (n - 1)] if sizes is None else sizes
        if len(sizes) == n and min(sizes) > 0 and sum(sizes) == value.width:
            stops = np.cumsum(sizes).tolist()
            parts = [_columns(value, range(stop - size, stop)) for size, stop in zip(sizes, stops, strict=True)]
            return [part for part in parts if part is not None]
    raise ModelFormatError(f"the operator {node} splits something other than the columns of vectors")


def _gather(node: Node, value: Stage, arguments: Sequence[Any]) -> Stage | None:
    """Return columns by their numbers."""
    numbers = _integers(arguments[1])
    if numbers is None or node.attributes.get("axis", 0) not in (1, -1) or len(value.row) != 1:
        return None
    columns = [number + value.width if number < 0 else number for number in numbers]
    if not columns or not all(0 <= column < value.width for column in columns) or arguments[1].ndim > 1:
        return None
    if arguments[1].ndim == 0:
        return value.selected(GetItem((slice(None), columns[0])), ())
    pieces: list[range] = []
    for column in columns:
        if pieces and pieces[-1].stop == column:
            pieces[-1] = range(pieces[-1].start, column + 1)
        else:
            pieces.append(range(column, column + 1))
    if len(pieces) > _MOST_PIECES:
        return None
    found = [stage for piece in pieces if (stage := _columns(value, piece)) is not None]
    return found[0] if len(found) == 1 else joined(found)


def _summed(node: Node, value: Stage, arguments: Sequence[Any]) -> Stage | None:
    """Return the sums of rows, those of products of two values as scalar products; None for other sums."""
    axes, keeps = _given(node, arguments, 1, "axes"), node.attributes.get("keepdims", 1)
    if axes not in ([-1], [1]) or len(value.row) != 1:
        return None
    if type(value.layer) is layers.Multiply and value.parents[0].row == value.parents[-1].row == value.row:
        if len(value.parents) == 2:
            made = Stage(value.parents, layers.Dot(axes=-1), [], (1,))
            return made if keeps else _reshaped(made, ())
    made = value.then(layers.Dense(1, use_bias=False, trainable=False), [np.ones((value.width, 1))], 1)
    return made if keeps else _reshaped(made, ())


def joined(stages: Sequence[Stage]) -> Stage:
    """Return the columns of several values side by side."""
    layer = layers.Concatenate()
    row = layer.row_of(*(stage.row for stage in stages))
    return Stage(tuple(stages), layer, [], row, all(stage.integers for stage in stages))


def embedded(node: Node, vectors: Array, numbers: Stage) -> Stage | None:
    """Return the rows of a constant for whole numbers; None if it has another form."""
    if vectors.ndim != 2 or not vectors.size or node.attributes.get("axis", 0) != 0 or vectors.dtype.kind != "f":
        return None
    layer = layers.Embedding(*vectors.shape)
    return Stage((numbers,), layer, [vectors], (*numbers.row, vectors.shape[1]))


COLUMNS: dict[str, Any] = {
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Gather": _gather,
    "ReduceSum": _summed,
}
"""What an operator makes of a value and constants; None if it changes the rows, or has a form that is not known."""


def shape_of(node: Node, value: Stage) -> Array:
    """Return the sizes of a value; -1 stands for the number of rows."""
    sizes = np.array([-1, *value.row])
    return sizes[node.attributes.get("start", 0) : node.attributes.get("end", len(sizes))]


def folded(node: Node, arguments: Sequence[Array]) -> Array:
    """Return what an operator makes of constants, of which only few numbers are computed.

    Raises
    ------
    ModelFormatError
        The operator computes with constants.
    """
    first = arguments[0]
    if node.operator in ("Identity", "Cast") and len(arguments) == 1:
        return first
    if node.operator == "Transpose" and len(arguments) == 1 and first.ndim == 2:
        return first.T
    if node.operator == "Unsqueeze" and first.ndim < 2:
        return first.reshape(1, -1) if first.ndim or first.dtype.kind == "f" else first.reshape(1)
    if all(each.dtype.kind in "iu" for each in arguments) and sum(each.size for each in arguments) <= _MOST_NUMBERS:
        if node.operator == "Concat":
            return np.concatenate([each.reshape(-1) for each in arguments])
        if node.operator == "Squeeze" and first.size == 1:
            return first.reshape(())
        if node.operator == "Gather" and first.ndim == 1 and node.attributes.get("axis", 0) == 0:
            return np.asarray(first[arguments[1]])
        if node.operator == "Slice" and first.ndim == 1 and len(arguments) in (3, 4):
            return first[slice(*(int(each.reshape(())) for each in arguments[1:3]))]
        # The number of rows is negative here, and is not known.
        if node.operator in _ARITHMETIC and len(arguments) == 2 and all((each >= 0).all() for each in arguments):
            return np.asarray(_ARITHMETIC[node.operator](*arguments))
    raise ModelFormatError(f"the operator {node} computes a constant, which fastnn does not")
