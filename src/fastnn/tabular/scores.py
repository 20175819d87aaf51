"""Scores that choose the epoch of a network: functions of targets and outputs (n, n_outputs); less is better."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def _both(outputs: Array) -> Array:
    """Return the probabilities of all classes."""
    return np.column_stack([1.0 - outputs, outputs]) if outputs.shape[1] == 1 else outputs


def _hot(y: Array) -> Array:
    return np.column_stack([1.0 - y, y]) if y.shape[1] == 1 else y


def log_loss(y: Array, outputs: Array) -> float:
    """Return the mean negative logarithm of the probability of the true class."""
    likelihood = (_hot(y) * _both(outputs.astype(np.float64))).sum(axis=1)
    return float(-np.log(np.maximum(likelihood, 1e-7)).mean())


def error(y: Array, outputs: Array) -> float:
    """Return minus the share of right classes."""
    return -float((_both(outputs).argmax(axis=1) == _hot(y).argmax(axis=1)).mean())


def brier(y: Array, outputs: Array) -> float:
    """Return the mean squared error of the probabilities, summed over the classes."""
    return float(((_both(outputs) - _hot(y)) ** 2).sum(axis=1).mean())


def roc_auc(y: Array, outputs: Array) -> float:
    """Return minus the area under the ROC curve, the mean over classes of one against the rest."""
    truth, scores = _hot(y)[:, 1:] if y.shape[1] == 1 else _hot(y), outputs
    found = [_area(truth[:, i], scores[:, i]) for i in range(truth.shape[1])]
    known = [value for value in found if value is not None]
    return -float(np.mean(known)) if known else 0.0


def _area(truth: Array, scores: Array) -> float | None:
    """Return the area under the ROC curve of one class; None where all rows are of one kind."""
    n_true = int(truth.sum())
    if n_true in (0, len(truth)):
        return None
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - 0.5 * (counts - 1))[places]
    return float((ranks[truth > 0].sum() - 0.5 * n_true * (n_true + 1)) / (n_true * (len(truth) - n_true)))


def rmse(y: Array, outputs: Array) -> float:
    """Return the root of the mean squared error."""
    return float(np.sqrt(((outputs.astype(np.float64) - y) ** 2).mean()))


def mae(y: Array, outputs: Array) -> float:
    """Return the mean absolute error."""
    return float(np.abs(outputs.astype(np.float64) - y).mean())


def r2(y: Array, outputs: Array) -> float:
    """Return minus the coefficient of determination; 0 where the targets are constant."""
    rest, total = ((outputs.astype(np.float64) - y) ** 2).sum(), ((y - y.mean(axis=0)) ** 2).sum()
    return float(rest / total - 1.0) if total > 0 else 0.0


METRICS: dict[str, dict[str, Callable[[Array, Array], float]]] = {
    "classifier": {"log_loss": log_loss, "accuracy": error, "roc_auc": roc_auc, "brier": brier},
    "regressor": {"rmse": rmse, "mae": mae, "r2": r2},
}


def score_of(kind: str, metric: str) -> Callable[[Array, Array], float]:
    """Return the score of a metric."""
    return METRICS[kind][metric]
