"""Precision, recall, F-score and Jaccard index of predicted labels, per class or averaged.

Names, arguments and results are scikit-learn's.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastnn._arguments import choice, takes_keywords
from fastnn._warnings import warn
from fastnn.metrics.targets import LabelPairs, chosen_labels
from fastnn.metrics.validation import Array, mean, warn_undefined

AVERAGES = ("binary", "micro", "macro", "samples", "weighted", None)


class Sums(NamedTuple):
    """Numbers of true positives, predicted rows and true rows, or weights: (k,) by label, (n,) by row, or (1,)."""

    right: Array
    predicted: Array
    true: Array


def require_zero_division(zero_division: Any, *, allow_nan: bool = True) -> float:
    """Return the value of 0 / 0; ValueError unless it is "warn", 0, 1 or NaN."""
    if isinstance(zero_division, str):
        if zero_division == "warn":
            return 0.0
    elif isinstance(zero_division, int | float | np.number):
        if zero_division in (0, 1):
            return float(zero_division)
        if allow_nan and math.isnan(zero_division):
            return math.nan
    accepted = "'warn', 0, 1 or NaN" if allow_nan else "'warn', 0 or 1"
    raise ValueError(f"zero_division must be {accepted}, got {zero_division!r}.")


def select_labels(pairs: LabelPairs, average: str | None, labels: Any, pos_label: Any) -> Any:
    """Return the labels to average over (None: all that occur), as scikit-learn chooses them."""
    choice("average", average, AVERAGES)
    labels = chosen_labels(labels)
    if average == "binary":
        if pairs.kind != "binary":
            choices = [choice for choice in AVERAGES if choice != "binary"]
            if pairs.kind == "multiclass":
                choices.remove("samples")
            raise ValueError(
                f"Target is {pairs.kind} but average='binary'. Please choose another average setting, one of {choices}."
            )
        if len(pairs.labels) >= 2 and pos_label not in pairs.labels.tolist():
            raise ValueError(f"pos_label={pos_label} is not a valid label. It should be one of {pairs.labels}")
        if labels is not None and pos_label not in labels.tolist():
            warn(
                f"labels={labels.tolist()} has no effect: average='binary' scores the one label pos_label={pos_label!r}"
            )
        return [pos_label]
    if pos_label not in (None, 1):
        warn(
            f"pos_label (set to {pos_label!r}) is ignored when average != 'binary' (got {average!r}). You may use "
            "labels=[pos_label] to specify a single positive class."
        )
    return labels


def label_sums(pairs: LabelPairs, average: str | None, labels: Any) -> Sums:
    """Return the sums by label for the chosen labels; by row if average is "samples", in total if it is "micro"."""
    if average == "samples":
        if pairs.true is None or pairs.pred is None:
            raise ValueError("Samplewise metrics are not available outside of multilabel classification.")
        true, pred = pairs.true, pairs.pred
        if labels is not None:
            columns = _columns(labels, len(pairs.labels))
            true, pred = true[:, columns], pred[:, columns]
        by_row = (true & pred, pred, true)
        sums = [np.count_nonzero(indicator, axis=1) for indicator in by_row]
    else:
        sums = list(pairs.label_sums())
        if labels is not None:
            if pairs.true is not None:
                positions = _columns(labels, len(pairs.labels))
            else:
                positions = pairs.positions(labels)
            # Position -1, of a label that does not occur, is the appended zero.
            sums = [np.append(values, 0)[positions] for values in sums]
        if average == "micro":
            sums = [values.sum(keepdims=True) for values in sums]
    return Sums(*sums)


def _columns(labels: Any, n_labels: int) -> list[int]:
    columns = [int(label) for label in np.asarray(labels).tolist()]
    for column in columns:
        if not 0 <= column < n_labels:
            raise ValueError(f"All labels must be in [0, {n_labels}) for multilabel targets, got {column}.")
    return columns


def divide(
    numerator: Array,
    denominator: Array,
    metric: str,
    modifier: str,
    average: str | None,
    zero_division: Any,
    warns: bool,
) -> Array:
    """Return quotients with 0 / 0 replaced; if ``warns``, warn that the metric is not defined."""
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    undefined = denominator == 0
    if not undefined.any():
        return np.asarray(numerator / denominator)
    result = np.full(len(denominator), math.nan if zero_division != "warn" and zero_division != zero_division else 0.0)
    if zero_division == 1:
        result[:] = 1.0
    np.divide(numerator, denominator, out=result, where=~undefined)
    if zero_division == "warn" and warns:
        over, each = ("label", "sample") if average == "samples" else ("sample", "label")
        place = "due to" if len(result) == 1 else f"in {each}s with"
        warn_undefined(
            f"{metric} is ill-defined and being set to 0.0 {place} no {modifier} {over}s. Use the "
            "`zero_division` parameter to control this behavior."
        )
    return result


def average_scores(scores: Array, weights: Array | None) -> float:
    """Return the mean of the scores that are not NaN; NaN if all are."""
    known = ~np.isnan(scores)
    if not known.all():
        scores = scores[known]
        weights = None if weights is None else weights[known]
    if len(scores) == 0:
        return math.nan
    if weights is None or weights.sum() == 0:
        return mean(scores)
    return mean(scores, weights)


def scores_from_sums(
    sums: Sums, beta: float, average: str | None, zero_division: Any, wanted: Sequence[str]
) -> dict[str, Array]:
    """Return the wanted scores, and those that they are computed from; only the wanted scores warn."""
    scores = {}
    if "precision" in wanted or ("f-score" in wanted and beta == 0):
        scores["precision"] = divide(
            sums.right, sums.predicted, "Precision", "predicted", average, zero_division, "precision" in wanted
        )
    if "recall" in wanted or ("f-score" in wanted and beta == math.inf):
        scores["recall"] = divide(sums.right, sums.true, "Recall", "true", average, zero_division, "recall" in wanted)
    if "f-score" in wanted:
        if beta == math.inf:
            scores["f-score"] = scores["recall"]
        elif beta == 0:
            scores["f-score"] = scores["precision"]
        else:
            square = beta * beta
            denominator = square * np.asarray(sums.true, np.float64) + sums.predicted
            numerator = (1.0 + square) * np.asarray(sums.right, np.float64)
            scores["f-score"] = divide(
                numerator, denominator, "F-score", "true nor predicted", average, zero_division, True
            )
    return scores


def average_weights(pairs: LabelPairs, sums: Sums, average: str | None) -> Array | None:
    """Return the weights of the average over labels or rows."""
    if average == "weighted":
        return sums.true
    return pairs.weights if average == "samples" else None


def _score(
    metric: str,
    y_true: ArrayLike,
    y_pred: ArrayLike,
    beta: float,
    labels: ArrayLike | None,
    pos_label: Any,
    average: str | None,
    sample_weight: ArrayLike | None,
    zero_division: Any,
) -> Any:
    require_zero_division(zero_division)
    pairs = LabelPairs(y_true, y_pred, sample_weight)
    labels = select_labels(pairs, average, labels, pos_label)
    sums = label_sums(pairs, average, labels)
    scores = scores_from_sums(sums, beta, average, zero_division, (metric,))[metric]
    return scores if average is None else average_scores(scores, average_weights(pairs, sums, average))


@takes_keywords
def precision_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: Any = "warn",
) -> Any:
    """Precision: the fraction of the rows predicted as a class that belong to it, ``TP / (TP + FP)``.

    Parameters
    ----------
    y_true, y_pred : array_like
        Labels (n,), or 0/1 indicators (n, k).
    labels : array_like, optional
        Classes to average over, in the order of the result; default all classes that occur, sorted.
    pos_label : label
        The positive class if average is "binary".
    average : {"binary", "micro", "macro", "weighted", "samples"} or None
        "binary": the positive class of two; "micro": all rows and classes counted together; "macro": the mean over
        classes; "weighted": that mean, weighted by the classes' true rows; "samples": the mean over the rows of
        multilabel targets; None: one value for each class.
    sample_weight : array_like, optional
        (n,).
    zero_division : {"warn", 0, 1, nan}
        Value where nothing was predicted; "warn" is 0 with an `UndefinedMetricWarning`; NaN is left out of averages.

    Returns
    -------
    float or ndarray
        (k,) if average is None.

    Examples
    --------
    >>> precision_score([0, 1, 1, 1], [0, 1, 0, 1])
    1.0
    """
    return _score("precision", y_true, y_pred, 1.0, labels, pos_label, average, sample_weight, zero_division)


@takes_keywords
def recall_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: Any = "warn",
) -> Any:
    """Recall: the fraction of the rows of a class that are predicted as it, ``TP / (TP + FN)``.

    Arguments and errors are those of `precision_score`.

    Examples
    --------
    >>> recall_score([0, 1, 1, 1], [0, 1, 0, 0], average=None).round(3)
    array([1.   , 0.333])
    """
    return _score("recall", y_true, y_pred, 1.0, labels, pos_label, average, sample_weight, zero_division)


@takes_keywords
def f1_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: Any = "warn",
) -> Any:
    """F1: the harmonic mean of precision and recall, ``2 TP / (2 TP + FP + FN)``.

    Arguments and errors are those of `precision_score`.

    Examples
    --------
    >>> f1_score([0, 1, 1, 1], [0, 1, 0, 0])
    0.5
    """
    return _score("f-score", y_true, y_pred, 1.0, labels, pos_label, average, sample_weight, zero_division)


@takes_keywords
def fbeta_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    beta: float,
    labels: ArrayLike | None = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: Any = "warn",
) -> Any:
    """F-beta: precision and recall in one number, in which recall counts beta times as much (van Rijsbergen, 1979).

    ``(1 + beta^2) TP / ((1 + beta^2) TP + FP + beta^2 FN)``; beta in [0, inf]. The other arguments and errors are those
    of `precision_score`.

    Examples
    --------
    >>> round(fbeta_score([0, 1, 1, 1], [0, 1, 0, 0], beta=2), 6)
    0.384615
    """
    if not beta >= 0:
        raise ValueError(f"beta must be a number >= 0, got {beta!r}.")
    return _score("f-score", y_true, y_pred, float(beta), labels, pos_label, average, sample_weight, zero_division)


@takes_keywords
def jaccard_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: Any = "warn",
) -> Any:
    """Jaccard index, or intersection over union: ``TP / (TP + FP + FN)``.

    Pass masks of any shape raveled, as 0/1 or boolean arrays. Arguments and errors are those of
    `precision_score`, but zero_division cannot be NaN. Jaccard, "The distribution of the flora in the alpine zone",
    1912.

    Examples
    --------
    >>> round(jaccard_score([0, 1, 1, 1], [1, 1, 1, 0]), 6)
    0.5
    """
    require_zero_division(zero_division, allow_nan=False)
    pairs = LabelPairs(y_true, y_pred, sample_weight)
    labels = select_labels(pairs, average, labels, pos_label)
    sums = label_sums(pairs, average, labels)
    union = sums.predicted + sums.true - sums.right
    scores = divide(sums.right, union, "Jaccard", "true or predicted", average, zero_division, True)
    if average is None:
        return scores
    weights = average_weights(pairs, sums, average)
    if average == "weighted" and not sums.true.any():
        weights = None
    return mean(scores, weights)


iou_score = jaccard_score
