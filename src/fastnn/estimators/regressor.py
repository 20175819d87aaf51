"""scikit-learn's ``MLPRegressor`` on the compiled core."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, xlogy
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils import check_array
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

import fastnn.losses as losses
from fastnn._arguments import flag, number
from fastnn._arrays import check_target_range
from fastnn._dask import is_lazy, lazily, lazy_r2
from fastnn._warnings import warn
from fastnn.estimators.fitting import BaseMLP, stochastic_only
from fastnn.estimators.preprocessing import center_and_scale

Array = NDArray[Any]

_ANY = (-np.inf, np.inf)
_RANGES = {
    "hinge": (-1.0, 1.0),
    "squared_hinge": (-1.0, 1.0),
    "mean_squared_logarithmic_error": (0.0, np.inf),
    "poisson": (0.0, np.inf),
}
"""Valid range of the targets of a loss that clips other targets, or has no minimum for them.

``Sequential`` accepts all targets, as Keras does.
"""


def _warn_of_far_targets(center: Array, scale: Array) -> None:
    """Warn of targets that are so far from 0 that float32 numbers there are farther apart than 0.01 deviations."""
    steps = np.spacing(np.abs(center).astype(np.float32))
    far = np.flatnonzero(steps > 0.01 * scale)
    if far.size:
        i = int(far[0])
        warn(
            f"y has a mean of {center[i]:.6g} and a deviation of {scale[i]:.3g}, and predictions are float32, whose "
            f"numbers are {steps[i]:.3g} apart there: pass dtype='float64', or subtract an offset from y"
        )


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    """Multi-layer perceptron regressor: scikit-learn's ``MLPRegressor`` on the compiled core.

    Minimizes half the squared error (or half the Poisson deviance, with exponential outputs) plus
    ``alpha / 2 sum(w^2)`` over the kernels, divided by the rows of a batch.

    Parameters
    ----------
    loss : "squared_error", "poisson", or one of fastnn's losses by name or as an object. "gaussian_nll" learns a
        mean and a variance for every row, "quantile" (an object ``losses.Quantile(q)``) a quantile.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, \
shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, \
beta_1, beta_2, epsilon, n_iter_no_change, max_fun :
        As in scikit-learn 1.9, with the same defaults. ``activation`` may also be any of fastnn's activations, or a
        list with one for every hidden layer. ``solver="lbfgs"`` does not support dropout, optimizer, callbacks,
        progress, validation_data or float32.
    dropout : fraction of hidden outputs set to zero in training, one number for all hidden layers or one for each.
    optimizer : one of fastnn's optimizers, by name or as an object, used instead of ``solver``; its learning rate may
        be a schedule. None uses ``solver``.
    callbacks : one of fastnn's callbacks or a list of them. A fit runs copies, stored in ``callbacks_``.
    kernel_initializer, bias_initializer : fastnn's initializers; None draws weights as scikit-learn does.
    standardize : whether to scale columns and targets to zero mean and unit variance first; predictions are in the
        units of y. Networks train badly on other scales, so turn it on unless the data are scaled already. Targets are
        not scaled if the loss, such as "poisson", accepts a limited range only.
    missing : treatment of NaN in X: "error" refuses it; "mean" and "median" fill it with that of the column;
        "indicator" fills it with the mean and adds a column of 0 and 1 for every column that had NaN in ``fit``. With
        all but "error", a missing entry of a column of categories is encoded as none of them.
    n_threads : number of threads; None uses fastnn's setting, and 1 in worker processes and threads. Results do not
        depend on it.
    dtype : "float32" or "float64", the type of the computation; None uses that of X.
    progress : whether a progress line is shown.

    Attributes
    ----------
    loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_, t_, coefs_, intercepts_, \
n_features_in_, feature_names_in_, n_iter_, n_layers_, n_outputs_, out_activation_ :
        As in scikit-learn.
    validation_loss_curve_ : loss of the validation rows after every epoch, without the penalty on weights.
    callbacks_ : the copies of ``callbacks`` that ran in the last fit, with their records.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from fastnn import MLPRegressor
    >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> MLPRegressor(random_state=1, max_iter=2000, tol=0.1).fit(X, y).score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"}), str, losses.Loss],
    }

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float | Sequence[float] = 0.0,
        optimizer: Any = None,
        callbacks: Any = None,
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        standardize: bool = False,
        missing: str = "error",
        n_threads: int | None = None,
        dtype: Any = None,
        progress: bool = False,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.optimizer = optimizer
        self.callbacks = callbacks
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.standardize = standardize
        self.missing = missing
        self.n_threads = n_threads
        self.dtype = dtype
        self.progress = progress

    # Targets

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        X, y = self._check_rows(X, y, reset, y_numeric=True)
        if y.dtype.kind not in "biuf":
            raise ValueError(f"y must hold numbers, got dtype {y.dtype}")
        bounded = self._check_targets(y)
        if reset:
            self._target_scaling = None
            if self.standardize and not bounded:
                self._target_scaling = center_and_scale(y.reshape(len(y), -1))
                if self._network_dtype(X) == np.float32:
                    _warn_of_far_targets(*self._target_scaling)
        return X, self._scaled(y)

    def _check_targets(self, y: Array) -> bool:
        """Return whether the loss accepts a limited range of targets only.

        Raises
        ------
        ValueError
            A target is not finite or out of range, or the loss takes class labels.
        """
        columns = y.reshape(len(y), -1)
        if not np.isfinite(columns).all():
            # scikit-learn's checks turn None in an array of objects into NaN, but do not refuse it.
            row, col = map(int, np.argwhere(~np.isfinite(columns))[0])
            raise ValueError(
                f"y has {columns[row, col]} at row {row}, column {col} (counted from 0); it must be finite"
            )
        if self.loss == "squared_error":
            return False
        loss = losses.get(self.loss)
        if loss.targets == "labels":
            raise ValueError(f"loss {loss.name!r} takes class labels, not numbers: use MLPClassifier")
        low, high = (0.0, 1.0) if loss.targets in ("probabilities", "one_hot") else _RANGES.get(loss.core_name, _ANY)
        check_target_range(columns, low, high, loss.name, "y")
        return (low, high) != _ANY

    def _scaled(self, y: Array) -> Array:
        """Return targets in the units the network is trained in."""
        if self._target_scaling is None:
            return y
        center, scale = self._target_scaling
        return (y.reshape(len(y), -1) - center) / scale

    def _validation_targets(self, y: Any) -> Array:
        y = check_array(y, ensure_2d=False, dtype="numeric", input_name="y")
        if y.reshape(len(y), -1).shape[1] != self.n_outputs_:
            raise ValueError(f"y must have {self.n_outputs_} columns as in training, got shape {y.shape}")
        self._check_targets(y)
        return self._scaled(y)

    def _core_loss(self) -> str:
        """Return the core's name of the loss."""
        if self.loss in ("squared_error", "poisson"):
            return str(self.loss)
        name = losses.get(self.loss).core_name
        if name == "multi_quantile":
            raise ValueError(
                "loss must predict a number for each target, but 'multi_quantile' predicts several: use "
                "TabularRegressor(intervals='quantiles') or Sequential"
            )
        return name

    def _out_activation(self) -> str:
        return "exp" if self._core_loss() == "poisson" else "identity"

    def _n_columns(self) -> int:
        return int(self.n_outputs_) * (2 if self._core_loss() == "gaussian_nll" else 1)

    def _targets(self, y: Array, dtype: np.dtype[Any]) -> Array:
        return np.ascontiguousarray(y, dtype)

    def _loss(self) -> tuple[str, dict[str, Any], float]:
        n = float(self.n_outputs_)
        if self.loss == "squared_error":
            # The minimized loss is half the sum over the outputs, the reported one half their mean.
            return "mean_squared_error", {"factor": 0.5 * n}, 1.0 / n
        if self._core_loss() == "poisson":
            return "poisson", {"from_logits": True, "factor": n}, 1.0
        loss = losses.get(self.loss)
        return loss.core_name, loss.options(), 1.0

    def _loss_offset(self, y: Array, sample_weight: Array | None, order: Array | None, batch_size: int) -> float:
        if self._core_loss() != "poisson":
            return 0.0
        constant = (xlogy(y, y) - y).sum(axis=1)
        if sample_weight is None:
            return float(constant.mean())
        weights = np.asarray(sample_weight, np.float64)
        if order is not None:
            constant, weights = constant[order], weights[order]
        starts = np.arange(0, len(y), batch_size)
        rows = np.diff([*starts, len(y)])
        means = np.add.reduceat(constant * weights, starts) / np.add.reduceat(weights, starts)
        return float(rows @ means / len(y))

    def _score_outputs(self, outputs: Array, y: Array, sample_weight: Array | None) -> float:
        predicted = outputs[:, : self.n_outputs_]
        weights = np.ones(len(y)) if sample_weight is None else sample_weight
        residual = weights @ np.square(y - predicted)
        total = weights @ np.square(y - np.average(y, axis=0, weights=weights))
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = np.where(total > 0, 1 - residual / total, np.where(residual > 0, 0.0, 1.0))
        return float(scores.mean())

    # What users call

    @stochastic_only
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, validation_data: Any = None) -> Self:
        """Train one epoch on the given rows; the update rule continues from its last state.

        Parameters
        ----------
        X, y, sample_weight, validation_data : as in ``fit``. With ``early_stopping=True`` validation data must be
            given; the network keeps the weights of the best validation score.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=True)

    def _require_variance(self, what: str) -> None:
        check_is_fitted(self)
        if self._net.architecture.sizes[-1] != 2 * self.n_outputs_:
            raise ValueError(f"{what} needs loss='gaussian_nll', which learns a variance; loss is {self.loss!r}")

    @lazily
    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return the predictions of X (n, n_features), (n,) or (n, n_outputs).

        Parameters
        ----------
        X : inputs.
        return_std : whether to return (prediction, standard deviation); needs ``loss="gaussian_nll"``.
        """
        if flag("return_std", return_std):
            self._require_variance("return_std")
        outputs = self._outputs(X)
        n = self.n_outputs_
        deviation = None
        if outputs.shape[1] == 2 * n:
            outputs, deviation = outputs[:, :n], np.exp(0.5 * outputs[:, n:])
        if self._target_scaling is not None:
            center, scale = self._target_scaling
            dtype = outputs.dtype
            outputs = (outputs * scale + center).astype(dtype)
            deviation = None if deviation is None else (deviation * scale).astype(dtype)
        if n == 1:
            outputs = outputs.ravel()
            deviation = None if deviation is None else deviation.ravel()
        return (outputs, deviation) if return_std else outputs

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Return R² on X (n, n_features) and targets y, or on a source; of Dask collections a lazy number."""
        if y is None:
            from fastnn.estimators.streaming import scored_targets

            y, sample_weight = scored_targets(X, sample_weight)
        if is_lazy(X):
            return lazy_r2(self.predict(X), y, sample_weight)
        return super().score(X, y, sample_weight)

    def predict_interval(self, X: Any, coverage: float = 0.9) -> tuple[Array, Array]:
        """Return the bounds of central intervals that contain ``coverage`` of targets that are normal given X.

        Needs ``loss="gaussian_nll"`` (Nix and Weigend, 1994).

        Parameters
        ----------
        X : inputs (n, n_features).
        coverage : fraction of the targets, between 0 and 1.

        Returns
        -------
        lower, upper : arrays of the shape of ``predict(X)``.
        """
        coverage = number("coverage", coverage, above=0.0, below=1.0)
        self._require_variance("predict_interval")
        mean, deviation = self.predict(X, return_std=True)
        half = float(ndtri(0.5 + 0.5 * coverage)) * deviation
        return mean - half, mean + half
