"""What the estimators refuse, beyond scikit-learn's own checks: an error names the argument, and nothing changes."""

import re

import numpy as np
import pytest

pytest.importorskip("sklearn")

from fastnn import MLPClassifier, MLPRegressor, losses
from fastnn.callbacks import EarlyStopping

RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 4))
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
NUMBERS = 3 * X[:, 0]
LABELS = np.column_stack([Y > 0, Y > 1]).astype(int)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize(
    "estimator, y, given, message",
    [
        (MLPClassifier, Y, (X, Y + 2), r"y has the labels \[3, 4\], which are not among the classes \[0, 1, 2\]"),
        (MLPClassifier, Y, (X, Y.astype(str)), r"y has the labels \['0', '1', '2'\], which are not among"),
        (MLPClassifier, Y, (X, LABELS), r"y should be a 1d array, got an array of shape \(60, 2\)"),
        (
            MLPClassifier,
            LABELS,
            (X, LABELS[:, [0, 1, 1]]),
            r"y must have 2 columns, one per label, got shape \(60, 3\)",
        ),
        (MLPClassifier, LABELS, (X, Y), r"y must have 2 columns, one per label, got shape \(60,\)"),
        (MLPClassifier, Y, (X, Y[:5]), "X has 60 rows, but y has 5"),
        (MLPClassifier, Y, (X[:, :3], Y), "X has 3 features"),
        (MLPClassifier, Y, (X * np.nan, Y), "Input X contains NaN"),
        (MLPClassifier, Y, (X, Y, [1.0]), r"sample_weight.shape == \(1,\)"),
        (MLPRegressor, NUMBERS, (X, LABELS), r"y must have 1 columns as in training, got shape \(60, 2\)"),
        (MLPRegressor, NUMBERS, (X, NUMBERS[:5]), "X has 60 rows, but y has 5"),
        (MLPRegressor, NUMBERS, (X, NUMBERS * np.nan), "Input y contains NaN"),
    ],
)
@pytest.mark.parametrize("partial", [False, True])
def test_validation_data_that_do_not_fit_are_named_and_change_nothing(estimator, y, given, message, partial):
    model = estimator(max_iter=2, random_state=0).fit(X, y)
    before, weights = dict(vars(model)), [array.copy() for array in model.coefs_]
    train = model.partial_fit if partial else model.fit
    with pytest.raises(ValueError, match=f"^validation_data: .*{message}"):
        train(X, y, validation_data=given)
    assert vars(model) == before
    assert all(np.array_equal(new, old) for new, old in zip(model.coefs_, weights, strict=True))


@pytest.mark.parametrize("given, found", [(X, "ndarray"), ((X,), "tuple of 1"), ([X, Y, None, None], "list of 4")])
def test_validation_data_are_two_or_three_parts(given, found):
    with pytest.raises(ValueError, match=rf"^validation_data must be \(X, y\) or .*, got {found}$"):
        MLPClassifier(max_iter=2).fit(X, Y, validation_data=given)


@pytest.mark.parametrize(
    "options, unused",
    [
        ({"optimizer": "adam"}, "optimizer"),
        ({"dropout": 0.5}, "dropout"),
        ({"dropout": [0.0, 0.5], "hidden_layer_sizes": (4, 4)}, "dropout"),
        ({"callbacks": EarlyStopping("loss"), "progress": True}, "callbacks and no progress"),
        ({"dtype": np.float32}, "dtype=<class 'numpy.float32'>"),
    ],
)
def test_lbfgs_names_the_options_it_cannot_use(options, unused):
    with pytest.raises(ValueError, match=f"^solver='lbfgs' takes no {unused}: it trains"):
        MLPClassifier(solver="lbfgs", **options).fit(X, Y)


def test_lbfgs_takes_no_validation_data_and_no_partial_fit():
    model = MLPRegressor(solver="lbfgs", dropout=[0.0], callbacks=[], dtype=np.float64, max_iter=3).fit(X, NUMBERS)
    with pytest.raises(ValueError, match=r"^solver='lbfgs' takes no validation_data: it trains"):
        model.fit(X, NUMBERS, validation_data=(X, NUMBERS))
    assert not hasattr(model.set_params(optimizer="adam"), "partial_fit")


def test_none_is_not_a_label():
    labels = np.where(Y > 0, "a", None)
    row = int(np.argmin(Y > 0))
    with pytest.raises(ValueError, match=f"^y has no label at row {row} "):
        MLPClassifier().fit(X, labels)


@pytest.mark.parametrize("weights", [{0: 1.0, 9: 4.0}, {"0": 2.0}, {9: 4.0}], ids=str)
def test_class_weights_of_unknown_classes_are_named(weights):
    unknown = [label for label in weights if label != 0]
    message = re.escape(f"class_weight has the classes {unknown}, which are not in y") + r".* y are \[0, 1, 2\]$"
    with pytest.raises(ValueError, match=message):
        MLPClassifier(class_weight=weights).fit(X, Y)


@pytest.mark.parametrize("weight", [np.nan, np.inf, "2"], ids=str)
def test_class_weights_are_finite_numbers(weight):
    message = re.escape(f"class_weight of class 1 must be a finite number, got {weight!r}")
    with pytest.raises(ValueError, match=message):
        MLPClassifier(class_weight={1: weight}).fit(X, Y)


def test_class_weights_are_of_all_classes_not_of_those_in_a_batch():
    rows = np.flatnonzero(Y < 2)
    weighted, plain = (
        MLPClassifier(class_weight=given, random_state=0).partial_fit(X[rows], Y[rows], classes=[0, 1, 2])
        for given in ({2: 3.0}, None)
    )
    np.testing.assert_array_equal(weighted.predict_proba(X), plain.predict_proba(X))
    full = {0: 2.0, 1: 1.0, 2: 3.0}
    first, second = (
        MLPClassifier(class_weight=given, random_state=0, max_iter=2).fit(X, Y) for given in (full, {**full, 9: 4.0})
    )
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


@pytest.mark.parametrize(
    "loss, wrong, accepted",
    [
        ("binary_crossentropy", 1.5, "binary_crossentropy takes targets between 0 and 1"),
        (losses.BinaryFocalCrossentropy(from_logits=True), -0.5, "takes targets between 0 and 1"),
        ("categorical_crossentropy", 2.0, "takes targets between 0 and 1"),
        ("kl_divergence", 2.0, "takes targets between 0 and 1"),
        ("dice", -1.0, "takes targets between 0 and 1"),
        ("hinge", 2.0, "hinge takes targets between -1 and 1"),
        ("squared_hinge", -2.0, "takes targets between -1 and 1"),
        ("msle", -0.5, "mean_squared_logarithmic_error takes targets of at least 0"),
        ("poisson", -0.5, "poisson takes targets of at least 0"),
        (losses.Poisson(), -0.5, "poisson takes targets of at least 0"),
    ],
    ids=str,
)
def test_targets_out_of_the_range_of_a_loss_are_named(loss, wrong, accepted):
    good = np.column_stack([Y > 0, Y > 1]).astype(float)
    bad = good.copy()
    bad[7, 1] = wrong
    model = MLPRegressor(loss, standardize=True)
    message = re.escape(f"y has {wrong} at row 7, column 1 (counted from 0); ") + f".*{accepted}$"
    with pytest.raises(ValueError, match=f"^{message}"):
        model.fit(X, bad)
    with pytest.raises(ValueError, match=f"^validation_data: {message}"):
        model.fit(X, good, validation_data=(X, bad))


def test_targets_of_a_range_are_not_standardised():
    model = MLPRegressor("binary_crossentropy", standardize=True, random_state=0, max_iter=2).fit(X, Y > 0)
    by_hand = MLPRegressor("binary_crossentropy", random_state=0, max_iter=2).fit((X - X.mean(0)) / X.std(0), Y > 0)
    np.testing.assert_allclose(model.predict(X), by_hand.predict((X - X.mean(0)) / X.std(0)), rtol=1e-9)


def test_none_is_not_a_number():
    with pytest.raises(ValueError, match=r"^y has nan at row 0, column 0 "):
        MLPRegressor().fit(X, np.array([None, 1.0, 2.0] * 20, dtype=object))


def test_losses_of_labels_are_for_the_classifier():
    with pytest.raises(ValueError, match="takes class labels, not numbers: use MLPClassifier"):
        MLPRegressor("sparse_categorical_crossentropy").fit(X, Y)


@pytest.mark.parametrize("estimator, y", [(MLPClassifier, Y), (MLPRegressor, NUMBERS)])
def test_arrays_without_rows_are_named(estimator, y):
    model = estimator(max_iter=2).fit(X, y)
    for call in (lambda: model.score(X[:0], y[:0]), lambda: model.predict(X[:0]), lambda: model.fit(X[:0], y[:0])):
        with pytest.raises(
            ValueError, match=r"^Found array with 0 sample\(s\) \(shape=\(0, 4\)\) while a minimum of 1"
        ):
            call()


pandas = pytest.importorskip("pandas")
pytest.importorskip("narwhals")
TEXT = np.array(["x", "y", None] * 20, dtype=object)


@pytest.mark.parametrize(
    "column",
    [TEXT, pandas.array(TEXT, dtype="string"), pandas.Categorical(TEXT)],
    ids=["objects", "string", "category"],
)
def test_gaps_in_text_are_missing_values(column):
    table = pandas.DataFrame({"size": X[:, 0], "kind": column})
    message = "^column 'kind' of X has no value at row 2 .*but missing is 'error'"
    with pytest.raises(ValueError, match=message):
        MLPClassifier().fit(table, Y)
    known = np.arange(60) % 3 < 2
    model = MLPClassifier(max_iter=2).fit(table[known], Y[known])
    with pytest.raises(ValueError, match=message):
        model.predict(table)
    filled = MLPClassifier(missing="mean", random_state=0, max_iter=2).fit(table, Y)
    one_hot = np.column_stack([X[:, 0], TEXT == "x", TEXT == "y"])
    expected = MLPClassifier(random_state=0, max_iter=2).fit(one_hot, Y).predict_proba(one_hot)
    np.testing.assert_allclose(filled.predict_proba(table), expected, rtol=1e-9)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize(
    "column",
    [
        pandas.array([1, 2, None] * 20, dtype="Int64"),
        pandas.array([1.0, 2.0, None] * 20, dtype="Float64"),
        np.array([1, 2.0, None] * 20, dtype=object),
    ],
    ids=["Int64", "Float64", "objects"],
)
def test_gaps_in_numbers_of_a_frame_are_missing_values(column, text):
    table = pandas.DataFrame({"size": X[:, 0], "count": column, **({"kind": ["x", "y"] * 30} if text else {})})
    with pytest.raises(ValueError, match="Input X contains NaN"):
        MLPClassifier().fit(table, Y)
    model = MLPClassifier(missing="indicator", random_state=0, max_iter=2).fit(table, Y)
    numbers = np.column_stack([X[:, 0], np.array([1, 2, np.nan] * 20), *(np.eye(2)[[0, 1] * 30].T if text else ())])
    expected = MLPClassifier(missing="indicator", random_state=0, max_iter=2).fit(numbers, Y).predict_proba(numbers)
    np.testing.assert_allclose(model.predict_proba(table), expected, rtol=1e-9)


def test_arrays_of_nullable_numbers_have_missing_values():
    numbers = np.column_stack([X[:, 0], np.array([1, 2, np.nan] * 20)])
    objects = np.where(np.isnan(numbers), pandas.NA, numbers.astype(object))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        MLPClassifier().fit(objects, Y)
    first, second = (MLPClassifier(missing="mean", random_state=0, max_iter=2).fit(x, Y) for x in (numbers, objects))
    np.testing.assert_array_equal(first.predict_proba(numbers), second.predict_proba(objects))


def test_a_loss_for_other_targets_leaves_the_fitted_model_unchanged():
    model = MLPClassifier(max_iter=2, random_state=0).fit(X, Y)
    before, outputs = dict(vars(model)), model.predict_proba(X)
    model.loss = losses.SparseCategoricalCrossentropy()
    with pytest.raises(ValueError, match="does not take one-hot targets"):
        model.fit(X, Y)
    model.loss = "log_loss"
    assert vars(model) == before
    assert np.array_equal(model.predict_proba(X), outputs)


def test_the_poisson_loss_is_the_same_by_name_and_as_an_object():
    counts = RNG.poisson(np.exp(X[:, 0]))
    by_name, as_object = (
        MLPRegressor(loss=loss, max_iter=20, random_state=0).fit(X, counts) for loss in ("poisson", losses.Poisson())
    )
    assert as_object.out_activation_ == by_name.out_activation_
    assert np.array_equal(as_object.predict(X), by_name.predict(X))
    assert as_object.loss_curve_ == by_name.loss_curve_


def test_dates_are_not_numbers():
    dates = np.full((12, 2), np.datetime64("2020-01-01"))
    for estimator, y in ((MLPClassifier(), [0, 1] * 6), (MLPRegressor(), np.arange(12.0))):
        with pytest.raises(ValueError, match="X must be real numbers, but its dtype is datetime64"):
            estimator.fit(dates, y)


@pytest.mark.parametrize("name", ["None", "<NA>"])
def test_labels_of_strings_are_all_there_and_all_strings(name):
    missing = None if name == "None" else pytest.importorskip("pandas").NA
    X = np.random.default_rng(0).normal(size=(6, 2))
    with pytest.raises(ValueError, match=f"y has no label at row 4 .*but {name}"):
        MLPClassifier().fit(X, np.array(["a", "b", "a", "b", missing, "b"], dtype=object))
    with pytest.raises(ValueError, match="y has strings and other labels, such as 'a' and 1"):
        MLPClassifier().fit(X, np.array(["a", 1, "a", 1, "a", 1], dtype=object))


def test_sizes_of_hidden_layers_are_whole_numbers():
    X, y = np.zeros((6, 2)), np.arange(6.0)
    with pytest.raises(ValueError, match=r"each of hidden_layer_sizes must be a whole number from 1 to \d+, got 5.5"):
        MLPRegressor(hidden_layer_sizes=(5.5,)).fit(X, y)
    assert MLPRegressor(hidden_layer_sizes=np.array([3]), max_iter=1, tol=10.0).fit(X, y).coefs_[0].shape == (2, 3)
