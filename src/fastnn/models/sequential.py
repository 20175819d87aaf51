"""``Sequential``: a model that is a chain of layers."""

import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from numpy.typing import DTypeLike, NDArray

import fastnn._registry as registry
from fastnn._arguments import flag, whole
from fastnn._registry import CustomObjects
from fastnn.layers import InputLayer, Layer
from fastnn.layers.tensor import KerasTensor
from fastnn.models.model import Model
from fastnn.network.chain import check_sequence, declared_features
from fastnn.network.graph import Graph, Port, chain_graph, nodes_between
from fastnn.network.program import Program, build_program
from fastnn.network.stack import LayerStack

if TYPE_CHECKING:
    from fastnn.callbacks import History

Array = NDArray[Any]


@registry.register("model", "Sequential")
class Sequential(Model):
    """A stack of layers, each of which takes the outputs of the layer before it.

    Parameters
    ----------
    layers : list of layers; the first may be ``Input((n_features,))``. Without it, the first data give the size.
    seed : whole number that fixes starting weights, shuffling and dropout; None draws one (see the attribute).
    dtype : "float32" or "float64"; type of weights and outputs.
    name : name in ``summary()``.

    Attributes
    ----------
    seed : the seed in use.
    optimizer, loss, metrics : set by ``compile``.
    history : ``History`` of the last ``fit``.
    feature_names_in_ : names of the columns of the data frame that the model was trained on, or None. Later a frame
        with other columns or another order is refused; arrays are not checked.
    stop_training : a callback sets this to True to end ``fit`` after the current epoch.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> model = fastnn.Sequential([fastnn.layers.Dense(8, activation="relu"), fastnn.layers.Dense(1)], seed=0)
    >>> model.compile(optimizer="adam", loss="mse")
    >>> X = np.linspace(-1.0, 1.0, 64).reshape(-1, 1)
    >>> history = model.fit(X, X**2, epochs=3, verbose=0)
    >>> len(history.history["loss"]), model.predict(X).shape
    (3, (64, 1))
    """

    def __init__(
        self,
        layers: Sequence[Any] | None = None,
        seed: int | None = None,
        dtype: DTypeLike = "float32",
        name: str | None = None,
    ) -> None:
        given: Any = layers
        if given is not None and (isinstance(given, str) or not isinstance(given, Iterable)):
            hint = ": pass a list, Sequential([layer, layer])" if isinstance(given, Layer) else ""
            raise TypeError(f"layers must be a list of layers, got {given!r}{hint}")
        LayerStack.__init__(self, seed, dtype, name, "Sequential")
        self._all_layers: list[Any] = []
        self._tensors: tuple[list[KerasTensor], list[KerasTensor]] | None = None
        self._n_called: int | None = None  # columns of the tensors that the model was called on
        self.put(layers or ())
        self._build_if_possible()

    if TYPE_CHECKING:

        def fit(  # noqa: D102
            self,
            x: Any = None,
            y: Any = None,
            batch_size: int | None = None,
            epochs: int = 1,
            verbose: Any = "auto",
            callbacks: Any = None,
            validation_split: float = 0.0,
            validation_data: Any = None,
            shuffle: bool = True,
            class_weight: dict[int, float] | None = None,
            sample_weight: Any = None,
            initial_epoch: int = 0,
            steps_per_epoch: int | None = None,
            validation_steps: int | None = None,
            validation_batch_size: int | None = None,
            validation_freq: int | Sequence[int] = 1,
        ) -> History: ...
        def predict(  # noqa: D102
            self,
            x: Any,
            batch_size: int | None = None,
            verbose: Any = "auto",
            steps: int | None = None,
            callbacks: Any = None,
            out: Any = None,
            resume: bool = False,
        ) -> Array: ...

    takes_loss_by_output = False
    kind = "Sequential"

    def port_names(self) -> list[str] | None:
        """Return a name for the input where the first layers encode it; otherwise None."""
        return ["x"] if any(layer.encodes for layer in self.leaf_layers()) else None

    def ports(self, n_features: int) -> list[Port]:
        """Return what the input takes of rows of ``n_features`` columns."""
        return [self.program_for(n_features).graph.port(0, "x")]

    @property
    def structures(self) -> tuple[Any, Any]:
        """None for the one input and the one output: they have no form to keep."""
        return None, None

    @property
    def output_keys(self) -> list[str]:
        """A name for the only output."""
        return ["output"]

    def in_form(self, outputs: Any) -> Any:
        """Return the outputs of the network."""
        return outputs

    # Layers

    @property
    def layers(self) -> list[Layer]:
        """The layers, without an ``Input``."""
        return [layer for layer in self._all_layers if not isinstance(layer, InputLayer)]

    @property
    def all_layers(self) -> list[Layer]:
        """The layers, with the ``Input`` if there is one."""
        return list(self._all_layers)

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Put a layer on top.

        Parameters
        ----------
        layer : the layer.
        rebuild : whether the model is built now, if its number of features is known; else when it is first used.

        Raises
        ------
        TypeError
            Not a layer.
        ValueError
            The layer cannot follow the layers below it, or already belongs to a model.
        """
        build_now = flag("rebuild", rebuild)
        with self._structure:
            self.put([layer])
            if build_now:
                self._build_if_possible()

    def put(self, layers: Iterable[Any]) -> None:
        """Put layers on top without building the network."""
        for layer in layers:
            self._append(layer)

    def _append(self, layer: Any) -> None:
        if isinstance(layer, KerasTensor) and isinstance(layer.node.layer, InputLayer):
            layer = layer.node.layer
        if not isinstance(layer, Layer | LayerStack):
            hint = "; make an object of it: add ()" if isinstance(layer, type) and issubclass(layer, Layer) else ""
            raise TypeError(f"a Sequential takes layers, got {layer!r}{hint}")
        if layer.dtype is not None and layer.dtype != self.dtype:
            raise ValueError(
                f"layer {layer.name!r} has dtype {layer.dtype}, but the model has {self.dtype}: a network computes "
                f"in one type, give it to the model with Sequential(..., dtype={layer.dtype.name!r})"
            )
        owner = layer.owner() if layer.owner is not None else None
        if owner is not None:
            raise ValueError(
                f"layer {layer.name!r} already belongs to model {owner.name!r} and layers cannot be shared: make a "
                "new one with type(layer).from_config(layer.get_config())"
            )
        with self._structure, self._changing("add"):
            check_sequence([*self._all_layers, layer])
            self._keep_weights()
            self._all_layers.append(layer)
            if isinstance(layer, Layer):
                layer.owner = weakref.ref(self)

    def pop(self, rebuild: bool = True) -> Any:
        """Remove and return the top layer; all layers keep their weights. ``rebuild`` as in ``add``."""
        build_now = flag("rebuild", rebuild)
        with self._structure:
            if not self.layers:
                raise ValueError("the model has no layers to remove")
            with self._changing("pop"):
                self._keep_weights()
                layer = self._all_layers.pop()
                if isinstance(layer, Layer):
                    layer.owner = None
            if build_now:
                self._build_if_possible()
        return layer

    def _require_built(self) -> None:
        if self._network is None and self._n_called is not None and self.layers:
            self.build((None, self._n_called))
        first = self.layers[0] if self._network is None and self.layers else None
        if isinstance(first, Layer) and first.encodes:
            raise ValueError(
                f"layer {first.name!r} takes the inputs before the network does, so the model must say what they are: "
                "start it with Input((n_features,)), for strings with Input((n_features,), dtype='string'), or fit it"
            )
        LayerStack._require_built(self)

    @property
    def built(self) -> bool:
        """Whether the number of features is known, so that the weights exist."""
        return self._network is not None or self._n_called is not None

    def _choose_predict(self) -> None:
        LayerStack._choose_predict(self)
        if self.port_names() is not None:
            self._predict = None  # the inputs must be encoded first

    @classmethod
    def without_network(cls, config: Mapping[str, Any], custom_objects: CustomObjects | None = None) -> Self:
        """Return a model for the result of ``get_config()`` that makes its weights when they are needed."""
        from fastnn.saving.contents import read_layers

        layers = read_layers(config, custom_objects)
        model = cls(None, config.get("seed"), config.get("dtype", "float32"), config.get("name"))
        model.put(layers)
        shape = config.get("build_input_shape")
        if shape is not None:
            model._n_called = columns_of(shape)
        return model

    def _keep_weights(self) -> None:
        super()._keep_weights()
        if self._tensors is not None:
            mine = {id(node) for node in nodes_between(*self._tensors)}
            for layer in self._all_layers:
                layer.nodes[:] = [node for node in layer.nodes if id(node) not in mine]
            self._tensors = None

    # Symbolic tensors

    def inner_tensors(self, given: Sequence[tuple[tuple[int, ...], str | None]]) -> Any:
        """Return the tensors of inputs and outputs; a row of the given shape builds the model if nothing has before."""
        row = given[0][0]
        if self.n_features is None:
            self._n_called = math.prod(row)
        if len(given) != 1 or math.prod(row) != self.n_features:
            raise ValueError(
                f"model {self.name!r} takes one tensor of {self.n_features} columns, got "
                f"{', '.join(str((None, *each)) for each, _ in given)}"
            )
        return self.trace_layers()

    def trace_layers(self) -> tuple[list[KerasTensor], list[KerasTensor]]:
        """Call the layers on symbolic tensors, once; return those of the input and of the output."""
        n_features = self.n_features
        if n_features is None:
            self._require_built()
            n_features = self.program.n_features
        with self._structure:
            if self._tensors is None:
                first = self._all_layers[0]
                if not isinstance(first, InputLayer):
                    first = InputLayer(first.declared_input or (n_features,))
                tensor = start = first.tensor()
                for layer in self.layers:
                    tensor = layer(tensor)
                self._tensors = ([start], [tensor])
            return self._tensors

    @property
    def inputs(self) -> list[KerasTensor]:
        """The symbolic input, in a list."""
        return self.trace_layers()[0]

    @property
    def outputs(self) -> list[KerasTensor]:
        """The symbolic output, in a list."""
        return self.trace_layers()[1]

    @property
    def input(self) -> KerasTensor:
        """The symbolic input."""
        return self.inputs[0]

    @property
    def output(self) -> KerasTensor:
        """The symbolic output."""
        return self.outputs[0]

    # Building

    @property
    def input_shape(self) -> tuple[None, int]:
        """Shape of the inputs, (None, n_features)."""
        return None, self.program.n_features

    @property
    def output_shape(self) -> tuple[None, int]:
        """Shape of the outputs, (None, n_outputs)."""
        return None, self.program.n_outputs

    def build(self, input_shape: Any) -> None:  # type: ignore[override]
        """Make the weights for a number of features.

        Parameters
        ----------
        input_shape : (None, n_features) as in Keras, or n_features.
        """
        self.build_from(self.program_for(columns_of(input_shape)))

    def program_for(self, n_features: int = 0) -> Program:
        """Return the model's program, or the one that it would get for data of ``n_features`` columns.

        Raises
        ------
        ValueError
            The model takes another number of columns, or has no layers.
        """
        known = self.n_features
        if known is not None and known != n_features:
            raise ValueError(f"the model takes {known} features, got {n_features}")
        if self._program is not None:
            return self._program
        if not self.layers:
            raise ValueError("the model has no layers; add one first")
        return build_program(self._all_layers, n_features)

    @property
    def n_features(self) -> int | None:
        """Number of input columns; None if neither the layers nor ``build`` have said it yet."""
        if self._program is not None:
            return self._program.n_features
        declared = declared_features(self._all_layers)
        return self._n_called if declared is None else declared

    def graph_for(self, n_features: int = 0) -> Graph:
        """Return the calls of the layers for rows of ``n_features`` columns."""
        return chain_graph(self._all_layers, n_features)

    @property
    def declared_input(self) -> tuple[int, ...] | None:
        """Shape of a row that the first layer declares, or that the model was built for; None before."""
        declared = self._all_layers[0].declared_input if self._all_layers else None
        return declared if declared is not None or not self.built else (self.program.n_features,)

    def n_outputs(self, n_in: int) -> int:
        """Return the number of output columns for ``n_in`` input columns, as a layer does."""
        return self.program_for(n_in).n_outputs

    def _build_if_possible(self) -> None:
        n_features = declared_features(self._all_layers)
        if n_features is not None and any(layer.computes() for layer in self.layers):
            self.build_from(build_program(self._all_layers, n_features))

    def folded(self) -> "Sequential":
        """Return a new model that predicts the same to rounding with fewer layers; this one is not changed.

        Normalizations with known statistics become part of the dense layer before or after them, consecutive linear
        dense layers become one where that costs no more, and dropout and noise are left out. The weights are combined
        in float64. The new model does not follow later changes of this model's weights.

        Examples
        --------
        >>> import fastnn
        >>> from fastnn import layers
        >>> dense, normalization = layers.Dense(8, input_dim=4), layers.BatchNormalization()
        >>> model = fastnn.Sequential([dense, normalization, layers.Dense(2)])
        >>> [layer.kernel.shape for layer in model.folded().layers]
        [(4, 2)]
        """
        self._require_built()
        from fastnn.models.folding import folded_layers

        with self.reading("folded"):
            layers, weights = folded_layers(self)
        model = Sequential(layers, seed=self.seed, dtype=self.dtype, name=f"{self.name}_folded")
        model.set_weights(weights)
        model.feature_names_in_ = self.feature_names_in_
        return model


def columns_of(input_shape: Sequence[int | None] | int) -> int:
    """Return the number of features of (None, n_features), or of n_features."""
    n_features = input_shape[-1] if isinstance(input_shape, Sequence) and len(input_shape) else input_shape
    return whole("n_features", n_features, at_least=1)
