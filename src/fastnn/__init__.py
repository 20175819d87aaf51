"""Fast dense neural networks on the CPU: Keras's names, a compiled core.

Examples
--------
>>> import numpy as np
>>> import fastnn
>>> model = fastnn.Sequential([fastnn.layers.Dense(16, activation="relu"), fastnn.layers.Dense(1)], seed=0)
>>> model.compile(optimizer="adam", loss="mse")
>>> X = np.linspace(-1.0, 1.0, 100).reshape(-1, 1)
>>> losses = model.fit(X, np.sin(X), epochs=20, verbose=0).history["loss"]
>>> losses[-1] < losses[0]
True
"""

import importlib
from typing import TYPE_CHECKING, Any

try:
    import fastnn._core as _core  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "fastnn._core":
        raise
    raise ImportError(
        "fastnn's compiled extension is missing. Build it: with a C compiler installed, run 'pip install .' in the "
        "checkout, and start Python outside its src directory"
    ) from error

from fastnn import (
    activations,
    callbacks,
    constraints,
    initializers,
    layers,
    losses,
    models,
    ops,
    optimizers,
    regularizers,
    utils,
)
from fastnn._missing import refuse
from fastnn._processors import default_num_threads as _default_num_threads
from fastnn._processors import get_num_threads, set_num_threads, show_config, threads
from fastnn.errors import DivergenceError, ModelFormatError
from fastnn.layers import Input
from fastnn.models import Model, Sequential, load_model

if TYPE_CHECKING:
    from fastnn import backend, data, datasets, distributed, many, metrics, model_selection, plotting, reference
    from fastnn.diagnosis import TrainingDoctor, diagnose
    from fastnn.estimators import BaggedMLPClassifier, BaggedMLPRegressor, MLPClassifier, MLPRegressor, sweep
    from fastnn.interchange import load_keras, load_onnx, load_torch
    from fastnn.landscape import WeightRecorder, loss_landscape
    from fastnn.layers.tensor import KerasTensor
    from fastnn.many import fit_many, predict_many
    from fastnn.tabular import TabularClassifier, TabularRegressor

# Imported when they are first used, which keeps ``import fastnn`` quick.
_LAZY_MODULES = (
    *("backend", "data", "datasets", "distributed", "many", "metrics", "model_selection", "plotting", "reference"),
)
_LAZY_MEMBERS = {
    "BaggedMLPClassifier": "estimators",
    "BaggedMLPRegressor": "estimators",
    "KerasTensor": "layers.tensor",
    "MLPClassifier": "estimators",
    "MLPRegressor": "estimators",
    "TabularClassifier": "tabular",
    "TabularRegressor": "tabular",
    "TrainingDoctor": "diagnosis",
    "WeightRecorder": "landscape",
    "diagnose": "diagnosis",
    "fit_many": "many",
    "load_keras": "interchange",
    "load_onnx": "interchange",
    "load_torch": "interchange",
    "loss_landscape": "landscape",
    "predict_many": "many",
    "sweep": "estimators",
}

__all__ = [
    "BaggedMLPClassifier",
    "BaggedMLPRegressor",
    "DivergenceError",
    "Input",
    "KerasTensor",
    "MLPClassifier",
    "MLPRegressor",
    "Model",
    "ModelFormatError",
    "Sequential",
    "TabularClassifier",
    "TabularRegressor",
    "TrainingDoctor",
    "WeightRecorder",
    "activations",
    "backend",
    "callbacks",
    "constraints",
    "data",
    "datasets",
    "diagnose",
    "distributed",
    "fit_many",
    "get_num_threads",
    "initializers",
    "layers",
    "load_keras",
    "load_model",
    "load_onnx",
    "load_torch",
    "loss_landscape",
    "losses",
    "many",
    "metrics",
    "model_selection",
    "models",
    "ops",
    "optimizers",
    "plotting",
    "predict_many",
    "reference",
    "regularizers",
    "set_num_threads",
    "show_config",
    "sweep",
    "threads",
    "utils",
]

set_num_threads(_default_num_threads())


def __getattr__(name: str) -> Any:
    if name in _LAZY_MODULES:
        return importlib.import_module(f"fastnn.{name}")
    if name in _LAZY_MEMBERS:
        return getattr(importlib.import_module(f"fastnn.{_LAZY_MEMBERS[name]}"), name)
    if name == "__version__":
        from importlib import metadata

        return metadata.version("fastnn")
    refuse("fastnn", name, __all__)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
