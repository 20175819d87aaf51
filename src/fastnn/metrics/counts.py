"""The metrics' passes over all rows.

The callers check the arguments: label codes are whole numbers in 0..n_codes-1.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.metrics import _rows

Array = NDArray[Any]

# Rows in one pass: index, labels and table stay in L2.
_BLOCK = 32768

# The types that the compiled pass over pairs of labels reads.
_PASS_TYPES = {np.dtype(t): np.dtype(t) for t in (np.uint8, np.int32, np.int64, np.float32, np.float64)}
_PASS_TYPES[np.dtype(np.bool_)] = np.dtype(np.uint8)


def codes_from(labels: Array, low: int) -> Array:
    """Return ``labels - low`` as int64; labels are integers or booleans in low..low + 2^63 - 1."""
    # The difference is taken modulo 2^64: it fits even where labels or low do not.
    return labels.astype(np.int64) - np.uint64(low % 2**64).astype(np.int64)


def labels_from(codes: Array, low: int) -> Array:
    """Return ``codes + low`` as int64, or as uint64 where int64 is too small; codes are int64."""
    return codes + low if low < 2**62 else codes.astype(np.uint64) + np.uint64(low)


def label_counts(codes: Array, n_codes: int, weights: Array | None = None) -> Array:
    """Count the rows, or sum their weights, of each label code: (n_codes,)."""
    return np.bincount(codes, weights, n_codes)


def pair_counts(true_codes: Array, pred_codes: Array, n_codes: int, weights: Array | None = None) -> Array:
    """Count the rows, or sum their weights, of each pair of true and predicted code: (n_codes, n_codes)."""
    n_rows = len(true_codes)
    n_cells = n_codes * n_codes
    block = max(_BLOCK, n_cells)
    index = np.empty(min(block, n_rows), dtype=np.int64)
    counts = np.zeros(n_cells, dtype=np.int64 if weights is None else np.float64)
    for start in range(0, n_rows, block):
        stop = min(start + block, n_rows)
        cells = index[: stop - start]
        np.multiply(true_codes[start:stop], n_codes, out=cells, dtype=np.int64, casting="unsafe")
        np.add(cells, pred_codes[start:stop], out=cells, dtype=np.int64, casting="unsafe")
        counts += np.bincount(cells, None if weights is None else weights[start:stop], n_cells)
    return counts.reshape(n_codes, n_codes)


def matches(a: Array, b: Array) -> int:
    """Count the rows in which two arrays (n,) are equal."""
    return int(np.count_nonzero(a == b))


def small_pair_counts(true_labels: Array, pred_labels: Array) -> Array | None:
    """Count the rows of each pair of labels 0..63: (64, 64); None if another number occurs."""
    dtype = np.result_type(true_labels, pred_labels)
    if dtype.itemsize > 8:
        return None
    dtype = _PASS_TYPES.get(dtype, np.dtype(np.float64 if dtype.kind == "f" else np.int64))
    true, pred = (np.ascontiguousarray(labels, dtype=dtype) for labels in (true_labels, pred_labels))
    return _rows.small_pair_counts(true, pred)


def string_codes(labels: Array) -> tuple[Array, Array] | None:
    """Return the sorted labels and each row's code for strings (n,) of kind U; None if over 1,024 differ."""
    width = labels.itemsize // 4
    if width == 0:
        return None
    native = np.ascontiguousarray(labels, dtype=labels.dtype.newbyteorder("="))
    found = _rows.string_codes(native.view(np.uint32).reshape(len(labels), width))
    if found is None:
        return None
    codes, firsts = found
    first_labels = labels[firsts]
    order = np.argsort(first_labels)
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    return first_labels[order], position[codes]


def ordered_pairs(positive: Array, score: Array, weights: Array | None) -> tuple[float, float, float]:
    """Count the pairs whose positive row has the larger score, plus half the ties; also return the rows of each class.

    This is the Mann-Whitney statistic, exact below 2^52 pairs. With weights, a row counts with its weight.
    """
    return _rows.ordered_pairs(_in_float64(score)[0], positive.view(np.uint8), _in_float64(weights)[0])


def counts_at_thresholds(positive: Array, score: Array, weights: Array | None) -> tuple[Array, Array, Array]:
    """Count false and true positives (float64) at every distinct score; also return the scores, in falling order.

    ``positive`` (n,) is boolean. A row counts as predicted positive if its score is at least the threshold.
    """
    values, levels = _in_float64(score)
    fps, tps, thresholds = _rows.counts_at_thresholds(values, positive.view(np.uint8), _in_float64(weights)[0])
    return fps, tps, thresholds.astype(score.dtype) if levels is None else levels[thresholds.astype(np.intp)]


def _in_float64(values: Any) -> tuple[Any, Array | None]:
    """Return numbers (n,) as contiguous float64, and None.

    Numbers that float64 cannot distinguish are replaced by their ranks, and the distinct numbers are returned as well.
    Weights that are None stay None.
    """
    if values is None:
        return None, None
    converted = np.ascontiguousarray(values, dtype=np.float64)
    if values.dtype.kind in "iu" or values.itemsize > 8:
        with np.errstate(invalid="ignore"):
            exact = np.array_equal(converted.astype(values.dtype), values)
        if not exact:
            levels, ranks = np.unique(values, return_inverse=True)
            return ranks.astype(np.float64), levels
    return converted, None
