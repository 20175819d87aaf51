"""What a model says about its inside: the outputs of hidden layers, and penalties on weights."""

import numpy as np
import pytest
from same_bits import same_arrays

import fastnn
from fastnn import layers, regularizers

X = np.random.default_rng(0).normal(size=(40, 3))


def deep_model():
    stack = [
        layers.Normalization(),
        layers.Dense(4),
        layers.Activation("tanh"),
        layers.BatchNormalization(),
        layers.Dropout(0.3),
        layers.Residual([layers.Dense(4, activation="gelu")]),
        layers.Identity(),
        layers.Dense(2, activation="softmax"),
    ]
    model = fastnn.Sequential(stack, seed=0)
    model.compile("adam", "mse")
    model.fit(X, X[:, :2], epochs=2, verbose=0)
    return model


def test_hidden_activations_are_those_of_the_shorter_models():
    model = deep_model()
    hidden = model.hidden_activations(X)
    assert [each.shape for each in hidden] == [(40, 3)] + 6 * [(40, 4)]
    assert all(each.dtype == np.float32 for each in hidden)
    rest = fastnn.models.clone_model(model)
    rest.set_weights(model.get_weights())
    for outputs in reversed(hidden):
        rest.pop()
        assert np.array_equal(rest.predict(X), outputs)
    assert np.array_equal(hidden[3], hidden[4]) and np.array_equal(hidden[5], hidden[6])


def test_hidden_activations_of_images_and_of_missing_values():
    images = np.arange(24.0).reshape(2, 3, 4)
    model = fastnn.Sequential([fastnn.Input((3, 4)), layers.Flatten(), layers.Dense(1)])
    assert np.array_equal(model.hidden_activations(images)[0], images.reshape(2, 12))
    holes = np.array([[1.0, np.nan, 3.0], [2.0, 5.0, 4.0]])
    filling = layers.Normalization(missing="mean")
    filling.adapt(holes)
    model = fastnn.Sequential([filling, layers.Dense(2)])
    assert model.hidden_activations(holes)[0][0, 1] == 0.0
    with pytest.raises(ValueError, match="x has 2 features"):
        model.hidden_activations(holes[:, :2])


def test_symbolic_tensors_of_a_chain_are_those_of_its_layers():
    model = deep_model()
    assert model.inputs == [model.layers[0].input] and model.outputs == [model.layers[-1].output]
    assert model.layers[1].input is model.layers[0].output
    part = fastnn.Model(model.inputs, model.layers[1].output)
    X = np.linspace(-1.0, 1.0, 4 * model.n_features).reshape(4, -1)
    np.testing.assert_array_equal(part.predict(X), model.hidden_activations(X)[1])
    with pytest.raises(AttributeError, match="has not been called on a tensor, so that output is not one tensor"):
        _ = layers.Dense(2).output


def test_losses_are_the_penalties_on_trained_weights_in_the_order_of_the_layers():
    frozen = layers.Dense(2, kernel_regularizer="l2", trainable=False)
    stack = [
        layers.Dense(2, kernel_regularizer=regularizers.L1(0.5), bias_regularizer=regularizers.L2(2.0)),
        layers.Dropout(0.5),
        layers.Residual([layers.Dense(2, kernel_regularizer=regularizers.L1L2(0.25, 0.5))]),
        frozen,
        layers.BatchNormalization(gamma_regularizer=regularizers.L1(3.0)),
        layers.Dense(1, activity_regularizer="l2"),
    ]
    model = fastnn.Sequential(stack)
    assert model.losses == []
    model.build((None, 2))
    model.set_weights([np.full(weight.shape, -2.0) for weight in model.weights])
    # 0.5 * 4 * 2, 2 * 2 * 4, (0.25 * 2 + 0.5 * 4) * 4, 3 * 2 * 2
    assert model.losses == [4.0, 16.0, 10.0, 12.0]
    model.compile("sgd", "mse")
    assert model.network.penalty == pytest.approx(sum(model.losses))
    assert model.layers[0].losses == [4.0, 16.0] and frozen.losses == []
    frozen.trainable = True
    assert model.losses[3] == pytest.approx(0.01 * 4 * 4)
    assert same_arrays(model.layers[1].get_weights(), []) and model.layers[1].losses == []
