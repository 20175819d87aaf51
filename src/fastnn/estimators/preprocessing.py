"""Preparation of checked inputs for the network: missing values filled, columns standardized."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from fastnn._arrays import is_source

Array = NDArray[Any]


_LEAST_DEVIATION = 1e-140
"""Squares of smaller numbers can be subnormal, which have fewer digits."""


def center_and_deviation(values: Array, weight: Array | None = None) -> tuple[Array, Array]:
    """Return the weighted mean and standard deviation of every column of numbers (n, n_columns), in float64.

    Columns whose squares vanish, lose digits or overflow are divided by their largest difference from the mean first.
    Those of a constant column are its value and 0: the rounding of a mean grows with the rows. Rows of weight 0 do not
    count.
    """
    if weight is not None:
        values, weight = values[weight > 0.0], weight[weight > 0.0]
    center: Array = (
        values.mean(axis=0, dtype=np.float64)
        if weight is None
        else np.asarray(np.average(values, axis=0, weights=weight))
    )
    differences = values - center
    with np.errstate(over="ignore"):
        deviation = np.asarray(np.sqrt(np.average(differences**2, axis=0, weights=weight)))
    largest = np.abs(differences).max(axis=0)
    lost = np.flatnonzero(((deviation < _LEAST_DEVIATION) | np.isinf(deviation)) & (largest > 0.0))
    if lost.size:
        shares = differences[:, lost] / largest[lost]
        deviation[lost] = np.sqrt(np.average(shares**2, axis=0, weights=weight)) * largest[lost]
    constant = values.min(axis=0) == values.max(axis=0)
    return np.where(constant, values[0], center), np.where(constant, 0.0, deviation)


def center_and_scale(values: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of every column; of a constant one its value, and 1."""
    center, deviation = center_and_deviation(values)
    return center, _without_constants(center, deviation)


def _without_constants(center: Array, scale: Array) -> Array:
    """Return deviations with 1 for those within the rounding of the mean, which are of constant columns."""
    return np.where(scale <= 10 * np.finfo(np.float64).eps * np.abs(center), 1.0, scale)


@dataclass
class InputPreparation:
    """Fills missing values and standardizes columns, as learned from the training data of the first fit.

    Parameters
    ----------
    fill : value per column that replaces NaN, or None.
    indicated : columns with missing values in training; each gets an extra column of 0 and 1.
    center, scale : mean and standard deviation per column, or None.
    """

    fill: Array | None
    indicated: Array
    center: Array | None
    scale: Array | None

    @classmethod
    def for_inputs(cls, X: Any, standardize: bool, missing: str) -> "InputPreparation | None":
        """Learn from X (n, n_features); None if there is nothing to do."""
        if not standardize and missing == "error":
            return None
        if is_source(X):
            return cls._for_source(X, standardize, missing)
        dense: Array = X.toarray() if scipy.sparse.issparse(X) else X
        preparation = cls(None, np.empty(0, np.intp), None, None)
        if missing != "error":
            gaps = np.isnan(dense)
            known = np.where(gaps.all(axis=0), 0.0, dense)
            middle = np.nanmedian(known, axis=0) if missing == "median" else np.nanmean(known, axis=0, dtype=np.float64)
            low, high = np.fmin.reduce(known, axis=0), np.fmax.reduce(known, axis=0)
            preparation.fill = np.where(low == high, low, middle).astype(dense.dtype)  # not a rounded mean
            if missing == "indicator":
                preparation.indicated = np.flatnonzero(gaps.any(axis=0))
            dense = np.where(gaps, preparation.fill, dense)
        if standardize:
            preparation.center, preparation.scale = center_and_scale(dense)
        return preparation

    @classmethod
    def _for_source(cls, source: Any, standardize: bool, missing: str) -> "InputPreparation":
        """Learn from a ``fastnn.data`` source, in one pass over its blocks."""
        from fastnn.data.moments import moments

        if missing == "median":
            raise ValueError("missing='median' needs all rows in memory: use 'mean' or 'indicator' with a source")
        found = moments(source, "X", missing != "error")
        preparation = cls(None, np.empty(0, np.intp), None, None)
        gaps = len(source) - found.n
        constant = found.low == found.high
        center = np.where(constant, found.low, found.mean)
        if missing != "error":
            preparation.fill = center
            if missing == "indicator":
                preparation.indicated = np.flatnonzero(gaps)
        if standardize:
            # A missing value becomes the mean, which adds nothing to the squares.
            scale = np.where(constant, 0.0, np.sqrt(found.variance * (found.n / len(source))))
            preparation.center, preparation.scale = center, _without_constants(center, scale)
        return preparation

    def transform(self, X: Array) -> Array:
        """Return X (n, n_features) filled and standardized; X keeps its dtype if that is a float type."""
        dtype = X.dtype if X.dtype.kind == "f" else np.dtype(np.float64)
        gaps = np.isnan(X) if self.fill is not None and X.dtype.kind == "f" else None
        if gaps is not None and self.fill is not None:
            X = np.where(gaps, self.fill, X)
        if self.center is not None:
            X = (X - self.center) / self.scale
        if len(self.indicated):
            flags = np.zeros((len(X), len(self.indicated))) if gaps is None else gaps[:, self.indicated]
            X = np.hstack([X, flags])
        return np.ascontiguousarray(X, dtype)
