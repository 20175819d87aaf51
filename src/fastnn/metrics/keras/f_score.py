"""F scores per class: weighted harmonic means of precision and recall."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._arguments import choice, number, optional
from fastnn.metrics.keras.metric import EPSILON, Metric, same_rank, weights_like

Array = NDArray[Any]

_AVERAGES = ("micro", "macro", "weighted")


@registry.register("metric", "fbeta_score", "FBetaScore", "f_beta_score")
class FBetaScore(Metric):
    """``(1 + beta^2) precision recall / (beta^2 precision + recall)`` of every class.

    Parameters
    ----------
    average : None for one score per class, "macro" (their mean), "weighted" (by the classes' frequencies) or "micro"
        (of the counts over all classes).
    beta : weight of recall; positive.
    threshold : an output above counts as positive; None counts the largest output of each row.
    name, dtype : as in ``Metric``.
    """

    direction = "max"
    _options: ClassVar[tuple[str, ...]] = ("average", "beta", "threshold")

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        self.average = choice("average", average, (*_AVERAGES, None))
        self.beta = number("beta", beta, above=0.0)
        self.threshold = optional(number, "threshold", threshold, above=0.0, at_most=1.0)
        self._counts: Array = np.zeros((3, 1))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take rows into account; labels (n,) of several outputs count as one-hot rows."""
        y_true, y_pred = same_rank(y_true, y_pred)
        y_pred = y_pred.astype(np.float64)
        if y_true.ndim == 1 and y_pred.ndim == 2:
            y_true = y_true[:, np.newaxis] == np.arange(y_pred.shape[1])
        if y_true.ndim != 2 or y_true.shape != y_pred.shape:
            raise ValueError(
                f"{type(self).__name__} takes arrays of the same shape (n, n_classes), got {y_true.shape} and "
                f"{y_pred.shape}"
            )
        if self.threshold is None:
            predicted = (y_pred >= np.max(y_pred, axis=-1, keepdims=True)) & (np.abs(y_pred) > 1e-9)
        else:
            predicted = y_pred > self.threshold
        predicted = np.where(np.isnan(y_pred).any(axis=-1, keepdims=True), np.nan, predicted)
        truth = y_true.astype(np.float64)
        weight = weights_like(None if sample_weight is None else np.reshape(sample_weight, -1), truth.shape[:1])
        self._counts = self._counts + np.stack([weight @ (predicted * truth), weight @ predicted, weight @ truth])

    def result(self) -> Any:
        """Return the score, or the scores of the classes."""
        both, predicted, actual = self._counts
        if self.average == "micro":
            both, predicted, actual = both.sum(), predicted.sum(), actual.sum()
        precision, recall = both / (predicted + EPSILON), both / (actual + EPSILON)
        scores = precision * recall / (self.beta**2 * precision + recall + EPSILON) * (1.0 + self.beta**2)
        if self.average == "weighted":
            return float(np.sum(scores * (actual / (actual.sum() + EPSILON))))
        return scores if self.average is None else float(np.mean(scores))

    def reset_state(self) -> None:
        """Forget all rows."""
        super().reset_state()
        self._counts = np.zeros((3, 1))


@registry.register("metric", "F1Score")
class F1Score(FBetaScore):
    """``2 precision recall / (precision + recall)`` of every class; arguments as in ``FBetaScore``."""

    _options = ("average", "threshold")

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)
