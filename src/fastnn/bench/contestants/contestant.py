"""The interface of a library to the benchmark, and the list of libraries."""

import importlib
import importlib.util
import os
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from fastnn.bench.networks import Network

__all__ = [
    "CONTESTANTS",
    "EPSILON",
    "LEARNING_RATE",
    "MOMENTUM",
    "Contestant",
    "Entrant",
    "create",
    "installed",
    "keras_backend",
]

Array = NDArray[Any]

LEARNING_RATE = 1e-3
MOMENTUM = 0.9
EPSILON = 1e-12
"""Small enough for the result not to depend on whether it is added before or after bias correction: the gradients of
a wide network are as small as 1e-6."""


class Contestant(Protocol):
    """A library in a process of its own; it has the methods of the grids that it enters.

    All arrays are float32 and C-contiguous.
    """

    def start_training(self, network: Network, X: Array, y: Array, weights: list[Array]) -> None:
        """Build the network with these starting weights, and its optimizer; keep the data."""

    def train(self, epochs: int) -> list[float]:
        """Train on the data in its order, in whole batches; return the mean loss of each epoch."""

    def start_prediction(self, network: Network, weights: list[Array]) -> None:
        """Build the network for prediction; a classifier ends in softmax or sigmoid."""

    def predict(self, x: Array) -> Array:
        """Return the outputs (n, n_outputs) of inputs (n, n_features), both NumPy arrays."""

    def start_product(self, x: Array, kernel: Array) -> None:
        """Keep the factors (n, i) and (i, o), float32 or float64, and a buffer (n, o)."""

    def multiply(self) -> Array:
        """Write the product into the buffer and return it."""


@dataclass(frozen=True)
class Entrant:
    """The module of a contestant's class, the packages that it needs, and the grids that it enters."""

    name: str
    module: str
    requires: tuple[str, ...]
    """Modules that must be installed."""
    distributions: tuple[str, ...]
    """Names of the packages whose versions a report states."""
    grids: frozenset[str]
    pinned: bool = False
    """On one thread the process must be pinned to a core: the library has no working option."""
    threaded: bool = True
    graphs: bool = False
    """Whether it builds networks that are not chains."""
    only_plain: bool = False
    """Whether all that it knows is ReLU and Adam."""


CONTESTANTS = {
    entrant.name: entrant
    for entrant in (
        Entrant("fastnn", "fastnn_model", (), (), frozenset({"training", "prediction", "products"}), graphs=True),
        Entrant(
            "jax", "jax_scan", ("jax",), ("jax", "jaxlib"), frozenset({"training", "prediction"}), True, graphs=True
        ),
        Entrant("pytorch", "pytorch", ("torch",), ("torch",), frozenset({"training", "prediction"}), graphs=True),
        Entrant(
            "onnxruntime", "onnx_runtime", ("onnx", "onnxruntime"), ("onnx", "onnxruntime"), frozenset({"prediction"})
        ),
        Entrant("numpy", "numpy_reference", (), ("numpy",), frozenset({"training", "prediction", "products"})),
        Entrant("scikit-learn", "scikit_learn", ("sklearn",), ("scikit-learn",), frozenset({"training"})),
        Entrant("keras", "keras_model", ("keras",), ("keras",), frozenset({"training"}), graphs=True),
        Entrant("python", "python_lists", (), (), frozenset({"training"}), threaded=False, only_plain=True),
    )
}
"""The contestants by name, in the order of the tables. fastnn comes first."""


def installed(entrant: Entrant) -> bool:
    """Whether everything that the entrant needs can be imported: for Keras, a backend that trains too."""
    present = all(importlib.util.find_spec(name) is not None for name in entrant.requires)
    return present and (entrant.name != "keras" or keras_backend() is not None)


def keras_backend() -> str | None:
    """Return the backend that Keras runs on: that of KERAS_BACKEND, or the first of those that are installed."""
    chosen = os.environ.get("KERAS_BACKEND")
    candidates = [chosen] if chosen else ["jax", "torch", "tensorflow"]
    return next((name for name in candidates if importlib.util.find_spec(name) is not None), None)


def create(name: str, n_threads: int) -> Contestant:
    """Import the contestant's library and return the contestant."""
    module = importlib.import_module(f"fastnn.bench.contestants.{CONTESTANTS[name].module}")
    contestant: Contestant = module.CONTESTANT(n_threads)
    return contestant
