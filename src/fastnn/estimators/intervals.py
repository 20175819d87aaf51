"""Prediction intervals of bags from the residuals of rows that a network did not see: conformal prediction, CV+."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import number

Array = NDArray[Any]

_HALVINGS = 60
"""Halvings of the bracket of a bound, which reach the precision of float64."""
_MOST_GROUPS = 64
"""Groups of rows up to which halvings take less time than a partition of all rows; bootstrap samples make more."""
_MOST_CENTERS = 1 << 24
"""Centers that are in memory at a time."""


class CrossResiduals:
    """Residuals of rows, each from the networks that were trained without the row.

    The interval of a new row is that of CV+ (Barber et al., 2021). With k = ``ceil((n + 1) coverage)`` it reaches from
    the k-th largest of ``center_i - residual_i`` to the k-th smallest of ``center_i + residual_i``; ``center_i`` is
    the prediction for the new row by the networks that did not see row i. Several such networks are averaged, as in the
    jackknife+ after bootstrap (Kim, Xu and Barber, 2020). With one network this is split conformal prediction.

    The residual of a row is the distance of its target from the prediction. If the networks predict a lower and an
    upper quantile, it is the distance from the nearer one, negative between them (Romano, Patterson and Candès, 2019):
    intervals reach from the lower centers to the upper ones, and are as wide as the quantiles say.

    Parameters
    ----------
    held_out : the numbers of the rows that each network did not see; None where it saw all.
    predictions : (n, n_outputs), the mean of the networks that did not see the row; other rows are not used.
    targets : (n, n_outputs).
    upper : (n, n_outputs), upper quantiles; ``predictions`` are the lower ones then.
    weight : (n,) weights of the rows, or None; rows of weight 0 have no residuals, all others count once.

    References
    ----------
    R. F. Barber, E. J. Candès, A. Ramdas and R. J. Tibshirani (2021), Predictive inference with the jackknife+, Annals
    of Statistics 49, 486-507. B. Kim, C. Xu and R. F. Barber (2020), Predictive inference is free with the
    jackknife+-after-bootstrap, NeurIPS. Y. Romano, E. Patterson and E. J. Candès (2019), Conformalized quantile
    regression, NeurIPS.
    """

    def __init__(
        self,
        held_out: Sequence[Array | None],
        predictions: Array,
        targets: Array,
        upper: Array | None = None,
        weight: Array | None = None,
    ) -> None:
        unseen = np.zeros((len(targets), len(held_out)), bool)
        for i, rows in enumerate(held_out):
            if rows is not None:
                unseen[rows, i] = True
        used = unseen.any(axis=1) if weight is None else unseen.any(axis=1) & (weight != 0.0)
        self.n = int(used.sum())
        self._networks, group_of = _different_rows(unseen[used])
        above = predictions if upper is None else upper
        residuals = np.maximum(predictions[used] - targets[used], targets[used] - above[used])
        self._sorted = [np.sort(residuals[group_of == group], axis=0) for group in range(len(self._networks))]

    def rank(self, coverage: float) -> int:
        """Return ``ceil((n + 1) coverage)``.

        Raises
        ------
        ValueError
            The rows do not suffice: the rank is above n.
        """
        # The decimal number that is written: (n + 1) * 0.9 in binary may lie above the whole number that is meant.
        share = Fraction(repr(number("coverage", coverage, above=0.0, below=1.0)))
        rank = math.ceil((self.n + 1) * share)
        if rank > self.n:
            raise ValueError(
                f"coverage={coverage} needs at least {math.ceil(share / (1 - share))} rows with predictions of "
                f"networks that did not see them, got {self.n}: lower coverage or fit with more rows"
            )
        return rank

    def intervals(
        self,
        outputs: Array,
        rank: int,
        upper: Array | None = None,
        of_centers: Callable[[Array], Array] = lambda centers: centers,
    ) -> Array:
        """Return the bounds (n_rows, n_outputs, 2) of new rows, some rows at a time.

        Parameters
        ----------
        outputs : predictions of all networks for new rows, (n_networks, n_rows, n_outputs).
        rank : ``rank(coverage)``.
        upper : upper quantiles of all networks; ``outputs`` are the lower ones then.
        of_centers : function of the means of the networks that gives the centers of intervals.
        """
        n_rows = outputs.shape[1]
        step = max(_MOST_CENTERS // (len(self._networks) * outputs.shape[2]), 1)
        bounds = []
        for start in range(0, max(n_rows, 1), step):
            rows = slice(start, start + step)
            centers = of_centers(self.centers(outputs[:, rows]))
            above = None if upper is None else of_centers(self.centers(upper[:, rows]))
            bounds.append(self.interval(centers, rank, above))
        return np.concatenate(bounds)

    def centers(self, outputs: Array) -> Array:
        """Return the mean predictions (n_groups, n_rows, n_outputs) of the networks of each group of rows.

        Parameters
        ----------
        outputs : predictions of all networks for new rows, (n_networks, n_rows, n_outputs).
        """
        return np.stack([outputs[networks].mean(axis=0, dtype=np.float64) for networks in self._networks])

    def interval(self, centers: Array, rank: int, upper: Array | None = None) -> Array:
        """Return the bounds (n_rows, n_outputs, 2) of the intervals of ``rank(coverage)`` around ``centers``.

        With ``upper``, they are around lower centers and these upper ones.
        """
        above = centers if upper is None else upper
        bounds = np.empty((*centers.shape[1:], 2))
        for output in range(centers.shape[2]):
            residuals = [group[:, output] for group in self._sorted]
            bounds[:, output, 0] = -_smallest(-centers[:, :, output], residuals, rank)
            bounds[:, output, 1] = _smallest(above[:, :, output], residuals, rank)
        # With a coverage below one half, or quantiles that are too far apart, bounds can cross.
        bounds.sort(axis=2)
        return bounds


def _different_rows(flags: Array) -> tuple[Array, Array]:
    """Return the different rows of truth values (n, k), in order, and the number of each row among them (n,).

    Rows of up to 64 are compared as whole numbers, which takes half a million rows a tenth of the time.
    """
    words = -(-flags.shape[1] // 64)
    bits = np.zeros((len(flags), 64 * words), bool)
    bits[:, : flags.shape[1]] = flags
    numbers = np.packbits(bits, axis=1).view(">u8").astype(np.uint64)
    given, axis = (numbers[:, 0], None) if words == 1 else (numbers, 0)
    _, first, number = np.unique(given, axis=axis, return_index=True, return_inverse=True)
    return flags[first], number.reshape(-1)


def _smallest(centers: Array, residuals: list[Array], rank: int) -> Array:
    """Return the ``rank``-th smallest of all ``centers[g] + residuals[g]``, for each row (n_rows,).

    Parameters
    ----------
    centers : (n_groups, n_rows).
    residuals : sorted residuals of each group.
    rank : counted from 1.
    """
    every = np.concatenate(residuals)
    if len(residuals) > _MOST_GROUPS:
        group = np.repeat(np.arange(len(residuals)), [len(each) for each in residuals])
        return np.array([np.partition(of_row[group] + every, rank - 1)[rank - 1] for of_row in centers.T])
    of_all = np.sort(every)[rank - 1]
    low: Array = centers.min(axis=0) + of_all
    high: Array = centers.max(axis=0) + of_all
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        below = sum(
            np.searchsorted(group, middle - center, side="right")
            for group, center in zip(residuals, centers, strict=True)
        )
        reached = below >= rank
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return high
