"""Labels as the user gave them: checks, and NumPy's types for those that other packages store otherwise."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import column_or_1d

from fastnn._arrays import check_labels, check_unmasked, is_missing

Array = NDArray[Any]


def plain_labels(y: Any) -> Any:
    """Return whole numbers, truth values and texts (n,) in NumPy's type for them; all else as it is.

    scikit-learn makes float64 of pandas's nullable numbers, which merges those beyond 2**53, and refuses numbers and
    truth values that are objects, and texts of NumPy's ``StringDType``.
    """
    dtype = getattr(y, "dtype", None)
    kind = getattr(dtype, "numpy_dtype", None)
    if kind is not None and kind.kind in "iub" and not y.isna().any():
        return y.to_numpy(dtype=kind)
    if isinstance(dtype, np.dtype) and dtype.kind not in "OT":
        return y
    labels = np.asarray(y)
    if labels.dtype.kind == "U" and labels.ndim == 1 and isinstance(y, list | tuple) and any(map(is_missing, y)):
        return np.array(y, object)  # NumPy makes the text "nan" of NaN beside texts
    if labels.dtype.kind == "T":
        return np.array(labels.tolist(), np.str_)
    if labels.dtype == object and labels.ndim == 1 and all(isinstance(label, Real | np.bool_) for label in labels):
        numbers = np.array(labels.tolist())
        return numbers if numbers.dtype.kind in "biuf" else y
    return y


def labels_of(y: Any, name: str = "y") -> Array:
    """Return labels (n,); raise ValueError if one is missing."""
    check_not_name(y, name)
    check_unmasked(y, name)
    plain = plain_labels(y)
    shape = np.asarray(plain).shape
    if len(shape) != 1 and shape[1:] != (1,):
        raise ValueError(f"{name} should be a 1d array, got an array of shape {shape} instead.")
    labels: Array = column_or_1d(plain, warn=name == "y")
    if labels.dtype == object:
        check_labels(name, labels)
        odd = next((label for label in labels if not isinstance(label, str | bytes | Real | np.bool_)), None)
        if name == "y" and odd is not None:
            raise ValueError(f"y holds labels of type {type(odd).__name__}: make them strings, such as y.astype(str)")
    elif labels.dtype.kind == "f" and np.isnan(labels).any():
        row = int(np.flatnonzero(np.isnan(labels))[0])
        raise ValueError(f"Input {name} contains NaN: no label at row {row} (counted from 0); leave out such rows")
    return labels


def check_not_name(y: Any, name: str) -> None:
    """Raise TypeError for the name of a column where its values are taken."""
    if isinstance(y, str):
        raise TypeError(f"{name} must hold a value for each row, got {y!r}: pass the column, such as table[{y!r}]")
