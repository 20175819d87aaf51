"""Bad input: one clear error for each, and nothing changed."""

import re

import numpy as np
import pytest
from same_bits import same_arrays
from sample_models import linear_model

import fastnn
from fastnn import layers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3))
NUMBERS = RNG.normal(size=(20, 2))
LABELS = np.arange(20) % 4
BINARY = np.arange(20) % 2


def changed(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


def holding(value):
    """Numbers as objects, except for ``value`` at row 1, column 2."""
    array = X[:2].astype(object)
    array[1, 2] = value
    return array


BAD_X = {
    "too few features": (X[:, :2], "x has 2 features (columns), but the model takes 3"),
    "one dimension": (X[0], "x must have shape (n, 3), got (3,); for one row pass x.reshape(1, -1)"),
    "three dimensions": (X.reshape(2, 10, 3), "x must have shape (n, 3), got (2, 10, 3)"),
    "nan": (changed(X, (7, 1), np.nan), "x has nan at row 7, column 1"),
    "infinity": (changed(X, (0, 2), -np.inf), "x has -inf at row 0, column 2"),
    "nan in float16": (changed(X.astype(np.float16), (4, 0), np.nan), "x has nan at row 4, column 0"),
    "too large for float32": (
        changed(X, (3, 0), 1e39),
        "x has 1e+39 at row 3, column 0 (counted from 0), which is too",
    ),
    "strings": (X[:2].astype(str), "x must be real numbers, but its dtype is <U"),
    "objects": (holding("5"), "first entry that is not a number: '5' at index [1, 2]"),
    "none among objects": (holding(None), "first entry that is not a number: None at index [1, 2]"),
    "numbers as objects": (
        X.astype(object),
        "x must be real numbers, but its dtype is object; convert it with x.astype",
    ),
    "complex": (X.astype(complex), "x must be real numbers, but its dtype is complex128"),
    "dates": (np.zeros((20, 3), "M8[D]"), "x must be real numbers, but its dtype is datetime64[D]"),
    "ragged": ([[1.0, 2.0], [3.0]], "x cannot become an array"),
    "masked": (np.ma.masked_greater(X, 0.5), "x has masked entries"),
    "generator": ((row for row in X), "x is a generator"),
    "missing": (None, "x is missing (None)"),
}


@pytest.mark.parametrize("name", BAD_X)
def test_bad_x_is_refused_and_changes_nothing(name):
    value, message = BAD_X[name]
    model = linear_model()
    before = model.get_weights()
    y = NUMBERS[: len(value)] if isinstance(value, np.ndarray) and value.ndim > 1 else NUMBERS
    for call in (
        lambda: model.fit(value, y, verbose=0),
        lambda: model.evaluate(value, y, verbose=0),
        lambda: model.predict(value),
        lambda: model.train_on_batch(value, y),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    assert model.history is None
    assert model.network.iterations == 0
    assert same_arrays(before, model.get_weights())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_rows_give_no_outputs_and_cannot_be_trained_on(dtype):
    model = linear_model(dtype=dtype)
    hooks = fastnn.callbacks.LambdaCallback(on_predict_batch_begin=lambda batch, logs: None)
    unbuilt = fastnn.Sequential([layers.Dense(2)], dtype=dtype)
    for empty in (X[:0], X[:0].astype("f4"), X[:0].astype(int), np.asfortranarray(X)[:0]):
        for outputs in (
            model.predict(empty),
            model.predict(empty, steps=2, callbacks=[hooks]),
            model.predict_on_batch(empty),
            model(empty),
            unbuilt.predict(empty),
        ):
            assert (outputs.shape, outputs.dtype) == ((0, 2), dtype)
        assert model.input_gradients(empty).shape == (0, 2, 3)
        before = model.get_weights()
        for call in (
            lambda empty=empty: model.fit(empty, NUMBERS[:0], verbose=0),
            lambda empty=empty: model.evaluate(empty, NUMBERS[:0], verbose=0),
            lambda empty=empty: model.train_on_batch(empty, NUMBERS[:0]),
        ):
            with pytest.raises(
                ValueError, match=re.escape("x is empty: it has shape (0, 3), at least one row is needed")
            ):
                call()
        assert same_arrays(before, model.get_weights())
    for predict in (model.predict, model):
        with pytest.raises(ValueError, match=re.escape("x has 2 features (columns), but the model takes 3")):
            predict(X[:0, :2])
    normal = fastnn.Sequential([layers.BatchNormalization(), layers.Dense(2, activation="softmax")], dtype=dtype)
    assert normal.predict(X[:0]).shape == (0, 2)


def test_errors_about_nan_say_what_fills_it_in():
    nan, filled = changed(X, (7, 1), np.nan), "or let the first layer do it: layers.Normalization(missing='mean' or"
    model = linear_model()
    for call in (lambda: model.fit(nan, NUMBERS, verbose=0), lambda: model.predict(nan), lambda: model(nan)):
        with pytest.raises(ValueError, match=re.escape(f"drop such rows or fill them in, {filled} 'indicator')")):
            call()
    with pytest.raises(ValueError, match=r"fill them in, or make the layer with missing='mean' or 'indicator'$"):
        layers.Normalization().adapt(nan)
    # No layer can fill in an infinity or a target.
    for x, y in ((changed(X, (7, 1), np.inf), NUMBERS), (X, changed(NUMBERS, (7, 1), np.nan))):
        with pytest.raises(ValueError, match=r"drop such rows or fill them in$"):
            model.fit(x, y, verbose=0)
    for missing in ("mean", "indicator"):
        scale = layers.Normalization(missing=missing)
        scale.adapt(nan)
        model = fastnn.Sequential([scale, layers.Dense(2)], seed=0)
        model.compile("sgd", "mse")
        assert np.isfinite(model.fit(nan, NUMBERS, verbose=0).history["loss"]).all()


def test_calling_the_model_says_the_same_as_predict():
    model = linear_model()
    for name in ("too few features", "nan", "strings", "objects", "one dimension"):
        value, message = BAD_X[name]
        with pytest.raises(ValueError, match=re.escape(message)):
            model(value)


@pytest.mark.parametrize("units", [7, 200])
@pytest.mark.parametrize("row", [0, 17, 250, 498])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bad_row_among_many_is_named(dtype, row, units):
    model = linear_model(units=units)
    rows = changed(np.ones((499, 3), dtype), (row, 2), np.inf)
    for given in (rows, np.asfortranarray(rows)):
        with pytest.raises(ValueError, match=re.escape(f"x has inf at row {row}, column 2")):
            model(given)


def test_sparse_matrix_is_refused():
    class Sparse:
        nnz = 3

        def toarray(self):
            return X

    with pytest.raises(
        ValueError, match=re.escape("x is a sparse matrix; fastnn takes dense arrays: pass x.toarray()")
    ):
        linear_model().predict(Sparse())


BAD_Y = {
    "lengths": ("mse", 2, NUMBERS[:19], "x has 20 rows, but y has 19 rows"),
    "scalar": ("mse", 2, 3.0, "x has 20 rows, but y has one value"),
    "one column too few": (
        "mse",
        2,
        NUMBERS[:, :1],
        "y must have shape (20, 2) for a model with 2 outputs, got (20, 1)",
    ),
    "nan": ("mse", 2, changed(NUMBERS, (5, 1), np.nan), "y has nan at row 5, column 1"),
    "too large": ("mse", 2, changed(NUMBERS, (5, 1), -1e39), "too large for float32"),
    "strings": ("mse", 1, np.array(["cat", "dog"] * 10), "first entry that is not a number"),
    "missing": ("mse", 2, None, "y is missing (None)"),
    "label too large": (
        "sparse_categorical_crossentropy",
        4,
        changed(LABELS, 6, 4),
        "y has label 4 at row 6 (counted from 0); sparse_categorical_crossentropy takes whole numbers from 0 to 3",
    ),
    "negative label": ("sparse_categorical_crossentropy", 4, changed(LABELS, 2, -1), "y has label -1 at row 2"),
    "fraction": ("sparse_categorical_crossentropy", 4, LABELS + 0.5, "y has label 0.5 at row 0"),
    "nan label": ("sparse_categorical_crossentropy", 4, changed(LABELS * 1.0, 9, np.nan), "y has label nan at row 9"),
    "one-hot rows for labels": (
        "sparse_categorical_crossentropy",
        4,
        np.eye(4)[LABELS],
        "got (20, 4); for one-hot rows use categorical_crossentropy",
    ),
    "labels for one-hot rows": (
        "categorical_crossentropy",
        4,
        LABELS,
        "got (20,); for class labels use sparse_categorical_crossentropy",
    ),
    "probability above 1": ("binary_crossentropy", 1, BINARY + 1, "y has 2 at row 1, column 0"),
    "minus one for the negative class": ("binary_crossentropy", 1, 2 * BINARY - 1, "y has -1 at row 0, column 0"),
    "negative one-hot": ("categorical_crossentropy", 4, -np.eye(4)[LABELS], "takes targets between 0 and 1"),
    "one-hot rows for one output": ("binary_crossentropy", 1, np.eye(2)[BINARY], "one unit per class"),
}


@pytest.mark.parametrize("name", BAD_Y)
def test_bad_y_is_refused_and_changes_nothing(name):
    loss, units, y, message = BAD_Y[name]
    model = fastnn.Sequential([layers.Dense(units)], seed=1)
    model.compile(optimizer="sgd", loss=loss)
    with pytest.raises(ValueError, match=re.escape(message)):
        model.fit(X, y, verbose=0)
    assert not model.built
    assert model.history is None


def test_bad_sample_and_class_weights():
    model = linear_model("sparse_categorical_crossentropy", 4)
    for options, message in (
        ({"sample_weight": np.ones(19)}, "sample_weight must have shape (20,), one weight per row, got (19,)"),
        ({"sample_weight": changed(np.ones(20), 3, np.nan)}, "sample_weight has nan at row 3"),
        ({"class_weight": {4: 1.0}}, "class_weight has class 4; the classes are 0 to 3"),
        ({"class_weight": {0.5: 1.0}}, "class_weight has class 0.5"),
        ({"class_weight": {0: "a"}}, "class_weight of class 0 must be a finite number"),
        ({"class_weight": [1.0, 2.0]}, "class_weight must be a dict"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            model.fit(X, LABELS, verbose=0, **options)
    with pytest.raises(ValueError, match="one class per row"):
        linear_model().fit(X, NUMBERS, class_weight={0: 1.0}, verbose=0)
    assert model.network.iterations == 0


def test_bad_options_of_fit():
    model = linear_model()
    for options, message in (
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number of at least 1, got 2.5"),
        ({"epochs": -1}, "epochs must be a whole number of at least 0, got -1"),
        ({"epochs": True}, "epochs must be"),
        ({"validation_split": 1.0}, "validation_split must be a number of at least 0 and less than 1, got 1.0"),
        ({"validation_split": 0.999}, "leaves 0 for training and 20 for validation"),
        ({"validation_data": (X,)}, "validation_data must be (x, y) or (x, y, sample_weight)"),
        (
            {"validation_data": (X[:, :2], NUMBERS)},
            "validation_data[0] has 2 features (columns), but the model takes 3",
        ),
        ({"validation_data": (X, NUMBERS[:5])}, "validation_data[0] has 20 rows, but validation_data[1] has 5 rows"),
        ({"validation_data": (X, NUMBERS, [1.0])}, "validation_data[2] must have shape (20,)"),
        ({"verbose": 3}, "verbose must be 'auto', 0, 1 or 2, got 3"),
        ({"shuffle": "batch"}, "shuffle must be True or False"),
        ({"validation_freq": 0}, "validation_freq must be"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            model.fit(X, NUMBERS, **{"verbose": 0, **options})
    with pytest.raises(TypeError, match="callbacks must be"):
        model.fit(X, NUMBERS, callbacks=[print], verbose=0)
    assert model.network.iterations == 0


def test_smallest_validation_split_takes_one_row():
    model = linear_model()
    history = model.fit(X, NUMBERS, validation_split=0.001, verbose=0).history
    one = model.evaluate(X[19:], NUMBERS[19:], verbose=0)
    assert history["val_loss"] == [pytest.approx(one, rel=1e-6)]


def test_fit_before_compile():
    model = fastnn.Sequential([layers.Dense(1)])
    for method in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
        with pytest.raises(
            RuntimeError, match=re.escape("call model.compile(optimizer=..., loss=...) before " + method)
        ):
            getattr(model, method)(X, NUMBERS)
    model.compile("adam")
    with pytest.raises(RuntimeError, match="fit needs a loss"):
        model.fit(X, NUMBERS)


def test_unknown_names_list_the_known_ones_and_the_nearest():
    for make, message in (
        (
            lambda: layers.Dense(1, activation="rleu"),
            r"unknown activation 'rleu'. Did you mean 'relu'\? Known: elu, .*tanh",
        ),
        (lambda: layers.Dense(1, kernel_initializer="he_norml"), r"Did you mean 'he_normal'\?"),
        (
            lambda: linear_model("mean_square_error"),
            r"unknown loss .*Did you mean 'mean_squared_error'\? Known: binary_",
        ),
        (
            lambda: fastnn.Sequential().compile("addam"),
            r"unknown optimizer 'addam'. Did you mean 'adam'\? Known: adadelta, adagrad, adam,",
        ),
        (
            lambda: fastnn.Sequential().compile("adam", "mse", metrics=["acuracy"]),
            r"metric 'acuracy'. Did you mean 'accuracy'\?",
        ),
        (
            lambda: fastnn.losses.Huber(reduction="average"),
            r"reduction must be 'sum_over_batch_size', .* or None, got 'average'",
        ),
        (lambda: fastnn.initializers.VarianceScaling(mode="fan_inn"), r"Did you mean 'fan_in'\?"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_what_is_not_a_number_is_answered_with_its_conversion():
    model = fastnn.Sequential([fastnn.layers.Dense(1)])
    text = np.array([["1.5", "2"], ["3", "4e-1"]])
    for given, advice in (
        (text, r"the text holds numbers: convert it with x\.astype\(float\)"),
        (text.astype(object), r"the text holds numbers: convert it with x\.astype\(float\)"),
        (np.array([["2024-01-05", "2024-02-01"]]), r"pandas\.to_datetime"),
        (np.array([["2024-01-05", "2024-02-01"]], "datetime64[D]"), r"numpy\.timedelta64\(1, 'D'\)"),
        (np.array([["1.5", "red"]]), r"one-hot columns .* fastnn\.MLPClassifier and MLPRegressor"),
        (np.array([[1.5, None]], object), r"fill in what is missing"),
    ):
        with pytest.raises(ValueError, match=f"^x must be real numbers.*{advice}") as raised:
            model.predict(given)
        assert "unique" not in str(raised.value)


def test_masked_entries_are_refused_at_every_door():
    pytest.importorskip("sklearn")
    masked = np.ma.masked_equal(np.array([[1.0, -999.0, 3.0]], np.float32), -999.0)
    model, row = linear_model(), masked.filled(0.0)
    regressor = fastnn.MLPRegressor(max_iter=2, tol=10.0, random_state=0).fit(np.tile(X[:9], 1), X[:9, 0])
    doors = (
        lambda: model(masked),
        lambda: model.predict([masked[0], masked[0]]),
        lambda: fastnn.data.source(masked),
        lambda: fastnn.data.source(row, masked[:, 0:2]),
        lambda: fastnn.layers.Dense(1, kernel_initializer=fastnn.initializers.Constant(masked.T)),
        lambda: model.predict(masked),
        lambda: model.network.predict(masked),
        lambda: fastnn.ops.dense_forward(masked, np.ones((3, 1))),
        lambda: fastnn.ops.activation("relu", masked),
        lambda: fastnn.ops.loss("mean_squared_error", masked, row),
        lambda: fastnn.losses.MeanSquaredError()(row, masked),
        lambda: regressor.predict(masked),
        lambda: regressor.fit(np.tile(row, (9, 1)), np.ma.masked_equal(np.arange(9.0), 3.0)),
    )
    for door in doors:
        with pytest.raises(ValueError, match="has masked entries"):
            door()
    assert np.array_equal(model(np.ma.masked_equal(row, -1.0)), model(row))


def test_sizes_are_looked_at_before_values():
    """A view of one row can have more rows than the memory has bytes."""
    pytest.importorskip("sklearn")
    rows, model = np.broadcast_to(X[:1].astype(np.float32), (2**44, 3)), linear_model()
    regressor = fastnn.MLPRegressor(max_iter=2, tol=10.0, random_state=0).fit(X[:9], X[:9, 0])
    for call in (model, model.predict, regressor.predict, lambda x: model.fit(x, x, verbose=0)):
        with pytest.raises(MemoryError):
            call(rows)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("batch_size", lambda n: linear_model().fit(X, NUMBERS, batch_size=n, verbose=0)),
        ("epochs", lambda n: linear_model().fit(X, NUMBERS, epochs=n, verbose=0)),
        ("steps", lambda n: linear_model().predict(X, steps=n)),
        ("units", lambda n: layers.Dense(n)),
        ("the product of the sizes of shape", lambda n: fastnn.Input((n // 2, 4))),
        ("n_features", lambda n: fastnn.Sequential([layers.Dense(1)]).build((None, n))),
        ("seed", lambda n: fastnn.Sequential([layers.Dense(1)], seed=n)),
        ("each of hidden_layer_sizes", lambda n: fastnn.MLPRegressor(hidden_layer_sizes=(n,)).fit(X, X[:, 0])),
    ],
)
def test_numbers_that_no_memory_holds_are_refused_by_name(name, call):
    if name == "each of hidden_layer_sizes":
        pytest.importorskip("sklearn")
    with pytest.raises(
        ValueError, match=f"^{name} must be a whole number from . to (9223372036854775807|1099511627776), got"
    ):
        call(2**63)


def test_a_path_is_no_array(tmp_path):
    model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(1)])
    for path in ("rows.npy", tmp_path):
        with pytest.raises(ValueError, match=r"x must be real numbers, got .*; fastnn.data.source\(path\) reads"):
            model.predict(path)
