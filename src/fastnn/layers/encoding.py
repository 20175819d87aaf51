"""Layers that turn categories into numbers: integers, strings and bins of numbers, with Keras's names and values.

They compute with NumPy before the network, as the first layers after an input, or on arrays outside of a model.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._arguments import absent, choice, number, optional, whole
from fastnn._arrays import as_numbers, check_unmasked
from fastnn._structures import leaves
from fastnn.layers.hashing import farm_hash, sip_hash
from fastnn.layers.layer import Layer
from fastnn.layers.tensor import KerasTensor, Node

Array = NDArray[Any]
_MODES = ("int", "one_hot", "multi_hot", "count")


class Encoder(Layer):
    """Base of layers that give each element of their inputs a number from 0 to ``depth - 1``.

    Parameters
    ----------
    output_mode : "int" (the numbers), "one_hot" (a row of zeros with a 1 for each element), or for the elements of a
        row together "multi_hot" (1 for every number that occurs) and "count" (how often it does).
    """

    encodes = True
    output_mode: str

    def _set_mode(self, output_mode: str, sparse: bool, modes: Sequence[str] = _MODES) -> None:
        absent(sparse=sparse)
        self.output_mode = choice("output_mode", "multi_hot" if output_mode == "binary" else output_mode, modes)

    @property
    def depth(self) -> int:
        """How many numbers there are."""
        raise NotImplementedError

    def numbers_of(self, values: Any) -> Array:
        """Return the number of each element as int64, in the shape of ``values``."""
        raise NotImplementedError

    def trace(self, arguments: Any, options: Any) -> Node:
        """Return a call of the layer on an input, or on columns of one."""
        given = leaves((arguments, options))
        if len(given) != 1 or not isinstance(given[0], KerasTensor):
            raise TypeError(f"layer {self.name!r} takes one tensor, got {len(given)} arguments")
        before = given[0].node
        if before.inputs and not (before.layer.encodes or before.layer.selects):
            raise ValueError(
                f"layer {self.name!r} encodes columns of an input, but {given[0].name!r} of shape {given[0].shape} is "
                f"computed by layer {before.layer.name!r}"
            )
        return Node(self, (given, {}), [self.row_of(given[0].row)], [self.dtype_of([given[0].declared_dtype])])

    def dtype_of(self, dtypes: Sequence[str | None]) -> str | None:
        """Return "int64" for numbers of categories; None for zeros and ones."""
        return "int64" if self.output_mode == "int" else None

    def row_of(self, *rows: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a row of outputs."""
        row = rows[0]
        if self.output_mode == "int":
            return row
        if self.output_mode == "one_hot":
            return (*row[:-1], self.depth) if row[-1:] == (1,) else (*row, self.depth)
        return (*row[:-1], self.depth)

    def n_outputs(self, n_in: int) -> int:
        """Return the number of output columns."""
        return int(np.prod(self.row_of((n_in,))))

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return what stands for an op: the network begins after the layer."""
        return "encoding", {}

    def compute(self, *arguments: Any, **options: Any) -> Array:
        """Return the encoded elements of an array: (n, k), ..., or (k,) for one row."""
        (values,) = (*arguments, *options.values())
        numbers = np.asarray(self.numbers_of(values))
        if self.output_mode == "int":
            return numbers
        if self.output_mode == "one_hot" and numbers.ndim > 1 and numbers.shape[-1] == 1:
            numbers = numbers[..., 0]
        hot: Array = (numbers[..., None] == np.arange(self.depth)).astype(np.float32)
        if self.output_mode == "one_hot" or numbers.ndim == 0:
            return hot
        together: Array = hot.sum(axis=-2) if self.output_mode == "count" else hot.max(axis=-2)
        return together

    def _mode_config(self) -> dict[str, Any]:
        return {**super().get_config(), "output_mode": self.output_mode}


@registry.register("layer", "CategoryEncoding")
class CategoryEncoding(Encoder):
    """Zeros and ones for whole numbers from 0 to ``num_tokens - 1``.

    Parameters
    ----------
    num_tokens : how many numbers there are.
    output_mode : "multi_hot" (1 for every number in a row), "count" (how often it is there), or "one_hot" (a row of
        zeros with a 1 for each element).
    sparse : must be False.
    """

    def __init__(
        self, num_tokens: int | None = None, output_mode: str = "multi_hot", sparse: bool = False, **layer_options: Any
    ) -> None:
        self.num_tokens = whole("num_tokens", num_tokens, at_least=1)
        self._set_mode(output_mode, sparse, _MODES[1:])
        super().__init__(**layer_options)

    @property
    def depth(self) -> int:
        """``num_tokens``."""
        return self.num_tokens

    def numbers_of(self, values: Any) -> Array:
        """Return the numbers after a check of their range."""
        numbers = as_numbers(values, f"the input of layer {self.name!r}")
        wrong = ~((numbers >= 0) & (numbers < self.num_tokens) & (numbers == np.floor(numbers)))
        if wrong.any():
            place = [int(each) for each in np.argwhere(wrong)[0]]
            raise ValueError(
                f"layer {self.name!r} takes whole numbers from 0 to {self.num_tokens - 1}, got "
                f"{numbers[tuple(place)]} at index {place}"
            )
        return numbers.astype(np.int64)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**self._mode_config(), "num_tokens": self.num_tokens}


def strings_in(values: Any, name: str) -> Array:
    """Return an array of strings.

    Raises
    ------
    ValueError
        An element that is neither a string nor bytes.
    """
    check_unmasked(values, name)
    array = np.asarray(values)
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8")
    if array.dtype.kind == "U":
        return array
    for place, each in np.ndenumerate(array):
        if not isinstance(each, str | bytes):
            raise ValueError(f"{name} must be strings, got {each!r} at index {[int(i) for i in place]}")
    decoded = [each.decode() if isinstance(each, bytes) else each for each in array.ravel().tolist()]
    return np.array(decoded, dtype=str).reshape(array.shape)


def salt_of(salt: Any) -> list[int] | None:
    """Return the two numbers of a salt; None for None."""
    pair = [salt, salt] if isinstance(salt, int) else salt
    if pair is not None and len(pair) != 2:
        raise ValueError(f"salt must be one number or two, got {salt!r}")
    return None if pair is None else [whole("salt", each, at_least=0) for each in pair]


def hash_of(text: str, salt: Sequence[int] | None) -> int:
    """Return 64 bits that depend on a string."""
    return farm_hash(text.encode()) if salt is None else sip_hash(text.encode(), (salt[0], salt[1]))


@registry.register("layer", "Hashing")
class Hashing(Encoder):
    """Number strings or integers by a hash of them, without a vocabulary; different ones may have one number.

    Parameters
    ----------
    num_bins : how many numbers there are.
    mask_value : string or integer that has the number 0 for itself; None for none.
    salt : one or two numbers that select another hash function (SipHash instead of FarmHash).
    output_mode, sparse : as in ``IntegerLookup``.
    """

    def __init__(
        self,
        num_bins: int,
        mask_value: Any = None,
        salt: Any = None,
        output_mode: str = "int",
        sparse: bool = False,
        **layer_options: Any,
    ) -> None:
        self.num_bins, self.mask_value = whole("num_bins", num_bins, at_least=1), mask_value
        self.salt = salt_of(salt)
        self._set_mode(output_mode, sparse)
        super().__init__(**layer_options)

    @property
    def depth(self) -> int:
        """``num_bins``."""
        return self.num_bins

    def numbers_of(self, values: Any) -> Array:
        """Return the bin of each element."""
        name = f"the input of layer {self.name!r}"
        array = np.asarray(values)
        given = as_numbers(array, name).astype(np.int64) if array.dtype.kind in "biuf" else strings_in(values, name)
        unique, places = np.unique(given, return_inverse=True)
        masked = self.mask_value is not None and self.num_bins > 1
        n_bins = self.num_bins - masked
        numbers = [
            0 if masked and each == self.mask_value else masked + hash_of(str(each), self.salt) % n_bins
            for each in unique.tolist()
        ]
        return np.array(numbers, dtype=np.int64)[places].reshape(given.shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **self._mode_config(),
            "num_bins": self.num_bins,
            "mask_value": self.mask_value,
            "salt": self.salt,
        }


@registry.register("layer", "Discretization")
class Discretization(Encoder):
    """Number numbers by the bin that they fall into: 0 below the first boundary, 1 from there on, and so on.

    Parameters
    ----------
    bin_boundaries : ascending boundaries; None to ``adapt``.
    num_bins : number of bins to learn, each with about as many values.
    epsilon : how exactly ``adapt`` finds quantiles, as a fraction of the values.
    output_mode, sparse : as in ``IntegerLookup``.
    dtype, name : as in ``Layer``.
    """

    def __init__(
        self,
        bin_boundaries: Any = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        dtype: Any = None,
        name: str | None = None,
        **layer_options: Any,
    ) -> None:
        if bin_boundaries is None and num_bins is None:
            raise ValueError("give bin_boundaries, or num_bins and call adapt(data)")
        self.num_bins = optional(whole, "num_bins", num_bins, at_least=1)
        self.epsilon = number("epsilon", epsilon, above=0.0, below=1.0)
        self.bin_boundaries: list[float] | None = None
        if bin_boundaries is not None:
            found = [number("each of bin_boundaries", each) for each in bin_boundaries]
            if sorted(found) != found:
                raise ValueError(f"bin_boundaries must ascend, got {bin_boundaries!r}")
            self.bin_boundaries = found
        self._set_mode(output_mode, sparse)
        super().__init__(name=name, dtype=dtype, **layer_options)

    @property
    def depth(self) -> int:
        """Number of bins."""
        return len(self._boundaries()) + 1

    def _boundaries(self) -> list[float]:
        if self.bin_boundaries is None:
            raise ValueError(
                f"layer {self.name!r} has no boundaries: pass bin_boundaries=[...], or call adapt(data) first"
            )
        return self.bin_boundaries

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Learn boundaries between bins with about equally many values of ``data``, an array of any shape.

        The values are thinned out to about ``1 / epsilon``, and boundaries are interpolated between them; in float32.
        ``steps`` must be None: all data is read.
        """
        absent(steps=steps)
        if self.num_bins is None:
            raise ValueError(f"layer {self.name!r} was given its boundaries: there is nothing to adapt")
        values = np.sort(as_numbers(data, "data").astype(np.float32).ravel())
        step = max(len(values) * self.epsilon, 1.0)
        thinned = values[int(step - 1) :: int(step)]
        summary = np.stack([thinned, np.full(len(thinned), step, np.float32)])
        summary = _compressed(summary, self.epsilon)
        self.bin_boundaries = [float(each) for each in _compressed(summary, 1.0 / self.num_bins)[0, :-1]]

    def numbers_of(self, values: Any) -> Array:
        """Return the bin of each number."""
        numbers = as_numbers(values, f"the input of layer {self.name!r}")
        return np.digitize(numbers, np.array(self._boundaries())).astype(np.int64)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the boundaries that were learned."""
        return {
            **self._mode_config(),
            "bin_boundaries": None if self.bin_boundaries is None else list(self.bin_boundaries),
            "num_bins": self.num_bins,
            "epsilon": self.epsilon,
        }


def _compressed(summary: Array, epsilon: float) -> Array:
    """Return quantiles at multiples of ``epsilon`` of values (row 0) with weights (row 1), and their weights."""
    if summary.shape[1] * epsilon < 1:
        return summary
    fractions = epsilon + np.arange(0.0, 1.0, epsilon)
    sums = summary[1].cumsum()
    values = np.interp(fractions, sums / sums[-1], summary[0])
    weights = np.diff(np.interp(fractions, sums / sums[-1], sums), prepend=0.0)
    return np.stack([values, weights]).astype(np.float32)
