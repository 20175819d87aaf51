"""What the classifier and the regressor of tables share: bags of networks made by a recipe, without tuning."""

import time
import warnings
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from fastnn._arguments import choice, nearest, whole
from fastnn._arrays import check_in_memory, check_not_dates, check_unmasked
from fastnn._dask import in_memory
from fastnn._derivation import Derivable
from fastnn.estimators.folds import pairs_of
from fastnn.estimators.frames import check_not_mapping, is_frame, without_na
from fastnn.estimators.restoring import as_before_on_error
from fastnn.tabular.bags import NO_LIMIT, Limit, Rival, Trainer
from fastnn.tabular.columns import TableEncoder, chosen_of, names_of
from fastnn.tabular.folds import folds_of_groups, groups_of
from fastnn.tabular.recipes import LINEAR, RECIPES, SCALINGS, Task
from fastnn.tabular.scores import METRICS, Score, score_of
from fastnn.tabular.training import Data

Array = NDArray[Any]

_EPOCHS = 256
_VISITS = 5_000_000
"""Rows that a network sees at most in training: more rows mean fewer epochs, but at least ``_LEAST_EPOCHS``."""
_LEAST_EPOCHS = 10
_FEW_RANKED_ROWS = 500
"""With fewer rows of a class, the area under the ROC curve of a fold is too noisy: the log loss chooses the epoch."""
_FEW_FOR_LINEAR = 1000
"""With fewer rows, networks are averaged with linear models where that predicts out-of-fold rows better.

Without a time limit, an estimator's ``_few_for_linear`` counts. Linear models are cheap where there are few rows.
"""
_LINEAR_EPOCHS = 256
_LONGEST = 1e9
"""Most seconds of a limit, 30 years: sums with times of the clock, and numbers of steps, are finite."""
_FEW_ROWS = 500
"""With fewer rows, every fold is trained twice, from other splits, layers are narrower, and "realmlp" has quantiles."""


class _Number(Interval):  # type: ignore[misc]
    """Numbers in an interval; scikit-learn's class takes a truth value for 0 or 1, and fails with a fraction."""

    def is_satisfied_by(self, val: Any) -> bool:
        known = isinstance(val, int | float | np.number) and not isinstance(val, bool)
        return known and bool(super().is_satisfied_by(val))


class TabularEstimator(Derivable, BaseEstimator):  # type: ignore[misc]
    """What classifier and regressor share: columns, folds, training, means."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "recipe": [StrOptions(set(RECIPES))],
        "n_bags": [_Number(Integral, 1, 1_000_000, closed="both")],
        "time_limit": [None, _Number(Real, 0, _LONGEST, closed="right")],
        "metric": [None, str],
        "random_state": ["random_state"],
        "categorical_features": [None, "array-like"],
        "n_threads": [None, _Number(Integral, 1, 1024, closed="both")],
    }
    _kind: ClassVar[str]
    _few_for_linear: ClassVar[int] = _FEW_FOR_LINEAR
    __metadata_request__fit: ClassVar[dict[str, Any]] = {"sample_weight": None}

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
        X = in_memory(X)
        check_unmasked(X, "X")
        check_not_dates(X, "X")
        check_not_mapping(X)
        if is_frame(X):
            names = names_of(X)  # raises if two are equal
            if reset and (not names or _num_samples(X) < 2):
                raise ValueError(f"X must have at least 2 rows and a column, got shape {(_num_samples(X), len(names))}")
            validate_data(self, X, skip_check_array=True, reset=reset)
            return X
        if isinstance(X, list | tuple) and np.asarray(X).dtype.kind in "US":
            X = np.array(X, dtype=object)  # numbers beside texts stay numbers
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
    def fit(self, X: Any, y: Any, *more: Any, groups: Any = None, **factors: Any) -> Self:
        """Train the networks on a table X (n, n_features) and labels y (n,), or numbers (n,) or (n, n_outputs).

        Parameters
        ----------
        X, y : the rows.
        groups : (n,) labels of groups, such as patients or earthquakes, at least as many as folds, or None. All rows of
            a group are in one fold: ``oof_score_`` is the error for new groups. Folds have about equally many rows, or
            rows of each class.
        sample_weight : (n,) numbers of at least 0, or None; their mean counts as 1. They weight the loss, the scores
            that choose the epoch and the share of linear models, ``oof_score_``, the temperature, and the mean and
            deviation by which targets are scaled. Folds, the scaling of columns, and rules for few and many rows count
            rows; ``predict_interval`` and ``known_p_values`` count those with a weight above 0. Give it by name. It is
            not in the signature, because scikit-learn would expect the same bits from a weight of 2 as from two rows;
            so ``AdaBoostClassifier`` refuses the estimator, and ``CalibratedClassifierCV`` gives weights to the
            calibration alone and warns.

        Raises
        ------
        ValueError
            Weights or groups are not as described.
        """
        if more:
            raise TypeError(f"fit takes X and y by position, got {len(more)} more: name groups= and sample_weight=")
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        weight = factors.pop("sample_weight", None)
        if factors:
            given = next(iter(factors))
            near = nearest(given, ("groups", "sample_weight"))
            hint = f". Did you mean {near!r}?" if near else ""
            raise TypeError(f"fit takes X, y, groups and sample_weight, got {given}{hint}")
        with as_before_on_error(self):
            return self._fit(X, y, groups, weight)

    def _fit(self, X: Any, y: Any, groups: Any, sample_weight: Any) -> Self:
        raise NotImplementedError

    def _metric(self) -> str:
        known = METRICS[self._kind]
        return choice("metric", self.metric, [*known, None]) or next(iter(known))

    def _fit_bag(
        self,
        X: Any,
        labels: Array,
        y: Array,
        weight: Array | None,
        groups: Any,
        task: Task,
        rival: Rival | None = None,
    ) -> tuple[Trainer, Limit]:
        """Train the networks on targets y (n, n_outputs), and set the attributes that tell of them."""
        # A float16 or float32 would round the time of the clock, too.
        seconds = None if self.time_limit is None else float(self.time_limit)
        limit = NO_LIMIT if seconds is None else Limit(seconds, time.monotonic() + seconds)
        n = _num_samples(X)
        random = check_random_state(self.random_state)
        chosen = chosen_of(self.categorical_features, self.n_features_in_)
        quantiles = self.recipe == "realmlp" and n < _FEW_ROWS
        self._encoder = TableEncoder(SCALINGS[self.recipe], int(random.randint(1 << 31)), chosen, quantiles)
        numbers = groups_of(groups, n, self._fewest_groups(n))
        data = Data(self._encoder.learn(X, labels), y, weight, numbers)
        metric = self._metric()
        score = score_of(self._kind, metric)
        few_ranked = metric == "roc_auc" and np.bincount(labels).min() < _FEW_RANKED_ROWS
        watched = score_of(self._kind, "log_loss") if few_ranked else score
        pairs = self._splits(labels, numbers, random)
        seeds = random.randint(np.iinfo(np.int32).max, size=len(pairs))
        epochs = int(np.clip(_VISITS // n, _LEAST_EPOCHS, _EPOCHS))
        trainer = Trainer(self._encoder, data, pairs, seeds, epochs, self.n_threads)
        self._bag, self.n_epochs_ = trainer.train(task, watched, self._limit_of_first(limit), rival)
        few = self._few_for_linear if self.time_limit is None else _FEW_FOR_LINEAR
        seen = self._bag.seen
        scored = seen.any() and (weight is None or weight[seen].any())
        if n < few and scored:
            line = replace(self._bag.task, recipe=LINEAR, quantiles=True)
            linear, _ = replace(trainer, epochs=_LINEAR_EPOCHS).train(line, watched, NO_LIMIT)
            self._bag = self._bag.with_linear(linear, data, self._score_of_shares(watched))
        self.linear_share_ = self._bag.share
        self.models_ = self._bag.models
        self.best_epochs_ = [epoch + 1 for epoch in self._bag.best_epochs]
        known = data.part(seen)
        means = self._calibrated(self._bag.out_of_fold, seen, known)
        self.oof_predictions_ = self._predictions(means)
        self.oof_score_ = self._oof_score(score, known, means[seen]) if scored else float("nan")
        return trainer, limit

    def _limit_of_first(self, limit: Limit) -> Limit:
        """Return the time that the networks of the predictions may take."""
        return limit

    def _needs_all(self, n: int) -> bool:
        """Whether n rows are so few that none is held out."""
        return n < 4 or (self.n_bags == 1 and n < 10)

    def _fewest_groups(self, n: int) -> int:
        if self._needs_all(n):
            return 1
        return 2 if self.n_bags == 1 else min(self.n_bags, n)

    def _splits(
        self, labels: Array, groups: Array | None, random: np.random.RandomState
    ) -> list[tuple[Array, Array | None]]:
        """Return training rows and held-out rows of each network; None where all rows are needed for training."""
        n = len(labels)
        if self._needs_all(n):
            return [(np.arange(n), None)]
        n_folds = min(self.n_bags if self.n_bags > 1 else 5, n)
        pairs: list[tuple[Array, Array | None]] = []
        for _ in range(2 if n < _FEW_ROWS and self.n_bags > 1 else 1):
            seed = int(random.randint(np.iinfo(np.int32).max))
            if groups is None:
                pairs += list(self._folds(labels, n_folds, seed))
            else:
                classes = labels if self._kind == "classifier" else np.zeros(n, np.intp)
                n_folds = min(n_folds, int(groups.max()) + 1)
                fold = folds_of_groups(groups, classes, n_folds, seed)
                pairs += pairs_of(fold, n_folds)
        return pairs[:1] if self.n_bags == 1 else pairs

    def _calibrated(self, outputs: Array, seen: Array, known: Data) -> Array:
        """Return out-of-fold outputs (n, n_outputs) as ``predict`` changes outputs, learned from the rows ``known``.

        Parameters
        ----------
        outputs : (n, n_outputs).
        seen : whether a row (n,) has outputs.
        known : these rows.
        """
        return outputs

    def _score_of_shares(self, score: Score) -> Score:
        """Return the score of out-of-fold outputs that chooses the share of linear models."""
        return score

    def _oof_score(self, score: Score, known: Data, outputs: Array) -> float:
        """Return the metric of outputs (n, n_outputs) for rows that networks did not see."""
        value = score(known.y, outputs, known.weight)
        return -value if self._metric() in ("accuracy", "roc_auc", "r2") else value

    def _all_outputs(self, X: Any) -> Array:
        """Return the outputs (n_networks, n, n_outputs) of all networks."""
        check_is_fitted(self)
        return self._bag.outputs(self._encoded(X))

    def _encoded(self, X: Any) -> Array:
        """Return the encoding of a table."""
        return self._encoder.encode(self._as_rows(X, reset=False))

    def _outputs(self, X: Any) -> Array:
        """Return the mean outputs (n, n_outputs) of all networks."""
        check_is_fitted(self)
        return self._bag.mean(self._encoded(X))

    def _width(self, n: int) -> int:
        width = 512 if self.recipe == "tabm" else 256
        return width // 2 if n < _FEW_ROWS else width

    def permutation_importances(self, X: Any, y: Any, n_repeats: int = 5, random_state: Any = None) -> Array:
        """Return how much lower ``score`` is when one column is permuted, (n_features,): the mean of repeats.

        ``score`` is R² or the accuracy, whatever the ``metric``.

        Parameters
        ----------
        X, y : rows that were not in ``fit``, or those of the fit.
        n_repeats : permutations of each column.
        random_state : seed of the permutations.
        """
        from sklearn.inspection import permutation_importance

        repeats = whole("n_repeats", n_repeats, at_least=1, at_most=1_000_000)
        check_is_fitted(self)
        rows = self._as_rows(X, reset=False)
        with warnings.catch_warnings():
            if is_frame(rows):  # scikit-learn makes an array of objects of a frame that is not of pandas
                warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
            found = permutation_importance(self, rows, y, n_repeats=repeats, random_state=random_state)
        means: Array = found.importances_mean
        return means

    def _folds(self, labels: Array, n_folds: int, seed: int) -> Any:
        raise NotImplementedError

    def _predictions(self, outputs: Array) -> Array:
        raise NotImplementedError
