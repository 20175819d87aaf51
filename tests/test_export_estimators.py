"""Estimators as source code: preparation of inputs, probabilities and scaled targets."""

import runpy

import numpy as np
import pytest
from exported_models import compiler, run_all

import fastnn

datasets = pytest.importorskip("sklearn.datasets")
make_classification, make_regression = datasets.make_classification, datasets.make_regression
MLPClassifier, MLPRegressor = fastnn.MLPClassifier, fastnn.MLPRegressor
pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")

GCC = compiler("gcc")


def classification(n_classes, dtype=np.float32):
    X, y = make_classification(120, 6, n_informative=4, n_classes=n_classes, random_state=0)
    return (X * 40 + 1000).astype(dtype), y


def with_gaps(X):
    X = X.copy()
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    return X


def cases():
    options = {"hidden_layer_sizes": (9, 7), "max_iter": 3, "tol": 10.0, "random_state": 0, "standardize": True}
    for dtype in (np.float32, np.float64):
        X, y = classification(2, dtype)
        yield "two classes", MLPClassifier(**options).fit(X, y), X
        X, y = classification(3, dtype)
        yield "three classes", MLPClassifier(activation="gelu", **options).fit(X, y), X
        yield "several labels", MLPClassifier(**options).fit(X, np.eye(3, dtype=int)[y] | np.eye(3, dtype=int)[0]), X
        for missing in ("mean", "median", "indicator"):
            gaps = with_gaps(X)
            yield missing, MLPClassifier(missing=missing, **options).fit(gaps, y), gaps
        X, y = make_regression(120, 5, n_targets=2, random_state=0)
        X = X.astype(dtype)
        yield "two targets", MLPRegressor(activation="tanh", **options).fit(X, y), X
        yield "poisson", MLPRegressor(loss="poisson", **options).fit(X, np.abs(y[:, 0])), X
        yield "normal", MLPRegressor(loss="gaussian_nll", **options).fit(X, y), X
        plain = {**options, "standardize": False, "hidden_layer_sizes": ()}
        yield "linear", MLPRegressor(**plain).fit(X, y[:, 0]), X


def expected_of(estimator, X):
    outputs = estimator.predict_proba(X) if hasattr(estimator, "classes_") else estimator.predict(X)
    return outputs.reshape(len(X), -1)


def tolerance_of(X):
    return 1e-6 if X.dtype == np.float32 else 1e-12


@pytest.mark.skipif(GCC is None, reason="needs gcc")
def test_c_agrees(tmp_path):
    found = list(cases())
    arguments = [(estimator, X, expected_of(estimator, X).shape[1]) for _, estimator, X in found]
    for (name, estimator, X), (one_by_one, batch) in zip(found, run_all(tmp_path, arguments, GCC), strict=True):
        expected = expected_of(estimator, X)
        assert one_by_one.tobytes() == batch.tobytes(), name
        assert np.abs(batch - expected).max() <= tolerance_of(X) * np.abs(expected).max(), name


def test_numpy_agrees(tmp_path):
    for name, estimator, X in cases():
        estimator.export_numpy(tmp_path / "net.py")
        outputs, expected = runpy.run_path(str(tmp_path / "net.py"))["predict"](X), expected_of(estimator, X)
        assert np.abs(outputs - expected).max() <= tolerance_of(X) * np.abs(expected).max(), name


@pytest.mark.skipif(compiler("gfortran") is None, reason="needs gfortran")
def test_fortran_agrees(tmp_path):
    from test_export_fortran import run

    found = list(cases())
    arguments = [(estimator, X, expected_of(estimator, X).shape[1]) for _, estimator, X in found]
    for (name, estimator, X), (_, batch) in zip(found, run(tmp_path, arguments), strict=True):
        expected = expected_of(estimator, X)
        assert np.abs(batch - expected).max() <= tolerance_of(X) * np.abs(expected).max(), name


def test_changed_weights_are_exported(tmp_path):
    X, y = make_regression(50, 3, random_state=0)
    estimator = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, tol=10.0).fit(X, y)
    estimator.coefs_[0][:] = 0.5
    estimator.export_numpy(tmp_path / "net.py")
    outputs = runpy.run_path(str(tmp_path / "net.py"))["predict"](X)
    np.testing.assert_allclose(outputs[:, 0], estimator.predict(X), rtol=1e-12)


def test_categories_are_columns_of_their_own(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    frame = pandas.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "soil": ["rock", "clay", "rock", "clay"]})
    estimator = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, tol=10.0, standardize=True).fit(
        frame, [0.0, 1.0, 2.0, 3.0]
    )
    estimator.export_c(tmp_path / "net.c")
    header = (tmp_path / "net.h").read_text()
    assert "x[1]: soil=clay" in header
    estimator.export_numpy(tmp_path / "net.py")
    X = np.array([[1.0, 0, 1], [2.0, 1, 0], [3.0, 0, 1], [4.0, 1, 0]])
    outputs = runpy.run_path(str(tmp_path / "net.py"))["predict"](X)
    np.testing.assert_allclose(outputs[:, 0], estimator.predict(frame), rtol=1e-10)


def test_unfitted_estimators_are_refused(tmp_path):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        MLPClassifier().export_c(tmp_path / "net.c")
