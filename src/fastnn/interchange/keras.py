"""Models of Keras from its files, ``.keras``, ``.weights.h5`` and the ``.h5`` of earlier versions, without Keras."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

import fastnn.layers as layers
from fastnn._arguments import takes_keywords
from fastnn.errors import ModelFormatError
from fastnn.interchange.archive import opened_archive
from fastnn.interchange.building import model_of
from fastnn.interchange.keras_layers import layer_of, layers_of
from fastnn.models import Sequential
from fastnn.network.stack import require_stack
from fastnn.saving.foreign import known_format
from fastnn.saving.hdf5 import MAGIC, Group, Hdf5File
from fastnn.saving.keras_weights import fitted, group_names, leaves, legacy_variables, variables_of
from fastnn.saving.model_file import opened_file
from fastnn.saving.safetensors import parse_json

Array = NDArray[Any]

_CONFIG_LIMIT = 1 << 20


@takes_keywords
def load_keras(path: str | os.PathLike[str], model: Any = None) -> Any:
    """Return the model of a Keras file; neither Keras nor TensorFlow nor h5py is needed.

    Reads the ``.keras`` archives of Keras 3 and the ``.h5`` files of all versions: ``Sequential`` models, and
    functional models that are a chain of layers with residual connections (``Add``). The model is not compiled;
    initializers are not read.

    Parameters
    ----------
    path : the file.
    model : a built model of fastnn with the same layers, which gets the weights; needed for a ``.weights.h5`` file,
        which holds weights alone. ``model.load_weights(path)`` does the same.

    Returns
    -------
    Sequential
        The new model, or ``model``.

    Raises
    ------
    ModelFormatError
        The file is damaged, malicious, or has a layer that fastnn lacks, which is named by its class.
    ValueError
        The file holds weights alone and no model was given, or they do not fit it; nothing is changed.
    """
    if model is not None:
        require_stack(model)
        model.load_weights(path)
        return model
    with opened_file(path, "a Keras file", "that Keras wrote") as file:
        read = _read(file)
    if read is None:
        raise ValueError(
            f"{os.fspath(path)!r} holds weights alone: make the model in fastnn, and call load_keras(path, model=model)"
        )
    return read


def _read(file: BinaryIO) -> Sequential | None:
    """Return the model in a file, or None for weights alone."""
    start = file.read(4096)
    file.seek(0)
    if start.startswith(MAGIC):
        return _of_legacy(Hdf5File(file.read()).root)
    if start.startswith(b"PK\x03\x04"):
        with opened_archive(file.read()) as archive:
            config = parse_json(archive.read("config.json", _CONFIG_LIMIT).decode(), "config.json")
            if "model.weights.h5" not in archive.names:
                raise ModelFormatError("the archive has no model.weights.h5; weights in several files are not read")
            weights = archive.read("model.weights.h5")
        return _model(config, Hdf5File(weights).root, None)
    looks = known_format(start)
    raise ModelFormatError(f"it looks like {looks}" if looks else "it is neither a .keras archive nor an HDF5 file")


def _of_legacy(root: Group) -> Sequential | None:
    config = root.text("model_config")
    if config is None:
        return None
    if len(config) > _CONFIG_LIMIT:
        raise ModelFormatError("its description of the layers is larger than 1 MiB")
    return _model(parse_json(config, "model_config"), root, root.text("keras_version") or "2")


def _model(config: Mapping[str, Any], root: Group, legacy: str | None) -> Sequential:
    """Return the model of a description and its weights; ``legacy`` is the version of a file from before Keras 3."""
    found: list[tuple[layers.Layer, list[Array]]] = []
    old = {} if legacy is None else legacy_variables(root)
    kind = config.get("class_name")
    if kind not in ("Sequential", "Functional", "Model"):
        raise ModelFormatError(
            f"it holds a model of the class {str(kind)[:80]!r}; fastnn reads Sequential and Functional"
        )
    described = layers_of(config)
    names = group_names([each["class_name"] for each in described])
    made: dict[str, layers.Layer | None] = {}
    for each, group in zip(described, names, strict=True):
        layer = layer_of(each, legacy or "3")
        name = each["config"]["name"]
        if name in made:
            raise ModelFormatError(f"two layers are called {name[:80]!r}")
        made[name] = layer
        if layer is not None and each["class_name"] != "InputLayer":
            found.append((layer, variables_of(root, group) if legacy is None else old.get(name, [])))
    stack = _chain(config, described, made)
    return _filled(stack, found, root.file_size)


def _filled(stack: list[layers.Layer], found: Sequence[tuple[layers.Layer, list[Array]]], given: int) -> Sequential:
    """Return the model of layers with their variables, from a file of ``given`` bytes."""
    arrays = [array for _, variables in found for array in variables if array.dtype.kind == "f"]
    if stack[0].declared_input is None:
        if not arrays or arrays[0].ndim == 0:
            raise ModelFormatError("it does not tell the number of features")
        stack = [layers.InputLayer((arrays[0].shape[0],)), *stack]
    variables_of_layer = {id(layer): variables for layer, variables in found}
    if set(variables_of_layer) - {id(leaf) for leaf in leaves(stack)}:
        raise ModelFormatError("it has layers that do not lead to the output")
    weights: list[Array] = []
    width = math.prod(stack[0].declared_input or ())
    for layer in leaves(stack):
        shapes = [spec.shape for spec in layer.parameter_specs(width)]
        weights += fitted(variables_of_layer.get(id(layer), []), layer, shapes)
        width = layer.n_outputs(width)
    dtype = np.result_type(np.float32, *(array.dtype for array in arrays))
    return model_of(stack, weights, dtype, given)


def _chain(
    config: Mapping[str, Any], described: Sequence[Mapping[str, Any]], made: Mapping[str, layers.Layer | None]
) -> list[layers.Layer]:
    """Return the layers in order, with residual blocks for the additions of a functional model."""
    if config["class_name"] == "Sequential":
        return [layer for layer in made.values() if layer is not None]
    options = config["config"]
    chains: dict[str, list[layers.Layer]] = {}
    for each in described:
        name, kind = each["config"]["name"], each["class_name"]
        sources = _sources(each)
        missing = [source for source in sources if source not in chains]
        if missing:
            raise ModelFormatError(
                f"the layer {name!r} takes the output of {missing[0]!r}, which does not come before it"
            )
        layer = made[name]
        if not sources:
            if not isinstance(layer, layers.InputLayer):
                raise ModelFormatError(f"the layer {name!r} has no input")
            if chains:
                raise ModelFormatError(f"it has several inputs, such as the InputLayer {name!r}; fastnn reads one")
            chains[name] = [layer]
        elif kind == "Add" and len(sources) == 2:
            chains[name] = _added(name, *(chains[source] for source in sources))
        elif len(sources) == 1 and layer is not None:
            chains[name] = [*chains[sources[0]], layer]
        else:
            raise ModelFormatError(
                f"the layer {name!r}, of class {kind}, joins branches in a way that fastnn does not read"
            )
    outputs = _flat_names(options.get("output_layers"))
    if len(outputs) != 1 or outputs[0] not in chains:
        raise ModelFormatError(f"it has {len(outputs)} outputs; fastnn reads one")
    return chains[outputs[0]]


def _added(name: str, first: list[layers.Layer], second: list[layers.Layer]) -> list[layers.Layer]:
    """Return the chain that ends with the sum of two, the shorter of which is the start of the other."""
    short, long = sorted((first, second), key=len)
    if len(short) == len(long) or any(a is not b for a, b in zip(short, long, strict=False)):
        raise ModelFormatError(f"the layer {name!r}, of class Add, adds two branches; fastnn reads x + block(x)")
    return [*short, layers.Residual(long[len(short) :], name=name)]


def _sources(described: Mapping[str, Any]) -> list[str]:
    """Return the names of the layers whose outputs a layer of a functional model takes."""
    nodes = described.get("inbound_nodes") or []
    if not isinstance(nodes, list) or len(nodes) > 1:
        raise ModelFormatError(f"the layer {described['config']['name']!r} is used more than once")
    return _histories(nodes) if nodes else []


def _histories(value: Any) -> list[str]:
    """Return the names in the tensors of Keras 3, or in the lists [name, node, tensor, options] of Keras 2."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            return [str(value["config"]["keras_history"][0])]
        return [name for key in ("args", "kwargs") for name in _histories(value.get(key))] + (
            [name for each in value.values() for name in _histories(each)] if "args" not in value else []
        )
    if isinstance(value, list):
        if len(value) in (3, 4) and isinstance(value[0], str) and isinstance(value[1], int):
            return [value[0]]
        return [name for each in value for name in _histories(each)]
    return []


def _flat_names(value: Any) -> list[str]:
    """Return the names of layers in ``output_layers``: [name, 0, 0], or a list of such."""
    if isinstance(value, list) and value and isinstance(value[0], str):
        return [value[0]]
    return [name for each in value for name in _flat_names(each)] if isinstance(value, list) else []
