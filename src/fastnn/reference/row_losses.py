"""Losses of whole rows, with their gradients: the formulas of csrc/kernels/row_losses.c.

A kernel's arguments are those of `elementwise_losses`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn.reference.activations import log_of_sum
from fastnn.reference.arguments import Array
from fastnn.reference.elementwise_losses import SMALL, clip_probabilities


def categorical_crossentropy(
    y: Array, p: Array, scale: Any, gradient: Array | None, from_logits: bool, label_smoothing: float
) -> Array:
    """``-sum(y log q)``, q = softmax(p), or p / sum(p) clipped."""
    if label_smoothing:
        y = y * (1.0 - label_smoothing) + label_smoothing / p.shape[1]
    if from_logits:
        shifted = p - p.max(axis=1, keepdims=True)
        e = np.exp(shifted, out=gradient)
        total = e.sum(axis=1, keepdims=True)
        shifted -= log_of_sum(e, total)
        rows: Array = -np.einsum("ij,ij->i", y, shifted)
        if gradient is not None:
            # softmax * (sum of the targets) - targets; the sum is 1 for distributions but need not be.
            gradient *= y.sum(axis=1, keepdims=True) / total
            gradient -= y
            gradient *= scale
        return rows
    total = p.sum(axis=1, keepdims=True)
    share = p / total
    q, inside = clip_probabilities(share)
    rows = -np.einsum("ij,ij->i", y, np.log(q))
    if gradient is not None:
        np.divide(-y, q, out=gradient)
        gradient *= inside
        # share = p / total: dL/dp = (g - sum of g * share) / total.
        gradient -= np.einsum("ij,ij->i", gradient, share)[:, None]
        gradient *= scale / total
    return rows


def sparse_categorical_crossentropy(
    y: Array, p: Array, scale: Any, gradient: Array | None, from_logits: bool, label_smoothing: float
) -> Array:
    """``categorical_crossentropy`` of labels (n,), whose targets are one-hot."""
    n, n_classes = p.shape
    if label_smoothing or not from_logits:
        one_hot = np.zeros_like(p)
        one_hot[np.arange(n), y] = 1.0
        return categorical_crossentropy(one_hot, p, scale, gradient, from_logits, label_smoothing)
    shifted = p - p.max(axis=1, keepdims=True)
    index = np.arange(0, n * n_classes, n_classes)
    index += y
    at_label = shifted.ravel().take(index)
    e = np.exp(shifted, out=shifted if gradient is None else gradient)
    total = e.sum(axis=1, keepdims=True)
    logarithm = log_of_sum(e, total)[:, 0]
    if gradient is not None:
        gradient /= total
        gradient.reshape(-1)[index] -= 1.0
        gradient *= scale
    rows: Array = logarithm - at_label
    return rows


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
        exponentials = np.exp(shifted)
        log_q = shifted - log_of_sum(exponentials, exponentials.sum(axis=1, keepdims=True))
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


def multi_quantile(y: Array, p: Array, scale: Any, gradient: Array | None, levels: Sequence[float]) -> Array:
    """``max(q e, (q - 1) e)``, e = y - p, over the levels q; p holds the quantiles of a level after the other."""
    q = np.repeat(np.asarray(levels), y.shape[1])
    error = np.tile(y, len(levels)) - p
    if gradient is not None:
        slopes = np.where(error > 0.0, -q, np.where(error < 0.0, 1.0 - q, 0.0))
        np.multiply(slopes, scale / p.shape[1], out=gradient)
    rows: Array = np.maximum(q * error, (q - 1.0) * error).mean(axis=1)
    return rows


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
