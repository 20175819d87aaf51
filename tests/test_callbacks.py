"""Callbacks: when hooks run, what they receive, and when training stops, as in Keras."""

import io
import re

import numpy as np
import pytest
from same_bits import same_arrays, same_weights
from sample_models import tanh_model

import fastnn
from fastnn import layers
from fastnn._progress import ProgressLine, fitted
from fastnn.callbacks import (
    Callback,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ProgbarLogger,
    ReduceLROnPlateau,
    TerminateOnNaN,
)

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X[:, :1] - X[:, 1:2]


class Recorder(Callback):
    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_begin(self, logs=None):
        self.calls.append("train begin")

    def on_train_end(self, logs=None):
        self.calls.append(("train end", sorted(logs)))

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("epoch begin", epoch))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("epoch end", epoch, sorted(logs)))

    def on_test_begin(self, logs=None):
        self.calls.append("test begin")

    def on_test_end(self, logs=None):
        self.calls.append("test end")


class BatchRecorder(Recorder):
    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(("batch begin", batch))

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(("batch end", batch, logs["loss"]))


def test_order_of_hooks():
    recorder = Recorder()
    model = tanh_model()
    model.fit(X, Y, epochs=2, validation_split=0.5, verbose=0, callbacks=recorder)
    keys = ["loss", "val_loss"]
    epochs = [[("epoch begin", e), "test begin", "test end", ("epoch end", e, keys)] for e in (0, 1)]
    assert recorder.calls == ["train begin", *epochs[0], *epochs[1], ("train end", keys)]
    assert recorder.model is model
    assert recorder.params == {"epochs": 2, "steps": 1, "verbose": 0}


def test_batch_hooks_run_every_step_and_change_no_number():
    recorder = BatchRecorder()
    with_hooks, without = tanh_model(metrics=["mae"]), tanh_model(metrics=["mae"])
    with_hooks.fit(X, Y, batch_size=16, epochs=2, verbose=0, callbacks=[recorder])
    without.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    assert with_hooks.history.history == without.history.history
    assert [call[:2] for call in recorder.calls if call[0] == "batch end"] == [("batch end", b) for b in (0, 1, 2)] * 2
    assert same_weights(with_hooks, without)
    last = [call[2] for call in recorder.calls if call[0] == "batch end"]
    assert last[2] == with_hooks.history.history["loss"][0]


def test_hooks_by_their_short_names():
    class Short(Callback):
        batches = 0

        def on_batch_end(self, batch, logs=None):
            self.batches += 1

    short = Short()
    tanh_model().fit(X, Y, batch_size=10, verbose=0, callbacks=[short])
    assert short.batches == 4


def test_batch_hooks_of_evaluation_and_prediction():
    seen = []
    callback = LambdaCallback(
        on_test_batch_end=lambda batch, logs: seen.append(("test", batch, logs["loss"])),
        on_predict_batch_end=lambda batch, logs: seen.append(("predict", batch, len(logs["outputs"]))),
    )
    model = tanh_model()
    loss = model.evaluate(X, Y, batch_size=16, verbose=0, callbacks=[callback])
    assert [entry[:2] for entry in seen] == [("test", 0), ("test", 1), ("test", 2)]
    assert seen[-1][2] == loss == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-7)
    out = model.predict(X, batch_size=16, callbacks=[callback])
    assert seen[3:] == [("predict", 0, 16), ("predict", 1, 16), ("predict", 2, 8)]
    np.testing.assert_array_equal(out, model.predict(X))


@pytest.mark.parametrize("weighted", [False, True])
def test_logs_of_batches_hold_the_metrics_so_far(weighted):
    """With a rate of 0 the values are those of an evaluation of the rows so far."""
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 40) if weighted else None
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(1, activation="sigmoid")], seed=0)

    def gap(y_true, y_pred):
        return np.abs(y_true - y_pred).mean()

    metrics = ["accuracy", fastnn.metrics.AUC(name="auc"), gap]
    model.compile(fastnn.optimizers.SGD(0.0), "bce", metrics=metrics, weighted_metrics=["mse"])
    y, trained, tested = (Y > 0).astype(np.float32), [], []

    class Log(Callback):
        def on_train_batch_end(self, batch, logs=None):
            trained.append(logs)
            self.model.evaluate(X, y, verbose=0)  # changes nothing in the logs that follow

        def on_test_batch_end(self, batch, logs=None):
            tested.append(logs)

    history = model.fit(X, y, 16, verbose=0, shuffle=False, sample_weight=weight, callbacks=[Log()]).history
    model.evaluate(X, y, 16, verbose=0, sample_weight=weight, callbacks=[Log()])
    for logs in (trained, tested):
        assert [list(each) for each in logs] == 3 * [["loss", "accuracy", "auc", "gap", "mse"]]
        for stop, each in zip((16, 32, 40), logs, strict=True):
            given = None if weight is None else weight[:stop]
            expected = model.evaluate(X[:stop], y[:stop], verbose=0, sample_weight=given, return_dict=True)
            assert each == pytest.approx(expected, rel=1e-6)
    assert trained[-1] == pytest.approx({name: values[0] for name, values in history.items()}, rel=1e-6)


def test_a_function_that_needs_all_rows_gives_nan_for_a_batch():
    def ranked(y_true, y_pred):
        first, second = (y_pred[y_true == label].mean() for label in np.unique(y_true))
        return first < second

    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(1, activation="sigmoid")], seed=0)
    model.compile("sgd", "bce", metrics=[ranked])
    logs = []
    log = LambdaCallback(on_train_batch_end=lambda batch, each: logs.append(each["ranked"]))
    order = np.argsort(Y[:, 0])  # a batch has rows of one class alone
    y = (Y[order] > np.median(Y)).astype(float)
    with pytest.warns(UserWarning, match="metric 'ranked' cannot be computed for one batch"):
        history = model.fit(X[order], y, 20, verbose=0, shuffle=False, callbacks=[log]).history
    assert np.isnan(logs).all() and history["ranked"][0] in (0.0, 1.0)


def test_stopping_within_an_epoch():
    class StopAfterTwo(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    model = tanh_model(metrics=["mae"], optimizer=fastnn.optimizers.SGD(0.0))
    history = model.fit(X, Y, batch_size=10, epochs=5, shuffle=False, verbose=0, callbacks=[StopAfterTwo()]).history
    assert model.network.iterations == 2
    assert len(history["loss"]) == 1
    # The loss and the metric are of the rows of the two steps.
    loss, mae = model.evaluate(X[:20], Y[:20], verbose=0)
    assert history["loss"][0] == pytest.approx(loss, rel=1e-6)
    assert history["mae"][0] == pytest.approx(mae, rel=1e-6)


def test_lambda_callback_rejects_unknown_hooks():
    with pytest.raises(TypeError, match="no hook 'on_epoch_ends'"):
        LambdaCallback(on_epoch_ends=print)


class Feed(Callback):
    """Puts numbers into the logs."""

    def __init__(self, values, name="val_loss"):
        super().__init__()
        self.values, self.name = values, name

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


def stopped_after(values, epochs=None, **options):
    """Number of epochs run, epoch of the weights at the end (counted from 0), and the callback."""
    model = tanh_model()
    weights = []
    stopper = EarlyStopping(**options)
    record = LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(model.get_weights()))
    feed = Feed(values, options.get("monitor", "val_loss"))
    model.fit(X, Y, epochs=epochs or len(values), verbose=0, callbacks=[record, feed, stopper])
    final = model.get_weights()
    same = [e for e, w in enumerate(weights) if same_arrays(w, final)]
    return len(weights), same[0], stopper


def test_early_stopping_follows_keras():
    # The expected numbers of epochs were taken from Keras 3.15 with the same values of val_loss.
    assert stopped_after([3.0, 2.0, 2.5, 2.4, 1.0])[:2] == (3, 2)
    assert stopped_after([3.0, 2.0, 2.5, 2.4, 1.0], patience=2)[:2] == (4, 3)
    assert stopped_after([3.0, 2.0, 2.5, 2.4, 1.0], patience=3)[:2] == (5, 4)
    assert stopped_after([3.0, 2.9, 2.85, 1.0, 1.0], min_delta=0.2, patience=2)[:2] == (3, 2)
    assert stopped_after([1.0, 2.0, 3.0, 0.5], start_from_epoch=2, patience=1)[:2] == (4, 3)
    assert stopped_after([3.0, 2.5, 2.4, 2.3, 1.0], baseline=2.0, patience=3)[:2] == (5, 4)
    assert stopped_after([3.0, 2.5, 2.6, 2.3, 1.0], baseline=2.0, patience=3)[:2] == (3, 2)
    assert stopped_after([0.1, 0.2, 0.15, 0.1], mode="max", patience=1)[:2] == (3, 2)
    assert stopped_after([3.0, 2.0, 2.5, 2.4, 1.0], patience=2, restore_best_weights=True)[:2] == (4, 1)
    assert stopped_after([3.0, 2.0, 1.0], patience=5, restore_best_weights=True)[:2] == (3, 2)
    assert stopped_after([1.0, 2.0, 3.0], patience=5, restore_best_weights=True)[:2] == (3, 0)
    options = {"start_from_epoch": 1, "patience": 1, "min_delta": 0.5, "restore_best_weights": True}
    assert stopped_after([5.0, 4.9, 4.8, 1.0, 2.0, 2.0], **options)[:2] == (3, 1)
    count, _, stopper = stopped_after([3.0, 2.0, 2.5, 2.6], patience=2)
    assert (count, stopper.stopped_epoch, stopper.best, stopper.best_epoch) == (4, 3, 2.0, 1)


def test_early_stopping_prints_and_warns(capsys):
    stopped_after([1.0, 2.0, 2.0], verbose=1, restore_best_weights=True)
    text = capsys.readouterr().out
    assert "Epoch 2: early stopping" in text and "end of the best epoch: 1." in text
    with pytest.warns(UserWarning, match="watches 'val_loss', which is not in the logs; available: loss"):
        tanh_model().fit(X, Y, verbose=0, callbacks=[EarlyStopping()])


def test_direction_comes_from_the_metric():
    model = tanh_model(metrics=["mae"])
    watch = EarlyStopping("val_mae", patience=100)
    model.fit(X, Y, epochs=3, validation_split=0.2, verbose=0, callbacks=[watch])
    assert watch.best == min(model.history.history["val_mae"])
    classifier = fastnn.Sequential([layers.Dense(1, activation="sigmoid")], seed=0)
    classifier.compile("adam", "bce", metrics=["accuracy"])
    watch = EarlyStopping("accuracy", patience=100)
    classifier.fit(X, Y > 0, epochs=5, verbose=0, callbacks=[watch])
    assert watch.best == max(classifier.history.history["accuracy"])
    with pytest.raises(ValueError, match=re.escape("pass mode='max' or mode='min'")):
        stopped_after([1.0], monitor="something")
    with pytest.raises(ValueError, match="mode must be"):
        EarlyStopping(mode="up")


def test_learning_rate_scheduler():
    model = tanh_model(optimizer=fastnn.optimizers.SGD(0.1))
    seen = []

    def schedule(epoch, rate):
        seen.append((epoch, rate))
        return rate / 2.0

    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[LearningRateScheduler(schedule)]).history
    assert seen == [(0, 0.1), (1, 0.05), (2, 0.025)]
    assert history["learning_rate"] == [0.05, 0.025, 0.0125]
    by_hand = tanh_model(optimizer=fastnn.optimizers.SGD(0.1))
    for rate in (0.05, 0.025, 0.0125):
        by_hand.optimizer.learning_rate = rate
        by_hand.fit(X, Y, verbose=0)
    assert same_weights(model, by_hand)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[LearningRateScheduler(lambda epoch: 0.01 * (epoch + 1))])
    assert model.optimizer.learning_rate == 0.02
    with pytest.raises(ValueError, match="the schedule must return a learning rate, but returned 'fast'"):
        model.fit(X, Y, verbose=0, callbacks=[LearningRateScheduler(lambda epoch, rate: "fast")])


def test_reduce_on_plateau_follows_keras():
    # The expected learning rates were taken from Keras 3.15 with the same values of val_loss.
    def rates(values, **options):
        model = tanh_model(optimizer=fastnn.optimizers.SGD(1.0))
        callback = ReduceLROnPlateau(**options)
        model.fit(X, Y, epochs=len(values), verbose=0, callbacks=[Feed(values), callback])
        return model.history.history["learning_rate"], model.optimizer.learning_rate

    logged, final = rates([1.0, 1.0, 1.0, 1.0, 1.0], factor=0.5, patience=2)
    assert logged == [1.0, 1.0, 1.0, 0.5, 0.5] and final == 0.25
    logged, final = rates([1.0] * 7, factor=0.5, patience=1, cooldown=2)
    assert logged == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125] and final == 0.125
    assert rates([1.0, 1.0, 1.0], factor=0.1, patience=1, min_lr=0.5)[1] == 0.5


@pytest.mark.parametrize("callback", [EarlyStopping, ReduceLROnPlateau])
@pytest.mark.parametrize("patience", [-1, 2.5, None, "3", True, np.nan])
def test_patience_must_be_a_whole_number(callback, patience):
    with pytest.raises(ValueError, match=f"^patience must be a whole number of at least 0, got {patience!r}$"):
        callback(patience=patience)
    assert callback(patience=np.int64(3)).patience == 3


@pytest.mark.parametrize("factor", [1.0, 2, -0.1, None, "half", True, np.nan])
def test_factor_must_lie_between_0_and_1(factor):
    expected = f"factor must be a number of at least 0 and less than 1, got {factor!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        ReduceLROnPlateau(factor=factor)


@pytest.mark.parametrize(
    ("callback", "name", "value", "accepted"),
    [
        (EarlyStopping, "min_delta", "small", "a finite number"),
        (EarlyStopping, "baseline", "best", "a finite number, or None"),
        (EarlyStopping, "start_from_epoch", -1, "a whole number of at least 0"),
        (ReduceLROnPlateau, "cooldown", 1.5, "a whole number of at least 0"),
        (ReduceLROnPlateau, "min_lr", -1.0, "a finite number of at least 0"),
    ],
)
def test_other_arguments_of_monitors_are_checked(callback, name, value, accepted):
    with pytest.raises(ValueError, match=f"^{name} must be {accepted}, got {value!r}$"):
        callback(**{name: value})


@pytest.mark.parametrize("callback", [LearningRateScheduler(lambda epoch, rate: rate), ReduceLROnPlateau("loss")])
def test_a_learning_rate_that_follows_a_schedule_cannot_be_set(callback):
    schedule = fastnn.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    model = tanh_model(optimizer=fastnn.optimizers.SGD(schedule))
    before, name = model.get_weights(), type(callback).__name__
    expected = (
        f"{name} sets the learning rate, but that of SGD follows {schedule!r}: give SGD a number as learning_rate, or "
        f"leave {name} out"
    )
    with pytest.raises(TypeError, match=f"^{re.escape(expected)}$"):
        model.fit(X, Y, verbose=0, callbacks=[callback])
    assert same_arrays(model.get_weights(), before)


def test_terminate_on_nan_stops_quietly(capsys):
    model = tanh_model(optimizer=fastnn.optimizers.SGD(1e30), metrics=["mae"])
    history = model.fit(X, Y, epochs=5, batch_size=8, verbose=0, callbacks=[TerminateOnNaN()]).history
    assert "Invalid loss, terminating training" in capsys.readouterr().out
    assert len(history["loss"]) == 1 and np.isnan(history["loss"][0])
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def fileno(self):
        raise OSError


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_progress_line_on_a_terminal():
    stream, clock = Terminal(), Clock()
    line = ProgressLine(stream, clock)
    assert not line.due()
    clock.now = 0.25
    assert line.due()
    line.show("twelve signs")
    assert not line.due()
    line.show("short")
    line.end()
    line.end()
    assert stream.getvalue() == "\rtwelve signs\rshort       \n"
    line.show("x" * 200)
    assert stream.getvalue().endswith("\r" + "x" * 79)


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (45, "Epoch 1/9 - loss: 0.1234 ..."),
        (46, "Epoch 1/9 - loss: 0.1234 - val_loss: 2.482e-05"),
        (28, "Epoch 1/9 - loss: 0.1234 ..."),
        (27, "Epoch 1/9 ..."),
        (12, "Epoch 1/9 - "),
    ],
)
def test_a_narrow_terminal_shows_whole_entries(width, expected):
    text = "Epoch 1/9 - loss: 0.1234 - val_loss: 2.482e-05"
    assert fitted(text, width) == expected and len(expected) <= width


def test_progress_without_a_terminal_is_plain_text():
    stream, clock = io.StringIO(), Clock()
    logger = ProgbarLogger(1, ProgressLine(stream, clock))

    class Tick(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            clock.now += 0.1

    model = tanh_model()
    model.fit(X, Y, epochs=10, verbose=0, callbacks=[Tick(), logger])
    lines = stream.getvalue().splitlines()
    assert "\r" not in stream.getvalue()
    # In one second there are at most four refreshes, the last epoch included.
    assert [line.split(" - ")[0] for line in lines] == [f"Epoch {e}/10" for e in (3, 6, 9, 10)]
    assert lines[-1].endswith(f"loss: {model.history.history['loss'][-1]:.4g}")


def test_progress_within_an_epoch_on_a_terminal():
    stream, clock = Terminal(), Clock()

    def tick(batch, logs):
        clock.now += 0.1

    callbacks = [LambdaCallback(on_train_batch_end=tick), ProgbarLogger(1, ProgressLine(stream, clock))]
    tanh_model().fit(X, Y, batch_size=8, epochs=2, verbose=0, callbacks=callbacks)
    shown = [text.split(" - loss")[0].strip() for text in stream.getvalue().split("\r")[1:]]
    # Ten steps of 0.1 s: a refresh after 0.3, 0.6 and 0.9 s, and the end.
    assert shown[:3] == ["Epoch 1/2 - step 3/5", "Epoch 2/2 - step 1/5", "Epoch 2/2 - step 4/5"]
    assert len(shown) == 4 and shown[3].startswith("Epoch 2/2 - ") and stream.getvalue().endswith("\n")


def test_verbosity(capsys):
    model = tanh_model(metrics=["mae"])
    model.fit(X, Y, epochs=3, verbose=0)
    assert capsys.readouterr().out == ""
    model.fit(X, Y, epochs=3, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in lines] == ["Epoch 1/3", "Epoch 2/3", "Epoch 3/3"]
    assert all("mae: " in line for line in lines)
    for verbose in (1, "auto", True):
        model.fit(X, Y, epochs=3, verbose=verbose)
        assert capsys.readouterr().out.splitlines()[-1].startswith("Epoch 3/3 - ")
    results = model.evaluate(X, Y, verbose=1)
    assert capsys.readouterr().out == f"loss: {results[0]:.4g} - mae: {results[1]:.4g}\n"
    model.predict(X, verbose=1)
    assert capsys.readouterr().out == ""


def test_progress_line_ends_after_an_error():
    stream, clock = Terminal(), Clock()
    logger = ProgbarLogger(1, ProgressLine(stream, clock))

    class Fail(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            clock.now += 1.0
            if epoch == 2:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tanh_model().fit(X, Y, epochs=5, verbose=0, callbacks=[Fail(), logger])
    assert stream.getvalue().count("\r") == 2 and stream.getvalue().endswith("\n")
