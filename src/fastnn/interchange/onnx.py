"""Models from ONNX files: graphs of dense operators become layers; no package for ONNX is needed."""

import functools
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn.layers as layers
from fastnn._arguments import takes_keywords
from fastnn.errors import ModelFormatError
from fastnn.interchange.building import limit_of
from fastnn.interchange.onnx_assembly import assembled
from fastnn.interchange.onnx_categories import Comparison, compared, continued, encoded
from fastnn.interchange.onnx_columns import COLUMNS, embedded, folded, joined, one_hot, shape_of, split
from fastnn.interchange.onnx_expressions import ELEMENTWISE, Formula, Matcher, Variable, filled_gaps, is_gap
from fastnn.interchange.onnx_file import DOUBLE, FLOAT, INTEGERS, Node, OnnxGraph, read_graph
from fastnn.interchange.onnx_operators import LAYERS, short
from fastnn.interchange.onnx_stages import Recognizer, Stage, filled, is_product, is_square, merged, merges, norm_of
from fastnn.saving.foreign import known_format
from fastnn.saving.model_file import opened_file

Array = NDArray[Any]

_MOST_VALUES = 5000
"""Values that operators compute, with those that they take; a network has at most 255 ops."""
_KEEPING = ("Identity", "Dropout")


@takes_keywords
def load_onnx(path: str | os.PathLike[str]) -> Any:
    """Return the model of an ONNX file; the package onnx is not needed.

    Reads graphs of dense operators, with several inputs and outputs: ``Gemm``, ``MatMul``, ``BatchNormalization``,
    ``LayerNormalization``, ``PRelu``, softmax, scalings by constants, and fastnn's activations as single operators or
    as formulas; sums, products, means and extremes of values, ``Concat``, ``Slice``, ``Split``, ``Gather`` (columns,
    or an embedding), and operators that change the shape of rows. Layers with the same constants are one layer.
    Scalings and constants become layers that are not trained. The model is not compiled.

    Parameters
    ----------
    path : the file; it must hold the weights itself.

    Returns
    -------
    Sequential or Model
        A chain of layers, with sums ``x + block(x)`` as ``Residual``, becomes a ``Sequential``, any other graph a
        ``Model`` whose inputs, and the layers of whose outputs, have the names in the file.

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
        except (ValueError, TypeError, LookupError) as error:
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
    """A step of a normalization of rows that is written out: "mean", "centred", "squared", "variance", "deviation".

    Or "integers", the whole numbers of an input that tell the rows of an embedding; or "divided", a scalar product that
    is divided by the norms of one of its vectors.
    """

    kind: str
    base: Stage
    epsilon: float = 0.0
    vector: Stage | None = None

    @functools.cached_property
    def stage(self) -> Stage:
        """The means of the rows, as a dense layer that is not trained computes them."""
        weights = [np.full((self.base.width, 1), 1.0 / self.base.width)]
        return self.base.then(layers.Dense(1, use_bias=False, trainable=False), weights, 1)


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
        self._uses.update(graph.outputs)
        self._recognizer = Recognizer(Matcher())
        self._left_values, self._left_bytes = _MOST_VALUES, limit_of(size)
        if not graph.inputs or not graph.outputs:
            raise ModelFormatError("it has no input or no output")
        self._inputs = {name: self._input(name, *given) for name, given in graph.inputs.items()}
        elements = {element for element, _ in graph.inputs.values()}
        doubles = any(each.dtype == np.float64 for each in graph.constants.values())
        self._dtype = "float64" if DOUBLE in elements or (doubles and FLOAT not in elements) else "float32"

    def _input(self, name: str, element: int, sizes: list[int | None]) -> Stage:
        """Return the value of an input, flattened where it has several axes."""
        if element not in (FLOAT, DOUBLE, *INTEGERS):
            raise ModelFormatError(f"the input {name!r} has elements that are neither float nor double nor integers")
        row = sizes[1:]
        if len(row) == 1 and row[0] is None:
            row = [self._first_width(name)]
        if not sizes or any(size is None or not 0 < size < 1 << 31 for size in row):
            raise ModelFormatError(f"the input {name!r} has the sizes {sizes}; fastnn takes (rows, features)")
        known = tuple(size for size in row if size is not None)
        layer = layers.InputLayer(known, dtype=INTEGERS.get(element))
        stage = Stage((), layer, [], known, element in INTEGERS)
        self._values[name] = stage.selected(layers.Flatten(), (stage.width,)) if len(known) > 1 else stage
        return stage

    def _first_width(self, name: str) -> int | None:
        """Return the number of inputs of the first product, for an input that does not tell its size."""
        only = len(self._graph.inputs) == 1
        for node in self._graph.nodes:
            kernel = self._graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
            takes = only or node.inputs[0] == name
            if node.operator in ("Gemm", "MatMul") and kernel is not None and kernel.ndim == 2 and takes:
                return int(kernel.shape[1 if node.attributes.get("transB") else 0])
        return None

    def model(self) -> Any:
        """Return the model."""
        for node in self._graph.nodes:
            self._take(node)
        outputs = {}
        for name in self._graph.outputs:
            value = self._value(name, "the output")
            if isinstance(value, np.ndarray):
                raise ModelFormatError(f"the output {name[:80]!r} is not computed from the input by layers")
            outputs[name] = self._stage(value)
        return assembled(self._inputs, outputs, self._dtype, self._size)

    def _value(self, name: str, user: Any) -> Any:
        if name not in self._values:
            raise ModelFormatError(f"{user} takes the value {name[:80]!r}, which nothing computes")
        return self._values[name]

    # Nodes

    def _take(self, node: Node) -> None:
        """Compute the outputs of a node."""
        if node.operator == "Split":
            found: list[Any] = split(node, [self._stage(self._value(node.inputs[0], node)), *self._others(node)])
        else:
            found = [self._computed(node)]
        for value in found:
            self._count(node, value)
        for name, value in zip(node.outputs, found, strict=False):
            self._values[name] = value
            if self._uses[name] > 1:
                if isinstance(value, _Pending):
                    value.stage = self._recognizer.layers_of(value.base, value.formula)
                elif isinstance(value, Stage):
                    value.reused = True

    def _count(self, node: Node, value: Any) -> None:
        """Raise if values are too many, or take too much memory: one constant may stand for many weights."""
        if isinstance(value, np.ndarray):
            return
        stage = value if isinstance(value, Stage) else value.base
        self._left_values -= 1 + len(stage.parents)
        # Scales and shifts of a formula are computed in float64.
        self._left_bytes -= (8 if isinstance(value, Stage) else 24) * stage.width
        if isinstance(value, Stage):
            # Arrays that are no views of the file were computed for this value.
            self._left_bytes -= sum(each.nbytes for each in value.weights if each.base is None)
        if self._left_values < 0 or self._left_bytes < 0:
            what = f"more than {_MOST_VALUES} values" if self._left_values < 0 else "too much memory for its size"
            raise ModelFormatError(f"it needs {what}, at the operator {node}")

    def _others(self, node: Node) -> list[Any]:
        return [self._value(name, node) for name in node.inputs[1:] if name]

    def _computed(self, node: Node) -> Any:
        """Return the first output of a node."""
        if node.operator == "Constant":
            return _constant(node)
        arguments = [self._value(name, node) for name in node.inputs if name]
        if arguments and all(isinstance(each, np.ndarray) for each in arguments):
            return folded(node, arguments)
        if node.operator in _KEEPING and arguments:
            return arguments[0]
        if node.operator == "Shape":
            return shape_of(node, self._stage(arguments[0]))
        if (taken := self._of_categories(node, arguments)) is not None:
            return taken
        if (taken := self._of_integers(node, arguments)) is not None:
            return taken
        if node.operator in COLUMNS and not isinstance(arguments[0], np.ndarray):
            return self._columns(node, arguments)
        if arguments and (taken := self._of_rows(node, arguments)) is not None:
            return taken
        if node.operator == "Concat" and arguments:
            return self._joined(node, arguments)
        if node.operator in ELEMENTWISE and not _has_slopes(node, arguments):
            return self._elementwise(node, arguments)
        if node.operator in LAYERS and arguments and isinstance(arguments[0], Stage | _Pending):
            return self._layer(node, arguments)
        raise ModelFormatError(f"the operator {node} cannot become a layer of fastnn")

    def _of_categories(self, node: Node, arguments: list[Any]) -> Any:
        """Return a step of an encoding of categories that is written out, or None."""
        first = arguments[0] if arguments else None
        if isinstance(first, Comparison):
            return continued(node, first, arguments[1:])
        if node.operator in ("Equal", "GreaterOrEqual") and len(arguments) == 2 and _base(first) is not None:
            return compared(node, self._stage(first), arguments[1])
        return None

    def _of_integers(self, node: Node, arguments: list[Any]) -> Any:
        """Return the vectors of an embedding, or the whole numbers that it takes; None for other operators."""
        first = arguments[0] if arguments else None
        if node.operator == "Cast" and isinstance(first, Stage):
            if first.integers and node.attributes.get("to") in (FLOAT, DOUBLE, *INTEGERS):
                return first
            return _OfRows("integers", first) if node.attributes.get("to") in INTEGERS else None
        if node.operator == "OneHot" and len(arguments) == 3 and not isinstance(first, np.ndarray):
            numbers = first.base if isinstance(first, _OfRows) else self._stage(first)
            return one_hot(node, numbers, *arguments[1:])
        if node.operator == "Gather" and len(arguments) == 2 and isinstance(first, np.ndarray):
            numbers = arguments[1].base if isinstance(arguments[1], _OfRows) else arguments[1]
            if isinstance(numbers, Stage):
                return embedded(node, first, numbers)
        return None

    def _columns(self, node: Node, arguments: list[Any]) -> Stage:
        """Return columns of a value, or the value in another shape."""
        value = self._stage(arguments[0])
        made: Stage | None = None
        if all(isinstance(each, np.ndarray) for each in arguments[1:]):
            made = COLUMNS[node.operator](node, value, arguments)
        if made is None:
            raise ModelFormatError(f"the operator {node} changes the rows, or in a way that fastnn has no layer for")
        return made

    def _elementwise(self, node: Node, arguments: list[Any]) -> Any:
        """Return the formula of an operator, or the sum of a value and what a block makes of it."""
        arguments = [
            self._stage(each) if _is_mean(each) or isinstance(each, Comparison) else each for each in arguments
        ]
        if any(isinstance(each, _OfRows) for each in arguments):
            raise ModelFormatError(f"the operator {node} is part of a formula that fastnn has no layer for")
        if node.operator == "Cast" and node.attributes.get("to") not in (FLOAT, DOUBLE, 9):
            raise ModelFormatError(f"the operator {node} turns values into whole numbers or texts")
        arguments = [_made(each) for each in arguments]
        bases = {id(base): base for base in map(_base, arguments) if base is not None}
        if len(bases) > 1:
            if not merges(node) or any(isinstance(each, np.ndarray) for each in arguments):
                raise ModelFormatError(f"the operator {node} joins values in a way that fastnn has no layer for")
            return merged(node, [self._stage(each) for each in arguments])
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
        if node.operator == "Div" and isinstance(second, _Pending):
            return self._divided_by_norm(first, second)
        if node.operator != "Div" or kinds[1] != "deviation":
            return None
        base, epsilon, width = second.base, short(second.epsilon), second.base.width
        ones, zeros = (np.broadcast_to(value, width) for value in (1.0, 0.0))
        if kinds[0] == "centred" and first.base is base:
            return base.then(layers.LayerNormalization(epsilon=epsilon), [ones, zeros])
        if kinds[0] is None and self._stage(first) is base:
            return base.then(layers.LayerNormalization(epsilon=epsilon, rms_scaling=True), [ones])
        return None

    def _divided_by_norm(self, first: Any, second: _Pending) -> Any:
        """Return a scalar product divided by the norms of its vectors, or of one of them so far; None for others."""
        vector = second.base.parents[0] if norm_of(second.formula) and is_square(second.base) else None
        if isinstance(first, Stage) and is_product(first) and vector is not None:
            return _OfRows("divided", first, vector=vector) if vector in first.parents else None
        if not isinstance(first, _OfRows) or first.kind != "divided" or first.vector is None or vector is None:
            return None
        parents = first.base.parents
        if [vector, first.vector] not in (list(parents), list(parents)[::-1]):
            return None
        return Stage(parents, layers.Dot(axes=-1, normalize=True), [], (1,))

    def _joined(self, node: Node, arguments: list[Any]) -> Stage:
        """Return columns side by side, or the normalization that adds a column of 0 and 1 for missing values."""
        values = [_made(each) for each in arguments]
        if len(values) == 2 and all(isinstance(each, _Pending) for each in values):
            numbers, flags = values
            gaps = filled_gaps(numbers.formula)
            if gaps is not None and is_gap(flags.formula) and flags.base is numbers.base:
                return filled(numbers.base, *gaps, missing="indicator")
        if any(isinstance(each, np.ndarray) for each in arguments):
            raise ModelFormatError(f"the operator {node} joins columns and constants, which fastnn does not")
        stages = [self._stage(each) for each in arguments]
        last = len(stages[0].row)
        if node.attributes.get("axis", 1) not in (-1, last) or not last:
            raise ModelFormatError(f"the operator {node} joins branches along an axis other than the columns")
        return stages[0] if len(stages) == 1 else joined(stages)

    def _layer(self, node: Node, arguments: list[Any]) -> Stage:
        value, constants = self._stage(arguments[0]), arguments[1:]
        if not all(isinstance(each, np.ndarray) and each.dtype.kind == "f" for each in constants):
            raise ModelFormatError(f"the operator {node} takes inputs that are not constant numbers")
        if len(value.row) != 1:
            raise ModelFormatError(f"the operator {node} takes rows of the shape {value.row}, which must be vectors")
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
        if isinstance(value, Comparison) and (stage := encoded(value)) is not None:
            return stage
        if _is_mean(value):
            mean: Stage = value.stage
            return mean
        if not isinstance(value, Stage):
            raise ModelFormatError("a step of a longer formula is used in a way that fastnn has no layer for")
        return value


def _is_mean(value: Any) -> bool:
    return isinstance(value, _OfRows) and value.kind == "mean"


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


def _has_slopes(node: Node, arguments: list[Any]) -> bool:
    """Return whether a PRelu has a slope for each feature."""
    return node.operator == "PRelu" and isinstance(arguments[1], np.ndarray) and arguments[1].size > 1
