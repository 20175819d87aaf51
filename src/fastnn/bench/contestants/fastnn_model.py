"""fastnn itself, as its users call it."""

from collections.abc import Callable
from typing import Any

import numpy as np

import fastnn
from fastnn import layers, losses, ops, optimizers
from fastnn.bench.contestants.contestant import EPSILON, LEARNING_RATE, MOMENTUM, Array
from fastnn.bench.networks import Network, graph_of


class _FastnnModel:
    """`Sequential.fit` and `model(x)`; with all threads allowed, fastnn itself chooses fewer for small networks."""

    def __init__(self, n_threads: int) -> None:
        fastnn.set_num_threads(n_threads)

    def start_training(self, network: Network, X: Array, y: Array, weights: list[Array]) -> None:
        self.X, self.y, self.batch_size = network.one_or_more(X), y, network.batch_size
        self.model = _model(network, weights)
        classes: dict[str, Callable[[], Any]] = {
            "mse": losses.MeanSquaredError,
            "binary_crossentropy": lambda: losses.BinaryCrossentropy(from_logits=True),
            "sparse_categorical_crossentropy": lambda: losses.SparseCategoricalCrossentropy(from_logits=True),
        }
        loss = classes[network.loss]()
        rule: optimizers.Optimizer = optimizers.Adam(learning_rate=LEARNING_RATE, epsilon=EPSILON)
        if network.optimizer == "momentum":
            rule = optimizers.SGD(learning_rate=LEARNING_RATE, momentum=MOMENTUM)
        self.model.compile(optimizer=rule, loss=loss)

    def train(self, epochs: int) -> list[float]:
        fit = self.model.fit(self.X, self.y, batch_size=self.batch_size, epochs=epochs, shuffle=False, verbose=0)
        return [float(value) for value in fit.history["loss"]]

    def start_prediction(self, network: Network, weights: list[Array]) -> None:
        last = {"binary_crossentropy": "sigmoid", "sparse_categorical_crossentropy": "softmax"}.get(network.loss)
        self.network, self.model = network, _model(network, weights, last)

    def predict(self, x: Array) -> Array:
        outputs: Array = self.model(self.network.one_or_more(x))
        return outputs

    def start_product(self, x: Array, kernel: Array) -> None:
        self.factors, self.product = (x, kernel), np.empty((len(x), kernel.shape[1]), x.dtype)

    def multiply(self) -> Array:
        return ops.dense_forward(*self.factors, out=self.product)


def _model(network: Network, weights: list[Array], last: str | None = None) -> Any:
    model: Any
    if network.shape == "chain":
        hidden = [layers.Dense(units, activation=network.activation) for units in network.sizes[1:-1]]
        output = layers.Dense(network.sizes[-1], activation=last)
        model = fastnn.Sequential([layers.Input((network.sizes[0],)), *hidden, output])
    else:
        model = fastnn.Model(*graph_of(network, layers, last))
    model.set_weights(weights)
    return model


CONTESTANT = _FastnnModel
