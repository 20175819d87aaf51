"""Model files: their contents, and how to make a model from a file without trusting it.

Design: a) the weights come first, layer by layer, then one array of the same shape for each moment of the update rule;
b) ``__metadata__`` holds everything else as JSON texts; c) all that a file says is checked, and its architecture must
need exactly the arrays that are there, before an array is read and before anything is built or changed; d) what could
not be read again is not written.
"""

import io
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeVar

from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._allocation import allocating
from fastnn._arguments import absent, as_path, flag, takes_keywords
from fastnn._registry import CustomObjects, MissingObjectError
from fastnn._warnings import warn
from fastnn.errors import ModelFormatError
from fastnn.network.stack import LayerStack
from fastnn.network.weights import NetworkState
from fastnn.saving.atomic import write_atomically
from fastnn.saving.contents import (
    SCHEMA,
    check_counters,
    check_number_of_arrays,
    class_for,
    columns_taken,
    count_weights,
    read_contents,
    read_feature_names,
    weight_names,
)
from fastnn.saving.description import compile_config, custom_objects_of, model_config, to_json
from fastnn.saving.foreign import foreign_format, warn_of_suffix
from fastnn.saving.safetensors import Header, Reader, encode, parse_json

Array = NDArray[Any]
Path = str | os.PathLike[str]
Stack = TypeVar("Stack", bound=LayerStack)


# Writing


def _training_arrays(model: LayerStack) -> dict[str, Array]:
    """Return the weights by name, then the moments as "moment_1/layer/weight", ..."""
    if not model.built:
        return {}
    slots = model.network_weights.capture().arrays
    names = weight_names(model.program)
    return {
        f"moment_{slot}/{name}" if slot else name: values[slot]
        for slot in range(1 + model.network.n_slots)
        for name, values in zip(names, slots, strict=True)
    }


def training_state(model: LayerStack) -> dict[str, Any]:
    """Return the counters that decide how training continues."""
    return {
        "iterations": model.network.iterations if model.built else 0,
        "epochs_begun": model.epochs_begun,
        "seed": model.seed,
        "n_moments": model.network.n_slots if model.built else 0,
    }


def _model_metadata(model: LayerStack) -> dict[str, str]:
    """Return the metadata of a whole model."""
    return {
        **_metadata(model),
        "model": to_json(model_config(model), "architecture"),
        "compile": to_json({"arguments": compile_config(model)}, "training options"),
        "training": to_json(training_state(model), "training state"),
        **_feature_names(model),
    }


def _feature_names(model: LayerStack) -> dict[str, str]:
    """Return the names of the input columns, if there are any and a file can hold them."""
    if model.feature_names_in_ is None or not model.built:
        return {}
    text = to_json({"names": model.feature_names_in_}, "names of the columns")
    try:
        read_feature_names(text, columns_taken(model, model.program.n_features))
    except ModelFormatError as error:
        warn(f"feature_names_in_ is not saved, so the loaded model takes columns in any order: {error}")
        return {}
    return {"features": text}


def _metadata(model: LayerStack) -> dict[str, str]:
    return {
        "format": "fastnn",
        "schema": SCHEMA,
        "n_weights": str(len(model.program.parameters) if model.built else 0),
    }


def encode_model(model: LayerStack, more: Mapping[str, Array] | None = None, **texts: str) -> list[Any]:
    """Return the parts of the file of a model: weights, architecture, training options and state.

    ``more`` arrays and ``texts`` come after them.
    """
    with model.reading("save"):
        return encode({**_training_arrays(model), **(more or {})}, {**_model_metadata(model), **texts})


@takes_keywords
def save_model(model: LayerStack, filepath: Path, overwrite: bool = True, zipped: bool | None = None) -> None:
    """Write a model into one file; arguments and errors as in ``Sequential.save``."""
    absent(zipped=zipped)
    _check_overwrite(filepath, overwrite)
    warn_of_suffix(filepath)
    parts = encode_model(model)
    check_readable(model, parts)
    write_atomically(filepath, parts)


def check_readable(model: LayerStack, parts: Sequence[Any]) -> None:
    """Raise ValueError if the file of these parts could not be loaded; looks at all that it says, not at the arrays."""
    try:
        header = Header(parts[1], sum(len(part) for part in parts[2:]))
        read_contents(header, registry.find("model", "Sequential"), custom_objects_of(model), compile=True)
    except (OSError, MemoryError, SystemError):
        raise
    except Exception as error:
        raise ValueError(f"the model cannot be saved, because the file could not be loaded again: {error}") from error


@takes_keywords
def save_weights(model: LayerStack, filepath: Path, overwrite: bool = True) -> None:
    """Write the weights of a built model alone; arguments and errors as in ``Sequential.save``."""
    names = weight_names(model.program)
    _check_overwrite(filepath, overwrite)
    warn_of_suffix(filepath)
    weights = model.get_weights()
    write_atomically(filepath, encode(dict(zip(names, weights, strict=True)), _metadata(model)))


def _check_overwrite(filepath: Path, overwrite: bool) -> None:
    as_path("filepath", filepath)
    if not flag("overwrite", overwrite) and os.path.exists(filepath):
        raise FileExistsError(f"{os.fspath(filepath)!r} exists; pass overwrite=True to replace it")


# Reading

_MESSAGE_LIMIT = 600
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
"""Begins the weights files of Keras."""


@contextmanager
def explained(source: str, kind: str = "a fastnn model file") -> Iterator[None]:
    """Turn any error that a file's contents cause into ``ModelFormatError``.

    Not those of the system, and not that of a function which the caller has to give.
    """
    try:
        yield
    except (MissingObjectError, OSError, MemoryError, SystemError):
        raise
    except Exception as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
        reason = reason if len(reason) <= _MESSAGE_LIMIT else f"{reason[:_MESSAGE_LIMIT]}..."
        raise ModelFormatError(f"{source} is not {kind} that can be read: {reason}") from error


@contextmanager
def opened(filepath: Path) -> Iterator[Reader]:
    """Open a file whose contents are not trusted; errors that they cause become ``ModelFormatError``."""
    with opened_file(filepath, "a fastnn model file", "that model.save wrote") as file:
        yield _reader(file)


@contextmanager
def opened_file(filepath: Path, kind: str, origin: str) -> Iterator[BinaryIO]:
    """Open a regular file whose contents are not trusted, as ``opened`` does, for a reader of another layout.

    Parameters
    ----------
    filepath : the file.
    kind : what it should be, such as "a PyTorch file".
    origin : which single files are read, for the error of a folder.
    """
    path = as_path("filepath", filepath)
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path!r} is a folder; fastnn reads single files {origin}")
    with open(path, "rb", buffering=0, opener=_open_without_waiting) as file, explained(repr(path), kind):
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ModelFormatError("it is a device, a pipe or a socket, not a regular file")
        with allocating("a buffer"):
            buffered = io.BufferedReader(file)
        yield buffered


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file, and do not wait for the other end if it is a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _is_hdf5(filepath: Path) -> bool:
    """Return whether a regular file begins as the weights files of Keras do."""
    if not os.path.isfile(filepath):
        return False
    with open(filepath, "rb") as file:
        return file.read(len(_HDF5_MAGIC)) == _HDF5_MAGIC


def _load_keras_weights(model: LayerStack, filepath: Path, skip_mismatch: bool) -> None:
    """Give a built model the weights of an HDF5 file of Keras; arguments and errors as in ``load_weights``."""
    from fastnn.saving.hdf5 import Hdf5File
    from fastnn.saving.keras_weights import fitted, keras_variables, parts_of

    with opened_file(filepath, "a Keras file", "that Keras wrote") as file:
        found = keras_variables(parts_of(model.layers), Hdf5File(file.read()).root)
    weights: list[Array] = []
    skipped: list[str] = []
    for leaf in model.leaf_layers():
        mine = [weight.numpy() for weight in leaf.weights]
        try:
            weights += fitted(found.get(id(leaf), []), leaf, [array.shape for array in mine])
        except ValueError as error:
            if not skip_mismatch:
                raise ValueError(f"{os.fspath(filepath)!r} does not fit the model: {error}") from None
            weights += mine
            skipped.append(leaf.name)
    model.set_weights(weights)
    _warn_of_skipped(filepath, skipped)


def _fitting_weights(model: LayerStack, reader: Reader, names: Sequence[str]) -> tuple[list[Array], list[str]]:
    """Return the model's weights with those of a file in the layers that fit, and the names of the other layers.

    Layers are compared in their order. One fits if it has weights of the same shapes, by the same names.

    Parameters
    ----------
    model : built model.
    reader : the file.
    names : the names of the weights in it, in order.
    """
    theirs = _by_layer({name: reader.header.entries[name].shape for name in names})
    weights, skipped, first = model.get_weights(), [], 0
    for place, (layer, mine) in enumerate(_by_layer(weight_names(model.program))):
        other, given = theirs[place] if place < len(theirs) else ("", [])
        if given == mine:
            arrays = reader.arrays([f"{other}/{name}" for name, _ in given]).values()
            weights[first : first + len(mine)] = arrays
        else:
            skipped.append(layer)
        first += len(mine)
    return weights, skipped


def _by_layer(names: Mapping[str, tuple[int, ...]]) -> list[tuple[str, list[tuple[str, tuple[int, ...]]]]]:
    """Return the names and shapes of the weights of each layer, of shapes by "layer/weight"."""
    layers: list[tuple[str, list[tuple[str, tuple[int, ...]]]]] = []
    for full, shape in names.items():
        layer, _, name = full.rpartition("/")
        if not layers or layers[-1][0] != layer:
            layers.append((layer, []))
        layers[-1][1].append((name, tuple(shape)))
    return layers


def _warn_of_skipped(filepath: Path, skipped: Sequence[str]) -> None:
    """Warn of layers that keep their weights."""
    if skipped:
        layers = ", ".join(skipped)
        warn(f"{os.fspath(filepath)!r} does not fit all layers of the model; these keep their weights: {layers}")


def _reader(file: BinaryIO) -> Reader:
    """Return the reader of an open file, or name the foreign format that it has."""
    try:
        return Reader(file)
    except ModelFormatError:
        file.seek(0)
        looks = foreign_format(file.read(4096))
        if looks is None:
            raise
        raise ModelFormatError(
            f"it looks like {looks}. load_model reads the files that model.save writes; fastnn.load_keras, load_torch "
            "and load_onnx read those of other tools"
        ) from None


@takes_keywords
def load_model(
    filepath: Path, custom_objects: CustomObjects | None = None, compile: bool = True, safe_mode: bool = True
) -> Any:
    """Return the ``Sequential`` in a file; ``fastnn.load_model`` describes arguments and errors."""
    return read_model(filepath, registry.find("model", "Sequential"), custom_objects, compile)


def read_model(filepath: Path, model_class: type[Stack], custom_objects: CustomObjects | None, compile: bool) -> Stack:
    """Return the model in a file as an object of ``model_class``; the rest as in ``fastnn.load_model``."""
    with opened(filepath) as reader:
        return _decode(reader, model_class, custom_objects, compile)


def decode_model(
    data: bytes, model_class: type[Stack], custom_objects: CustomObjects | None = None, compile: bool = True
) -> Stack:
    """Return the model in the bytes of a file."""
    return _decode(Reader(io.BytesIO(data)), model_class, custom_objects, compile)


def _decode(reader: Reader, model_class: type[Stack], custom_objects: CustomObjects | None, compile: bool) -> Stack:
    contents = read_contents(reader.header, model_class, custom_objects, compile)
    model, training, n_weights = contents.model, contents.training, contents.n_weights
    n_moments = training["n_moments"] if contents.arguments is not None else 0
    names = list(reader.header.entries)[: n_weights * (1 + n_moments)]
    arrays = list(reader.arrays(names).values())
    if contents.n_features is not None:
        model.build_from(model.program_for(contents.n_features), arrays[:n_weights])
    if contents.arguments is not None:
        compiled: Any = model  # of a class with ``compile``
        compiled.compile(**contents.arguments)
        restore_training(model, arrays, training)
    model.epochs_begun, model.feature_names_in_ = training["epochs_begun"], contents.feature_names
    return model


def build_model(
    config: Mapping[str, Any], model_class: type[Stack], custom_objects: CustomObjects | None = None
) -> Stack:
    """Return the model of an architecture, with new weights.

    Parameters
    ----------
    config : result of ``model_config``.
    model_class : class of the result, for a chain; a graph gives a ``Model``.
    custom_objects : classes by name.
    """
    model: Any = class_for(config, model_class).without_network(config, custom_objects)
    if model.n_features is not None or model.kind != "Sequential":
        model.build_from(model.program_for(model.n_features))
    found: Stack = model
    return found


def restore_training(model: LayerStack, arrays: Sequence[Array], training: Mapping[str, Any]) -> None:
    """Give a built and compiled model weights, moments and counters, which have been checked to be its own.

    Parameters
    ----------
    model : the model.
    arrays : all weights, then all of the first moments, ...
    training : result of ``training_state``.
    """
    if model.built:
        n_weights = len(model.program.parameters)
        slots = [list(arrays[place::n_weights]) for place in range(n_weights)]
        model.network_weights.restore(NetworkState(slots, training["iterations"]))
    model.epochs_begun = training["epochs_begun"]


@takes_keywords
def load_weights(model: LayerStack, filepath: Path, skip_mismatch: bool = False) -> None:
    """Give a built model the weights of a file, which holds a model or weights alone, in the order of the layers.

    Parameters
    ----------
    model : built model.
    filepath : the file.
    skip_mismatch : whether layers that do not fit keep their weights, with a warning, instead of an error.

    Raises
    ------
    ModelFormatError
        The file is damaged, truncated, or not written by fastnn.
    ValueError
        The model is not built, or its weights have other shapes; nothing is changed.
    """
    flag("skip_mismatch", skip_mismatch), as_path("filepath", filepath)
    shapes = [tuple(spec.shape) for spec in model.program.parameter_specs]
    if _is_hdf5(filepath):
        _load_keras_weights(model, filepath, skip_mismatch)
        return
    with opened(filepath) as reader:
        n_weights, metadata = count_weights(reader.header), reader.header.metadata
        training = {"n_moments": 0}
        if "training" in metadata:
            training = parse_json(metadata["training"], "training state")
            check_counters(training)
        check_number_of_arrays(reader.header, n_weights, training["n_moments"])
        names = list(reader.header.entries)[:n_weights]
        given = [reader.header.entries[name].shape for name in names]
        skipped: list[str] = []
        weights: list[Array] = []
        if given == shapes:
            weights = list(reader.arrays(names).values())
        elif skip_mismatch:
            weights, skipped = _fitting_weights(model, reader, names)
    if given != shapes and not skip_mismatch:
        place = next((i for i, (a, b) in enumerate(zip(given, shapes, strict=False)) if a != b), None)
        what = (
            f"{len(given)} weight arrays, the model has {len(shapes)}"
            if place is None
            else f"{names[place]!r} of shape {given[place]} where the model has {shapes[place]}"
        )
        raise ValueError(f"{os.fspath(filepath)!r} does not fit the model: it has {what}")
    model.set_weights(weights)
    _warn_of_skipped(filepath, skipped)
