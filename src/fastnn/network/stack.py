"""A stack of layers and the compiled network that holds their weights."""

import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

import fastnn._core as _core
from fastnn._arguments import as_count
from fastnn._randomness import Stream, draw_seed
from fastnn.layers import InputLayer, Layer, automatic_name
from fastnn.layers.layer import TrainableTogether, Variables
from fastnn.network.occupancy import Occupancy, refusal
from fastnn.network.program import Program, build_program, check_sequence, declared_features, loss_options
from fastnn.network.summary import format_summary
from fastnn.network.weights import KeptWeights, LayerWeights, NetworkWeights

Array = NDArray[Any]


class Model:
    """Base of all models, for ``isinstance``: a model is made as ``fastnn.Sequential``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        raise TypeError(
            "fastnn has no functional API and no models of one's own: list layers in fastnn.Sequential([...]), with a "
            "fastnn.layers.Residual for a branch"
        )


class LayerStack(Model, Variables, TrainableTogether):
    """Layers, their network once it is built, and their weights: the base of ``Sequential``.

    Parameters
    ----------
    layers, seed, dtype, name : as in ``Sequential``.
    """

    def __init__(
        self,
        layers: Sequence[Layer] | None = None,
        seed: int | None = None,
        dtype: DTypeLike = "float32",
        name: str | None = None,
    ) -> None:
        try:
            self.dtype = np.dtype(dtype)
        except TypeError:
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}") from None
        if self.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        if seed is not None:
            seed = as_count(seed, "seed", 0)
            if seed >= 1 << 63:
                raise ValueError(f"seed must be less than 2**63, got {seed}")
        if isinstance(layers, Layer):
            raise TypeError(f"layers must be a list of layers, got the layer {layers!r}")
        self.seed: int = draw_seed() if seed is None else seed
        self.name = name if name is not None else automatic_name("Sequential")
        self.optimizer: Any = None
        self.loss: Any = None
        self._all_layers: list[Layer] = []
        self._occupancy = Occupancy()
        self._program: Program | None = None
        self._network: _core.Network | None = None
        self._weights: NetworkWeights | None = None
        self._predict: Callable[[Any, Array | None], Array] = self._predict_unbuilt
        for layer in layers or ():
            self._append(layer)
        self._build_if_possible()

    # Layers

    @property
    def layers(self) -> list[Layer]:
        """The layers, without an ``Input``."""
        return [layer for layer in self._all_layers if not isinstance(layer, InputLayer)]

    def add(self, layer: Layer, rebuild: bool = True) -> None:
        """Put a layer on top.

        Parameters
        ----------
        layer : the layer.
        rebuild : accepted as in Keras; the model is built as soon as its number of features is known.

        Raises
        ------
        TypeError
            Not a layer.
        ValueError
            The layer cannot follow the others, or belongs to a model already.
        """
        self._append(layer)
        self._build_if_possible()

    def _append(self, layer: Any) -> None:
        if not isinstance(layer, Layer):
            hint = "; make an object of it: add ()" if isinstance(layer, type) and issubclass(layer, Layer) else ""
            hint = "; a model in a model is not supported: list its layers" if isinstance(layer, LayerStack) else hint
            raise TypeError(f"a Sequential takes layers, got {layer!r}{hint}")
        if layer.dtype is not None and layer.dtype != self.dtype:
            raise ValueError(
                f"layer {layer.name!r} has dtype {layer.dtype}, but the model has {self.dtype}: a network computes "
                f"in one type, give it to the model with Sequential(..., dtype={layer.dtype.name!r})"
            )
        owner = layer.owner() if layer.owner is not None else None
        if owner is not None:
            raise ValueError(
                f"layer {layer.name!r} belongs to model {owner.name!r} already and layers are not shared: make a "
                "new one with type(layer).from_config(layer.get_config())"
            )
        with self._changing("add"):
            check_sequence([*self._all_layers, layer])
            self._keep_weights()
            self._all_layers.append(layer)
            layer.owner = weakref.ref(self)

    def pop(self, rebuild: bool = True) -> Layer:
        """Take the top layer off and return it; the others keep their weights. ``rebuild`` as in ``add``."""
        if not self.layers:
            raise ValueError("the model has no layer to take off")
        with self._changing("pop"):
            self._keep_weights()
            layer = self._all_layers.pop()
            layer.owner = None
        self._build_if_possible()
        return layer

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by name or by number."""
        if index is not None:
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ValueError(f"no layer is called {name!r}; the layers: {', '.join(layer.name for layer in self.layers)}")

    # Building

    @property
    def built(self) -> bool:
        """Whether the number of features is known and the weights exist."""
        return self._network is not None

    @property
    def network(self) -> _core.Network:
        """The compiled network."""
        self._require_built()
        assert self._network is not None
        return self._network

    @property
    def network_weights(self) -> NetworkWeights:
        """The weights of the compiled network."""
        self._require_built()
        assert self._weights is not None
        return self._weights

    @property
    def program(self) -> Program:
        """What the network was compiled from."""
        self._require_built()
        assert self._program is not None
        return self._program

    @property
    def input_shape(self) -> tuple[None, int]:
        """Shape of the inputs, (None, n_features)."""
        return None, self.program.n_features

    @property
    def output_shape(self) -> tuple[None, int]:
        """Shape of the outputs, (None, n_outputs)."""
        return None, self.program.n_outputs

    def build(self, input_shape: Sequence[int | None] | int) -> None:
        """Make the weights for a number of features.

        Parameters
        ----------
        input_shape : (None, n_features) as in Keras, or n_features.
        """
        sizes = [input_shape] if isinstance(input_shape, int | np.integer) else list(input_shape)
        n_features = as_count(sizes[-1], "n_features")
        program = self._program_for(n_features)
        if self.built and program.n_features == self.program.n_features:
            return
        self._build(program)

    def _program_for(self, n_features: int) -> Program:
        """Program for data of ``n_features`` columns; the existing one where there is one."""
        known = self._n_features()
        if known is not None and known != n_features:
            raise ValueError(f"the model takes {known} features, got {n_features}")
        if self._program is not None:
            return self._program
        if not self.layers:
            raise ValueError("the model has no layers; add one first")
        return build_program(self.layers, n_features)

    def _n_features(self) -> int | None:
        return self._program.n_features if self._program is not None else declared_features(self._all_layers)

    def _build_if_possible(self) -> None:
        n_features = declared_features(self._all_layers)
        if n_features is not None and any(layer.op(1) is not None for layer in self.layers):
            self._build(build_program(self.layers, n_features))

    def _build(self, program: Program) -> None:
        """Make the compiled network; layers taken over from an earlier one keep weights of the right shape."""
        network = _core.Network(program.n_features, program.ops, self.dtype.name)
        weights = NetworkWeights(network, [place for places in program.places for place in places])
        values: list[tuple[int, str, Array]] = []
        number = 0
        for layer, places, specs in zip(self.layers, program.places, program.specs, strict=True):
            kept = layer.get_weights()
            reuse = [value.shape for value in kept] == [spec.shape for spec in specs]
            for i, ((op, parameter), spec) in enumerate(zip(places, specs, strict=True)):
                drawn = kept[i] if reuse else spec.initializer(spec.shape, self.dtype, Stream(self.seed, number))
                values.append((op, parameter, drawn))
                number += 1
        for op, parameter, value in values:
            weights.write(op, parameter, value)
        for layer, places, specs in zip(self.layers, program.places, program.specs, strict=True):
            by_name = {spec.name: place for spec, place in zip(specs, places, strict=True)}
            layer.lend(specs, LayerWeights(weights, by_name))
        if self.loss is not None:
            self._compile_network(network, program)
        self._program, self._network, self._weights = program, network, weights
        self._predict = network.predict

    def _compile_network(self, network: _core.Network, program: Program) -> None:
        options = loss_options(self.loss, program)
        rule = self.optimizer.options()
        rule["no_weight_decay"] = [
            place
            for layer, places, specs in zip(self.layers, program.places, program.specs, strict=True)
            for place, spec in zip(places, specs, strict=True)
            if spec.trainable and not self.optimizer.decays(f"{layer.name}/{spec.name}")
        ]
        network.compile(self.loss.core_name, options, self.optimizer.core_name, rule)

    def _keep_weights(self) -> None:
        """Copy the weights to the layers and give up the network."""
        if self.built:
            for layer, specs in zip(self.layers, self.program.specs, strict=True):
                layer.lend(specs, KeptWeights(specs, layer.get_weights()))
        self._unbuild()

    def _unbuild(self) -> None:
        self._program, self._network, self._weights = None, None, None
        self._predict = self._predict_unbuilt

    def _predict_unbuilt(self, X: Array, out: Array | None = None) -> Array:
        self._require_built()
        return self._predict(X, out)

    def _require_built(self) -> None:
        if self._network is None:
            raise ValueError(
                "the model is not built: its number of features is not known yet. Begin it with Input((n_features,)), "
                "call model.build((None, n_features)), or fit it"
            )

    def _changing(self, task: str, within: bool = False) -> AbstractContextManager[None]:
        """Keep other threads out while this one changes the model."""
        return self._occupancy.changing(task, self.name, within)

    def _reading(self, task: str) -> AbstractContextManager[None]:
        """Keep other threads from changing the model while this one reads it."""
        return self._occupancy.reading(task, self.name)

    @contextmanager
    def _training(self, task: str) -> Iterator[None]:
        """Keep the network from other threads, single predictions too, within ``_changing``."""
        network = self.network
        network.reserve(refusal("a call", self.name, task))
        try:
            # A prediction that has begun is one native call.
            while network.in_use:
                time.sleep(0.0)
            yield
        finally:
            network.release()

    # Weights

    def get_weights(self) -> list[Array]:
        """Return copies of all weights: kernel and bias of the first layer, of the second, ..."""
        self._require_built()
        with self._reading("get_weights"):
            return [value for layer in self.layers for value in layer.get_weights()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace all weights: arrays in the order and shapes of ``get_weights()``.

        Raises
        ------
        ValueError
            Wrong number of arrays or wrong shape; nothing is changed then.
        """
        specs = [spec for per_layer in self.program.specs for spec in per_layer]
        if len(weights) != len(specs):
            raise ValueError(f"the model has {len(specs)} weight arrays, got {len(weights)}")
        remaining = list(weights)
        checked = []
        for layer, per_layer in zip(self.layers, self.program.specs, strict=True):
            checked.append(layer.check_weights(remaining[: len(per_layer)]))
            del remaining[: len(per_layer)]
        with self._changing("set_weights", within=True):
            for layer, arrays in zip(self.layers, checked, strict=True):
                layer.set_weights(arrays)

    @property
    def trainable_weights(self) -> list[Array]:
        """Copies of the weights that training changes."""
        return [value for value, trained in zip(self.get_weights(), self._trained(), strict=True) if trained]

    @property
    def non_trainable_weights(self) -> list[Array]:
        """Copies of the weights that training leaves: of frozen layers, moving and learned statistics."""
        return [value for value, trained in zip(self.get_weights(), self._trained(), strict=True) if not trained]

    def _trained(self) -> list[bool]:
        """Whether training changes each weight."""
        return [
            spec.trainable and layer.trainable
            for layer, specs in zip(self.layers, self.program.specs, strict=True)
            for spec in specs
        ]

    def count_params(self) -> int:
        """Return the number of weights."""
        self._require_built()
        return sum(layer.count_params() for layer in self.layers)

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Print a table of the layers, their output shapes and numbers of weights.

        Parameters
        ----------
        print_fn : what to call with the table instead of ``print``.
        line_length, positions, expand_nested, show_trainable, layer_range : accepted as in Keras; the table is as wide
            as it needs to be, shows all layers and counts frozen weights below.
        """
        rows = []
        for place, layer in enumerate(self.layers):
            shape, n_weights = "?", "?"
            if self._program is not None:
                shape, n_weights = f"(None, {self._program.widths[place]})", f"{layer.count_params():,}"
            rows.append((f"{layer.name} ({type(layer).__name__})", shape, n_weights))
        totals = [("Total params", "not built"), ("Trainable params", "not built")]
        if self.built:
            trained = sum(array.size for array in self.trainable_weights)
            total = self.count_params()
            counts = {"Total": total, "Trainable": trained, "Non-trainable": total - trained}
            totals = [(f"{kind} params", f"{count:,}") for kind, count in counts.items()]
        table = format_summary(self.name, rows, totals)
        (print if print_fn is None else print_fn)(table)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"

    def _repr_svg_(self) -> str | None:
        """Return the diagram; None before the model is built."""
        from fastnn.diagram import network_svg

        return network_svg(self) if self.built and self.layers else None

    def _repr_html_(self) -> str:
        """Return the diagram and a table of shapes and numbers of weights, for notebooks."""
        from fastnn.diagram import table_html

        return (self._repr_svg_() or "") + table_html(self)


def require_stack(model: Any) -> None:
    """Raise TypeError for an argument ``model`` that is no stack of layers, such as an estimator."""
    if isinstance(model, LayerStack):
        return
    hint = ""
    if hasattr(model, "get_params"):
        hint = "; an estimator has its layers and loss in a form of its own: make a Sequential of them"
    raise TypeError(f"model must be a fastnn.Sequential, got {type(model).__name__}{hint}")
