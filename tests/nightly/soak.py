"""Fits, predictions, copies and files, again and again: memory, files and threads stay as many as after the first ones.

Run: python tests/nightly/soak.py [CYCLES]. Prints a line of JSON: growth of the resident memory in KiB, and of the
numbers of open files and of threads. The growth is counted after a warm-up of a tenth of the cycles.
"""

import copy
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import fastnn
from fastnn import layers

MOST_KIB = 1024


def state():
    """Resident KiB, open files, threads."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return int(status["VmRSS"].split()[0]), len(os.listdir("/proc/self/fd")), int(status["Threads"])


def cycle(path, X):
    """Everything that allocates."""
    stack = [fastnn.Input((20,)), layers.Dense(64, "relu"), layers.BatchNormalization(), layers.Dropout(0.1)]
    model = fastnn.Sequential([*stack, layers.Dense(2)], seed=1)
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, X[:, :2], batch_size=100, epochs=2, verbose=0, validation_split=0.2)
    model.evaluate(X, X[:, :2], verbose=0)
    model.gradients(X[:50], X[:50, :2])
    model.save(path)
    again = copy.deepcopy(fastnn.load_model(path))
    assert again.predict(X).tobytes() == model.predict(X).tobytes()
    try:
        model.predict(X[:, :3])
    except ValueError:
        pass


def main():
    """Run the cycles."""
    cycles = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    X = np.random.default_rng(0).normal(size=(1000, 20)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(cycles + cycles // 10):
            if i == cycles // 10:
                before = state()
            cycle(Path(folder) / "model.safetensors", X)
    growth = [after - first for first, after in zip(before, state(), strict=True)]
    print(json.dumps({"cycles": cycles, "KiB": growth[0], "files": growth[1], "threads": growth[2]}))
    sys.exit(1 if growth[0] > MOST_KIB or growth[1] > 0 or growth[2] > 0 else 0)


if __name__ == "__main__":
    main()
