"""Fits of the estimators equal scikit-learn's: weights, losses, predictions, scores, warnings and errors."""

import io
import warnings
from contextlib import redirect_stdout

import numpy as np
import pytest

sklearn_networks = pytest.importorskip("sklearn.neural_network")
preprocessing = pytest.importorskip("sklearn.preprocessing")

import fastnn  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(157, 7))
SIGNAL = (X @ RNG.normal(size=7)) / 4
TARGETS = {
    "several classes": RNG.integers(0, 3, 157),
    "two classes": np.where(SIGNAL > 0, "yes", "no"),
    "labels": RNG.integers(0, 2, (157, 4)),
    "number": SIGNAL,
    "numbers": np.column_stack([SIGNAL, SIGNAL**2]),
    "counts": RNG.poisson(3, 157),
}
WEIGHTS = RNG.uniform(0.5, 2.0, 157)
HAS_WEIGHTS = tuple(map(int, __import__("sklearn").__version__.split(".")[:2])) >= (1, 7)


def pair(target, **options):
    """scikit-learn's estimator and fastnn's, not fitted."""
    name = "MLPClassifier" if target in ("several classes", "two classes", "labels") else "MLPRegressor"
    if target == "counts":
        options["loss"] = "poisson"
    return getattr(sklearn_networks, name)(**options), getattr(fastnn, name)(**options)


def outputs(estimator, X):
    return estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)


def assert_same(theirs, ours, X, tolerance=1e-9):
    np.testing.assert_allclose(outputs(ours, X), outputs(theirs, X), rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(ours.n_iter_, theirs.n_iter_)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=tolerance)
    assert ours.t_ == theirs.t_
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance)
    if hasattr(theirs, "loss_curve_"):
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=tolerance)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("target", TARGETS)
def test_equal_fits(target, solver, activation, shuffle, weighted):
    if (weighted or target == "counts") and not HAS_WEIGHTS:
        pytest.skip("this scikit-learn has neither sample_weight nor the Poisson loss")
    # The batch size does not divide the rows, because the penalty depends on the number of rows in a batch.
    options = {
        "hidden_layer_sizes": (12, 5), "solver": solver, "activation": activation, "alpha": 0.01, "batch_size": 50,
        "max_iter": 8, "random_state": 3, "shuffle": shuffle, "learning_rate_init": 0.002,
    }  # fmt: skip
    theirs, ours = pair(target, **options)
    weight = (WEIGHTS,) if weighted else ()
    assert_same(theirs.fit(X, TARGETS[target], *weight), ours.fit(X, TARGETS[target], *weight), X)


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": "invscaling", "power_t": 0.3},
        {"learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 0.05},
        {"nesterovs_momentum": False},
        {"momentum": 0.0},
        {"early_stopping": True, "n_iter_no_change": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("target", ["several classes", "two classes", "labels", "numbers"])
def test_equal_sgd_options(target, options):
    common = {"solver": "sgd", "learning_rate_init": 0.01, "max_iter": 30, "random_state": 0, "hidden_layer_sizes": 6}
    theirs, ours = pair(target, **common, **options)
    if target == "two classes" and "early_stopping" in options and not HAS_WEIGHTS:
        pytest.skip("this scikit-learn cannot score string classes while it stops early")
    theirs.fit(X, TARGETS[target])
    ours.fit(X, TARGETS[target])
    assert_same(theirs, ours, X)
    assert ours._no_improvement_count == theirs._no_improvement_count
    if "early_stopping" in options:
        np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-9)
        assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_equal_partial_fits_and_warm_starts(solver):
    theirs, ours = pair("several classes", solver=solver, random_state=1, max_iter=3)
    for start in (0, 50, 100):
        part = slice(start, start + 50)
        for estimator in (theirs, ours):
            estimator.partial_fit(X[part], TARGETS["several classes"][part], classes=[0, 1, 2])
    assert_same(theirs, ours, X)
    theirs, ours = pair("number", solver=solver, random_state=1, max_iter=3, warm_start=True)
    for _ in range(3):
        theirs.fit(X, SIGNAL)
        ours.fit(X, SIGNAL)
    assert_same(theirs, ours, X)


def test_equal_verbose_output():
    printed = []
    for estimator in pair("several classes", verbose=True, max_iter=40, random_state=0, tol=0.1, early_stopping=True):
        with redirect_stdout(io.StringIO()) as stream:
            estimator.fit(X, TARGETS["several classes"])
        printed.append(stream.getvalue())
    assert printed[0] == printed[1]
    assert "Stopping." in printed[1]


def test_sparse_inputs_equal_dense():
    sparse = pytest.importorskip("scipy.sparse")
    ours = fastnn.MLPClassifier(max_iter=3, random_state=0).fit(X, TARGETS["two classes"])
    for kind in (sparse.csr_matrix, sparse.csc_matrix):
        other = fastnn.MLPClassifier(max_iter=3, random_state=0).fit(kind(X), TARGETS["two classes"])
        np.testing.assert_array_equal(other.predict_proba(kind(X)), ours.predict_proba(X))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(dtype):
    data = X.astype(dtype)
    theirs, ours = pair("number", max_iter=3, random_state=0)
    for estimator in (theirs.fit(data, SIGNAL.astype(dtype)), ours.fit(data, SIGNAL.astype(dtype))):
        assert estimator.coefs_[0].dtype == dtype
        assert estimator.predict(data).dtype == dtype
    assert ours.predict(X).dtype == theirs.predict(X).dtype == "float64"
    np.testing.assert_allclose(ours.predict(data), theirs.predict(data), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    "options, method, error",
    [
        ({"hidden_layer_sizes": -1}, "fit", ValueError),
        ({"alpha": -1}, "fit", ValueError),
        ({"solver": "newton"}, "fit", ValueError),
        ({"early_stopping": True}, "partial_fit", ValueError),
        ({"solver": "lbfgs"}, "partial_fit", AttributeError),
        ({"early_stopping": True, "validation_fraction": 0.005}, "fit", ValueError),
    ],
    ids=str,
)
def test_errors_are_scikit_learns(options, method, error):
    if "validation_fraction" in options and not HAS_WEIGHTS:
        pytest.skip("this scikit-learn validates with a single row")
    messages = []
    classes = {"classes": [0, 1, 2]} if method == "partial_fit" else {}
    for estimator in pair("several classes", **options):
        with pytest.raises(error) as caught:
            getattr(estimator, method)(X, TARGETS["several classes"], **classes)
        messages.append(str(caught.value).split("Got")[0])
    if method == "partial_fit" and options.get("early_stopping"):
        assert messages[0] == messages[1]


@pytest.mark.filterwarnings("default")
def test_warnings_are_scikit_learns():
    seen = []
    for estimator in pair("number", max_iter=2, batch_size=1000):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator.fit(X, SIGNAL)
        seen.append([(w.category, str(w.message)) for w in caught])
    assert seen[0] == seen[1]
    assert len(seen[1]) == 2


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float64", "str"])
@pytest.mark.parametrize("n_classes", [1, 2, 5])
def test_classes_are_those_of_scikit_learns_binarizer(dtype, n_classes):
    y = RNG.integers(0, n_classes, 157).astype(dtype)
    ours = fastnn.MLPClassifier(max_iter=1).fit(X, y)._label_binarizer
    theirs = preprocessing.LabelBinarizer().fit(y)
    assert vars(ours).keys() == vars(theirs).keys()
    assert ours.y_type_ == theirs.y_type_ and ours.sparse_input_ == theirs.sparse_input_
    assert ours.classes_.dtype == theirs.classes_.dtype
    np.testing.assert_array_equal(ours.transform(y), theirs.transform(y))


def test_weights_may_be_changed():
    theirs, ours = pair("several classes", max_iter=3, random_state=0)
    for estimator in (theirs, ours):
        estimator.fit(X, TARGETS["several classes"])
        estimator.coefs_[0][:, 0] = 0.5
        estimator.intercepts_[1] = estimator.intercepts_[1] + 1.0
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)
