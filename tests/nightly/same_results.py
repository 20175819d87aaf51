"""The same bits: threads and kernels of random networks, rows predicted alone, fits resumed at random points.

Run: python tests/nightly/same_results.py [NETWORKS [ROWS [CUTS [SEED]]]]. Prints what differs and a line of JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from same_bits import digest, same_weights

import fastnn
from fastnn import _core, callbacks, layers, optimizers

ACTIVATIONS = [name for name in _core.ACTIVATIONS if name != "general_relu"]
RULES = ("SGD", "Adam", "AdamW", "Nadam", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Lion")
THREADS = (1, 2, 3, 4, 8)


def random_model(rng):
    """A random compiled network, and its inputs and targets."""
    stack = [fastnn.Input((int(rng.integers(1, 60)),))]
    for _ in range(rng.integers(1, 4)):
        stack.append(layers.Dense(int(rng.integers(1, 90)), str(rng.choice(ACTIVATIONS))))
        stack += [[], [layers.Dropout(0.2)], [layers.BatchNormalization()], [layers.LayerNormalization()]][
            rng.integers(4)
        ]
    stack.append(layers.Dense(int(rng.integers(1, 20))))
    model = fastnn.Sequential(stack, seed=int(rng.integers(1000)), dtype=str(rng.choice(["float32", "float64"])))
    model.compile(
        getattr(optimizers, str(rng.choice(RULES)))(1e-3), str(rng.choice(["mse", "mae", "huber", "log_cosh"]))
    )
    n = int(rng.integers(1, 400))
    return model, rng.normal(size=(n, model.input_shape[1])), rng.normal(size=(n, model.output_shape[1]))


def trained(seed, n_threads):
    """Hash of a random network's weights after three epochs, and of its predictions."""
    rng = np.random.default_rng(seed)
    model, X, Y = random_model(rng)
    core = _core.Fit(model.network, X, Y.astype(model.dtype), None, int(rng.integers(1, 150)), n_threads)
    for epoch in range(3):
        core.begin_epoch(seed, epoch, True, np.full(core.n_steps, 1e-3))
        while core.run() == "more":
            pass
    return digest(*model.get_weights(), model.network.predict(X.astype(model.dtype), n_threads=n_threads))


def hashes(first, count):
    """Hashes of random networks on one thread; asserts that other numbers of threads give the same."""
    found = []
    for seed in range(first, first + count):
        by_threads = {trained(seed, n) for n in THREADS}
        found.append(by_threads.pop() if len(by_threads) == 1 else f"threads differ: {sorted(by_threads)}")
    return found


def different_networks(count, seed):
    """Number of networks whose bits differ with threads, or between the kernels with fused multiply-adds."""
    results = []
    for isa in _core.config()["isas"]:
        if isa != "baseline":
            command = [sys.executable, __file__, "--hashes", str(seed), str(count)]
            run = subprocess.run(command, env={**os.environ, "FASTNN_ISA": isa}, stdout=subprocess.PIPE, check=True)
            results.append(json.loads(run.stdout))
    return sum(len(set(of)) > 1 or of[0].startswith("threads") for of in zip(*results, strict=True))


def different_rows(count, seed):
    """Number of rows whose prediction depends on the other rows, on their order or on the size of the batch."""
    rng = np.random.default_rng(seed)
    different = tried = 0
    while tried < count:
        model, _, _ = random_model(rng)
        X = rng.normal(size=(min(20000, count - tried), model.input_shape[1])).astype(model.dtype)
        whole = model.predict(X)
        order, cuts = rng.permutation(len(X)), np.sort(rng.integers(0, len(X), 9))
        parts = np.concatenate([model.predict(part) for part in np.split(X, cuts) if len(part)])
        single = rng.integers(0, len(X), 200)
        alone = np.concatenate([model.predict(X[i : i + 1]) for i in single])
        for given, wanted in ((parts, whole), (model.predict(X[order]), whole[order]), (alone, whole[single])):
            different += int((given.view(np.uint8) != wanted.view(np.uint8)).any(axis=1).sum())
        tried += len(X)
    return different


class Stop(callbacks.Callback):
    """Ends a fit at the start of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        """Interrupt."""
        if epoch == self.epoch:
            raise KeyboardInterrupt


def fitted(number, folder, stop=-1):
    """A random model after six epochs with backups, or None if it was interrupted."""
    model, X, Y = random_model(np.random.default_rng(number))
    watch = [callbacks.BackupAndRestore(folder), Stop(stop)]
    try:
        model.fit(X, Y, batch_size=32, epochs=6, verbose=0, callbacks=watch)
    except KeyboardInterrupt:
        return None
    return model


def different_cuts(count, seed):
    """Number of fits whose resumption, after one or two cuts, gives other weights than the uninterrupted one."""
    different = 0
    for i in range(count):
        with tempfile.TemporaryDirectory() as folder:
            whole = fitted([seed, i], f"{folder}/whole")
            cuts = np.random.default_rng([seed, i, 1]).choice(np.arange(1, 6), 1 + i % 2, replace=False)
            assert all(fitted([seed, i], f"{folder}/cut", int(cut)) is None for cut in np.sort(cuts))
            different += not same_weights(whole, fitted([seed, i], f"{folder}/cut"))
    return different


def main():
    """All three."""
    networks, rows, cuts, seed = [int(text) for text in sys.argv[1:]] + [300, 1_000_000, 200, 0][len(sys.argv) - 1 :]
    figures = {
        "networks": networks,
        "different networks": different_networks(networks, seed),
        "rows": rows,
        "different rows": different_rows(rows, seed),
        "cuts": cuts,
        "different cuts": different_cuts(cuts, seed),
    }
    print(json.dumps(figures))
    sys.exit(1 if any(value for name, value in figures.items() if name.startswith("different")) else 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--hashes"]:
        json.dump(hashes(int(sys.argv[2]), int(sys.argv[3])), sys.stdout)
    else:
        main()
