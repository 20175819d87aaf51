"""Metrics of scores: ROC and precision-recall curves, the areas under them, top-k accuracy.

Names, arguments and results are scikit-learn's.
"""

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn._arguments import choice, flag, number, optional, takes_keywords, whole
from fastnn._warnings import warn
from fastnn.metrics.counts import counts_at_thresholds, ordered_pairs
from fastnn.metrics.targets import as_labels, encode, labels_1d, positive_class, type_of_target, warn_of_labels
from fastnn.metrics.validation import (
    Array,
    as_column,
    as_real,
    as_sample_weight,
    mean,
    require_same_length,
    warn_undefined,
)

_ONE_CLASS = "Only one class is present in y_true. ROC AUC score is not defined in that case."

BinaryMetric = Callable[[Array, Array, Array | None], float]


def _curve_counts(
    y_true: ArrayLike, y_score: ArrayLike, pos_label: Any, sample_weight: ArrayLike | None
) -> tuple[Array, Array, Array]:
    """Count false and true positives of a binary problem at every distinct score, largest first."""
    y = as_labels("y_true", y_true)
    kind = type_of_target("y_true", y)
    if not (kind == "binary" or (kind == "multiclass" and pos_label is not None)):
        raise ValueError(f"{kind} format is not supported")
    pos_label = positive_class(pos_label, encode("y_true", y)[0])
    score = as_column("y_score", as_real("y_score", y_score))
    n_rows = require_same_length(y_true=y, y_score=score)
    return counts_at_thresholds(y == pos_label, score, as_sample_weight(sample_weight, n_rows))


@takes_keywords
def roc_curve(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    pos_label: Any = None,
    sample_weight: ArrayLike | None = None,
    drop_intermediate: bool = True,
) -> tuple[Array, Array, Array]:
    """Compute the false and true positive rates over all thresholds of a score.

    Parameters
    ----------
    y_true : array_like
        Labels (n,) of two classes.
    y_score : array_like
        (n,), larger for rows that are more likely positive.
    pos_label : label, optional
        The positive class; default 1 if the labels are {0, 1} or {-1, 1}.
    sample_weight : array_like, optional
        (n,).
    drop_intermediate : bool
        Leave out points that lie on a straight line between their neighbours.

    Returns
    -------
    fpr, tpr, thresholds : ndarray
        Rates of rows with ``score >= threshold``, for thresholds that fall from infinity, where both rates are 0.

    Examples
    --------
    >>> fpr, tpr, thresholds = roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> fpr.tolist(), tpr.tolist()
    ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    """
    flag("drop_intermediate", drop_intermediate)
    fps, tps, thresholds = _curve_counts(y_true, y_score, pos_label, sample_weight)
    if drop_intermediate and len(fps) > 2:
        corner = (np.diff(fps, 2) != 0) | (np.diff(tps, 2) != 0)
        kept = np.flatnonzero(np.concatenate([[True], corner, [True]]))
        fps, tps, thresholds = fps[kept], tps[kept], thresholds[kept]
    fps = np.concatenate([[0.0], fps])
    tps = np.concatenate([[0.0], tps])
    thresholds = np.concatenate([[math.inf], thresholds.astype(np.float64)])
    return (
        _rate(fps, "No negative samples in y_true, false positive value should be meaningless"),
        _rate(tps, "No positive samples in y_true, true positive value should be meaningless"),
        thresholds,
    )


def _rate(counts: Array, message: str) -> Array:
    if counts[-1] <= 0:
        warn_undefined(message)
        return np.full(len(counts), math.nan)
    return np.asarray(counts / counts[-1])


@takes_keywords
def precision_recall_curve(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    pos_label: Any = None,
    sample_weight: ArrayLike | None = None,
    drop_intermediate: bool = False,
) -> tuple[Array, Array, Array]:
    """Precision and recall over all thresholds of a score.

    Parameters
    ----------
    y_true, y_score, pos_label, sample_weight
        As in `roc_curve`.
    drop_intermediate : bool
        Leave out points between two points of the same recall.

    Returns
    -------
    precision, recall : ndarray
        (m + 1,) at rising thresholds; the last point, precision 1 and recall 0, has no threshold.
    thresholds : ndarray
        (m,).

    Examples
    --------
    >>> precision, recall, thresholds = precision_recall_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> precision.round(2).tolist(), recall.tolist()
    ([0.5, 0.67, 0.5, 1.0, 1.0], [1.0, 1.0, 0.5, 0.5, 0.0])
    """
    flag("drop_intermediate", drop_intermediate)
    fps, tps, thresholds = _curve_counts(y_true, y_score, pos_label, sample_weight)
    if drop_intermediate and len(fps) > 2:
        step = np.diff(tps) != 0
        kept = np.flatnonzero(np.concatenate([[True], step[:-1] | step[1:], [True]]))
        fps, tps, thresholds = fps[kept], tps[kept], thresholds[kept]
    precision, recall = _precision_and_recall(fps, tps)
    return np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0), thresholds[::-1]


def _precision_and_recall(fps: Array, tps: Array) -> tuple[Array, Array]:
    predicted = fps + tps
    precision = np.divide(tps, predicted, out=np.zeros_like(tps), where=predicted != 0)
    if tps[-1] == 0:
        warn("No positive class found in y_true, recall is set to one for all thresholds.")
        return precision, np.ones_like(tps)
    return precision, tps / tps[-1]


def _binary_average_precision(positive: Array, score: Array, weights: Array | None) -> float:
    precision, recall = _precision_and_recall(*counts_at_thresholds(positive, score, weights)[:2])
    return max(0.0, float(np.dot(np.diff(recall, prepend=0.0), precision)))


def _binary_auc(positive: Array, score: Array, weights: Array | None, max_fpr: float | None = None) -> float:
    n_positive = int(np.count_nonzero(positive))
    n_negative = len(positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        warn_undefined(_ONE_CLASS)
        return math.nan
    if max_fpr in (None, 1):
        pairs, positives, negatives = ordered_pairs(positive, score, weights)
        if positives != 0.0 and negatives != 0.0:
            return pairs / (positives * negatives)
    fps, tps, _ = counts_at_thresholds(positive, score, weights)
    fpr = _rate(
        np.concatenate([[0.0], fps]), "No negative samples in y_true, false positive value should be meaningless"
    )
    tpr = _rate(
        np.concatenate([[0.0], tps]), "No positive samples in y_true, true positive value should be meaningless"
    )
    if max_fpr is None or max_fpr == 1:
        return _area(fpr, tpr)
    stop = int(np.searchsorted(fpr, max_fpr, "right"))
    last = np.interp(max_fpr, fpr[stop - 1 : stop + 1], tpr[stop - 1 : stop + 1])
    area = _area(np.append(fpr[:stop], max_fpr), np.append(tpr[:stop], last))
    smallest = 0.5 * max_fpr**2
    return 0.5 * (1.0 + (area - smallest) / (max_fpr - smallest))


def _area(x: Array, y: Array) -> float:
    """Integrate y over x with the trapezoidal rule."""
    return float(np.dot(np.diff(x), 0.5 * (y[1:] + y[:-1])))


def _average_over_columns(
    metric: BinaryMetric, positive: Array, score: Array, average: str | None, weights: Array | None
) -> Any:
    """Apply a binary metric to every column, or row, of indicators and scores (n, k), and average."""
    if positive.shape != score.shape:
        raise ValueError(
            f"y_score must have the shape of the indicators of y_true, {positive.shape}, got {score.shape}."
        )
    if average == "micro":
        repeated = None if weights is None else np.repeat(weights, positive.shape[1])
        return metric(positive.ravel(), score.ravel(), repeated)
    average_weights: Array | None = None
    if average == "weighted":
        average_weights = positive.sum(axis=0) if weights is None else weights @ positive
        if np.isclose(average_weights.sum(), 0.0):
            return 0.0
    if average == "samples":
        average_weights, weights = weights, None
        positive, score = positive.T, score.T
    scores = np.array(
        [
            metric(np.ascontiguousarray(p), np.ascontiguousarray(s), weights)
            for p, s in zip(positive.T, score.T, strict=True)
        ]
    )
    if average is None:
        return scores
    if average_weights is not None:
        scores[average_weights == 0] = 0.0
    return mean(scores, average_weights)


@takes_keywords
def roc_auc_score(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    average: str | None = "macro",
    sample_weight: ArrayLike | None = None,
    max_fpr: float | None = None,
    multi_class: str = "raise",
    labels: ArrayLike | None = None,
) -> Any:
    """Area under the ROC curve: the probability that a positive row scores higher than a negative one.

    Parameters
    ----------
    y_true : array_like
        Labels (n,), of which the larger of two is positive, or 0/1 indicators (n, k).
    y_score : array_like
        (n,) for two classes, (n, k) for indicators; probabilities (n, k) that sum to 1 for more classes.
    average : {"macro", "micro", "weighted", "samples"} or None
        How the columns' areas are averaged; None: return the areas (k,).
    sample_weight : array_like, optional
        (n,).
    max_fpr : float, optional
        In (0, 1]: the standardised partial area up to this false positive rate (McClish, 1989).
    multi_class : {"raise", "ovr", "ovo"}
        For more than two classes: each against the rest, or the mean over the pairs of classes that occur in y_true
        (Hand and Till, 2001).
    labels : array_like, optional
        Sorted labels of the columns of y_score; default those of y_true.

    Returns
    -------
    float or ndarray
        NaN, with an `UndefinedMetricWarning`, if only one class occurs.

    Notes
    -----
    The area is the Mann-Whitney statistic (Hanley and McNeil, 1982), counted in whole and half pairs.

    Examples
    --------
    >>> roc_auc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    choice("average", average, ("micro", "macro", "weighted", "samples", None))
    choice("multi_class", multi_class, ("raise", "ovr", "ovo"))
    max_fpr = optional(number, "max_fpr", max_fpr, above=0.0, at_most=1.0)
    y = as_labels("y_true", y_true)
    kind = type_of_target("y_true", y)
    score = as_real("y_score", y_score)
    n_rows = require_same_length(y_true=y, y_score=score)
    weights = as_sample_weight(sample_weight, n_rows)

    def metric(positive: Array, score: Array, weights: Array | None) -> float:
        return _binary_auc(positive, score, weights, max_fpr)

    if kind == "multiclass" or (kind == "binary" and score.ndim == 2 and score.shape[1] > 2):
        if max_fpr is not None and max_fpr != 1.0:
            raise ValueError(
                "Partial AUC computation not available in multiclass setting, 'max_fpr' must be set to `None`, "
                f"received `max_fpr={max_fpr}` instead"
            )
        if multi_class == "raise":
            raise ValueError("multi_class must be in ('ovo', 'ovr')")
        return _multiclass_auc(y, score, labels, multi_class, average, weights)
    if kind == "binary":
        classes, codes = encode("y_true", y)
        warn_of_labels(labels, classes)
        positive = codes == 1 if len(classes) == 2 else np.zeros(n_rows, dtype=bool)
        return metric(positive, as_column("y_score", score), weights)
    if kind != "multilabel-indicator":
        raise ValueError(f"{kind} format is not supported")
    return _average_over_columns(metric, y != 0, score, average, weights)


def _multiclass_auc(
    y: Array, score: Array, labels: ArrayLike | None, multi_class: str, average: str | None, weights: Array | None
) -> Any:
    _require_score_columns(score)
    if not np.allclose(1.0, score.sum(axis=1, dtype=np.float64)):
        raise ValueError(
            "Target scores need to be probabilities for multiclass roc_auc, i.e. they should sum up to 1.0 over classes"
        )
    accepted = ("macro", "weighted", None) if multi_class == "ovo" else ("micro", "macro", "weighted", None)
    if average not in accepted:
        raise ValueError(f"average must be one of {accepted} for multiclass problems")
    if average is None and multi_class == "ovo":
        raise NotImplementedError("average=None is not implemented for multi_class='ovo'.")
    if multi_class == "ovo" and weights is not None:
        raise ValueError(
            "sample_weight is not supported for multiclass one-vs-one ROC AUC, 'sample_weight' must be None in "
            "this case."
        )
    codes, n_classes = _class_codes(y, labels, score.shape[1])
    if multi_class == "ovr":
        return _average_over_columns(_binary_auc, codes[:, None] == np.arange(n_classes), score, average, weights)
    areas, prevalences = [], []
    for a, b in combinations(np.unique(codes).tolist(), 2):
        is_a, is_b = codes == a, codes == b
        either = is_a | is_b
        first = _binary_auc(is_a[either], score[either, a], None)
        second = _binary_auc(is_b[either], score[either, b], None)
        areas.append(0.5 * (first + second))
        prevalences.append(float(either.mean()))
    if not areas:
        warn_undefined(_ONE_CLASS)
        return math.nan
    return mean(np.array(areas), prevalences if average == "weighted" else None)


def _require_score_columns(score: Array) -> None:
    if score.ndim != 2:
        raise ValueError(
            "`y_score` needs to be of shape `(n_samples, n_classes)`, since `y_true` contains multiple classes. "
            f"Got `y_score.shape={score.shape}`."
        )


def _class_codes(y: Array, labels: ArrayLike | None, n_columns: int) -> tuple[Array, int]:
    """Return the column (n,) of each row's label, and the number of classes; ``labels`` default to those that occur."""
    present, codes = encode("y_true", y)
    if labels is None:
        if len(present) != n_columns:
            raise ValueError(
                f"Number of classes in y_true ({len(present)}) not equal to the number of columns in 'y_score' "
                f"({n_columns}). Pass all known classes as the `labels` parameter."
            )
        return codes, len(present)
    classes = labels_1d("labels", labels)
    ordered = np.unique(classes)
    if len(ordered) != len(classes):
        raise ValueError("Parameter 'labels' must be unique")
    if not np.array_equal(ordered, classes):
        raise ValueError("Parameter 'labels' must be ordered")
    if len(classes) != n_columns:
        raise ValueError(
            f"Number of given labels, {len(classes)}, not equal to the number of columns in 'y_score', {n_columns}"
        )
    column = {label: index for index, label in enumerate(classes.tolist())}
    columns = [column.get(label, -1) for label in present.tolist()]
    if -1 in columns:
        raise ValueError("'y_true' contains labels not in parameter 'labels'")
    return np.array(columns)[codes], len(classes)


@takes_keywords
def average_precision_score(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    average: str | None = "macro",
    pos_label: Any = 1,
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Average precision: the sum over thresholds of precision times the gain in recall, without interpolation.

    Parameters
    ----------
    y_true : array_like
        Labels (n,) or 0/1 indicators (n, k).
    y_score : array_like
        (n,), or (n, k) for more than two classes or indicators.
    average : {"macro", "micro", "weighted", "samples"} or None
        As in `roc_auc_score`.
    pos_label : label
        The positive class of two.
    sample_weight : array_like, optional
        (n,).

    Returns
    -------
    float or ndarray

    Examples
    --------
    >>> round(average_precision_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 6)
    0.833333
    """
    choice("average", average, ("micro", "macro", "weighted", "samples", None))
    y = as_labels("y_true", y_true)
    kind = type_of_target("y_true", y)
    score = as_real("y_score", y_score)
    n_rows = require_same_length(y_true=y, y_score=score)
    weights = as_sample_weight(sample_weight, n_rows)
    if kind == "binary":
        present = encode("y_true", y)[0]
        if len(present) == 2 and pos_label not in present.tolist():
            raise ValueError(f"pos_label={pos_label} is not a valid label. It should be one of {present}")
        return _binary_average_precision(y == pos_label, as_column("y_score", score), weights)
    if kind not in ("multiclass", "multilabel-indicator"):
        raise ValueError(f"{kind} format is not supported")
    if pos_label != 1:
        raise ValueError(
            f"Parameter pos_label is fixed to 1 for {kind} y_true. Do not set pos_label or set pos_label to 1."
        )
    if kind == "multiclass":
        _require_score_columns(score)
        codes, n_classes = _class_codes(y, None, score.shape[1])
        positive = codes[:, None] == np.arange(n_classes)
    else:
        positive = y != 0
    return _average_over_columns(_binary_average_precision, positive, score, average, weights)


@takes_keywords
def top_k_accuracy_score(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    k: int = 2,
    normalize: bool = True,
    sample_weight: ArrayLike | None = None,
    labels: ArrayLike | None = None,
) -> float:
    """Fraction of rows whose true class is among the k with the largest scores.

    Parameters
    ----------
    y_true : array_like
        Labels (n,).
    y_score : array_like
        (n, n_classes), or (n,) for two classes; of equal scores the later class ranks higher.
    k : int
        At least 1.
    normalize : bool
        False: return the number of such rows, or the sum of their weights.
    sample_weight : array_like, optional
        (n,).
    labels : array_like, optional
        Sorted labels of the columns; default those of y_true.

    Returns
    -------
    float

    Examples
    --------
    >>> top_k_accuracy_score([0, 1, 2], [[0.5, 0.2, 0.3], [0.3, 0.4, 0.3], [0.7, 0.2, 0.1]], k=2)
    0.6666666666666666
    """
    flag("normalize", normalize)
    k = whole("k", k, at_least=1)
    y = labels_1d("y_true", y_true)
    kind = type_of_target("y_true", y)
    if kind == "binary" and labels is not None and np.size(labels) > 2:
        kind = "multiclass"
    if kind not in ("binary", "multiclass"):
        raise ValueError(f"y type must be 'binary' or 'multiclass', got '{kind}' instead.")
    score = as_real("y_score", y_score)
    if kind == "binary":
        if score.ndim == 2 and score.shape[1] != 1:
            raise ValueError(
                f"`y_true` is binary while y_score is 2d with {score.shape[1]} classes. If `y_true` does not contain "
                "all the labels, `labels` must be provided."
            )
        score = as_column("y_score", score)
    else:
        _require_score_columns(score)
    n_rows = require_same_length(y_true=y, y_score=score)
    weights = as_sample_weight(sample_weight, n_rows)
    codes, n_classes = _class_codes(y, labels, score.shape[1] if score.ndim == 2 else 2)
    if k >= n_classes:
        warn_undefined(
            f"'k' ({k}) greater than or equal to 'n_classes' ({n_classes}) will result in a perfect score and is "
            "therefore meaningless."
        )
    if kind == "binary":
        threshold = 0.5 if score.min() >= 0 and score.max() <= 1 else 0.0
        hits = (score > threshold) == codes if k == 1 else np.ones(n_rows, dtype=bool)
    else:
        at_label = np.take_along_axis(score, codes[:, None], axis=1)
        ahead = (score > at_label) | ((score == at_label) & (np.arange(n_classes) > codes[:, None]))
        hits = ahead.sum(axis=1) < k
    if normalize:
        return mean(hits, weights)
    return float(hits.sum() if weights is None else np.dot(hits, weights))
