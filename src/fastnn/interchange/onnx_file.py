"""The contents of an ONNX file: nodes, constants, inputs and outputs.

Numbers of the fields: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.errors import ModelFormatError
from fastnn.interchange.protobuf import Messages, floats, signed, text

Array = NDArray[Any]

_ELEMENTS = {1: "<f4", 2: "<u1", 3: "<i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "<u1", 10: "<f2", 11: "<f8"}
"""NumPy's code of ``TensorProto.DataType``."""
FLOAT, DOUBLE = 1, 11
INTEGERS = {6: "int32", 7: "int64"}
"""Types of inputs that are whole numbers."""
_MOST_NODES = 10_000


@dataclass
class Node:
    """An operator.

    Parameters
    ----------
    operator : name of the operator; with its domain if that is not ONNX's own.
    name : name of the node, or of its output where it has none.
    inputs, outputs : names of values; "" stands for an optional one that is left out.
    attributes : numbers, texts, lists of whole numbers or arrays by name.
    """

    operator: str = ""
    name: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.operator} (node {self.name!r})"


@dataclass
class OnnxGraph:
    """A graph: nodes in order, constants by name, and inputs and outputs.

    Parameters
    ----------
    nodes, constants : the graph.
    inputs : element type and sizes of each input; None for a size that is not a number.
    outputs : names.
    """

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    inputs: dict[str, tuple[int, list[int | None]]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)


def read_graph(data: memoryview) -> OnnxGraph:
    """Return the graph of the bytes of a file.

    Raises
    ------
    ModelFormatError
        The bytes are not an ONNX model, or it keeps weights in other files.
    """
    messages = Messages()
    graph: OnnxGraph | None = None
    opset = 0
    for number, value in messages.fields(data):
        if number == 7 and graph is None:
            graph = _graph(messages, value)
        elif number == 8:
            domain, version = "", 0
            for inner, part in messages.fields(value):
                domain = text(part) if inner == 1 else domain
                version = part if inner == 2 else version
            opset = version if domain in ("", "ai.onnx") else opset
    if graph is None or not isinstance(opset, int) or opset == 0:
        raise ModelFormatError("it has no graph of ONNX's operators")
    if opset < 7:
        raise ModelFormatError(f"its opset is {opset}; fastnn reads operators from opset 7 on")
    for name in graph.constants:
        graph.inputs.pop(name, None)
    return graph


def _graph(messages: Messages, data: Any) -> OnnxGraph:
    graph = OnnxGraph()
    for number, value in messages.fields(data):
        if number == 1:
            graph.nodes.append(_node(messages, value))
            if len(graph.nodes) > _MOST_NODES:
                raise ModelFormatError(f"it has more than {_MOST_NODES} nodes")
        elif number == 5:
            name, array = _tensor(messages, value)
            graph.constants[name] = array
        elif number == 11:
            name, element, sizes = _value(messages, value)
            graph.inputs[name] = (element, sizes)
        elif number == 12:
            graph.outputs.append(_value(messages, value)[0])
        elif number == 15:
            raise ModelFormatError("it has sparse weights, which fastnn does not read")
    return graph


def _node(messages: Messages, data: Any) -> Node:
    node = Node()
    domain = ""
    for number, value in messages.fields(data):
        if number == 1:
            node.inputs.append(text(value))
        elif number == 2:
            node.outputs.append(text(value))
        elif number == 3:
            node.name = text(value)
        elif number == 4:
            node.operator = text(value)
        elif number == 5:
            name, attribute = _attribute(messages, value)
            node.attributes[name] = attribute
        elif number == 7:
            domain = text(value)
    if domain not in ("", "ai.onnx"):
        node.operator = f"{domain}.{node.operator}"
    node.name = (node.name or next(iter(node.outputs), ""))[:80]
    node.operator = node.operator[:80]
    return node


def _attribute(messages: Messages, data: Any) -> tuple[str, Any]:
    name = ""
    found: Any = None
    integers: list[int] = []
    for number, value in messages.fields(data):
        if number == 1:
            name = text(value)
        elif number == 2:
            found = float(floats(value, "<f4")[0])
        elif number == 3 and isinstance(value, int):
            found = signed(value)
        elif number == 4:
            found = text(value)
        elif number == 5:
            found = _tensor(messages, value)[1]
        elif number == 8:
            integers += messages.numbers(value)
    return name, integers or found


def _tensor(messages: Messages, data: Any) -> tuple[str, Array]:
    """Return name and elements of a constant, without a copy where they are stored raw."""
    name, sizes, element = "", [], 0
    parts: list[Any] = []
    for number, value in messages.fields(data):
        if number == 1:
            sizes += messages.numbers(value)
        elif number == 2:
            element = value
        elif number == 4:
            parts.append(floats(value, "<f4"))
        elif number in (5, 7):
            parts.append(np.array(messages.numbers(value), np.int64))
        elif number == 8:
            name = text(value)
        elif number == 9:
            parts.append(value)
        elif number == 10:
            parts.append(floats(value, "<f8"))
        elif number in (13, 14) and value != 0:
            raise ModelFormatError(f"the constant {name[:80]!r} lies in another file: save the model as one file")
    if element not in _ELEMENTS:
        # Texts and the like: an error where they are used.
        return name, np.empty(0, object)
    dtype = np.dtype(_ELEMENTS[element])
    arrays = [part if isinstance(part, np.ndarray) else floats(part, dtype.str) for part in parts]
    array = np.empty(0, dtype) if not arrays else arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    if len(sizes) > 8 or any(size < 0 for size in sizes) or math.prod(sizes) != array.size:
        raise ModelFormatError(
            f"the constant {name[:80]!r} has {array.size} elements, which do not fit its sizes {sizes[:8]}"
        )
    if dtype == np.float16:
        array = array.astype(np.float32)
    elif array.dtype.kind != dtype.kind:
        array = array.astype(dtype)
    return name, array.reshape(sizes)


def _value(messages: Messages, data: Any) -> tuple[str, int, list[int | None]]:
    """Return name, element type and sizes of an input or output."""
    name, element = "", 0
    sizes: list[int | None] = []
    for number, value in messages.fields(data):
        if number == 1:
            name = text(value)
        elif number == 2:
            for kind, tensor in messages.fields(value):
                if kind != 1:
                    continue
                for inner, part in messages.fields(tensor):
                    if inner == 1 and isinstance(part, int):
                        element = part
                    elif inner == 2:
                        sizes = [_size(messages, dimension) for _, dimension in messages.fields(part)]
    return name, element, sizes


def _size(messages: Messages, data: Any) -> int | None:
    size = None
    for number, value in messages.fields(data):
        size = value if number == 1 and isinstance(value, int) else None
    return size
