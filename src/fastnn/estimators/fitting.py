"""The fit of both estimators: its arguments, their checks, and L-BFGS; ``epochs.py`` has the update rules."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight

import fastnn.optimizers as optimizers
from fastnn._arguments import takes_keywords
from fastnn._arithmetic import default_arithmetic
from fastnn._arrays import check_unmasked, is_source
from fastnn.estimators.callbacks import TaskReporter
from fastnn.estimators.epochs import NOT_FINITE, TrainedByEpochs, Weighted
from fastnn.estimators.lbfgs import check_arguments, minimize
from fastnn.estimators.network import FittedNetwork, threads_to_use
from fastnn.estimators.orders import OrderDraw
from fastnn.estimators.preprocessing import InputPreparation

Array = NDArray[Any]


def _is_stochastic(estimator: Any) -> bool:
    """Raise AttributeError unless the estimator trains by epochs."""
    if estimator.solver == "lbfgs":
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True


def stochastic_only(method: Any) -> Any:
    """Decorate a method that exists only if the estimator trains by epochs; unknown keywords get a suggestion."""
    return available_if(_is_stochastic)(takes_keywords(method, object))


class BaseMLP(TrainedByEpochs):
    """Base of ``MLPClassifier`` and ``MLPRegressor``."""

    # What users call

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, validation_data: Any = None) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : (n, n_features) array, sparse matrix, or pandas, polars or pyarrow frame. String and categorical columns of
            a frame are encoded one-hot. Or, without y and sample_weight, a ``fastnn.data`` source, which has them: its
            inputs are read block by block, in orders of blocks and rows that come from ``random_state``; its targets
            are read at once.
        y : a classifier's (n,) classes, or (n, n_labels) of 0 and 1; a regressor's (n,) or (n, n_outputs) numbers.
        sample_weight : (n,), or None.
        validation_data : (X, y) or (X, y, sample_weight), or a source, to score after every epoch; with
            ``early_stopping`` it takes the place of the rows that would be held out.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    # Checks and state

    @default_arithmetic()
    def _fit(self, X: Any, y: Any, sample_weight: Any, validation_data: Any, incremental: bool) -> Self:
        if is_source(X):
            from fastnn.estimators.streaming import targets_of_source

            y, sample_weight = targets_of_source(self, X, y, sample_weight, validation_data)
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
            self._fit_stochastic(rows, validation, incremental, raw)
        if not self._net.weights.finite():
            raise ValueError(NOT_FINITE)
        return self

    def check_fold(self, X: Any, y: Any) -> tuple[Weighted, dict[str, Any]]:
        """Return the rows of a fit in the network's form, and the attributes that depend on them alone."""
        rows, _ = self._checked(X, y, None, None, incremental=False)
        names = self.get_params(deep=False).keys()
        return rows, {name: value for name, value in self.__dict__.items() if name not in names}

    @default_arithmetic()
    def fit_fold(
        self, rows: Weighted, attributes: dict[str, Any], random_state: np.random.RandomState, draw: OrderDraw
    ) -> None:
        """Fit as ``fit`` does on the rows of ``check_fold``, in orders from ``draw``; parameters have been checked."""
        self.__dict__.update(attributes)
        self._random_state = random_state
        self._start(rows[0])
        self._fit_stochastic(rows, None, False, (None, None), draw)
        if not self._net.weights.finite():
            raise ValueError(NOT_FINITE)

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, incremental: bool
    ) -> tuple[Weighted, Weighted | None]:
        """Return training rows and given validation rows in the network's form; make the network if there is none."""
        self._hidden_sizes()  # raises if they are wrong
        if self.optimizer is not None and optimizers.get(self.optimizer).full_batch:
            raise ValueError(
                f"optimizer={self.optimizer!r} takes all rows in each step, and this estimator trains on batches: use "
                "solver='lbfgs', or a fastnn.Sequential with this optimizer"
            )
        if self.solver == "lbfgs":
            check_arguments(self, validation_data)
        if self.early_stopping and incremental and validation_data is None:
            raise ValueError("partial_fit does not support early_stopping=True")
        first_pass = "_net" not in self.__dict__ or (not self.warm_start and not incremental)
        X, y = self._validate_input(X, y, incremental, reset=first_pass)
        if sample_weight is not None:
            check_unmasked(sample_weight, "sample_weight")
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
        X = self._prepared(X)
        if first_pass:
            self._start(X)
        self._loss()  # raises if the loss takes other targets
        return (X, y, sample_weight), validation

    def _start(self, X: Any) -> None:
        """Make the network for prepared inputs or a source, and reset what fits record."""
        dtype = np.dtype(np.float64) if self.solver == "lbfgs" else self._network_dtype(X)
        indicators = len(self._preparation.indicated) if is_source(X) and self._preparation is not None else 0
        self._make_network(X.shape[1] + indicators, self._hidden_sizes(), dtype)
        self._reset_history()

    def _given_validation(self, validation_data: Any) -> Weighted:
        """Return the checked rows of ``validation_data``."""
        if is_source(validation_data):
            validation_data = (validation_data, *validation_data.read_targets())
            validation_data = validation_data[: 2 if validation_data[2] is None else 3]
        if not isinstance(validation_data, list | tuple) or len(validation_data) not in (2, 3):
            given = f" of {len(validation_data)}" if isinstance(validation_data, list | tuple) else ""
            raise ValueError(
                f"validation_data must be (X, y) or (X, y, sample_weight), got {type(validation_data).__name__}{given}"
            )
        try:
            X = self._prepared(self._check_inputs(validation_data[0]))
            check_unmasked(validation_data[1], "y")
            y = self._validation_targets(validation_data[1])
            if len(y) != X.shape[0]:
                raise ValueError(f"X has {X.shape[0]} rows, but y has {len(y)}")
            weights = _check_sample_weight(validation_data[2], X) if len(validation_data) == 3 else None
        except (TypeError, ValueError) as error:
            raise ValueError(f"validation_data: {error}") from error
        return X, y.reshape(len(y), -1), weights

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
