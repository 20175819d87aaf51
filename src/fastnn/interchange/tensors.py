"""The named tensors of a PyTorch model: from a zip file of ``torch.save``, a safetensors file, or a dict."""

import math
import re
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastnn.errors import ModelFormatError
from fastnn.interchange.archive import Archive, opened_archive
from fastnn.interchange.unpickler import TensorUnpickler, TensorView
from fastnn.saving.foreign import foreign_format
from fastnn.saving.safetensors import Reader

Array = NDArray[Any]

_PICKLE_LIMIT = 1 << 20
"""Largest description of the tensors in bytes; a tensor takes about a hundred."""
_NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params")
"""Keys under which a checkpoint holds a state dict."""


def tensors_of_file(file: BinaryIO) -> dict[str, Array]:
    """Return the tensors of a file by name, in the order of the layers.

    Raises
    ------
    ModelFormatError
        The file is neither a zip file of ``torch.save`` nor a safetensors file, or does not hold a state dict.
    """
    start = file.read(4096)
    file.seek(0)
    if start.startswith(b"PK\x03\x04"):
        with opened_archive(file.read()) as archive:
            return _tensors_of_archive(archive)
    if start[8:9] == b"{":
        return _tensors_of_safetensors(Reader(file))
    looks = foreign_format(start)
    if looks is not None and "1.6" in looks:
        raise ModelFormatError(
            f"it is {looks}, or one that was saved with _use_new_zipfile_serialization=False: load it with PyTorch and "
            "save module.state_dict() again with torch.save"
        )
    raise ModelFormatError(f"it looks like {looks}" if looks else "it is neither a zip archive nor a safetensors file")


def _tensors_of_safetensors(reader: Reader) -> dict[str, Array]:
    if reader.header.metadata.get("format") == "fastnn":
        raise ModelFormatError("it is a file of fastnn: fastnn.load_model reads it")
    arrays = reader.arrays(signed=False)
    # Such files sort the tensors by size or name: put "10.weight" after "2.weight".
    names = sorted(arrays, key=_natural)
    return {name: _as_numbers(arrays[name]) for name in names}


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts the numbers in names by value; digits beyond 18 are compared as text."""
    parts = re.findall(r"[0-9]{1,18}|[^0-9]+", name.rpartition(".")[0])
    return [(0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in parts]


def _tensors_of_archive(archive: Archive) -> dict[str, Array]:
    pickles = [name for name in archive.names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        kind = "a Keras archive: fastnn.load_keras reads it" if "config.json" in archive.names else "of another program"
        raise ModelFormatError(f"the archive has no data.pkl; it is {kind}")
    stem = pickles[0].removesuffix("data.pkl")
    if f"{stem}constants.pkl" in archive.names:
        raise ModelFormatError("it is a TorchScript program: save module.state_dict() with torch.save")
    contents = TensorUnpickler(archive.read(pickles[0], _PICKLE_LIMIT)).load()
    views = _state_dict(contents)
    big = f"{stem}byteorder" in archive.names and archive.read(f"{stem}byteorder", 16) == b"big"
    storages: dict[str, Array] = {}
    tensors, left = {}, archive.size
    for name, view in views.items():
        storage = view.storage
        code = storage.code.replace("<", ">") if big else storage.code
        if storage.key not in storages:
            data = np.frombuffer(archive.read(f"{stem}data/{storage.key}"), np.uint8)
            storages[storage.key] = data
        elements = _elements(name, storages[storage.key], view, np.dtype(code))
        left -= elements.nbytes
        if left < 0:
            raise ModelFormatError(f"the tensors up to {name!r} share storages and have more elements than the file")
        tensors[name] = _as_numbers(elements)
    return tensors


def _elements(name: str, data: Array, view: TensorView, dtype: np.dtype[Any]) -> Array:
    """Return the elements of a tensor, without a copy."""
    if len(data) % dtype.itemsize or len(data) // dtype.itemsize != view.storage.size:
        raise ModelFormatError(f"the storage of {name!r} has {len(data)} bytes for {view.storage.size} elements")
    if len(view.shape) != len(view.stride):
        raise ModelFormatError(f"{name!r} has {len(view.shape)} sizes and {len(view.stride)} strides")
    count = math.prod(view.shape)
    if count == 0:
        raise ModelFormatError(f"{name!r} has no elements")
    expected = tuple(math.prod(view.shape[place + 1 :]) for place in range(len(view.shape)))
    strides = tuple(s if n > 1 else e for n, s, e in zip(view.shape, view.stride, expected, strict=True))
    dense = strides == expected
    transposed = len(view.shape) == 2 and strides == (1, view.shape[0])
    if not (dense or transposed) or view.offset + count > view.storage.size:
        raise ModelFormatError(f"{name!r} is not a contiguous part of its storage: save tensor.contiguous()")
    part = data.view(dtype)[view.offset : view.offset + count]
    return part.reshape(view.shape) if dense else part.reshape(view.shape[::-1]).T


def _as_numbers(array: Array) -> Array:
    """Return float32 for the half precisions, and everything else as it is."""
    if array.dtype.kind == "V":
        codes = array.view(np.dtype(">u2") if array.dtype.byteorder == ">" else np.dtype("<u2"))
        return (codes.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _state_dict(contents: Any) -> dict[str, TensorView]:
    """Return the named tensors of what a file holds, the state dict of a checkpoint included."""
    if not isinstance(contents, dict):
        raise ModelFormatError("it does not hold a state_dict: save module.state_dict() with torch.save")
    tensors = _only_tensors(contents)
    if any(name.endswith("weight") for name in tensors):
        return tensors
    nested = {key: _only_tensors(value) for key, value in contents.items() if isinstance(value, dict)}
    found = [key for key, value in nested.items() if value and key in _NESTED]
    if len(found) == 1:
        return {**nested[found[0]], **tensors}
    if tensors and not found:
        return tensors
    others = found or [key for key, value in nested.items() if value] or list(contents)
    raise ModelFormatError(
        f"it is a checkpoint with the keys {', '.join(repr(str(key)[:40]) for key in others[:8]) or 'none'}: save the "
        "state_dict of the module alone"
    )


def _only_tensors(contents: Mapping[Any, Any]) -> dict[str, TensorView]:
    return {key: value for key, value in contents.items() if isinstance(key, str) and isinstance(value, TensorView)}


def tensors_of_mapping(state: Mapping[Any, Any]) -> dict[str, Array]:
    """Return the arrays or PyTorch tensors of a dict as arrays.

    Raises
    ------
    TypeError
        A key is not a text, or a value not an array of numbers.
    """
    tensors = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise TypeError(f"path_or_state_dict must have names as keys, got {name!r}")
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = (value.float() if "float16" in str(value.dtype) else value).numpy()
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise TypeError(
                f"path_or_state_dict must hold tensors or arrays of numbers, got {type(value).__name__} for {name!r}"
            )
        tensors[name] = array.astype(np.float32) if array.dtype == np.float16 else array
    return tensors
