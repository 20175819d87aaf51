"""The base of Keras's metric classes, and the metrics that are means over rows.

A metric is updated with rows and returns its value for all rows so far; sums are float64.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

import fastnn._registry as registry
from fastnn._arguments import text
from fastnn._arrays import as_numbers, check_unmasked
from fastnn._names import automatic_name
from fastnn._variables import Variable
from fastnn.metrics.validation import check_labels_present

Array = NDArray[Any]
EPSILON = 1e-7
"""Keras's constant that keeps quotients and logarithms finite."""


_DTYPES = (
    "bfloat16",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
)


def _dtype_name(dtype: Any) -> str | None:
    """Return the name of a dtype, of a NumPy type or of a policy; None stays None."""
    if dtype is None:
        return None
    name = dtype.__name__ if isinstance(dtype, type) else getattr(dtype, "name", dtype)
    if name not in _DTYPES:
        hint = f"; pass a metric's name as name={dtype!r}" if isinstance(dtype, str) else ""
        raise ValueError(f"dtype must be the name of a number type, such as 'float32', or None, got {dtype!r}{hint}")
    return str(name)


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
        self.name = automatic_name(type(self).__name__) if name is None else text("name", name)
        self._dtype = _dtype_name(dtype)
        self._variables: list[Variable] = []

    @property
    def dtype(self) -> str:
        """The constructor's dtype; "float64", that of all sums, by default."""
        return "float64" if self._dtype is None else self._dtype

    def add_variable(
        self,
        shape: Any = (),
        initializer: Any = "zeros",
        dtype: DTypeLike | None = None,
        aggregation: str | None = "sum",
        name: str | None = None,
    ) -> Variable:
        """Return a new array of zeros, which ``reset_state`` sets back to zero.

        ``aggregation`` is accepted as in Keras.
        """
        if isinstance(shape, str):
            raise TypeError(f"the first argument is the shape of the variable, got {shape!r}; pass name={shape!r}")
        kind = initializer if isinstance(initializer, type) else type(initializer)
        if initializer not in (None, "zeros", "Zeros") and kind.__name__ != "Zeros":
            raise ValueError(f"a metric's variables start at zeros, got initializer={initializer!r}")
        values = np.zeros(shape, np.float64 if dtype is None else dtype)
        variable = Variable(name or "variable", values)
        self._variables.append(variable)
        return variable

    def add_weight(
        self,
        shape: Any = (),
        initializer: Any = None,
        dtype: DTypeLike | None = None,
        name: str | None = None,
    ) -> Variable:
        """Return a new array of zeros; another name of ``add_variable``."""
        return self.add_variable(shape, initializer, dtype, name=name)

    @property
    def variables(self) -> list[Variable]:
        """The arrays of ``add_variable``."""
        return self._variables

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take rows into account."""
        raise NotImplementedError(f"{type(self).__name__} must define update_state(y_true, y_pred, sample_weight)")

    def result(self) -> Any:
        """Return the value for all rows since the last ``reset_state``: a number, an array, or a dict of these."""
        raise NotImplementedError(f"{type(self).__name__} must define result()")

    def reset_state(self) -> None:
        """Forget all rows."""
        for variable in self._variables:
            variable.assign(np.zeros(variable.shape))

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Update the metric and return its value so far."""
        self.update_state(*arguments, **options)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"name": self.name, "dtype": self._dtype, **super().get_config()}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def same_rank(y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """Return arrays with the same number of dimensions: (n,) next to (n, 1) becomes (n, 1)."""
    y_true, y_pred = as_numbers(y_true, "y_true"), as_numbers(y_pred, "y_pred")
    if y_true.ndim + 1 == y_pred.ndim and y_pred.shape[-1] == 1:
        y_true = y_true[..., np.newaxis]
    elif y_pred.ndim + 1 == y_true.ndim and y_true.shape[-1] == 1:
        y_pred = y_pred[..., np.newaxis]
    return y_true, y_pred


def same_shape(y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """Return arrays of the same shape; (n,) next to (n, 1) becomes (n, 1)."""
    y_true, y_pred = same_rank(y_true, y_pred)
    if y_true.shape != y_pred.shape:
        raise ValueError(f"y_true and y_pred must have the same shape, got {y_true.shape} and {y_pred.shape}")
    return y_true, y_pred


def labels_and_outputs(y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """Return class labels (n,) and outputs (n, n_classes); one label may come with outputs (n_classes,)."""
    labels, outputs = as_numbers(y_true, "y_true").reshape(-1), as_numbers(y_pred, "y_pred")
    check_labels_present("y_true", labels)
    if outputs.ndim == 1 and len(labels) == 1:
        outputs = outputs[np.newaxis]
    if outputs.ndim != 2 or len(outputs) != len(labels):
        raise ValueError(
            f"y_pred must have shape (n, n_classes) for n labels in y_true, got {outputs.shape} for {len(labels)}"
        )
    return labels, outputs


def weights_like(sample_weight: Any, shape: tuple[int, ...]) -> Array:
    """Return weights of a shape, in float64; ones for None."""
    if sample_weight is None:
        return np.ones(shape)
    weight = as_numbers(sample_weight, "sample_weight").astype(np.float64)
    try:
        return np.broadcast_to(weight, shape)
    except ValueError:
        raise ValueError(
            f"sample_weight must be a number or have a weight for each of the values, whose shape is {shape or (1,)}; "
            f"got shape {weight.shape}"
        ) from None


def divide(numerator: Any, denominator: Any) -> Any:
    """Return the quotient, 0 where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    zeros = np.zeros(np.broadcast(numerator, denominator).shape)
    return np.divide(numerator, denominator, out=zeros, where=denominator != 0)


def row_values(values: Any, sample_weight: Any, reduce: Callable[..., Array]) -> tuple[Array, Array | None]:
    """Return weighted values (n,) and the weights (n,), with further dimensions reduced."""
    values = as_numbers(values, "values").astype(np.float64)
    if sample_weight is None:
        return values if values.ndim < 2 else reduce(values, axis=tuple(range(1, values.ndim))), None
    weight = as_numbers(sample_weight, "sample_weight")
    if weight.ndim == values.ndim + 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    elif values.ndim == weight.ndim + 1 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim > weight.ndim:
        values = reduce(values, axis=tuple(range(weight.ndim, values.ndim)))
    weight = weights_like(weight, values.shape)
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
        check_unmasked(y_true, "y_true")
        check_unmasked(y_pred, "y_pred")
        super().update_state(self._fn(y_true, y_pred, **self._fn_options), sample_weight)


class RowMean(Mean):
    """Base of the named means over rows; ``rows`` returns the value of each row.

    Without weights, arrays (n,) are one row, as in Keras. With n weights, they are n rows of one entry. The mean is NaN
    if an output is NaN.
    """

    whole_rows: ClassVar[bool] = False
    """Whether a row of one entry says nothing, so that arrays (n,) are one row in any case."""

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def arrays(self, y_true: Any, y_pred: Any) -> tuple[Array, Array]:
        """Return the arrays that ``rows`` takes."""
        return same_shape(y_true, y_pred)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return the values (n,); further dimensions are averaged."""
        raise NotImplementedError(f"{type(self).__name__} must define rows(y_true, y_pred)")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take rows into account."""
        y_true, y_pred = self.arrays(y_true, y_pred)
        if y_pred.ndim == 1 and np.size(sample_weight) > 1:
            if self.whole_rows:
                raise ValueError(
                    f"{type(self).__name__} takes arrays of shape (n, n_outputs) with n weights; arrays of shape "
                    f"{y_pred.shape} are one row"
                )
            y_true, y_pred = y_true[:, np.newaxis], y_pred[:, np.newaxis]
        super().update_state(self.rows(y_true, y_pred), sample_weight)
