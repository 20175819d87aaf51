"""Metrics of predicted numbers.

Names, arguments and results are scikit-learn's; sums over rows are taken in float64.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn._arguments import flag, number, takes_keywords
from fastnn.metrics.validation import Array, as_real, as_sample_weight, mean, require_same_length, warn_undefined

_AVERAGES = ("raw_values", "uniform_average")


def _targets(
    y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None, multioutput: Any, accepted: tuple[str, ...]
) -> tuple[Array, Array, Array | None, Any]:
    """Return targets and predictions (n_outputs, n) of one floating type, row weights (n,) and output weights."""
    y = as_real("y_true", y_true)
    p = as_real("y_pred", y_pred)
    n_rows = require_same_length(y_true=y, y_pred=p)
    floating = [array.dtype for array in (y, p) if array.dtype.kind == "f"]
    dtype = np.result_type(*floating) if floating else np.float64
    y, p = y.astype(dtype, copy=False), p.astype(dtype, copy=False)
    for argument, array in (("y_true", y), ("y_pred", p)):
        if array.ndim > 2:
            raise ValueError(f"{argument} must have shape (n,) or (n, n_outputs), got {array.shape}.")
    n_outputs = y.shape[1] if y.ndim == 2 else 1
    n_predicted = p.shape[1] if p.ndim == 2 else 1
    if n_outputs != n_predicted:
        raise ValueError(f"y_true and y_pred have different number of output ({n_outputs}!={n_predicted})")
    if isinstance(multioutput, str):
        if multioutput not in accepted:
            raise ValueError(f"multioutput must be one of {accepted} or an array, got {multioutput!r}.")
    elif multioutput is not None:
        multioutput = as_real("multioutput", multioutput)
        if n_outputs == 1:
            raise ValueError("Custom weights are useful only in multi-output cases.")
        if multioutput.shape != (n_outputs,):
            raise ValueError(
                f"There must be equally many custom weights ({len(multioutput)}) as outputs ({n_outputs})."
            )
    weights = as_sample_weight(sample_weight, n_rows)
    return y.reshape(n_rows, n_outputs).T, p.reshape(n_rows, n_outputs).T, weights, multioutput


def _output_means(values: Array, weights: Array | None) -> Array:
    """Return the means (n_outputs,) over the rows of (n_outputs, n), weighted if weights are given."""
    return np.array([mean(output, weights) for output in values])


def _sums_of_squares(values: Array, weights: Array | None) -> Array:
    """Return the sums of squares (n_outputs,) over the rows of (n_outputs, n), weighted if weights are given."""
    wide = values.astype(np.float64, copy=False)
    return np.array([np.dot(output, output if weights is None else output * weights) for output in wide])


def _mean_squares(values: Array, weights: Array | None) -> Array:
    total = values.shape[1] if weights is None else float(weights.sum(dtype=np.float64))
    if total == 0.0:
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")
    return _sums_of_squares(values, weights) / total


def _combine(errors: Array, multioutput: Any) -> Any:
    """Return the errors (n_outputs,) themselves, or their mean."""
    if isinstance(multioutput, str):
        return errors if multioutput == "raw_values" else mean(errors)
    return mean(errors, multioutput)


@takes_keywords
def mean_squared_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: Any = "uniform_average",
) -> Any:
    """Mean of ``(y_true - y_pred)^2``.

    Parameters
    ----------
    y_true, y_pred : array_like
        (n,) or (n, n_outputs), finite.
    sample_weight : array_like, optional
        (n,).
    multioutput : {"uniform_average", "raw_values"} or array_like
        Mean over the outputs, one value for each output, or the outputs' weights.

    Returns
    -------
    float or ndarray
        (n_outputs,) for "raw_values".

    Examples
    --------
    >>> mean_squared_error([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0])
    0.375
    """
    y, p, weights, multioutput = _targets(y_true, y_pred, sample_weight, multioutput, _AVERAGES)
    return _combine(_mean_squares(y - p, weights), multioutput)


@takes_keywords
def root_mean_squared_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: Any = "uniform_average",
) -> Any:
    """Square root of the mean squared error of each output, averaged over the outputs.

    Arguments are those of `mean_squared_error`.

    Examples
    --------
    >>> root_mean_squared_error([1.0, 2.0], [4.0, 5.0])
    3.0
    """
    y, p, weights, multioutput = _targets(y_true, y_pred, sample_weight, multioutput, _AVERAGES)
    return _combine(np.sqrt(_mean_squares(y - p, weights)), multioutput)


@takes_keywords
def mean_absolute_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: Any = "uniform_average",
) -> Any:
    """Mean of ``|y_true - y_pred|``.

    Arguments are those of `mean_squared_error`.

    Examples
    --------
    >>> mean_absolute_error([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0])
    0.5
    """
    y, p, weights, multioutput = _targets(y_true, y_pred, sample_weight, multioutput, _AVERAGES)
    return _combine(_output_means(np.abs(y - p), weights), multioutput)


@takes_keywords
def mean_absolute_percentage_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: Any = "uniform_average",
) -> Any:
    """Mean of ``|y_true - y_pred| / max(|y_true|, 2.2e-16)``, as a fraction: 1 is 100 %.

    Arguments are those of `mean_squared_error`.

    Examples
    --------
    >>> mean_absolute_percentage_error([1.0, 2.0], [1.5, 3.0])
    0.5
    """
    y, p, weights, multioutput = _targets(y_true, y_pred, sample_weight, multioutput, _AVERAGES)
    relative = np.abs(y - p) / np.maximum(np.abs(y), np.finfo(np.float64).eps)
    return _combine(_output_means(relative, weights), multioutput)


@takes_keywords
def mean_pinball_loss(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    alpha: float = 0.5,
    multioutput: Any = "uniform_average",
) -> Any:
    """Mean of ``alpha * max(y_true - y_pred, 0) + (1 - alpha) * max(y_pred - y_true, 0)``, the quantile loss.

    It is smallest for the alpha-quantile (Koenker and Bassett, 1978). ``alpha`` is in [0, 1]; the other arguments are
    those of `mean_squared_error`.

    Examples
    --------
    >>> round(mean_pinball_loss([1.0, 2.0, 3.0], [0.0, 2.0, 3.0], alpha=0.1), 6)
    0.033333
    """
    alpha = number("alpha", alpha, at_least=0.0, at_most=1.0)
    y, p, weights, multioutput = _targets(y_true, y_pred, sample_weight, multioutput, _AVERAGES)
    difference = y - p
    losses = np.maximum(alpha * difference, (alpha - 1.0) * difference)
    return _combine(_output_means(losses, weights), multioutput)


@takes_keywords
def r2_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: Any = "uniform_average",
    force_finite: bool = True,
) -> Any:
    """Coefficient of determination: ``1 - sum (y_true - y_pred)^2 / sum (y_true - mean)^2``.

    1 is perfect; predicting the mean of y_true gives 0, worse predictions are negative.

    Parameters
    ----------
    y_true, y_pred : array_like
        (n,) or (n, n_outputs), finite.
    sample_weight : array_like, optional
        (n,).
    multioutput : {"uniform_average", "raw_values", "variance_weighted"}, array_like or None
        How the outputs are averaged; None is "uniform_average".
    force_finite : bool
        For a constant y_true: return 1 if the prediction is perfect, else 0, instead of NaN and -infinity.

    Returns
    -------
    float or ndarray
        NaN, with an `UndefinedMetricWarning`, for fewer than two rows.

    Examples
    --------
    >>> round(r2_score([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]), 4)
    0.9486
    """
    flag("force_finite", force_finite)
    y, p, weights, multioutput = _targets(y_true, y_pred, sample_weight, multioutput, (*_AVERAGES, "variance_weighted"))
    if y.shape[1] < 2:
        warn_undefined("R^2 score is not well-defined with less than two samples.")
        return math.nan
    residual = _sums_of_squares(y - p, weights)
    total = _sums_of_squares(y - _output_means(y, weights)[:, None], weights)
    # The mean of equal numbers is rounded, but their deviations are zero.
    total[y.min(axis=1) == y.max(axis=1)] = 0.0
    if force_finite:
        scores = np.where(residual == 0.0, 1.0, 0.0)
        varies = total != 0.0
        scores[varies] = 1.0 - residual[varies] / total[varies]
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = 1.0 - residual / total
    if isinstance(multioutput, str) and multioutput == "variance_weighted":
        return mean(scores, total if total.any() else None)
    return _combine(scores, "uniform_average" if multioutput is None else multioutput)
