"""Metrics that ``compile`` takes: by Keras's name, as a function of arrays, or as a metric object.

A metric sees all rows of an epoch at once: ``y_true`` and ``y_pred`` of shape (n, n_outputs), or int64 labels (n,)
for sparse targets. Names mean Keras's metric classes with their defaults; "accuracy", "crossentropy" and "f1_score"
are chosen by the shapes.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._registry import serialize

Array = NDArray[Any]


class CompiledMetric:
    """One metric of a compiled model.

    Parameters
    ----------
    name : key in the history.
    metric : object with ``reset_state``, ``update_state`` and ``result``.
    weighted : whether it is given the sample weights.
    source : what ``compile`` was given: a name, a function or the object.
    """

    def __init__(self, name: str, metric: Any, weighted: bool, source: Any) -> None:
        self.name = name
        self.metric = metric
        self.weighted = weighted
        self.source = source

    @property
    def direction(self) -> str | None:
        """Whether more ("max") or less ("min") is better; None if unknown."""
        direction: str | None = getattr(self.metric, "direction", None)
        return direction

    def __call__(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> Any:
        """Return the metric of all rows: a float, or an array where the metric is one number per class.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            The metric failed; the message names it. RuntimeError stands for all other kinds.
        """
        try:
            self.metric.reset_state()
            self.metric.update_state(y_true, y_pred, sample_weight if self.weighted else None)
            value = np.asarray(self.metric.result())
            return float(value.reshape(())) if value.size == 1 else value
        except Exception as error:
            kind = type(error) if type(error) in (TypeError, ValueError) else RuntimeError
            raise kind(
                f"metric {self.name!r} failed with y_true of shape {y_true.shape} and y_pred of shape {y_pred.shape}: "
                f"{type(error).__name__}: {error}"
            ) from error

    def get_config(self) -> Any:
        """Return the name, or the description of the metric object or function."""
        return self.source if isinstance(self.source, str) else serialize(self.source)

    def __repr__(self) -> str:
        return f"<metric {self.name}>"


class FunctionMetric:
    """A user's function of (y_true, y_pred) as a metric: an array result is averaged over its rows.

    Parameters
    ----------
    function : the function.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.reset_state()

    def reset_state(self) -> None:
        """Forget all rows."""
        self._value = 0.0

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Take all rows."""
        result = np.asarray(self._function(y_true, y_pred))
        if result.ndim == 0 or len(result) != len(y_pred):
            self._value = float(np.mean(result, dtype=np.float64))
            return
        mean = importlib.import_module("fastnn.metrics").Mean()
        mean.update_state(result, sample_weight)
        self._value = mean.result()

    def result(self) -> float:
        """Return the value."""
        return self._value


class _ChosenByShape:
    """Base of metrics whose class is chosen when the first rows come."""

    direction = "max"

    def __init__(self) -> None:
        self._metric: Any = None

    def _choose(self, y_true: Array, y_pred: Array) -> Any:
        """Return the metric object for the shapes."""
        raise NotImplementedError(f"{type(self).__name__} must define _choose(y_true, y_pred)")

    def reset_state(self) -> None:
        """Forget all rows."""
        self._metric = None

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Take rows into account."""
        if self._metric is None:
            self._metric = self._choose(y_true, y_pred)
        self._metric.update_state(y_true, y_pred, sample_weight)

    def result(self) -> Any:
        """Return the value."""
        return self._metric.result()


class FittingIoU(_ChosenByShape):
    """fastnn's name "iou": of class 1 where there is one output column, else the mean over the classes that occur."""

    def _choose(self, y_true: Array, y_pred: Array) -> Any:
        metrics = importlib.import_module("fastnn.metrics")
        if y_pred.shape[1] == 1:
            # An output of exactly 0.5 is class 0, as in the other metrics.
            return metrics.BinaryIoU([1], threshold=float(np.nextafter(np.float32(0.5), np.float32(1.0))))
        return metrics.MeanIoU(y_pred.shape[1], sparse_y_true=y_true.ndim < y_pred.ndim, sparse_y_pred=False)


class FittingF1(_ChosenByShape):
    """The name "f1_score": Keras's one score per class; at threshold 0.5 where there is one output column.

    Keras's default calls the largest output of a row positive, which a single column always is.
    """

    def _choose(self, y_true: Array, y_pred: Array) -> Any:
        metrics = importlib.import_module("fastnn.metrics")
        return metrics.F1Score(threshold=0.5 if y_pred.shape[1] == 1 else None)


def _takes_values(metric_class: Any) -> bool:
    """Whether a class updates with values, as ``Mean`` and ``Sum`` do, and not with targets and predictions."""
    metrics = importlib.import_module("fastnn.metrics")
    update = getattr(metric_class, "update_state", None)
    return update is metrics.Mean.update_state or update is metrics.Sum.update_state


def _usual_names() -> list[str]:
    """Names to list in a message: those that need no arguments, in the spelling of scripts."""
    unusual = ("io_u", "mean_metric_wrapper", "_at_", "mean_iou")
    listed = [
        name
        for name in registry.listed("metric")
        if name.islower()
        and not any(part in name for part in unusual)
        and not _takes_values(registry.find("metric", name))
    ]
    return ["accuracy", "crossentropy", "iou", *listed]


def _named(name: str) -> Any:
    """Return the metric object for a name.

    Raises
    ------
    ValueError
        Unknown name; lists the known ones and the nearest.
    """
    if name in ("iou", "iou_score"):
        return FittingIoU()
    if name in ("f1_score", "f1"):
        return FittingF1()
    keras = importlib.import_module("fastnn.metrics.keras")
    if name in ("accuracy", "acc"):
        return keras.accuracy.FittingAccuracy(name)
    if name in ("crossentropy", "ce"):
        return keras.errors.FittingCrossentropy(name)
    if not registry.knows("metric", name) or _takes_values(registry.find("metric", name)):
        raise ValueError(registry.unknown_name("metric", name, _usual_names()))
    found = registry.find("metric", name)
    try:
        return found()
    except TypeError as error:
        class_name = found.__name__
        raise ValueError(f"metric {name!r} needs arguments: pass fastnn.metrics.{class_name}(...)") from error


def _compile_one(metric: Any, weighted: bool) -> CompiledMetric:
    if isinstance(metric, str):
        return CompiledMetric(metric, _named(metric), weighted, metric)
    if _takes_values(metric if isinstance(metric, type) else type(metric)):
        raise TypeError(
            f"a metric compares y_true and y_pred, but {metric!r} takes values: give a function of (y_true, y_pred), "
            "whose result is averaged over the rows"
        )
    metric = metric() if isinstance(metric, type) else metric
    if hasattr(metric, "update_state") and hasattr(metric, "result"):
        return CompiledMetric(metric.name, metric, weighted, metric)
    if callable(metric):
        name = str(getattr(metric, "__name__", None) or getattr(metric, "name", type(metric).__name__))
        return CompiledMetric(name, FunctionMetric(metric), weighted, metric)
    raise TypeError(f"a metric must be a name, a function of (y_true, y_pred) or a metric object, got {metric!r}")


def compile_metrics(metrics: Any, weighted_metrics: Any = None) -> list[CompiledMetric]:
    """Return the metrics of ``compile(metrics=..., weighted_metrics=...)``.

    Raises
    ------
    ValueError
        Unknown name (lists the known ones and the nearest), or a name used twice.
    TypeError
        Neither a name nor a function nor a metric.
    """
    compiled: list[CompiledMetric] = []
    for given, weighted in ((metrics, False), (weighted_metrics, True)):
        if given is None:
            continue
        listed = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
        if len(listed) == 1 and isinstance(listed[0], list | tuple):
            listed = listed[0]  # a list for each output, of which there is one
        compiled += [_compile_one(metric, weighted) for metric in listed]
    names = [metric.name for metric in compiled]
    doubled = next((name for name in names if names.count(name) > 1 or name == "loss"), None)
    if doubled is not None:
        raise ValueError(f"metric {doubled!r} is given twice or has the name of the loss; names must differ")
    return compiled
