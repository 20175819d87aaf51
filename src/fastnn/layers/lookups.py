"""Layers that number the entries of a vocabulary: integers and strings, with Keras's names and values."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._arguments import absent, choice, flag, optional, text, whole
from fastnn._arrays import as_numbers
from fastnn.layers.encoding import Encoder, hash_of, salt_of, strings_in

Array = NDArray[Any]


class _Lookup(Encoder):
    """Base of layers that number the entries of a vocabulary, the most frequent one first."""

    vocabulary_dtype: str

    def _set_vocabulary_options(
        self, max_tokens: Any, num_oov_indices: Any, mask_token: Any, oov_token: Any, invert: bool
    ) -> None:
        self.max_tokens = optional(whole, "max_tokens", max_tokens, at_least=2)
        self.num_oov_indices = whole("num_oov_indices", num_oov_indices, at_least=0)
        self.mask_token, self.oov_token, self.invert = mask_token, oov_token, flag("invert", invert)
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
        n_special = self._n_masked + self.num_oov_indices
        if 0 < n_special <= len(entries):
            special = [self.mask_token] * self._n_masked + [self.oov_token] * self.num_oov_indices
            entries = entries[n_special:] if entries[:n_special] == special else entries
        counts = Counter(entries)
        doubled = [each for each in entries if counts[each] > 1]
        if not entries or doubled:
            raise ValueError(f"vocabulary must have entries that differ, got {doubled or entries}")
        if self.mask_token is not None and self.mask_token in entries:
            raise ValueError(f"vocabulary has the mask token {self.mask_token!r}, which is no entry of it")
        size = len(entries) + n_special
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
        steps : must be None: all data is read.
        """
        absent(steps=steps)
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
        entries = dict(enumerate(self._known(), self._n_masked + self.num_oov_indices))
        if self._n_masked:
            entries[0] = self.mask_token
        found = [entries.get(n, self.oov_token) for n in numbers.ravel().astype(int).tolist()]
        return np.array(found).reshape(numbers.shape)

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
    output_mode : "int" (the numbers), "one_hot" (a row of zeros with a 1 for each element), or for the elements of a
        row together "multi_hot" (1 for every number that occurs) and "count" (how often it does).
    oov_method : how unknown integers are divided among several numbers: "floormod", the remainder of a division, or
        "farmhash", a hash.
    salt : one or two numbers that select another hash function (SipHash instead of FarmHash).
    name : name in ``summary()``.

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
        oov_method: str = "floormod",
        salt: Any = None,
        name: str | None = None,
        **layer_options: Any,
    ) -> None:
        absent(idf_weights=idf_weights, pad_to_max_tokens=pad_to_max_tokens)
        choice("vocabulary_dtype", vocabulary_dtype, ("int64", "int32"))
        self._set_mode(output_mode, sparse)
        optional(whole, "mask_token", mask_token)
        whole("oov_token", oov_token)
        self._set_vocabulary_options(max_tokens, num_oov_indices, mask_token, oov_token, invert)
        self.oov_method = choice("oov_method", oov_method, ("floormod", "farmhash"))
        self.salt = salt_of(salt)
        if self.salt is not None and oov_method == "floormod":
            raise ValueError(f"salt is for oov_method='farmhash', got salt={salt!r} with oov_method='floormod'")
        super().__init__(name=name, **layer_options)
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
        number = int(value) if self.oov_method == "floormod" else hash_of(str(int(value)), self.salt)
        return number % self.num_oov_indices

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the vocabulary that was learned."""
        return {**super().get_config(), "oov_method": self.oov_method, "salt": self.salt}


@registry.register("layer", "StringLookup")
class StringLookup(_Lookup):
    """Number strings by their place in a vocabulary.

    Parameters
    ----------
    max_tokens, num_oov_indices, mask_token, vocabulary, idf_weights, invert, output_mode, sparse : as in
        ``IntegerLookup``.
    pad_to_max_tokens, salt, name : as in ``IntegerLookup``.
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
        name: str | None = None,
        salt: Any = None,
        **layer_options: Any,
    ) -> None:
        absent(idf_weights=idf_weights, pad_to_max_tokens=pad_to_max_tokens)
        choice("encoding", encoding, ("utf-8",))
        self._set_mode(output_mode, sparse)
        text("oov_token", oov_token)
        if mask_token is not None:
            text("mask_token", mask_token)
        self._set_vocabulary_options(max_tokens, num_oov_indices, mask_token, oov_token, invert)
        self.salt = salt_of(salt)
        super().__init__(name=name, **layer_options)
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    def _entries(self, values: Any, name: str) -> Array:
        return strings_in(values, name)

    def _bucket(self, value: Any) -> int:
        return hash_of(str(value), self.salt) % self.num_oov_indices

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the vocabulary that was learned."""
        return {**super().get_config(), "salt": self.salt}
