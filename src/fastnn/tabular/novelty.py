"""Rows unlike those of a fit: their distance from its rows, and how often rows of the fit itself are as far away."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import number

Array = NDArray[Any]

_NEIGHBOURS = 5
"""The distance of a row is the mean of its distances from so many nearest rows."""
_MOST_REFERENCES = 5000
_MOST_CALIBRATING = 2000
_BLOCK = 512
"""Rows whose distances are computed together."""


class Novelty:
    """Conformal p-values of rows: small ones are those of rows unlike the rows of the fit.

    The distance of a row is the mean of those from its 5 nearest reference rows. The p-value is the share of
    calibrating rows that are at least as far from the reference rows of other folds; a row like those of the fit has a
    p-value of at most p with a probability of about p (Laxhammar and Falkman, 2010; Bates et al., 2023).

    Parameters
    ----------
    numbers : (n, n_numbers) columns of numbers of the fit. The distance between their quartiles becomes 1; arcsinh
        makes large numbers smaller, so that single ones do not decide.
    others : (n, n_others) columns that are not scaled, such as zeros and ones.
    codes : (n, n_codes) numbers of categories; two different ones are as far apart as two categories of zeros and ones.
    folds : (n,) the fold of each row, -1 for rows that only serve as references.
    seed : of the choice of at most 5,000 reference rows and 2,000 calibrating rows.

    References
    ----------
    S. Bates, E. Candès, L. Lei, Y. Romano and M. Sesia (2023), Testing for outliers with conformal p-values, Annals of
    Statistics 51, 149-178. R. Laxhammar and G. Falkman (2010), Conformal prediction for distribution-independent
    anomaly detection in streaming vessel data, StreamKDD.
    """

    def __init__(self, numbers: Array, others: Array, codes: Array, folds: Array, seed: int) -> None:
        low, self._center, high = np.quantile(numbers, (0.25, 0.5, 0.75), axis=0)
        width = np.where(high > low, high - low, 0.5 * (numbers.max(axis=0) - numbers.min(axis=0)))
        self._scale = np.divide(1.0, width, out=np.zeros_like(width), where=width >= np.finfo(np.float64).tiny)
        order = np.random.default_rng(seed).permutation(len(folds))
        kept = np.sort(order[:_MOST_REFERENCES])
        chosen = np.sort(order[folds[order] >= 0][:_MOST_CALIBRATING])
        points = self._points(numbers, others)
        self._points_of_fit, self._codes = points[kept], codes[kept]
        distances = [
            self._distances(points[rows], codes[rows], folds[kept] != fold)
            for fold in np.unique(folds[chosen])
            for rows in [chosen[folds[chosen] == fold]]
            if (folds[kept] != fold).any()
        ]
        self._calibrating = np.sort(np.concatenate(distances)) if distances else np.empty(0)

    def p_values(self, numbers: Array, others: Array, codes: Array) -> Array:
        """Return the p-values (n,) of rows."""
        distances = self._distances(self._points(numbers, others), codes, np.ones(len(self._codes), bool))
        n = len(self._calibrating)
        farther = n - np.searchsorted(self._calibrating, distances, side="left")
        values: Array = (1.0 + farther) / (n + 1.0)
        return values

    def check_rate(self, rate: Any) -> float:
        """Return a rate of false alarms; raise ValueError if there are too few rows for it."""
        share = number("false_alarm_rate", rate, above=0.0, below=1.0)
        needed = math.ceil(round(1.0 / share, 9)) - 1
        if len(self._calibrating) < needed:
            raise ValueError(
                f"false_alarm_rate={rate} needs at least {needed} rows with predictions of networks that did not see "
                f"them, got {len(self._calibrating)}: raise the rate or fit with more rows"
            )
        return share

    def _points(self, numbers: Array, others: Array) -> Array:
        return np.hstack([np.arcsinh((numbers - self._center) * self._scale), others])

    def _distances(self, points: Array, codes: Array, used: Array) -> Array:
        """Return the mean distance from the nearest reference rows of those ``used``."""
        references, their_codes = self._points_of_fit[used], self._codes[used]
        k = min(_NEIGHBOURS, len(references))
        norms = (references**2).sum(axis=1)
        found = np.empty(len(points))
        for first in range(0, len(points), _BLOCK):
            block = slice(first, first + _BLOCK)
            rows = points[block]
            squares = (rows**2).sum(axis=1)[:, None] + norms - 2.0 * (rows @ references.T)
            for column in range(codes.shape[1]):
                squares += 2.0 * (codes[block, column, None] != their_codes[:, column])
            nearest = np.partition(squares, k - 1, axis=1)[:, :k]
            found[block] = np.sqrt(np.maximum(nearest, 0.0)).mean(axis=1)
        return found
