"""Calibration: how well predicted probabilities and intervals agree with observed frequencies."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn._arguments import choice, takes_keywords, whole
from fastnn.metrics.counts import label_counts
from fastnn.metrics.probabilistic import as_probabilities, binary_outcomes
from fastnn.metrics.selective import confidence_and_hits
from fastnn.metrics.validation import Array, as_real, as_sample_weight, mean, require_same_length


def _bins(probability: Array, n_bins: int, strategy: str) -> Array:
    """Return the bin (n,) of each probability, of bins of equal width or equal numbers of rows, with right edges."""
    n_bins = whole("n_bins", n_bins, at_least=1)
    choice("strategy", strategy, ("uniform", "quantile"))
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    if strategy == "quantile":
        edges = np.percentile(probability, edges * 100.0)
    return np.searchsorted(edges[1:-1], probability)


@takes_keywords
def calibration_curve(
    y_true: ArrayLike, y_prob: ArrayLike, *, pos_label: Any = None, n_bins: int = 5, strategy: str = "uniform"
) -> tuple[Array, Array]:
    """Reliability curve: in each bin, the observed frequency against the mean predicted probability.

    Parameters
    ----------
    y_true : array_like
        Labels (n,) of two classes.
    y_prob : array_like
        (n,) probabilities of the positive class.
    pos_label : label, optional
        The positive class; default 1 for {0, 1} and {-1, 1}, else the larger label.
    n_bins : int
        Number of bins; empty ones are left out of the result.
    strategy : {"uniform", "quantile"}
        Bins of equal width, or of equal numbers of rows.

    Returns
    -------
    prob_true, prob_pred : ndarray
        Frequency of the positive class and mean probability, one for each bin that is not empty.

    Notes
    -----
    Niculescu-Mizil and Caruana, "Predicting good probabilities with supervised learning", 2005, section 4.

    Examples
    --------
    >>> prob_true, prob_pred = calibration_curve([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], n_bins=2)
    >>> prob_true.tolist(), prob_pred.round(2).tolist()
    ([0.0, 1.0], [0.15, 0.8])
    """
    positive, probability = binary_outcomes(y_true, y_prob, pos_label, "y_prob")
    bins = _bins(probability, n_bins, strategy)
    rows = label_counts(bins, n_bins)
    used = rows != 0
    prob_true = label_counts(bins, n_bins, positive)[used] / rows[used]
    prob_pred = label_counts(bins, n_bins, probability)[used] / rows[used]
    return prob_true, prob_pred


@takes_keywords
def expected_calibration_error(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: str = "uniform",
    norm: str = "l1",
    pos_label: Any = None,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean of ``|frequency - mean probability|`` over bins, weighted by their rows: the expected calibration error.

    Parameters
    ----------
    y_true : array_like
        Labels (n,).
    y_prob : array_like
        (n,) probabilities of the positive class, which are compared with its frequency; or (n, k) probabilities of the
        sorted classes, of which the largest are compared with the accuracy.
    n_bins : int
        Number of bins.
    strategy : {"uniform", "quantile"}
        Bins of equal width, or of equal numbers of rows.
    norm : {"l1", "max"}
        "max": the largest difference of a bin instead of the mean (maximum calibration error).
    pos_label : label, optional
        The positive class if y_prob has one column.
    labels : array_like, optional
        Sorted classes of the columns; default those of y_true.
    sample_weight : array_like, optional
        (n,).

    Returns
    -------
    float
        In 0..1.

    Notes
    -----
    Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", 2015; Guo, Pleiss,
    Sun and Weinberger, "On calibration of modern neural networks", 2017. A bin includes its right edge.

    Examples
    --------
    >>> round(expected_calibration_error([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], n_bins=2), 6)
    0.175
    """
    choice("norm", norm, ("l1", "max"))
    probabilities = as_probabilities("y_prob", y_prob)
    if probabilities.ndim == 1 or probabilities.shape[1] == 1:
        outcome, probability = binary_outcomes(y_true, probabilities, pos_label, "y_prob", labels)
    else:
        probability, outcome = confidence_and_hits(y_true, probabilities, labels)
    weights = as_sample_weight(sample_weight, len(probability))
    bins = _bins(probability, n_bins, strategy)
    difference = outcome - probability.astype(np.float64)
    if weights is not None:
        difference = difference * weights
    gaps = np.abs(label_counts(bins, n_bins, difference))
    rows = label_counts(bins, n_bins, weights)
    used = rows != 0
    return float((gaps[used] / rows[used]).max()) if norm == "max" else float(gaps.sum() / rows.sum())


@takes_keywords
def interval_coverage(
    y_true: ArrayLike,
    y_lower: ArrayLike,
    y_upper: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: str = "uniform_average",
) -> Any:
    """Fraction of targets inside their predicted interval, ``y_lower <= y_true <= y_upper``.

    A nominal 90 % interval is calibrated if its coverage is 0.9 on data that were not used to fit it.

    Parameters
    ----------
    y_true, y_lower, y_upper : array_like
        (n,) or (n, n_outputs), finite and of the same shape; y_lower must not exceed y_upper.
    sample_weight : array_like, optional
        (n,).
    multioutput : {"uniform_average", "raw_values"}
        Mean over the outputs, or one value for each output.

    Returns
    -------
    float or ndarray
        (n_outputs,) for "raw_values".

    Examples
    --------
    >>> interval_coverage([1.0, 2.0, 3.0, 9.0], [0.0, 1.0, 2.0, 3.0], [2.0, 3.0, 4.0, 5.0])
    0.75
    """
    choice("multioutput", multioutput, ("uniform_average", "raw_values"))
    y, lower, upper = as_real("y_true", y_true), as_real("y_lower", y_lower), as_real("y_upper", y_upper)
    n_rows = require_same_length(y_true=y, y_lower=lower, y_upper=upper)
    y, lower, upper = (array.reshape(n_rows, -1) for array in (y, lower, upper))
    if not y.shape == lower.shape == upper.shape:
        raise ValueError(
            f"y_true, y_lower and y_upper must have the same shape, got {y.shape}, {lower.shape} and {upper.shape}."
        )
    crossed = np.flatnonzero((lower > upper).any(axis=1))
    if len(crossed):
        raise ValueError(f"y_lower is above y_upper in {len(crossed)} rows, first in row {crossed[0]}.")
    weights = as_sample_weight(sample_weight, n_rows)
    inside = (lower <= y) & (y <= upper)
    coverage = np.array([mean(column, weights) for column in inside.T])
    return coverage if multioutput == "raw_values" else mean(coverage)
