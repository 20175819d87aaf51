"""The networks that every contestant trains: sizes, data and starting weights, the same in every process."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.datasets import load_ground_motion, load_submarine

__all__ = ["NETWORKS", "Network", "network_data", "network_weights"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Network:
    """A dense ReLU network and the batches that it is trained on with Adam.

    ``loss`` is "mse", "binary_crossentropy" or "sparse_categorical_crossentropy"; the last layer is linear and the
    cross-entropies take logits. ``sizes`` are the numbers of inputs, of hidden units and of outputs.
    """

    name: str
    sizes: tuple[int, ...]
    batch_size: int
    loss: str
    steps_per_epoch: int

    @property
    def n_rows(self) -> int:
        """Rows of the training data: whole batches only."""
        return self.batch_size * self.steps_per_epoch

    @property
    def n_weights(self) -> int:
        """Elements of the kernels, biases not counted."""
        return sum(n_in * n_out for n_in, n_out in pairwise(self.sizes))

    @property
    def flops_per_step(self) -> int:
        """Forward, dW and dX products: 6·B·P - 2·B·d0·d1, as the first layer needs no dX."""
        return self.batch_size * (6 * self.n_weights - 2 * self.sizes[0] * self.sizes[1])

    @property
    def label(self) -> str:
        """Name, sizes and batch size on one line."""
        return f"{self.name} {'-'.join(map(str, self.sizes))} b{self.batch_size}"


NETWORKS = {
    network.name: network
    for network in (
        Network("ground-motion", (2, 32, 32, 1), 26, "mse", 7),
        Network("submarine", (5, 32, 32, 3), 32, "mse", 1000),
        Network("binary", (4, 16, 1), 32, "binary_crossentropy", 1000),
        Network("digits", (64, 100, 10), 64, "sparse_categorical_crossentropy", 200),
        Network("mnist128", (784, 128, 10), 128, "sparse_categorical_crossentropy", 40),
        Network("tabular", (100, 256, 256, 256, 1), 256, "mse", 40),
        Network("mnist512", (784, 512, 512, 10), 128, "sparse_categorical_crossentropy", 40),
        Network("wide", (1024, 2048, 2048, 1024), 512, "mse", 4),
    )
}
"""The networks by name; "ground-motion" trains on the 182 records of `fastnn.datasets.load_ground_motion`."""


@lru_cache(maxsize=1)
def network_data(network: Network) -> tuple[Array, Array]:
    """Return inputs (n_rows, n_features) and targets, float32 (n_rows, n_outputs) or int64 labels (n_rows,)."""
    if network.name == "ground-motion":
        records = load_ground_motion()
        inputs = np.stack([records["magnitude"], np.log10(records["distance_km"])], axis=1)
        return _standardize(inputs), _standardize(np.log10(records.target[:, None]))
    if network.name == "submarine":
        voyage = load_submarine(n=network.n_rows)
        return _standardize(voyage.data), _standardize(voyage.target)
    generator = np.random.Generator(np.random.Philox(network.n_weights))
    n_features, n_outputs = network.sizes[0], network.sizes[-1]
    X = generator.standard_normal((network.n_rows, n_features), dtype=np.float32)
    if network.loss == "mse":
        teacher = generator.standard_normal((n_features, n_outputs), dtype=np.float32) / np.float32(n_features**0.5)
        return X, np.tanh(X @ teacher)
    # Classes alternate, so that a few rows hold all of them. Their means are about 4 standard deviations apart.
    labels = np.arange(network.n_rows) % max(n_outputs, 2)
    means = generator.standard_normal((max(n_outputs, 2), n_features)) * (3.0 / n_features**0.5)
    X += means[labels].astype(np.float32)
    if network.loss == "binary_crossentropy":
        return X, labels[:, None].astype(np.float32)
    return X, labels


def network_weights(network: Network) -> list[Array]:
    """Return starting weights ``[W1, b1, W2, b2, ...]``, float32: W Glorot uniform (n_in, n_out), b zero (n_out,)."""
    generator = np.random.Generator(np.random.Philox(network.n_weights + 1))
    weights: list[Array] = []
    for n_in, n_out in pairwise(network.sizes):
        limit = (6.0 / (n_in + n_out)) ** 0.5
        weights.append(generator.uniform(-limit, limit, (n_in, n_out)).astype(np.float32))
        weights.append(np.zeros(n_out, dtype=np.float32))
    return weights


def _standardize(columns: Array) -> Array:
    return np.asarray((columns - columns.mean(axis=0)) / columns.std(axis=0), dtype=np.float32)
