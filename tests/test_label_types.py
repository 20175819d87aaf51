"""Labels in types of pandas, polars, Arrow and arrays of objects; bags refuse what networks refuse."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import fastnn

RNG = np.random.default_rng(8)
N = 40
X = RNG.normal(size=(N, 2))
CODES = (X[:, 0] > 0.0).astype(np.int64)
NET = {"hidden_layer_sizes": (4,), "max_iter": 20, "learning_rate_init": 0.05, "random_state": 0}


def classifiers():
    return [
        fastnn.TabularClassifier("plain", n_bags=2, random_state=0),
        fastnn.MLPClassifier(**NET),
        fastnn.BaggedMLPClassifier(fastnn.MLPClassifier(**NET), n_bags=3, random_state=0),
    ]


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch):
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 8)
    monkeypatch.setattr("fastnn.tabular.estimators._LINEAR_EPOCHS", 8)


def check(given, plain):
    """Fit on labels given in two types; the classes and predictions are those of NumPy's type."""
    for model in classifiers():
        expected = model.fit(X, plain).predict(X)
        found = model.fit(X, given).predict(X)
        assert model.classes_.dtype == plain.dtype
        np.testing.assert_array_equal(model.classes_, np.unique(plain))
        np.testing.assert_array_equal(found, expected)
        assert model.score(X, given) == (found == plain).mean()


@pytest.mark.parametrize("dtype", ["Int64", "UInt8", "boolean", "int32[pyarrow]", "bool[pyarrow]"])
def test_nullable_labels_keep_their_type(dtype):
    pandas = pytest.importorskip("pandas")
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    given = pandas.Series(CODES).astype(dtype)
    check(given, CODES.astype(given.dtype.numpy_dtype))


@pytest.mark.parametrize("missing", [np.nan, None, float("nan")])
def test_missing_labels_in_lists_of_texts_are_no_class(missing):
    labels = np.array(["p", "q"])[CODES].tolist()
    gap = [missing if row == 3 else label for row, label in enumerate(labels)]
    for given in (gap, tuple(gap), np.array(gap, object)):
        for model in classifiers():
            with pytest.raises(ValueError, match="y has no label at row 3"):
                model.fit(X, given)
        with pytest.raises(ValueError, match="groups has no label at row 3"):
            classifiers()[0].fit(X, labels, groups=given)
    check(labels, np.array(labels))


def test_large_nullable_labels_and_groups_are_not_merged():
    pandas = pytest.importorskip("pandas")
    check(pandas.Series(CODES + 2**60, dtype="Int64"), CODES + 2**60)
    groups = np.arange(N) // 5 + 2**60
    model = fastnn.TabularRegressor("plain", n_bags=4, random_state=0)
    expected = model.fit(X, X[:, 0], groups=groups).oof_predictions_
    found = model.fit(X, X[:, 0], groups=pandas.Series(groups, dtype="Int64")).oof_predictions_
    np.testing.assert_array_equal(found, expected)


def test_labels_that_are_objects_or_texts_of_numpy():
    check(np.array([bool(code) for code in CODES], object), CODES.astype(bool))
    check(np.array([int(code) for code in CODES], object), CODES)
    check(np.array([np.bool_(code) for code in CODES], object), CODES.astype(bool))
    texts = np.array(["no", "yes"])[CODES]
    check(texts.astype(np.dtypes.StringDType()), texts)


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_bags_refuse_masked_entries(kind):
    y = CODES if kind == "classifier" else X[:, 0]
    base = fastnn.MLPClassifier(**NET) if kind == "classifier" else fastnn.MLPRegressor(**NET)
    bags = (fastnn.BaggedMLPClassifier if kind == "classifier" else fastnn.BaggedMLPRegressor)(base, n_bags=2)
    hidden = np.arange(N) < 2
    masked = np.ma.masked_array(X, mask=np.column_stack([hidden, hidden]))
    for name, arguments in {
        "X": (masked, y),
        "y": (X, np.ma.masked_array(y, mask=hidden)),
        "sample_weight": (X, y, np.ma.masked_array(np.ones(N), mask=hidden)),
    }.items():
        with pytest.raises(ValueError, match=f"{name} has masked entries"):
            bags.fit(*arguments)
    with pytest.raises(ValueError, match="X has masked entries"):
        bags.fit(X, y).predict(masked)


def test_bags_name_the_row_without_a_label():
    bags = fastnn.BaggedMLPClassifier(fastnn.MLPClassifier(**NET), n_bags=2)
    with pytest.raises(ValueError, match=r"y has no label at row 2 \(counted from 0\)"):
        bags.fit(X, ["a", "b", None] + ["a"] * (N - 3))


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_a_fit_of_bags_that_fails_changes_nothing(kind):
    if kind == "classifier":
        bags, y = fastnn.BaggedMLPClassifier(fastnn.MLPClassifier(**NET), n_bags=2, random_state=0), CODES
    else:
        bags, y = fastnn.BaggedMLPRegressor(fastnn.MLPRegressor(**NET), n_bags=2, random_state=0), X[:, 0]
    expected = bags.fit(X, y).predict(X)
    before = dict(vars(bags))
    with pytest.raises(ValueError, match=r"sample_weight\.shape"):
        bags.fit(X[:, :1], y + 3, np.ones(3))
    assert vars(bags) == before
    np.testing.assert_array_equal(bags.predict(X), expected)


def test_targets_without_columns_are_refused():
    with pytest.raises(ValueError, match=r"y must have shape \(n,\) or \(n, n_outputs\), got \(40, 0\)"):
        fastnn.TabularRegressor().fit(X, np.empty((N, 0)))


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor", "BaggedMLPClassifier", "BaggedMLPRegressor"])
def test_names_of_columns_and_dicts_are_refused(name):
    estimator, rows = getattr(fastnn, name)(), np.arange(24.0).reshape(12, 2)
    with pytest.raises(TypeError, match="y must hold a value for each row, got 'k': pass the column"):
        estimator.fit(rows, "k")
    for given in ({"a": rows[:, 0]}, [{"a": 1.0}] * 12):
        with pytest.raises(TypeError, match=r"pass a table, such as pandas.DataFrame\(X\)"):
            estimator.fit(given, rows[:, 1] > 9)
