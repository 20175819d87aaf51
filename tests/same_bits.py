"""Compare results bit for bit: arrays and models in one process, hashes across processes."""

import hashlib

import numpy as np


def digest(*arrays):
    """SHA-256 of the arrays' bytes."""
    h = hashlib.sha256()
    for a in arrays:
        h.update(np.ascontiguousarray(a).tobytes())
    return h.hexdigest()


def same_arrays(a, b):
    """Whether two lists hold equal arrays of the same types."""
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


def same_weights(a, b):
    """Whether two models have equal weights."""
    return same_arrays(a.get_weights(), b.get_weights())
