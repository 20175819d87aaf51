"""Levenberg-Marquardt, its Bayesian form and L-BFGS: against finite differences, closed solutions and each other."""

import numpy as np
import pytest

import fastnn
from fastnn import layers
from fastnn.optimizers import LBFGS, BayesianLevenbergMarquardt, LevenbergMarquardt
from fastnn.training.jacobian import ResidualNetwork

METHODS = ("lm", "lm_bayes", "lbfgs")


def curve(n=40):
    x = np.linspace(-1.0, 1.0, n)[:, None]
    return x, np.sin(np.pi * x)


def small(seed=0, units=5, dtype="float64", optimizer="lm", loss="mse", **options):
    model = fastnn.Sequential([layers.Dense(units, "tanh"), layers.Dense(1)], dtype=dtype, seed=seed)
    model.compile(optimizer=optimizer, loss=loss, **options)
    return model


def branched():
    """A graph with shared weights, skips, several outputs and a frozen layer."""
    x = fastnn.Input((3,))
    first = layers.Dense(4, "tanh")(layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(x))
    shared = layers.Dense(4, "softplus")
    frozen = layers.Dense(4, "elu", trainable=False)
    once, twice = shared(first), shared(shared(first))
    joined = layers.concatenate([once, twice, frozen(first)])
    heads = [layers.Dense(2, "sigmoid")(joined), 1.0 - layers.Dense(1)(layers.add([twice, once]))]
    return fastnn.Model(x, heads)


def scaled():
    """Layers that are linear after trained ones: scalings, slices, means, products with numbers."""
    x = fastnn.Input((3,))
    adapted = layers.Normalization()
    adapted.adapt(np.random.default_rng(1).normal(size=(50, 4)) * 2.0 + 1.0)
    h = adapted(layers.NTPDense(4, "tanh")(layers.NTPDense(5, "elu")(x)))
    parts = layers.concatenate([h[:, ::2], 3.0 * h[:, -1:], layers.average([h, h[:, 0:1], h / 4.0])])
    last = layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 0.0], invert=True)(layers.Dense(2)(parts))
    return fastnn.Model(x, [last, layers.Rescaling(0.5, 1.0)(layers.Dense(1)(h))])


@pytest.mark.parametrize("make", [branched, scaled])
def test_jacobian_equals_differences(make):
    model, rng = make(), np.random.default_rng(0)
    network = ResidualNetwork(model.program, "a test")
    flat = network.copy_from(model.network)
    flat = flat + 0.3 * rng.normal(size=flat.size)
    X, scale = rng.normal(size=(7, 3)), rng.uniform(0.5, 2.0, (3, 7))
    network.set_weights(flat)
    found = network.jacobian([X], scale).copy()

    def outputs(weights):
        network.set_weights(weights)
        return (np.concatenate([output.T for output in network.outputs([X])]) * scale).ravel()

    for i, step in enumerate(1e-5 * np.eye(flat.size)):
        near, far = (outputs(flat + k * step) - outputs(flat - k * step) for k in (1, 2))
        np.testing.assert_allclose(found[i], (8.0 * near - far) / 12e-5, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("optimizer", ["lm", "lm_bayes"])
def test_targets_in_their_units_by_a_last_layer(optimizer):
    """The last layer undoes the scaling of the targets; the loss is in their units."""
    X, y = curve()
    y = 500.0 + 20.0 * y
    unscale = layers.Normalization(mean=y.mean(), variance=y.var(), invert=True)
    model = fastnn.Sequential([layers.Dense(5, "tanh"), layers.Dense(1), unscale], dtype="float64", seed=0)
    model.compile(optimizer, "mse")
    history = model.fit(X, y, epochs=100, verbose=0).history["loss"]
    assert history[-1] == pytest.approx(model.evaluate(X, y, verbose=0), rel=1e-9)
    assert history[-1] < 1e-4 * y.var()


def test_linear_problem_is_solved():
    rng = np.random.default_rng(1)
    X, weights = rng.normal(size=(50, 4)), rng.uniform(0.2, 3.0, 50)
    y = X @ [1.0, -2.0, 0.5, 3.0] + 0.7 + 0.1 * rng.normal(size=50)
    root, design = np.sqrt(weights), np.column_stack([X, np.ones(50)])
    exact = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]
    for optimizer in ("lm", "lbfgs"):
        model = fastnn.Sequential([layers.Dense(1)], dtype="float64", seed=0)
        model.compile(optimizer=optimizer, loss="mse")
        model.fit(X, y, sample_weight=weights, epochs=60, verbose=0)
        found = np.concatenate([array.ravel() for array in model.get_weights()])
        np.testing.assert_allclose(found, exact, rtol=1e-7, err_msg=optimizer)


def test_equations_in_residuals_give_the_same_step():
    X, y = curve(9)
    rows = [np.tile(a, (4, 1)) for a in (X, y)]  # 36 residuals for 31 weights: the same objective, four times
    few, many = small(units=10, optimizer=LevenbergMarquardt(1e-2)), small(units=10, optimizer=LevenbergMarquardt(4e-2))
    losses = [few.fit(X, y, epochs=1, verbose=0).history["loss"], many.fit(*rows, epochs=1, verbose=0).history["loss"]]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-8)
    for a, b in zip(few.get_weights(), many.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_known_problems(seed):
    X, y = curve()
    assert min(small(seed).fit(X, y, epochs=200, verbose=0).history["loss"]) <= 0.002
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T
    hidden = [layers.Dense(10, "tanh") for _ in range(2)]
    parity = fastnn.Sequential([*hidden, layers.Dense(1)], dtype="float64", seed=seed)
    parity.compile(optimizer="lm", loss="mse")
    assert min(parity.fit(corners, corners.prod(axis=1), epochs=100, verbose=0).history["loss"]) <= 0.001


@pytest.mark.parametrize("optimizer", METHODS)
def test_history_is_that_of_the_weights_after_each_step(optimizer):
    X, y = curve()
    model = small(optimizer=optimizer, metrics=["mae"])
    history = model.fit(X, y, epochs=12, verbose=0, validation_data=(X, y)).history
    assert len(history["loss"]) == 12
    loss, error = model.evaluate(X, y, verbose=0)
    assert history["loss"][-1] == pytest.approx(loss, rel=1e-12)
    assert history["mae"][-1] == pytest.approx(error, rel=1e-12)
    np.testing.assert_allclose(history["loss"], history["val_loss"], rtol=1e-12)
    assert model.optimizer.iterations == 12


@pytest.mark.parametrize("optimizer", METHODS)
def test_bits_do_not_depend_on_threads(optimizer):
    rng = np.random.default_rng(3)
    X, found = rng.normal(size=(700, 6)), []
    for n in (1, 2, 3):
        with fastnn.threads(n):
            model = small(units=12, optimizer=optimizer)
            model.fit(X, np.tanh(X[:, 0] * X[:, 1]), epochs=5, verbose=0)
            found.append(np.concatenate([array.ravel() for array in model.get_weights()]).tobytes())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("optimizer", ["lm", "lm_bayes"])
def test_saved_model_continues_with_the_same_bits(optimizer, tmp_path):
    X, y = curve()
    whole, half = small(optimizer=optimizer), small(optimizer=optimizer)
    whole.fit(X, y, epochs=20, verbose=0)
    half.fit(X, y, epochs=10, verbose=0)
    half.save(tmp_path / "half.fastnn")
    loaded = fastnn.load_model(tmp_path / "half.fastnn")
    assert loaded.optimizer.damping == half.optimizer.damping
    loaded.fit(X, y, epochs=10, verbose=0)
    for a, b in zip(whole.get_weights(), loaded.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()


class Fails(fastnn.callbacks.Callback):
    """Fails after an epoch, once."""

    def __init__(self, epoch):
        super().__init__()
        self.at = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.at:
            raise RuntimeError("stopped")


@pytest.mark.parametrize("optimizer", METHODS)
def test_backup_resumes(optimizer, tmp_path):
    X, y = curve()
    whole = small(optimizer=optimizer)
    losses = whole.fit(X, y, epochs=20, verbose=0).history["loss"]
    for fails in (9, None):
        backup = fastnn.callbacks.BackupAndRestore(tmp_path)
        resumed = small(optimizer=optimizer)
        try:
            found = resumed.fit(X, y, epochs=20, verbose=0, callbacks=[backup, Fails(fails)]).history["loss"]
        except RuntimeError:
            assert fails == 9
    assert found[:9] == losses[:9] and len(found) == 20
    if optimizer != "lbfgs":  # which begins with an empty memory
        assert found == losses
        assert all(a.tobytes() == b.tobytes() for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True))


@pytest.mark.parametrize("optimizer", [*METHODS, LevenbergMarquardt()])
def test_estimators_refuse_them(optimizer):
    pytest.importorskip("sklearn")
    estimator = fastnn.MLPRegressor(optimizer=optimizer)
    with pytest.raises(ValueError, match=r"takes all rows in each step, .* use solver='lbfgs', or a fastnn.Sequential"):
        estimator.fit(*(array.ravel() if place else array for place, array in enumerate(curve())))
    assert not hasattr(estimator, "coefs_")


def test_float32_model_and_frozen_layers():
    X, y = curve()
    model = small(units=3, dtype="float32")
    model.build((None, 1))
    model.layers[0].trainable = False
    before = model.get_weights()[0].copy()
    history = model.fit(X, y, epochs=40, verbose=0).history["loss"]
    assert model.get_weights()[0].dtype == np.float32
    np.testing.assert_array_equal(model.get_weights()[0], before)
    assert history[-1] < history[0]
    assert model.evaluate(X, y, verbose=0) == pytest.approx(history[-1], rel=0.1)


def test_graphs_with_several_outputs():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(60, 3))
    y = [rng.uniform(0.1, 0.9, (60, 2)), X[:, :1] * X[:, 1:2]]
    for optimizer in ("lm", "lbfgs"):
        model = branched()
        model.compile(optimizer=optimizer, loss=["mse", "mse"], loss_weights=[2.0, 0.5])
        history = model.fit(X, y, epochs=15, verbose=0).history
        assert np.all(np.diff(history["loss"]) <= 1e-12)
        total, *each = model.evaluate(X, y, verbose=0)
        names = [name for name in history if name != "loss"]
        last = [history[name][-1] for name in ("loss", *names)]
        # evaluation rounds predictions to float32
        np.testing.assert_allclose(last, [total, *each], rtol=1e-5, atol=1e-7)


def test_lbfgs_minimizes_other_losses_with_penalties():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(80, 3))
    labels = (X[:, 0] + X[:, 1] > 0).astype(int)
    layer = layers.Dense(1, "sigmoid", kernel_regularizer=fastnn.regularizers.L2(0.01))
    model = fastnn.Sequential([layer], dtype="float64", seed=0)
    model.compile(optimizer=LBFGS(memory=5, min_gradient=1e-7), loss="binary_crossentropy")
    history = model.fit(X, labels, epochs=100, verbose=0).history["loss"]
    assert len(history) < 100, "the convex problem is solved long before"
    gradient = model.gradients(X, labels)
    assert max(np.abs(array).max() for array in gradient) < 1e-5


def test_early_stopping_and_one_batch():
    X, y = curve()
    model = small()
    stop = fastnn.callbacks.EarlyStopping(monitor="loss", patience=3, min_delta=1.0)
    assert len(model.fit(X, y, epochs=50, verbose=0, callbacks=[stop]).history["loss"]) == 4
    before = model.evaluate(X, y, verbose=0)
    assert model.train_on_batch(X, y) <= before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 8}, "takes all 40 rows in each step: it takes no batch_size"),
        ({"steps_per_epoch": 2}, "it takes no steps_per_epoch"),
        ({"callbacks": [fastnn.callbacks.ReduceLROnPlateau()]}, "Levenberg-Marquardt has none"),
    ],
)
def test_arguments_that_have_no_effect_are_refused(change, message):
    X, y = curve()
    model = small()
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(X, y, verbose=0, **change)


def test_what_has_no_squared_residuals_is_refused():
    X, y = curve()
    with pytest.raises(ValueError, match="compile with loss='mse', got 'mean_absolute_error'"):
        small(loss="mae").fit(X, y, verbose=0)
    with pytest.raises(ValueError, match="'lbfgs' takes every loss of fastnn, 'adam' your own, too"):
        small(loss=lambda truth, guess: (truth - guess) ** 2).fit(X, y, verbose=0)
    wrong = {
        "no dropout|random": [layers.Dense(3, "tanh"), layers.Dropout(0.5), layers.Dense(1)],
        "no derivative of batch normalization": [layers.Dense(3), layers.BatchNormalization(), layers.Dense(1)],
        "takes no kernel constraint; use optimizer='adam'": [
            layers.Dense(3, kernel_constraint="unit_norm"),
            layers.Dense(1),
        ],
        "takes no kernel regularizer; use optimizer='lbfgs' or 'adam'": [
            layers.Dense(3, kernel_regularizer="l2"),
            layers.Dense(1),
        ],
    }
    for message, stack in wrong.items():
        model = fastnn.Sequential(stack, dtype="float64")
        model.compile(optimizer="lm", loss="mse")
        with pytest.raises(ValueError, match=message):
            model.fit(X, y, verbose=0)
    with pytest.raises(TypeError, match="has no learning rate"):
        small().optimizer.learning_rate = 0.1


def test_options_are_checked_and_kept():
    for wrong in ({"damping": 0.0}, {"max_damping": -1.0}, {"min_gradient": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LevenbergMarquardt(**wrong)
    with pytest.raises(ValueError, match="memory"):
        LBFGS(memory=0)
    for optimizer in (LevenbergMarquardt(0.1), BayesianLevenbergMarquardt(alpha=0.2), LBFGS(memory=4)):
        again = type(optimizer).from_config(optimizer.get_config())
        assert again.get_config() == optimizer.get_config()
        assert fastnn.optimizers.get(optimizer.name).name == optimizer.name


@pytest.mark.parametrize("seed", range(3))
def test_a_curve_of_94_points(seed):
    """MATLAB's simplefit example has as many points; its page reports 1.5e-4 of trainlm and 3.3e-10 of trainbr."""
    x = np.linspace(-1.0, 1.0, 94)[:, None]
    y = np.sin(2.0 * np.pi * x) * np.exp(-x) / 2.0
    reached = {"lm": 1.5e-4, "lm_bayes": 1e-9}
    for optimizer, bound in reached.items():
        losses = small(seed, units=10, optimizer=optimizer).fit(x, y, epochs=1000, verbose=0).history["loss"]
        assert losses[-1] <= bound


@pytest.mark.parametrize("optimizer", METHODS)
def test_an_optimizer_begins_again_with_another_model(optimizer):
    """What training changes (damping, alpha, beta) belongs to one model; what the user sets stays."""
    X, y = curve()
    alone = small(seed=1, optimizer=optimizer).fit(X, y, epochs=6, verbose=0).history["loss"]
    shared = fastnn.optimizers.get(optimizer)
    small(optimizer=shared).fit(X, y, epochs=20, verbose=0)
    first, second = small(optimizer=shared), small(seed=1, optimizer=shared)  # compiled before either trains
    first.fit(X, y, epochs=20, verbose=0)
    assert second.fit(X, y, epochs=6, verbose=0).history["loss"] == alone
    new = small(seed=1)
    new.build((None, 1))
    second.compile(optimizer=shared, loss="mse")
    second.set_weights(new.get_weights())
    assert second.fit(X, y, epochs=6, verbose=0).history["loss"] == alone
    if optimizer != "lbfgs":
        shared.damping = 7.0
        second.compile(optimizer=shared, loss="mse")
        assert shared.damping == 7.0


@pytest.mark.parametrize("optimizer", METHODS)
def test_step_factors_are_refused(optimizer):
    model = small(optimizer=optimizer)
    with pytest.raises(TypeError, match="follows no factors from step to step: leave StepFactors out"):
        model.fit(*curve(), verbose=0, callbacks=[fastnn.callbacks.StepFactors(dropout=np.ones_like)])


def test_penalties_of_frozen_layers_are_part_of_the_loss_or_refused():
    X, y = curve()
    found = {}
    for optimizer in METHODS:
        frozen = layers.Dense(4, "tanh", activity_regularizer="l2", trainable=False)
        model = fastnn.Sequential([frozen, layers.Dense(1)], dtype="float64", seed=0)
        model.compile(optimizer, "mse")
        try:
            found[optimizer] = model.fit(X, y, epochs=3, verbose=0).history["loss"][-1]
            assert found[optimizer] == pytest.approx(model.evaluate(X, y, verbose=0), rel=1e-12)
        except ValueError as error:
            assert "takes no activity regularizer" in str(error)
    assert list(found) == ["lbfgs"]


def test_lbfgs_takes_frozen_batch_normalization():
    X, y = curve()
    model = fastnn.Sequential([layers.Dense(5, "tanh"), layers.BatchNormalization(), layers.Dense(1)], dtype="float64")
    model.compile("adam", "mse")
    model.fit(X, y, epochs=3, verbose=0)
    model.layers[1].trainable = False
    model.compile("lbfgs", "mse")
    before = [np.array(weight) for weight in model.layers[1].get_weights()]
    history = model.fit(X, y, epochs=30, verbose=0).history["loss"]
    assert history[-1] == pytest.approx(model.evaluate(X, y, verbose=0), rel=1e-12)
    assert history[-1] < 0.1 * history[0]
    for a, b in zip(before, model.layers[1].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("optimizer", ["lm", "lbfgs"])
def test_factors_of_learning_rates_are_refused_by_their_name(optimizer):
    model = fastnn.Sequential([layers.Dense(1, learning_rate_factors=0.1)])
    model.compile(optimizer, "mse")
    with pytest.raises(ValueError, match="takes no learning_rate_factors or weight_decay_factors"):
        model.fit(*curve(), verbose=0)


@pytest.mark.parametrize("optimizer", METHODS)
def test_an_output_of_weight_zero_has_its_loss_in_the_history(optimizer):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(60, 3))
    y = [rng.uniform(0.1, 0.9, (60, 2)), X[:, :1] * X[:, 1:2]]
    model = branched()
    model.compile(optimizer=optimizer, loss=["mse", "mse"], loss_weights=[0.0, 1.0])
    history = model.fit(X, y, epochs=3, verbose=0, sample_weight=[rng.uniform(0.0, 2.0, 60), None]).history
    found = model.fit(X, y, epochs=1, verbose=0).history
    expected = model.evaluate(X, y, verbose=0, return_dict=True)
    assert min(min(values) for values in history.values()) > 0.0
    for name, value in expected.items():
        assert found[name][-1] == pytest.approx(value, rel=1e-5), name


@pytest.mark.parametrize("optimizer", METHODS)
@pytest.mark.parametrize("weights", [None, [0.0, 1.0, 2.0]])
def test_outputs_without_a_loss(optimizer, weights):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(50, 3))
    y = [np.sin(X[:, :2]), X[:, :1] ** 2, X[:, :1] * X[:, 1:2]]
    x = fastnn.Input((3,))
    h = layers.Dense(4, "tanh")(x)
    model = fastnn.Model(x, [layers.Dense(each.shape[1])(h) for each in y], dtype="float64", seed=0)
    model.compile(optimizer, ["mse", None, "mse"], loss_weights=weights)
    history = model.fit(X, y, epochs=3, verbose=0).history
    expected = model.evaluate(X, y, verbose=0, return_dict=True)
    assert set(history) == set(expected) and len(history) == 3
    for name, value in expected.items():
        assert history[name][-1] == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("optimizer", ["lm", "lm_bayes"])
def test_a_converged_fit_does_not_hold_back_the_next_one(optimizer, tmp_path):
    """The dampings that were tried in vain, up to 1e10, are forgotten."""
    X, y = curve()
    y = y + 0.1 * np.random.default_rng(0).normal(size=y.shape)
    model = small(units=3, optimizer=optimizer)
    assert len(model.fit(X, y, epochs=3000, verbose=0).history["loss"]) < 3000
    assert model.optimizer.damping < 1e3
    other = np.cos(np.pi * X)
    assert model.fit(X, other, epochs=10, verbose=0).history["loss"][-1] < 0.5 * np.var(other)


def test_matrices_larger_than_the_memory_are_refused(monkeypatch):
    from fastnn.training import levenberg_marquardt

    model = small(units=5)
    model.fit(*curve(4), epochs=1, verbose=0)
    before = model.get_weights()
    monkeypatch.setattr(levenberg_marquardt, "physical_memory", lambda: 16 * 16 * 8)
    for rows, needed in ((4, False), (40, True)):
        if needed:
            with pytest.raises(MemoryError, match=r"for 16 weights and 40 residuals.* use optimizer='lbfgs' or 'adam'"):
                model.fit(*curve(rows), epochs=1, verbose=0)
        else:
            model.fit(*curve(rows), epochs=0, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("optimizer", "option", "value"),
    [
        ("lm", "damping", -1.0),
        ("lm", "damping", float("nan")),
        ("lm", "damping", 1e11),
        ("lm", "min_gradient", "small"),
        ("lm_bayes", "alpha", -1.0),
        ("lm_bayes", "beta", 0.0),
        ("lbfgs", "memory", 0),
    ],
)
def test_options_that_are_assigned_are_checked_too(optimizer, option, value):
    model = small(optimizer=optimizer)
    setattr(model.optimizer, option, value)
    with pytest.raises(ValueError, match=option):
        model.fit(*curve(), verbose=0)
    with pytest.raises(ValueError, match=option):
        type(model.optimizer)(**{option: value})
