"""The base of all layers."""

import math
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

import fastnn._registry as registry
import fastnn.constraints as constraints
import fastnn.regularizers as regularizers
from fastnn._arguments import errors_of, float_type, number, optional, text, whole
from fastnn._derivation import never_calls
from fastnn._missing import Advised
from fastnn._names import automatic_name
from fastnn._structures import leaves
from fastnn._variables import Variable
from fastnn.layers.sharing import made_before, note_description, note_layer
from fastnn.layers.tensor import KerasTensor, Node, common_dtype, tensors_in
from fastnn.layers.tracing import constructor_arguments, layers_in, trace_call
from fastnn.layers.weights import ParameterSpec, Weighted


def row_shape(name: str, shape: Any) -> tuple[int, ...]:
    """Return the shape of one row as a tuple of sizes of at least 1."""
    sizes = shape if isinstance(shape, Sequence) and not isinstance(shape, str) else (shape,)
    if len(sizes) == 0:
        raise ValueError(f"{name} must have at least one size, got {shape!r}")
    checked = tuple(whole(f"each size of {name}", size, at_least=1) for size in sizes)
    whole(f"the product of the sizes of {name}", math.prod(checked), at_least=1)
    return checked


def _factors(name: str, value: Any) -> Any:
    """Return checked factors: None, a number, or a dict of them."""
    if isinstance(value, Mapping):
        return {str(key): number(f"{name}[{key!r}]", each, at_least=0.0) for key, each in value.items()}
    return optional(number, name, value, at_least=0.0)


def _factor_of(factors: Any, name: str) -> float:
    if isinstance(factors, dict):
        return float(factors.get(name, 1.0))
    return 1.0 if factors is None else float(factors)


_COMPUTED = (
    "the compiled core computes a layer from its options; use an activation, another layer, or compute the inputs "
    "before the model"
)
_WIDTH = "the shapes follow from the options of the layers"
_ADAPTED = "adapt computes from all its data at once; override adapt, or pass the values to the constructor"
_OF_OWN_LAYERS = ("call", "build", "compute_output_shape", "compute_output_spec")
"""What a layer that is composed of others may define."""


@never_calls(
    __call__="define call(self, x), which composes other layers, in a class that derives from Layer itself",
    add_loss="pass a regularizer, or a custom loss to compile",
    add_weight="the weights of a layer follow from its options",
    build="the weights follow from the options; pass an initializer to set their first values",
    call=_COMPUTED,
    compute_mask="rows of a dense network are not masked",
    compute_output_shape=_WIDTH,
    compute_output_spec=_WIDTH,
    finalize_state=_ADAPTED,
    reset_state=_ADAPTED,
    update_state=_ADAPTED,
)
class Layer(Advised, Weighted, registry.Description):
    """Base of all layers.

    A class derived from ``Layer`` composes other layers: it makes them in ``__init__`` and calls them on symbolic
    tensors in ``call(self, x)``, which runs once for each shape of its inputs. A class derived from one of fastnn's
    layers may change its options, not what it computes.

    Parameters
    ----------
    name : name in ``summary()``; by default the class's name and a number.
    input_shape : shape of one row, for the first layer.
    input_dim : number of features, for the first layer; the same as ``input_shape=(input_dim,)``.
    trainable : whether training changes the weights.
    learning_rate_factors, weight_decay_factors : factors of the optimizer's learning rate and weight decay: a number
        for all weights, or a dict from names of weights to numbers, such as ``{"bias": 0.1}``; others have factor 1.
    dtype : "float32" or "float64"; it must be the model's. None accepts the model's.

    Attributes
    ----------
    scope : start of the paths of the weights: names of the blocks that hold the layer.
    nodes : the calls of the layer on symbolic tensors.
    given : the constructor's arguments, of a class that composes layers.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn import layers
    >>> class Tower(layers.Layer):
    ...     def __init__(self, units, **options):
    ...         super().__init__(**options)
    ...         self.first, self.second = layers.Dense(units, "relu"), layers.Dense(units)
    ...     def call(self, x):
    ...         return self.second(self.first(x)) + x
    >>> x = fastnn.Input((4,))
    >>> fastnn.Model(x, Tower(4)(x)).count_params()
    40
    """

    _place = "layer"
    _needs = "op"
    stateless: ClassVar[bool] = False
    """Whether any number of such layers are the same: they have neither weights nor random numbers."""
    encodes: ClassVar[bool] = False
    """Whether it turns categories into numbers, with NumPy, before the network."""
    selects: ClassVar[bool] = False
    """Whether it takes or reshapes columns of any type without a change of their values."""
    is_layer: ClassVar[bool] = True
    """Whether it is listed in ``model.layers``; operators and slices are not."""
    _core_names: ClassVar[dict[str, str]] = {}
    """Names of weights in the compiled core, where they differ."""
    composes: ClassVar[bool] = False
    """Whether the class is a user's that composes other layers."""
    _instead_of_own = (
        f"{_COMPUTED}. A class of your own may compose layers in call(self, x), or it may derive from a layer such as "
        "Dense and change its options"
    )

    def __init_subclass__(cls, **options: Any) -> None:
        own = [each for each in cls.__mro__ if not each.__module__.partition(".")[0] == "fastnn"]
        derived = [each for each in cls.__mro__ if each not in own and issubclass(each, Layer)]
        if derived[0] is Layer and any("call" in vars(each) for each in own):
            cls._never_called = {name: why for name, why in cls._never_called.items() if name not in _OF_OWN_LAYERS}
            cls._needs, cls.composes = "call", True
        super().__init_subclass__(**options)

    given: dict[str, Any]

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Return a new layer; that of a user's class remembers the arguments of its constructor for ``get_config``."""
        layer = super().__new__(cls)
        if cls.composes:
            layer.given = constructor_arguments(cls, arguments, options)
        return layer

    def __init__(
        self,
        *,
        name: str | None = None,
        input_shape: Sequence[int] | None = None,
        input_dim: int | None = None,
        trainable: bool = True,
        learning_rate_factors: Any = None,
        weight_decay_factors: Any = None,
        dtype: Any = None,
    ) -> None:
        if input_shape is not None and input_dim is not None:
            raise ValueError("give input_shape or input_dim, not both")
        self.declared_input: tuple[int, ...] | None = None
        if input_dim is not None:
            self.declared_input = (whole("input_dim", input_dim, at_least=1),)
        elif input_shape is not None:
            self.declared_input = row_shape("input_shape", input_shape)
        self.name = automatic_name(type(self).__name__) if name is None else text("name", name)
        self.learning_rate_factors = _factors("learning_rate_factors", learning_rate_factors)
        self.weight_decay_factors = _factors("weight_decay_factors", weight_decay_factors)
        self._refuse_factors(self.composes)
        self.scope = ""
        self.nodes: list[Node] = []
        self.traces: dict[str, Any] = {}
        Weighted.__init__(self)
        self.dtype = None if dtype is None else float_type("dtype", dtype)
        if not trainable or not isinstance(trainable, bool | np.bool_):
            self.trainable = trainable
        self.owner: weakref.ref[Any] | None = None

    def _explain_refusal(self, name: str) -> None:
        is_property = isinstance(getattr(type(self), name, None), property)
        if is_property and isinstance(getattr(self, name), Variable):
            raise AttributeError(
                f"{name} of layer {self.name!r} lies in the network and cannot be replaced: use "
                f"layer.{name}.assign(array)"
            ) from None

    # For models

    def fix(self, reader: str) -> None:
        """Refuse changes of the options, and of the regularizers and the like among them, from now on."""
        for each in vars(self).values():
            if isinstance(each, registry.Description) and not isinstance(each, Layer):
                each.fix(reader)
        super().fix(reader)

    @property
    def learned_features(self) -> int | None:
        """Number of input columns that the layer has learned from data; None if any number goes."""
        return None

    def n_outputs(self, n_in: int) -> int:
        """Return the number of output columns for ``n_in`` input columns."""
        inner = self.inner_tensors([((n_in,), None)])
        return n_in if inner is None else math.prod(inner[1][0].row)

    def op(self, n_in: int) -> tuple[str, dict[str, Any]] | None:
        """Return the core's op ``(kind, options)``, or None if the layer does nothing."""
        if self.composes:
            return "layers", {}
        raise NotImplementedError(f"{type(self).__name__} must define op(n_in)")

    def computes(self) -> bool:
        """Return whether the layer has an op, whatever the number of inputs."""
        return self.op(1) is not None

    def parameter_specs(self, n_in: int) -> list[ParameterSpec]:
        """Return the layer's weights in Keras's order."""
        return []

    def core_name(self, name: str) -> str:
        """Return the name of a weight in the compiled core."""
        return self._core_names.get(name, name)

    def keeps_elements(self) -> bool:
        """Return whether the layer treats all elements alike, so that it may come before ``Flatten``."""
        return False

    def _regularize(self, parameter: str, regularizer: Any, constraint: Any) -> None:
        """Set the regularizer and the constraint of a weight, such as ``beta_regularizer`` and ``beta_constraint``."""
        with errors_of(f"{parameter}_regularizer"):
            setattr(self, f"{parameter}_regularizer", regularizers.get(regularizer))
        with errors_of(f"{parameter}_constraint"):
            found = constraints.get(constraint)
        if found is not None and parameter != "kernel":
            found.rule("bias")  # raises for an axis that a vector does not have
        setattr(self, f"{parameter}_constraint", found)

    def _training_options(self, *parameters: str) -> dict[str, Any]:
        """Return the options of a core op that say how some weights are trained."""
        options: dict[str, Any] = {"trainable": self._trainable, **self._factor_options(*parameters)}
        for parameter in parameters:
            regularizer = getattr(self, f"{parameter}_regularizer")
            constraint = getattr(self, f"{parameter}_constraint")
            if regularizer is not None:
                options[f"{parameter}_regularizer"] = regularizer.factors()
            if constraint is not None:
                options[f"{parameter}_constraint"] = constraint.rule("kernel" if parameter == "kernel" else "bias")
        return options

    def _refuse_factors(self, of_layers: bool) -> None:
        """Raise ValueError for factors of a layer that is made of others, which have the weights."""
        given = [name for name in ("learning_rate_factors", "weight_decay_factors") if getattr(self, name) is not None]
        if of_layers and given:
            raise ValueError(f"layer {self.name!r} is made of layers: give {given[0]} to those that have weights")

    def _factor_options(self, *parameters: str) -> dict[str, Any]:
        """Return the options of a core op that hold the factors of some weights' learning rate and weight decay."""
        rates, decays = self.learning_rate_factors, self.weight_decay_factors
        unknown = [
            name for each in (rates, decays) if isinstance(each, dict) for name in each if name not in parameters
        ]
        if unknown:
            raise ValueError(
                f"factors of layer {self.name!r} name the weight {unknown[0]!r}; its weights: {', '.join(parameters)}"
            )
        pairs = {name: (_factor_of(rates, name), _factor_of(decays, name)) for name in parameters}
        return {f"{self.core_name(name)}_factors": pair for name, pair in pairs.items() if pair != (1.0, 1.0)}

    def _regularization_config(self, *parameters: str) -> dict[str, Any]:
        """Return the descriptions of the regularizers and constraints of some weights."""
        return {
            f"{parameter}_{kind}": registry.describe(kind, getattr(self, f"{parameter}_{kind}"))
            for kind in ("regularizer", "constraint")
            for parameter in parameters
        }

    # For users

    def __call__(self, *arguments: Any, training: bool | None = None, **options: Any) -> Any:
        """Return the outputs of the layer for symbolic tensors, as a symbolic tensor.

        Parameters
        ----------
        arguments, options : the tensors; for layers that take several, a list of them.
        training : None. Dropout and batch normalization act in ``fit`` and ``train_on_batch`` alone.

        Raises
        ------
        TypeError
            An array, or something else that is not a symbolic tensor.
        ValueError
            Shapes or types that do not suit the layer.
        """
        if training is not None:
            raise ValueError(
                f"layer {self.name!r} was called with training={training!r}: whether a layer trains is decided by fit "
                "and predict, and layer.trainable; leave the argument out"
            )
        if not tensors_in((arguments, options)):
            return self.compute(*arguments, **options)
        node = self.trace(arguments, options)
        self.nodes.append(node)
        return node.result()

    def compute(self, *arguments: Any, **options: Any) -> Any:
        """Return the outputs of arrays; only layers that encode categories take them outside of a model."""
        raise TypeError(
            f"layer {self.name!r} cannot be called: list layers in fastnn.Sequential([...]), or call them on symbolic "
            "tensors, such as fastnn.Input((n_features,)), and make a fastnn.Model; model(x) and model.predict(x) take "
            f"arrays; got {type(arguments[0]).__name__ if arguments else 'nothing'}"
        )

    def trace(self, arguments: Any, options: Any) -> Node:
        """Return a call of the layer on symbolic tensors, after checks of their shapes and types."""
        if self.composes:
            return trace_call(self, arguments, options)
        given = leaves((arguments, options))
        if len(given) != 1:
            raise TypeError(
                f"layer {self.name!r} takes one tensor, got {len(given)} arguments: join tensors with "
                "layers.Concatenate() or layers.Add() before it"
            )
        return self._trace_one(given[0])

    def _trace_one(self, given: KerasTensor) -> Node:
        if self.declared_input is not None and self.declared_input != given.row:
            raise ValueError(
                f"layer {self.name!r} declares input shape {self.declared_input}, but it is called on {given.name!r} "
                f"of shape {given.shape}"
            )
        if given.dtype == "string" and not self.selects:
            raise ValueError(f"layer {self.name!r} takes numbers, but {given.name!r} holds strings: use StringLookup")
        dtype = common_dtype(f"layer {self.name!r}", [given], self.dtype)
        return Node(self, ([given], {}), [self.row_of(given.row)], [self.dtype_of([given.declared_dtype]) or dtype])

    def dtype_of(self, dtypes: Sequence[str | None]) -> str | None:
        """Return the type of the outputs for the declared types of the inputs; None for that of the model."""
        return dtypes[0] if self.selects else None

    def inner_tensors(self, given: Sequence[tuple[tuple[int, ...], str | None]]) -> Any:
        """Return the tensors that a layer made of layers gives for tensors that stand for its inputs; else None.

        Parameters
        ----------
        given : shape of a row and declared type of each input.
        """
        if not self.composes:
            return None
        tensors = [Node(None, ([], {}), [row], [dtype]).outputs[0] for row, dtype in given]
        return self.trace(tensors, {}).inner

    def row_of(self, *rows: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a row of outputs for that of a row of inputs, or for those of several inputs.

        Raises
        ------
        ValueError
            The layer cannot take such rows.
        """
        (row,) = rows
        if self.keeps_elements():
            return row
        if not row or math.prod(row[:-1]) > 1:
            raise ValueError(
                f"layer {self.name!r} takes rows that are vectors, but it is called on a tensor of shape "
                f"{(None, *row)}: use {'Reshape((1,))' if not row else 'Flatten'} before it"
            )
        return (*row[:-1], self.n_outputs(row[-1]))

    def op_of(self, *rows: tuple[int, ...]) -> tuple[str, dict[str, Any]] | None:
        """Return the core's op for inputs of these shapes, or None if the outputs are the first input, unchanged."""
        return self.op(math.prod(rows[0]))

    def inner_layers(self) -> list[Any]:
        """Return the layers and models that this layer is composed of: those among its attributes, in their order."""
        return list(self.inner_places().values())

    def inner_places(self) -> dict[str, Any]:
        """Return the layers and models that this layer is composed of, by a name that is the same in every process."""
        return layers_in({key: each for key, each in vars(self).items() if key != "given"}) if self.composes else {}

    @property
    def input(self) -> Any:
        """The symbolic tensor, or the structure of tensors, that the layer is called on."""
        return self._only_node("input").input()

    @property
    def output(self) -> Any:
        """The symbolic tensor, or the structure of tensors, that the layer gives."""
        return self._only_node("output").result()

    def _only_node(self, what: str) -> Node:
        if not self.nodes and self.owner is not None and (owner := self.owner()) is not None:
            owner.trace_layers()
        if len(self.nodes) != 1:
            calls = "has not been called on a tensor" if not self.nodes else f"is called {len(self.nodes)} times"
            raise AttributeError(f"layer {self.name!r} {calls}, so that {what} is not one tensor")
        return self.nodes[0]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments except ``trainable``, which may be set at any time."""
        config: dict[str, Any] = {"name": self.name}
        if self.dtype is not None:
            config["dtype"] = self.dtype.name
        if self.declared_input is not None:
            config["input_shape"] = self.declared_input
        for name in ("learning_rate_factors", "weight_decay_factors"):
            if getattr(self, name) is not None and not self.composes:
                config[name] = getattr(self, name)
        return {**config, **super().get_config(), **({**self.given, "name": self.name} if self.composes else {})}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def fix_layers(layers: Sequence[Any], model: str | None) -> None:
    """Refuse changes of the options that the network of a model was made with; None allows them again.

    Layers that compute with NumPy, before the network, read theirs when they are used.
    """
    reader = ""
    if model is not None:
        reader = (
            f"the network of model {model!r} was made with it. Make a model with the new value, and give it the "
            "weights: new.set_weights(model.get_weights())"
        )
    waiting = list(layers)
    while waiting:
        layer = waiting.pop()
        waiting += layer.inner_layers()
        if isinstance(layer, Layer) and not layer.encodes:
            layer.fix(reader)


def layer_config(layer: Any) -> dict[str, Any]:
    """Return the description of a layer, or of a model in a model; it has ``trainable`` only if it is frozen."""
    config = registry.serialize(layer)
    if not isinstance(layer, Layer):
        config["class_name"] = layer.kind
    elif not layer.trainable:
        config["trainable"] = False
    return note_description(layer, config)


def layer_from_config(config: Any, custom_objects: registry.CustomObjects | None = None) -> Any:
    """Return a new layer, or model, from the result of ``layer_config``."""
    known = made_before(config)
    if known is not None:
        return known
    kind = config.get("class_name") if isinstance(config, dict) else None
    if isinstance(kind, str) and registry.knows("model", kind) and kind not in (custom_objects or {}):
        return note_layer(config, registry.find("model", kind).without_network(config["config"], custom_objects))
    layer = registry.deserialize("layer", _with_custom_parts(config, custom_objects or {}), custom_objects)
    if not isinstance(layer, Layer):
        layer = getattr(getattr(layer, "node", None), "layer", None)
    if not isinstance(layer, Layer):
        raise ValueError(f"the description of a layer gives {layer!r}")
    if config.get("trainable", True) is False:
        layer.trainable = False
    return note_layer(config, layer)


def _with_custom_parts(config: Any, custom_objects: registry.CustomObjects) -> Any:
    """Return the description of a layer with its custom layers, initializers and the like in place of descriptions."""
    options = config.get("config") if isinstance(config, dict) else None
    if not isinstance(options, dict):
        return config
    made = dict(options)
    for name, value in options.items():
        if name == "layers" and isinstance(value, list):
            made[name] = [layer_from_config(each, custom_objects) for each in value]
        elif isinstance(value, dict) and ("function" in value or value.get("class_name") in custom_objects):
            made[name] = registry.deserialize(name.rpartition("_")[2], value, custom_objects)
    return {**config, "config": made}
