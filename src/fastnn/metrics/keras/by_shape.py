"""The short names of ``compile``: each stands for the class that matches the shapes of targets and predictions.

Keras chooses "accuracy" and "crossentropy" in this way.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn.metrics.keras.accuracy import BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy
from fastnn.metrics.keras.errors import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from fastnn.metrics.keras.f_score import F1Score
from fastnn.metrics.keras.iou import BinaryIoU, MeanIoU
from fastnn.metrics.keras.metric import Metric

Array = NDArray[Any]


class _ByShape:
    """Base of metrics whose class is chosen when the first rows arrive."""

    direction = "max"

    def __init__(self) -> None:
        self._metric: Metric | None = None

    def choose(self, y_true: Array, y_pred: Array) -> Metric:
        """Return the metric for targets (n,) or (n, n_outputs) and predictions (n, n_outputs)."""
        raise NotImplementedError(f"{type(self).__name__} must define choose(y_true, y_pred)")

    def reset_state(self) -> None:
        """Forget all rows."""
        self._metric = None

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Take rows into account."""
        if self._metric is None:
            self._metric = self.choose(y_true, y_pred)
        self._metric.update_state(y_true, y_pred, sample_weight)

    def result(self) -> Any:
        """Return the value."""
        assert self._metric is not None
        return self._metric.result()


def _holds_labels(y_true: Array, y_pred: Array) -> bool:
    """Whether the targets are class labels, (n,) or (n, 1), instead of one column per class."""
    return y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1


@registry.register("metric", "accuracy", "acc")
class AccuracyByShape(_ByShape):
    """Binary accuracy of one output column, else categorical accuracy of labels or of one-hot targets."""

    def choose(self, y_true: Array, y_pred: Array) -> Metric:
        """Return the accuracy."""
        if y_pred.shape[-1] == 1:
            return BinaryAccuracy()
        return SparseCategoricalAccuracy() if _holds_labels(y_true, y_pred) else CategoricalAccuracy()


@registry.register("metric", "crossentropy", "ce")
class CrossentropyByShape(_ByShape):
    """Binary cross-entropy of one output column, else categorical cross-entropy of labels or of one-hot targets."""

    direction = "min"

    def choose(self, y_true: Array, y_pred: Array) -> Metric:
        """Return the cross-entropy."""
        if y_pred.shape[-1] == 1:
            return BinaryCrossentropy()
        return SparseCategoricalCrossentropy() if _holds_labels(y_true, y_pred) else CategoricalCrossentropy()


@registry.register("metric", "f1_score", "f1")
class F1ByShape(_ByShape):
    """Keras's F1 score per class; of one output column that of class 1, at threshold 0.5.

    Keras's default calls the largest output of a row positive, which a single column always is.
    """

    def choose(self, y_true: Array, y_pred: Array) -> Metric:
        """Return the score."""
        return F1Score(threshold=0.5 if y_pred.shape[-1] == 1 else None)


@registry.register("metric", "iou", "iou_score")
class IoUByShape(_ByShape):
    """Intersection over union of class 1 for one output column, else its mean over the classes that occur."""

    def choose(self, y_true: Array, y_pred: Array) -> Metric:
        """Return the metric."""
        if y_pred.shape[-1] == 1:
            # An output of exactly 0.5 is class 0, as in the other metrics.
            return BinaryIoU([1], threshold=float(np.nextafter(np.float32(0.5), np.float32(1.0))))
        return MeanIoU(y_pred.shape[-1], sparse_y_true=y_true.ndim < y_pred.ndim, sparse_y_pred=False)
