"""Searches over the hyperparameters of one network: scikit-learn's results, and what falls back on scikit-learn."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sample_models import OneByOne
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn.estimators import candidates

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning"),
    pytest.mark.filterwarnings("ignore:.*scores are non-finite"),
]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
Y = X[:, 0] * 2 - X[:, 1] ** 2
LABELS = np.array(["low", "middle", "high"])[np.digitize(Y, [-1.5, 0.5])]
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 8, "random_state": 0}


def classifier(**options):
    return fastnn.MLPClassifier(**{**SMALL, **options})


def regressor(**options):
    return fastnn.MLPRegressor(**{**SMALL, **options})


@pytest.fixture
def covered(monkeypatch):
    """Results of ``fit_search``, one for each call."""
    results = []

    def fit_search(*arguments):
        results.append(candidates.fit_search(*arguments))
        return results[-1]

    monkeypatch.setattr("fastnn.estimators.search.fit_search", fit_search)
    return results


def check_equal(found, expected):
    assert list(found.cv_results_) == list(expected.cv_results_)
    for name, values in expected.cv_results_.items():
        if name.endswith("_time"):
            assert found.cv_results_[name].shape == values.shape and (found.cv_results_[name] >= 0).all()
        elif name == "params":
            assert found.cv_results_[name] == values
        else:
            assert np.array_equal(found.cv_results_[name], values, equal_nan=values.dtype.kind == "f"), name
            assert found.cv_results_[name].dtype == values.dtype
    assert type(found) is type(expected)
    ours, theirs = ({name for name in vars(search) if name.endswith("_")} for search in (found, expected))
    assert ours == theirs
    for name in ours & {"best_score_", "best_index_", "best_params_", "n_splits_", "multimetric_"}:
        assert getattr(found, name) == getattr(expected, name), name


CASES = [
    (classifier(), {"alpha": [1e-4, 1.0], "learning_rate_init": [0.001, 0.1]}, {}),
    (classifier(), [{"hidden_layer_sizes": [(3,), (4, 2)]}, {"activation": ["tanh", "logistic"]}], {"cv": 3}),
    (classifier(), {"random_state": [1, 2], "solver": ["sgd", "adam"]}, {"cv": KFold(4, shuffle=True, random_state=0)}),
    (
        classifier(class_weight="balanced"),
        {"alpha": [1e-4, 1.0]},
        {"scoring": "neg_log_loss", "return_train_score": True},
    ),
    (classifier(standardize=True, early_stopping=True, max_iter=40), {"n_iter_no_change": [2, 5]}, {"cv": 3}),
    (classifier(dropout=0.3), {"batch_size": [10, 30]}, {"refit": False}),
    (classifier(random_state=np.random.RandomState(3)), {"alpha": [1e-4, 1e-4]}, {}),
    (classifier(loss="squared_hinge"), {"alpha": [0.1]}, {"cv": 2}),
    (regressor(), {"alpha": [1e-4, 1.0], "learning_rate_init": [0.001, 0.1]}, {"return_train_score": True}),
    (regressor(max_iter=200, tol=0.05), {"solver": ["sgd", "adam"], "n_iter_no_change": [1, 3]}, {"cv": 3}),
    (regressor(solver="sgd", learning_rate="adaptive", max_iter=60, tol=0.1), {"momentum": [0.0, 0.9]}, {"cv": 3}),
    (regressor(standardize=True), {"optimizer": ["adamw", fastnn.optimizers.Nadam(0.01)]}, {"cv": 3}),
    (regressor(shuffle=False, dtype="float32"), {"beta_1": [0.5, 0.9]}, {"scoring": "neg_mean_absolute_error"}),
]


@pytest.mark.parametrize(("estimator", "grid", "options"), CASES)
def test_a_sweep_has_the_results_of_a_grid_search(estimator, grid, options, covered):
    y = LABELS if isinstance(estimator, fastnn.MLPClassifier) else Y
    found = fastnn.sweep(estimator, grid, X, y, n_threads=2, **options)
    assert covered == [found]
    expected = GridSearchCV(estimator, grid, **options).fit(X, y)
    check_equal(found, expected)
    if options.get("refit", True):
        assert np.array_equal(found.predict(X), expected.predict(X))
        assert found.score(X, y) == expected.score(X, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [40, 2000])
def test_targets_of_any_form_are_scored_as_by_scikit_learn(n, dtype):
    rng = np.random.default_rng(n)
    inputs = rng.normal(size=(n, 3)).astype(dtype)
    for y in (
        inputs[:, 0],
        inputs[:, :1],
        inputs[:, :2] ** 2,
        rng.integers(0, 5, n),
        np.zeros(n, dtype),
        inputs[:, 0].astype(np.float64),
    ):
        options = {"cv": 3, "return_train_score": True}
        found = fastnn.sweep(regressor(max_iter=2), {"alpha": [0.1]}, inputs, y, **options)
        check_equal(found, GridSearchCV(regressor(max_iter=2), {"alpha": [0.1]}, **options).fit(inputs, y))
    for y in (inputs[:, 0] > 0, rng.integers(3, 6, n), (inputs[:, :2] > 0).astype(int)):
        found = fastnn.sweep(classifier(max_iter=2), {"alpha": [0.1]}, inputs, y, cv=KFold(3))
        check_equal(found, GridSearchCV(classifier(max_iter=2), {"alpha": [0.1]}, cv=KFold(3)).fit(inputs, y))


@pytest.mark.parametrize("grid", ["alpha", [("alpha", [0.0])], 3])
def test_grids_that_are_no_dicts_are_named(grid):
    with pytest.raises(TypeError, match="grid_or_distributions must be a dict or a list of dicts, got"):
        fastnn.sweep(fastnn.MLPRegressor(), grid, np.ones((9, 2)), np.arange(9.0))


def test_drawn_candidates_are_those_of_a_randomized_search(covered):
    stats = pytest.importorskip("scipy.stats")
    distributions = {"alpha": stats.loguniform(1e-5, 1.0), "activation": ["tanh", "relu"]}
    found = fastnn.sweep(classifier(), distributions, X, LABELS, cv=3, n_iter=4, random_state=1)
    assert covered == [found]
    check_equal(found, RandomizedSearchCV(classifier(), distributions, cv=3, n_iter=4, random_state=1).fit(X, LABELS))


def test_frames_keep_the_names_of_their_columns(covered):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    frame["kind"] = np.where(X[:, 0] > 0, "up", "down")
    found = fastnn.sweep(classifier(), {"alpha": [0.1, 1.0]}, frame, LABELS, cv=3)
    expected = GridSearchCV(classifier(), {"alpha": [0.1, 1.0]}, cv=3).fit(frame, LABELS)
    assert covered == [found]
    check_equal(found, expected)
    assert list(found.feature_names_in_) == list(expected.feature_names_in_)


@pytest.mark.parametrize(
    ("estimator", "grid", "options"),
    [
        (make_pipeline(StandardScaler(), classifier()), {"mlpclassifier__alpha": [0.1, 1.0]}, {}),
        (classifier(), {"standardize": [True, False]}, {}),
        (classifier(), {"solver": ["lbfgs", "adam"]}, {}),
        (classifier(), {"alpha": [0.1, 1.0]}, {"scoring": ["accuracy", "neg_log_loss"], "refit": "accuracy"}),
        (classifier(), {"alpha": [0.1, 1.0]}, {"sample_weight": np.arange(90.0)}),
    ],
)
def test_other_searches_are_those_of_scikit_learn(estimator, grid, options, covered):
    found = fastnn.sweep(estimator, grid, X, LABELS, cv=3, **options)
    assert covered == []
    weight = {name: options.pop(name) for name in ("sample_weight",) if name in options}
    check_equal(found, GridSearchCV(estimator, grid, cv=3, **options).fit(X, LABELS, **weight))


def test_a_fit_that_fails_has_the_error_score(covered):
    grid = {"learning_rate_init": [1e30, 0.01]}
    found = fastnn.sweep(regressor(solver="sgd"), grid, X, Y, cv=3)
    assert covered == [None]
    check_equal(found, GridSearchCV(regressor(solver="sgd"), grid, cv=3).fit(X, Y))
    with pytest.raises(ValueError, match="non-finite"):
        fastnn.sweep(regressor(solver="sgd"), grid, X, Y, cv=3, error_score="raise")
    with pytest.raises(ValueError, match="alpha"):
        fastnn.sweep(classifier(), {"alpha": [-1.0]}, X, LABELS)
    with pytest.raises(ValueError, match="alhpa"):
        fastnn.sweep(classifier(), {"alhpa": [1.0]}, X, LABELS)


def test_parameters_that_are_not_allowed_have_the_error_score(covered):
    grid = {"alpha": [1e-4, -1.0]}
    found = fastnn.sweep(classifier(), grid, X, LABELS, cv=3)
    assert covered == [None]
    check_equal(found, GridSearchCV(classifier(), grid, cv=3).fit(X, LABELS))
    replaced = fastnn.sweep(classifier(alpha=-1.0), {"alpha": [1e-4]}, X, LABELS, cv=3)
    assert covered == [None, replaced]
    check_equal(replaced, GridSearchCV(classifier(alpha=-1.0), {"alpha": [1e-4]}, cv=3).fit(X, LABELS))


@pytest.mark.parametrize(
    "options",
    [
        {"max_iter": 30},
        {"max_iter": 300, "tol": 0.05, "n_iter_no_change": 3},
        {"max_iter": 30, "n_iter_no_change": np.inf, "shuffle": False},
        {"max_iter": 100, "solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 2},
        {"max_iter": 30, "solver": "sgd", "learning_rate": "invscaling"},
        {"max_iter": 30, "dropout": 0.2, "batch_size": 7},
        {"max_iter": 30, "optimizer": fastnn.optimizers.Adam(fastnn.optimizers.schedules.CosineDecay(0.1, 20))},
    ],
)
def test_epochs_that_are_trained_together_are_those_trained_one_by_one(options):
    fits = [regressor(**options, callbacks=callbacks).fit(X, Y) for callbacks in (None, [OneByOne()])]
    together, reference = fits
    assert together.loss_curve_ == reference.loss_curve_ and together.n_iter_ == reference.n_iter_
    for name in ("loss_", "best_loss_", "t_", "_no_improvement_count"):
        assert getattr(together, name) == getattr(reference, name), name
    for a, b in zip(together.coefs_ + together.intercepts_, reference.coefs_ + reference.intercepts_, strict=True):
        assert np.array_equal(a, b)
    states = [estimator._random_state.get_state()[1] for estimator in fits]
    assert np.array_equal(*states)
