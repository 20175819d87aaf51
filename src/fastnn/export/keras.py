"""Models as Keras's: the same layers under the same names, with the weights."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastnn._arguments import installed
from fastnn._structures import filled
from fastnn.activations import ActivationFunction
from fastnn.export.torch import layer_names
from fastnn.layers import (
    Activation,
    Add,
    AlphaDropout,
    Average,
    BatchNormalization,
    CategoryEncoding,
    Concatenate,
    Dense,
    Dot,
    Dropout,
    Embedding,
    Flatten,
    GaussianNoise,
    Identity,
    Layer,
    LayerNormalization,
    Maximum,
    Minimum,
    Multiply,
    Normalization,
    PReLU,
    Rescaling,
    Reshape,
    Residual,
    Subtract,
)
from fastnn.layers.arithmetic import Arithmetic, GetItem
from fastnn.layers.merging import Merge
from fastnn.network.stack import LayerStack

_OPTIONS: dict[type[Layer], tuple[str, ...]] = {
    BatchNormalization: ("momentum", "epsilon", "center", "scale"),
    LayerNormalization: ("epsilon", "center", "scale", "rms_scaling"),
    PReLU: (),
    AlphaDropout: ("rate", "seed"),
    Dropout: ("rate", "seed"),
    GaussianNoise: ("stddev", "seed"),
    Flatten: (),
    Identity: (),
    Reshape: ("target_shape",),
    CategoryEncoding: ("num_tokens", "output_mode"),
    Concatenate: ("axis",),
    Dot: ("axes", "normalize"),
    **{kind: () for kind in (Add, Subtract, Multiply, Average, Maximum, Minimum)},
}
"""The options that Keras's layer of the same name takes; those of training alone are in ``_described``."""
_TRAINED = ("kernel", "bias", "alpha", "beta", "gamma", "embeddings")
_LAYERS = {"leaky_relu": "LeakyReLU", "elu": "ELU", "general_relu": "ReLU"}
"""Keras's layers for the activations with options."""


def to_keras(model: LayerStack) -> Any:
    """Return the Keras model that ``Model.to_keras`` describes."""
    keras = installed("keras", "to_keras")
    with model.reading("to_keras"):
        plain = model.kind == "Sequential" and not any(layer.inner_layers() for layer in model.layers)
        if plain and not model.program.graph.encoding:
            shape = model.all_layers[0].declared_input or (model.program.n_features,)
            declared = model.program.graph.dtypes[0] or model.dtype.name
            network = keras.Sequential([keras.Input(shape, dtype=declared)], name=_name(model.name))
            for layer in model.layers:
                for made in _layers(keras, layer, model.dtype.name):
                    network.add(made)
            _fill({layer: network.get_layer(_name(layer.name)) for layer in model.layers if layer.get_weights()})
            return network
        return _graph(keras, model)


def _graph(keras: Any, model: LayerStack) -> Any:
    """Return a functional model; the layers in models and layers of the user's are called as its own."""
    graph, names = model.program.graph, layer_names(model)
    chain = model.kind == "Sequential"
    titles = [None] if chain else model.input_names  # type: ignore[attr-defined]
    values = {
        value: keras.Input(graph.rows[value], dtype=graph.dtypes[value] or model.dtype.name, name=title)
        for value, title in enumerate(titles)
    }
    inputs = list(values.values())
    made: dict[Layer, list[Any]] = {}
    for step in [*graph.encoding, *graph.steps]:
        given = [values[value] for value in step.inputs]
        if isinstance(step.layer, Arithmetic):
            values[step.output] = _computed(step.layer, given)
        elif isinstance(step.layer, GetItem):
            values[step.output] = given[0][tuple(step.layer.key)]
        elif isinstance(step.layer, Merge) and len(given) == 1:
            values[step.output] = given[0]
        else:
            if step.layer not in made:
                made[step.layer] = _layers(keras, step.layer, model.dtype.name, names[id(step.layer)])
            result: Any = given if isinstance(step.layer, Merge | Residual) else given[0]
            for each in made[step.layer]:
                result = each(result)
            values[step.output] = result
    outputs = [values[value] for value in graph.outputs]
    forms = (
        (inputs[0], outputs[0]) if chain else (filled(model.input, iter(inputs)), filled(model.output, iter(outputs)))
    )
    network = keras.Model(*forms, name=_name(model.name))
    _fill({layer: found[0] for layer, found in made.items() if found and not isinstance(layer, Residual)})
    return network


def _computed(layer: Arithmetic, given: Sequence[Any]) -> Any:
    """Return what an operator between tensors, or a tensor and a number, gives."""
    function = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv}
    first, *others = given
    if layer.constant is None:
        return function[layer.operator](first, others[0])
    pair = (layer.constant, first) if layer.reflected else (first, layer.constant)
    return function[layer.operator](*pair)


def _layers(keras: Any, layer: Layer, dtype: str, name: str | None = None) -> list[Any]:
    """Return Keras's layers for one of fastnn's, the first one under ``name`` or that of the layer."""
    common = {"name": _name(layer.name if name is None else name), "dtype": dtype}
    if isinstance(layer, Dense):
        simple = layer.activation.name not in _LAYERS
        dense = keras.layers.Dense(
            layer.units,
            activation=_function(keras, layer.activation) if simple else None,
            use_bias=layer.use_bias,
            **_described(keras, layer),
            **common,
        )
        dense.trainable = layer.trainable
        return [dense] if simple else [dense, _activation(keras, layer.activation, {"dtype": dtype})]
    if isinstance(layer, Activation):
        return [_activation(keras, layer.activation, common)]
    if isinstance(layer, Rescaling):
        scale, offset = (value.tolist() if value.size > 1 else value.item() for value in (layer.factor, layer.offset))
        return [keras.layers.Rescaling(scale, offset, **common)]
    if isinstance(layer, Normalization):
        return [_normalization(keras, layer, common)]
    if isinstance(layer, Residual):
        return [keras.layers.Add(**common)]
    if isinstance(layer, Embedding):
        made = keras.layers.Embedding(layer.input_dim, layer.output_dim, **_described(keras, layer), **common)
        made.trainable = layer.trainable
        return [made]
    for kind, names in _OPTIONS.items():
        if isinstance(layer, kind):
            options = {name: getattr(layer, name) for name in names}
            made = getattr(keras.layers, kind.__name__)(**options, **_described(keras, layer), **common)
            made.trainable = layer.trainable
            return [made]
    raise ValueError(f"Keras has no layer for {layer.name!r}, a {type(layer).__name__}")


def _normalization(keras: Any, layer: Normalization, common: dict[str, Any]) -> Any:
    if layer.missing is not None:
        raise ValueError(f"Keras has no layer for {layer.name!r}, a Normalization with missing={layer.missing!r}")
    if layer.known is None:
        return keras.layers.Normalization(invert=layer.invert, **common)
    mean, variance = (value.tolist() if value.size > 1 else value.item() for value in layer.known)
    return keras.layers.Normalization(mean=mean, variance=variance, invert=layer.invert, **common)


def _described(keras: Any, layer: Layer) -> dict[str, Any]:
    """Return the regularizers and constraints of a layer as Keras's."""
    found = {}
    for parameter in _TRAINED:
        for kind, module in (("regularizer", keras.regularizers), ("constraint", keras.constraints)):
            part = getattr(layer, f"{parameter}_{kind}", None)
            if part is not None:
                made = getattr(module, type(part).__name__, None)
                if made is None:
                    raise ValueError(f"Keras has no {kind} {type(part).__name__}, which layer {layer.name!r} has")
                found[f"{parameter}_{kind}"] = made(**part.get_config())
    return found


def _activation(keras: Any, activation: ActivationFunction, options: dict[str, Any]) -> Any:
    """Return a layer that applies an activation."""
    if activation.name in _LAYERS:
        parameters: dict[str, Any] = dict(activation.parameters)
        if parameters.get("max_value") == np.inf:
            parameters["max_value"] = None
        return getattr(keras.layers, _LAYERS[activation.name])(**parameters, **options)
    return keras.layers.Activation(_function(keras, activation), **options)


def _function(keras: Any, activation: ActivationFunction) -> Any:
    """Return Keras's activation: its name, or the function "fastnn>gelu_tanh" that Keras can save."""
    if activation.name != "gelu_tanh":
        return activation.name
    known = keras.saving.get_registered_object("fastnn>gelu_tanh")
    if known is not None:
        return known

    def gelu_tanh(x: Any) -> Any:
        """Gaussian error linear unit, with tanh."""
        return keras.activations.gelu(x, approximate=True)

    return keras.saving.register_keras_serializable("fastnn", "gelu_tanh")(gelu_tanh)


def _fill(made: Mapping[Layer, Any]) -> None:
    """Give Keras's layers their weights."""
    for layer, twin in made.items():
        weights = layer.get_weights()
        if weights:
            twin.set_weights(weights)
            if isinstance(layer, Normalization):
                twin.finalize_state()


def _name(name: str) -> str:
    """Return a name that Keras accepts."""
    return name.replace("/", "_")
