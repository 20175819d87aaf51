"""A model is freed when the last name of it goes: nothing of it sits in a reference cycle."""

import copy
import gc
import weakref

import numpy as np
import pytest
from sample_models import tanh_model

import fastnn
from fastnn import callbacks, layers

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = X[:, :1] - X[:, 1:2]


def fitted(*given, **options):
    model = tanh_model(metrics=["mae"])
    model.fit(X, Y, epochs=2, verbose=0, callbacks=list(given), validation_split=0.2, **options)
    return model


def interrupted():
    model = tanh_model()

    def fail(epoch, logs):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.fit(X, Y, verbose=0, callbacks=[callbacks.LambdaCallback(on_epoch_end=fail)])
    return model


def used():
    model = tanh_model()
    model(X[:1]), model.predict(X, callbacks=[callbacks.Callback()]), model.evaluate(X, Y, verbose=0)
    model.train_on_batch(X, Y), model.gradients(X, Y), model.input_gradients(X), model.summary(print_fn=str)
    assert model.history is None
    return model


def reloaded(path):
    fitted().save(path)
    return fastnn.load_model(path)


def estimator():
    model = fastnn.MLPRegressor(max_iter=2, tol=10.0, callbacks=[callbacks.EarlyStopping("loss")], random_state=0)
    return model.fit(X, Y.ravel())


@pytest.mark.parametrize(
    "make",
    [
        lambda path: fastnn.Sequential([layers.Dense(2)]),
        lambda path: fitted(),
        lambda path: fitted(callbacks.EarlyStopping(restore_best_weights=True), callbacks.ReduceLROnPlateau()),
        lambda path: fitted(callbacks.ModelCheckpoint(path / "a.safetensors", save_freq=1)),
        lambda path: fitted(callbacks.BackupAndRestore(path / "backup"), callbacks.CSVLogger(path / "log.csv")),
        lambda path: interrupted(),
        lambda path: used(),
        lambda path: copy.deepcopy(fitted()),
        lambda path: reloaded(path / "b.safetensors"),
        lambda path: fastnn.models.clone_model(fitted()),
        lambda path: fitted().folded(),
        lambda path: estimator(),
    ],
)
def test_models_are_freed_at_once(make, tmp_path):
    gc.collect()
    gc.disable()
    try:
        model = make(tmp_path)
        alive = weakref.ref(model)
        del model
        assert alive() is None
    finally:
        gc.enable()


def test_history_and_model_know_each_other():
    model = tanh_model()
    history = model.fit(X, Y, epochs=3, verbose=0)
    assert model.history is history and history.model is model
    values = history.history
    del history
    assert model.history.history is values and model.history.epoch == [0, 1, 2]
    assert model.history.model is model and model.history.params["epochs"] == 3
    assert tanh_model().fit(X, Y, verbose=0).model.predict(X).shape == (40, 1)
