"""Findings about the units and the gradients of a network."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn.diagnosis.finding import Finding
from fastnn.models.hidden import outputs_of_steps
from fastnn.network.stack import LayerStack
from fastnn.training.native import make_fit
from fastnn.training.rows import Rows

if TYPE_CHECKING:
    from fastnn.models.sequential import Sequential

Array = NDArray[Any]

_BOUNDED = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "hard_sigmoid": (0.0, 1.0), "softsign": (-1.0, 1.0)}
_DYING = ("relu", "relu6", "general_relu")
_GOOD_STEP = 0.001
"""A step's size relative to the weights where training goes well."""
_GOOD = f" (good: about {_GOOD_STEP})"


def examine_units(model: LayerStack, X: Any) -> list[Finding]:
    """Examine the outputs of every layer, also within models and blocks.

    Those of the model may be saturated, as those of a classifier that is sure.
    """
    graph = model.program.graph
    steps = [
        step
        for step in graph.steps
        if _activation(step.layer) in _DYING
        or (_activation(step.layer) in _BOUNDED and step.output not in graph.outputs)
    ]
    outputs = outputs_of_steps(model, steps, X)
    findings = [examine_outputs(step.layer, each, len(each)) for step, each in zip(steps, outputs, strict=True)]
    return [finding for found in findings for finding in found]


def _activation(layer: Any) -> str:
    """Return the name of a layer's activation."""
    return str(getattr(getattr(layer, "activation", None), "name", "linear"))


def examine_outputs(layer: Any, outputs: Array, n: int) -> list[Finding]:
    """Return whether units of a layer are dead or saturated, by its outputs (n, units) for ``n`` rows."""
    activation = _activation(layer)
    if activation in _DYING:
        dead = int(np.sum(~outputs.any(axis=0)))
        fraction = dead / outputs.shape[1]
        if not dead:
            return []
        return [
            Finding("dead units", f"layer {layer.name!r}", "serious" if fraction > 0.5 else "warning",
                    f"{dead} of {outputs.shape[1]} units output 0 for all {n:,} rows and no longer learn",
                    "Lower the learning rate, scale the inputs, or use leaky_relu or elu")
        ]  # fmt: skip
    if activation not in _BOUNDED:
        return []
    low, high = _BOUNDED[activation]
    margin = 0.01 * (high - low)
    saturated = float(np.mean((outputs < low + margin) | (outputs > high - margin)))
    if saturated <= 0.5:
        return []
    return [
        Finding("saturated units", f"layer {layer.name!r}", "serious" if saturated > 0.9 else "warning",
                f"{saturated:.0%} of its outputs are within 1 % of the limits of {activation}, where the "
                "gradient is nearly 0",
                "Scale the inputs, start with smaller weights, or use relu")
    ]  # fmt: skip


def examine_gradients(model: "Sequential", rows: Rows, learning_rate: float | None) -> list[Finding]:
    """Compare the gradient of every kernel with the kernel, on the rows as one batch."""
    if any(loss is not None and loss.core_name == "custom" for loss in model.losses_of_outputs):
        return []
    fit = make_fit(model, Rows(rows.X, rows.y, _none_like(rows.y)), min(rows.n, 1024), None)
    found = {(op, name): gradient for op, name, gradient in fit.gradients()}
    held = [(leaf, *each) for leaf in model.program.leaves for each in zip(leaf.specs, leaf.places, strict=True)]
    held = [each for each in held if each[1].name == "kernel" and each[2] in found]
    kernels = [(leaf.layer.name, leaf.layer.read_weight(spec.name)) for leaf, spec, _ in held]
    gradients = [found[place] for _, _, place in held]
    searches = model.optimizer.full_batch  # it finds the size of each step itself
    if searches and learning_rate is not None:
        raise ValueError(f"learning_rate={learning_rate} has no effect: {type(model.optimizer).__name__} has none")
    rate = float(model.optimizer.learning_rate) if learning_rate is None else learning_rate
    plain = model.optimizer.core_name == "sgd"
    names, sizes, findings = [], [], []
    for (layer_name, kernel), gradient in zip(kernels, gradients, strict=True):
        weight_size = float(np.sqrt(np.mean(np.square(kernel, dtype=np.float64))))
        gradient_size = float(np.sqrt(np.mean(np.square(gradient, dtype=np.float64))))
        names.append(layer_name)
        sizes.append(gradient_size)
        if weight_size == 0.0 or searches:
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


def _none_like(y: Any) -> Any:
    """Return no sample weights, for one output or for several."""
    return [None] * len(y) if isinstance(y, list) else None


def _change(rate: float, ratio: float) -> str:
    """Return from which to which learning rate; the target is left out where no rate makes steps of a good size."""
    good = rate * _GOOD_STEP / ratio if ratio > 0.0 else np.inf
    return f" from {rate:.3g}" + (f" to about {good:.1g}" if good < 1e3 else "")
