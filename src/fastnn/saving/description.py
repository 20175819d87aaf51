"""Models as JSON: architecture, training options, and the way back through the registry.

The parts of a model are described as ``fastnn._registry.serialize`` does it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

import fastnn._registry as registry
from fastnn._registry import CustomObjects, deserialize, serialize
from fastnn.layers import Layer
from fastnn.layers.layer import layer_config
from fastnn.layers.sharing import describing
from fastnn.losses import Loss
from fastnn.losses.custom import CustomLoss
from fastnn.network.stack import LayerStack
from fastnn.saving.graphs import graph_config


def model_config(model: Any) -> dict[str, Any]:
    """Return the architecture: name, dtype, seed and layers; of a graph the calls too, of a chain its input shape."""
    options = {"name": model.name, "dtype": model.dtype.name, "seed": model.seed}
    with describing():
        if model.kind != "Sequential":
            return {**options, **graph_config(model)}
        return {
            **options,
            "layers": [layer_config(layer) for layer in model.all_layers],
            "build_input_shape": [None, model.n_features] if model.built else None,
        }


def difference(model: Mapping[str, Any], saved: Mapping[str, Any]) -> str | None:
    """Return the first difference between two results of ``model_config`` in words; None if there is none.

    Names and seeds are not compared: they differ from one process to the next.
    """
    new, old = _anonymous(model), _anonymous(saved)
    stacks = [[layer for layer in each["layers"] if layer["class_name"] != "InputLayer"] for each in (new, old)]
    if len(stacks[0]) != len(stacks[1]):
        return f"its number of layers is {len(stacks[0])}, that of the saved one {len(stacks[1])}"
    for number, (layer, other) in enumerate(zip(*stacks, strict=True)):
        kind = layer["class_name"]
        if kind != other["class_name"]:
            return f"its layers[{number}] is a {kind}, that of the saved one a {other['class_name']}"
        options = {**layer["config"], "trainable": layer.get("trainable", True)}
        others = {**other["config"], "trainable": other.get("trainable", True)}
        for name, value in options.items():
            if value != others.get(name):
                return f"its layers[{number}] ({kind}) has {name}={value!r}, the saved one {others.get(name)!r}"
        if layer.get("calls") != other.get("calls"):
            return f"its layers[{number}] ({kind}) takes other tensors than that of the saved one"
    for option in ("dtype", "build_input_shape", "input_layers", "output_layers"):
        if new.get(option) != old.get(option):
            return f"it has {option} {new.get(option)!r}, the saved one {old.get(option)!r}"
    return None


def _anonymous(described: Any) -> Any:
    """Return a description as JSON gives it back, without names and seeds."""
    if callable(described):
        described = serialize(described)
    if isinstance(described, Mapping):
        return {key: _anonymous(value) for key, value in described.items() if key not in ("name", "seed")}
    return [_anonymous(each) for each in described] if isinstance(described, list | tuple) else described


def compile_config(model: Any) -> dict[str, Any] | None:
    """Return the arguments of ``compile``; None for a model that is not compiled."""
    if model.optimizer is None:
        return None
    custom_objects_of(model)  # raises if one name would stand for two functions
    several = len(model.losses_of_outputs) > 1
    found = [None if loss is None else _compiled_loss(loss) for loss in model.losses_of_outputs]
    weights = None if all(weight == 1.0 for weight in model.loss_weights) else list(model.loss_weights)

    def metrics(weighted: bool) -> list[Any]:
        chosen = [metric for metric in model.metrics if metric.weighted == weighted]
        if not several:
            return [metric.source for metric in chosen]
        each = [[metric.source for metric in chosen if metric.output == place] for place in range(len(found))]
        return each if chosen else []

    loss: Any = found if several else found[0]
    if several and isinstance(model.output, Mapping):
        by_key = dict(zip(model.output_keys, found, strict=True))
        keys = [name.removesuffix("_loss") for name in model.loss_order]
        loss = {key: by_key[key] for key in keys if key in by_key}
    return describe_arguments(
        {
            "optimizer": model.optimizer,
            "loss": loss,
            **({} if weights is None else {"loss_weights": weights}),
            "metrics": metrics(False),
            "weighted_metrics": metrics(True),
        }
    )


def describe_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of ``compile``, names or objects, as data."""

    def described(each: Any) -> Any:
        if isinstance(each, list | tuple):
            return [described(part) for part in each]
        if isinstance(each, Mapping):
            return {key: described(part) for key, part in each.items()}
        return each if each is None or isinstance(each, str) else serialize(each)

    optimizer = described(arguments["optimizer"])
    if isinstance(optimizer, dict) and callable(optimizer["config"].get("learning_rate")):
        optimizer["config"]["learning_rate"] = serialize(arguments["optimizer"].schedule)
    weights = arguments.get("loss_weights")
    return {
        "optimizer": optimizer,
        "loss": described(arguments["loss"]),
        **({} if weights is None else {"loss_weights": weights}),
        **{name: described(arguments[name]) for name in ("metrics", "weighted_metrics")},
    }


def _compiled_loss(loss: Loss) -> Any:
    """Return what ``compile`` was given: the function of a loss written in Python, or the loss."""
    return loss.function if isinstance(loss, CustomLoss) else loss


def compile_arguments(config: Mapping[str, Any], custom_objects: CustomObjects | None = None) -> dict[str, Any]:
    """Return the arguments of ``compile`` for the result of ``compile_config``."""
    if config.get("metrics") or config.get("weighted_metrics"):
        import fastnn.metrics  # noqa: F401  registers the names of metrics

    loss, optimizer = config.get("loss"), config.get("optimizer")
    options = optimizer.get("config") if isinstance(optimizer, dict) else None
    if isinstance(optimizer, dict) and isinstance(options, dict) and isinstance(options.get("learning_rate"), dict):
        rate = deserialize("schedule", options["learning_rate"], custom_objects)
        optimizer = {**optimizer, "config": {**options, "learning_rate": rate}}
    weights = config.get("loss_weights")
    return {
        "optimizer": deserialize("optimizer", optimizer, custom_objects),
        "loss": _made("loss", loss, custom_objects),
        **({} if weights is None else {"loss_weights": weights}),
        **{
            argument: _made("metric", list(config.get(argument) or ()), custom_objects)
            for argument in ("metrics", "weighted_metrics")
        },
    }


def _made(kind: str, described: Any, custom_objects: CustomObjects | None) -> Any:
    """Return what a description, or a list of descriptions, stands for; None stays None."""
    if isinstance(described, list):
        return [_made(kind, each, custom_objects) for each in described]
    if isinstance(described, dict) and not {"class_name", "function"} & described.keys():
        return {key: _made(kind, each, custom_objects) for key, each in described.items()}
    return None if described is None else deserialize(kind, described, custom_objects)


def custom_objects_of(model: LayerStack) -> dict[str, Any]:
    """Return the functions and classes that loading a copy of the model in this process needs.

    Raises
    ------
    ValueError
        Two of them have one name.
    """
    used: list[Any] = [_compiled_loss(loss) for loss in model.losses_of_outputs if loss is not None]
    used += [metric.source for metric in model.metrics if not isinstance(metric.source, str)]
    if model.optimizer is not None and model.optimizer.schedule is not None:
        used.append(model.optimizer.schedule)
    used += [*(each for layer in model.all_layers for each in _custom_parts(layer)), model.optimizer]
    found: dict[str, Any] = {}
    for name, thing in map(_named, used):
        if thing is not None and found.setdefault(name, thing) is not thing:
            raise ValueError(
                f"two functions or classes of your own have the name {name!r}, by which they are saved: give them "
                "different names"
            )
    return found


def _named(described: Any) -> tuple[str, Any]:
    """Return the name and the class or function of a description; None instead of a class that is registered."""
    if not hasattr(described, "get_config"):
        return getattr(described, "__name__", ""), described
    name = type(described).__name__
    kinds = ("loss", "metric", "model", "schedule", "layer", "initializer", "regularizer", "constraint", "optimizer")
    known = any(registry.knows(kind, name) for kind in kinds)
    return name, None if known else type(described)


def _custom_parts(layer: Layer) -> list[Any]:
    """Return a layer, those in it, and their initializers, regularizers and constraints."""
    inner = layer.inner_layers()
    if inner:
        return [layer, *(part for each in inner for part in _custom_parts(each))]
    parts = [
        each for name, each in vars(layer).items() if name.endswith(("_initializer", "_regularizer", "_constraint"))
    ]
    return [layer, *(each for each in parts if each is not None)]


def to_json(value: Any, what: str) -> str:
    """Return compact JSON; arrays become lists.

    Raises
    ------
    ValueError
        Something that JSON cannot hold, or a number that is not finite.
    """
    import json

    try:
        return json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"the {what} cannot be saved: {error}") from error


def _plain(value: Any) -> Any:
    """Return a NumPy array or number, or a description, in a form that JSON can hold."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if hasattr(value, "get_config") or callable(value):
        return serialize(value)
    raise TypeError(f"{value!r} of type {type(value).__name__} is not data")
