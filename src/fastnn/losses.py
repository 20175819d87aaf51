"""Losses with Keras's names and arguments.

A loss describes what to compute; value and gradient are the compiled core's. ``y_true`` and ``y_pred`` are
(n, n_outputs); the loss of a row is the mean (regression, binary) or the sum (categorical) over its outputs, and the
loss of a batch is the mean over its rows, with ``reduction="mean_with_sample_weight"`` their weighted mean, with "sum"
their sum; "none" leaves the rows.
"""

import math
from collections.abc import Sequence
from typing import Any

from fastnn import registry
from fastnn.loss import Loss as Loss
from fastnn.loss import as_label, last_axis, number_between, number_or_list
from fastnn.loss_functions import LossFunction


@registry.register("loss", "mean_squared_error", "MeanSquaredError", "mse", "MSE")
class MeanSquaredError(Loss):
    """``mean((y_true - y_pred)^2)``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> fastnn.losses.MeanSquaredError()(np.array([[0.0], [1.0]]), np.array([[2.0], [1.0]]))
    2.0
    """

    core_name = "mean_squared_error"


@registry.register("loss", "mean_absolute_error", "MeanAbsoluteError", "mae", "MAE")
class MeanAbsoluteError(Loss):
    """``mean(|y_true - y_pred|)``."""

    core_name = "mean_absolute_error"


@registry.register("loss", "huber", "Huber", "huber_loss")
class Huber(Loss):
    """``e^2 / 2`` where ``|e| <= delta``, else ``delta |e| - delta^2 / 2``; e = y_true - y_pred (Huber, 1964).

    Parameters
    ----------
    delta : where the loss turns from quadratic to linear, in units of y; positive.
    """

    core_name = "huber"
    _options = ("delta",)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.delta = number_between("delta", delta, 0.0, math.inf)
        if self.delta == 0.0:
            raise ValueError(f"delta must be a positive number, got {delta!r}")


@registry.register("loss", "binary_crossentropy", "BinaryCrossentropy", "bce", "BCE")
class BinaryCrossentropy(Loss):
    """``-mean(t log(p) + (1 - t) log(1 - p))``.

    Parameters
    ----------
    from_logits : whether ``y_pred`` are logits, p = sigmoid(y_pred), instead of probabilities.
    label_smoothing : s moves targets towards one half: ``t (1 - s) + s / 2``.
    axis : -1.
    """

    core_name = "binary_crossentropy"
    targets = "probabilities"
    skipped_activation = "sigmoid"
    _options = ("from_logits", "label_smoothing")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        last_axis(axis)
        self.from_logits = bool(from_logits)
        self.label_smoothing = number_between("label_smoothing", label_smoothing, 0.0, 1.0)


@registry.register("loss", "categorical_crossentropy", "CategoricalCrossentropy")
class CategoricalCrossentropy(Loss):
    """``-sum(t log(p))`` over the classes, targets as one-hot rows.

    Parameters
    ----------
    from_logits : whether ``y_pred`` are logits, p = softmax(y_pred), instead of probabilities.
    label_smoothing : s moves targets towards the uniform distribution: ``t (1 - s) + s / n_classes``.
    axis : -1.
    """

    core_name = "categorical_crossentropy"
    targets = "one_hot"
    skipped_activation = "softmax"
    _options = ("from_logits", "label_smoothing")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        last_axis(axis)
        self.from_logits = bool(from_logits)
        self.label_smoothing = number_between("label_smoothing", label_smoothing, 0.0, 1.0)


@registry.register("loss", "sparse_categorical_crossentropy", "SparseCategoricalCrossentropy")
class SparseCategoricalCrossentropy(Loss):
    """``-log(p[label])``, targets as class labels 0..n_classes-1.

    Parameters
    ----------
    from_logits : whether ``y_pred`` are logits, p = softmax(y_pred), instead of probabilities.
    ignore_class : label whose rows add nothing, such as -1: the mean is over the other rows of a batch, and 0 where
        there are none. Metrics see all rows.
    axis : -1.
    """

    core_name = "sparse_categorical_crossentropy"
    targets = "labels"
    skipped_activation = "softmax"
    _options = ("from_logits", "ignore_class")

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        last_axis(axis)
        self.from_logits = bool(from_logits)
        self.ignore_class = None if ignore_class is None else as_label("ignore_class", ignore_class)


@registry.register("loss", "mean_absolute_percentage_error", "MeanAbsolutePercentageError", "mape", "MAPE")
class MeanAbsolutePercentageError(Loss):
    """``100 mean(|y_true - y_pred| / max(|y_true|, 1e-7))``."""

    core_name = "mean_absolute_percentage_error"


@registry.register("loss", "mean_squared_logarithmic_error", "MeanSquaredLogarithmicError", "msle", "MSLE")
class MeanSquaredLogarithmicError(Loss):
    """``mean((log(1 + y_true) - log(1 + y_pred))^2)``, both raised to at least 1e-7."""

    core_name = "mean_squared_logarithmic_error"


@registry.register("loss", "log_cosh", "LogCosh", "logcosh")
class LogCosh(Loss):
    """``mean(log(cosh(y_pred - y_true)))``: about e^2 / 2 for small errors, ``|e| - log(2)`` for large ones."""

    core_name = "log_cosh"


@registry.register("loss", "poisson", "Poisson")
class Poisson(Loss):
    """``mean(y_pred - y_true log(y_pred + 1e-7))``: y_pred is the expected count, positive."""

    core_name = "poisson"


@registry.register("loss", "hinge", "Hinge")
class Hinge(Loss):
    """``mean(max(1 - t y_pred, 0))`` with targets t of -1 and 1 (Cortes and Vapnik, 1995); targets 0 count as -1."""

    core_name = "hinge"


@registry.register("loss", "squared_hinge", "SquaredHinge")
class SquaredHinge(Loss):
    """``mean(max(1 - t y_pred, 0)^2)`` with targets t of -1 and 1; targets 0 count as -1."""

    core_name = "squared_hinge"


@registry.register("loss", "quantile", "Quantile", "pinball")
class Quantile(Loss):
    """``mean(max(q e, (q - 1) e))``, e = y_true - y_pred: least where y_pred is the q-quantile.

    Koenker and Bassett, "Regression quantiles", 1978.

    Parameters
    ----------
    q : level of the quantile, between 0 and 1; 0.5 gives half the absolute error.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> fastnn.losses.Quantile(0.75)(np.array([[1.0], [1.0]]), np.array([[0.0], [2.0]]))
    0.5
    """

    core_name = "quantile"
    _options = ("q",)

    def __init__(self, q: float = 0.5, reduction: str | None = "sum_over_batch_size", name: str | None = None) -> None:
        super().__init__(reduction, name)
        self.q = number_between("q", q, 0.0, 1.0)
        if self.q in (0.0, 1.0):
            raise ValueError(f"q must lie between 0 and 1, got {q!r}")


@registry.register("loss", "gaussian_nll", "GaussianNLL")
class GaussianNLL(Loss):
    """Negative log-likelihood of a normal distribution whose mean and variance the model predicts.

    ``mean(s + (y_true - m)^2 exp(-s)) / 2``: of 2 c outputs the first c are means m, the others logarithms s of
    variances; targets have c columns, which metrics compare with the means. Nix and Weigend, "Estimating the mean and
    variance of the target probability distribution", 1994.

    Parameters
    ----------
    full : whether to add the constant ``log(2 pi) / 2``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> fastnn.losses.GaussianNLL()(np.array([[1.0]]), np.array([[3.0, 0.0]]))
    2.0
    """

    core_name = "gaussian_nll"
    _options = ("full",)

    def __init__(
        self, full: bool = False, reduction: str | None = "sum_over_batch_size", name: str | None = None
    ) -> None:
        super().__init__(reduction, name)
        self.full = bool(full)

    def target_columns(self, n_outputs: int) -> int:
        """Return half of the outputs."""
        if n_outputs % 2:
            raise ValueError(
                "gaussian_nll needs two outputs per target, its mean and the logarithm of its variance; the model has "
                f"{n_outputs}"
            )
        return n_outputs // 2


@registry.register("loss", "binary_focal_crossentropy", "BinaryFocalCrossentropy")
class BinaryFocalCrossentropy(Loss):
    """``mean((1 - p_t)^gamma (-log p_t))``, p_t the probability of the target (Lin et al., 2017).

    Parameters
    ----------
    apply_class_balancing : whether class 1 is weighted ``alpha`` and class 0 ``1 - alpha``.
    alpha : as above, between 0 and 1.
    gamma : 0 gives the cross-entropy; larger values weigh rows less that are right already.
    from_logits, label_smoothing : as in ``BinaryCrossentropy``.
    axis : -1.
    """

    core_name = "binary_focal_crossentropy"
    targets = "probabilities"
    skipped_activation = "sigmoid"
    _options = ("apply_class_balancing", "alpha", "gamma", "from_logits", "label_smoothing")

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.apply_class_balancing = bool(apply_class_balancing)
        self.alpha = number_between("alpha", alpha, 0.0, 1.0)
        self.gamma = number_between("gamma", gamma, 0.0, math.inf)
        self.from_logits = bool(from_logits)
        self.label_smoothing = number_between("label_smoothing", label_smoothing, 0.0, 1.0)
        last_axis(axis)


@registry.register("loss", "categorical_focal_crossentropy", "CategoricalFocalCrossentropy")
class CategoricalFocalCrossentropy(Loss):
    """``sum(alpha t (1 - p)^gamma (-log p))`` over the classes, targets as one-hot rows (Lin et al., 2017).

    Parameters
    ----------
    alpha : factor of the loss, at least 0, or a list of factors, one per class.
    gamma : as in ``BinaryFocalCrossentropy``.
    from_logits, label_smoothing : as in ``CategoricalCrossentropy``.
    axis : -1.
    """

    core_name = "categorical_focal_crossentropy"
    targets = "one_hot"
    skipped_activation = "softmax"
    _options = ("alpha", "gamma", "from_logits", "label_smoothing")

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.alpha = number_or_list("alpha", alpha, 0.0, math.inf)
        self.gamma = number_between("gamma", gamma, 0.0, math.inf)
        self.from_logits = bool(from_logits)
        self.label_smoothing = number_between("label_smoothing", label_smoothing, 0.0, 1.0)
        last_axis(axis)

    def target_columns(self, n_outputs: int) -> int:
        """Return ``n_outputs`` after checking that ``alpha`` has a factor for each class."""
        if isinstance(self.alpha, list) and len(self.alpha) != n_outputs:
            raise ValueError(
                f"alpha of {self.name} must have one factor per class, {n_outputs}, or be one number, got "
                f"{len(self.alpha)}: {self.alpha}"
            )
        return n_outputs


@registry.register("loss", "kl_divergence", "KLDivergence", "kld", "KLD", "kullback_leibler_divergence")
class KLDivergence(Loss):
    """``sum(t log(t / p))`` over the classes, both clipped to [1e-7, 1] (Kullback and Leibler, 1951)."""

    core_name = "kl_divergence"
    targets = "one_hot"


@registry.register("loss", "categorical_hinge", "CategoricalHinge")
class CategoricalHinge(Loss):
    """``max(max((1 - t) y_pred) - sum(t y_pred) + 1, 0)``, targets t as one-hot rows (Weston and Watkins, 1999)."""

    core_name = "categorical_hinge"
    targets = "one_hot"


@registry.register("loss", "cosine_similarity", "CosineSimilarity")
class CosineSimilarity(Loss):
    """Minus the cosine of the angle between y_true and y_pred of a row: -1 for one direction, 1 for the opposite.

    Parameters
    ----------
    axis : -1.
    """

    core_name = "cosine_similarity"

    def __init__(
        self, axis: int = -1, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(reduction, name, dtype)
        last_axis(axis)


@registry.register("loss", "dice", "Dice")
class Dice(Loss):
    """``1 - 2 sum(y_true y_pred) / (sum(y_true) + sum(y_pred) + 1e-7)`` (Milletari et al., 2016).

    Parameters
    ----------
    axis : None for sums over the whole batch, which make its loss one number; -1 for sums over each row.
    """

    core_name = "dice"
    targets = "probabilities"

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: int | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.axis = None if axis is None else last_axis(axis)
        self.couples_rows = axis is None

    def options(self) -> dict[str, float]:
        """Return the options the compiled core takes."""
        return {**super().options(), "per_row": self.axis is not None}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}


binary_crossentropy = LossFunction("binary_crossentropy")
binary_focal_crossentropy = LossFunction("binary_focal_crossentropy")
categorical_crossentropy = LossFunction("categorical_crossentropy")
categorical_focal_crossentropy = LossFunction("categorical_focal_crossentropy")
categorical_hinge = LossFunction("categorical_hinge")
cosine_similarity = LossFunction("cosine_similarity")
dice = LossFunction("dice")
gaussian_nll = LossFunction("gaussian_nll")
hinge = LossFunction("hinge")
huber = LossFunction("huber")
kl_divergence = LossFunction("kl_divergence")
log_cosh = LossFunction("log_cosh")
mean_absolute_error = LossFunction("mean_absolute_error")
mean_absolute_percentage_error = LossFunction("mean_absolute_percentage_error")
mean_squared_error = LossFunction("mean_squared_error")
mean_squared_logarithmic_error = LossFunction("mean_squared_logarithmic_error")
poisson = LossFunction("poisson")
quantile = LossFunction("quantile")
sparse_categorical_crossentropy = LossFunction("sparse_categorical_crossentropy")
squared_hinge = LossFunction("squared_hinge")


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
        from fastnn.own_loss import OwnLoss

        return OwnLoss(identifier)
    resolved: Loss = registry.resolve("loss", identifier, Loss)
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
