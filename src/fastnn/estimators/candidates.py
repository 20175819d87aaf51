"""A grid or random search over one network: scikit-learn's search, whose fits share the checks of their rows.

Design: a) rows of a fold are checked once, parameters of a candidate once; a fit is then little more than the native
epochs; b) candidates of a fold follow one another, so that few folds are in memory at a time; c) what this module does
not cover is left to scikit-learn: see ``is_covered``.
"""

import copy
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, ParameterGrid, ParameterSampler, check_cv
from sklearn.utils import _safe_indexing, check_random_state, indexable
from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints

from fastnn.estimators.classifier import MLPClassifier
from fastnn.estimators.orders import OrderDraw, SharedOrders
from fastnn.estimators.regressor import MLPRegressor
from fastnn.training.workers import run_many

Array = NDArray[Any]

_OF_TRAINING = {
    *("hidden_layer_sizes", "activation", "solver", "alpha", "batch_size", "learning_rate", "learning_rate_init"),
    *("power_t", "max_iter", "shuffle", "random_state", "tol", "momentum", "nesterovs_momentum", "early_stopping"),
    *("validation_fraction", "beta_1", "beta_2", "epsilon", "n_iter_no_change", "dropout", "optimizer"),
    *("kernel_initializer", "bias_initializer"),
}
"""Parameters that change nothing in the checks of the rows."""


def is_covered(search: Any, candidates: Sequence[dict[str, Any]], fit_params: dict[str, Any]) -> bool:
    """Whether ``fit_search`` gives what the search itself does.

    Parameters
    ----------
    search : ``GridSearchCV`` or ``RandomizedSearchCV``.
    candidates : the combinations of parameters.
    fit_params : further arguments of ``fit``.
    """
    estimator = search.estimator
    return (
        type(estimator) in (MLPClassifier, MLPRegressor)
        and not fit_params
        and isinstance(search.refit, bool)
        and (search.scoring is None or isinstance(search.scoring, str))
        and not getattr(search, "_skl_callbacks", None)
        and not getattr(estimator, "_skl_callbacks", None)
        and all(candidate.keys() <= _OF_TRAINING for candidate in candidates)
        and "lbfgs" not in {estimator.solver, *(candidate.get("solver") for candidate in candidates)}
    )


def candidates_of(search: Any) -> list[dict[str, Any]]:
    """Return the combinations of parameters that a search tries, in its order."""
    if isinstance(search, GridSearchCV):
        return list(ParameterGrid(search.param_grid))
    return list(ParameterSampler(search.param_distributions, search.n_iter, random_state=search.random_state))


def _score(estimator: Any, X: Any, y: Any) -> float:
    """Return what ``estimator.score`` does, accuracy or R**2, without checks of rows that have been checked."""
    given, found = np.asarray(y), np.asarray(estimator.predict(X))
    if given.shape == found.shape and is_classifier(estimator):
        if given.ndim == 1:
            return float(np.average(given == found))
    elif given.shape == found.shape and len(given) > 1 and given.dtype.kind == "f":
        given, found = (each.astype(np.result_type(given, found), copy=False) for each in (given, found))
        total = ((given - np.average(given, axis=0)) ** 2).sum(axis=0)
        residual = ((given - found) ** 2).sum(axis=0)
        if np.all(total > 0):
            return float(np.average(1 - residual / total))
    return float(estimator.score(X, y))


class _Streams(threading.local):
    """The random numbers of the fits of each thread."""

    def __init__(self) -> None:
        self._seeded = np.random.RandomState(0)

    def of(self, random_state: Any) -> np.random.RandomState:
        """Return what ``check_random_state`` does; the next call for a seed seeds the same object again.

        Making another one takes 65 us, as long as ten epochs of a small network.
        """
        if isinstance(random_state, int | np.integer):
            self._seeded.seed(random_state)
            return self._seeded
        found: np.random.RandomState = check_random_state(random_state)
        return found


_streams = _Streams()


class _Fold:
    """The rows of one split, checked when a fit needs them first and dropped after the last.

    Parameters
    ----------
    estimator : the estimator, which is not changed.
    X, y : all rows.
    training, held_out : numbers of the rows.
    n_fits : number of fits that use the rows.
    draw : gives the orders of rows of some epochs.
    """

    def __init__(
        self, estimator: Any, X: Any, y: Any, training: Array, held_out: Array, n_fits: int, draw: OrderDraw
    ) -> None:
        self._estimator, self._rows = estimator, (X, y, training, held_out)
        self._left, self._draw = n_fits, draw
        self._lock = threading.Lock()
        self._data: tuple[Any, ...] | None = None

    def fit_and_score(self, estimator: Any, score: Callable[..., float], scores_training: bool) -> dict[str, Any]:
        """Fit an estimator; return scores and times in the form of scikit-learn's searches."""
        start = time.time()
        checked, attributes, training, held_out = self._checked()
        estimator.fit_fold(checked, attributes, _streams.of(estimator.random_state), self._draw)
        fitted = time.time()
        result = {"fit_error": None, "test_scores": score(estimator, *held_out), "fit_time": fitted - start}
        result["score_time"] = time.time() - fitted
        if scores_training:
            result["train_scores"] = score(estimator, *training)
        self._end()
        return result

    def _checked(self) -> tuple[Any, ...]:
        with self._lock:
            if self._data is None:
                X, y, *numbers = self._rows
                training, held_out = [(_rows_of(X, rows), _rows_of(y, rows)) for rows in numbers]
                self._data = (*_copy(self._estimator).check_fold(*training), training, held_out)
            return self._data

    def _end(self) -> None:
        with self._lock:
            self._left -= 1
            if not self._left:
                self._data = None


def _rows_of(data: Any, rows: Array) -> Any:
    """Return some rows as scikit-learn's searches do."""
    return data[rows] if type(data) is np.ndarray else _safe_indexing(data, rows)


def _copy(estimator: Any) -> Any:
    """Return a copy of an unfitted estimator with random numbers of its own."""
    found = copy.copy(estimator)
    found.random_state = clone(estimator.random_state, safe=False)
    return found


def _with_parameters(estimator: Any, candidate: dict[str, Any]) -> Any:
    """Return a copy of an unfitted estimator with the parameters of a candidate."""
    found = _copy(estimator)
    for name, value in candidate.items():
        setattr(found, name, clone(value, safe=False))
    return found


def _are_allowed(estimator: Any, parameters: dict[str, Any]) -> bool:
    """Whether scikit-learn's checks accept parameters."""
    try:
        validate_parameter_constraints(estimator._parameter_constraints, parameters, type(estimator).__name__)
    except InvalidParameterError:
        return False
    return True


def fit_search(search: Any, candidates: list[dict[str, Any]], X: Any, y: Any, n_threads: int) -> Any:
    """Return the fitted search; None if a fit fails, which scikit-learn's search then reports.

    Parameters
    ----------
    search : an unfitted search that ``is_covered``.
    candidates : the combinations of parameters.
    X, y : the rows.
    n_threads : fits at the same time.
    """
    X, y = indexable(X, y)
    estimator = search.estimator
    splits = list(check_cv(search.cv, y, classifier=is_classifier(estimator)).split(X, y))
    score = _score if search.scoring is None else check_scoring(estimator, search.scoring)
    shared = clone(estimator)
    replaced = set.intersection(*map(set, candidates))
    kept = {name: value for name, value in shared.get_params(deep=False).items() if name not in replaced}
    if not all(_are_allowed(shared, each) for each in (kept, *candidates)):
        return None
    parameters = [_with_parameters(shared, candidate) for candidate in candidates]
    draw = SharedOrders()
    folds = [_Fold(shared, X, y, training, held_out, len(candidates), draw) for training, held_out in splits]

    def fit(fold: _Fold, each: Any) -> dict[str, Any]:
        return fold.fit_and_score(_copy(each), score, search.return_train_score)

    found, errors = run_many([partial(fit, fold, each) for fold in folds for each in parameters], n_threads)
    if any(isinstance(error, KeyboardInterrupt) for error in errors.values()):
        raise KeyboardInterrupt
    if errors:
        return None
    n = len(candidates)
    by_candidate = [found[fold * n + number] for number in range(n) for fold in range(len(folds))]
    _set_results(search, candidates, by_candidate, len(folds))
    search.scorer_ = check_scoring(estimator, search.scoring)
    if search.refit:
        start = time.time()
        search.best_estimator_ = clone(estimator).set_params(**clone(search.best_params_, safe=False)).fit(X, y)
        search.refit_time_ = time.time() - start
        if hasattr(search.best_estimator_, "feature_names_in_"):
            search.feature_names_in_ = search.best_estimator_.feature_names_in_
    return search


def _set_results(search: Any, candidates: list[dict[str, Any]], found: list[Any], n_splits: int) -> None:
    """Set the attributes of a search that describe the scores."""
    search.n_splits_, search.multimetric_ = n_splits, False
    search.cv_results_ = search._format_results(candidates, n_splits, found)
    search.best_index_ = search._select_best_index(search.refit, "score", search.cv_results_)
    search.best_score_ = search.cv_results_["mean_test_score"][search.best_index_]
    search.best_params_ = search.cv_results_["params"][search.best_index_]
