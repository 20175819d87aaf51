"""Findings about the validation data, and how a network compares with simple models on it."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn.diagnosis.data import class_counts, filled
from fastnn.diagnosis.finding import Finding
from fastnn.training.rows import Rows

if TYPE_CHECKING:
    from fastnn.models.sequential import Sequential

Array = NDArray[Any]


def examine_validation(model: "Sequential", rows: Rows, validation: Rows) -> list[Finding]:
    """Examine the size of the validation data, the rows it shares with the training data, and simple models on it."""
    findings = []
    counts = class_counts(model, validation.y)
    smallest = validation.n if counts is None else int(counts.min())
    if validation.n < 50 or smallest < 10:
        measure = f"{validation.n} rows" + ("" if counts is None else f", {smallest} of the rarest class")
        findings.append(
            Finding("validation set too small", "validation data", "warning",
                    f"{measure}: differences between models of less than about {1.0 / np.sqrt(max(smallest, 1)):.0%} "
                    "are chance",
                    "Hold out more rows, or use cross-validation")
        )  # fmt: skip
    known = {row.tobytes() for row in np.ascontiguousarray(rows.X, dtype=np.float64) + 0.0}
    shared = sum(row.tobytes() in known for row in np.ascontiguousarray(validation.X, dtype=np.float64) + 0.0)
    if shared:
        findings.append(
            Finding("shared rows", "validation data", "serious",
                    f"the inputs of {shared:,} of {validation.n:,} rows are also in the training data",
                    "Remove duplicates before the split, and split by group, time or place")
        )  # fmt: skip
    return findings + _compare_with_simple_models(model, rows, validation)


def _compare_with_simple_models(model: "Sequential", rows: Rows, validation: Rows) -> list[Finding]:
    """Compare the network with the mean and a least-squares fit of the training data, on the validation data."""
    target, truth = _as_matrix(model, rows.y), _as_matrix(model, validation.y)
    predicted = np.asarray(model.network.predict(validation.X), dtype=np.float64)
    if predicted.shape != truth.shape:
        return []
    coefficients = np.linalg.lstsq(_with_ones(rows.X), target, rcond=None)[0]
    simple = {
        "the mean": np.broadcast_to(target.mean(axis=0), truth.shape),
        "a linear model": _with_ones(validation.X) @ coefficients,
    }
    if model.loss.targets == "numbers":
        kind = "mean squared error"
        if not np.any(truth.std(axis=0)):
            return []
        # Targets in different units have equal weight.
        scale = np.where(truth.std(axis=0) > 0.0, truth.std(axis=0), 1.0)

        def error(values: Array) -> float:
            return float(np.mean(np.square((values - truth) / scale)))
    else:
        kind = "fraction of wrong classes"

        def error(values: Array) -> float:
            return float(np.mean(_classes(values) != _classes(truth)))

        if model.program.final_activation not in ("softmax", "sigmoid") and predicted.shape[1] == 1:
            predicted = predicted + 0.5  # logits: class 1 above 0
    network_error = error(predicted)
    for name, values in simple.items():
        if error(values) <= network_error:
            return [
                Finding("no better than a simple model", "validation data", "serious",
                        f"{name} has a {kind} of {error(values):.4g}, the network {network_error:.4g}",
                        "Train longer, tune it, find better inputs, or use the simple model")
            ]  # fmt: skip
    return []


def _with_ones(X: Array) -> NDArray[np.float64]:
    return np.column_stack([filled(X), np.ones(len(X))]).astype(np.float64)


def _as_matrix(model: "Sequential", y: Array) -> NDArray[np.float64]:
    """Return targets as (n, n_outputs); labels become one-hot rows."""
    if model.loss.targets == "labels":
        return np.eye(model.program.n_outputs)[y.ravel()]
    return np.asarray(y, dtype=np.float64)


def _classes(values: Array) -> Array:
    """Return the class of each row of scores (n, n_outputs)."""
    return values.argmax(axis=1) if values.shape[1] > 1 else values[:, 0] > 0.5
