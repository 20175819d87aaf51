"""Losses that are means over the outputs of a row."""

from typing import Any

import fastnn._registry as registry
from fastnn._arguments import flag, last_axis, number
from fastnn.losses.loss import Loss


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
    delta : error from which the loss is linear instead of quadratic, in units of y; positive.
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
        self.delta = number("delta", delta, above=0.0)


@registry.register("loss", "binary_crossentropy", "BinaryCrossentropy", "bce", "BCE")
class BinaryCrossentropy(Loss):
    """``-mean(t log(p) + (1 - t) log(1 - p))``.

    Parameters
    ----------
    from_logits : whether ``y_pred`` are logits, p = sigmoid(y_pred), instead of probabilities.
    label_smoothing : s, which moves targets towards one half: ``t (1 - s) + s / 2``.
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
        self.from_logits = flag("from_logits", from_logits)
        self.label_smoothing = number("label_smoothing", label_smoothing, at_least=0.0, at_most=1.0)


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
    """``mean(log(cosh(y_pred - y_true)))``: about e^2 / 2 for small errors e, ``|e| - log(2)`` for large ones."""

    core_name = "log_cosh"


@registry.register("loss", "poisson", "Poisson")
class Poisson(Loss):
    """``mean(y_pred - y_true log(y_pred + 1e-7))``; y_pred is the expected count, positive."""

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
    """``mean(max(q e, (q - 1) e))``, e = y_true - y_pred: minimal where y_pred is the q-quantile.

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
        self.q = number("q", q, above=0.0, below=1.0)


@registry.register("loss", "binary_focal_crossentropy", "BinaryFocalCrossentropy")
class BinaryFocalCrossentropy(Loss):
    """``mean((1 - p_t)^gamma (-log p_t))``, p_t the probability of the target (Lin et al., 2017).

    Parameters
    ----------
    apply_class_balancing : whether class 1 is weighted ``alpha`` and class 0 ``1 - alpha``.
    alpha : as above, between 0 and 1.
    gamma : 0 gives the cross-entropy; larger values give less weight to rows that are predicted well.
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
        self.apply_class_balancing = flag("apply_class_balancing", apply_class_balancing)
        self.alpha = number("alpha", alpha, at_least=0.0, at_most=1.0)
        self.gamma = number("gamma", gamma, at_least=0.0)
        self.from_logits = flag("from_logits", from_logits)
        self.label_smoothing = number("label_smoothing", label_smoothing, at_least=0.0, at_most=1.0)
        last_axis(axis)
