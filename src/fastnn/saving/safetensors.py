"""Writing and strict reading of the safetensors layout: 8 bytes of header length, a JSON header, the arrays' bytes.

``__metadata__`` holds the SHA-256 of the bytes after the header. The reader trusts nothing: it refuses anything that
is not exactly as the layout says with ``ModelFormatError``. It reads the header first and compares the sizes in it with
the size of the file; the arrays come later, and only those that are asked for. Layout:
https://github.com/huggingface/safetensors, "Format".
"""

import io
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastnn._allocation import allocating
from fastnn._allocation import physical_memory as _physical_memory
from fastnn.errors import ModelFormatError

Array = NDArray[Any]

HEADER_LIMIT = 1 << 20
"""Largest header in bytes."""
_MARKS_LIMIT = 1 << 15
"""Most commas, and most brackets, in a JSON text: bounds the memory that parsing takes."""
_DIGITS_LIMIT = 40
"""Most characters of a whole number in a JSON text: no text of digits is long enough to take time to convert."""
_DIMENSIONS_LIMIT = 8
_BLOCK = 1 << 20
"""Bytes that are read at a time for the checksum alone."""
_DTYPES = {
    "U8": "<u1",
    "I8": "<i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
    "BF16": "<V2",  # of other programs; NumPy has no such numbers
}
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}


def _refuse_constant(text: str) -> NoReturn:
    raise ModelFormatError(f"the JSON has {text}; numbers must be finite")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ModelFormatError(f"the JSON has the number {text[:40]}, which is too large")
    return value


def _short_integer(text: str) -> int:
    if len(text) > _DIGITS_LIMIT:
        raise ModelFormatError(f"the JSON has a whole number of {len(text)} characters, {text[:20]}...")
    return int(text)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ModelFormatError("the JSON has a key twice")
    return result


def parse_json(text: str, what: str) -> dict[str, Any]:
    """Return a JSON object; strict, and bounded in memory and depth.

    Raises
    ------
    ModelFormatError
        Not an object, not JSON, a key twice, numbers that are not finite, or too many or too deeply nested parts.
    """
    if len(text) > HEADER_LIMIT or text.count(",") > _MARKS_LIMIT or text.count("{") + text.count("[") > _MARKS_LIMIT:
        raise ModelFormatError(f"the {what} is too large")
    import json

    try:
        value = json.loads(
            text,
            object_pairs_hook=_without_doubles,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
            parse_int=_short_integer,
        )
    except ModelFormatError as error:
        raise ModelFormatError(f"the {what}: {error}") from None
    except RecursionError:
        raise ModelFormatError(f"the {what} is nested too deeply") from None
    except ValueError as error:
        raise ModelFormatError(f"the {what} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelFormatError(f"the {what} is not a JSON object")
    if "\\ud" in text.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ModelFormatError(f"the {what} has half of a character") from None
    return value


def encode(arrays: Mapping[str, Array], metadata: Mapping[str, str], signed: bool = True) -> list[Any]:
    """Return the parts of a file: length, header, and the buffer of every array in order.

    Parameters
    ----------
    arrays : contents by name.
    metadata : texts by name; "sha256" is added.
    signed : whether it is; files for other programs need none.

    Raises
    ------
    ValueError
        The header would be larger than 1 MiB.
    """
    import json

    digest = Checksum()
    header: dict[str, Any] = {}
    buffers: list[Any] = []
    end = 0
    for name, array in arrays.items():
        shape = list(array.shape)
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        buffer = little.reshape(-1).view(np.uint8).data
        digest.update(buffer)
        buffers.append(buffer)
        header[name] = {"dtype": _NAMES[little.dtype], "shape": shape, "data_offsets": [end, end + little.nbytes]}
        end += little.nbytes
    texts = {**metadata, "sha256": digest.hexdigest()} if signed else metadata
    text = json.dumps({"__metadata__": texts, **header}, allow_nan=False, separators=(",", ":")).encode()
    # The body starts at a multiple of 8 bytes, so that arrays can be used in place.
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_LIMIT:
        raise ValueError(f"the description of the model takes {len(text)} bytes; a model file holds {HEADER_LIMIT}")
    return [len(text).to_bytes(8, "little"), text, *buffers]


class Checksum:
    """The SHA-256 of bytes. OpenSSL computes it, and fails for lack of memory alone."""

    def __init__(self) -> None:
        import hashlib

        with allocating("a checksum"):
            self._digest = hashlib.sha256()

    def update(self, data: Any) -> None:
        """Add a buffer."""
        with allocating("a checksum"):
            self._digest.update(data)

    def hexdigest(self) -> str:
        """Return the checksum of all that was added."""
        with allocating("a checksum"):
            return self._digest.hexdigest()


class Entry(NamedTuple):
    """One array of a file: its dtype and shape, and where its bytes are in the body."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


class Header:
    """The header of a file, checked: every entry follows the layout, and the arrays fill the body exactly.

    Parameters
    ----------
    text : the bytes of the header.
    body_size : bytes after the header.

    Attributes
    ----------
    metadata : texts by name.
    entries : the arrays by name, in the order of their bytes.

    Raises
    ------
    ModelFormatError
        Anything else.
    """

    def __init__(self, text: bytes, body_size: int) -> None:
        header = _parse_header(text)
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise ModelFormatError("__metadata__ must hold texts only")
        self.metadata: dict[str, str] = metadata
        entries = {name: _entry(name, entry) for name, entry in header.items()}
        self.entries = dict(sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)))
        expected = 0
        for name, entry in self.entries.items():
            low, high = entry.begin, entry.end
            if low != expected or high > body_size:
                trouble = "overlap" if low < expected else "leave a hole" if low > expected else "reach beyond the file"
                raise ModelFormatError(f"the bytes of {name!r} {trouble}: {low} to {high} of {body_size}")
            expected = high
        if expected != body_size:
            raise ModelFormatError(f"{body_size - expected} bytes at the end belong to no array")


class Reader:
    """A file of this layout: the header is read and checked at once, arrays when they are asked for.

    Parameters
    ----------
    file : the file, open for reading bytes; it must stay open.

    Attributes
    ----------
    header : the ``Header``.

    Raises
    ------
    ModelFormatError
        The header does not follow the layout exactly, or does not fit the size of the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size < 8:
            raise ModelFormatError(f"it is too short: {size} bytes")
        length = int.from_bytes(file.read(8), "little")
        if length > HEADER_LIMIT:
            raise ModelFormatError("it does not start with the length of a header of at most 1 MiB")
        if 8 + length > size:
            raise ModelFormatError(f"it is truncated: a header of {length} bytes, {size - 8} bytes are there")
        self._file, self._begin = file, 8 + length
        self.header = Header(file.read(length), size - self._begin)

    def arrays(self, names: Iterable[str] | None = None, signed: bool = True) -> dict[str, Array]:
        """Read the body once and return arrays of it, in order; the others take no memory.

        Parameters
        ----------
        names : the arrays to return; None for all.
        signed : whether the file must hold the right checksum, as fastnn's do and those of other programs do not.

        Raises
        ------
        ModelFormatError
            The checksum is wrong, or the arrays do not fit the memory of this machine.
        """
        entries = self.header.entries
        wanted = entries.keys() if names is None else set(names)
        n_bytes = sum(entry.end - entry.begin for name, entry in entries.items() if name in wanted)
        if n_bytes > _physical_memory():
            raise ModelFormatError(f"its arrays take {n_bytes} bytes, more than the memory of this machine")
        digest = Checksum()
        found: dict[str, Array] = {}
        self._file.seek(self._begin)
        for name, entry in entries.items():
            size = entry.end - entry.begin
            block = np.empty(size if name in wanted else min(size, _BLOCK), np.uint8)
            for start in range(0, size, len(block)):
                self._read(block[: size - start], digest)
            if name in wanted:
                found[name] = block.view(entry.dtype).reshape(entry.shape)
        if signed and self.header.metadata.get("sha256") != digest.hexdigest():
            raise ModelFormatError(
                "the checksum of the contents is wrong or missing: the file is damaged or not fastnn's"
            )
        return found

    def _read(self, block: NDArray[np.uint8], digest: Checksum) -> None:
        """Fill a block with the next bytes, and add them to the checksum."""
        if self._file.readinto(block.data) != block.size:  # type: ignore[attr-defined]
            raise ModelFormatError("it became shorter while it was read")
        digest.update(block.data)


def decode(data: bytes) -> tuple[dict[str, str], dict[str, Array]]:
    """Return metadata and arrays of the bytes of a file, the arrays in the order of their bytes.

    Raises
    ------
    ModelFormatError
        The bytes do not follow the layout exactly.
    """
    reader = Reader(io.BytesIO(data))
    return reader.header.metadata, reader.arrays()


def _parse_header(data: bytes) -> dict[str, Any]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"the header is not UTF-8: {error}") from None
    if not text.startswith("{") or not text.rstrip(" ").endswith("}"):
        raise ModelFormatError("the header is not a JSON object")
    return parse_json(text, "header")


def _entry(name: str, entry: Any) -> Entry:
    """Return one array of the header."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ModelFormatError(f"the entry of {name!r} must have dtype, shape and data_offsets")
    code = entry["dtype"]
    if not isinstance(code, str) or code not in _DTYPES:
        raise ModelFormatError(f"{name!r} has the unknown dtype {str(code)[:40]!r}")
    dtype = np.dtype(_DTYPES[code])
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not isinstance(shape, list) or len(shape) > _DIMENSIONS_LIMIT or not all(map(_is_size, shape)) or 0 in shape:
        raise ModelFormatError(f"{name!r} has a shape that is not a list of at most {_DIMENSIONS_LIMIT} positive sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise ModelFormatError(f"{name!r} has data_offsets that are not two positions")
    if offsets[1] - offsets[0] != math.prod(shape) * dtype.itemsize:
        raise ModelFormatError(f"{name!r} has {offsets[1] - offsets[0]} bytes, which do not fit its shape and dtype")
    return Entry(dtype, tuple(shape), offsets[0], offsets[1])


def _is_size(value: Any) -> bool:
    """Whether a value is a whole number from 0 to 2^63 - 1."""
    return type(value) is int and 0 <= value < 1 << 63
