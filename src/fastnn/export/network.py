"""A network as a list of steps with plain arrays: what the writers of every language read.

Buffers are numbered: the inputs first, then the output of each step, in order. A step names the buffers that it reads.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core

Array = NDArray[Any]

_SMALLEST_DEVIATION = 1e-7
"""The core's smallest divisor of ``Normalization``."""
_TEST_ROWS = 9
"""Rows of a self-test: a whole tile of six rows, and rows that are left."""
_ROW_ACTIVATIONS = ("softmax", "log_softmax")


@dataclass(frozen=True)
class Step:
    """One operation.

    Parameters
    ----------
    kind : "dense", "activation", "batch_normalization", "layer_normalization", "prelu", "normalization", "add"; of
        estimators also "prepare" (inputs), "rescale" (targets) and "two_classes".
    inputs : numbers of the buffers that it reads.
    n_in, n_out : columns of its first input, and of its output.
    name : name of the layer that it computes.
    options : by name; of an activation "activation" (the core's name) and "parameters".
    arrays : by name; weights in the network's dtype, the constants of estimators in float64.
    """

    kind: str
    inputs: tuple[int, ...]
    n_in: int
    n_out: int
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)

    @property
    def operations(self) -> int:
        """Multiply-adds of one row in its product."""
        return self.n_in * self.n_out if self.kind == "dense" else 0


@dataclass(frozen=True)
class ExportedNetwork:
    """A whole network.

    Parameters
    ----------
    title : what it is, in a few words.
    dtype : float32 or float64.
    n_features : input columns.
    steps : in order; the last one gives the output.
    evaluate : function from inputs (n, n_features) of the dtype to the outputs (n, n_outputs) that fastnn computes.
    feature_names, output_names : names of the columns, or None.
    centre, spread : of the inputs that the network was trained on, (n_features,), or 0 and 1: a self-test needs them.
    """

    title: str
    dtype: np.dtype[Any]
    n_features: int
    steps: tuple[Step, ...]
    evaluate: Callable[[Array], Array]
    feature_names: Sequence[str] | None = None
    output_names: Sequence[str] | None = None
    centre: Array = field(default_factory=lambda: np.zeros(1))
    spread: Array = field(default_factory=lambda: np.ones(1))

    @property
    def n_outputs(self) -> int:
        """Output columns."""
        return self.steps[-1].n_out if self.steps else self.n_features

    @property
    def operations(self) -> int:
        """Multiply-adds of one row in all products."""
        return sum(step.operations for step in self.steps)

    @property
    def n_weights(self) -> int:
        """Number of weights and constants."""
        return sum(array.size for step in self.steps for array in step.arrays.values())

    def widths(self) -> list[int]:
        """Return the columns of every buffer."""
        return [self.n_features, *(step.n_out for step in self.steps)]

    def test_rows(self) -> tuple[Array, Array]:
        """Return inputs (n, n_features) and fastnn's outputs (n, n_outputs); the outputs are finite.

        Raises
        ------
        ValueError
            No input gives finite outputs.
        """
        draws = np.random.Generator(np.random.Philox(key=17)).standard_normal((_TEST_ROWS, self.n_features))
        for factor in (1.0, 0.1, 0.001, 0.0):
            X = (self.centre + factor * draws * self.spread).astype(self.dtype)
            Y = np.ascontiguousarray(self.evaluate(X), self.dtype)
            if np.isfinite(X).all() and np.isfinite(Y).all():
                return X, Y
        raise ValueError("the network gives no finite outputs, so there is nothing to export")


def check_finite(steps: Sequence[Step]) -> None:
    """Raise ValueError where a weight is NaN or infinite, naming the layer."""
    for step in steps:
        for name, array in step.arrays.items():
            if not np.isfinite(array).all():
                raise ValueError(f"layer {step.name!r} has a {name} that is not finite: it cannot be exported")


def network_steps(
    network: _core.Network, ops: Sequence[tuple[str, Mapping[str, Any]]], names: Mapping[int, str], start: int = 0
) -> tuple[Step, ...]:
    """Return the steps of a compiled network, without those that do nothing at prediction.

    Parameters
    ----------
    network : it holds the weights.
    ops : ``(kind, options)`` of the core.
    names : layers' names by the number of their op.
    start : number of steps before the network; buffer ``start`` holds its inputs.

    Raises
    ------
    ValueError
        An op that cannot be exported.
    """
    steps: list[Step] = []
    buffers, widths = [start], [network.n_features]  # where the input and each op's output are, and their columns

    def append(kind: str, inputs: tuple[int, ...], n_in: int, n_out: int, name: str, *contents: Any) -> None:
        steps.append(Step(kind, inputs, n_in, n_out, name, *contents))
        buffers[-1], widths[-1] = start + len(steps), n_out

    for number, (kind, options) in enumerate(ops):
        read = options.get("inputs", (number,))
        before, n_in = buffers[read[-1]], widths[read[-1]]
        buffers.append(before)
        widths.append(n_in)
        if kind in ("dropout", "gaussian_noise"):
            continue
        name = names.get(number, f"{kind}_{number}")
        if kind == "add":
            append(kind, tuple(buffers[each] for each in reversed(read)), n_in, n_in, name)
        elif kind != "activation":
            described = _describe(network, number, kind, options, n_in)
            n_out = {"dense": options.get("n_out"), "normalization": n_in * (1 + bool(described[0].get("indicator")))}
            append(kind, (before,), n_in, n_out.get(kind) or n_in, name, *described)
        activation = options.get("activation", "linear")
        if activation != "linear":
            given = {"activation": activation, "parameters": tuple(options.get("parameters", ()))}
            append("activation", (buffers[-1],), widths[-1], widths[-1], name, given)
    check_finite(steps)
    return tuple(steps)


def _describe(
    network: _core.Network, op: int, kind: str, options: Mapping[str, Any], n_in: int
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return options and arrays of a step, with constants rounded as the kernels round them."""
    dtype = network.dtype

    def weight(name: str, option: str, default: float, n: int = n_in) -> Array:
        return network.get_parameter(op, name) if options.get(option, True) else np.full(n, default, dtype)

    if kind == "dense":
        bias = weight("bias", "use_bias", 0.0, options["n_out"])
        return {}, {"kernel": network.get_parameter(op, "kernel"), "bias": bias}
    if kind == "prelu":
        return {}, {"alpha": network.get_parameter(op, "alpha")}
    if kind == "layer_normalization":
        given = {"epsilon": float(options["epsilon"]), "rms": bool(options.get("rms_scaling"))}
        return given, {"scale": weight("gamma", "scale", 1.0), "shift": weight("beta", "center", 0.0)}
    if kind == "batch_normalization":
        variance = network.get_parameter(op, "moving_variance").astype(np.float64)
        with np.errstate(all="ignore"):
            inverse = 1.0 / np.sqrt(variance + options["epsilon"])
            scale = (weight("gamma", "scale", 1.0).astype(np.float64) * inverse).astype(dtype)
        centre = network.get_parameter(op, "moving_mean")
        return {}, {"centre": centre, "scale": scale, "shift": weight("beta", "center", 0.0)}
    if kind == "normalization":
        mean, variance = (network.get_parameter(op, name) for name in ("mean", "variance"))
        deviation = np.maximum(np.sqrt(variance.astype(np.float64)), _SMALLEST_DEVIATION)
        zeros = np.zeros(n_in, dtype)
        invert, missing = options.get("invert", False), options.get("missing")
        given = {"missing": missing is not None, "indicator": missing == "indicator"}
        return given, {
            "centre": zeros if invert else mean,
            "scale": (deviation if invert else 1.0 / deviation).astype(dtype),
            "shift": mean if invert else zeros,
        }
    raise ValueError(f"an op of kind {kind!r} cannot be exported")


def model_network(model: Any) -> ExportedNetwork:
    """Describe a built ``Sequential``.

    Raises
    ------
    ValueError
        The model is not built, or its weights are not finite.
    """
    network, program = model.network, model.program
    names: dict[int, str] = {}
    for leaf in program.leaves:
        for op, _ in leaf.places:
            names.setdefault(op, leaf.layer.name)
    steps = network_steps(network, program.ops, names)
    described = ExportedNetwork(
        f"the network {model.name!r}",
        network.dtype,
        program.n_features,
        steps,
        lambda X: network.predict(X, None, 1),
        model.feature_names_in_,
    )
    kind, options = program.ops[0]
    if kind == "normalization" and not options.get("invert"):
        centre, variance = (network.get_parameter(0, name).astype(np.float64) for name in ("mean", "variance"))
        return replace(described, centre=centre, spread=np.sqrt(np.maximum(variance, 0.0)))
    return described


def describe_activation(options: Mapping[str, Any]) -> str:
    """Return the name of an activation with its options, such as "elu(1.0)"."""
    given = ", ".join("inf" if math.isinf(value) else repr(float(value)) for value in options["parameters"])
    return f"{options['activation']}({given})" if given else str(options["activation"])


def acts_on_rows(options: Mapping[str, Any]) -> bool:
    """Whether an activation needs a whole row."""
    return options["activation"] in _ROW_ACTIVATIONS
