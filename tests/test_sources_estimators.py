"""The estimators on sources: the bits of arrays where the order is the same, and refusals."""

import numpy as np
import pytest
from test_sources import N, make_rows, readers

import fastnn
from fastnn.data import source

pytest.importorskip("sklearn")


def assert_same(a, b, X, rows):
    for left, right in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-12)
    np.testing.assert_array_equal(a.predict(X), b.predict(rows))
    assert not readers()


OPTIONS = {"hidden_layer_sizes": (8,), "random_state": 0, "max_iter": 4, "tol": 0.0, "batch_size": 32}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dropout": 0.2},
        {"solver": "sgd", "learning_rate": "invscaling"},
        {"loss": "huber", "dtype": "float64"},
        {"missing": "mean"},
        {"missing": "indicator"},
    ],
)
@pytest.mark.parametrize("window", [20, 3])
def test_regressors_in_the_order_of_the_rows(options, window):
    X, y = make_rows()
    if "missing" in options:
        X = X.astype("float64")
        X[::7, 2] = np.nan
    # Means of missing values are added block by block, and masks of dropout are drawn by windows.
    rows = source(X, y, block_rows=N if "missing" in options else 100, window=20 if "dropout" in options else window)
    a, b = (fastnn.MLPRegressor(**OPTIONS, shuffle=False, **options) for _ in range(2))
    assert_same(a.fit(X, y), b.fit(rows), X, rows)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifiers_in_the_order_of_the_rows(n_classes):
    X, y = make_rows()
    labels = np.array(["a", "b", "c"])[np.digitize(y, [0.0, 0.5][: n_classes - 1])]
    weight = np.linspace(0.5, 1.5, N)
    rows = source(X, labels.astype("U1").view("i4"), block_rows=70, window=2, sample_weight=weight)
    codes = labels.astype("U1").view("i4")
    a, b = (fastnn.MLPClassifier(**OPTIONS, shuffle=False, class_weight="balanced") for _ in range(2))
    a.fit(X, codes, weight, validation_data=(X[:50], codes[:50], weight[:50]))
    b.fit(rows, validation_data=rows.rows(0, 50))
    assert_same(a, b, X, rows)
    assert a.validation_scores_ == b.validation_scores_
    np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(rows))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_shuffled_fits_are_reproducible_and_learn():
    X, y = make_rows()
    options = {**OPTIONS, "max_iter": 30, "standardize": True, "dropout": 0.1}
    fits = [
        fastnn.MLPRegressor(**options).fit(source(X, y, block_rows=50, window=3, n_readers=n_readers))
        for n_readers in (1, 3)
    ]
    assert fits[0].loss_curve_ == fits[1].loss_curve_
    assert fits[0].score(X, y) > 0.5
    np.testing.assert_allclose(fits[0]._preparation.center, X.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fits[0]._preparation.scale, X.std(axis=0), rtol=1e-5)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_partial_fit_trains_one_epoch():
    X, y = make_rows()
    rows = source(X, (y > 0).astype(int), block_rows=70, window=2)
    a, b = (fastnn.MLPClassifier(**OPTIONS, shuffle=False) for _ in range(2))
    for _ in range(3):
        a.partial_fit(X, (y > 0).astype(int), classes=[0, 1])
        b.partial_fit(rows, classes=[0, 1])
    assert_same(a, b, X, rows)
    assert b.t_ == 3 * N


def test_names_of_columns():
    table = np.zeros(60, [("a", "f4"), ("b", "f4"), ("y", "f4")])
    table["a"] = np.arange(60)
    with pytest.warns(match="Maximum iterations"):
        model = fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=2).fit(source(table, target="y"))
    assert list(model.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match="the columns of X must be those of fit"):
        model.predict(source(table, columns=["b", "a"]))
    with pytest.raises(ValueError, match="the columns of X must be those of fit"):
        model.predict(source(table, columns=["a"]))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scores_of_sources():
    X, y = make_rows()
    weight = np.linspace(0.5, 2.0, len(y))
    for net, targets in (
        (fastnn.MLPRegressor(max_iter=3, random_state=0), y),
        (fastnn.MLPClassifier(max_iter=3, random_state=0), (y > 0).astype(int)),
    ):
        net.fit(X, targets)
        assert net.score(source(X, targets, block_rows=70)) == net.score(X, targets)
        assert net.score(source(X), targets) == net.score(X, targets)
        weighted = net.score(source(X, targets, sample_weight=weight))
        assert weighted == net.score(X, targets, weight) != net.score(X, targets)
        for arguments, message in (
            ((source(X),), "a source without targets"),
            ((X,), "y is missing"),
            ((source(X, targets), None, weight), "give sample_weight to fastnn.data.source"),
        ):
            with pytest.raises(ValueError, match=message):
                net.score(*arguments)


def test_refusals():
    X, y = make_rows()
    rows = source(X, y)
    for options, arguments, message in (
        ({"solver": "lbfgs"}, {}, "solver='lbfgs' needs all rows in memory"),
        ({"early_stopping": True}, {}, "early_stopping=True with a source needs validation_data"),
        ({"missing": "median"}, {}, "missing='median' needs all rows in memory"),
        ({}, {"y": y}, "give y to fastnn.data.source"),
        ({}, {"sample_weight": y}, "give sample_weight to fastnn.data.source"),
    ):
        with pytest.raises(ValueError, match=message):
            fastnn.MLPRegressor(**options).fit(rows, **arguments)
    with pytest.raises(ValueError, match="X is a source: BaggedMLPRegressor takes rows that are in memory"):
        fastnn.BaggedMLPRegressor().fit(rows, y)
    with pytest.raises(ValueError, match="X is a source: sweep takes rows that are in memory"):
        fastnn.sweep(fastnn.MLPRegressor(), {"alpha": [0.1, 1.0]}, rows, y)
    with pytest.raises(ValueError, match="a source without targets"):
        fastnn.MLPRegressor().fit(source(X))
    X[800, 1] = np.inf
    with pytest.raises(ValueError, match=r"X has inf at row 800, column 1 \(counted from 0\)"):
        fastnn.MLPRegressor(max_iter=2).fit(source(X, y, block_rows=50, window=2))
    assert not readers()
