"""The compiled network of a fitted estimator: weights in and out, targets and loss in scikit-learn's convention."""

import multiprocessing
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
import fastnn._registry as registry
from fastnn.activations import ActivationFunction

Array = NDArray[Any]

SKLEARN_ACTIVATIONS = {
    "identity": "linear",
    "logistic": "sigmoid",
    "exp": "exponential",
    "tanh": "tanh",
    "relu": "relu",
}
"""scikit-learn's names of activations and the core's."""


def native_activation(name: Any) -> tuple[str, tuple[float, ...]]:
    """Return the core's name and options of an activation given by scikit-learn's name, fastnn's name or as an object.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones and the nearest.
    """
    if isinstance(name, str) and name in SKLEARN_ACTIVATIONS:
        return SKLEARN_ACTIVATIONS[name], ()
    if isinstance(name, str) and not registry.knows("activation", name):
        raise ValueError(
            registry.unknown_name("activation", name, {*registry.listed("activation"), "identity", "logistic"})
        )
    activation: ActivationFunction = registry.resolve("activation", name, ActivationFunction)
    return activation.name, tuple(activation.parameters.values())


@dataclass
class Architecture:
    """What a network looks like, in plain values that pickle.

    Parameters
    ----------
    n_features : number of input columns.
    sizes : outputs of every layer, the last one included.
    activations : (core name, options) of every layer, the last one included.
    dropout : rate after every hidden layer.
    """

    n_features: int
    sizes: list[int]
    activations: list[tuple[str, tuple[float, ...]]]
    dropout: list[float]

    def ops(self, alpha: float) -> tuple[list[tuple[str, dict[str, Any]]], list[int]]:
        """Return the core's ops, with the penalty ``alpha / 2 w^2`` on kernels, and the numbers of the dense ones."""
        ops: list[tuple[str, dict[str, Any]]] = []
        dense = []
        for i, (size, (name, parameters)) in enumerate(zip(self.sizes, self.activations, strict=True)):
            options: dict[str, Any] = {"n_out": size, "activation": name, "kernel_regularizer": (0.0, 0.5 * alpha)}
            if parameters:
                options["parameters"] = parameters
            dense.append(len(ops))
            ops.append(("dense", options))
            if i < len(self.dropout) and self.dropout[i] > 0.0:
                ops.append(("dropout", {"rate": self.dropout[i]}))
        return ops, dense

    def shapes(self) -> list[tuple[int, int]]:
        """Return the kernels' shapes."""
        return list(zip([self.n_features, *self.sizes[:-1]], self.sizes, strict=True))


@dataclass
class Objective:
    """Loss and update rule as the core takes them, and how the core's loss becomes the reported one.

    Parameters
    ----------
    loss, loss_options : name and options of the core's loss.
    rule, rule_options : name and options of the core's update rule.
    alpha : factor of the squared weights, ``alpha / 2 sum(w^2)``, divided by the rows of a batch.
    report : factor of the reported loss beside the one that is minimised; the penalty is not multiplied.
    """

    loss: str
    loss_options: dict[str, Any]
    rule: str
    rule_options: dict[str, Any]
    alpha: float
    report: float = 1.0

    def reported(self, total: float, penalty: float) -> float:
        """Return the loss to report for the core's loss and the part of it that is penalties."""
        return (total - penalty) * self.report + penalty


@dataclass
class NetworkState:
    """All that a network is made of, as arrays and plain values."""

    architecture: Architecture
    dtype: str
    coefs: list[Array]
    intercepts: list[Array]
    objective: Objective | None = None
    moments: list[list[Array]] = field(default_factory=list)
    iterations: int = 0


class FittedNetwork:
    """A compiled network whose weights may also be reached, and changed, as lists of arrays.

    Parameters
    ----------
    architecture : sizes and activations.
    dtype : "float32" or "float64".
    coefs, intercepts : starting weights, kernels (n_in, n_out) and biases (n_out,).
    """

    def __init__(
        self, architecture: Architecture, dtype: str, coefs: Sequence[Array], intercepts: Sequence[Array]
    ) -> None:
        self.architecture = architecture
        self.dtype = np.dtype(dtype)
        self._objective: Objective | None = None
        self._lent: tuple[list[Array], list[Array]] | None = None
        self._lock = threading.Lock()
        self._make(0.0)
        self.write(coefs, intercepts)

    def _make(self, alpha: float) -> None:
        ops, self._dense = self.architecture.ops(alpha)
        self.core = _core.Network(self.architecture.n_features, ops, self.dtype.name)

    # Weights

    def write(self, coefs: Sequence[Array], intercepts: Sequence[Array]) -> None:
        """Replace all weights.

        Raises
        ------
        ValueError
            Wrong number of arrays or wrong shape.
        """
        for what, arrays in (("coefs_", coefs), ("intercepts_", intercepts)):
            if len(arrays) != len(self._dense):
                raise ValueError(f"{what} must hold {len(self._dense)} arrays, got {len(arrays)}")
        for op, kernel, bias in zip(self._dense, coefs, intercepts, strict=True):
            self.core.set_parameter(op, "kernel", np.asarray(kernel))
            self.core.set_parameter(op, "bias", np.asarray(bias))

    def read(self, slot: int = 0) -> tuple[list[Array], list[Array]]:
        """Return copies of kernels and biases, or of the update rule's moments number ``slot``."""
        return (
            [self.core.get_parameter(op, "kernel", slot) for op in self._dense],
            [self.core.get_parameter(op, "bias", slot) for op in self._dense],
        )

    def lend(self) -> tuple[list[Array], list[Array]]:
        """Return kernels and biases; what is changed in them counts from then on."""
        if self._lent is None:
            self._lent = self.read()
        return self._lent

    def take_back(self) -> None:
        """Make changes of lent weights count, and lend no longer."""
        if self._lent is not None:
            lent, self._lent = self._lent, None
            self.write(*lent)

    def predict_plain(self, X: Any) -> Array | None:
        """Return the outputs of a small float array; None where X needs scikit-learn's checks or a conversion."""
        if (
            type(X) is not np.ndarray
            or X.dtype != self.dtype
            or X.ndim != 2
            or not 1 <= X.shape[0] <= 256
            or X.shape[1] != self.architecture.n_features
            or self._lent is not None
        ):
            return None
        try:
            outputs: Array = self.core.predict(X, None, 1)
        except ValueError:
            # a value that is not finite: scikit-learn's checks say so in its words
            return None
        return outputs

    # Training

    def compile(self, objective: Objective) -> None:
        """Choose loss and update rule; resets the moments."""
        self.take_back()
        if self._objective is None or self._objective.alpha != objective.alpha:
            weights = self.read()
            self._make(objective.alpha)
            self.write(*weights)
        self.core.compile(objective.loss, objective.loss_options, objective.rule, objective.rule_options)
        self._objective = objective

    def continue_with(self, objective: Objective) -> None:
        """Choose loss and update rule; keeps the moments."""
        if self._objective == objective:
            self.take_back()
            return
        moments, iterations = self.moments(), self.core.iterations
        self.compile(objective)
        self._set_moments(moments, iterations)

    def moments(self) -> list[list[Array]]:
        """Return the update rule's moments: per slot kernels, then biases."""
        slots = range(1, self.core.n_slots + 1) if self._objective is not None else ()
        return [[array for part in self.read(slot) for array in part] for slot in slots]

    def _set_moments(self, moments: list[list[Array]], iterations: int) -> None:
        if len(moments) == self.core.n_slots:
            for slot, arrays in enumerate(moments, 1):
                for op, kernel, bias in zip(self._dense, arrays, arrays[len(self._dense) :], strict=False):
                    self.core.set_parameter(op, "kernel", kernel, slot)
                    self.core.set_parameter(op, "bias", bias, slot)
            self.core.iterations = iterations

    # Prediction

    def predict(self, X: Array, n_threads: int = 0) -> Array:
        """Return the outputs (n, n_outputs) of X (n, n_features)."""
        if self._lent is None:
            return self.core.predict(X, None, n_threads)
        with self._lock:
            self.write(*self._lent)
            return self.core.predict(X, None, n_threads)

    # Pickling

    def __reduce__(self) -> tuple[Any, ...]:
        return FittedNetwork.from_state, (self.state(),)

    def state(self) -> NetworkState:
        """Return what ``from_state`` makes an equal network of."""
        if self._lent is not None:
            with self._lock:
                self.write(*self._lent)
        coefs, intercepts = self.read()
        return NetworkState(
            self.architecture,
            self.dtype.name,
            coefs,
            intercepts,
            self._objective,
            self.moments(),
            self.core.iterations,
        )

    @classmethod
    def from_state(cls, state: NetworkState) -> "FittedNetwork":
        """Return the network of a state."""
        network = cls(state.architecture, state.dtype, state.coefs, state.intercepts)
        if state.objective is not None:
            network.compile(state.objective)
            network._set_moments(state.moments, state.iterations)
        return network


def threads_to_use(n_threads: int | None) -> int:
    """Return the number of threads of a native call; 0 is fastnn's own setting.

    Unless a number is asked for, a call from a worker process or from a thread beside the main one gets one thread:
    there the parallelism is the caller's.
    """
    if n_threads is not None:
        return n_threads
    if threading.current_thread() is not threading.main_thread():
        return 1
    return 1 if multiprocessing.parent_process() is not None else 0
