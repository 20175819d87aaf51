"""An ONNX graph that is being written: nodes, constants, inputs and outputs.

Operators and the versions that brought them: https://github.com/onnx/onnx/blob/main/docs/Operators.md.
"""

import os
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._arguments import installed, whole
from fastnn.saving.atomic import write_atomically
from fastnn.saving.foreign import warn_of_suffix

Array = NDArray[Any]

LOWEST_OPSET = 13
"""Its operators have the meaning that the writer relies on; those of ``_SINCE`` are younger."""
_SINCE = {"HardSwish": 14, "BatchNormalization": 15, "LayerNormalization": 17, "Mish": 18, "Gelu": 20}


class Graph:
    """A graph that grows node by node; names of values are texts.

    Parameters
    ----------
    opset : version of the operators.
    dtype : type of the network's numbers.

    Attributes
    ----------
    layer : what is being written, for errors.
    """

    def __init__(self, opset: Any, dtype: np.dtype[Any]) -> None:
        self._onnx = installed("onnx", "export_onnx", "onnx")
        highest = self._onnx.defs.onnx_opset_version()
        self.opset = whole("opset", opset, at_least=1, at_most=highest)
        self.dtype = np.dtype(dtype)
        self.layer = "the network"
        self._nodes: list[Any] = []
        self._constants: dict[Any, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._taken: set[str] = set()
        self._held: list[Array] = []  # keeps the numbers of objects that are keys
        self._reserved: set[str] = set()
        self._count = 0

    def has(self, operator: str) -> bool:
        """Return whether the opset has an operator."""
        return self.opset >= _SINCE.get(operator, LOWEST_OPSET)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output, and return the output's name.

        Raises
        ------
        ValueError
            The opset is too low for the operator; the message names the layer.
        """
        if not self.has(operator):
            needed = _SINCE.get(operator, LOWEST_OPSET)
            raise ValueError(
                f"opset={self.opset} is too low for {self.layer}: the operator {operator} needs opset {needed}"
            )
        output = self._name(operator.lower())
        node = self._onnx.helper.make_node(operator, list(inputs), [output], name=self._name(operator), **attributes)
        self._nodes.append(node)
        return output

    def constant(self, value: Any, dtype: Any = None, name: str = "constant") -> str:
        """Return the name of a constant, by default of the network's type; equal small ones are stored once."""
        array = np.array(value, dtype=self.dtype if dtype is None else dtype, order="C")
        key: Any = (
            (array.dtype.str, array.shape, array.tobytes()) if array.size <= 16 and array.dtype != object else None
        )
        if key not in self._constants or key is None:
            made = self._onnx.numpy_helper.from_array(array, self._name(name))
            self._constants[key if key is not None else made.name] = made
            return str(made.name)
        return str(self._constants[key].name)

    def weight(self, array: Array, name: str) -> str:
        """Return the name of a weight; one that several nodes have is stored once, and only then."""
        key = id(array)
        if key not in self._constants:
            self._constants[key] = self._onnx.numpy_helper.from_array(
                np.ascontiguousarray(array, self.dtype), self._name(name)
            )
            self._held.append(array)
        return str(self._constants[key].name)

    def columns(self, value: str, columns: Sequence[int], n: int) -> str:
        """Return chosen ones of a value's n columns."""
        if list(columns) == list(range(n)):
            return value
        return self.add("Gather", value, self.constant(columns, np.int64, "columns"), axis=1)

    def cast(self, value: str, dtype: Any) -> str:
        """Return a value as another type."""
        return self.add("Cast", value, to=self._element(dtype))

    def mean_of_rows(self, value: str) -> str:
        """Return the mean of each row, (N, 1); the axes are an attribute before opset 18 and an input from then on."""
        if self.opset >= 18:
            return self.add("ReduceMean", value, self.constant([-1], np.int64), keepdims=1)
        return self.add("ReduceMean", value, axes=[-1], keepdims=1)

    def add_input(self, name: str, dtype: Any, shape: Sequence[int]) -> str:
        """Add an input of N rows of a shape."""
        self._inputs.append(self._value(name, dtype, shape))
        self._taken.add(name)
        return name

    def reserve(self, name: str) -> str:
        """Return the name of an output that no other value will get: ``name``, with "_" at its end if it is taken."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        self._reserved.add(name)
        return name

    def add_output(self, value: str, name: str, dtype: Any, shape: Sequence[int]) -> None:
        """Add an output, a value under another name, which is reserved unless it is already."""
        name = name if name in self._reserved else self.reserve(name)
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name], name=self._name("Identity")))
        self._outputs.append(self._value(name, dtype, shape))

    def save(self, path: str | os.PathLike[str], name: str, properties: dict[str, str]) -> None:
        """Write the graph as the file of a model."""
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, initializer=list(self._constants.values())
        )
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),
            producer_name="fastnn",
            producer_version=metadata.version("fastnn"),
        )
        helper.set_model_props(model, properties)
        warn_of_suffix(path, "an ONNX model", ".onnx")
        write_atomically(path, [model.SerializeToString()])

    def _value(self, name: str, dtype: Any, shape: Sequence[int]) -> Any:
        return self._onnx.helper.make_tensor_value_info(name, self._element(dtype), ["N", *shape])

    def _element(self, dtype: Any) -> int:
        if dtype is str or getattr(dtype, "kind", "") == "U":
            return int(self._onnx.TensorProto.STRING)
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def _name(self, stem: str) -> str:
        self._count += 1
        while f"{stem}_{self._count}" in self._taken:
            self._count += 1
        return f"{stem}_{self._count}"
