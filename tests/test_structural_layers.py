"""Normalizations, PReLU, noise, branches and missing values: gradients, same bits, arithmetic, errors, folding."""

import json
import warnings

import layer_bits
import numpy as np
import pytest
from derivatives import partial_difference
from same_bits import same_arrays

import fastnn
from fastnn import _core, layers

ISAS = _core.config()["isas"]
TRAINED = ("kernel", "bias", "gamma", "beta", "alpha", "scale", "mix", "frequencies")


@pytest.fixture(scope="module")
def computed(run_per_isa):
    """What each instruction set of this machine computes (tests/layer_bits.py)."""
    return run_per_isa("layer_bits.py")


@pytest.mark.parametrize("isa", ISAS)
def test_threads_and_cuts_change_no_bit(computed, isa):
    for name, hashes in computed[isa]["hashes"].items():
        assert len(set(hashes)) == 1, name


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa not in ("scalar", "baseline")])
def test_vector_kernels_equal_the_scalar_ones(computed, isa):
    assert computed[isa]["hashes"] == computed["scalar"]["hashes"]


@pytest.mark.parametrize("isa", ISAS)
def test_predict_gives_a_row_the_same_bits_whatever_the_other_rows(computed, isa):
    assert computed[isa]["rows"] == []


def trained(name):
    """(op, name) of the parameters that a network trains."""
    ops = layer_bits.NETWORKS[name]
    return {
        (op, parameter)
        for op, parameter in layer_bits.parameters(ops)
        if parameter in TRAINED and ops[op][0] != "bounded_lines" and ops[op][1].get("trainable", True)
    }


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", layer_bits.NETWORKS)
def test_gradients_agree_with_finite_differences(name, training):
    n = 23
    network = layer_bits.network(name, "float64")
    network.compile("mean_squared_error", {}, "sgd", {})
    X, y = layer_bits.data(name, n)
    fit = _core.Fit(network, X, y, None, n, 2)
    fit.begin_epoch(3, 1, False, np.zeros(1))

    def loss_with(op, parameter, moved):
        network.set_parameter(op, parameter, moved)
        if not training:
            return _core.loss_and_gradient("mean_squared_error", y, network.predict(X), None, gradient=False)[0]
        # A step with learning rate 0 gives the loss with the same masks and the statistics of the batch.
        fit.begin_epoch(3, 1, False, np.zeros(1))
        assert fit.run(1) == "finished"
        return fit.loss_sum / n

    gradients = fit.gradients(training)
    assert {(op, parameter) for op, parameter, _ in gradients} == trained(name)
    for op, parameter, gradient in gradients:
        start = network.get_parameter(op, parameter)
        for index in list(np.ndindex(start.shape))[:12]:
            numeric = partial_difference(lambda moved, at=(op, parameter): loss_with(*at, moved), start, index)
            network.set_parameter(op, parameter, start)
            np.testing.assert_allclose(gradient[index], numeric, rtol=1e-6, atol=1e-9)


class _Reference:
    """Training steps of Dense, normalization, ReLU and Dense with squared error and SGD, in plain float64."""

    def __init__(self, weights, normalize, gradient, rate):
        self.w = [w.copy() for w in weights]
        self.normalize, self.gradient, self.rate = normalize, gradient, rate

    def step(self, X, y):
        W1, b1, gamma, beta, W2, b2 = self.w
        z = X @ W1 + b1
        hat, cache = self.normalize(z)
        pre = hat * gamma + beta
        out = np.maximum(pre, 0) @ W2 + b2
        error = out - y
        g_out = 2 * error / error.size
        g_pre = (g_out @ W2.T) * (pre > 0)
        g_z = self.gradient(g_pre * gamma, hat, cache)
        gradients = [
            X.T @ g_z,
            g_z.sum(0),
            (g_pre * hat).sum(0),
            g_pre.sum(0),
            np.maximum(pre, 0).T @ g_out,
            g_out.sum(0),
        ]
        self.w = [w - self.rate * g for w, g in zip(self.w, gradients, strict=True)]
        return np.mean(error**2)


def _normalize(z, axis, epsilon=1e-3):
    mean, variance = z.mean(axis, keepdims=True), z.var(axis, keepdims=True)
    inverse = 1 / np.sqrt(variance + epsilon)
    return (z - mean) * inverse, (inverse, mean, variance)


def _normalize_gradient(g, hat, cache, axis):
    return cache[0] * (g - g.mean(axis, keepdims=True) - hat * (g * hat).mean(axis, keepdims=True))


@pytest.mark.parametrize("kind", [layers.BatchNormalization, layers.LayerNormalization])
def test_training_steps_equal_float64_numpy(kind):
    rng = np.random.default_rng(0)
    axis = 0 if kind is layers.BatchNormalization else 1
    X, y = rng.normal(size=(90, 5)), rng.normal(size=(90, 2))
    model = fastnn.Sequential(
        [layers.Dense(9, input_dim=5), kind(), layers.ReLU(), layers.Dense(2)], dtype="float64", seed=1
    )
    model.compile(fastnn.optimizers.SGD(0.1), "mse")
    statistics = []

    def normalize(z):
        hat, cache = _normalize(z, axis)
        statistics.append(cache[1:])
        return hat, cache

    weights = [w for layer in model.layers for w in layer.get_weights()[: 2 if axis == 0 else None]]
    reference = _Reference(weights, normalize, lambda g, hat, cache: _normalize_gradient(g, hat, cache, axis), 0.1)
    history = model.fit(X, y, epochs=9, batch_size=16, shuffle=False, verbose=0).history["loss"]
    for epoch in range(9):
        losses = []
        for first in range(0, 90, 16):
            rows = slice(first, first + 16)
            losses.append(reference.step(X[rows], y[rows]) * len(X[rows]))
        assert history[epoch] == pytest.approx(sum(losses) / 90, rel=1e-10)
    got = [w for layer in model.layers for w in layer.get_weights()[: 2 if axis == 0 else None]]
    for mine, wanted in zip(got, reference.w, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-9, atol=1e-12)
    if axis == 0:
        mean, variance = np.zeros((1, 9)), np.ones((1, 9))
        for batch_mean, batch_variance in statistics:
            mean = 0.99 * mean + 0.01 * batch_mean
            variance = 0.99 * variance + 0.01 * batch_variance
        np.testing.assert_allclose(model.layers[1].moving_mean, mean[0], rtol=1e-10)
        np.testing.assert_allclose(model.layers[1].moving_variance, variance[0], rtol=1e-10)
        assert [spec.name for spec in model.program.specs[1]] == ["gamma", "beta", "moving_mean", "moving_variance"]


def test_a_frozen_batch_normalization_uses_and_keeps_its_moving_statistics():
    X = np.random.default_rng(0).normal(size=(60, 4))
    model = fastnn.Sequential([layers.BatchNormalization(input_dim=4), layers.Dense(1)], seed=0)
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    before = [*model.layers[0].get_weights(), *model.layers[1].get_weights()]
    model.fit(X, X[:, :1], epochs=2, verbose=0)
    after = [*model.layers[0].get_weights(), *model.layers[1].get_weights()]
    assert same_arrays(before[:4], after[:4])
    assert not (before[4] == after[4]).all()


def test_layers_at_hand_values():
    x = np.array([[-2.0, 1.0], [3.0, -1.0]])
    model = fastnn.Sequential([layers.PReLU(alpha_initializer=np.array([0.5, 0.25]), input_dim=2)], dtype="float64")
    np.testing.assert_array_equal(model.predict(x), [[-1.0, 1.0], [3.0, -0.25]])
    model = fastnn.Sequential([layers.LayerNormalization(epsilon=0.0, input_dim=2)], dtype="float64")
    np.testing.assert_allclose(model.predict(x), [[-1.0, 1.0], [1.0, -1.0]])
    rms = layers.LayerNormalization(epsilon=0.0, rms_scaling=True, input_dim=2)
    np.testing.assert_allclose(fastnn.Sequential([rms], dtype="float64").predict(x), x / [[1.5], [2.0]])
    known = layers.Normalization(mean=[1.0, 0.0], variance=[4.0, 0.25], input_dim=2)
    assert known.get_weights() == []
    np.testing.assert_allclose(fastnn.Sequential([known], dtype="float64").predict(x), [[-1.5, 2.0], [1.0, -2.0]])
    inverse = layers.Normalization(mean=[1.0, 0.0], variance=[4.0, 0.25], invert=True, input_dim=2)
    np.testing.assert_allclose(fastnn.Sequential([inverse], dtype="float64").predict(x), [[-3.0, 0.5], [7.0, -0.5]])


def test_rescaling_of_bytes_and_identity():
    x = np.array([[[0, 51], [102, 255]]], np.uint8)
    model = fastnn.Sequential(
        [fastnn.Input((2, 2)), layers.Rescaling(1.0 / 255.0, -0.5), layers.Flatten(), layers.Identity()],
        dtype="float64",
    )
    np.testing.assert_allclose(model.predict(x), [[-0.5, -0.3, -0.1, 0.5]], rtol=1e-15)
    with pytest.raises(ValueError, match=r"rows of shape \(2, 3\), but the model takes rows of \(2, 2\)"):
        model.predict(np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match="'dense' takes rows that are vectors"):
        fastnn.Sequential([fastnn.Input((2, 2)), layers.Rescaling(0.5), layers.Dense(2, name="dense")])
    model.add(layers.Dense(2))
    folded = model.folded()
    assert [type(layer).__name__ for layer in folded.layers] == ["Flatten", "Dense"]
    np.testing.assert_allclose(folded.predict(x), model.predict(x), rtol=1e-12)


def test_noise_has_its_moments_and_is_absent_from_prediction():
    n = 20_000
    X = np.ones((n, 4), np.float32)
    for layer, deviation in ((layers.GaussianNoise(0.5), 0.5), (layers.AlphaDropout(0.25), None)):
        values = np.random.default_rng(0).normal(size=X.shape).astype(np.float32) if deviation is None else X
        network = _core.Network(4, [layer.op(4)])
        network.compile("mean_squared_error", {}, "sgd", {})
        out = np.empty_like(values)
        fit = _core.Fit(network, values, values, None, n, 2, out)
        fit.begin_epoch(5, 0, False, np.zeros(1))
        assert fit.run() == "finished"
        difference = (out - values if deviation else out).astype(np.float64)
        assert abs(difference.mean()) < 5 * (deviation or 1.0) / np.sqrt(difference.size)
        assert difference.std() == pytest.approx(deviation or 1.0, rel=0.01)
        if deviation:
            z = difference.ravel() / deviation
            assert np.mean(np.abs(z) > 1.959964) == pytest.approx(0.05, abs=0.004)
            assert abs(np.corrcoef(difference[:, 0], difference[:, 1])[0, 1]) < 0.03
        np.testing.assert_array_equal(network.predict(values), values)


def test_normalization_learns_and_replaces_missing_values():
    X = np.array([[1.0, np.nan, 5.0], [3.0, np.nan, np.nan], [np.nan, np.nan, 7.0]])
    for missing in ("mean", "indicator"):
        layer = layers.Normalization(missing=missing)
        layer.adapt(X)
        model = fastnn.Sequential([fastnn.Input((3,)), layer], dtype="float64")
        np.testing.assert_array_equal(layer.mean, [2.0, 0.0, 6.0])
        np.testing.assert_array_equal(layer.variance, [1.0, 1.0, 1.0])
        alone = layers.Normalization(missing=missing)
        alone.adapt(X)
        np.testing.assert_array_equal(alone.mean, layer.mean)
        assert layer.get_weights()[2] == 3
        wanted = np.array([[-1.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        if missing == "indicator":
            wanted = np.hstack([wanted, np.isnan(X)])
        np.testing.assert_array_equal(model.predict(X), wanted)
        np.testing.assert_array_equal(model(X), wanted)
        X_bad = X.copy()
        X_bad[1, 2] = np.inf
        with pytest.raises(ValueError, match="row 1, column 2"):
            model.predict(X_bad)
    with pytest.raises(ValueError, match="data has nan at row 0, column 1"):
        layers.Normalization().adapt(X)
    plain = fastnn.Sequential([fastnn.Input((3,)), layers.Normalization()])
    with pytest.raises(ValueError, match="nan"):
        plain.predict(X)


def test_normalization_warns_about_digits_that_the_type_cannot_hold():
    times = 1.7e9 + np.arange(1000.0)[:, None]  # seconds since 1970; float32 has steps of 128 there
    layer = layers.Normalization()
    layer.adapt(times)
    with pytest.warns(UserWarning, match=r"feature 0 has mean 1.7e\+09 .*float32 has steps of 128"):
        model = fastnn.Sequential([fastnn.Input((1,)), layer])
    with pytest.warns(UserWarning, match="steps of 128"):
        layer.adapt(times)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer.adapt(times - 1.7e9)
        assert np.abs(model.predict(times - 1.7e9).std() - 1) < 1e-6
        layer.adapt(np.full((10, 1), 1.7e9))
        exact = layers.Normalization()
        exact.adapt(times)
        fastnn.Sequential([fastnn.Input((1,)), exact], dtype="float64")


def test_training_on_missing_values():
    rng = np.random.default_rng(0)
    X = rng.normal(5.0, 3.0, size=(400, 3))
    y = (X[:, 0] > 5.0).astype(float)
    X[rng.random(X.shape) < 0.2] = np.nan
    layer = layers.Normalization(missing="indicator")
    layer.adapt(X)
    dense = [layers.Dense(8, activation="relu"), layers.Dense(1, activation="sigmoid")]
    model = fastnn.Sequential([layer, *dense], seed=0)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(X, y, epochs=60, verbose=0, validation_split=0.2).history
    assert history["val_accuracy"][-1] > 0.75
    model.evaluate(X, y, verbose=0)


def test_residual_adds_its_input():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 4))
    inner = layers.Residual([layers.Dense(4, activation="tanh", name="c")], name="inner")
    block = layers.Residual([layers.Dense(6, activation="relu", name="a"), layers.Dense(4, name="b"), inner])
    model = fastnn.Sequential(
        [fastnn.Input((4,)), layers.Dense(4), block, layers.Activation("relu")], dtype="float64", seed=0
    )
    W0, b0, Wa, ba, Wb, bb, Wc, bc = model.get_weights()
    x = X @ W0 + b0
    h = np.maximum(x @ Wa + ba, 0) @ Wb + bb
    np.testing.assert_allclose(model.predict(X), np.maximum(x + h + np.tanh(h @ Wc + bc), 0), rtol=1e-12)
    assert block.count_params() == sum(w.size for w in (Wa, ba, Wb, bb, Wc, bc))
    assert [w.shape for w in inner.get_weights()] == [(4, 4), (4,)]
    inner.layers[0].set_weights([np.zeros((4, 4)), np.zeros(4)])
    np.testing.assert_allclose(model.predict(X), np.maximum(x + h, 0), rtol=1e-12)
    block.trainable = False
    model.compile("sgd", "mse")
    before = block.get_weights()
    model.fit(X, X, epochs=1, verbose=0)
    assert same_arrays(before, block.get_weights())
    with pytest.raises(ValueError, match="it has 4 inputs and 3 outputs"):
        fastnn.Sequential([fastnn.Input((4,)), layers.Residual([layers.Dense(3)])])
    with pytest.raises(ValueError, match="needs a layer that computes something"):
        layers.Residual([layers.Flatten()])


def test_wrong_arguments_are_named():
    for make, message in (
        (lambda: layers.BatchNormalization(axis=0), "axis must be -1"),
        (lambda: layers.BatchNormalization(momentum=1.5), "momentum must be a number between 0 and 1, got 1.5"),
        (lambda: layers.LayerNormalization(epsilon=-1.0), "epsilon must be a finite number of at least 0"),
        (lambda: layers.GaussianNoise(-0.1), "stddev must be a finite number of at least 0"),
        (lambda: layers.AlphaDropout(1.0), "rate must be a number of at least 0 and less than 1"),
        (lambda: layers.Normalization(mean=1.0), "give both mean and variance"),
        (lambda: layers.Normalization(missing="zero"), "missing must be None, 'mean' or 'indicator', got 'zero'"),
        (lambda: layers.PReLU(shared_axes=[1]), "shared_axes must be None"),
        (lambda: layers.Rescaling(0.0), "scale must be at least 1e-07, got 0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize(
    "layer",
    [
        layers.BatchNormalization(momentum=0.9, scale=False, beta_regularizer="l2", gamma_constraint="non_neg"),
        layers.LayerNormalization(epsilon=1e-5, center=False),
        layers.LayerNormalization(rms_scaling=True),
        layers.Normalization(missing="indicator"),
        layers.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=2.0, invert=True),
        layers.PReLU(alpha_initializer="ones"),
        layers.Rescaling(1.0 / 255.0, offset=[0.5, 1.0, -0.5, 0.0]),
        layers.AlphaDropout(0.2, seed=1),
        layers.GaussianNoise(0.3),
        layers.Residual([layers.Dense(4, activation="relu"), layers.BatchNormalization()]),
    ],
)
def test_layers_survive_their_configuration(layer):
    config = layer.get_config()
    again = type(layer).from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config
    np.testing.assert_equal(again.op(4), layer.op(4))
    specs = [[(s.name, s.shape) for s in each.parameter_specs(4)] for each in (layer, again)]
    assert specs[0] == specs[1]


def _random_weights(model):
    rng = np.random.default_rng(3)
    names = [spec.name for specs in model.program.specs for spec in specs]
    model.set_weights(
        [
            rng.uniform(0.5, 2, w.shape) if "variance" in name else rng.normal(size=w.shape) / np.sqrt(w.size)
            for name, w in zip(names, model.get_weights(), strict=True)
        ]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_folding_predicts_the_same_with_fewer_layers(dtype):
    model = fastnn.Sequential(
        [
            fastnn.Input((5,)),
            layers.Normalization(),
            layers.Dense(9),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.1),
            layers.Dense(7),
            layers.Dense(6),
            layers.BatchNormalization(scale=False),
            layers.Residual([layers.BatchNormalization(), layers.Dense(6, activation="tanh"), layers.Dense(6)]),
            layers.LayerNormalization(),
            layers.PReLU(),
            layers.Dense(2, use_bias=False),
            layers.BatchNormalization(center=False),
            layers.Softmax(),
        ],
        dtype=dtype,
    )
    _random_weights(model)
    fewer = model.folded()
    kinds = [type(layer).__name__ for layer in fewer.layers]
    assert kinds == ["Dense", "Dense", "Residual", "LayerNormalization", "PReLU", "Dense"]
    X = np.random.default_rng(0).normal(size=(50, 5))
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(fewer.predict(X), model.predict(X), rtol=tolerance, atol=tolerance)
    before = model.get_weights()
    _random_weights(fewer)
    assert same_arrays(before, model.get_weights())


def test_folding_keeps_a_bottleneck_and_what_is_not_linear():
    narrow = fastnn.Sequential([layers.Dense(2, input_dim=50), layers.Dense(50)])
    assert len(narrow.folded().layers) == 2
    alone = fastnn.Sequential([layers.BatchNormalization(input_dim=3), layers.ReLU(), layers.Dense(2)], dtype="float64")
    _random_weights(alone)
    X = np.random.default_rng(0).normal(size=(9, 3))
    assert [type(layer).__name__ for layer in alone.folded().layers] == ["BatchNormalization", "ReLU", "Dense"]
    np.testing.assert_allclose(alone.folded().predict(X), alone.predict(X), rtol=1e-12)


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_core_refuses_what_float32_cannot_hold_and_does_not_touch_out(order):
    network = _core.Network(3, [("dense", {"n_out": 2})], "float32")
    for value, what in ((1e39, "too large for float32"), (np.nan, "not finite"), (-np.inf, "not finite")):
        X = np.zeros((7000, 3), order=order)
        X[6543, 2] = value
        with pytest.raises(ValueError, match=f"X has a value that is {what} in row 6543, column 2"):
            network.predict(X)
        out = np.full((7000, 2), 7.0, np.float32)
        with pytest.raises(ValueError, match=f"{what} in row 6543, column 2"):
            network.predict(X, out)
        assert (out == 7.0).all()
        # These rows are read in place.
        in_place = X.astype(np.float32, order="C") if what == "not finite" else np.full((1, 3), np.inf, np.float32)
        rows = np.full((len(in_place), 2), 7.0, np.float32)
        with pytest.raises(ValueError, match="not finite in row"):
            network.predict(in_place, rows)
        assert (rows == 7.0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [1, 17, 65])
def test_normalizations_predict_the_same_bits_for_many_rows_and_for_one(units, dtype):
    blocks = [
        [layers.Dense(units), layers.BatchNormalization(), layers.PReLU()],
        [layers.Dense(units), layers.LayerNormalization(), layers.PReLU(), layers.Dense(1)],
    ]
    model = fastnn.Sequential([layers.Input((5,)), *blocks[0], *blocks[1]], dtype=dtype, seed=0)
    generator = np.random.default_rng(units)
    model.set_weights([generator.uniform(0.1, 1.0, weight.shape).astype(dtype) for weight in model.get_weights()])
    X = generator.standard_normal((96, 5)).astype(dtype)
    together = np.asarray(model(X))
    assert same_arrays([together], [np.concatenate([model(X[i : i + 1]) for i in range(96)])])
    assert same_arrays([together[:32]], [model(X[:32])])


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: [layers.Embedding(3, 2), layers.Dropout(0.2), layers.Flatten(), layers.Dense(2)],
        lambda: [layers.Embedding(3, 2), layers.Rescaling(2.0, 1.0), layers.Rescaling(0.5), layers.Flatten()],
        lambda: [layers.Reshape((2, 2)), layers.Activation("tanh"), layers.Rescaling(2.0), layers.Flatten()],
    ],
)
def test_folding_keeps_layers_of_rows_that_are_no_vectors(make, graph):
    parts = [*make(), layers.Dense(3)]
    x = h = fastnn.Input((4,))
    for part in parts if graph else []:
        h = part(h)
    model = fastnn.Model(x, h, seed=0) if graph else fastnn.Sequential([x, *parts], seed=0)
    data = np.random.default_rng(0).integers(0, 3, (9, 4)).astype(float)
    np.testing.assert_allclose(model.folded().predict(data), model.predict(data), rtol=1e-5, atol=1e-6)
