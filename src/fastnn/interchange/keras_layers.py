"""Layers of fastnn from the descriptions of Keras, of versions 2 and 3."""

from collections.abc import Callable, Mapping
from typing import Any

import fastnn.layers as layers
from fastnn.errors import ModelFormatError

_REGULARIZED = {
    name: tuple(f"{name}_{kind}" for kind in ("regularizer", "constraint"))
    for name in ("kernel", "bias", "alpha", "beta", "gamma")
}
_AFFINE = ("axis", "epsilon", "center", "scale", *_REGULARIZED["beta"], *_REGULARIZED["gamma"])
_OPTIONS: dict[str, tuple[str, ...]] = {
    "Dense": (
        "units",
        "activation",
        "use_bias",
        "activity_regularizer",
        *_REGULARIZED["kernel"],
        *_REGULARIZED["bias"],
    ),
    "Activation": ("activation",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "LeakyReLU": ("negative_slope",),
    "ELU": ("alpha",),
    "Softmax": ("axis",),
    "PReLU": ("shared_axes", *_REGULARIZED["alpha"]),
    "BatchNormalization": ("momentum", "renorm", *_AFFINE),
    "LayerNormalization": ("rms_scaling", *_AFFINE),
    "Normalization": ("axis", "mean", "variance", "invert"),
    "Rescaling": ("scale", "offset"),
    "Dropout": ("rate", "noise_shape"),
    "AlphaDropout": ("rate", "noise_shape"),
    "GaussianNoise": ("stddev",),
    "Flatten": ("data_format",),
    "Identity": (),
}
"""The options that fastnn has too, by class."""
_OF_TRAINING = ("name", "trainable", "dtype", "seed", "synchronized", "batch_input_shape", "build_config", "autocast")
"""Options that do not change what a trained layer computes, and ``_initializer``s."""
_FUNCTIONS = {"gelu_tanh": "gelu_tanh", "fastnn>gelu_tanh": "gelu_tanh"}


def layers_of(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the descriptions of the layers of a model, each with class_name and config, the latter with a name.

    Raises
    ------
    ModelFormatError
        The description has another form.
    """
    options = config.get("config")
    # Keras before 2.2.3 has the list alone.
    described = options.get("layers") if isinstance(options, dict) else options
    if not isinstance(described, list) or not described:
        raise ModelFormatError("its description has no list of layers")
    for each in described:
        if not isinstance(each, dict) or not isinstance(each.get("class_name"), str):
            raise ModelFormatError("the description of a layer has no class_name")
        if not isinstance(each.get("config"), dict):
            raise ModelFormatError(f"the description of a {each['class_name'][:80]} has no config")
        name = each["config"].setdefault("name", each.get("name"))
        if not isinstance(name, str):
            raise ModelFormatError(f"the description of a {each['class_name'][:80]} has no name")
    return described


def layer_of(described: Mapping[str, Any], version: str) -> layers.Layer | None:
    """Return the layer of a description; None for an addition, which the reader of the model makes.

    Parameters
    ----------
    described : class_name and config.
    version : of Keras; those before 3 had other meanings of some names.

    Raises
    ------
    ModelFormatError
        fastnn lacks the layer or an option.
    """
    kind, config = described["class_name"], described["config"]
    name = config["name"]
    if kind == "Add":
        return None
    if kind == "InputLayer":
        return _input(config)
    if kind not in _OPTIONS:
        raise ModelFormatError(f"the layer {name[:80]!r} is of the class {kind[:80]}, which fastnn lacks")
    old = version.partition(".")[0] in ("1", "2")
    options = {key: config[key] for key in _OPTIONS[kind] if key in config}
    if kind == "LeakyReLU" and "alpha" in config:
        options["negative_slope"] = config["alpha"]
    _check_others(kind, config, options)
    for key, value in options.items():
        if key == "axis" and value in (1, [1]):
            options[key] = -1
        elif key == "activation":
            options[key] = _activation(value, name, old)
        elif isinstance(value, dict):
            options[key] = {part: value.get(part) for part in ("class_name", "config")}
    shape = config.get("batch_input_shape")
    if isinstance(shape, list):
        options["input_shape"] = shape[1:]
    make: Callable[..., layers.Layer] = getattr(layers, kind)
    layer = make(**options, name=name)
    if config.get("trainable") is False:
        layer.trainable = False
    return layer


def _input(config: Mapping[str, Any]) -> layers.InputLayer:
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    if not isinstance(shape, list) or len(shape) < 2:
        raise ModelFormatError("the InputLayer has no shape")
    return layers.InputLayer(shape[1:], name=config["name"])


def _check_others(kind: str, config: Mapping[str, Any], taken: Mapping[str, Any]) -> None:
    """Raise for options that would change what the layer computes and that fastnn does not read."""
    for key, value in config.items():
        known = key in taken or key in _OF_TRAINING or key.endswith("_initializer") or key.startswith("renorm")
        known = known or (kind == "LeakyReLU" and key == "alpha")
        if not known and value not in (None, False, "float32"):
            raise ModelFormatError(
                f"the layer {config['name'][:80]!r} ({kind}) has {key[:80]}={str(value)[:80]}, unknown here"
            )


def _activation(value: Any, name: str, old: bool) -> Any:
    """Return the activation of a description: a name, or a function that is registered in Keras."""
    if isinstance(value, dict):
        named = value.get("config")
        value = named if isinstance(named, str) else value.get("registered_name") or value.get("class_name")
    if value is None:
        return None
    if not isinstance(value, str):
        raise ModelFormatError(f"the layer {name[:80]!r} has an activation that is not a name")
    if old and value == "hard_sigmoid":
        raise ModelFormatError(
            f"the layer {name[:80]!r} has the hard_sigmoid of Keras 2, 0.2 x + 0.5, which fastnn lacks"
        )
    return _FUNCTIONS.get(value, value)
