"""Accuracies: fractions of rows that are right."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn.metrics.keras.metric import RowMean

Array = NDArray[Any]


@registry.register("metric", "Accuracy")
class Accuracy(RowMean):
    """Fraction of entries of ``y_pred`` that equal those of ``y_true``.

    In ``compile`` the name "accuracy" means the accuracy that matches the shapes instead of this class, as in Keras.
    """

    direction = "max"

    def __init__(self, name: str | None = "accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return 1 for equal entries."""
        return np.equal(y_true, y_pred)


@registry.register("metric", "binary_accuracy", "BinaryAccuracy")
class BinaryAccuracy(RowMean):
    """Fraction of entries on the right side of ``threshold``."""

    direction = "max"
    _options = ("threshold",)

    def __init__(self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5) -> None:
        super().__init__(name, dtype)
        self.threshold = threshold

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return 1 for right entries."""
        return np.equal(y_true, y_pred > self.threshold)


@registry.register("metric", "categorical_accuracy", "CategoricalAccuracy")
class CategoricalAccuracy(RowMean):
    """Fraction of rows whose largest output is that of the one-hot target."""

    direction = "max"

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return 1 for right rows."""
        return np.equal(np.argmax(y_true, axis=-1), np.argmax(y_pred, axis=-1))


@registry.register("metric", "sparse_categorical_accuracy", "SparseCategoricalAccuracy")
class SparseCategoricalAccuracy(RowMean):
    """Fraction of rows whose largest output is that of the class label."""

    direction = "max"

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return 1 for right rows."""
        return np.equal(np.reshape(y_true, len(y_pred)), np.argmax(y_pred, axis=-1))


def _among_largest(labels: Array, y_pred: Array, k: int) -> Any:
    """Whether at most k - 1 outputs of a row are larger than that of its label; false for labels without an output."""
    labels = labels.astype(np.int64)
    known = (labels >= 0) & (labels < y_pred.shape[1])
    mine = np.take_along_axis(y_pred, np.where(known, labels, 0)[:, np.newaxis], axis=1)
    return known & (np.sum(y_pred > mine, axis=1) < k)


class _TopK(RowMean):
    """Base of the accuracies among the k largest outputs."""

    direction = "max"
    _options: ClassVar[tuple[str, ...]] = ("k",)

    def __init__(self, k: int = 5, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.k = k


@registry.register("metric", "top_k_categorical_accuracy", "TopKCategoricalAccuracy")
class TopKCategoricalAccuracy(_TopK):
    """Fraction of rows whose one-hot target is among the k largest outputs."""

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(k, name, dtype)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return 1 for right rows."""
        return _among_largest(np.argmax(y_true, axis=-1), y_pred, self.k)


@registry.register("metric", "sparse_top_k_categorical_accuracy", "SparseTopKCategoricalAccuracy")
class SparseTopKCategoricalAccuracy(_TopK):
    """Fraction of rows whose class label is among the k largest outputs.

    Parameters
    ----------
    k : number of largest outputs that count.
    name, dtype : as in ``Metric``.
    from_sorted_ids : whether ``y_pred`` holds class labels, best first, instead of outputs.
    """

    _options = ("k", "from_sorted_ids")

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:
        super().__init__(k, name, dtype)
        self.from_sorted_ids = from_sorted_ids

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return 1 for right rows."""
        labels = np.reshape(y_true, len(y_pred))
        if self.from_sorted_ids:
            return np.any(labels[:, np.newaxis] == y_pred[:, : self.k], axis=1)
        return _among_largest(labels, y_pred, self.k)
