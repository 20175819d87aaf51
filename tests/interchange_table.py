"""The table of docs/howto/other_tools.md: which layers go to which tool and come back, found by trying.

Run: python tests/interchange_table.py [ONNX PyTorch Keras]: prints the columns of the tools that are installed.
"""

import os
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from random_models import ACTIVATIONS, difference

import fastnn
from fastnn import layers

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "other_tools.md"
DRAW = np.random.default_rng(3)
X = DRAW.normal(size=(40, 4)).astype(np.float32)
MEAN, VARIANCE = DRAW.normal(size=4), DRAW.uniform(0.5, 2.0, 4)


def missing(kind):
    layer = layers.Normalization(missing=kind)
    layer.adapt(X)
    return layer


PLAIN = [name for name in ACTIVATIONS if name not in ("leaky_relu", "elu")]
ROWS = {
    "`Dense`": lambda: [layers.Dense(5), layers.Dense(4, use_bias=False)],
    "activations": lambda: [layers.Dense(4, activation=name) for name in PLAIN],
    "`LeakyReLU`, `ELU`, `ReLU` with options": lambda: [
        layers.Dense(4, activation=layers.LeakyReLU(0.1)),
        layers.Dense(4, activation=layers.ELU(0.5)),
        layers.Dense(4, activation=layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.25)),
    ],
    "`PReLU`": lambda: [layers.PReLU()],
    "`BatchNormalization`": lambda: [layers.BatchNormalization(epsilon=1e-5)],
    "`LayerNormalization`": lambda: [layers.LayerNormalization(epsilon=1e-5)],
    "`LayerNormalization(rms_scaling=True)`": lambda: [layers.LayerNormalization(epsilon=1e-5, rms_scaling=True)],
    "`Normalization`": lambda: [layers.Normalization(mean=MEAN, variance=VARIANCE)],
    "`Normalization(missing=...)`": lambda: [missing("indicator")],
    "`Rescaling`": lambda: [layers.Rescaling(0.5, 1.0)],
    "`Residual`": lambda: [layers.Residual([layers.Dense(5, activation="tanh"), layers.Dense(4)])],
    "`Dropout`, `AlphaDropout`, `GaussianNoise`": lambda: [
        *(layers.Dropout(0.1), layers.AlphaDropout(0.1), layers.GaussianNoise(0.1)),
    ],
    "`Flatten`, `Identity`": lambda: [layers.Flatten(), layers.Identity()],
    "`NTPDense`": lambda: [layers.NTPDense(4)],
    "`FeatureScale`, `ParametricActivation`": lambda: [
        *(layers.FeatureScale(3, scale_initializer="random_normal"), layers.ParametricActivation("mish")),
    ],
    "`PeriodicEmbedding`, `PiecewiseLinearEncoding`": lambda: [
        *(layers.PeriodicEmbedding(4), layers.PiecewiseLinearEncoding(edges=[[-1.0, 0.0, 0.25, 2.0]] * 16)),
    ],
    "`GroupedDense`, `MemberDense`": lambda: [layers.GroupedDense(2, 3), layers.MemberDense(3, 5)],
    "`RobustScaling`": lambda: [layers.RobustScaling(center=MEAN, scale=VARIANCE)],
}


def model_of(row):
    """Return a model with random weights, in which the layers of a row stand between two dense layers or come first."""
    stack = ROWS[row]()
    starts = isinstance(stack[0], layers.Normalization | layers.Flatten | layers.RobustScaling)
    first = [] if starts else [layers.Dense(4)]
    return fastnn.Sequential([fastnn.Input((4,)), *first, *stack, layers.Dense(2)], seed=1)


def _onnx(model, folder):
    import onnxruntime

    model.export_onnx(folder / "m.onnx")
    session = onnxruntime.InferenceSession(str(folder / "m.onnx"), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": X})[0], lambda: fastnn.load_onnx(folder / "m.onnx")


def _pytorch(model, folder):
    import torch

    module = model.to_torch()
    torch.save(module.state_dict(), folder / "m.pt")
    with torch.no_grad():
        outputs = module(torch.from_numpy(X)).numpy()
    used = [layer.activation for layer in model.layers if isinstance(layer, layers.Dense)]
    used[0] = "prelu" if any(isinstance(layer, layers.PReLU) for layer in model.layers) else used[0]
    return outputs, lambda: fastnn.load_torch(folder / "m.pt", used)


def _keras(model, folder):
    os.environ.setdefault("KERAS_BACKEND", "jax")
    network = model.to_keras()
    network.save(folder / "m.keras")
    return np.asarray(network(X)), lambda: fastnn.load_keras(folder / "m.keras")


TOOLS = {"ONNX": ("onnxruntime", _onnx), "PyTorch": ("torch", _pytorch), "Keras": ("keras", _keras)}


def cells(tool, row):
    """Return what becomes of the layers of a row on the way to a tool, and back."""
    model = model_of(row)
    expected = model.predict(X)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            outputs, back = TOOLS[tool][1](model, Path(folder))
        except ValueError:
            return "no", "no"
        assert difference(outputs, expected) < 2e-6, (tool, row)
        try:
            again = back()
            returned = difference(again.predict(X), expected) < 2e-6
        except ValueError:
            return "yes", "no"
    if not returned:
        return "yes", "no"
    weights, others = model.get_weights(), again.get_weights()
    same = len(weights) == len(others) and all(np.array_equal(a, b) for a, b in zip(weights, others, strict=True))
    return "yes", "equal bits" if same else "to rounding"


def table():
    """Return the lines of the table in the documentation, as cells."""
    lines = PAGE.read_text(encoding="utf-8").split("<!-- table -->")[1].strip().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


if __name__ == "__main__":
    tools = sys.argv[1:] or list(TOOLS)
    print("| layer |", " | ".join(f"to {tool} | from {tool}" for tool in tools), "|")
    print("| --- |", " --- | " * 2 * len(tools))
    for row in ROWS:
        print(f"| {row} |", " | ".join(" | ".join(cells(tool, row)) for tool in tools), "|")
