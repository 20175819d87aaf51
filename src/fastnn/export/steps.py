"""The steps of a model: its encoding layers, then the ops of its compiled network, with their weights."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
from fastnn._structures import leaves
from fastnn.export.network import End, ExportedNetwork, Step, check_finite
from fastnn.layers import CategoryEncoding, Discretization, IntegerLookup, RobustScaling, StringLookup
from fastnn.network.graph import Graph

Array = NDArray[Any]

_WEIGHTS = {
    "dense": ("kernel", "bias"),
    "embedding": ("kernel",),
    "prelu": ("alpha",),
    "layer_normalization": ("gamma", "beta"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "normalization": ("mean", "variance"),
    "feature_scale": ("scale", "bias"),
    "parametric_activation": ("mix",),
    "cosine_features": ("frequencies", "bias"),
    "bounded_lines": ("kernel", "bias"),
    "grouped_product": ("kernel", "bias"),
    "member_product": ("kernel", "bias"),
}
_SWITCHES = {"bias": "use_bias", "gamma": "scale", "beta": "center"}
"""The options that say whether a weight is there."""
_KEPT = {
    "layer_normalization": ("epsilon",),
    "batch_normalization": ("epsilon", "momentum"),
    "normalization": ("invert", "missing"),
    "slice": ("start", "stop", "step"),
    "dot": ("normalize",),
    "grouped_product": ("groups",),
    "member_product": ("groups",),
}
"""The options of the core's ops that matter to prediction."""
_TRAINING_ONLY = ("dropout", "gaussian_noise")


def model_network(model: Any) -> ExportedNetwork:
    """Describe a built model.

    Raises
    ------
    ValueError
        The model is not built, a layer cannot be exported, or its weights are not finite.
    """
    network, program = model.network, model.program
    graph: Graph = program.graph
    dtype = network.dtype
    chain = model.kind == "Sequential"
    names = (["input"], ["output"]) if chain else (model.input_names, model.output_keys)
    inputs = [
        End(name, graph.rows[value], _input_type(graph.dtypes[value], dtype)) for value, name in enumerate(names[0])
    ]
    if len(inputs) == 1:
        inputs[0] = replace(inputs[0], columns=model.feature_names_in_)
    widths = [head.n_outputs for head in program.heads]
    rows = [(n,) if chain else graph.rows[value] for n, value in zip(widths, graph.outputs, strict=True)]
    encoding = _Encoding(graph, inputs)
    buffers = [encoding.buffer(port) for port in graph.ports]
    layers = {op: leaf.layer.name for leaf in reversed(program.leaves) for op, _ in leaf.places}
    before = len(inputs) + len(encoding.steps)
    steps, places = network_steps(network, program.ops, layers, buffers, before)
    needed, results = _needed([*encoding.steps, *steps], len(inputs), [places[buffer] for buffer in program.outputs])
    check_finite(needed)

    def evaluate(arrays: list[Array]) -> list[Array]:
        shaped = [array.reshape(len(array), *end.row) for array, end in zip(arrays, inputs, strict=True)]
        outputs = leaves(model.predict(shaped if len(shaped) > 1 else shaped[0], verbose=0))
        return [each.reshape(len(each), n) for each, n in zip(outputs, widths, strict=True)]

    return ExportedNetwork(
        f"the network {model.name!r}",
        dtype,
        tuple(inputs),
        tuple(needed),
        tuple(End(name, row, dtype) for name, row in zip(names[1], rows, strict=True)),
        tuple(results),
        evaluate,
    )


def network_steps(
    network: _core.Network,
    ops: Sequence[tuple[str, Mapping[str, Any]]],
    names: Mapping[int, str],
    buffers: Sequence[int],
    before: int,
) -> tuple[list[Step], list[int]]:
    """Return the steps of a compiled network, without those that do nothing at prediction, and where its values are.

    Parameters
    ----------
    network : it holds the weights.
    ops : ``(kind, options)`` of the core.
    names : layers' names by the number of their op.
    buffers : the buffers of its inputs.
    before : number of buffers before the network.

    Returns
    -------
    The steps, and for each buffer of the core the one that holds it.
    """
    steps: list[Step] = []
    n_inputs, widths = len(buffers), network.widths
    places = list(buffers)
    owners: list[int] = []
    arrays: dict[int, dict[str, Array]] = {}

    def append(kind: str, inputs: Sequence[int], n_in: int, n_out: int, name: str, *contents: Any) -> None:
        steps.append(Step(kind, tuple(inputs), n_in, n_out, name, *contents))
        places[-1] = before + len(steps) - 1

    def activate(activation: str, n: int, name: str, options: Mapping[str, Any]) -> None:
        if activation != "linear":
            given = {"activation": activation, "parameters": tuple(options.get("parameters", ()))}
            append("activation", (places[-1],), n, n, name, given)

    for number, (kind, options) in enumerate(ops):
        read = options.get("inputs", (n_inputs + number - 1 if number else 0,))
        sources = [places[buffer] for buffer in read]
        n_in, n_out = widths[read[0]], widths[n_inputs + number]
        owners.append(owners[options["weights_of"]] if "weights_of" in options else number)
        places.append(sources[0])
        if kind in _TRAINING_ONLY:
            continue
        owner = owners[-1]
        name = names.get(owner, f"{kind}_{number}")
        if kind != "activation":
            if owner not in arrays:
                arrays[owner] = _weights(network, owner, kind, options)
            if kind == "parametric_activation":  # what is mixed with the identity is a step of its own
                activate(options["function"], n_out, name, options)
                kind, sources = "mix", [*sources, places[-1]]
            append(kind, sources, n_in, n_out, name, _options(kind, options), arrays[owner])
        activate(options.get("activation", "linear"), n_out, name, options)
    return steps, places


def _weights(network: _core.Network, op: int, kind: str, options: Mapping[str, Any]) -> dict[str, Array]:
    return {
        name: network.get_parameter(op, name)
        for name in _WEIGHTS.get(kind, ())
        if options.get(_SWITCHES.get(name, ""), True)
    }


def _options(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a step for those of the core."""
    kept = {name: options.get(name) for name in _KEPT.get(kind, ())}
    if kind == "layer_normalization":
        kept["rms"] = bool(options.get("rms_scaling"))
    if "number" in options:
        kept["number"], kept["number_first"] = float(options["number"]), bool(options.get("number_first"))
    return kept


def _needed(steps: Sequence[Step], n_inputs: int, results: Sequence[int]) -> tuple[list[Step], list[int]]:
    """Return the steps that results depend on, and the buffers of the results among them."""
    needed = set(results)
    for number in reversed(range(len(steps))):
        if n_inputs + number in needed:
            needed.update(steps[number].inputs)
    moved = {buffer: buffer for buffer in range(n_inputs)}
    kept: list[Step] = []
    for number, step in enumerate(steps):
        if n_inputs + number in needed:
            moved[n_inputs + number] = n_inputs + len(kept)
            kept.append(replace(step, inputs=tuple(moved[buffer] for buffer in step.inputs)))
    return kept, [moved[buffer] for buffer in results]


def _input_type(declared: str | None, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of an input: that of the network, "U" for strings, int32 or int64 for integers."""
    if declared in (None, "float32", "float64"):
        return dtype
    if declared == "string":
        return np.dtype("U")
    return np.dtype(np.int64 if np.dtype(declared).itemsize > 4 or declared == "uint32" else np.int32)


class _Encoding:
    """The steps before the network.

    A value is a selection of the columns of an input, or in a buffer.
    """

    def __init__(self, graph: Graph, inputs: Sequence[End]) -> None:
        self.steps: list[Step] = []
        self._graph, self._inputs = graph, inputs
        self._columns = {value: (value, list(range(end.n))) for value, end in enumerate(inputs)}
        self._places: dict[int, int] = {}
        for step in graph.encoding:
            (source,) = step.inputs
            if step.layer.selects:
                places = np.arange(graph.width(source)).reshape(1, *graph.rows[source])
                self._select(source, step.output, step.layer.compute(places).ravel().tolist(), step.layer.name)
            else:
                self._places[step.output] = self._encode(step.layer, source)

    def buffer(self, value: int) -> int:
        """Return the buffer of a value that the network takes, as numbers of its type."""
        if value in self._places:
            return self._places[value]
        source, columns = self._columns[value]
        end = self._inputs[source]
        if end.dtype.kind == "U":
            raise ValueError(f"the input {end.name!r} has strings, which the network does not take")
        if end.dtype.kind == "f" and columns == list(range(end.n)):
            return source
        self._places[value] = self._append(
            "convert", source, end.n, len(columns), end.name, {"columns": columns}
        )  # once for all that read it
        return self._places[value]

    def _append(self, kind: str, source: int, n_in: int, n_out: int, name: str, *contents: Any) -> int:
        self.steps.append(Step(kind, (source,), n_in, n_out, name, *contents))
        return len(self._inputs) + len(self.steps) - 1

    def _select(self, source: int, output: int, places: list[int], name: str) -> None:
        if source in self._columns:
            start, columns = self._columns[source]
            self._columns[output] = (start, [columns[place] for place in places])
            return
        buffer, n = self._places[source], self._graph.width(source)
        if places != list(range(n)):
            step = places[1] - places[0] if len(places) > 1 else 1
            options = {"start": places[0], "stop": places[-1] + (1 if step > 0 else -1), "step": step}
            buffer = self._append("slice", buffer, n, len(places), name, options)
        self._places[output] = buffer

    def _encode(self, layer: Any, source: int) -> int:
        """Add the steps of a layer; return the buffer of what it gives."""
        n, row = self._graph.width(source), self._graph.rows[source]
        if isinstance(layer, CategoryEncoding):
            buffer = self.buffer(source)
        else:
            if isinstance(layer, RobustScaling):
                layer.compute(np.zeros((1, n)))  # raises unless it has learned so many columns
            start, columns = self._columns.get(source) or (self._places[source], list(range(n)))
            kind, options, arrays = _numbering(layer)
            n_in = self._inputs[start].n if source in self._columns else n
            buffer = self._append(kind, start, n_in, n, layer.name, {"columns": columns, **options}, arrays)
        if layer.output_mode in ("int", "float"):
            return buffer
        size = 1 if layer.output_mode == "one_hot" or not row else row[-1]
        options = {
            "size": size,
            "depth": layer.depth,
            "count": layer.output_mode == "count",
            "strict": isinstance(layer, CategoryEncoding),
        }
        return self._append("hot", buffer, n, math.prod((n // size, layer.depth)), layer.name, options)


def _numbering(layer: Any) -> tuple[str, dict[str, Any], dict[str, Array]]:
    """Return kind, options and arrays of the step that numbers or scales elements as a layer does.

    Raises
    ------
    ValueError
        The layer has no such step.
    """
    if isinstance(layer, Discretization):
        return "discretize", {}, {"boundaries": np.array(layer.get_config()["bin_boundaries"], np.float64)}
    if isinstance(layer, RobustScaling):
        learned = {"centre": np.asarray(layer.center), "scale": np.asarray(layer.scale)}
        return "robust_scaling", {"bound": layer.bound}, learned
    if isinstance(layer, IntegerLookup | StringLookup) and not layer.invert:
        hashed = isinstance(layer, StringLookup) or layer.oov_method != "floormod"
        if not (hashed and layer.num_oov_indices > 1):
            return _look_up(layer, np.dtype(np.int64 if isinstance(layer, IntegerLookup) else np.str_))
    options = (
        ""
        if not isinstance(layer, IntegerLookup | StringLookup)
        else (" with invert=True" if layer.invert else " with several numbers for unknown entries")
    )
    instead = "" if layer.output_mode == "float" else ", or use a lookup with a vocabulary"
    raise ValueError(
        f"layer {layer.name!r} of class {type(layer).__name__}{options} cannot be exported: give the network the "
        f"numbers that the layer returns{instead}"
    )


def _look_up(layer: Any, kind: np.dtype[Any]) -> tuple[str, dict[str, Any], dict[str, Array]]:
    """Return the step of a vocabulary: its entries in ascending order with their numbers, and those of unknown ones."""
    masked = int(layer.mask_token is not None and layer.output_mode == "int")
    first = masked + layer.num_oov_indices
    numbers = {entry: first + place for place, entry in enumerate(layer.get_vocabulary(include_special_tokens=False))}
    if layer.mask_token is not None:
        numbers[layer.mask_token] = 0 if masked else -1
    keys = sorted(numbers)
    values = np.array([numbers[key] for key in keys], np.int64)
    options = {"unknown": masked, "n_unknown": layer.num_oov_indices}
    return "look_up", options, {"keys": np.array(keys, kind), "numbers": values}
