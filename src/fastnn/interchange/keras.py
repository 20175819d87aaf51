"""Models of Keras from its files, ``.keras``, ``.weights.h5`` and the ``.h5`` of earlier versions, without Keras."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

import fastnn.layers as layers
from fastnn._arguments import takes_keywords
from fastnn.errors import ModelFormatError
from fastnn.interchange.archive import opened_archive
from fastnn.interchange.building import build, check_columns
from fastnn.interchange.keras_calls import calls_of, chain_of, places_in, places_of
from fastnn.interchange.keras_graphs import GraphReader
from fastnn.interchange.keras_layers import is_simple, layers_of
from fastnn.models import Sequential
from fastnn.network.stack import require_stack
from fastnn.saving.foreign import known_format
from fastnn.saving.hdf5 import MAGIC, Group, Hdf5File
from fastnn.saving.keras_weights import Part, fitted, keras_variables
from fastnn.saving.model_file import opened_file
from fastnn.saving.safetensors import parse_json

Array = NDArray[Any]

_CONFIG_LIMIT = 1 << 20


@takes_keywords
def load_keras(path: str | os.PathLike[str], model: Any = None) -> Any:
    """Return the model of a Keras file; neither Keras nor TensorFlow nor h5py is needed.

    Reads the ``.keras`` archives of Keras 3 and the ``.h5`` files of all versions: ``Sequential`` and functional
    models, with shared layers, models in models, and operators on tensors. The model is not compiled; initializers are
    not read.

    Parameters
    ----------
    path : the file.
    model : a built model of fastnn with the same layers, which gets the weights; needed for a ``.weights.h5`` file,
        which holds weights alone. ``model.load_weights(path)`` does the same.

    Returns
    -------
    Sequential or Model
        The new model, or ``model``. A functional model that is a chain of layers, with sums ``x + block(x)`` as
        ``Residual``, becomes a ``Sequential``; any other becomes a ``Model``.

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


def _read(file: BinaryIO) -> Any:
    """Return the model in a file, or None for weights alone."""
    start = file.read(4096)
    file.seek(0)
    if start.startswith(MAGIC):
        return _of_legacy(Hdf5File(file.read()).root)
    if start.startswith(b"PK\x03\x04"):
        data = file.read()
        with opened_archive(data) as archive:
            config = parse_json(archive.read("config.json", _CONFIG_LIMIT).decode(), "config.json")
            if "model.weights.h5" not in archive.names:
                raise ModelFormatError("the archive has no model.weights.h5; weights in several files are not read")
            weights = Hdf5File(archive.read("model.weights.h5")).root

            def asset(name: str) -> bytes | None:
                return archive.read(name, _CONFIG_LIMIT) if name in archive.names else None

            return _Reader(config, weights, None, len(data), asset).model()
    looks = known_format(start)
    raise ModelFormatError(f"it looks like {looks}" if looks else "it is neither a .keras archive nor an HDF5 file")


def _of_legacy(root: Group) -> Any:
    config = root.text("model_config")
    if config is None:
        return None
    if len(config) > _CONFIG_LIMIT:
        raise ModelFormatError("its description of the layers is larger than 1 MiB")
    version = root.text("keras_version") or "2"
    return _Reader(parse_json(config, "model_config"), root, version, root.file_size, lambda name: None).model()


class _Reader:
    """Makes the model of a description and its weights.

    Parameters
    ----------
    config : the description.
    root : group with the weights.
    legacy : version of a file from before the archives of Keras 3; None for an archive.
    given : bytes of the file.
    asset : returns what an archive holds under a name, or None.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        root: Group,
        legacy: str | None,
        given: int,
        asset: Callable[[str], bytes | None],
    ) -> None:
        if config.get("class_name") not in ("Sequential", "Functional", "Model"):
            kind = str(config.get("class_name"))[:80]
            raise ModelFormatError(f"it holds a model of the class {kind!r}; fastnn reads Sequential and Functional")
        self._config, self._root, self._legacy, self._given = config, root, legacy, given
        self._described = layers_of(config)
        declared = {str(each["config"].get("dtype")) for each in self._described}
        self._dtype = "float64" if any("float64" in each for each in declared) else "float32"
        self._graphs = GraphReader(legacy or "3", given, self._dtype, asset)

    def model(self) -> Any:
        """Return the model."""
        chain = self._chain()
        if chain is None:
            part = self._graphs.model({**self._config, "config": self._config["config"]})
            assert part.parts is not None
            return self._filled(part.layer, self._variables(part.parts))
        parts = [part for part in self._graphs.parts(self._described, "") if part is not None]
        made: dict[str, Any] = {}
        for each, part in zip(self._described, parts, strict=True):
            name = each["config"]["name"]
            if name in made:
                raise ModelFormatError(f"two layers are called {name[:80]!r}")
            made[name] = part.layer
        variables = self._variables(parts)
        arrays = [array for each in variables.values() for array in each if array.dtype.kind == "f"]
        stack = _stack(chain, made)
        if stack[0].declared_input is None:
            if not arrays or arrays[0].ndim == 0:
                raise ModelFormatError("it does not tell the number of features")
            stack = [layers.InputLayer((arrays[0].shape[0],)), *stack]
        dtype = np.result_type(np.float32, *(array.dtype for array in arrays))
        model = Sequential(None, dtype=dtype)
        model.put(stack)
        return self._filled(model, variables)

    def _chain(self) -> list[Any] | None:
        """Return the names of the layers of a chain, as ``chain_of``; None for other models."""
        names = [each["config"]["name"] for each in self._described]
        if self._config["class_name"] == "Sequential":
            return names
        options = self._config["config"]
        if not isinstance(options, dict) or not all(map(is_simple, self._described)):
            return None
        ends = [places_in(places_of(options.get(key))) for key in ("input_layers", "output_layers")]
        calls = [call for each in self._described for call in calls_of(each)]
        sums = {each["config"]["name"] for each in self._described if each["class_name"] == "Add"}
        found = chain_of(ends[0], ends[1], calls, sums)
        return None if found is None else [ends[0][0].layer, *found]

    def _variables(self, parts: Sequence[Part]) -> dict[int, list[Array]]:
        return keras_variables(parts, self._root, by_name=self._legacy is not None)

    def _filled(self, model: Any, variables: Mapping[int, list[Array]]) -> Any:
        """Return a model without a network after its layers got their variables."""
        graph = model.graph_for(model.n_features)
        if {key for key, arrays in variables.items() if arrays} - {id(leaf) for leaf in model.leaf_layers()}:
            raise ModelFormatError("it has layers that do not lead to the output")
        weights: dict[int, list[Array]] = {}
        for step in graph.steps:
            key = id(step.layer)
            if key not in weights and not step.layer.inner_layers():
                shapes = [spec.shape for spec in step.layer.parameter_specs(graph.width(step.inputs[0]))]
                weights[key] = fitted(variables.get(key, []), step.layer, shapes)
        check_columns(map(math.prod, graph.rows), self._given)
        program = model.program_for(model.n_features)
        build(model, program, [array for leaf in program.leaves for array in weights[id(leaf.layer)]], self._given)
        return model


def _stack(chain: Sequence[Any], made: Mapping[str, Any]) -> list[Any]:
    """Return the layers of a chain of names, with residual blocks for sums."""
    return [
        made[each] if isinstance(each, str) else layers.Residual(_stack(each[1], made), name=each[0]) for each in chain
    ]
