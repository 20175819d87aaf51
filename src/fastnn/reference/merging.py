"""Layers with several inputs, slices and tables in plain NumPy; ``backward`` returns a gradient for each input."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from fastnn.reference.arguments import Array

LEAST_NORM = 1e-7
"""A norm below it counts as this one; Keras's epsilon."""


class Merge:
    """Base of the layers that take a list of arrays, without weights."""

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the outputs."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(inputs)")

    def backward(self, grad: Array) -> list[Array]:
        """Return the gradient with respect to each input."""
        raise NotImplementedError(f"{type(self).__name__} must define backward(grad)")


class Arithmetic(Merge):
    """Inputs element by element, in order; one of width 1 counts for every column.

    Parameters
    ----------
    kind : "add", "subtract", "multiply", "divide", "average", "maximum" or "minimum".
    number : a number that is an operand too, or None.
    number_first : whether it is the first operand.
    """

    _FUNCTIONS: ClassVar[dict[str, Callable[[Array, Array], Array]]] = {
        "add": np.add,
        "average": np.add,
        "subtract": np.subtract,
        "multiply": np.multiply,
        "divide": np.divide,
        "maximum": np.maximum,
        "minimum": np.minimum,
    }

    def __init__(self, kind: str, number: float | None = None, number_first: bool = False) -> None:
        self.kind, self.number, self.number_first = kind, number, number_first

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the outputs."""
        self._inputs = list(inputs)
        if self.number is not None:
            self._inputs.insert(0 if self.number_first else 1, np.full((1, 1), self.number, inputs[0].dtype))
        out = self._inputs[0]
        for each in self._inputs[1:]:
            out = self._FUNCTIONS[self.kind](out, each)
        self._out: Array = out / len(inputs) if self.kind == "average" else out
        return self._out

    def backward(self, grad: Array) -> list[Array]:
        """Return the gradient with respect to each input; that of an extreme goes to the first that has it."""
        rest = grad
        gradients = []
        for i, x in enumerate(self._inputs):
            if self.kind in ("maximum", "minimum"):
                full = np.where(x == self._out, rest, 0.0)
                rest = np.where(x == self._out, 0.0, rest)
            else:
                full = self._gradient(grad, i)
            gradients.append(full.sum(axis=1, keepdims=True) if x.shape[1] < full.shape[1] else full)
        if self.number is not None:
            del gradients[0 if self.number_first else 1]
        return gradients

    def _gradient(self, grad: Array, i: int) -> Array:
        if self.kind == "average":
            return grad / len(self._inputs)
        if self.kind == "multiply":
            for k, other in enumerate(self._inputs):
                grad = grad if k == i else grad * other
            return grad
        if self.kind == "divide":
            return -grad * self._out / self._inputs[1] if i else grad / self._inputs[1]
        return -grad if self.kind == "subtract" and i else grad


class Concatenate(Merge):
    """Columns side by side."""

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the outputs."""
        self._ends = np.cumsum([x.shape[1] for x in inputs])
        return np.concatenate(inputs, axis=1)

    def backward(self, grad: Array) -> list[Array]:
        """Return the gradient with respect to each input."""
        return np.split(grad, self._ends[:-1], axis=1)


class Slice(Merge):
    """The columns of ``range(start, stop, step)``."""

    def __init__(self, start: int, stop: int, step: int) -> None:
        self.columns = list(range(start, stop, step))

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the outputs."""
        self._shape = inputs[0].shape
        return inputs[0][:, self.columns]

    def backward(self, grad: Array) -> list[Array]:
        """Return the gradient with respect to the input."""
        grad_x = np.zeros(self._shape, grad.dtype)
        grad_x[:, self.columns] = grad
        return [grad_x]


class RowDot(Merge):
    """Dot products of the rows of two inputs, (n, 1); with ``normalize`` of the rows divided by their norms."""

    def __init__(self, normalize: bool = False) -> None:
        self.normalize = normalize

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the outputs."""
        self._norms = [np.linalg.norm(x, axis=1, keepdims=True) if self.normalize else np.ones((1, 1)) for x in inputs]
        self._units = [x / np.maximum(norm, LEAST_NORM) for x, norm in zip(inputs, self._norms, strict=True)]
        outputs: Array = (self._units[0] * self._units[1]).sum(axis=1, keepdims=True)
        self._out = outputs
        return outputs

    def backward(self, grad: Array) -> list[Array]:
        """Return the gradient with respect to each input."""
        gradients = []
        for own, other, norm in zip(self._units, self._units[::-1], self._norms, strict=True):
            along = self._out * own if self.normalize else 0.0
            gradients.append(grad * (other - np.where(norm > LEAST_NORM, along, 0.0)) / np.maximum(norm, LEAST_NORM))
        return gradients


class Embedding:
    """Rows of a table (n_rows, n_columns) that integers name, side by side."""

    def __init__(self, table: Any) -> None:
        self.weights: list[Array] = [np.array(table)]
        self.gradients: list[Array] = []

    def forward(self, x: Array) -> Array:
        """Return the outputs (n, n_in * n_columns)."""
        self._rows = x.astype(np.int64)
        outputs: Array = self.weights[0][self._rows].reshape(len(x), -1)
        return outputs

    def backward(self, grad: Array) -> None:
        """Keep the gradient of the table: the sum over the rows of the batch, in order. None passes to the input."""
        table = np.zeros_like(self.weights[0])
        np.add.at(table, self._rows.ravel(), grad.reshape(-1, table.shape[1]))
        self.gradients = [table]
