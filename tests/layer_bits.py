"""Print as JSON hashes of networks with every kind of layer. test_structural_layers.py runs this."""

import json
import sys

import numpy as np
from core_options import complete_ops, complete_rule
from same_bits import digest

from fastnn import _core


def dense(n_out, activation="linear"):
    """A dense op."""
    return "dense", {"n_out": n_out, "activation": activation}


NETWORKS = {
    "batch normalization": [
        dense(37, "tanh"),
        ("batch_normalization", {}),
        dense(18),
        ("batch_normalization", {"scale": False}),
        dense(4),
    ],
    "batch normalization first": [("batch_normalization", {"momentum": 0.5}), dense(40, "silu"), dense(4)],
    "frozen batch normalization": [dense(7, "tanh"), ("batch_normalization", {"trainable": False}), dense(4)],
    "layer normalization": [
        dense(37, "tanh"),
        ("layer_normalization", {}),
        dense(20, "silu"),
        ("layer_normalization", {"rms_scaling": True, "center": False}),
        dense(4),
    ],
    "prelu": [dense(33), ("prelu", {}), dense(4)],
    "branches": [
        dense(19, "tanh"),
        dense(19, "tanh"),
        dense(19),
        ("add", {"inputs": (1, 3)}),
        ("activation", {"activation": "tanh"}),
        dense(19, "tanh"),
        ("batch_normalization", {}),
        ("add", {"inputs": (5, 7)}),
        ("add", {"inputs": (4, 8)}),
        dense(4),
    ],
    "noise": [
        ("gaussian_noise", {"rate": 0.1}),
        dense(37, "tanh"),
        ("gaussian_noise", {"rate": 0.3}),
        dense(18, "selu"),
        ("dropout", {"rate": 0.3, "alpha": True}),
        ("dropout", {"rate": 0.2}),
        dense(4),
    ],
    "noise with seeds": [
        ("gaussian_noise", {"rate": 0.1, "seed": 7}),
        dense(18, "selu"),
        ("dropout", {"rate": 0.3, "alpha": True, "seed": 2**63 - 1}),
        ("dropout", {"rate": 0.2, "seed": 7, "draw": 1}),
        dense(4),
    ],
    "missing values": [
        ("normalization", {"missing": "indicator"}),
        dense(17, "tanh"),
        ("normalization", {"invert": True}),
        dense(4),
    ],
    "cosines": [
        dense(5, "tanh"),
        ("cosine_features", {"count": 7}),
        ("grouped_product", {"n_rows": 7, "n_columns": 15, "groups": 5}),
        ("feature_scale", {"members": 1, "use_bias": False}),
        ("parametric_activation", {"function": "mish"}),
        dense(4),
    ],
    "lines": [
        ("bounded_lines", {"n_rows": 3, "n_columns": 20}),
        dense(9, "tanh"),
        dense(4),
    ],
    "members": [
        ("bounded_lines", {"n_rows": 3, "n_columns": 20}),
        dense(27),
        ("feature_scale", {"members": 3}),
        ("member_product", {"n_rows": 27, "n_columns": 18, "groups": 3}),
        ("parametric_activation", {"function": "silu"}),
        ("member_product", {"n_rows": 18, "n_columns": 21, "groups": 3, "use_bias": False}),
        ("activation", {"activation": "tanh"}),
        ("grouped_product", {"n_rows": 21, "n_columns": 12, "groups": 3, "use_bias": False}),
        dense(4),
    ],
}
# Trained in batches of 20 rows, which are two panels: more than two threads divide the outputs instead of the rows.
FEW_ROWS = {
    "few rows, dense": [dense(150, "relu"), dense(150, "tanh"), dense(170, "relu"), dense(4)],
    "few rows": [
        dense(150, "tanh"),
        dense(149, "relu"),
        ("dense", {"n_out": 150, "activation": "softmax", "activity_regularizer": (0.01, 0.02)}),
        ("batch_normalization", {}),
        ("add", {"inputs": (1, 4)}),
        ("dropout", {"rate": 0.2}),
        dense(150, "gelu"),
        ("layer_normalization", {}),
        ("prelu", {}),
        ("activation", {"activation": "softmax"}),
        dense(150),
        dense(4),
    ],
    "few rows, tables": [
        ("cosine_features", {"count": 5}),
        ("bounded_lines", {"n_rows": 3, "n_columns": 300}),
        ("grouped_product", {"n_rows": 10, "n_columns": 150, "groups": 30}),
        ("feature_scale", {"members": 4}),
        ("member_product", {"n_rows": 150, "n_columns": 149, "groups": 4}),
        ("parametric_activation", {"function": "gelu"}),
        dense(4),
    ],
}
PARAMETERS = {
    "dense": ("kernel", "bias"),
    "embedding": ("kernel",),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "layer_normalization": ("gamma", "beta"),
    "prelu": ("alpha",),
    "normalization": ("mean", "variance"),
    "feature_scale": ("scale", "bias"),
    "parametric_activation": ("mix",),
    "cosine_features": ("frequencies", "bias"),
    "grouped_product": ("kernel", "bias"),
    "bounded_lines": ("kernel", "bias"),
    "member_product": ("kernel", "bias"),
}


def parameters(ops):
    """(op, name) of all parameters that a network uses."""
    return [
        (op, name)
        for op, (kind, options) in enumerate(ops)
        for name in PARAMETERS.get(kind, ())
        if options.get({"gamma": "scale", "beta": "center", "bias": "use_bias"}.get(name), True)
    ]


def network(name, dtype):
    """A network of 5 inputs with random parameters."""
    ops = (NETWORKS | FEW_ROWS)[name]
    rng = np.random.default_rng(1)
    result = _core.Network(5, complete_ops(ops), dtype)
    result.compile("mean_squared_error", {}, "adam", complete_rule("adam", {}))
    for op, parameter in parameters(ops):
        value = rng.normal(size=result.get_parameter(op, parameter).shape) * 0.6
        result.set_parameter(op, parameter, value**2 + 0.3 if parameter.endswith("variance") else value)
    return result


def data(name, n, dtype="float64"):
    """Inputs and targets; some values are missing if the network accepts that."""
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(n, 5)), rng.normal(size=(n, 4)).astype(dtype)
    if name == "missing values":
        X[rng.random(X.shape) < 0.2] = np.nan
    return X, y


def train(name, dtype, n_threads, max_steps=-1, ranks=None):
    """Hash of weights, moments, predictions and losses after three epochs with ragged last batches."""
    trained = network(name, dtype)
    X, y = data(name, 477, dtype)
    fit = _core.Fit(trained, X, y, None, 20 if name in FEW_ROWS else 100, n_threads, ranks=ranks)
    losses = []
    for epoch in range(3):
        fit.begin_epoch(3, epoch, True, np.full(fit.n_steps, 1e-2))
        while fit.run(max_steps) == "more":
            pass
        losses.append(fit.loss_sum)
    assert np.isfinite(losses).all()
    named = parameters((NETWORKS | FEW_ROWS)[name])
    values = [trained.get_parameter(op, parameter, slot) for op, parameter in named for slot in range(3)]
    return digest(*values, trained.predict(X, n_threads=n_threads), np.array(losses))


def row_mismatches():
    """Networks whose predictions of a row depend on the other rows."""
    bad = []
    for name in NETWORKS:
        for dtype in ("float32", "float64"):
            net = network(name, dtype)
            X = data(name, 300)[0].astype(dtype)
            whole = net.predict(X)
            for count in (1, 2, 5, 17, 97):
                for first in range(0, 300 - count, 41):
                    if net.predict(X[first : first + count]).tobytes() != whole[first : first + count].tobytes():
                        bad.append((name, dtype, first, count))
    return bad


if __name__ == "__main__":
    hashes = {
        f"{name} {dtype}": [train(name, dtype, threads) for threads in (1, 2, 3, 4, 8)] + [train(name, dtype, 2, 3)]
        for name in NETWORKS | FEW_ROWS
        for dtype in ("float32", "float64")
    }
    json.dump({"isa": _core.config()["isa"], "hashes": hashes, "rows": row_mismatches()}, sys.stdout)
