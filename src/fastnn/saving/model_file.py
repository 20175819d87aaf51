"""Model files: their contents, and how to make a model from a file without trusting it.

Design: a) the weights come first, layer by layer, then one array of the same shape for each moment of the update rule;
b) ``__metadata__`` holds everything else as JSON texts; c) a file is read and checked as a whole, and its architecture
must need exactly the arrays that are there, before anything is built or changed.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import fastnn._registry as registry
from fastnn._registry import CustomObjects, MissingObjectError
from fastnn.errors import ModelFormatError
from fastnn.layers import Layer, ParameterSpec
from fastnn.layers.layer import layer_from_config
from fastnn.network.program import Program, build_program
from fastnn.network.stack import LayerStack
from fastnn.network.weights import NetworkState
from fastnn.saving.atomic import write_atomically
from fastnn.saving.description import (
    compile_arguments,
    compile_config,
    model_config,
    to_json,
)
from fastnn.saving.safetensors import decode, encode, parse_json

Array = NDArray[Any]
Path = str | os.PathLike[str]
Stack = TypeVar("Stack", bound=LayerStack)

SCHEMA = "1"
"""Version of the contents; raised when an older fastnn could not read them."""
_LAYERS_LIMIT = 512
_COUNT_LIMIT = 1 << 62


# Writing


def weight_names(layers: Sequence[Layer], program: Program) -> list[str]:
    """Return "layer/weight" for all weights of a network, in order."""
    specs = zip(layers, program.specs, strict=True)
    return [f"{layer.name}/{spec.name}" for layer, per_layer in specs for spec in per_layer]


def training_arrays(model: LayerStack) -> dict[str, Array]:
    """Return the weights by name, then the moments as "moment_1/layer/weight", ..."""
    if not model.built:
        return {}
    slots = model.network_weights.capture().arrays
    n_moments = model.network.n_slots
    named = list(zip(weight_names(model.layers, model.program), slots, strict=True))
    arrays = {name: values[0] for name, values in named}
    for moment in range(1, n_moments + 1):
        arrays.update({f"moment_{moment}/{name}": values[moment] for name, values in named})
    if len(arrays) != len(named) * (1 + n_moments):
        raise ValueError("two weights would have the same name in the file; give the layers other names")
    return arrays


def training_state(model: LayerStack) -> dict[str, Any]:
    """Return the counters that decide how training continues."""
    return {
        "iterations": model.network.iterations if model.built else 0,
        "epochs_begun": model.epochs_begun,
        "seed": model.seed,
        "n_moments": model.network.n_slots if model.built else 0,
    }


def model_metadata(model: LayerStack, **texts: str) -> dict[str, str]:
    """Return the metadata of a whole model."""
    return {
        **_metadata(model),
        "model": to_json(model_config(model), "architecture"),
        "compile": to_json({"arguments": compile_config(model)}, "training options"),
        "training": to_json(training_state(model), "training state"),
        **texts,
    }


def _metadata(model: LayerStack) -> dict[str, str]:
    return {
        "format": "fastnn",
        "schema": SCHEMA,
        "n_weights": str(len(model.program.parameters) if model.built else 0),
    }


def encode_model(model: LayerStack) -> list[Any]:
    """Return the parts of the file of a model: weights, architecture, training options and state."""
    with model.reading("save"):
        return encode(training_arrays(model), model_metadata(model))


def save_model(model: LayerStack, filepath: Path, overwrite: bool = True, zipped: bool | None = None) -> None:
    """Write a model into one file; arguments and errors as in ``Sequential.save``."""
    _check_overwrite(filepath, overwrite)
    write_atomically(filepath, encode_model(model))


def save_weights(model: LayerStack, filepath: Path, overwrite: bool = True) -> None:
    """Write the weights of a built model alone; arguments and errors as in ``Sequential.save``."""
    names = weight_names(model.layers, model.program)
    _check_overwrite(filepath, overwrite)
    weights = model.get_weights()
    write_atomically(filepath, encode(dict(zip(names, weights, strict=True)), _metadata(model)))


def _check_overwrite(filepath: Path, overwrite: bool) -> None:
    if not overwrite and os.path.exists(filepath):
        raise FileExistsError(f"{os.fspath(filepath)!r} exists; pass overwrite=True to replace it")


# Reading


@contextmanager
def explained(source: str) -> Iterator[None]:
    """Turn any error that a file's contents cause into ``ModelFormatError``."""
    try:
        yield
    except MissingObjectError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ModelFormatError(f"{source} is not a fastnn model file that can be read: {error}") from error


def read_file(filepath: Path) -> bytes:
    """Return the bytes of a file."""
    with open(filepath, "rb") as file:
        return file.read()


def decode_parts(data: bytes) -> tuple[dict[str, str], dict[str, Array], int]:
    """Return metadata, arrays and the number of weights of the bytes of a fastnn file."""
    metadata, arrays = decode(data)
    if metadata.get("format") != "fastnn":
        raise ModelFormatError("its format is not 'fastnn'")
    if metadata.get("schema") != SCHEMA:
        raise ModelFormatError(f"its schema is {metadata.get('schema', '')[:20]!r}; this fastnn reads {SCHEMA!r}")
    text = metadata.get("n_weights", "")
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > len(arrays):
        raise ModelFormatError("the number of weights is missing or wrong")
    return metadata, arrays, int(text)


def load_model(
    filepath: Path, custom_objects: CustomObjects | None = None, compile: bool = True, safe_mode: bool = True
) -> Any:
    """Return the ``Sequential`` in a file; ``fastnn.load_model`` describes arguments and errors."""
    return read_model(filepath, registry.find("model", "Sequential"), custom_objects, compile)


def read_model(filepath: Path, model_class: type[Stack], custom_objects: CustomObjects | None, compile: bool) -> Stack:
    """Return the model in a file as an object of ``model_class``; the rest as in ``fastnn.load_model``."""
    data = read_file(filepath)
    with explained(repr(os.fspath(filepath))):
        return decode_model(data, model_class, custom_objects, compile)


def decode_model(
    data: bytes, model_class: type[Stack], custom_objects: CustomObjects | None = None, compile: bool = True
) -> Stack:
    """Return the model in the bytes of a file."""
    metadata, arrays, n_weights = decode_parts(data)
    missing = {"model", "compile", "training"} - metadata.keys()
    if missing:
        raise ModelFormatError("it holds weights only; build the model and call model.load_weights")
    config = parse_json(metadata["model"], "architecture")
    arguments = parse_json(metadata["compile"], "training options").get("arguments")
    training = parse_json(metadata["training"], "training state")
    model = build_model(config, dict(list(arrays.items())[:n_weights]), model_class, custom_objects)
    if compile and arguments is not None:
        compiled: Any = model  # of a class with ``compile``
        compiled.compile(**compile_arguments(arguments, custom_objects))
        restore_training(model, arrays, training)
    else:
        _check_counters(training)
        model.epochs_begun = training["epochs_begun"]
    return model


def build_model(
    config: Mapping[str, Any],
    arrays: Mapping[str, Array] | None,
    model_class: type[Stack],
    custom_objects: CustomObjects | None = None,
) -> Stack:
    """Return the model of an architecture.

    Parameters
    ----------
    config : result of ``model_config``.
    arrays : the weights by name, exactly those that the architecture needs; None draws new ones.
    model_class : class of the result.
    custom_objects : classes by name.
    """
    described, shape = config["layers"], config.get("build_input_shape")
    name = config.get("name")
    if not isinstance(described, list) or len(described) > _LAYERS_LIMIT or not isinstance(name, str | None):
        raise ValueError(f"the architecture must have a name and a list of at most {_LAYERS_LIMIT} layers")
    layers = [layer_from_config(layer, custom_objects) for layer in described]
    if arrays is None:
        model = model_class(layers, config.get("seed"), config.get("dtype", "float32"), name)
        if shape is not None:
            model.build(shape)
        return model
    model = model_class(None, config["seed"], config["dtype"], name)
    model.put(layers)
    if shape is None:
        if arrays:
            raise ModelFormatError("it has weights, but its architecture says no number of features")
        return model
    if not isinstance(shape, list) or len(shape) != 2 or type(shape[1]) is not int or not 0 < shape[1] < _COUNT_LIMIT:
        raise ModelFormatError("build_input_shape must be [null, n_features]")
    program = build_program(model.layers, shape[1])
    _check_arrays(weight_names(model.layers, program), program.parameter_specs, arrays, model.dtype)
    model.build_from(program, arrays.values())
    return model


def _check_arrays(
    names: Sequence[str], specs: Sequence[ParameterSpec], arrays: Mapping[str, Array], dtype: np.dtype[Any]
) -> None:
    """Raise unless names, shapes and dtype of all weights are those of the architecture."""
    if list(names) != list(arrays):
        raise ModelFormatError("the weights in it are not those of its architecture")
    for (name, array), spec in zip(arrays.items(), specs, strict=True):
        if array.shape != spec.shape or array.dtype != dtype:
            raise ModelFormatError(
                f"{name!r} is {array.dtype} of shape {array.shape}; the architecture has {dtype} of shape {spec.shape}"
            )


def _check_counters(training: Mapping[str, Any]) -> None:
    for counter in ("iterations", "epochs_begun", "n_moments"):
        value = training.get(counter)
        if type(value) is not int or not 0 <= value < _COUNT_LIMIT:
            raise ModelFormatError(f"{counter} must be a whole number of at least 0")


def restore_training(model: LayerStack, arrays: Mapping[str, Array], training: Mapping[str, Any]) -> None:
    """Give a built and compiled model the weights, moments and counters of a file; check all before changing any."""
    _check_counters(training)
    if model.built:
        names = weight_names(model.layers, model.program)
        n_moments = model.network.n_slots
        if training["n_moments"] != n_moments:
            raise ModelFormatError(f"it has {training['n_moments']} moments per weight; the optimizer has {n_moments}")
        values = list(arrays.values())
        if len(values) < len(names) * (1 + n_moments):
            raise ModelFormatError("moments of the update rule are missing")
        slots = [values[place :: len(names)][: 1 + n_moments] for place in range(len(names))]
        old = model.network_weights.capture().arrays
        for name, new, present in zip(names, slots, old, strict=True):
            if any(array.shape != present[0].shape or array.dtype != present[0].dtype for array in new):
                raise ModelFormatError(f"the arrays of {name!r} do not have the shape and dtype of the model's")
        model.network_weights.restore(NetworkState(slots, training["iterations"]))
        # Tells a running fit that its weights were changed from outside.
        model.network_weights.version += 1
    model.epochs_begun = training["epochs_begun"]


def load_weights(model: LayerStack, filepath: Path) -> None:
    """Give a built model the weights of a file, which holds a model or weights alone, in the order of the layers.

    Raises
    ------
    ModelFormatError
        The file is damaged, truncated, or not written by fastnn.
    ValueError
        The model is not built, or its weights have other shapes; nothing is changed.
    """
    shapes = [tuple(spec.shape) for spec in model.program.parameter_specs]
    data = read_file(filepath)
    with explained(repr(os.fspath(filepath))):
        _, arrays, n_weights = decode_parts(data)
    weights = list(arrays.values())[:n_weights]
    given = [array.shape for array in weights]
    if given != shapes:
        place = next((i for i, (a, b) in enumerate(zip(given, shapes, strict=False)) if a != b), None)
        what = (
            f"{len(given)} weight arrays, the model has {len(shapes)}"
            if place is None
            else f"{list(arrays)[place]!r} of shape {given[place]} where the model has {shapes[place]}"
        )
        raise ValueError(f"{os.fspath(filepath)!r} does not fit the model: it has {what}")
    model.set_weights(weights)
