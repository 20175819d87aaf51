"""The NumPy twin of every compiled kernel: same names, arguments and results, written to be read.

Tests compare the kernels with it in float64, benchmarks in float32. Nothing else in the package imports it, and it
imports NumPy only.
"""

from .activations import ACTIVATIONS, activation, activation_gradient
from .dense import dense_backward, dense_forward
from .error_function import erf, erfc, normal_cdf
from .losses import LOSSES, loss, loss_and_gradient
from .network import DenseNetwork
from .updates import OPTIMIZERS, adam, adamw, rmsprop, sgd, weight_decay

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "OPTIMIZERS",
    "DenseNetwork",
    "activation",
    "activation_gradient",
    "adam",
    "adamw",
    "dense_backward",
    "dense_forward",
    "erf",
    "erfc",
    "loss",
    "loss_and_gradient",
    "normal_cdf",
    "rmsprop",
    "sgd",
    "weight_decay",
]
