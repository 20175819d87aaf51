"""Metrics of right and wrong entries at thresholds, counted as in Keras: in float32, positive above the threshold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._arguments import number, optional, whole
from fastnn.metrics.keras.metric import Metric, divide, same_rank, weights_like

Array = NDArray[Any]

_LOWEST = -1e10


def even_thresholds(number: int) -> Array:
    """Return 0, 1/(number - 1), ..., 1."""
    return np.arange(number) / (number - 1)


class Counts:
    """Weights of true and false positives and negatives at thresholds.

    Parameters
    ----------
    thresholds : thresholds (k,), in rising order if they are even.
    even : whether they are 0, 1/(k - 1), ..., 1, so that entries can be sorted into buckets.
    with_zero : whether an entry of exactly 0 counts as above the first threshold.
    """

    def __init__(self, thresholds: Sequence[float] | Array, even: bool, with_zero: bool = False) -> None:
        self.thresholds = np.asarray(thresholds, np.float64)
        self._even = even
        self._with_zero = with_zero
        self.clear()

    def clear(self) -> None:
        """Start at zero."""
        self.true_positives: Array = np.zeros(len(self.thresholds))
        self.false_positives: Array = np.zeros(len(self.thresholds))
        self.positives = 0.0
        self.negatives = 0.0

    @property
    def false_negatives(self) -> Array:
        """Weights of positive entries below the thresholds."""
        return self.positives - self.true_positives

    @property
    def true_negatives(self) -> Array:
        """Weights of negative entries below the thresholds."""
        return self.negatives - self.false_positives

    def add(self, positive: Array, scores: Array, weight: Array) -> None:
        """Count entries.

        Parameters
        ----------
        positive : (m,) whether the entry's target is positive.
        scores : (m,) outputs.
        weight : (m,) weights.
        """
        scores = scores.astype(np.float32)
        k = len(self.thresholds)
        if np.isnan(scores).any():
            # An output that is NaN is neither above nor below a threshold: no count is known from here on.
            self.true_positives = self.false_positives = np.full(k, np.nan)
            self.positives = self.negatives = np.nan
            return
        if self._even:
            place = np.ceil(np.clip(scores, 0.0, 1.0) * np.float32(k - 1)).astype(np.int64)
        else:
            # The number of distinct thresholds below a score, in rising order.
            place = np.searchsorted(np.sort(self.thresholds).astype(np.float32), scores, side="left")
        if self._even and self._with_zero:
            place = np.maximum(place, 1)
        of_positive = np.bincount(place, weight * positive, k + 1)
        of_negative = np.bincount(place, weight * ~positive, k + 1)
        # An entry in place p lies above the p smallest thresholds.
        above = [np.cumsum(count[::-1])[::-1][1:] for count in (of_positive, of_negative)]
        order = np.argsort(np.argsort(self.thresholds, kind="stable"), kind="stable")
        self.true_positives = self.true_positives + above[0][order]
        self.false_positives = self.false_positives + above[1][order]
        self.positives += float(of_positive.sum())
        self.negatives += float(of_negative.sum())


def entries(
    y_true: Any, y_pred: Any, sample_weight: Any, class_id: int | None = None, top_k: int | None = None
) -> tuple[Array, Array, Array]:
    """Return targets (n, m) as bool, outputs (n, m) and weights (n, m) of all entries that count.

    Parameters
    ----------
    y_true, y_pred, sample_weight : as in ``update_state``; labels (n,) of several outputs become one-hot rows.
    class_id : the only column that counts, or None.
    top_k : all but the k largest outputs of a row count as negative.
    """
    y_true, y_pred = same_rank(y_true, y_pred)
    if y_true.ndim == 1 and y_pred.ndim == 2:
        y_true = y_true[:, np.newaxis] == np.arange(y_pred.shape[1])
    if y_true.ndim == 1:
        y_true, y_pred = y_true[:, np.newaxis], y_pred[:, np.newaxis]
    if y_true.shape != y_pred.shape:
        raise ValueError(f"y_true and y_pred must have the same shape, got {y_true.shape} and {y_pred.shape}")
    if np.ndim(sample_weight) == 1:
        sample_weight = np.reshape(sample_weight, (-1, 1))
    weight = weights_like(sample_weight, y_pred.shape)
    if top_k is not None:
        y_pred = y_pred.astype(np.result_type(y_pred, np.float32))  # unsigned outputs have no negatives to sort by
        best = np.argsort(-y_pred, axis=1, kind="stable")[:, :top_k]
        kept = np.full(y_pred.shape, _LOWEST, y_pred.dtype)
        np.put_along_axis(kept, best, np.take_along_axis(y_pred, best, axis=1), axis=1)
        y_pred = kept
    if class_id is not None:
        if class_id >= y_pred.shape[1]:
            raise ValueError(f"class_id must be less than {y_pred.shape[1]}, the number of outputs, got {class_id}")
        column = slice(class_id, class_id + 1)
        y_true, y_pred, weight = y_true[:, column], y_pred[:, column], weight[:, column]
    return y_true.astype(bool), y_pred, weight


def _thresholds(thresholds: Any, default: float) -> list[float]:
    """Return thresholds as a list of numbers from 0 to 1; ``default`` for None."""
    if thresholds is None:
        return [default]
    listed = np.atleast_1d(thresholds)
    return [number("each of thresholds", value, at_least=0.0, at_most=1.0) for value in listed]


def _are_even(thresholds: Sequence[float]) -> bool:
    k = len(thresholds)
    return k >= 3 and np.allclose(thresholds, even_thresholds(k), atol=1e-7)


class _AtThresholds(Metric):
    """Base of the metrics from counts at thresholds.

    Parameters
    ----------
    thresholds : number or list of numbers from 0 to 1; an output above counts as positive. None is 0.5.
    name, dtype : as in ``Metric``.
    """

    def __init__(self, thresholds: Any, default: float, name: str | None, dtype: Any) -> None:
        super().__init__(dtype, name)
        self.init_thresholds = thresholds
        self.thresholds = _thresholds(thresholds, default)
        self._counts = Counts(self.thresholds, _are_even(self.thresholds))

    def _value(self) -> Array:
        """Return the value at every threshold."""
        raise NotImplementedError(f"{type(self).__name__} must define _value()")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take rows into account."""
        self._counts.add(*(array.reshape(-1) for array in self._entries(y_true, y_pred, sample_weight)))

    def _entries(self, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[Array, Array, Array]:
        return entries(y_true, y_pred, sample_weight)

    def result(self) -> Any:
        """Return the value; an array if there are several thresholds."""
        value = self._value()
        return float(value[0]) if len(value) == 1 else value

    def reset_state(self) -> None:
        """Forget all rows."""
        super().reset_state()
        self._counts.clear()

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "thresholds": self.init_thresholds}


class _Count(_AtThresholds):
    """Base of the four counts."""

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(thresholds, 0.5, name, dtype)


@registry.register("metric", "true_positives", "TruePositives")
class TruePositives(_Count):
    """Weight of the positive entries that are predicted positive."""

    direction = "max"

    def _value(self) -> Array:
        return self._counts.true_positives


@registry.register("metric", "false_positives", "FalsePositives")
class FalsePositives(_Count):
    """Weight of the negative entries that are predicted positive."""

    direction = "min"

    def _value(self) -> Array:
        return self._counts.false_positives


@registry.register("metric", "true_negatives", "TrueNegatives")
class TrueNegatives(_Count):
    """Weight of the negative entries that are predicted negative."""

    direction = "max"

    def _value(self) -> Array:
        return self._counts.true_negatives


@registry.register("metric", "false_negatives", "FalseNegatives")
class FalseNegatives(_Count):
    """Weight of the positive entries that are predicted negative."""

    direction = "min"

    def _value(self) -> Array:
        return self._counts.false_negatives


class _Fraction(_AtThresholds):
    """Base of precision and recall.

    Parameters
    ----------
    thresholds : number or list of numbers from 0 to 1; an output above counts as positive. None is 0.5.
    top_k : if given, all but the k largest outputs of a row count as negative, and these k positive unless thresholds
        are given.
    class_id : the only column that counts, or None for all entries.
    name, dtype : as in ``Metric``.
    """

    direction = "max"
    _options = ("top_k", "class_id")

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(thresholds, 0.5 if top_k is None else _LOWEST, name, dtype)
        self.top_k = optional(whole, "top_k", top_k, at_least=1)
        self.class_id = optional(whole, "class_id", class_id, at_least=0)

    def _entries(self, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[Array, Array, Array]:
        return entries(y_true, y_pred, sample_weight, self.class_id, self.top_k)


@registry.register("metric", "precision", "Precision")
class Precision(_Fraction):
    """Fraction of true positives among the entries that are predicted positive."""

    def _value(self) -> Array:
        return np.asarray(
            divide(self._counts.true_positives, self._counts.true_positives + self._counts.false_positives)
        )


@registry.register("metric", "recall", "Recall")
class Recall(_Fraction):
    """Fraction of true positives among the positive entries."""

    def _value(self) -> Array:
        return np.asarray(divide(self._counts.true_positives, self._counts.positives))


class _BestUnder(Metric):
    """Base of the metrics that are the best value of one rate while another is at least a bound.

    Parameters
    ----------
    bound : the bound, from 0 to 1.
    num_thresholds : number of evenly spaced thresholds from 0 to 1.
    class_id : the only column that counts, or None for all entries.
    name, dtype : as in ``Metric``.
    """

    direction = "max"
    _bound_name: str

    def __init__(self, bound: float, num_thresholds: int, class_id: int | None, name: str | None, dtype: Any) -> None:
        super().__init__(dtype, name)
        self.value = number(self._bound_name, bound, at_least=0.0, at_most=1.0)
        self.num_thresholds = whole("num_thresholds", num_thresholds, at_least=1)
        self.class_id = optional(whole, "class_id", class_id, at_least=0)
        self.state_size = 3 * self.num_thresholds
        self._found: Counts | None = None

    @property
    def _counts(self) -> Counts:
        """The counts, which are made when they are needed for the first time."""
        if self._found is None:
            one = self.num_thresholds == 1
            self._found = Counts([0.5] if one else even_thresholds(self.num_thresholds), not one)
        return self._found

    def _rates(self) -> tuple[Array, Array]:
        """Return the bounded rate and the rate to maximize, at every threshold."""
        raise NotImplementedError(f"{type(self).__name__} must define _rates()")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take rows into account."""
        given = entries(y_true, y_pred, sample_weight, self.class_id)
        self._counts.add(*(array.reshape(-1) for array in given))

    def result(self) -> float:
        """Return the largest value; 0 if no threshold reaches the bound, NaN if an output was NaN."""
        bounded, wanted = self._rates()
        if np.isnan(bounded).any():
            return float("nan")
        return float(np.max(wanted[bounded >= self.value], initial=0.0))

    def reset_state(self) -> None:
        """Forget all rows."""
        super().reset_state()
        self._found = None

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        options = {self._bound_name: self.value, "num_thresholds": self.num_thresholds, "class_id": self.class_id}
        return {**super().get_config(), **options}

    def _sensitivities(self) -> Array:
        rates: Array = divide(self._counts.true_positives, self._counts.positives)
        return rates

    def _specificities(self) -> Array:
        rates: Array = divide(self._counts.true_negatives, self._counts.negatives)
        return rates

    def _precisions(self) -> Array:
        counts = self._counts
        rates: Array = divide(counts.true_positives, counts.true_positives + counts.false_positives)
        return rates


@registry.register("metric", "sensitivity_at_specificity", "SensitivityAtSpecificity")
class SensitivityAtSpecificity(_BestUnder):
    """Best sensitivity at the thresholds whose specificity is at least ``specificity``."""

    _bound_name = "specificity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, dtype)

    def _rates(self) -> tuple[Array, Array]:
        return self._specificities(), self._sensitivities()


@registry.register("metric", "specificity_at_sensitivity", "SpecificityAtSensitivity")
class SpecificityAtSensitivity(_BestUnder):
    """Best specificity at the thresholds whose sensitivity is at least ``sensitivity``."""

    _bound_name = "sensitivity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)

    def _rates(self) -> tuple[Array, Array]:
        return self._sensitivities(), self._specificities()


@registry.register("metric", "precision_at_recall", "PrecisionAtRecall")
class PrecisionAtRecall(_BestUnder):
    """Best precision at the thresholds whose recall is at least ``recall``."""

    _bound_name = "recall"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, dtype)

    def _rates(self) -> tuple[Array, Array]:
        return self._sensitivities(), self._precisions()


@registry.register("metric", "recall_at_precision", "RecallAtPrecision")
class RecallAtPrecision(_BestUnder):
    """Best recall at the thresholds whose precision is at least ``precision``."""

    _bound_name = "precision"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, dtype)

    def _rates(self) -> tuple[Array, Array]:
        return self._precisions(), self._sensitivities()
