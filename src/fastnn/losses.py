"""Losses with Keras's names and arguments.

A loss describes what to compute; value and gradient are the compiled core's. ``y_true`` and ``y_pred`` are
(n, n_outputs); the loss of a row is the mean (regression, binary) or the sum (categorical) over its outputs, and the
loss of a batch is the mean over its rows, or their sum with ``reduction="sum"``.
"""

from typing import Any, ClassVar, Self

from fastnn import registry

REDUCTIONS = ("sum_over_batch_size", "sum")


class Loss:
    """Base of all losses.

    Parameters
    ----------
    reduction : "sum_over_batch_size" (mean over the rows of a batch; "mean" means the same) or "sum".
    name : name of the loss.
    """

    core_name: ClassVar[str]
    """Name of the loss in the compiled core."""
    targets: ClassVar[str] = "numbers"
    """What ``y`` holds: "numbers", "probabilities" (0 to 1), "one_hot" rows or class "labels"."""
    skipped_activation: ClassVar[str | None] = None
    """A final activation that this loss can take together with itself, from the values before it."""
    from_logits: bool = False
    _options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, reduction: str = "sum_over_batch_size", name: str | None = None) -> None:
        reduction = "sum_over_batch_size" if reduction == "mean" else reduction
        if reduction not in REDUCTIONS:
            raise ValueError(registry.unknown_name("reduction", reduction, (*REDUCTIONS, "mean")))
        self.reduction = reduction
        self.name = name if name is not None else self.core_name

    def options(self) -> dict[str, float]:
        """Return the options the compiled core takes."""
        options: dict[str, float] = {option: getattr(self, option) for option in self._options}
        if self.reduction == "sum":
            options["sum"] = True
        return options

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Return the loss of arrays (n, n_outputs); each row's loss is multiplied by its ``sample_weight``."""
        from fastnn import ops

        return ops.loss(self.core_name, y_true, y_pred, sample_weight=sample_weight, **self.options())

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config: dict[str, Any] = {option: getattr(self, option) for option in self._options}
        return {**config, "reduction": self.reduction, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build a loss from ``get_config()``."""
        return cls(**config)

    def __repr__(self) -> str:
        options = ", ".join(f"{option}={value!r}" for option, value in self.get_config().items())
        return f"{type(self).__name__}({options})"


def _smoothing(value: float) -> float:
    """``label_smoothing`` after checking that it lies between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise ValueError(f"label_smoothing must lie between 0 and 1, got {value!r}")
    return float(value)


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
        self, delta: float = 1.0, reduction: str = "sum_over_batch_size", name: str | None = "huber_loss"
    ) -> None:
        if isinstance(delta, bool) or not isinstance(delta, int | float) or not delta > 0.0:
            raise ValueError(f"delta must be a positive number, got {delta!r}")
        super().__init__(reduction, name)
        self.delta = float(delta)


@registry.register("loss", "binary_crossentropy", "BinaryCrossentropy", "bce", "BCE")
class BinaryCrossentropy(Loss):
    """``-mean(t log(p) + (1 - t) log(1 - p))``.

    Parameters
    ----------
    from_logits : whether ``y_pred`` are logits, p = sigmoid(y_pred), instead of probabilities.
    label_smoothing : s moves targets towards one half: ``t (1 - s) + s / 2``.
    """

    core_name = "binary_crossentropy"
    targets = "probabilities"
    skipped_activation = "sigmoid"
    _options = ("from_logits", "label_smoothing")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        *,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.from_logits = bool(from_logits)
        self.label_smoothing = _smoothing(label_smoothing)


@registry.register("loss", "categorical_crossentropy", "CategoricalCrossentropy")
class CategoricalCrossentropy(Loss):
    """``-sum(t log(p))`` over the classes, targets as one-hot rows.

    Parameters
    ----------
    from_logits : whether ``y_pred`` are logits, p = softmax(y_pred), instead of probabilities.
    label_smoothing : s moves targets towards the uniform distribution: ``t (1 - s) + s / n_classes``.
    """

    core_name = "categorical_crossentropy"
    targets = "one_hot"
    skipped_activation = "softmax"
    _options = ("from_logits", "label_smoothing")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        *,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.from_logits = bool(from_logits)
        self.label_smoothing = _smoothing(label_smoothing)


@registry.register("loss", "sparse_categorical_crossentropy", "SparseCategoricalCrossentropy")
class SparseCategoricalCrossentropy(Loss):
    """``-log(p[label])``, targets as class labels 0..n_classes-1.

    Parameters
    ----------
    from_logits : whether ``y_pred`` are logits, p = softmax(y_pred), instead of probabilities.
    """

    core_name = "sparse_categorical_crossentropy"
    targets = "labels"
    skipped_activation = "softmax"
    _options = ("from_logits",)

    def __init__(
        self, from_logits: bool = False, *, reduction: str = "sum_over_batch_size", name: str | None = None
    ) -> None:
        super().__init__(reduction, name)
        self.from_logits = bool(from_logits)


def get(identifier: Any) -> Loss:
    """Return the loss for a name, class or loss.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones and the nearest.
    """
    resolved: Loss = registry.resolve("loss", identifier, Loss)
    return resolved
