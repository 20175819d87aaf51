"""The compiled network of an estimator, with its weights as scikit-learn's lists, and the objective it minimizes."""

import multiprocessing
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn._core as _core
import fastnn._registry as registry
from fastnn._allocation import new_lock
from fastnn.activations import ActivationFunction
from fastnn.network.weights import NetworkState, NetworkWeights

Array = NDArray[Any]

SKLEARN_ACTIVATIONS = {
    "identity": "linear",
    "logistic": "sigmoid",
    "exp": "exponential",
    "tanh": "tanh",
    "relu": "relu",
}
"""The core's name of each of scikit-learn's activations."""


def native_activation(name: Any) -> tuple[str, tuple[float, ...]]:
    """Return the core's name and options of an activation: scikit-learn's name, fastnn's name, or an object.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known names and suggests the closest.
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
    """The layers of a network in plain values: an estimator's fit of half a millisecond has no time for layer objects.

    Parameters
    ----------
    n_features : number of input columns.
    sizes : outputs of every layer, including the last.
    activations : (core name, options) of every layer, including the last.
    dropout : rate after every hidden layer.
    """

    n_features: int
    sizes: list[int]
    activations: list[tuple[str, tuple[float, ...]]]
    dropout: list[float]

    def ops(self, alpha: float) -> tuple[list[tuple[str, dict[str, Any]]], list[tuple[int, str]]]:
        """Return the core's ops, with the penalty ``alpha / 2 w^2`` on kernels, and (op, name) of all weights."""
        ops: list[tuple[str, dict[str, Any]]] = []
        places = []
        for i, (size, (name, parameters)) in enumerate(zip(self.sizes, self.activations, strict=True)):
            options: dict[str, Any] = {"n_out": size, "activation": name, "kernel_regularizer": (0.0, 0.5 * alpha)}
            if parameters:
                options["parameters"] = parameters
            places += [(len(ops), "kernel"), (len(ops), "bias")]
            ops.append(("dense", options))
            if i < len(self.dropout) and self.dropout[i] > 0.0:
                ops.append(("dropout", {"rate": self.dropout[i]}))
        return ops, places

    def shapes(self) -> list[tuple[int, int]]:
        """Return the kernels' shapes."""
        return list(zip([self.n_features, *self.sizes[:-1]], self.sizes, strict=True))


@dataclass
class Objective:
    """Loss and update rule of the core, and the conversion of the core's loss to the reported one.

    Parameters
    ----------
    loss, loss_options : name and options of the core's loss.
    rule, rule_options : name and options of the core's update rule.
    alpha : factor of the squared weights, ``alpha / 2 sum(w^2)``, divided by the rows of a batch.
    report : factor from the minimized loss to the reported one, both without the penalty.
    """

    loss: str
    loss_options: dict[str, Any]
    rule: str
    rule_options: dict[str, Any]
    alpha: float
    report: float = 1.0

    def reported(self, total: float, penalty: float) -> float:
        """Return the reported loss for the core's loss and its part that is penalties."""
        return (total - penalty) * self.report + penalty

    def of_outputs(self, y: Array, outputs: Array, sample_weight: Array | None) -> float:
        """Return the reported loss of outputs (n, n_outputs), without penalties."""
        options = {k: v for k, v in self.loss_options.items() if k not in ("from_logits", "weighted_mean")}
        return _core.loss_and_gradient(self.loss, y, outputs, sample_weight, False, **options)[0] * self.report


class FittedNetwork:
    """A compiled network whose weights can be read and changed as lists of arrays.

    Parameters
    ----------
    architecture : sizes and activations.
    dtype : "float32" or "float64".
    coefs, intercepts : starting weights, kernels (n_in, n_out) and biases (n_out,).
    alpha : penalty of the objective that will be compiled; another one costs the making of another network.
    """

    def __init__(
        self,
        architecture: Architecture,
        dtype: str,
        coefs: Sequence[Array],
        intercepts: Sequence[Array],
        alpha: float = 0.0,
    ) -> None:
        self.architecture = architecture
        self.dtype = np.dtype(dtype)
        self._objective: Objective | None = None
        self._lent: tuple[list[Array], list[Array]] | None = None
        self._lock = new_lock()
        self._make(alpha)
        self.write(coefs, intercepts)

    def _make(self, alpha: float) -> None:
        self._alpha = alpha
        ops, places = self.architecture.ops(alpha)
        self.core = _core.Network(self.architecture.n_features, ops, self.dtype.name)
        self.weights = NetworkWeights(self.core, places)

    # Weights

    def write(self, coefs: Sequence[Array], intercepts: Sequence[Array]) -> None:
        """Replace all weights.

        Raises
        ------
        ValueError
            Wrong number of arrays or wrong shape.
        """
        n_layers = len(self.architecture.sizes)
        for what, arrays in (("coefs_", coefs), ("intercepts_", intercepts)):
            if len(arrays) != n_layers:
                raise ValueError(f"{what} must hold {n_layers} arrays, got {len(arrays)}")
        pairs = zip(coefs, intercepts, strict=True)
        for (op, name), array in zip(self.weights.parameters, (each for pair in pairs for each in pair), strict=True):
            self.core.set_parameter(op, name, np.asarray(array))

    def read(self) -> tuple[list[Array], list[Array]]:
        """Return copies of kernels and biases."""
        arrays = [self.core.get_parameter(op, name) for op, name in self.weights.parameters]
        return arrays[::2], arrays[1::2]

    def latest(self) -> tuple[list[Array], list[Array]]:
        """Return kernels and biases with what a caller has written into those that are lent."""
        return self.read() if self._lent is None else self._lent

    def lend(self) -> tuple[list[Array], list[Array]]:
        """Return kernels and biases that a caller may change: the network follows."""
        if self._lent is None:
            self._lent = self.read()
        return self._lent

    def lend_instead(self, coefs: list[Array], intercepts: list[Array]) -> None:
        """Replace all weights, and lend these arrays from now on."""
        self.write(coefs, intercepts)
        self._lent = (coefs, intercepts)

    def take_back(self) -> None:
        """Copy lent weights into the network, and stop lending them."""
        if self._lent is not None:
            lent, self._lent = self._lent, None
            self.write(*lent)

    # Training

    def compile(self, objective: Objective) -> None:
        """Set loss and update rule; reset the moments."""
        self.take_back()
        if self._alpha != objective.alpha:
            weights = self.read()
            self._make(objective.alpha)
            self.write(*weights)
        self.core.compile(objective.loss, objective.loss_options, objective.rule, objective.rule_options)
        self._objective = objective

    def continue_with(self, objective: Objective) -> None:
        """Set loss and update rule; keep the moments if the new rule has the same number of them."""
        self.take_back()
        if self._objective == objective:
            return
        n_slots, state = self.core.n_slots, self.weights.capture()
        self.compile(objective)
        if self.core.n_slots == n_slots:
            self.weights.restore(state)

    # Prediction

    def predict(self, X: Array, n_threads: int = 0) -> Array:
        """Return the outputs (n, n_outputs) of X (n, n_features)."""
        if self._lent is None:
            return self.core.predict(X, None, n_threads)
        with self._lock:
            self.write(*self._lent)
            return self.core.predict(X, None, n_threads)

    def predict_plain(self, X: Any) -> Array | None:
        """Return the outputs of a small float array; None if X needs scikit-learn's checks or a conversion."""
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
            # A value that is not finite: scikit-learn's checks raise scikit-learn's error.
            return None
        return outputs

    def layer_outputs(self, X: Array) -> list[Array]:
        """Return X (n, n_features) and the outputs of every layer for it."""
        outputs = [np.asarray(X, self.dtype)]
        for kernel, bias, (name, parameters) in zip(*self.read(), self.architecture.activations, strict=True):
            Z = _core.dense_forward(outputs[-1], kernel, bias, "linear", None)
            outputs.append(_core.activation(name, Z, None, parameters))
        return outputs

    def input_gradients(self, X: Array, output: int) -> Array:
        """Return the derivatives (n, n_features) of one output with respect to the inputs of every row of X."""
        outputs = self.layer_outputs(X)
        gradient = np.zeros_like(outputs[-1])
        gradient[:, output] = 1.0
        layers = list(zip(*self.read(), self.architecture.activations, outputs[:-1], strict=True))
        for kernel, bias, (name, parameters), inputs in reversed(layers):
            Z = _core.dense_forward(inputs, kernel, bias, "linear", None)
            gradient = _core.activation_gradient(name, Z, gradient, parameters)
            gradient = np.ascontiguousarray(gradient @ kernel.T)
        return gradient

    # Copies and pickles

    def __reduce__(self) -> tuple[Any, ...]:
        if self._lent is not None:
            with self._lock:
                self.write(*self._lent)
        return FittedNetwork._from_state, (
            self.architecture,
            self.dtype.name,
            self._objective,
            self.weights.capture(),
        )

    @classmethod
    def _from_state(
        cls, architecture: Architecture, dtype: str, objective: Objective | None, state: NetworkState
    ) -> "FittedNetwork":
        arrays = [slots[0] for slots in state.arrays]
        network = cls(architecture, dtype, arrays[::2], arrays[1::2])
        if objective is not None:
            network.compile(objective)
        network.weights.restore(state)
        return network


def threads_to_use(n_threads: int | None) -> int:
    """Return the number of threads of a native call; 0 means fastnn's own setting.

    With ``n_threads=None``, calls from worker processes and from threads other than the main one use one thread: the
    caller runs them in parallel already.
    """
    if n_threads is not None:
        return n_threads
    if threading.current_thread() is not threading.main_thread():
        return 1
    return 1 if multiprocessing.parent_process() is not None else 0
