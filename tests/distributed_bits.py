"""Print as JSON hashes of what ranks, or this process alone, have trained. test_distributed.py runs this.

Run: [mpiexec -n N] python tests/distributed_bits.py [ranks | messages].
"""

import contextlib
import json
import random
import sys

import numpy as np
from graphs import random_graph
from layer_bits import FEW_ROWS, NETWORKS, train
from same_bits import digest

import fastnn
from fastnn import _core, _ranks, callbacks, constraints, layers, optimizers


def graph_hash(number, ranks):
    """Weights, outputs and losses of a random graph with several inputs, outputs and losses."""
    graph = random_graph(random.Random(number), wide=number % 2 == 1)
    network = graph.network("float32", "adam", {"accumulate": 2} if number % 3 == 0 else None)
    X = graph.inputs(150)
    used = [loss is not None for loss in graph.losses]
    targets = [y for y, has_loss in zip(graph.targets(network, 150), used, strict=True) if has_loss]
    outputs = [np.zeros((150, width), "f4") for width in network.output_widths]
    several = len(outputs) > 1
    fit = _core.Fit(
        network, X, targets if several else targets[0], None, 64, 1, outputs if several else outputs[0], ranks=ranks
    )
    losses = []
    for epoch in range(2):
        fit.begin_epoch(3, epoch, True, np.full(fit.n_steps, 1e-2))
        while fit.run() == "more":
            pass
        losses.append(fit.loss_sum)
    weights = [network.get_parameter(op, name, slot) for op, name in graph.parameters() for slot in (0, 1, 2)]
    return digest(*weights, *outputs, np.array(losses))


def mean_error(y_true, y_pred):
    """A loss in Python."""
    return ((y_true - y_pred) ** 2).mean(), 2 * (y_pred - y_true) / y_true.size


def dense(*more, n_out=1, activation=None):
    """A small chain."""
    return [layers.Dense(70, activation="relu", kernel_regularizer="l2"), *more, layers.Dense(n_out, activation)]


MODELS = {
    "dropout": (dense(layers.Dropout(0.2), layers.Dense(33, activation="tanh")), "adam", "mse"),
    "batch normalization": (dense(layers.BatchNormalization(), layers.PReLU()), "nadam", "huber"),
    "norms": (
        dense(layers.Dense(33, kernel_constraint=constraints.MaxNorm(1.0), activity_regularizer="l2")),
        optimizers.Adam(0.01, global_clipnorm=0.1, use_ema=True),
        "mse",
    ),
    "norm of each weight": (dense(), optimizers.Adam(0.01, clipnorm=0.01), "mae"),
    "accumulation": (dense(), optimizers.SGD(0.01, momentum=0.9, gradient_accumulation_steps=3), "mse"),
    "loss in Python": (dense(), "adam", mean_error),
    "loss of the whole batch": (dense(activation="sigmoid"), "adam", "dice"),
    "weights set between steps": (dense(), "adam", "mse"),
    "classes": (dense(n_out=3, activation="softmax"), "adamw", "sparse_categorical_crossentropy"),
}


LARGE_BATCHES = {
    "chunk sums": (dense(layers.Dense(33, activation="tanh"), n_out=2), 1024, {}),
    "chunk sums and rows": (dense(layers.Dense(700), layers.Dense(700), n_out=2), 1024, {}),
    "chunk sums, layers between": (
        dense(layers.BatchNormalization(), layers.PReLU(), layers.Dropout(0.1), layers.Dense(50), n_out=2),
        1024,
        {},
    ),
    "chunk sums, norms": (dense(layers.Dense(40), n_out=2), 2048, {"global_clipnorm": 0.1, "use_ema": True}),
    "chunk sums, accumulation": (dense(n_out=2), 1024, {"gradient_accumulation_steps": 2}),
    "uneven chunks": (dense(layers.Dense(40), n_out=2), 600, {}),
}


class Rates(callbacks.Callback):
    """Every step ends in Python, and has its own learning rate."""

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = 0.001 * (1 + batch)


class Decay(callbacks.Callback):
    """Every step ends with weights that Python sets."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.set_weights([0.9 * weight for weight in self.model.get_weights()])


def model_hash(name):
    """Weights and history of a model that is fitted with validation, metrics, early stopping and batch hooks."""
    stack, optimizer, loss = MODELS[name]
    rng = np.random.default_rng(4)
    X = rng.normal(size=(700, 20)).astype("f4")
    y = X[:, :1] * 2 + np.sin(X[:, 1:2])
    if name == "loss of the whole batch":
        y = y > 0
    if name == "classes":
        y = np.digitize(y[:, 0], [-1, 1])
    model = fastnn.Sequential(stack, seed=None)
    model.compile(optimizer, loss, metrics=["accuracy" if name == "classes" else "mae"])
    hooks = [callbacks.EarlyStopping(patience=1, restore_best_weights=True)] + [Rates()] * (name == "dropout")
    hooks += [Decay()] * (name == "weights set between steps")
    history = model.fit(
        X, y, epochs=4, batch_size=250, validation_split=0.1, callbacks=hooks, verbose=0, class_weight=None
    )
    return digest(*model.get_weights(), *(np.array(values) for values in history.history.values()))


def large_batch_hash(name):
    """The same of a model whose batches have several chunks, with several threads on each rank."""
    stack, batch_size, options = LARGE_BATCHES[name]
    X = np.random.default_rng(7).normal(size=(2900, 30)).astype("f4")
    model = fastnn.Sequential(stack, seed=2)
    model.compile(optimizers.Adam(0.01, **options), "mse", metrics=["mae"])
    threads = fastnn.get_num_threads()
    fastnn.set_num_threads(2)
    history = model.fit(X, X[:, :2] * 2, epochs=2, batch_size=batch_size, verbose=0)
    fastnn.set_num_threads(threads)
    return digest(*model.get_weights(), *(np.array(values) for values in history.history.values()))


def source_hash():
    """Weights and history of a model that is fitted on a source, window by window."""
    X = np.random.default_rng(6).normal(size=(900, 20)).astype("f4")
    source = fastnn.data.source(X, X[:, :1] * 2, block_rows=50, window=4)
    model = fastnn.Sequential(dense(), seed=1)
    model.compile("adam", "mse", metrics=["mae"])
    history = model.fit(source, epochs=2, batch_size=64, verbose=0)
    return digest(*model.get_weights(), *(np.array(values) for values in history.history.values()))


def second_order_hash(name):
    """The same with an update rule whose steps take all rows."""
    X = np.random.default_rng(8).normal(size=(300, 5)).astype("f4")
    model = fastnn.Sequential([layers.Dense(6, activation="tanh"), layers.Dense(1)], seed=3)
    model.compile(name, "mse", metrics=["mae"])
    stops = callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    history = model.fit(X, np.sin(X[:, :1]), epochs=12, validation_split=0.2, callbacks=[stops], verbose=0)
    return digest(*model.get_weights(), *(np.array(values) for values in history.history.values()))


def hashes():
    """Everything by name."""
    ranks = _ranks.current()
    found = {
        f"{name} {dtype}": train(name, dtype, 1, ranks=ranks)
        for name in NETWORKS | FEW_ROWS
        for dtype in ("float32", "float64")
    }
    found.update({f"graph {number}": graph_hash(number, ranks) for number in range(30)})
    fastnn.utils.set_random_seed(5)
    found.update({name: model_hash(name) for name in MODELS})
    found.update({name: large_batch_hash(name) for name in LARGE_BATCHES})
    found["source"] = source_hash()
    found.update({name: second_order_hash(name) for name in ("lm", "lm_bayes", "lbfgs")})
    return found


if __name__ == "__main__":
    job = contextlib.nullcontext()
    if sys.argv[1:]:
        job = fastnn.distributed.mpi(least_operations=0, shared_memory=sys.argv[1] == "ranks")
    with job:
        print(json.dumps(hashes()))
