"""A regressor of tables."""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.model_selection import KFold
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

import fastnn.losses as losses
from fastnn._arguments import flag, number
from fastnn._dask import is_lazy, lazily, lazy_r2
from fastnn.estimators.intervals import CrossResiduals
from fastnn.estimators.preprocessing import center_and_deviation
from fastnn.tabular.bags import Bag, Limit, Trainer
from fastnn.tabular.columns import FARTHEST
from fastnn.tabular.estimators import TabularEstimator
from fastnn.tabular.recipes import Task
from fastnn.tabular.scores import RowMean, Score
from fastnn.tabular.targets import targets_of, weights_of
from fastnn.tabular.training import Data

Array = NDArray[Any]

_LEVELS = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
"""Levels of the quantiles that networks of ``intervals="quantiles"`` predict; those between are interpolated."""


class TabularRegressor(RegressorMixin, TabularEstimator):  # type: ignore[misc]
    """A regressor of tables that needs no tuning: the mean of networks made by a recipe.

    Tables, missing values, rules for few and many rows, and when a gradient-boosted tree is the better tool: as in
    ``TabularClassifier``. Networks cannot predict beyond the targets of the fit, and neither can trees.

    Parameters
    ----------
    recipe, n_bags, time_limit, random_state, categorical_features, n_threads : as in ``TabularClassifier``.
    metric : what chooses the epoch: "rmse" (None), "mae" or "r2".
    intervals : "residuals" or "quantiles". With "quantiles", a second set of networks is trained, which predict nine
        quantiles that do not cross, for ``predict_interval``. A fit takes twice the time.

    Attributes
    ----------
    models_, linear_share_, best_epochs_, n_epochs_ : as in ``TabularClassifier``.
    oof_predictions_ : (n,) or (n, n_outputs), mean of the networks that did not see the row; NaN where all did. A row
        did not choose the epoch of its prediction.
    oof_score_ : their metric, in units of y; of several targets, the mean of each one's.
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
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TabularEstimator._parameter_constraints,
        "intervals": [StrOptions({"residuals", "quantiles"})],
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
        intervals: str = "residuals",
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
        self.intervals = intervals

    def _fit(self, X: Any, y: Any, groups: Any, sample_weight: Any) -> Self:
        rows = self._as_rows(X, reset=True)
        targets = targets_of(y)
        check_consistent_length(rows, targets)
        self._is_vector = targets.ndim == 1
        columns = targets.reshape(len(targets), -1)
        weight = weights_of(sample_weight, len(columns))
        self._center, deviation = center_and_deviation(columns, weight)
        self._scale = np.where(deviation > 0.0, deviation, 1.0)
        used = columns if weight is None else columns[weight > 0.0]
        self._low, self._high = used.min(axis=0), used.max(axis=0)
        # Rows of no or little weight may be so far away that their squares overflow.
        scaled = np.clip((columns - self._center) / self._scale, -FARTHEST, FARTHEST).astype(np.float32)
        task = Task(self.recipe, columns.shape[1], False, 0.0, self._width(len(columns)))
        trainer, limit = self._fit_bag(rows, targets, scaled, weight, groups, task)
        self._targets = columns
        self._weight = weight
        predictions = self.oof_predictions_.reshape(columns.shape)
        self._residuals = CrossResiduals(self._bag.held_out, predictions, columns, weight=weight)
        self._quantiles: Bag | None = None
        if self.intervals == "quantiles":
            self._fit_quantiles(trainer, limit, columns.shape[1], task.width)
        return self

    def _fit_quantiles(self, trainer: Trainer, limit: Limit, n_targets: int, width: int) -> None:
        """Train networks that predict quantiles on the same rows."""
        task = Task(self.recipe, n_targets * len(_LEVELS), False, 0.0, width, _LEVELS)
        self._quantiles, _ = trainer.train(task, RowMean(losses.MultiQuantile(_LEVELS).of_rows), limit)

    def _limit_of_first(self, limit: Limit) -> Limit:
        if limit.seconds is None or self.intervals != "quantiles":
            return limit
        return Limit(limit.seconds, limit.end - 0.5 * limit.seconds)

    @lazily
    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return the mean prediction, (n,) or (n, n_outputs), between the least and the largest target of ``fit``.

        Parameters
        ----------
        X : table (n, n_features).
        return_std : whether to return the standard deviation between the networks, of the same shape, too. It tells
            where networks disagree; it is not the error of a prediction, which ``predict_interval`` bounds.
        """
        if not flag("return_std", return_std):
            return self._predictions(self._outputs(X))
        outputs = self._all_outputs(X)
        if len(outputs) < 2:
            raise ValueError(
                f"return_std=True needs two networks or more, and fit trained one: n_bags is {self.n_bags}, "
                "and fewer than 4 rows train one network"
            )
        # A constant target has no scale, and all its predictions are equal.
        scale = np.where(self._high > self._low, self._scale, 0.0)
        deviation = outputs.std(axis=0, dtype=np.float64) * scale
        mean = self._predictions(outputs.mean(axis=0, dtype=np.float64))
        return mean, deviation[:, 0] if self._is_vector else deviation

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Return R² on X (n, n_features) and targets y; of Dask collections a lazy number."""
        if is_lazy(X):
            return lazy_r2(self.predict(X), y, sample_weight)
        return super().score(X, y, sample_weight)

    @lazily
    def predict_interval(self, X: Any, coverage: float = 0.9) -> Array:
        """Return intervals that contain the fraction ``coverage`` of targets: CV+ of the out-of-fold rows.

        The fraction holds on average over rows like those of ``fit``, whatever their distribution, without a promise
        for a single kind of rows. CV+ guarantees ``2 coverage - 1``, and reaches ``coverage`` unless networks of
        different folds differ much (Barber et al., 2021). No row chose the epoch of the network that predicts it for
        the intervals.

        With ``intervals="quantiles"`` the intervals are wide where the targets scatter much: they reach from a low to a
        high quantile, both moved by the same amount until the coverage is reached (Romano, Patterson and Candès, 2019).
        Otherwise they are about as wide for all rows.

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
        share = number("coverage", coverage, above=0.0, below=1.0)
        if self._quantiles is None:
            rank = self._residuals.rank(coverage)
            bounds = self._residuals.intervals(self._all_outputs(X), rank, of_centers=self._in_range)
        else:
            bag, tail = self._quantiles, 0.5 * (1.0 - share)
            known = [self._at_level(bag.out_of_fold, level) for level in (tail, 1.0 - tail)]
            residuals = CrossResiduals(bag.held_out, known[0], self._targets, known[1], self._weight)
            rank = residuals.rank(coverage)
            outputs = bag.outputs(self._encoded(X))
            lower, upper = (self._at_level(outputs, level) for level in (tail, 1.0 - tail))
            bounds = residuals.intervals(lower, rank, upper)
        return bounds[:, 0] if self._is_vector else bounds

    def _at_level(self, outputs: Array, level: float) -> Array:
        """Return quantiles (..., n_targets) of a level, in units of y, from outputs (..., n_levels n_targets)."""
        several = outputs.reshape(*outputs.shape[:-1], len(_LEVELS), -1)
        place = float(np.interp(level, _LEVELS, np.arange(len(_LEVELS))))
        below = min(int(place), len(_LEVELS) - 2)
        share = place - below
        found: Array = (1.0 - share) * several[..., below, :] + share * several[..., below + 1, :]
        return self._in_range(found)

    def _folds(self, labels: Array, n_folds: int, seed: int) -> Any:
        return KFold(n_folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)))

    def _oof_score(self, score: Score, known: Data, outputs: Array) -> float:
        each = [
            super(TabularRegressor, self)._oof_score(score, known._replace(y=known.y[:, [i]]), outputs[:, [i]])
            for i in range(outputs.shape[1])
        ]
        return float(np.mean(each if self._metric() == "r2" else each * self._scale))

    def _calibrated(self, outputs: Array, seen: Array, known: Data) -> Array:
        within: Array = (self._in_range(outputs) - self._center) / self._scale
        return within

    def _in_range(self, outputs: Array) -> Array:
        values: Array = np.clip(outputs * self._scale + self._center, self._low, self._high)
        return values

    def _predictions(self, outputs: Array) -> Array:
        values = self._in_range(outputs)
        return values[:, 0] if self._is_vector else values
