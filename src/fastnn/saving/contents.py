"""What a file says of its model, checked as a whole before any array is read and before anything is built.

The sizes in a description are bounded by what the file holds. Layers say which weights they need, and metrics how many
numbers they keep, without allocating any of it: weights must be those that the file lists, and the rest is bounded.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

import fastnn._core as _core
import fastnn._registry as registry
import fastnn.optimizers as optimizers
from fastnn._registry import CustomObjects
from fastnn._structures import leaves
from fastnn.errors import ModelFormatError
from fastnn.layers import Layer
from fastnn.layers.layer import layer_from_config
from fastnn.layers.sharing import making
from fastnn.network.chain import declared_features
from fastnn.network.objective import compile_losses
from fastnn.network.program import Program
from fastnn.network.stack import LayerStack
from fastnn.saving.description import compile_arguments, describe_arguments, model_config
from fastnn.saving.safetensors import Entry, Header, parse_json

Stack = TypeVar("Stack", bound=LayerStack)

SCHEMA = "1"
"""Version of the contents; raised when an older fastnn could not read them."""
_LAYERS_LIMIT = 512
_SEARCH_LIMIT = 10**8
"""Steps of searching all names for the patterns of weights without decay: less than half a second."""
_FEATURES_LIMIT = 1 << 40
COUNT_LIMIT = 1 << 48
"""Updates and epochs are fewer: at a microsecond for each this many take nine years."""
_MOMENTS_LIMIT = 16
"""Moments of a weight, with its moving average and its sum of gradients, are fewer."""
_NAMES_LIMIT = 1 << 19
"""Most characters of the names of all columns: half of a header."""
_BACKUP_BYTES = 1 << 26
"""Bytes of history and the state of callbacks that a backup of any size may hold."""
_FREE_NUMBERS = 1 << 20
"""Outputs of layers without weights, and numbers that the metrics keep, that a file of any size may ask for."""


class Contents(NamedTuple, Generic[Stack]):
    """What a file says of its model.

    Parameters
    ----------
    model : the model with its layers, not built and not compiled.
    n_features : number of input columns; None for a model that was not built.
    arguments : arguments of ``compile``; None if the model was not compiled, or is not to be.
    training : counters.
    n_weights : the first arrays of the file, which are the weights.
    feature_names : names of the input columns, by input where there are several; None if the file has none.
    """

    model: Stack
    n_features: int | None
    arguments: dict[str, Any] | None
    training: dict[str, Any]
    n_weights: int
    feature_names: list[str] | dict[str, list[str]] | None


def count_weights(header: Header) -> int:
    """Return the number of weights in a file of fastnn; the moments of the update rule come after them."""
    metadata = header.metadata
    if metadata.get("format") != "fastnn":
        raise ModelFormatError("it is a safetensors file of another program: its format is not 'fastnn'")
    if metadata.get("schema") != SCHEMA:
        raise ModelFormatError(f"its schema is {metadata.get('schema', '')[:20]!r}; this fastnn reads {SCHEMA!r}")
    text = metadata.get("n_weights", "")
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > len(header.entries):
        raise ModelFormatError("the number of weights is missing or wrong")
    return int(text)


def read_contents(
    header: Header, model_class: type[Stack], custom_objects: CustomObjects | None, compile: bool
) -> Contents[Stack]:
    """Return what the header of a file says, once everything in it fits together.

    Raises
    ------
    ModelFormatError, and all errors that options of layers, losses, metrics and optimizers raise.
    """
    n_weights = count_weights(header)
    metadata = header.metadata
    if {"model", "compile", "training"} - metadata.keys():
        raise ModelFormatError("it holds weights only; build the model and call model.load_weights")
    config = parse_json(metadata["model"], "architecture")
    training = parse_json(metadata["training"], "training state")
    described = parse_json(metadata["compile"], "training options").get("arguments")
    check_counters(training)
    model, n_features = _read_architecture(config, model_class, custom_objects)
    _check_sizes(model, n_features, header)
    names = weight_names(model.program_for(n_features)) if n_features is not None else {}
    check_entries(names, training["n_moments"], header, model.dtype.name)
    if n_weights != len(names):
        raise ModelFormatError(f"it has {n_weights} weights; its architecture needs {len(names)}")
    arguments = None
    if compile and described is not None:
        if not isinstance(described, dict):
            raise ModelFormatError("the training options are not an object")
        _check_patterns(
            described, [len(name) for name in names] or [2 * len(layer.name) + 80 for layer in model.layers]
        )
        nested = [described.get("loss"), *(described.get("metrics") or ()), *(described.get("weighted_metrics") or ())]
        if not model.takes_loss_by_output and any(isinstance(each, list) for each in nested):
            raise ModelFormatError("the training options are those of a model with several outputs")
        arguments = _read_arguments(described, custom_objects, header)
        n_moments = _try_compile(arguments, model, n_features)
        if training["n_moments"] != n_moments:
            raise ModelFormatError(f"it has {training['n_moments']} moments per weight; the optimizer has {n_moments}")
    names_of_columns = (
        read_feature_names(metadata["features"], columns_taken(model, n_features)) if "features" in metadata else None
    )
    return Contents(model, n_features, arguments, training, n_weights, names_of_columns)


def columns_taken(model: LayerStack, n_features: int | None) -> int | dict[str, int] | None:
    """Return the number of columns that a model takes, with several inputs that of each by name."""
    if n_features is None or len(model.port_names() or ()) < 2:
        return n_features
    return {port.name: math.prod(port.row) for port in model.ports(n_features)}


def read_feature_names(text: str, taken: int | dict[str, int] | None) -> list[str] | dict[str, list[str]]:
    """Return the names of the input columns that a file holds.

    Parameters
    ----------
    text : the entry of the file.
    taken : what ``columns_taken`` returns.

    Raises
    ------
    ModelFormatError
        They are not one text for each column, or are longer than a file may hold.
    """
    if len(text) > _NAMES_LIMIT:
        raise ModelFormatError(f"the names of the columns take {len(text)} characters; the limit is {_NAMES_LIMIT}")
    described = parse_json(text, "names of the columns")
    names = described.get("names")
    given, expected = (names, taken) if isinstance(taken, dict) else ({"": names}, {"": taken})
    if described.keys() != {"names"} or not isinstance(given, dict) or not given.keys() <= expected.keys():
        raise ModelFormatError("the names of the columns are not a list of texts, or one for each input")
    for place, listed in given.items():
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise ModelFormatError("the names of the columns are not a list of texts")
        if len(listed) != expected[place]:
            raise ModelFormatError(f"it has the names of {len(listed)} columns; the model takes {expected[place]}")
    return given if isinstance(taken, dict) else given[""]


def class_for(config: Mapping[str, Any], model_class: type[Stack]) -> Any:
    """Return the class of the model of an architecture: ``model_class`` for a chain, ``Model`` for a graph."""
    return registry.find("model", "Functional") if "output_layers" in config else model_class


def _read_architecture(
    config: Mapping[str, Any], model_class: type[Stack], custom_objects: CustomObjects | None
) -> tuple[Stack, int | None]:
    """Return the model of an architecture, without weights, and its number of features."""
    if _count_layers(config["layers"]) > _LAYERS_LIMIT:
        raise ValueError(f"the architecture has more than {_LAYERS_LIMIT} layers")
    graph = "output_layers" in config
    shape = None if graph else config["build_input_shape"]
    if shape is not None and (
        not isinstance(shape, list) or len(shape) != 2 or shape[0] is not None or type(shape[1]) is not int
    ):
        raise ModelFormatError("build_input_shape must be [null, n_features]")
    model = class_for(config, model_class).without_network(config, custom_objects)
    again = model_config(model) if graph else {**model_config(model), "build_input_shape": shape}
    different = _unfaithful(config, again, custom_objects)
    if different is not None:
        raise ModelFormatError(f"the architecture is not as fastnn writes it: {different}")
    if graph:
        return model, model.program_for().n_features
    if shape is None:
        return model, None
    declared = declared_features(model.all_layers)
    if not 0 < shape[1] < _FEATURES_LIMIT or declared not in (None, shape[1]):
        raise ModelFormatError(f"build_input_shape is {shape}; the layers take {declared} features")
    return model, shape[1]


def read_layers(config: Mapping[str, Any], custom_objects: CustomObjects | None) -> list[Layer]:
    """Return the layers of an architecture."""
    described, name = config["layers"], config.get("name")
    if not isinstance(described, list) or not isinstance(name, str | None):
        raise ValueError("the architecture must have a name and a list of layers")
    if _count_layers(described) > _LAYERS_LIMIT:
        raise ValueError(f"the architecture has more than {_LAYERS_LIMIT} layers")
    with making():
        return [layer_from_config(layer, custom_objects) for layer in described]


def _count_layers(described: Any) -> int:
    """Return the number of layers in a list of descriptions, those in blocks included."""
    if not isinstance(described, list):
        return 0
    options = [each["config"] for each in described if isinstance(each, dict) and isinstance(each.get("config"), dict)]
    return len(described) + sum(_count_layers(each.get("layers")) for each in options)


def _check_sizes(model: LayerStack, n_features: int | None, header: Header) -> None:
    """Raise unless the outputs of the layers that have no weights are few, compared with what the file holds.

    Those of the other layers are bounded by their weights, which must be the file's.
    """
    bound = _FREE_NUMBERS + 4 * elements(header)
    width = n_features or declared_features(model.all_layers) or 1
    total = width if n_features is None else 0
    graph = model.graph_for(width)
    for step in graph.steps:
        n_in, n_out = graph.width(step.inputs[0]), graph.width(step.output)
        if not 0 < n_out < _FEATURES_LIMIT:
            raise ModelFormatError(f"layer {step.layer.name[:80]!r} has {n_out} outputs")
        inner = bool(step.layer.inner_layers())
        total += 0 if inner or (n_features is not None and step.layer.parameter_specs(n_in)) else n_out
        if total > bound:
            raise ModelFormatError(
                f"layer {step.layer.name[:80]!r} has {n_out} outputs, more than a file of this size may"
            )


def weight_names(program: Program) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all weights of a network by "layer/weight", in order."""
    named = list(zip(program.weight_names, (spec.shape for spec in program.parameter_specs), strict=True))
    names = dict(named)
    if len(names) != len(named):
        raise ValueError("two weights would have the same name in the file; give the layers other names")
    return names


def check_entries(names: Mapping[str, tuple[int, ...]], n_moments: int, header: Header, dtype: str) -> None:
    """Raise unless a file holds the weights of these names and shapes, then the same once for each moment."""
    check_number_of_arrays(header, len(names), n_moments)
    expected = list(names.items())
    for moment in range(1, n_moments + 1):
        expected += [(f"moment_{moment}/{name}", shape) for name, shape in names.items()]
    for (name, shape), (found, entry) in zip(expected, header.entries.items(), strict=False):
        if name != found:
            raise ModelFormatError("the weights in it are not those of its architecture")
        check_entry(name, entry, shape, dtype)


def check_number_of_arrays(header: Header, n_weights: int, n_moments: int) -> None:
    """Raise unless a file holds weights and moments only; that of a backup may hold more, but not out of proportion."""
    entries = list(header.entries.values())
    n_expected = n_weights * (1 + n_moments)
    if len(entries) < n_expected or (len(entries) > n_expected and "fit" not in header.metadata):
        raise ModelFormatError(f"it has {len(entries)} arrays; its architecture needs {n_expected}")
    own = sum(entry.end - entry.begin for entry in entries[:n_weights])
    more = sum(entry.end - entry.begin for entry in entries[n_expected:])
    if more > _BACKUP_BYTES + 16 * own:
        raise ModelFormatError(f"it has {more} bytes besides those of a model of {own} bytes")


def check_entry(name: str, entry: Entry, shape: tuple[int, ...], dtype: str) -> None:
    """Raise unless an array has this shape and dtype."""
    if entry.shape != tuple(shape) or entry.dtype != dtype:
        raise ModelFormatError(
            f"{name!r} is {entry.dtype} of shape {entry.shape}; the architecture has {dtype} of shape {tuple(shape)}"
        )


def elements(header: Header) -> int:
    """Return the number of elements of all arrays of a file."""
    return sum((entry.end - entry.begin) // entry.dtype.itemsize for entry in header.entries.values())


def check_counters(training: Mapping[str, Any]) -> None:
    """Raise unless the counters of a training state are whole numbers in bounds."""
    for counter in ("iterations", "epochs_begun", "n_moments", "seed"):
        value = training.get(counter)
        bound = {"seed": 1 << 63, "n_moments": _MOMENTS_LIMIT}.get(counter, COUNT_LIMIT)
        if type(value) is not int or not 0 <= value < bound:
            raise ModelFormatError(f"{counter} must be a whole number from 0 to {bound - 1}, got {str(value)[:40]}")


def _read_arguments(described: Any, custom_objects: CustomObjects | None, header: Header) -> dict[str, Any]:
    """Return the arguments of ``compile``."""
    arguments = compile_arguments(described, custom_objects)
    different = _unfaithful(described, describe_arguments(arguments), custom_objects)
    if different is not None:
        raise ModelFormatError(f"the training options are not as fastnn writes them: {different}")
    optimizers.get(arguments["optimizer"])  # raises for anything else
    metrics = [each for each in leaves([arguments["metrics"], arguments["weighted_metrics"]]) if each is not None]
    kept = sum(getattr(metric, "state_size", 0) for metric in metrics)
    if kept > _FREE_NUMBERS + elements(header):
        raise ModelFormatError(f"its metrics keep {kept} numbers, more than a file of this size may ask for")
    return arguments


def _unfaithful(saved: Any, built: Any, custom_objects: CustomObjects | None, path: str = "") -> str | None:
    """Return where a description in a file is not what the object made from it says of itself; None if it is.

    This finds options of a wrong type, which a constructor would convert, and unknown options, without a list of them.
    An option may be missing in the file: it has its default. Functions and classes of the user are left out.
    """
    if isinstance(saved, Mapping):
        if "function" in saved or saved.get("class_name") in (custom_objects or ()):
            return None
        if not isinstance(built, Mapping):
            return f"{path} is an object"
        for key, value in saved.items():
            if key not in built:
                return f"{path} has the unknown option {key[:80]!r}"
            found = _unfaithful(value, built[key], custom_objects, f"{path}.{key[:80]}" if path else key[:80])
            if found is not None:
                return found
        return None
    if isinstance(built, np.ndarray | np.generic):
        built = built.tolist()
    if isinstance(saved, list):
        if not isinstance(built, list | tuple) or len(built) != len(saved):
            return f"{path} is a list of {len(saved)}"
        pairs = enumerate(zip(saved, built, strict=True))
        each = (_unfaithful(value, other, custom_objects, f"{path}[{place}]") for place, (value, other) in pairs)
        return next((found for found in each if found is not None), None)
    if type(saved) is not type(built) or saved != built:
        return f"{path} is {str(saved)[:80]!r} where {str(built)[:80]!r} is meant"
    return None


def _check_patterns(config: Mapping[str, Any], lengths: Sequence[int]) -> None:
    """Raise for patterns of weights without decay that could take long to search for in names of these lengths."""
    optimizer = config.get("optimizer")
    options = optimizer.get("config") if isinstance(optimizer, dict) else None
    patterns = options.get("excluded_from_weight_decay") if isinstance(options, dict) else None
    if not patterns:
        return
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise ModelFormatError("excluded_from_weight_decay must be a list of patterns")
    alternatives = "|".join(patterns).split("|")
    repeats = [min(sum(each.count(sign) for sign in "*+?{"), 16) for each in alternatives]
    # A search tries every start, and for each repeat every length. Repeats within repeats take exponential time.
    steps = sum((1 + length) ** (1 + n) for length in lengths for n in repeats)
    length = sum(map(len, patterns))
    if (any(repeats) and any("(" in each for each in alternatives)) or max(steps, 4096 * length) > _SEARCH_LIMIT:
        raise ModelFormatError(
            f"excluded_from_weight_decay is not simple enough for a file: {str(patterns)[:80]}. Use fewer of * + ? {{ "
            "and shorter names, and none of them together with ("
        )


def _try_compile(arguments: Mapping[str, Any], model: Any, n_features: int | None) -> int:
    """Return the moments per weight that the optimizer keeps, by compiling a network of one layer, of one input.

    It has the model's outputs one by one, so that a loss that does not suit them raises before the model is built.
    """
    if n_features is None:
        return 0
    found, _ = compile_losses(
        arguments["loss"], arguments.get("loss_weights"), model.output_keys, model.takes_loss_by_output
    )
    optimizer, n_slots = optimizers.get(arguments["optimizer"]), 0
    heads = model.program_for(n_features).heads
    for loss, head in zip(found if isinstance(found, list) else [found], heads, strict=True):
        if loss is None:
            continue
        loss.target_columns(head.n_outputs)
        layer_options = {"n_out": head.n_outputs, "use_bias": False, "activation": "linear"}
        smallest = _core.Network(1, [("dense", layer_options)], model.dtype.name)
        smallest.compile(loss.core_name, loss.options(), optimizer.core_name, optimizer.options())
        n_slots = int(smallest.n_slots)
    return n_slots
