"""Layers that combine several tensors: sums, products, extremes, columns side by side, scalar products."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import fastnn._registry as registry
from fastnn._arguments import flag
from fastnn._structures import leaves
from fastnn.layers.layer import Layer
from fastnn.layers.tensor import KerasTensor, Node, common_dtype


class Merge(Layer):
    """Base of layers that take a list of tensors."""

    stateless = True
    _at_most: ClassVar[int | None] = None

    def trace(self, arguments: Any, options: Any) -> Node:
        """Return a call of the layer on a list of symbolic tensors."""
        given = leaves((arguments, options))
        wrong = [each for each in given if not isinstance(each, KerasTensor)]
        if wrong or len(arguments) != 1 or options or isinstance(arguments[0], KerasTensor):
            raise TypeError(f"layer {self.name!r} takes a list of tensors, got {wrong[0] if wrong else given!r}")
        few = 2 if self._at_most == 2 else 1
        if len(given) < few or (self._at_most is not None and len(given) > self._at_most):
            raise ValueError(f"layer {self.name!r} takes {self._at_most or 'some'} tensors, got {len(given)}")
        words = next((each for each in given if each.dtype == "string"), None)
        if words is not None:
            raise ValueError(f"layer {self.name!r} takes numbers, but {words.name!r} holds strings: use StringLookup")
        dtype = common_dtype(f"layer {self.name!r}", given, self.dtype)
        return Node(self, arguments_of(given), [self.row_of(*(each.row for each in given))], [dtype])

    def row_of(self, *rows: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a row of outputs: sizes that differ must be 1 in one of the inputs."""
        return broadcast(f"layer {self.name!r}", rows)

    def op_of(self, *rows: tuple[int, ...]) -> tuple[str, dict[str, Any]] | None:
        """Return the core's op."""
        return (type(self).__name__.lower(), {}) if len(rows) > 1 else None

    def op(self, n_in: int) -> None:
        """Return None: one input is returned unchanged."""

    def keeps_elements(self) -> bool:
        """Return True."""
        return True


def arguments_of(tensors: Sequence[KerasTensor]) -> Any:
    """Return the arguments of a call with a list of tensors."""
    return ([list(tensors)], {})


def broadcast(what: str, rows: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape of rows that are combined element by element; a size of 1 goes with every size.

    Raises
    ------
    ValueError
        The numbers of axes differ, or sizes that are not 1 do.
    """
    shapes = ", ".join(str((None, *row)) for row in rows)
    equal = len({len(row) for row in rows}) == 1
    if not equal or any(len(set(sizes) - {1}) > 1 for sizes in zip(*rows, strict=True)):
        raise ValueError(f"{what} combines tensors element by element, but their shapes do not fit: {shapes}")
    row = tuple(max(sizes) for sizes in zip(*rows, strict=True))
    if len(row) > 1 and any(each != row and math.prod(each) > 1 for each in rows):
        raise ValueError(
            f"{what} combines rows of several axes only where their shapes are equal: {shapes}: use Flatten"
        )
    return row


@registry.register("layer", "Add")
class Add(Merge):
    """Sum of tensors: ``Y = X1 + X2 + ...``.

    Shapes: each (n, k), or (n, 1), which goes with every column.

    Examples
    --------
    >>> import fastnn
    >>> wide, deep = fastnn.Input((3,)), fastnn.Input((3,))
    >>> fastnn.layers.Add()([wide, deep]).shape
    (None, 3)
    """


@registry.register("layer", "Subtract")
class Subtract(Merge):
    """Difference of two tensors: ``Y = X1 - X2``; shapes as in ``Add``."""

    _at_most = 2


@registry.register("layer", "Multiply")
class Multiply(Merge):
    """Product of tensors, element by element; shapes as in ``Add``."""


@registry.register("layer", "Average")
class Average(Merge):
    """Mean of tensors, element by element; shapes as in ``Add``."""


@registry.register("layer", "Maximum")
class Maximum(Merge):
    """Largest of the tensors' elements in each place; shapes as in ``Add``."""


@registry.register("layer", "Minimum")
class Minimum(Merge):
    """Smallest of the tensors' elements in each place; shapes as in ``Add``."""


@registry.register("layer", "Concatenate")
class Concatenate(Merge):
    """Columns of several tensors side by side: (n, k1), (n, k2), ... become (n, k1 + k2 + ...).

    Parameters
    ----------
    axis : -1, the columns.
    """

    def __init__(self, axis: int = -1, **layer_options: Any) -> None:
        if isinstance(axis, bool) or not isinstance(axis, int) or axis == 0:
            raise ValueError(f"axis must be -1, the columns of a row, got {axis!r}")
        self.axis = axis
        super().__init__(**layer_options)

    def row_of(self, *rows: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a row of all columns."""
        shapes = ", ".join(str((None, *row)) for row in rows)
        place = self.axis - 1 if self.axis > 0 else self.axis
        if len({len(row) for row in rows}) > 1 or not -len(rows[0]) <= place < len(rows[0]):
            raise ValueError(f"layer {self.name!r} joins tensors along axis {self.axis}, but their shapes are {shapes}")
        place %= len(rows[0])
        others = {(*row[:place], *row[place + 1 :]) for row in rows}
        if len(others) > 1:
            raise ValueError(
                f"layer {self.name!r} joins tensors along axis {self.axis}, but their other sizes differ: {shapes}"
            )
        if math.prod(rows[0][:place]) > 1:
            raise ValueError(f"layer {self.name!r} joins columns of vectors, got {shapes}: use Flatten before it")
        return (*rows[0][:place], sum(row[place] for row in rows), *rows[0][place + 1 :])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}


@registry.register("layer", "Dot")
class Dot(Merge):
    """Scalar products of the rows of two tensors: (n, k) and (n, k) become (n, 1).

    Parameters
    ----------
    axes : 1 or -1, the columns; or a pair of them.
    normalize : whether the rows are divided by their Euclidean norms before: the cosine of their angle.
    """

    _at_most = 2

    def __init__(self, axes: Any, normalize: bool = False, **layer_options: Any) -> None:
        if any(each not in (1, -1) for each in (axes if isinstance(axes, list | tuple) else [axes])):
            raise ValueError(f"axes must be 1 or -1, the columns of a row, got {axes!r}")
        self.axes, self.normalize = axes, flag("normalize", normalize)
        super().__init__(**layer_options)

    def row_of(self, *rows: tuple[int, ...]) -> tuple[int, ...]:
        """Return (1,)."""
        if rows[0] != rows[1] or len(rows[0]) != 1:
            shapes = " and ".join(str((None, *row)) for row in rows)
            raise ValueError(f"layer {self.name!r} takes two tensors of vectors of one length, got {shapes}")
        return (1,)

    def op_of(self, *rows: tuple[int, ...]) -> tuple[str, dict[str, Any]]:
        """Return the core's op."""
        return "dot", {"normalize": self.normalize}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "axes": self.axes, "normalize": self.normalize}


def add(inputs: Sequence[Any], **layer_options: Any) -> Any:
    """Return ``Add(**layer_options)(inputs)``."""
    return Add(**layer_options)(inputs)


def subtract(inputs: Sequence[Any], **layer_options: Any) -> Any:
    """Return ``Subtract(**layer_options)(inputs)``."""
    return Subtract(**layer_options)(inputs)


def multiply(inputs: Sequence[Any], **layer_options: Any) -> Any:
    """Return ``Multiply(**layer_options)(inputs)``."""
    return Multiply(**layer_options)(inputs)


def average(inputs: Sequence[Any], **layer_options: Any) -> Any:
    """Return ``Average(**layer_options)(inputs)``."""
    return Average(**layer_options)(inputs)


def maximum(inputs: Sequence[Any], **layer_options: Any) -> Any:
    """Return ``Maximum(**layer_options)(inputs)``."""
    return Maximum(**layer_options)(inputs)


def minimum(inputs: Sequence[Any], **layer_options: Any) -> Any:
    """Return ``Minimum(**layer_options)(inputs)``."""
    return Minimum(**layer_options)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **layer_options: Any) -> Any:
    """Return ``Concatenate(axis, **layer_options)(inputs)``."""
    return Concatenate(axis, **layer_options)(inputs)


def dot(inputs: Sequence[Any], axes: Any = -1, **layer_options: Any) -> Any:
    """Return ``Dot(axes, **layer_options)(inputs)``."""
    return Dot(axes, **layer_options)(inputs)
