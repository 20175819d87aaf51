"""Columns of unusual types in tables: without values, sparse, of other types in fit and prediction, tiny and huge."""

import datetime
import subprocess
import sys
import warnings
from decimal import Decimal

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("narwhals")

import fastnn
from fastnn.layers import Dropout, QuantileTransform, RobustScaling

RNG = np.random.default_rng(3)
N = 40
NUMBER = RNG.normal(size=N)
GROUP = RNG.integers(0, 3, N)
Y = NUMBER + 2.0 * GROUP
TEXT = np.array(["a", "b", "c"])[GROUP].tolist()


def regressor(**options):
    return fastnn.TabularRegressor("plain", **{"n_bags": 2, "random_state": 0, **options})


def tables(package):
    module = pytest.importorskip(package)
    return module.table if package == "pyarrow" else module.DataFrame


@pytest.mark.parametrize("package", ["pandas", "polars", "pyarrow"])
def test_a_column_without_values_is_missing_in_prediction_and_left_out_of_a_fit(package):
    """A row of a table of one row with a missing value has a column without a type."""
    table = tables(package)
    model = regressor().fit(table({"size": NUMBER, "kind": TEXT}), Y)
    missing = np.array([[None, "a"], [NUMBER[0], None], [None, None]], object)
    expected = model.predict(np.vstack([missing, [0.0, "a"]]))[:3]
    found = [model.predict(table({"size": [size], "kind": [kind]}))[0] for size, kind in missing.tolist()]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.warns(UserWarning, match="'void' has no values"):
        again = regressor().fit(table({"size": NUMBER, "kind": TEXT, "void": [None] * N}), Y)
    rows = {"size": NUMBER[:3], "kind": TEXT[:3]}
    np.testing.assert_array_equal(again.predict(table({**rows, "void": [None] * 3})), model.predict(table(rows)))


@pytest.mark.parametrize("package", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("with_text", [False, True])
def test_mlp_estimators_fill_in_a_column_without_values(package, with_text):
    table = tables(package)
    kind = {"kind": TEXT} if with_text else {}
    model = fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=20, missing="mean", random_state=0)
    model.fit(table({"size": NUMBER, "width": Y, **kind}), Y)
    one = {key: value[:1] for key, value in kind.items()}
    found = model.predict(table({"size": [None], "width": Y[:1], **one}))
    np.testing.assert_array_equal(found, model.predict(table({"size": [np.nan], "width": Y[:1], **one})))


def test_categories_of_another_type_than_in_the_fit_are_refused_not_unknown():
    pandas = pytest.importorskip("pandas")
    numbered = pandas.DataFrame({"size": NUMBER, "kind": pandas.Categorical(GROUP)})
    texts = numbered.assign(kind=GROUP.astype(str))
    flags = numbered.assign(kind=GROUP > 1)
    for table, other in ((numbered, texts), (flags, texts)):
        model = regressor().fit(table, Y)
        with pytest.raises(ValueError, match=r"column 'kind' held categories such as .* in fit and holds '\d' now"):
            model.predict(other)
        with pytest.raises(ValueError, match="held categories such as"):
            model.predict_interval(other, 0.5)
    model = regressor(categorical_features=["kind"]).fit(numbered.assign(kind=GROUP), Y)
    np.testing.assert_array_equal(model.predict(numbered), model.predict(numbered.assign(kind=GROUP * 1.0)))
    with pytest.raises(ValueError, match=r"held categories such as 0.0 in fit and holds '"):
        model.predict(texts)
    classifier = fastnn.MLPClassifier((4,), max_iter=5, random_state=0).fit(numbered, GROUP)
    with pytest.raises(ValueError, match="held categories such as 0 in fit and holds '"):
        classifier.predict(texts)
    raw = np.array([[text.encode()] for text in TEXT])
    model = regressor().fit(raw, Y)
    with pytest.raises(ValueError, match="held categories such as b'a' in fit and holds 'a' now"):
        model.predict(np.array([["a"]]))
    partly = regressor().fit(pandas.DataFrame({"kind": pandas.Series([1, "b"] * (N // 2), dtype=object)}), Y)
    assert np.isfinite(partly.predict(pandas.DataFrame({"kind": ["b", "new", None]}))).all()


def test_numbers_of_numpy_and_decimals_in_arrays_of_objects():
    plain = np.array(
        [[int(group), float(size), text] for group, size, text in zip(GROUP, NUMBER, TEXT, strict=True)], object
    )
    typed = plain.copy()
    typed[:, 0] = [np.int64(group) for group in GROUP]
    typed[:, 1] = [Decimal(repr(float(size))) for size in NUMBER]
    found = [regressor().fit(table, Y).predict(plain) for table in (plain, typed)]
    np.testing.assert_array_equal(found[0], found[1])
    with pytest.raises(TypeError, match="column 'x0': an argument must be a string or a number, got object"):
        regressor().fit(np.array([[object(), 1.0]] * N, object), Y)


def test_sparse_columns_beside_text_are_numbers():
    pandas = pytest.importorskip("pandas")
    dense = pandas.DataFrame({"group": GROUP, "kind": TEXT})
    sparse = dense.assign(group=pandas.arrays.SparseArray(GROUP))
    for model in (regressor(), fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, random_state=0)):
        np.testing.assert_array_equal(model.fit(sparse, Y).predict(sparse), model.fit(dense, Y).predict(dense))


def test_record_batches_are_tables_and_lazy_frames_are_refused():
    arrow, polars = pytest.importorskip("pyarrow"), pytest.importorskip("polars")
    table = arrow.table({"size": NUMBER, "kind": TEXT})
    batch = table.to_batches()[0]
    lazy = polars.DataFrame({"size": NUMBER, "kind": TEXT}).lazy()
    net = fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, random_state=0)
    for model in (regressor(), net, fastnn.BaggedMLPRegressor(net, n_bags=2, random_state=0)):
        np.testing.assert_array_equal(model.fit(batch, Y).predict(batch), model.fit(table, Y).predict(table))
        with pytest.raises(
            TypeError, match=r"X is a polars LazyFrame, whose rows are not in memory: pass X.collect\(\)"
        ):
            model.fit(lazy, Y)


def test_what_a_column_holds_is_named_by_its_package():
    pandas = pytest.importorskip("pandas")
    months = pandas.DataFrame({"month": pandas.PeriodIndex(["2020-01", "2020-02"] * (N // 2), freq="M")})
    with pytest.raises(ValueError, match=r"column 'month' holds period\[M\]"):
        regressor().fit(months, Y)


@pytest.mark.parametrize("exponent", [-535, -600, -1030])  # subnormal squares, squares of 0, subnormal numbers
@pytest.mark.parametrize("recipe", ["realmlp", "tabm", "plain"])
def test_the_unit_of_a_column_does_not_matter_even_if_squares_vanish(recipe, exponent, monkeypatch):
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 5)
    X = np.column_stack([np.round(NUMBER, 3) * 1024, GROUP])
    unit = np.array([2.0**exponent, 1.0])
    first, second = (fastnn.TabularRegressor(recipe, n_bags=2, random_state=0).fit(table, Y) for table in (X, X * unit))
    np.testing.assert_allclose(second.predict(X * unit), first.predict(X), atol=1e-6 * Y.std())
    with np.errstate(all="raise"):
        assert np.isfinite(second.predict(np.array([[1.0, 1.0], [-1e140, 2.0]]))).all()


def test_the_unit_of_the_target_does_not_matter_even_if_squares_vanish():
    X = np.column_stack([NUMBER, GROUP])
    small = 2.0**-560
    model = regressor(metric="r2").fit(X, Y * small)
    assert model.oof_score_ > 0.8
    assert model.score(X, Y) < 0.0 < 0.8 < 1.0 - ((model.predict(X) / small - Y) ** 2).mean() / Y.var()


def test_p_values_of_columns_with_subnormal_numbers():
    X = np.column_stack([2.0**-1030 * NUMBER, GROUP, np.where(GROUP == 0, 1.0, 1e-310 * NUMBER)])
    p_values = fastnn.TabularClassifier("plain", n_bags=2, random_state=0).fit(X, GROUP).known_p_values(X)
    assert np.isfinite(p_values).all() and p_values.mean() > 0.4


def test_a_constant_target_has_intervals_and_deviations_of_zero():
    model = regressor().fit(np.column_stack([NUMBER, GROUP]), np.full(N, 1e-3))
    mean, deviation = model.predict(np.zeros((3, 2)), return_std=True)
    np.testing.assert_array_equal([mean, deviation], [[1e-3] * 3, [0.0] * 3])
    np.testing.assert_array_equal(model.predict_interval(np.zeros((3, 2))), 1e-3)


@pytest.mark.parametrize("recipe", ["realmlp", "tabm", "plain"])
def test_numbers_far_beyond_those_of_the_fit_are_predicted(recipe, monkeypatch):
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 2)
    X = np.column_stack([1e-6 * NUMBER, GROUP])
    far = np.array([[1e150, 1.0], [-1e149, 0.0], [1.0, 1e140]])
    model = fastnn.TabularRegressor(recipe, n_bags=2, random_state=0).fit(X, Y)
    assert ((model.predict(far) >= Y.min()) & (model.predict(far) <= Y.max())).all()
    classes = fastnn.TabularClassifier(recipe, n_bags=2, random_state=0).fit(X, GROUP)
    np.testing.assert_allclose(classes.predict_proba(far).sum(axis=1), 1.0, rtol=1e-6)
    assert (classes.known_p_values(far) <= 1.0 / N).all()


def test_robust_scaling_of_huge_numbers_is_the_bound():
    layer = RobustScaling()
    layer.adapt(np.arange(5.0)[:, None] * 1e-20)
    np.testing.assert_allclose(layer.compute(np.array([[1e160], [-1e300], [np.nan]]))[:, 0], [3.0, -3.0, np.nan])


@pytest.mark.parametrize("package", ["pandas", "polars", "pyarrow"])
def test_importances_of_frames_and_of_lists_do_not_depend_on_the_package(package):
    rows = [[float(size), text, bool(group > 1)] for size, text, group in zip(NUMBER, TEXT, GROUP, strict=True)]
    array = np.array(rows, object)
    expected = regressor().fit(array, Y).permutation_importances(array, Y, random_state=0)
    assert expected.argmax() != 2 and (expected >= 0.0).all()
    model = regressor().fit(rows, Y)
    np.testing.assert_array_equal(model.permutation_importances(rows, Y, random_state=0), expected)
    table = tables(package)({"size": NUMBER, "text": TEXT, "flag": GROUP > 1})
    model = regressor().fit(table, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.permutation_importances(table, Y, random_state=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_truth_values_are_categories_in_every_kind_of_table():
    pandas, polars = (pytest.importorskip(package) for package in ("pandas", "polars"))
    flags = (GROUP > 1).tolist()
    gaps = [None if i % 7 == 0 else flag for i, flag in enumerate(flags)]
    for given in (flags, gaps):
        frame = pandas.DataFrame({"x0": NUMBER, "x1": pandas.array(given, "boolean")})
        expected = regressor().fit(frame, Y).predict(frame)
        same = [
            np.array(list(zip(NUMBER, given, strict=True)), object),
            frame.assign(x1=np.array(given, object)),
            polars.DataFrame({"x0": NUMBER, "x1": given}),
            polars.DataFrame({"x0": NUMBER, "x1": polars.Series(given, dtype=polars.Object)}),
        ]
        for table in same:
            np.testing.assert_array_equal(regressor().fit(table, Y).predict(table), expected)
    both = np.column_stack([flags, NUMBER > 0])
    frame = pandas.DataFrame(both)
    np.testing.assert_array_equal(regressor().fit(both, Y).predict(both), regressor().fit(frame, Y).predict(frame))


@pytest.mark.parametrize("package", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("n_rows", [0, 1])
def test_a_fit_of_a_frame_needs_two_rows_and_a_column(package, n_rows):
    table = tables(package)
    for model in (regressor(), fastnn.TabularClassifier("plain", n_bags=2)):
        with pytest.raises(ValueError, match=rf"X must have at least 2 rows and a column, got shape \({n_rows}, 2\)"):
            model.fit(table({"size": NUMBER[:n_rows], "kind": TEXT[:n_rows]}), Y[:n_rows])
    with pytest.raises(ValueError, match="X must have at least 2 rows and a column"):
        regressor().fit(table({}), Y)
    assert regressor().fit(table({"size": NUMBER}), Y).predict(table({"size": NUMBER[:n_rows]})).shape == (n_rows,)


GIVEN_AWAY = {
    "of one of several targets": (NUMBER, np.column_stack([Y, 3.0 - 2.0 * NUMBER]), "it equals column 1 of y"),
    "with missing values": (np.where(np.arange(N) % 7 == 0, np.nan, 2.0 * Y), Y, "it equals y up to scale"),
    "of codes in another order": (np.array([5.0, 1.0, 9.0])[GROUP], TEXT, "each of its values belongs to one class"),
    "in part": (GROUP + 10.0 * (np.arange(N) % 2), TEXT, "each of its values belongs to one class"),
    "of huge numbers": (1e148 * Y, Y, "it equals y up to scale"),
}


@pytest.mark.parametrize("case", GIVEN_AWAY)
def test_columns_that_give_the_target_away_are_told(case, monkeypatch):
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 1)
    column, y, message = GIVEN_AWAY[case]
    table = np.column_stack([column, RNG.normal(size=N)])
    model = fastnn.TabularClassifier if y is TEXT else fastnn.TabularRegressor
    with pytest.warns(UserWarning, match=f"column 'x0' gives the target away: {message}"):
        model("plain", n_bags=2, random_state=0).fit(table, y)
    other = int(np.flatnonzero(GROUP != GROUP[3])[0])
    column = np.where(np.arange(N) == 3, column[other], column)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model("plain", n_bags=2, random_state=0).fit(np.column_stack([column, table[:, 1]]), y)


def test_intervals_do_not_change_with_what_a_user_writes():
    model = regressor().fit(NUMBER[:, None], Y)
    expected = model.predict_interval(NUMBER[:, None])
    model.oof_predictions_[:] = 0.0
    np.testing.assert_array_equal(model.predict_interval(NUMBER[:, None]), expected)


@pytest.mark.parametrize("recipe", ["realmlp", "tabm", "plain"])
def test_a_column_may_be_constant_in_the_rows_of_a_fold(recipe, monkeypatch):
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 4)
    single, gap = np.zeros(N), np.full(N, 5.0)
    single[0], gap[0] = 1.0, np.nan
    for table in (np.column_stack([NUMBER, single, gap]), single[:, None]):
        model = fastnn.TabularRegressor(recipe, n_bags=4, random_state=0).fit(table, Y)
        assert np.isfinite(model.predict(table)).all() and model.oof_score_ < 1.5 * Y.std()


@pytest.mark.parametrize("unit", [2.0**-40, 2.0**-600])
def test_the_unit_of_a_column_does_not_matter_to_quantiles(unit):
    layers = [QuantileTransform(seed=1) for _ in range(2)]
    layers[0].adapt(NUMBER[:, None])
    layers[1].adapt(NUMBER[:, None] * unit)
    found = [layer.compute(NUMBER[:, None] * factor) for layer, factor in zip(layers, (1.0, unit), strict=True)]
    np.testing.assert_allclose(found[1], found[0], rtol=0.1, atol=1e-2)  # the range is some deviations
    assert np.corrcoef(found[1][:, 0], NUMBER)[0, 1] > 0.95


def test_first_weights_of_equal_rows_are_those_drawn():
    x = fastnn.Input((3,))
    model = fastnn.Model(x, fastnn.layers.NTPDense(64)(x), seed=0)
    drawn = model.layers[-1].kernel.numpy().copy()
    fastnn.models.initialize_from_data(model, np.full((500, 3), 0.1), bias=None)
    np.testing.assert_array_equal(model.layers[-1].kernel.numpy(), drawn)


@pytest.mark.parametrize("value", ["inf", "-1e200", np.inf, 10**400])
def test_numbers_as_text_or_objects_are_as_limited_as_numbers(value):
    table = np.array([[size, text] for size, text in zip(NUMBER, TEXT, strict=True)], object)
    model = regressor().fit(table, Y)
    with pytest.raises(ValueError, match=r"column 'x0' of X has (infinity|a number of size 1e\+200, above 1e\+150)"):
        model.predict(np.array([[value, "a"], [0.0, "b"]], object))


@pytest.mark.parametrize(
    "entry, message",
    [([1], "got list"), (np.ones(2), "got ndarray"), (object(), "or have an order: '<' not supported")],
)
def test_entries_that_cannot_be_categories_are_named(entry, message):
    pandas = pytest.importorskip("pandas")
    good = pandas.DataFrame({"kind": TEXT})
    bad = good.assign(kind=[entry, object(), *TEXT[2:]])
    for model in (regressor(), fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5)):
        with pytest.raises(TypeError, match=f"column 'kind': .*{message}"):
            model.fit(bad, Y)
    if message.startswith("got"):
        with pytest.raises(TypeError, match=f"column 'kind': .*{message}"):
            model.fit(good, Y).predict(bad)


def test_dates_as_objects_are_refused_as_dates_are():
    pandas = pytest.importorskip("pandas")
    for entries in ([datetime.date(2020, 1, 2), None], [datetime.timedelta(1), "a"], [pandas.Timestamp(0), pandas.NaT]):
        table = pandas.DataFrame({"when": pandas.Series(entries * (N // 2), dtype=object)})
        for model in (regressor(), fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, missing="mean")):
            with pytest.raises(
                ValueError, match=r"column 'when' holds (date|timedelta|Timestamp); .* turn dates into num"
            ):
                model.fit(table, Y)


def test_a_missing_value_of_pandas_in_objects_is_missing():
    pandas = pytest.importorskip("pandas")
    values = [None if i % 5 == 0 else float(size) for i, size in enumerate(NUMBER)]
    for gap in (pandas.NA, pandas.NaT, np.nan):
        given = pandas.Series([gap if value is None else value for value in values], dtype=object)
        texts = pandas.Series([gap if i % 5 == 0 else text for i, text in enumerate(TEXT)], dtype=object)
        for model in (
            regressor(),
            fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, missing="mean", random_state=0),
        ):
            for column, plain in (
                (given, np.array(values, float)),
                (texts, [None if i % 5 == 0 else t for i, t in enumerate(TEXT)]),
            ):
                table = pandas.DataFrame({"a": NUMBER, "b": column})
                expected = pandas.DataFrame({"a": NUMBER, "b": plain})
                found = model.fit(table, Y).predict(table)
                np.testing.assert_array_equal(found, model.fit(expected, Y).predict(expected))


@pytest.mark.parametrize("package", ["polars", "pyarrow"])
def test_names_of_columns_of_numbers_do_not_need_pandas(package):
    """A fresh process in which pandas cannot be imported: names must not be lost on the way to an array."""
    pytest.importorskip(package)
    program = f"""
import sys, warnings
class WithoutPandas:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "pandas":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, WithoutPandas())
warnings.simplefilter("ignore")
import {package}, fastnn
table = {package}.{"table" if package == "pyarrow" else "DataFrame"}
a, b = [0.0, 1.0, 2.0, 3.0], [5.0, 4.0, 1.0, 0.0]
for model in (
    fastnn.MLPRegressor(hidden_layer_sizes=(2,), max_iter=2, random_state=0),
    fastnn.MLPClassifier(hidden_layer_sizes=(2,), max_iter=2, random_state=0),
):
    model.fit(table({{"a": a, "b": b}}), [0, 1, 0, 1])
    print(*model.feature_names_in_, model.n_features_in_)
    for other in (table({{"b": b, "a": a}}), table({{"a": a, "c": b}})):
        try:
            model.predict(other)
        except ValueError as error:
            print(str(error).split(chr(10))[0])
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    refused = "The feature names should match those that were passed during fit."
    assert found.stdout.splitlines() == ["a b 2", refused, refused] * 2, found.stderr


def test_a_column_of_different_numbers_does_not_give_many_classes_away(monkeypatch):
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 1)
    labels = np.arange(N) % (N // 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fastnn.TabularClassifier("plain", n_bags=2, random_state=0).fit(np.column_stack([NUMBER, Y]), labels)


def test_a_column_without_values_in_a_fit_of_a_network_may_have_some_later():
    pandas = pytest.importorskip("pandas")
    void = pandas.DataFrame({"a": NUMBER, "b": pandas.Series([None] * N, dtype=object)})
    model = fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, missing="mean", random_state=0).fit(void, Y)
    for column in (NUMBER, TEXT, GROUP > 1):
        np.testing.assert_array_equal(model.predict(void.assign(b=column)), model.predict(void))
    half = void.assign(b=pandas.Series([None] * (N // 2) + [2.0] * (N // 2), dtype=object))
    bags = fastnn.BaggedMLPRegressor(model, n_bags=2, random_state=0).fit(half, Y)
    assert np.isfinite(bags.predict(half)).all()
    with pytest.raises(ValueError, match="column 'b' of X has no value at row 0"):
        fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5).fit(void, Y)
    with pytest.raises(ValueError, match="0 feature"):
        model.fit(void[["b"]], Y)


@pytest.mark.parametrize("recipe", ["realmlp", "plain"])
@pytest.mark.parametrize("has_three", [True, False])
@pytest.mark.parametrize("has_number", [True, False])
def test_zeros_and_ones_come_last_and_realmlp_drops_ones_out(recipe, has_three, has_number, monkeypatch):
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 3)
    size, two = np.where(np.arange(N) == 2, np.nan, NUMBER), np.where(GROUP > 0, "yes", "no")
    table = np.column_stack([size.astype(object), TEXT, two])[:, [has_number, has_three, True]]
    model = fastnn.TabularClassifier(recipe, n_bags=2, random_state=0).fit(table, Y > 2.0)
    encoder = model._encoder
    assert (encoder.n_other, encoder.n_hot) == (1 + has_number + 3 * has_three, 3 * has_three)
    flags_and_two = np.column_stack([np.isnan(size), np.where(GROUP > 0, 1.0, -1.0)])[:, [has_number, True]]
    hot = (GROUP[:, None] == np.arange(3))[:, : 3 * has_three]
    np.testing.assert_array_equal(encoder.parts(table)[1], np.hstack([flags_and_two, hot]))
    rates = [layer.rate for layer in model.models_[0].layers if isinstance(layer, Dropout)]
    own = [0.15] * 3 if recipe == "realmlp" else [0.1] * 2
    assert sorted(rates) == own + [0.2] * (has_three and not has_number and recipe == "realmlp")


def test_regressions_drop_no_ones_out(monkeypatch):
    monkeypatch.setattr("fastnn.tabular.estimators._EPOCHS", 3)
    model = fastnn.TabularRegressor(n_bags=2, random_state=0).fit(np.array(TEXT, object)[:, None], Y)
    assert model._encoder.n_hot == 3
    assert [layer.rate for layer in model.models_[0].layers if isinstance(layer, Dropout)] == [0.15] * 3
