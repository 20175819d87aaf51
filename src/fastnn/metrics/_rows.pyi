from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def small_pair_counts(true: Array, pred: Array) -> Array | None:
    """Count rows (64, 64) by true and predicted label; None if a label is not a whole number in 0..63."""

def string_codes(text: Array) -> tuple[Array, Array] | None:
    """Assign numbers to the distinct rows of characters (n, width) in the order of their first occurrence.

    Returns the codes (n,) and the first row of each code; None if more than 1,024 rows are distinct.
    """

def counts_at_thresholds(score: Array, positive: Array, weights: Array | None) -> tuple[Array, Array, Array]:
    """Count false and true positives, or sum their weights, at every distinct score; also return the scores."""

def ordered_pairs(score: Array, positive: Array, weights: Array | None) -> tuple[float, float, float]:
    """Count pairs whose positive row has the larger score, plus half the ties; also return both classes' weights."""
