"""Penalties, clipping, moving averages and constraints, applied before and after an update rule, in plain NumPy.

Lists hold one array per kernel and bias.
"""

from collections.abc import Sequence

import numpy as np

from fastnn.reference.arguments import Array

SMALL = 1e-7
"""Added to norms before a division, as in Keras."""


def penalty_and_gradient(w: Array, l1: float, l2: float) -> tuple[float, Array]:
    """``l1 * sum(|w|) + l2 * sum(w^2)`` and its gradient; the gradient of ``|w|`` at 0 is 0.

    Examples
    --------
    >>> import numpy as np
    >>> penalty_and_gradient(np.array([1.0, -2.0]), 1.0, 0.5)
    (5.5, array([ 2., -3.]))
    """
    value = l1 * float(np.abs(w).sum(dtype=np.float64)) + l2 * float(np.square(w).sum(dtype=np.float64))
    return value, l1 * np.sign(w) + 2.0 * l2 * w


def clip_by_value(gradients: Sequence[Array], bound: float) -> list[Array]:
    """Limit each element to -bound..bound."""
    return [np.clip(g, -bound, bound) for g in gradients]


def clip_by_norm(gradients: Sequence[Array], bound: float) -> list[Array]:
    """Divide each array by ``max(norm / bound, 1)``."""
    return [g * (bound / max(float(np.sqrt(np.square(g).sum())), bound)) for g in gradients]


def clip_by_global_norm(gradients: Sequence[Array], bound: float) -> list[Array]:
    """Divide all arrays by ``max(norm / bound, 1)``, with the norm of all of them (Pascanu et al., 2013)."""
    norm = float(np.sqrt(sum(float(np.square(g).sum()) for g in gradients)))
    return [g * (bound / max(norm, bound)) for g in gradients]


def moving_average(average: Array, w: Array, step: int, momentum: float) -> None:
    """``average = momentum * average + (1 - momentum) * w`` after update number ``step``; the first one copies w."""
    if step == 1:
        momentum = 0.0
    average *= momentum
    average += (1.0 - momentum) * w


def max_norm(w: Array, max_value: float = 2.0, axis: int | tuple[int, ...] = 0) -> Array:
    """``w * clip(|w|, 0, max_value) / (1e-7 + |w|)``, norms along ``axis`` (Srivastava et al., 2014)."""
    norms = np.sqrt(np.square(w).sum(axis=axis, keepdims=True))
    constrained: Array = w * (np.clip(norms, 0.0, max_value) / (SMALL + norms))
    return constrained


def unit_norm(w: Array, axis: int | tuple[int, ...] = 0) -> Array:
    """``w / (1e-7 + |w|)``, norms along ``axis``."""
    constrained: Array = w / (SMALL + np.sqrt(np.square(w).sum(axis=axis, keepdims=True)))
    return constrained


def non_neg(w: Array) -> Array:
    """``max(w, 0)``."""
    constrained: Array = np.maximum(w, 0.0)
    return constrained
