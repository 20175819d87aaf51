"""The passes over all rows behind the metrics: everything that is not of the size of the result.

Arguments are checked by the callers: label codes are whole numbers in 0..n_codes-1.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Rows in one pass: index, labels and table stay in L2.
_BLOCK = 32768


def largest_code(labels: Array) -> int:
    """Largest value of an integer or boolean array, read as unsigned: negative labels come out huge."""
    unsigned = labels.view(f"u{labels.itemsize}") if labels.dtype.kind in "ib" else labels
    return int(unsigned.max())


def label_counts(codes: Array, n_codes: int, weights: Array | None = None) -> Array:
    """Rows (n_codes,), or their total weight, for each label code."""
    return np.bincount(codes, weights, n_codes)


def pair_counts(true_codes: Array, pred_codes: Array, n_codes: int, weights: Array | None = None) -> Array:
    """Rows (n_codes, n_codes), or their total weight, for each pair of true and predicted code."""
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
    """Rows in which two arrays (n,) are equal."""
    return int(np.count_nonzero(a == b))


def rank_sum(positive: Array, negative: Array) -> float:
    """Pairs in which the positive score is larger than the negative one, plus half the ties.

    The Mann-Whitney statistic; exact below 2^52 pairs.
    """
    below = np.sort(negative)
    above = np.sort(positive)
    smaller = int(np.searchsorted(below, above, "left").sum())
    not_larger = int(np.searchsorted(below, above, "right").sum())
    return 0.5 * (smaller + not_larger)


def counts_at_thresholds(positive: Array, score: Array, weights: Array | None) -> tuple[Array, Array, Array]:
    """Count false and true positives (float64) at every distinct score, and return these from the largest down.

    ``positive`` (n,) is boolean. A row counts as predicted positive if its score is at least the threshold.
    """
    if weights is not None:
        kept = weights != 0
        positive, score, weights = positive[kept], score[kept], weights[kept].astype(np.float64)
    # Ties are summed as one, so their order does not matter.
    order = np.argsort(score)[::-1]
    score, positive = score[order], positive[order]
    last = _ends_of_runs(score)
    if weights is None:
        tps = np.cumsum(positive)[last].astype(np.float64)
        return last + 1.0 - tps, tps, score[last]
    weights = weights[order]
    positive_weights = np.where(positive, weights, 0.0)
    tps = np.cumsum(positive_weights)[last]
    fps = np.cumsum(weights - positive_weights)[last]
    return fps, tps, score[last]


def _ends_of_runs(ordered: Array) -> Array:
    """Index of the last of each run of equal values."""
    return np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
