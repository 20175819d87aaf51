"""Files of other libraries: which one a file comes from, and suffixes that promise another format."""

import os

from fastnn._arguments import as_path
from fastnn._warnings import warn

_SUFFIXES = {
    ".keras": "a Keras archive",
    ".h5": "an HDF5 file of Keras",
    ".hdf5": "an HDF5 file of Keras",
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".ckpt": "a checkpoint of PyTorch or TensorFlow",
    ".pb": "a TensorFlow file",
    ".tflite": "a TensorFlow Lite model",
    ".onnx": "an ONNX model",
    ".pkl": "a Python pickle",
    ".pickle": "a Python pickle",
    ".joblib": "a joblib pickle",
    ".npy": "a NumPy array",
    ".npz": "a NumPy archive",
    ".json": "a JSON text",
    ".zip": "a zip archive",
    ".safetensors": "a safetensors file",
    ".c": "C source",
    ".h": "C source",
    ".py": "Python source",
    ".f90": "Fortran source",
    ".csv": "a table as text",
}
_PYTORCH_MAGIC = b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""The number with which a PyTorch file from before version 1.6 starts, as a pickle stores it."""


def foreign_suffix(filepath: str | os.PathLike[str], usual: str = ".safetensors") -> str | None:
    """Return the format that the suffix of a file promises; None for the usual suffix and for unknown ones."""
    suffix = os.path.splitext(os.fspath(filepath))[1].lower()
    return None if suffix == usual else _SUFFIXES.get(suffix)


def warn_of_suffix(
    filepath: str | os.PathLike[str], what: str = "a fastnn safetensors file", usual: str = ".safetensors"
) -> None:
    """Warn if a file that fastnn writes would have the suffix of another format.

    Parameters
    ----------
    filepath : the file.
    what : what it is.
    usual : the suffix of such files.
    """
    promised = foreign_suffix(as_path("path", filepath), usual)
    if promised is not None:
        name = os.path.basename(os.fspath(filepath))
        stem, suffix = os.path.splitext(name)
        warn(
            f"{name!r} is {what}, but {suffix!r} promises {promised}, and other programs will not be able to read it: "
            f"name it '{stem}{usual}'"
        )


def foreign_format(start: bytes) -> str | None:
    """Return what a file that cannot be read looks like from its first bytes; None if it is unknown, or fastnn's own.

    Parameters
    ----------
    start : the first 4 KiB.
    """
    if start[8:9] == b"{":
        return None if b"fastnn" in start else "a safetensors file of another program"
    if start.startswith(b"PK\x03\x04"):
        return _archive(start)
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "an HDF5 file (.h5), such as Keras writes"
    if start.startswith(b"\x93NUMPY"):
        return "a NumPy .npy array"
    if start[4:8] == b"TFL3":
        return "a TensorFlow Lite .tflite model"
    if start.startswith(b"\x1f\x8b"):
        return "a gzip file"
    if start[:1] == b"\x80" and start[1:2] <= b"\x05" and len(start) > 2:
        return "a PyTorch .pt file from before version 1.6" if _PYTORCH_MAGIC in start[:32] else "a Python pickle"
    if start.startswith(b"\x08\x01\x12") or start.startswith(b"\x08\x01\x1a"):
        return "TensorFlow's saved_model.pb"
    # Field 1, the version of the format, then the name of the producer, the graph or another field of a model.
    if start[:1] == b"\x08" and b"\x02" < start[1:2] <= b"\x20" and start[2:3] in (b"\x12", b"\x1a", b":", b"B"):
        return "an ONNX .onnx model"
    if start.lstrip()[:1] in (b"{", b"["):
        return "a JSON text; fastnn.models.model_from_json reads that of model.to_json()"
    return None


def known_format(start: bytes) -> str | None:
    """Return the same for readers of other formats, which refuse fastnn's own files too."""
    if start[8:9] == b"{" and b"fastnn" in start:
        return "a file of fastnn, which fastnn.load_model reads"
    return foreign_format(start)


def _archive(start: bytes) -> str:
    """Return what kind of zip archive begins so."""
    if b"metadata.json" in start or b"model.weights.h5" in start or b"config.json" in start:
        return "a Keras .keras archive"
    if b"data.pkl" in start or b"/version" in start or b".format_version" in start:
        return "a PyTorch .pt file"
    return "a NumPy .npz archive" if b".npy" in start else "a zip archive"
