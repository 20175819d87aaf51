"""NumPy: `fastnn.reference`, the plain twin of the compiled kernels."""

import numpy as np

from fastnn.bench.contestants.contestant import EPSILON, LEARNING_RATE, MOMENTUM, Array
from fastnn.bench.networks import Network
from fastnn.reference import DenseNetwork

_LOSSES = {"mse": "mean_squared_error"}


class _NumpyReference:
    """Its thread count is that of NumPy's BLAS, set in the environment."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def start_training(self, network: Network, X: Array, y: Array, weights: list[Array]) -> None:
        starts = range(0, len(X), network.batch_size)
        self.batches = [(X[i : i + network.batch_size], y[i : i + network.batch_size]) for i in starts]
        self.network = DenseNetwork(
            network.sizes,
            loss=_LOSSES.get(network.loss, network.loss),
            activation=network.activation,
            learning_rate=LEARNING_RATE,
            optimizer="adam" if network.optimizer == "adam" else "sgd",
            optimizer_options={"epsilon": EPSILON} if network.optimizer == "adam" else {"momentum": MOMENTUM},
            weights=weights,
        )

    def train(self, epochs: int) -> list[float]:
        step, batches = self.network.step, self.batches
        return [sum(step(x, y) for x, y in batches) / len(batches) for _ in range(epochs)]

    def start_prediction(self, network: Network, weights: list[Array]) -> None:
        last = {"binary_crossentropy": "sigmoid", "sparse_categorical_crossentropy": "softmax"}
        self.network = DenseNetwork(
            network.sizes,
            weights=weights,
            activation=network.activation,
            output_activation=last.get(network.loss, "linear"),
        )

    def predict(self, x: Array) -> Array:
        return self.network.predict(x)

    def start_product(self, x: Array, kernel: Array) -> None:
        self.factors, self.product = (x, kernel), np.empty((len(x), kernel.shape[1]), x.dtype)

    def multiply(self) -> Array:
        return np.matmul(*self.factors, out=self.product)


CONTESTANT = _NumpyReference
