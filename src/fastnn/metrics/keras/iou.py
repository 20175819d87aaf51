"""Intersection over union of the true and the predicted rows of a class (Jaccard, 1912)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._arguments import as_given, flag, last_axis, number, optional, whole
from fastnn._arrays import as_numbers
from fastnn.metrics.keras.metric import EPSILON, Metric, weights_like
from fastnn.metrics.validation import check_labels_present

Array = NDArray[Any]

_LABEL_OPTIONS = ("ignore_class", "sparse_y_true", "sparse_y_pred", "axis")


@registry.register("metric", "io_u", "IoU")
class IoU(Metric):
    """Mean over some classes of ``true positives / (true positives + false positives + false negatives)``.

    Parameters
    ----------
    num_classes : number of classes.
    target_class_ids : the classes to average over; those that do not occur are left out.
    name, dtype : as in ``Metric``; sums of weights keep their fractions, which Keras truncates unless ``dtype`` is a
        float type.
    ignore_class : label whose rows do not count.
    sparse_y_true, sparse_y_pred : whether these hold class labels, instead of one column per class.
    axis : -1: the classes are the columns.
    """

    direction = "max"
    _options: ClassVar[tuple[str, ...]] = ("num_classes", "target_class_ids", *_LABEL_OPTIONS)

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(dtype, name)
        self.num_classes = whole("num_classes", num_classes, at_least=1)
        self.state_size = self.num_classes**2
        self._targets: Sequence[int] = [
            whole("each of target_class_ids", label, at_least=0, at_most=self.num_classes - 1)
            for label in target_class_ids
        ]
        self.ignore_class = optional(whole, "ignore_class", ignore_class)
        self.sparse_y_true = flag("sparse_y_true", sparse_y_true)
        self.sparse_y_pred = flag("sparse_y_pred", sparse_y_pred)
        self.axis = last_axis(axis)
        self._confusion: Array | None = None

    @property
    def target_class_ids(self) -> list[int]:
        """The classes to average over."""
        return list(self._targets)

    def _matrix(self) -> Array:
        """Return the weights (num_classes, num_classes) of each true and predicted class, made with the first rows."""
        if self._confusion is None:
            self._confusion = np.zeros((self.num_classes, self.num_classes))
        return self._confusion

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take rows into account; labels out of range do not count."""
        truth, predicted = as_numbers(y_true, "y_true"), as_numbers(y_pred, "y_pred")
        check_labels_present("y_true", truth)
        if np.isnan(predicted).any():
            self._matrix()[...] = np.nan
            return
        truth, predicted = (
            (array if sparse else np.argmax(array, axis=self.axis)).reshape(-1).astype(np.int64)
            for array, sparse in ((truth, self.sparse_y_true), (predicted, self.sparse_y_pred))
        )
        if truth.shape != predicted.shape:
            raise ValueError(
                f"y_true and y_pred must have the same number of entries, got {truth.size} and {predicted.size}"
            )
        weight = weights_like(None if sample_weight is None else np.reshape(sample_weight, -1), truth.shape)
        counts = (truth >= 0) & (truth < self.num_classes) & (predicted >= 0) & (predicted < self.num_classes)
        if self.ignore_class is not None:
            counts &= truth != self.ignore_class
        np.add.at(self._matrix(), (truth[counts], predicted[counts]), weight[counts])

    def result(self) -> float:
        """Return the mean; 0 if none of the classes occurs, NaN if an output was NaN."""
        confusion, targets = self._matrix(), self.target_class_ids
        both = np.diagonal(confusion)[targets]
        either = (confusion.sum(axis=0) + confusion.sum(axis=1))[targets] - both
        occurs = ~(either <= 1e-9)  # NaN occurs
        return float(np.sum(both[occurs] / (either[occurs] + EPSILON)) / (occurs.sum() + EPSILON))

    def reset_state(self) -> None:
        """Forget all rows."""
        super().reset_state()
        self._confusion = None


@registry.register("metric", "binary_io_u", "BinaryIoU")
class BinaryIoU(IoU):
    """``IoU`` of the classes 0 and 1; an output of at least ``threshold`` is class 1."""

    _options = ("target_class_ids", "threshold")

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = as_given(number, "threshold", threshold)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take rows into account."""
        scores = as_numbers(y_pred, "y_pred").astype(np.float32)
        called = np.where(np.isnan(scores), scores, scores >= self.threshold)
        super().update_state(y_true, called, sample_weight)


@registry.register("metric", "mean_io_u", "MeanIoU")
class MeanIoU(IoU):
    """``IoU`` averaged over all classes."""

    _options: ClassVar[tuple[str, ...]] = ("num_classes", *_LABEL_OPTIONS)

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, (), name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)
        self._targets = range(self.num_classes)


@registry.register("metric", "one_hot_io_u", "OneHotIoU")
class OneHotIoU(IoU):
    """``IoU`` of one-hot targets and one output column per class."""

    _options = ("num_classes", "target_class_ids", "ignore_class", "sparse_y_pred", "axis")

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)


@registry.register("metric", "one_hot_mean_io_u", "OneHotMeanIoU")
class OneHotMeanIoU(MeanIoU):
    """``MeanIoU`` of one-hot targets and one output column per class."""

    _options = ("num_classes", "ignore_class", "sparse_y_pred", "axis")

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)
