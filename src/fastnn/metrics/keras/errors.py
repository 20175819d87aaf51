"""Means over rows of regression errors, cross-entropies and other loss functions, and the R2 score."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._arguments import as_given, choice, flag, last_axis, number, optional, whole
from fastnn.metrics.keras.metric import EPSILON, Metric, RowMean, labels_and_outputs, same_shape, weights_like

Array = NDArray[Any]


class _Error(RowMean):
    """Base of the means of loss functions."""

    direction = "min"
    default_name: str

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(self.default_name if name is None else name, dtype)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return the mean of each row in float64."""
        values: Array = np.mean(self.entries(np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)), axis=-1)
        return values

    def entries(self, y_true: Array, y_pred: Array) -> Any:
        """Return the value of every entry."""
        raise NotImplementedError(f"{type(self).__name__} must define entries(y_true, y_pred)")


@registry.register("metric", "mean_squared_error", "MeanSquaredError", "mse", "MSE")
class MeanSquaredError(_Error):
    """``mean((y_true - y_pred)^2)``."""

    default_name = "mean_squared_error"

    def entries(self, y_true: Array, y_pred: Array) -> Any:
        """Return squares."""
        return np.square(y_true - y_pred)


@registry.register("metric", "root_mean_squared_error", "RootMeanSquaredError", "rmse", "RMSE")
class RootMeanSquaredError(MeanSquaredError):
    """``sqrt(mean((y_true - y_pred)^2))``."""

    default_name = "root_mean_squared_error"

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return squares, each with a weight of its own: arrays (n,) are n rows."""
        return self.entries(y_true.astype(np.float64), y_pred.astype(np.float64))

    def result(self) -> float:
        """Return the root of the mean."""
        return float(np.sqrt(super().result()))


@registry.register("metric", "mean_absolute_error", "MeanAbsoluteError", "mae", "MAE")
class MeanAbsoluteError(_Error):
    """``mean(|y_true - y_pred|)``."""

    default_name = "mean_absolute_error"

    def entries(self, y_true: Array, y_pred: Array) -> Any:
        """Return absolute values."""
        return np.abs(y_true - y_pred)


@registry.register("metric", "mean_absolute_percentage_error", "MeanAbsolutePercentageError", "mape", "MAPE")
class MeanAbsolutePercentageError(_Error):
    """``100 mean(|y_true - y_pred| / max(|y_true|, 1e-7))``."""

    default_name = "mean_absolute_percentage_error"

    def entries(self, y_true: Array, y_pred: Array) -> Any:
        """Return percentages."""
        return 100.0 * np.abs(y_true - y_pred) / np.maximum(np.abs(y_true), EPSILON)


@registry.register("metric", "mean_squared_logarithmic_error", "MeanSquaredLogarithmicError", "msle", "MSLE")
class MeanSquaredLogarithmicError(_Error):
    """``mean((log(1 + y_true) - log(1 + y_pred))^2)``; numbers below 1e-7 count as 1e-7."""

    default_name = "mean_squared_logarithmic_error"

    def entries(self, y_true: Array, y_pred: Array) -> Any:
        """Return squares."""
        return np.square(np.log1p(np.maximum(y_true, EPSILON)) - np.log1p(np.maximum(y_pred, EPSILON)))


@registry.register("metric", "log_cosh_error", "LogCoshError", "logcosh")
class LogCoshError(_Error):
    """``mean(log(cosh(y_pred - y_true)))``."""

    default_name = "logcosh"

    def entries(self, y_true: Array, y_pred: Array) -> Any:
        """Return log(cosh(e)) in a form that does not overflow."""
        size = np.abs(y_pred - y_true)
        return size + np.log1p(np.exp(-2.0 * size)) - np.log(2.0)


@registry.register("metric", "cosine_similarity", "CosineSimilarity")
class CosineSimilarity(_Error):
    """Mean over rows of the cosine of the angle between ``y_true`` and ``y_pred``."""

    direction = "max"
    default_name = "cosine_similarity"
    whole_rows = True
    _options = ("axis",)

    def __init__(self, name: str | None = None, dtype: Any = None, axis: int = -1) -> None:
        super().__init__(name, dtype)
        self.axis = whole("axis", axis)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return the cosines; 0 for a row of zeros."""
        unit = [
            array / np.maximum(np.linalg.norm(array, axis=self.axis, keepdims=True), EPSILON)
            for array in (np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64))
        ]
        cosines: Array = np.sum(unit[0] * unit[1], axis=self.axis)
        return cosines


def _signs(y_true: Array) -> Any:
    """Return targets 0 and 1 as -1 and 1, other targets unchanged."""
    return 2.0 * y_true - 1.0 if np.isin(y_true, (0, 1)).all() else y_true


@registry.register("metric", "hinge", "Hinge")
class Hinge(_Error):
    """``mean(max(1 - y_true y_pred, 0))``; targets 0 and 1 count as -1 and 1."""

    default_name = "hinge"

    def entries(self, y_true: Array, y_pred: Array) -> Any:
        """Return hinge values."""
        return np.maximum(1.0 - _signs(y_true) * y_pred, 0.0)


@registry.register("metric", "squared_hinge", "SquaredHinge")
class SquaredHinge(Hinge):
    """``mean(max(1 - y_true y_pred, 0)^2)``; targets 0 and 1 count as -1 and 1."""

    default_name = "squared_hinge"

    def entries(self, y_true: Array, y_pred: Array) -> Any:
        """Return squares."""
        return np.square(super().entries(y_true, y_pred))


@registry.register("metric", "categorical_hinge", "CategoricalHinge")
class CategoricalHinge(_Error):
    """``max(max((1 - y_true) y_pred) - sum(y_true y_pred) + 1, 0)`` of each row of one-hot targets."""

    default_name = "categorical_hinge"
    whole_rows = True

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return hinge values."""
        y_true, y_pred = y_true.astype(np.float64), y_pred.astype(np.float64)
        wrong, right = np.max((1.0 - y_true) * y_pred, axis=-1), np.sum(y_true * y_pred, axis=-1)
        return np.maximum(wrong - right + 1.0, 0.0)


@registry.register("metric", "kl_divergence", "KLDivergence")
class KLDivergence(_Error):
    """``sum(y_true log(y_true / y_pred))``, both clipped to 1e-7 .. 1."""

    default_name = "kl_divergence"
    whole_rows = True

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return the sums."""
        truth, guess = (np.clip(np.asarray(array, np.float64), EPSILON, 1.0) for array in (y_true, y_pred))
        sums: Array = np.sum(truth * np.log(truth / guess), axis=-1)
        return sums


@registry.register("metric", "poisson", "Poisson")
class Poisson(_Error):
    """``mean(y_pred - y_true log(y_pred))``."""

    default_name = "poisson"

    def entries(self, y_true: Array, y_pred: Array) -> Any:
        """Return Poisson terms."""
        return y_pred - y_true * np.log(y_pred + EPSILON)


class _Crossentropy(_Error):
    """Base of the cross-entropies."""

    _options = ("from_logits", "label_smoothing")

    def __init__(
        self,
        name: str | None = None,
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(name, dtype)
        self.from_logits = flag("from_logits", from_logits)
        self.label_smoothing = as_given(number, "label_smoothing", label_smoothing, at_least=0.0, at_most=1.0)


@registry.register("metric", "binary_crossentropy", "BinaryCrossentropy", "bce", "BCE")
class BinaryCrossentropy(_Crossentropy):
    """``-mean(t log(p) + (1 - t) log(1 - p))``, p clipped to 1e-7 .. 1 - 1e-7."""

    default_name = "binary_crossentropy"

    def entries(self, y_true: Array, y_pred: Array) -> Any:
        """Return cross-entropies."""
        truth = y_true * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        if self.from_logits:
            return np.maximum(y_pred, 0.0) - truth * y_pred + np.log1p(np.exp(-np.abs(y_pred)))
        p = np.clip(y_pred, EPSILON, 1.0 - EPSILON)
        return -(truth * np.log(p) + (1.0 - truth) * np.log1p(-p))


def _log_probabilities(y_pred: Array, from_logits: bool) -> Any:
    """Return the logarithms of the classes' probabilities, (n, n_classes)."""
    y_pred = np.asarray(y_pred, np.float64)
    if from_logits:
        shifted = y_pred - np.max(y_pred, axis=-1, keepdims=True)
        logarithms: Array = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
        return logarithms
    return np.log(np.clip(y_pred / np.sum(y_pred, axis=-1, keepdims=True), EPSILON, 1.0 - EPSILON))


@registry.register("metric", "categorical_crossentropy", "CategoricalCrossentropy")
class CategoricalCrossentropy(_Crossentropy):
    """``-sum(t log(p))`` over the classes, for one-hot targets; p clipped to 1e-7 .. 1 - 1e-7."""

    default_name = "categorical_crossentropy"
    whole_rows = True

    def __init__(
        self,
        name: str | None = None,
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype, from_logits, label_smoothing)
        last_axis(axis)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return cross-entropies."""
        truth = y_true * (1.0 - self.label_smoothing) + self.label_smoothing / y_pred.shape[-1]
        sums: Array = -np.sum(truth * _log_probabilities(y_pred, self.from_logits), axis=-1)
        return sums


@registry.register("metric", "sparse_categorical_crossentropy", "SparseCategoricalCrossentropy")
class SparseCategoricalCrossentropy(_Error):
    """``-log(p[label])``, for class labels; p clipped to 1e-7 .. 1 - 1e-7.

    Parameters
    ----------
    name, dtype : as in ``Metric``.
    from_logits : whether ``y_pred`` are logits.
    ignore_class : label whose rows count as 0.
    axis : accepted as in Keras; the classes are the columns.
    """

    default_name = "sparse_categorical_crossentropy"
    _options = ("from_logits", "ignore_class")

    def __init__(
        self,
        name: str | None = None,
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        last_axis(axis)
        self.from_logits = flag("from_logits", from_logits)
        self.ignore_class = optional(whole, "ignore_class", ignore_class)

    def arrays(self, y_true: Any, y_pred: Any) -> tuple[Array, Array]:
        """Return labels (n,) and outputs (n, n_classes)."""
        return labels_and_outputs(y_true, y_pred)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return cross-entropies."""
        labels, n_classes = y_true.astype(np.int64), y_pred.shape[1]
        ignored = np.zeros(len(labels), bool) if self.ignore_class is None else labels == self.ignore_class
        beyond = np.flatnonzero(~ignored & ((labels < 0) | (labels >= n_classes)))
        if len(beyond):
            raise ValueError(
                f"y_true has the label {labels[beyond[0]]} in row {beyond[0]} (counted from 0); labels of {n_classes} "
                f"outputs are from 0 to {n_classes - 1}"
            )
        places = np.where(ignored, 0, labels)[:, np.newaxis]
        logarithms = np.take_along_axis(_log_probabilities(y_pred, self.from_logits), places, axis=1)[:, 0]
        return np.where(ignored, 0.0, -logarithms)


class _Correlation(RowMean):
    """Base of correlations along an axis."""

    direction = "max"
    whole_rows = True
    _options = ("axis",)

    def __init__(self, name: str | None = None, dtype: Any = None, axis: int = -1) -> None:
        super().__init__(name, dtype)
        self.axis = whole("axis", axis)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return the correlations; NaN where all numbers along the axis are equal."""
        truth, guess = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.atleast_1d(self.correlation(truth, guess))

    def correlation(self, truth: Array, guess: Array) -> Any:
        """Return the correlation along the axis."""
        raise NotImplementedError(f"{type(self).__name__} must define correlation(truth, guess)")


@registry.register("metric", "pearson_correlation", "PearsonCorrelation")
class PearsonCorrelation(_Correlation):
    """Mean of the correlations ``cov(t, p) / (std(t) std(p))`` (Pearson, 1895), t targets and p predictions.

    Parameters
    ----------
    name, dtype : as in ``Metric``.
    axis : -1 correlates the outputs of each row and averages over the rows; 0 correlates the rows of each output, over
        all rows of an epoch, whereas Keras averages over batches.
    """

    def __init__(self, name: str | None = "pearson_correlation", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(name, dtype, axis)

    def correlation(self, truth: Array, guess: Array) -> Any:
        """Return the correlation along the axis."""
        parts = (array - np.mean(array, axis=self.axis, keepdims=True) for array in (truth, guess))
        t, p = (part / np.std(part, axis=self.axis, keepdims=True) for part in parts)
        return np.mean(t * p, axis=self.axis)


@registry.register("metric", "concordance_correlation", "ConcordanceCorrelation")
class ConcordanceCorrelation(_Correlation):
    """Mean of ``2 cov(t, p) / (var(t) + var(p) + (mean(t) - mean(p))^2 + 1e-7)`` (Lin, 1989).

    Parameters
    ----------
    name, dtype, axis : as in ``PearsonCorrelation``.
    """

    def __init__(self, name: str | None = "concordance_correlation", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(name, dtype, axis)

    def correlation(self, truth: Array, guess: Array) -> Any:
        """Return the concordance along the axis."""
        t_mean, p_mean = (np.mean(array, axis=self.axis) for array in (truth, guess))
        covariance = np.mean(truth * guess, axis=self.axis) - t_mean * p_mean
        spread = np.var(truth, axis=self.axis) + np.var(guess, axis=self.axis) + (t_mean - p_mean) ** 2
        return 2.0 * covariance / (spread + EPSILON)


@registry.register("metric", "r2_score", "R2Score")
class R2Score(Metric):
    """Coefficient of determination: ``1 - sum(e^2) / sum((y_true - mean(y_true))^2)``.

    Parameters
    ----------
    class_aggregation : "uniform_average", "variance_weighted_average", or None for one score per output.
    num_regressors : number of independent variables of the adjusted score; 0 for the plain score.
    name, dtype : as in ``Metric``.
    """

    direction = "max"
    _options = ("class_aggregation", "num_regressors")

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        known = ("uniform_average", "variance_weighted_average", None)
        self.class_aggregation = choice("class_aggregation", class_aggregation, known)
        self.num_regressors = whole("num_regressors", num_regressors, at_least=0)
        self._sums: Array = np.zeros((4, 1))
        self._entries = 0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take rows into account."""
        truth, guess = (array.astype(np.float64) for array in same_shape(y_true, y_pred))
        if truth.ndim != 2:
            raise ValueError(f"R2Score takes targets of shape (n, n_outputs), got {truth.shape}")
        if np.ndim(sample_weight) == 1:
            sample_weight = np.reshape(sample_weight, (-1, 1))
        weight = weights_like(sample_weight, truth.shape)
        terms = (weight, weight * truth, weight * truth**2, weight * (truth - guess) ** 2)
        self._sums = self._sums + np.stack([np.sum(term, axis=0) for term in terms])
        self._entries += truth.size

    def result(self) -> Any:
        """Return the score."""
        count, total, squares, residual = self._sums
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = squares - total * (total / count)
            scores = 1.0 - residual / spread
        scores = np.where(np.isinf(scores), 0.0, scores)
        score: Any = scores
        if self.class_aggregation == "uniform_average":
            score = float(np.mean(scores))
        elif self.class_aggregation == "variance_weighted_average":
            score = float(np.sum(spread * scores) / np.sum(spread))
        # Keras counts the entries of all outputs, not the rows.
        freedom = self._entries - self.num_regressors - 1
        if self.num_regressors == 0 or freedom <= 0:
            return score
        return 1.0 - (1.0 - score) * (self._entries - 1) / freedom

    def reset_state(self) -> None:
        """Forget all rows."""
        super().reset_state()
        self._sums, self._entries = np.zeros((4, 1)), 0
