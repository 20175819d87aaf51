"""Symbolic tensors: what layers give before there are rows, and the calls that they come from."""

import itertools
from collections.abc import Sequence
from typing import Any, NoReturn

import fastnn._registry as registry
from fastnn._arguments import float_type
from fastnn._names import automatic_name
from fastnn._structures import filled, leaves

_NUMBERS = itertools.count()

_COMPUTED = (
    "has no numbers: it stands for the outputs of a layer. Compute with layers and + - * / and slices of such tensors; "
    "numbers come from model.predict"
)


class KerasTensor:
    """The outputs of one call of a layer, or an input: a shape and a type, without numbers.

    Layers take such tensors, and ``+ - * /`` combine them with each other and with numbers. ``x[:, 2:5]`` takes columns
    and ``x[:, 0]`` one of them.

    Parameters
    ----------
    row : shape of one row.
    dtype : "float32", "float64", "int64", "string" and so on; None for the type of the model.
    node : the call that gives it.
    name : name in messages.

    Attributes
    ----------
    shape : ``(None, *row)``: the number of rows is open.
    """

    def __init__(self, row: tuple[int, ...], dtype: str | None, node: "Node", name: str | None = None) -> None:
        self.row, self.declared_dtype, self.node = row, dtype, node
        self.name = automatic_name("KerasTensor") if name is None else name

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape with None for the number of rows."""
        return (None, *self.row)

    @property
    def ndim(self) -> int:
        """Number of axes, that of the rows included."""
        return 1 + len(self.row)

    @property
    def dtype(self) -> str:
        """Type of the numbers; "float32" where the model decides."""
        return self.declared_dtype or "float32"

    @property
    def holds_floats(self) -> bool:
        """Whether the numbers are of the type that the network computes in."""
        return self.declared_dtype in (None, "float32", "float64")

    def _combined(self, operator: str, other: Any, reflected: bool = False) -> Any:
        return registry.find("layer", "Arithmetic").of(operator, self, other, reflected)

    def __add__(self, other: Any) -> Any:
        return self._combined("add", other)

    def __radd__(self, other: Any) -> Any:
        return self._combined("add", other, True)

    def __sub__(self, other: Any) -> Any:
        return self._combined("subtract", other)

    def __rsub__(self, other: Any) -> Any:
        return self._combined("subtract", other, True)

    def __mul__(self, other: Any) -> Any:
        return self._combined("multiply", other)

    def __rmul__(self, other: Any) -> Any:
        return self._combined("multiply", other, True)

    def __truediv__(self, other: Any) -> Any:
        return self._combined("divide", other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._combined("divide", other, True)

    def __neg__(self) -> Any:
        return registry.find("layer", "Arithmetic")("multiply", -1.0, name=automatic_name("Negative"))([self])

    def __pos__(self) -> "KerasTensor":
        return self

    def __getitem__(self, key: Any) -> Any:
        return registry.find("layer", "GetItem")(key)(self)

    def _refuse(self, what: str) -> NoReturn:
        raise TypeError(f"{what}: the tensor {self.name!r} of shape {self.shape} {_COMPUTED}")

    def __bool__(self) -> NoReturn:
        self._refuse("a symbolic tensor is neither true nor false")

    def __iter__(self) -> NoReturn:
        self._refuse("a symbolic tensor cannot be iterated over")

    def __len__(self) -> NoReturn:
        self._refuse("a symbolic tensor has no length")

    def __float__(self) -> NoReturn:
        self._refuse("a symbolic tensor is not a number")

    __int__ = __index__ = __float__

    def __array__(self, *arguments: Any, **options: Any) -> NoReturn:
        self._refuse("NumPy cannot compute with a symbolic tensor")

    def __array_ufunc__(self, ufunc: Any, method: str, *arguments: Any, **options: Any) -> Any:
        names = {"add": "add", "subtract": "subtract", "multiply": "multiply", "divide": "divide"}
        if method == "__call__" and ufunc.__name__ in names and len(arguments) == 2 and arguments[1] is self:
            return self._combined(names[ufunc.__name__], arguments[0], True)
        self._refuse(f"numpy.{ufunc.__name__} cannot compute with a symbolic tensor")

    def __array_function__(self, function: Any, *arguments: Any) -> NoReturn:
        self._refuse(f"numpy.{function.__name__} cannot compute with a symbolic tensor")

    def _refuse_operator(self, *others: Any) -> NoReturn:
        self._refuse("symbolic tensors have the operators + - * / alone; a square is x * x")

    __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __mod__ = __rmod__ = __abs__ = _refuse_operator
    __floordiv__ = __rfloordiv__ = _refuse_operator

    def _refuse_comparison(self, other: Any) -> NoReturn:
        self._refuse("a symbolic tensor cannot be compared")

    __lt__ = __le__ = __gt__ = __ge__ = _refuse_comparison

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"


class Node:
    """One call of a layer or of a model.

    Parameters
    ----------
    layer : what was called.
    arguments : positional and keyword arguments, as a structure of tensors and other values.
    rows : shape of a row for each output.
    dtypes : declared type of each output.
    names : names of the outputs; None for automatic ones.

    Attributes
    ----------
    number : place in the order of all calls.
    inputs : the tensors among the arguments, in order.
    outputs : the tensors that the call gives.
    structure : structure of the outputs, with anything as leaves; None for one tensor.
    inner : tensors that stand for the inputs and the outputs of a layer made of layers; None for other layers.
    """

    def __init__(
        self,
        layer: Any,
        arguments: Any,
        rows: Sequence[tuple[int, ...]],
        dtypes: Sequence[str | None],
        names: Sequence[str | None] | None = None,
    ) -> None:
        self.number = next(_NUMBERS)
        self.layer, self.arguments = layer, arguments
        self.inputs = tensors_in(arguments)
        self.inner: tuple[list[KerasTensor], list[KerasTensor]] | None = None
        self.structure: Any = None
        titles = [None] * len(rows) if names is None else names
        self.outputs = [
            KerasTensor(row, dtype, self, name) for row, dtype, name in zip(rows, dtypes, titles, strict=True)
        ]

    def input(self) -> Any:
        """Return the tensor or the structure of tensors that the layer was called on."""
        arguments, options = self.arguments
        return arguments[0] if len(arguments) == 1 and not options else self.arguments

    def result(self) -> Any:
        """Return the tensor or the structure of tensors that the call gives."""
        return self.outputs[0] if self.structure is None else filled(self.structure, iter(self.outputs))


def tensors_in(structure: Any) -> list[KerasTensor]:
    """Return the symbolic tensors in a structure, in order."""
    return [leaf for leaf in leaves(structure) if isinstance(leaf, KerasTensor)]


def common_dtype(what: str, tensors: Sequence[KerasTensor], own: Any) -> str | None:
    """Return the one floating-point type that tensors, and a layer, declare; None if none does.

    Raises
    ------
    ValueError
        They declare different ones.
    """
    declared = {each.declared_dtype: each for each in tensors if each.declared_dtype in ("float32", "float64")}
    mine = None if own is None else float_type("dtype", own).name
    if len(declared) > 1 or (mine is not None and declared and mine not in declared):
        given = " and ".join(f"{each.name!r} is {each.dtype}" for each in declared.values())
        computes = f", and it has dtype {mine}" if mine is not None else ""
        raise ValueError(
            f"{what} cannot take tensors of these types: {given}{computes}. A network computes in one type: give all "
            "inputs and layers the same dtype"
        )
    return next(iter(declared), mine)
