"""The base of Keras's metric classes, and the metrics that are means over rows.

A metric is updated with rows and returns its value for all rows so far; sums are float64.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

import fastnn._registry as registry
from fastnn._names import automatic_name

Array = NDArray[Any]
EPSILON = 1e-7
"""Keras's constant that keeps quotients and logarithms finite."""


class Variable:
    """An array of a custom metric, assigned in place like Keras's variables.

    Parameters
    ----------
    shape : shape.
    dtype : dtype of its numbers.
    """

    def __init__(self, shape: Sequence[int] = (), dtype: DTypeLike = np.float64) -> None:
        self._value = np.zeros(tuple(shape), dtype)

    @property
    def value(self) -> Array:
        """The array."""
        return self._value

    def numpy(self) -> Array:
        """Return a copy of the array."""
        return self._value.copy()

    def assign(self, value: Any) -> None:
        """Replace the numbers."""
        self._value[...] = value

    def assign_add(self, value: Any) -> None:
        """Add to the numbers."""
        self._value += value

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self._value, dtype) if copy or dtype is not None else self._value

    def __float__(self) -> float:
        return float(self._value)

    def __add__(self, other: Any) -> Any:
        return self._value + np.asarray(other)

    def __sub__(self, other: Any) -> Any:
        return self._value - np.asarray(other)

    def __mul__(self, other: Any) -> Any:
        return self._value * np.asarray(other)

    def __truediv__(self, other: Any) -> Any:
        return self._value / np.asarray(other)

    def __repr__(self) -> str:
        return f"<Variable {self._value!r}>"


class Metric(registry.Description):
    """Base of all metric classes: override ``update_state`` and ``result``.

    Parameters
    ----------
    dtype : accepted as in Keras; sums are float64.
    name : key in the history; by default the class's name and a number.
    """

    direction: ClassVar[str | None] = None
    """"max" where more is better, "min" where less is; None if it is not known."""

    state_size: int = 0
    """Numbers that the metric keeps because of its options, however few rows it sees.

    They are allocated with the first rows and not before: a model file is refused where they are too many.
    """

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        self.name = name if name is not None else automatic_name(type(self).__name__)
        self.dtype = dtype
        self._variables: list[Variable] = []

    def add_variable(
        self,
        shape: Sequence[int] = (),
        initializer: Any = "zeros",
        dtype: DTypeLike | None = None,
        name: str | None = None,
    ) -> Variable:
        """Return a new array of zeros, which ``reset_state`` sets back to zero."""
        if initializer not in (None, "zeros", "Zeros") and type(initializer).__name__ != "Zeros":
            raise ValueError(f"a metric's variables start at zeros, got initializer={initializer!r}")
        variable = Variable(shape, np.float64 if dtype is None else dtype)
        self._variables.append(variable)
        return variable

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = "zeros",
        dtype: DTypeLike | None = None,
        name: str | None = None,
    ) -> Variable:
        """Return a new array of zeros; another name of ``add_variable``."""
        return self.add_variable(shape, initializer, dtype, name)

    @property
    def variables(self) -> list[Variable]:
        """The arrays of ``add_variable``."""
        return self._variables

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take rows into account."""
        raise NotImplementedError(f"{type(self).__name__} must define update_state(y_true, y_pred, sample_weight)")

    def result(self) -> Any:
        """Return the value for all rows since the last ``reset_state``."""
        raise NotImplementedError(f"{type(self).__name__} must define result()")

    def reset_state(self) -> None:
        """Forget all rows."""
        for variable in self._variables:
            variable.assign(0)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Update the metric and return its value so far."""
        self.update_state(*arguments, **options)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"name": self.name, "dtype": self.dtype, **super().get_config()}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def same_rank(y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """Return arrays with the same number of dimensions: (n,) next to (n, 1) becomes (n, 1)."""
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.ndim + 1 == y_pred.ndim and y_pred.shape[-1] == 1:
        y_true = y_true[..., np.newaxis]
    elif y_pred.ndim + 1 == y_true.ndim and y_true.shape[-1] == 1:
        y_pred = y_pred[..., np.newaxis]
    return y_true, y_pred


def divide(numerator: Any, denominator: Any) -> Any:
    """Return the quotient, 0 where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    zeros = np.zeros(np.broadcast(numerator, denominator).shape)
    return np.divide(numerator, denominator, out=zeros, where=denominator != 0)


def row_values(values: Any, sample_weight: Any, reduce: Callable[..., Array]) -> tuple[Array, Array | None]:
    """Return weighted values (n,) and the weights (n,), with further dimensions reduced."""
    values = np.asarray(values, np.float64)
    if sample_weight is None:
        return values if values.ndim < 2 else reduce(values, axis=tuple(range(1, values.ndim))), None
    weight = np.asarray(sample_weight, np.float64)
    if weight.ndim == values.ndim + 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    elif values.ndim == weight.ndim + 1 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim > weight.ndim:
        values = reduce(values, axis=tuple(range(weight.ndim, values.ndim)))
    weight = np.broadcast_to(weight, values.shape)
    values = values * weight
    if values.ndim > 1:
        further = tuple(range(1, values.ndim))
        return reduce(values, axis=further), reduce(weight, axis=further)
    return values, weight


@registry.register("metric", "sum", "Sum")
class Sum(Metric):
    """Sum of values.

    Examples
    --------
    >>> import fastnn
    >>> total = fastnn.metrics.Sum()
    >>> total.update_state([1.0, 2.0])
    >>> total.result()
    3.0
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.total = 0.0

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add values."""
        self.total += float(np.sum(row_values(values, sample_weight, np.sum)[0]))

    def result(self) -> float:
        """Return the sum."""
        return self.total

    def reset_state(self) -> None:
        """Start at 0."""
        super().reset_state()
        self.total = 0.0


@registry.register("metric", "mean", "Mean")
class Mean(Metric):
    """Mean of values, weighted by ``sample_weight``."""

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.total = 0.0
        self.count = 0.0

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take values into account."""
        rows, weight = row_values(values, sample_weight, np.mean)
        self.total += float(np.sum(rows))
        self.count += float(np.size(rows) if weight is None else np.sum(weight))

    def result(self) -> float:
        """Return the mean; 0 before the first value."""
        return self.total / self.count if self.count else 0.0

    def reset_state(self) -> None:
        """Forget all values."""
        super().reset_state()
        self.total = self.count = 0.0


@registry.register("metric", "mean_metric_wrapper", "MeanMetricWrapper")
class MeanMetricWrapper(Mean):
    """Mean over rows of a function of (y_true, y_pred) that returns an array.

    Parameters
    ----------
    fn : the function.
    name : key in the history; by default the function's name.
    dtype : accepted as in Keras.
    options : further arguments of the function.
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **options: Any) -> None:
        super().__init__(name if name is not None else getattr(fn, "__name__", None), dtype)
        self._fn = fn
        self._fn_options = options

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take rows into account."""
        super().update_state(self._fn(y_true, y_pred, **self._fn_options), sample_weight)


class RowMean(Mean):
    """Base of the named means over rows; ``rows`` returns the value of each row."""

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return the values (n,); further dimensions are averaged."""
        raise NotImplementedError(f"{type(self).__name__} must define rows(y_true, y_pred)")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take rows into account."""
        super().update_state(self.rows(*same_rank(y_true, y_pred)), sample_weight)
