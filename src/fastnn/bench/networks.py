"""The networks that every contestant trains: sizes, data and starting weights, the same in every process."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.datasets import load_ground_motion, load_submarine

__all__ = ["NETWORKS", "Network", "graph_of", "network_data", "network_weights"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Network:
    """A dense network and the batches that it is trained on.

    ``loss`` is "mse", "binary_crossentropy" or "sparse_categorical_crossentropy"; the last layer is linear and the
    cross-entropies take logits. ``sizes`` are the numbers of inputs, of hidden units and of outputs.

    ``shape`` is "chain"; "wide and deep", which adds a linear layer from the inputs to the outputs; or "two towers",
    where each half of the inputs has half of the first hidden units, and the outputs read both halves.

    ``activation`` of the hidden units is "relu" or "tanh"; ``optimizer`` is "adam" or "momentum", gradient descent with
    a momentum of 0.9.
    """

    name: str
    sizes: tuple[int, ...]
    batch_size: int
    loss: str
    steps_per_epoch: int
    shape: str = "chain"
    activation: str = "relu"
    optimizer: str = "adam"

    @property
    def n_rows(self) -> int:
        """Rows of the training data: whole batches only."""
        return self.batch_size * self.steps_per_epoch

    @property
    def n_weights(self) -> int:
        """Elements of the kernels, biases not counted."""
        return sum(n_in * n_out for n_in, n_out in self.kernels)

    @property
    def kernels(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each kernel: of the first tower, the second and the rest; of the wide layer last."""
        chain = list(pairwise(self.sizes))
        if self.shape == "two towers":
            tower = (self.sizes[0] // 2, self.sizes[1] // 2)
            return [tower, tower, *chain[1:]]
        return [*chain, (self.sizes[0], self.sizes[-1])] if self.shape == "wide and deep" else chain

    @property
    def n_first_weights(self) -> int:
        """Elements of the kernels that multiply the inputs, whose gradient nobody needs."""
        n_in, hidden = self.sizes[:2]
        if self.shape == "two towers":
            return n_in * hidden // 2
        return n_in * (hidden + self.sizes[-1]) if self.shape == "wide and deep" else n_in * hidden

    @property
    def flops_per_step(self) -> int:
        """Forward, dW and dX products: 6·B·P, less 2·B for each weight that multiplies an input, which needs no dX."""
        return self.batch_size * (6 * self.n_weights - 2 * self.n_first_weights)

    @property
    def structure(self) -> str:
        """The sizes of its layers as a text."""
        chain = "-".join(map(str, self.sizes))
        if self.shape == "two towers":
            tower = "-".join(str(size // 2) for size in self.sizes[:2])
            return f"{tower}/{tower}-{'-'.join(map(str, self.sizes[1:]))}"
        return f"({chain})+({self.sizes[0]}-{self.sizes[-1]})" if self.shape == "wide and deep" else chain

    def inputs(self, X: Array) -> list[Array]:
        """Return the C-contiguous arrays of the network's inputs: X (n, sizes[0]), or half of its columns per tower."""
        return [half.copy() for half in np.hsplit(X, 2)] if self.shape == "two towers" else [X]

    def one_or_more(self, X: Array) -> Any:
        """Return X, or a list for a network with several inputs: what Keras's models take."""
        return self.inputs(X) if self.shape == "two towers" else X

    @property
    def label(self) -> str:
        """Name, sizes and batch size on one line."""
        return f"{self.name} {self.structure} b{self.batch_size}"


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
        Network("wide-and-deep", (100, 256, 256, 256, 1), 256, "mse", 40, "wide and deep"),
        Network("two-tower", (128, 128, 3), 64, "mse", 200, "two towers"),
        Network(
            "opennn-higgs",
            (28, *5 * (300,), 1),
            100,
            "binary_crossentropy",
            40,
            activation="tanh",
            optimizer="momentum",
        ),
        Network("simplechains", (4, 32, 16, 4), 10_000, "mse", 1, activation="tanh"),
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


def graph_of(network: Network, layers: Any, last: str | None = None) -> tuple[Any, Any]:
    """Return inputs and outputs of a network that is no chain, of Keras's layers or of those with the same names."""
    if network.shape == "two towers":
        tower_in, tower_out = network.kernels[0]
        inputs = [layers.Input((tower_in,)) for _ in range(2)]
        h = layers.Concatenate()([layers.Dense(tower_out, activation="relu")(x) for x in inputs])
        for units in network.sizes[2:-1]:
            h = layers.Dense(units, activation="relu")(h)
        return inputs, layers.Dense(network.sizes[-1], activation=last)(h)
    x = h = layers.Input((network.sizes[0],))
    for units in network.sizes[1:-1]:
        h = layers.Dense(units, activation="relu")(h)
    deep, wide = (layers.Dense(network.sizes[-1])(tensor) for tensor in (h, x))
    total = layers.Add()([deep, wide])
    return x, total if last is None else layers.Activation(last)(total)


def network_weights(network: Network) -> list[Array]:
    """Return starting weights ``[W1, b1, W2, b2, ...]``, float32: W Glorot uniform (n_in, n_out), b zero (n_out,).

    They are in the order of ``network.kernels``.
    """
    generator = np.random.Generator(np.random.Philox(network.n_weights + 1))
    weights: list[Array] = []
    for n_in, n_out in network.kernels:
        limit = (6.0 / (n_in + n_out)) ** 0.5
        weights.append(generator.uniform(-limit, limit, (n_in, n_out)).astype(np.float32))
        weights.append(np.zeros(n_out, dtype=np.float32))
    return weights


def _standardize(columns: Array) -> Array:
    return np.asarray((columns - columns.mean(axis=0)) / columns.std(axis=0), dtype=np.float32)
