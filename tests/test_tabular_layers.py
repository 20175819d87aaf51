"""Layers of networks for tables: their arithmetic, gradients, bits, and what is kept in files."""

import numpy as np
import pytest

import fastnn
from fastnn import _core, layers

RNG = np.random.default_rng(3)
X = RNG.normal(size=(53, 5))
Y = np.sin(X[:, :1]) + 0.1 * X[:, 1:2]


def network(dtype="float64", seed=0):
    """A network with all of the layers."""
    encoding = layers.PiecewiseLinearEmbedding(5, units=3, n_bins=6)
    encoding.adapt(X)
    x = fastnn.Input((5,))
    h = layers.PeriodicEmbedding(5, learning_rate_factors=0.5)(x)
    h = layers.FeatureScale(use_bias=True, learning_rate_factors={"scale": 6.0})(h)
    h = layers.NTPDense(19)(h)
    h = layers.ParametricActivation("mish")(h)
    g = layers.FeatureScale(members=3, scale_initializer="random_normal")(encoding(x))
    g = layers.Activation("tanh")(layers.MemberDense(3, 18)(g))
    g = layers.GroupedDense(3, 2)(g)
    model = fastnn.Model(x, layers.Dense(1)(layers.Concatenate()([h, g])), seed=seed, dtype=dtype)
    model.compile(fastnn.optimizers.Adam(0.01, weight_decay=0.1), "mse")
    return model


def test_gradients_are_finite_differences():
    model, step = network(), 1e-6
    fit = _core.Fit(model.network, X, Y, None, len(X), 0, None)
    fit.begin_epoch(0, 1, False, np.zeros(1))
    found = fit.gradients()
    assert len(found) == 19
    for op, name, gradient in found:
        weights = model.network.get_parameter(op, name)
        assert np.abs(gradient).max() > 1e-6
        for place in np.argsort(np.abs(gradient), axis=None)[[0, gradient.size // 2, -1]]:
            losses = []
            for sign in (1, -1):
                moved = weights.copy()
                moved.flat[place] += sign * step
                model.network.set_parameter(op, name, moved)
                losses.append(float(((model.predict(X, verbose=0) - Y) ** 2).mean()))
            model.network.set_parameter(op, name, weights)
            assert abs((losses[0] - losses[1]) / (2 * step) - gradient.flat[place]) < 1e-8, (op, name)


def test_values_worked_out_by_hand():
    x = fastnn.Input((2,))
    scale = layers.FeatureScale(members=2, use_bias=True)
    cosines, groups, shared = layers.CosineFeatures(2), layers.GroupedDense(2, 1), layers.MemberDense(2, 1)
    mixed = layers.ParametricActivation("relu")
    outputs = [scale(x), cosines(x), groups(x), shared(x), mixed(x)]
    model = fastnn.Model(x, outputs, dtype="float64")
    scale.set_weights([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 1.0, 0.0]])
    cosines.set_weights([[0.25, 0.5, 1.0, 0.0], [0.0, 0.0, np.pi, np.pi / 2]])
    groups.set_weights([[[2.0, 3.0]], [0.5, 0.0]])
    shared.set_weights([[[5.0]], [1.0]])
    mixed.set_weights([[0.5, 2.0]])
    found = model.predict(np.array([[1.0, -1.0]]), verbose=0)
    expected = [[1, -2, 4, -4], [0, -1, -1, 0], [2.5, -3], [6, -4], [1, 1]]
    for each, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(each, [wanted], atol=1e-15)


@pytest.mark.parametrize("units", [16, 33, 70])
def test_the_gradient_of_a_shared_layer_is_the_sum_over_its_members(units):
    n, members, p = 300, 3, 21
    rng = np.random.default_rng(units)
    inputs, targets = rng.normal(size=(n, members * p)), rng.normal(size=(n, members * units))
    layer = layers.MemberDense(members, units)
    x = fastnn.Input((members * p,))
    model = fastnn.Model(x, layer(x), seed=0, dtype="float64")
    model.compile("sgd", "mse")
    fit = _core.Fit(model.network, inputs, targets, None, n, 0, None)
    fit.begin_epoch(0, 1, False, np.zeros(1))
    kernel, bias = layer.get_weights()
    parts, wanted = inputs.reshape(n, members, p), targets.reshape(n, members, units)
    errors = (2.0 / targets.size) * (parts @ kernel + bias - wanted)
    for (_, _, gradient), expected in zip(
        fit.gradients(), (np.einsum("nmi,nmo->io", parts, errors), errors.sum(axis=(0, 1))), strict=True
    ):
        np.testing.assert_allclose(gradient.reshape(expected.shape), expected, rtol=0, atol=1e-13)


def test_cosines_are_those_of_numpy():
    x = fastnn.Input((1,))
    layer = layers.CosineFeatures(1, frequencies_initializer="ones", bias_initializer="zeros")
    for dtype, bound in (("float64", 4e-16), ("float32", 6e-8)):
        model = fastnn.Model(x, layer(x), dtype=dtype)
        z = np.linspace(-40.0, 40.0, 4001).astype(dtype)[:, None]
        wanted = np.cos(2 * np.pi * z.astype(np.longdouble))
        assert np.abs(model.predict(z, verbose=0) - wanted).max() < bound + (3e-14 if dtype == "float64" else 0)
        layer = layers.CosineFeatures(1, frequencies_initializer="ones", bias_initializer="zeros")


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 0.502), ("float64", 3.0)])
def test_cosines_err_by_few_units_in_the_last_place(dtype, bound):
    """Angles from 1e-6 to 1e9: with the frequency 0 the bias is the angle, without rounding."""
    if np.finfo(np.longdouble).nmant <= np.finfo(dtype).nmant:
        pytest.skip("this machine has no wider type than float64")
    magnitudes = np.exp(RNG.uniform(np.log(1e-6), np.log(1e9), 20_000))
    angles = (magnitudes * RNG.choice([-1, 1], 20_000)).astype(dtype)
    x = fastnn.Input((1,))
    layer = layers.CosineFeatures(len(angles), frequencies_initializer="zeros")
    model = fastnn.Model(x, layer(x), dtype=dtype)
    layer.set_weights([np.zeros_like(angles), angles])
    wanted = np.cos(angles.astype(np.longdouble))
    unit = np.spacing(np.abs(wanted).astype(dtype))
    for n in (1, 40):  # in rows, and in panels
        found = model.predict(np.ones((n, 1), dtype), verbose=0)
        assert (np.abs(found - wanted) / unit).max() <= bound


def test_pieces_of_lines():
    layer = layers.PiecewiseLinearEncoding(edges=[[0.0, 1.0, 3.0, 4.0], [0.0, 2.0]])
    x = fastnn.Input((2,))
    model = fastnn.Model(x, layer(x), dtype="float64")
    found = model.predict(np.array([[-1.0, -2.0], [2.0, 1.0], [6.0, 4.0]]), verbose=0)
    np.testing.assert_array_equal(found[:, :3], [[-1, 0, 0], [1, 0.5, 0], [1, 1, 3]])
    np.testing.assert_array_equal(found[:, 3:], [[0, 0, -1], [0, 0, 0.5], [0, 0, 2]])
    layer.trainable = True
    assert not layer.trainable_weights


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.GroupedDense(2, 2),
        lambda: layers.MemberDense(2, 2),
        lambda: layers.PiecewiseLinearEncoding(edges=[[0.0, 0.5, 1.0]] * 4),
        lambda: layers.Residual([layers.GroupedDense(2, 2)]),
    ],
)
def test_chains_begin_with_layers_of_several_features(make):
    x, layer, graph_layer = fastnn.Input((4,)), make(), make()
    chain = fastnn.Sequential([fastnn.Input((4,)), layer])
    graph = fastnn.Model(x, graph_layer(x))
    graph.set_weights(chain.get_weights())
    np.testing.assert_array_equal(chain.predict(X[:, :4]), graph.predict(X[:, :4]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_threads(dtype):
    found = []
    for n_threads in (1, 2, 5):
        with fastnn.threads(n_threads):
            model = network(dtype)
            model.fit(X, Y, epochs=3, batch_size=20, verbose=0)
            found.append([*model.get_weights(), model.predict(X, verbose=0), model.predict(X[:1], verbose=0)])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(found[0][-1], found[0][-2][:1])


def test_files_keep_the_network(tmp_path):
    model = network()
    model.fit(X, Y, epochs=2, verbose=0)
    model.save(tmp_path / "net.fastnn")
    again = fastnn.load_model(tmp_path / "net.fastnn")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    for each in (model, again):
        each.fit(X, Y, epochs=1, verbose=0, shuffle=False)
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


@pytest.mark.parametrize("activation", [layers.LeakyReLU(0.3), layers.Activation("mish"), fastnn.activations.relu])
def test_files_keep_activations_that_are_objects(activation, tmp_path):
    model = fastnn.Sequential([fastnn.Input((5,)), layers.NTPDense(3, activation)], seed=0)
    model.save(tmp_path / "net.fastnn")
    again, expected = fastnn.load_model(tmp_path / "net.fastnn"), model.predict(X, verbose=0)
    np.testing.assert_array_equal(again.predict(X, verbose=0), expected)
    clone = fastnn.models.clone_model(again)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone.predict(X, verbose=0), expected)


def test_learning_rate_and_weight_decay_factors():
    def trained(**factors):
        x = fastnn.Input((5,))
        model = fastnn.Model(x, layers.Dense(1, **factors)(x), seed=0, dtype="float64")
        first = model.get_weights()
        model.compile(fastnn.optimizers.SGD(0.1, weight_decay=0.5), "mse")
        model.fit(X, Y, batch_size=len(X), epochs=1, verbose=0)
        return first, model.get_weights()

    (kernel, _), plain = trained()
    step = plain[0] - kernel * 0.95
    _, slow = trained(learning_rate_factors={"kernel": 0.25}, weight_decay_factors={"kernel": 2.0})
    np.testing.assert_allclose(slow[0], kernel * (1 - 0.1 * 0.25 * 0.5 * 2.0) + 0.25 * step, rtol=1e-14)
    np.testing.assert_array_equal(slow[1], plain[1])
    _, frozen = trained(learning_rate_factors=0.0)
    np.testing.assert_array_equal(frozen[0], kernel)
    with pytest.raises(ValueError, match="weight 'kernl'"):
        trained(learning_rate_factors={"kernl": 1.0})


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: layers.NTPDense(3, kernel_regularizer="l2", **options),
        lambda **options: layers.PeriodicEmbedding(5, units=2, **options),
        lambda **options: layers.PiecewiseLinearEmbedding(5, 2, 4, edges=[[-1.0, 0.0, 1.0]] * 5, **options),
        lambda **options: layers.PiecewiseLinearEmbedding(5, 2, 4, "A", edges=[[-1.0, 0.0, 1.0]] * 5, **options),
    ],
)
def test_factors_of_layers_that_are_made_of_layers(make):
    """With the factor 0 no weight moves, without it all trained ones do; the configuration keeps it."""
    for factor in (None, 0.0):
        layer = type(made := make(learning_rate_factors=factor)).from_config(made.get_config())
        model = fastnn.Sequential([fastnn.Input((5,)), layer, layers.Dense(1)], seed=0)
        model.compile("adam", "mse")
        before = [np.array(weight) for weight in layer.trainable_weights]
        model.fit(X, Y, verbose=0)
        moved = [not np.array_equal(a, b) for a, b in zip(before, layer.trainable_weights, strict=True)]
        assert moved and moved == [factor is None] * len(moved)


def test_factors_without_effect_are_refused():
    class Block(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.dense = layers.Dense(2)

        def call(self, x):
            return self.dense(x)

    for make in (Block, lambda **options: layers.Residual([layers.Dense(2)], **options)):
        with pytest.raises(ValueError, match="is made of layers: give learning_rate_factors to those that have weig"):
            make(learning_rate_factors=0.1)
        with pytest.raises(ValueError, match="is made of layers: give weight_decay_factors to those that have weights"):
            make(weight_decay_factors={"kernel": 0.1})
    for layer in (layers.PeriodicEmbedding(3), layers.PiecewiseLinearEmbedding(3)):
        with pytest.raises(ValueError, match="has n_features=3, but its input has 5"):
            layer(fastnn.Input((5,)))


def test_step_factors_scale_decay_and_dropout():
    x = fastnn.Input((5,))
    model = fastnn.Model(x, layers.Dense(1, use_bias=False)(x), seed=0, dtype="float64")
    kernel = model.get_weights()[0]
    model.compile(fastnn.optimizers.SGD(0.1, weight_decay=0.5), "mse")
    zero = fastnn.callbacks.StepFactors(weight_decay=lambda steps: np.where(steps == 0, 0.0, 2.0))
    model.fit(np.zeros((4, 5)), np.zeros((4, 1)), batch_size=2, verbose=0, callbacks=[zero])
    np.testing.assert_allclose(model.get_weights()[0], kernel * (1 - 0.1 * 0.5 * 2.0), rtol=1e-15)

    def run(callbacks):
        h = layers.Dropout(0.5)(layers.Dense(8, "relu")(x))
        net = fastnn.Model(x, layers.Dense(1)(h), seed=1, dtype="float64")
        net.compile("sgd", "mse")
        return net.fit(X, Y, epochs=2, verbose=0, callbacks=callbacks).history["loss"], net.get_weights()

    never = run([fastnn.callbacks.StepFactors(dropout=np.zeros_like)])
    always = run([fastnn.callbacks.StepFactors(dropout=np.ones_like)])
    assert always[0] == run([])[0]
    assert never[0] != always[0]


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"dropout": lambda steps: np.where(steps < 3, 1.0, 2.0)}, "factor 2, which makes 1 of a dropout of 0.5"),
        ({"label_smoothing": lambda steps: 11.0 + 0.0 * steps}, "makes 1.1 of a label_smoothing of 0.1"),
    ],
)
def test_step_factors_keep_rates_below_one(factors, message):
    block = layers.Residual([layers.Dense(5), layers.Dropout(0.5)])
    model = fastnn.Sequential([fastnn.Input((5,)), block, layers.Dense(1)], seed=0)
    loss = fastnn.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1)
    model.compile("adam", loss)
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y > 0, epochs=1, batch_size=4, verbose=0, callbacks=[fastnn.callbacks.StepFactors(**factors)])
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_schedules():
    schedules = fastnn.optimizers.schedules
    steps = np.arange(9)
    rates = schedules.CosLog4(0.3, 8)(steps)
    wanted = 0.15 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * steps / 8)))
    np.testing.assert_allclose(rates, wanted, rtol=1e-14)
    assert rates[0] == 0.0
    np.testing.assert_allclose(schedules.FlatCosine(2.0, 8)([0, 4, 6, 8, 9]), [2, 2, 1, 0, 0], atol=1e-15)
    again = schedules.get({"class_name": "CosLog4", "config": schedules.CosLog4(0.3, 8).get_config()})
    assert again(3) == rates[3]


def test_schedules_by_the_names_of_the_papers():
    schedules = fastnn.optimizers.schedules
    for name, schedule in (("coslog4", schedules.CosLog4(0.1, 40)), ("flat_cos", schedules.FlatCosine(0.1, 40))):
        config = schedule.get_config()
        by_name = schedules.get({"class_name": name, "config": config})
        steps = np.arange(50)
        np.testing.assert_array_equal(by_name(steps), schedule(steps))
        np.testing.assert_array_equal(getattr(schedules, name)(0.1, 40)(steps), schedule(steps))


def test_robust_scaling_and_quantiles():
    data = np.array([[0.0, 5, 1], [1, 5, 1], [2, 5, 1], [3, 5, 1], [1000, 5, 9]])
    layer = layers.RobustScaling()
    layer.adapt(data)
    z = np.array([-1.0, -0.5, 0.0, 0.5, 499.0])
    np.testing.assert_allclose(layer(data)[:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-14)
    assert (layer(data)[:, 1] == 0).all()
    np.testing.assert_allclose(layer(data)[-1, 2], 2 / np.sqrt(1 + 4 / 9))
    again = layers.RobustScaling.from_config(layer.get_config())
    np.testing.assert_array_equal(again(data), layer(data))
    assert np.isnan(layer([[np.nan, 5, 1]])[0, 0])
    x = fastnn.Input((3,))
    model = fastnn.Model(x, layers.Dense(1)(layer(x)), seed=0)
    assert model.predict(data, verbose=0).shape == (5, 1)


def test_quantiles_are_those_of_scikit_learn():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    data = np.random.default_rng(0).gamma(1.0, size=(600, 3)).round(1)
    layer = layers.QuantileTransform(noise=0.0)
    layer.adapt(data)
    other = preprocessing.QuantileTransformer(n_quantiles=20, output_distribution="normal", subsample=None).fit(data)
    np.testing.assert_allclose(layer(data), other.transform(data), atol=1e-9)


def test_first_values_from_data():
    x = fastnn.Input((5,))
    h = layers.NTPDense(40, "relu")(x)
    model = fastnn.Model(x, layers.NTPDense(30)(h), seed=0, dtype="float64")
    fastnn.models.initialize_from_data(model, X)
    first, second = model.layers[1], model.layers[2]
    values = X @ first.kernel.numpy() / np.sqrt(5)
    np.testing.assert_allclose(values.std(axis=0), 1.0, rtol=1e-12)
    assert ((-first.bias.numpy() >= values.min(axis=0)) & (-first.bias.numpy() <= values.max(axis=0))).all()
    hidden = np.maximum(values + first.bias.numpy(), 0)
    np.testing.assert_allclose((hidden @ second.kernel.numpy() / np.sqrt(40)).std(axis=0), 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.ParametricActivation("softmax"), "by itself"),
        (lambda: layers.GroupedDense(2, 1)(fastnn.Input((5,))), "2 groups"),
        (lambda: layers.PiecewiseLinearEncoding()(fastnn.Input((5,))), "no edges"),
        (lambda: layers.PiecewiseLinearEncoding(edges=[[1.0, 1.0]]), "increasing"),
        (lambda: layers.RobustScaling()([[1.0]]), "learned nothing"),
        (lambda: layers.Dense(1, learning_rate_factors=-1.0), "learning_rate_factors"),
        (lambda: fastnn.callbacks.StepFactors(dropout=0.5), "function of the step"),
    ],
)
def test_refusals(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


TEXTS = np.array([["P"], ["S"], ["Lg"], ["?"]])
ENCODERS = {
    "robust": (layers.RobustScaling(), X),
    "quantiles": (layers.QuantileTransform(seed=0), X),
    "bins": (layers.Discretization(num_bins=3, output_mode="multi_hot"), X),
    "hashes": (layers.Hashing(4, output_mode="multi_hot"), np.arange(12).reshape(4, 3)),
    "numbers": (layers.IntegerLookup(vocabulary=[3, 5], output_mode="multi_hot"), np.array([[3, 3], [5, 7]])),
    "texts": (layers.StringLookup(vocabulary=["P", "S"], output_mode="one_hot"), TEXTS),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_first_layer_that_encodes_takes_the_columns_of_the_first_rows(kind, tmp_path):
    """Without an Input the model is the one with it, to the bit, whether it trains or predicts first."""
    layer, rows = ENCODERS[kind]
    if kind in ("robust", "quantiles", "bins"):
        layer.adapt(rows)
    dtype = "string" if kind == "texts" else None
    y = np.linspace(0.0, 1.0, len(rows))
    models = []
    for first in ([fastnn.Input((rows.shape[1],), dtype=dtype)], []):
        again = type(layer).from_config(layer.get_config())
        model = fastnn.Sequential([*first, again, layers.Dense(3, "tanh"), layers.Dense(1)], seed=0)
        model.compile("adam", "mse")
        model.fit(rows, y, epochs=2, verbose=0, validation_data=(rows, y))
        models.append(model)
    declared, deferred = models
    assert deferred.input_shape == (None, rows.shape[1])
    assert deferred.predict(rows, verbose=0).tobytes() == declared.predict(rows, verbose=0).tobytes()
    for model in models:
        assert model.predict(rows[:0], verbose=0).shape == (0, 1)
    deferred.save(tmp_path / "model.safetensors")
    loaded = fastnn.load_model(tmp_path / "model.safetensors")
    assert loaded.predict(rows, verbose=0).tobytes() == declared.predict(rows, verbose=0).tobytes()
    untrained = fastnn.Sequential([type(layer).from_config(layer.get_config()), layers.Dense(1)], seed=0)
    assert untrained(rows).shape == (len(rows), 1)


def test_a_layer_after_one_that_encodes_gets_the_columns_of_the_rows():
    scaling, source = layers.RobustScaling(), fastnn.data.source(X, y=Y[:, 0])
    scaling.adapt(X)
    chain = [scaling, layers.PeriodicEmbedding(5), layers.NTPDense(3, "selu"), layers.NTPDense(1)]
    models = [fastnn.Sequential([type(layer).from_config(layer.get_config()) for layer in chain], seed=0) for _ in "ab"]
    for model, rows in zip(models, ((X, Y), (source,)), strict=True):
        model.compile("adam", "mse")
        model.fit(*rows, shuffle=False, verbose=0)
    assert models[0].predict(X, verbose=0).tobytes() == models[1].predict(X, verbose=0).tobytes()
    other = fastnn.Sequential([type(scaling).from_config(scaling.get_config()), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"x has 4 features .columns., but the model takes 5"):
        other.predict(X[:, :4])
    assert other.predict(X, verbose=0).shape == (len(X), 1)
