"""Pure Python: the training step in lists of floats."""

from fastnn.bench.contestants.contestant import EPSILON, LEARNING_RATE, Array
from fastnn.bench.networks import Network
from fastnn.bench.pure_python import PurePythonNetwork

_LOSSES = {"mse": "mean_squared_error"}


class _PythonLists:
    """One thread; float64, as Python's floats are."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def start_training(self, network: Network, X: Array, y: Array, weights: list[Array]) -> None:
        starts = range(0, len(X), network.batch_size)
        inputs, targets = X.tolist(), y.tolist()
        self.batches = [(inputs[i : i + network.batch_size], targets[i : i + network.batch_size]) for i in starts]
        self.network = PurePythonNetwork(
            network.sizes,
            loss=_LOSSES.get(network.loss, network.loss),
            learning_rate=LEARNING_RATE,
            weights=[w.tolist() for w in weights],
            epsilon=EPSILON,
        )

    def train(self, epochs: int) -> list[float]:
        return [sum(self.network.step(x, y) for x, y in self.batches) / len(self.batches) for _ in range(epochs)]


CONTESTANT = _PythonLists
