"""Findings about the units and the gradients of a network."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn.diagnosis.data import lower_part
from fastnn.diagnosis.finding import Finding
from fastnn.training.rows import Rows

if TYPE_CHECKING:
    from fastnn.models.sequential import Sequential

Array = NDArray[Any]

_BOUNDED = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "hard_sigmoid": (0.0, 1.0), "softsign": (-1.0, 1.0)}
_DYING = ("relu", "relu6", "general_relu")
_GOOD_STEP = 0.001
"""A step's size relative to the weights where training goes well."""
_GOOD = f" (good: about {_GOOD_STEP})"


def examine_units(model: "Sequential", X: Array) -> list[Finding]:
    """Examine the outputs of every layer; the last one may be saturated, as that of a classifier that is sure."""
    findings = []
    last = len(model.layers) - 1
    for place, layer in enumerate(model.layers):
        activation = getattr(getattr(layer, "activation", None), "name", "linear")
        if activation not in _DYING and (activation not in _BOUNDED or place == last):
            continue
        outputs = lower_part(model, place + 1).predict(X)
        if activation in _DYING:
            dead = int(np.sum(~outputs.any(axis=0)))
            if dead:
                fraction = dead / outputs.shape[1]
                findings.append(
                    Finding("dead units", f"layer {layer.name!r}", "serious" if fraction > 0.5 else "warning",
                            f"{dead} of {outputs.shape[1]} units output 0 for all {len(X):,} rows and no longer learn",
                            "Lower the learning rate, scale the inputs, or use leaky_relu or elu")
                )  # fmt: skip
            continue
        low, high = _BOUNDED[activation]
        margin = 0.01 * (high - low)
        saturated = float(np.mean((outputs < low + margin) | (outputs > high - margin)))
        if saturated > 0.5:
            findings.append(
                Finding("saturated units", f"layer {layer.name!r}", "serious" if saturated > 0.9 else "warning",
                        f"{saturated:.0%} of its outputs are within 1 % of the limits of {activation}, where the "
                        "gradient is nearly 0",
                        "Scale the inputs, start with smaller weights, or use relu")
            )  # fmt: skip
    return findings


def examine_gradients(model: "Sequential", rows: Rows, learning_rate: float | None) -> list[Finding]:
    """Compare the gradient of every kernel with the kernel, on the rows as one batch."""
    if model.loss.core_name == "custom":
        return []
    fit = _core.Fit(model.network, rows.X, rows.y, None, min(rows.n, 1024))
    gradients = [gradient for _, name, gradient in fit.gradients() if name == "kernel"]
    kernels = [(layer.name, weight) for layer in model.layers for weight in layer.get_weights() if weight.ndim == 2]
    rate = float(model.optimizer.learning_rate) if learning_rate is None else learning_rate
    plain = model.optimizer.core_name == "sgd"
    names, sizes, findings = [], [], []
    for (layer_name, kernel), gradient in zip(kernels, gradients, strict=True):
        weight_size = float(np.sqrt(np.mean(np.square(kernel, dtype=np.float64))))
        gradient_size = float(np.sqrt(np.mean(np.square(gradient, dtype=np.float64))))
        names.append(layer_name)
        sizes.append(gradient_size)
        if weight_size == 0.0:
            continue
        ratio = rate * (gradient_size if plain else 1.0) / weight_size
        if ratio > 0.1:
            findings.append(
                Finding("large steps", f"layer {layer_name!r}", "serious" if ratio > 1.0 else "warning",
                        f"a step changes the weights by a factor of {ratio:.2g} of their size{_GOOD}",
                        f"Scale the inputs and targets, or lower the learning rate{_change(rate, ratio)}")
            )  # fmt: skip
        elif ratio < 1e-6:
            findings.append(
                Finding("small steps", f"layer {layer_name!r}", "note",
                        f"a step changes the weights by a factor of {ratio:.2g} of their size{_GOOD}",
                        f"Raise the learning rate{_change(rate, ratio)}, unless training has converged")
            )  # fmt: skip
    if len(sizes) > 1 and max(sizes) > 0.0:
        ratio = sizes[0] / sizes[-1] if sizes[-1] > 0.0 else np.inf
        where = f"layer {names[0]!r}"
        against = f"its gradient is {ratio:.2g} times that of {names[-1]!r}"
        if ratio < 1e-3:
            findings.append(
                Finding("vanishing gradients", where, "serious" if ratio < 1e-5 else "warning", against,
                        "Use relu instead of sigmoid or tanh, He or Glorot initialization, fewer layers, or Residual")
            )  # fmt: skip
        elif ratio > 1e3:
            findings.append(
                Finding("exploding gradients", where, "serious" if ratio > 1e5 else "warning", against,
                        "Start with smaller weights (Glorot, He), clip gradients (clipnorm=1.0), or lower the rate")
            )  # fmt: skip
    return findings


def _change(rate: float, ratio: float) -> str:
    """Return from which to which learning rate; the target is left out where no rate makes steps of a good size."""
    good = rate * _GOOD_STEP / ratio if ratio > 0.0 else np.inf
    return f" from {rate:.3g}" + (f" to about {good:.1g}" if good < 1e3 else "")
