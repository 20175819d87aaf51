"""Checks of the metrics' arguments, and the weighted mean."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arrays import check_unmasked, first_nonfinite, is_missing
from fastnn._warnings import warn

Array = NDArray[Any]


class UndefinedMetricWarning(UserWarning):
    """A metric is not defined for the given data and was set to the value that the message names."""


def warn_undefined(message: str) -> None:
    """Warn that a metric is not defined."""
    warn(message, UndefinedMetricWarning)


def require_same_length(**arrays: Any) -> int:
    """Return the number of rows that all arrays except None have; a ValueError names the lengths that differ."""
    lengths = {name: len(array) for name, array in arrays.items() if array is not None}
    if len(set(lengths.values())) > 1:
        listing = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"Found input variables with inconsistent numbers of samples: {listing}.")
    return next(iter(lengths.values()))


def as_dense(argument: str, values: Any) -> Array:
    """Return an ndarray; convert sparse matrices, refuse scalars, strings and masked entries."""
    check_unmasked(values, argument)
    if type(values) is np.ndarray:
        array = values
    elif hasattr(values, "toarray"):
        array = values.toarray()
    else:
        array = np.asarray(values)
    if array.ndim == 0:
        raise ValueError(f"{argument} must be an array, got {values!r}.")
    return array


def as_real(argument: str, values: Any) -> Array:
    """Return a finite array of real numbers."""
    array = as_dense(argument, values)
    if array.dtype.kind in "OUS":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            row, entry = next((row, entry) for row, entry in _entries(array) if not _reads_as_number(entry))
            what = "has a missing value" if is_missing(entry) else "must hold numbers, got"
            raise ValueError(f"{argument} {what} {entry!r} in row {row} (counted from 0).") from None
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{argument} must hold real numbers, got dtype {array.dtype}.")
    if array.size == 0:
        raise ValueError(f"{argument} is empty (shape {array.shape}): a minimum of 1 sample is required.")
    if array.dtype.kind == "f":
        require_finite(argument, array)
    return array


def _entries(array: Array) -> Iterator[tuple[int, Any]]:
    """Yield the row and the value of every entry."""
    return ((row, entry) for (row, *_), entry in np.ndenumerate(array.astype(object)))


def _reads_as_number(entry: Any) -> bool:
    try:
        float(entry)
    except (TypeError, ValueError):
        return False
    return True


def check_labels_present(argument: str, labels: Array) -> None:
    """Raise a ValueError that names the row of the first missing label."""
    if labels.size == 0:
        return
    if labels.dtype.kind == "O":
        try:
            missing = any(map(is_missing, set(labels.flat)))
        except TypeError:  # an entry cannot be hashed
            missing = any(map(is_missing, labels.flat))
    elif labels.dtype.kind in "fmM":
        missing = is_missing(labels.max())  # NaN and NaT are larger than everything
    else:
        return
    if missing:
        row, label = next((row, label) for row, label in _entries(labels) if is_missing(label))
        shown = "NaN" if isinstance(label, float) else label
        raise ValueError(
            f"{argument} has a missing label ({shown}) in row {row} (counted from 0); drop such rows or label them."
        )


def require_finite(argument: str, array: Array) -> None:
    """Raise ValueError that names the first row with NaN or infinity."""
    found = first_nonfinite(array)
    if found is not None:
        raise ValueError(f"Input {argument} contains NaN or infinity (first in row {found[0]}).")


def as_column(argument: str, array: Array) -> Array:
    """Return a one-dimensional view of an array of shape (n,) or (n, 1)."""
    if array.ndim == 1:
        return array
    if array.ndim == 2 and array.shape[1] == 1:
        return array.reshape(-1)
    raise ValueError(f"{argument} should be a 1d array, got an array of shape {array.shape} instead.")


def as_sample_weight(sample_weight: Any, n_rows: int) -> Array | None:
    """Return the weights (n,) or None; a number stands for n equal weights."""
    if sample_weight is None:
        return None
    if np.ndim(sample_weight) == 0:
        sample_weight = np.full(n_rows, sample_weight)
    weight = as_real("sample_weight", sample_weight)
    if weight.ndim != 1 or len(weight) != n_rows:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"sample_weight has shape {weight.shape}, expected ({n_rows},)."
        )
    if not weight.any():
        raise ValueError("sample_weight must contain at least one non-zero number.")
    return weight


def mean(values: Array, weights: Any = None) -> float:
    """Return the mean of values (n,), weighted if weights are given, with sums in float64."""
    if weights is None:
        return float(values.mean(dtype=np.float64))
    weights = np.asarray(weights, dtype=np.float64)
    total = float(weights.sum())
    if total == 0.0:
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")
    return float(np.dot(np.asarray(values, dtype=np.float64), weights)) / total
