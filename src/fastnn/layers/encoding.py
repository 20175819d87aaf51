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
        self.output_mode = choice("output_mode", {"binary": "multi_hot"}.get(output_mode, output_mode), modes)

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
        """Return the encoded elements of an array: (n,), (n, k), ..."""
        (values,) = (*arguments, *options.values())
        numbers = np.asarray(self.numbers_of(values))
        if self.output_mode == "int":
            return numbers
        if self.output_mode == "one_hot" and numbers.ndim > 1 and numbers.shape[-1] == 1:
            numbers = numbers[..., 0]
        hot: Array = (numbers[..., None] == np.arange(self.depth)).astype(np.float32)
        if self.output_mode == "one_hot" or numbers.ndim < 2:
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
    output_mode : "multi_hot", "one_hot" or "count", as in ``Encoder``.
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


class _Lookup(Encoder):
    """Base of layers that number the entries of a vocabulary, the most frequent one first."""

    vocabulary_dtype: str

    def _set_vocabulary_options(
        self, max_tokens: Any, num_oov_indices: Any, mask_token: Any, oov_token: Any, invert: bool
    ) -> None:
        self.max_tokens = optional(whole, "max_tokens", max_tokens, at_least=2)
        self.num_oov_indices = whole("num_oov_indices", num_oov_indices, at_least=0)
        self.mask_token, self.oov_token, self.invert = mask_token, oov_token, bool(invert)
        if self.invert and self.output_mode != "int":
            raise ValueError(f"output_mode must be 'int' where invert is True, got {self.output_mode!r}")
        self.vocabulary: list[Any] | None = None
        """The entries, without those that stand for masked and unknown ones."""
        self._given = False

    def _entries(self, values: Any, name: str) -> Array:
        """Return values as an array of entries of a vocabulary."""
        raise NotImplementedError

    def _bucket(self, value: Any) -> int:
        """Return the number of the bucket of an unknown entry."""
        raise NotImplementedError

    @property
    def _n_masked(self) -> int:
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def depth(self) -> int:
        """Size of the vocabulary, with what stands for masked and unknown entries."""
        return self.vocabulary_size()

    def vocabulary_size(self) -> int:
        """Return the size of the vocabulary, with what stands for masked and unknown entries."""
        return self._n_masked + self.num_oov_indices + len(self._known())

    def _known(self) -> list[Any]:
        if self.vocabulary is None:
            raise ValueError(f"layer {self.name!r} has no vocabulary: pass vocabulary=[...], or call adapt(data) first")
        return self.vocabulary

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """Return the entries in the order of their numbers."""
        special = [self.mask_token] * self._n_masked + [self.oov_token] * self.num_oov_indices
        return [*special, *self._known()] if include_special_tokens else list(self._known())

    def set_vocabulary(self, vocabulary: Any, idf_weights: None = None) -> None:
        """Replace the vocabulary: its entries, with or without what stands for masked and unknown ones before them."""
        absent(idf_weights=idf_weights)
        if isinstance(vocabulary, str):
            raise ValueError(f"vocabulary must be a list, read the file {vocabulary!r} first")
        entries = self._entries(list(vocabulary), "vocabulary").tolist()
        special = [self.mask_token] * self._n_masked + [self.oov_token] * self.num_oov_indices
        if special and entries[: len(special)] == special:
            entries = entries[len(special) :]
        doubled = [each for each in entries if entries.count(each) > 1] if len(set(entries)) < len(entries) else []
        if not entries or doubled:
            raise ValueError(f"vocabulary must have entries that differ, got {doubled or entries}")
        if self.mask_token is not None and self.mask_token in entries:
            raise ValueError(f"vocabulary has the mask token {self.mask_token!r}, which is no entry of it")
        size = len(entries) + len(special)
        if self.max_tokens is not None and size > self.max_tokens:
            raise ValueError(
                f"vocabulary has {size} entries with the special ones, more than max_tokens {self.max_tokens}"
            )
        if (
            self.nodes
            and self.output_mode != "int"
            and self.vocabulary is not None
            and len(entries) != len(self.vocabulary)
        ):
            raise ValueError(
                f"layer {self.name!r} is part of a model for {len(self.vocabulary)} entries, got {len(entries)}"
            )
        self.vocabulary, self._given = entries, True

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Learn the vocabulary from data: the most frequent entries first, those of equal frequency in reverse order.

        Parameters
        ----------
        data : array or list of any shape.
        steps : accepted as in Keras, without effect: all data is read at once.
        """
        if self._given:
            raise ValueError(f"layer {self.name!r} was given its vocabulary: there is nothing to adapt")
        found, counts = np.unique(self._entries(data, "data").ravel(), return_counts=True)
        kept = [place for place, each in enumerate(found.tolist()) if each not in (self.mask_token, self.oov_token)]
        order = np.lexsort((found[kept], counts[kept]))[::-1]
        entries = found[kept][order].tolist()
        if self.max_tokens is not None:
            entries = entries[: self.max_tokens - self._n_masked - self.num_oov_indices]
        self.set_vocabulary(entries)
        self._given = False

    def numbers_of(self, values: Any) -> Array:
        """Return the number of each entry; unknown ones share ``num_oov_indices`` numbers."""
        name = f"the input of layer {self.name!r}"
        if self.invert:
            return self._inverted(as_numbers(values, name))
        given = self._entries(values, name)
        unique, places = np.unique(given, return_inverse=True)
        start = self._n_masked + self.num_oov_indices
        known = {entry: start + place for place, entry in enumerate(self._known())}
        numbers = np.array([self._number(entry, known) for entry in unique.tolist()], dtype=np.int64)
        return numbers[places].reshape(given.shape)

    def _number(self, entry: Any, known: dict[Any, int]) -> int:
        if self.mask_token is not None and entry == self.mask_token:
            return 0 if self._n_masked else -1
        if entry in known:
            return known[entry]
        if self.num_oov_indices == 0:
            raise ValueError(
                f"layer {self.name!r} has num_oov_indices=0, but {entry!r} is not in its vocabulary of "
                f"{len(self._known())} entries"
            )
        return self._n_masked + (self._bucket(entry) if self.num_oov_indices > 1 else 0)

    def _inverted(self, numbers: Array) -> Array:
        """Return the entries of numbers."""
        entries = self.get_vocabulary()
        return np.array(
            [entries[n] if 0 <= n < len(entries) else self.oov_token for n in numbers.ravel().astype(int)]
        ).reshape(numbers.shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the vocabulary that was learned."""
        return {
            **self._mode_config(),
            "max_tokens": self.max_tokens,
            "num_oov_indices": self.num_oov_indices,
            "mask_token": self.mask_token,
            "oov_token": self.oov_token,
            "vocabulary": None if self.vocabulary is None else list(self.vocabulary),
            "invert": self.invert,
        }


@registry.register("layer", "IntegerLookup")
class IntegerLookup(_Lookup):
    """Number integers by their place in a vocabulary, such as the codes of stations.

    Parameters
    ----------
    max_tokens : largest size of the vocabulary; None for no limit.
    num_oov_indices : numbers for integers that are not in the vocabulary; 0 makes them an error.
    mask_token : integer that has the number 0; None for none.
    oov_token : integer that stands for unknown ones in ``get_vocabulary()``.
    vocabulary : list of integers; None to ``adapt``.
    vocabulary_dtype : "int64" or "int32".
    idf_weights, sparse, pad_to_max_tokens : not supported; must be left out.
    invert : whether numbers become the integers that they stand for.
    output_mode : as in ``Encoder``.

    Examples
    --------
    >>> import fastnn
    >>> lookup = fastnn.layers.IntegerLookup()
    >>> lookup.adapt([12, 7, 7])
    >>> lookup([[7, 12, 99]])
    array([[1, 2, 0]])
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: None = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        **layer_options: Any,
    ) -> None:
        absent(idf_weights=idf_weights, pad_to_max_tokens=pad_to_max_tokens)
        choice("vocabulary_dtype", vocabulary_dtype, ("int64", "int32"))
        self._set_mode(output_mode, sparse)
        self._set_vocabulary_options(max_tokens, num_oov_indices, mask_token, oov_token, invert)
        super().__init__(**layer_options)
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    def _entries(self, values: Any, name: str) -> Array:
        numbers = as_numbers(values, name)
        if numbers.dtype.kind == "f" and not (np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all()):
            raise ValueError(
                f"{name} must be whole numbers, got {numbers[~(numbers == np.floor(numbers))].ravel()[:1]}"
            )
        return numbers.astype(np.int64)

    def _bucket(self, value: Any) -> int:
        return int(value) % self.num_oov_indices


@registry.register("layer", "StringLookup")
class StringLookup(_Lookup):
    """Number strings by their place in a vocabulary.

    Parameters
    ----------
    max_tokens, num_oov_indices, mask_token, vocabulary, idf_weights, invert, output_mode, sparse, pad_to_max_tokens :
        as in ``IntegerLookup``.
    oov_token : string that stands for unknown ones in ``get_vocabulary()``.
    encoding : must be "utf-8".

    Examples
    --------
    >>> import fastnn
    >>> lookup = fastnn.layers.StringLookup(vocabulary=["P", "S"])
    >>> lookup(["S", "P", "Lg"])
    array([2, 1, 0])
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str = "[UNK]",
        vocabulary: Any = None,
        idf_weights: None = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        **layer_options: Any,
    ) -> None:
        absent(idf_weights=idf_weights, pad_to_max_tokens=pad_to_max_tokens)
        choice("encoding", encoding, ("utf-8",))
        self._set_mode(output_mode, sparse)
        self._set_vocabulary_options(max_tokens, num_oov_indices, mask_token, oov_token, invert)
        super().__init__(**layer_options)
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    def _entries(self, values: Any, name: str) -> Array:
        return _strings(values, name)

    def _bucket(self, value: Any) -> int:
        return farm_hash(str(value).encode()) % self.num_oov_indices


def _strings(values: Any, name: str) -> Array:
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
        pair = [salt, salt] if isinstance(salt, int) else salt
        if pair is not None and len(pair) != 2:
            raise ValueError(f"salt must be one number or two, got {salt!r}")
        self.salt = None if pair is None else [whole("salt", each, at_least=0) for each in pair]
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
        given = as_numbers(array, name).astype(np.int64) if array.dtype.kind in "biuf" else _strings(values, name)
        unique, places = np.unique(given, return_inverse=True)
        masked = self.mask_value is not None and self.num_bins > 1
        n_bins = self.num_bins - masked
        numbers = [
            0 if masked and each == self.mask_value else masked + self._hash(str(each).encode()) % n_bins
            for each in unique.tolist()
        ]
        return np.array(numbers, dtype=np.int64)[places].reshape(given.shape)

    def _hash(self, text: bytes) -> int:
        return farm_hash(text) if self.salt is None else sip_hash(text, (self.salt[0], self.salt[1]))

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
    """

    def __init__(
        self,
        bin_boundaries: Any = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
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
        super().__init__(**layer_options)

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
        """
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
