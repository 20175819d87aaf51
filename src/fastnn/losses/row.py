"""Losses that need all outputs of a row together: class probabilities, angles, mean and variance."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

import fastnn._registry as registry
from fastnn._arguments import flag, last_axis, number, optional, whole
from fastnn.losses.loss import Array, Loss


@registry.register("loss", "categorical_crossentropy", "CategoricalCrossentropy")
class CategoricalCrossentropy(Loss):
    """``-sum(t log(p))`` over the classes, targets as one-hot rows.

    Parameters
    ----------
    from_logits : whether ``y_pred`` are logits, p = softmax(y_pred), instead of probabilities.
    label_smoothing : s, which moves targets towards the uniform distribution: ``t (1 - s) + s / n_classes``.
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
        self.from_logits = flag("from_logits", from_logits)
        self.label_smoothing = number("label_smoothing", label_smoothing, at_least=0.0, at_most=1.0)


@registry.register("loss", "sparse_categorical_crossentropy", "SparseCategoricalCrossentropy")
class SparseCategoricalCrossentropy(Loss):
    """``-log(p[label])``, targets as class labels 0..n_classes-1.

    Parameters
    ----------
    from_logits : whether ``y_pred`` are logits, p = softmax(y_pred), instead of probabilities.
    ignore_class : label whose rows are left out, such as -1: the loss is the mean over the other rows of a batch, or 0
        if there are none. Metrics count all rows.
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
        self.from_logits = flag("from_logits", from_logits)
        self.ignore_class = optional(whole, "ignore_class", ignore_class, at_most=2**63 - 1)


@registry.register("loss", "gaussian_nll", "GaussianNLL")
class GaussianNLL(Loss):
    """Negative log-likelihood of a normal distribution whose mean and variance the model predicts.

    ``mean(s + (y_true - m)^2 exp(-s)) / 2``: the first half of the outputs are means m, the second half logarithms s of
    variances. Targets have as many columns as there are means; metrics compare them with the means. Nix and Weigend,
    "Estimating the mean and variance of the target probability distribution", 1994.

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
        self.full = flag("full", full)

    def target_columns(self, n_outputs: int) -> int:
        """Return half of the outputs."""
        if n_outputs % 2:
            raise ValueError(
                "gaussian_nll needs two outputs per target, its mean and the logarithm of its variance; the model has "
                f"{n_outputs}"
            )
        return n_outputs // 2


@registry.register("loss", "multi_quantile", "MultiQuantile", "multi_pinball")
class MultiQuantile(Loss):
    """``mean(max(q e, (q - 1) e))`` over several levels q, e = y_true - y_pred: one network predicts several quantiles.

    The first outputs are the quantiles of the first level, one for each target, the next ones those of the second
    level: with K levels there are K outputs for a target. ``layers.NonCrossingQuantiles`` as the last layer keeps them
    in order. Metrics compare the targets with the quantiles of the level nearest to 0.5. Koenker and Bassett,
    "Regression quantiles", 1978.

    Parameters
    ----------
    levels : rising levels between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> fastnn.losses.MultiQuantile((0.25, 0.75))(np.array([[1.0]]), np.array([[0.0, 2.0]]))
    0.25
    """

    core_name = "multi_quantile"
    _options = ("levels",)

    def __init__(
        self,
        levels: Sequence[float] = (0.05, 0.5, 0.95),
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.levels = levels_of("levels", levels)

    def target_columns(self, n_outputs: int) -> int:
        """Return the number of targets: outputs divided by levels."""
        if n_outputs % len(self.levels):
            raise ValueError(
                f"multi_quantile needs an output for each of its {len(self.levels)} levels per target; the model has "
                f"{n_outputs}"
            )
        return n_outputs // len(self.levels)

    def predictions(self, outputs: Array) -> Array:
        """Return the quantiles (n, n_targets) of the level nearest to 0.5."""
        middle = int(np.argmin(np.abs(np.array(self.levels) - 0.5)))
        width = self.target_columns(outputs.shape[1])
        return outputs[:, middle * width : (middle + 1) * width]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "levels": list(self.levels)}


def levels_of(name: str, given: Any) -> tuple[float, ...]:
    """Return levels of quantiles; raise ValueError if they do not rise between 0 and 1."""
    array = np.asarray(given)
    if array.dtype.kind not in "fiu" or array.ndim != 1 or not array.size:
        raise ValueError(f"{name} must be a sequence of numbers between 0 and 1, got {given!r}")
    levels = tuple(array.astype(np.float64).tolist())
    if not (0.0 < levels[0] and levels[-1] < 1.0 and all(a < b for a, b in pairwise(levels))):
        raise ValueError(f"{name} must rise and lie between 0 and 1, got {given!r}")
    return levels


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
        if np.ndim(alpha) == 1:
            self.alpha: Any = [number("each number in alpha", each, at_least=0.0) for each in alpha]  # type: ignore[union-attr]
        else:
            self.alpha = number("alpha", alpha, at_least=0.0, others=" or a list of such numbers")
        self.gamma = number("gamma", gamma, at_least=0.0)
        self.from_logits = flag("from_logits", from_logits)
        self.label_smoothing = number("label_smoothing", label_smoothing, at_least=0.0, at_most=1.0)
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
    """Minus the cosine of the angle between y_true and y_pred of a row: -1 for equal directions, 1 for opposite ones.

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
    axis : None for sums over the whole batch, -1 for sums over each row.
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

    def options(self) -> dict[str, Any]:
        """Return the options that the compiled core takes."""
        return {**super().options(), "per_row": self.axis is not None}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}
