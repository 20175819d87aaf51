"""Fits of fastnn alone, run in a process of its own: by options, by thread count, and with their peak memory."""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn
import fastnn._core as _core
from fastnn import callbacks, layers, losses, optimizers
from fastnn.bench.contestants.contestant import LEARNING_RATE
from fastnn.bench.contestants.fastnn_model import CONTESTANT
from fastnn.bench.networks import NETWORKS, network_data, network_weights

__all__ = ["clear", "fit_memory", "product_after_fit", "run", "start_model", "start_threads", "step_phases"]

_epochs: dict[str, tuple[Callable[[int], None], int]] = {}
"""By key: a function that trains a number of epochs, and the steps of an epoch."""


def start_model(
    key: str,
    widths: list[int],
    batch_size: int,
    n_batches: int,
    activation: str = "relu",
    loss: str = "mse",
    dropout: float = 0.0,
    normalization: str | None = None,
    optimizer: str = "Adam",
    optimizer_options: dict[str, Any] | None = None,
    validation_rows: int = 0,
    early_stopping: bool = False,
) -> dict[str, Any]:
    """Keep a compiled `Sequential` of layers ``widths[1:]`` and random data with ``widths[0]`` columns.

    With ``validation_rows`` every epoch ends with an evaluation of the first rows. With ``early_stopping`` the best
    weights are kept, and the patience never runs out.
    """
    model = _model(widths, activation, dropout, normalization)
    rule = getattr(optimizers, optimizer)(**(optimizer_options or {}))
    generator = np.random.Generator(np.random.Philox(0))
    n_rows = n_batches * batch_size
    X = generator.standard_normal((n_rows, widths[0]), dtype=np.float32)
    y: NDArray[Any]
    if loss == "mse":
        y = generator.standard_normal((n_rows, widths[-1]), dtype=np.float32)
        model.compile(optimizer=rule, loss=losses.MeanSquaredError())
    else:
        y = generator.integers(0, widths[-1], n_rows)
        model.compile(optimizer=rule, loss=losses.SparseCategoricalCrossentropy(from_logits=True))

    validation = (X[:validation_rows], y[:validation_rows]) if validation_rows else None

    def train(epochs: int) -> None:
        stops = [callbacks.EarlyStopping(patience=2**31, restore_best_weights=True)] if early_stopping else None
        model.fit(X, y, batch_size, epochs, verbose=0, callbacks=stops, validation_data=validation, shuffle=False)

    _epochs[key] = train, n_batches
    return {}


def start_threads(key: str, widths: list[int], batch_size: int, n_batches: int, n_threads: int) -> dict[str, Any]:
    """Keep a compiled network that trains on ``n_threads`` threads; 0 leaves the number unset."""
    generator = np.random.Generator(np.random.Philox(0))
    dense = [{"n_out": units, "use_bias": True, "activation": "relu"} for units in widths[1:]]
    dense[-1]["activation"] = "linear"
    network = _core.Network(widths[0], [("dense", options) for options in dense])
    for op, (n_in, n_out) in enumerate(pairwise(widths)):
        limit = (6.0 / (n_in + n_out)) ** 0.5
        network.set_parameter(op, "kernel", generator.uniform(-limit, limit, (n_in, n_out)).astype(np.float32))
    network.compile("mean_squared_error", {}, "adam", {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7})
    X = generator.standard_normal((n_batches * batch_size, widths[0]), dtype=np.float32)
    y = generator.standard_normal((n_batches * batch_size, widths[-1]), dtype=np.float32)
    with fastnn.threads(n_threads or fastnn.get_num_threads()):
        fit = _core.Fit(network, X, y, batch_size=batch_size)
    learning_rates = np.full(fit.n_steps, 1e-4)

    def train(epochs: int) -> None:
        for epoch in range(epochs):
            fit.begin_epoch(0, epoch, False, learning_rates)
            fit.run(max_seconds=1e9)

    _epochs[key] = train, n_batches
    return {}


def run(key: str, epochs: int) -> dict[str, Any]:
    """Train the kept network; return seconds and steps."""
    train, n_batches = _epochs[key]
    start = time.perf_counter()
    train(epochs)
    return {"seconds": time.perf_counter() - start, "steps": epochs * n_batches}


def step_phases(name: str, n_threads: int, seconds: float, window: float) -> dict[str, Any]:
    """Train a network of the grid on up to ``n_threads``; measure its fastest run of about ``window`` seconds.

    Returns the seconds of a step, "step", and the seconds that all threads together spent in each phase, "phases".
    """
    network = NETWORKS[name]
    X, y = network_data(network)
    trained = CONTESTANT(n_threads)
    trained.start_training(network, X, y, network_weights(network))
    fit = _core.Fit(
        trained.model.network, network.one_or_more(X), y, batch_size=network.batch_size, n_threads=n_threads
    )
    learning_rates = np.full(fit.n_steps, LEARNING_RATE)
    best, phases, steps, end = np.inf, {}, 1, time.perf_counter() + seconds
    while time.perf_counter() < end:
        fit.begin_epoch(0, 0, False, learning_rates)
        while fit.step + steps <= fit.n_steps:
            fit.time_phases()
            start = time.perf_counter()
            fit.run(steps, 1e9)
            step = (time.perf_counter() - start) / steps
            if step < best:
                best, phases = step, {phase: total / steps for phase, total in fit.phases.items()}
        steps = min(max(1, round(window / best)), fit.n_steps)
    return {"step": best, "phases": phases}


def product_after_fit(rounds: int) -> dict[str, Any]:
    """Microseconds of a NumPy product alone and right after a fit: medians of ``rounds`` products each, in turns."""
    generator = np.random.Generator(np.random.Philox(0))
    a, b = generator.standard_normal((2, 512, 512), dtype=np.float32)
    start_model("product_after_fit", [256, 256, 256, 1], 256, 8)
    alone, after = [], []
    for _ in range(rounds):
        time.sleep(0.02)  # spinning threads go to sleep
        alone.append(_seconds(lambda: a @ b))
        run("product_after_fit", 1)
        after.append(_seconds(lambda: a @ b))
    return {"alone_us": 1e6 * float(np.median(alone)), "after_us": 1e6 * float(np.median(after))}


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def after_pause(n_threads: int, rounds: int) -> dict[str, Any]:
    """Median microseconds of a prediction and of a fit after 20 ms without work, when threads sleep."""
    fastnn.set_num_threads(n_threads)
    generator = np.random.Generator(np.random.Philox(0))
    X, y = (generator.standard_normal((1024, columns), dtype=np.float32) for columns in (64, 10))
    model = fastnn.Sequential([layers.Input((64,)), layers.Dense(100, activation="relu"), layers.Dense(10)], seed=0)
    model.compile("adam", "mse")
    calls: dict[str, Callable[[], Any]] = {
        "prediction_us": lambda: model(X),
        "fit_us": lambda: model.fit(X, y, 64, 2, verbose=0),
    }
    medians = {}
    for name, call in calls.items():
        seconds = []
        for _ in range(rounds):
            time.sleep(0.02)
            seconds.append(_seconds(call))
        medians[name] = 1e6 * float(np.median(seconds))
    return medians


def clear() -> dict[str, Any]:
    """Release all kept networks."""
    _epochs.clear()
    return {}


def fit_memory(widths: list[int], batch_size: int, n_rows: int, dtype: str, strided: bool) -> dict[str, Any]:
    """Train one epoch; return by how many bytes it raised the peak of resident memory, and the shortest later epoch."""
    X = np.empty((n_rows, widths[0] * (2 if strided else 1)), dtype=dtype)
    y = np.empty((n_rows, widths[-1]), dtype=np.float32)
    generator = np.random.Generator(np.random.Philox(0))
    for start in range(0, n_rows, 1000):
        rows = slice(start, start + 1000)
        X[rows] = generator.integers(-3, 4, X[rows].shape)
        y[rows] = generator.standard_normal(y[rows].shape, dtype=np.float32)
    if strided:
        X = X[:, ::2]
    model = _model(widths)
    rule = optimizers.Adam(learning_rate=1e-4)
    model.compile(optimizer=rule, loss=losses.MeanSquaredError())
    before = _reset_peak()
    model.fit(X, y, batch_size=batch_size, epochs=1, shuffle=True, verbose=0)
    grown = None if before is None else _status("VmHWM") - before
    epochs: list[float] = []
    while not epochs or (sum(epochs) < 0.3 and len(epochs) < 20):
        begin = time.perf_counter()
        model.fit(X, y, batch_size=batch_size, epochs=1, shuffle=True, verbose=0)
        epochs.append(time.perf_counter() - begin)
    n_parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise(widths))
    # Three times the weights, their gradients and Adam's two moments in float32, and 64 MiB.
    limit = 3 * n_parameters * 4 * (2 + 2) + 64 * 2**20
    return {"seconds": min(epochs), "grown_bytes": grown, "limit_bytes": limit, "data_bytes": X.size * X.itemsize}


def _model(
    widths: list[int], activation: str = "relu", dropout: float = 0.0, normalization: str | None = None
) -> fastnn.Sequential:
    stack: list[Any] = [layers.Input((widths[0],))]
    for units in widths[1:-1]:
        if normalization is None:
            stack.append(layers.Dense(units, activation=activation))
        else:
            stack += [layers.Dense(units), getattr(layers, normalization)(), layers.Activation(activation)]
        if dropout:
            stack.append(layers.Dropout(dropout))
    return fastnn.Sequential([*stack, layers.Dense(widths[-1])], seed=0)


def _reset_peak() -> int | None:
    """Reset the peak of resident memory to the current value and return it; None where the system cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _status("VmHWM")
    except OSError:
        return None


def _status(name: str) -> int:
    """Return a value of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {name}")
