"""Metrics of predicted class labels: accuracy, the confusion matrix and metrics computed from it.

Names, arguments and results are scikit-learn's.
"""

import math
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn._arguments import choice, flag, takes_keywords
from fastnn._warnings import warn
from fastnn.metrics.counts import matches
from fastnn.metrics.targets import LabelPairs, chosen_labels
from fastnn.metrics.validation import Array, mean, warn_undefined


@takes_keywords
def accuracy_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, normalize: bool = True, sample_weight: ArrayLike | None = None
) -> float:
    """Fraction of rows whose predicted label is right; in multilabel targets all labels of a row must be right.

    Parameters
    ----------
    y_true, y_pred : array_like
        Labels (n,), or 0/1 indicators (n, k).
    normalize : bool
        False: the number of right rows, or the sum of their weights.
    sample_weight : array_like, optional
        (n,).

    Returns
    -------
    float

    Examples
    --------
    >>> accuracy_score(["dog", "cat", "dog", "dog"], ["dog", "dog", "dog", "dog"])
    0.75
    """
    flag("normalize", normalize)
    if (
        sample_weight is None
        and type(y_true) is np.ndarray
        and type(y_pred) is np.ndarray
        and y_true.ndim == y_pred.ndim == 1
        and len(y_true) == len(y_pred) > 0
        and (
            (y_true.dtype.kind in "iub" and y_pred.dtype.kind in "iub") or y_true.dtype.kind == y_pred.dtype.kind == "U"
        )
    ):
        right = matches(y_true, y_pred)
        return right / len(y_true) if normalize else float(right)
    pairs = LabelPairs(y_true, y_pred, sample_weight)
    if pairs.true is not None and pairs.pred is not None:
        hits = (pairs.true == pairs.pred).all(axis=1)
        if normalize:
            return mean(hits, pairs.weights)
        return float(hits.sum() if pairs.weights is None else np.dot(hits, pairs.weights))
    right_weight = float(pairs.label_sums()[0].sum())
    if not normalize:
        return right_weight
    total = pairs.n_rows if pairs.weights is None else float(pairs.weights.sum(dtype=np.float64))
    if total == 0:
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")
    return right_weight / total


@takes_keywords
def confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    normalize: str | None = None,
) -> Array:
    """Count rows by true label (rows of the matrix) and predicted label (columns).

    Parameters
    ----------
    y_true, y_pred : array_like
        Labels (n,).
    labels : array_like, optional
        Labels of the matrix, in this order; rows with other labels are left out. Default: all that occur, sorted.
    sample_weight : array_like, optional
        (n,) weights to sum instead of counting rows.
    normalize : {"true", "pred", "all"}, optional
        Divide by the sum of the row, of the column, or of all cells; 0 / 0 is 0.

    Returns
    -------
    ndarray
        (k, k), int64 for counts or whole-number weights, else float64.

    Examples
    --------
    >>> confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1])
    array([[1, 1],
           [0, 2]])
    """
    choice("normalize", normalize, ("true", "pred", "all", None))
    pairs = LabelPairs(y_true, y_pred, sample_weight)
    matrix = _confusion(pairs, labels, normalize)
    if matrix.shape == (1, 1):
        warn(
            "A single label was found in 'y_true' and 'y_pred'. For the confusion matrix to have the correct shape, "
            "use the 'labels' parameter to pass all known labels."
        )
    return matrix


def _confusion(pairs: LabelPairs, labels: ArrayLike | None, normalize: str | None = None) -> Array:
    if pairs.kind == "multilabel-indicator":
        raise ValueError("multilabel-indicator is not supported")
    chosen = chosen_labels(labels)
    if chosen is not None:
        if chosen.size == 0:
            raise ValueError("'labels' should contain at least one label.")
        if pairs.labels_in_true().isdisjoint(chosen.tolist()):
            raise ValueError(f"At least one label specified must be in {pairs.arguments[0]}")
    matrix = pairs.table(chosen)
    if pairs.weights is not None and pairs.weights.dtype.kind in "iub":
        matrix = matrix.astype(np.int64)
    if normalize is not None:
        divisor = {"true": lambda: matrix.sum(axis=1, keepdims=True), "pred": lambda: matrix.sum(axis=0, keepdims=True)}
        total = divisor.get(normalize, matrix.sum)()
        with np.errstate(all="ignore"):
            matrix = np.nan_to_num(matrix / total)
    return matrix


@takes_keywords
def balanced_accuracy_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None, adjusted: bool = False
) -> float:
    """Mean recall: the mean over the true classes of the fraction of their rows that are right.

    Parameters
    ----------
    y_true, y_pred : array_like
        Labels (n,).
    sample_weight : array_like, optional
        (n,).
    adjusted : bool
        Rescale so that chance, 1 / number of classes, is 0 and perfection stays 1.

    Returns
    -------
    float

    Notes
    -----
    Brodersen, Ong, Stephan and Buhmann, "The balanced accuracy and its posterior distribution", 2010.

    Examples
    --------
    >>> balanced_accuracy_score([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """
    flag("adjusted", adjusted)
    pairs = LabelPairs(y_true, y_pred, sample_weight)
    if pairs.kind == "multilabel-indicator":
        raise ValueError("multilabel-indicator is not supported")
    right, _, true = pairs.label_sums()
    occurs = true != 0
    if not occurs.all():
        warn("y_pred contains classes not in y_true")
    recalls = right[occurs] / true[occurs]
    score = mean(recalls)
    if adjusted:
        chance = 1 / len(recalls)
        with np.errstate(divide="ignore", invalid="ignore"):
            score = float(np.float64(score - chance) / (1 - chance))
    return score


@takes_keywords
def matthews_corrcoef(y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Matthews's correlation of true and predicted labels, in -1..1; 0 if either has only one value.

    Parameters
    ----------
    y_true, y_pred : array_like
        Labels (n,), of any number of classes.
    sample_weight : array_like, optional
        (n,).

    Returns
    -------
    float

    Notes
    -----
    Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", 2004.

    Examples
    --------
    >>> matthews_corrcoef([1, 1, 0, 0], [1, 1, 0, 1])
    0.5773502691896258
    """
    pairs = LabelPairs(y_true, y_pred, sample_weight)
    if pairs.kind == "multilabel-indicator":
        raise ValueError("multilabel-indicator is not supported")
    right, predicted, true = (np.asarray(sums, dtype=np.float64) for sums in pairs.label_sums())
    total = float(predicted.sum())
    covariance = float(right.sum()) * total - float(true @ predicted)
    variance = (total**2 - float(predicted @ predicted)) * (total**2 - float(true @ true))
    return 0.0 if variance == 0.0 else float(covariance / np.sqrt(variance))


@takes_keywords
def cohen_kappa_score(
    y1: ArrayLike,
    y2: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    weights: str | None = None,
    sample_weight: ArrayLike | None = None,
    replace_undefined_by: float = math.nan,
) -> float:
    """Agreement of two annotations beyond chance: ``(p_observed - p_expected) / (1 - p_expected)``.

    Parameters
    ----------
    y1, y2 : array_like
        Labels (n,); their order does not matter.
    labels : array_like, optional
        Labels to take into account, in the order for ``weights``; default all.
    weights : {"linear", "quadratic"}, optional
        How a disagreement grows with the distance of the labels' positions; default: all disagreements are equal.
    sample_weight : array_like, optional
        (n,).
    replace_undefined_by : float
        Result, in -1..1 or NaN, where kappa is 0 / 0; an `UndefinedMetricWarning` is issued.

    Returns
    -------
    float

    Notes
    -----
    Cohen, "A coefficient of agreement for nominal scales", 1960.

    Examples
    --------
    >>> cohen_kappa_score([1, 1, 0, 0], [1, 1, 0, 1])
    0.5
    """
    choice("weights", weights, ("linear", "quadratic", None))
    given: Any = replace_undefined_by
    if not isinstance(given, Real) or not (math.isnan(given) or abs(float(given)) <= 1.0):
        raise ValueError(f"replace_undefined_by must be in [-1, 1] or NaN, got {replace_undefined_by!r}.")
    pairs = LabelPairs(y1, y2, sample_weight, ("y1", "y2"))
    confusion = np.asarray(_confusion(pairs, labels), dtype=np.float64)
    columns, rows = confusion.sum(axis=0), confusion.sum(axis=1)
    total = float(columns.sum())
    if total == 0.0:
        warn_undefined(
            "`y2` contains no labels that are present in both `y1` and `labels`. Cohen's kappa is undefined and set to "
            f"{replace_undefined_by}."
        )
        return replace_undefined_by
    place = np.arange(len(confusion), dtype=np.float64)
    distance: Any = place[:, None] - place
    penalty = {None: distance != 0, "linear": np.abs(distance), "quadratic": distance**2}[weights]
    expected = float((penalty * np.outer(columns, rows)).sum()) / total
    if expected == 0.0:
        warn_undefined(
            "`y1`, `y2` and `labels` have only one label in common. Cohen's kappa is undefined and set to "
            f"{replace_undefined_by}."
        )
        return replace_undefined_by
    return 1.0 - float((penalty * confusion).sum()) / expected
