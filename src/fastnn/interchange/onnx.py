"""Models from ONNX files: graphs of dense operators become layers; no package for ONNX is needed."""

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn.layers as layers
from fastnn._arguments import takes_keywords
from fastnn.errors import ModelFormatError
from fastnn.interchange.building import model_of
from fastnn.interchange.onnx_expressions import ELEMENTWISE, Formula, Matcher, Variable, filled_gaps, is_gap
from fastnn.interchange.onnx_file import DOUBLE, FLOAT, Node, OnnxGraph, read_graph
from fastnn.interchange.onnx_operators import LAYERS, short
from fastnn.interchange.onnx_stages import Recognizer, Stage, assembled, filled, residual
from fastnn.models import Sequential
from fastnn.saving.foreign import known_format
from fastnn.saving.model_file import opened_file

Array = NDArray[Any]

_KEEPING = ("Identity", "Dropout")
_SHAPES = ("Flatten", "Reshape")


@takes_keywords
def load_onnx(path: str | os.PathLike[str]) -> Sequential:
    """Return the model of an ONNX file; the package onnx is not needed.

    Reads graphs of one input and one output that are a chain of dense operators, with residual connections: ``Gemm``,
    ``MatMul``, ``BatchNormalization``, ``LayerNormalization``, ``PRelu``, softmax, scalings by constants, and fastnn's
    activations as single operators or as formulas. Scalings and constants become layers that are not trained. The
    model is not compiled.

    Parameters
    ----------
    path : the file; it must hold the weights itself.

    Raises
    ------
    ModelFormatError
        The file is damaged, malicious, or has an operator that cannot become a layer, which is named with its node.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.load_onnx("net.onnx")  # doctest: +SKIP
    """
    with opened_file(path, "an ONNX file", "that hold a model whole") as file:
        data = file.read()
        try:
            graph = read_graph(memoryview(data))
        except (ModelFormatError, UnicodeDecodeError) as error:
            looks = known_format(data[:4096])
            if looks is None or "ONNX" in looks:
                raise
            raise ModelFormatError(f"it looks like {looks}") from error
        return _Converter(graph, len(data)).model()


@dataclass(eq=False)
class _Pending:
    """A formula of one value, which is no layer yet."""

    base: Stage
    formula: Formula
    stage: Stage | None = None


@dataclass(frozen=True)
class _OfRows:
    """A step of a normalization of rows that is written out: "mean", "centred", "squared", "variance", "deviation"."""

    kind: str
    base: Stage
    epsilon: float = 0.0


class _Converter:
    """Turns the nodes of a graph into layers, in order.

    Parameters
    ----------
    graph : the graph.
    size : bytes of its file.
    """

    def __init__(self, graph: OnnxGraph, size: int) -> None:
        self._graph, self._size = graph, size
        self._values: dict[str, Any] = dict(graph.constants)
        self._uses = Counter(name for node in graph.nodes for name in dict.fromkeys(node.inputs))
        self._recognizer = Recognizer(Matcher())
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            inputs, outputs = (", ".join(map(repr, names)) or "none" for names in (graph.inputs, graph.outputs))
            raise ModelFormatError(f"it has the inputs {inputs} and the outputs {outputs}; fastnn reads one of each")
        (name, (element, sizes)) = next(iter(graph.inputs.items()))
        if element not in (FLOAT, DOUBLE):
            raise ModelFormatError(f"the input {name!r} has elements that are neither float nor double")
        self._dtype = "float64" if element == DOUBLE else "float32"
        row = [size for size in sizes[1:]]
        if len(row) == 1 and row[0] is None:
            row = [self._first_width()]
        if not row or any(size is None or not 0 < size < 1 << 31 for size in row):
            raise ModelFormatError(f"the input {name!r} has the sizes {sizes}; fastnn takes (rows, features)")
        self._ranks = len(row)
        start = layers.InputLayer(tuple(size for size in row if size is not None))
        width = int(np.prod([float(size) for size in row if size is not None]))
        self._values[name] = Stage(None, start, [], width)

    def _first_width(self) -> int | None:
        """Return the number of inputs of the first product, for an input that does not tell its size."""
        for node in self._graph.nodes:
            kernel = self._graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
            if node.operator in ("Gemm", "MatMul") and kernel is not None and kernel.ndim == 2:
                return int(kernel.shape[1 if node.attributes.get("transB") else 0])
        return None

    def model(self) -> Sequential:
        """Return the model."""
        for node in self._graph.nodes:
            self._take(node)
        last = self._value(self._graph.outputs[0], "the output")
        if isinstance(last, np.ndarray | _OfRows):
            raise ModelFormatError("the output is not computed from the input by layers")
        stages = self._stage(last).since(self._input())
        assert stages is not None
        stack, weights = assembled(stages)
        start: list[layers.Layer] = [self._input().layer]
        if self._ranks > 1:
            start.append(layers.Flatten())
        if not stack:
            stack = [layers.Activation("linear")]
        return model_of([*start, *stack], weights, self._dtype, self._size)

    def _input(self) -> Stage:
        stage: Stage = self._values[next(iter(self._graph.inputs))]
        return stage

    def _value(self, name: str, user: Any) -> Any:
        if name not in self._values:
            raise ModelFormatError(f"{user} takes the value {name[:80]!r}, which nothing computes")
        return self._values[name]

    # Nodes

    def _take(self, node: Node) -> None:
        """Compute the first output of a node."""
        if node.operator == "Constant":
            found: Any = _constant(node)
        else:
            arguments = [self._value(name, node) for name in node.inputs if name]
            if all(isinstance(each, np.ndarray) for each in arguments):
                found = _folded(node, arguments)
            elif node.operator in _KEEPING:
                found = arguments[0]
            elif node.operator in _SHAPES:
                found = self._reshaped(node, arguments)
            elif (taken := self._of_rows(node, arguments)) is not None:
                found = taken
            elif node.operator == "Concat":
                found = self._indicated(node, arguments)
            elif node.operator in ELEMENTWISE and not _has_slopes(node, arguments):
                found = self._elementwise(node, arguments)
            elif node.operator in LAYERS and isinstance(arguments[0], Stage | _Pending):
                found = self._layer(node, arguments)
            else:
                raise ModelFormatError(f"the operator {node} cannot become a layer of fastnn")
        if node.outputs:
            self._values[node.outputs[0]] = found
            if isinstance(found, _Pending) and self._uses[node.outputs[0]] > 1:
                found.stage = self._recognizer.layers_of(found.base, found.formula)

    def _reshaped(self, node: Node, arguments: list[Any]) -> Any:
        """Return a value whose rows stay as they are; only an input of several axes becomes vectors."""
        value = arguments[0]
        keeps = node.operator == "Flatten" and node.attributes.get("axis", 1) == 1
        if node.operator == "Reshape" and len(arguments) == 2 and isinstance(arguments[1], np.ndarray):
            sizes = arguments[1].reshape(-1).tolist()
            keeps = len(sizes) == 2 and sizes[0] in (0, -1) and isinstance(value, Stage)
            keeps = keeps and sizes[1] in (-1, value.width) and sizes != [-1, -1]
        if not keeps:
            raise ModelFormatError(f"the operator {node} changes the rows, which stay vectors in fastnn")
        return value

    def _elementwise(self, node: Node, arguments: list[Any]) -> Any:
        """Return the formula of an operator, or the sum of a value and what a block makes of it."""
        if any(isinstance(each, _OfRows) for each in arguments):
            raise ModelFormatError(f"the operator {node} is part of a formula that fastnn has no layer for")
        if node.operator == "Cast" and node.attributes.get("to") not in (FLOAT, DOUBLE, 9):
            raise ModelFormatError(f"the operator {node} turns values into whole numbers or texts")
        arguments = [_made(each) for each in arguments]
        bases = {id(base): base for base in map(_base, arguments) if base is not None}
        if len(bases) > 1:
            if node.operator != "Add" or len(arguments) != 2:
                raise ModelFormatError(
                    f"the operator {node} joins two branches; fastnn has sums of x and block(x) alone"
                )
            return self._sum(node, *(self._stage(each) for each in arguments))
        base = next(iter(bases.values()))
        inner = [
            each.formula if isinstance(each, _Pending) else Variable() if isinstance(each, Stage) else each
            for each in arguments
        ]
        return _Pending(base, Formula(node, inner))

    def _of_rows(self, node: Node, arguments: list[Any]) -> Any:
        """Return a step of a normalization of rows that is written out, or None.

        ``x / sqrt(variance + epsilon)``, x with or without the mean taken off, becomes a layer without weights.
        """
        first: Any = _made(arguments[0])
        second: Any = _made(arguments[1]) if len(arguments) > 1 else None
        kinds = [each.kind if isinstance(each, _OfRows) else None for each in (first, second)]
        if node.operator == "ReduceMean":
            axes = node.attributes.get("axes", second.reshape(-1).tolist() if isinstance(second, np.ndarray) else None)
            if axes not in ([-1], [1]) or node.attributes.get("keepdims", 1) != 1:
                return None
            return _OfRows("variance", first.base) if kinds[0] == "squared" else _OfRows("mean", self._stage(first))
        if node.operator == "Sub" and kinds[1] == "mean" and kinds[0] is None:
            stage = self._stage(first)
            return _OfRows("centred", stage) if stage is second.base else None
        squares = node.operator == "Mul" and first is second
        squares |= node.operator == "Pow" and isinstance(second, np.ndarray) and second.size == 1 and second.max() == 2
        if squares and kinds[0] == "centred":
            return _OfRows("squared", first.base)
        if node.operator == "Add" and "variance" in kinds:
            rows, epsilon = (first, second) if kinds[0] else (second, first)
            return (
                _OfRows("variance", rows.base, float(epsilon.reshape(()))) if isinstance(epsilon, np.ndarray) else None
            )
        if node.operator == "Sqrt" and kinds[0] == "variance":
            return _OfRows("deviation", first.base, first.epsilon)
        if node.operator != "Div" or kinds[1] != "deviation":
            return None
        base, epsilon, width = second.base, short(second.epsilon), second.base.width
        ones, zeros = (np.broadcast_to(value, width) for value in (1.0, 0.0))
        if kinds[0] == "centred" and first.base is base:
            return base.then(layers.LayerNormalization(epsilon=epsilon), [ones, zeros])
        if kinds[0] is None and self._stage(first) is base:
            return base.then(layers.LayerNormalization(epsilon=epsilon, rms_scaling=True), [ones])
        return None

    def _indicated(self, node: Node, arguments: list[Any]) -> Stage:
        """Return the normalization that adds a column of 0 and 1 for each feature's missing values."""
        values = [_made(each) for each in arguments]
        if len(values) == 2 and all(isinstance(each, _Pending) for each in values):
            numbers, flags = values
            gaps = filled_gaps(numbers.formula)
            if gaps is not None and is_gap(flags.formula) and flags.base is numbers.base:
                return filled(numbers.base, *gaps, missing="indicator")
        raise ModelFormatError(f"the operator {node} joins branches in a way that fastnn has no layer for")

    def _sum(self, node: Node, first: Stage, second: Stage) -> Stage:
        start, end = sorted((first, second), key=lambda stage: stage.depth)
        block = end.since(start)
        if not block or end.width != start.width:
            raise ModelFormatError(f"the operator {node} adds two branches; fastnn has sums of x and block(x) alone")
        return residual(start, block)

    def _layer(self, node: Node, arguments: list[Any]) -> Stage:
        value, constants = self._stage(arguments[0]), arguments[1:]
        if not all(isinstance(each, np.ndarray) and each.dtype.kind == "f" for each in constants):
            raise ModelFormatError(f"the operator {node} takes inputs that are not constant numbers")
        made: Stage | None = LAYERS[node.operator](node, value, *constants)
        if made is None:
            raise ModelFormatError(f"the operator {node} has attributes or shapes that no layer of fastnn has")
        return made

    # Formulas

    def _stage(self, value: Any) -> Stage:
        """Return a value as that of layers."""
        value = _made(value)
        if isinstance(value, _Pending):
            value.stage = self._recognizer.layers_of(value.base, value.formula)
            if value.stage is None:
                node = value.formula.node
                raise ModelFormatError(f"the formula that ends with {node} is no activation or scaling that fastnn has")
            return value.stage
        assert isinstance(value, Stage)
        return value


def _made(value: Any) -> Any:
    """Return the layers of a formula that has become layers already."""
    return value.stage if isinstance(value, _Pending) and value.stage is not None else value


def _base(value: Any) -> Stage | None:
    return value if isinstance(value, Stage) else value.base if isinstance(value, _Pending) else None


def _constant(node: Node) -> Array:
    """Return the value of a node Constant."""
    value = next(iter(node.attributes.values()), None)
    if isinstance(value, str) or value is None:
        raise ModelFormatError(f"the operator {node} has no numbers")
    return np.asarray(value, np.float32 if isinstance(value, float) else None)


def _folded(node: Node, arguments: list[Any]) -> Array:
    """Return what an operator makes of constants; only those that move elements, which take no memory."""
    if node.operator in ("Identity", "Cast") and len(arguments) == 1:
        return arguments[0]  # type: ignore[no-any-return]
    if node.operator == "Transpose" and len(arguments) == 1 and arguments[0].ndim == 2:
        return arguments[0].T  # type: ignore[no-any-return]
    if node.operator == "Unsqueeze" and arguments and arguments[0].ndim < 2:
        return arguments[0].reshape(1, -1)  # type: ignore[no-any-return]
    raise ModelFormatError(f"the operator {node} computes a constant, which fastnn does not")


def _has_slopes(node: Node, arguments: list[Any]) -> bool:
    """Return whether a PRelu has a slope for each feature."""
    return node.operator == "PRelu" and isinstance(arguments[1], np.ndarray) and arguments[1].size > 1
