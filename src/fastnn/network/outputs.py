"""What the last layer can output, and whether the loss and the targets suit it."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastnn.ops as ops
from fastnn.losses import Loss
from fastnn.network.program import Head, Program

Array = NDArray[Any]

_PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid")
_TAKES_PROBABILITIES = {"kl_divergence": "softmax", "dice": "sigmoid"}
"""Losses that take probabilities and cannot take the values before an activation, and the activation that suits."""
_SIGN_ONLY = ("hinge", "squared_hinge", "cosine_similarity")
"""Losses for which predictions must have the sign of the targets, not their size."""
_AT_LEAST_ZERO = ("poisson", "mean_squared_logarithmic_error")
"""Losses of targets that are not negative."""
_UNBOUNDED = 1e5


class Misfit(NamedTuple):
    """A last layer that does not suit the loss or the targets: why, and what to do."""

    cause: str
    cure: str

    def __str__(self) -> str:
        return f"{self.cause}: {self.cure}"


def output_range(head: Head | Program) -> tuple[float, float]:
    """Return the least and the greatest output of the last layer's activation; infinite where it has no limit."""
    final = head.final_activation
    if final in (None, "linear"):
        return -math.inf, math.inf
    if final in ("softmax", "log_softmax"):
        return (0.0, 1.0) if final == "softmax" else (-math.inf, 0.0)
    names = ops.ACTIVATION_OPTIONS.get(final, {})
    values = head.last[1].get("parameters", names.values())
    probe = np.concatenate([np.linspace(-10.0, 10.0, 20_001), [-1e12, 1e12]])[:, None]
    outputs = ops.activation(final, probe, None, **dict(zip(names, values, strict=True)))
    low, high = float(outputs.min()) + 0.0, float(outputs.max())  # + 0.0: without -0
    return low if low > -_UNBOUNDED else -math.inf, high if high < _UNBOUNDED else math.inf


def misfit(loss: Loss, head: Head | Program) -> Misfit | None:
    """Return why a loss does not suit the last layer, whatever the targets; None if nothing is wrong."""
    final, own = head.final_activation or "linear", loss.skipped_activation
    if head.last[0] == "dropout":
        return Misfit(
            "the last layer sets outputs to 0 at random during training", "put Dropout before the last Dense layer"
        )
    if head.n_outputs == 1 and final in ("softmax", "log_softmax"):
        return Misfit(
            f"a {final} of one unit is {1 if final == 'softmax' else 0} for every input, so that nothing is learned",
            "for two classes use activation='sigmoid' with binary_crossentropy, for numbers no activation",
        )
    if loss.from_logits and final not in (own, "linear", "log_softmax"):
        return Misfit(
            f"{loss.name} with from_logits=True takes values before an activation, but the last layer has {final!r}",
            "leave out that activation, or from_logits",
        )
    if final == "softmax" and loss.targets == "numbers":
        return Misfit(
            f"{loss.name} of a softmax", "for classes use categorical_crossentropy, or sparse_categorical_crossentropy"
        )
    if loss.core_name == "gaussian_nll" and output_range(head) != (-math.inf, math.inf):
        return Misfit(
            f"gaussian_nll takes means and logarithms of variances, but the last layer's activation {final!r} limits "
            "their values",
            "give the last layer no activation",
        )
    if loss.core_name == "poisson" and output_range(head)[0] < 0.0:
        return Misfit(
            "poisson takes positive predictions", "give the last layer activation='softplus' or 'exponential'"
        )
    takes = own or _TAKES_PROBABILITIES.get(loss.core_name)
    if takes is None or loss.from_logits or final in _PROBABILITIES:
        return None
    or_logits = ", or the loss from_logits=True" if own and final == "linear" else ""
    return Misfit(
        f"{loss.name} takes probabilities, but the last layer's activation is {final!r}",
        f"give the layer activation={takes!r}{or_logits}",
    )


def unsuitable_targets(loss: Loss, head: Head | Program, y: Array) -> Iterator[tuple[Misfit, Array]]:
    """Yield what the loss cannot take or the last layer cannot output, and which rows of the targets are affected.

    Parameters
    ----------
    loss, head : of a compiled model.
    y : checked targets (n, n_outputs), or labels (n,).
    """
    if loss.targets in ("labels", "any"):
        return
    targets = np.asarray(y, dtype=np.float64) + 0.0  # without -0
    reach = f"the targets lie between {targets.min():.4g} and {targets.max():.4g}"
    if loss.core_name in _AT_LEAST_ZERO and targets.min() < 0.0:
        cause = f"{loss.name} takes targets of at least 0; {reach}"
        yield Misfit(cause, "use another loss, such as mean_squared_error"), np.any(targets < 0.0, axis=1)
        return
    if loss.core_name == "mean_absolute_percentage_error" and not targets.all():
        cause = f"{loss.name} divides by the targets, and some are 0"
        yield Misfit(cause, "use mean_absolute_error"), np.any(targets == 0.0, axis=1)
    if loss.core_name in ("hinge", "squared_hinge"):
        if not np.isin(targets, (-1.0, 0.0, 1.0)).all():
            cause = f"{loss.name} takes targets -1 and 1, or 0 and 1; {reach}"
            yield Misfit(cause, "use another loss"), ~np.all(np.isin(targets, (-1.0, 0.0, 1.0)), axis=1)
            return
        targets = np.where(targets == 0.0, -1.0, targets)
        reach = "the targets are -1 (or 0) and 1"
    unreachable = _unreachable(loss, head, targets)
    if unreachable.any():
        yield Misfit(f"{_outputs_of(head)}; {reach}", _cure(loss, head, targets)), unreachable


def _unreachable(loss: Loss, head: Head | Program, targets: Array) -> Array:
    """Return which rows of the targets (n, n_outputs) no output of the last layer can equal, shape (n,)."""
    low, high = output_range(head)
    if loss.core_name in ("gaussian_nll", "multi_quantile"):  # targets have fewer columns than the outputs
        return np.zeros(len(targets), dtype=bool)
    if loss.core_name in _SIGN_ONLY:
        wrong = ((targets < 0.0) & (low >= 0.0)) | ((targets > 0.0) & (high <= 0.0))
    else:
        tolerance = 1e-6  # of a float32 target at the limit
        wrong = (targets < low - tolerance) | (targets > high + tolerance)
    rows: Array = np.any(wrong, axis=1)
    if head.final_activation == "softmax" and head.n_outputs > 1:
        sums = targets.sum(axis=1)
        left_out = (loss.targets == "one_hot") & (sums == 0.0)  # a row of zeros adds nothing to such a loss
        rows |= (np.abs(sums - 1.0) > 1e-3) & ~left_out
    return rows


def _outputs_of(head: Head | Program) -> str:
    """Return a clause about the outputs of the last layer."""
    low, high = output_range(head)
    if head.final_activation == "softmax":
        return "the outputs of softmax are between 0 and 1 and their sum is 1"
    if low == -math.inf:
        limits = f"at most {high:.4g}"
    elif high == math.inf:
        limits = f"at least {low:.4g}"
    else:
        limits = f"between {low:.4g} and {high:.4g}"
    name = {"general_relu": "relu"}.get(head.final_activation or "", head.final_activation)
    return f"the outputs of {name} are {limits}"


def _cure(loss: Loss, head: Head | Program, targets: Array) -> str:
    """Return advice for targets that the last layer cannot output."""
    if loss.core_name in ("hinge", "squared_hinge"):
        return "give the last layer no activation, or tanh"
    classes = class_numbers(targets)
    if classes is not None:
        first, last = classes
        from_zero = "" if first == 0 else f" and labels 0 to {last - first}"
        return (
            f"If {first} to {last} are classes, use {last - first + 1} units with softmax, "
            f"sparse_categorical_crossentropy{from_zero}; if they are numbers, give the last layer no activation"
        )
    if head.final_activation == "softmax" and np.isin(targets, (0.0, 1.0)).all():
        return "for classes that do not exclude each other use sigmoid with binary_crossentropy"
    low, high = output_range(head)
    scale = f", or scale the targets to between {low:.4g} and {high:.4g}" if math.isfinite(high - low) else ""
    return f"give the last layer no activation{'' if head.final_activation == 'softmax' else scale}"


def class_numbers(targets: Array) -> tuple[int, int] | None:
    """Return first and last class if one column (n, 1) holds only 0, 1, ..., k or 1, 2, ..., k with k at most 20."""
    if targets.shape[1] != 1 or len(targets) < 10 or not 1.0 <= targets.max() <= 20.0:
        return None
    values = np.unique(targets)
    first, last = int(values[0]), int(values[-1])
    complete = first in (0, 1) and last > first and np.array_equal(values, np.arange(first, last + 1))
    return (first, last) if complete else None
