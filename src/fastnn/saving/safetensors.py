"""Writing and strict reading of the safetensors layout: 8 bytes of header length, a JSON header, the arrays' bytes.

``__metadata__`` holds the SHA-256 of the bytes after the header. The reader trusts nothing: it refuses anything that
is not exactly as the layout says with ``ModelFormatError``. Layout:
https://github.com/huggingface/safetensors, "Format".
"""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastnn.errors import ModelFormatError

Array = NDArray[Any]

HEADER_LIMIT = 1 << 20
"""Largest header in bytes."""
_MARKS_LIMIT = 1 << 15
"""Most commas, and most brackets, in a JSON text: bounds the memory that parsing takes."""
_DIMENSIONS_LIMIT = 8
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
}
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}


def _refuse_constant(text: str) -> NoReturn:
    raise ModelFormatError(f"the JSON has {text}; numbers must be finite")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ModelFormatError(f"the JSON has the number {text[:40]}, which is too large")
    return value


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
            text, object_pairs_hook=_without_doubles, parse_constant=_refuse_constant, parse_float=_finite_float
        )
    except ModelFormatError as error:
        raise ModelFormatError(f"the {what}: {error}") from None
    except RecursionError:
        raise ModelFormatError(f"the {what} is nested too deeply") from None
    except ValueError as error:
        raise ModelFormatError(f"the {what} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelFormatError(f"the {what} is not a JSON object")
    return value


def encode(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> list[Any]:
    """Return the parts of a file: length, header, and the buffer of every array in order.

    Parameters
    ----------
    arrays : contents by name.
    metadata : texts by name; "sha256" is added.

    Raises
    ------
    ValueError
        The header would be larger than 1 MiB.
    """
    import hashlib
    import json

    digest = hashlib.sha256()
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
    texts = {**metadata, "sha256": digest.hexdigest()}
    text = json.dumps({"__metadata__": texts, **header}, allow_nan=False, separators=(",", ":")).encode()
    # The body starts at a multiple of 8 bytes, so that arrays can be used in place.
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_LIMIT:
        raise ValueError(f"the description of the model takes {len(text)} bytes; a model file holds {HEADER_LIMIT}")
    return [len(text).to_bytes(8, "little"), text, *buffers]


def decode(data: bytes) -> tuple[dict[str, str], dict[str, Array]]:
    """Return metadata and arrays of a file; the arrays are read-only views of ``data``, in the order of their bytes.

    Raises
    ------
    ModelFormatError
        The bytes do not follow the layout exactly.
    """
    if len(data) < 8:
        raise ModelFormatError(f"it is too short: {len(data)} bytes")
    length = int.from_bytes(data[:8], "little")
    if length > HEADER_LIMIT:
        raise ModelFormatError("it does not start with the length of a header of at most 1 MiB")
    if 8 + length > len(data):
        raise ModelFormatError(f"it is truncated: a header of {length} bytes, {len(data) - 8} bytes are there")
    try:
        text = data[8 : 8 + length].decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"the header is not UTF-8: {error}") from None
    if not text.startswith("{") or not text.rstrip(" ").endswith("}"):
        raise ModelFormatError("the header is not a JSON object")
    header = parse_json(text, "header")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ModelFormatError("__metadata__ must hold texts only")
    body = memoryview(data)[8 + length :]
    places = sorted((_entry(name, entry) for name, entry in header.items()), key=lambda place: place[3:])
    arrays: dict[str, Array] = {}
    expected = 0
    for name, dtype, shape, begin, end in places:
        if begin != expected or end > len(body):
            trouble = "overlap" if begin < expected else "leave a hole" if begin > expected else "reach beyond the file"
            raise ModelFormatError(f"the bytes of {name!r} {trouble}: {begin} to {end} of {len(body)}")
        expected = end
        arrays[name] = np.frombuffer(body[begin:end], dtype).reshape(shape)
    if expected != len(body):
        raise ModelFormatError(f"{len(body) - expected} bytes at the end belong to no array")
    import hashlib

    if metadata.get("sha256") != hashlib.sha256(body).hexdigest():
        raise ModelFormatError("the checksum of the contents is wrong or missing: the file is damaged or not fastnn's")
    return metadata, arrays


def _entry(name: str, entry: Any) -> tuple[str, np.dtype[Any], tuple[int, ...], int, int]:
    """Return name, dtype, shape, begin and end of one array of the header."""
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
    return name, dtype, tuple(shape), offsets[0], offsets[1]


def _is_size(value: Any) -> bool:
    """Whether a value is a whole number from 0 to 2^63 - 1."""
    return type(value) is int and 0 <= value < 1 << 63
