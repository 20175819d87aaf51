"""Classification with a reject option: answer only where the top probability is high enough.

Rows whose largest class probability is below a threshold are rejected: objects of unknown classes, conflicting labels,
ambiguous rows. Coverage is the fraction of rows answered; risk is the error rate among them.

El-Yaniv and Wiener, "On the foundations of noise-free selective classification", 2010; Geifman and El-Yaniv, "Selective
classification for deep neural networks", 2017.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn._arguments import number, takes_keywords
from fastnn.metrics.probabilistic import as_probabilities
from fastnn.metrics.targets import encode, labels_1d, type_of_target
from fastnn.metrics.validation import Array, as_sample_weight, mean, require_same_length


def confidence_and_hits(y_true: ArrayLike, y_prob: ArrayLike, labels: Any) -> tuple[Array, Array]:
    """Return the largest probability of each row (n,), and whether its class is the true one (n,).

    ``y_prob`` is (n, k) for sorted classes, or (n,) for the larger of two. A row whose true label has no column is
    never a hit; such rows need ``labels``.
    """
    y = labels_1d("y_true", y_true)
    kind = type_of_target("y_true", y)
    if kind not in ("binary", "multiclass"):
        raise ValueError(f"{kind} targets are not supported")
    probabilities = as_probabilities("y_prob", y_prob)
    require_same_length(y_true=y, y_prob=probabilities)
    if probabilities.ndim == 1:
        probabilities = probabilities[:, None]
    if probabilities.shape[1] == 1:
        probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
    present, codes = encode("y_true", y)
    classes = present if labels is None else labels_1d("labels", labels)
    if len(classes) != probabilities.shape[1]:
        raise ValueError(
            f"y_prob has columns for {probabilities.shape[1]} classes, "
            f"{'y_true' if labels is None else 'labels'} holds {len(classes)}: pass the classes of the columns "
            "as labels."
        )
    column = {label: index for index, label in enumerate(classes.tolist())}
    if len(column) != len(classes):
        raise ValueError("labels must be unique.")
    true_column = np.array([column.get(label, -1) for label in present.tolist()])[codes]
    top = probabilities.argmax(axis=1)
    confidence = np.take_along_axis(probabilities, top[:, None], axis=1)[:, 0]
    return confidence, top == true_column


@takes_keywords
def risk_coverage_curve(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> tuple[Array, Array, Array]:
    """Risk against coverage over all thresholds on the top probability.

    Parameters
    ----------
    y_true : array_like
        Labels (n,).
    y_prob : array_like
        Probabilities (n, k) of the classes, or (n,) of the larger of two.
    labels : array_like, optional
        Classes of the columns; default the sorted labels of y_true. Rows with other labels are always errors.
    sample_weight : array_like, optional
        (n,).

    Returns
    -------
    coverage, risk, thresholds : ndarray
        (m,) one for each distinct top probability, in falling order: the fraction of rows with
        ``top probability >= threshold``, the error rate among them, and the threshold. The last coverage is 1.

    Examples
    --------
    >>> coverage, risk, thresholds = risk_coverage_curve([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.6])
    >>> coverage.tolist(), risk.round(2).tolist(), thresholds.tolist()
    ([0.5, 0.75, 1.0], [0.0, 0.0, 0.25], [0.9, 0.8, 0.6])
    """
    confidence, hits = confidence_and_hits(y_true, y_prob, labels)
    weights = as_sample_weight(sample_weight, len(hits))
    if weights is None:
        weights = np.ones(len(hits))
    order = np.argsort(-confidence, kind="stable")
    confidence, hits, weights = confidence[order], hits[order], weights[order].astype(np.float64)
    last = np.append(np.flatnonzero(confidence[1:] != confidence[:-1]), len(confidence) - 1)
    answered = np.cumsum(weights)[last]
    wrong = np.cumsum(np.where(hits, 0.0, weights))[last]
    kept = answered > 0
    answered, wrong = answered[kept], wrong[kept]
    return answered / answered[-1], wrong / answered, confidence[last][kept]


@takes_keywords
def selective_accuracy(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    threshold: float,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> tuple[float, float]:
    """Accuracy on the rows whose top probability reaches a threshold, and the fraction of such rows.

    Arguments are those of `risk_coverage_curve`; ``threshold`` is in [0, 1].

    Returns
    -------
    accuracy, coverage : float
        Accuracy is NaN if every row is rejected.

    Examples
    --------
    >>> selective_accuracy([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.6], 0.75)
    (1.0, 0.75)
    """
    threshold = number("threshold", threshold, at_least=0.0, at_most=1.0)
    confidence, hits = confidence_and_hits(y_true, y_prob, labels)
    weights = as_sample_weight(sample_weight, len(hits))
    answered = confidence >= threshold
    coverage = mean(answered, weights)
    if coverage == 0.0:
        return float("nan"), 0.0
    return mean(hits[answered], None if weights is None else weights[answered]), coverage


@takes_keywords
def accuracy_at_coverage(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    coverage: float,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Accuracy on the most confident rows, at the highest threshold that answers at least a given fraction of rows.

    Arguments are those of `risk_coverage_curve`; ``coverage`` is in (0, 1].

    Examples
    --------
    >>> accuracy_at_coverage([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.6], 0.75)
    1.0
    """
    coverage = number("coverage", coverage, above=0.0, at_most=1.0)
    answered, risk, _ = risk_coverage_curve(y_true, y_prob, labels=labels, sample_weight=sample_weight)
    # Coverages are sums of floats: a rounding error must not change the result.
    reached = int(np.argmax(answered >= coverage * (1.0 - 1e-12)))
    return 1.0 - float(risk[reached])


@takes_keywords
def rejection_threshold(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    accuracy: float,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Threshold on the top probability that answers the most rows with at least the wanted accuracy.

    Choose it on validation data: the accuracy on the data used for the choice is optimistic.

    Parameters
    ----------
    y_true, y_prob, labels, sample_weight
        As for `risk_coverage_curve`.
    accuracy : float
        In [0, 1].

    Returns
    -------
    float
        Infinity, which rejects everything, if no threshold reaches the accuracy.

    Examples
    --------
    >>> rejection_threshold([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.6], accuracy=0.95)
    0.8
    """
    accuracy = number("accuracy", accuracy, at_least=0.0, at_most=1.0)
    _, risk, thresholds = risk_coverage_curve(y_true, y_prob, labels=labels, sample_weight=sample_weight)
    reached = np.flatnonzero(risk <= (1.0 - accuracy) * (1.0 + 1e-12))
    return float(thresholds[reached[-1]]) if len(reached) else float("inf")
