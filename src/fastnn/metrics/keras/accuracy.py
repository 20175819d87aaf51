"""Accuracies: fractions of rows that are right."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._arguments import as_given, flag, number, whole
from fastnn.metrics.keras.metric import RowMean, labels_and_outputs

Array = NDArray[Any]


def _hits(right: Array, y_pred: Array) -> Array:
    """Return 1 for right and 0 for wrong entries or rows, NaN for those with an output that is NaN."""
    unknown = np.isnan(y_pred)
    return np.where(unknown if right.ndim == y_pred.ndim else unknown.any(axis=-1), np.nan, right)


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
        return _hits(np.equal(y_true, y_pred), y_pred)


@registry.register("metric", "binary_accuracy", "BinaryAccuracy")
class BinaryAccuracy(RowMean):
    """Fraction of entries on the right side of ``threshold``."""

    direction = "max"
    _options = ("threshold",)

    def __init__(self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5) -> None:
        super().__init__(name, dtype)
        self.threshold = as_given(number, "threshold", threshold)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return 1 for right entries."""
        return _hits(np.equal(y_true, y_pred > self.threshold), y_pred)


@registry.register("metric", "categorical_accuracy", "CategoricalAccuracy")
class CategoricalAccuracy(RowMean):
    """Fraction of rows whose largest output is that of the one-hot target."""

    direction = "max"
    whole_rows = True

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return 1 for right rows."""
        return _hits(np.equal(np.argmax(y_true, axis=-1), np.argmax(y_pred, axis=-1)), y_pred)


@registry.register("metric", "sparse_categorical_accuracy", "SparseCategoricalAccuracy")
class SparseCategoricalAccuracy(RowMean):
    """Fraction of rows whose largest output is that of the class label."""

    direction = "max"

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def arrays(self, y_true: Any, y_pred: Any) -> tuple[Array, Array]:
        """Return labels (n,) and outputs (n, n_classes)."""
        return labels_and_outputs(y_true, y_pred)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return 1 for right rows."""
        return _hits(np.equal(y_true, np.argmax(y_pred, axis=-1)), y_pred)


def _among_largest(labels: Array, y_pred: Array, k: int) -> Any:
    """Return 1 for rows with at most k - 1 outputs above that of their label; 0 for labels without an output."""
    labels = labels.astype(np.int64)
    known = (labels >= 0) & (labels < y_pred.shape[1])
    mine = np.take_along_axis(y_pred, np.where(known, labels, 0)[:, np.newaxis], axis=1)
    return _hits(known & (np.sum(y_pred > mine, axis=1) < k), y_pred)


class _TopK(RowMean):
    """Base of the accuracies among the k largest outputs."""

    direction = "max"
    _options: ClassVar[tuple[str, ...]] = ("k",)

    def __init__(self, k: int = 5, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.k = whole("k", k, at_least=1)


@registry.register("metric", "top_k_categorical_accuracy", "TopKCategoricalAccuracy")
class TopKCategoricalAccuracy(_TopK):
    """Fraction of rows whose one-hot target is among the k largest outputs."""

    whole_rows = True

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(k, name, dtype)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return 1 for right rows."""
        return _among_largest(np.argmax(np.atleast_2d(y_true), axis=-1), np.atleast_2d(y_pred), self.k)


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
        self.from_sorted_ids = flag("from_sorted_ids", from_sorted_ids)

    def arrays(self, y_true: Any, y_pred: Any) -> tuple[Array, Array]:
        """Return labels (n,) and outputs (n, n_classes)."""
        return labels_and_outputs(y_true, y_pred)

    def rows(self, y_true: Array, y_pred: Array) -> Any:
        """Return 1 for right rows."""
        if self.from_sorted_ids:
            return np.any(y_true[:, np.newaxis] == y_pred[:, : self.k], axis=1)
        return _among_largest(y_true, y_pred, self.k)
