"""Layers that scale columns or divide them into bins: values that are hard to scale, derivatives, what is refused."""

import numpy as np
import pytest

import fastnn
from fastnn import layers

RNG = np.random.default_rng(0)


def differences(model, arrays, place, column, step=1e-6):
    """Slopes of each output with respect to one column of an input, by finite differences."""
    moved = [[array.copy() for array in arrays] for _ in range(2)]
    moved[0][place][:, column] += step
    moved[1][place][:, column] -= step
    above, below = (model.predict(each, verbose=0) for each in moved)
    return [(a - b) / (2 * step) for a, b in zip(above, below, strict=True)]


def test_input_gradients_pass_through_scaling():
    """Also where an input is scaled twice, and taken as it is."""
    data = RNG.gamma(1.0, size=(300, 3))
    robust, quantile = layers.RobustScaling(), layers.QuantileTransform(noise=0.0)
    robust.adapt(data)
    quantile.adapt(robust(data))
    x, other, category = fastnn.Input((3,)), fastnn.Input((2,)), fastnn.Input((1,), dtype="int32")
    embedded = layers.Flatten()(layers.Embedding(3, 2)(category))
    h = layers.concatenate([quantile(robust(x)), robust(x), x, other, embedded])
    outputs = [layers.Dense(2)(layers.Dense(5, "tanh")(h)), layers.Dense(1)(h)]
    model = fastnn.Model([x, other, category], outputs, dtype="float64", seed=0)
    arrays = [RNG.gamma(1.0, size=(9, 3)), RNG.normal(size=(9, 2)), RNG.integers(0, 3, (9, 1))]
    found = model.input_gradients(arrays)
    assert [[each.shape for each in output] for output in found] == [
        [(9, n_outputs, width) for width in (3, 2, 1)] for n_outputs in (2, 1)
    ]
    for place, column in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]:
        for output, slopes in enumerate(differences(model, arrays, place, column)):
            np.testing.assert_allclose(found[output][place][:, :, column], slopes, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        layers.RobustScaling(3.0, [0.5, -1.0], [2.0, 0.25]),
        layers.RobustScaling(None, [0.5, -1.0], [2.0, 0.0]),
        layers.QuantileTransform(quantiles=[[0.0, 5.0], [1.0, 5.0], [1.0, 6.0], [4.0, 9.0]]),
    ],
)
def test_slopes_are_differences(layer):
    X = np.array([[0.1, 5.5], [0.7, 6.5], [2.0, 8.0], [-1.0, 99.0]])
    numeric = (layer(X + 1e-6) - layer(X - 1e-6)) / 2e-6
    np.testing.assert_allclose(layer.slopes(X), numeric, rtol=1e-7, atol=1e-9)
    model = fastnn.Sequential([layer, layers.Dense(1)], dtype="float64", seed=0)
    model.build((None, 2))
    expected = layer.slopes(X)[:, None, :] * np.asarray(model.layers[-1].kernel).T
    np.testing.assert_allclose(model.input_gradients(X), expected, rtol=1e-12)


@pytest.mark.filterwarnings("error")
def test_numbers_whose_squares_are_infinite_reach_the_bound():
    layer = layers.RobustScaling()
    layer.adapt([[0.0], [1.0], [2.0], [3.0], [4.0]])
    largest = np.finfo(np.float64).max
    np.testing.assert_array_equal(layer([[largest], [-1e200], [1e160], [2.0]]), [[3.0], [-3.0], [3.0], [0.0]])
    assert (layer.slopes([[1e200]]) == 0.0).all()
    layer.adapt([[1e-320], [2e-320], [0.0], [3e-320]])  # the reciprocal of this spread is infinite
    np.testing.assert_array_equal(layer([[1e-320], [0.5]]), [[0.0], [0.0]])


@pytest.mark.filterwarnings("error")
def test_numbers_too_large_to_learn_from_change_nothing():
    layer = layers.QuantileTransform(seed=0)
    layer.adapt([[0.0], [1.0], [2.0]])
    before = layer.quantiles.copy()
    with pytest.raises(ValueError, match=r"data has numbers up to 1\.0e\+308, which are too large"):
        layer.adapt([[1e308], [-1e308], [0.0]])
    np.testing.assert_array_equal(layer.quantiles, before)


@pytest.mark.parametrize(("n", "n_quantiles"), [(5, None), (7, 50), (1, None), (40, 7)])
def test_quantiles_of_few_rows_are_those_of_scikit_learn(n, n_quantiles):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    data = RNG.normal(size=(n, 2))
    layer = layers.QuantileTransform(n_quantiles, noise=0.0)
    layer.adapt(data)
    other = preprocessing.QuantileTransformer(
        n_quantiles=min(n_quantiles or 10, n), output_distribution="normal", subsample=None
    ).fit(data)
    X = np.concatenate([data, RNG.normal(size=(20, 2))])
    np.testing.assert_allclose(layer(X), other.transform(X), atol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.RobustScaling(center=[1.0, 2.0], scale=[1.0]), "a number for each column, got 2 and 1"),
        (lambda: layers.RobustScaling(center=1.0, scale=1.0), r"center must be finite numbers of shape \(n_in,\)"),
        (lambda: layers.RobustScaling(center=[0.0], scale=[np.nan]), "scale must be finite numbers"),
        (lambda: layers.QuantileTransform(quantiles=[1.0, 2.0]), r"quantiles must be .* shape \(n_quantiles, n_in\)"),
        (lambda: layers.QuantileTransform(quantiles=[[2.0], [1.0]]), "none of them may be below the one before"),
        (lambda: layers.QuantileTransform(quantiles=[[2.0]]), "at least two rows"),
        (lambda: layers.PiecewiseLinearEncoding(edges=3), "edges must be a list"),
        (lambda: layers.PiecewiseLinearEncoding(edges=[0.0, 1.0]), "edges must hold lists"),
        (lambda: layers.PiecewiseLinearEncoding(edges=[[0.0, np.inf]]), "not infinitely far apart"),
        (lambda: layers.PiecewiseLinearEncoding(edges=[[0.0, 1e-40]]), "more than 1.2e-38"),
        (lambda: layers.PiecewiseLinearEmbedding(2, edges=[[0.0, 1.0]]), "n_features=2 features, got 1"),
        (lambda: layers.PiecewiseLinearEmbedding(2).adapt(np.ones((4, 3))), "data has 3 features"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quantiles_that_differ_by_rounding_are_one_edge(dtype):
    """Otherwise the last bin has a width of 6e-17, and a new number of 1 becomes 1e16."""
    column = np.r_[np.linspace(0.0, 0.2, 50), np.full(30, 0.3), np.full(30, 0.1 + 0.2)]
    tiny = np.r_[np.zeros(50), np.full(30, 1e-40), np.ones(30)]
    data = np.column_stack([column, tiny])
    layer = layers.PiecewiseLinearEncoding()
    layer.adapt(data)
    x = fastnn.Input((2,))
    model = fastnn.Model(x, layer(x), dtype=dtype)
    found = model.predict(data, verbose=0)
    assert found.min() >= -1e-4 and found.max() <= 1 + 1e-4
    assert np.abs(model.predict([[1.0, 2.0]], verbose=0)).max() < 1000.0


def test_a_chain_has_the_columns_that_its_first_layer_has_learned():
    data = RNG.normal(size=(40, 3))
    known, later = layers.RobustScaling(), layers.QuantileTransform(seed=0)
    known.adapt(data)
    model = fastnn.Sequential([known, layers.PeriodicEmbedding(3), layers.Dense(1)], seed=0)
    assert model.predict(data, verbose=0).shape == (40, 1)
    waiting = fastnn.Sequential([later, layers.Dense(1)], seed=0)
    waiting.compile("adam", "mse")
    with pytest.raises(ValueError, match=r"must say what they are: start it with Input\(\(n_features,\)\)"):
        _ = waiting.output_shape
    with pytest.raises(ValueError, match=r"has learned nothing: call adapt\(data\) first"):
        waiting.fit(data, data[:, 0], verbose=0)
    later.adapt(data)
    waiting.fit(data, data[:, 0], verbose=0)
    with pytest.raises(ValueError, match="x has 4 features"):
        waiting.predict(np.ones((2, 4)), verbose=0)
    words = fastnn.Sequential([layers.StringLookup(vocabulary=["a"], output_mode="one_hot"), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"for strings with Input.*dtype='string'"):
        _ = words.output_shape
    assert words.predict(np.array([["a"]]), verbose=0).shape == (1, 1)
