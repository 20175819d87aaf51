"""Checks and conversions of the arrays that users pass, before anything is changed."""

import contextlib
import datetime
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core

Array = NDArray[Any]

_ELEMENTS_PER_CALL = 1 << 22
"""Numbers that one call of NumPy looks at, in some milliseconds: an interrupt waits for its end."""
_LARGE = 1 << 30
"""Bytes from which on the memory for a result is tried before the values are read."""


def is_source(x: Any) -> bool:
    """Whether ``x`` is a ``fastnn.data`` source; the module is there if one was made."""
    module = sys.modules.get("fastnn.data.source")
    return module is not None and isinstance(x, module.Source)


def check_in_memory(value: Any, name: str, what: str) -> None:
    """Raise ValueError for a ``fastnn.data`` source where ``what`` takes arrays."""
    if is_source(value):
        raise ValueError(f"{name} is a source: {what} takes rows that are in memory, such as {name}.read(0, n)")


def as_numbers(value: Any, name: str) -> Array:
    """Return ``value`` as an array of real numbers.

    Raises
    ------
    ValueError
        The value holds strings, objects, dates or complex numbers, has rows of different lengths, or is a sparse or
        masked array.
    """
    if value is None:
        raise ValueError(f"{name} is missing (None)")
    if isinstance(value, str | os.PathLike):
        hint = "; fastnn.data.source(path) reads the rows of files" if os.path.splitext(value)[1] else ""
        raise ValueError(f"{name} must be real numbers, got {value!r}{hint}")
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise ValueError(f"{name} is a sparse matrix; fastnn takes dense arrays: pass {name}.toarray()")
    check_unmasked(value, name)
    if isinstance(value, Mapping):
        raise ValueError(f"{name} is a {type(value).__name__}; a network has one input and one output: pass the array")
    if callable(getattr(value, "__next__", None)):
        raise ValueError(f"{name} is a generator; fastnn takes arrays: collect it first with numpy.array(list({name}))")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} cannot become an array: {error}") from error
    if array.dtype.kind == "O" and array.ndim == 0:
        if is_source(value):
            raise ValueError(
                f"{name} is a Source where an array is taken, such as its read(0, n)[0]; a model with several inputs "
                "takes one source of all of them, fastnn.data.source({name: rows, ...}, {name: targets, ...})"
            )
        raise ValueError(f"{name} is a {type(value).__name__}; fastnn takes arrays: collect its rows into one first")
    if array.dtype.kind == "O" and _holds_nullable_numbers(value):
        array = value.to_numpy(dtype=np.float64, na_value=np.nan)
    if array.dtype.kind not in "fiub":
        raise ValueError(_not_numbers(array, name))
    if array.dtype.kind == "b":
        return array.view(np.uint8)
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        # Float16 and extended precision; the core reads float32, float64 and whole numbers.
        return array.astype(np.float32 if array.dtype.itemsize == 2 else np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN, NaT or pandas.NA."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):
        return type(value).__name__ == "NAType"  # pandas.NA is neither true nor false


def check_labels(name: str, labels: Array) -> None:
    """Raise for labels (n,) of which one is missing, or that are strings and something else, which cannot be sorted."""
    for row, label in enumerate(labels):
        if is_missing(label):
            raise ValueError(f"{name} has no label at row {row} (counted from 0), but {label}: leave out such rows")
    strings = [isinstance(label, str) for label in labels]
    if any(strings) and not all(strings):
        string, other = labels[strings.index(True)], labels[strings.index(False)]
        raise ValueError(f"{name} has strings and other labels, such as {string!r} and {other!r}: make all strings")


def check_not_dates(value: Any, name: str) -> None:
    """Raise for an array of dates or durations, which scikit-learn would read as whole numbers."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "mM":
        raise ValueError(_not_numbers(value, name))


def check_unmasked(value: Any, name: str) -> None:
    """Raise for a masked array, or a list of them, of which NumPy would silently read the masked entries."""
    parts = value if isinstance(value, list | tuple) else (value,)
    if any(isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part) for part in parts):
        raise ValueError(f"{name} has masked entries; fill them first, for instance with {name}.filled(0.0)")


def _holds_nullable_numbers(value: Any) -> bool:
    """Return whether a pandas frame or column holds only numbers, some of a nullable dtype."""
    dtypes = getattr(value, "dtypes", None)
    if dtypes is None or type(value).__module__.split(".")[0] != "pandas":
        return False
    return all(getattr(dtype, "kind", "O") in "fiub" for dtype in (dtypes if value.ndim == 2 else [dtypes]))


def _not_numbers(array: Array, name: str) -> str:
    """Return the message for an array whose dtype is not real numbers."""
    message = f"{name} must be real numbers, but its dtype is {array.dtype}"
    if array.dtype.kind in "OUST":
        entries = np.ndenumerate(array)
        accepted = (bool, int, float, np.bool_, np.integer, np.floating)
        position, entry = next(((p, e) for p, e in entries if not isinstance(e, accepted)), ((), None))
        if position:
            message += f" (first entry that is not a number: {entry!r} at index {list(map(int, position))})"
            return f"{message}; {_conversion(array, entry, name)}"
        return f"{message}; convert it with {name}.astype(float)"
    if array.dtype.kind in "Mm":
        return f"{message}; {_DAYS}"
    return message


_DAYS = "turn dates into numbers first, such as days: (dates - dates.min()) / numpy.timedelta64(1, 'D')"


def _conversion(array: Array, entry: Any, name: str) -> str:
    """Return how to convert an array with an entry that is not a number."""
    if isinstance(entry, datetime.date | np.datetime64):
        return _DAYS
    if entry is None:
        return f"fill in what is missing, or use {name}.astype(float), which makes it NaN"
    with contextlib.suppress(ValueError, TypeError):
        array.astype(np.float64)
        return f"the text holds numbers: convert it with {name}.astype(float)"
    if re.fullmatch(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?", str(entry).strip()):
        return f"the text holds dates: convert it with pandas.to_datetime, then {_DAYS}"
    if name == "y":
        return (
            "fastnn.TabularClassifier and MLPClassifier take text as labels; number the classes for other models: "
            "numpy.unique(y, return_inverse=True)[1]"
        )
    return (
        "turn categories into one-hot columns first, for instance with pandas.get_dummies, or use fastnn.MLPClassifier "
        "and MLPRegressor, which take text in labels and data frames"
    )


def column_names(value: Any) -> list[str] | None:
    """Return the names of the columns of a data frame, an Arrow table or a source if all are strings, or None."""
    columns = getattr(value, "column_names", getattr(value, "columns", None))  # the columns of Arrow are arrays
    names = list(columns) if columns is not None and hasattr(value, "shape") else []
    return names if names and all(isinstance(name, str) for name in names) else None


def check_columns(known: Sequence[str] | None, value: Any, name: str) -> None:
    """Raise ValueError unless a data frame has the columns that are known, in their order; other data pass."""
    names = column_names(value)
    if known is None or names is None or names == list(known):
        return
    gone = [each for each in known if each not in names]
    added = [each for each in names if each not in known]
    what = [f"missing: {gone}"] * bool(gone) + [f"not seen in fit: {added}"] * bool(added)
    raise ValueError(
        f"the columns of {name} must be those of fit, {list(known)}, in the same order; "
        f"{'; '.join(what) or f'the order differs: {names}'}. Select them: {name}[{list(known)}]"
    )


def first_nonfinite(array: Array) -> tuple[int, ...] | None:
    """Return the index of the first NaN or infinity; None if all numbers are finite."""
    rows = np.atleast_1d(array)
    n = max(1, _ELEMENTS_PER_CALL // max(1, math.prod(rows.shape[1:])))
    for start in range(0, len(rows), n):
        block = rows[start : start + n]
        known = _core.all_finite(block)
        if known is None:
            with np.errstate(over="ignore", invalid="ignore"):
                # A sum is finite only if all its terms are: one pass, without a mask.
                known = math.isfinite(block.sum())
        if known:
            continue
        finite = np.isfinite(block)
        if not finite.all():
            row, *column = map(int, np.argwhere(~finite)[0])
            return start + row, *column
    return None


def check_finite(
    array: Array, name: str, dtype: np.dtype[Any], allow_missing: bool = False, missing_hint: str = ""
) -> None:
    """Raise for the first NaN, infinity or number that the network's dtype cannot hold; NaN may be allowed.

    ``missing_hint`` is added to the advice in the message on NaN.
    """
    if array.dtype.kind != "f":
        return
    if allow_missing and np.isnan(array).any():
        array = np.where(np.isnan(array), array.dtype.type(0), array)
    matrix = array.reshape(-1, 1) if array.ndim == 1 else array
    found = first_nonfinite(matrix)
    if found is not None:
        row, column = found
        where = f"row {row}" if array.ndim == 1 else f"row {row}, column {column}"
        hint = missing_hint if np.isnan(matrix[row, column]) else ""
        raise ValueError(
            f"{name} has {matrix[row, column]} at {where} (counted from 0); all values must be finite: drop such rows "
            f"or fill them in{hint}"
        )
    if array.dtype.itemsize > dtype.itemsize and array.size:
        largest = np.finfo(dtype).max
        if array.max() > largest or array.min() < -largest:
            row, column = map(int, np.argwhere(np.abs(matrix) > largest)[0])
            raise ValueError(
                f"{name} has {matrix[row, column]} at row {row}, column {column} (counted from 0), which is too large "
                f"for {dtype}: rescale {name} or use dtype='float64'"
            )


def as_features(
    value: Any,
    n_features: int | None,
    dtype: np.dtype[Any],
    name: str = "x",
    row_shape: tuple[int, ...] | None = None,
    allow_missing: bool = False,
    missing_hint: str = "",
    allow_empty: bool = False,
) -> Array:
    """Return inputs as a finite array (n, n_features) of any real dtype, without a copy if possible.

    Parameters
    ----------
    value : array-like (n, n_features), or (n,) for a model with one feature.
    n_features : number of columns that the model takes, or None if it is not known yet.
    dtype : the network's dtype.
    name : name of the argument in messages.
    row_shape : shape of one row for a model that flattens its input, such as (28, 28); () accepts every shape.
    allow_missing : whether NaN is accepted as a missing value.
    missing_hint : advice on NaN for the message, in addition to dropping and filling such rows.
    allow_empty : whether an array without rows is accepted.

    Raises
    ------
    ValueError
        The values are not numbers or not finite, the shape is wrong, or there are no rows or columns.
    """
    array = as_numbers(value, name)
    if array.ndim == 1 and n_features == 1:
        array = array.reshape(-1, 1)
    if array.ndim > 2 and row_shape is not None:
        if row_shape and array.shape[1:] != row_shape and len(row_shape) > 1:
            raise ValueError(f"{name} has rows of shape {array.shape[1:]}, but the model takes rows of {row_shape}")
        array = array.reshape(array.shape[0], math.prod(array.shape[1:]))
    if array.ndim != 2:
        takes = "n_features" if n_features is None else n_features
        hint = f"; for one row pass {name}.reshape(1, -1)" if array.ndim == 1 else ""
        raise ValueError(f"{name} must have shape (n, {takes}), got {array.shape}{hint}")
    if array.shape[0] == 0 and not allow_empty:
        raise ValueError(f"{name} is empty: it has shape {array.shape}, at least one row is needed")
    if n_features is not None and array.shape[1] != n_features:
        raise ValueError(f"{name} has {array.shape[1]} features (columns), but the model takes {n_features}")
    if array.shape[1] == 0:
        raise ValueError(f"{name} has no columns: shape {array.shape}")
    check_memory(array.shape[0], dtype, name)
    check_finite(array, name, dtype, allow_missing, missing_hint)
    return array


def check_memory(n_rows: int, dtype: np.dtype[Any], name: str) -> None:
    """Raise MemoryError if there is no room for one number for each row; a view can have more rows than memory."""
    if n_rows * dtype.itemsize < _LARGE:
        return
    try:
        np.empty(n_rows, dtype)
    except (MemoryError, ValueError) as error:
        raise MemoryError(f"{name} has {n_rows} rows: there is no memory for one number for each: {error}") from error


def check_target_range(targets: Array, low: float, high: float, loss_name: str, name: str, hint: str = "") -> None:
    """Raise for the first target of (n, n_outputs) outside of ``low`` to ``high``, which may be infinite.

    ``hint`` ends the message.
    """
    if targets.min() < low or targets.max() > high:
        row, col = map(int, np.argwhere((targets < low) | (targets > high))[0])
        accepted = f"of at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ValueError(
            f"{name} has {targets[row, col]} at row {row}, column {col} (counted from 0); {loss_name} takes targets "
            f"{accepted}{hint}"
        )
