"""Losses and their gradients in plain NumPy, with the definitions of Keras 3.

A row's loss is the mean over the output columns (the sum over classes for the categorical cross-entropies); the loss
is the mean of the row losses, each multiplied by its sample weight before the division by the number of rows.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

import fastnn.reference.elementwise_losses as elementwise_losses
import fastnn.reference.row_losses as row_losses
from fastnn.reference.arguments import Array, as_floating, complete_options, require_known


class Loss(NamedTuple):
    """One loss.

    Parameters
    ----------
    kernel : function of (y, p, scale, gradient, **options), as in `elementwise_losses`.
    options : its options' defaults.
    takes_labels : whether targets are labels (n,).
    per_target : the number of columns of predictions for a column of targets, or the option that has one for each.
    """

    kernel: Callable[..., Array]
    options: dict[str, Any]
    takes_labels: bool = False
    per_target: int | str = 1


_ENTROPY_OPTIONS = {"from_logits": False, "label_smoothing": 0.0}
LOSSES: dict[str, Loss] = {
    "mean_squared_error": Loss(elementwise_losses.mean_squared_error, {}),
    "mean_absolute_error": Loss(elementwise_losses.mean_absolute_error, {}),
    "huber": Loss(elementwise_losses.huber, {"delta": 1.0}),
    "binary_crossentropy": Loss(elementwise_losses.binary_crossentropy, _ENTROPY_OPTIONS),
    "categorical_crossentropy": Loss(row_losses.categorical_crossentropy, _ENTROPY_OPTIONS),
    "sparse_categorical_crossentropy": Loss(
        row_losses.sparse_categorical_crossentropy, _ENTROPY_OPTIONS, takes_labels=True
    ),
    "mean_absolute_percentage_error": Loss(elementwise_losses.mean_absolute_percentage_error, {}),
    "mean_squared_logarithmic_error": Loss(elementwise_losses.mean_squared_logarithmic_error, {}),
    "log_cosh": Loss(elementwise_losses.log_cosh, {}),
    "poisson": Loss(elementwise_losses.poisson, {}),
    "hinge": Loss(elementwise_losses.hinge, {}),
    "squared_hinge": Loss(elementwise_losses.squared_hinge, {}),
    "quantile": Loss(elementwise_losses.quantile, {"q": 0.5}),
    "gaussian_nll": Loss(row_losses.gaussian_nll, {"full": False}, per_target=2),
    "kl_divergence": Loss(row_losses.kl_divergence, {}),
    "categorical_hinge": Loss(row_losses.categorical_hinge, {}),
    "cosine_similarity": Loss(row_losses.cosine_similarity, {}),
    "dice": Loss(row_losses.dice, {"per_row": False}),
    "multi_quantile": Loss(row_losses.multi_quantile, {"levels": (0.05, 0.5, 0.95)}, per_target="levels"),
    "binary_focal_crossentropy": Loss(
        elementwise_losses.binary_focal_crossentropy,
        {"apply_class_balancing": False, "alpha": 0.25, "gamma": 2.0, **_ENTROPY_OPTIONS},
    ),
    "categorical_focal_crossentropy": Loss(
        row_losses.categorical_focal_crossentropy, {"alpha": 0.25, "gamma": 2.0, **_ENTROPY_OPTIONS}
    ),
}


def find_loss(name: str, options: dict[str, Any]) -> tuple[Loss, dict[str, Any], bool]:
    """Return the table's row for ``name``, the kernel's options, and whether to sum.

    Raises
    ------
    ValueError
        Unknown name, or an option out of range.
    """
    require_known("loss", name, LOSSES)
    entry = LOSSES[name]
    values = complete_options(f"loss {name!r}", options, {**entry.options, "sum": False})
    if not 0.0 <= values.get("label_smoothing", 0.0) <= 1.0:
        raise ValueError(f"label_smoothing must be in [0, 1], got {values['label_smoothing']!r}.")
    if not 0.0 < values.get("delta", 1.0) < math.inf:
        raise ValueError(f"delta must be a finite number > 0, got {values['delta']!r}.")
    as_sum = bool(values.pop("sum"))
    return entry, values, as_sum


def as_targets(
    entry: Loss, y_true: ArrayLike, shape: tuple[int, int], dtype: Any, options: dict[str, Any] | None = None
) -> Array:
    """Return targets as labels (n,) int64 in 0..c-1, or as values of ``shape`` (n, c); (n,) means (n, 1)."""
    y = np.asarray(y_true)
    n, n_outputs = shape
    if entry.takes_labels:
        if y.shape not in ((n,), (n, 1)):
            raise ValueError(f"y_true must hold one label for each of {n} rows, got shape {y.shape}.")
        y = y.reshape(n)
        labels: Array = y.astype(np.int64, copy=False)
        if y.dtype.kind not in "iu" and not np.array_equal(labels, y):
            raise ValueError("y_true must hold whole-number labels.")
        # As unsigned numbers, negative labels are huge: one comparison checks both bounds.
        if labels.view(np.uint64).max() >= n_outputs:
            raise ValueError(f"labels in y_true must be in 0..{n_outputs - 1}, got {labels.min()}..{labels.max()}.")
        return labels
    count = entry.per_target
    columns = n_outputs // (len((options or entry.options)[count]) if isinstance(count, str) else count)
    if y.ndim == 1 and columns == 1:
        y = y.reshape(-1, 1)
    if y.shape != (n, columns):
        wanted = f"shape {(n, columns)}" if columns != n_outputs else f"the shape of y_pred, {shape}"
        raise ValueError(f"y_true must have {wanted}, got {y.shape}.")
    values: Array = y.astype(dtype, copy=False)
    return values


def _evaluate(
    name: str, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None, gradient: bool, options: Any
) -> tuple[float, Array | None]:
    options = dict(options)
    weighted = options.pop("weighted_mean", False)
    ignored = options.pop("ignore_class", None) if name == "sparse_categorical_crossentropy" else None
    entry, values, as_sum = find_loss(name, options)
    given = as_floating("y_pred", y_pred)
    if given.ndim not in (1, 2):
        raise ValueError(f"y_pred must have 1 or 2 dimensions, got shape {given.shape}.")
    p = given if given.ndim == 2 else given[:, None]
    n = len(p)
    if p.size == 0:
        raise ValueError(f"y_pred is empty: shape {given.shape}.")
    counts = np.ones(n, bool)
    if ignored is not None:
        counts = np.reshape(y_true, n) != ignored
        y_true = np.where(counts, np.reshape(y_true, n), 0)
        sample_weight = counts * (np.ones(n, p.dtype) if sample_weight is None else np.asarray(sample_weight))
    y = as_targets(entry, y_true, (n, p.shape[1]), p.dtype, values)
    divisor: Any = 1 if as_sum else np.count_nonzero(counts)
    if weighted and sample_weight is not None:
        divisor = np.sum(sample_weight, dtype=np.float64)
    if divisor == 0:
        divisor = np.inf
    scale: Any = 1.0 / divisor
    weight = None
    if sample_weight is not None:
        weight = as_floating("sample_weight", sample_weight).astype(p.dtype, copy=False)
        if weight.shape != (n,):
            raise ValueError(f"sample_weight must have shape ({n},), got {weight.shape}.")
        scale = (weight * scale)[:, None]
    out = np.empty_like(p, order="C") if gradient else None
    rows = entry.kernel(y, p, scale, out, **values)
    if weight is not None:
        rows = rows * weight
    total = float(rows.sum(dtype=np.float64) / divisor)
    return total, None if out is None else out.reshape(given.shape)


def loss(
    name: str, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None, **options: Any
) -> float:
    """Value of a loss: the mean over rows of the row losses times their weights.

    Arguments and errors are those of `loss_and_gradient`.

    Examples
    --------
    >>> loss("mean_squared_error", [[1.0], [2.0]], [[1.0], [4.0]])
    2.0
    """
    return _evaluate(name, y_true, y_pred, sample_weight, False, options)[0]


def loss_and_gradient(
    name: str, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None, **options: Any
) -> tuple[float, Array]:
    """Value of a loss and its gradient with respect to the predictions.

    Parameters
    ----------
    name : str
        A key of `LOSSES`.
    y_true : array_like
        Targets of the shape of y_pred, or labels 0..c-1 of shape (n,) or (n, 1) for sparse_categorical_crossentropy.
    y_pred : array_like
        Predictions (n, c), or (n,) for a single output; float32 stays float32.
    sample_weight : array_like, optional
        (n,) factors of the row losses; the divisor remains the number of rows.
    **options
        Of all losses, with defaults: ``sum`` (False) sums over rows instead of averaging; ``weighted_mean`` (False)
        divides by the sum of the weights. A division by 0 gives 0.

        Of single losses: ``delta`` (1.0) of huber; ``q`` (0.5) of quantile; ``levels`` (0.05, 0.5, 0.95) of
        multi_quantile; ``full`` (False) of gaussian_nll; ``per_row`` (False) of dice; ``from_logits`` (False) and
        ``label_smoothing`` (0.0) of the cross-entropies; ``ignore_class`` (None) of sparse_categorical_crossentropy, a
        label of any value whose rows count neither in the sum nor in the divisor; ``gamma`` (2.0) and ``alpha`` (0.25)
        of the focal cross-entropies, where alpha may be (c,) for the categorical one; ``apply_class_balancing`` (False)
        of the binary one.

        Without ``from_logits`` predictions are probabilities, clipped to [1e-7, 1 - 1e-7]; those of the categorical
        losses are first divided by their row's sum. The gradient is the gradient of exactly this function: zero
        where the clip acts.

    Returns
    -------
    (float, ndarray)
        The loss, summed in float64, and the gradient in the shape of y_pred.

    Raises
    ------
    ValueError
        Unknown name, shapes that do not match, labels out of range.

    Examples
    --------
    >>> value, gradient = loss_and_gradient("mean_squared_error", [[1.0], [2.0]], [[1.0], [4.0]])
    >>> value, gradient.tolist()
    (2.0, [[0.0], [2.0]])
    """
    value, gradient = _evaluate(name, y_true, y_pred, sample_weight, True, options)
    assert gradient is not None
    return value, gradient
