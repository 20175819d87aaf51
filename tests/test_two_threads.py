"""Two threads and one model: the second call is refused and names the running one, which is unaffected."""

import copy
import sys
import threading

import numpy as np
import pytest
from same_bits import same_weights
from sample_models import dropout_model

import fastnn
from fastnn import layers

PATIENCE = 600.0
X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
Y = X @ np.array([[1.0], [-2.0], [0.5]], np.float32)


class Halt(fastnn.callbacks.Callback):
    """Waits in one hook until it is released."""

    def __init__(self, hook):
        super().__init__()
        self.reached, self.go_on = threading.Event(), threading.Event()
        setattr(self, hook, self.halt)

    def halt(self, *arguments):
        self.reached.set()
        assert self.go_on.wait(PATIENCE)


def running(halt, work):
    """Start work in a thread; return the thread and a list for the outcome once the hook is reached."""
    outcome = []

    def run():
        try:
            outcome.append(work())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert halt.reached.wait(PATIENCE)
    return thread, outcome


def test_other_threads_are_refused_while_fit_runs(tmp_path):
    model, alone = dropout_model(), dropout_model()
    path = tmp_path / "model.safetensors"
    weights = model.get_weights()
    halt = Halt("on_epoch_end")
    thread, outcome = running(halt, lambda: model.fit(X, Y, epochs=2, verbose=0, callbacks=[halt]))
    calls = {
        "fit": lambda: model.fit(X, Y, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(X, Y),
        "compile": lambda: model.compile("sgd", "mse"),
        "add": lambda: model.add(layers.Dense(1)),
        "pop": model.pop,
        "predict": lambda: model.predict(X, callbacks=[fastnn.callbacks.Callback()]),
        "evaluate": lambda: model.evaluate(X, Y, verbose=0),
        "test_on_batch": lambda: model.test_on_batch(X, Y),
        "gradients": lambda: model.gradients(X, Y),
        "input_gradients": lambda: model.input_gradients(X[:2]),
        "save": lambda: model.save(path),
        "folded": model.folded,
        "get_weights": lambda: model.save_weights(path),
        "set_weights": lambda: model.set_weights(weights),
    }
    for task, call in calls.items():
        with pytest.raises(RuntimeError, match=f"^{task} of model .* cannot begin: fit runs in another thread"):
            call()
    for call in (
        lambda: model(X[:1]),
        lambda: model.layers[0].kernel.numpy(),
        lambda: model.layers[0].set_weights(weights[:2]),
        lambda: setattr(model.layers[0], "trainable", False),
    ):
        with pytest.raises(RuntimeError, match=r"^a call of model .* cannot begin: fit runs in another thread"):
            call()
    assert not list(tmp_path.iterdir())
    halt.go_on.set()
    thread.join()
    history = alone.fit(X, Y, epochs=2, verbose=0)
    assert outcome[0].history == history.history
    assert same_weights(model, alone)
    model.save(path)
    assert model(X[:1]).shape == (1, 1)


@pytest.mark.parametrize("task", ["predict", "evaluate"])
def test_a_change_is_refused_while_another_thread_reads(task):
    model = dropout_model()
    halt = Halt(f"on_{'test' if task == 'evaluate' else task}_batch_end")
    arguments = {"batch_size": 32, "verbose": 0, "callbacks": [halt]}
    expected = dropout_model().predict(X) if task == "predict" else dropout_model().evaluate(X, Y, verbose=0)
    work = (lambda: model.predict(X, **arguments)) if task == "predict" else lambda: model.evaluate(X, Y, **arguments)
    thread, outcome = running(halt, work)
    for call in (
        lambda: model.fit(X, Y, verbose=0),
        lambda: model.train_on_batch(X, Y),
        lambda: model.set_weights(model.get_weights()),
        lambda: model.compile("sgd", "mse"),
    ):
        with pytest.raises(RuntimeError, match=f"cannot begin: {task} runs in another thread"):
            call()
    assert model.predict(X).shape == (200, 1)
    halt.go_on.set()
    thread.join()
    np.testing.assert_allclose(outcome[0], expected, rtol=1e-6)
    assert model.network.iterations == 0


def test_a_fit_may_use_its_model_in_its_callbacks_but_not_train_it(tmp_path):
    model, seen = dropout_model(), []

    class Use(fastnn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            model.set_weights([0.5 * w for w in model.get_weights()])
            seen.append((model.predict(X).shape, model.evaluate(X, Y, verbose=0), model(X[:1])))
            model.save(tmp_path / "model.safetensors")
            with pytest.raises(RuntimeError, match="this is a callback of fit, which has not ended"):
                model.fit(X, Y, verbose=0)

    model.fit(X, Y, epochs=2, verbose=0, callbacks=[Use()])
    assert len(seen) == 2


def test_predictions_in_other_threads_never_break_a_fit():
    """Threads predict all the time while a model trains: each call succeeds or is refused, and no bit changes."""
    model, alone = dropout_model(width=64), dropout_model(width=64)
    done, wrong, counts, fits = threading.Event(), [], [0, 0], 0

    def hammer():
        while not done.is_set():
            try:
                result = model(X)
                counts[0] += 1
                if not np.isfinite(result).all():
                    wrong.append(result)
            except RuntimeError as error:
                counts[1] += 1
                if "fit runs in another thread" not in str(error):
                    wrong.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=hammer) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        # On a busy machine it may take more fits until calls have met both.
        while fits < 20 or (not min(counts) and fits < 2000):
            model.fit(X, Y, epochs=3, verbose=0)
            fits += 1
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert not wrong and min(counts) > 0
    for _ in range(fits):
        alone.fit(X, Y, epochs=3, verbose=0)
    assert same_weights(model, alone)


def test_an_interrupted_fit_lets_other_threads_in_again():
    model = dropout_model()

    class Fail(fastnn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        model.fit(X, Y, verbose=0, callbacks=[Fail()])
    outputs = []
    thread = threading.Thread(target=lambda: outputs.append(model.predict(X)))
    thread.start()
    thread.join()
    assert outputs[0].shape == (200, 1)
    assert copy.deepcopy(model).get_weights()[0].shape == (3, 8)


def test_a_refused_compile_changes_nothing():
    model = dropout_model()
    model.fit(X, Y, verbose=0)
    loss, optimizer, metrics, state = model.loss, model.optimizer, model.metrics, model.network_weights.capture()
    halt = Halt("on_predict_batch_end")
    thread, _ = running(halt, lambda: model.predict(X, batch_size=32, callbacks=[halt]))
    with pytest.raises(RuntimeError, match=r"compile of model .* cannot begin: predict runs in another thread"):
        model.compile("sgd", "mae", metrics=["mse"])
    halt.go_on.set()
    thread.join()
    with pytest.raises(ValueError, match="two outputs per target"):
        model.compile("sgd", fastnn.losses.GaussianNLL())
    assert (model.loss, model.optimizer, model.metrics) == (loss, optimizer, metrics)
    for before, after in zip(state.arrays, model.network_weights.capture().arrays, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert model.network.iterations == 7


def in_threads(n, work):
    """Run work in n threads at once; return what each returned or raised."""
    barrier, outcomes = threading.Barrier(n), []

    def run():
        barrier.wait()
        try:
            outcomes.append(work())
        except Exception as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_threads_that_use_a_new_model_first_build_it_once():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(60):
            model = fastnn.Sequential([layers.Dense(3, activation="relu"), layers.Dense(1)], seed=0)
            outcomes = in_threads(3, lambda model=model: model.predict(X[:4]))
            assert all(np.array_equal(outcome, outcomes[0]) for outcome in outcomes), outcomes
            model.set_weights([np.zeros_like(array) for array in model.get_weights()])
            assert not model.predict(X).any()
            assert not model.layers[0].kernel.any()
    finally:
        sys.setswitchinterval(interval)


def test_a_model_built_for_other_columns_in_the_meantime_is_not_built_again():
    model = fastnn.Sequential([layers.Dense(1)], seed=0)
    late = model.program_for(4)
    model.build(3)
    with pytest.raises(ValueError, match="the model takes 3 features, got 4"):
        model.build_from(late)


def test_weights_are_set_whole_or_not_at_all():
    """A thread predicts all the time: sets wait for it, and no prediction sees the half of one."""
    model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(64), layers.Dense(1)], seed=0)
    zeros, ones = ([np.full_like(array, value) for array in model.get_weights()] for value in (0.0, 1.0))
    expected = []
    for weights in (zeros, ones):
        model.set_weights(weights)
        expected.append(model.predict(X))
    done, wrong = threading.Event(), []

    def predict():
        while not done.is_set():
            try:
                outputs = model(X)
            except RuntimeError:
                continue
            if not any(np.array_equal(outputs, each) for each in expected):
                wrong.append(outputs)

    thread = threading.Thread(target=predict)
    thread.start()
    for _ in range(300):
        model.set_weights(zeros)
        model.set_weights(ones)
        model.trainable = True
    done.set()
    thread.join()
    assert not wrong
    with pytest.raises(ValueError, match="shape"):
        model.network.set_parameters([(0, "bias", 0), (1, "bias", 0)], [np.zeros(64), np.zeros(2)])
    assert np.array_equal(model.layers[0].bias, np.ones(64))
