"""The loss landscape: its values by hand and by evaluate, its directions, and the model, which does not change."""

import numpy as np
import pytest
from same_bits import same_arrays

import fastnn
from fastnn import layers
from fastnn.landscape import _random_direction


def regression(dtype="float64", n=60):
    generator = np.random.default_rng(1)
    X = generator.normal(size=(n, 3))
    model = fastnn.Sequential(
        [fastnn.Input((3,)), layers.Dense(6, activation="tanh"), layers.Dense(2)], seed=3, dtype=dtype
    )
    model.compile("adam", "mse")
    return model, X, np.c_[X[:, 0] * X[:, 1], X[:, 2]]


def test_one_weight_gives_the_parabola():
    # loss(w) = mean (w x - 2 x)^2 = (w - 2)^2 mean x^2; the direction is +-|w|
    model = fastnn.Sequential([fastnn.Input((1,)), layers.Dense(1, use_bias=False)], dtype="float64")
    model.compile("sgd", "mse")
    model.set_weights([np.array([[2.0]])])
    x = np.array([[1.0], [3.0]])
    result = fastnn.loss_landscape(model, x, 2.0 * x, span=1.0, n=5, dimensions=1)
    np.testing.assert_array_equal(result.alpha, [-1.0, -0.5, 0.0, 0.5, 1.0])
    np.testing.assert_allclose(result.loss, (2.0 * result.alpha) ** 2 * 5.0, rtol=1e-14)
    assert result.centre_loss == 0.0 and result.beta is None and result.path is None


def test_every_point_is_the_loss_of_a_model_with_those_weights():
    model, X, y = regression()
    before = model.get_weights()
    result = fastnn.loss_landscape(model, X, y, span=0.7, n=5, seed=4)
    assert same_arrays(before, model.get_weights())
    assert result.loss[2, 2] == result.centre_loss == model.evaluate(X, y, verbose=0)
    generator = np.random.Generator(np.random.Philox(4))
    flat = np.concatenate([w.ravel() for w in before])
    d1, d2 = (_random_direction(flat, [w.shape for w in before], "filter", generator) for _ in range(2))
    cuts = np.cumsum([w.size for w in before])[:-1]
    for i, j in ((0, 0), (4, 1), (1, 3)):
        point = flat + result.alpha[i] * d1 + result.beta[j] * d2
        model.set_weights([part.reshape(w.shape) for part, w in zip(np.split(point, cuts), before, strict=True)])
        np.testing.assert_allclose(result.loss[j, i], model.evaluate(X, y, verbose=0), rtol=1e-12)


def test_filter_directions_have_the_norm_of_each_units_weights_and_leave_biases():
    generator = np.random.Generator(np.random.Philox(0))
    centre, shapes = np.arange(1.0, 13.0), [(3, 3), (3,)]
    direction = _random_direction(centre, shapes, "filter", generator)
    np.testing.assert_allclose(
        np.linalg.norm(direction[:9].reshape(3, 3), axis=0),
        np.linalg.norm(centre[:9].reshape(3, 3), axis=0),
        rtol=1e-14,
    )
    np.testing.assert_array_equal(direction[9:], 0.0)
    direction = _random_direction(centre, shapes, "random", generator)
    np.testing.assert_allclose(np.linalg.norm(direction), np.linalg.norm(centre[:9]), rtol=1e-14)


def test_scaling_a_relu_network_does_not_change_its_filter_landscape():
    # relu(c W1 x) W2 / c is the same function: filter normalisation exists for this (Li et al., 2018, section 4)
    generator = np.random.default_rng(0)
    X = generator.normal(size=(50, 3))
    model = fastnn.Sequential(
        [fastnn.Input((3,)), layers.Dense(8, "relu", False), layers.Dense(1, use_bias=False)], seed=0, dtype="float64"
    )
    model.compile("sgd", "mse")
    first, second = model.get_weights()
    results = {}
    for kind in ("filter", "random"):
        for factor in (1.0, 8.0):
            model.set_weights([first * factor, second / factor])
            results[kind, factor] = fastnn.loss_landscape(model, X, X[:, 0], n=5, directions=kind).loss
    np.testing.assert_allclose(results["filter", 8.0], results["filter", 1.0], rtol=1e-10)


def test_trajectory_spans_the_path():
    model, X, y = regression()
    recorder = fastnn.WeightRecorder()
    losses = model.fit(X, y, epochs=8, verbose=0, shuffle=False, callbacks=[recorder], validation_data=(X, y)).history
    assert len(recorder.weights) == 9
    result = fastnn.loss_landscape(model, X, y, n=9, directions="trajectory", trajectory=recorder)
    np.testing.assert_allclose(result.path[-1], [0.0, 0.0], atol=1e-12)
    assert 0.5 < result.explained_variance.sum() <= 1.0 and np.all(np.diff(result.explained_variance) < 0)
    for axis, grid in enumerate((result.alpha, result.beta)):
        assert grid[0] < result.path[:, axis].min() and result.path[:, axis].max() < grid[-1]
    np.testing.assert_allclose(result.centre_loss, losses["val_loss"][-1], rtol=1e-12)
    # The plane is a projection of the path, so distances do not grow.
    start = np.concatenate([w.ravel() for w in recorder.weights[0]])
    end = np.concatenate([w.ravel() for w in recorder.weights[-1]])
    np.testing.assert_array_less(np.linalg.norm(result.path[0]), np.linalg.norm(start - end) * (1 + 1e-12))


def test_normalisation_layers_keep_their_weights():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(80, 3))
    model = fastnn.Sequential(
        [fastnn.Input((3,)), layers.Dense(4), layers.BatchNormalization(), layers.Dense(1)], seed=0, dtype="float64"
    )
    model.compile("adam", "mse")
    recorder = fastnn.WeightRecorder()
    model.fit(X, X[:, 0], epochs=4, verbose=0, callbacks=[recorder])
    weights = model.get_weights()
    shapes = [weight.shape for weight in weights]
    centre = np.concatenate([weight.ravel() for weight in weights])
    direction = _random_direction(centre, shapes, "filter", np.random.Generator(np.random.Philox(0)))
    parts = np.split(direction, np.cumsum([weight.size for weight in weights])[:-1])
    assert [bool(part.any()) for part in parts] == [len(shape) == 2 for shape in shapes]
    # Far along the path the moving variance would be negative.
    result = fastnn.loss_landscape(model, X, X[:, 0], span=20.0, n=7, directions="trajectory", trajectory=recorder)
    assert np.isfinite(result.loss).all()


def test_recorder_keeps_every_second_epoch():
    model, X, y = regression()
    recorder = fastnn.WeightRecorder(every=2)
    model.fit(X, y, epochs=5, verbose=0, callbacks=[recorder])
    assert len(recorder.weights) == 3


@pytest.mark.parametrize("threads", [1, 3])
def test_classes_weights_and_threads(threads):
    generator = np.random.default_rng(0)
    X = generator.normal(size=(70, 4)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    weight = generator.random(70)
    model = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(5, "relu"), layers.Dense(3, "softmax")], seed=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    with fastnn.threads(threads):
        result = fastnn.loss_landscape(model, X, y, n=5, sample_weight=weight)
    assert result.loss[2, 2] == result.centre_loss
    np.testing.assert_allclose(result.centre_loss, model.evaluate(X, y, verbose=0, sample_weight=weight), rtol=1e-6)
    again = fastnn.loss_landscape(model, X, y, n=5, sample_weight=weight)
    np.testing.assert_array_equal(result.loss, again.loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"directions": "filters"}, "directions must be 'filter', .*, got 'filters'. Did you mean 'filter'"),
        ({"directions": "trajectory"}, "needs the weights that training visited"),
        ({"dimensions": 3}, "dimensions must be 1 or 2, got 3"),
        ({"span": 0.0}, "span must be a finite number greater than 0"),
        ({"n": 1}, "n must be"),
    ],
)
def test_bad_input(options, message):
    model, X, y = regression()
    with pytest.raises(ValueError, match=message):
        fastnn.loss_landscape(model, X, y, **options)


def test_bad_trajectories():
    model, X, y = regression()
    with pytest.raises(ValueError, match="more than 2 records, got 1"):
        fastnn.loss_landscape(model, X, y, directions="trajectory", trajectory=[model.get_weights()])
    with pytest.raises(ValueError, match="no path to draw"):
        fastnn.loss_landscape(model, X, y, directions="trajectory", trajectory=[model.get_weights()] * 3)
    with pytest.raises(ValueError, match="record 0 of trajectory does not have the shapes"):
        fastnn.loss_landscape(model, X, y, directions="trajectory", trajectory=[[np.ones(3)]] * 3)
