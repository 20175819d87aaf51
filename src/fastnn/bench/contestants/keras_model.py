"""Keras, on the backend that the environment variable KERAS_BACKEND names, or else on JAX, PyTorch or TensorFlow."""

import keras

from fastnn.bench.contestants.contestant import EPSILON, LEARNING_RATE, MOMENTUM, Array
from fastnn.bench.networks import Network, graph_of


class _KerasModel:
    """`Sequential.fit` as its users call it, compiled by XLA where the backend can."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def start_training(self, network: Network, X: Array, y: Array, weights: list[Array]) -> None:
        self.X, self.y, self.batch_size = network.one_or_more(X), y, network.batch_size
        if network.shape == "chain":
            hidden = [keras.layers.Dense(units, activation=network.activation) for units in network.sizes[1:-1]]
            layers = [keras.Input((network.sizes[0],)), *hidden, keras.layers.Dense(network.sizes[-1])]
            self.model = keras.Sequential(layers)
        else:
            self.model = keras.Model(*graph_of(network, keras.layers))
        loss = {
            "mse": keras.losses.MeanSquaredError,
            "binary_crossentropy": lambda: keras.losses.BinaryCrossentropy(from_logits=True),
            "sparse_categorical_crossentropy": lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        }[network.loss]()
        optimizer = keras.optimizers.Adam(learning_rate=LEARNING_RATE, epsilon=EPSILON)
        if network.optimizer == "momentum":
            optimizer = keras.optimizers.SGD(learning_rate=LEARNING_RATE, momentum=MOMENTUM)
        self.model.compile(optimizer=optimizer, loss=loss)
        self.model.set_weights(weights)

    def train(self, epochs: int) -> list[float]:
        fit = self.model.fit(self.X, self.y, self.batch_size, epochs, shuffle=False, verbose=0)
        return [float(value) for value in fit.history["loss"]]


CONTESTANT = _KerasModel
