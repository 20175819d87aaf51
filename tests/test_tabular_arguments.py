"""Wrong tables and targets for the tabular estimators: one clear error, and the estimator stays as it was."""

import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import fastnn

pytest.importorskip("sklearn")
pd = pytest.importorskip("pandas")
pytest.importorskip("narwhals")

X = np.random.default_rng(0).normal(size=(40, 2))
LABELS = np.array(["p", "q"], dtype=object)[(X[:, 0] > 0).astype(int)]
Y = np.sin(X[:, 0] * X[:, 1])
TABLE = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "k": np.where(X[:, 1] > 0.3, "u", "v")})


def classifier(**options):
    return fastnn.TabularClassifier(**{"recipe": "plain", "n_bags": 2, "random_state": 0, **options})


def regressor(**options):
    return fastnn.TabularRegressor(**{"recipe": "plain", "n_bags": 2, "random_state": 0, **options})


def with_label(row, label):
    labels = LABELS.copy()
    labels[row] = label
    return labels


def renamed(*names):
    table = TABLE.copy()
    table.columns = names
    return table


WRONG_TABLES = [
    (renamed("a", "a", "k"), "X has 2 columns named 'a': each column needs a name of its own"),
    (TABLE[["a", "b"]].set_axis(["a", "a"], axis=1), "X has 2 columns named 'a'"),
    (TABLE.assign(a=np.inf), "column 'a' of X has infinity: replace it by NaN"),
    (TABLE[["a", "b"]].assign(a=-np.inf), "column 'a' of X has infinity: replace it by NaN"),
    (X * 1e200, r"column 'x0' of X has a number of size .*e\+200, above 1e\+150: rescale the column"),
    (TABLE.assign(k=[[1]] * 40), "column 'k': a category must be a string or a number, got list"),
    (np.ma.masked_array(X, mask=X > 1), "X has masked entries"),
    (fastnn.data.source(X, y=Y), "X is a source: Tabular.* takes rows that are in memory"),
    ({"a": X[:, 0], "b": X[:, 1]}, r"X is a dict: pass a table, such as pandas.DataFrame\(X\)"),
    (TABLE.to_dict("records"), "X is a list of dict: pass a table"),
]


@pytest.mark.parametrize("table, message", WRONG_TABLES)
def test_wrong_tables(table, message):
    for estimator, y in ((classifier(), LABELS), (regressor(), Y)):
        with pytest.raises((ValueError, TypeError), match=message):
            estimator.fit(table, y)


@pytest.mark.parametrize(
    "y, message",
    [
        (with_label(3, None), r"y has no label at row 3 \(counted from 0\)"),
        (pd.Series(LABELS).mask(np.arange(40) == 5), "y has no label at row 5"),
        (pd.Series(with_label(7, pd.NA)), "y has no label at row 7"),
        (np.ma.masked_array(np.arange(40) % 2, mask=X[:, 0] > 0), "y has masked entries"),
    ],
)
def test_missing_labels(y, message):
    with pytest.raises(ValueError, match=message):
        classifier().fit(X, y)


@pytest.mark.parametrize(
    "y, message",
    [
        (LABELS, "y must be real numbers, but its dtype is object .*'[pq]' at index"),
        (LABELS, "fastnn.TabularClassifier and MLPClassifier take text as labels"),
        (np.array(["1", "2"] * 20), "y must be real numbers.*y.astype"),
        (np.full(40, "2020-01-01", "datetime64[D]"), "y must be real numbers.*turn dates into numbers"),
        (Y * 1j, "y must be real numbers, but its dtype is complex128"),
        (np.zeros((40, 1, 2)), r"y must have shape \(n,\) or \(n, n_outputs\), got \(40, 1, 2\)"),
        (Y * 1e300, r"y has a number of size .*e\+299, above 1e\+150: rescale y"),
        (np.array([10**400] * 40, dtype=object), "y must be real numbers"),
        (np.ma.masked_array(Y, mask=Y > 0), "y has masked entries"),
        (np.where(X[:, 0] > 1, np.nan, Y), "y contains NaN or infinity"),
        (np.where(np.arange(40) == 7, np.inf, Y), r"y contains NaN or infinity: no target at row 7 \(counted from 0\)"),
    ],
)
def test_wrong_targets(y, message):
    with pytest.raises(ValueError, match=message):
        regressor().fit(X, y)


def test_targets_as_objects_are_numbers():
    found = regressor(n_bags=1).fit(X, Y.astype(object)).predict(X)
    np.testing.assert_array_equal(found, regressor(n_bags=1).fit(X, Y).predict(X))


@pytest.mark.parametrize(
    "given, hint", [(["bb"], "'bb'. Did you mean 'b'"), ([3], "3"), ([True], "True"), ([-1], "-1")]
)
def test_columns_of_categories_that_are_not_there(given, hint):
    message = f"categorical_features must be names of columns or numbers from 0 to 2, got {hint}"
    with pytest.raises(ValueError, match=message):
        classifier(categorical_features=given).fit(TABLE, LABELS)


@pytest.mark.parametrize("given", [[[0]], np.array([[0], [1]])])
def test_columns_of_categories_are_a_flat_list(given):
    with pytest.raises(ValueError, match="categorical_features must be a list of names or numbers of columns, got "):
        classifier(categorical_features=given).fit(TABLE, LABELS)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("n_bags", True),
        ("n_threads", True),
        ("time_limit", True),
        ("time_limit", 10**400),
        ("time_limit", 1e308),
        ("time_limit", np.inf),
        ("time_limit", Fraction(1, 2)),
    ],
)
def test_truth_values_and_endless_times_are_no_numbers(option, value):
    for make, y in ((classifier, LABELS), (regressor, Y)):
        with pytest.raises(ValueError, match=f"The {option!r} parameter of .* must be .* in the range"):
            make(**{option: value}).fit(X, y)
    regressor(time_limit=1e9).fit(X, Y)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.int8])
def test_a_time_limit_of_few_bits_does_not_round_the_clock(kind, monkeypatch):
    monkeypatch.setattr("time.monotonic", lambda: 100_000.03125)
    limits = []

    def train(self, task, score, limit, rival):
        limits.append(limit)
        raise RuntimeError("enough")

    monkeypatch.setattr("fastnn.tabular.estimators.Trainer.train", train)
    with pytest.raises(RuntimeError, match="enough"):
        regressor(time_limit=kind(60)).fit(X, Y)
    assert [(limit.seconds, limit.end) for limit in limits] == [(60.0, 100_060.03125)]


def test_columns_of_categories_by_number_and_by_name():
    table = TABLE.assign(n=np.arange(40) % 3)
    by_name = classifier(categorical_features=["n"]).fit(table, LABELS).predict_proba(table)
    by_number = classifier(categorical_features=[3]).fit(table, LABELS).predict_proba(table)
    np.testing.assert_array_equal(by_number, by_name)
    assert (by_name != classifier().fit(table, LABELS).predict_proba(table)).any()


def test_columns_of_categories_by_truth_values():
    table = TABLE.assign(n=np.arange(40) % 3)
    chosen = [False, False, True, True]
    by_mask = classifier(categorical_features=np.array(chosen)).fit(table, LABELS).predict_proba(table)
    by_name = classifier(categorical_features=["n", "k"]).fit(table, LABELS).predict_proba(table)
    np.testing.assert_array_equal(by_mask, by_name)


@pytest.mark.parametrize("estimator, y", [(classifier(), LABELS), (regressor(), Y)])
def test_names_of_columns_are_not_their_values(estimator, y):
    with pytest.raises(TypeError, match=r"y must hold a value for each row, got 'k': pass the column, .*table\['k'\]"):
        estimator.fit(TABLE, "k")
    with pytest.raises(TypeError, match="groups must hold a value for each row, got 'k'"):
        estimator.fit(TABLE, y, groups="k")
    with pytest.raises(ValueError, match=r"groups should be a 1d array, got an array of shape \(40, 2\)"):
        estimator.fit(TABLE, y, groups=X)
    with pytest.raises(TypeError, match="fit takes X and y by position, got 1 more: name groups= and sample_weight="):
        estimator.fit(TABLE, y, np.ones(40))


def test_lists_of_rows_keep_numbers_beside_texts():
    rows = [[float(a), float(b), k] for a, b, k in zip(X[:, 0], X[:, 1], TABLE["k"], strict=True)]
    from_lists, from_array = regressor().fit(rows, Y), regressor().fit(np.array(rows, dtype=object), Y)
    np.testing.assert_array_equal(from_lists.predict(rows), from_array.predict(np.array(rows, dtype=object)))
    np.testing.assert_array_equal(from_lists.predict(rows), regressor().fit(TABLE, Y).predict(TABLE))


def test_numbers_as_decimals_and_as_texts():
    decimals = TABLE.assign(a=[Decimal(repr(float(value))) for value in X[:, 0]])
    np.testing.assert_array_equal(
        regressor().fit(decimals, Y).predict(decimals), regressor().fit(TABLE, Y).predict(TABLE)
    )
    texts = TABLE.assign(a=[f"{value:.4f}" for value in X[:, 0]], b=[f"id {row}" for row in range(40)])
    parts = ("'a' holds identifiers, or numbers as text: convert numbers", "'b' holds identifiers: 40 different values")
    with pytest.warns(UserWarning, match=f"2 of 3 columns are left out: {'; '.join(parts)}"):
        regressor().fit(texts, Y)


def test_columns_without_names_have_an_order():
    rows = np.array(TABLE, dtype=object)
    from_frame = regressor(categorical_features=["k"]).fit(TABLE, Y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        np.testing.assert_array_equal(from_frame.predict(rows), from_frame.predict(TABLE))
    from_array = regressor().fit(rows, Y)
    with pytest.warns(UserWarning, match="X has feature names"):
        np.testing.assert_array_equal(from_array.predict(TABLE), from_array.predict(rows))
    with pytest.raises(ValueError, match="3 features"), pytest.warns(UserWarning, match="valid feature names"):
        from_frame.predict(X)


def test_a_failed_fit_or_prediction_changes_nothing():
    model = classifier().fit(TABLE, LABELS)
    before = model.predict_proba(TABLE)
    for table, y, message in (
        (TABLE, ["p"] * 40, "y holds one class only, 'p'"),
        (X[:, :1], LABELS[:5], "inconsistent"),
        (TABLE.assign(a=np.inf), LABELS, "infinity"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(table, y)
        np.testing.assert_array_equal(model.predict_proba(TABLE), before)
    for table, message in ((TABLE.assign(b=np.inf), "column 'b' of X has infinity"), (TABLE[["a", "b"]], "k")):
        with pytest.raises(ValueError, match=message):
            model.predict(table)
    with pytest.raises(ValueError, match="n_repeats must be a whole number from 1 to 1000000"):
        model.permutation_importances(TABLE, LABELS, n_repeats=10**30)


def test_labels_of_other_types_and_groups_as_a_column():
    with pytest.raises(
        ValueError, match=r"y holds labels of type Interval: make them strings, such as y.astype\(str\)"
    ):
        classifier().fit(X, pd.cut(pd.Series(Y), 3))
    groups = np.arange(40) % 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        column = regressor().fit(X, Y, groups=groups[:, None])
    np.testing.assert_array_equal(column.predict(X), regressor().fit(X, Y, groups=groups).predict(X))
