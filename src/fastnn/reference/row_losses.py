"""More losses in plain NumPy: of counts, margins, directions, distributions and overlaps.

A kernel's arguments are y (targets), p (predictions, (n, c)), scale (a number or (n, 1): what multiplies each row's
gradient), gradient (written, (n, c), or None) and options. It returns row losses (n,).
"""

import math
from typing import Any

import numpy as np

from fastnn.reference.arguments import Array

SMALL = 1e-7
"""Keras's epsilon."""


def _mean(values: Array, slopes: Array, scale: Any, gradient: Array | None) -> Array:
    """Row means of values; slopes are their derivatives."""
    if gradient is not None:
        np.multiply(slopes, scale * (1.0 / values.shape[1]), out=gradient)
    rows: Array = values.mean(axis=1)
    return rows


def mean_absolute_percentage_error(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``100 |p - y| / max(|y|, SMALL)``."""
    factor = 100.0 / np.maximum(np.abs(y), SMALL)
    return _mean(np.abs(p - y) * factor, np.sign(p - y) * factor, scale, gradient)


def mean_squared_logarithmic_error(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``(log(1 + p) - log(1 + y))^2``, both raised to at least SMALL."""
    raised = np.maximum(p, SMALL)
    error = np.log1p(raised) - np.log1p(np.maximum(y, SMALL))
    return _mean(error * error, np.where(p < SMALL, 0.0, 2.0 * error / (1.0 + raised)), scale, gradient)


def log_cosh(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``log(cosh(p - y))``, as ``|e| + log1p(exp(-2 |e|)) - log 2``."""
    error = p - y
    size = np.abs(error)
    return _mean(size + (np.log1p(np.exp(-2.0 * size)) - math.log(2.0)), np.tanh(error), scale, gradient)


def poisson(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``p - y log(p + SMALL)``."""
    return _mean(p - y * np.log(p + SMALL), 1.0 - y / (p + SMALL), scale, gradient)


def hinge(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``max(1 - t p, 0)``; targets 0 count as -1."""
    t = np.where(y == 0.0, -1.0, y)
    margin = np.maximum(1.0 - t * p, 0.0)
    return _mean(margin, np.where(margin > 0.0, -t, 0.0), scale, gradient)


def squared_hinge(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``max(1 - t p, 0)^2``; targets 0 count as -1."""
    t = np.where(y == 0.0, -1.0, y)
    margin = np.maximum(1.0 - t * p, 0.0)
    return _mean(margin * margin, -2.0 * t * margin, scale, gradient)


def quantile(y: Array, p: Array, scale: Any, gradient: Array | None, q: float) -> Array:
    """``max(q e, (q - 1) e)``, e = y - p (Koenker and Bassett, 1978)."""
    error = y - p
    slopes = np.where(error > 0.0, -q, np.where(error < 0.0, 1.0 - q, 0.0))
    return _mean(np.maximum(q * error, (q - 1.0) * error), slopes, scale, gradient)


def gaussian_nll(y: Array, p: Array, scale: Any, gradient: Array | None, full: bool) -> Array:
    """``(s + (y - m)^2 exp(-s)) / 2``; p holds means m, then logarithms s of variances (Nix and Weigend, 1994)."""
    half = p.shape[1] // 2
    mean, log_variance = p[:, :half], p[:, half:]
    precision = np.exp(-log_variance)
    square = (y - mean) ** 2 * precision
    if gradient is not None:
        gradient[:, :half] = (mean - y) * precision * (scale / half)
        gradient[:, half:] = 0.5 * (1.0 - square) * (scale / half)
    constant = math.log(2.0 * math.pi) if full else 0.0
    rows: Array = (0.5 * (log_variance + square + constant)).mean(axis=1)
    return rows


def kl_divergence(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``sum t log(t / q)``, both clipped to [SMALL, 1]."""
    t, q = np.clip(y, SMALL, 1.0), np.clip(p, SMALL, 1.0)
    if gradient is not None:
        np.multiply(np.where((p < SMALL) | (p > 1.0), 0.0, -t / q), scale, out=gradient)
    rows: Array = (t * np.log(t / q)).sum(axis=1)
    return rows


def categorical_hinge(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """``max(max((1 - t) p) - sum(t p) + 1, 0)`` (Weston and Watkins, 1999)."""
    others = (1.0 - y) * p
    rows: Array = np.maximum(others.max(axis=1) - (y * p).sum(axis=1) + 1.0, 0.0)
    if gradient is not None:
        slopes = -y.astype(p.dtype)
        at = np.arange(len(p)), others.argmax(axis=1)
        slopes[at] += 1.0 - y[at]
        np.multiply(slopes * (rows > 0.0)[:, None], scale, out=gradient)
    return rows


def cosine_similarity(y: Array, p: Array, scale: Any, gradient: Array | None) -> Array:
    """Minus the cosine of the angle between y and p; norms below SMALL count as SMALL."""
    norm_p = np.maximum(np.linalg.norm(p, axis=1, keepdims=True), SMALL)
    v = y / np.maximum(np.linalg.norm(y, axis=1, keepdims=True), SMALL)
    u = p / norm_p
    cosine = (u * v).sum(axis=1, keepdims=True)
    if gradient is not None:
        bent = np.where(norm_p > SMALL, u * cosine, 0.0)
        np.multiply((bent - v) / norm_p, scale, out=gradient)
    loss: Array = -cosine[:, 0]
    return loss


def dice(y: Array, p: Array, scale: Any, gradient: Array | None, per_row: bool) -> Array:
    """``1 - 2 sum(y p) / (sum(y + p) + SMALL)`` of each row or of the batch, then the same for all rows."""
    axis = 1 if per_row else None
    total = (y + p).sum(axis=axis, keepdims=True) + SMALL
    share = 2.0 * (y * p).sum(axis=axis, keepdims=True) / total
    if gradient is not None:
        factor = scale if per_row else np.broadcast_to(scale, (len(p), 1)).sum()
        np.multiply((share - 2.0 * y) / total, factor, out=gradient)
    rows: Array = np.broadcast_to(1.0 - share, (len(p), 1))[:, 0]
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
    return _mean(weight * m**gamma * entropy, weight * slopes, scale, gradient)


def categorical_focal_crossentropy(
    y: Array,
    p: Array,
    scale: Any,
    gradient: Array | None,
    alpha: Any,
    gamma: float,
    from_logits: bool,
    label_smoothing: float,
) -> Array:
    """``sum alpha t (1 - q)^gamma (-log q)``, q = softmax(p), or p / sum(p) clipped (Lin et al., 2017).

    alpha is a number or (c,), one per class.
    """
    alpha = np.asarray(alpha, p.dtype)
    if alpha.shape not in ((), (p.shape[1],)):
        raise ValueError(f"alpha must hold one weight for each of {p.shape[1]} classes, got shape {alpha.shape}.")
    t = y * (1.0 - label_smoothing) + label_smoothing / p.shape[1]
    inside: Any = 1.0
    total: Any = 1.0
    if from_logits:
        shifted = p - p.max(axis=1, keepdims=True)
        log_q = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        q = np.exp(log_q)
    else:
        total = p.sum(axis=1, keepdims=True)
        share = p / total
        q = np.clip(share, SMALL, 1.0 - SMALL)
        log_q = np.log(q)
        inside = (share >= SMALL) & (share <= 1.0 - SMALL)
    rest = 1.0 - q
    if gradient is not None:
        # h = q dL/dq
        h = rest**gamma
        if gamma != 0.0:
            h = h - gamma * rest ** (gamma - 1.0) * q * log_q
        h = -alpha * t * h * inside
        through = h.sum(axis=1, keepdims=True)
        np.multiply(h - q * through if from_logits else (h / q - through) / total, scale, out=gradient)
    rows: Array = -(alpha * t * rest**gamma * log_q).sum(axis=1)
    return rows
