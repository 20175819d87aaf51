"""Means and variances of the columns of a source, in one pass over its blocks."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn._arrays import as_features
from fastnn.data.source import Source

Array = NDArray[Any]


class Moments(NamedTuple):
    """Statistics of columns, in float64.

    Parameters
    ----------
    n : values of each column that are not missing.
    mean : of these values, 0 without any.
    variance : of these values, divided by their number.
    low, high : the least and the largest of these values.
    """

    n: Array
    mean: Array
    variance: Array
    low: Array
    high: Array


def moments(source: Source, name: str, allow_missing: bool, missing_hint: str = "") -> Moments:
    """Return the statistics of the inputs of a source.

    The blocks are combined in their order (Chan, Golub and LeVeque, 1983), so one block gives the bits of an array.

    Parameters
    ----------
    source : the source.
    name : name in messages.
    allow_missing : whether NaN is left out.
    missing_hint : advice on NaN for the message.

    Raises
    ------
    ValueError
        A value is not finite; the message has its row in all rows, and its file.
    """
    source.check_single(name, "this")
    total: Moments | None = None
    for begin, end in source.blocks:
        try:
            rows = source.read_inputs(begin, end)
            X = as_features(
                rows.reshape(len(rows), -1), None, np.dtype(np.float64), name, (), allow_missing, missing_hint
            ).astype(np.float64)
        except ValueError as error:
            raise ValueError(source.in_all_rows(str(error), begin)) from None
        present = ~np.isnan(X)
        count = present.sum(axis=0)
        mean = np.where(present, X, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares = (np.where(present, X - mean, 0.0) ** 2).sum(axis=0)
        low, high = np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)
        if total is None:
            total = Moments(count, mean, squares, low, high)
            continue
        both = np.maximum(total.n + count, 1)
        difference = mean - total.mean
        total = Moments(
            total.n + count,
            total.mean + difference * (count / both),
            total.variance + squares + difference**2 * (total.n * (count / both)),
            np.fmin(total.low, low),
            np.fmax(total.high, high),
        )
    assert total is not None
    return total._replace(variance=total.variance / np.maximum(total.n, 1))
