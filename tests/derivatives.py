"""Numerical derivatives, to compare gradients with."""

import numpy as np


def finite_difference(f, x, h=1e-4):
    """Gradient of the scalar f at x by central differences of fourth order: truncation h^4, rounding 1e-16 / h."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        gradient[index] = partial_difference(f, x, index, h)
    return gradient


def partial_difference(f, x, index, h=1e-4):
    """The entry ``index`` of ``finite_difference(f, x, h)``."""

    def at(offset):
        moved = x.copy()
        moved[index] += offset
        return f(moved)

    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
