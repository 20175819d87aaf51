"""Print as JSON what the chosen instruction set computes. test_core.py runs this once per instruction set."""

import itertools
import json
import sys

import definition
import numpy as np
from core_options import complete_loss, complete_ops, complete_rule, default_parameters
from same_bits import digest

from fastnn import _core

RECIPES = {
    # name: sizes, batch, loss, output activation, hidden activation, optimizer, options, dropout
    "submarine": ([5, 32, 32, 3], 32, "mean_squared_error", "linear", "relu", "adam", {}, 0.0),
    "binary": (
        [7, 13, 1],
        10,
        "binary_crossentropy",
        "sigmoid",
        "tanh",
        "sgd",
        {"momentum": 0.9, "nesterov": True},
        0.2,
    ),
    "classes": (
        [64, 60, 10],
        50,
        "sparse_categorical_crossentropy",
        "softmax",
        "gelu",
        "rmsprop",
        {"centered": True},
        0.1,
    ),
    "deep": (
        [9, 24, 24, 24, 24, 4],
        100,
        "categorical_crossentropy",
        "softmax",
        "silu",
        "adamw",
        {"weight_decay": 0.01},
        0.0,
    ),
    "chunks": ([40, 24, 5], 270, "huber", "linear", "elu", "sgd", {"momentum": 0.5}, 0.0),
    "chunks updated": ([100, 72, 37, 3], 300, "huber", "linear", "relu", "adamw", {"weight_decay": 0.01}, 0.0),
    "few": ([20, 17, 2], 3, "mean_absolute_error", "softplus", "selu", "sgd", {}, 0.3),
}


def integer_mismatches():
    """Shapes (m, n, k) in 1..24 whose integer-valued products are not exact."""
    rng = np.random.default_rng(0)
    bad = []
    for dtype in (np.float32, np.float64):
        X, W, G = (rng.integers(-4, 5, (24, 24)).astype(dtype) for _ in range(3))
        bias = rng.integers(-4, 5, 24).astype(dtype)
        for m, n, k in itertools.product(range(1, 25), repeat=3):
            x, w, b, g = X[:m, :k], W[:k, :n], bias[:n], G[:m, :n]
            y = _core.dense_forward(x, w, b, "linear", None)
            gx, gw, gb = _core.dense_backward(g, x, w, b, y, "linear")
            exact = (
                (y == x @ w + b).all() and (gx == g @ w.T).all() and (gw == x.T @ g).all() and (gb == g.sum(0)).all()
            )
            if not exact:
                bad.append((np.dtype(dtype).name, m, n, k))
    return bad


def definition_mismatches():
    """Shapes whose float32 products differ from the definition in any bit."""
    rng = np.random.default_rng(1)
    fused = _core.config()["isa"] != "baseline"
    multiply_add = definition.fused_multiply_add if fused else definition.twice_rounded_multiply_add
    bad = []
    for m, n, k in [
        (1, 1, 1),
        (1, 70, 33),
        (5, 3, 7),
        (16, 16, 16),
        (17, 9, 31),
        (33, 100, 10),
        (600, 5, 3),
        (7, 20, 1100),
        (5, 900, 3),
    ]:
        x, w, g = (rng.normal(size=shape).astype(np.float32) for shape in ((m, k), (k, n), (m, n)))
        b = rng.normal(size=n).astype(np.float32)
        y = _core.dense_forward(x, w, b, "linear", None)
        wanted = (definition.dense_forward(x, w, b, multiply_add), *definition.dense_backward(g, x, w, multiply_add))
        got = (y, *_core.dense_backward(g, x, w, b, y, "linear"))
        if any(a.tobytes() != b.tobytes() for a, b in zip(wanted, got, strict=True)):
            bad.append((m, n, k))
    return bad


def train(name, dtype, n_threads, steps=200, max_steps=None):
    """Weights, predictions and loss after at least ``steps`` steps of a recipe."""
    sizes, batch, loss, output, hidden, optimizer, options, rate = RECIPES[name]
    rng = np.random.default_rng(5)
    n = 777
    X = rng.normal(size=(n, sizes[0]))
    if loss.startswith("sparse"):
        y = rng.integers(0, sizes[-1], n)
    elif loss == "categorical_crossentropy":
        y = rng.dirichlet(np.ones(sizes[-1]), n).astype(dtype)
    elif loss == "binary_crossentropy":
        y = rng.integers(0, 2, (n, sizes[-1])).astype(dtype)
    else:
        y = rng.normal(size=(n, sizes[-1])).astype(dtype)
    weight = rng.uniform(0.5, 2, n).astype(dtype)
    ops = []
    for units in sizes[1:-1]:
        ops.append(("dense", {"n_out": units, "activation": hidden}))
        if rate:
            ops.append(("dropout", {"rate": rate}))
    ops.append(("dense", {"n_out": sizes[-1], "activation": output}))
    network = _core.Network(sizes[0], complete_ops(ops), dtype)
    dense = [i for i, (kind, _) in enumerate(ops) if kind == "dense"]
    for i in dense:
        shape = network.get_parameter(i, "kernel").shape
        network.set_parameter(i, "kernel", rng.normal(size=shape) / np.sqrt(shape[0]))
    loss_options = complete_loss(loss, {"from_logits": output in ("softmax", "sigmoid")})
    network.compile(loss, loss_options, optimizer, complete_rule(optimizer, options))
    fit = _core.Fit(network, X, y, weight, batch, n_threads)
    losses = []
    for epoch in range(-(-steps // fit.n_steps)):
        fit.begin_epoch(3, epoch, True, np.full(fit.n_steps, 1e-3))
        while fit.run(max_steps=max_steps or -1) == "more":
            pass
        losses.append(fit.loss_sum)
    weights = [network.get_parameter(i, p) for i in dense for p in ("kernel", "bias")]
    return weights, network.predict(X), np.array(losses)


def row_mismatches():
    """Row counts for which predict, or a single product, does not give the bits of all rows at once."""
    rng = np.random.default_rng(2)
    bad = []
    shapes = ((30, 70), (30, 140), (900, 40))
    for dtype, output, (n_in, width) in itertools.product(("float32", "float64"), ("linear", "softmax"), shapes):
        hidden, last = {"n_out": width, "activation": "tanh"}, {"n_out": 11, "activation": output}
        network = _core.Network(n_in, [("dense", hidden), ("dense", last)], dtype)
        for op in range(2):
            shape = network.get_parameter(op, "kernel").shape
            network.set_parameter(op, "kernel", rng.normal(size=shape))
        X = rng.normal(size=(500, n_in)).astype(dtype)
        whole = network.predict(X)
        kernel, bias = (network.get_parameter(0, part) for part in ("kernel", "bias"))
        product = _core.dense_forward(X, kernel, bias, output, None)
        for count in (1, 2, 3, 5, 6, 7, 16, 95, 97, 499):
            for first in range(0, 500 - count, 37):
                if network.predict(X[first : first + count]).tobytes() != whole[first : first + count].tobytes():
                    bad.append((dtype, output, width, first, count))
            if _core.dense_forward(X[:count], kernel, bias, output, None).tobytes() != product[:count].tobytes():
                bad.append((dtype, output, width, "product", count))
        if network.predict(np.asfortranarray(X), n_threads=2).tobytes() != whole.tobytes():
            bad.append((dtype, output, width, "strided"))
    return bad


def main():
    """Everything, as one JSON object."""
    hashes = {
        f"{name} {dtype}": [digest(*w, p, h) for w, p, h in (train(name, dtype, t) for t in (1, 2, 3, 4, 8))]
        for name in RECIPES
        for dtype in ("float32", "float64")
    }
    cut = {name: digest(*w, p, h) for name in RECIPES for w, p, h in [train(name, "float32", 2, max_steps=7)]}
    x = np.random.default_rng(4).normal(scale=8, size=4000)
    functions = {
        f"{name} {dtype.__name__}": digest(
            _core.activation(name, x.astype(dtype).reshape(40, 100), None, default_parameters(name)),
            _core.activation_gradient(
                name, x.astype(dtype).reshape(40, 100), np.ones((40, 100), dtype), default_parameters(name)
            ),
        )
        for name in _core.ACTIVATIONS
        for dtype in (np.float32, np.float64)
    }
    json.dump(
        {
            "isa": _core.config()["isa"],
            "integer": integer_mismatches(),
            "definition": definition_mismatches(),
            "rows": row_mismatches(),
            "hashes": hashes,
            "cut": cut,
            "functions": functions,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
