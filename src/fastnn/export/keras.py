"""Models as Keras's: the same layers under the same names, with the weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._arguments import installed
from fastnn.activations import ActivationFunction
from fastnn.layers import (
    Activation,
    AlphaDropout,
    BatchNormalization,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    Identity,
    Layer,
    LayerNormalization,
    Normalization,
    PReLU,
    Rescaling,
    Residual,
)
from fastnn.network.stack import LayerStack

_OPTIONS: dict[type[Layer], tuple[str, ...]] = {
    BatchNormalization: ("momentum", "epsilon", "center", "scale"),
    LayerNormalization: ("epsilon", "center", "scale", "rms_scaling"),
    PReLU: (),
    AlphaDropout: ("rate",),
    Dropout: ("rate",),
    GaussianNoise: ("stddev",),
    Flatten: (),
    Identity: (),
}
"""The options that Keras's layer of the same name takes; those of training alone are in ``_described``."""
_TRAINED = ("kernel", "bias", "alpha", "beta", "gamma")
_LAYERS = {"leaky_relu": "LeakyReLU", "elu": "ELU", "general_relu": "ReLU"}
"""Keras's layers for the activations with options."""


def to_keras(model: LayerStack) -> Any:
    """Return the Keras model that ``Sequential.to_keras`` describes."""
    keras = installed("keras", "to_keras")
    with model.reading("to_keras"):
        shape = model.all_layers[0].declared_input or (model.program.n_features,)
        inputs = keras.Input(shape, dtype=model.dtype.name)
        blocks = any(isinstance(layer, Residual) for layer in model.layers)
        if not blocks:
            network = keras.Sequential([inputs], name=_name(model.name))
            for layer in model.layers:
                for made in _layers(keras, layer, model.dtype.name):
                    network.add(made)
        else:
            network = keras.Model(
                inputs, _outputs(keras, model.layers, inputs, model.dtype.name), name=_name(model.name)
            )
        _fill(network, model.layers)
    return network


def _outputs(keras: Any, layers: Sequence[Layer], tensor: Any, dtype: str) -> Any:
    """Return the symbolic output of layers for a symbolic input."""
    for layer in layers:
        if isinstance(layer, Residual):
            inner = _outputs(keras, layer.layers, tensor, dtype)
            tensor = keras.layers.Add(name=_name(layer.name), dtype=dtype)([tensor, inner])
        else:
            for made in _layers(keras, layer, dtype):
                tensor = made(tensor)
    return tensor


def _layers(keras: Any, layer: Layer, dtype: str) -> list[Any]:
    """Return Keras's layers for one of fastnn's."""
    common = {"name": _name(layer.name), "dtype": dtype}
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


def _fill(network: Any, layers: Sequence[Layer]) -> None:
    """Give the layers of a Keras model their weights."""
    for layer in layers:
        if isinstance(layer, Residual):
            _fill(network, layer.layers)
            continue
        weights = layer.get_weights()
        if weights:
            made = network.get_layer(_name(layer.name))
            made.set_weights(weights)
            if isinstance(layer, Normalization):
                made.finalize_state()


def _name(name: str) -> str:
    """Return a name that Keras accepts."""
    return name.replace("/", "_")
