"""Layers: descriptions with Keras's names and arguments.

A layer holds options, not weights. A built model gives its layers access to their weights.
"""

from typing import TYPE_CHECKING

from fastnn._missing import public_names
from fastnn._names import automatic_name
from fastnn.layers.activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from fastnn.layers.dense import Dense
from fastnn.layers.dropout import AlphaDropout, Dropout, GaussianNoise
from fastnn.layers.layer import Input, InputLayer, Layer, ParameterSpec, WeightAccess
from fastnn.layers.normalization import BatchNormalization, LayerNormalization, Normalization, Rescaling
from fastnn.layers.structure import Flatten, Identity, Residual

__all__ = [
    "ELU",
    "Activation",
    "AlphaDropout",
    "BatchNormalization",
    "Dense",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "Identity",
    "Input",
    "InputLayer",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Normalization",
    "PReLU",
    "ParameterSpec",
    "ReLU",
    "Rescaling",
    "Residual",
    "Softmax",
    "WeightAccess",
    "automatic_name",
]


if not TYPE_CHECKING:
    __getattr__, __dir__ = public_names(__name__, __all__)
