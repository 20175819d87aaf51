"""Folds of classes with few rows, and the scores of rows that networks did not see, as scikit-learn computes them."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import metrics

import fastnn
from fastnn.tabular.folds import folds_of_classes

RNG = np.random.default_rng(5)
N = 60
X = RNG.normal(size=(N, 3))
WEIGHT = RNG.uniform(0.1, 3.0, N)


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch):
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 8)
    monkeypatch.setattr("fastnn.tabular.estimators._LINEAR_EPOCHS", 8)


@pytest.mark.parametrize("n_bags", [1, 8])
@pytest.mark.parametrize("n_rows", [1, 2, 3])
def test_a_class_with_few_rows_does_not_lower_the_number_of_folds(n_bags, n_rows):
    labels = np.repeat([0, 1], N // 2)
    labels[:n_rows] = 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fastnn.TabularClassifier("plain", n_bags=n_bags, random_state=0).fit(X, labels)
    assert len(model.models_) == (16 if n_bags == 8 else 1)  # fewer than 500 rows: two for each fold
    held_out = [rows for rows in model._bag.held_out if rows is not None]
    if n_bags == 1:
        assert len(held_out[0]) == N // 5
        return
    for first in (0, 8):
        np.testing.assert_array_equal(np.sort(np.concatenate(held_out[first : first + 8])), np.arange(N))
    assert all(len(rows) in (7, 8) for rows in held_out)
    assert all((labels[rows] == 2).sum() <= 1 for rows in held_out)


def test_folds_of_classes_have_equal_parts_of_each():
    classes = RNG.integers(0, 4, 103)
    classes[:2] = 4
    found = folds_of_classes(classes, 5, 0)
    counts = np.array([np.bincount(found[classes == kind], minlength=5) for kind in range(5)])
    assert (np.ptp(counts, axis=1) <= 1).all() and np.ptp(counts.sum(axis=0)) <= 1
    assert (found != folds_of_classes(classes, 5, 1)).any()


@pytest.mark.parametrize("n_bags", [1, 4])
@pytest.mark.parametrize("metric", ["rmse", "mae", "r2"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_the_score_of_several_targets_is_the_mean_of_each_ones(metric, n_bags, weight):
    Y = np.column_stack([X[:, 0], 1000.0 * X[:, 1] + 5.0])
    model = fastnn.TabularRegressor("plain", n_bags=n_bags, metric=metric, random_state=0)
    model.fit(X, Y, sample_weight=weight)
    seen = np.isfinite(model.oof_predictions_[:, 0])
    score = {
        "rmse": metrics.root_mean_squared_error,
        "mae": metrics.mean_absolute_error,
        "r2": metrics.r2_score,
    }[metric]
    shares = None if weight is None else weight[seen]
    assert model.oof_score_ == pytest.approx(
        score(Y[seen], model.oof_predictions_[seen], sample_weight=shares), rel=1e-5
    )


SCORES = {
    "log_loss": metrics.log_loss,
    "accuracy": lambda truth, p, **options: metrics.accuracy_score(truth, p.argmax(axis=1), **options),
    "roc_auc": lambda truth, p, **options: metrics.roc_auc_score(truth, _second(p), multi_class="ovr", **options),
    "brier": lambda truth, p, **options: fastnn.metrics.brier_score_loss(truth, _second(p), **options),
}


def _second(p):
    return p[:, 1] if p.shape[1] == 2 else p


@pytest.mark.parametrize("n_bags", [1, 4])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("metric", SCORES)
def test_the_score_of_a_classifier_is_that_of_its_probabilities(metric, n_classes, n_bags):
    labels = np.digitize(X[:, 0] + 0.5 * X[:, 1], [0.0, 0.7][: n_classes - 1])
    for weight in (None, WEIGHT):
        model = fastnn.TabularClassifier("plain", n_bags=n_bags, metric=metric, random_state=0)
        model.fit(X, labels, sample_weight=weight)
        seen = np.isfinite(model.oof_predictions_[:, 0])
        options = {"sample_weight": None if weight is None else weight[seen]}
        expected = SCORES[metric](labels[seen], model.oof_predictions_[seen], **options)
        assert model.oof_score_ == pytest.approx(expected, rel=2e-5)


def test_rows_without_weight_have_no_score():
    labels = np.arange(N) % 2
    options = {"recipe": "plain", "n_bags": 1, "random_state": 0}
    for model, y in (
        (fastnn.TabularRegressor(**options), X[:, 0]),
        (fastnn.TabularClassifier(**options), labels),
        (fastnn.TabularClassifier(**options, metric="roc_auc"), labels),
    ):
        held_out = model.fit(X, y)._bag.held_out[0]
        weight = np.ones(N)
        weight[held_out] = 0.0
        assert np.isnan(model.fit(X, y, sample_weight=weight).oof_score_)
        assert np.isfinite(model.predict(X)).all() and model.linear_share_ == 0.0
        weight[held_out[labels[held_out] == 1]] = 1.0
        assert np.isnan(model.fit(X, y, sample_weight=weight).oof_score_) == (model.metric == "roc_auc")
