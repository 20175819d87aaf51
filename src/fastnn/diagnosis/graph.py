"""Findings about a graph: input by input, output by output, as those of a chain."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.diagnosis.data import MAX_ROWS, counted, examine_columns, examine_last_layer, examine_targets
from fastnn.diagnosis.finding import Finding
from fastnn.diagnosis.network import examine_gradients, examine_units
from fastnn.diagnosis.validation import examine_validation
from fastnn.layers import BatchNormalization, Embedding, Normalization
from fastnn.network.program import Head
from fastnn.training.outputs import of_output
from fastnn.training.rows import Rows

Array = NDArray[Any]


@dataclass(frozen=True)
class _Output:
    """One output of a graph, with what the examinations of a chain look at.

    Parameters
    ----------
    loss, program : its loss, and what computes it.
    layers : the layer that gives it.
    predictions : (n, n_outputs) for the validation data; None without them.
    """

    loss: Any
    program: Head
    layers: list[Any]
    predictions: Array | None = None

    @property
    def network(self) -> "_Output":
        """The output itself: it predicts."""
        return self

    def predict(self, X: Array) -> Array:
        """Return the predictions for the validation data."""
        assert self.predictions is not None
        return self.predictions


def examine_graph(model: Any, rows: Rows, validation: Rows | None, learning_rate: float | None) -> list[Finding]:
    """Examine the inputs, outputs, units and gradients of a compiled graph."""
    findings = [*_examine_inputs(model, rows)]
    predicted = None if validation is None else model.network.predict(validation.X)
    outputs = zip(model.output_keys, model.losses_of_outputs, model.program.heads, model.outputs, strict=True)
    for place, (key, loss, head, tensor) in enumerate(outputs):
        if loss is None:
            continue
        guess = None if predicted is None else predicted[place] if isinstance(predicted, list) else predicted
        view: Any = _Output(loss, head, [tensor.node.layer], guess)
        own = counted(view, Rows(_joined(rows.X), of_output(rows.y, place), None))
        found = [*examine_last_layer(view, own), *examine_targets(view, own)]
        if validation is not None:
            held_out = Rows(_joined(validation.X), of_output(validation.y, place), None)
            found += examine_validation(view, own, held_out)
        several = len(model.outputs) > 1
        findings += [replace(each, where=f"output {key!r}: {each.where}") for each in found] if several else found
    part = rows.first(MAX_ROWS)
    findings += [*examine_units(model, part.X), *examine_gradients(model, part, learning_rate)]
    return list(dict.fromkeys(findings))


def _joined(X: Any) -> Array:
    """Return the columns of all inputs side by side."""
    return np.hstack([np.asarray(each, dtype=np.float64) for each in X]) if isinstance(X, list) else X


def _examine_inputs(model: Any, rows: Rows) -> Iterator[Finding]:
    """Examine the columns of every input that the network computes with; those of embeddings are numbers of rows."""
    graph = model.program.graph
    names = [tensor.name for tensor in model.inputs]
    for port, X in zip(graph.ports, rows.X if isinstance(rows.X, list) else [rows.X], strict=True):
        users = [step.layer for step in graph.steps if port in step.inputs]
        if port >= len(names) or any(isinstance(layer, Embedding) for layer in users):
            continue
        normalizes = bool(users) and all(isinstance(layer, Normalization | BatchNormalization) for layer in users)
        for finding in examine_columns(np.asarray(X), normalizes):
            yield replace(finding, where=f"input {names[port]!r}: {finding.where}") if len(names) > 1 else finding
