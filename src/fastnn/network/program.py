"""The program of a network: the list of ops that the compiled core runs, made from the graph of its layers."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastnn._warnings import warn
from fastnn.layers import Activation, Layer, ParameterSpec
from fastnn.losses import Loss
from fastnn.network.graph import Graph, chain_graph

Op = tuple[str, dict[str, Any]]


class Leaf(NamedTuple):
    """A layer that is not composed of others, and its weights in the network.

    Parameters
    ----------
    layer : the layer.
    path : names of the layers and models that hold it, then its own.
    file_path : the same for a file, where an attribute's name stands for a layer in a layer of the user.
    specs : its weights.
    places : for each weight, number of the op and name in the core.
    """

    layer: Layer
    path: tuple[str, ...]
    file_path: tuple[str, ...]
    specs: list[ParameterSpec]
    places: list[tuple[int, str]]

    def file_name(self, weight: str) -> str:
        """Return the name of a weight in a file."""
        first, *rest = self.file_path
        return f"{first}/{'.'.join([*rest, weight])}"

    def path_of(self, weight: str) -> str:
        """Return the path of a weight, as ``Weight.path`` has it."""
        return "/".join([*self.path, weight])


class Head(NamedTuple):
    """One output of a network: what computes it, and how wide it is.

    Parameters
    ----------
    last : the op that computes it.
    n_outputs : number of columns.
    alone : whether nothing else uses the values.
    """

    last: Op
    n_outputs: int
    alone: bool = True

    @property
    def final_activation(self) -> str | None:
        """Activation of the op; None if it has none, as dropout."""
        activation: str | None = self.last[1].get("activation")
        return activation


class Program(NamedTuple):
    """Ops of a network, and which of them carries each layer's weights.

    Parameters
    ----------
    input_widths : number of columns of each array that the network takes.
    ops : ``(kind, options)`` for the core.
    outputs : buffers that the network gives.
    heads : the outputs.
    leaves : the layers that are not composed of others, in the order of ``get_weights()``.
    widths : number of output columns of each layer of a chain.
    graph : the graph that the program was made from.
    """

    input_widths: list[int]
    ops: list[Op]
    outputs: list[int]
    heads: list[Head]
    leaves: list[Leaf]
    widths: list[int]
    graph: Graph

    @property
    def sources(self) -> list[tuple[str, Sequence[int]]]:
        """What messages call each array that the network takes, and where its columns are there."""
        return [self.graph.source(value) for value in self.graph.ports]

    @property
    def is_chain(self) -> bool:
        """Whether there is one input and one output."""
        return len(self.input_widths) == len(self.heads) == 1

    @property
    def n_features(self) -> int:
        """Number of columns of all inputs of the model together."""
        return sum(map(self.graph.width, range(self.graph.n_inputs)))

    @property
    def n_outputs(self) -> int:
        """Number of output columns, of all outputs together."""
        return sum(head.n_outputs for head in self.heads)

    @property
    def specs(self) -> list[list[ParameterSpec]]:
        """Weights of each layer that is not composed of others."""
        return [leaf.specs for leaf in self.leaves]

    @property
    def parameters(self) -> list[tuple[int, str]]:
        """Op and name in the core of all weights, in the order of ``get_weights()``."""
        return [place for leaf in self.leaves for place in leaf.places]

    @property
    def parameter_specs(self) -> list[ParameterSpec]:
        """Descriptions of all weights, in the order of ``get_weights()``."""
        return [spec for leaf in self.leaves for spec in leaf.specs]

    @property
    def trained(self) -> list[tuple[ParameterSpec, tuple[int, str]]]:
        """The weights that training changes now, each with its op and its name in the core."""
        return [
            (spec, place)
            for leaf in self.leaves
            for spec, place in zip(leaf.specs, leaf.places, strict=True)
            if spec.trainable and leaf.layer.trainable
        ]

    @property
    def weight_names(self) -> list[str]:
        """Names of all weights in a file, in the order of ``get_weights()``."""
        return [leaf.file_name(spec.name) for leaf in self.leaves for spec in leaf.specs]

    @property
    def last(self) -> Op:
        """The op that computes the first output."""
        return self.heads[0].last

    @property
    def final_activation(self) -> str | None:
        """Activation of the first output."""
        return self.heads[0].final_activation

    @property
    def penalizes_outputs(self) -> bool:
        """Whether any layer has an ``activity_regularizer``."""
        return any("activity_regularizer" in options for _, options in self.ops)

    @property
    def multiplications_per_row(self) -> int:
        """Multiplications in the forward pass of one row: a measure of its cost."""
        calls = Counter(id(step.layer) for step in self.graph.steps)
        products = (
            calls[id(leaf.layer)] * math.prod(spec.shape)
            for leaf in self.leaves
            for spec in leaf.specs
            if "embedding" != self.ops[leaf.places[0][0]][0]
        )
        return max(1, sum(products) + sum(self.graph.width(step.output) for step in self.graph.steps))


def build_program(layers: Sequence[Any], n_features: int) -> Program:
    """Return the program of a chain of layers for rows of ``n_features`` columns.

    Raises
    ------
    ValueError
        No layer computes anything.
    """
    return graph_program(chain_graph(layers, n_features), layers)


def graph_program(graph: Graph, layers: Sequence[Any]) -> Program:
    """Compile a graph into ops; an activation after a linear dense layer becomes part of that dense op.

    Parameters
    ----------
    graph : the graph.
    layers : the model's layers, in the order of its weights.

    Raises
    ------
    ValueError
        No layer computes anything.
    """
    compiler = _Compiler(graph)
    for step, op in zip(graph.steps, compiler.step_ops, strict=True):
        compiler.add(step, op)
    if not compiler.ops and len(graph.ports) == len(graph.outputs) == 1:
        if not (graph.encoding or any(isinstance(step.layer, Activation) for step in graph.steps)):
            raise ValueError("the model has no layer that computes anything; add a Dense layer")
        compiler.ops.append(("activation", {"activation": "linear"}))
        compiler.places[graph.outputs[0]] = len(graph.ports)
    outputs, heads = compiler.heads()
    leaves = [
        Leaf(layer, path, file_path, *compiler.weights[id(layer)])
        for layer, path, file_path in named_leaves({layer.name: layer for layer in layers})
        if id(layer) in compiler.weights
    ]
    widths = [graph.width(value) for value in graph.ends]
    return Program([graph.width(port) for port in graph.ports], compiler.ops, outputs, heads, leaves, widths, graph)


Names = tuple[str, ...]


def named_leaves(
    layers: Mapping[str, Any], path: Names = (), file_path: Names = (), made_anew: bool = False
) -> list[tuple[Layer, Names, Names]]:
    """Return the layers that are not composed of others, each one once, with their paths and those in a file.

    ``made_anew`` says that the constructor of a user's layer makes these layers: automatic names change then, and a
    file has their numbers.
    """
    found: dict[int, tuple[Layer, Names, Names]] = {}
    for name, layer in layers.items():
        own, in_file = (*path, layer.name), (*file_path, name)
        inner, composes = layer.inner_places(), getattr(layer, "composes", False)
        if made_anew and not composes:
            inner = {str(number): each for number, each in enumerate(inner.values())}
        for leaf in named_leaves(inner, own, in_file, made_anew or composes) if inner else [(layer, own, in_file)]:
            found.setdefault(id(leaf[0]), leaf)
    return list(found.values())


class _Compiler:
    """The ops so far, and the buffer of each value."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.ops: list[Op] = []
        self.weights: dict[int, tuple[list[ParameterSpec], list[tuple[int, str]]]] = {}
        self.places = {value: buffer for buffer, value in enumerate(graph.ports)}
        self.step_ops = [step.layer.op_of(*(graph.rows[value] for value in step.inputs)) for step in graph.steps]
        self._calls = Counter(id(step.layer) for step in graph.steps)
        self._draws: Counter[int] = Counter()
        self._uses: Counter[int] = Counter()
        origin = {value: value for value in graph.ports}
        for step, op in zip(graph.steps, self.step_ops, strict=True):
            origin[step.output] = origin[step.inputs[0]] if _does_nothing(op) else step.output
            self._uses.update(() if _does_nothing(op) else (origin[value] for value in step.inputs))
        self._uses.update(origin[value] for value in graph.outputs)
        self._origin = origin
        self._first: dict[int, int] = {}

    def add(self, step: Any, op: Op | None) -> None:
        """Add the op of a step, unless it does nothing or becomes part of the one before."""
        layer, n_ports = step.layer, len(self._graph.ports)
        rows = [self._graph.rows[value] for value in step.inputs]
        specs = [] if layer.inner_layers() else layer.parameter_specs(math.prod(rows[0]))
        buffers = [self.places[value] for value in step.inputs]
        number = buffers[0] - n_ports
        if op is None or _does_nothing(op):
            self.places[step.output] = buffers[0]
            self.weights.setdefault(id(layer), ([], []))
            return
        if isinstance(layer, Activation) and self._takes_activation(step.inputs[0], number):
            self.ops[number] = ("dense", {**self.ops[number][1], **op[1]})
            self.places[step.output] = buffers[0]
        else:
            kind, options = op
            if buffers != [n_ports + len(self.ops) - 1 if self.ops else 0]:
                options = {**options, "inputs": tuple(buffers)}
            if "seed" in options:
                options = {**options, "draw": self._draws[id(layer)]}
                self._draws[id(layer)] += 1
            if id(layer) in self._first and specs:
                options = {**options, "weights_of": self._first[id(layer)]}
            self.places[step.output] = n_ports + len(self.ops)
            self.ops.append((kind, options))
            number = len(self.ops) - 1
        if id(layer) not in self._first:
            self._first[id(layer)] = number
            self.weights[id(layer)] = (specs, [(number, layer.core_name(spec.name)) for spec in specs])
        elif [spec.shape for spec in specs] != [spec.shape for spec in self.weights[id(layer)][0]]:
            first = [spec.shape for spec in self.weights[id(layer)][0]]
            raise ValueError(
                f"layer {layer.name!r} is called on inputs of different sizes: its weights have the shapes {first}, "
                f"but for {(None, *rows[0])} they would have {[spec.shape for spec in specs]}"
            )

    def _takes_activation(self, value: int, number: int) -> bool:
        """Whether an activation of a value can become part of the op that gives it."""
        if number < 0 or self._uses[self._origin[value]] > 1:
            return False
        kind, options = self.ops[number]
        shared = "weights_of" in options or any(
            first == number and self._calls[key] > 1 for key, first in self._first.items()
        )
        linear = kind == "dense" and options["activation"] == "linear" and "activity_regularizer" not in options
        return linear and not shared

    def heads(self) -> tuple[list[int], list[Head]]:
        """Return the buffers of the outputs, and the outputs."""
        graph, n_ports = self._graph, len(self._graph.ports)
        buffers = [self.places[value] for value in graph.outputs]
        found = []
        for buffer, value in zip(buffers, graph.outputs, strict=True):
            last = self.ops[buffer - n_ports] if buffer >= n_ports else ("input", {})
            found.append(Head(last, graph.width(value), self._uses[self._origin[value]] == 1))
        return buffers, found


def _does_nothing(op: Op | None) -> bool:
    """Whether a step gives its first input unchanged."""
    return op is None or (op[0] == "activation" and op[1]["activation"] == "linear")


def skips_final_activation(loss: Loss, head: Head) -> bool:
    """Whether the loss takes the values before the activation of an output's op."""
    final = head.final_activation
    # A penalty on the outputs needs their values after the activation, and so does another op.
    penalized = "activity_regularizer" in head.last[1]
    return final is not None and final == loss.skipped_activation and not penalized and head.alone


def loss_options(loss: Loss, head: Head) -> dict[str, float]:
    """Return the loss's options for the core.

    A cross-entropy after its own activation (softmax, sigmoid) is computed from the values before the activation:
    mathematically the same, and exact where the probability rounds to 0 or 1.
    """
    options = loss.options()
    final = head.final_activation
    if not skips_final_activation(loss, head):
        return options
    if loss.from_logits:
        warn(
            f"{loss.name} has from_logits=True, but the last layer's activation is {final}: the loss is computed from "
            f"the values before the {final}"
        )
    options["from_logits"] = True
    return options
