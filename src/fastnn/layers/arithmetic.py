"""What ``+ - * /`` and square brackets do with symbolic tensors."""

import math
from numbers import Real
from typing import Any, ClassVar

import numpy as np

import fastnn._registry as registry
from fastnn._arguments import choice, number
from fastnn._names import automatic_name
from fastnn._structures import leaves
from fastnn.layers.layer import Layer
from fastnn.layers.merging import Merge, broadcast
from fastnn.layers.tensor import KerasTensor, Node

_NAMES = {"add": "Add", "subtract": "Subtract", "multiply": "Multiply", "divide": "TrueDivide"}


@registry.register("layer", "Arithmetic")
class Arithmetic(Merge):
    """A sum, difference, product or quotient of two tensors, or of a tensor and a number: ``1.0 - x``.

    Parameters
    ----------
    operator : "add", "subtract", "multiply" or "divide".
    constant : the number; None for two tensors.
    reflected : whether the number comes first.
    """

    is_layer: ClassVar[bool] = False
    _options = ("operator", "constant", "reflected")

    def __init__(
        self, operator: str, constant: float | None = None, reflected: bool = False, **layer_options: Any
    ) -> None:
        self.operator = choice("operator", operator, _NAMES)
        self.constant = None if constant is None else number("constant", constant)
        self.reflected = reflected
        if operator == "divide" and constant == 0.0 and not reflected:
            raise ZeroDivisionError("a tensor is divided by the number 0")
        super().__init__(**{"name": automatic_name(_NAMES[operator]), **layer_options})

    @classmethod
    def of(cls, operator: str, tensor: KerasTensor, other: Any, reflected: bool) -> Any:
        """Return the tensor that an operator between a tensor and a tensor or a number gives."""
        if isinstance(other, KerasTensor):
            return cls(operator)([other, tensor] if reflected else [tensor, other])
        if isinstance(other, bool) or not isinstance(other, Real):
            raise TypeError(
                f"cannot {operator} the tensor {tensor.name!r} of shape {tensor.shape} and {type(other).__name__}: the "
                "other operand must be a number or a tensor; for a number for each column use layers.Rescaling"
            )
        return cls(operator, float(other), reflected)([tensor])

    def row_of(self, *rows: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a row of outputs; an axis of size 1 goes with every size."""
        return broadcast(f"{self.operator!r}", rows)

    def op_of(self, *rows: tuple[int, ...]) -> tuple[str, dict[str, Any]]:
        """Return the core's op."""
        number = {} if self.constant is None else {"number": self.constant, "number_first": self.reflected}
        return self.operator, number


@registry.register("layer", "GetItem")
class GetItem(Layer):
    """Columns of a tensor: ``x[:, 2:5]``, or one of them, ``x[:, 0]``.

    Parameters
    ----------
    key : what is in the square brackets: ":" for the rows, then a number, a slice, or None for a new axis of size 1.
        In a description a slice is a list [start, stop, step].
    """

    stateless = selects = True
    is_layer: ClassVar[bool] = False

    def __init__(self, key: Any, **layer_options: Any) -> None:
        self.key = _listed(key)
        super().__init__(**layer_options)

    def trace(self, arguments: Any, options: Any) -> Node:
        """Return a call on one symbolic tensor of any type."""
        (given,) = leaves((arguments, options))
        return Node(self, ([given], {}), [self.row_of(given.row)], [given.declared_dtype])

    def keeps_elements(self) -> bool:
        """Return True."""
        return True

    def row_of(self, *rows: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the columns of a row."""
        return tuple(self._columns(rows[0])[1])

    def op_of(self, *rows: tuple[int, ...]) -> tuple[str, dict[str, Any]] | None:
        """Return the core's op."""
        columns, _ = self._columns(rows[0])
        if columns == range(math.prod(rows[0])):
            return None
        return "slice", {"start": columns.start, "stop": columns.stop, "step": columns.step}

    def compute(self, *arguments: Any, **options: Any) -> Any:
        """Return the columns of an array (n, ...)."""
        return arguments[0][tuple(self.key)]

    def _columns(self, row: tuple[int, ...]) -> tuple[range, tuple[int, ...]]:
        """Return the columns of a flattened row that are taken, and the shape of a row of them."""
        indices = np.arange(math.prod(row)).reshape(1, *row)
        try:
            taken = indices[tuple(self.key)]
        except IndexError as error:
            raise IndexError(f"{_shown(self.key)} does not suit the tensor of shape {(None, *row)}: {error}") from None
        places = taken.ravel()
        if len(places) == 0:
            raise IndexError(f"{_shown(self.key)} takes no column of the tensor of shape {(None, *row)}")
        steps = np.unique(np.diff(places)) if len(places) > 1 else np.array([1])
        if len(steps) > 1:
            raise IndexError(
                f"{_shown(self.key)} takes columns of the tensor of shape {(None, *row)} that are not evenly spaced: "
                "join several slices with layers.Concatenate()"
            )
        return range(int(places[0]), int(places[-1] + np.sign(steps[0])), int(steps[0])), taken.shape[1:]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        key = [[each.start, each.stop, each.step] if isinstance(each, slice) else each for each in self.key]
        return {**super().get_config(), "key": ["..." if each is Ellipsis else each for each in key]}


def _listed(key: Any) -> list[Any]:
    """Return the entries of square brackets, the rows first, after checks of their kinds."""
    keys = list(key) if isinstance(key, tuple | list) else [key]
    keys = [Ellipsis if isinstance(each, str) and each == "..." else each for each in keys]
    keys = [slice(*each) if isinstance(each, list) else each for each in keys]
    if keys[0] is not Ellipsis and keys[0] != slice(None):
        raise IndexError(f"{_shown(keys)} selects rows, which are not known yet: write x[:, ...] to take columns")
    for each in keys:
        if isinstance(each, bool) or not isinstance(each, int | slice | type(None) | type(Ellipsis)):
            raise IndexError(f"{_shown(keys)}: columns are taken by numbers and slices")
    return keys


def _shown(keys: Any) -> str:
    """Return square brackets as they are written."""

    def shown(key: Any) -> str:
        if isinstance(key, slice):
            step = "" if key.step is None else f":{key.step}"
            return f"{'' if key.start is None else key.start}:{'' if key.stop is None else key.stop}{step}"
        return "..." if key is Ellipsis else repr(key)

    return f"[{', '.join(map(shown, keys))}]"
