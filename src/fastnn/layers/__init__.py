"""Layers: descriptions with Keras's names and arguments.

A layer holds options, not weights. A built model gives its layers access to their weights.
"""

from typing import TYPE_CHECKING

import fastnn._registry as registry
from fastnn._missing import public_names
from fastnn._names import automatic_name
from fastnn.layers.activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from fastnn.layers.dense import Dense
from fastnn.layers.dropout import AlphaDropout, Dropout, GaussianNoise
from fastnn.layers.inputs import Input, InputLayer
from fastnn.layers.layer import Layer
from fastnn.layers.normalization import BatchNormalization, LayerNormalization, Normalization, Rescaling
from fastnn.layers.structure import Flatten, Identity, Reshape, Residual
from fastnn.layers.weights import ParameterSpec, WeightAccess

__all__ = [
    "ELU",
    "Activation",
    "Add",
    "AlphaDropout",
    "Average",
    "BatchNormalization",
    "CategoryEncoding",
    "Concatenate",
    "CosineFeatures",
    "Dense",
    "Discretization",
    "Dot",
    "Dropout",
    "Embedding",
    "FeatureScale",
    "Flatten",
    "GaussianNoise",
    "GroupedDense",
    "Hashing",
    "Identity",
    "Input",
    "InputLayer",
    "IntegerLookup",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Maximum",
    "MemberDense",
    "Minimum",
    "Multiply",
    "NTPDense",
    "NonCrossingQuantiles",
    "Normalization",
    "PReLU",
    "ParameterSpec",
    "ParametricActivation",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "PiecewiseLinearEncoding",
    "QuantileTransform",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Residual",
    "RobustScaling",
    "Softmax",
    "StringLookup",
    "Subtract",
    "WeightAccess",
    "add",
    "automatic_name",
    "average",
    "concatenate",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "subtract",
]

_LATE = {
    "fastnn.layers.embedding": ("Embedding",),
    "fastnn.layers.encoding": ("CategoryEncoding", "Discretization", "Hashing"),
    "fastnn.layers.lookups": ("IntegerLookup", "StringLookup"),
    "fastnn.layers.merging": (
        *("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"),
        *("add", "average", "concatenate", "dot", "maximum", "minimum", "multiply", "subtract"),
    ),
    "fastnn.layers.numeric_embeddings": (
        *("CosineFeatures", "PeriodicEmbedding", "PiecewiseLinearEmbedding", "PiecewiseLinearEncoding"),
    ),
    "fastnn.layers.preprocessing": ("QuantileTransform", "RobustScaling"),
    "fastnn.layers.tabular": (
        *("FeatureScale", "GroupedDense", "MemberDense", "NTPDense", "NonCrossingQuantiles", "ParametricActivation"),
    ),
}
for _module, _names in {**_LATE, "fastnn.layers.arithmetic": ("Arithmetic", "GetItem")}.items():
    registry.register_late("layer", _module, *(name for name in _names if not name.islower()))

if TYPE_CHECKING:
    from fastnn.layers.embedding import Embedding
    from fastnn.layers.encoding import CategoryEncoding, Discretization, Hashing
    from fastnn.layers.lookups import IntegerLookup, StringLookup
    from fastnn.layers.merging import (
        Add,
        Average,
        Concatenate,
        Dot,
        Maximum,
        Minimum,
        Multiply,
        Subtract,
        add,
        average,
        concatenate,
        dot,
        maximum,
        minimum,
        multiply,
        subtract,
    )
    from fastnn.layers.numeric_embeddings import (
        CosineFeatures,
        PeriodicEmbedding,
        PiecewiseLinearEmbedding,
        PiecewiseLinearEncoding,
    )
    from fastnn.layers.preprocessing import QuantileTransform, RobustScaling
    from fastnn.layers.tabular import (
        FeatureScale,
        GroupedDense,
        MemberDense,
        NonCrossingQuantiles,
        NTPDense,
        ParametricActivation,
    )
else:
    __getattr__, __dir__ = public_names(__name__, __all__, late=_LATE)
