"""A network as a graph: the calls of its layers in order, each with the values that it takes.

Values are numbered: the inputs first, then the outputs of each step. What encodes categories (strings, integers, bins)
comes before the network and computes with NumPy; the ports of the network are the values that go from there into it.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnn._structures import leaves, mapped
from fastnn.layers import InputLayer, Layer, Residual
from fastnn.layers.tensor import KerasTensor, Node

Row = tuple[int, ...]


class Step(NamedTuple):
    """One call of a layer that is not composed of others.

    Parameters
    ----------
    layer : the layer; a ``Residual`` stands for the sum at its end.
    inputs, output : numbers of the values that it takes and of the one that it gives.
    """

    layer: Layer
    inputs: tuple[int, ...]
    output: int


class Port(NamedTuple):
    """What an input of a model takes.

    Parameters
    ----------
    name : name of the input.
    row : shape of a row.
    dtype : declared type; None for that of the model.
    missing : whether NaN stands for a missing value, which the first layer replaces.
    encoded : whether a layer encodes it before the network.
    """

    name: str
    row: Row
    dtype: str | None
    missing: bool = False
    encoded: bool = False


class Graph:
    """The steps of a network.

    Parameters
    ----------
    n_inputs : number of input arrays: values 0 to ``n_inputs - 1``.
    rows : shape of a row of each value.
    dtypes : declared type of each value.

    Attributes
    ----------
    encoding : steps before the network, which compute with NumPy.
    steps : steps of the network, in the order in which the layers were called.
    outputs : values that the model gives.
    ends : values after each layer of a chain.
    names : names of the inputs; None for a chain, which takes one.
    """

    def __init__(self, n_inputs: int, rows: list[Row], dtypes: list[str | None]) -> None:
        self.n_inputs, self.rows, self.dtypes = n_inputs, rows, dtypes
        self.encoding: list[Step] = []
        self.steps: list[Step] = []
        self.outputs: list[int] = []
        self.ends: list[int] = []
        self.names: list[str] | None = None

    @property
    def ports(self) -> list[int]:
        """The values that the network takes: inputs, and what was encoded."""
        raw = {*range(self.n_inputs), *(step.output for step in self.encoding)}
        used = {value for step in self.steps for value in step.inputs} | set(self.outputs)
        return sorted(raw & used)

    def port(self, value: int, name: str) -> Port:
        """Return what an input takes."""
        users = [step for step in self.steps if value in step.inputs]
        missing = bool(users) and all(getattr(step.layer, "missing", None) is not None for step in users)
        encoded = any(value in step.inputs for step in self.encoding)
        return Port(name, self.rows[value], self.dtypes[value], missing and len(self.ports) == 1, encoded)

    def origin(self, value: int) -> Any:
        """Return where a value before the network comes from, in a form that is the same in every graph of a model."""
        if value < self.n_inputs:
            return value
        step = next(step for step in self.encoding if step.output == value)
        return (id(step.layer), *map(self.origin, step.inputs))

    def source(self, value: int) -> tuple[str, Sequence[int]]:
        """Return what messages call a value before the network, and where its columns are there."""
        if value < self.n_inputs:
            return "X" if self.names is None else f"input {self.names[value]!r}", range(self.width(value))
        step = next(step for step in self.encoding if step.output == value)
        if not step.layer.selects:
            return f"what layer {step.layer.name!r} gives", range(self.width(value))
        name, columns = self.source(step.inputs[0])
        row = self.rows[step.inputs[0]]
        taken = step.layer.compute(np.asarray(columns).reshape(1, *row))
        return name, [int(column) for column in taken.ravel()]

    def width(self, value: int) -> int:
        """Return the number of columns of a value."""
        return math.prod(self.rows[value])

    def call(self, layer: Any, inputs: Sequence[int], node: Node | None = None) -> list[int]:
        """Add the steps of one call of a layer or a model; return the values of its outputs."""
        if node is not None and node.inner is not None:
            starts, ends = node.inner
            return self.replay(starts, ends, inputs)
        if isinstance(layer, Residual):
            last = self.chain(layer.layers, inputs[0])
            return [self._step(layer, (inputs[0], last), self.rows[inputs[0]], None)]
        inner = layer.inner_tensors([(self.rows[value], self.dtypes[value]) for value in inputs])
        if inner is not None:
            starts, ends = inner
            return self.replay(starts, ends, inputs)
        rows = [self.rows[value] for value in inputs]
        dtype = layer.dtype_of([self.dtypes[value] for value in inputs])
        return [self._step(layer, tuple(inputs), layer.row_of(*rows), dtype)]

    def _step(self, layer: Layer, inputs: tuple[int, ...], row: Row, dtype: str | None) -> int:
        output = len(self.rows)
        self.rows.append(row)
        self.dtypes.append(dtype)
        step = Step(layer, inputs, output)
        (self.encoding if self._encodes(layer, inputs) else self.steps).append(step)
        return output

    def _encodes(self, layer: Layer, inputs: tuple[int, ...]) -> bool:
        """Whether a step comes before the network: it encodes, or selects columns that are not floating-point."""
        if layer.encodes:
            for value in inputs:
                self._select_before(value)
        encoded = {*range(self.n_inputs), *(step.output for step in self.encoding)}
        if layer.encodes:
            if not encoded.issuperset(inputs):
                raise ValueError(
                    f"layer {layer.name!r} encodes columns of an Input, but it is called on what the network computes"
                )
            return True
        numbers = (None, "float32", "float64")
        return layer.selects and encoded.issuperset(inputs) and all(self.dtypes[v] not in numbers for v in inputs)

    def _select_before(self, value: int) -> None:
        """Move a selection of columns before the network, because a layer that encodes takes it."""
        step = next((step for step in self.steps if step.output == value), None)
        if step is not None and step.layer.selects:
            for before in step.inputs:
                self._select_before(before)
            self.steps = [each for each in self.steps if each is not step]
            self.encoding.append(step)

    def chain(self, layers: Iterable[Any], value: int) -> int:
        """Add calls of layers one after the other; return the last value."""
        for layer in layers:
            (value,) = self.call(layer, [value])
        return value

    def replay(self, inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor], values: Sequence[int]) -> list[int]:
        """Add the calls between symbolic tensors; return the values of the outputs.

        Parameters
        ----------
        inputs, outputs : the tensors.
        values : values that take the place of the inputs.
        """
        known = dict(zip(map(id, inputs), values, strict=True))
        for node in nodes_between(inputs, outputs):
            found = self.call(node.layer, [known[id(tensor)] for tensor in node.inputs], node)
            known.update(zip(map(id, node.outputs), found, strict=True))
        return [known[id(tensor)] for tensor in outputs]


def chain_graph(layers: Sequence[Any], n_features: int) -> Graph:
    """Return the graph of a model that is a chain of layers, for rows of ``n_features`` columns."""
    declared = layers[0].declared_input if layers else None
    row = declared if declared is not None and math.prod(declared) == n_features else (n_features,)
    first = layers[0] if layers and isinstance(layers[0], InputLayer) else None
    graph = Graph(1, [row], [None if first is None else first.input_dtype])
    value = 0
    for layer in layers if first is None else layers[1:]:
        value = graph.chain([layer], value)
        graph.ends.append(value)
    graph.outputs = [value]
    return graph


def tensor_graph(inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]) -> Graph:
    """Return the graph between symbolic tensors."""
    graph = Graph(len(inputs), [each.row for each in inputs], [each.declared_dtype for each in inputs])
    graph.names = [each.name for each in inputs]
    graph.outputs = graph.replay(inputs, outputs, range(len(inputs)))
    return graph


def nodes_between(inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]) -> list[Node]:
    """Return the calls that lead from inputs to outputs, in the order in which they were made.

    Raises
    ------
    ValueError
        An output depends on a tensor that is not among the inputs.
    """
    found, _ = _search(inputs, outputs)
    return sorted((node for node in found if node.inputs), key=lambda node: node.number)


def _search(inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]) -> tuple[list[Node], dict[int, int]]:
    """Search the calls from the outputs, depth first; return them, users last, and the place of each layer."""
    given = {id(tensor) for tensor in inputs}
    finished: list[Node] = []
    seen: set[int] = set()
    places: dict[int, int] = {}

    def enter(tensor: KerasTensor, user: Node | None) -> list[tuple[Node, Iterator[KerasTensor]]]:
        node = tensor.node
        if id(node) in seen or (id(tensor) in given and node.inputs):
            return []
        if not node.inputs and id(tensor) not in given:
            where = "is an output" if user is None else f"goes into layer {user.layer.name!r}"
            known = ", ".join(f"{each.name!r} {each.shape}" for each in inputs)
            raise ValueError(
                f"graph disconnected: the tensor {tensor.name!r} of shape {tensor.shape} {where}, but it is not among "
                f"the inputs of the model and does not depend on them; the inputs: {known}"
            )
        seen.add(id(node))
        places.setdefault(id(node.layer), len(places))
        return [(node, iter(node.inputs))]

    for output in outputs:
        path = enter(output, None)
        while path:
            node, rest = path[-1]
            tensor = next(rest, None)
            if tensor is None:
                finished.append(node)
                path.pop()
            else:
                path += enter(tensor, node)
    return finished, places


def model_layers(inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]) -> list[Any]:
    """Return the layers between tensors in Keras's order, operators and slices among them.

    A layer comes before another if the longest way from it to an output is longer; layers of equal distance come in the
    order in which a search from the outputs, depth first, finds them.
    """
    finished, places = _search(inputs, outputs)
    among = {id(node) for node in finished}
    node_depth: dict[int, int] = {}
    layer_depth: dict[int, int] = {}
    for node in reversed(finished):
        depth = max(node_depth.get(id(node), 0), layer_depth.get(id(node.layer), 0))
        node_depth[id(node)] = layer_depth[id(node.layer)] = depth
        for before in (tensor.node for tensor in node.inputs if id(tensor.node) in among):
            node_depth[id(before)] = max(depth + 1, node_depth.get(id(before), 0))
    layers = {id(node.layer): node.layer for node in finished}
    return [layers[key] for key in sorted(layers, key=lambda key: (-layer_depth[key], places[key]))]


def clone_between(
    inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]
) -> tuple[list[KerasTensor], list[KerasTensor]]:
    """Return inputs in place of tensors that layers give, and the outputs that the same calls give for them."""
    starts = [each if not each.node.inputs else _input_like(each) for each in inputs]
    known = {id(old): new for old, new in zip(inputs, starts, strict=True)}
    for node in nodes_between(inputs, outputs):
        copied = Node(
            node.layer,
            mapped(lambda leaf: known.get(id(leaf), leaf), node.arguments),
            [each.row for each in node.outputs],
            [each.declared_dtype for each in node.outputs],
        )
        copied.inner, copied.structure = node.inner, node.structure
        copied.inputs = [known[id(tensor)] for tensor in node.inputs]
        known.update({id(old): new for old, new in zip(node.outputs, copied.outputs, strict=True)})
    return starts, [known[id(tensor)] for tensor in outputs]


def _input_like(tensor: KerasTensor) -> KerasTensor:
    """Return a new input of a tensor's shape, type and name."""
    return InputLayer(tensor.row, dtype=tensor.declared_dtype, name=tensor.name).tensor()


def tensors_of(structure: Any, argument: str) -> list[KerasTensor]:
    """Return the tensors of an argument of ``Model``, in order.

    Raises
    ------
    ValueError
        Something else than symbolic tensors, or none.
    """
    found = leaves(structure)
    wrong = [each for each in found if not isinstance(each, KerasTensor)]
    if wrong or not found:
        raise ValueError(
            f"{argument} must be symbolic tensors: what fastnn.Input(...) and layers called on it give, alone or in a "
            f"list or dict; got {wrong[0] if wrong else structure!r}"
        )
    return found
