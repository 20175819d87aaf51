"""Layers of fastnn from the descriptions of Keras, of versions 2 and 3."""

from collections.abc import Callable, Mapping
from typing import Any

import fastnn.layers as layers
from fastnn.errors import ModelFormatError

_REGULARIZED = {
    name: tuple(f"{name}_{kind}" for kind in ("regularizer", "constraint"))
    for name in ("kernel", "bias", "alpha", "beta", "gamma", "embeddings")
}
_AFFINE = ("axis", "epsilon", "center", "scale", *_REGULARIZED["beta"], *_REGULARIZED["gamma"])
_LOOKUP = ("max_tokens", "num_oov_indices", "mask_token", "oov_token", "vocabulary", "invert", "output_mode", "salt")
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
    "Dropout": ("rate", "noise_shape", "seed"),
    "AlphaDropout": ("rate", "noise_shape", "seed"),
    "GaussianNoise": ("stddev", "seed"),
    "Flatten": ("data_format",),
    "Identity": (),
}
_GRAPH_OPTIONS: dict[str, tuple[str, ...]] = {
    "Embedding": ("input_dim", "output_dim", "mask_zero", *_REGULARIZED["embeddings"]),
    "Reshape": ("target_shape",),
    "Concatenate": ("axis",),
    "Dot": ("axes", "normalize"),
    **dict.fromkeys(("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"), ()),
    "CategoryEncoding": ("num_tokens", "output_mode"),
    "Discretization": ("bin_boundaries", "num_bins", "epsilon", "output_mode"),
    "Hashing": ("num_bins", "mask_value", "salt", "output_mode"),
    "StringLookup": (*_LOOKUP, "encoding"),
    "IntegerLookup": (*_LOOKUP, "vocabulary_dtype", "oov_method"),
}
_OPTIONS.update(_GRAPH_OPTIONS)
"""The options that fastnn has too, by class."""
LOOKUPS = ("StringLookup", "IntegerLookup")
_OF_TRAINING = ("name", "trainable", "dtype", "seed", "synchronized", "batch_input_shape", "build_config", "autocast")
"""Options that do not change what a trained layer computes, and ``_initializer``s."""
_WITHOUT_EFFECT = {
    "Embedding": ("input_length",),
    "StringLookup": ("vocabulary_dtype", "vocabulary_size", "oov_method"),
    "IntegerLookup": ("vocabulary_size",),
}
"""Options that say what the file or other options say, too."""
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


def is_simple(described: Mapping[str, Any]) -> bool:
    """Whether a layer may be part of a chain: it takes one tensor, and rows of numbers."""
    kind, config = described["class_name"], described["config"]
    if kind == "InputLayer":
        shape = config.get("batch_shape", config.get("batch_input_shape"))
        return str(config.get("dtype", "float32")).startswith("float") and isinstance(shape, list) and len(shape) > 1
    return kind in _OPTIONS and (kind not in _GRAPH_OPTIONS or kind == "Add") and not is_operation(described)


def is_operation(described: Mapping[str, Any]) -> bool:
    """Whether a description is that of a function on tensors, such as ``+``, and not that of a layer."""
    module = described.get("module")
    if module is not None:
        return isinstance(module, str) and module.startswith(("keras.src.ops", "keras.ops"))
    # Old files of Keras 3 do not say the module; there layers say their type, and most whether they are trained.
    nodes = described.get("inbound_nodes")
    newer = isinstance(nodes, list) and bool(nodes) and isinstance(nodes[0], dict) and "args" in nodes[0]
    return newer and not {"trainable", "dtype", "layers"} & set(described["config"])


def layer_of(described: Mapping[str, Any], version: str, vocabulary: list[str] | None) -> layers.Layer:
    """Return the layer of a description.

    Parameters
    ----------
    described : class_name and config.
    version : of Keras; those before 3 had other meanings of some names.
    vocabulary : of a layer that learned one, which the description lacks then.

    Raises
    ------
    ModelFormatError
        fastnn lacks the layer or an option.
    """
    kind, config = described["class_name"], described["config"]
    name = config["name"]
    if kind == "InputLayer":
        return _input(config)
    if kind not in _OPTIONS:
        raise ModelFormatError(f"the layer {name[:80]!r} is of the class {kind[:80]}, which fastnn lacks")
    old = version.partition(".")[0] in ("1", "2")
    options = {key: config[key] for key in _OPTIONS[kind] if key in config}
    if kind == "LeakyReLU" and "alpha" in config:
        options["negative_slope"] = config["alpha"]
    _check_others(kind, config, options)
    if not isinstance(options.get("seed"), int) or options["seed"] < 0:
        options.pop("seed", None)  # that of a generator of Keras, or none
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
    if kind in LOOKUPS and vocabulary is not None:
        options["vocabulary"] = vocabulary if kind == "StringLookup" else [int(each) for each in vocabulary]
    if options.get("vocabulary", ()) is None or (kind == "Discretization" and options.get("bin_boundaries") is None):
        raise ModelFormatError(f"the layer {name[:80]!r} ({kind}) was not adapted, or the file does not say to what")
    make: Callable[..., layers.Layer] = getattr(layers, kind)
    layer = make(**options, name=name)
    if config.get("trainable") is False:
        layer.trainable = False
    return layer


def _input(config: Mapping[str, Any]) -> layers.InputLayer:
    shape = config.get("batch_shape", config.get("batch_input_shape"))
    if not isinstance(shape, list) or not shape:
        raise ModelFormatError("the InputLayer has no shape")
    if config.get("sparse") or config.get("ragged") or config.get("optional"):
        raise ModelFormatError(f"the InputLayer {config['name'][:80]!r} is sparse, ragged or optional")
    dtype = config.get("dtype")
    numbers = not isinstance(dtype, str) or dtype.startswith(("float", "bfloat"))
    return layers.InputLayer(shape[1:], dtype=None if numbers else dtype, name=config["name"])


def _check_others(kind: str, config: Mapping[str, Any], taken: Mapping[str, Any]) -> None:
    """Raise for options that would change what the layer computes and that fastnn does not read."""
    for key, value in config.items():
        known = key in taken or key in _OF_TRAINING or key.endswith("_initializer") or key.startswith("renorm")
        known = known or (kind == "LeakyReLU" and key == "alpha") or key in _WITHOUT_EFFECT.get(kind, ())
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
