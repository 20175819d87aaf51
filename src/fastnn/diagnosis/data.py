"""Findings about the inputs and the targets, and whether the last layer and the loss suit the targets."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn.diagnosis.finding import Finding
from fastnn.layers import BatchNormalization, Flatten, Identity, Normalization
from fastnn.network.outputs import class_numbers, misfit, output_range, unsuitable_targets
from fastnn.network.program import Head, Program
from fastnn.training.rows import Rows

if TYPE_CHECKING:
    from fastnn.models.sequential import Sequential

Array = NDArray[Any]
Vector = NDArray[np.float64]

MAX_ROWS = 10_000
"""Units, gradients and pairs of columns are measured on at most this number of rows, the first ones."""
_MAX_PAIRED_COLUMNS = 1000

# Outside of these limits, gradient descent with default rates is slow or diverges.
_LARGE = 10.0  # size of the values
_SMALL = 0.1  # standard deviation
_SHIFTED = 5.0  # |mean| in standard deviations
_UNEQUAL = 10.0  # ratio of the standard deviations of two targets: 100 in their squared errors
_SERIOUS = 100.0  # times beyond a limit
_SCALED = (
    "mean_squared_error", "mean_absolute_error", "huber", "log_cosh", "quantile", "multi_quantile", "gaussian_nll",
    "custom",
)  # fmt: skip
"""Losses whose meaning is kept when the targets are scaled."""


def _head(model: Any) -> Head:
    """Return the output that is examined: the only one of a chain, or one of a graph."""
    program: Head | Program = model.program
    return program if isinstance(program, Head) else program.heads[0]


def counted(model: "Sequential", rows: Rows) -> Rows:
    """Return the rows whose labels the loss does not ignore."""
    ignored = model.loss.ignore_class
    if ignored is None:
        return rows
    kept = rows.y != ignored
    if not kept.any():
        raise ValueError(f"all labels in y are {ignored}, which the loss ignores")
    return Rows(rows.X[kept], rows.y[kept], None)


def filled(X: Array) -> Array:
    """Return inputs whose missing values are replaced by the mean of their column, 0 where the column has none."""
    if np.isfinite(X.sum(dtype=np.float64)):
        return X
    present = ~np.isnan(X)
    mean = np.where(present, X, 0.0).sum(axis=0, dtype=np.float64) / np.maximum(present.sum(axis=0), 1)
    return np.where(present, X, mean)


def lower_part(model: "Sequential", n_layers: int) -> "Sequential":
    """Return a copy of the first layers of a model, with their weights."""
    layers = model.layers[:n_layers]
    copies = [type(layer).from_config(layer.get_config()) for layer in layers]
    part = type(model)(copies, seed=0, dtype=model.dtype)
    part.build((None, model.program.n_features))
    part.set_weights([weight for layer in layers for weight in layer.get_weights()])
    return part


def examine_inputs(model: "Sequential", rows: Rows) -> list[Finding]:
    """Examine every column: missing, constant, duplicated, and as the first layer with weights gets it, unscaled."""
    n_scaling, normalizes = _scaling_layers(model)
    scaled = None
    if n_scaling and not normalizes:
        scaled = np.asarray(lower_part(model, n_scaling).predict(rows.X, verbose=0))
    return examine_columns(rows.X, normalizes, scaled)


def examine_columns(given: Array, normalizes: bool, scaled: Array | None = None) -> list[Finding]:
    """Examine every column of inputs.

    Parameters
    ----------
    given : the inputs (n, columns).
    normalizes : whether a layer normalizes them, so that their scale does not matter.
    scaled : what the first layer with weights gets of them; None for the inputs themselves.
    """
    findings = []
    X = filled(given)
    absent = np.zeros(X.shape[1]) if X is given else np.isnan(given).mean(axis=0)
    for where, column in _places("column", np.flatnonzero(absent > 0.5), absent):
        findings.append(
            Finding("missing values", where, "serious" if absent[column] == 1.0 else "warning",
                    f"{absent[column]:.1%} of the rows have no value",
                    "Leave it out, unless the absence itself tells something (missing='indicator')")
        )  # fmt: skip
    mean, scale = _mean_and_deviation(X)
    constant = _is_constant(mean, scale)
    for where, column in _places("column", np.flatnonzero(constant & (absent < 1.0)), np.abs(mean)):
        findings.append(
            Finding("constant column", where, "warning", f"every row has {mean[column]:.4g}",
                    "Leave it out: it carries no information and blows up when it is standardized")
        )  # fmt: skip
    findings += _examine_pairs(X[:MAX_ROWS], constant)
    if normalizes:
        return findings
    if scaled is not None:
        X = scaled[:, : X.shape[1]]  # without the indicators of missing values
        mean, scale = _mean_and_deviation(X)
    excess = np.where(constant, 0.0, _excess(X, mean, scale))
    for where, column in _places("column", np.flatnonzero(excess > 1.0), excess):
        findings.append(
            Finding("unscaled inputs", where, "serious" if excess[column] > _SERIOUS else "warning",
                    f"mean {mean[column]:.4g}, standard deviation {scale[column]:.4g}",
                    "Standardize: subtract the training mean and divide by the training standard deviation, "
                    f"{_standardized('x', mean[column], scale[column])}, or start with layers.Normalization")
        )  # fmt: skip
    return findings


def _scaling_layers(model: "Sequential") -> tuple[int, bool]:
    """Return how many of the first layers only scale the inputs, and whether a BatchNormalization follows them."""
    n_scaling = 0
    for place, layer in enumerate(model.layers):
        if isinstance(layer, Normalization):
            n_scaling = place + 1
        elif not isinstance(layer, Flatten | Identity):
            return n_scaling, isinstance(layer, BatchNormalization)
    return n_scaling, False


def _mean_and_deviation(X: Array) -> tuple[Vector, Vector]:
    """Return mean and standard deviation of each column, in float64."""
    return X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)


def _is_constant(mean: Vector, scale: Vector) -> NDArray[np.bool_]:
    """Whether each column is constant: because of rounding, it may deviate by its size times its type's precision."""
    constant: NDArray[np.bool_] = scale <= 1e-6 * np.abs(mean)
    return constant


def _excess(X: Array, mean: Vector, scale: Vector) -> Vector:
    """Return how many times each column is beyond the limits of size, deviation or shift; at most 1 is scaled."""
    shift = np.abs(mean) / np.maximum(scale, 1e-300)
    low, high = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
    # A deviation is small because of small values; in a column that is seldom 1, else 0, it is not a fault.
    small = np.maximum(high - mean, mean - low) < 0.5
    excess = np.maximum(np.hypot(mean, scale) / _LARGE, shift / _SHIFTED)
    excess = np.maximum(excess, np.where(small, _SMALL / np.maximum(scale, 1e-300), 0.0))
    indicator = (low == 0.0) & (high == 1.0)
    excess[indicator] = np.where(np.isin(X[:, indicator], (0.0, 1.0)).all(axis=0), 0.0, excess[indicator])
    return np.asarray(excess)


def _standardized(name: str, mean: float, scale: float) -> str:
    """Return the formula with the numbers of the data: "(x - 8.03) / 0.042"."""
    return f"({name} {'+' if mean < 0.0 else '-'} {abs(mean):.4g}) / {scale:.4g}"


def _examine_pairs(X: Array, constant: NDArray[np.bool_]) -> list[Finding]:
    """Find columns that are another one up to factor and offset."""
    varying = np.flatnonzero(~constant)
    if len(X) < 10 or not 2 <= len(varying) <= _MAX_PAIRED_COLUMNS:
        return []
    Z = X[:, varying].astype(np.float64)
    Z -= Z.mean(axis=0)
    size = np.linalg.norm(Z, axis=0)
    Z /= np.where(size > 0.0, size, 1.0)
    same = np.triu(np.abs(Z.T @ Z) > 1.0 - 1e-9, 1)
    second = np.flatnonzero(same.any(axis=0))
    first = same.argmax(axis=0)
    findings = []
    for where, column in _places("column", varying[second], np.ones(X.shape[1])):
        original = int(varying[first[np.searchsorted(varying, column)]])
        equal = np.array_equal(X[:, column], X[:, original])
        findings.append(
            Finding("duplicated column", where, "note",
                    f"it equals column {original}" if equal else f"it is a linear function of column {original}",
                    "Leave it out: it carries no further information")
        )  # fmt: skip
    return findings


def _places(kind: str, columns: NDArray[np.intp], badness: Vector) -> list[tuple[str, int]]:
    """Return a name for each column; for more than four, only the worst and the number of others."""
    if len(columns) <= 4:
        return [(f"{kind} {column}", int(column)) for column in columns]
    worst = int(columns[badness[columns].argmax()])
    return [(f"{kind} {worst} and {len(columns) - 1:,} others ({_ranges(columns)})", worst)]


def _ranges(columns: NDArray[np.intp]) -> str:
    """Return the columns' numbers as at most eight ranges: "0-3, 7, ..."."""
    runs = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ", ".join(texts if len(texts) <= 8 else [*texts[:8], "..."])


def examine_last_layer(model: "Sequential", rows: Rows) -> list[Finding]:
    """Check the last layer and the loss against the targets and against each other."""
    where = f"layer {model.layers[-1].name!r}"
    findings = []
    for found, affected in unsuitable_targets(model.loss, _head(model), rows.y):
        fraction = float(affected.mean())
        findings.append(
            Finding("unsuitable targets", where, "serious" if fraction > 0.05 else "warning",
                    f"{found.cause}: {affected.sum():,} of {rows.n:,} rows cannot be fitted", _sentence(found.cure))
        )  # fmt: skip
    mismatch = misfit(model.loss, _head(model))
    if mismatch is not None and (not findings or model.program.n_outputs == 1):
        findings.append(Finding("unsuitable last layer", where, "serious", mismatch.cause, _sentence(mismatch.cure)))
    if findings or model.loss.targets != "numbers" or model.program.final_activation == "sigmoid":
        return findings
    classes = class_numbers(np.asarray(rows.y, dtype=np.float64))
    if classes is None or model.loss.core_name in ("hinge", "squared_hinge", "poisson"):
        return findings
    first, last = classes
    units = "one unit with sigmoid and binary_crossentropy"
    if classes != (0, 1):
        labels = "" if first == 0 else f" and labels 0 to {last - first}"
        units = f"{last - first + 1} units with softmax, sparse_categorical_crossentropy{labels}"
    return [
        Finding("targets that may be classes", "y", "note", f"every target is a whole number from {first} to {last}",
                f"If they are classes and not amounts, use {units}")
    ]  # fmt: skip


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def examine_targets(model: "Sequential", rows: Rows) -> list[Finding]:
    """Examine numbers as the targets of a regression, or the frequencies of classes."""
    counts = class_counts(model, rows.y)
    return _examine_numbers(model, rows.y) if counts is None else _examine_classes(counts)


def _examine_numbers(model: "Sequential", targets: Array) -> list[Finding]:
    y = targets.astype(np.float64)
    mean, scale = _mean_and_deviation(y)
    constant = _is_constant(mean, scale)
    findings = [
        Finding("constant target", where, "serious", f"every row has {mean[column]:.4g}",
                "Check how it was made: there is nothing to learn, and it cannot be standardized")
        for where, column in _places("target", np.flatnonzero(constant), np.abs(mean))
    ]  # fmt: skip
    low, high = output_range(_head(model))
    if model.loss.core_name not in _SCALED or np.isfinite(high):
        return findings
    excess = np.where(constant, 0.0, _excess(y, mean, scale))
    for where, column in _places("target", np.flatnonzero(excess > 1.0), excess):
        scaled = _standardized("y", mean[column], scale[column])
        if np.isfinite(low):  # the outputs cannot be negative
            scaled = f"y / {np.hypot(mean[column], scale[column]):.4g}"
        findings.append(
            Finding("unscaled targets", where, "warning",
                    f"mean {mean[column]:.4g}, standard deviation {scale[column]:.4g}",
                    f"Scale them: train on {scaled}, and undo it in prediction")
        )  # fmt: skip
    varying = np.flatnonzero(~constant)
    if len(varying) < 2 or model.loss.core_name in ("gaussian_nll", "multi_quantile"):
        return findings
    largest, smallest = int(varying[scale[varying].argmax()]), int(varying[scale[varying].argmin()])
    ratio = scale[largest] / scale[smallest]
    if ratio > _UNEQUAL:
        findings.append(
            Finding("targets of different scales", f"targets {smallest} and {largest}",
                    "serious" if ratio > _SERIOUS else "warning",
                    f"standard deviations {scale[smallest]:.4g} and {scale[largest]:.4g}: the loss is nearly that of "
                    f"target {largest} alone",
                    "Standardize each target: subtract its training mean and divide by its standard deviation")
        )  # fmt: skip
    return findings


def _examine_classes(counts: Vector) -> list[Finding]:
    n = counts.sum()
    present = np.flatnonzero(counts)
    if len(present) == 1 and len(counts) > 1:
        return [
            Finding("constant target", "y", "serious", f"all {n:,.0f} rows are of class {present[0]}",
                    "Check how it was made: there is nothing to learn")
        ]  # fmt: skip
    findings = []
    absent = np.flatnonzero(counts == 0)
    if len(absent):
        findings.append(
            Finding("class without rows", f"class {_ranges(absent)}", "warning",
                    f"{len(absent)} of {len(counts)} classes never occur in the targets",
                    f"Number the classes from 0, and give the last layer {len(present)} units, or gather rows of "
                    "every class")
        )  # fmt: skip
    rarest, most = int(present[counts[present].argmin()]), int(counts.argmax())
    fraction, balanced = counts[rarest] / n, 1.0 / len(present)
    if len(present) > 1 and fraction < 0.2 * balanced:
        weights = ", ".join(f"{label}: {n * balanced / counts[label]:.3g}" for label in sorted({rarest, most}))
        findings.append(
            Finding("class imbalance", f"class {rarest}", "serious" if fraction < 0.02 else "warning",
                    f"{counts[rarest]:,.0f} of {n:,.0f} rows ({fraction:.2%}): always predicting class {most} has an "
                    f"accuracy of {counts[most] / n:.2%}",
                    "Judge by precision and recall, not accuracy; gather more of that class, or pass class_weight to "
                    f"fit (balanced: {{{weights}{', ...' if len(present) > 2 else ''}}})")
        )  # fmt: skip
    return findings


def class_counts(model: "Sequential", y: Array) -> Vector | None:
    """Return the number of rows of each class; None if the targets are not classes."""
    if model.loss.targets == "labels":
        return np.bincount(y.ravel(), minlength=model.program.n_outputs).astype(np.float64)
    if model.loss.targets == "one_hot":
        return np.asarray(y.sum(axis=0, dtype=np.float64))
    if model.loss.targets == "probabilities" and y.shape[1] == 1 and np.isin(y, (0, 1)).all():
        ones = float(y.sum())
        return np.array([len(y) - ones, ones])
    return None
