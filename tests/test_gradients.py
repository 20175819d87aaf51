"""Gradients of models against finite differences of the loss and of the outputs."""

import numpy as np
import pytest
from derivatives import finite_difference

import fastnn
from fastnn import layers

RNG = np.random.default_rng(2)
X = RNG.normal(size=(150, 3))
Y = RNG.normal(size=(150, 2))


def make(*last):
    model = fastnn.Sequential(
        [fastnn.Input((3,)), layers.Dense(6, activation="tanh"), layers.Dropout(0.3), *last],
        seed=0,
        dtype="float64",
    )
    model.compile("sgd", "mse")
    return model


def test_gradients_are_differences_of_the_loss():
    model, weight = make(layers.Dense(2)), RNG.uniform(0.5, 2.0, 150)
    gradients = model.gradients(X, Y, weight)
    weights = model.get_weights()
    assert [g.shape for g in gradients] == [w.shape for w in weights]

    def loss_with(number, moved):
        model.set_weights([*weights[:number], moved, *weights[number + 1 :]])
        return model.evaluate(X, Y, sample_weight=weight, verbose=0)

    for number, array in enumerate(weights):
        numeric = finite_difference(lambda moved, number=number: loss_with(number, moved), array)
        assert gradients[number] == pytest.approx(numeric, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(
    "last",
    [
        [layers.Dense(2)],
        [layers.Dense(3, activation="softmax")],
        [layers.BatchNormalization(), layers.LayerNormalization(), layers.Dense(2, activation="gelu")],
        [layers.Residual([layers.Dense(6, activation="silu")]), layers.Dense(1)],
    ],
    ids=["linear", "softmax", "normalized", "residual"],
)
def test_input_gradients_are_differences_of_the_outputs(last):
    model, step = make(*(type(layer).from_config(layer.get_config()) for layer in last)), 1e-6
    jacobians = model.input_gradients(X)
    assert jacobians.shape == (150, model.output_shape[1], 3)
    assert np.abs(jacobians).max() > 1e-3
    for column in range(3):
        moved = step * np.eye(3)[column]
        differences = (model.predict(X + moved) - model.predict(X - moved)) / (2 * step)
        np.testing.assert_allclose(jacobians[:, :, column], differences, rtol=1e-6, atol=1e-8)
