"""The table of docs/howto/export.md: how closely each layer's exports agree with fastnn.

Run: python tests/export_table.py [COLUMNS]. Prints the table with the columns of the tools that are installed: C needs
gcc, Fortran gfortran, the others the packages of these names. test_export_table.py compares it with the page.
"""

import importlib.util
import os
import runpy
import sys
import tempfile
from pathlib import Path

import numpy as np
from exported_graphs import outputs_of
from exported_models import ACTIVATIONS, compiler, run_all
from test_export_fortran import run

import fastnn
from fastnn import activations, layers
from fastnn._structures import leaves

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "export.md"
UNITS = (2, 8, 16)
"""Bounds on the difference, in units in the last place of the largest output; fewer depend on the libraries."""


def stacks():
    """{label: layers} of every layer and activation."""
    bounded = activations.relu.with_parameters(max_value=2.5, negative_slope=0.1, threshold=0.3)
    return {
        "Dense": [layers.Dense(20)],
        **{name: [layers.Activation(name)] for name in ACTIVATIONS if name != "linear"},
        "relu with options": [layers.Activation(bounded)],
        "PReLU": [layers.PReLU(alpha_initializer="glorot_uniform")],
        "BatchNormalization": [layers.BatchNormalization()],
        "LayerNormalization": [layers.LayerNormalization()],
        "Normalization": [layers.Normalization(mean=np.arange(8.0), variance=np.arange(1.0, 9.0))],
        "Normalization, missing values": [layers.Normalization(missing="indicator")],
        "Residual": [layers.Residual([layers.Dense(8)])],
        "Dropout, noise": [layers.Dropout(0.5), layers.GaussianNoise(0.1), layers.Activation("relu")],
        **stacks_for_tables(),
    }


def stacks_for_tables():
    """{label: layers} of the layers of networks for tables."""
    edges = [np.linspace(-1.0 - i, 0.5 * i + 0.1, i % 4 + 2) for i in range(8)]
    return {
        "NTPDense": [layers.NTPDense(20)],
        "FeatureScale": [layers.FeatureScale(3, use_bias=True, scale_initializer="random_normal")],
        "ParametricActivation": [layers.ParametricActivation("selu", mix_initializer="random_normal")],
        "CosineFeatures, PeriodicEmbedding": [layers.PeriodicEmbedding(8)],
        "PiecewiseLinearEncoding": [layers.PiecewiseLinearEncoding(edges=edges)],
        "PiecewiseLinearEmbedding": [layers.PiecewiseLinearEmbedding(8, 3, edges=edges, version="A")],
        "GroupedDense, MemberDense": [layers.GroupedDense(4, 3), layers.MemberDense(3, 5)],
        "NonCrossingQuantiles": [layers.NonCrossingQuantiles(4)],
        "RobustScaling": [layers.RobustScaling(center=np.arange(8.0), scale=np.arange(1.0, 9.0))],
        "QuantileTransform": [layers.QuantileTransform(quantiles=np.array(edges[7])[:, None] * np.arange(1.0, 9.0))],
    }


def merges(x):
    """Every layer that combines tensors element by element."""
    a, b, one = layers.Dense(4)(x), layers.Dense(4)(x), layers.Dense(1)(x)
    kinds = (layers.Add, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
    return layers.concatenate([*(kind()([a, b, one]) for kind in kinds), layers.Subtract()([a, one])])


def shared(x):
    """A layer and a model that are called twice."""
    inner = fastnn.Input((4,), dtype=x.dtype)
    tower = fastnn.Model(inner, layers.Dense(3, activation="tanh")(layers.Dense(5)(inner)), dtype=x.dtype)
    layer = layers.Dense(4, activation="tanh")
    return layers.subtract([tower(layer(x)), tower(layer(-x))])


GRAPHS = {
    "Add, Subtract, Multiply, Average, Maximum, Minimum": merges,
    "Concatenate, slices": lambda x: layers.concatenate([x[:, 1::2], layers.Dense(3)(x), x[:, ::-1]]),
    "Dot": lambda x: layers.dot([layers.Dense(4)(x), layers.Dense(4)(x)], axes=1),
    "Dot, normalized": lambda x: layers.dot([layers.Dense(4)(x), layers.Dense(4)(x)], axes=1, normalize=True),
    "+ - * / of tensors and numbers": lambda x: (1.0 - x * 0.5) / (layers.Dense(1, activation="sigmoid")(x) + 0.5),
    "shared layers, nested models": shared,
    "Flatten, Reshape, Identity": lambda x: layers.Dense(3)(
        layers.Flatten()(layers.Reshape((2, 4))(layers.Identity()(x)))
    ),
}
"""{label: function from a tensor of 8 columns to an output}"""

CATEGORIES = {
    "Embedding": lambda: layers.Embedding(5, 3),
    "CategoryEncoding": lambda: layers.CategoryEncoding(5, output_mode="count"),
    "IntegerLookup": lambda: layers.IntegerLookup(vocabulary=[3, 0, 2], output_mode="multi_hot"),
    "StringLookup": lambda: layers.StringLookup(vocabulary=["3", "0", "2"], output_mode="multi_hot"),
    "Discretization": lambda: layers.Discretization([0.5, 2.0], output_mode="one_hot"),
    "Hashing": lambda: layers.Hashing(3, output_mode="multi_hot"),
}
"""{label: layer of two columns of integers}"""


def models():
    """(label, model, inputs) for both types."""
    rng = np.random.default_rng(0)
    numbers, codes = rng.normal(size=(200, 8)) * np.logspace(-2, 1, 200)[:, None], rng.integers(0, 5, (200, 2))
    for label, stack in stacks().items():
        for dtype in ("float32", "float64"):
            fresh = [type(layer).from_config(layer.get_config()) for layer in stack]
            model = fastnn.Sequential([fastnn.Input((8,)), *fresh], seed=1, dtype=dtype)
            X = numbers.astype(dtype)
            if "missing" in label:
                X[::7, 3] = np.nan
            yield label, model, [X]
    for label, function in GRAPHS.items():
        for dtype in ("float32", "float64"):
            x = fastnn.Input((8,), dtype=dtype)
            yield label, fastnn.Model(x, function(x), seed=1, dtype=dtype), [numbers.astype(dtype)]
    for dtype in ("float32", "float64"):
        x, y = fastnn.Input((4,), dtype=dtype), fastnn.Input((4,), dtype=dtype)
        h = layers.Dense(6, activation="tanh")(layers.concatenate([x, y]))
        model = fastnn.Model([x, y], [layers.Dense(2)(h), h], seed=1, dtype=dtype)
        yield "several inputs and outputs", model, [numbers[:, :4].astype(dtype), numbers[:, 4:].astype(dtype)]
    for label, make in CATEGORIES.items():
        for dtype in ("float32", "float64"):
            kind = "string" if label == "StringLookup" else "int32"
            x = fastnn.Input((2,), dtype=kind)
            vectors = layers.Flatten()(make()(x))
            model = fastnn.Model(x, layers.Dense(3, dtype=dtype)(vectors), seed=1, dtype=dtype)
            yield label, model, [codes.astype(str) if kind == "string" else codes.astype(np.int32)]


def in_ulp(error):
    """Words for a difference in units in the last place."""
    bound = next((units for units in UNITS if error <= units), None)
    return "more" if bound is None else f"{bound} ULP"


def distance(outputs, expected):
    """Largest difference in units in the last place of each output's largest value."""
    return float((np.abs(outputs - expected).max(axis=0) / np.spacing(np.abs(expected).max(axis=0))).max())


def in_source(method, ending, run):
    """A function from all (label, model, inputs) and a folder to lists of outputs, or None, with one compilation."""

    def outputs(found, folder):
        fitting = []
        for _, model, X in found:
            try:
                getattr(model, method)(folder / f"m{ending}")
                fitting.append((model, X, [each.shape[1] for each in outputs_of(model, X)]))
            except ValueError:
                fitting.append(None)
        results = iter(run(folder, [case for case in fitting if case is not None]))
        return [None if case is None else [batch for _, batch in next(results)] for case in fitting]

    return outputs


def one_by_one(function):
    """A function like that of ``in_source`` from one of a model, its inputs and a folder."""

    def outputs(found, folder):
        results = []
        for _, model, X in found:
            try:
                results.append(function(model, X, folder))
            except ValueError:
                results.append(None)
        return results

    return outputs


def in_numpy(model, X, folder):
    model.export_numpy(folder / "net.py")
    outputs = runpy.run_path(str(folder / "net.py"))["predict"](X if len(X) > 1 else X[0])
    return outputs if isinstance(outputs, list) else [outputs]


def in_onnx(model, X, folder):
    import onnxruntime

    model.export_onnx(folder / "m.onnx")
    session = onnxruntime.InferenceSession(str(folder / "m.onnx"), providers=["CPUExecutionProvider"])
    X = [each.astype(object) if each.dtype.kind == "U" else each for each in X]
    return session.run(None, dict(zip([each.name for each in session.get_inputs()], X, strict=True)))


def in_torch(model, X, folder):
    import torch

    module = model.to_torch()
    with torch.no_grad():
        outputs = module(*map(torch.from_numpy, X))
    return [each.numpy() for each in (outputs if isinstance(outputs, tuple) else (outputs,))]


def in_keras(model, X, folder):
    os.environ.setdefault("KERAS_BACKEND", "jax")
    return [np.asarray(each) for each in leaves(model.to_keras().predict(X if len(X) > 1 else X[0], verbose=0))]


COLUMNS = {
    "C": (in_source("export_c", ".c", lambda folder, cases: run_all(folder, cases, compiler("gcc"))), compiler("gcc")),
    "Fortran": (in_source("export_fortran", ".f90", run), compiler("gfortran")),
    "NumPy": (one_by_one(in_numpy), True),
    "ONNX": (one_by_one(in_onnx), importlib.util.find_spec("onnxruntime")),
    "PyTorch": (one_by_one(in_torch), importlib.util.find_spec("torch")),
    "Keras": (one_by_one(in_keras), importlib.util.find_spec("keras")),
}
"""{column: function from all (label, model, inputs) and a folder to lists of outputs, whether it is installed}"""


def error(column, expected, outputs):
    """How much the outputs of a model differ, in the measure of a column."""
    pairs = [(given.reshape(each.shape), each) for given, each in zip(outputs, expected, strict=True)]
    if column == "C":
        return 0.0 if all(given.tobytes() == each.tobytes() for given, each in pairs) else np.inf
    if column in ("Fortran", "NumPy"):
        return max(distance(*pair) for pair in pairs)
    return max(float(np.abs(given - each).max() / np.abs(each).max()) for given, each in pairs)


def table(columns):
    """{label: {column: word}}: the worse one of both types; Keras in float32, in which it normalizes."""
    words = {}
    for column in columns:
        found = [each for each in models() if column != "Keras" or each[1].dtype == np.float32]
        with tempfile.TemporaryDirectory() as name:
            results = COLUMNS[column][0](found, Path(name))
        largest = {}
        for (label, model, X), outputs in zip(found, results, strict=True):
            value = np.nan if outputs is None else error(column, outputs_of(model, X), outputs)
            largest[label] = max(value, largest.get(label, value))
        for label, value in largest.items():
            words.setdefault(label, {})[column] = said(column, value)
    return words


def said(column, value):
    """The entry of a column."""
    if np.isnan(value):
        return "no"
    if column == "C":
        return "equal bits" if value == 0.0 else "NOT EQUAL"
    if column in ("Fortran", "NumPy"):
        return "equal bits" if column == "Fortran" and value == 0.0 else in_ulp(value)
    return "1e-6" if value <= 1e-6 else f"{value:.0e}"


def on_page():
    """The table of the page, as ``table`` has it."""
    lines = PAGE.read_text(encoding="utf-8").split("<!-- table -->")[1].strip().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {label: dict(zip(cells[0][1:], words, strict=True)) for label, *words in cells[2:]}


if __name__ == "__main__":
    columns = sys.argv[1:] or [column for column, (_, installed) in COLUMNS.items() if installed]
    lines = ["| layer or activation | " + " | ".join(columns) + " |", "| --- " * (1 + len(columns)) + "|"]
    for label, row in table(columns).items():
        lines.append(f"| {label} | {' | '.join(row[column] for column in columns)} |")
    sys.stdout.write("\n".join(lines) + "\n")
