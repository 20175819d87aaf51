"""Many small networks on the same rows, and grid searches, against the same work done one after another and elsewhere.

Networks 10-32-32-1 learn about 1,000 rows for 50 epochs in batches of 32, with Adam in float32. The searches try such
networks, and networks 4-8-3 on the 150 rows of iris. All contestants take turns in one process. JAX's time is without
compilation. A PyTorch loop takes so long that it trains 1 network in 50, and its time is multiplied. README.md explains
the figures.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

import fastnn
from fastnn._command_line import positive_count
from fastnn.bench.machine import describe_machine

ROWS, FEATURES, BATCH, EPOCHS = 992, 10, 32, 50  # whole batches: JAX needs equal shapes
RATE, EPSILON = 0.001, 1e-7
TORCH_SHARE = 50


def make_data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, FEATURES)).astype("float32")
    return X, (np.sin(X[:, :1]) + X[:, 1:2] * X[:, 2:3]).astype("float32")


def build(seed: int) -> fastnn.Sequential:
    layers = fastnn.layers
    model = fastnn.Sequential(
        [
            fastnn.Input((FEATURES,)),
            layers.Dense(32, activation="relu"),
            layers.Dense(32, activation="relu"),
            layers.Dense(1),
        ],
        seed=seed,
    )
    model.compile(fastnn.optimizers.Adam(RATE), "mse")
    return model


def fit_many(X: Any, y: Any, n: int) -> None:
    fastnn.fit_many(build, X, y, seeds=n, epochs=EPOCHS, batch_size=BATCH, verbose=0)


def one_after_another(X: Any, y: Any, n: int) -> None:
    for seed in range(n):
        build(seed).fit(X, y, epochs=EPOCHS, batch_size=BATCH, verbose=0)


def jax_functions() -> dict[str, Callable[[Any, Any, int], None]]:
    import jax
    import jax.numpy as jnp

    def loss(weights: Any, x: Any, y: Any) -> Any:
        for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            x = jax.nn.relu(x @ kernel + bias)
        return jnp.mean((x @ weights[-2] + weights[-1] - y) ** 2)

    def start(key: Any) -> Any:
        sizes, weights = (FEATURES, 32, 32, 1), []
        for n_in, n_out in pairwise(sizes):
            key, part = jax.random.split(key)
            bound = np.sqrt(6.0 / (n_in + n_out))
            weights += [jax.random.uniform(part, (n_in, n_out), minval=-bound, maxval=bound), jnp.zeros(n_out)]
        return weights

    def train(key: Any, X: Any, y: Any) -> Any:
        def step(state: Any, rows: Any) -> Any:
            weights, first, second, t = state
            value, gradients = jax.value_and_grad(loss)(weights, X[rows], y[rows])
            t = t + 1
            rate = RATE * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
            second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients, strict=True)]
            weights = [w - rate * m / (jnp.sqrt(v) + EPSILON) for w, m, v in zip(weights, first, second, strict=True)]
            return (weights, first, second, t), value

        def epoch(state: Any, key: Any) -> Any:
            state, values = jax.lax.scan(step, state, jax.random.permutation(key, ROWS).reshape(-1, BATCH))
            return state, values.mean()

        weights = start(key)
        moments = [[jnp.zeros_like(w) for w in weights] for _ in range(2)]
        state = (weights, *moments, jnp.float32(0))
        (weights, *_), losses = jax.lax.scan(epoch, state, jax.random.split(key, EPOCHS))
        return weights, losses

    single, together = jax.jit(train), jax.jit(jax.vmap(train, in_axes=(0, None, None)))

    def vmap(X: Any, y: Any, n: int) -> None:
        jax.block_until_ready(together(jax.random.split(jax.random.key(0), n), X, y))

    def loop(X: Any, y: Any, n: int, workers: int) -> None:
        with ThreadPoolExecutor(workers) as pool:
            calls = [pool.submit(single, key, X, y) for key in jax.random.split(jax.random.key(0), n)]
            jax.block_until_ready([call.result() for call in calls])

    return {
        "JAX vmap + scan": vmap,
        "JAX compiled loop": partial(loop, workers=1),
        "JAX compiled loop, 2 Python threads": partial(loop, workers=2),
    }


def torch_loop(X: Any, y: Any, n: int) -> None:
    import torch
    from torch import nn

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # also OpenMP's limit of this thread, which fastnn obeys
    inputs, targets = torch.from_numpy(X), torch.from_numpy(y)
    for _ in range(n):
        net = nn.Sequential(nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
        optimizer = torch.optim.Adam(net.parameters(), lr=RATE, eps=EPSILON, fused=True)
        for _ in range(EPOCHS):
            for rows in torch.randperm(ROWS).split(BATCH):
                optimizer.zero_grad(set_to_none=True)
                nn.functional.mse_loss(net(inputs[rows]), targets[rows]).backward()
                optimizer.step()
    torch.set_num_threads(threads)


def search_functions(net: Any, X: Any, y: Any) -> dict[str, Callable[[], Any]]:
    from sklearn.model_selection import GridSearchCV

    grid = {"alpha": [1e-5, 1e-4, 1e-3, 1e-2], "learning_rate_init": [3e-4, 1e-3, 3e-3, 1e-2]}
    return {
        "fastnn.sweep": lambda: fastnn.sweep(net, grid, X, y, cv=5),
        "GridSearchCV(n_jobs=2)": lambda: GridSearchCV(net, grid, cv=5, n_jobs=2).fit(X, y),
        "GridSearchCV": lambda: GridSearchCV(net, grid, cv=5).fit(X, y),
    }


def searches() -> dict[str, dict[str, Callable[[], Any]]]:
    from sklearn.datasets import load_iris

    shared = {"max_iter": EPOCHS, "n_iter_no_change": EPOCHS, "random_state": 0}
    X, y = make_data()
    large = fastnn.MLPRegressor(hidden_layer_sizes=(32, 32), batch_size=BATCH, **shared)
    small = fastnn.MLPClassifier(hidden_layer_sizes=(8,), **shared)
    return {
        f"80 fits of a grid search with 5 folds of 150 rows, 4-8-3, {EPOCHS} epochs": search_functions(
            small, *load_iris(return_X_y=True)
        ),
        f"80 fits of a grid search with 5 folds of {ROWS} rows, {FEATURES}-32-32-1, {EPOCHS} epochs": search_functions(
            large, X, y.ravel()
        ),
    }


def take_turns(title: str, contestants: dict[str, Callable[[], Any]], factors: dict[str, float], rounds: int) -> None:
    """Time all contestants in turns; print the best, the median and the ratios of each turn to the first contestant."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            begin = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - begin) * factors.get(name, 1.0))
    first = next(iter(times.values()))
    print(f"\n{title}\n{'':40s}{'best s':>10s}{'median s':>10s}   median ratio (least to most)")
    for name, taken in times.items():
        ratios = np.divide(taken, first)
        spread = f"{np.median(ratios):8.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
        print(f"{name:40s}{min(taken):10.3f}{np.median(taken):10.3f}   {spread}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=positive_count, default=500)
    parser.add_argument("--rounds", type=positive_count, default=3)
    parser.add_argument("--only", choices=("models", "search"), help="one of the two comparisons")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    n = arguments.models
    X, y = make_data()
    print(describe_machine())
    if arguments.only != "search":
        contestants: dict[str, Callable[[Any, Any, int], None]] = {
            "fastnn.fit_many": fit_many,
            "fastnn, one after another": one_after_another,
        }
        counts, factors = {}, {}
        try:
            contestants.update(jax_functions())
        except ImportError:
            print("jax is not installed: pip install jax")
        try:
            import torch  # noqa: F401

            contestants["PyTorch loop"] = torch_loop
            counts["PyTorch loop"] = max(1, n // TORCH_SHARE)
            factors["PyTorch loop"] = n / counts["PyTorch loop"]
        except ImportError:
            print("torch is not installed: pip install torch")
        runs = {name: partial(run, X, y, counts.get(name, n)) for name, run in contestants.items()}
        for name, run in runs.items():  # compile, and start the threads
            if name != "PyTorch loop":
                run()
        take_turns(f"{n} networks {FEATURES}-32-32-1, {ROWS} rows, {EPOCHS} epochs", runs, factors, arguments.rounds)
    if arguments.only != "models":
        for title, contestants_of_search in searches().items():
            for search in contestants_of_search.values():  # start the worker processes
                search()
            take_turns(title, contestants_of_search, {}, arguments.rounds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
