"""What is done to checked inputs before the network sees them: missing values filled, columns standardised."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

Array = NDArray[Any]


def center_and_scale(values: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of every column; 1 in place of a deviation of 0."""
    center = np.asarray(np.mean(values, axis=0, dtype=np.float64))
    scale = np.std(values, axis=0, dtype=np.float64)
    # below rounding of the mean a column is constant
    constant = scale <= 10 * np.finfo(np.float64).eps * np.abs(center)
    return center, np.where(constant, 1.0, scale)


@dataclass
class InputPreparation:
    """Fills missing values and standardises columns, as learned from the first training data.

    Parameters
    ----------
    fill : value per column that replaces NaN, or None.
    indicated : columns with missing values in training, each of which gets a column of 0 and 1 of its own.
    center, scale : mean and standard deviation per column, or None.
    """

    fill: Array | None
    indicated: Array
    center: Array | None
    scale: Array | None

    @classmethod
    def for_inputs(cls, X: Any, standardize: bool, missing: str) -> "InputPreparation | None":
        """Learn from X (n, n_features); None where nothing is to be done."""
        if not standardize and missing == "error":
            return None
        dense: Array = X.toarray() if scipy.sparse.issparse(X) else X
        preparation = cls(None, np.empty(0, np.intp), None, None)
        if missing != "error":
            gaps = np.isnan(dense)
            known = np.where(gaps.all(axis=0), 0.0, dense)
            preparation.fill = (np.nanmedian if missing == "median" else np.nanmean)(known, axis=0)
            if missing == "indicator":
                preparation.indicated = np.flatnonzero(gaps.any(axis=0))
            dense = np.where(gaps, preparation.fill, dense)
        if standardize:
            preparation.center, preparation.scale = center_and_scale(dense)
        return preparation

    def transform(self, X: Array) -> Array:
        """Return X (n, n_features) filled and standardised, in its own dtype if that is a float's."""
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
