"""The layers of a model and the compiled network that holds their weights."""

import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import DTypeLike, NDArray

import fastnn._core as _core
from fastnn._allocation import new_lock
from fastnn._arguments import flag, float_type, text, whole
from fastnn._arithmetic import default_arithmetic
from fastnn._derivation import Derivable, never_calls, read_only
from fastnn._forking import forget_in_child
from fastnn._missing import Advised
from fastnn._randomness import Stream, draw_seed
from fastnn._variables import Variable
from fastnn.initializers import initial_values
from fastnn.layers import Layer, automatic_name
from fastnn.layers.layer import fix_layers
from fastnn.layers.weights import leaves_of
from fastnn.losses import Loss
from fastnn.network.graph import Graph, Port
from fastnn.network.program import Leaf, Program, loss_options
from fastnn.network.weights import KeptWeights, LayerWeights, NetworkWeights, new_network

Array = NDArray[Any]

_LAYERS = (
    "the layers are the whole computation: list them in fastnn.Sequential([...]), or call them on symbolic tensors and "
    "make fastnn.Model(inputs=..., outputs=...)"
)
_TRAINING = (
    "training runs in the compiled core. Use a custom loss function, a callback's on_train_batch_begin and "
    "on_train_batch_end, or your own loop over model.train_on_batch"
)
_EVALUATION = "evaluation runs in the compiled core. Pass compile a custom metric, or use what model.predict returns"
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
@read_only(
    dtype="give it to the constructor, such as Sequential(layers, dtype='float64')",
    loss="call model.compile(loss=...)",
    loss_weights="call model.compile(loss_weights=...)",
    metrics="call model.compile(metrics=...)",
)
class LayerStack(Advised, Derivable):
    """The layers of a model, its compiled network once it is built, and the state of its training.

    Everything that works with a model takes a ``LayerStack``; ``Model`` and ``Sequential`` add the methods of users.
    Models may have layers in common. Each network has its own copy of their weights; the layers know which network
    has the last values, and the others copy them before they are used.

    Parameters
    ----------
    seed, dtype, name : as in ``Sequential``.
    kind : class name for an automatic name.

    Attributes
    ----------
    optimizer, loss, metrics : set by ``compile``; None, None and [] before. ``loss`` is a list for several outputs.
    compiled_with : the optimizer that ``compile`` set.
    loss_weights : factor of each output's loss.
    feature_names_in_ : names of the columns of the frame that the model was trained on; with several inputs a dict of
        them by the name of the input; None for other data.
    stop_training : ``fit`` ends after the epoch in which this becomes True.
    epochs_begun : number of epochs and single updates so far: it selects the random numbers of the next one.
    nodes : the calls of the model on symbolic tensors.
    """

    _place = "model"
    kind = "Sequential"
    """Name of the class in descriptions."""
    owner: Any = None
    takes_loss_by_output = False
    """Whether losses and metrics may be dicts by the names of the outputs."""

    def __init__(self, seed: int | None, dtype: DTypeLike, name: str | None, kind: str) -> None:
        self.dtype = float_type("dtype", dtype)
        self.optimizer: Any = None
        self.compiled_with: Any = None
        self.loss: Any = None
        self.loss_weights: list[float] = [1.0]
        self.metrics: Any = []
        self.seed = draw_seed() if seed is None else whole("seed", seed, at_least=0, at_most=(1 << 63) - 1)
        self.name = automatic_name(kind) if name is None else text("name", name)
        self.stop_training = False
        self._feature_names: list[str] | dict[str, list[str]] | None = None
        self.epochs_begun = 0
        self.nodes: list[Any] = []
        self._occupancy = _core.Occupancy()
        self._structure = new_lock()  # held while the network is built, compiled or dropped
        forget_in_child(self)
        self._program: Program | None = None
        self._network: _core.Network | None = None
        self._weights: NetworkWeights | None = None
        self._predict: Any = None  # the network's method once the model is built

    # Layers

    @property
    def layers(self) -> list[Any]:
        """The layers."""
        raise NotImplementedError

    @property
    def all_layers(self) -> list[Any]:
        """The layers, with those that stand for inputs, operators and slices."""
        raise NotImplementedError

    @property
    def input(self) -> Any:
        """The symbolic inputs, in the form in which the model takes data."""
        raise NotImplementedError

    @property
    def output(self) -> Any:
        """The symbolic outputs, in the form in which the model gives predictions."""
        raise NotImplementedError

    @property
    def output_keys(self) -> list[str]:
        """Names of the outputs in the history, and in dicts of losses, metrics and targets; each one is another."""
        return ["output"]

    def in_form(self, outputs: Any) -> Any:
        """Return the outputs of the network in the form in which the model gives them."""
        return outputs

    def inner_layers(self) -> list[Any]:
        """Return the layers, as a layer that is composed of others does."""
        return self.layers

    def inner_places(self) -> dict[str, Any]:
        """Return the layers by name."""
        return {layer.name: layer for layer in self.layers}

    def leaf_layers(self) -> list[Layer]:
        """Return the layers that are not composed of others, each one once, in the order of the weights."""
        return leaves_of(self.layers)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """Return a layer by name or by number.

        Raises
        ------
        ValueError
            There is no such layer, or name and index are both given.
        """
        if (name is None) == (index is None):
            raise ValueError(f"get_layer takes a name or an index, got name={name!r} and index={index!r}")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ValueError(f"index must be below {len(self.layers)}, the number of layers, got {index}")
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ValueError(f"no layer is called {name!r}; the layers: {', '.join(layer.name for layer in self.layers)}")

    def graph_for(self, n_features: int) -> Graph:
        """Return the calls of the layers for rows of ``n_features`` columns."""
        raise NotImplementedError

    def program_for(self, n_features: int) -> Program:
        """Return the model's program, or the one that it would get for rows of ``n_features`` columns."""
        raise NotImplementedError

    def port_names(self) -> list[str] | None:
        """Return a name for each input; None for a chain that takes one array of numbers."""
        raise NotImplementedError

    def ports(self, n_features: int) -> list[Port]:
        """Return what each input takes of rows of ``n_features`` columns, if ``port_names`` has names."""
        raise NotImplementedError

    @property
    def structures(self) -> tuple[Any, Any]:
        """The inputs and the outputs in the form that the constructor was given; None for those of a chain."""
        raise NotImplementedError

    # Building

    @property
    def built(self) -> bool:
        """Whether the number of features is known, so that the weights exist."""
        return self._network is not None

    @property
    def network(self) -> _core.Network:
        """The compiled network, with the last values of the weights that it shares."""
        self._require_built()
        assert self._network is not None
        self._follow()
        return self._network

    @property
    def network_weights(self) -> NetworkWeights:
        """The weights of the compiled network."""
        self._require_built()
        assert self._weights is not None
        self._follow()
        return self._weights

    @property
    def program(self) -> Program:
        """The program that the network was compiled from."""
        self._require_built()
        assert self._program is not None
        return self._program

    @property
    def n_features(self) -> int | None:
        """Number of input columns; None if neither the layers nor ``build`` have said it yet."""
        return None if self._program is None else self._program.n_features

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
        network = new_network(program, self.dtype)
        weights = NetworkWeights(network, program.parameters)
        if values is None:
            values = self._starting_weights(program)
        weights.write_all(weights.parameters, values)
        if any(loss is not None for loss in self.losses_of_outputs):
            self._compile_network(network, program, self.optimizer, self.losses_of_outputs, self.loss_weights)
        others = [leaf.layer.holder for leaf in program.leaves if leaf.specs]
        self._program, self._network, self._weights = program, network, weights
        weights.when_shared = weakref.WeakMethod(self._choose_predict)
        self._choose_predict()
        for other in others:
            if isinstance(other, LayerWeights):
                weights.share()
                other.weights.share()
        for leaf in program.leaves:
            leaf.layer.scope = "".join(f"{name}/" for name in leaf.path[:-1])
            self._hold(leaf)
        fix_layers(self.layers, self.name)

    @property
    def feature_names_in_(self) -> list[str] | dict[str, list[str]] | None:
        """Names of the columns of the frame that the model was trained on, or a dict of them by input; else None."""
        return self._feature_names

    @feature_names_in_.setter
    def feature_names_in_(self, names: list[str] | dict[str, list[str]] | None) -> None:
        self._feature_names = names
        if self._network is not None:
            self._choose_predict()

    def _choose_predict(self) -> None:
        """Set what ``model(x)`` calls first: a look at an attribute takes 5 % of the time of one row."""
        assert self._network is not None and self._weights is not None
        is_plain = not self._weights.shared and self._feature_names is None
        self._predict = self._network.predict if is_plain else self._predict_checked

    def _predict_checked(self, x: Any, out: Any = None) -> Any:
        """Predict with the last values of shared weights, from the columns that the model knows."""
        return self.network.predict(x, out)

    def _hold(self, leaf: Leaf) -> None:
        """Make this network the one that has the last values of a layer's weights."""
        assert self._weights is not None
        by_name = {spec.name: place for spec, place in zip(leaf.specs, leaf.places, strict=True)}
        leaf.layer.lend(leaf.specs, LayerWeights(self._weights, by_name))

    def _held_elsewhere(self) -> list[Leaf]:
        """Return the layers whose weights another model has changed last, or may have."""
        if self._weights is None or not self._weights.shared:
            return []
        leaves = [leaf for leaf in self.program.leaves if leaf.specs]
        return [leaf for leaf in leaves if getattr(leaf.layer.holder, "weights", None) is not self._weights]

    def _follow(self) -> None:
        """Copy the last values of the weights that other models hold."""
        for leaf in self._held_elsewhere():
            assert self._weights is not None and self._network is not None
            self._weights.write_all(leaf.places, [leaf.layer.read_weight(spec.name) for spec in leaf.specs])
            self._network.set_trainable(leaf.places[0][0], leaf.layer.trainable)

    def hold_weights(self) -> None:
        """Copy the last values of shared weights, and hold them from now on: the model is going to change them."""
        elsewhere = self._held_elsewhere()
        self._follow()
        for leaf in elsewhere:
            self._hold(leaf)

    def _starting_weights(self, program: Program) -> list[Array]:
        """Return the weights that the layers hold, where the shapes are right, and new weights for the other layers."""
        values: list[Array] = []
        for leaf in program.leaves:
            held = leaf.layer.get_weights()
            if [value.shape for value in held] == [spec.shape for spec in leaf.specs]:
                values += held
            else:
                for spec in leaf.specs:
                    stream = Stream(self.seed, len(values))
                    values.append(initial_values(spec.initializer, spec.shape, self.dtype, stream))
        return values

    @property
    def losses_of_outputs(self) -> list[Loss | None]:
        """The loss of each output; None where there is none."""
        return self.loss if isinstance(self.loss, list) else [self.loss]

    def _compile_network(
        self, network: _core.Network, program: Program, optimizer: Any, losses: Sequence[Any], weights: Sequence[float]
    ) -> None:
        rule = optimizer.options()
        rule["no_weight_decay"] = [
            place
            for leaf in program.leaves
            for place, spec in zip(leaf.places, leaf.specs, strict=True)
            if spec.trainable and not optimizer.decays(leaf.path_of(spec.name))
        ]
        terms = [
            None if loss is None else (loss.core_name, loss_options(loss, head), weight)
            for loss, head, weight in zip(losses, program.heads, weights, strict=True)
        ]
        if len(terms) == 1 and terms[0] is not None and terms[0][2] == 1.0:
            network.compile(terms[0][0], terms[0][1], optimizer.core_name, rule)
        else:
            network.compile(terms, None, optimizer.core_name, rule)
        for each, what in ((optimizer, "an optimizer"), *((loss, "a loss") for loss in losses)):
            if each is not None and not (each is optimizer and each.full_batch):
                each.fix(f"compile has read it. Give compile {what} with the new value")

    def _keep_weights(self) -> None:
        """Copy the weights to the layers and drop the network."""
        if self.built:
            for leaf in self.program.leaves:
                kept = {spec.name: leaf.layer.read_weight(spec.name) for spec in leaf.specs}
                leaf.layer.lend(leaf.specs, KeptWeights(kept, self.dtype))
            fix_layers(self.layers, None)
        self._unbuild()

    def _unbuild(self) -> None:
        self._program, self._network, self._weights, self._predict = None, None, None, None

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
        if self.optimizer is not self.compiled_with:
            raise RuntimeError(f"model.optimizer was assigned: call model.compile(...) before {method}")
        if all(loss is None for loss in self.losses_of_outputs):
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
            return [layer.read_weight(spec.name) for layer, spec in self._held_weights()]

    def _held_weights(self) -> list[tuple[Layer, Any]]:
        """Return the layers that have the weights, and the weights, in order."""
        return [(leaf.layer, spec) for leaf in self.program.leaves for spec in leaf.specs]

    @default_arithmetic()
    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace all weights: arrays in the order and shapes of ``get_weights()``.

        Raises
        ------
        TypeError, ValueError
            Not a list, wrong number of arrays or wrong shape; the model is not changed.
        """
        if isinstance(weights, Mapping) or not hasattr(weights, "__len__"):
            raise TypeError(f"weights must be a list of arrays, as of get_weights(), got {type(weights).__name__}")
        if len(weights) != len(held := self._held_weights()):
            raise ValueError(f"the model has {len(held)} weight arrays, got {len(weights)}")
        remaining = list(weights)
        checked: list[Array] = []
        for leaf in self.program.leaves:
            checked += leaf.layer.check_weights(remaining[: len(leaf.specs)])
            del remaining[: len(leaf.specs)]
        with self._changing("set_weights", within=True) as change:
            self._reserve(change)
            self.hold_weights()
            self.network_weights.write_all(self.program.parameters, checked)

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
        return [layer.weight(spec.name) for layer, spec in self._held_weights()]

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
        return [penalty for leaf in self.leaf_layers() for penalty in leaf.losses]

    def count_params(self) -> int:
        """Return the number of weights."""
        self._require_built()
        return sum(math.prod(spec.shape) for spec in self.program.parameter_specs)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def require_stack(model: Any) -> None:
    """Raise TypeError for an argument ``model`` that is not a stack of layers, such as an estimator."""
    if not isinstance(model, LayerStack):
        estimator = "; an estimator stores its layers and loss in its own form: make a Sequential of them"
        hint = estimator if hasattr(model, "get_params") else ""
        raise TypeError(f"model must be a fastnn.Sequential, got {type(model).__name__}{hint}")
