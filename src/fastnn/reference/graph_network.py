"""A network that is a graph, in plain NumPy: several inputs, outputs and losses, and weights that several ops share."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastnn.reference.arguments import Array
from fastnn.reference.layers import Activation, BatchNormalization, Dense, Layer, LayerNormalization, PReLU
from fastnn.reference.losses import loss_and_gradient
from fastnn.reference.merging import Arithmetic, Concatenate, Embedding, Merge, RowDot, Slice
from fastnn.reference.tabular import (
    BoundedLines,
    CosineFeatures,
    FeatureScale,
    GroupedDense,
    MemberDense,
    ParametricActivation,
)

Op = tuple[str, Mapping[str, Any]]


class GraphNetwork:
    """Ops in the order in which they run.

    Buffers are numbered: first the inputs, then the output of each op.

    Parameters
    ----------
    n_inputs : number of inputs.
    ops : list of (kind, options). Options are "inputs" (buffers; left out: the one before), "weights_of" (an earlier op
        whose weights it uses), and those of the kind: "activation" and its "parameters" by name; "epsilon"; "number",
        "number_first"; "start", "stop", "step"; "normalize"; "function"; "groups".
    weights : the weights of each op; empty for those without, or with shared ones.
    outputs : buffers.

    Examples
    --------
    >>> ops = [("dense", {}), ("add", {"inputs": (0, 1)})]
    >>> network = GraphNetwork(1, ops, [[[[2.0]], [1.0]], []], [2])
    >>> [out.tolist() for out in network.predict([[[3.0]]])]
    [[[10.0]]]
    """

    def __init__(
        self, n_inputs: int, ops: Sequence[Op], weights: Sequence[Sequence[Any]], outputs: Sequence[int]
    ) -> None:
        self._n_inputs, self._outputs = n_inputs, list(outputs)
        self._owners: list[int] = []
        self._inputs: list[tuple[int, ...]] = []
        self._layers: list[Layer | Merge | Embedding] = []
        for number, (kind, options) in enumerate(ops):
            shared = options.get("weights_of")
            owner = number if shared is None else self._owners[shared]
            self._owners.append(owner)
            self._inputs.append(tuple(options.get("inputs") or (n_inputs + number - 1 if number else 0,)))
            layer = _layer(kind, options, weights[owner])
            if owner != number:
                layer.weights = self._layers[owner].weights  # type: ignore[union-attr]
            self._layers.append(layer)

    @property
    def weights(self) -> list[list[Array]]:
        """The weights of each op, which may be changed in place; empty for an op with shared ones."""
        return [
            list(getattr(layer, "weights", [])) if owner == number else []
            for number, (layer, owner) in enumerate(zip(self._layers, self._owners, strict=True))
        ]

    def predict(self, inputs: Sequence[Any]) -> list[Array]:
        """Return the outputs (n, width) of inputs (n, width)."""
        values = self._run(inputs, training=False)
        return [values[buffer] for buffer in self._outputs]

    def _run(self, inputs: Sequence[Any], training: bool) -> list[Array]:
        values = [np.asarray(x, np.float64) for x in inputs]
        for layer, buffers in zip(self._layers, self._inputs, strict=True):
            read = [values[buffer] for buffer in buffers]
            if isinstance(layer, Merge):
                values.append(layer.forward(read))
            elif isinstance(layer, Embedding):
                values.append(layer.forward(read[0]))
            else:
                values.append(layer.forward(read[0], (0, 1, 0) if training else None))
        return values

    def gradients(
        self,
        inputs: Sequence[Any],
        targets: Sequence[Any],
        losses: Sequence[tuple[str, Mapping[str, Any], float] | None],
    ) -> tuple[float, list[list[Array]]]:
        """Return the sum of the losses times their weights, in training, and its gradient by op and weight.

        Parameters
        ----------
        inputs : (n, width) each.
        targets : of each output; not used for one without a loss.
        losses : (name, options of `loss_and_gradient`, weight) of each output, or None.
        """
        values = self._run(inputs, training=True)
        slopes = [np.zeros_like(value) for value in values]
        total = 0.0
        for buffer, y, loss in zip(self._outputs, targets, losses, strict=True):
            if loss is not None:
                value, slope = loss_and_gradient(loss[0], y, values[buffer], None, **loss[1])
                total += loss[2] * value
                slopes[buffer] = slopes[buffer] + loss[2] * slope
        found: list[list[Array]] = [[np.zeros_like(w) for w in each] for each in self.weights]
        for number in reversed(range(len(self._layers))):
            layer, slope = self._layers[number], slopes[self._n_inputs + number]
            if isinstance(layer, Merge):
                parts = layer.backward(slope)
            else:
                part = layer.backward(slope)
                parts = [] if part is None else [part]
                kept = found[self._owners[number]]
                for i, gradient in enumerate(layer.gradients):
                    kept[i] = kept[i] + gradient
            for buffer, part in zip(self._inputs[number], parts, strict=False):
                slopes[buffer] = slopes[buffer] + part
        return total, found


_WITH_WEIGHTS: dict[str, Any] = {
    "dense": Dense,
    "embedding": Embedding,
    "prelu": PReLU,
    "layer_normalization": LayerNormalization,
    "batch_normalization": BatchNormalization,
    "feature_scale": FeatureScale,
    "parametric_activation": ParametricActivation,
    "cosine_features": CosineFeatures,
    "grouped_product": GroupedDense,
    "bounded_lines": BoundedLines,
    "member_product": MemberDense,
}
_ARGUMENTS = {
    "activation": "name",
    "function": "name",
    "momentum": "momentum",
    "epsilon": "epsilon",
    "groups": "groups",
}


def _layer(kind: str, options: Mapping[str, Any], weights: Sequence[Any]) -> Any:
    """Return the layer of an op."""
    arguments = {_ARGUMENTS[name]: value for name, value in options.items() if name in _ARGUMENTS}
    if kind in _WITH_WEIGHTS:
        return _WITH_WEIGHTS[kind](*weights, **arguments, **options.get("parameters", {}))
    if kind == "activation":
        return Activation(**arguments, **options.get("parameters", {}))
    if kind == "concatenate":
        return Concatenate()
    if kind == "slice":
        return Slice(options["start"], options["stop"], options["step"])
    if kind == "dot":
        return RowDot(options.get("normalize", False))
    return Arithmetic(kind, options.get("number"), options.get("number_first", False))
