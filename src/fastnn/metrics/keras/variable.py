"""The arrays that custom metrics keep between updates."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


class Variable(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of a custom metric, with Keras's methods and NumPy's operators.

    Parameters
    ----------
    shape : shape.
    dtype : dtype of its numbers.
    name : name in ``repr``.
    """

    def __init__(self, shape: int | Sequence[int] = (), dtype: DTypeLike = np.float64, name: str | None = None) -> None:
        self._value = np.zeros(shape, dtype)
        self.name = name if name is not None else "variable"

    @property
    def value(self) -> Array:
        """The array."""
        return self._value

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self._value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The array's dtype."""
        return self._value.dtype

    def numpy(self) -> Array:
        """Return a copy of the array."""
        return self._value.copy()

    def assign(self, value: Any) -> None:
        """Replace the numbers."""
        self._value[...] = value

    def assign_add(self, value: Any) -> None:
        """Add to the numbers."""
        self._value += value

    def assign_sub(self, value: Any) -> None:
        """Subtract from the numbers."""
        self._value -= value

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self._value, dtype) if copy or dtype is not None else self._value

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple[Any, ...] = (), **options: Any
    ) -> Any:
        # Operators come here; those such as += have this variable as ``out``.
        if out:
            options["out"] = tuple(each.value if isinstance(each, Variable) else each for each in out)
        plain = (each.value if isinstance(each, Variable) else each for each in inputs)
        result = getattr(ufunc, method)(*plain, **options)
        return out[0] if len(out) == 1 else result

    def __getitem__(self, index: Any) -> Any:
        return self._value[index]

    def __float__(self) -> float:
        return float(self._value)

    def __int__(self) -> int:
        return int(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return f"<Variable {self.name} {self._value!r}>"
