"""Estimators as ONNX files: the preprocessing and the classes around the network."""

import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.estimators.export import core_steps
from fastnn.estimators.frames import FrameEncoder
from fastnn.estimators.preprocessing import InputPreparation
from fastnn.export.onnx import write_steps
from fastnn.export.onnx_categories import word_columns
from fastnn.export.onnx_graph import Graph

Array = NDArray[Any]


def export_estimator(estimator: Any, path: str | os.PathLike[str], opset: int) -> None:
    """Write the file that ``MLPClassifier.export_onnx`` and ``MLPRegressor.export_onnx`` describe."""
    network = estimator._net
    graph = Graph(opset, network.dtype)
    own = vars(estimator)
    encoder: FrameEncoder | None = own.get("_encoder")
    if encoder is None:
        value = graph.add_input("input", network.dtype, (estimator.n_features_in_,))
    else:
        value = _encoded(graph, encoder)
    if own.get("_preparation") is not None:
        value = _prepared(graph, own["_preparation"], value)
    value = write_steps(graph, core_steps(network, 0), [value])[-1]
    graph.layer = type(estimator).__name__
    if hasattr(estimator, "classes_"):
        _write_classes(graph, estimator, value)
    else:
        _write_numbers(graph, estimator, value)
    names = own.get("feature_names_in_")
    properties = {} if names is None else {"feature_names": json.dumps([str(name) for name in names])}
    graph.save(path, type(estimator).__name__, properties)


def _encoded(graph: Graph, encoder: FrameEncoder) -> str:
    """Add an input for every column of a frame; return the columns of numbers (N, n)."""
    graph.layer = "the columns of a frame"
    columns = []
    for name in encoder.names:
        known = encoder.categories.get(name)
        if known is None:
            columns.append(graph.add_input(name, graph.dtype, (1,)))
        elif known:
            columns.append(_one_hot(graph, name, known))
        else:
            graph.add_input(name, str, (1,))
    return graph.add("Concat", *columns, axis=-1) if len(columns) > 1 else columns[0]


def _one_hot(graph: Graph, name: str, known: list[Any]) -> str:
    """Add an input for a column of categories; return a column of 0 and 1 for each (N, k)."""
    kinds = {type(value) for value in known}
    if kinds == {str}:
        return word_columns(graph, graph.add_input(name, str, (1,)), known)
    for kind, dtype in ((bool | np.bool_, np.bool_), (int | np.integer, np.int64), (float | np.floating, np.float64)):
        if all(issubclass(each, kind) for each in kinds):
            value = graph.add_input(name, dtype, (1,))
            return graph.cast(graph.add("Equal", value, graph.constant([known], dtype, "categories")), graph.dtype)
    listed = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise ValueError(f"column {name!r} has categories of the types {listed}; ONNX takes texts or one kind of numbers")


def _prepared(graph: Graph, preparation: InputPreparation, value: str) -> str:
    """Fill missing values and standardize columns, as ``InputPreparation.transform`` does: the scales in float64."""
    graph.layer = "the preparation of inputs"
    gaps = None
    if preparation.fill is not None:
        gaps = graph.add("IsNaN", value)
        value = graph.add("Where", gaps, graph.constant(preparation.fill, name="fill"), value)
    if preparation.center is not None:
        value = _in_float64(graph, value, [("Sub", preparation.center), ("Div", preparation.scale)])
    if gaps is not None and len(preparation.indicated):
        places = graph.constant(preparation.indicated, np.int64, "indicated")
        flags = graph.cast(graph.add("Gather", gaps, places, axis=1), graph.dtype)
        value = graph.add("Concat", value, flags, axis=-1)
    return value


def _in_float64(graph: Graph, value: str, operations: list[tuple[str, Any]]) -> str:
    """Apply operators with vectors in float64; return the result in the network's type."""
    if graph.dtype != np.float64:
        value = graph.cast(value, np.float64)
    for operator, vector in operations:
        value = graph.add(operator, value, graph.constant(vector, np.float64, "scaling"))
    return value if graph.dtype == np.float64 else graph.cast(value, graph.dtype)


def _write_numbers(graph: Graph, estimator: Any, value: str) -> None:
    """Write the outputs of a regressor in the units of the targets."""
    n = int(estimator.n_outputs_)
    deviation = None
    if estimator._net.architecture.sizes[-1] == 2 * n:
        columns = graph.constant(np.arange(2 * n).reshape(2, n), np.int64, "columns")
        both = [graph.add("Gather", columns, graph.constant(place, np.int64), axis=0) for place in (0, 1)]
        value, logarithm = (graph.add("Gather", value, each, axis=1) for each in both)
        deviation = graph.add("Exp", graph.add("Mul", logarithm, graph.constant(0.5)))
    if estimator._target_scaling is not None:
        center, scale = estimator._target_scaling
        value = _in_float64(graph, value, [("Mul", scale), ("Add", center)])
        deviation = None if deviation is None else _in_float64(graph, deviation, [("Mul", scale)])
    graph.add_output(value, "output", graph.dtype, (n,))
    if deviation is not None:
        graph.add_output(deviation, "standard_deviation", graph.dtype, (n,))


def _write_classes(graph: Graph, estimator: Any, value: str) -> None:
    """Write the label and the probabilities of a classifier."""
    several = estimator._label_binarizer.y_type_.startswith("multilabel")
    classes = np.asarray(estimator.classes_)
    n = len(classes)
    if several:
        label = graph.cast(graph.add("Greater", value, graph.constant(0.5)), np.int64)
        graph.add_output(label, "label", np.int64, (n,))
        graph.add_output(value, "probabilities", graph.dtype, (n,))
        return
    if n < 2:
        raise ValueError(f"a classifier of one class, {classes.tolist()}, has no ONNX form")
    if estimator.out_activation_ == "softmax":
        place = graph.add("ArgMax", value, axis=1, keepdims=0)
    else:
        second = graph.cast(graph.add("Greater", value, graph.constant(0.5)), np.int64)
        place = graph.add("Squeeze", second, graph.constant([1], np.int64))
        value = graph.add("Concat", graph.add("Sub", graph.constant(1.0), value), value, axis=-1)
    values, dtype = _labels(classes)
    names = graph.constant(values, object if dtype is str else dtype, "classes")
    graph.add_output(graph.add("Gather", names, place, axis=0), "label", dtype, ())
    graph.add_output(value, "probabilities", graph.dtype, (n,))


def _labels(classes: Array) -> tuple[Array, Any]:
    """Return the classes as ONNX keeps them, and their type: texts, 64-bit integers, booleans or floats."""
    if classes.dtype.kind == "U" or (classes.dtype == object and all(isinstance(each, str) for each in classes)):
        return classes.astype(object), str
    for kinds, dtype in (("iu", np.int64), ("b", np.bool_), ("f", np.float64)):
        if classes.dtype.kind in kinds:
            return classes, dtype
    raise ValueError(f"ONNX has no labels of the type {classes.dtype}: use texts or whole numbers as classes")
