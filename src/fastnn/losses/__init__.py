"""Losses with Keras's names and arguments.

A loss describes what to compute; value and gradient are the compiled core's. ``y_true`` and ``y_pred`` are
(n, n_outputs); the loss of a row is the mean (regression, binary) or the sum (categorical) over its outputs, and the
loss of a batch is the mean over its rows, with ``reduction="mean_with_sample_weight"`` their weighted mean, with "sum"
their sum; "none" leaves the rows.
"""

from typing import Any

import fastnn._registry as registry
from fastnn.losses.custom import CustomLoss
from fastnn.losses.elementwise import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    Hinge,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    Quantile,
    SquaredHinge,
)
from fastnn.losses.functions import (
    LossFunction,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    cosine_similarity,
    dice,
    gaussian_nll,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    quantile,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from fastnn.losses.loss import Loss
from fastnn.losses.row import (
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Dice,
    GaussianNLL,
    KLDivergence,
    SparseCategoricalCrossentropy,
)

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "Dice",
    "GaussianNLL",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "LossFunction",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "Quantile",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "cosine_similarity",
    "dice",
    "gaussian_nll",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "quantile",
    "sparse_categorical_crossentropy",
    "squared_hinge",
]


def get(identifier: Any) -> Loss:
    """Return the loss for a name, class, loss or function of one's own.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones and the nearest. A loss that leaves the rows.
    """
    if isinstance(identifier, LossFunction):
        identifier = identifier.name
    if callable(identifier) and not isinstance(identifier, Loss | type):
        return CustomLoss(identifier)
    resolved = registry.resolve("loss", identifier, Loss)
    if not hasattr(resolved, "core_name"):
        raise TypeError(
            f"{type(resolved).__name__} is a Loss of your own, but a network trains on functions: pass a function of "
            "(y_true, y_pred) that returns (loss, gradient with respect to y_pred), both NumPy"
        )
    if resolved.reduction == "none":
        raise ValueError(
            f"{resolved.name} has reduction='none', a loss per row, which cannot be trained on: use "
            "'sum_over_batch_size' or 'sum'"
        )
    return resolved
