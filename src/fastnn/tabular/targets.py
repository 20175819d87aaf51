"""Checks of targets, and of weights of rows."""

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import column_or_1d
from sklearn.utils.validation import _check_sample_weight

from fastnn._arrays import as_numbers, check_unmasked
from fastnn.estimators.labels import check_not_name
from fastnn.tabular.columns import LARGEST

Array = NDArray[Any]


def targets_of(y: Any) -> Array:
    """Return targets (n,) or (n, n_outputs) as float64; raise ValueError if they are not finite numbers."""
    check_not_name(y, "y")
    given = np.asarray(y)
    if given.dtype == object and not any(isinstance(value, str) for value in given.flat):
        with suppress(TypeError, ValueError, OverflowError):
            y = given.astype(np.float64)
    check_unmasked(y, "y")
    targets: Array = as_numbers(y, "y").astype(np.float64)
    if targets.ndim not in (1, 2) or not all(targets.shape[1:]):
        raise ValueError(f"y must have shape (n,) or (n, n_outputs), got {targets.shape}")
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = column_or_1d(targets, warn=True)
    if not np.isfinite(targets).all():
        row = int(np.argwhere(~np.isfinite(targets))[0, 0])
        raise ValueError(
            f"Input y contains NaN or infinity: no target at row {row} (counted from 0); leave out such rows"
        )
    largest = float(np.abs(targets).max(initial=0.0))
    if largest > LARGEST:
        raise ValueError(f"y has a number of size {largest:.3g}, above {LARGEST:g}: rescale y")
    return targets


def weights_of(sample_weight: Any, n: int) -> Array | None:
    """Return weights (n,) of mean 1; None where all are equal.

    Raises
    ------
    ValueError
        Not one finite number of at least 0 for each row, or all are 0.
    """
    if sample_weight is None:
        return None
    given = as_numbers(sample_weight, "sample_weight")
    if not given.ndim:
        raise ValueError(f"sample_weight must hold a weight for each of the {n} rows, got one number, {given}")
    weights: Array = _check_sample_weight(given, np.empty((n, 0)), dtype=np.float64)
    if weights.min() < 0.0:
        row = int(weights.argmin())
        raise ValueError(f"sample_weight must hold numbers of at least 0, got {weights[row]} at row {row}")
    if not weights.any():
        raise ValueError("sample_weight holds zeros only: Sample weights must contain at least one non-zero number.")
    if weights.min() == weights.max():
        return None
    shares = weights / weights.max()  # the mean of large weights could overflow
    scaled: Array = shares / shares.mean()
    return scaled
