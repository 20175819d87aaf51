"""Levenberg-Marquardt against L-BFGS and Adam, and its normal equations against the multiply-add peak.

SIN is a period of a sine at 41 points with 1-5-1, PARITY the parity of three signs with 3-10-10-1, both from 30 starts,
after Hagan and Menhaj (1994) and Beale, Hagan and Demuth (2010). The time is processor time until the loss is reached:
of each start the least of three turns, in which the contestants follow one another (scikit-learn has one turn).
The normal equations are those of 10,000 rows and p = 298 weights: 10,000 p^2 operations, as one triangle needs.
"""

import argparse
import time
import warnings
from typing import Any

import numpy as np

import fastnn
import fastnn._core as _core
from fastnn import layers
from fastnn.bench.machine import describe_machine
from fastnn.training.residuals import residuals_of

STARTS = 30
CONTESTANTS = ("lm", "lbfgs", "adam", "scikit-learn lbfgs")
TURNS = CONTESTANTS[:3]


class Goal(fastnn.callbacks.Callback):
    """Stops at a loss."""

    def __init__(self, loss: float) -> None:
        self._loss = loss

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop if the loss is reached."""
        if logs["loss"] <= self._loss:
            self.model.stop_training = True


def problems() -> dict[str, tuple[Any, Any, list[int], float]]:
    x = np.linspace(-1.0, 1.0, 41)[:, None]
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T
    return {
        "SIN 1-5-1 to 0.002": (x, np.sin(np.pi * x), [5], 0.002),
        "SIN 1-5-1 to 1e-5": (x, np.sin(np.pi * x), [5], 1e-5),
        "PARITY 3-10-10-1 to 0.001": (corners, corners.prod(axis=1, keepdims=True), [10, 10], 0.001),
    }


def fit(optimizer: str, problem: tuple[Any, Any, list[int], float], seed: int) -> tuple[float, bool, int]:
    X, y, hidden, goal = problem
    if optimizer == "scikit-learn lbfgs":
        return fit_sklearn(X, y, hidden, goal, seed)
    stack = [*(layers.Dense(units, "tanh") for units in hidden), layers.Dense(1)]
    model = fastnn.Sequential(stack, dtype="float64", seed=seed)
    model.build((None, X.shape[1]))
    model.compile(fastnn.optimizers.Adam(0.01) if optimizer == "adam" else optimizer, "mse")
    epochs = 20_000 if optimizer == "adam" else 2_000
    begin = time.process_time()
    losses = model.fit(X, y, batch_size=None if optimizer != "adam" else len(X), epochs=epochs, verbose=0,
                       callbacks=[Goal(goal)]).history["loss"]  # fmt: skip
    return time.process_time() - begin, losses[-1] <= goal, len(losses)


def fit_sklearn(X: Any, y: Any, hidden: list[int], goal: float, seed: int) -> tuple[float, bool, int]:
    """Time scikit-learn's L-BFGS, which cannot stop at a loss: the fewest iterations that reach it."""
    from sklearn.neural_network import MLPRegressor

    most = 1
    while most <= 4096:
        net = MLPRegressor(
            hidden_layer_sizes=hidden,
            activation="tanh",
            solver="lbfgs",
            alpha=0.0,
            max_iter=most,
            tol=0.0,
            random_state=seed,
        )
        begin = time.process_time()
        net.fit(X, y.ravel())
        seconds = time.process_time() - begin
        if np.mean((net.predict(X) - y.ravel()) ** 2) <= goal:
            return seconds, True, most
        most = most + 1 if most < 8 else int(most * 1.1) + 1
    return seconds, False, most


def normal_equations(n_threads: int, turns: int) -> tuple[float, float]:
    """Return the milliseconds of the normal equations, and the share of the float64 peak."""
    model = fastnn.Sequential([layers.Dense(27, "tanh"), layers.Dense(1)], dtype="float64", seed=0)
    model.build((None, 9))
    rows = 10_000
    X = np.random.default_rng(0).standard_normal((rows, 9))
    best, peak = np.inf, 0.0
    with fastnn.threads(n_threads):
        residuals = residuals_of(model.program, "the benchmark", [X], np.zeros((1, rows)), np.ones((1, rows)))
        flat, p = residuals.take_weights(model.network), residuals.n_weights
        for _ in range(turns):
            peak = max(peak, _core.fma_peak(0.02) / 2 * n_threads)
            begin = time.perf_counter()
            residuals.normal_equations(flat)
            best = min(best, time.perf_counter() - begin)
    return best * 1e3, rows * p * p / best / 1e9 / peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three starts and turns")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(describe_machine())
    starts, turns = (3, 3) if arguments.quick else (STARTS, 30)
    for name, problem in problems().items():
        print(f"\n{name}, {starts} starts")
        found: dict[str, list[tuple[float, bool, int]]] = {contestant: [] for contestant in CONTESTANTS}
        for seed in range(starts):
            runs = {contestant: [fit(contestant, problem, seed)] for contestant in CONTESTANTS}
            for contestant in TURNS * 2:
                runs[contestant].append(fit(contestant, problem, seed))
            for contestant, each in runs.items():
                found[contestant].append(min(each))
        base = np.median([seconds for seconds, _, _ in found["lm"]])
        for contestant, each in found.items():
            reached, steps = sum(good for _, good, _ in each), np.median([count for *_, count in each])
            middle = np.median([seconds for seconds, _, _ in each])
            print(
                f"  {contestant:20} reached {reached:2} times, median {middle * 1e3:8.2f} ms ({middle / base:6.1f}x), "
                f"{steps:7.0f} steps"
            )
    print("\nNormal equations, 10,000 rows, 298 weights")
    for n_threads in (1, fastnn.get_num_threads()):
        milliseconds, share = normal_equations(n_threads, turns)
        print(f"  {n_threads} threads: {milliseconds:.2f} ms, {100 * share:.0f} % of the float64 multiply-add peak")


if __name__ == "__main__":
    main()
