"""Print as JSON hashes of random graphs that are trained and predict. test_graphs.py runs this.

Run: python tests/graph_bits.py [NUMBER OF GRAPHS [FIRST]].
"""

import json
import random
import sys

import numpy as np
from graphs import random_graph
from same_bits import digest

from fastnn import _core

THREADS = (1, 2, 3, 4, 8)
RULES = (
    ("adam", {}),
    ("sgd", {"momentum": 0.9, "clipnorm": 0.5}),
    ("adam", {"gradient_accumulation_steps": 2, "global_clipnorm": 1.0}),
    ("adamw", {"weight_decay": 0.01, "use_ema": True, "ema_momentum": 0.9}),
)
ROWS = 75


def graph_of(seed):
    """A graph, some of whose layers have penalties and constraints; every second one is trained by several threads."""
    drawn = random.Random(seed)
    graph = random_graph(drawn, smooth=False, wide=seed % 2 == 1)
    for kind, options in graph.ops:
        if kind == "dense" and "weights_of" not in options and drawn.random() < 0.3:
            options["kernel_regularizer"] = (0.001, 0.01)
            options["kernel_constraint"] = ("max_norm", 1.5, 0)
        if kind in ("dense", "multiply") and drawn.random() < 0.2:
            options["activity_regularizer"] = (0.001, 0.002)
    return graph


def train(graph, seed, dtype, n_threads, max_steps=-1):
    """Hash of weights, moments, losses and predictions after two epochs with ragged last batches."""
    network = graph.network(dtype, *RULES[seed % len(RULES)])
    fit, X, _ = graph.fit(network, ROWS, (32, 20, 64)[seed % 3], n_threads)
    losses = []
    for epoch in range(2):
        fit.begin_epoch(3, epoch, True, np.full(fit.n_steps, 1e-3))
        while (state := fit.run(max_steps)) == "more":
            pass
        losses += [state == "finished", fit.loss_sum, *fit.loss_sums]
    values = [
        network.get_parameter(*place, slot) for place in graph.parameters() for slot in range(network.n_slots + 1)
    ]
    return digest(*values, *network.predict(X, n_threads=n_threads), np.array(losses))


def row_mismatches(graph, dtype):
    """Numbers of rows whose predictions depend on the other rows, or on the buffers that are wanted."""
    network, X = graph.network(dtype), graph.inputs(ROWS)
    whole, bad = network.predict(X), []
    for count in (1, 2, 16, 17):
        for first in range(0, ROWS - count, 11):
            some = network.predict([x[first : first + count] for x in X])
            if any(a.tobytes() != b[first : first + count].tobytes() for a, b in zip(some, whole, strict=True)):
                bad.append((count, first))
    alone = [network.predict(X, buffers=[buffer])[0] for buffer in graph.outputs]
    if any(a.tobytes() != b.tobytes() for a, b in zip(alone, whole, strict=True)):
        bad.append("buffers")
    return bad


def compute(count, start):
    """Hashes of graphs, and those whose rows are mixed up."""
    hashes, mixed = {}, {}
    for seed in range(start, start + count):
        graph = graph_of(seed)
        for dtype in ("float32", "float64"):
            name = f"{seed} {dtype}"
            hashes[name] = [train(graph, seed, dtype, threads) for threads in THREADS]
            hashes[name].append(train(graph, seed, dtype, 2, 2))
            bad = row_mismatches(graph, dtype)
            if bad:
                mixed[name] = bad
    return {"isa": _core.config()["isa"], "hashes": hashes, "mixed": mixed}


if __name__ == "__main__":
    json.dump(compute(int((sys.argv[1:] or [30])[0]), int((sys.argv[2:] or [0])[0])), sys.stdout)
