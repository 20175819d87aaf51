"""Small steps run on the number of threads that trials found to be the fastest; the bits do not depend on it."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import _core, layers

ENGINE = Path(__file__).parent.parent / "csrc" / "engine"
COMPILER = shutil.which(os.environ.get("CC", "cc"))


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """The functions of trials.c."""
    if COMPILER is None or not ENGINE.is_dir():
        pytest.skip("needs a C compiler and the sources")
    library = tmp_path_factory.mktemp("trials") / "trials.so"
    command = [COMPILER, "-std=c11", "-shared", "-fPIC", str(ENGINE / "trials.c"), "-o", str(library)]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode:
        pytest.skip(f"trials.c needs other flags here: {built.stderr[-200:]}")
    functions = ctypes.CDLL(str(library))
    functions.fnn_trials_start.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_double]
    functions.fnn_trials_threads.argtypes = [ctypes.c_void_p]
    functions.fnn_trials_steps.argtypes = [ctypes.c_void_p]
    functions.fnn_trials_steps.restype = ctypes.c_ssize_t
    functions.fnn_trials_note.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int64]
    return functions


class Choice:
    """The choice of a number of threads on a simulated machine: nanoseconds of a step by number of threads."""

    def __init__(self, trials, most, operations):
        self.trials, self.state = trials, ctypes.create_string_buffer(256)
        trials.fnn_trials_start(self.state, most, operations)

    def threads(self):
        return self.trials.fnn_trials_threads(self.state)

    def steps(self):
        return self.trials.fnn_trials_steps(self.state)

    def train(self, n_steps, times, cut=10**9):
        """Number of steps taken on each number of threads; no call takes more than `cut`."""
        taken = dict.fromkeys(times, 0)
        while n_steps > 0:
            threads, steps = self.threads(), min(self.steps(), cut, n_steps)
            taken[threads] += steps
            n_steps -= steps
            self.trials.fnn_trials_note(self.state, steps, steps * times[threads])
        return taken


def test_nothing_is_tried_where_nothing_can_be_gained(trials):
    times = {1: 10, 2: 10**6}
    for most, operations in ((1, 1e5), (2, 1e8)):
        choice = Choice(trials, most, operations)
        assert choice.steps() > 10**12
        assert choice.train(10**6, times)[most] == 10**6


@pytest.mark.parametrize(("most", "order"), [(8, (2, 8, 1, 4, 8)), (6, (1, 6, 2, 6, 1)), (2, (1, 2, 1))])
@pytest.mark.parametrize("cut", [10**9, 7, 1])
def test_the_fastest_number_is_found_and_found_again(trials, cut, most, order):
    choice = Choice(trials, most, 2e5)
    for fastest in order:
        times = {n: 5000 * (1 + abs(n - fastest)) for n in range(1, most + 1)}
        choice.train(60_000, times, cut)
        assert choice.train(60_000, times, cut)[fastest] > 0.98 * 60_000


@pytest.mark.parametrize("cut", [10**9, 7])
def test_threads_that_become_slow_are_soon_abandoned(trials, cut):
    choice = Choice(trials, 2, 2e5)
    choice.train(20_000, {1: 4400, 2: 3700}, cut)
    assert choice.train(10_000, {1: 4400, 2: 12_000}, cut)[2] < 1500
    # Slow threads that are still the fastest are not tried again and again.
    choice.train(20_000, {1: 44_000, 2: 12_000}, cut)
    assert choice.train(100_000, {1: 44_000, 2: 12_000}, cut)[2] > 98_000


def test_equal_numbers_and_interruptions_change_nothing(trials):
    choice = Choice(trials, 2, 2e5)
    assert choice.train(100_000, {1: 5000, 2: 5000})[1] > 98_000
    assert choice.train(100_000, {1: 5000, 2: 4900})[1] > 98_000
    assert choice.train(100_000, {1: 5000, 2: 3000})[2] > 88_000
    assert choice.train(100_000, {1: 2950, 2: 3000})[2] > 98_000
    rng = np.random.default_rng(0)
    for _ in range(2000):  # another process interrupts one trial in five
        threads, steps = choice.threads(), choice.steps()
        slower = 10 if rng.random() < 0.2 else 1
        choice.trials.fnn_trials_note(choice.state, steps, int(steps * {1: 5000, 2: 3000}[threads] * slower))
    taken = choice.train(100_000, {1: 5000, 2: 3000})
    assert taken[2] > 98_000


@pytest.mark.parametrize("batch_size", [32, 20])
def test_trials_change_no_bit(batch_size):
    def weights(n_threads, max_steps):
        model = fastnn.Sequential([fastnn.Input((5,)), layers.Dense(48, "relu"), layers.Dense(3)], seed=1)
        model.compile(optimizer="adam", loss="mse")
        fit = _core.Fit(model.network, X, Y, batch_size=batch_size, n_threads=n_threads)
        for epoch in range(60):
            fit.begin_epoch(1, epoch, True, np.full(fit.n_steps, 1e-3))
            while fit.run(max_steps) == "more":
                pass
        return b"".join(w.tobytes() for w in model.get_weights())

    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(1000, 5)).astype(np.float32), rng.normal(size=(1000, 3)).astype(np.float32)
    alone = weights(1, -1)
    assert all(weights(n_threads, max_steps) == alone for n_threads in (2, 3, 8) for max_steps in (-1, 9))
