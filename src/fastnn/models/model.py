"""``Model``: a model that is a graph of layers, with Keras's functional API."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

from numpy.typing import DTypeLike

import fastnn._registry as registry
from fastnn._arguments import takes_keywords
from fastnn._registry import CustomObjects
from fastnn._structures import filled, is_nested
from fastnn.layers.sharing import making
from fastnn.layers.tensor import KerasTensor, Node, common_dtype, tensors_in
from fastnn.models.conversion import ConvertedStack
from fastnn.models.trained import TrainedStack
from fastnn.network.graph import Graph, Port, clone_between, model_layers, nodes_between, tensor_graph, tensors_of
from fastnn.network.program import Program, graph_program
from fastnn.network.stack import LayerStack
from fastnn.network.structures import by_place

_NO_SUBCLASSING = (
    "fastnn has no Model subclassing: call layers on symbolic tensors and make fastnn.Model(inputs=..., outputs=...), "
    "or list the layers in fastnn.Sequential([...]); what several models need again can be a layers.Layer with call"
)


@registry.register("model", "Functional", "Model")
class Model(ConvertedStack, TrainedStack):
    """A graph of layers between inputs and outputs, with Keras's functional API.

    Layers are called on symbolic tensors, which ``fastnn.Input`` and other layers give. A model can be called like a
    layer, and a layer can be called several times: it has one set of weights then. Models that have layers in common
    share their weights.

    Parameters
    ----------
    inputs, outputs : a symbolic tensor, or a list or dict of them. Data have the same form, or are dicts by the names
        of the inputs.
    name : name in ``summary()``.
    trainable : whether training changes the weights.
    seed : whole number that fixes starting weights, shuffling and dropout; None draws one.
    dtype : "float32" or "float64"; None for the type that inputs and layers declare, otherwise "float32".

    Attributes
    ----------
    inputs, outputs : lists of the symbolic tensors.
    input_names, output_names : names of the inputs, and of the layers that give the outputs.
    seed, optimizer, loss, metrics, history, stop_training : as in ``Sequential``. With several outputs, ``loss`` is a
        list.

    Raises
    ------
    ValueError
        An output that does not depend on the inputs, an input that no output depends on, or two layers of one name.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> from fastnn import layers
    >>> station, event = fastnn.Input((3,), name="station"), fastnn.Input((2,), name="event")
    >>> hidden = layers.Dense(8, activation="relu")(layers.concatenate([station, event]))
    >>> depth, size = layers.Dense(1, name="depth")(hidden), layers.Dense(1, name="size")(hidden)
    >>> model = fastnn.Model([station, event], [depth, size], seed=0)
    >>> model.compile("adam", loss={"depth": "mse", "size": "mae"}, loss_weights={"depth": 1.0, "size": 0.5})
    >>> X = {"station": np.ones((8, 3)), "event": np.ones((8, 2))}
    >>> history = model.fit(X, [np.ones(8), np.zeros(8)], epochs=2, verbose=0)
    >>> sorted(history.history)
    ['depth_loss', 'loss', 'size_loss']
    """

    _instead_of_own = _NO_SUBCLASSING
    kind = "Functional"
    takes_loss_by_output = True

    @takes_keywords
    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        name: str | None = None,
        trainable: bool = True,
        *,
        seed: int | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        if inputs is None and outputs is None:
            raise TypeError(_NO_SUBCLASSING)
        self._assemble(inputs, outputs, name, seed, dtype)
        self.build_from(self.program_for())
        if not trainable:
            self.trainable = False

    def _assemble(self, inputs: Any, outputs: Any, name: str | None, seed: int | None, dtype: DTypeLike | None) -> None:
        """Make the graph, without a network."""
        given, results = tensors_of(inputs, "inputs"), tensors_of(outputs, "outputs")
        between = [each for node in nodes_between(given, results) for each in node.outputs]
        declared = common_dtype("the model", [*given, *between], dtype)
        LayerStack.__init__(self, seed, declared or "float32", name, "Functional")
        if any(each.node.inputs for each in given):
            given, results = clone_between(given, results)
        self._inputs, self._outputs = given, results
        self._input_structure = filled(inputs, iter(given))
        self._output_structure = filled(outputs, iter(results))
        self._layers = model_layers(given, results)
        self._check_inputs()
        self._graph = tensor_graph(given, results)

    @classmethod
    def without_network(cls, config: Mapping[str, Any], custom_objects: CustomObjects | None = None) -> Self:
        """Return a model for the result of ``get_config()`` that makes its weights when they are needed."""
        from fastnn.saving.graphs import graph_from_config

        with making():
            inputs, outputs = graph_from_config(config, custom_objects)
        return cls.of_tensors(inputs, outputs, config.get("name"), config.get("seed"), config.get("dtype"))

    @classmethod
    def of_tensors(
        cls, inputs: Any, outputs: Any, name: str | None = None, seed: int | None = None, dtype: DTypeLike | None = None
    ) -> Self:
        """Return a model between symbolic tensors that makes its weights when they are needed."""
        model = cls.__new__(cls)
        model._assemble(inputs, outputs, name, seed, dtype)
        return model

    @property
    def built(self) -> bool:
        """Return True: the inputs have their shapes, so that the weights exist."""
        return True

    def _require_built(self) -> None:
        if self._network is None:
            self.build_from(self.program_for())

    def _choose_predict(self) -> None:
        super()._choose_predict()
        in_order = not is_nested(self._output_structure) or (
            isinstance(self._output_structure, list) and len(self.outputs) == len(self._output_structure) > 1
        )
        if self._graph.encoding or not in_order or any(len(tensor.row) != 1 for tensor in self.outputs):
            self._predict = None  # the arrays must be put in order first

    def graph_for(self, n_features: int = 0) -> Graph:
        """Return the calls of the layers."""
        return self._graph

    def _check_inputs(self) -> None:
        """Raise unless every input is used, and all layers have names of their own."""
        used = {id(tensor) for node in nodes_between(self.inputs, self.outputs) for tensor in node.inputs}
        used |= {id(tensor) for tensor in self.outputs}
        for tensor in self.inputs:
            if id(tensor) not in used:
                raise ValueError(
                    f"input {tensor.name!r} of shape {tensor.shape} is disconnected: no output depends on it; the "
                    f"outputs: {', '.join(f'{each.name!r} {each.shape}' for each in self.outputs)}"
                )
        names: dict[str, Any] = {}
        for layer in self._layers:
            if names.setdefault(layer.name, layer) is not layer:
                raise ValueError(f"two layers are called {layer.name!r}; layer names must be unique")

    # Layers

    @property
    def layers(self) -> list[Any]:
        """The layers, inputs among them, in Keras's order: those that are farther from the outputs come first."""
        return [layer for layer in self._layers if getattr(layer, "is_layer", True)]

    @property
    def all_layers(self) -> list[Any]:
        """The layers, with operators and slices."""
        return list(self._layers)

    @property
    def inputs(self) -> list[KerasTensor]:
        """The symbolic inputs, in a list."""
        return self._inputs

    @property
    def outputs(self) -> list[KerasTensor]:
        """The symbolic outputs, in a list."""
        return self._outputs

    @property
    def input(self) -> Any:
        """The symbolic inputs, in the form that the constructor was given."""
        return self._input_structure

    @property
    def output(self) -> Any:
        """The symbolic outputs, in the form that the constructor was given."""
        return self._output_structure

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs."""
        return [tensor.name for tensor in self.inputs]

    @property
    def output_names(self) -> list[str]:
        """Names of the layers that give the outputs."""
        return [tensor.node.layer.name for tensor in self.outputs]

    @property
    def output_keys(self) -> list[str]:
        """Names of the outputs in the history, and in dicts of losses, metrics and targets; each one is another."""
        if isinstance(self._output_structure, Mapping) and len(self._output_structure) == len(self.outputs):
            return sorted(self._output_structure)
        found: list[str] = []
        for name in self.output_names:
            n = found.count(name) + sum(
                each.startswith(f"{name}_") and each[len(name) + 1 :].isdigit() for each in found
            )
            found.append(name if name not in found else f"{name}_{n}")
        return found

    @property
    def input_shape(self) -> Any:
        """Shape of the input, or a list of the shapes of the inputs."""
        shapes = [tensor.shape for tensor in self.inputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def output_shape(self) -> Any:
        """Shape of the output, or a list of the shapes of the outputs."""
        shapes = [tensor.shape for tensor in self.outputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def n_features(self) -> int | None:
        """Number of columns of all inputs together."""
        return sum(math.prod(tensor.row) for tensor in self.inputs)

    def program_for(self, n_features: int = 0) -> Program:
        """Return the model's program; ``n_features`` has no effect, because the inputs have their shapes."""
        return graph_program(self._graph, self._layers) if self._program is None else self._program

    def port_names(self) -> list[str] | None:
        """Return the names of the inputs."""
        return self.input_names

    def ports(self, n_features: int) -> list[Port]:
        """Return what each input takes; ``n_features`` has no effect, because the inputs have their shapes."""
        return [self._graph.port(place, name) for place, name in enumerate(self.input_names)]

    @property
    def structures(self) -> tuple[Any, Any]:
        """The inputs and the outputs in the form that the constructor was given."""
        return self._input_structure, self._output_structure

    def in_form(self, outputs: Any) -> Any:
        """Return the outputs of the network as a list or dict, if those of the model are one, in the shape of a row."""
        arrays = outputs if isinstance(outputs, list) else [outputs]
        shaped = [
            array if len(tensor.row) == 1 else array.reshape(len(array), *tensor.row)
            for array, tensor in zip(arrays, self.outputs, strict=True)
        ]
        if len(shaped) == 1 and not isinstance(self._output_structure, Mapping):
            return shaped[0]
        return filled(self._output_structure, iter(shaped))

    def build(self, input_shape: Any = None) -> None:
        """Do nothing: the weights exist already."""

    @property
    def declared_input(self) -> tuple[int, ...] | None:
        """Shape of a row of the only input; None for several."""
        return self.inputs[0].row if len(self.inputs) == 1 else None

    def folded(self) -> Any:
        """Return a new model that predicts the same to rounding with fewer layers; this one is not changed.

        Normalizations with known statistics become part of the dense layer before or after them, consecutive linear
        dense layers become one where that costs no more, and dropout and noise are left out. The weights are combined
        in float64. The new model does not follow later changes of this model's weights.
        """
        from fastnn.models.folding import folded_graph

        with self.reading("folded"):
            inputs, outputs, weights = folded_graph(self)
        model = Model(inputs, outputs, name=f"{self.name}_folded", seed=self.seed, dtype=self.dtype)
        for layer, values in weights:
            layer.set_weights(values)
        model.feature_names_in_ = self.feature_names_in_
        return model

    # As a layer

    def inner_tensors(self, given: Sequence[tuple[tuple[int, ...], str | None]]) -> Any:
        """Return the symbolic tensors of inputs and outputs, for inputs of these shapes.

        Raises
        ------
        ValueError
            The inputs have other shapes.
        """
        rows = [row for row, _ in given]
        if rows != [tensor.row for tensor in self.inputs]:
            takes = ", ".join(f"{tensor.name!r} {tensor.shape}" for tensor in self.inputs)
            raise ValueError(
                f"model {self.name!r} takes {takes}, but it is called on {', '.join(str((None, *row)) for row in rows)}"
            )
        return self.inputs, self.outputs

    def op(self, n_in: int) -> tuple[str, dict[str, Any]]:
        """Return what stands for the ops of the layers: the model computes something."""
        return "layers", {}

    def computes(self) -> bool:
        """Return True, as a layer that has an op."""
        return True

    def n_outputs(self, n_in: int) -> int:
        """Return the number of output columns, as a layer does."""
        self.inner_tensors([((n_in,), None)])
        return math.prod(self.outputs[0].row)

    def keeps_elements(self) -> bool:
        """Return False: rows must be vectors."""
        return False

    def trace(self, x: Any, training: bool | None = None) -> Any:
        """Return the symbolic outputs for symbolic inputs; the weights are those of this model."""
        if training is not None:
            raise ValueError(
                f"model {self.name!r} was called on symbolic tensors with training={training!r}: leave the "
                "argument out; with model.trainable = False batch normalization uses its moving statistics"
            )
        tensors = tensors_in(x)
        if len(tensors) > 1 and self.built and len(self.inputs) > 1:
            tensors = by_place(x, self.input, self.input_names, "x", "input")
        dtype = common_dtype(f"model {self.name!r}", tensors, self.dtype)
        inner = self.inner_tensors([(tensor.row, tensor.declared_dtype) for tensor in tensors])
        node = Node(self, ([x], {}), [each.row for each in inner[1]], [dtype] * len(inner[1]))
        node.inputs, node.inner = tensors, inner
        node.structure = None if isinstance(self.output, KerasTensor) else self.output
        self.nodes.append(node)
        return node.result()

    # Saving and description

    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True, zipped: bool | None = None) -> None:
        """Write weights, architecture, names of columns, optimizer and training state into one safetensors file.

        After a crash there is the old file or the new one, never a partial file. ``fastnn.load_model`` reads it.

        Parameters
        ----------
        filepath : where to write; the usual ending is ".safetensors". An ending that promises another format, such as
            ".keras" or ".h5", draws a warning.
        overwrite : whether an existing file may be replaced.
        zipped : must be None or False: the file is not zipped.

        Raises
        ------
        FileExistsError
            The file exists and ``overwrite`` is False.
        ValueError
            Some part of the model cannot be written as data, or the file could not be loaded again.
        OSError
            The file cannot be written, is read-only, or is a folder, a device or a pipe; an old one is unchanged.
        """
        from fastnn.saving import model_file

        model_file.save_model(self, filepath, overwrite, zipped)

    def save_weights(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write the weights alone; arguments and errors as in ``save``."""
        from fastnn.saving import model_file

        model_file.save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: str | os.PathLike[str], skip_mismatch: bool = False) -> None:
        """Replace the weights by those of a file that ``save`` or ``save_weights`` wrote.

        Parameters
        ----------
        filepath : the file.
        skip_mismatch : whether layers whose weights have other names or shapes in the file keep theirs, with a warning.
            Layers are compared in their order.

        Raises
        ------
        ModelFormatError
            The file is damaged, truncated, or not written by fastnn.
        ValueError
            The model is not built, or its weights have other shapes and ``skip_mismatch`` is False; the model is not
            changed.
        """
        from fastnn.saving import model_file

        model_file.load_weights(self, filepath, skip_mismatch)

    def get_config(self) -> dict[str, Any]:
        """Return the architecture: name, dtype, seed and layers."""
        from fastnn.saving import description

        return description.model_config(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: CustomObjects | None = None) -> Self:
        """Return a model with new weights for the result of ``get_config()``."""
        from copy import deepcopy

        from fastnn.saving import model_file

        return model_file.build_model(deepcopy(config), cls, custom_objects)

    def to_json(self) -> str:
        """Return the architecture as JSON; ``fastnn.models.model_from_json`` reads it."""
        from fastnn.saving import description

        return description.to_json({"class_name": self.kind, "config": self.get_config()}, "architecture")

    def get_compile_config(self) -> dict[str, Any] | None:
        """Return the arguments of ``compile`` as data; None before ``compile``."""
        from fastnn.saving import description

        return description.compile_config(self)

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile with the result of ``get_compile_config()``."""
        from fastnn.saving import description

        self.compile(**description.compile_arguments(config))

    def __reduce__(self) -> tuple[Any, ...]:
        from fastnn.saving import description, model_file

        data = b"".join(model_file.encode_model(self))
        return model_file.decode_model, (data, registry.find("model", self.kind), description.custom_objects_of(self))
