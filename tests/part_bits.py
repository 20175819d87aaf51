"""Print as JSON hashes of training with every loss, update rule and option. test_parts.py runs this."""

import itertools
import json
import sys

import numpy as np
from core_options import complete_loss, complete_ops, complete_rule
from same_bits import digest

from fastnn import _core

ROWS, FEATURES, BATCH, STEPS = 150, 20, 128, 4
THREADS = (1, 2, 3, 4, 8)

_rng = np.random.default_rng(5)
X = _rng.normal(size=(ROWS, FEATURES))
POSITIVE = np.abs(_rng.normal(size=(ROWS, 6))) + 0.1
BINARY = (_rng.random((ROWS, 6)) > 0.5) * 1.0
ONE_HOT = np.eye(6)[_rng.integers(0, 6, ROWS)]
WEIGHT = _rng.random(ROWS) + 0.5

LOSSES = {
    # name: targets, last activation, options
    "mean_absolute_percentage_error": (POSITIVE, "linear", {}),
    "mean_squared_logarithmic_error": (POSITIVE, "softplus", {}),
    "log_cosh": (POSITIVE, "linear", {}),
    "poisson": (POSITIVE, "softplus", {}),
    "hinge": (BINARY, "linear", {}),
    "squared_hinge": (2.0 * BINARY - 1.0, "linear", {}),
    "quantile": (POSITIVE, "linear", {"q": 0.8}),
    "gaussian_nll": (POSITIVE[:, :3], "linear", {"full": True}),
    "binary_focal_crossentropy": (
        BINARY,
        "sigmoid",
        {"gamma": 1.5, "apply_class_balancing": True, "label_smoothing": 0.1},
    ),
    "categorical_focal_crossentropy": (ONE_HOT, "softmax", {"gamma": 2.5}),
    "kl_divergence": (POSITIVE / POSITIVE.sum(1, keepdims=True), "softmax", {}),
    "categorical_hinge": (ONE_HOT, "linear", {}),
    "cosine_similarity": (POSITIVE, "linear", {}),
    "dice": (BINARY, "sigmoid", {}),
    "multi_quantile": (POSITIVE[:, :2], "linear", {"levels": (0.1, 0.5, 0.8)}),
}
LOGITS = {
    "binary_focal_crossentropy": (BINARY, "linear", {"from_logits": True}),
    "categorical_focal_crossentropy": (
        ONE_HOT,
        "softmax",
        {"from_logits": True, "gamma": 1.5, "label_smoothing": 0.1, "alpha": [0.1, 2.0, 0.0, 0.25, 1.0, 0.5]},
    ),
    "dice": (BINARY, "sigmoid", {"per_row": True, "sum": True}),
}
RULES = {
    "nadam": ("nadam", {}),
    "adamax": ("adamax", {}),
    "adagrad": ("adagrad", {"weight_decay": 0.01}),
    "adadelta": ("adadelta", {}),
    "lion": ("lion", {}),
    "amsgrad": ("adam", {"amsgrad": True, "beta_2": 0.9}),
    "clipvalue": ("adam", {"clipvalue": 0.01}),
    "clipnorm": ("adam", {"clipnorm": 0.02}),
    "global_clipnorm": ("sgd", {"global_clipnorm": 0.02, "momentum": 0.9}),
    "average": ("adam", {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3}),
    "accumulation": ("adam", {"gradient_accumulation_steps": 2, "global_clipnorm": 0.05, "use_ema": True}),
    "decay of kernels": ("adamw", {"weight_decay": 0.1, "no_weight_decay": [(0, "bias"), (1, "bias"), (2, "bias")]}),
}
DENSE = {
    "penalties": {
        "kernel_regularizer": (0.01, 0.02),
        "bias_regularizer": (0.0, 0.1),
        "activity_regularizer": (0.01, 0.005),
    },
    "norms over inputs": {"kernel_constraint": ("max_norm", 0.8, 0), "bias_constraint": ("max_norm", 0.01, 0)},
    "norms over outputs": {"kernel_constraint": ("unit_norm", 0.0, 1), "bias_constraint": ("non_neg", 0.0, 0)},
    "norms over all": {"kernel_constraint": ("max_norm", 2.0, None)},
    "no negative weights": {"kernel_constraint": ("non_neg", 0.0, 0)},
}
ACTIVATIONS = ("relu6", "general_relu", "mish", "softsign", "hard_sigmoid", "hard_silu")


def make_network(dtype, last="linear", activation="tanh", dense=None, sizes=(FEATURES, 40, 33, 6)):
    """A network whose weights depend only on its sizes."""
    ops = [("dense", {"n_out": n, "activation": activation, **(dense or {})}) for n in sizes[1:]]
    ops[-1][1]["activation"] = last
    network = _core.Network(sizes[0], complete_ops(ops), dtype)
    rng = np.random.default_rng(0)
    for op, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        network.set_parameter(op, "kernel", rng.normal(size=(n_in, n_out)) / np.sqrt(n_in))
        network.set_parameter(op, "bias", 0.1 * rng.normal(size=n_out))
    return network


def make_fit(network, loss, targets, options, rule="sgd", rule_options=None, threads=0, rows=slice(None), weight=None):
    """A fit in its first epoch, with a ragged last batch."""
    network.compile(loss, complete_loss(loss, options), rule, complete_rule(rule, rule_options or {}))
    data = [np.ascontiguousarray(a[rows], dtype=network.dtype) for a in (X, targets)]
    weight = None if weight is None else np.ascontiguousarray(weight[rows], dtype=network.dtype)
    fit = _core.Fit(network, *data, weight, BATCH, threads)
    fit.begin_epoch(1, 1, True, np.full(fit.n_steps, 0.01))
    return fit


def trained(network, fit):
    """Hash of everything training changes, after a few epochs."""
    total = 0.0
    for epoch in range(STEPS // 2):
        fit.begin_epoch(1, epoch, True, np.full(fit.n_steps, 0.01))
        while fit.run() == "more":
            pass
        total += fit.loss_sum
    parts = [
        network.get_parameter(op, name, slot)
        for op in range(3)
        for name in ("kernel", "bias")
        for slot in range(network.n_slots + 1)
    ]
    assert np.isfinite(total)
    assert all(np.isfinite(part).all() for part in parts)
    return digest(*parts, np.array(total))


def recipes():
    """(name, network options, loss, rule) of everything to train."""
    for table, suffix in ((LOSSES, ""), (LOGITS, ", second")):
        for loss, (targets, last, options) in table.items():
            yield loss + suffix, {"last": last}, (loss, targets, options), ("sgd", {})
    squared = ("mean_squared_error", POSITIVE, {})
    for name, rule in RULES.items():
        yield name, {}, squared, rule
    for name, dense in DENSE.items():
        yield name, {"dense": dense}, squared, ("adam", {})
    for name in ACTIVATIONS:
        options = {"dense": {"parameters": (0.2, 1.5, 0.1)}} if name == "general_relu" else {}
        yield name, {"activation": name, **options}, squared, ("sgd", {})
    both = {"dense": {**DENSE["penalties"], **DENSE["norms over inputs"]}}
    yield "all together", both, squared, ("nadam", {"clipnorm": 0.1, "use_ema": True, "gradient_accumulation_steps": 2})


def hashes():
    """For each recipe and type, one hash per number of threads."""
    found = {}
    for name, network_options, (loss, targets, options), (rule, rule_options) in recipes():
        for dtype in ("float32", "float64"):
            found[f"{name}, {dtype}"] = []
            for threads in THREADS:
                network = make_network(dtype, **network_options)
                fit = make_fit(network, loss, targets, options, rule, rule_options, threads, weight=WEIGHT)
                found[f"{name}, {dtype}"].append(trained(network, fit))
    return found


if __name__ == "__main__":
    json.dump({"isa": _core.config()["isa"], "hashes": hashes()}, sys.stdout)
