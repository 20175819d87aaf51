"""Epochs that are validated and stopped early in native calls: all numbers and records are those of single epochs."""

import os
import signal
import sys
import threading

import numpy as np
import pytest
from same_bits import same_weights
from sample_models import OneByOne

import fastnn
from fastnn import _core, layers
from fastnn.callbacks import EarlyStopping, TerminateOnNaN
from fastnn.training import epochs, fit

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 4)).astype(np.float32)
Y = np.stack([X[:, 0] - X[:, 1], np.sin(X[:, 2])], axis=1) + RNG.normal(size=(70, 2))
LABELS = RNG.integers(0, 3, 70)
WEIGHT = RNG.uniform(size=70)
STATE = ("wait", "stopped_epoch", "best", "best_epoch")


def chain(seed=3, loss="mse", rate=0.05, **options):
    stack = [
        fastnn.Input((4,)),
        layers.Dense(6, activation="tanh", kernel_regularizer="l2", **options),
        layers.BatchNormalization(),
        layers.Dropout(0.2),
        layers.Dense(2),
    ]
    model = fastnn.Sequential(stack, seed=seed)
    model.compile(fastnn.optimizers.Adam(rate), loss)
    return model, (X, Y)


def classifier(seed=3, **options):
    stack = [fastnn.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(3, activation="softmax")]
    model = fastnn.Sequential(stack, seed=seed)
    model.compile(fastnn.optimizers.RMSprop(0.03, use_ema=True), "sparse_categorical_crossentropy", **options)
    return model, (X, LABELS, WEIGHT)


def graph(seed=3):
    a, b = fastnn.Input((3,), name="a"), fastnn.Input((1,), name="b")
    hidden = layers.Dense(5, activation="relu")(layers.concatenate([a, b]))
    outputs = [layers.Dense(2, name="c")(hidden), layers.Dense(3, activation="softmax", name="d")(hidden), hidden]
    model = fastnn.Model([a, b], outputs, seed=seed)
    model.compile("adam", ["mae", "sparse_categorical_crossentropy", None], loss_weights=[0.7, 2.0, 1.0])
    return model, ([X[:, :3], X[:, 3:]], [Y, LABELS, None])


def coupled(seed=3):
    model = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(2, activation="sigmoid")], seed=seed)
    model.compile("adam", "dice")
    return model, (X, (Y > 0).astype(np.float32))


def doubles(seed=3):
    model = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(2)], seed=seed, dtype="float64")
    model.compile(fastnn.optimizers.SGD(0.3), "huber")
    return model, (X.astype(np.float64), Y)


def penalized(seed=3):
    return chain(seed, activity_regularizer="l2")


def custom(seed=3):
    return chain(
        seed, lambda y_true, y_pred: (float(np.mean((y_pred - y_true) ** 2)), 2 * (y_pred - y_true) / y_pred.size)
    )


def measured(seed=3):
    return classifier(seed, metrics=["accuracy"])


def part(data, rows):
    if isinstance(data, (list, tuple)):
        return type(data)(part(each, rows) for each in data)
    return None if data is None else data[rows]


def train(build, stopping=None, one_by_one=False, **options):
    model, data = build()
    callbacks = [EarlyStopping(**stopping)] if stopping is not None else []
    arguments = {
        "epochs": 40,
        "batch_size": 16,
        "verbose": 0,
        "validation_data": part(data, slice(50, None)),
        **options,
    }
    x, y, *weight = part(data, slice(50))
    if weight:
        arguments["sample_weight"] = weight[0]
    others = [OneByOne()] if one_by_one else []
    history = model.fit(x, y, callbacks=[*callbacks, *others], **arguments)
    return model, history, callbacks


def check_equal(found, expected):
    (model, history, stoppers), (reference, reference_history, references) = found, expected
    assert history.history == reference_history.history and list(history.history) == list(reference_history.history)
    assert history.epoch == reference_history.epoch
    assert same_weights(model, reference)
    assert model.epochs_begun == reference.epochs_begun and model.stop_training == reference.stop_training
    for stopper, other in zip(stoppers, references, strict=True):
        assert [getattr(stopper, name) for name in STATE] == [getattr(other, name) for name in STATE]
        assert (stopper.best_weights is None) == (other.best_weights is None)
        for best, same in zip(stopper.best_weights or [], other.best_weights or [], strict=True):
            assert np.array_equal(best, same) and best.dtype == same.dtype


@pytest.fixture(params=[0.05, 0.0], ids=["", "cut"])
def counted(request, monkeypatch):
    """Numbers of epochs that were trained together, in calls that end after 50 ms, or after every epoch."""
    counts = []

    class Counting(fit.EpochStart):
        def begin(self, native):
            counts.append(self.epochs)
            super().begin(native)

    monkeypatch.setattr(fit, "EpochStart", Counting)
    monkeypatch.setattr(epochs, "SLICE_SECONDS", request.param)
    return counts


@pytest.mark.parametrize(
    ("build", "native"),
    [
        (chain, True),
        (classifier, True),
        (graph, True),
        (coupled, False),
        (doubles, True),
        (penalized, False),
        (custom, False),
        (measured, False),
    ],
)
@pytest.mark.parametrize(
    "stopping",
    [
        None,
        {},
        {"patience": 2, "restore_best_weights": True},
        {"patience": 3, "min_delta": 0.01, "start_from_epoch": 4, "restore_best_weights": True},
        {"monitor": "loss", "patience": 1, "min_delta": 0.02},
        {"patience": 4, "baseline": 0.9, "mode": "min"},
        {"patience": 50, "restore_best_weights": True},
    ],
)
def test_losses_records_and_early_stopping_are_those_of_single_epochs(build, native, stopping, counted):
    found = train(build, stopping)
    assert (counted[0] == 40) == native
    check_equal(found, train(build, stopping, one_by_one=True))


@pytest.mark.parametrize("stopping", [None, {"patience": 2}])
def test_a_loss_of_whole_batches_is_native_where_the_held_out_rows_are_one(stopping, counted):
    found = train(coupled, stopping, validation_batch_size=20)
    assert counted[0] == 40
    check_equal(found, train(coupled, stopping, one_by_one=True, validation_batch_size=20))


@pytest.mark.parametrize("seed", range(8))
def test_random_options(seed, counted):
    rng = np.random.default_rng(seed)
    build = [chain, classifier, graph, doubles][seed % 4]
    for _ in range(4):
        stopping = {
            "monitor": str(rng.choice(["loss", "val_loss"])),
            "patience": int(rng.integers(0, 5)),
            "min_delta": float(rng.choice([0.0, 0.001, 0.05])),
            "baseline": None if rng.integers(2) else float(rng.uniform(0.3, 2)),
            "start_from_epoch": int(rng.integers(0, 6)),
            "restore_best_weights": bool(rng.integers(2)),
        }
        options = {
            "epochs": int(rng.integers(1, 30)),
            "initial_epoch": int(rng.integers(0, 3)),
            "shuffle": bool(rng.integers(2)),
            "validation_freq": [1, 2, [1, 4, 5]][rng.integers(3)] if stopping["monitor"] == "loss" else 1,
        }
        check_equal(train(build, stopping, **options), train(build, stopping, one_by_one=True, **options))


@pytest.mark.parametrize(
    "stopping",
    [
        {"monitor": "val_mae", "patience": 1},
        {"mode": "max", "patience": 1},
        {"monitor": "val_loss", "patience": 1, "validation_freq": 2},
    ],
)
@pytest.mark.filterwarnings("ignore:EarlyStopping watches")
def test_what_the_core_cannot_watch_is_watched_in_python(stopping, counted):
    options = {name: stopping[name] for name in stopping if name == "validation_freq"}
    stopping = {name: stopping[name] for name in stopping if name not in options}
    found = train(chain, stopping, **options)
    assert set(counted) == {1}
    check_equal(found, train(chain, stopping, one_by_one=True, **options))


def test_derived_and_several_early_stoppings_are_asked_after_every_epoch(counted):
    class Mine(EarlyStopping):
        seen = 0

        def on_epoch_end(self, epoch, logs=None):
            self.seen += 1
            super().on_epoch_end(epoch, logs)

    model, data = chain()
    mine = Mine(patience=3)
    model.fit(
        *part(data, slice(50)), validation_data=part(data, slice(50, None)), epochs=9, verbose=0, callbacks=[mine]
    )
    assert mine.seen == len(model.history.epoch) and set(counted) == {1}
    several = [EarlyStopping("loss", patience=9), EarlyStopping(patience=1)]
    model.fit(*data, validation_split=0.3, epochs=9, verbose=0, callbacks=several)
    assert set(counted) == {1} and several[1].wait


def test_a_second_fit_goes_on_with_fresh_counts(counted):
    found = []
    for others in ([], [OneByOne()]):
        model, data = chain()
        stopping = EarlyStopping(patience=2, restore_best_weights=True)
        for _ in range(3):
            history = model.fit(*data, validation_split=0.3, epochs=30, verbose=0, callbacks=[stopping, *others])
        found.append((model, history, [stopping]))
    check_equal(*found)


@pytest.mark.parametrize("terminates", [False, True])
def test_a_divergence_between_validations(terminates, counted):
    found = []
    for others in ([], [OneByOne()]):
        model, (x, y) = doubles()
        model.compile(fastnn.optimizers.SGD(2.0), "mse")
        stopping = EarlyStopping(patience=1000, restore_best_weights=True)
        callbacks = [stopping, *others, *([TerminateOnNaN()] if terminates else [])]
        arguments = {"validation_split": 0.3, "epochs": 3000, "batch_size": 16, "verbose": 0, "callbacks": callbacks}
        if terminates:
            history = model.fit(x, y, **arguments)
        else:
            with pytest.raises(fastnn.DivergenceError) as caught:
                model.fit(x, y, **arguments)
            history = model.history
            found.append(str(caught.value))
        assert 2 < len(history.epoch) < 3000
        found.append((model, history, [stopping]))
    if not terminates:
        assert found.pop(0) == found.pop(1)
        check_equal(*found)
        return
    assert repr(found[0][1].history) == repr(found[1][1].history)  # with NaN
    assert same_weights(found[0][0], found[1][0])


def until_stopped(act, **options):
    model, data = chain()
    stopping = EarlyStopping(patience=10**9, restore_best_weights=True)
    timer = threading.Timer(0.2, act, [model])
    timer.start()
    try:
        model.fit(*data, validation_split=0.3, epochs=10**8, verbose=0, callbacks=[stopping], **options)
    finally:
        timer.join()
        check_record(model, stopping)


def check_record(model, stopping):
    record = model.history.history
    n = len(model.history.epoch)
    assert n == len(record["loss"]) == len(record["val_loss"]) and np.isfinite(record["val_loss"]).all()
    assert model.epochs_begun - n in (0, 1) and n > 1
    assert stopping.best == min(record["val_loss"]) == record["val_loss"][stopping.best_epoch]
    assert stopping.wait == n - 1 - stopping.best_epoch
    again, data = chain()
    history = again.fit(*data, validation_split=0.3, epochs=n, verbose=0)
    assert history.history == record


def test_another_thread_ends_training(counted):
    until_stopped(lambda model: setattr(model, "stop_training", True))


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_an_interrupt_keeps_the_record_of_the_epochs_before(interruptible, counted):
    with pytest.raises(KeyboardInterrupt):
        until_stopped(lambda model: os.kill(os.getpid(), signal.SIGINT))


def test_folds_in_fit_many_have_the_early_stopping_of_models_alone():
    rows = np.arange(70)
    folds = [(rows[rows % 3 != k], rows[rows % 3 == k]) for k in range(3)]
    stoppings = [[EarlyStopping(patience=2, restore_best_weights=True)] for _ in range(6)]
    fits = fastnn.fit_many(
        lambda seed: chain(seed)[0],
        X,
        Y,
        splits=folds,
        seeds=2,
        callbacks=stoppings,
        epochs=50,
        batch_size=16,
        verbose=0,
    )
    assert {len(history.epoch) for history in fits.histories} != {50}
    for number, (model, history) in enumerate(zip(fits.models, fits.histories, strict=True)):
        training, held_out = folds[fits.options[number]["split"]]
        alone, _ = chain(fits.options[number]["seed"])
        stopping = EarlyStopping(patience=2, restore_best_weights=True)
        arguments = {"validation_data": (X[held_out], Y[held_out]), "epochs": 50, "batch_size": 16, "verbose": 0}
        expected = alone.fit(X[training], Y[training], callbacks=[stopping, OneByOne()], **arguments)
        check_equal((model, history, stoppings[number]), (alone, expected, [stopping]))


def test_what_the_core_refuses():
    model, _ = chain()
    other, _ = chain()
    y = np.ascontiguousarray(Y, np.float32)
    native = _core.Fit(model.network, X, y, None, 16)
    native.begin_epochs(0, 0, 3, False, np.full(5, 0.01))
    with pytest.raises(ValueError, match="another network"):
        native.evaluate_between(_core.HeldOut(other.network, X, y))
    with pytest.raises(ValueError, match="call evaluate_between before"):
        native.stop_early(held_out=True, min_delta=0.0, patience=1)
    with pytest.raises(RuntimeError, match="no weights were kept"):
        native.best_parameter(*model.program.parameters[0])
    with pytest.raises(ValueError, match="no rows"):
        _core.HeldOut(model.network, X[:0], y[:0])
    with pytest.raises(ValueError, match="y must have shape"):
        _core.HeldOut(model.network, X, y[:, :1])
    bad = X.copy()
    native.evaluate_between(_core.HeldOut(model.network, bad, y))
    bad[5, 2] = np.nan
    with pytest.raises(ValueError, match="not finite in row 5, column 2"):
        native.run_epochs(1e9)
    assert native.epochs_begun == 1
    bad[5, 2] = 0.0
    assert native.run_epochs(1e9) == "finished" and np.isnan(native.held_out_losses).any(axis=1).tolist() == [
        False,
        False,
        True,
    ]
