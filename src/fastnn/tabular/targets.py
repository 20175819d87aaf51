"""Checks of labels and targets."""

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import column_or_1d

from fastnn._arrays import as_numbers, check_unmasked
from fastnn.tabular.columns import LARGEST

Array = NDArray[Any]


def labels_of(y: Any) -> Array:
    """Return labels (n,); raise ValueError if one is missing."""
    check_unmasked(y, "y")
    labels: Array = column_or_1d(y, warn=True)
    if labels.dtype == object:
        # pandas.NA has no truth value.
        missing = [row for row, label in enumerate(labels) if label is None or (label != label) is not False]
        if missing:
            raise ValueError(f"y has no label at row {missing[0]} (counted from 0): leave out rows without a label")
    elif labels.dtype.kind == "f" and np.isnan(labels).any():
        row = int(np.flatnonzero(np.isnan(labels))[0])
        raise ValueError(f"Input y contains NaN: no label at row {row} (counted from 0); leave out such rows")
    return labels


def targets_of(y: Any) -> Array:
    """Return targets (n,) or (n, n_outputs) as float64; raise ValueError if they are not finite numbers."""
    given = np.asarray(y)
    if given.dtype == object and not any(isinstance(value, str) for value in given.flat):
        with suppress(TypeError, ValueError, OverflowError):
            y = given.astype(np.float64)
    check_unmasked(y, "y")
    targets: Array = as_numbers(y, "y").astype(np.float64)
    if targets.ndim not in (1, 2):
        raise ValueError(f"y must have shape (n,) or (n, n_outputs), got {targets.shape}")
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = column_or_1d(targets, warn=True)
    if not np.isfinite(targets).all():
        raise ValueError("Input y contains NaN or infinity")
    largest = float(np.abs(targets).max(initial=0.0))
    if largest > LARGEST:
        raise ValueError(f"y has a number of size {largest:.3g}, above {LARGEST:g}: rescale y")
    return targets
