"""The numerical definition in NumPy: one chain of fused multiply-adds per element, contraction index ascending.

Slow and plain on purpose; the compiled kernels must equal it bit for bit.
"""

import numpy as np

CHUNK = 256  # rows of one chain in a sum over the batch


def fused_multiply_add(a, b, c):
    """``a * b + c`` rounded once, float32 arrays.

    The product is exact in float64. The sum's rounding error is known exactly (Knuth's two-sum); rounding the sum to
    odd in float64 makes the second rounding, to float32, the only one that counts (Boldo and Melquiond 2008).
    """
    product = a.astype(np.float64) * b.astype(np.float64)
    c = c.astype(np.float64)
    total = product + c
    back = total - product
    error = (product - (total - back)) + (c - back)
    bits = total.view(np.int64)
    away = np.where((error > 0) == (total > 0), 1, -1)
    odd = np.where((error != 0) & (bits % 2 == 0), bits + away, bits)
    return odd.view(np.float64).astype(np.float32)


def twice_rounded_multiply_add(a, b, c):
    """``a * b + c`` with a rounding after the product: what CPUs without a fused multiply-add do."""
    return (a * b + c).astype(np.float32)


def chain(A, B, start, multiply_add=fused_multiply_add):
    """``start + A @ B``, A (m, k), B (k, n), start (m, n), all float32: k steps on all elements at once."""
    result = np.array(start, np.float32)
    for k in range(A.shape[1]):
        column = np.broadcast_to(A[:, k : k + 1], result.shape)
        result = multiply_add(np.ascontiguousarray(column), np.broadcast_to(B[k], result.shape).copy(), result)
    return result


def dense_forward(X, W, b, multiply_add=fused_multiply_add):
    """``X W + b``: chains start from the bias."""
    return chain(X, W, np.broadcast_to(b, (len(X), len(b))), multiply_add)


def dense_backward(dZ, X, W, multiply_add=fused_multiply_add):
    """dX, dW and db; sums over the batch are chains over chunks of rows, added in order."""
    dX = chain(dZ, W.T, np.zeros(X.shape), multiply_add)
    ones = np.hstack([X, np.ones((len(X), 1), np.float32)])
    total = None
    for first in range(0, len(X), CHUNK):
        rows = slice(first, first + CHUNK)
        part = chain(ones[rows].T, dZ[rows], np.zeros((ones.shape[1], dZ.shape[1])), multiply_add)
        total = part if total is None else total + part
    return dX, total[:-1], total[-1]
