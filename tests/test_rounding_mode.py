"""The rounding mode of other libraries changes no number: not in C, and not where Python computes."""

import ctypes
import ctypes.util
import platform

import numpy as np
import pytest
from same_bits import same_weights

import fastnn
from fastnn import layers

X = np.random.default_rng(0).normal(size=(90, 5))
Y = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1) / 3
WEIGHTS = np.linspace(0.1, 1, 90)
UPWARD = {"x86_64": 0x800, "AMD64": 0x800, "aarch64": 0x400000, "arm64": 0x400000}


@pytest.fixture
def rounding_up():
    """Set the rounding mode of this thread for one test."""
    name = ctypes.util.find_library("m")
    mode = UPWARD.get(platform.machine())
    if name is None or mode is None:
        pytest.skip("the rounding modes of this platform are not known")
    library = ctypes.CDLL(name)
    before = library.fegetround()

    def set_mode(up):
        assert library.fesetround(mode if up else before) == 0

    yield set_mode
    library.fesetround(before)


def results(dtype, optimizer):
    model = fastnn.Sequential(
        [
            layers.Dense(16, "tanh", kernel_initializer="he_normal", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dense(8, "gelu", kernel_initializer="orthogonal"),
            layers.Dense(2),
        ],
        dtype=dtype,
        seed=3,
    )
    schedule = fastnn.optimizers.schedules.CosineDecay(0.01, 40)
    model.compile(type(optimizer)(schedule), "log_cosh", metrics=["mae"])
    history = model.fit(X, Y, batch_size=16, epochs=4, validation_split=0.2, verbose=0).history
    model.train_on_batch(X, Y, sample_weight=WEIGHTS)
    return model, history, model.evaluate(X, Y, verbose=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["adam", "nadam", "sgd", "adamax", "rmsprop", "lion"])
def test_fits_are_the_same_in_every_rounding_mode(rounding_up, dtype, optimizer):
    rule = fastnn.optimizers.get(optimizer)
    model, history, evaluation = results(dtype, rule)
    rounding_up(True)
    other, other_history, other_evaluation = results(dtype, rule)
    still_up = np.float64(1.0) + np.float64(2.0**-60) > 1.0
    rounding_up(False)
    assert still_up
    assert same_weights(model, other)
    assert history == other_history
    assert evaluation == other_evaluation


@pytest.mark.parametrize("name", ["glorot_uniform", "he_normal", "lecun_normal", "truncated_normal", "orthogonal"])
def test_starting_weights_are_the_same_in_every_rounding_mode(rounding_up, name):
    def start():
        model = fastnn.Sequential([layers.Dense(16, kernel_initializer=name)], dtype="float64", seed=5)
        model.build((None, 5))
        return model

    model = start()
    rounding_up(True)
    other = start()
    rounding_up(False)
    assert same_weights(model, other)


def test_estimators_are_the_same_in_every_rounding_mode(rounding_up):
    def fitted():
        return fastnn.MLPRegressor(hidden_layer_sizes=(8,), max_iter=5, random_state=0).fit(X, Y)

    pytest.importorskip("sklearn")
    regressor = fitted()
    rounding_up(True)
    other = fitted()
    rounding_up(False)
    assert all(np.array_equal(a, b) for a, b in zip(regressor.coefs_, other.coefs_, strict=True))
