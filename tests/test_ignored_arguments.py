"""Arguments that would have no effect are refused, or named in a warning."""

import re
import warnings

import numpy as np
import pytest

import fastnn
from fastnn import layers

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(24, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
BATCHES = [(X[:12], Y[:12]), (X[12:], Y[12:])]


def a_model(optimizer="sgd"):
    model = fastnn.Sequential([layers.Dense(4, "tanh"), layers.Dense(1)], seed=0)
    model.compile(optimizer, "mse")
    return model


NO_ROWS = "has no effect: there is nothing to validate with; give validation_data or validation_split"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"validation_steps": 2}, f"validation_steps=2 {NO_ROWS}"),
        ({"validation_batch_size": 8}, f"validation_batch_size=8 {NO_ROWS}"),
        ({"validation_freq": 2}, f"validation_freq=2 {NO_ROWS}"),
        ({"validation_freq": [1]}, rf"validation_freq=\[1\] {NO_ROWS}"),
        (
            {"validation_data": iter(BATCHES), "validation_batch_size": 8},
            "validation_batch_size=8 has no effect: validation_data gives batches",
        ),
    ],
)
def test_options_of_a_validation_that_does_not_run(options, message):
    with pytest.warns(UserWarning, match=message) as caught:
        found = a_model().fit(X, Y, verbose=0, **options).history["loss"]
    assert len(caught) == 1
    assert found == a_model().fit(X, Y, verbose=0).history["loss"]


def test_size_of_batches_that_are_given():
    message = "batch_size=8 has no effect: x gives batches"
    plain = a_model().fit(iter(BATCHES), verbose=0).history
    with pytest.warns(UserWarning, match=message):
        assert a_model().fit(iter(BATCHES), batch_size=8, verbose=0).history == plain
    with pytest.warns(UserWarning, match=message):
        a_model().evaluate(iter(BATCHES), batch_size=8, verbose=0)
    with pytest.warns(UserWarning, match=message):
        a_model().predict(iter([X]), batch_size=8)
    with pytest.raises(ValueError, match="x gives batches: give sample_weight with them"):
        a_model().evaluate(iter(BATCHES), sample_weight=np.ones(24), verbose=0)


def test_defaults_and_options_with_an_effect_are_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        a_model().fit(X, Y, verbose=0, validation_freq=1, validation_steps=None, validation_batch_size=None)
        a_model().fit(X, Y, verbose=0, validation_split=0.25, validation_steps=1, validation_batch_size=2)
        a_model().fit(X, Y, verbose=0, validation_data=(X, Y), validation_freq=2)
        a_model().fit(iter(BATCHES), verbose=0, shuffle=False)
        source = fastnn.data.source(X, y=Y)
        a_model().fit(source, verbose=0, batch_size=8, validation_data=source, validation_batch_size=8)


@pytest.mark.parametrize("name", ["validation_steps", "validation_batch_size"])
def test_wrong_options_are_refused_where_they_have_no_effect(name):
    model = a_model()
    with pytest.raises(ValueError, match=re.escape(f"{name} must be a whole number of at least 1, got 0")):
        model.fit(X, Y, verbose=0, **{name: 0})
    assert not model.built


@pytest.mark.parametrize("optimizer", ["lm", "lm_bayes"])
def test_negative_loss_weights_have_no_squares(optimizer):
    given = fastnn.Input((3,))
    model = fastnn.Model(given, [layers.Dense(1)(given), layers.Dense(1)(given)], seed=0)
    model.compile(optimizer, loss=["mse", "mse"], loss_weights=[1.0, -1.0])
    before = model.get_weights()
    with pytest.raises(ValueError, match="Levenberg-Marquardt needs loss_weights of at least 0, got -1"):
        model.fit(X, [Y, Y], verbose=0)
    assert all((old == new).all() for old, new in zip(before, model.get_weights(), strict=True))


def test_communicators_of_another_kind():
    pytest.importorskip("mpi4py.MPI", exc_type=ImportError)
    message = "comm must be an mpi4py communicator, or None for all processes of the job, got 3"
    with pytest.raises(ValueError, match=message), fastnn.distributed.mpi(comm=3):
        pass
