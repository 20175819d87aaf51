"""Predictions and scores of Dask arrays and data frames: lazy, part by part, on one thread for each task."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

import fastnn._core as _core

__all__ = ["in_memory", "is_lazy", "lazily", "lazy_accuracy", "lazy_r2"]

F = TypeVar("F", bound=Callable[..., Any])


def is_lazy(x: Any) -> bool:
    """Return whether x is a Dask array or data frame."""
    return type(x).__module__.startswith("dask.") and hasattr(x, "__dask_graph__")


def in_memory(x: Any) -> Any:
    """Return the rows of a Dask collection; others as they are. NumPy's array of a data frame would lose its types."""
    return x.compute() if is_lazy(x) else x


def lazily(method: F) -> F:
    """Make a method that predicts rows take Dask collections: it returns a Dask array, without computing it.

    The method gets each block of rows of an array, or each partition of a data frame.
    """

    @functools.wraps(method)
    def predict(self: Any, X: Any, *arguments: Any, **options: Any) -> Any:
        if is_lazy(X):
            return _of_parts(method, self, X, arguments, options)
        return method(self, X, *arguments, **options)

    return cast(F, predict)


def _predict_part(
    part: Any, model: Any, method: str, arguments: tuple[Any, ...], options: dict[str, Any], empty: Any
) -> Any:
    """Predict one part in a task, on one thread: Dask runs as many tasks at a time as there are processors."""
    if not len(part):
        return empty  # a partition of which a selection left no row
    _core.limit_own_threads(1)
    try:
        return getattr(model, method)(part, *arguments, **options)
    finally:
        _core.limit_own_threads(0)


def _of_parts(method: Any, model: Any, X: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return the lazy predictions of a collection.

    Raises
    ------
    ValueError
        X is an array that does not have two axes.
    TypeError
        The method returns more than one array.
    """
    import dask

    delayed: Any = vars(dask)["delayed"]
    is_frame = hasattr(X, "map_partitions")
    if not is_frame and X.ndim != 2:
        raise ValueError(f"a Dask array of inputs must have two axes (n, n_features), got {X.ndim}")
    sample = X._meta_nonempty if is_frame else np.zeros((1, X.shape[1]), X.dtype)
    found = method(model, sample, *arguments, **options)
    if not isinstance(found, np.ndarray):
        raise TypeError(f"{method.__name__} of a Dask collection must give one array, not {type(found).__name__}")
    given = {
        "model": delayed(model, pure=False),
        "method": method.__name__,
        "arguments": arguments,
        "options": options,
        "empty": found[:0],
        "meta": found[:0],
    }
    if is_frame:
        return X.map_partitions(_predict_part, **given)
    rows = X.rechunk({1: -1})
    chunks = (rows.chunks[0], *((width,) for width in found.shape[1:]))
    axes = {"drop_axis": 1} if found.ndim == 1 else {"new_axis": list(range(2, found.ndim))}
    return rows.map_blocks(_predict_part, **given, dtype=found.dtype, chunks=chunks, **axes)


def _numbers(name: str, values: Any, predicted: Any) -> Any:
    """Return the Dask array of a Dask array, series or data frame.

    Raises
    ------
    ValueError
        Values in memory of rows that are in partitions whose lengths are not known.
    """
    if not is_lazy(values) and np.isnan(predicted.shape[0]):
        raise ValueError(f"{name} must be a Dask series with the partitions of X, got {type(values).__name__}")
    return values.to_dask_array() if hasattr(values, "to_dask_array") else values


def lazy_accuracy(predicted: Any, y: Any, sample_weight: Any) -> Any:
    """Return the fraction of rows, or of their weights, whose labels are all right: a lazy number."""
    right = predicted == _numbers("y", y, predicted)
    if right.ndim == 2:
        right = right.all(axis=1)
    if sample_weight is None:
        return right.mean()
    weight = _numbers("sample_weight", sample_weight, predicted)
    return (right * weight).sum() / weight.sum()


def lazy_r2(predicted: Any, y: Any, sample_weight: Any) -> Any:
    """Return the mean over the outputs of R² = 1 - Σ w (y - p)² / Σ w (y - ȳ)²: a lazy number.

    As in scikit-learn, an output whose targets are constant has 1 where it is predicted without an error, else 0.
    """
    import dask.array

    y = _numbers("y", y, predicted).astype(np.float64)
    if y.ndim != predicted.ndim:
        y = y.reshape(predicted.shape) if y.ndim < predicted.ndim else y[:, 0]
    weight: Any = 1.0
    middle = y.mean(axis=0)
    if sample_weight is not None:
        weight = _numbers("sample_weight", sample_weight, predicted)
        weight = weight if y.ndim == 1 else weight[:, None]
        middle = (weight * y).sum(axis=0) / weight.sum()
    error = (weight * (y - predicted) ** 2).sum(axis=0)
    spread = (weight * (y - middle) ** 2).sum(axis=0)
    constant = dask.array.where(error == 0, 1.0, 0.0)
    return dask.array.where(spread == 0, constant, 1.0 - error / dask.array.where(spread == 0, 1.0, spread)).mean()
