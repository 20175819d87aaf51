"""Bags of estimators and the search on threads."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, StratifiedKFold
from sklearn.utils.estimator_checks import check_estimator

import fastnn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
LABELS = np.array(["low", "mid", "top"])[(X[:, 0] > 0).astype(int) + (X[:, 0] + X[:, 1] > 1)]
TARGET = X[:, 0] - X[:, 1] ** 2

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

WEIGHTS = "bags are drawn by row, whatever its weight"


def classifier(**options):
    return fastnn.MLPClassifier(hidden_layer_sizes=(6,), max_iter=20, learning_rate_init=0.02, **options)


def regressor(**options):
    return fastnn.MLPRegressor(hidden_layer_sizes=(6,), max_iter=20, learning_rate_init=0.02, **options)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "bagged",
    [
        fastnn.BaggedMLPClassifier(fastnn.MLPClassifier(max_iter=60, learning_rate_init=0.02), n_bags=2),
        fastnn.BaggedMLPRegressor(fastnn.MLPRegressor(max_iter=60, learning_rate_init=0.02), n_bags=2),
    ],
    ids=["classifier", "regressor"],
)
def test_check_estimator(bagged):
    expected = dict.fromkeys(
        ["check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"], WEIGHTS
    )
    results = check_estimator(bagged, on_fail=None, on_skip=None, expected_failed_checks=expected)
    assert {each["check_name"]: each["exception"] for each in results if each["status"] == "failed"} == {}


def test_folds_are_those_of_scikit_learn_and_networks_those_of_a_single_fit():
    bagged = fastnn.BaggedMLPClassifier(classifier(), n_bags=3, random_state=5).fit(X, LABELS)
    random = np.random.RandomState(5)
    folds = StratifiedKFold(3, shuffle=True, random_state=random.randint(np.iinfo(np.int32).max))
    seeds = random.randint(np.iinfo(np.int32).max, size=3)
    for (rows, held_out), seed, fitted in zip(folds.split(X, LABELS), seeds, bagged.estimators_, strict=True):
        alone = clone(classifier()).set_params(random_state=int(seed)).fit(X[rows], LABELS[rows])
        assert all(np.array_equal(a, b) for a, b in zip(alone.coefs_, fitted.coefs_, strict=True))
        assert np.array_equal(bagged.oob_decision_function_[held_out], alone.predict_proba(X[held_out]))
    chosen = bagged.classes_[bagged.oob_decision_function_.argmax(axis=1)]
    assert bagged.oob_score_ == (chosen == LABELS).mean()
    mean = np.mean([each.predict_proba(X) for each in bagged.estimators_], axis=0)
    assert np.array_equal(bagged.predict_proba(X), mean)
    assert np.array_equal(bagged.predict(X), bagged.classes_[mean.argmax(axis=1)])


@pytest.mark.parametrize("n_threads", [1, 3])
def test_results_do_not_depend_on_the_number_of_threads(n_threads):
    expected = fastnn.BaggedMLPRegressor(regressor(), n_bags=4, random_state=0, n_threads=2).fit(X, TARGET)
    bagged = fastnn.BaggedMLPRegressor(regressor(), n_bags=4, random_state=0, n_threads=n_threads).fit(X, TARGET)
    assert np.array_equal(bagged.predict(X), expected.predict(X))
    assert np.array_equal(bagged.oob_prediction_, expected.oob_prediction_)


def test_bootstrap_bags_leave_rows_out():
    bagged = fastnn.BaggedMLPRegressor(regressor(), n_bags=20, bags="bootstrap", random_state=0).fit(X, TARGET)
    assert np.isfinite(bagged.oob_prediction_).all()
    mean, deviation = bagged.predict(X, return_std=True)
    outputs = np.stack([each.predict(X) for each in bagged.estimators_])
    assert np.array_equal(mean, outputs.mean(axis=0)) and np.array_equal(deviation, outputs.std(axis=0))
    with pytest.warns(UserWarning, match="rows are in every bag"):
        few = fastnn.BaggedMLPRegressor(regressor(), n_bags=2, bags="bootstrap", random_state=0).fit(X, TARGET)
    assert np.isnan(few.oob_prediction_).any() and np.isfinite(few.oob_score_)


def test_a_bag_that_lacks_a_class_gives_it_no_probability():
    labels = np.where(np.arange(60) == 7, "rare", LABELS)
    with pytest.warns(UserWarning):
        bagged = fastnn.BaggedMLPClassifier(classifier(), n_bags=4, random_state=0).fit(X, labels)
    without = [each for each in bagged.estimators_ if "rare" not in each.classes_]
    assert len(without) == 1
    np.testing.assert_allclose(bagged.predict_proba(X).sum(axis=1), 1.0, rtol=1e-6)


def test_several_targets_and_data_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd")).assign(kind=np.where(X[:, 3] > 0, "soil", "rock"))
    both = np.column_stack([TARGET, -TARGET])
    bagged = fastnn.BaggedMLPRegressor(regressor(), n_bags=2, random_state=0).fit(frame, both)
    assert bagged.predict(frame).shape == bagged.oob_prediction_.shape == (60, 2)
    assert list(bagged.feature_names_in_) == [*"abcd", "kind"]
    with pytest.raises(ValueError, match="feature names"):
        bagged.predict(frame[[*"bacd", "kind"]])


def test_after_a_fit_that_failed_there_is_nothing_to_predict_with():
    bags = fastnn.BaggedMLPRegressor(fastnn.MLPRegressor(max_iter=-1))
    with pytest.raises(ValueError, match="max_iter"):
        bags.fit(np.ones((20, 2)), np.arange(20.0))
    for method in (bags.predict, bags.predict_interval):
        with pytest.raises(NotFittedError):
            method(np.ones((1, 2)))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="n_bags"):
        fastnn.BaggedMLPClassifier(n_bags=1).fit(X, LABELS)
    with pytest.raises(ValueError, match="'bags' parameter"):
        fastnn.BaggedMLPClassifier(bags="jackknife").fit(X, LABELS)
    with pytest.raises(ValueError, match="n_bags=8 folds need as many rows"):
        fastnn.BaggedMLPRegressor().fit(X[:5], TARGET[:5])
    with pytest.raises(NotFittedError):
        fastnn.BaggedMLPRegressor().predict(X)


def test_a_sweep_has_the_results_of_a_grid_search():
    grid = {"alpha": [1e-4, 1.0], "learning_rate_init": [0.001, 0.05]}
    net = classifier(random_state=0)
    found = fastnn.sweep(net, grid, X, LABELS, cv=3, n_threads=2)
    expected = GridSearchCV(net, grid, cv=3).fit(X, LABELS)
    assert isinstance(found, GridSearchCV) and found.best_params_ == expected.best_params_
    timed = {"mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time"}
    assert set(found.cv_results_) == set(expected.cv_results_)
    for name in set(found.cv_results_) - timed:
        assert np.array_equal(found.cv_results_[name], expected.cv_results_[name]), name
    assert np.array_equal(found.best_estimator_.predict_proba(X), expected.best_estimator_.predict_proba(X))


def test_a_sweep_of_distributions_is_drawn():
    scipy_stats = pytest.importorskip("scipy.stats")
    distributions = {"alpha": scipy_stats.loguniform(1e-5, 1.0)}
    found = fastnn.sweep(classifier(random_state=0), distributions, X, LABELS, cv=2, n_iter=3, random_state=1)
    assert isinstance(found, RandomizedSearchCV) and len(found.cv_results_["params"]) == 3
    with pytest.raises(ValueError, match="n_iter"):
        fastnn.sweep(classifier(), distributions, X, LABELS, n_iter=0)
    with pytest.raises(ValueError, match="random_state=1 has no effect on a grid of lists"):
        fastnn.sweep(classifier(), {"alpha": [0.1]}, X, LABELS, random_state=1)
    with pytest.raises(ValueError, match="alhpa"):
        fastnn.sweep(classifier(), {"alhpa": [1.0]}, X, LABELS)


def test_a_bag_takes_estimators_of_its_kind():
    X, y = np.random.default_rng(0).normal(size=(12, 2)), [0, 1] * 6
    with pytest.raises(TypeError, match=r"estimator must be a regressor, got MLPClassifier\(\)"):
        fastnn.BaggedMLPRegressor(fastnn.MLPClassifier(), n_bags=2).fit(X, y)
    with pytest.raises(TypeError, match=r"estimator must be a classifier, got MLPRegressor\(\)"):
        fastnn.BaggedMLPClassifier(fastnn.MLPRegressor(), n_bags=2).fit(X, y)
