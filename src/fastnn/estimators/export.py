"""An estimator's network with its preparation of inputs and targets, as the writers of source code read it."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastnn.estimators.network import FittedNetwork
from fastnn.export.network import End, ExportedNetwork, Step, check_finite
from fastnn.export.steps import network_steps

Array = NDArray[Any]


def estimator_network(estimator: Any) -> ExportedNetwork:
    """Describe a fitted estimator: outputs are predictions, or the probabilities of classes.

    Columns of a frame that are categories count as the columns of 0 and 1 that they are encoded as.
    """
    check_is_fitted(estimator)
    net, encoder = estimator._net, estimator.__dict__.get("_encoder")
    n_features = estimator.n_features_in_ if encoder is None else len(encoder.feature_names_out())
    given = estimator.__dict__.get("feature_names_in_")
    names = encoder.feature_names_out() if encoder is not None else None if given is None else list(given)
    steps = _preparation(estimator, n_features)
    steps += core_steps(net, len(steps))
    steps = _with_outputs(estimator, steps)
    check_finite(steps)
    labels = [f"probability of {label}" for label in estimator.classes_] if hasattr(estimator, "classes_") else None

    def evaluate(X: list[Array]) -> list[Array]:
        return [_outputs(estimator, net.predict(estimator._prepared(X[0]), 1))]

    return ExportedNetwork(
        f"{type(estimator).__name__} of fastnn",
        net.dtype,
        (End("input", (n_features,), net.dtype, names),),
        tuple(steps),
        (End("output", (steps[-1].n_out,), net.dtype, labels),),
        (len(steps),),
        evaluate,
    )


def core_steps(net: FittedNetwork, before: int) -> list[Step]:
    """Return the steps of a fitted network, which buffer number ``before`` goes into."""
    net.predict(np.zeros((1, net.architecture.n_features), net.dtype))  # brings changes of coefs_ to the core
    ops = net.architecture.ops(0.0)[0]
    dense = [op for op, (kind, _) in enumerate(ops) if kind == "dense"]
    layers = {op: f"layer {number}" for number, op in enumerate(dense, 1)}
    return network_steps(net.core, ops, layers, [before], before + 1)[0]


def _outputs(estimator: Any, outputs: Array) -> Array:
    """Return what ``predict_proba`` or ``predict`` makes of the network's outputs, as columns."""
    if hasattr(estimator, "classes_"):
        return np.column_stack([1 - outputs[:, 0], outputs[:, 0]]) if outputs.shape[1] == 1 else outputs
    targets = outputs[:, : estimator.n_outputs_]
    if estimator._target_scaling is None:
        return targets
    centre, scale = estimator._target_scaling
    return np.asarray(targets * scale + centre, outputs.dtype)


def _preparation(estimator: Any, n_features: int) -> list[Step]:
    preparation = estimator.__dict__.get("_preparation")
    if preparation is None:
        return []
    arrays = {
        "fill": preparation.fill,
        "centre": preparation.center,
        "scale": preparation.scale,
        "indicated": preparation.indicated if len(preparation.indicated) else None,
    }
    kept = {
        name: np.asarray(array, np.int64 if name == "indicated" else np.float64)
        for name, array in arrays.items()
        if array is not None
    }
    n_out = n_features + len(preparation.indicated)
    return [Step("prepare", (0,), n_features, n_out, "inputs", {}, kept)]


def _with_outputs(estimator: Any, steps: list[Step]) -> list[Step]:
    """Return the steps with what follows the network: two probabilities of one, or targets in their units."""
    last = steps[-1]
    if hasattr(estimator, "classes_"):
        return [*steps, Step("two_classes", (len(steps),), 1, 2, "probabilities")] if last.n_out == 1 else steps
    n_targets = estimator.n_outputs_
    if last.n_out == 2 * n_targets:  # means, then logarithms of variances
        means = {name: array[..., :n_targets] for name, array in last.arrays.items()}
        steps = [*steps[:-1], replace(last, n_out=n_targets, arrays=means)]
    if estimator._target_scaling is None:
        return steps
    centre, scale = (np.broadcast_to(np.ravel(each), n_targets) for each in estimator._target_scaling)
    arrays = {"centre": centre, "scale": scale}
    return [*steps, Step("rescale", (len(steps),), n_targets, n_targets, "targets", {}, arrays)]
