"""Epochs that are trained in one native call: the numbers, records and errors of epochs that are trained one by one."""

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from same_bits import same_weights
from sample_models import OneByOne, relu_model, tanh_model

import fastnn
from fastnn import _core, layers
from fastnn.callbacks import TerminateOnNaN
from fastnn.training import fit as training

X = np.random.default_rng(0).normal(size=(70, 4)).astype(np.float32)
Y = np.stack([X[:, 0] - X[:, 1], np.sin(X[:, 2])], axis=1)


def two_outputs(seed):
    x = fastnn.Input((4,))
    hidden = layers.Dense(6, activation="relu")(x)
    outputs = [layers.Dense(2, name="a")(hidden), layers.Dense(2, name="b")(hidden)]
    model = fastnn.Model(x, outputs, seed=seed)
    model.compile("adam", ["mse", "mae"], loss_weights=[1.0, 0.5])
    return model


def with_dropout(seed):
    hidden = layers.Dense(6, activation="relu", kernel_regularizer="l2")
    model = fastnn.Sequential([fastnn.Input((4,)), hidden, layers.Dropout(0.3), layers.Dense(2)], seed=seed)
    model.compile("nadam", "huber")
    return model


@pytest.fixture
def counted(monkeypatch):
    """Numbers of epochs that were trained together."""
    counts = []

    class Counting(training.EpochStart):
        def begin(self, fit):
            counts.append(self.epochs)
            super().begin(fit)

    monkeypatch.setattr(training, "EpochStart", Counting)
    return counts


@pytest.mark.parametrize("build", [with_dropout, two_outputs])
@pytest.mark.parametrize(
    ("options", "together"),
    [
        ({}, [7]),
        ({"initial_epoch": 2}, [5]),
        ({"shuffle": False}, [7]),
        ({"validation_split": 0.2, "validation_freq": 3}, [7]),
        ({"validation_split": 0.2, "validation_freq": [2, 3]}, [7]),
        ({"steps_per_epoch": 2}, [1] * 7),
    ],
)
@pytest.mark.filterwarnings("ignore:x has no more rows")
def test_numbers_and_records_are_those_of_single_epochs(build, options, together, counted):
    models = [build(3), build(3)]
    y = [Y, Y] if build is two_outputs else Y
    arguments = {"batch_size": 16, "epochs": 7, "verbose": 0, **options}
    if "steps_per_epoch" in options:
        del arguments["batch_size"]
    together_history = models[0].fit(X, y, **arguments)
    assert counted == together
    reference = models[1].fit(X, y, callbacks=[OneByOne()], **arguments)
    for _ in range(2):  # later fits, too
        assert together_history.history == reference.history
        assert together_history.epoch == reference.epoch
        assert same_weights(*models)
        assert models[0].epochs_begun == models[1].epochs_begun
        assert models[0].optimizer.iterations == models[1].optimizer.iterations
        together_history = models[0].fit(X, y, **arguments)
        reference = models[1].fit(X, y, callbacks=[OneByOne()], **arguments)


@pytest.mark.parametrize(("callbacks", "metrics"), [([OneByOne()], None), ([], ["mae"])])
def test_what_needs_python_trains_single_epochs(callbacks, metrics, counted):
    model = relu_model()
    model.compile("adam", "mse", metrics=metrics)
    model.fit(X, Y, epochs=4, verbose=0, callbacks=callbacks)
    assert counted == [1] * 4


def test_a_schedule_is_followed(counted):
    models = [relu_model(), relu_model()]
    for model in models:
        model.compile(fastnn.optimizers.Adam(fastnn.optimizers.schedules.CosineDecay(0.1, 12)), "mse")
    models[0].fit(X, Y, epochs=4, verbose=0)
    models[1].fit(X, Y, epochs=4, verbose=0, callbacks=[OneByOne()])
    assert same_weights(*models)
    assert models[0].optimizer.learning_rate == models[1].optimizer.learning_rate


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_a_divergence_is_that_of_single_epochs(momentum):
    found = []
    for callbacks in ([], [OneByOne()]):
        model = tanh_model(fastnn.optimizers.SGD(0.8, momentum=momentum))
        with pytest.raises(fastnn.DivergenceError) as caught:
            model.fit(X[:, :3], Y[:, :1], batch_size=8, epochs=500, verbose=0, callbacks=callbacks)
        found.append((model, caught.value))
    (model, error), (reference, expected) = found
    assert error.epoch > 2
    assert (str(error), error.epoch, error.step) == (str(expected), expected.epoch, expected.step)
    assert model.history.history == reference.history.history and len(model.history.epoch) == error.epoch - 1
    assert same_weights(model, reference) and model.epochs_begun == reference.epochs_begun


def test_a_divergence_ends_training_without_an_error():
    found = []
    for callbacks in ([TerminateOnNaN()], [TerminateOnNaN(), OneByOne()]):
        model = tanh_model(fastnn.optimizers.SGD(0.8, momentum=0.9))
        history = model.fit(X[:, :3], Y[:, :1], batch_size=8, epochs=500, verbose=0, callbacks=callbacks)
        found.append((model, history))
    (model, history), (reference, expected) = found
    assert 2 < len(history.epoch) < 500 and history.epoch == expected.epoch
    assert np.array_equal(history.history["loss"], expected.history["loss"], equal_nan=True)
    assert same_weights(model, reference)


def until_stopped(model, act):
    timer = threading.Timer(0.2, act)
    timer.start()
    try:
        model.fit(X, Y, batch_size=70, epochs=10**8, verbose=0)
    finally:
        timer.join()


def check_record(model):
    n_epochs = len(model.history.epoch)
    assert n_epochs == len(model.history.history["loss"]) == model.optimizer.iterations == model.epochs_begun > 0
    again = relu_model()
    again.fit(X, Y, batch_size=70, epochs=n_epochs, verbose=0)
    assert same_weights(model, again) and model.history.history == again.history.history


def test_another_thread_ends_training():
    model = relu_model()
    until_stopped(model, lambda: setattr(model, "stop_training", True))
    check_record(model)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_an_interrupt_keeps_the_record_of_the_epochs_before(interruptible):
    model = relu_model()
    with pytest.raises(KeyboardInterrupt):
        until_stopped(model, lambda: os.kill(os.getpid(), signal.SIGINT))
    check_record(model)


def test_another_thread_sets_the_learning_rate():
    model = relu_model()

    def change():
        model.optimizer.learning_rate = 0.0
        for _ in range(2):  # the epochs of the old rate end, then some of the new one
            begun = model.epochs_begun
            while model.epochs_begun == begun:
                time.sleep(0.01)
        model.stop_training = True

    until_stopped(model, change)
    assert np.ptp(model.history.history["loss"][-3:]) < 1e-12


def native(network):
    return _core.Fit(network, X, np.ascontiguousarray(Y, np.float32), None, 16)


def test_the_native_epochs():
    models = [relu_model(), relu_model()]
    rates = np.full(5, 0.01)
    orders = np.array([np.random.default_rng(k).permutation(70) for k in range(3)])
    one, several = (native(model.network) for model in models)
    with pytest.raises(RuntimeError, match="needs begin_epochs"):
        several.run_epochs()
    assert several.epoch_sums.shape == (0, 3) and several.epochs_begun == 0
    expected = []
    for k in range(3):
        one.begin_epoch(5, 7 + 2 * k, False, rates, orders[k])
        assert one.run(-1, 1e9) == "finished"
        expected.append([one.loss_sum, one.penalty_sum, *one.loss_sums])
    several.begin_epochs(5, 7, 3, False, rates, orders, 2)
    calls = ["more"]
    while calls[-1] == "more":
        calls.append(several.run_epochs(0.0))  # ends after every step that looks at the clock
    assert calls[-1] == "finished" and len(calls) > 3
    assert several.epochs_begun == 3
    assert np.array_equal(several.epoch_sums, expected)
    assert same_weights(*models)
    with pytest.raises(ValueError, match="orders must hold rows from 0 to 69, got 0 to 70"):
        several.begin_epochs(5, 7, 3, False, rates, orders + np.eye(3, 70, dtype=np.int64) * (70 - orders))
    with pytest.raises(ValueError, match="learning_rates"):
        several.begin_epochs(5, 7, 3, False, rates[:4])
    several.begin_epochs(5, 7, 10**6, False, rates)
    assert several.run_epochs(0.01) == "more"
    several.end_after_epoch()
    assert several.run_epochs(1e9) == "finished" and several.epochs_begun == len(several.epoch_sums) < 10**6
