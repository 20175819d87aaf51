"""What the classifier and the regressor share: parameters, fitting by epochs or by L-BFGS, weights in and out.

Design: a) the order of random draws is scikit-learn's, so that an equal ``random_state`` gives equal starting weights,
validation rows and orders of rows; b) ``_net`` holds the compiled network; ``coefs_`` and ``intercepts_`` are lent from
it, and what a user writes into them counts; c) options that scikit-learn does not have are off by default.
"""

import copy
import warnings
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, _fit_context
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state, check_X_y, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import fastnn._core as _core
import fastnn.initializers as initializers
import fastnn.optimizers as optimizers
from fastnn._arguments import float_type, number
from fastnn._randomness import Stream
from fastnn.callbacks import CallbackList, ProgbarLogger
from fastnn.estimators.epochs import NOT_FINITE, Epochs
from fastnn.estimators.frames import FrameEncoder, is_frame, without_na
from fastnn.estimators.lbfgs import check_arguments, minimize
from fastnn.estimators.network import (
    SKLEARN_ACTIVATIONS,
    Architecture,
    FittedNetwork,
    Objective,
    native_activation,
    threads_to_use,
)
from fastnn.estimators.parameters import CONSTRAINTS
from fastnn.estimators.preprocessing import InputPreparation
from fastnn.estimators.protocol import CallbackModel, CallbackSupportMixin, TaskReporter, copies_of

Array = NDArray[Any]
Weighted = tuple[Array, Array, Array | None]
"""X, y as columns, and sample weights."""

_SPARSE_ROWS = 4096


def _is_stochastic(estimator: Any) -> bool:
    """Raise AttributeError unless the estimator trains by epochs."""
    if estimator.solver == "lbfgs":
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True


stochastic_only = available_if(_is_stochastic)
"""Decorates a method that is there only where the estimator trains by epochs."""


class BaseMLP(CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]
    """Base of ``MLPClassifier`` and ``MLPRegressor``."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS
    n_outputs_: int
    _optimizer: Any

    # What a subclass defines

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
        """Return name and options of the core's loss, and the factor of the reported loss."""
        raise NotImplementedError

    def _loss_offset(self, y: Array, sample_weight: Array | None, order: Array | None, batch_size: int) -> float:
        """Return what the reported loss of an epoch has beside the core's, a function of the targets alone."""
        return 0.0

    def _score_outputs(self, outputs: Array, y: Array, sample_weight: Array | None) -> float:
        """Return the validation score of outputs (n, n_outputs)."""
        raise NotImplementedError

    def _weights(self, y: Array, sample_weight: Array | None, incremental: bool) -> Array | None:
        """Return sample weights with those of the classes."""
        return sample_weight

    def _stratify(self, y: Array) -> Array | None:
        """Return what a validation split is stratified by."""
        return None

    def _validation_targets(self, y: Any) -> Array:
        """Return targets of validation data as ``_validate_input`` does for training."""
        raise NotImplementedError

    # Weights

    @property
    def coefs_(self) -> list[Array]:
        """Kernels of all layers, (n_in, n_out) each."""
        return self._fitted_network("coefs_").lend()[0]

    @coefs_.setter
    def coefs_(self, value: list[Array]) -> None:
        network = self._fitted_network("coefs_")
        intercepts = network.lend()[1]
        network.write(value, intercepts)
        network._lent = (list(value), intercepts)

    @property
    def intercepts_(self) -> list[Array]:
        """Biases of all layers, (n_out,) each."""
        return self._fitted_network("intercepts_").lend()[1]

    @intercepts_.setter
    def intercepts_(self, value: list[Array]) -> None:
        network = self._fitted_network("intercepts_")
        coefs = network.lend()[0]
        network.write(coefs, value)
        network._lent = (coefs, list(value))

    def _fitted_network(self, name: str) -> FittedNetwork:
        network: FittedNetwork | None = self.__dict__.get("_net")
        if network is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return network

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.missing != "error"
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return "_net" in self.__dict__

    # Inputs

    def _check_X(self, X: Any, y: Any = "no_validation", reset: bool = False, **checks: Any) -> Any:
        """Return X, or X and y, checked as scikit-learn does; frames with columns that are not numbers are encoded."""
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

    def _check_X_y(self, X: Any, y: Any, reset: bool, **checks: Any) -> tuple[Any, Array]:
        """Return checked X and y, a single column of y as (n,)."""
        X, y = self._check_X(X, y, reset, multi_output=True, dtype=(np.float64, np.float32), **checks)
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _prepared(self, X: Any) -> Array:
        """Return checked X as a dense array with missing values filled and columns standardised."""
        dense: Array = X.toarray() if scipy.sparse.issparse(X) else X
        preparation: InputPreparation | None = self.__dict__.get("_preparation")
        return dense if preparation is None else preparation.transform(dense)

    def _outputs(self, X: Any) -> Array:
        """Return the outputs (n, n_outputs) of X as the user gave it."""
        own = self.__dict__
        if "_net" in own and own.get("_preparation") is None and "feature_names_in_" not in own:
            outputs: Array | None = self._net.predict_plain(X)
            if outputs is not None:
                return outputs
        check_is_fitted(self)
        X = self._check_X(X)
        threads = threads_to_use(self.n_threads)
        if scipy.sparse.issparse(X):
            X = X.tocsr()
            blocks = [X[start : start + _SPARSE_ROWS] for start in range(0, X.shape[0], _SPARSE_ROWS)]
            outputs = np.concatenate([self._net.predict(self._prepared(block), threads) for block in blocks])
        else:
            outputs = self._net.predict(self._prepared(X), threads)
        # float64 or integer columns times float32 weights are float64, as in NumPy
        wide = np.result_type(X.dtype, outputs.dtype)
        return outputs if self.dtype is not None or wide == outputs.dtype else outputs.astype(wide)

    # Fitting

    def _hidden_sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return sizes

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

    def _initialize(self, n_features: int, hidden: list[int], dtype: np.dtype[Any]) -> None:
        """Make the network with starting weights; reset what earlier fits left."""
        self.n_iter_ = 0
        self.t_ = 0
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
        self._net = FittedNetwork(architecture, dtype.name, coefs, intercepts)
        self.__dict__.pop("_optimizer", None)
        if self.solver != "lbfgs":
            self.loss_curve_: list[float] = []
            self._no_improvement_count = 0
            if self.early_stopping:
                self._best_weights = self._net.read()
                self.validation_scores_: list[float] | None = []
                self.best_validation_score_: float | None = -np.inf
                self.best_loss_: float | None = None
            else:
                self.best_loss_ = np.inf
                self.validation_scores_ = None
                self.best_validation_score_ = None

    def _starting_weights(self, architecture: Architecture, dtype: np.dtype[Any]) -> tuple[list[Array], list[Array]]:
        """Draw kernels and biases as scikit-learn does: uniform within Glorot and Bengio's (2010) bounds."""
        factor = 2.0 if isinstance(self.activation, str) and self.activation == "logistic" else 6.0
        coefs, intercepts = [], []
        for shape in architecture.shapes():
            bound = np.sqrt(factor / sum(shape))
            coefs.append(self._random_state.uniform(-bound, bound, shape).astype(dtype, copy=False))
            intercepts.append(self._random_state.uniform(-bound, bound, shape[1]).astype(dtype, copy=False))
        for arrays, given in ((coefs, self.kernel_initializer), (intercepts, self.bias_initializer)):
            if given is not None:
                initializer = initializers.get(given)
                stream_seed = int(self._random_state.randint(np.iinfo(np.int32).max))
                for i, array in enumerate(arrays):
                    arrays[i] = initializer(array.shape, dtype, Stream(stream_seed, i))
        return coefs, intercepts

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : (n, n_features) array, sparse matrix, or pandas, polars or pyarrow frame. String and categorical columns of
            a frame are encoded one-hot.
        y : a classifier's (n,) classes, or (n, n_labels) of 0 and 1; a regressor's (n,) or (n, n_outputs) numbers.
        sample_weight : (n,), or None.
        validation_data : (X, y) or (X, y, sample_weight) to score after every epoch; with ``early_stopping`` it takes
            the place of the rows that would be held out.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    def _fit(self, X: Any, y: Any, sample_weight: Any, validation_data: Any, incremental: bool) -> Self:
        raw = (X, y)
        before = dict(self.__dict__)
        try:
            rows, validation = self._checked(X, y, sample_weight, validation_data, incremental)
        except (TypeError, ValueError):
            self.__dict__ = before
            raise
        if self.solver == "lbfgs":
            self._fit_lbfgs(*rows, raw)
        else:
            self._fit_stochastic(*rows, validation, incremental, raw)
        coefs, intercepts = self._net.read()
        if not all(np.isfinite(array).all() for array in (*coefs, *intercepts)):
            raise ValueError(NOT_FINITE)
        return self

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, incremental: bool
    ) -> tuple[Weighted, Weighted | None]:
        """Return rows to train on and given rows to validate with, as the network takes them; make it if need be."""
        hidden = self._hidden_sizes()
        if self.solver == "lbfgs":
            check_arguments(self, validation_data)
        if self.early_stopping and incremental and validation_data is None:
            raise ValueError("partial_fit does not support early_stopping=True")
        first_pass = "_net" not in self.__dict__ or (not self.warm_start and not incremental)
        X, y = self._validate_input(X, y, incremental, reset=first_pass)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        sample_weight = self._weights(y, sample_weight, incremental)
        if y.ndim == 1:
            y = y.reshape((-1, 1))
        if not first_pass and y.shape[1] != self.n_outputs_:
            raise ValueError(f"y must have {self.n_outputs_} outputs as in the first fit, got {y.shape[1]}")
        self.n_outputs_ = y.shape[1]
        self._random_state = check_random_state(self.random_state)
        if first_pass:
            self._preparation = InputPreparation.for_inputs(X, self.standardize, self.missing)
        validation = None if validation_data is None else self._given_validation(validation_data)
        dtype = self._network_dtype(X)
        X = self._prepared(X)
        if first_pass:
            self._initialize(X.shape[1], hidden, np.dtype(np.float64) if self.solver == "lbfgs" else dtype)
        self._loss()  # raises for a loss of other targets
        return (X, y, sample_weight), validation

    def _objective(self, rule: Any) -> Objective:
        loss, options, report = self._loss()
        options = {**options, "weighted_mean": True, "scaled_penalty": True}
        return Objective(loss, options, rule.core_name, rule.options(), float(self.alpha), report)

    def _fit_lbfgs(self, X: Array, y: Array, sample_weight: Array | None, raw: tuple[Any, Any]) -> None:
        if self._net.dtype != np.float64:
            coefs, intercepts = self._net.read()
            self._net = FittedNetwork(self._net.architecture, "float64", coefs, intercepts)
        network = self._net
        targets = self._targets(y, network.dtype)
        weights = None if sample_weight is None else np.ascontiguousarray(sample_weight, np.float64)
        last: list[Array] = []
        tasks = TaskReporter(self, self.max_iter, *raw, lambda: self._attributes(last))

        def on_iteration(flat: Array) -> None:
            last[:] = [flat]
            if tasks.end():
                raise StopIteration
            tasks.begin()

        tasks.begin()
        options = {name: getattr(self, name) for name in ("max_iter", "max_fun", "tol", "verbose")}
        loss, self.n_iter_ = minimize(
            network,
            self._objective(optimizers.SGD()),
            (X, targets, weights),
            options,
            threads_to_use(self.n_threads),
            on_iteration if tasks.active else None,
        )
        self.loss_ = loss + self._loss_offset(y, weights, None, X.shape[0])
        last.clear()
        tasks.close()

    def _update_rule(self, incremental: bool) -> Any:
        """Return the optimizer of this fit; the one before goes on in ``partial_fit``."""
        if incremental and "_optimizer" in self.__dict__:
            return self._optimizer
        if self.optimizer is not None:
            self._optimizer = copy.deepcopy(optimizers.get(self.optimizer))
        elif self.solver == "sgd":
            self._optimizer = optimizers.SGD(self.learning_rate_init, self.momentum, bool(self.nesterovs_momentum))
        else:
            self._optimizer = optimizers.Adam(self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon)
        return self._optimizer

    def _split(self, X: Array, y: Array, sample_weight: Array | None) -> tuple[Weighted, Weighted]:
        """Return rows to train on and rows to validate with."""
        train, held_out = train_test_split(
            np.arange(X.shape[0]),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._stratify(y),
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        parts = [
            (X[rows], y[rows], None if sample_weight is None else sample_weight[rows]) for rows in (train, held_out)
        ]
        return parts[0], parts[1]

    def _given_validation(self, validation_data: Any) -> Weighted:
        """Return the checked rows of ``validation_data``."""
        if not isinstance(validation_data, list | tuple) or len(validation_data) not in (2, 3):
            given = f" of {len(validation_data)}" if isinstance(validation_data, list | tuple) else ""
            raise ValueError(
                f"validation_data must be (X, y) or (X, y, sample_weight), got {type(validation_data).__name__}{given}"
            )
        try:
            X = self._prepared(self._check_X(validation_data[0]))
            y = self._validation_targets(validation_data[1])
            if len(y) != X.shape[0]:
                raise ValueError(f"X has {X.shape[0]} rows, but y has {len(y)}")
            weights = _check_sample_weight(validation_data[2], X) if len(validation_data) == 3 else None
        except (TypeError, ValueError) as error:
            raise ValueError(f"validation_data: {error}") from error
        return X, y.reshape(len(y), -1), weights

    def _fit_stochastic(
        self,
        X: Array,
        y: Array,
        sample_weight: Array | None,
        validation: Weighted | None,
        incremental: bool,
        raw: tuple[Any, Any],
    ) -> None:
        rule = self._update_rule(incremental)
        if self.early_stopping and validation is None:
            (X, y, sample_weight), validation = self._split(X, y, sample_weight)
        n_samples = X.shape[0]
        if self.batch_size == "auto":
            batch_size = min(200, n_samples)
        else:
            if self.batch_size > n_samples:
                warnings.warn(
                    "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=4
                )
            batch_size = int(np.clip(self.batch_size, 1, n_samples))
        network = self._net
        objective = self._objective(rule)
        if incremental:
            network.continue_with(objective)
        else:
            network.compile(objective)
        weights = None if sample_weight is None else np.ascontiguousarray(sample_weight, network.dtype)
        fit = _core.Fit(
            network.core, X, self._targets(y, network.dtype), weights, batch_size, threads_to_use(self.n_threads)
        )
        max_iter = 1 if incremental else self.max_iter
        always = (ProgbarLogger(1),) if self.progress else ()
        self.callbacks_ = copies_of(self.callbacks)
        parameters = {"epochs": max_iter, "steps": fit.n_steps, "verbose": 1}
        callbacks = CallbackList(self.callbacks_, CallbackModel(network, rule), parameters, always)
        callbacks.attach()
        tasks = TaskReporter(self, max_iter, *raw, self._attributes)
        run = Epochs(self, fit, rule, objective, callbacks, tasks, validation, (y, weights, batch_size))
        try:
            run.run(max_iter, incremental)
        finally:
            callbacks.close()
        tasks.close()
        if self.early_stopping:
            network.write(*self._best_weights)
        if objective.rule_options.get("use_ema"):
            network.core.use_average()

    def _attributes(self, flat: list[Array] | None = None) -> dict[str, Any]:
        """Return the attributes that a copy of this estimator needs to predict as now, or with flat parameters."""
        network = FittedNetwork.from_state(self._net.state())
        if flat:
            arrays, at = [], 0
            for array in (part for parts in network.read() for part in parts):
                arrays.append(flat[0][at : at + array.size].reshape(array.shape))
                at += array.size
            network.write(arrays[: len(arrays) // 2], arrays[len(arrays) // 2 :])
        return {"_net": network}
