"""Scores that choose the epoch of a network: functions of targets and outputs (n, n_outputs); less is better.

Most of them are means of a number for each row, ``RowMean``. ``by_parts`` gives the scores of a division of the rows.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Score = Callable[..., float]
"""Function of targets and outputs (n, n_outputs), and of ``weight`` (n,) where rows have weights; less is better."""


class RowMean:
    """A score that is a function of the mean of numbers for the rows.

    Parameters
    ----------
    of_rows : function of targets and outputs (n, n_outputs) that returns the numbers (n,).
    of_mean : rising function of the mean, or of an array of means; None for the mean itself.
    """

    def __init__(self, of_rows: Callable[[Array, Array], Array], of_mean: Callable[[Any], Any] | None = None) -> None:
        self.of_rows, self.of_mean = of_rows, of_mean

    def __call__(self, y: Array, outputs: Array, weight: Array | None = None) -> float:
        """Return the score."""
        rows = self.of_rows(y, outputs)
        mean = rows.mean() if weight is None else np.average(rows, weights=weight)
        return float(mean if self.of_mean is None else self.of_mean(mean))

    def by_parts(self, y: Array, outputs: Array, division: "Division") -> Array:
        """Return what ``Division.scores`` returns."""
        means = division.sums(self.of_rows(y, outputs)) / division.weights
        return np.asarray(means if self.of_mean is None else self.of_mean(means))


class RankedArea:
    """Minus the area under the ROC curve, the mean over classes of one against the rest; 0 where there is one class."""

    def __call__(self, y: Array, outputs: Array, weight: Array | None = None) -> float:
        """Return the score."""
        whole = Division(np.zeros(len(y), np.intp), weight)
        return float(self.by_parts(y, outputs, whole)[-1])

    def by_parts(self, y: Array, outputs: Array, division: "Division") -> Array:
        """Return what ``Division.scores`` returns."""
        areas = np.array([_areas(y[:, i] > 0, outputs[:, i], division) for i in range(outputs.shape[1])])
        known = np.isfinite(areas)
        means: Array = np.where(known, areas, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        return -means


def _areas(truth: Array, scores: Array, division: "Division") -> Array:
    """Return the areas of one class (n_parts + 1,), as ``Division.scores``; NaN where all rows are of one kind."""
    levels, ranks = np.unique(scores, return_inverse=True)
    right, wrong = (division.sums_of_levels(ranks, len(levels), kind) for kind in (truth, ~truth))
    # A pair of a right and a wrong row counts 1 where the right one has more, 1/2 where both are equal.
    won = (right * (wrong.cumsum(axis=1) - 0.5 * wrong)).sum(axis=1)
    pairs = right.sum(axis=1) * wrong.sum(axis=1)
    areas: Array = np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0.0)
    return areas


class Division:
    """Rows that are divided into parts: scores of the rows without each part, and of all rows.

    Parameters
    ----------
    part : number of the part of each row (n,).
    weight : weights of the rows (n,), or None.

    Attributes
    ----------
    weights : (n_parts + 1,) weights of the rows without each part, and of all rows.
    """

    def __init__(self, part: Array, weight: Array | None = None) -> None:
        self._part, self._weight = part, weight
        self.n_parts = int(part.max()) + 1
        self.weights = self.sums(np.ones(len(part)))

    def scores(self, score: Score, y: Array, outputs: Array) -> Array:
        """Return the scores (n_parts + 1,) of the rows without each part, and of all rows; -inf where none has weight.

        Parameters
        ----------
        score : a score of this module is computed for all parts at once.
        y, outputs : (n, n_outputs).
        """
        if isinstance(score, RowMean | RankedArea):
            with np.errstate(invalid="ignore"):
                found = score.by_parts(y, outputs, self)
            return np.where(self.weights > 0.0, found, -np.inf)
        masks = [self._part != number for number in range(self.n_parts)] + [np.ones(len(y), bool)]
        options = [() if self._weight is None else (self._weight[mask],) for mask in masks]
        return np.array(
            [
                score(y[mask], outputs[mask], *given) if weight > 0.0 else -np.inf
                for mask, given, weight in zip(masks, options, self.weights, strict=True)
            ]
        )

    def sums(self, values: Array) -> Array:
        """Return the weighted sums (n_parts + 1,) of values (n,): without each part, and of all.

        A sum without a part does not depend on the values of its rows, not even in the last bit.
        """
        of_parts = np.bincount(self._part, values if self._weight is None else values * self._weight, self.n_parts)
        sums: Array = _without_each(of_parts[:, None])[:, 0]
        return sums

    def sums_of_levels(self, levels: Array, n_levels: int, chosen: Array) -> Array:
        """Return the sums (n_parts + 1, n_levels) of the weights of the rows ``chosen`` (n,) that have a level."""
        weight = chosen.astype(np.float64) if self._weight is None else chosen * self._weight
        of_parts = np.bincount(self._part * n_levels + levels, weight, self.n_parts * n_levels)
        return _without_each(of_parts.reshape(self.n_parts, n_levels))


def _without_each(of_parts: Array) -> Array:
    """Return the sums (n_parts + 1, n) over all parts but one, for each of them, and over all parts."""
    sums = np.zeros((len(of_parts) + 1, of_parts.shape[1]))
    np.cumsum(of_parts, axis=0, out=sums[1:])
    sums[:-2] += of_parts[:0:-1].cumsum(axis=0)[::-1]
    return sums


def _both(outputs: Array) -> Array:
    """Return the probabilities of all classes."""
    return np.column_stack([1.0 - outputs, outputs]) if outputs.shape[1] == 1 else outputs


def _hot(y: Array) -> Array:
    return np.column_stack([1.0 - y, y]) if y.shape[1] == 1 else y


def _log_losses(y: Array, outputs: Array) -> Array:
    """Return the negative logarithm of the probability of the true class, at least 1e-7."""
    if outputs.shape[1] == 1:
        second = outputs[:, 0].astype(np.float64)
        likelihood = np.where(y[:, 0] > 0, second, 1.0 - second)
    else:
        likelihood = outputs[y > 0].astype(np.float64)
    losses: Array = -np.log(np.maximum(likelihood, 1e-7))
    return losses


def _minus_right(y: Array, outputs: Array) -> Array:
    right = _both(outputs).argmax(axis=1) == _hot(y).argmax(axis=1)
    minus: Array = -right.astype(np.float64)
    return minus


def _brier(y: Array, outputs: Array) -> Array:
    """Return the squared errors of the probabilities, summed over the classes."""
    squares: Array = ((_both(outputs) - _hot(y)) ** 2).sum(axis=1)
    return squares


def _squares(y: Array, outputs: Array) -> Array:
    squares: Array = ((outputs.astype(np.float64) - y) ** 2).mean(axis=1)
    return squares


def _distances(y: Array, outputs: Array) -> Array:
    distances: Array = np.abs(outputs.astype(np.float64) - y).mean(axis=1)
    return distances


def r2(y: Array, outputs: Array, weight: Array | None = None) -> float:
    """Return minus the coefficient of determination; 0 where the targets are constant."""
    share = 1.0 if weight is None else weight[:, None]
    rest = (share * (outputs.astype(np.float64) - y) ** 2).sum()
    total = (share * (y - np.average(y, axis=0, weights=weight)) ** 2).sum()
    return float(rest / total - 1.0) if total > 0 else 0.0


log_loss = RowMean(_log_losses)
error = RowMean(_minus_right)
"""Minus the share of right classes."""
brier = RowMean(_brier)
roc_auc = RankedArea()
rmse = RowMean(_squares, np.sqrt)
mae = RowMean(_distances)

METRICS: dict[str, dict[str, Score]] = {
    "classifier": {"log_loss": log_loss, "accuracy": error, "roc_auc": roc_auc, "brier": brier},
    "regressor": {"rmse": rmse, "mae": mae, "r2": r2},
}


def score_of(kind: str, metric: str) -> Score:
    """Return the score of a metric."""
    return METRICS[kind][metric]
