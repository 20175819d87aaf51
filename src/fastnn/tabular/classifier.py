"""A classifier of tables."""

from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from fastnn._dask import is_lazy, lazily, lazy_accuracy
from fastnn.estimators.folds import folds_of_classes, pairs_of
from fastnn.estimators.labels import labels_of, plain_labels
from fastnn.tabular.bags import Rival
from fastnn.tabular.calibration import Calibration, calibration_of, least_loss, logits_of, lowers_loss
from fastnn.tabular.estimators import TabularEstimator
from fastnn.tabular.novelty import Novelty
from fastnn.tabular.recipes import Task
from fastnn.tabular.scores import Score
from fastnn.tabular.targets import weights_of
from fastnn.tabular.training import Data

Array = NDArray[Any]

_ROWS_COMPARED = 1000
"""Rows that tell how much the networks differ."""
_SMOOTHING = 0.1
_FEW_TO_CHOOSE_SMOOTHING = 1000
"""With fewer rows, labels are smoothed: they are too few to tell."""


class TabularClassifier(ClassifierMixin, TabularEstimator):  # type: ignore[misc]
    """A classifier of tables that needs no tuning: the mean of networks made by a recipe.

    A table may have columns of numbers, strings, categories and booleans, with missing values, in a pandas or polars
    frame, a pyarrow table or an array. A missing number becomes the median of its column, and one more column says
    where numbers were missing in the fit; a missing or unknown category has a place of its own. Constant columns, and
    columns of categories that are different in nearly every row, are left out with a warning.

    With fewer than 1,000 rows (a classifier without a time limit: 10,000), each network is averaged with a linear model
    of the same rows. The linear models have the share, 0, 0.1, ... or 0.5, that predicts the out-of-fold rows best.
    With fewer than 500 rows, each fold trains two networks of half the units. With "realmlp" the second one and the
    linear models take the normal quantiles of numbers, too. With more than 20,000 rows, fewer than 256 epochs are
    planned, so that a network sees 5 million rows, twice as many with "tabm". Training stops when the score of the
    held-out rows has not improved for 16 epochs with "tabm", 20 with "plain", and 40 plus twice the best epoch with
    "realmlp".

    A gradient-boosted tree is the better tool where a fit must take a second or less, where thresholds must explain
    predictions, and often for tables with more than 100,000 rows or with many categories; compare both.

    Parameters
    ----------
    recipe : "realmlp" (Holzmüller et al., 2024), which in tables without numbers sees a fifth of the categories of
        columns with three to eight as missing in training, "tabm" (TabM-mini; Gorishniy et al., 2025), whose 32 members
        take 2 to 6 times the processor time, with fewer than 500 rows 9 to 25 times, or "plain", a multilayer
        perceptron. If a network has 500 rows or more to train and up to 32 outputs, a row of "tabm" trains two members
        at a time.
    n_bags : number of folds, at most one for each row. Each network is trained on all rows but those of one fold, and
        keeps the weights of the epoch that predicts these best. 1 trains one network on four fifths of the rows.
    time_limit : seconds that a fit may take, about; None for no limit. Where it does not suffice for all epochs, steps
        take large strides through the schedules of the recipe, so that these reach their end in time. However short the
        limit is, each network makes some steps and predicts its held-out rows, which takes "tabm" a minute or two for
        half a million rows.
    metric : what chooses the epoch: "log_loss" (None), "accuracy", "roc_auc" or "brier". For "roc_auc" the log loss
        chooses it where a class has fewer than 500 rows. "realmlp" smooths labels by 0.1 whatever the metric, and the
        temperature corrects the probabilities. With 1,000 rows or more and no time limit, all networks first train for
        a sixteenth of the epochs, with smoothing and without. If the log loss of their held-out rows is then lower
        without, by more than its standard error, no labels are smoothed. The other recipes smooth them for "accuracy"
        alone.
    random_state : seed of folds, weights, order of rows and dropout.
    categorical_features : names or numbers of columns of numbers that stand for categories, or a truth value for each
        column.
    n_threads : networks that are trained at the same time; None is ``fastnn.get_num_threads()``.
    calibrate : whether probabilities are calibrated by the temperature of the least log loss of the out-of-fold rows.
        Labels of ``predict`` stay the same. Where the expected calibration error of these rows would rise, nothing is
        changed, and ``temperature_`` is 1. False keeps the probabilities of the networks, which smoothed labels make
        too unsure.

    Attributes
    ----------
    classes_ : labels of the classes.
    label_smoothing_ : by how much labels were smoothed, 0 or 0.1.
    temperature_ : logits of ``predict_proba`` are divided by it; above 1 where the networks are too sure, below 1 where
        smoothed labels made them too unsure. It is lower than that of ``oof_predictions_``, by how much the networks
        differ: their mean is right more often than one of them, but less sure.
    models_ : the networks, of encoded columns.
    linear_share_ : share of linear models in the predictions; 0 where there are none.
    best_epochs_ : the epoch of each network's weights, counted from 1.
    n_epochs_ : number of epochs of the plan.
    oof_predictions_ : (n, n_classes) mean probabilities of the networks that did not see the row; NaN where all did. A
        row did not choose the epoch of its prediction.
    oof_score_ : their metric; of "roc_auc" the mean over the classes, each against the rest, and NaN where the rows are
        of one class. "brier" is between 0 and 1 for two classes, and up to 2 for more, as ``fastnn.metrics`` has it.
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
    _few_for_linear = 10_000
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TabularEstimator._parameter_constraints,
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

    def _fit(self, X: Any, y: Any, groups: Any, sample_weight: Any) -> Self:
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
        smoothing = _SMOOTHING if self.recipe == "realmlp" or self._metric() == "accuracy" else 0.0
        task = Task(self.recipe, y_hot.shape[1], True, smoothing, self._width(len(labels)))
        weight = weights_of(sample_weight, len(labels))
        trainer, _ = self._fit_bag(rows, codes, y_hot, weight, groups, task, self._rival(task, len(labels)))
        self.label_smoothing_ = self._bag.task.label_smoothing
        folds = np.full(len(labels), -1)
        for fold, (_, held_out) in enumerate(trainer.pairs):
            if held_out is not None:
                folds[held_out] = fold
        counted = np.arange(len(labels)) if weight is None else np.flatnonzero(weight)
        numbers, others, codes_of_rows = (part[counted] for part in self._measured(rows))
        self._novelty = Novelty(numbers, others, codes_of_rows, folds[counted], int(trainer.seeds[0]))
        return self

    def _rival(self, task: Task, n: int) -> Rival | None:
        """Return the same networks without smoothed labels, where n rows and the time suffice to try them."""
        if self.recipe != "realmlp" or self.time_limit is not None or n < _FEW_TO_CHOOSE_SMOOTHING:
            return None

        def is_better(known: Data, outputs: Array, others: Array) -> bool:
            both = self._predictions(outputs), self._predictions(others)
            return lowers_loss(_codes_of(known.y), *both, known.weight)

        return Rival(replace(task, label_smoothing=0.0), is_better)

    def _measured(self, X: Any) -> tuple[Array, Array, Array]:
        """Return the parts of a table by which rows are compared."""
        numbers, others, codes = self._encoder.parts(X)
        return numbers[:, : len(self._encoder.numeric)], others, codes

    @lazily
    def predict_proba(self, X: Any) -> Array:
        """Return the mean probabilities (n, n_classes), calibrated if ``calibrate``."""
        mean = self._predictions(self._outputs(X))
        return self._calibration.apply(mean)

    @lazily
    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of ``predict_proba`` (n, n_classes); probabilities below 1e-7 count as 1e-7."""
        return logits_of(self.predict_proba(X))

    @lazily
    def decision_function(self, X: Any) -> Array:
        """Return logits: logarithms of ``predict_proba`` (n, n_classes); of two classes, their difference (n,).

        ``softmax`` of them, or the logistic function, gives the probabilities; those below 1e-7 count as 1e-7.
        """
        logits = logits_of(self.predict_proba(X))
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    @lazily
    def predict(self, X: Any, unknown: Any = None, false_alarm_rate: float | None = None) -> Array:
        """Return the labels (n,) of the largest probability.

        Parameters
        ----------
        X : table (n, n_features).
        unknown : label of rows that seem to belong to no known class: those whose ``known_p_values`` are at most
            ``false_alarm_rate``. None gives every row the label of a known class.
        false_alarm_rate : share of the rows of known classes that are flagged, on average; None for 0.05.

        Raises
        ------
        ValueError
            ``false_alarm_rate`` without ``unknown``; or ``fit`` had too few rows for the rate: 0.05 needs 19
            out-of-fold rows, 0.01 needs 99.
        """
        if unknown is None and false_alarm_rate is not None:
            raise ValueError(
                f"false_alarm_rate={false_alarm_rate!r} needs unknown=, the label of rows that belong to no known class"
            )
        chosen = self.predict_proba(X).argmax(axis=1)
        labels: Array = self.classes_[chosen]
        if unknown is None:
            return labels
        rate = self._novelty.check_rate(0.05 if false_alarm_rate is None else false_alarm_rate)
        kind = np.asarray(unknown).dtype
        # Text and numbers, or truth values and numbers, have no common type that keeps the labels.
        mixed = kind.kind != labels.dtype.kind and not {kind.kind, labels.dtype.kind} <= set("iuf")
        flagged = labels.astype(object if mixed else np.result_type(labels, kind))
        flagged[self.known_p_values(X) <= rate] = unknown
        return flagged

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Return the accuracy on X (n, n_features) and labels y (n,); of Dask collections a lazy number."""
        if is_lazy(X):
            return lazy_accuracy(self.predict(X), y, sample_weight)
        return super().score(X, plain_labels(y), sample_weight)

    @lazily
    def known_p_values(self, X: Any) -> Array:
        """Return how well each row (n,) fits the rows of ``fit``: p-values, small for rows of no known class.

        The p-value is the share of the out-of-fold rows that are at least as far from the rows of the other folds as
        the row is from all. Of rows like those of ``fit``, a share of about p has values of at most p. The distance is
        that of the table's columns, so that rows of a new class in the midst of the known ones are not found.
        """
        check_is_fitted(self)
        return self._novelty.p_values(*self._measured(self._as_rows(X, reset=False)))

    def _folds(self, labels: Array, n_folds: int, seed: int) -> Any:
        if int(np.bincount(labels).min()) < n_folds:
            return pairs_of(folds_of_classes(labels, n_folds, seed), n_folds)
        return StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels)

    def _oof_score(self, score: Score, known: Data, outputs: Array) -> float:
        metric, weight = self._metric(), 1.0 if known.weight is None else known.weight[:, None]
        if (
            metric == "roc_auc"
            and ((weight * known.y).sum(axis=0) * (weight * (1.0 - known.y)).sum(axis=0) == 0.0).all()
        ):
            return float("nan")  # all rows are of one class
        value = super()._oof_score(score, known, outputs)
        return 0.5 * value if metric == "brier" and known.y.shape[1] == 1 else value

    def _calibrated(self, outputs: Array, seen: Array, known: Data) -> Array:
        probabilities = self._predictions(outputs)
        found = Calibration()
        if self.calibrate:
            found = calibration_of(_codes_of(known.y), probabilities[seen], known.weight)
        self._calibration = found if len(self._bag.models) == 1 else self._of_mean(found, np.flatnonzero(seen), known)
        self.temperature_ = self._calibration.temperature
        return found.apply(probabilities)[:, -known.y.shape[1] :]

    def _of_mean(self, calibration: Calibration, rows: Array, known: Data) -> Calibration:
        """Return the calibration of the mean of the networks; known: the rows of these numbers (n,)."""
        weighty = np.arange(len(rows)) if known.weight is None else np.flatnonzero(known.weight)
        some = weighty[np.linspace(0, len(weighty) - 1, min(len(weighty), _ROWS_COMPARED)).astype(np.intp)]
        if calibration == Calibration() or not some.size:
            return calibration
        given = np.stack([self._predictions(outputs) for outputs in self._bag.outputs(known.X[some])])
        weight = None if known.weight is None else known.weight[some]
        return calibration.of_mean(given, self._bag.saw[:, rows[some]], weight)

    def _score_of_shares(self, score: Score) -> Score:
        """Return the score of outputs at their best temperature, since smoothed labels make networks too unsure."""

        def of_calibrated(y: Array, outputs: Array, weight: Array | None = None) -> float:
            probabilities = self._predictions(outputs)
            found = least_loss(_codes_of(y), probabilities, weight)
            return score(y, found.apply(probabilities)[:, -y.shape[1] :], weight)

        return of_calibrated

    def _predictions(self, outputs: Array) -> Array:
        return np.column_stack([1.0 - outputs, outputs]) if outputs.shape[1] == 1 else outputs


def _codes_of(y: Array) -> Array:
    """Return the numbers (n,) of the classes of targets (n, n_outputs)."""
    codes: Array = (y[:, 0] > 0).astype(np.intp) if y.shape[1] == 1 else y.argmax(axis=1)
    return codes
