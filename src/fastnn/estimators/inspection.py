"""Looking into a fitted network: outputs of hidden layers, gradients with respect to inputs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

import fastnn._core as _core
from fastnn._arguments import whole

Array = NDArray[Any]


class InspectionMixin:
    """What both estimators offer beside scikit-learn's methods."""

    def _layers(self, X: Any) -> tuple[Any, list[Array]]:
        """Return the network and the outputs of all its layers, X as it sees it first."""
        check_is_fitted(self)
        network = self._net  # type: ignore[attr-defined]
        outputs = [np.asarray(self._prepared(self._check_X(X)), network.dtype)]  # type: ignore[attr-defined]
        for kernel, bias, (name, parameters) in zip(*network.read(), network.architecture.activations, strict=True):
            Z = _core.dense_forward(outputs[-1], kernel, bias, "linear", None)
            outputs.append(_core.activation(name, Z, None, parameters))
        return network, outputs

    def hidden_activations(self, X: Any) -> list[Array]:
        """Return the outputs (n, size) of every hidden layer for X (n, n_features).

        Examples
        --------
        >>> import numpy as np
        >>> from fastnn import MLPRegressor
        >>> X = np.linspace(-1.0, 1.0, 50).reshape(-1, 1)
        >>> model = MLPRegressor(hidden_layer_sizes=(8, 4), max_iter=2, tol=10.0).fit(X, X.ravel() ** 2)
        >>> [hidden.shape for hidden in model.hidden_activations(X)]
        [(50, 8), (50, 4)]
        """
        return self._layers(X)[1][1:-1]

    def input_gradients(self, X: Any, output: int = 0) -> Array:
        """Return the derivatives (n, n_inputs) of one output with respect to the inputs of every row of X.

        Inputs are the columns the network sees: after encoding, filling of missing values and standardisation.

        Parameters
        ----------
        X : (n, n_features).
        output : number of the output: a class of several, a label, or a target; 0 is the second class of two.
        """
        network, outputs = self._layers(X)
        n_outputs = outputs[-1].shape[1]
        output = whole("output", output, at_least=0, at_most=n_outputs - 1)
        gradient = np.zeros_like(outputs[-1])
        gradient[:, output] = 1.0
        layers = list(zip(*network.read(), network.architecture.activations, outputs[:-1], strict=True))
        for kernel, bias, (name, parameters), inputs in reversed(layers):
            Z = _core.dense_forward(inputs, kernel, bias, "linear", None)
            gradient = _core.activation_gradient(name, Z, gradient, parameters)
            gradient = np.ascontiguousarray(gradient @ kernel.T)
        return gradient
