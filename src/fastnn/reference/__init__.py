"""The NumPy twin of every compiled kernel: the same names, arguments and results, written for readers.

Tests compare the kernels with it in float64, benchmarks in float32. Nothing else in the package imports it, and it
imports only NumPy.
"""

import difflib
from typing import NoReturn

from fastnn.reference.activations import ACTIVATIONS, activation, activation_gradient
from fastnn.reference.dense import dense_backward, dense_forward
from fastnn.reference.dense_network import DenseNetwork
from fastnn.reference.error_function import erf, erfc, normal_cdf
from fastnn.reference.graph_network import GraphNetwork
from fastnn.reference.layer_network import LayerNetwork
from fastnn.reference.layers import (
    Activation,
    BatchNormalization,
    Dense,
    Dropout,
    GaussianNoise,
    LayerNormalization,
    Normalization,
    PReLU,
    Residual,
)
from fastnn.reference.losses import LOSSES, loss, loss_and_gradient
from fastnn.reference.merging import Arithmetic, Concatenate, Embedding, RowDot, Slice
from fastnn.reference.random import dropped, normal, random_bits
from fastnn.reference.tabular import (
    BoundedLines,
    CosineFeatures,
    FeatureScale,
    GroupedDense,
    MemberDense,
    ParametricActivation,
)
from fastnn.reference.training_rules import (
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    max_norm,
    moving_average,
    non_neg,
    penalty_and_gradient,
    unit_norm,
)
from fastnn.reference.update_rules import (
    OPTIMIZERS,
    adadelta,
    adagrad,
    adam,
    adamax,
    adamw,
    amsgrad,
    lion,
    nadam,
    rmsprop,
    sgd,
    weight_decay,
)

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "OPTIMIZERS",
    "Activation",
    "Arithmetic",
    "BatchNormalization",
    "BoundedLines",
    "Concatenate",
    "CosineFeatures",
    "Dense",
    "DenseNetwork",
    "Dropout",
    "Embedding",
    "FeatureScale",
    "GaussianNoise",
    "GraphNetwork",
    "GroupedDense",
    "LayerNetwork",
    "LayerNormalization",
    "MemberDense",
    "Normalization",
    "PReLU",
    "ParametricActivation",
    "Residual",
    "RowDot",
    "Slice",
    "activation",
    "activation_gradient",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "amsgrad",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "dense_backward",
    "dense_forward",
    "dropped",
    "erf",
    "erfc",
    "lion",
    "loss",
    "loss_and_gradient",
    "max_norm",
    "moving_average",
    "nadam",
    "non_neg",
    "normal",
    "normal_cdf",
    "penalty_and_gradient",
    "random_bits",
    "rmsprop",
    "sgd",
    "unit_norm",
    "weight_decay",
]


def __getattr__(name: str) -> NoReturn:
    near = difflib.get_close_matches(name, __all__, 1)
    hint = f". Did you mean {near[0]!r}?" if near and not name.startswith("__") else ""
    raise AttributeError(f"module 'fastnn.reference' has no attribute {name!r}{hint}", name=name)
