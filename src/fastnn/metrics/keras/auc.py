"""The area under a curve, approximated as in Keras from counts at fixed thresholds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._arguments import flag, optional, whole
from fastnn.metrics.keras.confusion import Counts, entries, even_thresholds
from fastnn.metrics.keras.metric import EPSILON, Metric, divide

Array = NDArray[Any]

_CURVES = ("ROC", "PR", "PRGAIN")
_SUMMATIONS = ("interpolation", "majoring", "minoring")
_NUMBERS_PER_THRESHOLD = 4
"""The thresholds as a list and as an array, true and false positives."""


def _spelled(what: str, given: Any, known: tuple[str, ...]) -> str:
    """Return the known spelling of a name, ignoring case."""
    for name in known:
        if str(given).lower() == name.lower():
            return name
    raise ValueError(registry.unknown_name(what, given, known))


@registry.register("metric", "auc", "AUC")
class AUC(Metric):
    """Area under the ROC or another curve, from counts at ``num_thresholds`` thresholds.

    ``fastnn.metrics.roc_auc_score`` gives the exact area under the ROC curve.

    Parameters
    ----------
    num_thresholds : number of evenly spaced thresholds from 0 to 1.
    curve : "ROC", "PR" (precision over recall; Davis and Goadrich, 2006) or "PRGAIN" (Flach and Kull, 2015).
    summation_method : "interpolation", "majoring" or "minoring": mean, larger or smaller height between thresholds.
    name, dtype : as in ``Metric``.
    thresholds : numbers from 0 to 1 to use instead of even ones.
    multi_label : whether the areas of the output columns are averaged, instead of one area of all entries.
    num_labels : number of columns that the data must have; None takes it from the data.
    label_weights : weights of the columns.
    from_logits : whether ``y_pred`` are logits.
    """

    direction = "max"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(dtype, name)
        self.curve = _spelled("curve", curve, _CURVES)
        self.summation_method = _spelled("summation_method", summation_method, _SUMMATIONS)
        if thresholds is None:
            num_thresholds = whole("num_thresholds", num_thresholds, at_least=2)
        if num_labels is not None and not multi_label:
            raise ValueError("num_labels needs multi_label=True")
        self._given = None if thresholds is None else sorted(float(value) for value in thresholds)
        self.num_thresholds = int(num_thresholds) if self._given is None else len(self._given) + 2
        self.state_size = _NUMBERS_PER_THRESHOLD * self.num_thresholds
        self.multi_label = flag("multi_label", multi_label)
        self.num_labels = optional(whole, "num_labels", num_labels, at_least=1)
        self.label_weights = None if label_weights is None else np.asarray(label_weights, np.float64)
        self.from_logits = flag("from_logits", from_logits)
        self._columns: list[Counts] = []

    @property
    def thresholds(self) -> list[float]:
        """The thresholds; the first and the last lie just outside 0 and 1."""
        # So that every output lies above the first and none above the last.
        return [-EPSILON, *map(float, self._between()), 1.0 + EPSILON]

    def _between(self) -> Array:
        """Return the thresholds between the first and the last."""
        return even_thresholds(self.num_thresholds)[1:-1] if self._given is None else np.asarray(self._given)

    def _counts(self) -> Counts:
        even = np.allclose(self._between(), even_thresholds(self.num_thresholds)[1:-1], atol=1e-7)
        return Counts(self.thresholds, bool(even), True)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take rows into account."""
        positive, scores, weight = entries(y_true, y_pred, sample_weight)
        if self.from_logits:
            scores = np.exp(-np.logaddexp(0.0, -scores))
        if not self.multi_label and self.label_weights is not None:
            weight = weight * self.label_weights
        if not self.multi_label:
            positive, scores, weight = (array.reshape(-1, 1) for array in (positive, scores, weight))
        known = len(self._columns) or (self.num_labels if self.multi_label else None)
        if known is not None and scores.shape[1] != known:
            raise ValueError(f"y_pred must have {known} columns, one for each label, got {scores.shape[1]}")
        if not self._columns:
            self._columns = [self._counts() for _ in range(scores.shape[1])]
        for number, counts in enumerate(self._columns):
            counts.add(positive[:, number], scores[:, number], weight[:, number])

    def result(self) -> float:
        """Return the area; 0 before the first row."""
        areas = [self._area(counts) for counts in self._columns]
        if not areas:
            return 0.0
        return float(np.average(areas, weights=self.label_weights if self.multi_label else None))

    def _area(self, counts: Counts) -> float:
        found, false = counts.true_positives, counts.false_positives
        recall = divide(found, counts.positives)
        if self.curve == "PR":
            if self.summation_method == "interpolation":
                return _interpolated_precision_recall(found, false, counts.positives)
            x, y = recall, divide(found, found + false)
        elif self.curve == "ROC":
            x, y = divide(false, counts.negatives), recall
        else:
            ratio = divide(counts.positives, counts.negatives)
            x = np.maximum(np.where(found == 0.0, 0.0, 1.0 - ratio * divide(counts.false_negatives, found)), 0.0)
            y = np.where(found == 0.0, 1.0, 1.0 - ratio * divide(false, found))
        heights = {"interpolation": (y[:-1] + y[1:]) / 2.0, "minoring": np.minimum(y[:-1], y[1:])}.get(
            self.summation_method, np.maximum(y[:-1], y[1:])
        )
        return float(np.sum((x[:-1] - x[1:]) * heights))

    def reset_state(self) -> None:
        """Forget all rows."""
        super().reset_state()
        self._columns = []

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "thresholds": self._given,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": None if self.label_weights is None else self.label_weights.tolist(),
            "from_logits": self.from_logits,
        }


def _interpolated_precision_recall(found: Array, false: Array, positives: float) -> float:
    """Return the area under precision over recall, with counts interpolated as in Davis and Goadrich (2006)."""
    called = found + false
    more_found = found[:-1] - found[1:]
    slope = divide(more_found, np.maximum(called[:-1] - called[1:], 0.0))
    intercept = found[1:] - slope * called[1:]
    both = (called[:-1] > 0) & (called[1:] > 0)
    ratio = np.where(both, divide(called[:-1], called[1:]), 1.0)
    return float(np.sum(divide(slope * (more_found + intercept * np.log(ratio)), max(positives, 0.0))))
