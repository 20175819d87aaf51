"""Fits that fail, that are interrupted, and a second one at the same time."""

import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from same_bits import same_weights
from sample_models import relu_model

import fastnn
from fastnn import layers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 4)).astype(np.float32)
Y = np.stack([X[:, 0] - X[:, 1], np.sin(X[:, 2])], axis=1)


def test_failed_fit_leaves_the_model_free():
    model = relu_model()

    class Stop(fastnn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.fit(X, Y, verbose=0, callbacks=[Stop()])
    model.fit(X, Y, verbose=0)


def test_second_training_at_once_is_refused():
    model = relu_model()
    started, go_on, errors = threading.Event(), threading.Event(), []

    class Wait(fastnn.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            started.set()
            assert go_on.wait(10.0)

    thread = threading.Thread(target=model.fit, args=(X, Y), kwargs={"verbose": 0, "callbacks": [Wait()]})
    thread.start()
    assert started.wait(10.0)
    for call in (
        lambda: model.fit(X, Y, verbose=0),
        lambda: model.train_on_batch(X, Y),
        lambda: model.compile("sgd", "mse"),
        lambda: model.add(layers.Dense(1)),
    ):
        with pytest.raises(RuntimeError, match="cannot begin: fit runs in another thread"):
            call()
        errors.append(1)
    go_on.set()
    thread.join()
    assert len(errors) == 4
    assert model.network.iterations == 3
    model.fit(X, Y, verbose=0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the platform has no interval timer")
def test_interruption_comes_at_a_whole_step_and_soon():
    big_x, big_y = np.tile(X, (30, 1)), np.tile(Y, (30, 1))
    model = relu_model(layers.Dense(64, activation="tanh"), layers.Dropout(0.1))
    steps = -(-len(big_x) // 32)
    raised = []

    def interrupt(number, frame):
        raised.append(time.monotonic())
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            model.fit(big_x, big_y, epochs=10**6, verbose=0)
        waited = time.monotonic() - raised[0]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert waited < 0.5
    done = model.network.iterations
    assert done > 0

    class StopAt(fastnn.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = self.model.network.iterations == done

    repeated = relu_model(layers.Dense(64, activation="tanh"), layers.Dropout(0.1))
    whole = done // steps
    if whole:
        repeated.fit(big_x, big_y, epochs=whole, verbose=0)
    if done % steps:
        repeated.fit(big_x, big_y, epochs=1, verbose=0, callbacks=[StopAt()])
    assert repeated.network.iterations == done
    assert same_weights(model, repeated)
    model.fit(X, Y, verbose=0)


def test_ctrl_c_ends_a_running_fit_within_100_ms():
    program = """
import numpy, fastnn, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
model = fastnn.Sequential([fastnn.layers.Dense(256, activation="relu"), fastnn.layers.Dense(1)], seed=0)
model.compile("adam", "mse")
X = numpy.zeros((20000, 64), "f4")
model.fit(X, X[:, 0], verbose=0)
print("ready", flush=True)
try:
    model.fit(X, X[:, 0], epochs=10**6, verbose=0)
except KeyboardInterrupt:
    print(time.monotonic(), numpy.isfinite(model.predict(X[:1])).all(), flush=True)
"""
    waits = []
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        when, finite = process.communicate(timeout=30)[0].split()
        assert finite == "True"
        waits.append(float(when) - sent)
    # The best of three: a busy machine delays a process for reasons of its own.
    assert min(waits) < 0.1
