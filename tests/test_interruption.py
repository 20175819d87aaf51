"""Fits that fail, fits that are interrupted, and a second fit at the same time."""

import signal
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


def test_a_failed_fit_leaves_the_model_free():
    model = relu_model()

    class Stop(fastnn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.fit(X, Y, verbose=0, callbacks=[Stop()])
    model.fit(X, Y, verbose=0)


def test_a_second_fit_at_the_same_time_is_refused():
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
@pytest.mark.parametrize("task", ["fit", "train_on_batch", "set_weights", "evaluate"])
def test_an_interrupt_at_any_moment_leaves_the_model_free(task):
    model = relu_model()
    weights = model.get_weights()
    work = {
        "fit": lambda: model.fit(X[:8], Y[:8], verbose=0),
        "train_on_batch": lambda: model.train_on_batch(X[:8], Y[:8]),
        "set_weights": lambda: model.set_weights(weights),
        "evaluate": lambda: model.evaluate(X[:8], Y[:8], verbose=0),
    }[task]
    armed, kept, outcomes = False, None, []
    delays = np.random.default_rng(0)
    work()
    start = time.perf_counter()
    work()
    longest = 2.0 * (time.perf_counter() - start)

    def interrupt(number, frame):
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        while len(outcomes) < 500:
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, delays.uniform(1e-6, longest))
                work()
                armed = False
                continue
            except KeyboardInterrupt as error:
                kept = error  # and with it the frames, as an interactive session does
            model.train_on_batch(X[:8], Y[:8])
            done = len(outcomes)
            thread = threading.Thread(target=lambda: outcomes.append(model.set_weights(weights)))
            thread.start()
            thread.join()
            assert len(outcomes) == done + 1, kept
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("function", ["_reserve", "options", "_compile_network"])
def test_an_interrupted_compile_changes_all_or_nothing(function):
    """The interrupt comes as a function returns; that of ``_compile_network`` has changed the network."""
    model = relu_model()
    model.compile("adam", "mse")
    model.train_on_batch(X, Y)
    old = model.optimizer

    def profile(frame, event, argument):
        if event == "return" and frame.f_code.co_name == function:
            sys.setprofile(None)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sys.setprofile(profile)
        try:
            model.compile("sgd", "mae")
        finally:
            sys.setprofile(None)
    changed = function == "_compile_network"
    assert (model.optimizer is not old, model.loss.name == "mean_absolute_error") == (changed, changed)
    assert model.network.n_slots == (0 if changed else 2) and model.optimizer.iterations == (0 if changed else 1)
    expected = model.loss(Y, model.predict(X))
    assert model.train_on_batch(X, Y) == pytest.approx(expected, rel=1e-5)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the platform has no interval timer")
def test_interruption_comes_soon_and_after_a_whole_step():
    """The timer and the wait count the processor time of this process, so that other processes do not matter."""
    big_x, big_y = np.tile(X, (30, 1)), np.tile(Y, (30, 1))
    model = relu_model(layers.Dense(64, activation="tanh"), layers.Dropout(0.1))
    steps = -(-len(big_x) // 32)

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGPROF, interrupt)
    try:
        due = time.process_time() + 0.3
        signal.setitimer(signal.ITIMER_PROF, 0.3)
        with pytest.raises(KeyboardInterrupt):
            model.fit(big_x, big_y, epochs=10**6, verbose=0)
        waited = time.process_time() - due
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)
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


def test_ctrl_c_ends_a_running_fit_within_100_ms(run_python):
    """The time is processor time of the thread that runs fit, so that other processes do not matter.

    On platforms without such a clock it is elapsed time.
    """
    program = """
import numpy, fastnn, os, signal, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
model = fastnn.Sequential([fastnn.layers.Dense(1024, activation="relu"), fastnn.layers.Dense(1)], seed=0)
model.compile("adam", "mse")
X = numpy.zeros((200000, 64), "f4")  # an epoch takes about a second
model.fit(X[:20000], X[:20000, 0], verbose=0)
per_thread = hasattr(time, "pthread_getcpuclockid")
clock = time.pthread_getcpuclockid(threading.get_ident()) if per_thread else time.CLOCK_MONOTONIC
start = time.clock_gettime(clock)

def interrupt():
    global sent
    while (now := time.clock_gettime(clock)) < start + 0.3:
        time.sleep(0.01)
    sent = now
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    model.fit(X, X[:, 0], epochs=10**6, verbose=0)
except KeyboardInterrupt:
    print(time.clock_gettime(clock) - sent, numpy.isfinite(model.predict(X[:1])).all())
"""
    waits = []
    for _ in range(3):
        run = run_python(program)
        assert run.returncode == 0, run.stderr
        waited, finite = run.stdout.split()
        assert finite == "True"
        waits.append(float(waited))
    assert max(waits) < 0.1
