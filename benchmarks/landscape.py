"""Time the loss landscape of the submarine network, 51 x 51 points on 2,000 rows, against the same sums in NumPy.

python benchmarks/landscape.py
"""

import statistics
import time

import numpy as np

import fastnn
from fastnn import layers

N, ROWS, ROUNDS = 51, 2000, 3


def numpy_landscape(X, y, weights, directions, steps):
    """Return the losses of the network 5-32-32-3 with ReLU at ``weights + a d1 + b d2``, point by point."""
    losses = []
    for a, b in steps:
        w1, b1, w2, b2, w3, b3 = (w + a * d1 + b * d2 for w, d1, d2 in zip(weights, *directions, strict=True))
        hidden = np.maximum(X @ w1 + b1, 0.0)
        hidden = np.maximum(hidden @ w2 + b2, 0.0)
        losses.append(np.mean((hidden @ w3 + b3 - y) ** 2))
    return np.array(losses)


def filter_directions(weights, seed):
    """Return two filter-normalized directions, the ones that ``loss_landscape`` draws for this seed."""
    generator = np.random.Generator(np.random.Philox(seed))
    directions = []
    for _ in range(2):
        arrays = []
        for weight in weights:
            direction = np.zeros(weight.shape)
            if weight.ndim == 2:
                direction = generator.standard_normal(weight.shape)
                direction *= np.linalg.norm(weight, axis=0) / np.linalg.norm(direction, axis=0)
            arrays.append(direction.astype(weight.dtype))
        directions.append(arrays)
    return directions


def main():
    voyage = fastnn.datasets.load_submarine(ROWS)
    X = ((voyage.data - voyage.data.mean(axis=0)) / voyage.data.std(axis=0)).astype(np.float32)
    y = ((voyage.target - voyage.target.mean(axis=0)) / voyage.target.std(axis=0)).astype(np.float32)
    model = fastnn.Sequential(
        [layers.Dense(32, activation="relu"), layers.Dense(32, activation="relu"), layers.Dense(3)], seed=0
    )
    model.compile(optimizer="adam", loss="mse")
    model.fit(X, y, epochs=20, verbose=0)
    weights = model.get_weights()
    directions = filter_directions(weights, 0)
    native, numpy_times = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        result = fastnn.loss_landscape(model, X, y, n=N, verbose=0)
        native.append(time.perf_counter() - start)
        steps = [(a, b) for b in result.beta for a in result.alpha]
        start = time.perf_counter()
        expected = numpy_landscape(X, y, weights, directions, steps)
        numpy_times.append(time.perf_counter() - start)
        difference = np.max(np.abs(result.loss.ravel() / expected - 1.0))
        if difference > 1e-4:
            raise SystemExit(f"the two landscapes differ by a factor of 1 +- {difference:.1e}")
    print(f"{N} x {N} points, {ROWS:,} rows, network 5-32-32-3, float32; largest relative difference {difference:.1e}")
    for name, times in (("fastnn", native), ("NumPy loop", numpy_times)):
        print(f"{name:12} median {statistics.median(times):.3f} s, best {min(times):.3f} s of {ROUNDS}")
    print(f"ratio of the best: {min(numpy_times) / min(native):.1f}\n")
    fastnn.show_config()


if __name__ == "__main__":
    main()
