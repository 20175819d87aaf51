"""Arguments that would have no effect are refused, or named in a warning."""

import re
import threading
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


# Arguments of Keras


class Batches(fastnn.utils.PyDataset):
    def __init__(self, n=4, **options):
        super().__init__(**options)
        self.n, self.threads = n, set()

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        self.threads.add(threading.get_ident())
        if self.n == 9 and index == 7:
            raise KeyError("batch 7")
        rows = slice(6 * (index % 4), 6 * (index % 4) + 6)
        return X[rows], Y[rows]


def test_workers_read_the_batches_of_a_dataset():
    alone, together = Batches(), Batches(workers=3, max_queue_size=2)
    histories = [a_model().fit(each, epochs=3, verbose=0).history for each in (alone, together)]
    assert histories[0] == histories[1] == a_model().fit(X, Y, 6, 3, verbose=0, shuffle=False).history
    assert alone.threads == {threading.get_ident()} and threading.get_ident() not in together.threads
    before = threading.active_count()
    running = iter(Batches(n=9, workers=2, max_queue_size=1))
    next(running)
    running.close()
    assert threading.active_count() == before
    with pytest.raises(KeyError, match="batch 7"):
        a_model().fit(Batches(n=9, workers=2), verbose=0)
    with pytest.warns(UserWarning, match="use_multiprocessing=True has no effect: the workers are threads"):
        Batches(use_multiprocessing=True)
    for name, value in (("workers", -1), ("workers", "x"), ("max_queue_size", 0), ("use_multiprocessing", 2)):
        with pytest.raises(ValueError, match=f"^{name} must be "):
            Batches(**{name: value})


def test_num_batches_of_a_dataset_is_followed():
    class Fewer(Batches):
        num_batches = 2

    class Endless(Batches):
        num_batches = None

    expected = a_model().fit(X[:12], Y[:12], 6, 2, verbose=0, shuffle=False).history
    assert a_model().fit(Fewer(), epochs=2, verbose=0).history == expected
    found = a_model().fit(Endless(), epochs=2, steps_per_epoch=4, verbose=0).history
    assert found == a_model().fit(X, Y, 6, 2, verbose=0, shuffle=False).history


@pytest.mark.parametrize(
    "options, message",
    [
        ({"run_eagerly": True}, "run_eagerly=True has no effect: steps run in the compiled core"),
        ({"steps_per_execution": 4}, "steps_per_execution=4 has no effect: the core makes all steps between callbacks"),
    ],
)
def test_how_keras_runs_steps_has_no_effect(options, message):
    with pytest.warns(UserWarning, match=message):
        a_model().compile("sgd", "mse", **options)


@pytest.mark.parametrize("name", ["run_eagerly", "steps_per_execution", "jit_compile", "auto_scale_loss"])
def test_wrong_arguments_of_compile_change_nothing(name):
    model = a_model()
    before = model.optimizer
    with pytest.raises(ValueError, match=name):
        model.compile("adam", "mae", **{name: "x"})
    assert model.optimizer is before and model.loss.name == "mean_squared_error"
    model.compile("sgd", "mse", jit_compile=True, steps_per_execution="auto", auto_scale_loss=False)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: layers.Normalization().adapt(X, steps=2), "steps is not supported and must be left out, got 2"),
        (lambda: layers.Discretization(num_bins=2).adapt(X, steps=2), "steps is not supported"),
        (lambda: layers.StringLookup().adapt(["a"], steps=2), "steps is not supported"),
        (lambda: layers.Normalization().adapt(X, batch_size="x"), "batch_size must be a whole number"),
        (lambda: layers.BatchNormalization(synchronized="x"), "synchronized must be True or False"),
        (lambda: fastnn.losses.MeanSquaredError(dtype="int8"), "dtype must be 'float32' or 'float64'"),
        (lambda: fastnn.metrics.MeanIoU(2, axis=0), "axis must be -1, the columns of a row, got 0"),
        (lambda: fastnn.metrics.AUC(multi_label=True, num_labels=0), "num_labels must be a whole number"),
        (lambda: fastnn.load_model("x", compile="x"), "compile must be True or False"),
        (lambda: fastnn.load_model("x", safe_mode="x"), "safe_mode must be True or False"),
        (lambda: a_model().save("x", zipped=True), "zipped is not supported and must be left out, got True"),
        (lambda: a_model().add(layers.Dense(1), rebuild="x"), "rebuild must be True or False"),
        (lambda: a_model().pop(rebuild=1), "rebuild must be True or False"),
    ],
)
def test_arguments_that_would_have_no_effect_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_auc_has_the_columns_that_it_was_told():
    metric = fastnn.metrics.AUC(multi_label=True, num_labels=3)
    with pytest.raises(ValueError, match="y_pred must have 3 columns, one for each label, got 2"):
        metric.update_state(np.eye(2), np.eye(2))
    metric.update_state(np.eye(3), np.eye(3))
    free = fastnn.metrics.AUC(multi_label=True)
    free.update_state(np.eye(2), np.eye(2))
    with pytest.raises(ValueError, match="y_pred must have 2 columns, one for each label, got 3"):
        free.update_state(np.eye(3), np.eye(3))
    assert metric.result() == free.result() == 1.0


def test_a_model_need_not_be_built_by_add_and_pop():
    model = fastnn.Sequential([fastnn.Input((3,))])
    model.add(layers.Dense(2), rebuild=False)
    assert not model.built
    model.add(layers.Dense(1))
    assert model.built
    model.pop(rebuild=False)
    assert not model.built and model.predict(X).shape == (24, 2)
