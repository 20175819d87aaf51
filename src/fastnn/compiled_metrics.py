"""Metrics that ``compile`` takes: by name, as a function of arrays, or as an object that is updated.

A metric sees all rows of an epoch at once: ``y_true`` and ``y_pred`` of shape (n, n_outputs), or int64 labels (n,)
for sparse targets.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.registry import unknown_name
from fastnn.saving.description import serialize

Array = NDArray[Any]
MetricFunction = Callable[[Array, Array, Array | None], float]


def _mean(values: Array, sample_weight: Array | None) -> float:
    """Mean over rows (n,), weighted, in float64."""
    if sample_weight is None:
        return float(np.mean(values, dtype=np.float64))
    total = float(np.sum(sample_weight, dtype=np.float64))
    return float(np.dot(values.astype(np.float64), sample_weight.astype(np.float64)) / total) if total else 0.0


def _row_mean(values: Array) -> Array:
    """Mean over the outputs of each row, (n,)."""
    means: Array = values.reshape(len(values), -1).mean(axis=1, dtype=np.float64)
    return means


def _binary_accuracy(y_true: Array, y_pred: Array, sample_weight: Array | None) -> float:
    return _mean(_row_mean(y_true.reshape(y_pred.shape) == (y_pred > 0.5)), sample_weight)


def _categorical_accuracy(y_true: Array, y_pred: Array, sample_weight: Array | None) -> float:
    return _mean(np.argmax(y_true, axis=-1) == np.argmax(y_pred, axis=-1), sample_weight)


def _sparse_categorical_accuracy(y_true: Array, y_pred: Array, sample_weight: Array | None) -> float:
    return _mean(y_true.reshape(-1) == np.argmax(y_pred, axis=-1), sample_weight)


def _accuracy(y_true: Array, y_pred: Array, sample_weight: Array | None) -> float:
    """Return the accuracy that fits the shapes, chosen as Keras chooses it."""
    if y_pred.shape[-1] == 1:
        return _binary_accuracy(y_true, y_pred, sample_weight)
    sparse = y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1
    return (_sparse_categorical_accuracy if sparse else _categorical_accuracy)(y_true, y_pred, sample_weight)


def _mean_absolute_error(y_true: Array, y_pred: Array, sample_weight: Array | None) -> float:
    return _mean(_row_mean(np.abs(y_true.reshape(y_pred.shape) - y_pred)), sample_weight)


def _mean_squared_error(y_true: Array, y_pred: Array, sample_weight: Array | None) -> float:
    return _mean(_row_mean(np.square(y_true.reshape(y_pred.shape) - y_pred)), sample_weight)


def _root_mean_squared_error(y_true: Array, y_pred: Array, sample_weight: Array | None) -> float:
    return float(np.sqrt(_mean_squared_error(y_true, y_pred, sample_weight)))


def _one_hot(y_true: Array, y_pred: Array) -> Array:
    """Targets as 0 and 1 of shape (n, n_outputs)."""
    if y_true.ndim < y_pred.ndim and y_pred.shape[1] > 1:
        return np.equal(y_true[:, np.newaxis], np.arange(y_pred.shape[1]))
    return y_true.reshape(y_pred.shape) > 0.5


def _entries_right_and_predicted(
    y_true: Array, y_pred: Array, sample_weight: Array | None
) -> tuple[float, float, float]:
    """Weights of true positives, predicted positives and actual positives over all entries above 0.5."""
    actual = _one_hot(y_true, y_pred)
    predicted = y_pred > 0.5
    weight = np.ones(len(y_pred)) if sample_weight is None else sample_weight.astype(np.float64)
    counts = (actual & predicted, predicted, actual)
    both, positive, true = (float(weight @ count.sum(axis=1)) for count in counts)
    return both, positive, true


def _precision(y_true: Array, y_pred: Array, sample_weight: Array | None) -> float:
    both, positive, _ = _entries_right_and_predicted(y_true, y_pred, sample_weight)
    return both / positive if positive else 0.0


def _recall(y_true: Array, y_pred: Array, sample_weight: Array | None) -> float:
    both, _, true = _entries_right_and_predicted(y_true, y_pred, sample_weight)
    return both / true if true else 0.0


def _class_counts(y_true: Array, y_pred: Array, sample_weight: Array | None) -> tuple[Array, Array, Array]:
    """Per class the weights of rows that are both, predicted, actual; one output column counts class 1 only."""
    actual = _one_hot(y_true, y_pred)
    if y_pred.shape[1] == 1:
        predicted = y_pred > 0.5
    else:
        predicted = np.argmax(y_pred, axis=1)[:, np.newaxis] == np.arange(y_pred.shape[1])
    weight = np.ones(len(y_pred)) if sample_weight is None else sample_weight.astype(np.float64)
    return weight @ (actual & predicted), weight @ predicted, weight @ actual


def _ratio_of_classes(numerator: Array, denominator: Array) -> float:
    """Mean over the classes that occur of numerator / denominator."""
    occurs = denominator > 0
    return float(np.mean(numerator[occurs] / denominator[occurs])) if occurs.any() else 0.0


def _f1_score(y_true: Array, y_pred: Array, sample_weight: Array | None) -> float:
    both, predicted, actual = _class_counts(y_true, y_pred, sample_weight)
    return _ratio_of_classes(2.0 * both, predicted + actual)


def _iou(y_true: Array, y_pred: Array, sample_weight: Array | None) -> float:
    both, predicted, actual = _class_counts(y_true, y_pred, sample_weight)
    return _ratio_of_classes(both, predicted + actual - both)


def _area_under_roc(positive: Array, score: Array, sample_weight: Array | None) -> float:
    """Probability that a positive row scores above a negative one, ties counting half (Hanley and McNeil, 1982)."""
    weight = np.ones(len(score)) if sample_weight is None else sample_weight.astype(np.float64)
    _, place = np.unique(score, return_inverse=True)
    of_positive = np.bincount(place, weight * positive)
    of_negative = np.bincount(place, weight * ~positive)
    pairs = of_positive.sum() * of_negative.sum()
    below = np.cumsum(of_negative) - of_negative
    return float(of_positive @ (below + 0.5 * of_negative) / pairs) if pairs else 0.0


def _auc(y_true: Array, y_pred: Array, sample_weight: Array | None) -> float:
    actual = _one_hot(y_true, y_pred)
    columns = range(y_pred.shape[1])
    return float(np.mean([_area_under_roc(actual[:, c], y_pred[:, c], sample_weight) for c in columns]))


_NAMED: dict[str, tuple[MetricFunction, str]] = {
    "accuracy": (_accuracy, "max"),
    "binary_accuracy": (_binary_accuracy, "max"),
    "categorical_accuracy": (_categorical_accuracy, "max"),
    "sparse_categorical_accuracy": (_sparse_categorical_accuracy, "max"),
    "mean_absolute_error": (_mean_absolute_error, "min"),
    "mean_squared_error": (_mean_squared_error, "min"),
    "root_mean_squared_error": (_root_mean_squared_error, "min"),
    "precision": (_precision, "max"),
    "recall": (_recall, "max"),
    "f1_score": (_f1_score, "max"),
    "auc": (_auc, "max"),
    "iou": (_iou, "max"),
}
_ALIASES = {
    "acc": "accuracy",
    "mae": "mean_absolute_error",
    "MAE": "mean_absolute_error",
    "MeanAbsoluteError": "mean_absolute_error",
    "mse": "mean_squared_error",
    "MSE": "mean_squared_error",
    "MeanSquaredError": "mean_squared_error",
    "rmse": "root_mean_squared_error",
    "RootMeanSquaredError": "root_mean_squared_error",
    "BinaryAccuracy": "binary_accuracy",
    "CategoricalAccuracy": "categorical_accuracy",
    "SparseCategoricalAccuracy": "sparse_categorical_accuracy",
    "Precision": "precision",
    "Recall": "recall",
    "f1": "f1_score",
    "F1Score": "f1_score",
    "AUC": "auc",
    "roc_auc": "auc",
    "iou_score": "iou",
}


class CompiledMetric:
    """One metric of a compiled model.

    Parameters
    ----------
    name : key in the history.
    compute : function of (y_true, y_pred, sample_weight) that returns a number.
    direction : "max" if more is better, "min" if less is, None if unknown.
    weighted : whether it is given the sample weights.
    source : what ``compile`` was given.
    """

    def __init__(self, name: str, compute: MetricFunction, direction: str | None, weighted: bool, source: Any) -> None:
        self.name = name
        self.direction = direction
        self.weighted = weighted
        self.source = source
        self._compute = compute

    def get_config(self) -> Any:
        """Return the name, or the description of the metric object or function."""
        return self.source if isinstance(self.source, str) else serialize(self.source)

    def __call__(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
        """Return the metric of all rows."""
        return self._compute(y_true, y_pred, sample_weight if self.weighted else None)

    def __repr__(self) -> str:
        return f"<metric {self.name}>"


def _of_function(function: Callable[..., Any]) -> MetricFunction:
    """Return a user's function of (y_true, y_pred) as a metric: an array result is averaged over its rows."""

    def compute(y_true: Array, y_pred: Array, sample_weight: Array | None) -> float:
        result = np.asarray(function(y_true, y_pred))
        if result.ndim == 0 or len(result) != len(y_pred):
            return float(np.mean(result, dtype=np.float64))
        return _mean(_row_mean(result), sample_weight)

    return compute


def _of_object(metric: Any) -> MetricFunction:
    """Return an object with ``reset_state``, ``update_state`` and ``result`` as a metric."""

    def compute(y_true: Array, y_pred: Array, sample_weight: Array | None) -> float:
        metric.reset_state()
        metric.update_state(y_true, y_pred, sample_weight)
        return float(np.mean(metric.result()))

    return compute


def _compile_one(metric: Any, weighted: bool) -> CompiledMetric:
    if isinstance(metric, str):
        name = _ALIASES.get(metric, metric)
        if name not in _NAMED:
            raise ValueError(unknown_name("metric", metric, {*_NAMED, "acc", "mae", "mse", "rmse"}))
        function, direction = _NAMED[name]
        return CompiledMetric(metric, function, direction, weighted, metric)
    metric = metric() if isinstance(metric, type) else metric
    if hasattr(metric, "update_state") and hasattr(metric, "result"):
        return CompiledMetric(metric.name, _of_object(metric), getattr(metric, "direction", None), weighted, metric)
    if callable(metric):
        name = str(getattr(metric, "__name__", None) or getattr(metric, "name", type(metric).__name__))
        known = _NAMED.get(_ALIASES.get(name.removesuffix("_score"), name.removesuffix("_score")))
        return CompiledMetric(name, _of_function(metric), known[1] if known else None, weighted, metric)
    raise TypeError(f"a metric must be a name or a function of (y_true, y_pred), got {metric!r}")


def compile_metrics(metrics: Any, weighted_metrics: Any = None) -> list[CompiledMetric]:
    """Return the metrics of ``compile(metrics=..., weighted_metrics=...)``.

    Raises
    ------
    ValueError
        Unknown name (lists the known ones and the nearest), or a name used twice.
    TypeError
        Neither a name nor a function.
    """
    compiled: list[CompiledMetric] = []
    for given, weighted in ((metrics, False), (weighted_metrics, True)):
        if given is None:
            continue
        listed = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
        compiled += [_compile_one(metric, weighted) for metric in listed]
    names = [metric.name for metric in compiled]
    doubled = next((name for name in names if names.count(name) > 1 or name == "loss"), None)
    if doubled is not None:
        raise ValueError(f"metric {doubled!r} is given twice or has the name of the loss; names must differ")
    return compiled
