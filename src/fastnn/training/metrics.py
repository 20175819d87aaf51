"""Metrics for ``compile``: names, functions of arrays, or metric objects.

A metric sees all rows of an epoch at once: ``y_true`` and ``y_pred`` of shape (n, n_outputs), or int64 labels (n,)
for sparse targets. Names mean Keras's metric classes with their defaults; "accuracy", "crossentropy", "f1_score" and
"iou" depend on the shapes (`fastnn.metrics.keras.by_shape`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._registry import serialize
from fastnn.network.structures import by_place

Array = NDArray[Any]


class CompiledMetric:
    """One metric of a compiled model.

    Parameters
    ----------
    name : key in the history.
    metric : object with ``reset_state``, ``update_state`` and ``result``.
    weighted : whether the metric uses the sample weights.
    source : the argument of ``compile``: a name, a function or the object.
    output : number of the output that it describes.
    """

    def __init__(self, name: str, metric: Any, weighted: bool, source: Any, output: int = 0) -> None:
        self.name = name
        self.metric = metric
        self.weighted = weighted
        self.source = source
        self.output = output

    @property
    def direction(self) -> str | None:
        """Whether a larger ("max") or smaller ("min") value is better; None if unknown."""
        direction: str | None = getattr(self.metric, "direction", None)
        return direction

    def __call__(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> Any:
        """Return the metric of all rows: a float, an array if the metric has a number per class, or a dict of these.

        Raises
        ------
        TypeError, ValueError
            The metric failed; the message names it. Other errors of the metric keep their kind and get a note.
        """
        rows = (y_true, y_pred) if sample_weight is None or not self.weighted else (y_true, y_pred, sample_weight)
        try:
            self.metric.reset_state()
            self.metric.update_state(*rows)
            return plain_result(self.metric.result())
        except Exception as error:
            failed = (
                f"metric {self.name!r} failed with y_true of shape {y_true.shape} and y_pred of shape {y_pred.shape}"
            )
            if type(error) in (TypeError, ValueError):
                raise type(error)(f"{failed}: {type(error).__name__}: {error}") from error
            error.add_note(failed)
            raise

    def get_config(self) -> Any:
        """Return the name, or the description of the metric object or function."""
        return self.source if isinstance(self.source, str) else serialize(self.source)

    def __repr__(self) -> str:
        return f"<metric {self.name}>"


def plain_result(result: Any) -> Any:
    """Return what ``result()`` of a metric gave as a float, an array, or a dict of these.

    Raises
    ------
    TypeError
        It is not made of numbers.
    """
    if isinstance(result, Mapping):
        return {str(name): plain_result(part) for name, part in result.items()}
    value = np.asarray(result)
    if value.dtype.kind not in "fiub":
        raise TypeError(
            f"result() must return a number, an array of numbers or a dict of these, got {value.tolist()!r}"
        )
    return float(value.reshape(())) if value.size == 1 else value


def spread(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results of metrics by name, in Keras's order: those of dicts come last, sorted by their own names.

    Raises
    ------
    ValueError
        Two results have one name, or the name of the loss.
    """
    named = {name: value for name, value in results.items() if not isinstance(value, Mapping)}
    parts: dict[str, Any] = {}
    for metric, value in results.items():
        for name, part in spread(value).items() if isinstance(value, Mapping) else ():
            if name == "loss" or name in named or name in parts:
                raise ValueError(
                    f"metric {metric!r} has a result of the name {name!r}, which is taken; names must differ"
                )
            parts[name] = part
    return named | dict(sorted(parts.items()))


class FunctionMetric:
    """A custom function of (y_true, y_pred) as a metric.

    Parameters
    ----------
    function : the function; if it returns an array with a row for each row of y_pred, the rows are averaged.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.reset_state()

    def reset_state(self) -> None:
        """Forget all rows."""
        self._value = 0.0

    def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Take all rows."""
        returned = self._function(y_true, y_pred)
        result = np.asarray(returned)
        if result.dtype.kind not in "fiub":
            raise TypeError(f"it must return a number or an array of numbers, got {returned!r}")
        if result.ndim == 0 or len(result) != len(y_pred):
            self._value = float(np.mean(result, dtype=np.float64))
            return
        from fastnn.metrics import Mean

        mean = Mean()
        mean.update_state(result, sample_weight)
        self._value = mean.result()

    def result(self) -> float:
        """Return the value."""
        return self._value


def _takes_values(metric_class: Any) -> bool:
    """Whether a class is updated with values, as ``Mean`` and ``Sum`` are, instead of targets and predictions."""
    from fastnn.metrics import Mean, Sum

    return getattr(metric_class, "update_state", None) in (Mean.update_state, Sum.update_state)


def _usual_names() -> list[str]:
    """Return the names to list in a message: those in lower case that need no arguments."""
    unusual = ("io_u", "mean_metric_wrapper", "_at_")
    return [
        name
        for name in registry.listed("metric")
        if name.islower()
        and not any(part in name for part in unusual)
        and not _takes_values(registry.find("metric", name))
    ]


def _abbreviations() -> list[str]:
    """Return the short names, such as "mse" and "acc"."""
    return [name for name in registry.spellings("metric") if name.islower() and len(name) <= 4 and name != "sum"]


def _named(name: str) -> Any:
    """Return the metric object for a name.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones and the nearest.
    """
    import fastnn.metrics  # noqa: F401  (registers the names)

    if not registry.knows("metric", name) or _takes_values(registry.find("metric", name)):
        raise ValueError(registry.unknown_name("metric", name, _usual_names(), _abbreviations()))
    found = registry.find("metric", name)
    try:
        return found()
    except TypeError as error:
        class_name = found.__name__
        raise ValueError(f"metric {name!r} needs arguments: pass fastnn.metrics.{class_name}(...)") from error


def _check_methods(metric: Any) -> None:
    """Raise a TypeError that names what a metric object lacks."""
    from fastnn.metrics import Metric

    kind = type(metric)
    for method in ("reset_state", "update_state", "result"):
        own = getattr(kind, method, None)
        if own is None or (method != "reset_state" and own is getattr(Metric, method)):
            raise TypeError(f"the metric class {kind.__name__} must define {method}")
    if not isinstance(getattr(metric, "name", None), str):
        raise TypeError(f"a {kind.__name__} has no name: call super().__init__(name=...) in its __init__")


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
        _check_methods(metric)
        return CompiledMetric(metric.name, metric, weighted, metric)
    if callable(metric):
        name = str(getattr(metric, "__name__", None) or getattr(metric, "name", type(metric).__name__))
        return CompiledMetric(name, FunctionMetric(metric), weighted, metric)
    raise TypeError(f"a metric must be a name, a function of (y_true, y_pred) or a metric object, got {metric!r}")


def compile_metrics(metrics: Any, weighted_metrics: Any = None, outputs: Sequence[str] | None = None) -> Any:
    """Return the metrics of ``compile(metrics=..., weighted_metrics=...)``.

    Parameters
    ----------
    metrics, weighted_metrics : as in ``compile``.
    outputs : names of the outputs of a model that was made of symbolic tensors.

    Raises
    ------
    ValueError
        Unknown name (lists the known ones and the nearest), a name used twice, or an output that is not there.
    TypeError
        Neither a name nor a function nor a metric.
    """
    if outputs is not None and (
        len(outputs) > 1 or isinstance(metrics, Mapping) or isinstance(weighted_metrics, Mapping)
    ):
        return _compile_by_output(metrics, weighted_metrics, outputs)
    compiled: list[CompiledMetric] = []
    for given, weighted in ((metrics, False), (weighted_metrics, True)):
        if given is None:
            continue
        if isinstance(given, Mapping) or (
            isinstance(given, Sequence) and len(given) > 1 and any(isinstance(each, list | tuple) for each in given)
        ):
            raise TypeError(f"a network has one output: give a list of metrics for it, got {given!r}")
        taken = {metric.name for metric in compiled}
        for found in (_compile_one(metric, weighted) for metric in _listed(given)):
            if found.name in taken:  # without weights too
                found.name = f"weighted_{found.name}"
            compiled.append(found)
    names = [metric.name for metric in compiled]
    doubled = next((name for name in names if names.count(name) > 1 or name == "loss"), None)
    if doubled is not None:
        raise ValueError(f"metric {doubled!r} is given twice or has the name of the loss; names must differ")
    return compiled


def _listed(given: Any) -> list[Any]:
    """Return the metrics of one output as a list."""
    listed = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    if len(listed) == 1 and isinstance(listed[0], list | tuple):
        listed = listed[0]  # Keras takes a list per output; here there is one output
    return list(listed)


def _compile_by_output(metrics: Any, weighted_metrics: Any, outputs: Sequence[str]) -> list[CompiledMetric]:
    """Return the metrics of a model with several outputs; their names begin with those of the outputs, as in Keras."""
    compiled: dict[str, CompiledMetric] = {}
    for argument, given, weighted in (("metrics", metrics, False), ("weighted_metrics", weighted_metrics, True)):
        if given is None or (isinstance(given, list | tuple) and not given):
            continue
        if isinstance(given, Mapping):
            each_output = by_place(given, list(outputs), outputs, argument, "output", partial=True)
        elif isinstance(given, list | tuple) and len(given) == len(outputs):
            each_output = list(given)
        else:
            raise ValueError(
                f"{argument} must be a list with the metrics of each output of the model, {', '.join(outputs)}, or a "
                f"dict by their names; got {given!r}"
            )
        for output, some in enumerate(each_output):
            for metric in [] if some is None else _listed(some):
                found = _compile_one(metric, weighted)
                prefix = f"{outputs[output]}_" if len(outputs) > 1 else ""
                name = f"{prefix}{found.name}"
                if name in compiled and weighted:
                    name = f"{prefix}weighted_{found.name}"
                n, first = 1, name
                while name in compiled:
                    name, n = f"{first}_{n}", n + 1
                compiled[name] = CompiledMetric(name, found.metric, weighted, found.source, output)
    return [compiled[name] for name in sorted(compiled)] if len(outputs) > 1 else list(compiled.values())
