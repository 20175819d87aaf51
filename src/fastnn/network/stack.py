"""A stack of layers and the compiled network that holds their weights."""

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

from numpy.typing import DTypeLike, NDArray

import fastnn._core as _core
from fastnn._allocation import new_lock
from fastnn._arguments import flag, float_type, whole
from fastnn._arithmetic import default_arithmetic
from fastnn._derivation import Derivable, never_calls
from fastnn._forking import forget_in_child
from fastnn._missing import Advised
from fastnn._randomness import Stream, draw_seed
from fastnn._variables import Variable
from fastnn.initializers import initial_values
from fastnn.layers import InputLayer, Layer, automatic_name
from fastnn.network.program import Program, build_program, check_sequence, declared_features, loss_options
from fastnn.network.weights import KeptWeights, LayerWeights, NetworkWeights

Array = NDArray[Any]


_SEQUENTIAL_ONLY = (
    "fastnn has no functional API and no Model subclassing: list the layers in fastnn.Sequential([...]); for a "
    "skip connection use fastnn.layers.Residual"
)
_LAYERS = "the list of layers is the whole computation; for a skip connection use fastnn.layers.Residual"
_TRAINING = (
    "training runs in the compiled core. Use a custom loss function, a callback's on_train_batch_begin and "
    "on_train_batch_end, or your own loop over model.train_on_batch"
)
_EVALUATION = (
    "evaluation runs in the compiled core. Pass compile a metric of your own, or use what model.predict returns"
)
_PREDICTION = "prediction runs in the compiled core. Use what model.predict returns"
_METRICS = "pass compile the metrics: names, functions of (y_true, y_pred) or metric objects"


@never_calls(
    __call__=_LAYERS,
    build="the weights follow from the layers; pass a layer an initializer to set their first values",
    call=_LAYERS,
    compute_loss="pass compile a custom loss, a function of (y_true, y_pred) that returns (loss, gradient)",
    compute_metrics=_METRICS,
    get_metrics_result=_METRICS,
    make_predict_function=_PREDICTION,
    make_test_function=_EVALUATION,
    make_train_function=_TRAINING,
    metrics=_METRICS,
    predict_step=_PREDICTION,
    reset_metrics="metrics start at zero in every epoch",
    test_step=_EVALUATION,
    train_step=_TRAINING,
)
class Model(Advised, Derivable):
    """Base of all models, for ``isinstance`` checks: make a model with ``fastnn.Sequential``."""

    _place = "model"
    _instead_of_own = _SEQUENTIAL_ONLY
    metrics: Sequence[Any] = ()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        raise TypeError(_SEQUENTIAL_ONLY)


class LayerStack(Model):
    """A stack of layers, its compiled network once it is built, and the state of its training.

    Everything that works with a model takes a ``LayerStack``; ``Sequential`` adds the methods of users.

    Parameters
    ----------
    layers, seed, dtype, name : as in ``Sequential``.

    Attributes
    ----------
    optimizer, loss, metrics : set by ``compile``; None, None and [] before.
    feature_names_in_ : names of the columns of the frame that the model was trained on; None for other data.
    stop_training : ``fit`` ends after the epoch in which this becomes True.
    epochs_begun : number of epochs and single updates so far: it selects the random numbers of the next one.
    """

    def __init__(
        self,
        layers: Sequence[Layer] | None = None,
        seed: int | None = None,
        dtype: DTypeLike = "float32",
        name: str | None = None,
    ) -> None:
        self.dtype = float_type("dtype", dtype)
        given: Any = layers
        if given is not None and (isinstance(given, str) or not isinstance(given, Iterable)):
            hint = ": pass a list, Sequential([layer, layer])" if isinstance(given, Layer) else ""
            raise TypeError(f"layers must be a list of layers, got {given!r}{hint}")
        self.seed = draw_seed() if seed is None else whole("seed", seed, at_least=0, at_most=(1 << 63) - 1)
        self.name = name if name is not None else automatic_name("Sequential")
        self.optimizer: Any = None
        self.loss: Any = None
        self.metrics: list[Any] = []
        self.stop_training = False
        self.feature_names_in_: list[str] | None = None
        self.epochs_begun = 0
        self._all_layers: list[Layer] = []
        self._occupancy = _core.Occupancy()
        self._structure = new_lock()  # held while the network is built, compiled or dropped
        forget_in_child(self)
        self._program: Program | None = None
        self._network: _core.Network | None = None
        self._weights: NetworkWeights | None = None
        self._predict: Any = None  # the network's method once the model is built
        self.put(layers or ())
        self._build_if_possible()

    # Layers

    @property
    def layers(self) -> list[Layer]:
        """The layers, without an ``Input``."""
        return [layer for layer in self._all_layers if not isinstance(layer, InputLayer)]

    @property
    def all_layers(self) -> list[Layer]:
        """The layers, with the ``Input`` if there is one."""
        return list(self._all_layers)

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
            The layer cannot follow the layers below it, or already belongs to a model.
        """
        with self._structure:
            self.put([layer])
            self._build_if_possible()

    def put(self, layers: Iterable[Layer]) -> None:
        """Put layers on top without building the network."""
        for layer in layers:
            self._append(layer)

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
                f"layer {layer.name!r} already belongs to model {owner.name!r} and layers cannot be shared: make a "
                "new one with type(layer).from_config(layer.get_config())"
            )
        with self._structure, self._changing("add"):
            check_sequence([*self._all_layers, layer])
            self._keep_weights()
            self._all_layers.append(layer)
            layer.owner = weakref.ref(self)

    def pop(self, rebuild: bool = True) -> Layer:
        """Remove and return the top layer; all layers keep their weights. ``rebuild`` as in ``add``."""
        with self._structure:
            if not self.layers:
                raise ValueError("the model has no layers to remove")
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
        """Whether the number of features is known, so that the weights exist."""
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
        """The program that the network was compiled from."""
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
        n_features = input_shape[-1] if isinstance(input_shape, Sequence) and len(input_shape) else input_shape
        self.build_from(self.program_for(whole("n_features", n_features, at_least=1)))

    def program_for(self, n_features: int) -> Program:
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
        return build_program(self.layers, n_features)

    @property
    def n_features(self) -> int | None:
        """Number of input columns; None if neither the layers nor ``build`` have said it yet."""
        return self._program.n_features if self._program is not None else declared_features(self._all_layers)

    def _build_if_possible(self) -> None:
        n_features = declared_features(self._all_layers)
        if n_features is not None and any(layer.op(1) is not None for layer in self.layers):
            self.build_from(build_program(self.layers, n_features))

    def build_from(self, program: Program, values: Iterable[Array] | None = None) -> None:
        """Compile the network of a program, unless the model is built already, as by another thread a moment ago.

        Parameters
        ----------
        program : result of ``program_for`` or ``build_program``.
        values : all weights in order; if None, layers keep the weights that they hold, and the others get new ones.

        Raises
        ------
        ValueError
            The model has been built for another number of columns.
        """
        if program is self._program:
            return
        with self._structure:
            if self._program is None:
                self._build(program, values)
            elif self._program.n_features != program.n_features:
                raise ValueError(f"the model takes {self._program.n_features} features, got {program.n_features}")

    @default_arithmetic()
    def _build(self, program: Program, values: Iterable[Array] | None) -> None:
        """Compile the network of a program; change the model at the end, when nothing can be refused."""
        network = _core.Network(program.n_features, program.ops, self.dtype.name)
        weights = NetworkWeights(network, program.parameters)
        if values is None:
            values = self._starting_weights(program)
        weights.write_all(weights.parameters, values)
        if self.loss is not None:
            self._compile_network(network, program, self.optimizer, self.loss)
        for layer, places, specs in zip(self.layers, program.places, program.specs, strict=True):
            by_name = {spec.name: place for spec, place in zip(specs, places, strict=True)}
            layer.lend(specs, LayerWeights(weights, by_name))
        self._program, self._network, self._weights = program, network, weights
        self._predict = network.predict

    def _starting_weights(self, program: Program) -> list[Array]:
        """Return the weights that the layers hold, where the shapes are right, and new weights for the other layers."""
        values: list[Array] = []
        for layer, specs in zip(self.layers, program.specs, strict=True):
            held = layer.get_weights()
            if [value.shape for value in held] == [spec.shape for spec in specs]:
                values += held
            else:
                for spec in specs:
                    values.append(
                        initial_values(spec.initializer, spec.shape, self.dtype, Stream(self.seed, len(values)))
                    )
        return values

    def _compile_network(self, network: _core.Network, program: Program, optimizer: Any, loss: Any) -> None:
        options = loss_options(loss, program)
        rule = optimizer.options()
        rule["no_weight_decay"] = [
            place
            for layer, places, specs in zip(self.layers, program.places, program.specs, strict=True)
            for place, spec in zip(places, specs, strict=True)
            if spec.trainable and not optimizer.decays(layer.path_of(spec.name))
        ]
        network.compile(loss.core_name, options, optimizer.core_name, rule)

    def _keep_weights(self) -> None:
        """Copy the weights to the layers and drop the network."""
        if self.built:
            for layer, specs in zip(self.layers, self.program.specs, strict=True):
                layer.lend(specs, KeptWeights({spec.name: layer.read_weight(spec.name) for spec in specs}, self.dtype))
        self._unbuild()

    def _unbuild(self) -> None:
        self._program, self._network, self._weights = None, None, None
        self._predict = None

    def _require_built(self) -> None:
        if self._network is None:
            raise ValueError(
                "the model is not built: its number of features is not known yet. Start it with Input((n_features,)), "
                "call model.build((None, n_features)), or fit it"
            )

    def require_compiled(self, method: str) -> None:
        """Raise RuntimeError unless ``compile`` gave an optimizer and a loss; ``method`` is named in the message."""
        if self.optimizer is None:
            raise RuntimeError(f"call model.compile(optimizer=..., loss=...) before {method}")
        if self.loss is None:
            raise RuntimeError(f"{method} needs a loss: call model.compile(optimizer=..., loss=...)")

    def forget_other_threads(self) -> None:
        """In a forked child, in which only the thread that forked lives on."""
        self._structure = new_lock()

    def _changing(self, task: str, within: bool = False) -> _core.Occupation:
        """Keep other threads out while this one changes the model."""
        return self._occupancy.changing(task, self.name, within)

    def reading(self, task: str) -> _core.Occupation:
        """Keep other threads from changing the model while this one reads it."""
        return self._occupancy.reading(task, self.name)

    def _reserve(self, change: _core.Occupation) -> None:
        """Keep the network from other threads, single predictions too, until a change ends."""
        change.reserve(self.network)

    # Weights

    def get_weights(self) -> list[Array]:
        """Return copies of all weights: kernel and bias of the first layer, of the second, ..."""
        self._require_built()
        with self.reading("get_weights"):
            return [value for layer in self.layers for value in layer.get_weights()]

    @default_arithmetic()
    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace all weights: arrays in the order and shapes of ``get_weights()``.

        Raises
        ------
        ValueError
            Wrong number of arrays or wrong shape; the model is not changed.
        """
        n_arrays = len(self.program.parameters)
        if len(weights) != n_arrays:
            raise ValueError(f"the model has {n_arrays} weight arrays, got {len(weights)}")
        remaining = list(weights)
        checked = []
        for layer, per_layer in zip(self.layers, self.program.specs, strict=True):
            checked.append(layer.check_weights(remaining[: len(per_layer)]))
            del remaining[: len(per_layer)]
        with self._changing("set_weights", within=True) as change:
            self._reserve(change)
            self.network_weights.write_all(self.program.parameters, [array for arrays in checked for array in arrays])

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training changes."""
        return [weight for weight in self.weights if weight.trainable]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that training does not change: frozen layers, moving and learned statistics."""
        return [weight for weight in self.weights if not weight.trainable]

    @property
    def weights(self) -> list[Variable]:
        """All weights, in the order of ``get_weights()``: variables, which ``assign`` changes."""
        self._require_built()
        return [weight for layer in self.layers for weight in layer.weights]

    variables = weights
    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    @property
    def trainable(self) -> bool:
        """Whether training changes any layer; assigning freezes or releases all of them."""
        return any(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        trained = flag("trainable", value)
        with self._changing("trainable", within=True) as change:
            if self.built:
                self._reserve(change)
            for layer in self.layers:
                layer.trainable = trained

    @property
    def losses(self) -> list[float]:
        """The penalties on weights, in the order of the layers; their sum is part of the loss. See ``Layer.losses``."""
        return [penalty for layer in self.layers for penalty in layer.losses]

    def count_params(self) -> int:
        """Return the number of weights."""
        self._require_built()
        return sum(layer.count_params() for layer in self.layers)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def require_stack(model: Any) -> None:
    """Raise TypeError for an argument ``model`` that is not a stack of layers, such as an estimator."""
    if isinstance(model, LayerStack):
        return
    hint = ""
    if hasattr(model, "get_params"):
        hint = "; an estimator stores its layers and loss in its own form: make a Sequential of them"
    raise TypeError(f"model must be a fastnn.Sequential, got {type(model).__name__}{hint}")
