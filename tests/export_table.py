"""The table of docs/howto/export.md: how closely each layer's exports agree with fastnn.

Run: python tests/export_table.py. Prints the table; needs gcc and gfortran. test_export_table.py compares it with
the page.
"""

import runpy
import sys
import tempfile
from pathlib import Path

import numpy as np
from exported_models import ACTIVATIONS, compiler, run_all
from test_export_fortran import run

import fastnn
from fastnn import activations, layers

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
    }


def models():
    """(label, model, X) for both types."""
    for label, stack in stacks().items():
        for dtype in ("float32", "float64"):
            fresh = [type(layer).from_config(layer.get_config()) for layer in stack]
            model = fastnn.Sequential([fastnn.Input((8,)), *fresh], seed=1, dtype=dtype)
            X = np.random.default_rng(0).normal(size=(200, 8)) * np.logspace(-2, 1, 200)[:, None]
            if "missing" in label:
                X[::7, 3] = np.nan
            yield label, model, X.astype(dtype)


def words(errors):
    """Words for the largest differences in C, which has to be zero, Fortran and NumPy."""
    bounds = [next((units for units in UNITS if error <= units), None) for error in errors[1:]]
    return ["equal bits" if errors[0] == 0.0 else "NOT EQUAL", *(f"{bound} ULP" for bound in bounds)]


def distance(outputs, expected):
    """Largest difference in units in the last place of each output's largest value."""
    return float((np.abs(outputs - expected).max(axis=0) / np.spacing(np.abs(expected).max(axis=0))).max())


def table():
    """The table as Markdown."""
    found = list(models())
    arguments = [(model, X, model.output_shape[1]) for _, model, X in found]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_c = [batch for _, batch in run_all(folder, arguments, compiler("gcc"))]
        in_fortran = [batch for _, batch in run(folder, arguments)]
        in_numpy = []
        for _, model, X in found:
            model.export_numpy(folder / "net.py")
            in_numpy.append(runpy.run_path(str(folder / "net.py"))["predict"](X))
    largest = {}
    for (label, model, X), *outputs in zip(found, in_c, in_fortran, in_numpy, strict=True):
        expected = model.predict(X)
        errors = [distance(each, expected) for each in outputs]
        largest[label] = np.maximum(largest.get(label, 0.0), errors)
    lines = ["| layer or activation | C | Fortran | NumPy |", "| --- | --- | --- | --- |"]
    lines += [f"| {label} | {' | '.join(words(errors))} |" for label, errors in largest.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
