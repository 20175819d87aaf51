"""The model: building, training, prediction, weights, and results that do not depend on how it is called."""

import numpy as np
import pytest
from same_bits import same_arrays, same_weights
from sample_models import relu_model

import fastnn
from fastnn import layers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 4)).astype(np.float32)
Y = np.stack([X[:, 0] - X[:, 1], np.sin(X[:, 2])], axis=1)


# Building


def test_sizes_come_from_input_arguments_or_data():
    stated = relu_model()
    shape = fastnn.Sequential([layers.Dense(7, activation="relu", input_shape=(4,)), layers.Dense(2)], seed=3)
    dim = fastnn.Sequential([layers.Dense(7, activation="relu", input_dim=4), layers.Dense(2)], seed=3)
    built = fastnn.Sequential([layers.Dense(7, activation="relu"), layers.Dense(2)], seed=3)
    built.build((None, 4))
    data = fastnn.Sequential([layers.Dense(7, activation="relu"), layers.Dense(2)], seed=3)
    called = fastnn.Sequential([layers.Dense(7, activation="relu"), layers.Dense(2)], seed=3)
    assert not data.built
    data.predict(X)
    called(X[:1])
    one_by_one = fastnn.Sequential(seed=3)
    one_by_one.add(fastnn.Input(shape=(4,)))
    one_by_one.add(layers.Dense(7, activation="relu"))
    one_by_one.add(layers.Dense(2))
    for model in (shape, dim, built, data, called, one_by_one):
        assert model.built
        assert model.input_shape == (None, 4) and model.output_shape == (None, 2)
        assert same_weights(stated, model)


def test_an_unbuilt_model_says_so():
    model = fastnn.Sequential([layers.Dense(2)])
    for ask in (model.get_weights, model.count_params, lambda: model.output_shape, lambda: model.set_weights([])):
        with pytest.raises(ValueError, match="not built"):
            ask()
    with pytest.raises(ValueError, match="no weights yet"):
        _ = model.layers[0].kernel


def test_a_model_without_anything_to_compute_is_refused():
    for model in (fastnn.Sequential(), fastnn.Sequential([fastnn.Input((4,))]), fastnn.Sequential([layers.Flatten()])):
        with pytest.raises(ValueError, match="no layer"):
            model.predict(X)


def test_layers_that_cannot_follow_each_other():
    for stack, message in (
        ([layers.Dense(3), fastnn.Input((3,))], "Input must come first, but layer 1"),
        (
            [fastnn.Input((4,)), layers.Dense(3), layers.Dense(2, input_shape=(5,))],
            r"\(5,\), but the layer .* 3 outputs",
        ),
        ([fastnn.Input((28, 28)), layers.Dense(3)], "put a Flatten layer first"),
        ([layers.Dense(3, input_shape=(2, 2))], "put a Flatten layer first"),
        ([layers.Dense(3, name="a"), layers.Dense(3, name="a")], "two layers are called 'a'"),
    ):
        with pytest.raises(ValueError, match=message):
            fastnn.Sequential(stack)
    for wrong in ("dense", 3, None):
        with pytest.raises(TypeError, match="takes layers"):
            fastnn.Sequential([wrong])
    with pytest.raises(TypeError, match=r"make an object of it"):
        fastnn.Sequential([layers.Flatten])
    with pytest.raises(TypeError, match="must be a list of layers"):
        fastnn.Sequential(layers.Dense(1))


def test_a_layer_belongs_to_one_model():
    model = relu_model()
    with pytest.raises(ValueError, match="belongs to model"):
        fastnn.Sequential([model.layers[0]])
    layer = model.pop()
    fastnn.Sequential([layer])


def test_flatten_takes_rows_of_any_shape():
    images = RNG.normal(size=(30, 2, 3)).astype(np.float32)
    flat = fastnn.Sequential([fastnn.Input((2, 3)), layers.Flatten(), layers.Dense(2)], seed=0)
    free = fastnn.Sequential([layers.Flatten(input_shape=(2, 3)), layers.Dense(2)], seed=0)
    data = fastnn.Sequential([layers.Flatten(), layers.Dense(2)], seed=0)
    expected = images.reshape(30, 6) @ flat.layers[1].kernel
    for model in (flat, free, data):
        model.compile("sgd", "mse")
        np.testing.assert_allclose(model.predict(images), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(model(images), model.predict(images))
    with pytest.raises(ValueError, match=r"rows of shape \(3, 2\), but the model takes rows of \(2, 3\)"):
        flat.predict(images.reshape(30, 3, 2))
    with pytest.raises(ValueError, match=r"must have shape"):
        relu_model(n_in=6).predict(images)


def test_add_and_pop_keep_the_weights():
    model = relu_model()
    model.fit(X, Y, verbose=0)
    first, second = model.layers
    kernel, top = first.kernel.numpy(), second.get_weights()
    assert model.pop() is second
    assert model.output_shape == (None, 7)
    np.testing.assert_array_equal(first.kernel, kernel)
    model.add(second)
    np.testing.assert_array_equal(model.get_weights()[0], kernel)
    np.testing.assert_array_equal(model.get_weights()[2], top[0])
    model.fit(X, Y, verbose=0)
    empty = fastnn.Sequential()
    with pytest.raises(ValueError, match="no layers to remove"):
        empty.pop()


def test_dtype_and_seed_are_checked():
    for dtype in ("float16", "int32", "no such type"):
        with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64'"):
            fastnn.Sequential(dtype=dtype)
    for seed in (-1, 1.5, "a", 1 << 63):
        with pytest.raises(ValueError, match="seed must be"):
            fastnn.Sequential(seed=seed)
    model = relu_model(dtype="float64")
    assert model.predict(X).dtype == np.float64 and model.get_weights()[0].dtype == np.float64


def test_seeds():
    assert same_weights(relu_model(seed=5), relu_model(seed=5))
    assert not same_weights(relu_model(seed=5), relu_model(seed=6))
    assert relu_model(seed=None).seed != relu_model(seed=None).seed
    drawn = relu_model(seed=None)
    assert same_weights(drawn, relu_model(seed=drawn.seed))
    fastnn.utils.set_random_seed(11)
    first = [relu_model(seed=None), relu_model(seed=None)]
    fastnn.utils.set_random_seed(11)
    second = [relu_model(seed=None), relu_model(seed=None)]
    fastnn._randomness.set_global_seed(None)
    assert same_weights(first[0], second[0]) and same_weights(first[1], second[1])
    assert not same_weights(*first)


# Weights


def test_weights_are_copies_in_keras_order():
    model = relu_model()
    weights = model.get_weights()
    assert [weight.shape for weight in weights] == [(4, 7), (7,), (7, 2), (2,)]
    assert model.count_params() == 4 * 7 + 7 + 7 * 2 + 2
    weights[0][:] = 0.0
    assert model.get_weights()[0].any()
    new = [RNG.normal(size=weight.shape) for weight in weights]
    model.set_weights(new)
    hidden = np.maximum(X @ new[0] + new[1], 0.0)
    np.testing.assert_allclose(model.predict(X), hidden @ new[2] + new[3], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.layers[1].bias, new[3].astype(np.float32))
    model.layers[0].set_weights([np.zeros((4, 7)), np.ones(7)])
    np.testing.assert_allclose(model.predict(X), np.tile(new[2].sum(axis=0) + new[3], (70, 1)), rtol=1e-5)


def test_bad_weights_change_nothing():
    model = relu_model()
    before = model.get_weights()
    for wrong, message in (
        (before[:3], "has 4 weight arrays, got 3"),
        ([*before[:3], np.zeros(3)], r"bias of layer .* has shape \(2,\), got \(3,\)"),
        ([np.zeros((7, 4)), *before[1:]], r"kernel of layer .* has shape \(4, 7\), got \(7, 4\)"),
        ([*before[:3], np.array(["a", "b"])], "must be real numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            model.set_weights(wrong)
        assert same_arrays(before, model.get_weights())


def test_summary():
    lines = []
    model = relu_model(layers.Dropout(0.5, name="drop"), name="net")
    model.summary(print_fn=lines.append)
    table = lines[0]
    assert 'Model: "net"' in table
    assert [line.split() for line in table.splitlines() if "drop" in line] == [
        ["drop", "(Dropout)", "(None,", "7)", "0"]
    ]
    assert "Total params: 51" in table
    fastnn.Sequential([layers.Dense(1)]).summary(print_fn=lines.append)
    assert "?" in lines[1] and "not built" in lines[1]


# Training


def test_history_and_returns():
    model = relu_model(metrics=["mae", "rmse"])
    history = model.fit(X, Y, epochs=3, validation_split=0.2, verbose=0)
    assert history is model.history
    assert history.epoch == [0, 1, 2]
    assert list(history.history) == ["loss", "mae", "rmse", "val_loss", "val_mae", "val_rmse"]
    assert all(len(values) == 3 and all(type(v) is float for v in values) for values in history.history.values())
    results = model.evaluate(X[56:], Y[56:], verbose=0)
    assert results == [history.history[key][-1] for key in ("val_loss", "val_mae", "val_rmse")]
    assert model.evaluate(X[56:], Y[56:], verbose=0, return_dict=True) == dict(
        zip(model.metrics_names, results, strict=True)
    )
    assert isinstance(relu_model().evaluate(X, Y, verbose=0), float)
    later = model.fit(X, Y, epochs=5, initial_epoch=3, verbose=0)
    assert later.epoch == [3, 4]
    assert model.fit(X, Y, epochs=3, initial_epoch=3, verbose=0).history == {}


def test_loss_of_an_epoch_is_the_mean_over_rows():
    model = relu_model(optimizer=fastnn.optimizers.SGD(0.0))
    history = model.fit(X, Y, batch_size=32, verbose=0).history
    expected = np.mean(np.square(model.predict(X).astype(np.float64) - Y))
    assert history["loss"][0] == pytest.approx(expected, rel=1e-6)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(expected, rel=1e-6)


def test_validation_frequency():
    model = relu_model()
    history = model.fit(X, Y, epochs=5, validation_data=(X, Y), validation_freq=2, verbose=0).history
    assert len(history["loss"]) == 5 and len(history["val_loss"]) == 2
    history = model.fit(X, Y, epochs=5, validation_data=(X, Y), validation_freq=[1, 2, 5], verbose=0).history
    assert len(history["val_loss"]) == 3


def test_shuffling_changes_the_order_and_nothing_else():
    plain, shuffled = relu_model(), relu_model()
    plain.fit(X, Y, shuffle=False, verbose=0)
    shuffled.fit(X, Y, shuffle=True, verbose=0)
    assert not same_weights(plain, shuffled)
    still = relu_model(optimizer=fastnn.optimizers.SGD(0.0), metrics=["mae"])
    a = still.fit(X, Y, shuffle=True, verbose=0).history
    b = still.fit(X, Y, shuffle=False, verbose=0).history
    # Training metrics use predictions in the original order of rows.
    assert a["mae"] == b["mae"]
    # Every epoch has its own order, across calls of fit too.
    once, twice = relu_model(), relu_model()
    once.fit(X, Y, epochs=2, verbose=0)
    twice.fit(X, Y, verbose=0)
    twice.fit(X, Y, verbose=0)
    assert same_weights(once, twice)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_change_no_bit(dtype):
    models = []
    for n in (1, 2, 3, 4, 8):
        with fastnn.threads(n):
            model = relu_model(layers.Dropout(0.3), dtype=dtype, metrics=["mae"])
            model.fit(np.tile(X, (8, 1)), np.tile(Y, (8, 1)), epochs=4, batch_size=64, verbose=0)
            models.append(model)
    assert all(same_weights(models[0], model) for model in models[1:])
    assert all(models[0].history.history == model.history.history for model in models[1:])


def test_prediction_does_not_depend_on_other_rows():
    model = relu_model()
    whole = model.predict(X)
    for i in range(70):
        np.testing.assert_array_equal(model.predict(X[i : i + 1])[0], whole[i])
        np.testing.assert_array_equal(model(X[i : i + 1])[0], whole[i])
    np.testing.assert_array_equal(model.predict(X[::-1])[::-1], whole)
    np.testing.assert_array_equal(model.predict(X, batch_size=7), whole)


def test_calling_the_model():
    model = relu_model()
    out = np.empty((70, 2), np.float32)
    assert model(X, out) is out
    np.testing.assert_array_equal(out, model.predict(X))
    np.testing.assert_array_equal(model(X.tolist()), out)
    np.testing.assert_array_equal(model(X, training=False), out)
    with pytest.raises(ValueError, match="training=True is not supported"):
        model(X, training=True)
    with pytest.raises(ValueError, match="out must"):
        model(X, np.empty((70, 3), np.float32))


def test_train_on_batch_is_one_step():
    a, b = relu_model(metrics=["mae"]), relu_model(metrics=["mae"])
    history = a.fit(X, Y, batch_size=70, shuffle=False, verbose=0).history
    assert b.train_on_batch(X, Y) == [history["loss"][0], history["mae"][0]]
    assert same_weights(a, b)
    assert b.test_on_batch(X, Y) == b.evaluate(X, Y, verbose=0)
    assert b.train_on_batch(X, Y, return_dict=True).keys() == {"loss", "mae"}
    assert b.network.iterations == 2


def test_train_on_batch_draws_new_dropout_masks():
    model = relu_model(layers.Dropout(0.5), optimizer=fastnn.optimizers.SGD(0.0))
    assert len({model.train_on_batch(X, Y) for _ in range(5)}) == 5


def test_dropout_only_acts_in_training():
    model = relu_model(layers.Dropout(0.5), optimizer=fastnn.optimizers.SGD(0.0))
    plain = relu_model(optimizer=fastnn.optimizers.SGD(0.0))
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    assert model.evaluate(X, Y, verbose=0) == plain.evaluate(X, Y, verbose=0)
    losses = model.fit(X, Y, epochs=3, verbose=0).history["loss"]
    assert len({*losses, plain.evaluate(X, Y, verbose=0)}) == 4
    big = np.ones((20000, 1))
    keep = fastnn.Sequential([layers.Dropout(0.25, input_shape=(1,)), layers.Dense(1)], dtype="float64")
    keep.set_weights([[[1.0]], [0.0]])
    kept = []
    keep.compile(fastnn.optimizers.SGD(0.0), "mse", metrics=[lambda y, p: kept.append(p.copy()) or 0.0])
    keep.fit(big, big, batch_size=1000, verbose=0)
    values, counts = np.unique(kept[0], return_counts=True)
    np.testing.assert_allclose(values, [0.0, 1.0 / 0.75])
    # Binomial: five standard deviations of a fraction of 20000.
    assert abs(counts[0] / 20000 - 0.25) < 5.0 * np.sqrt(0.25 * 0.75 / 20000)


def test_an_activation_layer_is_the_same_as_an_argument():
    a = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(2)], seed=0)
    b = fastnn.Sequential(
        [fastnn.Input((4,)), layers.Dense(6), layers.Activation("tanh"), layers.Activation("linear"), layers.Dense(2)],
        seed=0,
    )
    assert [op for op, _ in b.program.ops] == ["dense", "dense"]
    for model in (a, b):
        model.compile("adam", "mse")
        model.fit(X, Y, verbose=0)
    assert same_weights(a, b)


@pytest.mark.parametrize(
    ("loss", "activation", "units"),
    [
        ("categorical_crossentropy", "softmax", 3),
        ("sparse_categorical_crossentropy", "softmax", 3),
        ("binary_crossentropy", "sigmoid", 1),
    ],
)
def test_cross_entropy_of_a_final_activation_is_computed_from_logits(loss, activation, units):
    labels = np.arange(70) % max(units, 2)
    y = np.eye(3)[labels] if loss == "categorical_crossentropy" else labels
    from_logits = fastnn.losses.get(loss).__class__(from_logits=True)
    models = []
    for last, chosen in ((activation, loss), (None, from_logits)):
        model = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(units, activation=last)], seed=0, dtype="float64")
        model.compile("adam", chosen, metrics=["accuracy"] if last else None)
        model.fit(X, y, epochs=3, verbose=0)
        models.append(model)
    assert same_weights(*models)
    assert models[0].history.history["loss"] == models[1].history.history["loss"]
    first = models[0].evaluate(X, y, verbose=0)[0]
    assert first == pytest.approx(models[1].evaluate(X, y, verbose=0), rel=1e-12)
    # Predictions are probabilities nevertheless.
    assert np.all((models[0].predict(X) > 0.0) & (models[0].predict(X) < 1.0))
    with pytest.warns(UserWarning, match="from_logits=True, but the last layer's activation"):
        models[0].compile("adam", from_logits)
        models[0].fit(X, y, verbose=0)


def test_compiling_again_resets_the_moments():
    model = relu_model()
    model.fit(X, Y, verbose=0)
    assert model.network.iterations == 3
    model.compile("adam", "mae")
    assert model.network.iterations == 0
    before = model.get_weights()
    with pytest.raises(ValueError, match="unknown loss"):
        model.compile("sgd", "no such loss")
    assert model.optimizer.name == "adam"
    assert same_arrays(before, model.get_weights())


def test_keras_import_paths():
    assert fastnn.models.Sequential is fastnn.Sequential
    assert fastnn.layers.Input is fastnn.Input
    for module, names in {
        fastnn.optimizers: "SGD Adam AdamW RMSprop",
        fastnn.losses: "MeanSquaredError MeanAbsoluteError Huber BinaryCrossentropy CategoricalCrossentropy "
        "SparseCategoricalCrossentropy",
        fastnn.callbacks: "Callback History EarlyStopping LearningRateScheduler ReduceLROnPlateau LambdaCallback "
        "TerminateOnNaN ProgbarLogger",
        fastnn.initializers: "GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Zeros Ones Constant "
        "GlorotNormal RandomNormal RandomUniform TruncatedNormal VarianceScaling Orthogonal Identity",
        fastnn.activations: "linear relu leaky_relu tanh sigmoid softmax softplus elu selu gelu silu swish",
        fastnn.layers: "Dense Activation Dropout ReLU LeakyReLU ELU Softmax Flatten Input InputLayer",
        fastnn.utils: "to_categorical set_random_seed normalize",
    }.items():
        for name in names.split():
            assert hasattr(module, name), (module, name)
