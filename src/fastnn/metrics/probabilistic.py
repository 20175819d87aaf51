"""Metrics of predicted probabilities: log loss and Brier score.

Names, arguments and results are scikit-learn's.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn._arguments import flag, takes_keywords
from fastnn._warnings import warn
from fastnn.metrics.targets import as_labels, encode, labels_1d, positive_class, type_of_target, warn_of_labels
from fastnn.metrics.validation import (
    Array,
    as_column,
    as_dense,
    as_real,
    as_sample_weight,
    mean,
    require_same_length,
)


def as_probabilities(argument: str, values: ArrayLike) -> Array:
    """Return probabilities of a floating type; ValueError if one is outside [0, 1]."""
    probabilities = as_real(argument, values)
    if probabilities.dtype.kind != "f":
        probabilities = probabilities.astype(np.float64)
    largest, smallest = probabilities.max(), probabilities.min()
    if largest > 1:
        raise ValueError(f"{argument} contains values greater than 1: {largest}")
    if smallest < 0:
        raise ValueError(f"{argument} contains values less than 0: {smallest}")
    return probabilities


def _class_columns(y_true: ArrayLike, probabilities: Array, labels: Any) -> tuple[Array | None, Array | None, Array]:
    """Return each row's class column (n,), or indicators (n, k) of indicator targets, and probabilities (n, k)."""
    y = as_labels("y_true", y_true)
    require_same_length(y_true=y, y_proba=probabilities)
    if probabilities.ndim == 1:
        probabilities = probabilities[:, None]
    if probabilities.ndim != 2:
        raise ValueError(f"y_proba must have shape (n,) or (n, k), got {probabilities.shape}.")
    if probabilities.shape[1] == 1:
        probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
    n_columns = probabilities.shape[1]
    kind = type_of_target("y_true", y)
    if kind not in ("binary", "multiclass", "multilabel-indicator"):
        raise ValueError(f"{kind} targets are not supported")
    if kind == "multilabel-indicator":
        if labels is not None:
            raise ValueError("labels name the columns for labels (n,) in y_true; indicators (n, k) take none.")
        indicators, codes = (y != 0), None
        n_classes = y.shape[1]
        found: Any = np.arange(n_classes)
    else:
        indicators = None
        found, codes = encode("y_true", y)
        if labels is not None:
            given = labels_1d("labels", labels)
            classes = np.unique(given)
            if not np.array_equal(classes, given):
                warn(
                    f"Labels passed were {given.tolist()}. But this function assumes labels are ordered. Pass the "
                    f"ordered labels={classes.tolist()} and ensure that the columns of y_proba correspond to this "
                    "ordering."
                )
            column = {label: index for index, label in enumerate(classes.tolist())}
            undeclared = [label for label in found.tolist() if label not in column]
            if undeclared:
                raise ValueError(f"y_true contains values {undeclared} not belonging to the passed labels {given}.")
            codes = np.array([column[label] for label in found.tolist()])[codes]
            found = classes
        n_classes = len(found)
        if n_classes == 1:
            if labels is None:
                raise ValueError(
                    f"y_true contains only one label ({found[0]}). Please provide the list of all expected class "
                    "labels explicitly through the labels argument."
                )
            raise ValueError(f"The labels array needs to contain at least two labels, got {found}.")
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if np.abs(sums - 1.0).max() > math.sqrt(np.finfo(probabilities.dtype).eps):
        warn("The y_proba values do not sum to one. Make sure to pass probabilities.")
    if n_classes != n_columns:
        if labels is None:
            raise ValueError(
                f"y_true and y_proba contain different number of classes: {n_classes} vs {n_columns}. Please provide "
                f"the true labels explicitly through the labels argument. Classes found in y_true: {found}"
            )
        raise ValueError(
            f"The number of classes in labels is different from that in y_proba. Classes found in labels: {found}"
        )
    return codes, indicators, probabilities


@takes_keywords
def log_loss(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    normalize: bool = True,
    sample_weight: ArrayLike | None = None,
    labels: ArrayLike | None = None,
) -> float:
    """Negative log-likelihood of the true classes, ``-mean log p[class]``, also called cross-entropy.

    Parameters
    ----------
    y_true : array_like
        Labels (n,), or 0/1 indicators (n, k).
    y_proba : array_like
        Probabilities (n, k) of the sorted classes, or (n,) of the larger of two; clipped to [eps, 1 - eps], eps being
        that of their type.
    normalize : bool
        False: the sum over rows.
    sample_weight : array_like, optional
        (n,).
    labels : array_like, optional
        Sorted classes of the columns; needed if not all of them occur.

    Returns
    -------
    float

    Examples
    --------
    >>> round(log_loss(["spam", "ham", "ham", "spam"], [[0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.35, 0.65]]), 5)
    0.21616
    """
    flag("normalize", normalize)
    probabilities = as_probabilities("y_proba", y_proba)
    codes, indicators, probabilities = _class_columns(y_true, probabilities, labels)
    weights = as_sample_weight(sample_weight, len(probabilities))
    eps = np.finfo(probabilities.dtype).eps
    if codes is not None:
        chosen = np.take_along_axis(probabilities, codes[:, None], axis=1)[:, 0]
        losses = -np.log(np.clip(chosen, eps, 1 - eps))
    else:
        assert indicators is not None
        losses = -np.where(indicators, np.log(np.clip(probabilities, eps, 1 - eps)), 0.0).sum(axis=1)
    if normalize:
        return mean(losses, weights)
    return float(losses.sum(dtype=np.float64) if weights is None else np.dot(losses.astype(np.float64), weights))


@takes_keywords
def brier_score_loss(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    pos_label: Any = None,
    labels: ArrayLike | None = None,
    scale_by_half: bool | str = "auto",
) -> float:
    """Brier score: the mean squared difference between probabilities and outcomes (Brier, 1950).

    Parameters
    ----------
    y_true : array_like
        Labels (n,), or 0/1 indicators (n, k).
    y_proba : array_like
        Probabilities (n,) of the positive class, or (n, k) of the sorted classes.
    sample_weight : array_like, optional
        (n,).
    pos_label : label, optional
        The positive class if y_proba has one column; default 1 for {0, 1} and {-1, 1}, else the larger label.
    labels : array_like, optional
        Sorted classes of the columns; needed if not all of them occur.
    scale_by_half : bool or "auto"
        Halve the sum over classes, so that the score is in 0..1; "auto" does so for two classes.

    Returns
    -------
    float

    Examples
    --------
    >>> round(brier_score_loss([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3]), 4)
    0.0375
    """
    if not (isinstance(scale_by_half, bool) or scale_by_half == "auto"):
        raise ValueError(f"scale_by_half must be True, False or 'auto', got {scale_by_half!r}.")
    if as_dense("y_proba", y_proba).ndim == 1 or as_dense("y_proba", y_proba).shape[1] == 1:
        positive, probability = binary_outcomes(y_true, y_proba, pos_label, "y_proba", labels)
        weights = as_sample_weight(sample_weight, len(probability))
        score = mean(np.square(positive - probability), weights)
        return score if scale_by_half else 2.0 * score
    codes, indicators, probabilities = _class_columns(y_true, as_probabilities("y_proba", y_proba), labels)
    weights = as_sample_weight(sample_weight, len(probabilities))
    if codes is not None:
        indicators = codes[:, None] == np.arange(probabilities.shape[1])
    assert indicators is not None
    score = mean(np.square(indicators - probabilities).sum(axis=1), weights)
    if scale_by_half == "auto":
        scale_by_half = probabilities.shape[1] < 3
    return 0.5 * score if scale_by_half else score


def binary_outcomes(
    y_true: ArrayLike, y_prob: ArrayLike, pos_label: Any, argument: str, labels: Any = None
) -> tuple[Array, Array]:
    """Return boolean outcomes (n,) and the probabilities (n,) of the positive class."""
    y = labels_1d("y_true", y_true)
    probability = as_column(argument, as_probabilities(argument, y_prob))
    require_same_length(y_true=y, **{argument: probability})
    kind = type_of_target("y_true", y)
    if kind != "binary":
        raise ValueError(
            f"The type of the target inferred from y_true is {kind} but should be binary according to the shape of "
            f"{argument}."
        )
    known = encode("y_true", y)[0]
    warn_of_labels(labels, known)
    try:
        pos_label = positive_class(pos_label, known)
    except ValueError:
        if pos_label is not None or known.dtype.kind in "OUS":
            raise
        pos_label = known[-1]
    return y == pos_label, probability
