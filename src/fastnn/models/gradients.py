"""Gradients of the loss with respect to the weights, and of the outputs with respect to the inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn.losses.custom import CustomLoss
from fastnn.network.program import Program
from fastnn.network.stack import LayerStack
from fastnn.training.native import make_fit
from fastnn.training.rows import Rows, n_rows, take

Array = NDArray[Any]

_ROWS = 128
"""Rows per pass of the input gradients; a pass multiplies with an identity matrix of this size."""


def weight_gradients(model: LayerStack, rows: Rows) -> list[Array]:
    """Return the gradients of the loss of all rows as one batch, in the order of ``get_weights()``; dropout is off."""
    own = next((loss for loss in model.losses_of_outputs if isinstance(loss, CustomLoss)), None)
    if own is not None:
        raise ValueError(f"gradients needs one of fastnn's losses, but the loss is your function {own.name!r}")
    fit = make_fit(model, rows, rows.n, None)
    found = {(op, name): gradient for op, name, gradient in fit.gradients()}
    program, dtype = model.program, model.dtype
    shapes = [spec.shape for spec in program.parameter_specs]
    return [
        found[place] if place in found else np.zeros(shape, dtype)
        for place, shape in zip(program.parameters, shapes, strict=True)
    ]


def input_gradients(model: LayerStack, X: Any, scaling: Mapping[int, tuple[int, Array]]) -> Any:
    """Return the Jacobians (n, n_outputs, n_features) of the outputs with respect to each row of inputs.

    The rows become the kernel of a dense layer that is fed with an identity, so that the gradient of this kernel is
    that of the inputs. The loss is the absolute error of one output, whose derivative is exactly 1. Columns of integers
    stay inputs; the derivatives with respect to them are 0. The chain rule gives those with respect to columns that a
    layer scales before the network.

    Parameters
    ----------
    model : a built model.
    X : what its network takes.
    scaling : of ``slopes_of_scaling``.

    Returns
    -------
    An array; for a model with several inputs or outputs a list for each output of the arrays of all inputs.
    """
    program, dtype = model.program, model.dtype
    inputs = X if isinstance(X, list) else [X]
    n = n_rows(X)
    found = [[np.zeros((n, head.n_outputs, width), dtype) for width in program.input_widths] for head in program.heads]
    for start in range(0, n, _ROWS):
        part = slice(start, start + _ROWS)
        jacobians = _Jacobians(model, program, take(inputs, part))
        for output, head in enumerate(program.heads):
            for place, each in jacobians.of_output(output, head.n_outputs):
                found[output][place][part] = each
    found = [_before_scaling(each, program.graph.ports, scaling) for each in found]
    return found[0][0] if program.is_chain else found


def _before_scaling(
    gradients: list[Array], ports: Sequence[int], scaling: Mapping[int, tuple[int, Array]]
) -> list[Array]:
    """Return the derivatives with respect to the values before scaling; those of one value are added."""
    found: dict[int, Array] = {}
    for value, gradient in zip(ports, gradients, strict=True):
        while value in scaling:
            value, slopes = scaling[value]
            gradient = (gradient * slopes[:, None, :]).astype(gradient.dtype)
        found[value] = found[value] + gradient if value in found else gradient
    return [found[value] for value in sorted(found)]


class _Jacobians:
    """The derivatives of some rows: a network whose first layers hold the rows."""

    def __init__(self, model: LayerStack, program: Program, inputs: list[Array]) -> None:
        network, self._dtype = model.network, model.dtype
        looked_up = {
            buffer
            for number, (kind, options) in enumerate(program.ops)
            if kind == "embedding"
            for buffer in options.get("inputs", (number + len(inputs) - 1,))
        }
        kept = sorted(looked_up & set(range(len(inputs))))
        self._rows = [place for place in range(len(inputs)) if place not in kept]
        n, n_first = len(inputs[0]), len(self._rows)
        self._identity = np.eye(n, dtype=self._dtype)
        self._X = [self._identity, *(inputs[place] for place in kept)]
        first = [
            ("dense", {"n_out": inputs[place].shape[1], "use_bias": False, "activation": "linear", "inputs": (0,)})
            for place in self._rows
        ]
        # Buffers: the identity, the kept inputs, the rows, then the outputs of the ops in their order.
        moved = {place: 1 + number for number, place in enumerate(kept)}
        moved.update({place: 1 + len(kept) + number for number, place in enumerate(self._rows)})
        moved.update({len(inputs) + number: 1 + len(inputs) + number for number in range(len(program.ops))})
        ops = [_moved(op, moved, number, len(inputs), n_first) for number, op in enumerate(program.ops)]
        self._network: Any = _core.Network(
            [n, *(inputs[place].shape[1] for place in kept)],
            [*first, *ops],
            self._dtype.name,
            [moved[buffer] for buffer in program.outputs],
        )
        for number, place in enumerate(self._rows):
            block = np.ascontiguousarray(inputs[place], self._dtype)
            self._network.set_parameter(number, "kernel", block)
        for op, name in program.parameters:
            self._network.set_parameter(op + n_first, name, network.get_parameter(op, name))
        self._n_outputs = len(program.heads)

    def of_output(self, output: int, n_columns: int) -> list[tuple[int, Array]]:
        """Return the number of each input and the derivatives (n, n_columns, columns) of one output."""
        losses: list[Any] = [None] * self._n_outputs
        losses[output] = ("mean_absolute_error", {"sum": True}, 1.0)
        self._network.compile(losses, None, "sgd", {})
        found = self._network.predict(self._X)
        outputs = found[output] if isinstance(found, list) else found
        columns: list[list[Any]] = []
        for column in range(n_columns):
            targets = outputs.copy()
            targets[:, column] -= 1.0 + np.abs(targets[:, column])
            y: Any = targets if self._n_outputs == 1 else [targets]
            fit = _core.Fit(self._network, self._X, y, None, len(targets))
            gradients = {op: gradient for op, _, gradient in fit.gradients()}
            columns.append([gradients.get(number) for number in range(len(self._rows))])
        return [
            (place, np.stack([each[number] for each in columns], axis=1) * n_columns)
            for number, place in enumerate(self._rows)
            if columns[0][number] is not None
        ]


def _moved(
    op: tuple[str, dict[str, Any]], moved: dict[int, int], number: int, n_inputs: int, n_first: int
) -> tuple[str, dict[str, Any]]:
    """Return an op for its place after others: the buffers and ops that it refers to have other numbers."""
    kind, options = op
    before = options.get("inputs", (number + n_inputs - 1 if number else 0,))
    others = {"weights_of": options["weights_of"] + n_first} if "weights_of" in options else {}
    return kind, {**options, "inputs": tuple(moved[buffer] for buffer in before), **others}
