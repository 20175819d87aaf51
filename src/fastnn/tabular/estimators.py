"""Classifier and regressor of tables: bags of networks made by a recipe, without tuning."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from fastnn._arguments import whole
from fastnn._arrays import check_in_memory, check_unmasked
from fastnn._derivation import Derivable
from fastnn._warnings import warn
from fastnn.estimators.frames import is_frame, without_na
from fastnn.estimators.intervals import CrossResiduals
from fastnn.many import as_threads, run_many
from fastnn.tabular.calibration import Calibration, calibration_of, logits_of
from fastnn.tabular.columns import TableEncoder, names_of
from fastnn.tabular.recipes import RECIPES, SCALINGS, Task
from fastnn.tabular.scores import METRICS, score_of
from fastnn.tabular.targets import labels_of, targets_of
from fastnn.tabular.training import Data, Trained, outputs_of, seconds_per_epoch, train_member

Array = NDArray[Any]

_EPOCHS = 256
_VISITS = 5_000_000
"""Rows that a network sees at most in training: more rows mean fewer epochs, but at least ``_LEAST_EPOCHS``."""
_LEAST_EPOCHS = 10
_FEW_RANKED_ROWS = 1000
"""With fewer rows, the area under the ROC curve of a fold is too noisy to choose an epoch: the log loss does."""
_FEW_ROWS = 500
"""With fewer rows, every fold is trained twice, from other splits, and layers are narrower."""


class _Tabular(Derivable, BaseEstimator):  # type: ignore[misc]
    """What classifier and regressor share: columns, folds, training, means."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "recipe": [StrOptions(set(RECIPES))],
        "n_bags": [Interval(Integral, 1, 1_000_000, closed="both")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "metric": [None, str],
        "random_state": ["random_state"],
        "categorical_features": [None, "array-like"],
        "n_threads": [None, Interval(Integral, 1, 1024, closed="both")],
    }
    _kind: ClassVar[str]

    def __init__(
        self,
        recipe: str = "realmlp",
        *,
        n_bags: int = 8,
        time_limit: float | None = None,
        metric: str | None = None,
        random_state: Any = None,
        categorical_features: Any = None,
        n_threads: int | None = None,
    ) -> None:
        self.recipe = recipe
        self.n_bags = n_bags
        self.time_limit = time_limit
        self.metric = metric
        self.random_state = random_state
        self.categorical_features = categorical_features
        self.n_threads = n_threads

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.non_deterministic = False
        return tags

    def _as_rows(self, X: Any, reset: bool) -> Any:
        """Return inputs as a frame or an array, after scikit-learn's checks."""
        check_in_memory(X, "X", type(self).__name__)
        check_unmasked(X, "X")
        if is_frame(X):
            names_of(X)  # raises if two are equal
            validate_data(self, X, skip_check_array=True, reset=reset)
            return X
        array = without_na(
            validate_data(
                self, X, dtype=None, ensure_all_finite=False, ensure_min_samples=2 if reset else 1, reset=reset
            )
        )
        if array.dtype.kind == "c":
            raise ValueError("Complex data not supported: X must hold real numbers, strings or booleans")
        if array.dtype.kind == "f" and np.isinf(array).any():
            raise ValueError("Input X contains infinity: replace it by NaN, which stands for a missing value")
        return array

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any) -> Self:
        """Train the networks on a table X (n, n_features) and labels y (n,), or numbers (n,) or (n, n_outputs)."""
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        with self._as_before_on_error():
            return self._fit(X, y)

    def _fit(self, X: Any, y: Any) -> Self:
        raise NotImplementedError

    @contextmanager
    def _as_before_on_error(self) -> Iterator[None]:
        """Restore all attributes if the block raises: a fit that fails leaves the estimator as it was."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__ = before
            raise

    def _metric(self) -> str:
        known = METRICS[self._kind]
        name = next(iter(known)) if self.metric is None else self.metric
        if name not in known:
            raise ValueError(f"metric must be one of {', '.join(map(repr, known))} or None, got {self.metric!r}")
        return name

    def _fit_bags(self, X: Any, labels: Array, y: Array, task: Task) -> list[Array | None]:
        """Train the networks on targets y (n, n_outputs); return the rows that each network did not see."""
        started = time.monotonic()
        n = _num_samples(X)
        random = check_random_state(self.random_state)
        chosen = () if self.categorical_features is None else self.categorical_features
        self._encoder = TableEncoder(SCALINGS[self.recipe], int(random.randint(1 << 31)), set(chosen))
        encoded = self._encoder.learn(X, labels)
        data = Data(encoded, y)
        metric = self._metric()
        score = score_of(self._kind, metric)
        watched = score_of(self._kind, "log_loss") if metric == "roc_auc" and n < _FEW_RANKED_ROWS else score
        pairs = self._splits(labels, n, random)
        seeds = random.randint(np.iinfo(np.int32).max, size=len(pairs))
        epochs = int(np.clip(_VISITS // n, _LEAST_EPOCHS, _EPOCHS))
        threads = min(as_threads(self.n_threads), len(pairs))
        deadlines: list[float | None] = [None] * len(pairs)
        if self.time_limit is not None:
            epochs, deadlines = self._within_limit(task, data.part(pairs[0][0]), epochs, len(pairs), threads, started)
        tasks = [
            partial(self._train, task, data, pair, watched, epochs, int(seed), deadline)
            for pair, seed, deadline in zip(pairs, seeds, deadlines, strict=True)
        ]
        results, errors = run_many(tasks, threads)
        if errors:
            raise next(iter(errors.values()))
        trained = [result for result in results if result is not None]
        self._task, self.n_epochs_ = task, epochs
        self.models_ = [each.model for each in trained]
        self.best_epochs_ = [each.best_epoch + 1 for each in trained]
        self._set_out_of_fold(data, pairs, trained, score)
        return [held_out for _, held_out in pairs]

    def _train(
        self, task: Task, data: Data, pair: Any, score: Any, epochs: int, seed: int, deadline: float | None
    ) -> Trained:
        training, held_out = pair
        other = None if held_out is None else data.part(held_out)
        return train_member(task, self._encoder, data.part(training), other, score, epochs, seed, deadline)

    def _within_limit(
        self, task: Task, training: Data, epochs: int, n_tasks: int, threads: int, started: float
    ) -> tuple[int, list[float | None]]:
        """Return the number of epochs for which the time suffices, and when each network must end."""
        assert self.time_limit is not None
        waves = -(-n_tasks // threads)
        left = started + self.time_limit - time.monotonic()
        needed = seconds_per_epoch(task, self._encoder, training, 0, min(1.0, 0.05 * self.time_limit))
        wave = max(0.9 * (started + self.time_limit - time.monotonic()), 0.0) / waves
        possible = int(wave / needed) if needed > 0 else epochs
        if possible < 1 and left > 0:
            warn(f"time_limit={self.time_limit} does not suffice for one epoch: each network is trained for one")
        end = started + self.time_limit
        return max(1, min(epochs, possible)), [end - (waves - 1 - i // threads) * wave for i in range(n_tasks)]

    def _splits(self, labels: Array, n: int, random: np.random.RandomState) -> list[tuple[Array, Array | None]]:
        """Return training rows and held-out rows of each network; None where all rows are needed for training."""
        rows = np.arange(n)
        if n < 4 or (self.n_bags == 1 and n < 10):
            return [(rows, None)]
        n_folds = min(self.n_bags if self.n_bags > 1 else 5, n)
        pairs = []
        for _ in range(2 if n < _FEW_ROWS and self.n_bags > 1 else 1):
            pairs += list(self._folds(labels, n_folds, int(random.randint(np.iinfo(np.int32).max))))
        return pairs[:1] if self.n_bags == 1 else pairs

    def _set_out_of_fold(self, data: Data, pairs: Any, trained: list[Trained], score: Any) -> None:
        """Set ``oof_predictions_`` and ``oof_score_``."""
        sums, counts = np.zeros(data.y.shape), np.zeros((len(data.y), 1))
        for (_, held_out), each in zip(pairs, trained, strict=True):
            if held_out is not None and each.outputs is not None:
                sums[held_out] += each.outputs
                counts[held_out] += 1
        means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
        seen = counts[:, 0] > 0
        means = self._calibrated(data.y, means, seen)
        self.oof_predictions_ = self._predictions(means)
        self.oof_score_ = float("nan") if not seen.any() else self._oof_score(score(data.y[seen], means[seen]))

    def _calibrated(self, y: Array, outputs: Array, seen: Array) -> Array:
        """Return out-of-fold outputs (n, n_outputs) after calibration, which is learned from the rows ``seen``."""
        return outputs

    def _oof_score(self, value: float) -> float:
        return -value if self._metric() in ("accuracy", "roc_auc", "r2") else value

    def _all_outputs(self, X: Any) -> Array:
        """Return the outputs (n_networks, n, n_outputs) of all networks."""
        check_is_fitted(self)
        encoded = self._encoder.encode(self._as_rows(X, reset=False))
        return np.stack([outputs_of(model, self._task, encoded) for model in self.models_])

    def _outputs(self, X: Any) -> Array:
        """Return the mean outputs (n, n_outputs) of all networks."""
        mean: Array = self._all_outputs(X).mean(axis=0, dtype=np.float64)
        return mean

    def _width(self, n: int) -> int:
        width = 512 if self.recipe == "tabm" else 256
        return width // 2 if n < _FEW_ROWS else width

    def permutation_importances(self, X: Any, y: Any, n_repeats: int = 5, random_state: Any = None) -> Array:
        """Return how much worse the score becomes when one column is permuted, (n_features,): the mean of repeats.

        Parameters
        ----------
        X, y : rows that were not in ``fit``, or those of the fit.
        n_repeats : permutations of each column.
        random_state : seed of the permutations.
        """
        from sklearn.inspection import permutation_importance

        repeats = whole("n_repeats", n_repeats, at_least=1, at_most=1_000_000)
        found = permutation_importance(self, X, y, n_repeats=repeats, random_state=random_state)
        means: Array = found.importances_mean
        return means

    def _folds(self, labels: Array, n_folds: int, seed: int) -> Any:
        raise NotImplementedError

    def _predictions(self, outputs: Array) -> Array:
        raise NotImplementedError


class TabularClassifier(ClassifierMixin, _Tabular):  # type: ignore[misc]
    """A classifier of tables that needs no tuning: the mean of networks made by a recipe.

    A table may have columns of numbers, strings, categories and booleans, with missing values, in a pandas or polars
    frame, a pyarrow table or an array. A missing number becomes the median of its column, and one more column says
    where numbers were missing in the fit; a missing or unknown category has a place of its own. Constant columns, and
    columns of categories that are different in nearly every row, are left out with a warning.

    Fewer than 500 rows train two networks for each fold, with half the units. More than 20,000 rows train fewer than
    256 epochs, so that a network sees 5 million rows.

    A gradient-boosted tree is the better tool where a fit must take a second or less, where thresholds must explain
    predictions, and often for tables with more than 100,000 rows or with many categories; compare both.

    Parameters
    ----------
    recipe : "realmlp" (Holzmüller et al., 2024), "tabm" (TabM-mini; Gorishniy et al., 2025), whose 32 members took 7 to
        19 times the processor time with 1,000 rows, or "plain", a multilayer perceptron.
    n_bags : number of folds, at most one for each row. Each network is trained on all rows but those of one fold, and
        keeps the weights of the epoch that predicts these best. 1 trains one network on four fifths of the rows.
    time_limit : seconds that a fit may take, about; None for no limit. Fewer epochs are trained where it is short.
    metric : what chooses the epoch: "log_loss" (None), "accuracy", "roc_auc" or "brier". Labels are smoothed for
        "accuracy" alone. For "roc_auc" with fewer than 1,000 rows the log loss chooses it.
    random_state : seed of folds, weights, order of rows and dropout.
    categorical_features : names or numbers of columns of numbers that stand for categories.
    n_threads : networks that are trained at the same time; None is ``fastnn.get_num_threads()``.
    calibrate : whether probabilities are calibrated by the temperature of the least log loss of the out-of-fold rows.
        Equal probabilities are mixed in with a weight of 1 / (n + 1). Labels of ``predict`` stay the same. Where the
        expected calibration error of these rows would rise, nothing is changed, and ``temperature_`` is 1.

    Attributes
    ----------
    classes_ : labels of the classes.
    temperature_ : logits are divided by it; above 1 where the networks are too sure.
    models_ : the networks, of encoded columns.
    best_epochs_ : the epoch of each network's weights, counted from 1.
    n_epochs_ : number of epochs of the plan.
    oof_predictions_ : (n, n_classes) mean probabilities of the networks that did not see the row; NaN where all did.
    oof_score_ : their metric.
    n_features_in_, feature_names_in_ : as in scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import fastnn
    >>> X, y = load_iris(return_X_y=True)
    >>> model = fastnn.TabularClassifier("plain", n_bags=3, random_state=0).fit(X, y)
    >>> model.predict_proba(X).shape, bool(model.oof_score_ < 0.3)
    ((150, 3), True)
    """

    _kind = "classifier"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_Tabular._parameter_constraints,
        "calibrate": ["boolean"],
    }

    def __init__(
        self,
        recipe: str = "realmlp",
        *,
        n_bags: int = 8,
        time_limit: float | None = None,
        metric: str | None = None,
        random_state: Any = None,
        categorical_features: Any = None,
        n_threads: int | None = None,
        calibrate: bool = True,
    ) -> None:
        super().__init__(
            recipe,
            n_bags=n_bags,
            time_limit=time_limit,
            metric=metric,
            random_state=random_state,
            categorical_features=categorical_features,
            n_threads=n_threads,
        )
        self.calibrate = calibrate

    def _fit(self, X: Any, y: Any) -> Self:
        rows = self._as_rows(X, reset=True)
        labels = labels_of(y)
        check_consistent_length(rows, labels)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        n_classes = len(self.classes_)
        if n_classes < 2:
            raise ValueError(f"y holds one class only, {labels.tolist()[0]!r}: a classifier needs at least two classes")
        y_hot = codes[:, None].astype(np.float32)
        if n_classes > 2:
            y_hot = (codes[:, None] == np.arange(n_classes)).astype(np.float32)
        task = Task(self.recipe, y_hot.shape[1], True, self._metric() == "accuracy", self._width(len(labels)))
        self._fit_bags(rows, codes, y_hot, task)
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return the mean probabilities (n, n_classes), calibrated if ``calibrate``."""
        mean = self._predictions(self._outputs(X))
        return self._calibration.apply(mean)

    def decision_function(self, X: Any) -> Array:
        """Return logits: logarithms of ``predict_proba`` (n, n_classes); of two classes, their difference (n,).

        ``softmax`` of them, or the logistic function, gives the probabilities; those below 1e-7 count as 1e-7.
        """
        logits = logits_of(self.predict_proba(X))
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict(self, X: Any) -> Array:
        """Return the labels (n,) of the largest probability."""
        chosen = self.predict_proba(X).argmax(axis=1)
        labels: Array = self.classes_[chosen]
        return labels

    def _folds(self, labels: Array, n_folds: int, seed: int) -> Any:
        rows = np.zeros(len(labels))
        rarest = int(np.bincount(labels).min())
        if rarest < 2:
            return KFold(n_folds, shuffle=True, random_state=seed).split(rows)
        return StratifiedKFold(min(n_folds, rarest), shuffle=True, random_state=seed).split(rows, labels)

    def _calibrated(self, y: Array, outputs: Array, seen: Array) -> Array:
        probabilities = self._predictions(outputs)
        codes = (y[:, 0] > 0).astype(np.intp) if y.shape[1] == 1 else y.argmax(axis=1)
        self._calibration = Calibration()
        if self.calibrate:
            self._calibration = calibration_of(codes[seen], probabilities[seen])
        self.temperature_ = self._calibration.temperature
        return self._calibration.apply(probabilities)[:, -y.shape[1] :]

    def _predictions(self, outputs: Array) -> Array:
        return np.column_stack([1.0 - outputs, outputs]) if outputs.shape[1] == 1 else outputs


class TabularRegressor(RegressorMixin, _Tabular):  # type: ignore[misc]
    """A regressor of tables that needs no tuning: the mean of networks made by a recipe.

    Tables, missing values, rules for few and many rows, and when a gradient-boosted tree is the better tool: as in
    ``TabularClassifier``. Networks cannot predict beyond the targets of the fit, and neither can trees.

    Parameters
    ----------
    recipe, n_bags, time_limit, random_state, categorical_features, n_threads : as in ``TabularClassifier``.
    metric : what chooses the epoch: "rmse" (None), "mae" or "r2".

    Attributes
    ----------
    models_, best_epochs_, n_epochs_ : as in ``TabularClassifier``.
    oof_predictions_ : (n,) or (n, n_outputs), mean of the networks that did not see the row; NaN where all did.
    oof_score_ : their metric, in units of y.
    n_features_in_, feature_names_in_ : as in scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> import fastnn
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = fastnn.TabularRegressor("plain", n_bags=3, random_state=0).fit(X, y)
    >>> model.predict(X).shape, bool(model.oof_score_ < 62.0)
    ((442,), True)
    """

    _kind = "regressor"

    def _fit(self, X: Any, y: Any) -> Self:
        rows = self._as_rows(X, reset=True)
        targets = targets_of(y)
        check_consistent_length(rows, targets)
        self._is_vector = targets.ndim == 1
        columns = targets.reshape(len(targets), -1)
        self._center, deviation = columns.mean(axis=0), columns.std(axis=0)
        self._scale = np.where(deviation > 0.0, deviation, 1.0)
        self._low, self._high = columns.min(axis=0), columns.max(axis=0)
        scaled = ((columns - self._center) / self._scale).astype(np.float32)
        task = Task(self.recipe, columns.shape[1], False, False, self._width(len(columns)))
        held_out = self._fit_bags(rows, targets, scaled, task)
        self._residuals = CrossResiduals(held_out, self.oof_predictions_.reshape(columns.shape), columns)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return the mean prediction, (n,) or (n, n_outputs), between the least and the largest target of ``fit``.

        Parameters
        ----------
        X : table (n, n_features).
        return_std : whether to return the standard deviation between the networks, of the same shape, too. It tells
            where networks disagree; it is not the error of a prediction, which ``predict_interval`` bounds.
        """
        if not return_std:
            return self._predictions(self._outputs(X))
        outputs = self._all_outputs(X)
        if len(outputs) < 2:
            raise ValueError(
                f"return_std=True needs two networks or more, and fit trained one: n_bags is {self.n_bags}, "
                "and fewer than 4 rows train one network"
            )
        deviation = outputs.std(axis=0, dtype=np.float64) * self._scale
        mean = self._predictions(outputs.mean(axis=0, dtype=np.float64))
        return mean, deviation[:, 0] if self._is_vector else deviation

    def predict_interval(self, X: Any, coverage: float = 0.9) -> Array:
        """Return intervals that contain the fraction ``coverage`` of targets: CV+ of the out-of-fold residuals.

        The fraction holds on average over rows like those of ``fit``, whatever their distribution, without a promise
        for a single kind of rows. CV+ guarantees ``2 coverage - 1``, and reaches ``coverage`` unless networks of
        different folds differ much (Barber et al., 2021). The same rows chose the epoch of each network, so that
        residuals are a little too small: with 200 rows, intervals of 90 % contained 88 % of new targets.

        Parameters
        ----------
        X : table (n, n_features).
        coverage : fraction between 0 and 1.

        Returns
        -------
        ndarray
            (n, 2), lower and upper bounds; (n, n_outputs, 2) for several targets, each with its coverage.

        Raises
        ------
        ValueError
            The rows of ``fit`` do not suffice for the coverage: 0.9 needs 9 out-of-fold rows, 0.99 needs 99.
        """
        check_is_fitted(self)
        rank = self._residuals.rank(coverage)
        centers = self._in_range(self._residuals.centers(self._all_outputs(X)))
        bounds = self._residuals.interval(centers, rank)
        return bounds[:, 0] if self._is_vector else bounds

    def _folds(self, labels: Array, n_folds: int, seed: int) -> Any:
        return KFold(n_folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)))

    def _oof_score(self, value: float) -> float:
        factor = 1.0 if self._metric() == "r2" else float(np.mean(self._scale))
        return super()._oof_score(value * factor)

    def _in_range(self, outputs: Array) -> Array:
        values: Array = np.clip(outputs * self._scale + self._center, self._low, self._high)
        return values

    def _predictions(self, outputs: Array) -> Array:
        values = self._in_range(outputs)
        return values[:, 0] if self._is_vector else values
