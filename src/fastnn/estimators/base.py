"""The base of both estimators: parameters, checks of inputs, the network and its weights, outputs.

Design: a) ``_net`` holds the compiled network; ``coefs_`` and ``intercepts_`` are lent from it, and it follows what a
user writes into them; b) options that scikit-learn does not have are off by default.
"""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_X_y, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

import fastnn.optimizers as optimizers
from fastnn._arguments import float_type, number, whole
from fastnn._arrays import check_columns, check_in_memory, check_memory, check_not_dates, check_unmasked, is_source
from fastnn._dask import in_memory
from fastnn._derivation import never_calls
from fastnn._randomness import Stream
from fastnn.estimators.callbacks import CallbackSupportMixin
from fastnn.estimators.conversion import ConvertedEstimator
from fastnn.estimators.frames import FrameEncoder, is_frame, without_na
from fastnn.estimators.network import (
    SKLEARN_ACTIVATIONS,
    Architecture,
    FittedNetwork,
    native_activation,
    threads_to_use,
)
from fastnn.estimators.preprocessing import InputPreparation
from fastnn.export.methods import ExportedAsSource
from fastnn.layers.weights import initializer_of

Array = NDArray[Any]

_SPARSE_ROWS = 4096
"""Rows of a sparse matrix that are made dense at a time."""


_COMPUTED = (
    "the compiled core trains and predicts: use the options of the estimator, or fastnn.Sequential with a custom loss"
)


@never_calls(
    _backprop=_COMPUTED,
    _compute_loss_grad=_COMPUTED,
    _forward_pass=_COMPUTED,
    _forward_pass_fast=_COMPUTED,
    _init_coef="pass kernel_initializer and bias_initializer",
    _initialize="pass kernel_initializer and bias_initializer",
    _loss_grad_lbfgs=_COMPUTED,
)
class NetworkEstimator(ConvertedEstimator, ExportedAsSource, CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]
    """A network of scikit-learn's dialect, without its fit."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"identity", "logistic", "tanh", "relu"}), str, "array-like", callable],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "optimizer": [None, str, optimizers.Optimizer],
        "callbacks": "no_validation",  # type: ignore[dict-item]
        "kernel_initializer": "no_validation",  # type: ignore[dict-item]
        "bias_initializer": "no_validation",  # type: ignore[dict-item]
        "standardize": ["boolean"],
        "missing": [StrOptions({"error", "mean", "median", "indicator"})],
        "n_threads": [None, Interval(Integral, 1, 1024, closed="both")],
        "dtype": "no_validation",  # type: ignore[dict-item]
        "progress": ["boolean"],
    }
    """Values that the constructors accept; scikit-learn checks them at the start of a fit."""

    n_outputs_: int

    # Defined by subclasses

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        """Return checked X, and y as columns: (n,) or (n, n_outputs)."""
        raise NotImplementedError

    def _out_activation(self) -> str:
        """Return scikit-learn's name of the last layer's activation, or the core's."""
        raise NotImplementedError

    def _n_columns(self) -> int:
        """Return the number of outputs of the last layer."""
        return int(self.n_outputs_)

    def _targets(self, y: Array, dtype: np.dtype[Any]) -> Array:
        """Return targets (n, n_outputs) as the core takes them."""
        raise NotImplementedError

    def _loss(self) -> tuple[str, dict[str, Any], float]:
        """Return name and options of the core's loss, and the factor from the core's loss to the reported one."""
        raise NotImplementedError

    def _loss_offset(self, y: Array, sample_weight: Array | None, order: Array | None, batch_size: int) -> float:
        """Return the part of an epoch's reported loss that the core leaves out, a function of the targets alone."""
        return 0.0

    def _score_outputs(self, outputs: Array, y: Array, sample_weight: Array | None) -> float:
        """Return the validation score of outputs (n, n_outputs)."""
        raise NotImplementedError

    def _weights(self, y: Array, sample_weight: Array | None, incremental: bool) -> Array | None:
        """Return the sample weights, multiplied by the weights of the classes if there are any."""
        return sample_weight

    def _stratify(self, y: Array) -> Array | None:
        """Return the labels to stratify a validation split by, or None."""
        return None

    def _validation_targets(self, y: Any) -> Array:
        """Return checked targets of validation data, in the form that ``_validate_input`` gives those of training."""
        raise NotImplementedError

    # Weights

    @property
    def coefs_(self) -> list[Array]:
        """Kernels of all layers, (n_in, n_out) each."""
        return self._fitted_network("coefs_").lend()[0]

    @coefs_.setter
    def coefs_(self, value: list[Array]) -> None:
        network = self._fitted_network("coefs_")
        network.lend_instead(list(value), network.lend()[1])

    @property
    def intercepts_(self) -> list[Array]:
        """Biases of all layers, (n_out,) each."""
        return self._fitted_network("intercepts_").lend()[1]

    @intercepts_.setter
    def intercepts_(self, value: list[Array]) -> None:
        network = self._fitted_network("intercepts_")
        network.lend_instead(network.lend()[0], list(value))

    def _fitted_network(self, name: str) -> FittedNetwork:
        network: FittedNetwork | None = self.__dict__.get("_net")
        if network is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return network

    # The network

    def _hidden_sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        most = 1 << 40  # as the compiled core
        return [whole("each of hidden_layer_sizes", n, at_least=1, at_most=most) for n in sizes]

    def _per_layer(self, name: str, value: Any, n_hidden: int) -> list[Any]:
        """Return one value for every hidden layer."""
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            return [value] * n_hidden
        values = list(value)
        if len(values) != n_hidden:
            raise ValueError(f"{name} must be one value or {n_hidden}, one per hidden layer; got {len(values)}")
        return values

    def _network_dtype(self, X: Any) -> np.dtype[Any]:
        if self.dtype is not None:
            return float_type("dtype", self.dtype, others=", or None")
        return np.dtype(np.float64) if X.dtype == np.float64 else np.dtype(np.float32)

    def _make_network(self, n_features: int, hidden: list[int], dtype: np.dtype[Any]) -> None:
        """Make the network with starting weights."""
        self.n_layers_ = len(hidden) + 2
        out_activation = self._out_activation()
        self.out_activation_ = out_activation
        activations = [native_activation(a) for a in self._per_layer("activation", self.activation, len(hidden))]
        rates = self._per_layer("dropout", self.dropout, len(hidden))
        dropout = [number("dropout", rate, at_least=0.0, below=1.0) for rate in rates]
        architecture = Architecture(
            n_features,
            [*map(int, hidden), self._n_columns()],
            [*activations, (SKLEARN_ACTIVATIONS.get(out_activation, out_activation), ())],
            dropout,
        )
        coefs, intercepts = self._starting_weights(architecture, dtype)
        self._net = FittedNetwork(architecture, dtype.name, coefs, intercepts, float(self.alpha))

    def _starting_weights(self, architecture: Architecture, dtype: np.dtype[Any]) -> tuple[list[Array], list[Array]]:
        """Draw kernels and biases as scikit-learn does: uniform within Glorot and Bengio's (2010) bounds."""
        factor = 2.0 if isinstance(self.activation, str) and self.activation == "logistic" else 6.0
        coefs, intercepts = [], []
        for shape in architecture.shapes():
            bound = np.sqrt(factor / sum(shape))
            coefs.append(self._random_state.uniform(-bound, bound, shape).astype(dtype, copy=False))
            intercepts.append(self._random_state.uniform(-bound, bound, shape[1]).astype(dtype, copy=False))
        for arrays, name in ((coefs, "kernel_initializer"), (intercepts, "bias_initializer")):
            if getattr(self, name) is not None:
                initializer = initializer_of(name, getattr(self, name))
                stream_seed = int(self._random_state.randint(np.iinfo(np.int32).max))
                for i, array in enumerate(arrays):
                    arrays[i] = initializer(array.shape, dtype, Stream(stream_seed, i))
        return coefs, intercepts

    # Inputs

    def _check_inputs(self, X: Any, y: Any = "no_validation", reset: bool = False, **checks: Any) -> Any:
        """Return X, or X and y, checked as scikit-learn does; frames with columns that are not numbers are encoded."""
        if is_source(X):
            return self._check_source(X, y, reset, **checks)
        X = in_memory(X)
        check_unmasked(X, "X")
        check_unmasked(y, "y")
        check_not_dates(X, "X")
        if isinstance(X, np.ndarray) and X.ndim:
            check_memory(X.shape[0], X.dtype, "X")
        checks.setdefault("accept_sparse", ["csr", "csc"])
        if self.missing != "error":
            checks["ensure_all_finite"] = "allow-nan"
        encoder: FrameEncoder | None = self.__dict__.get("_encoder")
        if reset:
            encoder = FrameEncoder.for_frame(X) if is_frame(X) else None
            if encoder is None:
                self.__dict__.pop("_encoder", None)
        if encoder is None:
            X = FrameEncoder.as_numbers(X) if is_frame(X) else without_na(X)
            return validate_data(self, X, y, reset=reset, **checks)
        encoded = encoder.transform(X, type(self).__name__, self.missing != "error")
        if reset:
            self._encoder = encoder
            self.__dict__.pop("feature_names_in_", None)
            if encoder.named:
                self.feature_names_in_ = np.asarray(encoder.names, dtype=object)
            self.n_features_in_ = len(encoder.names)
        if isinstance(y, str):
            return check_array(encoded, estimator=self, **checks)
        return check_X_y(encoded, y, estimator=self, **checks)

    def _check_source(self, X: Any, y: Any, reset: bool, y_numeric: bool = False, **checks: Any) -> Any:
        """Return a source and checked targets, if there are any; the inputs are checked when they are read."""
        X.check_single("X", type(self).__name__)
        if len(X.shape) != 2:
            raise ValueError(f"X must have shape (n, n_features), got a source of rows of shape {X.shape[1:]}")
        if reset:
            self.__dict__.pop("_encoder", None)
            self.__dict__.pop("feature_names_in_", None)
            self.n_features_in_ = X.shape[1]
            if X.columns is not None:
                self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        check_columns(self.__dict__.get("feature_names_in_"), X, "X")
        if X.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {X.shape[1]} features, but {type(self).__name__} takes {self.n_features_in_}")
        if isinstance(y, str):
            return X
        y = check_array(y, ensure_2d=False, dtype="numeric" if y_numeric else None, input_name="y", estimator=self)
        return X, y

    def _check_rows(self, X: Any, y: Any, reset: bool, **checks: Any) -> tuple[Any, Array]:
        """Return checked X and y, a single column of y as (n,)."""
        X, y = self._check_inputs(X, y, reset, multi_output=True, dtype=(np.float64, np.float32), **checks)
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _prepared(self, X: Any) -> Array:
        """Return checked X as a dense array with missing values filled and columns standardized."""
        if is_source(X):
            return X  # type: ignore[no-any-return]
        dense: Array = X.toarray() if scipy.sparse.issparse(X) else X
        preparation: InputPreparation | None = self.__dict__.get("_preparation")
        return dense if preparation is None else preparation.transform(dense)

    def _outputs(self, X: Any) -> Array:
        """Return the outputs (n, n_outputs) for the user's X."""
        own = self.__dict__
        if "_net" in own and own.get("_preparation") is None and "feature_names_in_" not in own:
            outputs: Array | None = self._net.predict_plain(X)
            if outputs is not None:
                return outputs
        check_is_fitted(self)
        X = self._check_inputs(X)
        threads = threads_to_use(self.n_threads)
        if is_source(X):
            outputs = self._outputs_of_source(X)
        elif scipy.sparse.issparse(X):
            X = X.tocsr()
            blocks = [X[start : start + _SPARSE_ROWS] for start in range(0, X.shape[0], _SPARSE_ROWS)]
            outputs = np.concatenate([self._net.predict(self._prepared(block), threads) for block in blocks])
        else:
            outputs = self._net.predict(self._prepared(X), threads)
        # As in NumPy, float64 or integer columns times float32 weights are float64.
        wide = np.result_type(X.dtype, outputs.dtype)
        return outputs if self.dtype is not None or wide == outputs.dtype else outputs.astype(wide)

    def _outputs_of_source(self, X: Any) -> Array:
        """Return the outputs (n, n_outputs) for the rows of a checked source."""
        from fastnn.estimators.streaming import outputs_of_source

        return outputs_of_source(self._net, self._rows_of_source(X), threads_to_use(self.n_threads))

    def _rows_of_source(self, X: Any, y: Array | None = None, weights: Array | None = None) -> Any:
        """Return what reads the rows of a source as the network takes them."""
        from fastnn.estimators.streaming import PreparedRows

        return PreparedRows(X, self._preparation, self.missing, self._net.dtype, y, weights)

    # Inspection

    def _exported_network(self) -> Any:
        from fastnn.estimators.export import estimator_network

        return estimator_network(self)

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
        check_is_fitted(self)
        check_in_memory(X, "X", "hidden_activations")
        outputs: list[Array] = self._net.layer_outputs(self._prepared(self._check_inputs(X)))
        return outputs[1:-1]

    def input_gradients(self, X: Any, output: int = 0) -> Array:
        """Return the derivatives (n, n_inputs) of one output with respect to the inputs of every row of X.

        The inputs are the columns that the network sees, after encoding, filling of missing values and standardization.

        Parameters
        ----------
        X : (n, n_features).
        output : number of the output: of the class, the label or the target. With two classes, 0 is the second class.
        """
        check_is_fitted(self)
        check_in_memory(X, "X", "input_gradients")
        X = self._prepared(self._check_inputs(X))
        n_outputs = self._net.architecture.sizes[-1]
        output = whole("output", output, at_least=0, at_most=n_outputs - 1)
        gradients: Array = self._net.input_gradients(X, output)
        return gradients

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.missing != "error"
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return "_net" in self.__dict__
