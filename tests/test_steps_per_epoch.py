"""``steps_per_epoch`` with arrays: an epoch continues where the last one ended, as in Keras."""

import warnings

import numpy as np
import pytest
from same_bits import same_weights
from sample_models import dropout_model, relu_model, tanh_model

import fastnn
from fastnn.callbacks import BackupAndRestore, LambdaCallback, LearningRateScheduler

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 3)).astype(np.float32)
Y = X @ np.array([[1.0], [-2.0], [0.5]], np.float32)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_short_epochs_make_the_steps_of_long_ones(shuffle, optimizer):
    short, long = dropout_model(optimizer=optimizer), dropout_model(optimizer=optimizer)
    # 100 rows are 10 batches: two epochs of 5 are one of 10.
    history = short.fit(X, Y, batch_size=10, epochs=6, steps_per_epoch=5, shuffle=shuffle, verbose=0)
    expected = long.fit(X, Y, batch_size=10, epochs=3, shuffle=shuffle, verbose=0)
    assert same_weights(short, long)
    assert history.params["steps"] == 5
    for name in ("loss", "mae"):
        halves = np.reshape(history.history[name], (3, 2)).mean(axis=1)
        np.testing.assert_allclose(halves, expected.history[name], rtol=1e-6)


def test_an_epoch_ends_where_the_rows_end():
    """100 rows are 4 batches of 32, the last of 4 rows: epochs of 3, 1, 3 and 1 batches."""
    model, steps, counts = tanh_model(), tanh_model(), []
    count = LambdaCallback(on_epoch_end=lambda epoch, logs: counts.append(model.network.iterations))
    with pytest.warns(UserWarning, match="this epoch: it has 1 batches, fewer than steps_per_epoch=3") as warned:
        history = model.fit(X, Y, epochs=4, steps_per_epoch=3, shuffle=False, verbose=0, callbacks=[count]).history
    assert warned[0].filename == __file__
    losses = [steps.train_on_batch(X[start : start + 32], Y[start : start + 32]) for start in 2 * [0, 32, 64, 96]]
    assert counts == [3, 4, 7, 8]
    expected = [np.mean(losses[:3]), losses[3], np.mean(losses[4:7]), losses[7]]
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-6)
    assert same_weights(model, steps)


def test_more_steps_than_there_are_batches_train_all_rows():
    model, expected = tanh_model(), tanh_model()
    with pytest.warns(UserWarning, match="it has 4 batches, fewer than steps_per_epoch=9"):
        model.fit(X, Y, epochs=2, steps_per_epoch=9, verbose=0)
    expected.fit(X, Y, epochs=2, verbose=0)
    assert same_weights(model, expected)


@pytest.mark.filterwarnings("ignore:x has no more")
@pytest.mark.parametrize("hooks", [False, True])
def test_logs_are_of_the_rows_of_the_epoch(hooks):
    weight = RNG.uniform(0.5, 2.0, 100)
    model = tanh_model(fastnn.optimizers.SGD(0.0), metrics=["mae"])
    model.compile(fastnn.optimizers.SGD(0.0), "mse", metrics=["mae"], weighted_metrics=["mse"])
    hook = LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append(batch))
    batches = []
    options = {"sample_weight": weight, "callbacks": [hook] if hooks else None}
    history = model.fit(X, Y, 10, 4, 0, shuffle=False, steps_per_epoch=3, validation_data=(X, Y), **options).history
    for epoch, rows in enumerate([slice(0, 30), slice(30, 60), slice(60, 90), slice(90, 100)]):
        values = model.evaluate(X[rows], Y[rows], sample_weight=weight[rows], verbose=0)
        assert [history[name][epoch] for name in ("loss", "mae", "mse")] == pytest.approx(values, rel=1e-6)
    assert batches == ([0, 1, 2, 0, 1, 2, 0, 1, 2, 0] if hooks else [])
    assert len(history["val_loss"]) == 4


def test_a_rate_that_a_callback_sets_holds_from_its_epoch_on():
    rates = [0.1, 0.0, 0.05]
    model, steps = tanh_model(), tanh_model()
    model.fit(X, Y, 20, 3, 0, [LearningRateScheduler(lambda epoch: rates[epoch])], shuffle=False, steps_per_epoch=1)
    for rate, start in zip(rates, (0, 20, 40), strict=True):
        steps.optimizer.learning_rate = rate
        steps.train_on_batch(X[start : start + 20], Y[start : start + 20])
    assert same_weights(model, steps)


def test_a_loss_in_python_takes_short_epochs():
    def squared(y_true, y_pred):
        return float(np.mean((y_pred - y_true) ** 2)), 2.0 * (y_pred - y_true) / y_true.size

    own, native = tanh_model(loss=squared), tanh_model()
    for model in (own, native):
        model.fit(X, Y, batch_size=10, epochs=4, steps_per_epoch=5, verbose=0)
    np.testing.assert_allclose(own.history.history["loss"], native.history.history["loss"], rtol=1e-5)


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_an_interrupted_fit_goes_on_from_the_same_rows(stop, tmp_path):
    def fit(model, *callbacks):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return model.fit(X, Y, batch_size=8, epochs=6, steps_per_epoch=5, verbose=0, callbacks=list(callbacks))

    def fail(epoch, logs):
        if epoch == stop:
            raise ZeroDivisionError

    whole, cut, resumed = dropout_model(), dropout_model(), dropout_model()
    fit(whole)
    with pytest.raises(ZeroDivisionError):
        fit(cut, BackupAndRestore(tmp_path), LambdaCallback(on_epoch_begin=fail))
    history = fit(resumed, BackupAndRestore(tmp_path), LambdaCallback())
    assert same_weights(resumed, whole)
    assert history.history == whole.history.history


def test_a_fit_that_diverges_goes_back_to_its_last_finite_weights():
    x, y = np.array(X), np.array(Y)
    x[40:50] = 0.0
    y[40] = 1e18  # the loss of step 4 is finite, its gradient 1e18 * 1e25 is not
    x[:, 0] = np.where(np.arange(100) == 40, 1e25, 0.0)
    models = []
    for _ in range(2):
        model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(1, kernel_initializer="zeros")], seed=1)
        model.compile(fastnn.optimizers.SGD(0.01, momentum=0.9), "mse")
        models.append(model)
    with pytest.raises(fastnn.DivergenceError) as caught:
        models[0].fit(x, y, batch_size=10, epochs=9, steps_per_epoch=3, shuffle=False, verbose=0)
    assert (caught.value.epoch, caught.value.step) == (2, 3)
    models[1].fit(x[:40], y[:40], batch_size=10, shuffle=False, verbose=0)
    assert same_weights(*models)
    assert models[0].network.iterations == 4


def test_bits_do_not_depend_on_threads():
    models = []
    wide = RNG.normal(size=(640, 4)).astype(np.float32)
    for threads in (1, 2):
        model = relu_model(fastnn.layers.Dropout(0.2), metrics=["mae"])
        with fastnn.threads(threads):
            model.fit(wide, wide[:, :2], batch_size=64, epochs=5, steps_per_epoch=2, verbose=0)
        models.append(model)
    assert same_weights(*models)
    assert models[0].history.history == models[1].history.history
