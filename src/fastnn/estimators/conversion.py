"""The methods of an estimator that make it one of other tools, and one from scikit-learn's."""

import copy
import inspect
import os
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastnn._derivation import Derivable
from fastnn._warnings import warn
from fastnn.estimators.network import SKLEARN_ACTIVATIONS, Architecture, FittedNetwork, native_activation
from fastnn.estimators.preprocessing import InputPreparation

Array = NDArray[Any]

_SHARED = (
    "n_features_in_", "feature_names_in_", "classes_", "_label_binarizer", "n_outputs_", "n_iter_", "t_", "n_layers_",
    "out_activation_", "loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_",
    "_no_improvement_count", "_random_state",
)  # fmt: skip
"""Attributes of a fitted estimator that mean the same in scikit-learn and fastnn."""
_ONLY_HERE = {
    "loss": ("log_loss", "squared_error", "poisson"),
    "class_weight": (None,),
    "dropout": (0.0,),
    "optimizer": (None,),
    "callbacks": (None,),
}
"""Options that train otherwise than scikit-learn does, with the values that do not."""


def _scikit_learns(estimator: Any) -> type:
    """Return scikit-learn's class for an estimator or its class."""
    import sklearn.neural_network as neural_network

    name = (estimator if isinstance(estimator, type) else type(estimator)).__mro__
    known = next(each.__name__ for each in name if each.__name__ in ("MLPClassifier", "MLPRegressor"))
    found: type = getattr(neural_network, known)
    return found


class ConvertedEstimator(Derivable):
    """An estimator with the methods that lead to other tools."""

    activation: Any
    loss: Any
    _net: FittedNetwork
    n_outputs_: int

    @classmethod
    def from_sklearn(cls, fitted: Any) -> Self:
        """Return the estimator of a fitted one of scikit-learn, with its weights, options and records.

        Predictions agree to rounding; ``partial_fit`` and a ``fit`` with ``warm_start=True`` continue from the weights,
        with new moments of the optimizer.

        Parameters
        ----------
        fitted : ``sklearn.neural_network.MLPClassifier`` or ``MLPRegressor``, the one of the same name.

        Raises
        ------
        TypeError
            Another object, such as a pipeline.
        sklearn.exceptions.NotFittedError
            It is not fitted.
        """
        wanted = _scikit_learns(cls)
        if not isinstance(fitted, wanted):
            raise TypeError(f"fitted must be a sklearn.neural_network.{wanted.__name__}, got {type(fitted).__name__}")
        check_is_fitted(fitted)
        source: Any = fitted
        options = source.get_params(deep=False)
        estimator: Any = cls(**{name: value for name, value in options.items() if name in _options(cls)})
        for name in _SHARED:
            if name in vars(fitted):
                setattr(estimator, name, copy.deepcopy(vars(fitted)[name]))
        hidden = native_activation(source.activation)
        last = (SKLEARN_ACTIVATIONS.get(source.out_activation_, source.out_activation_), ())
        sizes = [coef.shape[1] for coef in source.coefs_]
        architecture = Architecture(
            source.coefs_[0].shape[0], sizes, [hidden] * (len(sizes) - 1) + [last], [0.0] * (len(sizes) - 1)
        )
        dtype = "float32" if source.coefs_[0].dtype == np.float32 else "float64"
        estimator._net = FittedNetwork(architecture, dtype, source.coefs_, source.intercepts_)
        estimator._preparation = estimator._target_scaling = None
        if estimator.early_stopping:
            estimator._best_weights = estimator._net.read()
        return estimator  # type: ignore[no-any-return]

    def to_sklearn(self) -> Any:
        """Return a fitted estimator of scikit-learn with the same weights, options and predictions.

        With ``standardize=True`` the scales become part of the first and the last layer. Options that scikit-learn
        lacks and that matter to training alone, such as ``dropout``, are left out with a warning.

        Raises
        ------
        ValueError
            scikit-learn cannot predict the same: other activations, missing values, columns of categories,
            ``loss="gaussian_nll"``.
        sklearn.exceptions.NotFittedError
            The estimator is not fitted.
        """
        check_is_fitted(self)
        wanted = _scikit_learns(self)
        source: Any = self
        activation = self._shared_activation()
        if "_encoder" in vars(self):
            raise ValueError("scikit-learn's MLP takes numbers, and this estimator was fitted on columns of categories")
        preparation: InputPreparation | None = vars(self).get("_preparation")
        if preparation is not None and preparation.fill is not None:
            raise ValueError(f"scikit-learn's MLP takes no missing values; missing is {source.missing!r}")
        if self._net.architecture.sizes[-1] != self.n_outputs_:
            raise ValueError("scikit-learn's MLP has no loss 'gaussian_nll', which learns a variance")
        options = {name: value for name, value in source.get_params(deep=False).items() if name in _options(wanted)}
        lost = [name for name, neutral in _ONLY_HERE.items() if vars(self).get(name, neutral[0]) not in neutral]
        if "loss" in options and options["loss"] not in _ONLY_HERE["loss"]:
            del options["loss"]
        made: Any = wanted(**{**options, "activation": activation})
        for name in _SHARED:
            if name in vars(self):
                setattr(made, name, copy.deepcopy(vars(self)[name]))
        made.coefs_, made.intercepts_ = _unscaled(self._net, preparation, vars(self).get("_target_scaling"))
        if made.early_stopping:
            made._best_coefs = [coef.copy() for coef in made.coefs_]
            made._best_intercepts = [intercept.copy() for intercept in made.intercepts_]
        if lost:
            warn(f"scikit-learn has no such {', '.join(lost)}: its estimator predicts the same and trains otherwise")
        return made

    def _shared_activation(self) -> str:
        """Return scikit-learn's name of the activation of all hidden layers."""
        names = {native: name for name, native in SKLEARN_ACTIVATIONS.items() if name != "exp"}
        hidden = {name for name, _ in self._net.architecture.activations[:-1]}
        if len(hidden) > 1 or not hidden <= set(names):
            raise ValueError(
                f"scikit-learn's MLP has one activation for all hidden layers, of {', '.join(names.values())}; "
                f"activation is {self.activation!r}"
            )
        return names[hidden.pop()] if hidden else "identity"

    def export_onnx(self, path: str | os.PathLike[str], opset: int = 17) -> None:
        """Write the fitted estimator as an ONNX file, with its preprocessing, for ONNX Runtime and others.

        The input is "input" (N, n_features) in the type of the network; an estimator that was fitted on a frame with
        columns of categories has one input (N, 1) for every column under the column's name, texts for categories of
        texts. A category that ``fit`` has not seen, or an empty text for a missing one, is encoded as none of them.
        A classifier has the outputs "label" (N,) and "probabilities" (N, n_classes), for several labels per row (N,
        n_labels) both; a regressor has "output" (N, n_outputs), and with ``loss="gaussian_nll"``
        "standard_deviation" of the same shape. Needs the extra ``onnx``.

        Parameters
        ----------
        path : where to write; the usual ending is ".onnx".
        opset : version of the operators, from 13 on; every ONNX Runtime since 2022 reads 17.

        Raises
        ------
        ValueError
            The opset is too low or unknown, or a column or the classes are of a kind that ONNX lacks.
        sklearn.exceptions.NotFittedError
            The estimator is not fitted.
        ImportError
            The package onnx is not installed.
        """
        check_is_fitted(self)
        from fastnn.estimators.onnx_graph import export_estimator

        export_estimator(self, path, opset)


def _options(kind: type) -> set[str]:
    return set(inspect.signature(kind).parameters)


def _unscaled(
    network: FittedNetwork, preparation: InputPreparation | None, target_scaling: tuple[Array, Array] | None
) -> tuple[list[Array], list[Array]]:
    """Return copies of kernels and biases for inputs and targets in the units of the user."""
    coefs, intercepts = ([array.copy() for array in arrays] for arrays in network.latest())
    if preparation is not None and preparation.center is not None:
        kernel = coefs[0].astype(np.float64) / preparation.scale[:, None]  # type: ignore[index]
        coefs[0], intercepts[0] = kernel, intercepts[0] - preparation.center @ kernel
    if target_scaling is not None:
        center, scale = target_scaling
        coefs[-1], intercepts[-1] = coefs[-1] * scale, intercepts[-1] * scale + center
    return coefs, intercepts
