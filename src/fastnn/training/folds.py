"""Splits of rows for many models: their checks, the rows of a fold, and predictions out of fold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._structures import filled, is_nested, leaves, mapped
from fastnn.training.rows import Fold

Array = NDArray[Any]


def count_rows(X: Any, y: Any) -> int:
    """Return the number of rows of inputs and targets, each one thing, or a list or dict of one for each place."""
    for data in (y, X):
        if hasattr(data, "shape") and len(data.shape):
            return int(data.shape[0])
    for data in (y, X):
        parts = leaves(data) if is_nested(data) else []
        if parts and all(hasattr(part, "shape") and len(part.shape) for part in parts):
            return int(parts[0].shape[0])
    return len(y)


def as_folds(splits: Any, X: Any, y: Any) -> list[Fold]:
    """Return the checked rows of each split.

    Parameters
    ----------
    splits : pairs (training rows, held-out rows), an object whose ``split(X, y)`` gives them, or a number of folds of
        consecutive rows.
    X, y : inputs and targets.

    Raises
    ------
    ValueError
        No pair, rows that do not exist, or more folds than rows.
    """
    n = count_rows(X, y)
    found = splits
    if isinstance(splits, int | np.integer) and not isinstance(splits, bool):
        if not 2 <= splits <= n:
            raise ValueError(f"splits must be from 2 to {n}, the number of rows, got {splits}")
        parts = np.array_split(np.arange(n), splits)
        found = [(np.concatenate([*parts[:k], *parts[k + 1 :]]), part) for k, part in enumerate(parts)]
    elif hasattr(splits, "split") and not isinstance(splits, str):
        single = not is_nested(X) and hasattr(X, "shape")
        found = splits.split(X if single else np.zeros((n, 1)), y if not is_nested(y) else None)
    elif isinstance(splits, str) or not hasattr(splits, "__iter__"):
        raise ValueError(
            "splits must be pairs (training rows, held-out rows), an object with split(X, y), or a number of folds, "
            f"got {splits!r}"
        )
    folds = []
    for number, pair in enumerate(found):
        if not hasattr(pair, "__len__") or len(pair) != 2:
            size = len(pair) if hasattr(pair, "__len__") else "one value"
            raise ValueError(f"splits must hold pairs (training rows, held-out rows), but entry {number} has {size}")
        training, held_out = (
            _as_rows(given, name, number, n) for name, given in zip(("training", "held-out"), pair, strict=True)
        )
        folds.append(Fold(X, training, held_out, len(np.unique(training)) < len(training)))
    if not folds:
        raise ValueError("splits must hold at least one pair (training rows, held-out rows), got none")
    return folds


def _as_rows(given: Any, name: str, number: int, n: int) -> Array:
    """Return checked row numbers of one side of a split."""
    array = np.asarray(given)
    if array.dtype == bool and array.shape == (n,):
        array = np.flatnonzero(array)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.size == 0:
        raise ValueError(f"the {name} rows of split {number} must be row numbers (1-D), got {given!r}")
    if array.min() < 0 or array.max() >= n:
        wrong = int(array.min() if array.min() < 0 else array.max())
        raise ValueError(f"the {name} rows of split {number} must be from 0 to {n - 1}, got {wrong}")
    return np.ascontiguousarray(array, np.int64)


def rows_in(data: Any, rows: Array, n: int) -> Any:
    """Return some rows of inputs with ``n`` rows: an array, a data frame, or a list or dict of them."""
    if hasattr(data, "iloc"):
        return data.iloc[rows]
    if isinstance(data, np.ndarray) and np.all(np.diff(rows) == 1):
        return data[rows[0] : rows[-1] + 1]  # not copied
    if is_nested(data) and all(hasattr(each, "shape") and each.shape[:1] == (n,) for each in leaves(data)):
        return mapped(lambda each: rows_in(each, rows, n), data)
    return np.asarray(data)[rows]


def out_of_fold(predictions: Sequence[Any], folds: Sequence[Fold], numbers: Sequence[int], n: int) -> Any:
    """Return the mean predictions of held-out rows for each configuration of models.

    Parameters
    ----------
    predictions : what each model predicts for its held-out rows; None where there is none.
    folds : the folds.
    numbers : number of each model's fold.
    n : number of rows.

    Returns
    -------
    An array (n, n_outputs) for one configuration, with a leading axis for several; NaN in rows that no fold holds out.
    Models with several outputs have arrays in the form of their predictions. None if the models' outputs differ.
    """
    known = [each for each in predictions if each is not None]
    if len({tuple(part.shape[1:] for part in leaves(each)) for each in known}) != 1:
        return None
    found = [
        _mean_of_folds([None if each is None else leaves(each)[place] for each in predictions], folds, numbers, n)
        for place in range(len(leaves(known[0])))
    ]
    return filled(known[0], iter(found))


def _mean_of_folds(predictions: Sequence[Any], folds: Sequence[Fold], numbers: Sequence[int], n: int) -> Array:
    first = next(each for each in predictions if each is not None)
    n_configurations = len(predictions) // len(folds)
    places = [[place for place, number in enumerate(numbers) if number == fold] for fold in range(len(folds))]
    means = np.empty((n_configurations, n, *first.shape[1:]), first.dtype)
    for configuration in range(n_configurations):
        sums, counts = np.zeros(means.shape[1:]), np.zeros((n, *[1] * (first.ndim - 1)))
        for fold, of_fold in zip(folds, places, strict=True):
            prediction = predictions[of_fold[configuration]]
            if prediction is not None:
                np.add.at(sums, fold.held_out, prediction)
                np.add.at(counts, fold.held_out, 1.0)
        means[configuration] = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return means[0] if n_configurations == 1 else means
