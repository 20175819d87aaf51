"""Variables: arrays that are read and assigned as Keras's variables are."""

from collections.abc import Iterator
from typing import Any, NoReturn, Self

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

from fastnn._arrays import as_numbers

Array = NDArray[Any]


class Variable(NDArrayOperatorsMixin):
    """An array of numbers that keeps its shape and its type; ``assign`` changes the numbers.

    It can be used like an array in arithmetic, comparisons and NumPy's functions, and has the attributes and methods of
    arrays that do not change them.

    Parameters
    ----------
    path : names of the layers that hold the variable, and its own: "dense/kernel".
    value : array that holds the numbers.

    Attributes
    ----------
    name : last part of the path, such as "kernel".
    path : names of the layers that hold it, and its own: "dense/kernel".
    """

    __array_priority__ = 1000.0

    def __init__(self, path: str, value: Array) -> None:
        self.path = path
        self.name = path.rpartition("/")[2]
        self._value = value

    def _read(self) -> Array:
        return self._value.copy()

    def _write(self, value: Array) -> None:
        np.copyto(self._value, value)

    @property
    def value(self) -> Array:
        """The numbers, read-only: a picture of this moment."""
        value = self._read()
        value.flags.writeable = False
        return value

    def numpy(self) -> Array:
        """Return a copy of the numbers."""
        return self._read()

    @property
    def trainable(self) -> bool:
        """Whether training changes the numbers."""
        return False

    def assign(self, value: Any) -> Self:
        """Replace the numbers.

        Raises
        ------
        ValueError
            Another shape, something else than real numbers, or numbers too large for the type; nothing is changed.
        """
        self._write(as_variable_values(value, self.path, self.shape, self.dtype))
        return self

    def assign_add(self, value: Any) -> Self:
        """Add to the numbers."""
        return self.assign(self.value + np.asarray(value))

    def assign_sub(self, value: Any) -> Self:
        """Subtract from the numbers."""
        return self.assign(self.value - np.asarray(value))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError(f"the numbers of {self.path} lie in the network and are always copied")
        return self._read() if dtype is None else self._read().astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: tuple[Any, ...] = (), **options: Any) -> Any:
        if len(out) == 1 and isinstance(out[0], Variable):  # an operator such as +=
            return out[0]._change(getattr(ufunc, method)(*map(_plain, inputs), **options))
        return getattr(ufunc, method)(*map(_plain, inputs), **options, **({"out": out} if out else {}))

    def _change(self, value: Array) -> Self:
        """Take the result of an operator such as ``+=``."""
        return self.assign(value)

    def __getitem__(self, index: Any) -> Any:
        return self.value[index]

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(f"{self.path} cannot be changed in place: use assign, with all its numbers")

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.value)

    def __contains__(self, number: Any) -> bool:
        return number in self.value

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __index__(self) -> int:
        return self.value.__index__()

    def __getattr__(self, name: str) -> Any:
        # The array's methods that would change it raise, because ``value`` is read-only.
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.value, name)

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}, value={self.value}>"


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Variable) else value


def as_variable_values(value: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return new values of a variable as an array of its shape and type.

    Raises
    ------
    ValueError
        Another shape, something else than real numbers, or numbers too large for the type.
    """
    array = as_numbers(value, name)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {shape}, got {array.shape}")
    with np.errstate(over="ignore"):
        values = array.astype(dtype, copy=False)
    if array.dtype.itemsize > dtype.itemsize and (np.isinf(values) & np.isfinite(array)).any():
        raise ValueError(f"{name} has type {dtype}, which cannot hold {array[np.isinf(values)][0]}")
    return values
