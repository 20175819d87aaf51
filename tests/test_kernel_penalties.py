"""A penalty on kernels alone: bias and kernel are updated together, with the bits of separate updates."""

import numpy as np
import pytest

import fastnn
from fastnn import layers, optimizers, regularizers

NOTHING = regularizers.L2(1e-300)
"""A penalty that changes nothing but a gradient of 0 in float64; the bias has a separate update for it."""

OPTIMIZERS = {
    "adam": lambda: optimizers.Adam(0.01),
    "momentum": lambda: optimizers.SGD(0.01, momentum=0.9),
    "clipped": lambda: optimizers.Adam(0.01, clipvalue=0.02),
    "norm": lambda: optimizers.Adam(0.01, clipnorm=0.5),
    "decay": lambda: optimizers.AdamW(0.01, weight_decay=0.01),
    "accumulated": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "averaged": lambda: optimizers.RMSprop(0.01, use_ema=True),
}


def trained(penalty, bias_penalty, n_in, units, optimizer, dtype, batch_size=32):
    options = {"kernel_regularizer": penalty, "bias_regularizer": bias_penalty, "bias_initializer": "normal"}
    stack = [layers.Dense(n, activation="relu", **options) for n in units]
    stack = [fastnn.Input((n_in,)), *stack, layers.Dense(1, **options), layers.Dense(2)]
    model = fastnn.Sequential(stack, seed=0, dtype=dtype)
    model.compile(OPTIMIZERS[optimizer](), "mse")
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((70, n_in)).astype(dtype), rng.standard_normal((70, 2)).astype(dtype)
    history = model.fit(X, y, batch_size=batch_size, epochs=3, verbose=0)
    return [*model.get_weights(), *model.gradients(X, y)], history.history["loss"]


def assert_same(found, expected):
    for a, b in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-290)  # exact, except for the penalty where a gradient is 0
    assert found[1] == expected[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("penalty", [regularizers.L2(0.01), regularizers.L1L2(0.003, 0.02)], ids=["l2", "l1l2"])
def test_bias_and_kernel_together_have_the_bits_of_separate_updates(penalty, optimizer, dtype):
    for n_in, units in ((1, [1]), (3, [5, 17]), (10, [32, 32]), (100, [16, 37]), (130, [1, 96])):
        found = trained(penalty, None, n_in, units, optimizer, dtype)
        assert_same(found, trained(penalty, NOTHING, n_in, units, optimizer, dtype))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_threads_and_pieces_change_no_bit(n_threads):
    with fastnn.threads(n_threads):
        found = trained(regularizers.L2(0.01), None, 300, [400, 300], "adam", "float32", 64)
    with fastnn.threads(1):
        assert_same(found, trained(regularizers.L2(0.01), NOTHING, 300, [400, 300], "adam", "float32", 64))


def test_the_bias_has_no_penalty():
    """With zero inputs and targets equal to the bias there is no gradient: only a penalty could move a weight."""
    kernel = np.arange(1.0, 65.0).reshape(4, 16)
    model = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(16, kernel_regularizer=regularizers.L2(0.5))])
    model.compile(optimizers.SGD(0.125), "mse")
    model.set_weights([kernel, np.full(16, 2.0)])
    model.fit(np.zeros((32, 4)), np.full((32, 16), 2.0), batch_size=32, epochs=1, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], kernel * 0.875)
    np.testing.assert_array_equal(model.get_weights()[1], np.full(16, 2.0))
