"""Losses with Keras's names and arguments.

A loss is a description; the compiled core computes its value and its gradient. ``y_true`` and ``y_pred`` are
(n, n_outputs). The loss of a row is the mean (regression, binary) or the sum (categorical) over its outputs. The loss
of a batch is the mean over its rows; with ``reduction="mean_with_sample_weight"`` it is their weighted mean, with "sum"
their sum, and with "none" there is one loss per row.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import fastnn._registry as registry
from fastnn._missing import public_names
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
from fastnn.losses.loss import Loss
from fastnn.losses.row import (
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Dice,
    GaussianNLL,
    KLDivergence,
    MultiQuantile,
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
    "MultiQuantile",
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
    "multi_quantile",
    "poisson",
    "quantile",
    "sparse_categorical_crossentropy",
    "squared_hinge",
]


def get(identifier: Any) -> Loss:
    """Return the loss for a name, a class, a loss or a custom function.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones and the nearest. Or the reduction is "none".
    TypeError
        A custom class of losses: a custom loss is a function.
    """
    from fastnn.losses.functions import LossFunction

    if isinstance(identifier, list | tuple) or (isinstance(identifier, Mapping) and "class_name" not in identifier):
        raise TypeError(
            f"a network has one output and one loss: pass the loss by itself, such as 'mse', got {identifier!r}"
        )
    if isinstance(identifier, LossFunction):
        identifier = identifier.name
    if callable(identifier) and not isinstance(identifier, Loss | type):
        return CustomLoss(identifier)
    resolved = registry.resolve("loss", identifier, Loss)
    if not hasattr(resolved, "core_name"):
        raise TypeError(
            f"{type(resolved).__name__} is a custom Loss class, but a custom loss must be a function: pass a function "
            "of (y_true, y_pred) that returns (loss, gradient with respect to y_pred), both NumPy"
        )
    if resolved.reduction == "none":
        raise ValueError(
            f"{resolved.name} has reduction='none', a loss per row, which cannot be trained on: use "
            "'sum_over_batch_size' or 'sum'"
        )
    return resolved


if TYPE_CHECKING:
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
        multi_quantile,
        poisson,
        quantile,
        sparse_categorical_crossentropy,
        squared_hinge,
    )
else:
    _FUNCTIONS = [name for name in __all__ if name not in globals()]
    __getattr__, __dir__ = public_names(__name__, __all__, late={"fastnn.losses.functions": _FUNCTIONS})
