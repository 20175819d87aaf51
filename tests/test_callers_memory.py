"""The caller's arrays (overlapping, misaligned, changed during a fit) and the caller's floating-point state."""

import ctypes
import os
import platform
import sys

import numpy as np
import pytest

from fastnn import Sequential, ops
from fastnn.callbacks import Callback
from fastnn.errors import DivergenceError
from fastnn.initializers import Constant
from fastnn.layers import Dense, Input, LayerNormalization, Normalization, PReLU

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("rows", [1, 2, 5, 40, 200])
def test_predictions_written_over_their_rows(rows):
    model = Sequential([Input((272,)), Dense(272, "relu")])
    X = RNG.normal(size=(rows, 272)).astype(np.float32)
    expected = model(X)
    assert np.array_equal(model(X, out=X), expected)


def test_dense_forward_written_over_each_argument():
    X, W, B = (RNG.normal(size=shape) for shape in ((32, 32), (32, 32), (32,)))
    expected = ops.dense_forward(X, W, B, "tanh")
    for i in range(2):
        arguments = [X.copy(), W.copy(), B]
        assert np.array_equal(ops.dense_forward(*arguments, "tanh", out=arguments[i]), expected)
    block = RNG.normal(size=(33, 32))
    expected = ops.dense_forward(X, W, block[0].copy())
    assert np.array_equal(ops.dense_forward(X, W, block[0], out=block[:32]), expected)


@pytest.mark.parametrize("shift", [0, 1, 7])
@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_activations_written_over_their_argument(name, shift):
    values = RNG.normal(size=100 + shift)
    expected = ops.activation(name, values[:100])
    assert np.array_equal(ops.activation(name, values[:100], out=values[shift:]), expected)


def test_arrays_that_are_not_aligned():
    X = RNG.normal(size=(100, 4)).astype(np.float32)
    shifted = np.frombuffer(b"x" + X.tobytes(), np.float32, offset=1).reshape(X.shape)
    assert not shifted.flags.aligned
    model = Sequential([Input((4,)), Dense(3)])
    assert np.array_equal(model(shifted), model(X))
    assert np.array_equal(ops.activation("tanh", shifted), ops.activation("tanh", X))
    space = np.frombuffer(bytearray(100 * 3 * 4 + 1), np.float32, offset=1).reshape(100, 3)
    with pytest.raises(ValueError, match="aligned"):
        model(X, out=space)


def test_labels_that_become_wrong_during_a_fit_end_it():
    labels = RNG.integers(0, 3, 100)

    class Spoil(Callback):
        def on_epoch_end(self, epoch, logs=None):
            labels[:] = 10**6

    model = Sequential([Input((4,)), Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(DivergenceError):
        model.fit(RNG.normal(size=(100, 4)), labels, epochs=3, verbose=0, callbacks=[Spoil()])


def test_rows_missing_from_a_panel_do_not_overflow_a_sum():
    """Zeros in place of the missing rows would become exp(400), infinity, and 0 * infinity is not zero."""
    model = Sequential([Normalization(), Dense(1, "exponential", kernel_initializer=Constant(-1.0))])
    X = RNG.normal(2020, 5, size=(100, 1)).astype(np.float32)
    model.layers[0].adapt(X)
    model.compile("adam", "mse")
    losses = model.fit(X, np.ones((100, 1)), epochs=3, verbose=0, batch_size=33).history["loss"]
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("rows", [1, 15, 16, 17])
def test_gradients_of_rows_missing_from_a_panel(rows):
    """The output is exp(100 - 100 x) at x = 1; for a row of zeros it would be exp(100), infinite in float32."""
    X, W, B = np.ones((rows, 1), np.float32), np.full((1, 1), -100, np.float32), np.array([100], np.float32)
    gradients = ops.dense_backward(
        np.ones((rows, 1), np.float32), X, W, np.ones((rows, 1), np.float32), "exponential", B
    )
    assert gradients[0].tolist() == [[-100.0]] * rows
    assert gradients[1].tolist() == [[rows]]
    assert gradients[2].tolist() == [rows]


@pytest.mark.parametrize(
    "layer",
    [LayerNormalization(gamma_constraint="unit_norm"), PReLU(alpha_constraint="unit_norm", alpha_initializer="ones")],
)
def test_norm_constraints_hold_for_vectors(layer):
    model = Sequential([Input((40,)), layer, Dense(1)])
    model.compile("sgd", "mse")
    model.fit(RNG.normal(size=(64, 40)), RNG.normal(size=64), epochs=2, verbose=0)
    assert np.linalg.norm(layer.get_weights()[0].astype(float)) == pytest.approx(1, abs=1e-6)


@pytest.mark.skipif(
    not (sys.platform == "linux" and platform.machine() == "x86_64"),
    reason="the numbers of fesetround are those of x86-64",
)
def test_the_callers_rounding_mode_changes_no_bit():
    upward = 0x800
    libm = ctypes.CDLL("libm.so.6")
    X, W = RNG.normal(size=(50, 30)), RNG.normal(size=(30, 20))
    target = RNG.normal(size=(50, 20))

    def results():
        out = ops.dense_forward(X, W, None, "tanh")
        value, gradient = ops.loss_and_gradient("log_cosh", target, out)
        return out, ops.activation_gradient("gelu", X, X), gradient, ops.activation("softmax", X), np.float64(value)

    expected = results()
    assert libm.fesetround(upward) == 0
    try:
        given = results()
        mode = libm.fegetround()
    finally:
        libm.fesetround(0)
    assert mode == upward
    for a, b in zip(given, expected, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_child_forked_while_another_thread_predicts_can_train(run_python):
    code = """
import os, sys, threading, warnings
import numpy as np
from fastnn import Sequential
from fastnn.initializers import Constant
from fastnn.layers import Dense, Input

warnings.simplefilter("ignore", DeprecationWarning)  # of Python, about threads and fork
model = Sequential([Input((256,)), Dense(1024, "relu"), Dense(1)])
model.compile("sgd", "mse")
X = np.random.default_rng(0).normal(size=(20000, 256)).astype(np.float32)
begun, ended = threading.Event(), threading.Event()

def predict():
    while not ended.is_set():
        begun.set()
        model(X)

thread = threading.Thread(target=predict)
thread.start()
begun.wait()
status = 0
for _ in range(5):
    child = os.fork()
    if child == 0:
        model.fit(X[:64], np.zeros(64), verbose=0)
        os._exit(0)
    status |= os.waitpid(child, 0)[1]
ended.set()
thread.join()
sys.exit(status != 0)
"""
    assert run_python(code).returncode == 0
