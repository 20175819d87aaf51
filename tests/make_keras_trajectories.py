"""Write `keras_trajectories.json`: what Keras computes for the cases of `test_keras_arithmetic.py`.

Needs `keras` and one of its backends: `KERAS_BACKEND=torch python tests/make_keras_trajectories.py`.
Keras computes in float64 here. What it lacks is written below with its operations.
"""

import json
from pathlib import Path

import keras
import numpy as np
from test_keras_arithmetic import CASES, train

keras.config.set_floatx("float64")


class Residual(keras.layers.Layer):
    """Adds the block's input to its output."""

    def __init__(self, layers):
        super().__init__()
        self.block = keras.Sequential(layers)

    def build(self, input_shape):
        self.block.build(input_shape)

    def call(self, x, training=None):
        return x + self.block(x, training=training)


def quantile(q):
    """The loss of a quantile."""

    def loss(y_true, y_pred):
        error = y_true - y_pred
        return keras.ops.mean(keras.ops.maximum(q * error, (q - 1.0) * error), axis=-1)

    return loss


def gaussian_nll():
    """The loss of a normal distribution, means and logarithms of variances in y_pred."""

    def loss(y_true, y_pred):
        mean, log_variance = keras.ops.split(y_pred, 2, axis=-1)
        terms = log_variance + keras.ops.square(y_true - mean) * keras.ops.exp(-log_variance)
        return 0.5 * keras.ops.mean(terms, axis=-1)

    return loss


keras.layers.Residual = Residual
keras.losses.Quantile = quantile
keras.losses.GaussianNLL = gaussian_nll

trajectories = {}
for name, case in CASES.items():
    history, weights, results = train(keras, case)
    trajectories[name] = {
        "history": {key: [float(f"{value:.10g}") for value in values] for key, values in history.items()},
        "weights": [np.asarray(weight).round(10).tolist() for weight in weights],
        "evaluate": results,
    }
document = {"keras": keras.__version__, "backend": keras.backend.backend(), "trajectories": trajectories}
Path(__file__).with_name("keras_trajectories.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
