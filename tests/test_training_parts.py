"""Losses in Python, schedules, regularizers, constraints and optimizer options as users give them."""

import copy
import math
import pickle
import warnings

import numpy as np
import pytest
from same_bits import same_arrays

import fastnn
from fastnn import constraints, layers, losses, optimizers, regularizers
from fastnn.optimizers import schedules

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4))
Y = X @ RNG.normal(size=(4, 2))


def make_model(**dense):
    return fastnn.Sequential([layers.Dense(8, activation="tanh", **dense), layers.Dense(2)], seed=1, dtype="float64")


def train(loss="mse", optimizer="adam", epochs=3, **dense):
    model = make_model(**dense)
    model.compile(optimizer, loss)
    history = model.fit(X, Y, epochs=epochs, batch_size=16, verbose=0).history["loss"]
    return model, history


def mean_squared(y_true, y_pred):
    error = y_pred - y_true
    return float(np.mean(error**2)), 2.0 * error / error.size


# Losses in Python.


def test_a_loss_in_python_trains_as_the_native_one():
    own, own_history = train(mean_squared)
    native, history = train("mse")
    np.testing.assert_allclose(own_history, history, rtol=1e-12)
    for got, expected in zip(own.get_weights(), native.get_weights(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-13)
    assert own.evaluate(X, Y, batch_size=50, verbose=0) == pytest.approx(native.evaluate(X, Y, verbose=0), rel=1e-12)
    assert own.train_on_batch(X, Y) == pytest.approx(native.train_on_batch(X, Y), rel=1e-12)


def test_a_loss_in_python_sees_targets_of_any_width():
    shapes = []

    def first_column(y_true, y_pred):
        shapes.append((y_true.shape, y_pred.shape, y_true.dtype))
        return mean_squared(y_true[:, :2], y_pred)

    model = make_model()
    model.compile("sgd", first_column)
    model.fit(X, np.hstack([Y, Y]), epochs=1, batch_size=32, verbose=0)
    assert shapes == [((32, 4), (32, 2), np.float64), ((18, 4), (18, 2), np.float64)]


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (lambda p: 1.0, TypeError, r"'wrong' must return \(loss, gradient\), got float"),
        (lambda p: (1.0, 2.0, 3.0), TypeError, "got 3 values"),
        (lambda p: (np.ones(2), p), ValueError, "loss that 'wrong' returns must be one number"),
        (lambda p: (1.0, p[:3]), ValueError, r"'wrong' returns must have the shape of y_pred, \(16, 2\)"),
    ],
)
def test_errors_name_the_loss_function(result, error, message):
    def wrong(y_true, y_pred):
        return result(y_pred)

    model = make_model()
    model.compile("sgd", wrong)
    with pytest.raises(error, match=message):
        model.fit(X, Y, batch_size=16, verbose=0)


def test_a_loss_in_python_that_diverges_or_is_weighted():
    model = make_model()
    model.compile("sgd", lambda t, p: (math.nan, p))
    model.build((None, 4))
    before = model.get_weights()
    with pytest.raises(fastnn.DivergenceError):
        model.fit(X, Y, verbose=0)
    assert same_arrays(before, model.get_weights())
    with pytest.raises(ValueError, match="takes no sample_weight"):
        model.fit(X, Y, sample_weight=np.ones(50), verbose=0)


# Losses of fastnn.


def test_gaussian_nll_learns_mean_and_spread():
    x = np.linspace(-1.0, 1.0, 400)[:, None]
    spread = np.where(x < 0.0, 0.1, 0.8)
    y = np.sin(2.0 * x) + spread * RNG.normal(size=x.shape)
    model = fastnn.Sequential([layers.Dense(24, "tanh"), layers.Dense(24, "tanh"), layers.Dense(2)], seed=0)
    model.compile(optimizers.Adam(0.01), losses.GaussianNLL())
    model.fit(x, y, epochs=200, verbose=0)
    found = np.exp(0.5 * model.predict(x)[:, 1])
    assert found[:150].mean() == pytest.approx(0.1, rel=0.5)
    assert found[250:].mean() == pytest.approx(0.8, rel=0.5)
    odd = fastnn.Sequential([layers.Dense(3)])
    odd.compile("adam", "gaussian_nll")
    with pytest.raises(ValueError, match="two outputs per target"):
        odd.fit(x, y, verbose=0)


def test_quantile_of_a_constant_model_is_the_quantile():
    y = RNG.exponential(size=(1001, 1))
    for q in (0.1, 0.5, 0.9):
        model = fastnn.Sequential([layers.Dense(1)], seed=0, dtype="float64")
        model.compile(optimizers.SGD(schedules.PolynomialDecay(0.5, 600, 1e-4)), losses.Quantile(q))
        model.fit(np.zeros((1001, 1)), y, epochs=600, batch_size=1001, verbose=0)
        assert model.get_weights()[1][0] == pytest.approx(np.quantile(y, q), abs=0.02)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.Quantile(1.0), "q must be a number greater than 0 and less than 1"),
        (lambda: losses.get(losses.MeanSquaredError(reduction="none")), "a loss per row, which cannot be trained on"),
        (lambda: make_model().compile("adam", losses.Dice(reduction=None)), "a loss per row"),
        (lambda: losses.BinaryFocalCrossentropy(alpha=2.0), "alpha must be a number between 0 and 1"),
        (lambda: losses.CategoricalFocalCrossentropy(gamma=-1.0), "gamma must be a finite number of at least 0"),
        (
            lambda: losses.CategoricalFocalCrossentropy([0.1, -1.0]),
            "each number in alpha must be a finite number of at least 0",
        ),
        (lambda: losses.CategoricalFocalCrossentropy([[0.1], [1.0]]), "alpha must be a finite number of at least 0"),
        (lambda: losses.CategoricalFocalCrossentropy(math.inf), "alpha must be a finite number of at least 0"),
        (lambda: losses.CosineSimilarity(axis=0), "axis must be -1"),
        (lambda: losses.get("mean_absolute_percentag_error"), "mean_absolute_percentage_error"),
        (lambda: regularizers.L2(-1.0), "l2 must be a finite number of at least 0"),
        (lambda: regularizers.get("l3"), "unknown regularizer 'l3'"),
        (lambda: layers.Dense(2, kernel_initializer="one"), "kernel_initializer: unknown initializer 'one'.*'ones'"),
        (lambda: layers.Dense(2, bias_initializer="zero"), "bias_initializer: unknown initializer 'zero'"),
        (lambda: layers.Dense(2, bias_regularizer="l3"), "bias_regularizer: unknown regularizer 'l3'"),
        (lambda: layers.Dense(2, activity_regularizer="l3"), "activity_regularizer: unknown regularizer 'l3'"),
        (lambda: layers.Dense(2, kernel_constraint="norm"), "kernel_constraint: unknown constraint 'norm'"),
        (lambda: layers.BatchNormalization(gamma_initializer="one"), "gamma_initializer: unknown initializer 'one'"),
        (lambda: layers.Embedding(3, 2, embeddings_constraint="norm"), "embeddings_constraint: unknown constraint"),
        (lambda: constraints.MaxNorm(0.0), "max_value must be a finite number greater than 0"),
        (lambda: constraints.UnitNorm(axis=2), r"axis must be 0, 1 or \(0, 1\)"),
        (lambda: layers.Dense(2, bias_constraint=constraints.UnitNorm(axis=1)), "a bias has one axis"),
        (lambda: optimizers.Adam(clipnorm=1.0, clipvalue=1.0), "only one of clipnorm, clipvalue and global_clipnorm"),
        (lambda: optimizers.Adam(gradient_accumulation_steps=1), "gradient_accumulation_steps must be a whole number"),
        (lambda: optimizers.Adam(use_ema=True, ema_momentum=1.5), "ema_momentum must be a number between 0 and 1"),
        (lambda: optimizers.Lion(beta_1=0.0), "beta_1 must be a number greater than 0 and at most 1"),
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), "decay_steps must be a finite number greater than 0"),
        (lambda: schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2]), "values must be one more than boundaries"),
        (lambda: optimizers.SGD(lambda step: -1.0), "must be a finite number of at least 0"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Schedules.


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # step: rate
        (schedules.ExponentialDecay(0.1, 10, 0.5), {0: 0.1, 5: 0.1 * 0.5**0.5, 10: 0.05, 30: 0.0125}),
        (schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True), {0: 0.1, 9: 0.1, 10: 0.05, 29: 0.025}),
        (schedules.InverseTimeDecay(0.1, 10, 0.5), {0: 0.1, 10: 0.1 / 1.5, 40: 0.1 / 3.0}),
        (schedules.InverseTimeDecay(0.1, 10, 0.5, staircase=True), {9: 0.1, 15: 0.1 / 1.5}),
        (schedules.PiecewiseConstantDecay([5, 10], [1.0, 0.5, 0.1]), {0: 1.0, 5: 1.0, 6: 0.5, 10: 0.5, 11: 0.1}),
        (schedules.PolynomialDecay(0.1, 10, 0.02), {0: 0.1, 5: 0.06, 10: 0.02, 99: 0.02}),
        (schedules.PolynomialDecay(0.1, 10, 0.02, power=2.0), {5: 0.04}),
        (schedules.PolynomialDecay(0.1, 10, 0.0, cycle=True), {0: 0.1, 10: 0.0, 15: 0.025, 20: 0.0}),
        (schedules.CosineDecay(0.1, 10, alpha=0.2), {0: 0.1, 5: 0.06, 10: 0.02, 50: 0.02}),
        (
            schedules.CosineDecay(0.0, 10, warmup_target=0.1, warmup_steps=4),
            {0: 0.0, 1: 0.025, 4: 0.1, 9: 0.05, 14: 0.0, 20: 0.0},
        ),
        (schedules.CosineDecayRestarts(0.1, 4), {0: 0.1, 2: 0.05, 4: 0.1, 8: 0.05, 12: 0.1}),
        (schedules.CosineDecayRestarts(0.1, 4, t_mul=1.0, m_mul=0.5), {2: 0.05, 4: 0.05, 6: 0.025, 8: 0.025}),
        (
            schedules.OneCycle(1.0, 10, rise=0.4, start_factor=10.0, end_factor=100.0),
            {0: 0.1, 2: 0.55, 4: 1.0, 10: 0.001, 99: 0.001},
        ),
    ],
)
def test_schedules_give_hand_values_and_survive_their_config(schedule, expected):
    steps = np.array(list(expected))
    np.testing.assert_allclose(schedule(steps), list(expected.values()), rtol=1e-12, atol=1e-15)
    for step, rate in expected.items():
        assert schedule(step) == pytest.approx(rate, rel=1e-12, abs=1e-15)
    again = type(schedule).from_config(schedule.get_config())
    assert again.get_config() == schedule.get_config()
    optimizer = optimizers.Adam(schedule)
    copy = optimizers.Adam.from_config(optimizer.get_config())
    assert copy.learning_rates(2, 20).tolist() == optimizer.learning_rates(2, 20).tolist()


def test_schedules_count_updates_over_epochs_and_fits():
    class Halving(schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1 * 0.5**step

    by_class, _ = train(optimizer=optimizers.SGD(Halving()))
    by_function, _ = train(optimizer=optimizers.SGD(lambda step: 0.1 * 0.5**step))
    by_name, _ = train(optimizer=optimizers.SGD(schedules.ExponentialDecay(0.1, 1, 0.5)))
    assert by_class.optimizer.learning_rate == 0.1 * 0.5**12
    parts = make_model()
    parts.compile(optimizers.SGD(schedules.ExponentialDecay(0.1, 1, 0.5)), "mse")
    for epoch in range(3):
        parts.fit(X, Y, initial_epoch=epoch, epochs=epoch + 1, batch_size=16, verbose=0)
    for model in (by_function, by_name, parts):
        for got, expected in zip(model.get_weights(), by_class.get_weights(), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_a_number_cannot_replace_a_schedule():
    optimizer = optimizers.SGD(schedules.ExponentialDecay(0.1, 1, 0.5))
    with pytest.raises(TypeError, match="follows ExponentialDecay"):
        optimizer.learning_rate = 0.1
    assert optimizers.SGD(lambda: 0.25).learning_rate == 0.25


# Around the update: decay, averages, constraints.


def test_weight_decay_skips_what_is_excluded():
    optimizer = optimizers.AdamW(0.01, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias", "last/kernel"])
    model = fastnn.Sequential([layers.Dense(3, name="first"), layers.Dense(2, name="last")], seed=0)
    model.compile(optimizer, "mse")
    x = np.zeros((8, 4))
    model.build((None, 4))
    model.set_weights([np.ones_like(w) for w in model.get_weights()])
    model.fit(x, np.full((8, 2), 4.0), batch_size=8, verbose=0)  # the outputs are right, so there is no gradient
    weights = model.get_weights()
    np.testing.assert_allclose(weights[0], 1.0 - 0.01 * 0.5, rtol=1e-6)
    assert all((w == 1.0).all() for w in weights[1:])


@pytest.mark.parametrize(
    ("patterns", "excluded"),
    [
        (["bias|gamma"], {"a/bias", "a/gamma"}),
        (["(bias|gamma)$", "kernel"], {"a/bias", "a/gamma", "a/kernel"}),
        (["a/(bias", "gamma)"], {"a/bias", "a/gamma"}),  # as model files of earlier versions hold the first one
        (["[[b]i", "gamm[a||]"], {"a/bias", "a/gamma"}),
        (["a.bias"], {"a/bias"}),
    ],
)
def test_patterns_of_weights_without_decay_are_expressions_that_survive_their_config(patterns, excluded, tmp_path):
    optimizer = optimizers.AdamW()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.exclude_from_weight_decay(var_names=patterns)
        assert optimizer.get_config()["excluded_from_weight_decay"] == patterns
        model = fastnn.Sequential([fastnn.Input((2,)), layers.Dense(1)])
        model.compile(optimizer, "mse")
        model.save(tmp_path / "m.safetensors")
        again = fastnn.load_model(tmp_path / "m.safetensors").optimizer
        for each in (optimizer, optimizers.AdamW.from_config(optimizer.get_config()), copy.deepcopy(optimizer), again):
            assert {p for p in ("a/bias", "a/gamma", "a/kernel") if not each.decays(p)} == excluded


def test_paths_of_weights_without_decay_are_literal():
    model = fastnn.Sequential([fastnn.Input((2,)), layers.Dense(1, name="a|b.c")])
    optimizer = optimizers.AdamW()
    optimizer.exclude_from_weight_decay([model.layers[0].bias])
    for each in (optimizer, optimizers.AdamW.from_config(optimizer.get_config())):
        assert [each.decays(path) for path in ("a|b.c/bias", "a", "a|bxc/bias", "xa|b.c/bias", "b.c/bias")] == [
            False, True, True, True, True,
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        ("bias", TypeError, "var_names must be a list of strings, got 'bias'"),
        ([3], TypeError, r"var_names must be a list of strings, got \[3\]"),
        (["("], ValueError, r"var_names must be regular expressions, got \['\('\]: missing \)"),
    ],
)
def test_wrong_patterns_change_nothing(names, kind, message):
    optimizer = optimizers.AdamW()
    optimizer.exclude_from_weight_decay(var_names=["gamma"])
    with pytest.raises(kind, match=message):
        optimizer.exclude_from_weight_decay(var_names=names)
    assert optimizer.get_config()["excluded_from_weight_decay"] == ["gamma"]


def test_an_optimizer_counts_the_updates_of_its_model(tmp_path):
    x = np.ones((6, 2))
    optimizer = optimizers.SGD(0.1)
    assert optimizer.iterations == 0
    model = fastnn.Sequential([layers.Dense(1)], seed=0)
    model.compile(optimizer, "mse")
    assert optimizer.iterations == 0
    seen = []
    watch = fastnn.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(optimizer.iterations))
    model.fit(x, x[:, 0], batch_size=2, epochs=2, verbose=0, callbacks=[watch])
    assert seen == [1, 2, 3, 4, 5, 6] and optimizer.iterations == 6
    for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert copied.iterations == 0 and copied.get_config() == optimizer.get_config()
    model.save(tmp_path / "m.safetensors")
    assert fastnn.load_model(tmp_path / "m.safetensors").optimizer.iterations == 6
    model.compile("adam", "mse")
    assert optimizer.iterations == model.optimizer.iterations == 0
    model.compile(optimizer, "mse")
    del model
    assert optimizer.iterations == 0
    with pytest.raises(AttributeError, match=r"model\.save writes them"):
        _ = optimizer.variables


def test_an_average_replaces_the_weights_at_the_end_of_fit():
    plain, _ = train(optimizer=optimizers.SGD(0.05), epochs=1)
    averaged, _ = train(optimizer=optimizers.SGD(0.05, use_ema=True, ema_momentum=0.0), epochs=1)
    slow, _ = train(optimizer=optimizers.SGD(0.05, use_ema=True, ema_momentum=1.0), epochs=1)
    for a, b, c in zip(plain.get_weights(), averaged.get_weights(), slow.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()  # momentum 1 keeps the weights after the first update


def test_constraints_hold_after_fit_and_penalties_shrink():
    model, _ = train(kernel_constraint=constraints.MaxNorm(0.3), bias_constraint="non_neg", epochs=20)
    kernel, bias = model.get_weights()[:2]
    assert np.linalg.norm(kernel, axis=0).max() <= 0.3
    assert bias.min() >= 0.0
    np.testing.assert_allclose(constraints.MaxNorm(0.3)(kernel), kernel, rtol=1e-6)
    free, _ = train(epochs=20)
    small, _ = train(kernel_regularizer="l2", epochs=20)
    assert np.linalg.norm(small.get_weights()[0]) < np.linalg.norm(free.get_weights()[0])


def test_layers_with_rules_survive_their_config():
    dense = layers.Dense(
        3,
        kernel_regularizer=regularizers.L1L2(0.1, 0.2),
        activity_regularizer="l1",
        kernel_constraint=constraints.MaxNorm(1.0, axis=(0, 1)),
    )
    again = layers.Dense.from_config(dense.get_config())
    assert again.get_config() == dense.get_config()
    assert again.op(2) == dense.op(2)
    for optimizer in (optimizers.Nadam(0.1, clipnorm=1.0), optimizers.Adagrad(initial_accumulator_value=0.5)):
        assert type(optimizer).from_config(optimizer.get_config()).get_config() == optimizer.get_config()


# Other names that scripts written for Keras use.


def test_functions_of_keras_ops_are_those_of_numpy():
    ops = fastnn.ops
    assert ops.mean([[1.0, 3.0], [2.0, 6.0]], axis=-1).tolist() == [2.0, 4.0]
    assert ops.cast([0.2, 1.7], "int32").tolist() == [0, 1]
    assert ops.cast(np.array([2.0, 0.0]) > 1.0, "float32").dtype == np.float32
    assert ops.convert_to_tensor([1, 2], "float32").dtype == np.float32
    assert ops.norm(np.array([3.0, 4.0])) == 5.0
    with pytest.raises(AttributeError, match=r"'fastnn\.ops' has no attribute 'conv'"):
        _ = ops.conv
    assert fastnn.backend.epsilon() == 1e-7
    assert fastnn.Sequential([layers.Dense(1)]).dtype == fastnn.backend.floatx()

    def rmse(y_true, y_pred):
        return ops.sqrt(ops.mean(ops.square(y_pred - y_true)))

    model = make_model()
    model.compile("sgd", "mse", metrics=[rmse])
    loss, root = model.evaluate(X, Y, verbose=0)
    assert root == pytest.approx(math.sqrt(loss), rel=1e-12)


def test_a_sequential_is_a_model_and_other_models_are_graphs():
    assert isinstance(make_model(), fastnn.Model)
    assert fastnn.models.Model is fastnn.Model
    with pytest.raises(ValueError, match=r"^outputs must be symbolic tensors: .* got None"):
        fastnn.Model(inputs=fastnn.Input((3,)), outputs=None)
    with pytest.raises(TypeError, match=r"no Model subclassing: .* fastnn.Model\(inputs=..., outputs=...\)"):
        fastnn.Model()

    with pytest.raises(TypeError, match=r"Own cannot derive from Model directly: .* no Model subclassing"):

        class Own(fastnn.Model):
            """A model that would define its layers and call."""


def test_metrics_may_be_a_list_for_the_one_output():
    model = make_model()
    model.compile("sgd", ["mse"], metrics=[["mae", "mse"]])
    assert model.metrics_names == ["loss", "mae", "mse"]
    assert model.reset_metrics() is None


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Nadam", "Adamax", "SGD", "RMSprop", "Adagrad", "Adadelta", "Lion"])
def test_an_unknown_argument_of_an_optimizer_names_the_optimizer_and_what_it_takes(name):
    optimizer = getattr(optimizers, name)
    with pytest.raises(TypeError, match=rf"^{name}\(\) got .* argument 'lr'\. Did you mean 'learning_rate'\?"):
        optimizer(lr=0.1)
    with pytest.raises(TypeError, match=rf"^{name}\(\) got .* 'clip_norm'\. Did you mean 'clipnorm'\?") as raised:
        optimizer(clip_norm=0.1)
    beside_keras = ["corrects_epsilon"] if name.startswith("Adam") and name != "Adamax" else []  # only where it is on
    arguments = [*optimizer().get_config(), *beside_keras]
    assert sorted(str(raised.value).split("Its arguments: ")[1].split(", ")) == sorted(arguments)
