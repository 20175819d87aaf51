"""What the estimators offer beyond scikit-learn's."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import fastnn
from fastnn import MLPClassifier, MLPRegressor, losses, optimizers

RNG = np.random.default_rng(2)
X = RNG.normal(size=(300, 6))
Y = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int) + (X[:, 2] > 1)
NUMBERS = X[:, 0] * 3 + np.abs(X[:, 1]) * 5 + 100 + RNG.normal(size=300)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_class_weights_are_sample_weights():
    weights = {0: 1.0, 1: 2.0, 2: 5.0}
    by_class = MLPClassifier(class_weight=weights, random_state=0, max_iter=5).fit(X, Y)
    by_row = MLPClassifier(random_state=0, max_iter=5).fit(X, Y, np.array([weights[label] for label in Y]))
    np.testing.assert_array_equal(by_class.predict_proba(X), by_row.predict_proba(X))
    balanced = MLPClassifier(class_weight="balanced", random_state=0, max_iter=5).fit(X, Y)
    counts = np.bincount(Y)
    by_row = MLPClassifier(random_state=0, max_iter=5).fit(X, Y, (len(Y) / (3 * counts))[Y])
    np.testing.assert_allclose(balanced.predict_proba(X), by_row.predict_proba(X), rtol=1e-9)


def test_balanced_weights_need_all_rows():
    with pytest.raises(ValueError, match="partial_fit"):
        MLPClassifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.2},
        {"dropout": [0.2, 0.0], "hidden_layer_sizes": (20, 10)},
        {"activation": ["gelu", "tanh"], "hidden_layer_sizes": (20, 10)},
        {"loss": "categorical_focal_crossentropy"},
        {"optimizer": optimizers.AdamW(0.01)},
        {"kernel_initializer": "he_normal", "bias_initializer": "zeros"},
        {"standardize": True},
        {"dtype": "float32"},
    ],
    ids=str,
)
def test_options_learn_and_repeat(options):
    first, second = (MLPClassifier(random_state=0, **options).fit(X, Y) for _ in range(2))
    assert first.score(X, Y) > 0.7
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"activation": "rellu"}, "relu"),
        ({"activation": "logistik"}, "Did you mean 'logistic'"),
        ({"activation": ["relu", "relu"]}, "one per hidden layer"),
        ({"dropout": [1.5]}, "dropout"),
        ({"dtype": "int8"}, "dtype"),
        ({"optimizer": "adamm"}, "adam"),
    ],
    ids=str,
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**options).fit(X, Y)


def test_targets_of_a_regression_are_numbers():
    with pytest.raises(ValueError, match="y must hold numbers, got dtype <U1"):
        MLPRegressor().fit(X, np.full(len(X), "a"))


def test_threads_change_no_bit():
    models = [MLPClassifier(n_threads=n, random_state=0, max_iter=5).fit(X, Y) for n in (1, 2)]
    np.testing.assert_array_equal(models[0].predict_proba(X), models[1].predict_proba(X))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_single_rows_skip_checks_and_change_no_bit(n_classes):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 4))
    y = rng.integers(0, n_classes, 300)
    model = MLPClassifier((8,), max_iter=2, tol=10.0, random_state=0).fit(X, y)
    for method in (model.predict, model.predict_proba, model.predict_log_proba):
        assert np.array_equal(np.concatenate([method(X[i : i + 1]) for i in range(300)]), method(X))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.predict_proba(np.full((1, 4), np.nan))
    with pytest.raises(ValueError, match="X has 3 features"):
        model.predict_proba(X[:1, :3])


def test_validation_rows_of_the_user():
    model = MLPClassifier(random_state=0, max_iter=20).fit(X[50:], Y[50:], validation_data=(X[:50], Y[:50]))
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == len(model.loss_curve_) == 20
    assert model.validation_scores_[-1] == model.score(X[:50], Y[:50])
    expected = -np.log(model.predict_proba(X[:50])[np.arange(50), Y[:50]]).mean()
    assert model.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-6)


def test_partial_fit_keeps_the_best_of_its_validation():
    model = MLPRegressor(early_stopping=True, standardize=True, random_state=0, learning_rate_init=0.05)
    for _ in range(20):
        model.partial_fit(X[50:], NUMBERS[50:], validation_data=(X[:50], NUMBERS[:50]))
    assert len(model.validation_scores_) == 20
    assert model.score(X[:50], NUMBERS[:50]) == pytest.approx(max(model.validation_scores_), abs=1e-9)


def test_fastnn_callbacks_stop_and_change_the_rate():
    stopped = MLPClassifier(
        callbacks=[fastnn.callbacks.EarlyStopping(monitor="loss", patience=0, min_delta=10.0)], random_state=0
    ).fit(X, Y)
    assert stopped.n_iter_ == 2
    slowed = MLPClassifier(
        callbacks=[fastnn.callbacks.LearningRateScheduler(lambda epoch: 0.01 / (epoch + 1))], random_state=0, max_iter=4
    ).fit(X, Y)
    assert slowed._optimizer.learning_rate == pytest.approx(0.0025)


def test_standardised_regression_predicts_in_the_units_of_y():
    scaled = X * [1, 100, 1, 1, 1e4, 1]
    model = MLPRegressor(standardize=True, random_state=0).fit(scaled, NUMBERS)
    assert model.score(scaled, NUMBERS) > 0.9
    by_hand = MLPRegressor(random_state=0).fit(
        (scaled - scaled.mean(0)) / scaled.std(0), (NUMBERS - NUMBERS.mean()) / NUMBERS.std()
    )
    expected = by_hand.predict((scaled - scaled.mean(0)) / scaled.std(0)) * NUMBERS.std() + NUMBERS.mean()
    np.testing.assert_allclose(model.predict(scaled), expected, rtol=1e-7)


def test_missing_values():
    gaps = X.copy()
    gaps[RNG.random(X.shape) < 0.1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        MLPClassifier().fit(gaps, Y)
    filled = np.where(np.isnan(gaps), np.nanmean(gaps, axis=0), gaps)
    expected = MLPClassifier(random_state=0, max_iter=5).fit(filled, Y).predict_proba(filled)
    model = MLPClassifier(missing="mean", random_state=0, max_iter=5).fit(gaps, Y)
    np.testing.assert_allclose(model.predict_proba(gaps), expected, rtol=1e-9)
    assert MLPClassifier(missing="indicator", max_iter=2).fit(gaps, Y).coefs_[0].shape[0] == 12


def test_prediction_intervals_cover():
    model = MLPRegressor("gaussian_nll", standardize=True, random_state=0, max_iter=300).fit(X, NUMBERS)
    lower, upper = model.predict_interval(X, 0.9)
    assert 0.8 < np.mean((lower < NUMBERS) & (NUMBERS < upper)) < 0.97
    mean, deviation = model.predict(X, return_std=True)
    np.testing.assert_allclose(upper - mean, 1.6448536 * deviation, rtol=1e-5)
    high = MLPRegressor(losses.Quantile(0.9), standardize=True, random_state=0, max_iter=300).fit(X, NUMBERS)
    assert 0.83 < np.mean(NUMBERS < high.predict(X)) < 0.97
    with pytest.raises(ValueError, match=r"^predict_interval needs loss='gaussian_nll'"):
        high.predict_interval(X)
    with pytest.raises(ValueError, match=r"^return_std needs loss='gaussian_nll'"):
        high.predict(X, return_std=True)


def test_hidden_outputs_and_input_gradients():
    model = MLPRegressor(hidden_layer_sizes=(8, 4), activation="tanh", random_state=0, max_iter=5).fit(X, NUMBERS)
    hidden = model.hidden_activations(X)
    assert [h.shape for h in hidden] == [(300, 8), (300, 4)]
    np.testing.assert_allclose(hidden[0], np.tanh(X @ model.coefs_[0] + model.intercepts_[0]), rtol=1e-9)
    step = 1e-5 * np.eye(6)
    numeric = np.column_stack([(model.predict(X + e) - model.predict(X - e)) / 2e-5 for e in step])
    np.testing.assert_allclose(model.input_gradients(X), numeric, rtol=1e-5, atol=1e-8)
    assert np.abs(numeric).max() > 1e-3


pandas = pytest.importorskip("pandas")
pytest.importorskip("narwhals")
TABLE = pandas.DataFrame(
    {
        "length": X[:, 0],
        "width": X[:, 1],
        "colour": np.where(X[:, 2] > 1, "red", "blue"),
        "kind": pandas.Categorical(np.where(X[:, 3] > 0, "u", "v")),
        "new": X[:, 4] > 0,
    }
)


@pytest.mark.parametrize("package", ["pandas", "polars", "pyarrow"])
def test_frames(package):
    module = pytest.importorskip(package)
    frames = {
        "pandas": lambda: TABLE,
        "polars": lambda: module.from_pandas(TABLE),
        "pyarrow": lambda: module.Table.from_pandas(TABLE),
    }
    frame = frames[package]()
    model = MLPClassifier(random_state=0, max_iter=5).fit(frame, Y)
    assert list(model.feature_names_in_) == list(TABLE.columns)
    assert model.n_features_in_ == 5
    red, u = TABLE["colour"] == "red", TABLE["kind"] == "u"
    encoded = np.column_stack([X[:, 0], X[:, 1], ~red, red, u, ~u, TABLE["new"]])
    expected = MLPClassifier(random_state=0, max_iter=5).fit(encoded, Y).predict_proba(encoded)
    np.testing.assert_array_equal(model.predict_proba(frame), expected)


@pytest.mark.parametrize(
    "changed, message",
    [
        (TABLE[["width", "length", "colour", "kind", "new"]], "order differs"),
        (TABLE.drop(columns="colour"), r"missing: \['colour'\]"),
        (TABLE.assign(more=1.0), r"not seen in fit: \['more'\]"),
        (TABLE.assign(colour=1.0), "'colour' held categories"),
        (TABLE.assign(length="long"), "'length' held numbers"),
        (X, "must be a frame"),
    ],
)
def test_changed_columns_are_named(changed, message):
    model = MLPClassifier(random_state=0, max_iter=2).fit(TABLE, Y)
    with pytest.raises(ValueError, match=message):
        model.predict(changed)


def test_unknown_categories_are_a_row_of_zeros():
    model = MLPClassifier(random_state=0, max_iter=2).fit(TABLE, Y)
    unknown = TABLE.assign(colour="green")
    assert np.isfinite(model.predict_proba(unknown)).all()
    assert model._encoder.transform(unknown, "", False)[:, 2:4].sum() == 0


def test_columns_named_by_numbers_are_not_kept_as_feature_names():
    model = MLPClassifier(random_state=0, max_iter=2).fit(TABLE, Y)
    numbered = TABLE.set_axis(range(5), axis="columns")
    expected = model.predict_proba(TABLE)
    np.testing.assert_array_equal(model.fit(numbered, Y).predict_proba(numbered), expected)
    assert model.n_features_in_ == 5
    assert not hasattr(model, "feature_names_in_")
    pairs = TABLE.set_axis(pandas.MultiIndex.from_product([["a"], range(5)]), axis="columns")
    np.testing.assert_array_equal(model.fit(pairs, Y).predict_proba(pairs), expected)


def test_either_all_column_names_are_strings_or_none():
    mixed = TABLE.set_axis(["length", "width", 2, 3, 4], axis="columns")
    with pytest.raises(TypeError, match="Feature names are only supported if all input features have string names"):
        MLPClassifier(max_iter=2).fit(mixed, Y)


@pytest.mark.parametrize("options", [{}, {"loss": "poisson"}, {"alpha": 0.5}])
def test_batches_log_the_mean_loss_so_far(options):
    """With a rate of almost 0 every batch of equal rows has the same loss: the mean so far stays what it is."""
    rows = np.tile(np.arange(6.0).reshape(2, 3), (20, 1))
    logs = []

    class Log(fastnn.callbacks.Callback):
        def __deepcopy__(self, memo):
            return self

        def on_train_batch_end(self, batch, logs_of_batch=None):
            logs.append(logs_of_batch["loss"])

    model = MLPRegressor(
        hidden_layer_sizes=(4,),
        batch_size=10,
        max_iter=1,
        learning_rate_init=1e-12,
        shuffle=False,
        random_state=0,
        callbacks=[Log()],
        **options,
    )
    with pytest.warns(UserWarning, match="hasn't converged"):
        model.fit(rows, np.tile([1.0, 2.0], 20))
    assert len(logs) == 4
    assert logs == pytest.approx(4 * [model.loss_], rel=1e-5)
