"""The wire format of protocol buffers: numbered fields of a message, bounded in number.

https://protobuf.dev/programming-guides/encoding/. The package onnx is not used to read: it builds an object for every
message of two bytes, so a small file of another's making could take any amount of memory.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.errors import ModelFormatError

_MOST_FIELDS = 200_000
_FIXED = {1: 8, 5: 4}
"""Bytes of the numbers of fixed length, by wire type."""


class Messages:
    """Reads the messages of one file; counts their fields.

    Raises
    ------
    ModelFormatError
        A message is truncated or has a kind of field that is not used any longer, or there are too many fields.
    """

    def __init__(self) -> None:
        self._left = _MOST_FIELDS

    def fields(self, data: memoryview) -> Iterator[tuple[int, Any]]:
        """Yield number and value of every field: a whole number, or the bytes of anything else."""
        at, end = 0, len(data)
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise ModelFormatError(f"it has more than {_MOST_FIELDS} fields")
            key, at = _varint(data, at)
            number, wire = key >> 3, key & 7
            if wire == 0:
                value, at = _varint(data, at)
                yield number, value
                continue
            if wire == 2:
                size, at = _varint(data, at)
            elif wire in _FIXED:
                size = _FIXED[wire]
            else:
                raise ModelFormatError(f"a field has the wire type {wire}")
            if size > end - at:
                raise ModelFormatError("it is truncated, or not a file of this kind")
            yield number, data[at : at + size]
            at += size

    def numbers(self, value: Any) -> list[int]:
        """Return the whole numbers of a field that holds one or, packed, several."""
        if isinstance(value, int):
            return [signed(value)]
        found, at = [], 0
        while at < len(value):
            self._left -= 1
            if self._left < 0:
                raise ModelFormatError(f"it has more than {_MOST_FIELDS} numbers")
            number, at = _varint(value, at)
            found.append(signed(number))
        return found


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, least significant first, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ModelFormatError("it is truncated, or not a file of this kind")


def signed(value: int) -> int:
    """Return a number of 64 bits with its sign."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def text(value: Any) -> str:
    """Return a field as text."""
    if isinstance(value, int):
        raise ModelFormatError("a number stands where a text is meant")
    return bytes(value).decode()


def floats(value: Any, code: str) -> NDArray[Any]:
    """Return a field of numbers of fixed length as an array, without a copy."""
    if isinstance(value, int) or len(value) % np.dtype(code).itemsize:
        raise ModelFormatError("an array does not hold whole elements")
    return np.frombuffer(value, code)
