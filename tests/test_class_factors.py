"""Categorical focal loss with a factor per class, and losses of single rows."""

import math

import numpy as np
import pytest
from derivatives import finite_difference

import fastnn
from fastnn import _core, layers, losses, ops, reference

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
LABELS = RNG.integers(0, 3, 60)
Y = np.eye(3)[LABELS]
FACTORS = [0.5, 2.0, 0.25]


def make_model(activation="softmax"):
    return fastnn.Sequential(
        [fastnn.Input((4,)), layers.Dense(5, "tanh"), layers.Dense(3, activation)], seed=1, dtype="float64"
    )


def train(loss, activation="softmax", **fit):
    model = make_model(activation)
    model.compile("sgd", loss)
    history = model.fit(X, Y, epochs=3, batch_size=16, verbose=0, **fit).history["loss"]
    return history, model.get_weights()


def test_factors_by_hand():
    y, p = np.eye(3)[[1, 2, 0]], np.array([[0.25, 0.5, 0.25], [0.2, 0.6, 0.2], [1.0, 1.0, 2.0]])
    rows = [2.0 * 0.25 * math.log(2.0), 0.25 * 0.64 * math.log(5.0), 0.5 * 0.5625 * math.log(4.0)]
    for alpha in (FACTORS, tuple(FACTORS), np.array(FACTORS, np.float32)):
        np.testing.assert_allclose(losses.categorical_focal_crossentropy(y, p, alpha), rows, rtol=1e-14)
        loss = losses.CategoricalFocalCrossentropy(alpha)
        assert loss(y, p) == pytest.approx(sum(rows) / 3, rel=1e-14)
        assert loss(y, p, sample_weight=[0.0, 3.0, 0.0]) == pytest.approx(rows[1], rel=1e-14)
        logits = losses.CategoricalFocalCrossentropy(alpha, from_logits=True, reduction="sum")
        assert logits(y, np.log(p)) == pytest.approx(sum(rows), rel=1e-14)
    # targets (0.1, 0.1, 0.8) of the second row
    smooth = -(0.5 * 0.1 * 0.64 * math.log(0.2) + 2.0 * 0.1 * 0.16 * math.log(0.6) + 0.25 * 0.8 * 0.64 * math.log(0.2))
    got = losses.categorical_focal_crossentropy(y[1], p[1], FACTORS, label_smoothing=0.3)
    assert got == pytest.approx(smooth, rel=1e-14)


@pytest.mark.parametrize("from_logits", [False, True])
def test_gradient_is_the_derivative(from_logits):
    p = RNG.normal(size=(7, 3)) if from_logits else RNG.uniform(0.1, 0.9, (7, 3))
    options = {"alpha": FACTORS, "gamma": 1.5, "label_smoothing": 0.1, "from_logits": from_logits}
    value, gradient = ops.loss_and_gradient("categorical_focal_crossentropy", Y[:7], p, **options)
    expected, twin = reference.loss_and_gradient("categorical_focal_crossentropy", Y[:7], p, **options)
    assert value == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(gradient, twin, rtol=1e-12, atol=1e-15)
    numeric = finite_difference(lambda q: ops.loss("categorical_focal_crossentropy", Y[:7], q, **options), p)
    assert gradient == pytest.approx(numeric, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("activation", ["softmax", "softplus"])
def test_training_with_factors_equals_training_with_sample_weights(activation):
    history, weights = train(losses.CategoricalFocalCrossentropy(FACTORS), activation)
    other, expected = train(
        losses.CategoricalFocalCrossentropy(1.0), activation, sample_weight=np.array(FACTORS)[LABELS]
    )
    np.testing.assert_allclose(history, other, rtol=1e-13)
    for got, value in zip(weights, expected, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-11, atol=1e-14)
    same, equal = train(losses.CategoricalFocalCrossentropy([0.75] * 3), activation)
    once, number = train(losses.CategoricalFocalCrossentropy(0.75), activation)
    assert same == once
    assert all(a.tobytes() == b.tobytes() for a, b in zip(equal, number, strict=True))


def test_evaluate_and_test_on_batch_take_the_factors():
    model = make_model()
    model.compile("sgd", losses.CategoricalFocalCrossentropy(FACTORS))
    expected = losses.CategoricalFocalCrossentropy(FACTORS)(Y, model.predict(X))
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(expected, rel=1e-12)
    assert model.test_on_batch(X, Y) == model.evaluate(X, Y, verbose=0)


def test_factors_survive_configuration_and_files(tmp_path):
    loss = losses.CategoricalFocalCrossentropy(np.array(FACTORS), name="weighted")
    assert loss.get_config()["alpha"] == FACTORS
    assert losses.CategoricalFocalCrossentropy.from_config(loss.get_config()).get_config() == loss.get_config()
    assert "alpha=[0.5, 2.0, 0.25]" in repr(loss)
    model = make_model()
    model.compile("sgd", loss)
    model.fit(X, Y, epochs=1, verbose=0)
    model.save(tmp_path / "model.safetensors")
    loaded = fastnn.load_model(tmp_path / "model.safetensors")
    assert loaded.loss.get_config() == loss.get_config()
    assert loaded.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)


def test_a_wrong_number_of_factors_is_refused_and_changes_nothing():
    short = losses.CategoricalFocalCrossentropy([0.5, 2.0])
    message = r"alpha of categorical_focal_crossentropy must have one factor per class, 3, .* got 2: \[0.5, 2.0\]"
    built = make_model()
    built.compile("adam", "categorical_crossentropy")
    before = built.loss, built.optimizer
    with pytest.raises(ValueError, match=message):
        built.compile("sgd", short)
    assert (built.loss, built.optimizer) == before
    unbuilt = fastnn.Sequential([layers.Dense(3, "softmax")])
    unbuilt.compile("sgd", short)
    with pytest.raises(ValueError, match=message):
        unbuilt.fit(X, Y, verbose=0)
    assert not unbuilt.built
    message = r"alpha must hold one weight for each of 3 classes, got shape \(2,\)"
    for call in (
        lambda: short(Y, Y),
        lambda: losses.categorical_focal_crossentropy(Y, Y, [0.5, 2.0]),
        lambda: reference.loss("categorical_focal_crossentropy", Y, Y, alpha=[0.5, 2.0]),
        lambda: _core.Network(4, [("dense", {"n_out": 3})]).compile(
            "categorical_focal_crossentropy", {"alpha": [0.5, 2.0], "gamma": 2.0}, "sgd", {}
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_reduction_none_gives_the_loss_of_every_row():
    y, p = np.array([[0.0, 2.0], [1.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 3.0]])
    for reduction in ("none", None):
        loss = losses.MeanSquaredError(reduction=reduction)
        assert loss(y, p).tolist() == [2.5, 2.0]
        assert loss(y, p, sample_weight=[2.0, 0.5]).tolist() == [5.0, 1.0]
        assert type(loss).from_config(loss.get_config())(y, p).tolist() == [2.5, 2.0]
    rows = losses.SparseCategoricalCrossentropy(reduction="none")([1, 0], [[0.5, 0.5], [0.25, 0.75]])
    np.testing.assert_allclose(rows, [math.log(2.0), math.log(4.0)], rtol=1e-15)


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.float16(0.5)])
def test_losses_accept_numpy_scalars(number):
    for make in (losses.Huber, losses.Quantile):
        assert make(number).get_config() == make(0.5).get_config()
    loss = losses.BinaryFocalCrossentropy(alpha=number, gamma=np.int64(2), label_smoothing=number)
    assert [type(value) for value in loss.get_config().values()][:3] == [bool, float, float]
    assert loss.get_config() == losses.BinaryFocalCrossentropy(alpha=0.5, gamma=2.0, label_smoothing=0.5).get_config()
