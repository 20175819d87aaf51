"""The program of a network: the list of ops that the compiled core runs, made from a list of layers."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastnn._warnings import warn
from fastnn.layers import Activation, Dense, Flatten, InputLayer, Layer, Normalization, ParameterSpec, Residual
from fastnn.losses import Loss


class Program(NamedTuple):
    """Ops of a network, and which of them carries each layer's weights.

    Parameters
    ----------
    n_features : number of input columns.
    ops : ``(kind, options)`` for the core.
    widths : number of output columns of each layer.
    specs : weights of each layer.
    places : for each layer and weight, the op's number and the weight's name in the core.
    """

    n_features: int
    ops: list[tuple[str, dict[str, Any]]]
    widths: list[int]
    specs: list[list[ParameterSpec]]
    places: list[list[tuple[int, str]]]

    @property
    def n_outputs(self) -> int:
        """Number of output columns."""
        return self.widths[-1] if self.widths else self.n_features

    @property
    def parameters(self) -> list[tuple[int, str]]:
        """Op and name in the core of all weights, in the order of ``get_weights()``."""
        return [place for places in self.places for place in places]

    @property
    def parameter_specs(self) -> list[ParameterSpec]:
        """Descriptions of all weights, in the order of ``get_weights()``."""
        return [spec for specs in self.specs for spec in specs]

    @property
    def final_activation(self) -> str | None:
        """Activation of the last op; None if that op has none, as dropout."""
        activation: str | None = self.ops[-1][1].get("activation")
        return activation

    @property
    def penalizes_outputs(self) -> bool:
        """Whether any layer has an ``activity_regularizer``."""
        return any("activity_regularizer" in options for _, options in self.ops)

    @property
    def multiplications_per_row(self) -> int:
        """Multiplications in the forward pass of one row: a measure of its cost."""
        return sum(math.prod(spec.shape) for spec in self.parameter_specs) + sum(self.widths)


def check_sequence(layers: Sequence[Layer]) -> None:
    """Check that the layers fit together in this order.

    Raises
    ------
    ValueError
        An input that is not first, sizes that contradict each other, or two layers of one name.
    """
    names: dict[str, Layer] = {}
    n_outputs: int | None = None
    for position, layer in enumerate(layers):
        if names.setdefault(layer.name, layer) is not layer:
            raise ValueError(f"two layers are called {layer.name!r}; layer names must be unique")
        if position > 0 and isinstance(layer, InputLayer):
            raise ValueError(f"Input must come first, but layer {position} (counted from 0) is an Input")
        declared = layer.declared_input
        if declared is not None:
            if position > 0 and n_outputs is not None and declared != (n_outputs,):
                raise ValueError(
                    f"layer {position} ({layer.name!r}) declares input shape {declared}, but the layer before it, "
                    f"{layers[position - 1].name!r}, has {n_outputs} outputs"
                )
            follower = next((each for each in layers[position:] if not _keeps_shape(each)), layers[-1])
            if len(declared) > 1 and not isinstance(follower, Flatten) and not _keeps_shape(follower):
                raise ValueError(
                    f"layer {follower.name!r} takes rows that are vectors, but the input shape is {declared}: "
                    "put a Flatten layer first"
                )
            n_outputs = math.prod(declared)
        if n_outputs is not None:
            n_outputs = layer.n_outputs(n_outputs)
        elif isinstance(layer, Dense):
            n_outputs = layer.units


def _keeps_shape(layer: Layer) -> bool:
    """Whether a layer takes rows of any shape and keeps the shape."""
    return isinstance(layer, InputLayer) or layer.keeps_elements()


def flattened_shape(layers: Sequence[Layer]) -> tuple[int, ...] | None:
    """Return the shape of the rows that a first ``Flatten`` takes, () for any; None where rows must be vectors."""
    first = next((layer for layer in layers if not _keeps_shape(layer)), None)
    return layers[0].declared_input or () if isinstance(first, Flatten) else None


def takes_missing(layers: Sequence[Layer]) -> bool:
    """Whether NaN in the inputs stands for a missing value, which the first layer replaces."""
    first = next((layer for layer in layers if not isinstance(layer, InputLayer | Flatten)), None)
    return isinstance(first, Normalization) and first.missing is not None


def declared_features(layers: Sequence[Layer]) -> int | None:
    """Return the number of input columns that the layers declare; None if the data decide it."""
    if not layers or layers[0].declared_input is None:
        return None
    return math.prod(layers[0].declared_input)


def build_program(layers: Sequence[Layer], n_features: int) -> Program:
    """Compile layers into ops; an activation after a linear dense layer becomes part of that dense op.

    Raises
    ------
    ValueError
        No layer computes anything.
    """
    compiler = _Compiler()
    widths: list[int] = []
    specs: list[list[ParameterSpec]] = []
    places: list[list[tuple[int, str]]] = []
    n_in = n_features
    for layer in layers:
        n_out = layer.n_outputs(n_in)
        specs.append(layer.parameter_specs(n_in))
        places.append(compiler.add(layer, n_in))
        widths.append(n_in := n_out)
    if not compiler.ops:
        if not any(isinstance(layer, Activation) for layer in layers):
            raise ValueError("the model has no layer that computes anything; add a Dense layer")
        compiler.ops.append(("activation", {"activation": "linear"}))
    return Program(n_features, compiler.ops, widths, specs, places)


class _Compiler:
    """The ops so far; those before number ``closed`` no longer accept an activation."""

    def __init__(self) -> None:
        self.ops: list[tuple[str, dict[str, Any]]] = []
        self.closed = 0

    def add(self, layer: Layer, n_in: int) -> list[tuple[int, str]]:
        """Add a layer's ops; return op and name of each of its weights."""
        if isinstance(layer, Residual):
            return self._add_block(layer, n_in)
        op = layer.op(n_in)
        if op is None or (op[0] == "activation" and op[1]["activation"] == "linear"):
            return []
        if isinstance(layer, Activation) and self._takes_activation():
            self.ops[-1] = ("dense", {**self.ops[-1][1], **op[1]})
        else:
            self.ops.append(op)
        return [(len(self.ops) - 1, spec.name) for spec in layer.parameter_specs(n_in)]

    def _takes_activation(self) -> bool:
        if len(self.ops) <= self.closed:
            return False
        kind, options = self.ops[-1]
        return kind == "dense" and options["activation"] == "linear" and "activity_regularizer" not in options

    def _add_block(self, block: Residual, n_in: int) -> list[tuple[int, str]]:
        self.closed = source = len(self.ops)
        places = []
        for layer in block.layers:
            places += self.add(layer, n_in)
            n_in = layer.n_outputs(n_in)
        self.ops.append(("add", {"source": source}))
        self.closed = len(self.ops)
        return places


def skips_final_activation(loss: Loss, program: Program) -> bool:
    """Whether the loss takes the values before the last op's activation."""
    final = program.final_activation
    # A penalty on the outputs needs their values after the activation.
    return final is not None and final == loss.skipped_activation and "activity_regularizer" not in program.ops[-1][1]


def loss_options(loss: Loss, program: Program) -> dict[str, float]:
    """Return the loss's options for the core.

    A cross-entropy after its own activation (softmax, sigmoid) is computed from the values before the activation:
    mathematically the same, and exact where the probability rounds to 0 or 1.
    """
    options = loss.options()
    final = program.final_activation
    if not skips_final_activation(loss, program):
        return options
    if loss.from_logits:
        warn(
            f"{loss.name} has from_logits=True, but the last layer's activation is {final}: the loss is computed from "
            f"the values before the {final}"
        )
    options["from_logits"] = True
    return options
