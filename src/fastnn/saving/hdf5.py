"""A strict reader of HDF5 files as Keras writes them; the library of HDF5 is not used.

That library crashes, and never returns, on some damaged files, and follows links into other files. This reader knows
the layout that h5py writes by default: groups with symbol tables, arrays in one piece, and attributes that are numbers
or texts. Layout: "HDF5 File Format Specification Version 3.0", https://support.hdfgroup.org/documentation/hdf5.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.errors import ModelFormatError

Array = NDArray[Any]

MAGIC = b"\x89HDF\r\n\x1a\n"
_MOST_STEPS = 100_000
"""Messages, entries and texts that are read of one file."""
_MOST_DEPTH = 8
_NOWHERE = (1 << 64) - 1
_DATASPACE, _DATATYPE, _EXTERNAL, _LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUATION, _SYMBOLS = 1, 3, 7, 8, 11, 12, 16, 17
_NEWER = {2: "links", 6: "links", 21: "attributes"}
"""Messages of newer layouts, which h5py writes with ``libver="latest"``, and what they hold."""


class Hdf5File:
    """The bytes of a file; counts what is read, so that a file cannot lead in circles.

    Parameters
    ----------
    data : the bytes.

    Attributes
    ----------
    root : the ``Group`` that holds everything.
    size : number of bytes.

    Raises
    ------
    ModelFormatError
        The bytes do not follow the layout, or use a part of it that Keras does not write.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._steps = 0
        self.size = self._left = len(data)
        if not data.startswith(MAGIC):
            raise ModelFormatError("it is not an HDF5 file")
        if self.part(8, 1)[0] > 1 or self.part(13, 2) != b"\x08\x08":
            raise self.damage("is in a layout that Keras does not write: load it with Keras and save it again, or")
        shift = 4 * self.part(8, 1)[0]
        self.root = Group(self, self.number(64 + shift))

    def damage(self, what: str = "") -> ModelFormatError:
        """Return the error of a damaged file."""
        return ModelFormatError(
            f"it looks like an HDF5 file (.h5), such as Keras writes, but {what or 'it'} is damaged"
        )

    def part(self, at: int, size: int) -> bytes:
        """Return some bytes; every call counts."""
        self._steps += 1
        if self._steps > _MOST_STEPS or at < 0 or size < 0 or at + size > self.size:
            raise self.damage()
        return self._data[at : at + size]

    def number(self, at: int, size: int = 8) -> int:
        """Return a whole number."""
        return int.from_bytes(self.part(at, size), "little")

    def expect(self, at: int, signature: bytes) -> None:
        """Raise unless a structure begins with its signature."""
        if self.part(at, len(signature)) != signature:
            raise self.damage()

    def view(self, at: int, dtype: np.dtype[Any], count: int) -> Array:
        """Return numbers without a copy."""
        self._left -= count * dtype.itemsize
        if self._left < 0 or at < 0 or at + count * dtype.itemsize > self.size:
            raise self.damage("an array")
        return np.frombuffer(self._data, dtype, count, at)

    def messages(self, address: int) -> Iterator[tuple[int, int, int]]:
        """Yield type, place and size of the messages of an object."""
        if self.part(address, 1) != b"\x01":
            raise self.damage("is in a layout that Keras does not write: load it with Keras and save it again, or")
        left = self.number(address + 2, 2)
        blocks = [(address + 16, self.number(address + 8, 4))]
        while blocks:
            at, size = blocks.pop(0)
            end = at + size
            while at + 8 <= end and left > 0:
                kind, size, flags = self.number(at, 2), self.number(at + 2, 2), self.number(at + 4, 1)
                if at + 8 + size > end or flags & 2:
                    raise self.damage("a message of an object")
                if kind == _CONTINUATION:
                    blocks.append((self.number(at + 8), self.number(at + 16)))
                elif kind in _NEWER:
                    raise self.damage(
                        f"has {_NEWER[kind]} in a newer layout: load it with Keras and save it again, or it"
                    )
                else:
                    yield kind, at + 8, size
                at, left = at + 8 + size, left - 1

    def heap_text(self, at: int) -> bytes:
        """Return the text that 16 bytes refer to: its length, and the place in a global heap."""
        length, address, wanted = self.number(at, 4), self.number(at + 4), self.number(at + 12, 4)
        if length == 0:
            return b""
        self.expect(address, b"GCOL")
        end, place = address + self.number(address + 8), address + 16
        while place + 16 <= end:
            index, size = self.number(place, 2), self.number(place + 8)
            if index == wanted and length <= size:
                return self.part(place + 16, length)
            if index == 0:
                break
            place += 16 + (size + 7) // 8 * 8
        raise self.damage("a text")


@dataclass
class Kind:
    """What elements are: numbers, texts of a fixed length or texts of any length."""

    dtype: np.dtype[Any] | None
    size: int
    is_text: bool = False


class Group:
    """A group: its members by name, and its attributes.

    Parameters
    ----------
    file : the file.
    address : place of its object.
    """

    def __init__(self, file: Hdf5File, address: int) -> None:
        self._file = file
        self._members: dict[str, int] = {}
        self._attributes: dict[str, tuple[Kind, tuple[int, ...], int]] = {}
        self.is_group = False
        for kind, at, size in file.messages(address):
            if kind == _SYMBOLS:
                self.is_group = True
                heap = file.number(at + 8)
                file.expect(heap, b"HEAP")
                self._read_tree(file.number(at), file.number(heap + 24), file.number(heap + 8), 0)
            elif kind == _ATTRIBUTE:
                self._read_attribute(at, size)

    def _read_tree(self, address: int, names: int, names_size: int, depth: int) -> None:
        """Read the members below a node of the tree of a group."""
        file = self._file
        if depth > _MOST_DEPTH:
            raise file.damage("a group")
        if file.part(address, 4) == b"TREE":
            for entry in range(file.number(address + 6, 2)):
                self._read_tree(file.number(address + 32 + 16 * entry), names, names_size, depth + 1)
            return
        file.expect(address, b"SNOD")
        for entry in range(file.number(address + 6, 2)):
            at = address + 8 + 40 * entry
            offset = file.number(at)
            text = file.part(names + offset, min(256, max(0, names_size - offset)))
            if b"\0" not in text:
                raise file.damage("a name")
            name = text[: text.index(b"\0")].decode()
            if file.number(at + 8) == _NOWHERE:
                raise ModelFormatError(f"{name!r} is a link, which Keras does not write")
            self._members[name] = file.number(at + 8)

    def _read_attribute(self, at: int, size: int) -> None:
        file = self._file
        version, sizes = file.number(at, 1), [file.number(at + place, 2) for place in (2, 4, 6)]
        if version not in (1, 2, 3):
            raise file.damage("an attribute")
        begin, places = at + (9 if version == 3 else 8), []
        for each in sizes:
            places.append(begin)
            begin += (each + 7) // 8 * 8 if version == 1 else each
        if begin > at + size:
            raise file.damage("an attribute")
        name = file.part(places[0], sizes[0]).rstrip(b"\0").decode()
        try:
            kind, shape = _kind(file, places[1]), _shape(file, places[2])
        except ModelFormatError:
            return  # of a kind that Keras's own attributes do not have
        if kind.size * math.prod(shape) <= at + size - begin:
            self._attributes[name] = (kind, shape, begin)

    @property
    def file_size(self) -> int:
        """Bytes of the file."""
        return self._file.size

    def names(self) -> list[str]:
        """Return the names of the members."""
        return list(self._members)

    def group(self, path: str) -> "Group | None":
        """Return a group inside, or None."""
        found: Group | None = self
        for part in path.split("/"):
            if found is None or part not in found._members:
                return None
            found = Group(self._file, found._members[part])
        return found if found is not None and found.is_group else None

    def array(self, path: str) -> Array:
        """Return an array of numbers inside."""
        *groups, name = path.split("/")
        within = self.group("/".join(groups)) if groups else self
        if within is None or name not in within._members:
            raise ModelFormatError(f"the array {path[:80]!r} is missing")
        return _array(self._file, within._members[name], path[:80])

    def text(self, name: str) -> str | None:
        """Return an attribute that is one text, or None."""
        found = self.texts(name)
        return found[0] if name in self._attributes and len(found) == 1 else None

    def texts(self, name: str) -> list[str]:
        """Return an attribute that is an array of texts; Keras divides long ones into "name0", "name1", ..."""
        parts = [name] if name in self._attributes else [f"{name}{number}" for number in range(100)]
        found = []
        for part in parts:
            if part not in self._attributes:
                break
            kind, shape, at = self._attributes[part]
            if not kind.is_text:
                continue  # an empty list has the type of numbers
            for number in range(math.prod(shape)):
                place = at + number * kind.size
                value = self._file.part(place, kind.size) if kind.dtype is not None else self._file.heap_text(place)
                found.append(value.rstrip(b"\0").decode())
        return found


def _shape(file: Hdf5File, at: int) -> tuple[int, ...]:
    """Return the sizes of a dataspace."""
    version, dimensions = file.part(at, 2)
    if version not in (1, 2) or dimensions > 8 or (version == 2 and file.number(at + 3, 1) == 2):
        raise file.damage("an array")
    begin = at + (8 if version == 1 else 4)
    return tuple(file.number(begin + 8 * place) for place in range(dimensions))


def _kind(file: Hdf5File, at: int) -> Kind:
    """Return the kind of elements of a datatype."""
    first, bits, size = file.number(at, 1), file.number(at + 1, 3), file.number(at + 4, 4)
    family, order = first & 15, ">" if bits & 1 else "<"
    if family == 0 and size in (1, 2, 4, 8):
        return Kind(np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}"), size)
    mantissas = {2: 10, 4: 23, 8: 52}
    if family == 1 and size in mantissas and not bits & 0x40 and file.number(at + 15, 1) == mantissas[size]:
        return Kind(np.dtype(f"{order}f{size}"), size)
    if family == 3:
        return Kind(np.dtype("S1"), size, is_text=True)
    if family == 9 and bits & 15 == 1 and size == 16:
        return Kind(None, size, is_text=True)
    raise ModelFormatError("it has elements of a kind that Keras does not write")


def _array(file: Hdf5File, address: int, name: str) -> Array:
    """Return the numbers of an object, without a copy."""
    shape: tuple[int, ...] | None = None
    kind: Kind | None = None
    layout = None
    for message, at, _ in file.messages(address):
        if message == _DATASPACE:
            shape = _shape(file, at)
        elif message == _DATATYPE:
            kind = _kind(file, at)
        elif message == _LAYOUT:
            layout = at
        elif message in (_EXTERNAL, _FILTERS):
            raise ModelFormatError(f"the array {name!r} is compressed or lies in another file")
    if shape is None or kind is None or layout is None or kind.dtype is None or kind.is_text:
        raise ModelFormatError(f"the array {name!r} is missing or does not hold numbers")
    version, place = file.part(layout, 2)
    if version not in (3, 4) or place not in (0, 1):
        raise ModelFormatError(f"the array {name!r} is not stored in one piece")
    begin = layout + 4 if place == 0 else file.number(layout + 2)
    if math.prod(shape) == 0:
        return np.empty(shape, kind.dtype)
    array = file.view(begin, kind.dtype, math.prod(shape)).reshape(shape)
    return array.astype(np.float32) if kind.size == 2 and kind.dtype.kind == "f" else array
