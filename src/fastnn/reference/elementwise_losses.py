"""Losses that are means over the outputs, with their gradients: the formulas of csrc/kernels/elementwise_losses.c.

A kernel takes the targets y, the predictions p (n, c), the factor ``scale`` of each row's gradient (a number or
(n, 1)), the array to write the gradient to (n, c), which is not p, or None, and options. It returns row losses (n,).
"""

import math
from typing import Any

import numpy as np

from fastnn.reference.arguments import Array

SMALL = 1e-7
"""Keras's epsilon; probabilities are clipped to [SMALL, 1 - SMALL] before their logarithm."""


def clip_probabilities(p: Array) -> tuple[Array, Array]:
    """Return clipped probabilities, and the mask of those inside the clip, where its derivative is 1."""
    low = p.dtype.type(SMALL)
    high = p.dtype.type(1.0 - SMALL)
    return np.clip(p, low, high), (p >= low) & (p <= high)


def mean(values: Array, slopes: Array, scale: Any, gradient: Array | None) -> Array:
    """Return row means of values, and write the gradient, given the values' derivatives ``slopes``."""
    if gradient is not None:
        np.multiply(slopes, scale * (1.0 / values.shape[1]), out=gradient)
    rows: Array = values.mean(axis=1)
    return rows


def mean_squared_error(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``(p - y)^2``."""
    error = np.subtract(p, y, out=gradient)
    rows: Array = np.einsum("ij,ij->i", error, error)
    rows /= p.shape[1]
    if gradient is not None:
        gradient *= scale * (2.0 / p.shape[1])
    return rows


def mean_absolute_error(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``|p - y|``."""
    error = np.subtract(p, y, out=gradient)
    rows: Array = np.abs(error).mean(axis=1)
    if gradient is not None:
        np.sign(gradient, out=gradient)
        gradient *= scale * (1.0 / p.shape[1])
    return rows


def huber(y: Array, p: Array, scale: Any, gradient: Array | None, delta: float) -> Array:
    """``e^2 / 2`` where ``|e| <= delta``, else ``delta (|e| - delta / 2)``, e = p - y (Huber, 1964)."""
    # With c = clip(e) both branches are c * (e - c / 2).
    error = np.subtract(p, y)
    clipped = np.clip(error, -delta, delta, out=gradient)
    error -= 0.5 * clipped
    error *= clipped
    if gradient is not None:
        gradient *= scale * (1.0 / p.shape[1])
    rows: Array = error.mean(axis=1)
    return rows


def mean_absolute_percentage_error(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``100 |p - y| / max(|y|, SMALL)``."""
    factor = 100.0 / np.maximum(np.abs(y), SMALL)
    return mean(np.abs(p - y) * factor, np.sign(p - y) * factor, scale, gradient)


def mean_squared_logarithmic_error(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``(log(1 + p) - log(1 + y))^2``, both raised to at least SMALL."""
    raised = np.maximum(p, SMALL)
    error = np.log1p(raised) - np.log1p(np.maximum(y, SMALL))
    return mean(error * error, np.where(p < SMALL, 0.0, 2.0 * error / (1.0 + raised)), scale, gradient)


def log_cosh(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``log(cosh(p - y))``, as ``|e| + log1p(exp(-2 |e|)) - log 2``."""
    error = p - y
    size = np.abs(error)
    return mean(size + (np.log1p(np.exp(-2.0 * size)) - math.log(2.0)), np.tanh(error), scale, gradient)


def poisson(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``p - y log(p + SMALL)``."""
    return mean(p - y * np.log(p + SMALL), 1.0 - y / (p + SMALL), scale, gradient)


def hinge(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``max(1 - t p, 0)``; targets 0 count as -1."""
    t = np.where(y == 0.0, -1.0, y)
    margin = np.maximum(1.0 - t * p, 0.0)
    return mean(margin, np.where(margin > 0.0, -t, 0.0), scale, gradient)


def squared_hinge(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``max(1 - t p, 0)^2``; targets 0 count as -1."""
    t = np.where(y == 0.0, -1.0, y)
    margin = np.maximum(1.0 - t * p, 0.0)
    return mean(margin * margin, -2.0 * t * margin, scale, gradient)


def quantile(y: Array, p: Array, scale: Any, gradient: Array | None, q: float) -> Array:
    """``max(q e, (q - 1) e)``, e = y - p (Koenker and Bassett, 1978)."""
    error = y - p
    slopes = np.where(error > 0.0, -q, np.where(error < 0.0, 1.0 - q, 0.0))
    return mean(np.maximum(q * error, (q - 1.0) * error), slopes, scale, gradient)


def binary_crossentropy(
    y: Array, p: Array, scale: Any, gradient: Array | None, from_logits: bool, label_smoothing: float
) -> Array:
    """``-y log p - (1 - y) log(1 - p)``, of logits p with sigmoid(p) in place of p."""
    if label_smoothing:
        y = y * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        # max(z, 0) - z y + log1p(exp(-|z|)); gradient sigmoid(z) - y, from the same exponential.
        e = np.exp(-np.abs(p))
        rows: Array = (np.maximum(p, 0.0) - p * y + np.log1p(e)).mean(axis=1)
        if gradient is not None:
            np.divide(np.where(p >= 0.0, p.dtype.type(1.0), e), 1.0 + e, out=gradient)
            gradient -= y
            gradient *= scale * (1.0 / p.shape[1])
        return rows
    q, inside = clip_probabilities(p)
    rows = -(y * np.log(q) + (1.0 - y) * np.log1p(-q)).mean(axis=1)
    if gradient is not None:
        np.divide(q - y, q * (1.0 - q), out=gradient)
        gradient *= inside
        gradient *= scale * (1.0 / p.shape[1])
    return rows


def binary_focal_crossentropy(
    y: Array,
    p: Array,
    scale: Any,
    gradient: Array | None,
    apply_class_balancing: bool,
    alpha: float,
    gamma: float,
    from_logits: bool,
    label_smoothing: float,
) -> Array:
    """``m^gamma`` times the binary cross-entropy, m = 1 - probability of the target (Lin et al., 2017)."""
    t = y * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        e = np.exp(-np.abs(p))
        positive, negative = np.where(p >= 0.0, 1.0, e) / (1.0 + e), np.where(p >= 0.0, e, 1.0) / (1.0 + e)
        entropy = np.maximum(p, 0.0) - p * t + np.log1p(e)
        slope = positive - t
        change = positive * negative * (1.0 - 2.0 * t)
    else:
        q = np.clip(p, SMALL, 1.0 - SMALL)
        positive, negative = p, 1.0 - p
        entropy = -(t * np.log(q) + (1.0 - t) * np.log1p(-q))
        slope = (q - t) / (q * (1.0 - q)) * ((p >= SMALL) & (p <= 1.0 - SMALL))
        change = 1.0 - 2.0 * t
    m = t * negative + (1.0 - t) * positive
    weight = t * alpha + (1.0 - t) * (1.0 - alpha) if apply_class_balancing else 1.0
    slopes = m**gamma * slope
    if gamma != 0.0:
        slopes = slopes + gamma * m ** (gamma - 1.0) * change * entropy
    return mean(weight * m**gamma * entropy, weight * slopes, scale, gradient)
