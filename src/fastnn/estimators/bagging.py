"""Bags of multi-layer perceptrons: the mean of networks that were trained on different rows, and scores on the rest."""

from functools import partial
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    _fit_context,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils import _safe_indexing, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, _num_samples, check_is_fitted, validate_data

from fastnn._arguments import flag
from fastnn._arrays import check_in_memory, check_unmasked
from fastnn._dask import in_memory, is_lazy, lazily, lazy_accuracy, lazy_r2
from fastnn._derivation import Derivable
from fastnn._warnings import warn
from fastnn.estimators.classifier import MLPClassifier
from fastnn.estimators.folds import folds_of_classes, pairs_of
from fastnn.estimators.frames import as_table, check_not_mapping, is_frame
from fastnn.estimators.intervals import CrossResiduals
from fastnn.estimators.labels import check_not_name, labels_of, plain_labels
from fastnn.estimators.regressor import MLPRegressor
from fastnn.estimators.restoring import as_before_on_error
from fastnn.training.workers import as_threads, run_many

Array = NDArray[Any]


class _BaggedMLP(Derivable, BaseEstimator):  # type: ignore[misc]
    """What both bags share: the rows of each network, training on threads, and the means."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_bags": [Interval(Integral, 2, 1_000_000, closed="both")],
        "bags": [StrOptions({"kfold", "bootstrap"})],
        "random_state": ["random_state"],
        "n_threads": [None, Interval(Integral, 1, 1024, closed="both")],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_bags: int = 8,
        bags: str = "kfold",
        random_state: Any = None,
        n_threads: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_bags = n_bags
        self.bags = bags
        self.random_state = random_state
        self.n_threads = n_threads

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._base().__sklearn_tags__().input_tags.allow_nan
        tags.input_tags.sparse = True
        return tags

    def _as_rows(self, X: Any, reset: bool) -> Any:
        """Return inputs whose rows can be taken by number; the networks check the values."""
        check_in_memory(X, "X", type(self).__name__)
        X = in_memory(X)
        check_not_mapping(X)
        check_unmasked(X, "X")
        if is_frame(X):
            X = as_table(X)
            validate_data(self, X, skip_check_array=True, reset=reset)
            return X
        return validate_data(self, X, accept_sparse="csr", dtype=None, ensure_all_finite=False, reset=reset)

    def _weight(self, sample_weight: Any, X: Any) -> Array | None:
        """Return the weights of the rows of X (n,); None for none."""
        check_unmasked(sample_weight, "sample_weight")
        return None if sample_weight is None else _check_sample_weight(sample_weight, X)

    def _fit_bags(self, X: Any, y: Array, weight: Array | None) -> list[tuple[Array, Any]]:
        """Train the networks; return the held-out rows of each and their outputs."""
        n = _num_samples(X)
        random = check_random_state(self.random_state)
        pairs = self._bags_of(y, n, random)
        seeds = random.randint(np.iinfo(np.int32).max, size=len(pairs))
        base = self._base()
        kind, suits = ("classifier", is_classifier) if is_classifier(self) else ("regressor", is_regressor)
        if not suits(base):
            raise TypeError(f"estimator must be a {kind}, got {base!r}")
        tasks = [
            partial(self._fit_bag, base, X, y, weight, int(seed), *pair)
            for seed, pair in zip(seeds, pairs, strict=True)
        ]
        results, errors = run_many(tasks, as_threads(self.n_threads))
        for error in errors.values():
            raise error
        trained = [result for result in results if result is not None]
        self.estimators_ = [estimator for estimator, _ in trained]
        return [(held_out, outputs) for (_, held_out), (_, outputs) in zip(pairs, trained, strict=True)]

    def _bags_of(self, y: Array, n: int, random: np.random.RandomState) -> list[tuple[Array, Array]]:
        """Return the training rows and the held-out rows of each network."""
        if self.bags == "bootstrap":
            drawn = [np.sort(random.randint(n, size=n)) for _ in range(self.n_bags)]
            return [(rows, np.setdiff1d(np.arange(n), rows)) for rows in drawn]
        if n < self.n_bags:
            raise ValueError(f"n_bags={self.n_bags} folds need as many rows at least, got n_samples={n}")
        return self._folds(y, random.randint(np.iinfo(np.int32).max))

    def _fit_bag(
        self, base: Any, X: Any, y: Array, weight: Array | None, seed: int, rows: Array, held_out: Array
    ) -> tuple[Any, Array | None]:
        estimator = clone(base).set_params(random_state=seed)
        options = {} if weight is None else {"sample_weight": weight[rows]}
        estimator.fit(_safe_indexing(X, rows), y[rows], **options)
        outputs = self._outputs(estimator, _safe_indexing(X, held_out)) if len(held_out) else None
        return estimator, outputs

    def _out_of_bag(self, parts: list[tuple[Array, Any]], n: int) -> Array:
        """Return the mean outputs of the networks that did not see a row; NaN where every network saw it."""
        width = next(outputs.shape[1] for _, outputs in parts if outputs is not None)
        sums, counts = np.zeros((n, width)), np.zeros((n, 1))
        for rows, outputs in parts:
            if outputs is not None:
                sums[rows] += outputs
                counts[rows] += 1
        if (counts == 0).any():
            warn(
                f"{int((counts == 0).sum())} of {n} rows are in every bag: their out-of-bag outputs are NaN, and the "
                f"score leaves them out. More than n_bags={self.n_bags} bags leave fewer"
            )
        return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)

    def _all_outputs(self, X: Any) -> Array:
        """Return the outputs of all networks, (n_bags, n, n_outputs)."""
        check_is_fitted(self, "estimators_")
        rows = self._as_rows(X, reset=False)
        results, errors = run_many(
            [partial(self._outputs, estimator, rows) for estimator in self.estimators_],
            as_threads(self.n_threads),
        )
        for error in errors.values():
            raise error
        return np.stack([result for result in results if result is not None])

    def _base(self) -> Any:
        raise NotImplementedError

    def _folds(self, y: Array, seed: int) -> list[tuple[Array, Array]]:
        raise NotImplementedError

    def _outputs(self, estimator: Any, X: Any) -> Array:
        raise NotImplementedError


class BaggedMLPClassifier(ClassifierMixin, _BaggedMLP):  # type: ignore[misc]
    """The mean probabilities of classifiers that were trained on different rows, one on each thread at a time.

    Parameters
    ----------
    estimator : the classifier to train copies of; None is ``MLPClassifier()``. Each copy has a different seed.
    n_bags : number of networks.
    bags : "kfold" trains each network on all rows but those of one of ``n_bags`` stratified folds; "bootstrap" on n
        rows drawn with replacement.
    random_state : seed of the bags and of the networks.
    n_threads : networks that are trained at the same time; None is ``fastnn.get_num_threads()``.

    Attributes
    ----------
    estimators_ : the fitted networks.
    classes_ : labels of the classes.
    oob_decision_function_ : (n, n_classes) mean probabilities of the networks that did not see the row.
    oob_score_ : accuracy of these probabilities.
    n_features_in_, feature_names_in_ : as in scikit-learn.

    References
    ----------
    L. Breiman (1996), Bagging predictors, Machine Learning 24, 123-140.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import fastnn
    >>> X, y = load_iris(return_X_y=True)
    >>> net = fastnn.MLPClassifier(hidden_layer_sizes=(8,), max_iter=30, learning_rate_init=0.02, standardize=True)
    >>> bags = fastnn.BaggedMLPClassifier(net, n_bags=4, random_state=0).fit(X, y)
    >>> bags.oob_decision_function_.shape, bool(bags.oob_score_ > 0.8)
    ((150, 3), True)
    """

    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train the networks on inputs (n, n_features) and labels (n,), with factors (n,) of each row's loss."""
        with as_before_on_error(self):
            return self._fit(X, y, sample_weight)

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> Self:
        rows = self._as_rows(X, reset=True)
        labels = labels_of(y)
        check_consistent_length(rows, labels)
        check_classification_targets(labels)
        self.classes_ = np.unique(labels)
        parts = self._fit_bags(rows, labels, self._weight(sample_weight, rows))
        self.oob_decision_function_ = self._out_of_bag(parts, len(labels))
        seen = np.isfinite(self.oob_decision_function_[:, 0])
        chosen = self.classes_[self.oob_decision_function_[seen].argmax(axis=1)]
        self.oob_score_ = float(accuracy_score(labels[seen], chosen)) if seen.any() else float("nan")
        return self

    @lazily
    def predict_proba(self, X: Any) -> Array:
        """Return the mean probabilities (n, n_classes)."""
        mean: Array = self._all_outputs(X).mean(axis=0)
        return mean

    @lazily
    def predict(self, X: Any) -> Array:
        """Return the labels (n,) of the largest mean probability."""
        chosen = self.predict_proba(X).argmax(axis=1)
        labels: Array = self.classes_[chosen]
        return labels

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Return the accuracy on X (n, n_features) and labels y (n,); of Dask collections a lazy number."""
        if is_lazy(X):
            return lazy_accuracy(self.predict(X), y, sample_weight)
        return super().score(X, plain_labels(y), sample_weight)

    def _base(self) -> Any:
        return MLPClassifier() if self.estimator is None else self.estimator

    def _folds(self, y: Array, seed: int) -> list[tuple[Array, Array]]:
        codes = np.searchsorted(self.classes_, y)
        if np.bincount(codes).max() < self.n_bags:  # StratifiedKFold refuses them
            return pairs_of(folds_of_classes(codes, self.n_bags, seed), self.n_bags)
        return list(StratifiedKFold(self.n_bags, shuffle=True, random_state=seed).split(np.zeros(len(y)), y))

    def _outputs(self, estimator: Any, X: Any) -> Array:
        found = estimator.predict_proba(X)
        outputs = np.zeros((len(found), len(self.classes_)))
        # A bag may lack a class; scikit-learn's networks have two columns for a single one.
        columns = np.searchsorted(self.classes_, estimator.classes_)
        outputs[:, columns] = found if len(columns) > 1 else 1.0
        return outputs


class BaggedMLPRegressor(RegressorMixin, _BaggedMLP):  # type: ignore[misc]
    """The mean of regressors that were trained on different rows, one on each thread at a time.

    Parameters
    ----------
    estimator, n_bags, bags, random_state, n_threads : as in ``BaggedMLPClassifier``; folds are not stratified.

    Attributes
    ----------
    estimators_ : the fitted networks.
    oob_prediction_ : (n,) or (n, n_outputs), mean of the networks that did not see the row.
    oob_score_ : R**2 of these predictions.
    n_features_in_, feature_names_in_ : as in scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> import fastnn
    >>> X, y = load_diabetes(return_X_y=True)
    >>> net = fastnn.MLPRegressor(hidden_layer_sizes=(16,), max_iter=100, learning_rate_init=0.05, standardize=True)
    >>> bags = fastnn.BaggedMLPRegressor(net, n_bags=4, random_state=0).fit(X, y)
    >>> mean, deviation = bags.predict(X, return_std=True)
    >>> mean.shape, deviation.shape, bool(bags.oob_score_ > 0.1)
    ((442,), (442,), True)
    """

    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train the networks on inputs (n, n_features) and targets (n,) or (n, n_outputs)."""
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        with as_before_on_error(self):
            return self._fit(X, y, sample_weight)

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> Self:
        rows = self._as_rows(X, reset=True)
        check_not_name(y, "y")
        check_unmasked(y, "y")
        targets = np.asarray(y)
        check_consistent_length(rows, targets)
        if targets.ndim == 2 and targets.shape[1] == 1:
            targets = column_or_1d(y, warn=True)
        weight = self._weight(sample_weight, rows)
        parts = self._fit_bags(rows, targets, weight)
        means = self._out_of_bag(parts, len(targets))
        self._is_vector = targets.ndim == 1
        held_out = [held_out for held_out, _ in parts]
        self._residuals = CrossResiduals(held_out, means, targets.reshape(means.shape), weight=weight)
        self.oob_prediction_ = means[:, 0] if self._is_vector else means
        seen = np.isfinite(means[:, 0])
        self.oob_score_ = float(r2_score(targets[seen], self.oob_prediction_[seen])) if seen.sum() > 1 else float("nan")
        return self

    @lazily
    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return the mean prediction, (n,) or (n, n_outputs).

        Parameters
        ----------
        X : inputs (n, n_features).
        return_std : whether to return the standard deviation between the networks, of the same shape, too. It tells
            where networks disagree; it is not the error of a prediction.
        """
        flag("return_std", return_std)
        outputs = self._all_outputs(X)
        if self._is_vector:
            outputs = outputs[:, :, 0]
        return (outputs.mean(axis=0), outputs.std(axis=0)) if return_std else outputs.mean(axis=0)

    @lazily
    def predict_interval(self, X: Any, coverage: float = 0.9) -> Array:
        """Return intervals that contain the fraction ``coverage`` of targets, (n, 2) or (n, n_outputs, 2).

        They are those of CV+ with folds (Barber et al., 2021), of the jackknife+ after bootstrap with
        ``bags="bootstrap"`` (Kim, Xu and Barber, 2020), for rows like those of ``fit``. Factors ``sample_weight`` of
        ``fit`` do not weight the residuals; rows whose factor is 0 have none.

        Parameters
        ----------
        X : inputs (n, n_features).
        coverage : fraction between 0 and 1.

        Raises
        ------
        ValueError
            The rows of ``fit`` do not suffice for the coverage: 0.9 needs 9 out-of-bag rows, 0.99 needs 99.
        """
        check_is_fitted(self, "estimators_")
        rank = self._residuals.rank(coverage)
        bounds = self._residuals.intervals(self._all_outputs(X), rank)
        return bounds[:, 0] if self._is_vector else bounds

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Return R² on X (n, n_features) and targets y; of Dask collections a lazy number."""
        if is_lazy(X):
            return lazy_r2(self.predict(X), y, sample_weight)
        return super().score(X, y, sample_weight)

    def _base(self) -> Any:
        return MLPRegressor() if self.estimator is None else self.estimator

    def _folds(self, y: Array, seed: int) -> list[tuple[Array, Array]]:
        return list(KFold(self.n_bags, shuffle=True, random_state=seed).split(np.zeros(len(y))))

    def _outputs(self, estimator: Any, X: Any) -> Array:
        outputs: Array = np.asarray(estimator.predict(X))
        return outputs.reshape(len(outputs), -1)
